"""The whole server in one process (serve --single) under valgrind's memcheck: tests/valgrind.py [SESSIONS] [SEED].

Sessions of every kind, mixed by a seed that is printed: messages by SMTP, submission, IMAP and POP3 with and without TLS, wrong
passwords, clients that leave in the middle of anything, and bytes that are no protocol. At the end the server is stopped as an administrator
stops it; then memcheck must have no error, no definite and no indirect leak. tests/valgrind.supp says what is not ours, and why."""
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, Server, wait_for  # noqa: E402

PLAIN_PORTS = (25, 110, 143, 587)
CLIENTS = 6


class Watched(Server):
    """A server that is started by valgrind; the commands of the set-up are not."""

    def start(self, wait=True):
        self.report = os.path.join(self.dir, "valgrind.txt")
        args = ["valgrind", "--tool=memcheck", "--leak-check=full", "--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect",
                "--error-exitcode=99", "--num-callers=25", "--fair-sched=yes", "--max-stackframe=8388608",
                "--suppressions=" + os.path.join(ROOT, "tests/valgrind.supp"), "--log-file=" + self.report,
                self.binary, "-d", self.dir, "serve", "--single", "--port-offset", str(self.offset)]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env, start_new_session=True)
        self.wait_ready(300)

    def finish(self):
        """memcheck's report, after an orderly stop"""
        self.process.terminate()
        self.process.wait(300)
        with open(self.report) as f:
            return self.process.returncode, f.read()


def message(rng, sender="someone@elsewhere.test"):
    size = rng.choice((200, 3000, 30000))
    return (f"From: {sender}\r\nTo: alice@example.test\r\nSubject: {rng.random()}\r\n"
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" +
            "some words\r\n" * (size // 12) + "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            "AAECAwQFBgc=\r\n--b--\r\n").encode()


def smtp(server, rng, name):
    s = server.smtp()
    for _ in range(rng.choice((1, 1, 3))):
        s.sendmail("someone@elsewhere.test", [f"{name}@example.test"], message(rng))
    s.quit()


def submission(server, rng, name):
    s = server.submission(name, implicit=rng.random() < 0.5)
    s.sendmail(f"{name}@example.test", [f"{rng.choice(('alice', 'bob'))}@example.test"], message(rng, f"{name}@example.test"))
    s.quit()


def imap(server, rng, name):
    box = server.imap(name)
    count = int(box.select("INBOX")[1][0])
    for do in rng.sample(range(10), 3):
        if count < 2 and do in (1, 4, 5, 6):
            continue
        if do == 0:
            box.fetch("1:*", "(UID FLAGS ENVELOPE BODYSTRUCTURE)")
        elif do == 1:
            box.fetch("1:2", "(BODY[1] BODY.PEEK[HEADER.FIELDS (Subject)])")
        elif do == 2:
            box.append("Drafts", "", None, message(rng))
        elif do == 3:
            box.search(None, "OR", "SUBJECT", '"0.1"', "TEXT", '"words"')
        elif do == 4:
            box.copy("1:2", "Archive")
        elif do == 5:
            box.store("1:2", "+FLAGS", r"(\Seen $label)")
        elif do == 6:
            box.store("1:2", "+FLAGS", r"(\Deleted)")
            box.expunge()
            count = 0                       # perhaps
        elif do == 7:
            box.list()
            box.status("INBOX", "(MESSAGES UIDNEXT)")
        elif do == 8:
            box.send(b"i IDLE\r\n")
            box.readline()
            box.send(b"DONE\r\n")
            box.readline()
            return                          # leaves without a word
        else:
            box.send(b"n NONSENSE\r\n")
            box.readline()
    box.logout()


def pop3(server, rng, name):
    try:
        pop = server.pop3(name)
    except Exception as e:
        if "IN-USE" in repr(e):
            return
        raise
    count = pop.stat()[0]
    pop.uidl()
    if count:
        pop.retr(1)
        pop.top(1, 2)
        if count > 20:
            for n in range(1, 15):
                pop.dele(n)
    pop.quit()


def wrong_password(server, rng, name):
    s = server.raw(993, tls=True)
    s.line()
    s.command(f'a LOGIN "{name}@example.test" "wrong {rng.random()}"', "a ")
    s.close()


def nonsense(server, rng, name):
    """Bytes of no protocol, or the middle of one, then nothing."""
    port = rng.choice(PLAIN_PORTS)
    s = socket.create_connection(("127.0.0.1", server.port(port)), timeout=60)
    pieces = (rng.randbytes(rng.randrange(1, 3000)), b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: cut",
              b"a CAPABILITY\r\nb ID (" + b"(" * 500 + b"\r\n", b"a LOGIN {100000}\r\nx", b"CAPA\r\nUSER a\r\nPASS b\r\n", b"STLS\r\n\x16\x03\x01",
              b"EHLO x\r\nSTARTTLS\r\n\x16\x03\x01\x02\x00\x01", b"\r\n" * 100, b"EHLO " + b"x" * 5000 + b"\r\n")
    try:
        s.sendall(rng.choice(pieces))
        s.settimeout(rng.choice((0.01, 0.2)))
        s.recv(4096)
    except OSError:
        pass
    s.close()


def cut_tls(server, rng, name):
    s = socket.create_connection(("127.0.0.1", server.port(rng.choice((465, 993, 995)))), timeout=60)
    try:
        if rng.random() < 0.5:
            s.sendall(rng.randbytes(200))
        else:
            s = ssl.create_default_context().wrap_socket(s, server_hostname="localhost")  # does not know our CA: breaks off
    except OSError:
        pass
    s.close()


KINDS = ((smtp, 22), (submission, 8), (imap, 16), (pop3, 10), (wrong_password, 1), (nonsense, 33), (cut_tls, 10))


def client(server, seed, todo, lock, counts, failures):
    rng = random.Random(seed)
    while True:
        with lock:
            if todo[0] == 0:
                return
            todo[0] -= 1
        kind = rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
        try:
            kind(server, rng, rng.choice(("alice", "bob")))
        except Exception as e:
            with lock:
                failures[f"{kind.__name__}: {e!r}"[:160]] = failures.get(f"{kind.__name__}: {e!r}"[:160], 0) + 1
        with lock:
            counts[kind.__name__] = counts.get(kind.__name__, 0) + 1


def main():
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"{sessions} sessions, seed {seed}", flush=True)
    begin = time.monotonic()
    server = Watched(build="release", conf=("gates = 1",))
    todo, lock, counts, failures = [sessions], threading.Lock(), {}, {}
    for name in ("alice", "bob"):
        for _ in range(3):
            server.deliver(f"{name}@example.test")
        wait_for(lambda name=name: int(server.imap(name).select("INBOX")[1][0]) >= 3, 60, "the first messages")
    threads = [threading.Thread(target=client, args=(server, seed + i, todo, lock, counts, failures)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        time.sleep(10)
        print(f"  {sum(counts.values())} of {sessions} after {time.monotonic() - begin:.0f} s, {sum(failures.values())} did not go well", flush=True)
    code, report = server.finish()
    print(", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    for what, n in sorted(failures.items(), key=lambda x: -x[1])[:20]:
        print(f"  {n} times: {what}")
    print(re.sub(r"^==\d+== ?", "", report, flags=re.M)[-6000:])
    kept = os.path.join(ROOT, "build/valgrind.txt")
    shutil.copy(server.report, kept)
    errors = re.search(r"ERROR SUMMARY: (\d+) errors", report)
    good = code == 0 and errors and errors.group(1) == "0"
    print(f"{'no error, no leak' if good else 'FOUND SOMETHING: ' + kept} in {sum(counts.values())} sessions ({time.monotonic() - begin:.0f} s)")
    shutil.rmtree(server.dir, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
