"""Groups as mailing lists: who may write, what members here and elsewhere get, and what is not sent on."""
import os
import smtplib
import sys

from harness import ROOT, expect, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from test_sending import World, inbox  # noqa: E402


def make_server():
    return World()


def fields(raw, name):
    """Of the header, unfolded."""
    head = raw.split(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").decode()
    return [line.split(":", 1)[1].strip() for line in head.split("\r\n") if line.lower().startswith(name.lower() + ":")]


def outside(w, sender, to, text):
    """From a stranger, over port 25."""
    s = w.here.smtp()
    try:
        s.sendmail(sender, [to], text.replace("\n", "\r\n").encode())
    finally:
        s.quit()


def refused(call, *words):
    try:
        call()
    except smtplib.SMTPRecipientsRefused as e:
        said = " ".join(reply.decode() for _, reply in e.recipients.values())
    except smtplib.SMTPDataError as e:
        said = e.smtp_error.decode()
    else:
        raise AssertionError("it was accepted")
    for word in words:
        expect(word in said, said)


def test_what_members_get(w):
    """The author is one of us: his name stays. A stranger's name becomes "via", for members elsewhere only."""
    far = w.peer("far", keywords=("PIPELINING",))
    w.here.cli("domain", "dns", "example.test")
    w.here.add_account("carol")
    w.here.cli("group", "add", "team@example.test", "alice@example.test", "carol@example.test", "x@far.peer.test", "y@far.peer.test")
    w.here.cli("group", "set", "team@example.test", "--title", "The Team")
    w.send("team@example.test", subject="from inside")
    for name in ("alice", "carol"):
        n, raw = inbox(w.here, name, "from inside")
        expect(n == 1 and fields(raw, "From") == ["alice@example.test"], raw)
        expect(fields(raw, "List-Id") == ["The Team <team.example.test>"], raw)
        expect(fields(raw, "List-Post") == ["<mailto:team@example.test>"], raw)
    wait_for(lambda: far.subjects() == ["from inside"] * 2, 20, "both members elsewhere")
    expect({m["to"][0] for m in far.messages} == {"x@far.peer.test", "y@far.peer.test"}, far.messages)
    senders = {m["sender"] for m in far.messages}
    expect(len(senders) == 2 and all(s.startswith("team=bounce=") and s.endswith("@example.test") for s in senders), senders)
    for m in far.messages:
        expect(fields(m["data"], "From") == ["alice@example.test"] and fields(m["data"], "DKIM-Signature"), m["data"])
    far.messages.clear()
    outside(w, "dave@elsewhere.test", "team@example.test", "From: Dave <dave@elsewhere.test>\nSubject: from outside\n\nhello\n")
    expect(fields(inbox(w.here, "carol", "from outside")[1], "From") == ["Dave <dave@elsewhere.test>"], "seen here as he is")
    m = w.arrives(far, "from outside")[0]
    expect(fields(m["data"], "From") == ["Dave via The Team <team@example.test>"], m["data"])
    expect(fields(m["data"], "Reply-To") == ["Dave <dave@elsewhere.test>"] and fields(m["data"], "DKIM-Signature"), m["data"])
    told = "sent on by the group team@example.test, to 4 members"
    wait_for(lambda: told in w.here.cli("trace", "team@example.test", check=False).stdout.decode(), 10, told)


def test_who_may_write(w):
    w.here.cli("group", "add", "board@example.test", "alice@example.test", "chair@elsewhere.test")
    w.here.cli("group", "set", "board@example.test", "--post", "members", "--replies", "group")
    mail = "From: x@elsewhere.test\nSubject: to the board\n\nhello\n"
    refused(lambda: outside(w, "x@elsewhere.test", "board@example.test", mail), "5.7.1", "board@example.test")
    refused(lambda: outside(w, "alice@example.test", "board@example.test", mail), "5.7.1", "log in")
    outside(w, "chair@elsewhere.test", "board@example.test", mail.replace("to the board", "from the chair"))
    n, raw = inbox(w.here, "alice", "from the chair")
    expect(fields(raw, "Reply-To") == ["board@example.test"] or fields(raw, "Reply-To") == ["<board@example.test>"], raw)
    w.here.cli("group", "set", "board@example.test", "--post", "chair@elsewhere.test")
    refused(lambda: w.send("board@example.test", subject="not a poster"), "5.7.1")
    shown = w.here.cli_json("group", "show", "board@example.test")
    expect(shown["post"] == ["chair@elsewhere.test"] and shown["replies"] == "group", shown)


def test_what_is_not_sent_on(w):
    """What comes back from a member to the group, bounces, and automatic answers."""
    w.here.cli("group", "add", "loop@example.test", "alice@example.test")
    text = "From: a@elsewhere.test\n{}Subject: again\n\nhello\n"
    refused(lambda: outside(w, "a@elsewhere.test", "loop@example.test", text.format("List-Id: x <loop.example.test>\n")), "5.4.6")
    refused(lambda: outside(w, "a@elsewhere.test", "loop@example.test", text.format("Auto-Submitted: auto-replied\n")), "5.7.1")
    refused(lambda: outside(w, "", "loop@example.test", text.format("")), "5.7.1", "bounces")
