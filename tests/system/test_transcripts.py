"""The transcripts of tests/imap (README.md there) spoken to a real server, in clear and over TLS: gate, frames, pump and cell are in
between, and the pieces arrive as sockets cut them. src/imap/transcript_test.c plays the same files in process. Not played here is what only
that can do: when a waiting session is told depends on the moment (tests/system/test_sessions.py is about that), a guest would come through
his own cell, a limit of three messages is none that a server takes, and a cell sleeps after half a minute only."""
import glob
import os
import re
import socket

from harness import ROOT, Server, expect

ONLY_THERE = re.compile(rb"^@(render|wake|guest|limit|damage|sleep)\b", re.M)


def is_for_servers(path):
    with open(path, "rb") as f:
        return not ONLY_THERE.search(f.read())


FILES = [f for f in sorted(glob.glob(os.path.join(ROOT, "tests/imap/*.txt"))) if is_for_servers(f)]


def make_server():
    """With the people whom @people promises."""
    server = Server(accounts=("bob", "carol"), settings=(("plain_login_loopback", "on"),))
    server.cli("group", "add", "team@example.test", "bob@example.test", "carol@example.test")
    return server


class Play:
    def __init__(self, server, name, tls):
        self.server, self.name, self.tls = server, name, tls
        self.clients, self.unsent = {}, {}

    def client(self, number):
        if number not in self.clients:
            c = self.server.raw(993 if self.tls else 143, tls=self.tls)
            c.line()
            c.command(f'a0 LOGIN {self.name}@example.test "{self.server.passwords[self.name + "@example.test"]}"', "a0 OK")
            self.clients[number] = c
        return self.clients[number]

    def speak(self, number):
        """Lines that follow each other are sent together."""
        if text := self.unsent.pop(number, b""):
            self.client(number).send(text)

    def nothing_left(self):
        for number in list(self.clients):
            self.speak(number)
            expect(not self.clients[number].buffer, f"the server also said {self.clients[number].buffer!r}")

    def said(self, number, text):
        if number not in self.unsent:
            self.nothing_left()
        self.unsent[number] = self.unsent.get(number, b"") + text + b"\r\n"

    def hears(self, number, want):
        self.speak(number)
        line = self.client(number).line(10).encode("utf-8", "surrogateescape")
        pattern = b".*".join(re.escape(part) for part in want.split(b"..."))
        expect(re.fullmatch(pattern, line, re.S), f"want {want!r}, got {line!r}")
        if line.endswith(b" OK DEFLATE active"):
            self.client(number).deflate()

    def is_closed(self, number):
        self.speak(number)
        try:
            line = self.client(number).line(10)
        except (EOFError, ConnectionResetError):
            return
        raise AssertionError(f"not closed, but {line!r}")

    def line(self, text):
        if text.startswith(b"@closed"):
            self.is_closed(int(text.split()[1]))
        elif text == b"@people" or text.split()[:1] in ([b"@park"], [b"@attach"]):  # the gate does that by itself
            pass
        elif text.startswith(b"@eof"):
            self.speak(int(text.split()[1]))
            socket.socket.shutdown(self.client(int(text.split()[1])).sock, socket.SHUT_WR)  # SSLSocket.shutdown() would drop TLS
        elif side := re.match(rb"([CS])(\d?): ?(.*)", text, re.S):
            (self.said if side[1] == b"C" else self.hears)(int(side[2] or 1), side[3])
        else:
            expect(text[:1] in (b"", b"#"), "not a line of a transcript")

    def play(self, path):
        with open(path, "rb") as f:
            for number, text in enumerate(f, 1):
                try:
                    self.line(text.rstrip(b"\n"))
                except Exception as why:
                    raise AssertionError(f"{os.path.basename(path)}:{number}: {why!r}") from why
        self.nothing_left()
        for c in self.clients.values():
            c.close()


def play_all(server, tls):
    for path in FILES:
        name = os.path.basename(path)[:-4] + ("-tls" if tls else "")
        server.cli("account", "add", f"{name}@example.test", "--password-stdin", "--quota", "100000", stdin="a pass phrase of mine\n")
        server.cli("config", "set", "quota_messages", "1000", "--account", f"{name}@example.test")
        server.passwords[f"{name}@example.test"] = "a pass phrase of mine"
        Play(server, name, tls).play(path)
        server.cli("account", "delete", f"{name}@example.test")  # with what it shares: the next one is alone


def test_in_clear(server):
    play_all(server, tls=False)


def test_over_tls(server):
    play_all(server, tls=True)
