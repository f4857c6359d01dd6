"""Sessions between gate and cells: no news lost over parking, cells that die, the end of the server, compression while parked."""
import os
import random
import re
import signal
import socket
import threading
import time
import zlib

from harness import Server, expect, wait_for

ALICE = "alice@example.test"
MESSAGES = 20


def make_server():
    return Server(settings=(("plain_login_loopback", "on"),))


def open_inbox(server, tls=True):
    c = server.raw(993 if tls else 143, tls=tls)
    c.line()
    c.command(f'a login {ALICE} "{server.passwords[ALICE]}"', "a OK")
    c.command("b select INBOX", "b OK")
    return c


def waits(server, number):
    """True when so many sessions are parked."""
    return sum(s["parked"] for s in server.cli_json("sessions")) >= number


class Device(threading.Thread):
    """Idles, ends idling, asks, pauses, at random, until it has seen as many messages as there are."""

    def __init__(self, server, number, goal):
        super().__init__()
        self.server, self.random, self.goal = server, random.Random(number), goal
        self.tls, self.exists, self.problem = number % 2 == 0, 0, None

    def run(self):
        try:
            self.work()
        except Exception as e:
            self.problem = f"{e!r}, saw {self.exists} of {self.goal}"

    def take(self, line):
        found = re.match(r"\* (\d+) EXISTS", line)
        if found:
            expect(int(found[1]) >= self.exists, f"EXISTS went from {self.exists} to {found[1]}")
            self.exists = int(found[1])

    def until(self, c, prefix):
        line = ""
        while not line.startswith(prefix):
            line = c.line(30)
            self.take(line)

    def work(self):
        c = self.server.raw(993 if self.tls else 143, tls=self.tls)
        c.line()
        c.command(f'a login {ALICE} "{self.server.passwords[ALICE]}"', "a OK")
        c.send("b select INBOX\r\n")
        self.until(c, "b OK")
        until = time.monotonic() + 40
        while self.exists < self.goal:
            expect(time.monotonic() < until, "all news within 40 s")
            if self.random.random() < 0.3:
                c.send("n noop\r\n")
                self.until(c, "n OK")
                time.sleep(self.random.random() * 0.3)
                continue
            c.send("i idle\r\n")
            self.until(c, "+")
            pause = time.monotonic() + self.random.random() * self.random.choice((0.05, 0.3, 3))
            while time.monotonic() < pause and self.exists < self.goal:
                try:
                    self.take(c.line(max(pause - time.monotonic(), 0.01)))
                except (TimeoutError, socket.timeout):
                    pass
            c.send("DO")      # half a word keeps it from being parked
            c.send("NE\r\n")
            self.until(c, "i OK")
        c.close()


def test_no_news_is_lost(server):
    idle = [open_inbox(server, tls=i % 2 == 0) for i in range(10)]
    for c in idle:
        c.send("i idle\r\n")
        c.until("+")
    devices = [Device(server, number, MESSAGES) for number in range(10)]
    for d in devices:
        d.start()
    for i in range(MESSAGES):
        server.deliver(ALICE, subject=f"news {i}")
        time.sleep(random.random() * 0.3)
    for d in devices:
        d.join(60)
        expect(d.problem is None, d.problem)
    for c in idle:     # those that only wait hear it at once
        c.until(f"* {MESSAGES} EXISTS", 5)
        c.close()


def test_a_cell_that_dies(server):
    waiting, busy = open_inbox(server), open_inbox(server)
    waiting.send("i idle\r\n")
    waiting.until("+")
    wait_for(lambda: waits(server, 1), 5, "the idle one is parked")
    busy.command("n noop", "n OK")
    cell = server.pids_of("cell")[0]
    os.kill(cell, signal.SIGKILL)
    expect(busy.line(5).startswith("* BYE"), "the one that was attached is told")
    server.deliver(ALICE, subject="after the crash")
    # the one that waited is told to look at everything again: flags it knows may be lost (store/state.c)
    expect(waiting.line(10).startswith("* BYE"), "the one that waited is told")
    waiting.close()
    again = open_inbox(server)
    expect(f"* {MESSAGES + 1} EXISTS" in again.command("c select INBOX", "c OK"), "the message is there")
    again.close()


def test_compressed_and_parked(server):
    c = open_inbox(server)
    c.command("c compress deflate", "c OK")
    out, back = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    def says(text):
        c.sock.sendall(out.compress(text.encode()) + out.flush(zlib.Z_SYNC_FLUSH))

    def hears(word, got=b""):
        c.sock.settimeout(10)
        while word not in got:
            got += back.decompress(c.sock.recv(65536))
        return got

    for i in range(5):
        says(f"i{i} idle\r\n")
        hears(b"+")
        wait_for(lambda: waits(server, 1), 5, "it is parked")
        server.deliver(ALICE, subject=f"compressed {i}")
        hears(b"EXISTS")
        says("DONE\r\n")
        hears(f"i{i} OK".encode())
        says(f"f{i} fetch 1:* (flags envelope)\r\n")
        expect(hears(f"f{i} OK".encode()).count(b"FETCH (") == MESSAGES + 2 + i, "all messages")
    c.close()


def test_notify_hears_without_idle(server):
    c, other = open_inbox(server), open_inbox(server)
    before = sum(s["parked"] for s in server.cli_json("sessions"))
    c.command("c unselect", "c OK")
    c.command("n notify set (personal (MessageNew MessageExpunge FlagChange MailboxName))", "n OK")
    server.deliver(ALICE, subject="while it is attached")
    c.until("* STATUS INBOX (MESSAGES ", 5)
    wait_for(lambda: waits(server, before + 2), 10, "both are parked")
    server.deliver(ALICE, subject="while it is parked")
    c.until("* STATUS INBOX (MESSAGES ", 5)
    other.command("o create heard", "o OK")
    c.until('* LIST (\\HasNoChildren) "/" heard', 5)
    c.command("e noop", "e OK")
    c.close()
    other.close()


def test_goodbye_at_the_end(server):
    idle, busy, new = open_inbox(server), open_inbox(server), server.raw(110)
    idle.send("i idle\r\n")
    idle.until("+")
    new.line()
    server.stop()
    expect(idle.until("* BYE", 5), "the idle one is told")
    expect(busy.until("* BYE", 5), "the busy one is told")
    expect(new.line(5).startswith("-ERR"), "who had not logged in is told")
    server.start()


def test_a_cell_that_is_killed_says_so(server):
    """Who waited for its news is told that it was interrupted, in the language of the session, and not that much has changed."""
    sentences = {"en": "* BYE [UNAVAILABLE] the process of this mailbox was interrupted", "fr": "* BYE [UNAVAILABLE] le processus de cette boîte a été interrompu"}
    waiting = {lang: server.raw(143) for lang in sentences}
    for lang, c in waiting.items():
        c.line()
        c.command(f'a login alice@example.test "{server.passwords["alice@example.test"]}"', "a OK")
        c.command(f"a language {lang}", "a OK")
        c.command("a select INBOX", "a OK")
        c.send("a idle\r\n")
        c.until("+")
    server.deliver("alice@example.test", "before")
    for c in waiting.values():
        c.until("* ")
    wait_for(lambda: all(s["parked"] for s in server.cli_json("sessions", "alice@example.test")), 10, "both wait")
    for pid in server.pids_of("cell"):
        os.kill(pid, signal.SIGKILL)
    server.deliver("alice@example.test", "after")
    for lang, c in waiting.items():
        expect(any(line.startswith(sentences[lang]) for line in c.until("* BYE")), f"the true sentence, {lang}")
        c.close()
