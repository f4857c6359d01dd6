"""Mail between three facteurs and Debian's Postfix, all ways, and to Debian's Dovecot. What arrives is what was sent, once, signed and encrypted as it should be."""
import base64
import contextlib
import email
import glob
import itertools
import json
import os
import smtplib
import subprocess
import sys

from harness import ROOT, Skipped, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
import debian  # noqa: E402
from world import World, inbox, returned  # noqa: E402

USERS = {"alice": "example.test", "bob": "other.test", "carol": "third.test", "dave": "postfix.test"}


class All(World):
    """A World with a third facteur, and dave@postfix.test, whose mail Postfix puts into files."""

    def __init__(self):
        self.postfix, self.why = None, None
        super().__init__(servers=[(domain, (name,)) for name, domain in USERS.items() if name != "dave"])
        self.third = self.servers[2]
        self.boxes = os.path.join(self.dir, "boxes")
        os.mkdir(self.boxes)
        os.chown(self.boxes, 65534, 65534)
        for s in self.servers:
            s.cli("domain", "dns", s.domain)  # its keys are made when their records are first asked for
        try:
            debian.prepare()
        except RuntimeError as why:
            self.why = str(why)
            return
        try:
            self.start_postfix()
        except BaseException:
            self.close()
            raise

    def start_postfix(self):
        (chain, key), digest = self.certificate("mail.postfix.test")
        for path in (chain, key):
            os.chmod(path, 0o600)
        self.dns.sign("postfix.test")
        self.dns.add("postfix.test", "MX", "10 mail.postfix.test")
        self.dns.add("mail.postfix.test", "A", "127.0.0.9")
        self.dns.add(f"_{self.port}._tcp.mail.postfix.test", "TLSA", f"3 1 1 {digest}")
        routes = ", ".join(f"{{ {s.domain} = smtp:[{s.address}]:{self.port} }}" for s in self.servers)
        self.postfix = debian.Postfix("127.0.0.9", self.port, "mail.postfix.test", f"""
transport_maps = inline:{{ {routes} }}
virtual_mailbox_domains = postfix.test
virtual_alias_maps = inline:{{ {{ passes@postfix.test = nobody@third.test }} }}
virtual_mailbox_base = {self.boxes}
virtual_mailbox_maps = inline:{{ {{ dave@postfix.test = dave/ }} }}
virtual_mailbox_limit = 0
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_security_level = may
smtpd_tls_cert_file = {chain}
smtpd_tls_key_file = {key}
smtpd_tls_received_header = yes
smtp_tls_security_level = encrypt
disable_dns_lookups = yes
smtpd_peername_lookup = no
""")

    def close(self):
        if self.postfix:
            self.postfix.close()
        super().close()

    def log(self):
        return super().log() + (self.postfix.log() if self.postfix else "")

    # what each user does, wherever he is
    def send_as(self, name, *to, subject, body="text\r\n", sender=None):
        who = sender or f"{name}@{USERS[name]}"
        text = f"From: {who}\r\nTo: {', '.join(to)}\r\nSubject: {subject}\r\n\r\n{body}".encode()
        if name == "dave":
            s = smtplib.SMTP(self.postfix.address, self.postfix.port, timeout=30)
        else:
            s = self.server_of(name).submission(name)
        s.sendmail(who, list(to), text, ["BODY=8BITMIME"])
        s.quit()

    def server_of(self, name):
        return next(s for s in self.servers if s.domain == USERS[name])

    def received(self, name, subject):
        """The messages with this subject, once there is one."""
        if name != "dave":
            n, raw = inbox(self.server_of(name), name, subject)
            return [raw] * n

        def found():
            all_of_them = []
            for path in glob.glob(f"{self.boxes}/dave/new/*"):
                with open(path, "rb") as f:
                    all_of_them.append(f.read().replace(b"\n", b"\r\n"))
            return [m for m in all_of_them if f"Subject: {subject}\r\n".encode() in m]
        return wait_for(found, 30, f"{subject} at dave")


def make_server():
    return All()


def real(w):
    if w.why:
        raise Skipped(w.why)
    return w


def test_everybody_to_everybody(w):
    real(w)
    pairs = list(itertools.permutations(USERS, 2))
    for a, b in pairs:
        w.send_as(a, f"{b}@{USERS[b]}", subject=f"{a} to {b}", body="un café, s'il te plaît\r\n.\r\n..\r\n")
    for a, b in pairs:
        got = w.received(b, f"{a} to {b}")
        expect(len(got) == 1, f"{a} to {b}: once, not {len(got)} times")
        expect("un café, s'il te plaît\r\n.\r\n..\r\n".encode() in got[0], f"{a} to {b} as it was written: {got[0]}")
        if a != "dave":
            expect(b"DKIM-Signature" in got[0], f"{a} to {b} is signed: {got[0]}")


def test_postfix_was_given_it_encrypted(w):
    """By a certificate that only its TLSA record proves."""
    raw = real(w).received("dave", "alice to dave")[0]
    expect(b"using TLSv1.3" in raw and b"with ESMTPS" in raw, raw)


def test_signatures_are_good_where_they_arrive(w):
    real(w)
    texts = {r["name"] + ".": r["value"] for s in w.servers for r in s.cli_json("domain", "dns", s.domain) if r["type"] == "TXT"}
    messages = [w.received(b, f"{a} to {b}")[0] for a, b in (("alice", "dave"), ("carol", "dave"), ("bob", "carol"))]
    asked = {"texts": texts, "messages": [base64.b64encode(m).decode() for m in messages]}
    done = subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "tests/dkim/verify.py")], input=json.dumps(asked).encode(), capture_output=True)
    expect(done.returncode == 0, done.stderr.decode())
    expect(json.loads(done.stdout) == [["ed25519-sha256", "rsa-sha256"]] * 3, f"both signatures of each: {done.stdout} {messages}")


def test_a_large_message_is_the_same_there(w):
    body = "".join(f"line {i} of many\r\n" for i in range(150000))
    real(w).send_as("alice", "dave@postfix.test", "bob@other.test", subject="large", body=body)
    for name in ("dave", "bob"):
        got = w.received(name, "large")
        expect(len(got) == 1 and got[0].split(b"\r\n\r\n", 1)[1] == body.encode(), f"{name}: {len(got)} times, {len(got[0])} bytes")


def test_what_postfix_refuses_comes_back(w):
    real(w).send_as("alice", "nobody@postfix.test", subject="to nobody there")
    returned(w, "nobody@postfix.test", "5.1.1", "User unknown")


def test_what_facteur_refuses_postfix_reports(w):
    real(w).send_as("dave", "nobody@example.test", subject="to nobody here")
    report = email.message_from_bytes(w.received("dave", "Undelivered Mail Returned to Sender")[0])
    expect(report.get_content_type() == "multipart/report" and "550 5.1.1" in report.as_string(), report.as_string())


def test_a_bounce_of_what_was_forwarded_finds_its_way_back(w):
    """bob writes to an alias here that leads to dave, and to an address of Postfix's that leads to nobody at third.test. Postfix's report
    goes to the address of ours that the message was forwarded with (SRS), and from there to bob."""
    real(w).here.cli("alias", "add", "far@example.test", "passes@postfix.test", "dave@postfix.test")
    w.send_as("bob", "far@example.test", subject="by an alias")
    got = w.received("dave", "by an alias")[0]
    expect(got.startswith(b"Return-Path: <SRS0=") and b"@example.test>" in got.split(b"\r\n")[0], f"a sender of ours, so that SPF passes: {got}")
    n, raw = inbox(w.there, "bob", "Undelivered Mail Returned to Sender")
    expect(n == 1 and b"nobody@third.test" in raw and b"550 5.1.1" in raw, raw)


def test_a_domain_whose_mailboxes_are_at_dovecot(w):
    """erin and frank by LMTP, each with an answer of their own; nobody has none."""
    real(w)
    with contextlib.closing(debian.Dovecot("127.0.0.10", debian.free_ports(1)[0], ("erin@dovecot.test", "frank@dovecot.test"))) as dovecot:
        w.here.cli("route", "add", "dovecot.test", f"lmtp:{dovecot.address}:{dovecot.port}")
        w.send_as("alice", "erin@dovecot.test", "frank@dovecot.test", "nobody@dovecot.test", subject="by LMTP", body="un café\r\n.\r\n")
        for user in ("erin", "frank"):
            got = wait_for(lambda: dovecot.messages(user), 30, f"{user} gets it; {dovecot.log()}{w.here.cli('queue', 'list')}")
            expect(len(got) == 1 and "Subject: by LMTP\r\n".encode() in got[0] and got[0].endswith("un café\r\n.\r\n".encode()), got)
        returned(w, "nobody@dovecot.test", "5.1.1")
