"""The whole server in one process (serve --single) under load, for a sanitizer build: tests/stress.py tsan|asan [SECONDS].
Messages come in over several connections while devices read, flag, move, append, idle and leave; afterwards the server's log must be free
of findings, and what was acknowledged must be there."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, Server, expect, wait_for  # noqa: E402


def sender(server, until, acknowledged, lock, number):
    n = 0
    while time.monotonic() < until:
        s = server.smtp() if n % 2 else server.submission("alice")
        for _ in range(10):
            name = random.choice(("alice", "bob"))
            s.sendmail("alice@example.test", [f"{name}@example.test"],
                       f"From: alice@example.test\r\nSubject: stress {number}-{n}\r\n\r\n{'line of text ' * random.randrange(1, 400)}\r\n".encode())
            with lock:
                acknowledged.append(name)
            n += 1
        s.quit()


def device(server, until, name, failures):
    rng = random.Random()
    try:
        while time.monotonic() < until:
            box = server.imap(name)
            box.select("INBOX")
            for _ in range(8):
                do = rng.randrange(6)
                if do == 0:
                    box.fetch("1:*", "(UID FLAGS)")
                elif do == 1:
                    box.store("1:5", rng.choice("+-") + "FLAGS", "(\\Seen)")
                elif do == 2:
                    box.append("Drafts", "", None, b"Subject: draft\r\n\r\nx\r\n")
                elif do == 3:
                    box.search(None, "SUBJECT", '"stress"')
                elif do == 4:
                    box.copy("1:3", "Archive")
                else:
                    box.fetch("1:3", "(BODY.PEEK[])")
                box.noop()
            if rng.randrange(3) == 0:
                time.sleep(2.5)             # parked
                box.noop()
            box.logout()
    except Exception as e:
        failures.append(f"{name}: {e!r}")


def reader(server, until):
    while time.monotonic() < until:
        try:
            pop = server.pop3("bob")
            pop.uidl()
            if pop.stat()[0]:
                pop.retr(1)
            pop.quit()
        except Exception as e:
            if b"IN-USE" not in repr(e).encode():
                raise
        time.sleep(0.3)


def count(server, name):
    box = server.imap(name)
    box.select("INBOX")
    n = len(box.search(None, "SUBJECT", '"stress"')[1][0].split())
    box.logout()
    return n


def main():
    build, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    server = Server(build=build, single=True, env={"TSAN_OPTIONS": "halt_on_error=0 suppressions=" + os.path.join(ROOT, "tests/tsan.supp")})
    acknowledged, lock, failures = [], threading.Lock(), []
    for name in ("alice", "bob"):           # sequence numbers up to 5 exist
        for _ in range(6):
            server.deliver(f"{name}@example.test", subject="stress first")
        wait_for(lambda name=name: count(server, name) >= 6, 30, f"the first messages of {name}")
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=sender, args=(server, until, acknowledged, lock, i)) for i in range(3)]
    threads += [threading.Thread(target=device, args=(server, until, name, failures)) for name in ("alice", "alice", "bob")]
    threads.append(threading.Thread(target=reader, args=(server, until)))
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        expect(not failures, "\n".join(failures))
        for name in ("alice", "bob"):
            wait_for(lambda name=name: count(server, name) >= acknowledged.count(name), 30, f"all of {name}'s messages")
        server.stop()
        expect(not server.findings(), server.findings())
        print(f"{len(acknowledged)} messages, no finding")
    finally:
        server.close()


if __name__ == "__main__":
    main()
