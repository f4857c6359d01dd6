"""What leaves: a user who writes to five domains elsewhere, and their one mail server, which counts (tests/leaving.py).

The promises: what was acknowledged arrives; a kill, a power cut or a failing disk repeats at most the last message of each connection that
it cut; and who wrote is told once of what could not be sent. That may happen only where the clock has jumped over the life of a message in
the queue: the server that counts refuses nobody for good.

The history is that of a life, like the model's. At a moment that is only looked at (torture.py) the same mail leaves once more, from a disk
as it was then: it is counted apart, and held against what had come by then."""
import base64
import contextlib
import os
import random
import re
import smtplib
import tempfile
import threading

from clients import Imap, Worker, fetched
from harness import free_offset
from leaving import DESTINATIONS, Counter, judged, repeats
from nameserver import NameServer

WRITER = "erin"
DAY = 86400
LIFETIME = 5 * DAY          # the setting queue_lifetime
ADDRESS = "127.0.6.2"


class Elsewhere:
    """One for a campaign. It makes the lines of facteur.conf that lead the server here."""

    def __init__(self, seed):
        self.rng, self.lock = random.Random(seed), threading.Lock()
        self.folder = tempfile.TemporaryDirectory(prefix="facteur-elsewhere-")
        os.chmod(self.folder.name, 0o755)
        self.dns = NameServer()
        for i in range(DESTINATIONS):
            self.dns.add(f"d{i}.counter.test", "MX", "10 mx.counter.test")
        self.dns.add("mx.counter.test", "A", ADDRESS)
        anchor = self.dns.anchor(os.path.join(self.folder.name, "anchor"))
        os.chmod(anchor, 0o644)
        port = 25 + free_offset()
        self.counter = Counter(ADDRESS, port, self.rng)
        self.conf = (f"dns_server = {self.dns.setting}", f"dns_trust_anchor = {anchor}", f"smtp_port_out = {port}")
        self.forget()

    def close(self):
        self.counter.close()
        self.dns.close()
        self.folder.cleanup()

    def forget(self):
        """A new life begins: nothing of the last one is to come any more."""
        self.last, self.sent, self.acknowledged = 0, set(), set()
        self.may_expire, self.clock, self.twice, self.came_back = 0, 0, 0, 0
        self.counter.connections = []

    def counted(self):
        return {"to_elsewhere": len(self.acknowledged), "came_twice": self.twice, "came_back": self.came_back}

    def take_number(self):
        with self.lock:
            self.last += 1
            self.sent.add(self.last)
            return self.last

    def jumps(self, clock):
        """The clock of the server is set: what was written until now may have waited for days then."""
        with self.lock:
            if clock - self.clock >= LIFETIME - DAY:  # some of it was perhaps put aside hours ago
                self.may_expire = self.last
            self.clock = clock

    # moments that are only looked at ------------------------------------------------------------------------------------------
    def watch(self):
        """What must be on the disk from now on: what was acknowledged, and that these have left."""
        with self.lock:
            acknowledged = set(self.acknowledged)
        return acknowledged, {n for n, came in self.counter.copies().items()
                              if any(not was_last or c.ended == "quit" for c, was_last in came)}

    @contextlib.contextmanager
    def apart(self):
        """Counts what leaves meanwhile by itself."""
        kept, self.counter.connections = self.counter.connections, []
        try:
            yield
        finally:
            self.counter.connections = kept

    # the judgement ------------------------------------------------------------------------------------------------------------
    def judge(self, server):
        """Once the queue is empty. All that is wrong."""
        copies, wrong, told = self.counter.copies(), [], self.told(server)
        for number, times in sorted(told.items()):
            if number not in self.sent:
                wrong.append(f"{WRITER} is told that message {number} was not delivered, which nobody wrote")
            if times > 1:
                wrong.append(f"{WRITER} is told {times} times that message {number} was not delivered")
            if number > self.may_expire:
                wrong.append(f"{WRITER} is told that message {number} was not delivered; it was refused by nobody, and had no {LIFETIME} s")
            if any(not was_last or c.ended == "quit" for c, was_last in copies.get(number, ())):
                wrong.append(f"{WRITER} is told that message {number} was not delivered, and it was")
        self.twice, self.came_back = repeats(copies), len(told)
        return wrong + judged(copies, self.acknowledged - set(told), self.sent)

    def judge_moment(self, watched, came_by_then, server):
        """What left from the disk of an earlier moment; came_by_then: what had come, at the latest, when it was that moment."""
        acknowledged, left = watched
        copies = self.counter.copies()
        missing = sorted(acknowledged - came_by_then - set(copies) - set(self.told(server)))
        again = sorted(left & set(copies))
        wrong = [f"to elsewhere: {len(missing)} acknowledged messages were not on the disk: {missing[:20]}"] if missing else []
        wrong += [f"to elsewhere: messages leave again that had left before that moment: {again[:20]}"] if again else []
        return wrong

    def told(self, server):
        """{number: how often its writer was told that it could not be delivered}"""
        told = {}
        c = Imap(server, WRITER, 60)
        try:
            c.command("EXAMINE INBOX")
            for _, _, _, literals in fetched(c.command("UID FETCH 1:* (BODY.PEEK[])")):
                text = literals[0]
                number = re.findall(rb"^Subject: number (\d+)\r$", text, re.M)
                if re.search(rb"^Action: failed\r$", text, re.M) and number:
                    told[int(number[-1])] = told.get(int(number[-1]), 0) + 1
        finally:
            c.close()
        return told


class Writer(Worker):
    """Submits; what got no answer is never sent again by that name."""

    def __init__(self, server, elsewhere, rng):
        super().__init__(server, None, rng)
        self.elsewhere = elsewhere

    def work(self):
        s = smtplib.SMTP("127.0.0.1", self.server.port(587), timeout=30)
        try:
            s.ehlo("writer.test")
            code, text = s.docmd("AUTH", "PLAIN " + base64.b64encode(self.server.plain(WRITER)).decode())
            if code != 235:
                raise smtplib.SMTPAuthenticationError(code, text)
            for _ in range(self.rng.randrange(1, 30)):
                if self.stopped.is_set():
                    break
                self.write(s)
        finally:
            s.close()

    def write(self, s):
        number = self.elsewhere.take_number()
        size = self.rng.choices((10, 500, 4000, 60000, 1200000), (30, 40, 20, 9, 1))[0]
        text = f"From: {WRITER}@example.test\r\nSubject: number {number}\r\n\r\n" + ("y" * 70 + "\r\n") * (size // 72 + 1)
        s.sendmail(f"{WRITER}@example.test", [f"x@d{self.rng.randrange(DESTINATIONS)}.counter.test"], text.encode())
        with self.elsewhere.lock:
            self.elsewhere.acknowledged.add(number)
        self.stopped.wait(self.rng.random() * 0.02)
