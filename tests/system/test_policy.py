"""MTA-STS and reports about TLS between two facteurs: the policy of one is served, fetched, obeyed and known after a restart by the other,
which reports once a day how it went, by mail and by HTTPS. And what else is fetched: the keys of an issuer of tokens."""
import base64
import contextlib
import email
import gzip
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time

from harness import ROOT, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from tokens import Issuer  # noqa: E402
from webserver import WebServer  # noqa: E402
from world import World, inbox  # noqa: E402


class Authority:
    def __init__(self, folder):
        self.folder, self.pem = folder, os.path.join(folder, "authority.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "5", "-subj", "/CN=Authority",
                     "-keyout", "authority.key", "-out", "authority.pem")
        os.chmod(self.pem, 0o644)

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True)

    def issue(self, *names):
        """(chain, key)"""
        out = names[0]
        with open(os.path.join(self.folder, "names"), "w") as f:
            f.write("subjectAltName=" + ",".join(f"DNS:{n}" for n in names))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={out}", "-keyout", out + ".key",
                     "-out", out + ".csr")
        self.openssl("x509", "-req", "-in", out + ".csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-days", "3", "-extfile", "names",
                     "-out", out + ".crt")
        return os.path.join(self.folder, out + ".crt"), os.path.join(self.folder, out + ".key")


class Collector:
    """Takes one report after the other by POST."""

    def __init__(self, address, certificate):
        self.context, self.got = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
        self.context.load_cert_chain(*certificate)
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
                with self.context.wrap_socket(peer, server_side=True) as tls:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += tls.recv(4096)
                    head, body = data.split(b"\r\n\r\n", 1)
                    size = int(next(h for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")).split(b":")[1])
                    while len(body) < size:
                        body += tls.recv(4096)
                    self.got.append((head.decode(), body))
                    status = b"410 Gone" if b"/gone" in head else b"201 Created"
                    tls.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                if self.listener.fileno() < 0:
                    return


def settings(w):
    w.authority = Authority(w.dir)
    return f"https_port_out = {443 + w.offset}", f"ca_file = {w.authority.pem}"


def make_server():
    w = World(settings=settings)
    folder = os.path.join(w.there.dir, "tls")
    own = os.stat(os.path.join(folder, "default.pem"))
    for path, name in zip(w.authority.issue("mail.other.test", "mta-sts.other.test"), ("default.pem", "default.key")):
        with open(path, "rb") as source, open(os.path.join(folder, name + ".new"), "wb") as f:
            f.write(source.read())
        os.chown(f.name, own.st_uid, own.st_gid)
        os.chmod(f.name, 0o600)
        os.rename(f.name, f.name[:-4])
    shutil.copy(w.authority.pem, os.path.join(w.there.dir, "ca.pem"))  # whom mail programs believe
    w.there.stop()
    w.there.start()
    w.dns.add("mta-sts.other.test", "A", "127.0.0.2")
    return w


def fetch(w, request, name="mta-sts.other.test"):
    context = ssl.create_default_context(cafile=w.authority.pem)
    with context.wrap_socket(socket.create_connection(("127.0.0.2", w.there.port(443)), timeout=10), server_hostname=name) as tls:
        tls.sendall(request.encode())
        data = b""
        while True:
            more = tls.recv(4096)
            if not more:
                return data.decode()
            data += more


def counted(w, domain="other.test"):
    return {r["policy"]: (r["secure"], r["failures"]) for r in w.here.cli_json("tls", "list") if r["domain"] == domain}


def test_the_policy_is_served(w):
    def served():
        return fetch(w, "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.other.test\r\n\r\n")
    text = served()
    expect("200 OK" in text and "mode: none\r\n" in text, text)
    done = w.there.cli("config", "set", "mta_sts", "enforced", "--domain", "other.test", check=False)
    expect(done.returncode != 0 and b"testing, enforce" in done.stderr + done.stdout, f"a wrong mode is refused: {done}")
    w.there.cli("config", "set", "mta_sts", "enforce", "--domain", "other.test")
    text = served()
    expect("mode: enforce\r\nmx: mail.other.test\r\n" in text, text)
    for request, status in (("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404"), ("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.x.test\r\n\r\n", "404"),
                            ("POST /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.other.test\r\nContent-Length: 0\r\n\r\n", "405"),
                            ("GET /leave/nothing HTTP/1.1\r\nHost: a\r\n\r\n", "404"), ("EHLO me\r\n", "400")):
        text = fetch(w, request)
        expect(text.startswith(f"HTTP/1.1 {status} "), f"{request}: {text}")


def test_domain_check_fetches_it(w):
    for r in w.there.cli_json("domain", "dns", "other.test"):
        if r["name"] in ("_mta-sts.other.test", "_smtp._tls.other.test"):
            w.dns.set(r["name"], r["type"], r["value"])
    found = {r["name"]: (r["verdict"], r["finding"]) for r in json.loads(w.there.cli("domain", "check", "other.test", "--json", check=False).stdout)}
    for name in ("_mta-sts.other.test", "mta-sts.other.test", "_smtp._tls.other.test"):
        expect(found[name][0] == "right", f"{name}: {found[name]}")


def test_it_is_obeyed_and_known_after_a_restart(w):
    w.send("bob@other.test", subject="one")
    inbox(w.there, "bob", "one")
    wait_for(lambda: counted(w).get("sts") == (1, 0), 15, "a session under the policy")
    control, net = w.here.pids_of("control")[0], w.here.pids_of("net")[0]
    os.kill(control, signal.SIGSTOP)  # who keeps the policies meanwhile is busy, for longer than net waits for an answer
    try:
        os.kill(net, signal.SIGKILL)
        wait_for(lambda: w.here.pids_of("net") not in ([], [net]), 20, "net again")
        time.sleep(12)
    finally:
        os.kill(control, signal.SIGCONT)
    w.dns.fail("_mta-sts.other.test", "servfail")
    w.send("bob@other.test", subject="two")
    inbox(w.there, "bob", "two", seconds=60)
    wait_for(lambda: counted(w).get("sts") == (2, 0), 15, "the policy is known")


def test_the_day_is_reported(w):
    w.here.cli("domain", "dns", "example.test")
    collector = Collector("127.0.0.2", w.authority.issue("reports.other.test"))
    w.dns.set("reports.other.test", "A", "127.0.0.2")
    w.dns.set("_smtp._tls.other.test", "TXT", f"v=TLSRPTv1; rua=mailto:bob@other.test,https://reports.other.test:{collector.port}/v1")
    w.dns.set("_smtp._tls.plain.peer.test", "TXT", f"v=TLSRPTv1; rua=https://reports.other.test:{collector.port}/gone")
    rows = w.here.cli_json("tls", "report", "--now")
    expect([(r["domain"], r["sent_to"]) for r in rows] == [("other.test", ["bob@other.test", "reports.other.test"])], rows)
    head, body = collector.got[0]
    expect(head.startswith("POST /v1 HTTP/1.1\r\n") and "Content-Type: application/tlsrpt+gzip" in head, head)
    posted = json.loads(gzip.decompress(body))
    _, raw = inbox(w.there, "bob", "Report Domain")
    message = email.message_from_bytes(raw)
    expect(message["TLS-Report-Domain"] == "other.test" and message["TLS-Report-Submitter"] == "example.test", raw)
    expect("d=example.test" in message["DKIM-Signature"], raw)
    part = message.get_payload()[1]
    expect(part.get_content_type() == "application/tlsrpt+gzip", raw)
    report = json.loads(gzip.decompress(part.get_payload(decode=True)))
    expect(report == posted, "both say the same")
    policy = next(p for p in report["policies"] if p["policy"]["policy-type"] == "sts")
    expect(policy["summary"] == {"total-successful-session-count": 2, "total-failure-session-count": 0}, policy)
    expect("mode: enforce" in policy["policy"]["policy-string"] and policy["policy"]["mx-host"] == ["mail.other.test"], policy)
    w.peer("plain")
    w.send("x@plain.peer.test", subject="three")  # what is counted comes in order: the report's own session would be there before this one
    wait_for(lambda: counted(w, "plain.peer.test").get("no-policy-found") == (0, 1), 15, "a session without TLS")
    expect(counted(w) == {}, f"the report is not reported about: {counted(w)}")
    for _ in range(2):
        w.here.cli("tls", "report", "--now")
    expect(len([h for h, _ in collector.got if "/gone" in h]) == 1, "who says never is not asked again")
    collector.listener.close()


def test_the_keys_of_an_issuer_are_fetched(w):
    def log_in(token):
        c = w.here.raw(993, tls=True)
        c.line()
        said = base64.b64encode(f"n,,\1auth=Bearer {token}\1\1".encode()).decode()
        return c, c.command(f"a AUTHENTICATE OAUTHBEARER {said}", "")[-1]

    host = "id.example.test"
    w.dns.set(host, "A", "127.0.0.1")
    with WebServer(*w.authority.issue(host)) as web:
        here = f"https://{host}:{web.port}"
        issuer = Issuer(f"{here}/mail", w.dir)
        done = w.here.cli("oauth", "add", issuer.name, "mail", check=False)
        expect(done.returncode == 1 and b"answers with the status 404" in done.stderr and w.here.cli_json("oauth", "list") == [], done)
        web.put(host, "/mail/.well-known/openid-configuration", 200, "application/json", json.dumps({"issuer": issuer.name, "jwks_uri": f"{here}/keys"}))
        web.put(host, "/keys", 200, "application/json", issuer.keys())
        w.here.cli("oauth", "add", issuer.name, "mail")
        alice = {"email": "alice@example.test"}
        first = issuer.token(**alice)
        c, said = log_in(first)
        expect(said.startswith("a OK"), said)
        issuer.renew()
        web.put(host, "/keys", 200, "application/json", issuer.keys())
        done = w.here.cli("oauth", "check", "--token", "-", stdin=issuer.token(**alice), check=False)
        expect(b"logs in as alice@example.test" in done.stdout, f"an unknown key is asked for: {done}")
        expect(c.line(10).startswith("* BYE"), "the session of the key that is gone ends")
        expect(log_in(issuer.token(**alice))[1].startswith("a OK") and not log_in(first)[1].startswith("a OK"), "the new key, and not the old one")

        web.put(host, "/keys", 503, "text/plain", "later")  # an issuer that is away over a restart; its keys were last asked for six minutes ago
        expect(w.here.cli("oauth", "refresh", check=False).returncode == 1 and issuer.name in w.here.cli_json("status")["trouble"], "that is told")
        w.here.stop()
        with contextlib.closing(sqlite3.connect(os.path.join(w.here.dir, "control", "directory.db"))) as db, db:
            db.execute("UPDATE issuer SET tried = tried - 360")
        w.here.start()
        expect(log_in(issuer.token(**alice))[1].startswith("a OK"), "the keys are kept")
        issuer.renew()
        web.put(host, "/keys", 200, "application/json", issuer.keys())
        asked = len(web.asked)
        new = issuer.token(**alice)
        expect("[UNAVAILABLE]" in log_in(new)[1], "who comes with a key that is not known is told to come back, not that he is wrong")
        wait_for(lambda: log_in(new)[1].startswith("a OK"), 30, "the key is fetched")
        log_in(issuer.token(kid="made-up", **alice))
        expect(len(web.asked) == asked + 2, f"and once: {web.asked[asked:]}")
        row = w.here.cli_json("oauth", "list")[0]
        expect(row["keys"] == 1 and row["trouble"] == "" and row["keys_from"] == f"{here}/keys", row)
