"""An account that sends like a thief is stopped, its owner and the administrator hear why, and it is let go again."""
import os
import smtplib
import sys
import time

from harness import ROOT, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from world import World, inbox  # noqa: E402


def make_server():
    return World(servers=(("example.test", ("alice", "bob")),))  # alice came first: she has the mail of postmaster@


def send(w, to, subject):
    s = w.here.submission("bob")
    try:
        s.sendmail("bob@example.test", to, f"From: bob@example.test\r\nSubject: {subject}\r\n\r\ntext\r\n".encode())
    finally:
        s.close()


def sending(w):
    return w.here.cli_json("account", "sending", "bob@example.test")[0]


def test_what_other_servers_refuse_stops_it(w):
    w.here.cli("account", "describe", "bob@example.test", "--lang", "fr")
    strangers = [f"x{i}@many.peer.test" for i in range(110)]
    w.peer("many", keywords=("PIPELINING",), rcpt={a: ["550 5.1.1 no such user"] for a in strangers[:30]})
    send(w, strangers, "to many")  # nothing but the answers of the other server gives him away
    wait_for(lambda: sending(w)["may_send"] == "stopped", 30, "the account is stopped")
    now = sending(w)
    expect(now["last_hour"] == 110 and now["strangers"] == 110 and now["refused"] == 30 and now["networks"] == 1, now)
    expect("30 of the 110 people" in now["reason"] and "110 people it had never written to" in now["reason"], now["reason"])
    expect([a["address"] for a in w.here.cli_json("account", "sending")] == ["bob@example.test"], "without an address: who is stopped")
    _, raw = inbox(w.here, "bob", "Vous ne pouvez plus envoyer")
    expect(b"<postmaster@example.test>" in raw and b"Auto-Submitted: auto-generated" in raw, raw)
    _, raw = inbox(w.here, "alice", "bob@example.test was stopped from sending")
    expect(b"account sending bob@example.test --allow" in raw, raw)
    try:
        send(w, ["x@many.peer.test"], "one more")
        raise AssertionError("it may still send")
    except smtplib.SMTPException as e:
        expect("550" in str(e) and "may not send at the moment" in str(e), e)


def test_a_sudden_bulk_leaves_evenly(w):
    w.here.cli("config", "set", "submit_recipients_per_hour", "3", "--account", "alice@example.test")
    peer = w.peer("bulk")
    for i in range(5):
        w.send("x@bulk.peer.test", "alice@example.test", subject=f"bulk {i}")
    for i in range(4):
        w.arrives(peer, f"bulk {i}")
    inbox(w.here, "alice", "bulk 4")  # whoever is here does not wait
    inbox(w.here, "alice", "alice@example.test sends more than usual")
    waits = wait_for(lambda: w.here.cli_json("queue", "list"), 10, "the fifth waits in the queue")
    expect(len(waits) == 1 and 600 < waits[0]["next_try"] - time.time() < 1300, waits)
    wait_for(lambda: b"submit_recipients_per_hour" in w.here.cli("trace", waits[0]["message"], check=False).stdout, 10, "the trail says so")
    w.here.cli("queue", "release", waits[0]["message"])
    w.arrives(peer, "bulk 4")


def test_what_a_stopped_account_has_queued_waits(w):
    w.here.cli("config", "set", "submit_recipients_per_hour", "1000", "--account", "alice@example.test")
    peer = w.peer("later", rcpt={f"{x}@later.peer.test": ["450 4.2.0 later", "250 2.1.5 ok"] for x in "xy"})
    w.send("x@later.peer.test", subject="waits")
    row = wait_for(lambda: w.here.cli_json("queue", "list", "--to", "x@later.peer.test"), 20, "deferred")[0]
    w.here.cli("account", "sending", "alice@example.test", "--stop")
    w.here.cli("queue", "retry", row["message"])
    wait_for(lambda: 60 < w.here.cli_json("queue", "list", "--to", "x@later.peer.test")[0]["next_try"] - time.time() < 200, 10, "it is put aside")
    expect(peer.subjects() == [], "nothing of it has left")
    w.here.cli("account", "sending", "alice@example.test", "--allow")
    w.here.cli("queue", "retry", row["message"])
    w.arrives(peer, "waits")
    w.send("y@later.peer.test", subject="left by a thief")
    wait_for(lambda: w.here.cli_json("queue", "list", "--to", "y@later.peer.test"), 20, "deferred")
    expect(w.here.cli("queue", "remove", check=False).returncode != 0, "of whom?")
    w.here.cli("queue", "remove", "--from", "ann@example.test")
    expect(w.here.cli_json("queue", "list", "--to", "y@later.peer.test"), "only what is wanted goes")
    said = w.here.cli("queue", "remove", "--from", "Alice@example.test")
    expect(": 1" in said and w.here.cli_json("queue", "list", "--to", "y@later.peer.test") == [], said)


def test_the_administrator_lets_it_go_again(w):
    w.here.cli("account", "sending", "bob@example.test", "--stop")
    w.here.cli("account", "sending", "bob@example.test", "--allow")
    peer = w.peer("again")
    send(w, ["x@again.peer.test"], "after that")
    w.arrives(peer, "after that")
    expect(sending(w)["may_send"] == "allowed" and sending(w)["refused"] == 0, sending(w))
    w.here.cli("account", "sending", "bob@example.test", "--stop", "--reason", "asked for by the school")
    try:
        send(w, ["x@again.peer.test"], "never")
        raise AssertionError("it may still send")
    except smtplib.SMTPException as e:
        expect("550" in str(e), e)
    expect(sending(w)["reason"] == "asked for by the school", sending(w))
    w.here.kill_all()  # that is on disk
    w.here.start()
    expect(sending(w)["may_send"] == "stopped", sending(w))
