"""Groups as mailing lists: who may write, what members here and elsewhere get, and what is not sent on."""
import http.client
import smtplib
import socket
import ssl

from harness import expect, wait_for
from world import World, inbox, returned


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
    expect(len(fields(m["data"], "Message-ID")) == 1 and len(fields(m["data"], "Date")) == 1, m["data"])  # he gave neither
    told = "sent on by the group team@example.test, to 4 members"
    wait_for(lambda: told in w.here.cli("trace", "team@example.test", check=False).stdout.decode(), 10, told)
    traced = w.here.cli("trace", "team@example.test")
    expect(traced.count("was made from it, for x@far.peer.test") == 2, traced)


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


def members(w, group):
    return w.here.cli_json("group", "show", group)["members"]


def leave_at(w, url, method):
    """The page, as a mail program asks for it (RFC 8058)."""
    host, path = url.removeprefix("https://").split("/", 1)
    connection = http.client.HTTPSConnection("127.0.0.1", w.here.port(443), context=ssl._create_unverified_context(), timeout=20)
    connection.request(method, "/" + path, body="List-Unsubscribe=One-Click" if method == "POST" else None,
                       headers={"Host": host.split(":")[0], "Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def too_much_is_answered(w):
    """Who sends more than is taken hears so, however long he goes on."""
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", w.here.port(443)), 20), server_hostname="mail.example.test") as s:
        s.sendall(b"POST /leave/x HTTP/1.1\r\nHost: mail.example.test\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(30):
            s.sendall(b"x" * 100_000)
        answer = s.recv(1000)
    expect(answer.startswith(b"HTTP/1.1 413 "), answer)


def test_leaving(w):
    """By one click, by mail, and by an account of ours; each member has his own link, and it is signed."""
    news = w.peer("news")
    w.here.cli("domain", "dns", "example.test")
    w.here.cli("group", "add", "news@example.test", "alice@example.test", *(f"{n}@news.peer.test" for n in "abc"))
    w.here.cli("group", "set", "news@example.test", "--leave", "on", "--post", "alice@example.test")
    w.send("news@example.test", subject="the news")
    wait_for(lambda: len(news.messages) == 3, 20, "three members elsewhere")
    links = {}
    for m in news.messages:
        links[m["to"][0][0]] = fields(m["data"], "List-Unsubscribe")[0].replace(">", "").replace("<", "").split(", ")
        expect(fields(m["data"], "List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"], m["data"])
        signed = fields(m["data"], "DKIM-Signature")[0].replace(" ", "").lower()
        expect("list-unsubscribe:list-unsubscribe-post" in signed.split(";h=")[1].split(";")[0] + ":", signed)
        expect(fields(m["data"], "List-Post") == ["NO"], m["data"])
    expect(len({url for url, _ in links.values()}) == 3, links)
    # looking does nothing, one click does
    status, text = leave_at(w, links["a"][0], "GET")
    expect(status == 200 and "<form" in text and "a@news.peer.test" in members(w, "news@example.test"), text)
    status, text = leave_at(w, links["a"][0], "POST")
    expect(status == 200 and members(w, "news@example.test") == ["alice@example.test", "b@news.peer.test", "c@news.peer.test"], text)
    expect(leave_at(w, links["a"][0], "POST")[0] == 200, "again is no mistake")
    expect(leave_at(w, links["a"][0].replace("=leave=", "=leave=x"), "POST")[0] == 404, "a forged one is nobody's")
    too_much_is_answered(w)
    # a mail to his own address
    to = links["b"][1].removeprefix("mailto:").split("?")[0]
    outside(w, "whoever@elsewhere.test", to, "From: b@news.peer.test\nSubject: unsubscribe\n\n")
    expect(members(w, "news@example.test") == ["alice@example.test", "c@news.peer.test"], "gone when it was accepted")
    # one of ours, who has logged in, needs no token; a stranger who calls himself so is refused
    to = fields(inbox(w.here, "alice", "the news")[1], "List-Unsubscribe")[0].removeprefix("<mailto:").split("?")[0]
    expect(to == "news=leave@example.test", to)
    refused(lambda: outside(w, "alice@example.test", to, "Subject: unsubscribe\n\n"), "5.7.1", "List-Unsubscribe")
    w.send(to, subject="unsubscribe")
    expect(members(w, "news@example.test") == ["c@news.peer.test"], members(w, "news@example.test"))
    refused(lambda: w.send(to, subject="again"), "5.7.1", "ask its postmaster")
    told = ("a member has left the group news@example.test, by a mail from whoever@elsewhere.test",
            "a member has left the group news@example.test, by a mail from alice@example.test",
            "alice@example.test wanted to leave the group news@example.test, and is no member of it")
    wait_for(lambda: all(t in w.here.cli("trace", "news@example.test", check=False).stdout.decode() for t in told), 10, told)


def test_mail_that_comes_back(w):
    """Refused in the session, and by a bounce that came later: the author hears nothing, the administrator sees it."""
    gone = w.peer("gone", rcpt={"now@gone.peer.test": ["550 5.1.1 no such person"]})
    w.here.cli("group", "add", "club@example.test", "now@gone.peer.test", "later@gone.peer.test")
    w.send("club@example.test", subject="to the club")
    sender = w.arrives(gone, "to the club")[0]["sender"]

    def bounces():
        return "\n".join(w.here.cli_json("group", "show", "club@example.test").get("bounces", []))
    wait_for(lambda: "now@gone.peer.test" in bounces(), 20, "the member who was refused at once")
    outside(w, "", sender, "From: mailer@gone.peer.test\nSubject: failed\nMIME-Version: 1.0\n"
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nsorry\n--b\n"
            "Content-Type: message/delivery-status\n\nReporting-MTA: dns; gone.peer.test\n\nFinal-Recipient: rfc822; later@gone.peer.test\n"
            "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 it has moved\n\n--b--\n")
    expect("later@gone.peer.test: days with returned mail: 1; at last 550 it has moved" in bounces(), bounces())
    box = w.here.imap("alice")
    box.select("INBOX")
    expect(box.search(None, "FROM", "postmaster")[1][0] == b"", "no bounce for the author")
    box.logout()


def test_a_large_message(w):
    """It is in a file, not in memory; and its sender asked to be told."""
    big = w.peer("big")
    w.here.cli("group", "add", "big@example.test", "carol@example.test", "x@big.peer.test")
    s = w.here.submission("alice")
    text, whole = b"From: alice@example.test\r\nTo: big@example.test\r\nSubject: large\r\n\r\n", (b"z" * 900 + b"\r\n") * 1500
    s.sendmail("alice@example.test", ["big@example.test"], text + whole, rcpt_options=["NOTIFY=SUCCESS"])
    s.quit()
    n, raw = inbox(w.here, "carol", "large")
    expect(n == 1 and raw.endswith(whole) and fields(raw, "List-Id") == ["big <big.example.test>"], raw[:2000])
    m = w.arrives(big, "large")[0]
    expect(len(m["data"]) > len(whole) and whole in m["data"] and fields(m["data"], "List-Id"), m["data"][:2000])
    raw = returned(w, "big@example.test", "Action: delivered", "Status: 2.1.5")
    expect(b"x@big.peer.test" not in raw and b"carol" not in raw, "the members are not named")
