"""Several mail servers that send to each other on loopback, with a name server of their own, and peers that behave oddly."""
import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness import Server, expect, free_offset, wait_for
from nameserver import NameServer


class Peer:
    """A mail server that plays a part. What it was given and has acknowledged: messages, each {sender, mail, to, data, tls, login}."""

    def __init__(self, address, port, greeting="220 peer.test ESMTP", keywords=(), certificate=None, rcpt=None, delay=0, drops=0, to_data=(),
                 passwords=None, is_lmtp=False, last_word=None):
        self.greeting, self.keywords, self.certificate = greeting, list(keywords), certificate
        self.rcpt = rcpt or {}          # address: replies, the last one for good
        self.delay, self.drops = delay, drops
        self.to_data = list(to_data)    # replies to the end of a message, before 250
        self.last_word = last_word      # an event that the reply to the end of a message waits for
        self.waiting = 0                # so many do
        self.passwords, self.is_lmtp = passwords, is_lmtp  # passwords: by login name; nobody else may send
        self.messages, self.dropped, self.sessions, self.logins, self.clients = [], [], 0, [], []
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
                sock, client = self.listener.accept()
            except OSError:
                return
            self.sessions += 1
            self.clients.append(client[0])
            threading.Thread(target=self.session, args=(sock,), daemon=True).start()

    def session(self, sock):
        with contextlib.suppress(OSError, EOFError, ssl.SSLError):
            self.talk(sock)
        with contextlib.suppress(OSError):
            sock.close()

    def talk(self, sock):
        stream, tls, sender, to, login = sock.makefile("rb"), False, None, [], None

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
            if verb == ("LHLO" if self.is_lmtp else "EHLO"):
                words = self.keywords + (["STARTTLS"] if self.certificate and not tls else [])
                words += ["AUTH PLAIN"] if self.passwords is not None and (tls or not self.certificate) else []
                say(*[f"250-{w}" for w in ["peer.test", *words]], "250 HELP")
            elif verb == "STARTTLS":
                say("220 go")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.certificate)
                sock = context.wrap_socket(sock, server_side=True)
                stream, tls = sock.makefile("rb"), True
            elif verb == "AUTH":
                _, name, password = base64.b64decode(line.split()[2]).decode().split("\0")
                self.logins.append((name, password, tls))
                login = name if (self.passwords or {}).get(name) == password else None
                say("235 2.7.0 welcome" if login else "535 5.7.8 authentication credentials invalid")
            elif verb == "MAIL" and self.passwords is not None and login is None:
                say("530 5.7.0 authentication required")
            elif verb == "MAIL":
                sender, to, mail = line.split("<")[1].split(">")[0], [], line
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
                    data = bytearray()
                    while not data.endswith(b"\r\n.\r\n"):
                        more = stream.readline()
                        if not more:
                            raise EOFError
                        data += more
                message = {"sender": sender, "mail": mail, "to": to, "data": bytes(data), "tls": tls, "login": login}
                if self.drops:
                    self.drops -= 1
                    self.dropped.append(message)
                    return
                if self.last_word:
                    self.waiting += 1
                    self.last_word.wait(30)
                reply = self.to_data.pop(0) if self.to_data else "250 2.0.0 queued"
                if reply[0] == "2":
                    self.messages.append(message)
                say(*[reply] * (len(to) if self.is_lmtp else 1))
            else:
                say("500 5.5.2 what?")

    def subjects(self):
        return [m["data"].split(b"Subject: ")[1].split(b"\r\n")[0].decode() for m in list(self.messages)]


class World:
    """alice@example.test at 127.0.0.1, bob@other.test at 127.0.0.2; name.peer.test is a part at an address of its own."""

    def __init__(self, servers=(("example.test", ("alice",)), ("other.test", ("bob",))), settings=lambda w: (), **made):
        """settings(world): further lines of facteur.conf. made: what else each Server is made with."""
        self.dir = tempfile.mkdtemp(prefix="facteur-sending-")
        self.dns, self.peers, self.servers, self.next = NameServer(), {}, [], 10
        self.offset = free_offset()
        self.port = 25 + self.offset
        for i, (domain, _) in enumerate(servers, 1):
            self.dns.add(domain, "MX", f"10 mail.{domain}")
            self.dns.add(f"mail.{domain}", "A", f"127.0.0.{i}")
        self.dns.sign("test")
        self.dns.sign("dane.test")
        anchor = self.dns.anchor(os.path.join(self.dir, "anchor"))
        os.chmod(self.dir, 0o755)
        os.chmod(anchor, 0o644)
        conf = (f"dns_server = {self.dns.setting}", f"dns_trust_anchor = {anchor}", f"smtp_port_out = {self.port}", *settings(self))
        with ThreadPoolExecutor(len(servers)) as pool:  # they mostly wait, for themselves
            begun = [pool.submit(Server, address=f"127.0.0.{i}", domain=domain, offset=self.offset, accounts=names, conf=conf, **made)
                     for i, (domain, names) in enumerate(servers, 1)]
        self.servers = [b.result() for b in begun if not b.exception()]
        for failed in [b for b in begun if b.exception()]:
            self.close()
            raise failed.exception()
        self.here, self.there = (self.servers + [None])[:2]

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

    def send(self, *to, subject="hello", body="text\r\n", size=0, options=(), header=""):
        s = self.here.submission("alice")
        text = f"From: alice@example.test\r\nTo: {', '.join(to)}\r\nSubject: {subject}\r\n{header}\r\n{body}" + "x" * 70 * (size > 0) + "\r\n"
        s.sendmail("alice@example.test", list(to), text.encode() + (b"y" * 70 + b"\r\n") * (size // 72), list(options))
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
