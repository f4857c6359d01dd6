"""kill -9 under load: each role, and all at once, and with what was not synced taken back; the promise is counted afterwards.

Every message carries a number. A number whose 250 (or OK) was read must be there exactly once; others may be there at most
once. What goes to a group is with all of its members, or with none. UIDs that a client has seen keep their meaning. A device that
remembers a state (uidvalidity, modseq, flags of each uid) and asks for the difference ends with what a fresh look shows: no wrong flag, no message too many."""
import imaplib
import os
import random
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import threading
import time

import powercut
from harness import Server, expect, wait_for

ROUNDS = int(os.environ.get("FACTEUR_CRASH_ROUNDS", "25"))
TEAM = "team@example.test"      # alice and bob
ROLES = ("queue", "cell", "mx", "gate", "keys", "control", "net", "nursery", "all")


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
                    to = ["alice@example.test", "bob@example.test", TEAM][number % 3]
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


class Device:
    """A mirror of alice's INBOX that resynchronises by QRESYNC and, while connected, changes flags and removes messages."""

    def __init__(self, server, rng):
        self.server, self.rng, self.known, self.validity, self.modseq = server, rng, {}, 0, 0
        self.removed = set()                # numbers of the messages it removed, or tried to

    def connect(self):
        self.c = self.server.raw(993, tls=True)
        self.c.line()
        self.ok(f'LOGIN alice@example.test "{self.server.passwords["alice@example.test"]}"')
        self.ok("ENABLE QRESYNC")
        self.has_new = False
        lines = self.ok(f"SELECT INBOX (QRESYNC ({self.validity} {self.modseq}))" if self.validity else "SELECT INBOX")
        validity = int(re.search(r"UIDVALIDITY (\d+)", "\n".join(lines)).group(1))
        if validity != self.validity:
            self.known = {}
        self.validity = validity
        self.learn(lines)

    def ok(self, command):
        lines = self.c.command("d " + command, "d ")
        expect(lines[-1].startswith("d OK"), f"{command}: {lines[-1]}")
        return lines

    def learn(self, lines):
        """Takes in what was said; new messages are fetched before the modseq that covers them is believed."""
        modseq = self.modseq
        for line in lines:
            uid, flags = re.search(r"FETCH \(.*?UID (\d+)", line), re.search(r"FLAGS \(([^)]*)\)", line)
            gone = re.match(r"\* VANISHED (?:\(EARLIER\) )?(\S+)", line)
            self.has_new |= " EXISTS" in line
            if " FETCH " in line and uid and flags:
                self.known[int(uid.group(1))] = frozenset(flags.group(1).split())
            elif gone:
                for part in gone.group(1).split(","):
                    first, _, last = part.partition(":")
                    for uid in [u for u in self.known if int(first) <= u <= int(last or first)]:
                        del self.known[uid]
            modseq = max([modseq] + [int(m) for m in re.findall(r"HIGHESTMODSEQ (\d+)", line)])
        if self.has_new:
            self.has_new = False
            self.learn(self.ok(f"UID FETCH {max(self.known, default=0) + 1}:* (FLAGS)"))
        self.modseq = max(self.modseq, modseq)

    def work(self, until):
        """Random changes until the time or the end of the connection."""
        try:
            self.connect()
            while time.monotonic() < until:
                uids = list(self.known) or [1]
                uid = self.rng.choice(uids)
                do = self.rng.randrange(8)
                if do < 5:
                    self.learn(self.ok(f"UID STORE {uid} {self.rng.choice('+-')}FLAGS ({self.rng.choice(['.Seen', '.Flagged', '.Answered'])})".replace(".", "\\")))
                elif do == 5 and len(uids) > 30:
                    self.learn(self.ok(f"UID STORE {uid} +FLAGS (\\Deleted)"))
                    lines = self.ok(f"UID FETCH {uid} (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
                    self.learn(lines)
                    subject = re.search(r"no (\d+)", " ".join(lines))
                    self.removed |= {int(subject.group(1))} if subject else set()
                    self.learn(self.ok(f"UID EXPUNGE {uid}"))
                self.learn(self.ok("NOOP"))
        except (OSError, EOFError, AttributeError):
            pass

    def check(self, what):
        """A difference from the remembered state must end at what a fresh device sees."""
        before = (self.validity, self.modseq)
        self.connect()
        fresh = Device(self.server, self.rng)
        fresh.connect()
        wrong = {u: (self.known.get(u), fresh.known.get(u)) for u in set(self.known) | set(fresh.known)
                 if self.known.get(u) != fresh.known.get(u)}
        expect(not wrong, f"{what}: after QRESYNC from {before} this device differs: {dict(list(wrong.items())[:5])}")
        self.c.close()
        fresh.c.close()


def look(server, name):
    try:
        return numbers_of(server, name) or {0: 0}
    except (OSError, imaplib.IMAP4.error):
        return None


def with_team(**options):
    server = Server(**options)
    server.cli("group", "add", TEAM, "alice@example.test", "bob@example.test")
    return server


def check_promise(server, load, seen, seed, removed=frozenset()):
    """Everything acknowledged is there once, except what a device may have removed; uids kept their meaning."""
    expect(len(load.acknowledged) > 20, f"only {len(load.acknowledged)} were acknowledged: no load")
    for name in seen:
        want = {n for n, to in load.acknowledged.items() if to.startswith(name) or to == TEAM} - (removed if name == "alice" else set())
        try:
            wait_for(lambda: want <= set((look(server, name) or {}).values()), 60, "all acknowledged messages")
        except AssertionError:
            lost = want - set(numbers_of(server, name).values())
            raise AssertionError(f"lost {len(lost)} of {len(want)} for {name}: {sorted(lost)[:10]} (seed {seed})\n" + server.log()[-3000:])
        now = numbers_of(server, name)
        for uid, number in seen[name].items():
            expect(uid not in now or now[uid] == number, f"uid {uid} changed its meaning (seed {seed})")
        found = list(now.values())
        doubled = {n for n in found if found.count(n) > 1}
        expect(not doubled, f"doubled for {name}: {sorted(doubled)[:10]} (seed {seed})")
        seen[name] = now

    def split():
        return {n for n in set(seen["alice"].values()) ^ set(seen["bob"].values()) if n % 3 == 2} - removed

    def look_again():
        seen.update({name: look(server, name) or seen[name] for name in seen})
        return not split()
    wait_for(lambda: not split() or look_again(), 60, f"no group's message that one has and one has not (seed {seed})")


def test_rounds_of_kill_9():
    seed = int(os.environ.get("FACTEUR_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    server = with_team()
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
                for name in seen:
                    now = wait_for(lambda: look(server, name), 30, f"{name} readable after round {round_number} (seed {seed})")
                    for uid, number in seen[name].items():
                        expect(uid not in now or now[uid] == number, f"uid {uid} changed its meaning (seed {seed})")
                    seen[name] = now
    finally:
        load.end()
    server.wait_ready()
    check_promise(server, load, seen, seed)
    server.close()


def test_rounds_of_power_cuts():
    """Everything is killed at once, and what was not under a sync is dropped or torn file by file (tests/powercut.py)."""
    seed = int(os.environ.get("FACTEUR_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    server = with_team(build="fault")
    server.stop()
    work = tempfile.mkdtemp(prefix="facteur-cut-")
    os.chmod(work, 0o711)                   # the roles write the trace, as users of their own
    base, trace = os.path.join(work, "base"), os.path.join(work, "trace")
    seen = {"alice": {}, "bob": {}}
    acknowledged, tried = {}, 0
    device = Device(server, rng)
    try:
        for round_number in range(ROUNDS):
            powercut.snapshot(server.dir, base)
            open(trace, "wb").close()
            os.chmod(trace, 0o666)
            server.env["FACTEUR_DISK_TRACE"] = trace
            server.start()
            load = Load(server)
            load.acknowledged, load.tried = acknowledged, tried
            load.start()
            device.work(time.monotonic() + rng.uniform(0.3, 1.2))
            server.kill_all()
            load.end()
            acknowledged, tried = load.acknowledged, load.tried
            powercut.rebuild(base, trace, server.dir, rng.randrange(1 << 30), skip=("server.log",))
            del server.env["FACTEUR_DISK_TRACE"]
            server.start()
            check_promise(server, load, seen, f"{seed}, round {round_number}", device.removed)
            device.check(f"seed {seed}, round {round_number}")
            server.stop()
    finally:
        shutil.rmtree(work, ignore_errors=True)
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


def test_a_restored_account_under_a_new_log():
    """An account brought back from a copy, and a queue that was made anew: its log counts from 1 again, and no message is taken for one
    that was delivered long ago under the same number."""
    server = Server(accounts=("alice",))
    copy = tempfile.mkdtemp(prefix="facteur-copy-")
    accounts = os.path.join(server.dir, "accounts")
    try:
        for i in range(3):
            server.deliver("alice@example.test", subject=f"no {i:06d}")
        wait_for(lambda: len(look(server, "alice") or {}) == 3, 10, "three messages")
        server.stop()
        subprocess.run(["cp", "-a", accounts, copy], check=True)
        server.start()
        server.deliver("alice@example.test", subject="no 000003")
        wait_for(lambda: len(look(server, "alice") or {}) == 4, 10, "a fourth after the copy")
        server.stop()
        shutil.rmtree(accounts)
        shutil.rmtree(os.path.join(server.dir, "queue"))
        subprocess.run(["cp", "-a", os.path.join(copy, "accounts"), server.dir], check=True)
        server.start()
        for i in range(10, 20):
            server.deliver("alice@example.test", subject=f"no {i:06d}")
        wait_for(lambda: sorted((look(server, "alice") or {}).values()) == [0, 1, 2] + list(range(10, 20)), 15, "the three of the copy, ten new ones")
    finally:
        server.close()
        shutil.rmtree(copy, ignore_errors=True)
