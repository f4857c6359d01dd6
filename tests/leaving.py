#!/usr/bin/env python3
"""Mail that leaves while processes are killed: all of it arrives, and none twice but for what the kill interrupted.

    make torture-sending [MESSAGES=10000] [SEED=n] [ROUNDS=1]      (tests/system/test_leaving.py does it with a few hundred)

Users submit to domains elsewhere, whose one mail server counts: what it has said 250 to, over which connection, and how each connection
ended. Meanwhile `net`, `queue`, both, or everything is killed at random moments. Then:

  - what was acknowledged here has arrived;
  - a message that came twice was, each time but the last, the last one that a connection carried which ended without QUIT: so a kill
    repeats at most one message for each connection that was open. (RFC 5321 §6.1 wants the receiver quick about its reply for the same
    reason: the 250 was under way, or here and not yet on disk.)
  - nothing came that nobody sent."""
import argparse
import asyncio
import base64
import collections
import contextlib
import os
import random
import re
import shutil
import signal
import smtplib
import ssl
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Server, alive, expect, free_offset, wait_for  # noqa: E402
from nameserver import NameServer  # noqa: E402

DESTINATIONS = 5
SENDERS = 4
LOST = (OSError, EOFError, smtplib.SMTPException, ssl.SSLError, AssertionError)


class Connection(asyncio.Protocol):
    """One session with the server that counts."""

    def __init__(self, counter):
        self.counter, self.buffer, self.taken, self.ended = counter, b"", [], None
        self.is_data, self.recipients = False, 0
        counter.connections.append(self)

    def connection_made(self, transport):
        self.transport = transport
        self.say("220 counter.test ESMTP")

    def connection_lost(self, _):
        self.ended = self.ended or "cut"

    def say(self, text):
        self.transport.write(text.encode() + b"\r\n")

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n.\r\n" if self.is_data else b"\r\n")
            if end < 0:
                return
            piece, self.buffer = self.buffer[:end], self.buffer[end + (5 if self.is_data else 2):]
            if self.is_data:
                self.message(piece)
            else:
                self.command(piece.split(b" ")[0].upper())

    def command(self, verb):
        if verb == b"EHLO":
            self.say("250-counter.test\r\n250-8BITMIME\r\n250 PIPELINING")
        elif verb == b"DATA":
            self.is_data, self.recipients = self.recipients > 0, 0
            self.say("354 go on" if self.is_data else "554 5.5.1 nobody to give it to")
        elif verb == b"QUIT":
            self.ended = "quit"
            self.say("221 bye")
            self.transport.close()
        elif verb == b"RCPT" and self.counter.rng.random() < self.counter.later:
            self.say("450 4.2.1 not now")
        else:
            self.recipients += verb == b"RCPT"
            self.say("250 ok")

    def message(self, text):
        """It is taken now; that it was is said a moment later, or never heard."""
        self.is_data = False
        number = int(re.search(rb"^Subject: number (\d+)", text, re.M).group(1))
        self.taken.append(number)
        asyncio.get_running_loop().call_later(self.counter.rng.uniform(0, self.counter.slow_s), self.say, "250 2.0.0 taken")


class Counter:
    """A mail server in a thread of its own, at one address. later: how many recipients it puts off; slow_s: how long a 250 takes at most."""

    def __init__(self, address, port, rng, later=0.01, slow_s=0.03):
        self.connections, self.rng, self.later, self.slow_s = [], rng, later, slow_s
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(self.loop.create_server(lambda: Connection(self), address, port, backlog=500))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def copies(self):
        """{number: [(connection, was the last one there)]}, in the order of connections."""
        found = collections.defaultdict(list)
        for c in list(self.connections):
            for i, number in enumerate(list(c.taken)):
                found[number].append((c, i == len(c.taken) - 1))
        return found

    def close(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class Leaving:
    """The server under test, its users, and who counts."""

    def __init__(self, seed, build=None, address="127.0.5.1"):
        self.rng = random.Random(seed)
        self.dir = tempfile.mkdtemp(prefix="facteur-leaving-")
        os.chmod(self.dir, 0o755)
        self.dns, self.counter, self.server = NameServer(), None, None
        self.lock, self.next, self.acknowledged, self.sent, self.kills = threading.Lock(), 0, set(), set(), []
        try:
            for i in range(DESTINATIONS):
                self.dns.add(f"d{i}.counter.test", "MX", "10 mx.counter.test")
            self.dns.add("mx.counter.test", "A", "127.0.5.2")
            anchor = self.dns.anchor(f"{self.dir}/anchor")
            os.chmod(anchor, 0o644)
            offset = free_offset()
            self.counter = Counter("127.0.5.2", 25 + offset, random.Random(seed + 1))
            self.server = Server(build=build, address=address, offset=offset, accounts=("alice", "bob"), conf=(
                f"dns_server = {self.dns.setting}", f"dns_trust_anchor = {anchor}", f"smtp_port_out = {25 + offset}"),
                settings=(("submit_recipients_per_hour", 10000000), ("submit_recipients_per_day", 10000000), ("submit_watch", "off"),
                          ("plain_login_loopback", "on")))
        except BaseException:
            self.close()
            raise

    def close(self):
        for part in (self.server, self.counter, self.dns):
            if part:
                part.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # users -------------------------------------------------------------------------------------------------------------------
    def number(self):
        with self.lock:
            self.next += 1
            self.sent.add(self.next)
            return self.next

    def submit(self, wanted):
        """A user's program: it goes on until so many are acknowledged in all. What got no answer is never sent again by that name."""
        rng, session = random.Random(self.rng.random()), None
        until = time.monotonic() + 600
        while len(self.acknowledged) < wanted:
            expect(time.monotonic() < until, f"only {len(self.acknowledged)} of {wanted} were accepted within 600 s")
            try:
                session = session or self.login(rng.choice(("alice", "bob")))
                number = self.number()
                text = f"From: alice@example.test\r\nSubject: number {number}\r\n\r\n" + "x" * rng.choice((10, 500, 900)) + "\r\n"
                text += "y" * 70 + "\r\n" if rng.random() < 0.9 else ("y" * 70 + "\r\n") * rng.choice((50, 800))
                session.sendmail(session.who, [f"x@d{rng.randrange(DESTINATIONS)}.counter.test"], text.encode())
                with self.lock:
                    self.acknowledged.add(number)
            except LOST:
                with contextlib.suppress(Exception):
                    session.close()
                session = None
                time.sleep(0.05)
        session and session.close()

    def login(self, name):
        s = smtplib.SMTP(self.server.address, self.server.port(587), timeout=30)
        s.who = f"{name}@example.test"
        s.ehlo()
        s.user, s.password = s.who, self.server.passwords[s.who]
        code, text = s.docmd("AUTH", "PLAIN " + base64.b64encode(self.server.plain(name)).decode())
        expect(code == 235, text)
        return s

    # kills -------------------------------------------------------------------------------------------------------------------
    def open_connections(self):
        return sum(c.ended is None for c in list(self.counter.connections))

    def kill(self, what):
        """net, queue, both at once, or everything. Notes how many connections it cut."""
        server = self.server
        self.kills.append((what, self.open_connections()))
        if what == "all":
            server.kill_all()
            server.start()
            return
        pids = [p for role in (("net", "queue") if what == "both" else (what,)) for p in server.pids_of(role)]
        for sig in (signal.SIGSTOP, signal.SIGKILL):  # at the same moment
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
        wait_for(lambda: not any(alive(p) for p in pids), 10, "killed processes are gone")

    def run(self, messages, kills, pause_s):
        """Submits, and kills in this order at random moments; then everything settles."""
        users = [threading.Thread(target=self.submit, args=(messages,)) for _ in range(SENDERS)]
        for u in users:
            u.start()
        for what in kills:
            arrived = len(self.counter.copies())
            wait_for(lambda: len(self.counter.copies()) > arrived + 20 or len(self.acknowledged) >= messages, 120, "mail leaves again after a kill")
            time.sleep(self.rng.uniform(0, pause_s))
            self.kill(what)
        for u in users:
            u.join()
        self.settle()

    def settle(self):
        """Until nothing is left here; what was put off is tried now."""
        def is_empty():
            try:
                self.server.cli("queue", "retry")
                status = self.server.cli_json("queue", "status")
            except AssertionError:  # a killed role is not back yet
                return False
            return status["backlog"] == status["deferred"] == 0
        until = time.monotonic() + 300
        while not is_empty():
            if time.monotonic() > until:
                raise AssertionError("not all has left: " + self.server.cli("queue", "status") + self.server.cli("queue", "list")[:3000])
            time.sleep(0.5)

    # the judgement -----------------------------------------------------------------------------------------------------------
    def judge(self):
        """Raises with what was wrong; else a summary."""
        copies = self.counter.copies()
        wrong = judged(copies, self.acknowledged, self.sent)
        expect(not wrong, "; ".join(wrong[:20]))
        twice, cut = repeats(copies), sum(n for _, n in self.kills)
        expect(twice <= cut, f"{twice} copies too many, and only {cut} connections were cut")
        return {"acknowledged": len(self.acknowledged), "arrived": len(copies), "kills": len(self.kills), "connections cut": cut,
                "came twice": twice}


def repeats(copies):
    """How many copies came beyond the first ones."""
    return sum(len(came) - 1 for came in copies.values())


def judged(copies, acknowledged, sent):
    """What was wrong with what came (Counter.copies()), in words."""
    missing, strange = sorted(acknowledged - set(copies)), sorted(set(copies) - sent)
    wrong = [f"{len(missing)} acknowledged messages have not arrived: {missing[:20]}"] if missing else []
    wrong += [f"nobody sent these, and they came: {strange[:20]}"] if strange else []
    for number, came in copies.items():
        for connection, was_last in came[:-1]:
            if not was_last or connection.ended == "quit":
                wrong.append(f"message {number} came {len(came)} times, and a connection that had it "
                             + ("ended with QUIT" if was_last else "went on to carry others"))
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--messages", type=int, default=10000)
    p.add_argument("--kills", type=int, default=20)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--build", default="release")
    args = p.parse_args()
    for seed in range(args.seed, args.seed + args.rounds):
        with contextlib.closing(Leaving(seed, args.build)) as leaving:
            kinds = leaving.rng.choices(("net", "queue", "both", "all"), (4, 4, 3, 1), k=args.kills)
            start = time.monotonic()
            try:
                leaving.run(args.messages, kinds, 3)
                said = leaving.judge()
            except AssertionError as why:
                kept = f"build/torture/leaving-{seed}.log"
                os.makedirs("build/torture", exist_ok=True)
                shutil.copy(leaving.server.log_path, kept)
                sys.exit(f"seed {seed}: {why}\nits log: {kept}")
            print(f"seed {seed}: " + ", ".join(f"{k} {v}" for k, v in said.items()) + f" ({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
