"""Every way to log in, and every way not to: literals, SASL with and without initial response, SCRAM with and without channel
binding, STARTTLS and what somebody could slip in behind it, wrong names and wrong passwords."""
import base64
import hashlib
import hmac
import json
import os
import signal
import ssl
import statistics
import subprocess
import sys
import time

from harness import ROOT, Lines, Server, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from tokens import Issuer, openssl  # noqa: E402


def make_server():
    s = Server(settings=[("scram", "on")], accounts=("alice", "bob", "carol"))
    reply = s.cli_json("app-password", "add", "alice@example.test", "phone")
    s.app_password = find(reply, "password")
    return s


def find(value, key):
    """The value of this key somewhere in the answer of a command."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            return value[key]
        value = list(value.values())
    for v in value if isinstance(value, list) else []:
        found = find(v, key)
        if found is not None:
            return found
    return None


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def tls(server, port):
    c = server.raw(port, tls=True)
    c.line()
    return c


def start_tls(server, c):
    return Lines(server.tls().wrap_socket(c.sock, server_hostname="localhost"))


def plain(server, name="alice", password=None):
    return b64(f"\0{name}@example.test\0{password or server.passwords[name + '@example.test']}")


def test_imap_literals(server):
    name, password = b"bob@example.test", server.passwords["bob@example.test"].encode()
    c = tls(server, 993)
    c.send(f"a LOGIN {{{len(name)}}}\r\n")
    c.until("+")
    c.send(name + f" {{{len(password)}}}\r\n".encode())
    c.until("+")
    c.send(password + b"\r\n")
    expect(c.until("a ")[-1].startswith("a OK [CAPABILITY "), "synchronising literals")
    c.close()
    c = tls(server, 993)
    c.send(f"a LOGIN {{{len(name)}+}}\r\n".encode() + name + f" {{{len(password)}+}}\r\n".encode() + password + b"\r\nb SELECT INBOX\r\n")
    expect(c.until("a ")[-1].startswith("a OK"), "literals that do not wait")
    expect(c.until("b ")[-1].startswith("b OK"), "what came behind the login is for the session")
    c.close()


def test_last_word_reaches_who_is_still_sending(server):
    for port, sent, word in ((993, b"a LOGIN {2000000+}\r\n", "* BYE this command is too long"), (110, b"", "-ERR ")):
        c = server.raw(port, tls=port == 993)
        c.line()
        c.send(sent)
        for _ in range(30):                                    # refused long before its end: no write fails
            c.send(b"x" * 100000)
            time.sleep(0.005)
        expect(c.line().startswith(word), "why it ends")
        try:
            rest = c.line()
        except EOFError:                                       # and the end, no reset
            continue
        raise AssertionError(f"nothing is said behind the last word: {rest}")


def test_imap_authenticate(server):
    c = tls(server, 993)
    expect(c.command("a AUTHENTICATE PLAIN " + plain(server), "a ")[-1].startswith("a OK"), "SASL-IR")
    c.close()
    c = tls(server, 993)
    c.command("a AUTHENTICATE PLAIN", "+")
    expect(c.command("*", "a ")[-1].startswith("a BAD"), "cancelled")
    c.command("b AUTHENTICATE LOGIN", "+")
    c.command(b64("alice@example.test"), "+")
    expect(c.command(b64(server.passwords["alice@example.test"]), "b ")[-1].startswith("b OK"), "LOGIN")
    c.close()


class Scram:
    """The client's side of RFC 5802 with SHA-256, with channel binding if a certificate is given."""

    def __init__(self, name, password, certificate=None):
        self.password = password
        self.gs2 = "p=tls-server-end-point,," if certificate else "n,,"
        self.binding = hashlib.sha256(certificate).digest() if certificate else b""
        self.bare = f"n={name},r={b64(os.urandom(18))}"

    def first(self):
        return b64(self.gs2 + self.bare)

    def final(self, challenge):
        server_first = base64.b64decode(challenge).decode()
        fields = dict(f.split("=", 1) for f in server_first.split(","))
        without = f"c={b64(self.gs2.encode() + self.binding)},r={fields['r']}"
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        message = f"{self.bare},{server_first},{without}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self.expected = b64(b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")))
        return b64(f"{without},p={b64(bytes(a ^ b for a, b in zip(key, signature)))}")


def imap_scram(server, password, binds=False, name="alice@example.test", spoil=False):
    """The last line the server says about it."""
    c = tls(server, 993)
    certificate = c.sock.getpeercert(True) if binds else None
    x = Scram(name, password, certificate + b"x" if spoil else certificate)
    challenge = c.command(f"a AUTHENTICATE SCRAM-SHA-256{'-PLUS' if binds else ''} {x.first()}", "")[-1]
    expect(challenge.startswith("+ "), challenge)
    reply = c.command(x.final(challenge[2:]), "")[-1]
    if reply.startswith("+ "):
        expect(reply[2:] == x.expected, "the server knows the password, too")
        reply = c.command("", "a ")[-1]
    c.close()
    return reply


def test_scram(server):
    capability = server.raw(993, tls=True).line()
    expect("AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN" in capability, capability)
    app = server.app_password
    expect(imap_scram(server, app).startswith("a OK"), "SCRAM-SHA-256")
    expect(imap_scram(server, app, binds=True).startswith("a OK"), "SCRAM-SHA-256-PLUS")
    expect(imap_scram(server, app, binds=True, spoil=True).startswith("a NO [AUTHENTICATIONFAILED]"), "another TLS connection")
    said = imap_scram(server, server.passwords["alice@example.test"])
    expect(said.startswith("a NO [AUTHENTICATIONFAILED]") and "app password" in said, said)
    expect(imap_scram(server, "x", name="nobody@example.test") == said, "an unknown name is told the same")
    for port, verb, more in ((995, "AUTH", "+ "), (465, "AUTH", "334 ")):
        c = tls(server, port)
        if port == 465:
            c.smtp("EHLO test")
        x = Scram("alice@example.test", app)
        challenge = c.command(f"{verb} SCRAM-SHA-256 {x.first()}", more)[-1]
        reply = c.command(x.final(challenge[len(more):]), more)[-1]
        expect(reply[len(more):] == x.expected, reply)
        reply = c.command("", "")[-1]
        expect(reply.startswith("+OK" if port == 995 else "235"), reply)
        c.close()


def test_pop3(server):
    c = tls(server, 995)
    c.command("USER carol@example.test", "+OK")
    expect(c.command("PASS wrong", "-ERR")[-1].startswith("-ERR [AUTH]"), "wrong")
    expect(c.command("PASS " + server.passwords["carol@example.test"], "-ERR"), "USER comes first again")
    c.send(f"USER carol@example.test\r\nPASS {server.passwords['carol@example.test']}\r\nSTAT\r\n")
    for _ in range(3):
        expect(c.line().startswith("+OK"), "pipelined, the last one into the session")
    c.close()
    c = tls(server, 995)
    expect(c.command("AUTH", ".")[-2:] == ["LOGIN", "."], "AUTH lists")
    expect(c.command("AUTH PLAIN " + plain(server, "carol"), "")[-1].startswith("+OK"), "AUTH PLAIN")
    c.close()


def test_starttls(server):
    c = server.raw(143)
    c.line()
    expect(c.command("a STARTTLS", "a ")[-1].startswith("a OK"), "STARTTLS")
    c = start_tls(server, c)
    expect(c.command("b AUTHENTICATE PLAIN " + plain(server), "b ")[-1].startswith("b OK"), "IMAP")
    c.close()
    c = server.raw(110)
    c.line()
    c.command("STLS", "+OK")
    c = start_tls(server, c)
    expect(c.command("AUTH PLAIN " + plain(server), "")[-1].startswith("+OK"), "POP3")
    c.close()
    c = server.raw(587)
    c.line()
    c.smtp("EHLO before")
    expect(c.smtp("STARTTLS")[0] == 220, "STARTTLS")
    c = start_tls(server, c)
    expect(c.smtp("AUTH PLAIN " + plain(server))[0] == 503, "EHLO again")
    c.smtp("EHLO test")
    expect(c.smtp("AUTH PLAIN " + plain(server))[0] == 235, "submission")
    c.close()


def test_nothing_is_slipped_in_behind_starttls(server):
    for port, first, command, injected in ((143, "", "a STARTTLS", "b NOOP"), (110, "", "STLS", "QUIT"),
                                           (587, "EHLO x", "STARTTLS", "NOOP")):
        c = server.raw(port)
        c.line()
        if first:
            c.smtp(first)
        c.send(f"{command}\r\n{injected}\r\n")
        lines = []
        try:
            while True:
                lines.append(c.line(10))
        except (EOFError, OSError):
            pass
        expect(lines and not any(line.startswith(("a OK", "+OK", "220")) for line in lines), f"{port}: {lines}")
        c.close()


def test_clear_text(server):
    c = server.raw(143)
    c.line()
    expect(c.command("a LOGIN {5}", "")[-1].startswith("a NO [PRIVACYREQUIRED]"), "no leave to send the name")
    expect(c.command("b AUTHENTICATE PLAIN", "")[-1].startswith("b NO [PRIVACYREQUIRED]"), "nor a password")
    c.close()
    c = server.raw(110)
    c.line()
    expect("TLS" in c.command("PASS x", "-ERR")[-1], "POP3")
    c.close()
    c = server.raw(587)
    c.line()
    expect("AUTH" not in c.smtp("EHLO x")[1] and c.smtp("AUTH LOGIN")[0] == 538, "submission")
    c.close()


def test_third_wrong_password_ends_it(server):
    for port, lines, no in ((993, ["a LOGIN bob@example.test bad"], "a NO"), (995, ["USER bob@example.test", "PASS bad"], "-ERR"),
                            (465, ["AUTH PLAIN " + plain(server, "bob", "bad")], "535")):
        c = tls(server, port)
        if port == 465:
            c.smtp("EHLO x")
        for _ in range(3):
            said = [c.command(line, "")[-1] for line in lines][-1]
            expect(said.startswith(no), said)
        try:
            while True:
                c.line(15)
        except EOFError:
            pass
        c.close()


def test_wrong_name_and_wrong_password_are_one(server):
    """The same words, and times that do not tell which it was."""
    def take(name):
        c = tls(server, 993)
        start = time.monotonic()
        said = c.command(f"a LOGIN {name}@example.test {b64(os.urandom(6))}", "a ", 60)[-1]
        c.close()
        return time.monotonic() - start, said
    server.add_account("dave")
    server.add_account("erin")
    known, unknown = [take(n) for n in ("dave", "erin")], [take(n) for n in ("nobody1", "nobody2")]
    expect(len({said for _, said in known + unknown}) == 1, f"{known} {unknown}")
    expect(min(t for t, _ in known + unknown) > 0.2, "a failure takes its time")
    apart = abs(statistics.mean(t for t, _ in known) - statistics.mean(t for t, _ in unknown))
    expect(apart < 0.15, f"{apart:.3f} s apart: {known} {unknown}")


def curl(server, url, *args):
    """True: it logged in and did what the address asks for."""
    done = subprocess.run(["curl", "-sS", "--cacert", os.path.join(server.dir, "ca.pem"), "--url", url, *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    return done.returncode == 0


def everywhere(server):
    """The same login for each protocol; submission has to say more than hello, so it sends nothing to nobody."""
    return [f"imaps://localhost:{server.port(993)}/INBOX", f"pop3s://localhost:{server.port(995)}/", f"smtps://localhost:{server.port(465)}"]


def test_certificate(server):
    key, certificate = os.path.join(server.dir, "device.key"), os.path.join(server.dir, "device.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=laptop", "-days", "2",
            "-keyout", key, "-out", certificate)
    server.cli("account", "certificate", "add", "alice@example.test", "laptop", "--file", certificate, "--for", "imap,pop3")
    external = ("--cert", certificate, "--key", key, "--login-options", "AUTH=EXTERNAL", "-u")
    imap, pop3, submission = everywhere(server)
    expect(not curl(server, imap, *external, "alice@example.test:"), "mail programs are not asked yet")
    server.cli("config", "set", "client_certificates", "on")
    expect(curl(server, imap, *external, "alice@example.test:") and curl(server, pop3, *external, "alice@example.test:"), "let in")
    expect(not curl(server, submission, *external, "alice@example.test:", "-X", "NOOP"), "not for sending")
    expect(not curl(server, imap, *external, "bob@example.test:"), "not as somebody else")
    expect(not curl(server, imap, "--login-options", "AUTH=EXTERNAL", "-u", "alice@example.test:"), "not without the certificate")
    context = server.tls()
    context.load_cert_chain(certificate, key)
    c = Lines(context.wrap_socket(server.raw(993).sock, server_hostname="localhost"))
    expect("AUTH=EXTERNAL" in c.line() and c.command("a AUTHENTICATE EXTERNAL =", "a ")[-1].startswith("a OK"), "whoever it belongs to")
    listed = server.cli_json("account", "certificate", "list", "alice@example.test")[0]
    expect(listed["last_used"] > 0 and listed["expires"] > time.time() and listed["protocols"] == "imap,pop3", listed)
    expired = os.path.join(server.dir, "expired.pem")
    openssl("x509", "-req", "-days", "-1", "-signkey", key, "-out", expired, data=openssl("req", "-new", "-key", key, "-subj", "/CN=laptop"))
    context.load_cert_chain(expired, key)
    late = Lines(context.wrap_socket(server.raw(993).sock, server_hostname="localhost"))
    expect("AUTH=EXTERNAL" in late.line() and "has expired" in late.command("a AUTHENTICATE EXTERNAL =", "a ")[-1], "an old one is told so")
    expect("reason=certificate-out-of-date" in server.log(), "and the log knows why")
    server.cli("account", "certificate", "remove", "alice@example.test", "1")
    expect(c.line(10).startswith("* BYE"), "the session that it began ends")
    expect(not curl(server, imap, *external, "alice@example.test:"), "and no other begins")
    server.cli("config", "set", "client_certificates", "off")


def test_token(server):
    issuer = Issuer("https://id.test/mail", server.dir, "RS256")
    expect("OAUTHBEARER" not in server.raw(993, tls=True).line(), "no issuer: not offered")
    server.cli("oauth", "add", "https://id.test/mail", "mail", "--keys", "-", stdin=issuer.keys())
    good = issuer.token()
    imap, pop3, submission = everywhere(server)
    for how in ("OAUTHBEARER", "XOAUTH2"):
        login = ("--login-options", f"AUTH={how}", "-u", "bob@example.test:", "--oauth2-bearer")
        expect(curl(server, imap, *login, good) and curl(server, pop3, *login, good) and curl(server, submission, *login, good, "-X", "NOOP"), how)
        for wrong in () if how == "XOAUTH2" else (issuer.token(aud="shop"), good[:-8] + "AAAAAAAA"):
            expect(not curl(server, imap, *login, wrong), wrong)
    said = server.cli("oauth", "check", "--token", "-", stdin=good + "\n")
    expect("logs in as bob@example.test" in said, said)
    c = tls(server, 993)
    expect(c.command("a AUTHENTICATE OAUTHBEARER " + b64(f"n,,\1auth=Bearer {issuer.token(exp=1)}\1\1"), "")[-1] == "+ " + b64('{"status":"invalid_token"}'), "RFC 7628 3.2.2")
    expect(c.command("AQ==", "a ")[-1].startswith("a NO [AUTHENTICATIONFAILED] the token"), "and then the refusal")
    expect(c.command("b AUTHENTICATE OAUTHBEARER " + b64(f"n,,\1auth=Bearer {good}\1\1"), "b ")[-1].startswith("b OK"), "a new one")
    server.cli("account", "suspend", "bob@example.test")
    expect(c.line(10).startswith("* BYE"), "a suspended account is out")
    expect(not curl(server, imap, "-u", "bob@example.test:", "--oauth2-bearer", good), "and stays out")
    said = server.cli("oauth", "check", "--token", "-", stdin=good, check=False)
    expect(said.returncode == 1 and b"bob@example.test is suspended" in said.stderr, said)
    server.cli("account", "resume", "bob@example.test")
    c = tls(server, 993)
    expect(c.command("a AUTHENTICATE OAUTHBEARER " + b64(f"n,,\1auth=Bearer {good}\1\1"), "a ")[-1].startswith("a OK"), "in again")
    expect("https://id.test/mail\n" in server.cli("completion", "words", "--", "oauth", "remove"), "a Tab knows it")
    server.cli("oauth", "remove", "https://id.test/mail")
    expect(c.line(10).startswith("* BYE"), "the session that a token began ends with its issuer")
    expect("OAUTHBEARER" not in server.raw(993, tls=True).line(), "not offered any more")


def test_nobody_is_wrong_while_keys_knows_nobody(server):
    """keys is restarted while control is busy: until the directory comes it knows no account."""
    def said():
        try:
            return tls(server, 993).command(f"a AUTHENTICATE PLAIN {plain(server)}", "a ")[-1]
        except (OSError, EOFError):  # nobody there to sign the handshake
            return ""

    control, old = server.pids_of("control"), server.pids_of("keys")
    os.kill(control[0], signal.SIGSTOP)
    try:
        os.kill(old[0], signal.SIGKILL)
        wait_for(lambda: server.pids_of("keys") not in ([], old), 20, "keys is started again")
        answer = wait_for(said, 20, "it answers")
    finally:
        os.kill(control[0], signal.SIGCONT)
    expect("NO [UNAVAILABLE]" in answer, answer)
    wait_for(lambda: said().startswith("a OK"), 20, "and knows everybody")
