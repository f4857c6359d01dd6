"""facteur trace: where is my mail? As an administrator asks, and for what an owner may see."""
import json

from harness import Server, expect, wait_for


def make_server():
    return Server()


def begin(server, sender, recipients):
    """A connection with a message begun, and the refusals of its recipients."""
    c, refused = server.raw(25), []
    c.smtp(None)
    c.smtp("EHLO client.test")
    c.smtp(f"MAIL FROM:<{sender}>")
    for to in recipients:
        code, text = c.smtp(f"RCPT TO:<{to}>")
        if code != 250:
            refused.append(text)
    return c, refused


def finish(c, message_id):
    """Its name in the queue."""
    c.smtp("DATA")
    c.send(f"From: x\r\nMESSAGE-id:\r\n <{message_id}>\r\nSubject: hello\r\n\r\n{'hello ' * 10}\r\n.\r\n".encode())
    code, text = c.smtp(None)
    expect(code == 250, text)
    c.smtp("QUIT")
    c.close()
    return text.split()[-1]


def send(server, sender, recipients, message_id):
    c, refused = begin(server, sender, recipients)
    return finish(c, message_id), refused


def trace(server, *args, events=1):
    """The messages found, once they have so many events in all: notes take a second."""
    def found():
        done = server.cli("trace", *args, "--json", check=False, binary=True)
        rows = json.loads(done.stdout or b"[]")
        return rows if isinstance(rows, list) and sum(len(m["events"]) for m in rows) >= events else None
    return wait_for(found, 30, f"trace {args}: {events} events")


def test_found_by_whatever_is_known(server):
    name, refused = send(server, "ann@elsewhere.test", ["Alice@example.test", "nobody@example.test", "bob+x@example.test"],
                         "one@elsewhere.test")
    expect(len(refused) == 1, refused)
    m = trace(server, name, events=3)[0]
    expect([e["event"] for e in m["events"]] == ["received", "delivered", "delivered"], m)
    expect(m["state"] == "delivered" and m["message_id"] == "one@elsewhere.test", m)
    expect({(e["recipient"], e["account"], e["mailbox"]) for e in m["events"][1:]} ==
           {("Alice@example.test", "alice@example.test", "INBOX"), ("bob+x@example.test", "bob@example.test", "INBOX")}, m)
    for what in ("<one@elsewhere.test>", "one@elsewhere.test", "ALICE@example.test", "ann@elsewhere.test", "elsewhere.test"):
        expect(name in [x.get("message") for x in trace(server, what)], f"found by {what}")
    no = trace(server, "nobody@example.test")[0]
    expect("message" not in no and no["state"] == "refused" and "5.1.1" in no["events"][0]["reply"], no)
    expect(no["events"][0]["peer"].startswith("client.test ["), no)


def test_people_read_it(server):
    name, _ = send(server, "ann@elsewhere.test", ["alice@example.test"], "two@elsewhere.test")
    trace(server, name, events=2)
    english = server.cli("trace", name)
    expect("received from client.test [127.0.0.1]" in english and "delivered to alice@example.test, in the folder INBOX" in english,
           english)
    server.env["LANG"] = "fr_FR.UTF-8"
    try:
        french = server.cli("trace", name)
    finally:
        server.env["LANG"] = "C.UTF-8"
    expect("remis à alice@example.test, dans le dossier INBOX" in french, french)
    done = server.cli("trace", "missing@elsewhere.test", check=False, binary=True)
    expect(done.returncode == 1 and b"nothing is known" in done.stderr, done)
    done = server.cli("trace", "what", check=False, binary=True)
    expect(done.returncode == 1 and b"Message-ID" in done.stderr, done)


def test_who_submitted_is_named(server):
    with server.submission("alice") as c:
        c.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\nMessage-ID: <eight@example.test>\r\n\r\nx\r\n")
    m = trace(server, "<eight@example.test>", events=2)[0]
    expect(m["events"][0]["account"] == "alice@example.test" and "handed in by alice@" in m["events"][0]["sentence"], m)
    expect(len(trace(server, "eight@example.test", "--owner", "alice@example.test")[0]["events"]) == 2, "hers")


def test_an_order_of_the_administrator_is_part_of_the_story(server):
    server.add_account("dave")
    server.cli("config", "set", "quota", "100", "--account", "dave@example.test")
    first, second = (begin(server, "ann@elsewhere.test", ["dave@example.test"])[0] for _ in range(2))
    finish(first, "three@elsewhere.test")  # may go over the edge; the second finds the mailbox full
    trace(server, "<three@elsewhere.test>", events=2)
    name = finish(second, "four@elsewhere.test")
    wait_for(lambda: name in server.cli("queue", "list"), 10, "it waits in the queue")
    for order in ("hold", "release", "hold", "remove"):
        server.cli("queue", order, name)
    # between release and hold it may have been tried once more
    wait_for(lambda: trace(server, name, events=6)[0]["events"][-1]["event"] == "removed", 30, "the last order is noted")
    m = trace(server, name, events=6)[0]
    story = [e["event"] for e in m["events"] if e["event"] != "deferred"]
    expect(story == ["received", "held", "released", "held", "removed"] and m["state"] == "removed", m)
    full = m["events"][1]
    expect(full["status"] == "4.2.2" and full["recipient"] == "dave@example.test" and full["explanation"] and full["next_step"], full)
    expect(0 < full["next_try"] - full["at"] <= 60, f"it says when it is tried again: {full}")


def test_an_owner_sees_his_own_part(server):
    name, _ = send(server, "ann@elsewhere.test", ["alice@example.test", "bob@example.test"], "five@elsewhere.test")
    trace(server, name, events=3)
    m = trace(server, name, "--owner", "bob@example.test")[0]
    expect(m["recipients"] == ["bob@example.test"] and len(m["events"]) == 2, m)
    name, _ = send(server, "ann@elsewhere.test", ["alice@example.test"], "six@elsewhere.test")
    trace(server, name, events=2)
    done = server.cli("trace", name, "--owner", "bob@example.test", check=False, binary=True)
    expect(done.returncode == 1 and b"nothing is known" in done.stderr, done)


def test_it_outlives_a_restart_and_can_be_switched_off(server):
    name, _ = send(server, "ann@elsewhere.test", ["alice@example.test"], "seven@elsewhere.test")
    trace(server, name, events=2)
    server.stop()
    expect("delivered to alice" in server.cli("trace", name), "without a server")
    server.start()
    expect(len(trace(server, name, events=2)[0]["events"]) == 2, "after a restart")
    server.cli("config", "set", "trail_days", "0")
    wait_for(lambda: server.cli("trace", name, check=False, binary=True).returncode == 1, 15, "all is forgotten")
    server.cli("config", "unset", "trail_days")
