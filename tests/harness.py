"""Starts real servers for the system tests: own folder, own port offset on loopback, own accounts; stops them by pid.

A test module is tests/system/test_*.py with functions test_*(server) or test_*() ; a server of the kind it asks for is shared by
the tests of one module. A test passes when it returns; expect() and plain assert say what was expected and what came."""
import base64
import contextlib
import fcntl
import glob
import importlib.util
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PORTS = (25, 110, 143, 443, 465, 587, 993, 995)
PASSWORDS = {"alice": "correct horse battery", "bob": "staple été 42", "carol": "third person"}


def memory_folder(path="/dev/shm", room=1 << 30):
    """Where a sync costs nothing; None: this machine has no such folder with room in it, or no program can be run from there."""
    with contextlib.suppress(OSError):
        there = os.statvfs(path)
        if os.access(path, os.W_OK) and there.f_bavail * there.f_frsize >= room and not there.f_flag & os.ST_NOEXEC:
            return path
    return None


MEMORY = memory_folder()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def wait_for(check, seconds, what):
    """Polls until check() is true; its value."""
    until = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


CLAIMS = []     # the file in which every process locks a byte for each block of ports it has chosen; a lock ends with its process
CLAIMED = set()


def claim(offset):
    """True: nobody has chosen this block, who perhaps does not listen yet."""
    if not CLAIMS:
        CLAIMS.append(open(os.path.join("/tmp", f"facteur-test-ports.{os.getuid()}"), "a+b"))
    if offset in CLAIMED:
        return False
    try:
        fcntl.lockf(CLAIMS[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except OSError:
        return False
    CLAIMED.add(offset)
    return True


def give_back(offset):
    if offset in CLAIMED:
        CLAIMED.remove(offset)
        fcntl.lockf(CLAIMS[0], fcntl.LOCK_UN, 1, offset)


def listeners(ports):
    """[(port, pid, program)] of who listens on these ports of IPv4, as far as this user may look."""
    sockets, found = {}, []
    with open("/proc/net/tcp") as f:
        for line in list(f)[1:]:
            fields = line.split()
            port = int(fields[1].split(":")[1], 16)
            if fields[3] == "0A" and port in ports:
                sockets[f"socket:[{fields[9]}]"] = port
    for fd in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            port = sockets.get(os.readlink(fd))
            if port:
                pid = int(fd.split("/")[2])
                with open(f"/proc/{pid}/comm") as f:
                    found.append((port, pid, f.read().strip()))
    return sorted(set(found))


def free_offset():
    """Of a block of ports nobody has; what runs beside us (LANES) looks for its own elsewhere."""
    lane, width = int(os.environ.get("FACTEUR_TEST_LANE", "0")), 5500
    for _ in range(200):
        offset = random.randrange(10000 + lane * width, 14500 + lane * width, 7)  # below the ports clients get by chance (32768 and up)
        if not claim(offset):
            continue
        busy = False
        for port in PORTS:
            with contextlib.closing(socket.socket()) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port + offset))
                except OSError:
                    busy = True
                    break
        if not busy:
            return offset
        give_back(offset)
    raise RuntimeError("no free block of ports")


class Server:
    """One facteur on loopback. build: release, fault, asan, tsan; where a test does not care, FACTEUR_TEST_BUILD says. Several that
    send mail to each other have an address each and the same offset."""
    address, host, domain = "127.0.0.1", "localhost", "example.test"
    single, process = False, None

    def __init__(self, build=None, settings=(), accounts=("alice", "bob"), env=None, conf=(), single=False,
                 segment_size="1MB", address="127.0.0.1", domain="example.test", offset=None):
        self.binary = os.path.join(ROOT, "build", build or os.environ.get("FACTEUR_TEST_BUILD", "release"), "facteur")
        self.dir = tempfile.mkdtemp(prefix="facteur-test-")
        os.chmod(self.dir, 0o711)
        self.offset = free_offset() if offset is None else offset
        self.address, self.domain = address, domain
        self.host = "localhost" if address == Server.address else address
        self.env = dict(os.environ, LANG="C.UTF-8", **(env or {}))
        self.env.pop("LANGUAGE", None)
        # the leak checker traces its process, which a sandbox refuses; leaks are the unit tests' business
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        self.single = single
        self.log_path = os.path.join(self.dir, "server.log")
        self.passwords = {}
        with open(os.path.join(self.dir, "facteur.conf"), "w") as f:
            names = "" if any(line.startswith("dns_server") for line in conf) else "dns_server = 127.0.0.1@9\n"  # nobody answers there
            f.write(f"bind = {address}\n" + names + "".join(line + "\n" for line in conf))
        try:
            self.cli("setup", domain, "--yes")
            self.cli("config", "set", "queue_segment_size", segment_size)   # a small ring wraps around often
            self.start()
            for name, value in settings:
                self.cli("config", "set", name, str(value))
            for name in accounts:
                self.add_account(name)
        except Exception as why:  # nothing may be left behind by a start that failed
            said = self.log()[-3000:] if os.path.exists(self.log_path) else ""
            self.close()
            raise AssertionError(f"the server could not be started: {why}\n{said}") from why

    def port(self, number):
        return number + self.offset

    def cli(self, *args, stdin="", check=True, binary=False):
        done = subprocess.run([self.binary, "-d", self.dir, *args], input=stdin.encode(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"facteur {' '.join(args)}: exit {done.returncode}: {done.stderr.decode()}{done.stdout.decode()}")
        return done if binary or not check else done.stdout.decode()

    def cli_json(self, *args):
        return json.loads(self.cli(*args, "--json"))

    def add_account(self, name, password=None, domain=None):
        password = password or PASSWORDS.get(name, "password of " + name)
        domain = domain or self.domain
        self.cli("account", "add", f"{name}@{domain}", "--password-stdin", stdin=password + "\n")
        self.passwords[f"{name}@{domain}"] = password

    def start(self, wait=True):
        log = open(self.log_path, "ab")
        args = [self.binary, "-d", self.dir, "serve", "--port-offset", str(self.offset)] + (["--single"] if self.single else [])
        self.process = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, start_new_session=True)
        log.close()
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds=30):
        def answers():
            if self.process.poll() is not None:
                raise AssertionError("the server ended: " + self.log()[-3000:])
            for port in PORTS:
                with contextlib.closing(socket.socket()) as s:
                    s.settimeout(5)
                    try:
                        s.connect((self.address, self.port(port)))
                        if port in (25, 143, 110, 587) and s.recv(1) not in (b"2", b"*", b"+"):
                            return False  # closed, or 421: it still starts
                    except OSError:
                        return False
            return True
        wait_for(answers, seconds, "every port answers")

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def findings(self):
        """What a sanitizer said in the server's log; empty: nothing."""
        log = self.log()
        at = min([p for p in (log.find(w) for w in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                                                    "runtime error:")) if p >= 0], default=-1)
        return log[max(0, at - 200):at + 6000] if at >= 0 else ""

    def pids(self):
        """{pid: role} of master and all below it."""
        found, todo = {}, [self.process.pid]
        while todo:
            pid = todo.pop()
            try:
                with open(f"/proc/{pid}/comm") as f:
                    found[pid] = "master" if pid == self.process.pid else f.read().strip()
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    todo += [int(p) for p in f.read().split()]
            except OSError:
                pass
        return found

    def strangers(self):
        """[(port, pid, program)] of who listens on a port of this server's, and is none of its processes."""
        own = self.pids() if self.process and self.process.poll() is None else {}
        return [found for found in listeners({self.port(p) for p in PORTS}) if found[1] not in own]

    def pids_of(self, role):
        return [p for p, r in self.pids().items() if r == role]

    def kill_all(self):
        """A power cut as far as processes see it. SIGSTOP first: nobody restarts anybody. The pids that were alive."""
        pids = self.pids()
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
        self.process.wait()
        wait_for(lambda: not any(alive(p) for p in pids), 10, "killed processes are gone")
        return set(pids)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill_all()
                raise AssertionError("the server did not stop within 30 s:\n" + self.log()[-3000:])
        return self.process.returncode if self.process else 0

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    # clients ------------------------------------------------------------------------------------------------------
    def tls(self):
        context = ssl.create_default_context(cafile=os.path.join(self.dir, "ca.pem"))
        context.check_hostname = self.host == "localhost"
        return context

    def imap(self, name, tls=True):
        import imaplib
        box = imaplib.IMAP4_SSL(self.host, self.port(993), ssl_context=self.tls()) if tls else \
            imaplib.IMAP4(self.host, self.port(143))
        box.authenticate("PLAIN", lambda _: self.plain(name))  # imaplib's LOGIN knows ASCII only
        return box

    def plain(self, name):
        return f"\0{name}@{self.domain}\0{self.passwords[name + '@' + self.domain]}".encode()

    def pop3(self, name):
        import poplib
        box = poplib.POP3_SSL(self.host, self.port(995), context=self.tls())
        box.user(f"{name}@{self.domain}")
        box.pass_(self.passwords[f"{name}@{self.domain}"])
        return box

    def smtp(self):
        import smtplib
        return smtplib.SMTP(self.address, self.port(25), timeout=30)

    def submission(self, name, implicit=True):
        import smtplib
        if implicit:
            s = smtplib.SMTP_SSL(self.host, self.port(465), context=self.tls(), timeout=30)
        else:
            s = smtplib.SMTP(self.host, self.port(587), timeout=30)
            s.starttls(context=self.tls())
        s.ehlo()
        code, text = s.docmd("AUTH", "PLAIN " + base64.b64encode(self.plain(name)).decode())  # smtplib's login() knows ASCII only
        expect(code == 235, text)
        return s

    def deliver(self, to, subject="hello", body="text\r\n", sender="someone@elsewhere.test", headers=""):
        s = self.smtp()
        message = f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{headers}\r\n{body}"
        s.sendmail(sender, [to], message.encode())
        s.quit()

    def raw(self, port, tls=False):
        s = socket.create_connection((self.address, self.port(port)), timeout=30)
        if tls:
            context = self.tls()
            s = context.wrap_socket(s, server_hostname=self.host)
        return Lines(s)


class Deflated:
    """The socket of a client after COMPRESS."""

    def __init__(self, sock):
        self.sock, self.out, self.into = sock, zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def sendall(self, data):
        self.sock.sendall(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))

    def recv(self, n):
        data = b""
        while not data:
            more = self.sock.recv(n)
            if not more:
                return b""
            data = self.into.decompress(more)
        return data

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def close(self):
        self.sock.close()


class Lines:
    """A line client for transcripts."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def deflate(self):
        """From now on; what was heard before has been read."""
        expect(not self.buffer, f"the server said too much before COMPRESS: {self.buffer!r}")
        self.sock = Deflated(self.sock)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self, timeout=30):
        self.sock.settimeout(timeout)
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError(f"closed after {self.buffer!r}")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def until(self, prefix, timeout=30):
        """Lines up to and with the one that starts with prefix."""
        lines = []
        while True:
            lines.append(self.line(timeout))
            if lines[-1].startswith(prefix):
                return lines

    def command(self, line, prefix, timeout=30):
        self.send(line + "\r\n")
        return self.until(prefix, timeout)

    def smtp(self, line):
        """Sends and returns (code, whole reply)."""
        if line is not None:
            self.send(line + "\r\n")
        lines = []
        while True:
            lines.append(self.line())
            if not re.match(r"\d\d\d-", lines[-1]):
                return int(lines[-1][:3]), "\n".join(lines)

    def close(self):
        self.sock.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Skipped(Exception):
    """A test that this machine cannot run; the reason is printed and counted, never a pass."""


def needs_root():
    if os.geteuid() != 0:
        raise Skipped("only root can do this")


LANES = 4  # modules that run at a time: one of them mostly waits for a disk or a clock
LONG = ("test_crash", "test_power", "test_disk")


def modules(only):
    """Names of the modules in which a test is wanted: those that take long first."""
    names = [os.path.basename(p)[:-3] for p in sorted(glob.glob(os.path.join(ROOT, "tests/system/test_*.py")))]
    names.sort(key=lambda n: LONG.index(n) if n in LONG else len(LONG))
    return [n for n in names if wanted(load(n), only)]


def load(name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(ROOT, "tests/system", name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wanted(module, only):
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    return [(n, f) for n, f in tests if not only or any(o in n or o in module.__name__ for o in only)]


def run_all(only, again=(), before_alone=lambda: None):
    """Yields (name, ok, detail) of each test; ok is None for one that was skipped, and detail says why. only: None for no module but those of
    again, which run with BUILD=asan. Modules run in processes of their own, some at a time; one that says ALONE = True (it counts what the
    machine does) has the machine for itself, at the end, after before_alone() has returned."""
    names = modules(only) if only is not None else []
    alone = [n for n in names if getattr(load(n), "ALONE", False)]
    runs = [(n, only, None) for n in names if n not in alone]
    first = sum(n in LONG for n, _, _ in runs)
    yield from run_lanes(runs[:first] + [(n, [], "asan") for n in again] + runs[first:], LANES)
    if alone:
        before_alone()
    yield from run_lanes([(n, only, None) for n in alone], 1)


def run_lanes(runs, lanes):
    """runs: [(module, names of tests, build)]"""
    waiting, said = list(runs), queue.SimpleQueue()

    def lane(number):
        while waiting:
            try:
                name, only, build = waiting.pop(0)
            except IndexError:
                break
            run_apart(name, only, build, number, said.put)
        said.put(None)

    threads = [threading.Thread(target=lane, args=(n,)) for n in range(lanes)]
    for thread in threads:
        thread.start()
    while lanes:
        result = said.get()
        if result is None:
            lanes -= 1
        else:
            yield result
    for thread in threads:
        thread.join()


def run_apart(name, only, build, lane, say):
    """One module in a process of its own; a process that ends early is a failure. What is looked at by a sanitizer has its files in memory:
    the disk was waited for when the module ran without."""
    env = dict(os.environ, FACTEUR_TEST_LANE=str(lane))
    if build:
        env.update({"FACTEUR_TEST_BUILD": build}, **({"TMPDIR": MEMORY} if MEMORY else {}))
    mark = build + " " if build else ""
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), name, *only], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env=env)
    noise, is_whole = [], False
    for line in process.stdout:
        if line.startswith(RESULT):
            result = json.loads(line[len(RESULT):])
            is_whole = result is None
            if result is not None:
                title, ok, detail = result
                say((mark + title, ok, detail + "\n--- printed before\n" + "".join(noise)[-3000:] if ok is False and noise else detail))
        else:
            noise.append(line.decode("utf-8", "replace"))
    if process.wait() or not is_whole:
        say((f"{mark}{name[5:]} (its process)", False, f"ended with {process.returncode}\n" + "".join(noise)[-8000:]))


RESULT = b"\x1fresult "  # what run_module() says begins so; the rest is what the tests print


def run_module(name, only):
    """Yields (name, ok, detail) of each test of one module."""
    module = load(name)
    server = None
    try:
        if hasattr(module, "make_server"):
            server = module.make_server()
    except Exception:
        yield f"{name} (start of its server)", False, traceback.format_exc()
        return
    for test_name, test in wanted(module, only):
        start = time.monotonic()
        title = f"{name[5:]}: {test_name[5:].replace('_', ' ')}"
        try:
            test(server) if server else test()
            yield f"{title} ({time.monotonic() - start:.1f} s)", True, ""
        except Skipped as why:
            yield title, None, str(why)
        except Exception:
            detail = traceback.format_exc()
            if server:
                detail += "\n--- end of the server's log\n" + server.log()[-3000:]
            yield title, False, detail
    if server:
        try:
            server.stop()
            expect(not server.findings(), server.findings())
            server.close()
            yield f"{name[5:]}: stops cleanly", True, ""
        except Exception:
            yield f"{name[5:]}: stops cleanly", False, traceback.format_exc()


def main():
    """A module as run_apart() starts it."""
    for result in run_module(sys.argv[1], sys.argv[2:]):
        sys.stdout.flush()
        sys.stdout.buffer.write(RESULT + json.dumps(result).encode() + b"\n")
        sys.stdout.buffer.flush()
    sys.stdout.buffer.write(RESULT + b"null\n")


if __name__ == "__main__":
    sys.modules["harness"] = sys.modules["__main__"]  # the modules import it by its name
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    main()
