"""The command line: what a person and a script see, with the server running and without."""
import contextlib
import fcntl
import imaplib
import json
import os
import pty
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from harness import ROOT, Server, expect, wait_for

BINARY = os.path.join(ROOT, "build", "release", "facteur")


def make_server():
    return Server()


def run(*args, stdin="", env=None):
    done = subprocess.run([BINARY, *args], input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_help_for_everything(server):
    code, out, _ = run("--help")
    expect(code == 0 and "account add" in out and "serve" in out, f"--help lists commands: {out}")
    for command in [line.split("  ")[1].strip() for line in out.splitlines() if line.startswith("  ")]:
        code, text, err = run(*command.split(), "--help")
        if command != "sendmail":
            expect(code == 0 and text, f"{command} --help: {code} {err}")


def test_help_in_french(server):
    code, out, _ = run("account", "add", "--help", env={"LC_ALL": "fr_FR.UTF-8"})
    expect(code == 0 and "Créer un compte" in out, out)


def test_exit_codes(server):
    for args, want in ((("account", "lst"), 2), (("frobnicate",), 2), (("account", "add"), 2), (("account", "list", "--no-such"), 2),
                       (("-d", "/nonexistent/facteur", "account", "list"), 1), (("--version",), 0), ((), 2)):
        code, out, err = run(*args)
        expect(code == want, f"{args}: exit {code}, want {want}: {err}{out}")
        expect(want == 0 or err or out, f"{args}: says why")
    code, _, err = run("acount", "list")
    expect("account list" in err, f"the nearest command is named: {err}")


def test_output_that_cannot_be_written(server):
    """A full disk is no success; a reader that has read enough is one."""
    for args in (("account", "list"), ("account", "list", "--json"), ("--help",), ("--version",)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([server.binary, "-d", server.dir, *args], stdout=full, stderr=subprocess.PIPE, env=server.env, timeout=20)
        expect(done.returncode == 1 and b"could not be written" in done.stderr and b"No space left" in done.stderr, (args, done))
    for args in (("help", "--markdown", "settings"), ("config", "list", "--all", "--json")):
        whole = server.cli(*args)
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, b"-" * 4000)
        os.set_blocking(writer, False)  # as whoever started us has left it: what does not fit now is waited for
        process = subprocess.Popen([server.binary, "-d", server.dir, *args], stdout=writer, stderr=subprocess.PIPE, env=server.env)
        os.close(writer)
        time.sleep(0.5)
        with open(reader, encoding="utf-8") as f:
            said = f.read()
        expect(process.wait(20) == 0 and said[4000:] == whole, (args, len(said), len(whole), process.stderr.read()))
    done = subprocess.run(["bash", "-c", '"$0" -d "$1" account list >&-', server.binary, server.dir], stderr=subprocess.PIPE, env=server.env, timeout=20)
    expect(done.returncode == 1 and b"could not be written" in done.stderr, done)
    done = subprocess.run(["bash", "-c", '"$0" -d "$1" account list | true; exit ${PIPESTATUS[0]}', server.binary, server.dir],
                          stderr=subprocess.PIPE, env=server.env, timeout=20)
    expect(done.returncode == 0 and not done.stderr, done)


def test_a_tab_offers_names_and_runs_none(server):
    wild, plain = "`touch${IFS}ran`@example.test", "info@example.test"
    for alias in (wild, plain):
        server.cli("alias", "add", alias, "alice@example.test")
    script = run("completion", "bash")[1] + f"""
        facteur() {{ "{BINARY}" -d "{server.dir}" "$@"; }}
        tab() {{ COMP_WORDS=(facteur "$@"); COMP_CWORD=$#; _facteur; echo "${{COMPREPLY[@]}}"; }}
        tab alias remove ''; eval "printf '<%s>' ${{COMPREPLY[@]}}"; echo; tab alias remove in; tab alias re"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, cwd=folder, timeout=60, check=True)
        lines = done.stdout.decode().splitlines()
        expect(os.listdir(folder) == [], "a name is no command")
    expect(f"<{wild}>" in lines[1] and lines[2:] == [plain, "remove"], lines)


def typed(server, *args, keys=()):
    """What a person sees on a terminal who types each of keys when nothing more comes; and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(server.binary, [server.binary, "-d", server.dir, *args], {**server.env, "NO_COLOR": "1"})
    seen, waiting = b"", list(keys)
    with contextlib.suppress(OSError):  # the other side is closed
        while True:
            if waiting and seen.endswith(b": "):
                os.write(terminal, waiting.pop(0))
            elif not select.select([terminal], [], [], 20)[0]:
                os.kill(pid, signal.SIGKILL)
            seen += os.read(terminal, 4096)
    os.close(terminal)
    return seen.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_terminal_is_asked_for_passwords(server):
    """For one of ours, where a random one will do; for that of another server only when it is wanted, and none is made up."""
    seen, code = typed(server, "account", "add", "typed@example.test", keys=(b"\n",))
    expect(code == 0 and "a random one" in seen and "is ready" in seen, seen)
    seen, code = typed(server, "route", "add", "typed.example", "192.0.2.7:2525")
    expect(code == 0 and "assword" not in seen, seen)
    seen, code = typed(server, "route", "add", "typed.example", "relay.example", "--login", "me", "--password-stdin", keys=(b"secret\n", b"secret\n"))
    expect(code == 0 and "random" not in seen and "secret" not in seen, seen)
    expect([r["login"] for r in server.cli_json("route", "list")] == ["me"], seen)
    server.cli("route", "remove", "typed.example")
    seen, code = typed(server, "account", "password", "typed@example.test", keys=(b"\x03",))
    expect(code == 2, f"Ctrl-C is enough: {seen}")


def test_json_also_when_it_fails(server):
    for args, want in ((("-d", "/nonexistent/facteur", "account", "list"), 1), (("account", "list", "--no-such"), 2), (("account", "add"), 2)):
        code, out, err = run(*args, "--json")
        answer = json.loads(out)
        expect(code == want and answer["ok"] is False and answer["sentence"] and not err, f"{args}: {code} {out} {err}")


def test_documents_are_those_of_the_tables(server):
    for name in ("commands", "settings"):
        _, out, _ = run("help", "--markdown", name, env={"LC_ALL": "C"})
        with open(os.path.join(ROOT, "docs", name + ".md")) as f:
            expect(f.read() == out, f"docs/{name}.md is old: make docs")


def test_accounts_while_serving(server):
    row = server.cli_json("account", "show", "alice@example.test")
    expect(row["address"] == "alice@example.test", f"show: {row}")
    rows = server.cli_json("account", "list")
    expect({r["address"] for r in rows} >= {"alice@example.test", "bob@example.test"}, f"list: {rows}")
    made = server.cli_json("account", "add", "gen@example.test", "--generate")
    server.passwords["gen@example.test"] = made["password"]
    server.imap("gen").logout()
    failed = server.cli("account", "add", "gen@example.test", "--generate", "--json", check=False)
    answer = json.loads(failed.stdout)
    expect(failed.returncode == 1 and answer["ok"] is False and answer["error"] == "exists", f"twice: {answer}")
    expect("gen@example.test" in server.cli("account", "list"), "the table names it")
    server.cli("account", "delete", "gen@example.test")


def test_suspended_account_cannot_log_in(server):
    server.cli("account", "suspend", "alice@example.test")
    try:
        server.imap("alice")
        raise AssertionError("a suspended account logged in")
    except imaplib.IMAP4.error:
        pass
    server.cli("account", "resume", "alice@example.test")
    server.imap("alice").logout()


def test_settings(server):
    server.cli("config", "set", "imap_idle_timeout", "2h")
    expect(server.cli_json("config", "get", "imap_idle_timeout")["value"] == "2h", "it is kept")
    wrong = server.cli("config", "set", "imap_idle_timeout", "1s", check=False)
    expect(wrong.returncode == 1 and wrong.stderr, "out of range, and says so")
    wrong = server.cli("config", "set", "imap_idle_timeot", "2h", check=False)
    expect(wrong.returncode == 1 and b"imap_idle_timeout" in wrong.stderr, f"the nearest name: {wrong.stderr}")
    server.cli("config", "unset", "imap_idle_timeout")


def test_setup_again_changes_nothing(server):
    with open(os.path.join(server.dir, "ca.pem")) as f:
        before = f.read()
    server.cli("setup", "example.test", "--yes")
    server.cli("setup", "example.test", "--account", "alice", "--yes")
    server.imap("alice").logout()  # by the password of before
    server.cli("alias", "add", "taken@example.test", "alice@example.test")
    done = server.cli("setup", "example.test", "--account", "taken", "--yes", check=False)
    expect(done.returncode == 1 and b"in use already" in done.stderr, done)
    server.cli("alias", "remove", "taken@example.test")
    with open(os.path.join(server.dir, "ca.pem")) as f:
        expect(f.read() == before, "the same authority")


def test_a_public_certificate_beside_the_own(server):
    folder = os.path.join(server.dir, "tls")
    own, path = os.stat(os.path.join(folder, "default.pem")), os.path.join(folder, "mail")

    def shown(name):
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", server.port(993))) as s, context.wrap_socket(s, server_hostname=name) as tls:
            return tls.getpeercert(binary_form=True)

    def names():
        return [row["names"].split(", ") for row in server.cli_json("certificate", "list")]
    before = shown("mail.example.test")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail.example.test", "-addext",
                    "subjectAltName=DNS:mail.example.test", "-keyout", path + ".key", "-out", path + ".crt", "-days", "90"], check=True,
                   stderr=subprocess.DEVNULL)
    with open(path + ".crt") as f:
        bought = ssl.PEM_cert_to_DER_cert(f.read())
    time.sleep(6)  # until it has been looked at: it belongs to somebody else yet
    for name in (path + ".crt", path + ".key"):
        os.chown(name, own.st_uid, own.st_gid)
    wait_for(lambda: shown("mail.example.test") == bought, 15, "the public certificate is shown for its name")
    expect(shown("localhost") == before, "and our own for the others")
    expect(["mail.example.test"] in names() and sum("mail.example.test" in row for row in names()) == 1, names())
    for name in (path + ".crt", path + ".key"):
        os.remove(name)
    wait_for(lambda: shown("mail.example.test") == before, 15, "our own again")


def test_setup_of_a_second_domain_renews_the_own_certificate(server):
    server.cli("setup", "second.test", "--yes")
    context = server.tls()

    def names():
        with socket.create_connection(("127.0.0.1", server.port(993))) as s, context.wrap_socket(s, server_hostname="localhost") as tls:
            return {name for _, name in tls.getpeercert()["subjectAltName"]}
    wait_for(lambda: {"second.test", "example.test", "mail.example.test", "localhost"} <= names(), 15, "the new name in the certificate")
    other = os.path.join(server.dir, "tls", "default.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bought.test", "-addext", "subjectAltName=DNS:bought.test",
                    "-keyout", other + ".key", "-out", other + ".crt", "-days", "2"], check=True, stderr=subprocess.DEVNULL)
    with open(other, "w") as out:
        for part in (".key", ".crt"):
            with open(other + part) as f:
                out.write(f.read())
            os.remove(other + part)
    with open(other) as f:
        bought = f.read()
    server.cli("setup", "third.test", "--yes")
    with open(other) as f:
        expect(f.read() == bought, "a certificate of somebody else is never touched")


GIVEN = """import fcntl, os, sys
fds = [int(n) for n in sys.argv[1].split(",")]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
for fd in fds:
    os.set_inheritable(fd, False)
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])"""


class Manager:
    """What systemd is to a server: hears how it is, keeps descriptors for it (FDSTORE), gives them to the next one. What it forgets it closes in
    its own time, as systemd does from version 254 on."""

    def __init__(self, server):
        self.server, self.kept, self.forgotten, self.said = server, [], [], []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.path.join(server.dir, "notify"))
        self.socket.settimeout(30)
        server.env["NOTIFY_SOCKET"] = os.path.join(server.dir, "notify")

    def hear(self, last):
        """Until it says `last`."""
        while not self.said or self.said[-1] != last:
            text, fds, _, _ = socket.recv_fds(self.socket, 1000, 250)
            self.said.append(text.decode().splitlines()[0])
            if self.said[-1] == "FDSTORE=1":
                have = {os.fstat(one.fileno()).st_ino for one in self.kept}
                self.kept += [socket.socket(fileno=os.dup(fd)) for fd in fds if os.fstat(fd).st_ino not in have]
            elif self.said[-1] == "FDSTOREREMOVE=1":
                self.forgotten, self.kept = self.forgotten + self.kept, []
            for fd in fds:
                os.close(fd)

    def start(self):
        fds, s = [one.fileno() for one in self.kept], self.server
        with open(s.log_path, "ab") as log:
            s.process = subprocess.Popen([sys.executable, "-c", GIVEN, ",".join(map(str, fds)), s.binary, "-d", s.dir, "serve", "--port-offset",
                                          str(s.offset)], pass_fds=fds, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=s.env,
                                         start_new_session=True)

    def close(self):
        for one in self.kept + self.forgotten:
            one.close()
        self.socket.close()
        del self.server.env["NOTIFY_SOCKET"]


def test_service_manager_is_told_and_keeps_the_ports(server):
    """Who connects while the server is started again is not refused: he waits, and is greeted by the next one."""
    server.stop()
    manager = Manager(server)
    try:
        server.start()
        manager.hear("READY=1")
        expect(manager.said == ["FDSTORE=1", "READY=1"], manager.said)
        server.stop()
        manager.hear("STOPPING=1")
        waiting = [socket.create_connection(("127.0.0.1", server.port(port)), timeout=30) for port in (25, 143, 587)]
        manager.start()
        manager.hear("READY=1")
        expect(all(s.recv(1) in (b"2", b"*") for s in waiting), "greeted by the next server")
        server.stop()
        manager.hear("STOPPING=1")

        # facteur.conf says another address now than what is kept for port 25: that one goes, the others stay, also those that are given twice
        port = server.port(25)
        for one in [one for one in manager.kept if one.getsockname()[1] == port]:
            manager.kept.remove(one)
            one.close()
        other = socket.socket()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", port))
        other.listen()
        manager.kept += [other] + [one.dup() for one in manager.kept]
        waiting.append(socket.create_connection(("127.0.0.1", server.port(143)), timeout=30))
        manager.said = []
        manager.start()
        manager.hear("READY=1")
        expect(manager.said == ["FDSTOREREMOVE=1", "FDSTORE=1", "READY=1"], manager.said)
        expect(waiting[-1].recv(1) == b"*", "port 143 was kept")
        waiting.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        expect(waiting[-1].recv(1) == b"2", "port 25 was bound anew")
        for s in waiting:
            s.close()
        server.stop()
    finally:
        manager.close()
    server.start()


def test_commands_without_a_server(server):
    folder = tempfile.mkdtemp(prefix="facteur-cli-")
    try:
        os.chmod(folder, 0o711)
        code, out, err = run("-d", folder, "setup", "Example.Test", "--yes", "--account", "zoé", "--json")
        expect(code == 0, f"setup: {out}{err}")
        made = json.loads(out)
        expect(made["address"].endswith("@example.test") and made["password"], f"setup --json: {made}")
        expect(os.stat(os.path.join(folder, "tls/default.pem")).st_mode & 0o077 == 0, "the key is for its owner only")
        expect(os.stat(os.path.join(folder, "ca.pem")).st_mode & 0o004, "the authority can be read by all")
        code, out, err = run("-d", folder, "account", "add", "max@example.test", "--password-stdin", stdin="a good password\n")
        expect(code == 0, f"account add offline: {out}{err}")
        code, out, _ = run("-d", folder, "account", "list", "--json")
        expect(len(json.loads(out)) == 2, f"both are there: {out}")
        code, out, err = run("-d", folder, "sessions")
        expect(code in (0, 1), f"sessions without a server: {out}{err}")
    finally:
        shutil.rmtree(folder)


def test_installation(server):
    folder = tempfile.mkdtemp(prefix="facteur-install-")
    try:
        subprocess.run(["make", "-s", "install", "PREFIX=/usr", "DESTDIR=" + folder], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        out = subprocess.run([folder + "/usr/bin/facteur", "--version"], check=True, stdout=subprocess.PIPE).stdout
        expect(out.startswith(b"facteur "), f"the installed program runs: {out}")
        with open(folder + "/usr/lib/systemd/system/facteur.service") as f:
            unit = f.read()
        expect("ExecStart=/usr/bin/facteur -d /var/lib/facteur serve" in unit and "@PREFIX@" not in unit, "the unit names it")
        for name in ("share/bash-completion/completions/facteur", "share/doc/facteur/setup.md"):
            expect(os.path.getsize(folder + "/usr/" + name) > 0, name)
    finally:
        shutil.rmtree(folder)
