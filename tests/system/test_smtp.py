"""Port 25 and submission as a stranger, a user, and an attacker see them."""
import base64
import os
import smtplib
import subprocess
import time

from harness import Lines, Server, expect, wait_for


def make_server():
    return Server(settings=(("message_size_max", "40MB"),))


def greet(server, port=25):
    c = server.raw(port)
    code, text = c.smtp(None)
    expect(code == 220, text)
    return c, c.smtp("EHLO client.test")[1]


def test_announces_what_it_does(server):
    c, ehlo = greet(server)
    for word in ("PIPELINING", "SIZE ", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "ENHANCEDSTATUSCODES", "STARTTLS", "DSN",
                 "DELIVERBY", "MT-PRIORITY", "LIMITS "):
        expect(word in ehlo, f"{word} in {ehlo}")
    expect("AUTH" not in ehlo and "FUTURERELEASE" not in ehlo, "no login on port 25, and nothing for own users")
    expect(c.smtp("QUIT")[0] == 221, "QUIT")


def test_refuses_in_plain_words(server):
    c, _ = greet(server)
    expect(c.smtp("MAIL FROM:<a@elsewhere.test>")[0] == 250, "MAIL")
    code, text = c.smtp("RCPT TO:<nobody@example.test>")
    expect(code == 550 and "5.1.1" in text, text)
    code, text = c.smtp("RCPT TO:<someone@foreign.test>")
    expect(code == 550 and "5.7.1" in text, text)
    expect(c.smtp("RCPT TO:<ALICE+shop@Example.TEST>")[0] == 250, "case and sub-address")
    expect(c.smtp("RCPT TO:<postmaster@example.test>")[0] == 250, "postmaster@")
    expect(c.smtp("RCPT TO:<Postmaster>")[0] == 250, "Postmaster without a domain")
    expect(c.smtp("RCPT TO:<abuse@example.test>")[0] == 250, "abuse@")
    code, text = c.smtp("MAIL FROM:<a@elsewhere.test> SIZE=99999999")
    c.smtp("RSET")
    code, text = c.smtp("MAIL FROM:<a@elsewhere.test> SIZE=99999999")
    expect(code == 552 and "5.3.4" in text, text)
    c.close()


def test_only_crlf_dot_crlf_ends_a_message(server):
    """Smuggling: whatever looks like an end but is not one is refused, and nothing after it is a command."""
    for ending in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n"):
        c, _ = greet(server)
        c.smtp("MAIL FROM:<a@elsewhere.test>")
        c.smtp("RCPT TO:<alice@example.test>")
        expect(c.smtp("DATA")[0] == 354, "DATA")
        c.send(b"Subject: smuggle\r\n\r\nx" + ending + b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
               b"Subject: smuggled\r\n\r\n.\r\n")
        code, text = c.smtp(None)
        expect(code in (550, 554, 501, 500), f"{ending!r}: {text}")
        c.close()
    box = server.imap("bob")
    box.select("INBOX")
    expect(box.search(None, "SUBJECT", "smuggled")[1] == [b""], "nothing was smuggled in")
    box.logout()


def test_input_before_the_greeting(server):
    c = server.raw(25)
    c.send("EHLO too.early\r\n")
    # both orders are possible on a socket; whoever spoke before reading the greeting gets 554 or, read after it, a normal 220
    code, text = c.smtp(None)
    expect(code in (554, 220), text)
    c.close()


def test_nothing_survives_starttls(server):
    for port in (25, 587):
        c, _ = greet(server, port)
        c.send("STARTTLS\r\nEHLO injected\r\nMAIL FROM:<evil@elsewhere.test>\r\n")
        code, _ = c.smtp(None)
        if code == 220:
            try:
                tls = Lines(server.tls().wrap_socket(c.sock, server_hostname="localhost"))
            except OSError:
                continue  # the handshake refuses bytes that are not TLS: as good
            code, text = tls.smtp("RSET") if port == 25 else tls.smtp("NOOP")
            expect("injected" not in text, text)
            tls.close()
        else:
            expect(code in (554, 501, 503, 421), f"{port}: {code}")
            c.close()


def test_chunking_and_binary(server):
    c, _ = greet(server)
    body = bytes(range(256)) * 10
    head = (b"From: a@elsewhere.test\r\nTo: alice@example.test\r\nSubject: binary\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n")
    expect(c.smtp("MAIL FROM:<a@elsewhere.test> BODY=BINARYMIME")[0] == 250, "MAIL")
    expect(c.smtp("RCPT TO:<alice@example.test>")[0] == 250, "RCPT")
    c.send(b"BDAT %d\r\n" % len(head) + head)
    expect(c.smtp(None)[0] == 250, "first chunk")
    c.send(b"BDAT %d LAST\r\n" % len(body) + body)
    code, text = c.smtp(None)
    expect(code == 250, text)
    c.close()
    box = server.imap("alice")
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", "binary")[1][0].split(), 10, "arrived")[0]
    import email
    got = email.message_from_bytes(box.fetch(number, "(BODY.PEEK[])")[1][0][1])
    expect(got.get_payload(decode=True) == body, "the bytes are the same")
    expect(got["Content-Transfer-Encoding"].lower() == "base64", "stored re-encoded")
    box.logout()


def test_last_word_reaches_who_is_still_sending(server):
    c, _ = greet(server, 25)
    for command in ("MAIL FROM:<who@elsewhere.test>", "RCPT TO:<bob@example.test>"):
        expect(c.smtp(command)[0] == 250, command)
    c.send("BDAT 9999999999\r\n")
    for _ in range(30):                                        # refused long before its end: no write fails
        c.send(b"x" * 100000)
        time.sleep(0.005)
    code, text = c.smtp(None)
    expect(code in (421, 552), f"why it ends: {code} {text}")
    try:
        rest = c.line()
    except EOFError:                                           # and the end, no reset
        return
    raise AssertionError(f"nothing is said behind the last word: {rest}")


def test_large_message(server):
    data = os.urandom(25_000_000)
    text = base64.encodebytes(data).replace(b"\n", b"\r\n")
    s = server.smtp()
    s.sendmail("a@elsewhere.test", ["alice@example.test"], b"Subject: large\r\nContent-Transfer-Encoding: base64\r\n\r\n" + text)
    s.quit()
    box = server.imap("alice")
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", "large")[1][0].split(), 20, "arrived")[0]
    got = box.fetch(number, "(BODY.PEEK[TEXT])")[1][0][1]
    expect(base64.decodebytes(got) == data, "every byte of 25 MB")
    box.logout()
    s = server.smtp()
    try:
        s.sendmail("a@elsewhere.test", ["alice@example.test"], b"Subject: too large\r\n\r\n" + b"x" * 70 + b"\r\n" * 22_000_000)
        raise AssertionError("a message over the limit was accepted")
    except smtplib.SMTPSenderRefused as e:
        expect(e.smtp_code == 552, str(e))
    except smtplib.SMTPDataError as e:
        expect(e.smtp_code == 552, str(e))


def test_submission_needs_a_login_and_an_own_address(server):
    c, ehlo = greet(server, 587)
    expect("AUTH" not in ehlo, "no AUTH in clear text")
    code, text = c.smtp("MAIL FROM:<alice@example.test>")
    expect(code == 530, text)
    c.close()
    try:
        server.submission("alice", implicit=True).sendmail("bob@example.test", ["alice@example.test"], b"Subject: x\r\n\r\n")
        raise AssertionError("a foreign sender was accepted")
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused) as e:
        expect(e.smtp_code == 553 and b"alice@example.test" in e.smtp_error, str(e))
    for implicit in (True, False):
        s = server.submission("alice", implicit)
        s.sendmail("alice@example.test", ["bob@example.test"],
                   f"From: alice@example.test\r\nTo: bob@example.test\r\nBcc: alice@example.test\r\nSubject: sub {implicit}\r\n\r\nhi\r\n")
        s.quit()
    box = server.imap("bob")
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", '"sub False"')[1][0].split(), 10, "arrived")[0]
    head = box.fetch(number, "(BODY.PEEK[HEADER])")[1][0][1].lower()
    expect(b"\r\ndate:" in head and b"\r\nmessage-id:" in head, "Date and Message-ID were supplied")
    expect(b"\r\nbcc:" not in head, "Bcc was removed")
    box.logout()


def test_wrong_password_says_so_and_nothing_else(server):
    replies = []
    for user in ("alice@example.test", "nobody@example.test"):
        s = smtplib.SMTP_SSL("localhost", server.port(465), context=server.tls())
        try:
            s.login(user, "wrong")
            raise AssertionError("logged in")
        except smtplib.SMTPAuthenticationError as e:
            replies.append((e.smtp_code, e.smtp_error))
        s.close()
    expect(replies[0] == replies[1] and replies[0][0] == 535, str(replies))


def test_recipients_elsewhere_stay_in_the_queue(server):
    s = server.submission("alice")
    s.sendmail("alice@example.test", ["friend@elsewhere.test"], b"From: alice@example.test\r\nSubject: waits\r\n\r\nx\r\n")
    s.quit()
    wait_for(lambda: "friend@elsewhere.test" in server.cli("queue", "list"), 20, "queue list names it")


def test_sendmail_command(server):
    done = subprocess.run([server.binary, "-d", server.dir, "sendmail", "-t", "-oi"], env=server.env, stderr=subprocess.PIPE,
                          input=b"From: root\r\nTo: alice@example.test\nSubject: from cron\n\nline\n.\nend\n", timeout=30)
    expect(done.returncode == 0, done.stderr.decode())
    box = server.imap("alice")
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", '"from cron"')[1][0].split(), 10, "arrived")[0]
    expect(b"line\r\n.\r\nend" in box.fetch(number, "(BODY.PEEK[TEXT])")[1][0][1], "a lone dot is text")
    box.logout()


def test_aliases_groups_catch_all(server):
    server.cli("alias", "add", "info@example.test", "bob@example.test")
    server.cli("group", "add", "team@example.test", "alice@example.test", "bob@example.test")
    server.deliver("info@example.test", subject="to the alias")
    server.deliver("team@example.test", subject="to the group")
    for name, subject in (("bob", "to the alias"), ("bob", "to the group"), ("alice", "to the group")):
        box = server.imap(name)
        box.select("INBOX")
        wait_for(lambda: box.noop() and len(box.search(None, "SUBJECT", f'"{subject}"')[1][0].split()) == 1, 10, f"{subject}: {name}")
        box.logout()


def test_received_says_how_it_came(server):
    s = smtplib.SMTP("localhost", server.port(25), local_hostname="client.test", timeout=30)
    s.starttls(context=server.tls())
    s.sendmail("a@elsewhere.test", ["alice@example.test"], b"Subject: over TLS\r\n\r\nx\r\n")
    s.quit()
    box = server.imap("alice")
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", '"over TLS"')[1][0].split(), 10, "arrived")[0]
    head = box.fetch(number, "(BODY.PEEK[HEADER])")[1][0][1].decode()
    expect(head.startswith("Return-Path: <a@elsewhere.test>\r\n"), head)
    expect("Received: from client.test ([127.0.0.1])" in head, head)
    expect("with ESMTPS (TLSv1.3 " in head and "for <alice@example.test>;" in head, head)
    box.logout()


def test_large_binary_message(server):
    c, _ = greet(server)
    body = os.urandom(5_000_000)
    head = (b"Subject: large and binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: binary\r\n\r\n")
    c.smtp("MAIL FROM:<a@elsewhere.test> BODY=BINARYMIME")
    c.smtp("RCPT TO:<alice@example.test>")
    c.send(b"BDAT %d\r\n" % (len(head) + 1_000_000) + head + body[:1_000_000])
    expect(c.smtp(None)[0] == 250, "first chunk")
    c.send(b"BDAT %d LAST\r\n" % 4_000_000 + body[1_000_000:])
    code, text = c.smtp(None)
    expect(code == 250, text)
    c.close()
    box = server.imap("alice")
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", '"large and binary"')[1][0].split(), 20, "arrived")[0]
    import email
    got = email.message_from_bytes(box.fetch(number, "(BODY.PEEK[])")[1][0][1])
    expect(got.get_payload(decode=True) == body, "the bytes are the same")
    box.logout()


def test_pipelining(server):
    """Everything in one packet; the replies come in the order of the commands."""
    c, _ = greet(server)
    c.send("".join(f"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<alice@example.test>\r\nBDAT 23 LAST\r\n"
                   f"Subject: burst\r\n\r\n{i:03}\r\n" for i in range(15)) + "QUIT\r\n")
    codes = []
    try:
        while True:
            codes.append(c.smtp(None)[0])
    except EOFError:
        pass
    expect(codes == [250, 550, 250, 250] * 15 + [221], str(codes))


def test_the_server_stops_in_the_middle(server):
    c, _ = greet(server)
    c.smtp("MAIL FROM:<a@elsewhere.test>")
    c.smtp("RCPT TO:<alice@example.test>")
    c.smtp("DATA")
    c.send("Subject: half\r\n\r\n")
    idle, _ = greet(server)
    server.stop()
    for each in (c, idle):
        code, text = each.smtp(None)
        expect(code == 421, text)
        each.close()
    server.start()
    server.deliver("alice@example.test", subject="after the restart")
