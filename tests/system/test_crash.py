"""kill -9 under load: each role, and all at once; the promise is counted afterwards.

Every message carries a number. A number whose 250 (or OK) was read must be there exactly once; others may be there at most
once. UIDs that a client has seen keep their meaning; flags that were read after a sync stay."""
import imaplib
import os
import random
import re
import signal
import smtplib
import threading
import time

from harness import Server, expect, wait_for

ROUNDS = int(os.environ.get("FACTEUR_CRASH_ROUNDS", "25"))
ROLES = ("queue", "cell", "mx", "gate", "keys", "control", "nursery", "all")


class Load:
    """Sends numbered messages from several threads until told to stop; remembers what was acknowledged."""

    def __init__(self, server, senders=4):
        self.server, self.lock, self.acknowledged, self.tried = server, threading.Lock(), {}, 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(senders)]

    def run(self, index):
        while not self.stop.is_set():
            try:
                s = smtplib.SMTP("127.0.0.1", self.server.port(25), timeout=20)
                while not self.stop.is_set():
                    with self.lock:
                        self.tried += 1
                        number = self.tried
                    to = ["alice@example.test", "bob@example.test"][number % 2]
                    s.sendmail("x@elsewhere.test", [to], f"Subject: no {number:06d}\r\n\r\n{'body ' * 200}\r\n".encode())
                    with self.lock:
                        self.acknowledged[number] = to
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def start(self):
        for t in self.threads:
            t.start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(30)


def numbers_of(server, name):
    box = server.imap(name)
    box.select("INBOX", readonly=True)
    data = box.uid("fetch", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    box.logout()
    found = {}
    for item in data:
        if isinstance(item, tuple):
            uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
            number = re.search(rb"no (\d+)", item[1])
            if number:
                found[uid] = int(number.group(1))
    return found


def test_rounds_of_kill_9():
    seed = int(os.environ.get("FACTEUR_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    server = Server(settings=(("smtp_connections_per_minute_address", 0),))
    seen = {"alice": {}, "bob": {}}
    load = Load(server)
    load.start()
    try:
        for round_number in range(ROUNDS):
            role = ROLES[round_number % len(ROLES)]
            time.sleep(rng.uniform(0.05, 0.5))
            if role == "all":
                server.kill_all()
                server.start(wait=False)
            else:
                for pid in server.pids_of(role):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            if round_number % 5 == 4:
                server.wait_ready()

                def look(name):
                    try:
                        return numbers_of(server, name) or {0: 0}
                    except (OSError, imaplib.IMAP4.error):
                        return None
                for name in seen:
                    now = wait_for(lambda: look(name), 30, f"{name} readable after round {round_number} (seed {seed})")
                    for uid, number in seen[name].items():
                        expect(uid not in now or now[uid] == number, f"uid {uid} changed its meaning (seed {seed})")
                    seen[name] = now
    finally:
        load.end()
    server.wait_ready()
    expect(len(load.acknowledged) > 20, f"only {len(load.acknowledged)} were acknowledged: no load")
    for name in seen:
        want = {n for n, to in load.acknowledged.items() if to.startswith(name)}

        def all_there():
            try:
                return want <= set(numbers_of(server, name).values())
            except (OSError, imaplib.IMAP4.error):
                return False
        try:
            wait_for(all_there, 60, "all acknowledged messages")
        except AssertionError:
            lost = want - set(numbers_of(server, name).values())
            raise AssertionError(f"lost {len(lost)} of {len(want)} for {name}: {sorted(lost)[:10]} (seed {seed})\n" + server.log()[-2000:])
        found = list(numbers_of(server, name).values())
        doubled = {n for n in found if found.count(n) > 1}
        expect(not doubled, f"doubled: {sorted(doubled)[:10]} (seed {seed})")
    server.close()


def test_a_stopped_cell_delays_only_itself():
    server = Server()
    try:
        server.deliver("alice@example.test", subject="wakes the cell")
        box = server.imap("alice")
        box.select("INBOX")
        cells = wait_for(lambda: server.pids_of("cell"), 5, "a cell")
        for pid in cells:
            os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        server.deliver("bob@example.test", subject="others go on")
        other = server.imap("bob")
        other.select("INBOX")
        wait_for(lambda: other.noop() and other.search(None, "SUBJECT", '"others go on"')[1][0], 5, "bob's mail")
        server.deliver("alice@example.test", subject="during the stop")
        expect(time.monotonic() - start < 5, "nobody waits for the stopped cell")
        for pid in cells:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

        def arrived():
            try:
                b = server.imap("alice")
                b.select("INBOX")
                n = len(b.search(None, "SUBJECT", '"during the stop"')[1][0].split())
                b.logout()
                return n
            except (OSError, imaplib.IMAP4.error):
                return 0
        expect(wait_for(arrived, 60, "alice's mail after the stop") == 1, "exactly once")
    finally:
        server.close()
