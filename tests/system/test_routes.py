"""Mail that does not go to the mail hosts of its domain: a smart host with a login, an LMTP server of a domain of ours, source addresses."""
import os
import sys

from harness import ROOT, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from world import World, inbox  # noqa: E402


def make_server():
    return World(servers=(("example.test", ("alice",)),))


def test_a_smart_host_with_a_login(w):
    """One message for two domains is one message there; what the password proves is the DANE record of the host."""
    certificate, digest = w.certificate("mx.smart.dane.test")
    smart = w.peer("smart", domain="dane.test", certificate=certificate, passwords={"facteur": "s\u00e9same"})
    w.dns.set(f"_{w.port}._tcp.mx.smart.dane.test", "TLSA", f"3 1 1 {digest}")
    direct = w.peer("direct")
    target = f"mx.smart.dane.test:{w.port}"
    expect("password" in w.here.cli("route", "add", "*", target, "--login", "facteur", check=False).stderr.decode(), "a login has a password")
    w.here.cli("route", "add", "*", target, "--login", "facteur", "--password-stdin", stdin="wrong\n")
    failed = w.here.cli("route", "test", "x@far.example", check=False)
    expect(failed.returncode == 1 and "535 5.7.8" in failed.stderr.decode() and "password" in failed.stderr.decode(), failed.stderr)
    w.send("x@far.example", "y@away.example", subject="by way of")
    wait_for(lambda: len(smart.logins) > 1, 20, "it was tried")
    wait_for(lambda: b"535 5.7.8" in w.here.cli("trace", "alice@example.test", check=False).stdout, 10, "why it waits stands in its trace")
    wait_for(lambda: w.here.cli_json("queue", "list"), 10, "it waits, and does not come back")
    expect(not smart.messages, "and was not given to anybody")

    w.here.cli("route", "add", "*", target, "--login", "facteur", "--password-stdin", stdin="s\u00e9same\n")
    expect("has accepted the login" in w.here.cli("route", "test", "x@far.example"), "the way is open")
    got = w.arrives(smart, "by way of", retries=True)
    expect(len(got) == 1 and sorted(got[0]["to"]) == ["x@far.example", "y@away.example"], got)
    expect(got[0]["tls"] and got[0]["login"] == "facteur" and all(tls for _, _, tls in smart.logins), "nothing in clear text")
    expect("s\u00e9same" not in w.here.log() and "wrong" not in "".join(str(r) for r in w.here.cli_json("route", "list")), "nobody reads the password")

    expect("goes by a route" in w.here.cli("queue", "pause", "far.example", check=False).stderr.decode(), "it has no destination of its own")
    w.here.cli("queue", "pause", f"facteur@{target}")
    rows = {r["destination"]: r["condition"] for r in w.here.cli_json("queue", "destinations")}
    expect(rows == {f"facteur@{target}": "paused"}, rows)
    w.here.cli("queue", "resume", f"facteur@{target}")

    w.here.cli("route", "add", "direct.peer.test", "direct")
    w.send("x@direct.peer.test", subject="not by way of")
    w.arrives(direct, "not by way of")
    w.here.cli("route", "remove", "*")
    expect(w.here.cli("route", "test", "x@direct.peer.test", check=False).returncode == 0, "without a route, too")


def test_who_cannot_prove_himself_gets_no_password(w):
    impostor = w.peer("impostor", domain="dane.test", certificate=w.certificate("mx.impostor.dane.test")[0], passwords={"facteur": "x"})
    w.dns.set(f"_{w.port}._tcp.mx.impostor.dane.test", "TLSA", "3 1 1 " + "00" * 32)
    w.here.cli("route", "add", "secret.example", f"mx.impostor.dane.test:{w.port}", "--login", "facteur", "--password-stdin", stdin="x\n")
    failed = w.here.cli("route", "test", "secret.example", check=False)
    expect(failed.returncode == 1 and "certificate" in failed.stderr.decode(), failed.stderr)
    expect(impostor.sessions == 1 and not impostor.logins, "it was asked nothing")


def test_others_of_our_domain_are_elsewhere(w):
    """alice has moved here, carol and dave are on the LMTP server still."""
    lmtp = w.peer("lmtp", is_lmtp=True, keywords=("PIPELINING", "8BITMIME"))
    expect(w.here.cli("route", "add", "example.test", f"lmtp:{lmtp.address}:{w.port}"), "said")
    w.send("alice@example.test", "carol@example.test", "dave@example.test", subject="for all of us")
    got = w.arrives(lmtp, "for all of us")
    expect(len(got) == 1 and sorted(got[0]["to"]) == ["carol@example.test", "dave@example.test"], got)
    expect(got[0]["sender"] == "alice@example.test", got[0]["sender"])
    expect(inbox(w.here, "alice", "for all of us")[0] == 1, "who is here gets it here")
    w.here.cli("route", "remove", "example.test")


def test_the_address_that_mail_leaves_from(w):
    peer = w.peer("source")
    expect("192.0.2.700 is no IPv4 address" in w.here.cli("config", "set", "source_ipv4", "192.0.2.700", check=False).stderr.decode(), "no address")
    w.here.cli("config", "set", "source_ipv4", "127.0.0.77")
    w.here.cli("route", "test", "source.peer.test")
    w.here.cli("config", "set", "source_ipv4", "127.0.0.78", "--account", "alice@example.test")
    w.send("x@source.peer.test", subject="from an address")
    w.arrives(peer, "from an address")
    expect(peer.clients == ["127.0.0.77", "127.0.0.78"], peer.clients)
    w.here.cli("config", "set", "source_ipv4", "192.0.2.1", "--account", "alice@example.test")
    w.send("x@source.peer.test", subject="from nowhere")
    wait_for(lambda: b"192.0.2.1 (setting source_ipv4)" in w.here.cli("trace", "alice@example.test", check=False).stdout, 10, "what is wrong is said")
    w.here.cli("config", "unset", "source_ipv4", "--account", "alice@example.test")
    w.arrives(peer, "from nowhere", retries=True)
