"""Mail between servers: two facteurs on loopback addresses, a name server of our own, and peers that behave oddly. Nothing may be lost,
and nothing come twice where the peer said that it has it."""
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from harness import ROOT, Server, expect, free_offset, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from nameserver import NameServer  # noqa: E402


class Peer:
    """A mail server that plays a part. What it was given and has acknowledged: messages, each {sender, to, data, tls}."""

    def __init__(self, address, port, greeting="220 peer.test ESMTP", keywords=(), certificate=None, rcpt=None, delay=0, drops=0, to_data=()):
        self.greeting, self.keywords, self.certificate = greeting, list(keywords), certificate
        self.rcpt = rcpt or {}          # address: replies, the last one for good
        self.delay, self.drops = delay, drops
        self.to_data = list(to_data)    # replies to the end of a message, before 250
        self.messages, self.dropped, self.sessions = [], [], 0
        self.listener = socket.create_server((address, port), backlog=50)
        self.address = address
        threading.Thread(target=self.run, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sessions += 1
            threading.Thread(target=self.session, args=(sock,), daemon=True).start()

    def session(self, sock):
        with contextlib.suppress(OSError, EOFError, ssl.SSLError):
            self.talk(sock)
        with contextlib.suppress(OSError):
            sock.close()

    def talk(self, sock):
        stream, tls, sender, to = sock.makefile("rb"), False, None, []

        def say(*lines):
            time.sleep(self.delay)
            sock.sendall("".join(line + "\r\n" for line in lines).encode())

        say(self.greeting)
        while True:
            line = stream.readline().decode().rstrip("\r\n")
            verb = line.split(" ")[0].split(":")[0].upper()
            if not line or verb == "QUIT":
                say("221 bye")
                return
            if verb == "EHLO":
                words = self.keywords + (["STARTTLS"] if self.certificate and not tls else [])
                say(*[f"250-{w}" for w in ["peer.test", *words]], "250 HELP")
            elif verb == "STARTTLS":
                say("220 go")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.certificate)
                sock = context.wrap_socket(sock, server_side=True)
                stream, tls = sock.makefile("rb"), True
            elif verb == "MAIL":
                sender, to = line.split("<")[1].split(">")[0], []
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                address = line.split("<")[1].split(">")[0]
                replies = self.rcpt.get(address, ["250 2.1.5 ok"])
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
                if reply[0] == "2":
                    to.append(address)
                say(reply)
            elif verb == "RSET":
                sender, to = None, []
                say("250 2.0.0 ok")
            elif verb in ("DATA", "BDAT") and not to:
                if verb == "BDAT":
                    stream.read(int(line.split()[1]))
                say("554 5.5.1 nobody to give it to")
            elif verb in ("DATA", "BDAT"):
                if verb == "BDAT":
                    data = stream.read(int(line.split()[1]))
                else:
                    say("354 go on")
                    data = b""
                    while not data.endswith(b"\r\n.\r\n"):
                        more = stream.readline()
                        if not more:
                            raise EOFError
                        data += more
                message = {"sender": sender, "to": to, "data": data, "tls": tls}
                if self.drops:
                    self.drops -= 1
                    self.dropped.append(message)
                    return
                reply = self.to_data.pop(0) if self.to_data else "250 2.0.0 queued"
                if reply[0] == "2":
                    self.messages.append(message)
                say(reply)
            else:
                say("500 5.5.2 what?")

    def subjects(self):
        return [m["data"].split(b"Subject: ")[1].split(b"\r\n")[0].decode() for m in list(self.messages)]


class World:
    """alice@example.test at 127.0.0.1, bob@other.test at 127.0.0.2; name.peer.test is a part at an address of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="facteur-sending-")
        self.dns, self.peers, self.servers, self.next = NameServer(), {}, [], 10
        self.offset = free_offset()
        self.port = 25 + self.offset
        for i, domain in enumerate(("example.test", "other.test"), 1):
            self.dns.add(domain, "MX", f"10 mail.{domain}")
            self.dns.add(f"mail.{domain}", "A", f"127.0.0.{i}")
        self.dns.sign("test")
        self.dns.sign("dane.test")
        anchor = self.dns.anchor(os.path.join(self.dir, "anchor"))
        os.chmod(self.dir, 0o755)
        os.chmod(anchor, 0o644)
        conf = (f"dns_server = {self.dns.setting}", f"dns_trust_anchor = {anchor}", f"smtp_port_out = {self.port}")
        try:
            for i, (domain, names) in enumerate((("example.test", ("alice",)), ("other.test", ("bob",))), 1):
                self.servers.append(Server(address=f"127.0.0.{i}", domain=domain, offset=self.offset, accounts=names, conf=conf))
        except BaseException:
            self.close()
            raise
        self.here, self.there = self.servers

    def close(self):
        for s in self.servers:
            s.close()
        for p in self.peers.values():
            p.close()
        self.dns.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        for s in self.servers:
            s.stop()
        return 0

    def log(self):
        return "".join(s.log() for s in self.servers)

    def findings(self):
        return "".join(s.findings() for s in self.servers)

    def certificate(self, name):
        """Of nobody but itself: (chain, key) and the digest a TLSA record 3 1 1 has."""
        chain, key = (os.path.join(self.dir, f"{name}.{kind}") for kind in ("pem", "key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", chain], check=True, capture_output=True)
        public = subprocess.run(["openssl", "x509", "-in", chain, "-noout", "-pubkey"], check=True, capture_output=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True, capture_output=True).stdout
        return (chain, key), subprocess.run(["openssl", "dgst", "-sha256"], input=der, check=True, capture_output=True).stdout.decode().split()[-1]

    def peer(self, name, domain="peer.test", **part):
        address = f"127.0.0.{self.next}"
        self.next += 1
        self.dns.set(f"{name}.{domain}", "MX", f"10 mx.{name}.{domain}")
        self.dns.set(f"mx.{name}.{domain}", "A", address)
        self.peers[name] = Peer(address, self.port, **part)
        return self.peers[name]

    def send(self, *to, subject="hello", body="text\r\n", size=0):
        s = self.here.submission("alice")
        text = f"From: alice@example.test\r\nTo: {', '.join(to)}\r\nSubject: {subject}\r\n\r\n{body}" + "x" * 70 * (size > 0) + "\r\n"
        s.sendmail("alice@example.test", list(to), text.encode() + (b"y" * 70 + b"\r\n") * (size // 72))
        s.quit()

    def retry(self):
        self.here.cli("queue", "retry", check=False)

    def arrives(self, peer, subject, seconds=30, retries=False):
        def there():
            if retries and subject not in peer.subjects():
                self.retry()
                time.sleep(0.3)
            return subject in peer.subjects()
        wait_for(there, seconds, f"{subject} at the peer {peer.address}; the queue: {self.here.cli('queue', 'list')}")
        return [m for m in peer.messages if b"Subject: " + subject.encode() + b"\r\n" in m["data"]]


def make_server():
    return World()


def inbox(server, name, subject, seconds=30):
    """How often it is there, once it is there at all; and the first one."""
    box = server.imap(name)
    box.select("INBOX")
    found = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", f'"{subject}"')[1][0].split(), seconds, f"{subject} at {name}")
    raw = box.fetch(found[0], "(BODY.PEEK[])")[1][0][1]
    box.logout()
    return len(found), raw


def returned(w, about, *words):
    """A bounce to alice that names the recipient; each of the words is in it."""
    box = w.here.imap("alice")
    box.select("INBOX")

    def bounce():
        box.noop()
        for number in box.search(None, "ALL")[1][0].split():
            raw = box.fetch(number, "(BODY.PEEK[])")[1][0][1]
            if b"multipart/report" in raw and about.encode() in raw:
                return raw
        return None
    raw = wait_for(bounce, 30, f"a bounce about {about}; the queue: {w.here.cli('queue', 'list')}")
    box.logout()
    for word in words:
        expect(word.encode() in raw, f"{word} in the bounce:\n{raw.decode(errors='replace')}")
    return raw


def test_mail_goes_both_ways(w):
    w.here.cli("domain", "dns", "example.test")  # its DKIM keys are made when their records are first asked for
    w.send("bob@other.test", subject="there")
    n, raw = inbox(w.there, "bob", "there")
    expect(n == 1 and b"Received: from mail.example.test" in raw, raw)
    expect(b"DKIM-Signature" in raw, raw)
    s = w.there.submission("bob")
    s.sendmail("bob@other.test", ["alice@example.test"], b"From: bob@other.test\r\nSubject: back\r\n\r\nthanks\r\n")
    s.quit()
    n, raw = inbox(w.here, "alice", "back")
    expect(n == 1, raw)


def test_a_large_message(w):
    w.send("bob@other.test", subject="large", size=3_000_000)
    n, raw = inbox(w.there, "bob", "large")
    expect(n == 1 and len(raw) > 3_000_000, f"{n} times, {len(raw)} bytes")


def test_many_messages_over_few_connections(w):
    peer = w.peer("many", keywords=("PIPELINING", "CHUNKING", "SIZE", "8BITMIME"))
    for i in range(20):
        w.send("x@many.peer.test", subject=f"many {i}")
    wait_for(lambda: len(peer.messages) >= 20, 30, "twenty messages")
    expect(sorted(peer.subjects()) == sorted(f"many {i}" for i in range(20)), peer.subjects())
    expect(peer.sessions < 20, f"{peer.sessions} connections for 20 messages")


def test_plain_and_slow_peers_get_their_mail(w):
    peers = {"plain": w.peer("plain"), "slow": w.peer("slow", delay=0.3, keywords=("PIPELINING",)),
             "tls": w.peer("tls", certificate=w.certificate("wrong.name.test")[0])}
    for name in peers:
        w.send(f"x@{name}.peer.test", subject=f"to {name}", body="un café au lait, deux croissants\r\n")
    for name, peer in peers.items():
        got = w.arrives(peer, f"to {name}")
        expect(len(got) == 1, f"{name}: once, not {len(got)} times")
        expect(got[0]["tls"] == (name == "tls"), f"{name}: encrypted as far as it can be")
        expect(b"un caf=C3=A9 au lait, deux" in got[0]["data"] and b"DKIM-Signature" not in got[0]["data"], f"{name} has no 8BITMIME: {got[0]['data']}")


def test_one_host_after_the_other(w):
    busy, works = w.peer("busy", greeting="421 4.3.2 too busy"), w.peer("works")
    w.dns.set("fall.peer.test", "MX", "5 nowhere.peer.test", "10 mx.busy.peer.test", "20 mx.works.peer.test")
    w.dns.set("nowhere.peer.test", "A", "127.0.0.250")  # nothing listens there
    w.send("x@fall.peer.test", subject="falls back")
    expect(len(w.arrives(works, "falls back")) == 1 and busy.sessions == 1, "the first that works, at once")


def test_later_is_later(w):
    grey = w.peer("grey", rcpt={"x@grey.peer.test": ["450 4.7.1 greylisted", "250 2.1.5 ok"]})
    full = w.peer("full", to_data=["452 4.3.1 no room"])
    drops = w.peer("drops", drops=1)
    for name, peer in (("grey", grey), ("full", full), ("drops", drops)):
        w.send(f"x@{name}.peer.test", subject=f"{name} at first")
        got = w.arrives(peer, f"{name} at first", retries=True)
        expect(len(got) == 1, f"{name}: once, not {len(got)} times")
    expect(len(drops.dropped) == 1, "sent again after the connection was lost, and once only")


def test_a_domain_may_be_paused(w):
    """By its administrator: others get their mail, its own waits."""
    paused, other = w.peer("paused"), w.peer("other")
    expect("nothing is sent" in w.here.cli("queue", "pause", "Paused.peer.test"), "said so")
    w.send("x@paused.peer.test", subject="waits")
    w.send("x@other.peer.test", subject="does not wait")
    w.arrives(other, "does not wait")
    rows = {r["destination"]: r for r in w.here.cli_json("queue", "destinations")}
    expect(rows["paused.peer.test"]["condition"] == "paused" and paused.messages == [], (rows, paused.messages))
    w.here.cli("queue", "resume", "paused.peer.test")
    expect(len(w.arrives(paused, "waits")) == 1, "sent when it is resumed")
    expect(w.here.cli("queue", "pause", "no domain", check=False).returncode != 0, "not a domain")


def test_what_can_never_be_comes_back(w):
    w.peer("tiny", keywords=("SIZE 200",))
    part = w.peer("part", rcpt={"no@part.peer.test": ["550 5.1.1 no such person here"]})
    w.dns.set("null.peer.test", "MX", "0 .")
    w.send("x@tiny.peer.test", subject="too large")
    w.send("yes@part.peer.test", "no@part.peer.test", subject="one of two")
    w.send("x@null.peer.test", subject="takes none")
    w.send("x@missing.peer.test", subject="nowhere")
    returned(w, "x@tiny.peer.test", "5.3.4")
    returned(w, "no@part.peer.test", "5.1.1", "no such person here")
    returned(w, "x@null.peer.test", "5.1.10")
    returned(w, "x@missing.peer.test", "5.1.2")
    expect([m["to"] for m in w.arrives(part, "one of two")] == [["yes@part.peer.test"]], "the other one got it, once")


def test_dane(w):
    certificate, digest = w.certificate("mx.good.dane.test")
    good = w.peer("good", domain="dane.test", certificate=certificate)
    bad = w.peer("bad", domain="dane.test", certificate=w.certificate("mx.bad.dane.test")[0])
    clear = w.peer("clear", domain="dane.test")
    for name in ("good", "bad", "clear"):
        w.dns.set(f"_{w.port}._tcp.mx.{name}.dane.test", "TLSA", f"3 1 1 {digest}")
        w.send(f"x@{name}.dane.test", subject=f"dane {name}")
    expect(w.arrives(good, "dane good")[0]["tls"], "proven by its TLSA record")
    wait_for(lambda: bad.sessions > 0 and clear.sessions > 0, 20, "the two others were tried")
    time.sleep(1)
    expect(not bad.messages and not clear.messages, "nothing is given to who cannot prove himself")
