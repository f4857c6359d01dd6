"""Mail between servers: two facteurs on loopback addresses, a name server of our own, and peers that behave oddly. Nothing may be lost,
and nothing come twice where the peer said that it has it."""
import contextlib
import os
import signal
import socket
import sys
import threading
import time

from harness import ROOT, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from world import World, inbox, returned  # noqa: E402


def make_server():
    return World()


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


def test_mail_waits_for_who_starts_again(w):
    """net starts again while control, which tells it who we are, does not answer: what is to leave meanwhile goes as soon as it knows."""
    peer, s = w.peer("patient"), w.here.submission("alice")
    control, net = w.here.pids_of("control")[0], w.here.pids_of("net")[0]
    os.kill(control, signal.SIGSTOP)
    try:
        os.kill(net, signal.SIGKILL)
        wait_for(lambda: w.here.pids_of("net") not in ([], [net]), 10, "net starts again")
        s.sendmail("alice@example.test", ["x@patient.peer.test"], b"From: alice@example.test\r\nSubject: patient\r\n\r\ntext\r\n")
        time.sleep(2)
    finally:
        os.kill(control, signal.SIGCONT)
    s.quit()
    expect(len(w.arrives(peer, "patient")) == 1, "once")


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


def test_a_large_eight_bit_message_to_a_plain_server(w):
    """Planned by a thread of the role that sends, which its sandbox has to allow."""
    plain = w.peer("seven")
    w.send("x@seven.peer.test", subject="large seven", body="un café au lait\r\n", size=3_000_000)
    data = w.arrives(plain, "large seven")[0]["data"]
    expect(b"un caf=C3=A9 au lait" in data and len(data) > 3_000_000, f"{len(data)} bytes")


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


def test_silent_servers_hold_up_nobody_but_their_sender(w):
    """What one account has for 400 servers that take the connection and say nothing leaves places for what others send."""
    silent = [socket.create_server((f"127.3.{i // 200}.{i % 200 + 1}", w.port)) for i in range(400)]
    for i, s in enumerate(silent):
        w.dns.set(f"q{i}.peer.test", "A", s.getsockname()[0])
    w.here.add_account("carol")
    answers = w.peer("answers")
    for first in range(0, len(silent), 100):
        w.send(*[f"x@q{i}.peer.test" for i in range(first, first + 100)], subject="not heard")

    held = []
    for s in silent:
        s.setblocking(False)

    def held_up():
        for s in silent:
            with contextlib.suppress(BlockingIOError):
                held.append(s.accept()[0])
        return len(held)
    try:
        wait_for(lambda: held_up() >= 150, 120, "half of all places are taken")
        begin = time.monotonic()
        s = w.here.submission("carol")
        s.sendmail("carol@example.test", ["x@answers.peer.test"], b"From: carol@example.test\r\nSubject: of another\r\n\r\ntext\r\n")
        s.quit()
        expect(len(w.arrives(answers, "of another")) == 1, "once")
        expect(time.monotonic() - begin < 5, f"{time.monotonic() - begin:.1f} s")
        expect(held_up() == 150, f"no more than half of the places are hers: {len(held)}")
        begin = time.monotonic()
        w.send("x@answers.peer.test", subject="her next one")     # that server has answered just now
        expect(len(w.arrives(answers, "her next one")) == 1, "once")
        expect(time.monotonic() - begin < 5, f"{time.monotonic() - begin:.1f} s")
    finally:
        for s in silent + held:
            s.close()
        wait_for(lambda: w.here.cli_json("queue", "status")["backlog"] == 0, 60, "what was being sent waits")
        w.here.cli("queue", "remove", "--from", "alice@example.test")   # the tests behind it do not find it
    expect(not w.here.cli_json("queue", "list"), "nothing is left")


def test_a_restart_sends_nothing_twice(w):
    """A server that has the whole message and thinks about it is waited for; one that has said nothing yet is not."""
    word = threading.Event()
    slow = w.peer("thinks", last_word=word)
    silent = socket.create_server(("127.0.0.240", w.port))
    w.dns.set("silent.peer.test", "MX", "10 mx.silent.peer.test")
    w.dns.set("mx.silent.peer.test", "A", "127.0.0.240")
    w.send("x@thinks.peer.test", subject="thought about")
    w.send("x@silent.peer.test", subject="not heard")
    wait_for(lambda: slow.waiting == 1, 30, "the whole message is there")
    first, _ = silent.accept()
    w.here.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "given_back=1" in w.here.log(), 30, "what has not left is given back")
    expect(slow.messages == [], "the stop comes first")
    word.set()
    expect(w.here.stop() == 0, "a clean stop")
    w.here.start()
    again, _ = silent.accept()
    expect(not any(r["tries"] for r in w.here.cli_json("queue", "list")), w.here.cli("queue", "list"))
    expect(slow.subjects() == ["thought about"] and slow.sessions == 1, f"once: {slow.subjects()}, {slow.sessions} sessions")
    for s in (first, again, silent):
        s.close()


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


def test_a_server_may_send_nothing(w):
    """A demonstration, a lab: what is for others waits, and says why."""
    held = w.peer("held")
    w.here.cli("config", "set", "send_elsewhere", "off")
    try:
        w.send("x@held.peer.test", "alice@example.test", subject="stays here")
        expect(inbox(w.here, "alice", "stays here")[0] == 1, "it is delivered here")
        wait_for(lambda: b"send_elsewhere" in w.here.cli("trace", "x@held.peer.test", check=False).stdout, 10, "its trace says why it waits")
        rows = {r["destination"]: r["condition"] for r in w.here.cli_json("queue", "destinations")}
        expect(held.sessions == 0 and rows["held.peer.test"] == "paused", f"nothing leaves: {rows}")
    finally:
        w.here.cli("config", "set", "send_elsewhere", "on")
    expect(len(w.arrives(held, "stays here")) == 1, "sent when it may")


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
