"""Sending, as mail programs, printers, cron and thieves of passwords do it."""
import base64
import contextlib
import email
import imaplib
import os
import signal
import smtplib
import shutil
import subprocess
import threading
import time

from harness import Lines, Server, alive, expect, needs_root, wait_for


def make_server():
    return Server(accounts=("alice", "bob", "carol"))


def find(server, name, subject, seconds=10):
    """The whole message in name's inbox."""
    box = server.imap(name)
    box.select("INBOX")
    number = wait_for(lambda: box.noop() and box.search(None, "SUBJECT", f'"{subject}"')[1][0].split(), seconds, f"{subject} at {name}")
    raw = box.fetch(number[0], "(BODY.PEEK[])")[1][0][1]
    box.logout()
    expect(len(number) == 1, f"{subject} once, not {len(number)} times")
    return raw


def logged_in(server, name):
    """A raw session on 465, after the login. Who is told to come again in a minute, because cells have died here, does so."""
    def attempt():
        c = server.raw(465, tls=True)
        c.smtp(None)
        c.smtp("EHLO client.test")
        code, text = c.smtp("AUTH PLAIN " + base64.b64encode(server.plain(name)).decode())
        if code == 235:
            return c
        c.close()
        expect(code == 454, text)
    return wait_for(attempt, 60, f"{name} is let in")


def sendmail(server, *args, text="Subject: x\n\nx\n", user=None, dir=None):
    binary = server.binary
    if user:  # who may not reach this checkout: below /root, say
        binary = os.path.join(server.dir, "facteur")
        shutil.copy(server.binary, binary)
    done = subprocess.run([binary, "-d", dir or server.dir, "sendmail", *args], env=server.env, input=text.encode(), timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=user, group=user, extra_groups=[] if user else None, cwd="/")
    return done.returncode, done.stderr.decode()


def test_the_sender_people_see_must_be_an_own_address(server):
    s = server.submission("alice")
    try:
        s.sendmail("alice@example.test", ["bob@example.test"], b"From: The boss <bob@example.test>\r\nSubject: fake\r\n\r\n")
        raise AssertionError("From may be anybody")
    except smtplib.SMTPDataError as e:
        expect(e.smtp_code == 553 and b"alice@example.test" in e.smtp_error and b"5.7.1" in e.smtp_error, str(e))
    s.sendmail("alice+news@example.test", ["bob@example.test"], b"From: ALICE@Example.test\r\nSubject: own names\r\n\r\n")
    server.cli("alias", "add", "sales@example.test", "alice@example.test")
    s.close()
    s = server.submission("alice")
    s.sendmail("sales@example.test", ["bob@example.test"], b"From: sales@example.test\r\nSubject: under an alias\r\n\r\n")
    s.quit()
    find(server, "bob", "own names")
    find(server, "bob", "under an alias")


def test_a_mistyped_colleague_is_refused_at_once(server):
    s = server.submission("alice")
    refused = s.sendmail("alice@example.test", ["bpb@example.test", "bob@example.test", "friend@elsewhere.test"],
                         b"From: alice@example.test\r\nSubject: three recipients\r\n\r\n")
    s.quit()
    expect(list(refused) == ["bpb@example.test"] and refused["bpb@example.test"][0] == 550, str(refused))
    find(server, "bob", "three recipients")
    wait_for(lambda: "friend@elsewhere.test" in server.cli("queue", "list"), 20, "queue list names it")


def test_header_is_made_good_and_the_body_is_left_alone(server):
    data = os.urandom(8_000_000)
    body = base64.encodebytes(data).replace(b"\n", b"\r\n") + b"\r\n.\r\n..\r\nBcc: in the text\r\n"
    s = server.submission("alice", implicit=False)
    s.sendmail("alice@example.test", ["bob@example.test"],
               b"Return-Path: <x@y.test>\r\nTo: bob@example.test\r\nBcc: carol@example.test,\r\n dora@elsewhere.test\r\nSubject: large one\r\n\r\n" + body)
    s.quit()
    raw = find(server, "bob", "large one", 20)
    head, _, got = raw.partition(b"\r\n\r\n")
    expect(got == body, "every byte of the body")
    message = email.message_from_bytes(raw)
    expect(message["Bcc"] is None, "no Bcc")
    expect(message["From"].endswith("<alice@example.test>") and message["Date"] and message["Message-ID"].endswith(">"), str(head))
    expect(message.get_all("Return-Path") == ["<alice@example.test>"], str(message.get_all("Return-Path")))
    expect("with ESMTPSA (TLSv1.3" in message["Received"], message["Received"])


def test_chunks_of_binary(server):
    c = logged_in(server, "alice")
    head = b"From: alice@example.test\r\nSubject: binary chunks\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n" \
           b"Content-Transfer-Encoding: binary\r\n\r\n"
    body = bytes(range(256)) * 3
    c.send(b"MAIL FROM:<alice@example.test> BODY=BINARYMIME\r\nRCPT TO:<bob@example.test>\r\nBDAT %d\r\n" % len(head) + head +
           b"BDAT %d LAST\r\n" % len(body) + body)
    for _ in range(4):
        code, text = c.smtp(None)
        expect(code == 250, text)
    expect(c.smtp("QUIT")[0] == 221, "QUIT")
    expect(email.message_from_bytes(find(server, "bob", "binary chunks")).get_payload(decode=True) == body, "the bytes are the same")


def test_printers_send_without_login(server):
    def clear(port=587):
        c = server.raw(port)
        c.smtp(None)
        c.smtp("HELO scanner")
        return c
    code, text = clear().smtp("MAIL FROM:<carol@example.test>")
    expect(code == 530, text)
    server.cli("printer", "add", "127.0.0.1", "carol@example.test")
    c = clear()
    code, text = c.smtp("MAIL FROM:<alice@example.test>")
    expect(code == 553 and "carol@example.test" in text, text)
    expect(c.smtp("MAIL FROM:<carol@example.test>")[0] == 250, "MAIL")
    expect(c.smtp("RCPT TO:<bob@example.test>")[0] == 250, "RCPT")
    expect(c.smtp("DATA")[0] == 354, "DATA")
    code, text = c.smtp("Subject: scanned\r\n\r\npage 1\r\n.")
    expect(code == 250, text)
    c.close()
    received = email.message_from_bytes(find(server, "bob", "scanned"))["Received"]
    expect("with SMTP\r\n" in received, received)
    server.cli("printer", "remove", "127.0.0.1")
    code, text = clear().smtp("MAIL FROM:<carol@example.test>")
    expect(code == 530, text)


def test_sendmail_says_what_happened(server):
    code, said = sendmail(server, "bob", "-F", "Nightly", text="Subject: bare name\n\nprogress 10%\r20%\n")
    expect(code == 0, said)
    raw = find(server, "bob", "bare name")
    expect(b"\r\nFrom: Nightly <postmaster@example.test>" in raw and b"progress 10%\r\n20%\r\n" in raw, repr(raw))
    code, said = sendmail(server, "root", text="just text, cron of root\n")
    expect(code == 0, said)
    code, said = sendmail(server, "nobody-of-that-name")
    expect(code == 67 and "nobody-of-that-name" in said, f"{code} {said}")
    code, said = sendmail(server)
    expect(code == 64 and said, f"{code} {said}")
    code, said = sendmail(server, "-z")
    expect(code == 64 and "-z" in said, f"{code} {said}")
    code, said = sendmail(server, "bob", dir="/nonexistent")
    expect(code == 75 and "/nonexistent" in said, f"{code} {said}")
    done = subprocess.run([server.binary, "-d", server.dir, "sendmail", "bob"], env=dict(server.env, LC_ALL="fr_FR.UTF-8"), input=b"",
                          stderr=subprocess.PIPE, timeout=30)
    expect(done.returncode == 0, "an empty message is one: " + done.stderr.decode())


def test_sendmail_of_other_users(server):
    needs_root()
    code, said = sendmail(server, "bob", user=65534)
    expect(code == 77 and "local_users" in said, f"{code} {said}")
    server.cli("config", "set", "local_users", "65534=alice@example.test")
    code, said = sendmail(server, "bob", text="Subject: of a service\n\nx\n", user=65534)
    expect(code == 0, said)
    expect(b"<alice@example.test>" in find(server, "bob", "of a service"), "as the account it was given")
    code, said = sendmail(server, "-f", "carol@example.test", "bob", user=65534)
    expect(code == 77, f"{code} {said}")


def test_so_many_recipients_a_day_also_after_a_crash(server):
    server.add_account("dave")
    server.cli("config", "set", "submit_recipients_per_day", "12", "--account", "dave@example.test")
    s = server.submission("dave")
    s.sendmail("dave@example.test", [f"r{i}@elsewhere.test" for i in range(10)], b"From: dave@example.test\r\nSubject: ten\r\n\r\n")
    s.close()
    cells = server.pids_of("cell")
    for pid in cells:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in cells), 10, "killed cells are gone")  # one that is still dying takes sessions along
    s = server.submission("dave")
    refused = s.sendmail("dave@example.test", [f"s{i}@elsewhere.test" for i in range(4)], b"From: dave@example.test\r\nSubject: four\r\n\r\n")
    s.close()
    expect(len(refused) == 2 and all(r[0] == 450 and b"4.7.1" in r[1] for r in refused.values()), str(refused))


def test_what_was_acknowledged_is_there_once_when_cells_die(server):
    acknowledged, stop = [], threading.Event()

    def send(tag, name):
        number = 0
        while not stop.is_set():
            try:
                s = server.submission(name)
                while not stop.is_set():
                    number += 1
                    subject = f"die {tag} {number}"
                    s.sendmail(f"{name}@example.test", ["bob@example.test"], f"From: {name}@example.test\r\nSubject: {subject}\r\n\r\n")
                    acknowledged.append(subject)
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.05)
    threads = [threading.Thread(target=send, args=pair) for pair in enumerate(("alice", "carol", "bob", "alice"))]
    for t in threads:
        t.start()
    for _ in range(4):
        before = len(acknowledged)
        time.sleep(0.6)
        wait_for(lambda: len(acknowledged) >= before + 6, 60, "somebody sends")  # what dies often is not started again at once
        for pid in server.pids_of("cell"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    stop.set()
    for t in threads:
        t.join()
    expect(len(acknowledged) > 20, f"only {len(acknowledged)} were sent at all")

    def subjects():
        try:
            box = server.imap("bob")
        except imaplib.IMAP4.error:  # what dies often is not started again at once
            return []
        box.select("INBOX", readonly=True)
        got = [line[1].decode().split("Subject: ")[1].strip() for line in box.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
               if isinstance(line, tuple) and b"Subject: die" in line[1]]
        box.logout()
        return got
    wait_for(lambda: set(acknowledged) <= set(subjects()), 30, "every acknowledged message")
    got = subjects()
    expect(len(got) == len(set(got)), f"{len(got) - len(set(got))} are there twice")


def test_a_session_ends_with_its_password(server):
    c = logged_in(server, "carol")
    server.cli("account", "password", "carol@example.test", "--password-stdin", stdin="another one\n")
    start = time.monotonic()
    code, text = c.smtp(None)
    expect(code == 421 and time.monotonic() - start < 2, f"{text} after {time.monotonic() - start:.1f} s")
    c.close()


def test_the_server_says_goodbye(server):
    c = logged_in(server, "alice")
    expect(c.smtp("MAIL FROM:<alice@example.test>")[0] == 250, "MAIL")
    server.stop()
    code, text = c.smtp(None)
    expect(code == 421, text)
    c.close()
    server.start()
    s = server.submission("alice")
    s.sendmail("alice@example.test", ["bob@example.test"], b"From: alice@example.test\r\nSubject: after the restart\r\n\r\n")
    s.quit()
    find(server, "bob", "after the restart")
