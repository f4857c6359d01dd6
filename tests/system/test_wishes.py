"""What a sender may want beyond delivery: a time to leave, a deadline, a priority, TLS all the way. Asked for at MAIL, obeyed days later, also
by a server that was killed meanwhile."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from harness import ROOT, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from webserver import WebServer  # noqa: E402
from world import World, inbox, returned  # noqa: E402


def authority(folder, *names):
    """(chain, key) of a certificate for the names, and the file of the authority that signed it."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-x509", *new, "-days", "2", "-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names),
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "host.key", "-out", "host.pem")
    return tuple(os.path.join(folder, n) for n in ("host.pem", "host.key", "ca.pem"))


class StrictWorld(World):
    """With a domain strict.open.lab that is not signed, and says by MTA-STS (enforce) which server is its own."""

    def __init__(self):
        self.keys = tempfile.mkdtemp(prefix="facteur-wishes-")
        os.chmod(self.keys, 0o755)
        chain, key, ca = authority(self.keys, "mx.strict.open.lab", "mta-sts.strict.open.lab")
        self.certificate_of_strict = chain, key
        self.web = WebServer(chain, key)
        self.web.put("mta-sts.strict.open.lab", "/.well-known/mta-sts.txt", 200, "text/plain",
                     "version: STSv1\nmode: enforce\nmx: mx.strict.open.lab\nmax_age: 86400\n")
        super().__init__(servers=(("example.test", ("alice",)),), settings=lambda w: (f"https_port_out = {w.web.port}", f"ca_file = {ca}"))
        self.dns.set("mta-sts.strict.open.lab", "A", self.web.address)
        self.dns.set("_mta-sts.strict.open.lab", "TXT", "v=STSv1; id=1;")

    def close(self):
        super().close()
        self.web.__exit__()
        shutil.rmtree(self.keys, ignore_errors=True)


def make_server():
    return StrictWorld()


def name_of(w, to):
    return wait_for(lambda: next((m["message"] for m in w.here.cli_json("queue", "list") if m["recipient"].split()[0] == to), None), 20, f"mail to {to} in the queue")


def test_what_is_offered(w):
    s = w.here.submission("alice")
    s.ehlo()
    expect({"futurerelease", "deliverby", "mt-priority", "requiretls"} <= set(s.esmtp_features), s.esmtp_features)
    longest, last = s.esmtp_features["futurerelease"].split()
    expect(int(longest) == 90 * 86400 and last.endswith("Z"), (longest, last))
    code, text = s.docmd("MAIL", f"FROM:<alice@example.test> HOLDFOR={int(longest) + 1}")
    expect(code == 501 and b"7776000 seconds at most" in text, (code, text))
    s.quit()


def test_send_later(w):
    """To another server, to a neighbour and to herself: nobody has it before its time, though everything was killed; `release` sends it now."""
    later, soon = w.peer("later"), w.peer("soon")
    w.send("x@soon.peer.test", subject="in a moment", options=("HOLDFOR=2",))
    at = time.monotonic()
    w.send("x@later.peer.test", "alice@example.test", subject="next week", options=("HOLDFOR=604800",))
    name = name_of(w, "x@later.peer.test")
    expect(w.arrives(soon, "in a moment") and time.monotonic() - at > 1, "it left by itself, and not before its time")
    for role in ("queue", "cell"):
        for pid in w.here.pids_of(role):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: w.here.cli("queue", "retry", check=False).returncode == 0, 20, "the queue is back")
    shown = w.here.cli_json("queue", "show", name)["rows"]
    expect([r["tries"] for r in shown] == [0, 0] and all(r["next_try"] > time.time() + 600000 for r in shown), shown)
    trace = w.here.cli("trace", name)
    expect("arrive later" in trace, trace)
    box = w.here.imap("alice")
    box.select("INBOX")
    expect(later.messages == [] and box.search(None, "SUBJECT", '"next week"')[1] == [b""], "nobody has it")
    w.here.cli("queue", "release", name)
    expect(len(w.arrives(later, "next week")) == 1, "released")
    expect(inbox(w.here, "alice", "next week")[0] == 1, "here too")


def test_requiretls(w):
    """To who proves himself by DANE, or by a policy that is enforced. Not to who has no TLS, and not where nobody knows which server it is."""
    certificate, digest = w.certificate("mx.sure.dane.test")
    sure = w.peer("sure", domain="dane.test", certificate=certificate, keywords=("REQUIRETLS",))
    plain = w.peer("plain", domain="dane.test")
    strict = w.peer("strict", domain="open.lab", certificate=w.certificate_of_strict, keywords=("REQUIRETLS",))
    unsigned = w.peer("unsigned", domain="open.lab", certificate=w.certificate_of_strict, keywords=("REQUIRETLS",))
    wrong = w.peer("wrong", domain="dane.test", certificate=w.certificate_of_strict, keywords=("REQUIRETLS",))
    for name in ("sure", "wrong"):
        w.dns.set(f"_{w.port}._tcp.mx.{name}.dane.test", "TLSA", f"3 1 1 {digest}")
    for to in ("x@wrong.dane.test", "x@plain.dane.test", "x@unsigned.open.lab", "x@sure.dane.test", "x@strict.open.lab"):
        w.send(to, subject="guarded", body="the secret\r\n", options=("REQUIRETLS", "RET=FULL"))
    for peer in (sure, strict):
        got = w.arrives(peer, "guarded")[0]
        expect(got["tls"] and " REQUIRETLS" in got["mail"], got["mail"])
    raw = returned(w, "x@plain.dane.test", "that only servers which prove who they are", "text/rfc822-headers", "offers no TLS")
    expect(b"the secret" not in raw and plain.messages == [], "neither sent nor returned in clear")
    returned(w, "x@unsigned.open.lab", "5.7.30", "nothing proves which one")
    returned(w, "x@wrong.dane.test", "5.7.10", "does not: ")
    expect(unsigned.messages == [] and wrong.messages == [], "and not sent")


def test_rather_open_than_not_at_all(w):
    certificate, _ = w.certificate("mx.broken.dane.test")
    broken = w.peer("broken", domain="dane.test", certificate=certificate)
    w.dns.set(f"_{w.port}._tcp.mx.broken.dane.test", "TLSA", "3 1 1 " + "00" * 32)
    w.send("x@broken.dane.test", subject="your TLS is broken", header="TLS-Required: No\r\n")
    expect(len(w.arrives(broken, "your TLS is broken")) == 1, "the sender has waived what its domain asks for")


def test_deadlines_and_priorities(w):
    knows = w.peer("knows", keywords=("DELIVERBY 10", "MT-PRIORITY"))
    simple = w.peer("simple")
    slow = w.peer("slow", keywords=("DELIVERBY",), rcpt={"x@slow.peer.test": ["450 4.2.0 not now"]})
    w.send("x@slow.peer.test", subject="too late", options=("BY=2;R",))
    w.send("x@knows.peer.test", subject="by noon", options=("BY=3600;RT", "MT-PRIORITY=4"))
    w.send("back@simple.peer.test", subject="or back", options=("BY=3600;R",))
    w.send("tell@simple.peer.test", subject="just tell", options=("BY=3600;N",))
    mail = w.arrives(knows, "by noon")[0]["mail"]
    expect(" BY=3" in mail and ";RT" in mail and " MT-PRIORITY=4" in mail, mail)
    expect("BY=" not in w.arrives(simple, "just tell")[0]["mail"], "it goes to who does not know it")
    returned(w, "back@simple.peer.test", "5.3.3", "Deliver-By-Date:")
    returned(w, "tell@simple.peer.test", "Action: relayed")
    returned(w, "x@slow.peer.test", "5.4.7")
    expect(slow.messages == [] and w.here.cli_json("queue", "list") == [], "nothing of it is left")
