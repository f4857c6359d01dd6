"""What others make of our DKIM signatures (python3-dkim, OpenDKIM), and what `domain check` says about records that went wrong on their
way into the DNS. The name server is tests/nameserver.py."""
import base64
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile

from harness import ROOT, Server, Skipped, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from nameserver import NameServer  # noqa: E402

SIGN = os.path.join(ROOT, "build/release/dkim/dkim_sign")
MESSAGES = {
    "plain": "From: Alice <alice@example.test>\r\nTo: bob@example.net\r\nSubject: hello\r\nDate: Sat, 28 Nov 2026 06:00:00 +0000\r\n"
             "Message-ID: <1@example.test>\r\n\r\nHello Bob,\r\n\r\nbye\r\n",
    "spaces": "From:alice@example.test\r\nDate: Sat, 28 Nov 2026 06:00:00 +0000\r\nSubject:  a \t b\r\n\t c  \r\n\r\n a  \t b \r\n\r\n \r\nc\r\n\r\n\r\n",
    "no body": "From: alice@example.test\r\n\r\n",
    "empty lines": "From: alice@example.test\r\n\r\n\r\n\r\n",
    "no last line end": "From: alice@example.test\r\nDate: Sat, 28 Nov 2026 06:00:00 +0000\r\nSubject: x\r\n\r\nthe end",
    "UTF-8": "From: \u00c9lise <alice@example.test>\r\nSubject: \u00e9t\u00e9\r\n\r\n\u00e9t\u00e9\r\n",
    "twice": "Received: by x\r\nFrom: alice@example.test\r\nSubject: 1\r\nSubject: 2\r\nList-Unsubscribe: <https://example.test/u>\r\n"
             "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nx\r\n",
    "long": "From: alice@example.test\r\nTo: " + ",\r\n ".join(f"recipient-{i}@example.net" for i in range(500)) + "\r\n\r\n" + "0123456789 " * 5000 + "\r\n",
}


NS, FOLDER = NameServer(ttl=0), tempfile.TemporaryDirectory()
HOST = "mail.example.test"


def make_server():
    anchor = os.path.join(FOLDER.name, "anchor")
    os.chmod(FOLDER.name, 0o755)
    NS.anchor(anchor)
    return Server(accounts=(), conf=(f"dns_server = {NS.setting}", f"dns_trust_anchor = {anchor}"))


def records(server, domain="example.test"):
    return server.cli_json("domain", "dns", domain)


def signed(server, message):
    server.stop()  # the keys of a server that runs are its own
    subprocess.run(["make", "-s", "dkim-sign"], cwd=ROOT, check=True)
    done = subprocess.run([SIGN, os.path.join(server.dir, "keys"), "alice@example.test"], input=message.encode(), capture_output=True)
    expect(done.returncode == 0, f"it is signed: {done.stderr}")
    return done.stdout


def publish(server, domain="example.test", **other):
    """All that `domain dns` prints, as an administrator would; name=value: another value for the record whose name begins so."""
    for r in records(server, domain):
        if r["type"] == "A":
            NS.set(r["name"], "A", "192.0.2.7")
        elif r["type"] != "AAAA":
            NS.set(r["name"], r["type"], r["value"])
    NS.set("7.2.0.192.in-addr.arpa", "PTR", HOST)


def findings(server, domain="example.test"):
    done = server.cli("domain", "check", domain, "--json", check=False)
    found = {(r["name"], r["type"]): (r["verdict"], r["finding"]) for r in json.loads(done.stdout)}
    to_mend = any(verdict in ("missing", "wrong") for verdict, _ in found.values())
    expect(done.returncode == (1 if to_mend else 0), f"a script sees by the exit code whether there is something to mend: {done.returncode}")
    return found


def wait_until_found(server, wanted):
    """Rows of (name, kind, values, verdict, words...)."""
    def missed():
        got = findings(server)
        for name, kind, values, verdict, *words in wanted:
            found, finding = got.get((name, kind), ("", ""))
            if found != verdict or any(w not in finding for w in words):
                return f"{name} {kind} {values}: {found}, {finding}; want {verdict} with {words}"
        return None
    why = [None]

    def is_so():
        why[0] = missed()
        return why[0] is None
    try:
        wait_for(is_so, 15, "what domain check finds")
    except AssertionError:
        raise AssertionError(why[0]) from None


def test_what_is_published_right(server):
    publish(server)
    NS.sign("example.test")
    for what, (verdict, finding) in findings(server).items():
        expect(verdict == "right" or what[0] == "_25._tcp.mail.example.test", f"{what}: {verdict}: {finding}")
    expect("all that is needed" in server.cli("domain", "check", "example.test"), "and a sentence says so")


def test_what_went_wrong_is_said(server):
    publish(server)
    rsa = next(r for r in records(server) if "k=rsa" in r["value"])
    key = rsa["name"]
    NS.set("spf.elsewhere.example", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")
    cases = (
        ("example.test", "MX", [f"10 {HOST}.example.test"], "wrong", "last dot"),
        ("example.test", "MX", ["10 192.0.2.7"], "wrong", "not an address"),
        ("example.test", "MX", ["10 mx.elsewhere.example"], "wrong", "mx.elsewhere.example", f"10 {HOST}."),
        ("example.test", "MX", ["0 ."], "wrong", "takes no mail"),
        ("example.test", "MX", [f"10 {HOST}", "20 mx.elsewhere.example"], "unclear", "mx.elsewhere.example"),
        ("example.test", "MX", [], "missing", f"MX 10 {HOST}."),
        ("example.test", "TXT", ['"v=spf1 mx -all"'], "wrong", "quotation marks"),
        ("example.test", "TXT", ["v=spf1 mx -all", "v=spf1 -all"], "wrong", "more than one"),
        ("example.test", "TXT", ["v=spf1 ip4:198.51.100.0/24 -all"], "wrong", f"a:{HOST}"),
        ("example.test", "TXT", ["v=spf1 ip4:192.0.2.0/24 -all"], "right"),
        ("example.test", "TXT", ["v=spf1 include:spf.elsewhere.example -all"], "right"),
        ("example.test", "TXT", ["v=spf1 mx include:spf.nowhere.example -all"], "wrong", "spf.nowhere.example"),
        ("example.test", "TXT", ["v=spf1 mx +all"], "wrong", "whole world"),
        ("example.test", "TXT", [], "missing", "domain dns example.test"),
        (key, "TXT", [f'"{rsa["value"]}"'], "wrong", "quotation marks"),
        (key, "TXT", [rsa["value"].replace(";", "\\;")], "wrong", "backslashes"),
        (key, "TXT", [rsa["value"][:255]], "wrong", "too early", "--zone"),
        (key, "TXT", ["v=DKIM1; k=rsa; p=" + base64.b64encode(b"another key" * 20).decode()], "wrong", "another key"),
        (key, "TXT", ["v=DKIM1; p="], "wrong", "revoked"),
        (key, "TXT", [], "missing", "domain dns example.test"),
        ("_dmarc.example.test", "TXT", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "wrong", "more than one"),
        ("_dmarc.example.test", "TXT", ["v=DMARC1; p=reject"], "right"),
        ("_dmarc.example.test", "TXT", ["v=DMARC1"], "wrong", "cannot be read"),
        ("_imaps._tcp.example.test", "SRV", [f"0 1 143 {HOST}"], "wrong", "143"),
        ("_imaps._tcp.example.test", "SRV", [], "optional"),
        ("_25._tcp.mail.example.test", "TLSA", ["3 1 1 " + "ab" * 32], "wrong", "another key"),
        ("_25._tcp.mail.example.test", "TLSA", [], "optional"),
        (HOST, "A", [], "missing", "no address"),
        (HOST, "A", ["10.1.2.3"], "unclear", "10.1.2.3"),
    )
    rounds = {}  # several mistakes at once, but one a record
    for case in cases:
        of_record = [r for r in rounds.values() if case[:2] not in (c[:2] for c in r)]
        (of_record[0] if of_record else rounds.setdefault(len(rounds), [])).append(case)
    for mistakes in rounds.values():
        publish(server)
        for name, kind, values, *_ in mistakes:
            NS.set(name, kind, *values)
        wait_until_found(server, mistakes)
    publish(server)
    NS.set(key, "TXT")
    NS.set(key + ".example.test", "TXT", rsa["value"])
    NS.set("7.2.0.192.in-addr.arpa", "PTR")
    NS.fail("_dmarc.example.test", "servfail")
    wait_until_found(server, ((key, "TXT", None, "wrong", "the domain twice", key.removesuffix(".example.test")),
                              ("192.0.2.7", "PTR", None, "missing", HOST), ("_dmarc.example.test", "TXT", None, "unclear", "Try again")))
    NS.fail("_dmarc.example.test", None)


def test_rotation_waits_for_the_records(server):
    old = {r["name"] for r in records(server) if "_domainkey" in r["name"]}
    said = server.cli("domain", "rotate", "example.test")
    expect("domain check example.test" in said, f"what to do next is said: {said}")
    expect(server.cli("domain", "rotate", "example.test", check=False).returncode == 1, "keys wait already")
    new = {r["name"] for r in records(server) if "_domainkey" in r["name"]} - old
    expect(len(new) == 2, f"the next keys: {new}")
    expect(all(f[0] == "missing" for what, f in findings(server).items() if what[0] in new), "they are not there yet")
    publish(server)
    wait_for(lambda: server.cli("domain", "check", "--waiting", check=False).returncode == 0, 15, "the new records are seen")
    for r in records(server):
        if "_domainkey" in r["name"]:
            expect((r["need"] == "for now") == (r["name"] in old), f"old keys have retired, new ones sign: {r}")


def test_only_a_running_server_can_look(server):
    server.stop()
    done = server.cli("domain", "check", "example.test", check=False)
    expect(done.returncode == 1 and b"facteur serve" in done.stderr, f"it says what to do: {done}")


def texts_of(server):
    return {r["name"] + ".": r["value"] for r in records(server) if r["type"] == "TXT"}


def verify(messages, texts):
    """For each message the algorithms whose signature python3-dkim finds good. Debian's python has it."""
    asked = {"texts": texts, "messages": [base64.b64encode(m).decode() for m in messages]}
    done = subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "tests/dkim/verify.py")], input=json.dumps(asked).encode(), capture_output=True)
    expect(done.returncode == 0, f"python3-dkim: {done.stderr.decode()}")
    return json.loads(done.stdout)


def test_python_dkim_verifies(server):
    texts = texts_of(server)
    for name, good in zip(MESSAGES, verify([signed(server, m) for m in MESSAGES.values()], texts)):
        expect(good == ["ed25519-sha256", "rsa-sha256"], f"{name}: both signatures are good: {good}")


def test_changes_break_the_signature(server):
    texts, message = texts_of(server), signed(server, MESSAGES["plain"])
    changes = {
        "refolding, spaces at ends, a trace field": b"Received: by relay\r\n" + message.replace(b"Subject: hello", b"Subject:\r\n hello")
                                                                                       .replace(b"bye\r\n", b"bye  \r\n\r\n"),
        "the body": message.replace(b"bye", b"buy"),
        "the subject": message.replace(b"hello", b"hallo"),
        "a second From": message.replace(b"From: ", b"From: eve@example.test\r\nFrom: "),
        "a second Subject": message.replace(b"Subject: ", b"Subject: win\r\nSubject: "),
        "a Cc that was not there": message.replace(b"Subject: ", b"Cc: eve@example.test\r\nSubject: "),
    }
    for i, (what, good) in enumerate(zip(changes, verify(changes.values(), texts))):
        expect(changes[what] != message and len(good) == (2 if i == 0 else 0), f"{what}: good signatures: {good}")


def opendkim_world(folder):
    """In a network of its own: our name server is 127.0.0.1 port 53, as the C library insists. Prints what each message got."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # the loopback is down at first
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1 | 0x40))
    subprocess.run(["mount", "--bind", os.path.join(folder, "resolv.conf"), "/etc/resolv.conf"], check=True)
    with NameServer(port=53) as ns, open(os.path.join(folder, "texts.json")) as f:
        for name, text in json.load(f).items():
            ns.add(name.rstrip("."), "TXT", text)
        for name in sorted(os.listdir(folder)):
            if name.endswith(".eml"):
                done = subprocess.run(["opendkim-testmsg", "-C", "-t", folder], stdin=open(os.path.join(folder, name), "rb"), capture_output=True)
                print(name, done.returncode, (done.stdout + done.stderr).decode().strip())


def test_opendkim_verifies(server):
    """OpenDKIM 2.11 knows RSA only, and insists on a Date: it is given messages that have one, with that signature alone."""
    if subprocess.run(["unshare", "-rnm", "true"], capture_output=True).returncode:
        raise Skipped("no network namespace may be made here")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with open(os.path.join(folder, "resolv.conf"), "w") as f:
            f.write("nameserver 127.0.0.1\n")
        with open(os.path.join(folder, "texts.json"), "w") as f:
            json.dump(texts_of(server), f)
        names = ("plain", "spaces", "no last line end")
        for i, name in enumerate(names):
            first, second, rest = re.fullmatch(rb"(DKIM-.*?\r\n)(DKIM-.*?\r\n)(?![\t ])(.*)", signed(server, MESSAGES[name]), re.S).groups()
            expect(b"a=rsa-sha256" in first and b"a=ed25519-sha256" in second, "RSA comes first")
            good = first + rest
            for kind, text in (("good", good), ("changed", first + rest.replace(b"example.test", b"example.org"))):
                with open(os.path.join(folder, f"{i}-{kind}.eml"), "wb") as f:
                    f.write(text)
        done = subprocess.run(["unshare", "-rnm", sys.executable, __file__, folder], capture_output=True, timeout=60,
                              env=dict(os.environ, PYTHONPATH=os.path.join(ROOT, "tests")))
        results = done.stdout.decode().splitlines()
        expect(len(results) == 2 * len(names), f"each was looked at: {done}")
        for line in results:
            expect((line.split()[1] == "0") == ("-good" in line), f"OpenDKIM: {line}")


if __name__ == "__main__":
    opendkim_world(sys.argv[1])
