"""The road of a message: in by port 25, out by IMAP and POP3, through kill -9 of everything."""
import os
import signal
import time

from harness import Server, expect, wait_for


def make_server():
    return Server()


def test_message_arrives_and_is_read(server):
    server.deliver("alice@example.test", subject="first", body="bonjour\r\n")
    box = server.imap("alice")
    box.select("INBOX")
    wait_for(lambda: box.noop() and box.search(None, "SUBJECT", "first")[1][0], 10, "the message in the INBOX")
    number = box.search(None, "SUBJECT", "first")[1][0].split()[0]
    data = box.fetch(number, "(FLAGS BODY.PEEK[])")[1]
    expect(b"bonjour" in data[0][1], f"body: {data}")
    expect(b"Return-Path: <someone@elsewhere.test>" in data[0][1], f"Return-Path: {data[0][1]}")
    expect(b"Received: from" in data[0][1], "Received")
    box.logout()
    pop = server.pop3("alice")
    expect(pop.stat()[0] >= 1, "POP3 sees it")
    expect(any(b"bonjour" in line for line in pop.retr(1)[1]), "POP3 reads it")
    pop.quit()


def test_kill_everything_then_read(server):
    server.deliver("bob@example.test", subject="survivor")
    server.kill_all()
    server.start()
    box = server.imap("bob")
    box.select("INBOX")
    wait_for(lambda: box.noop() and len(box.search(None, "SUBJECT", "survivor")[1][0].split()) == 1, 15, "exactly one after kill -9")
    box.logout()


def test_each_role_dies_and_comes_back(server):
    for role in ("gate", "mx", "queue", "net", "keys", "control", "nursery", "cell"):
        for pid in server.pids_of(role):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        server.wait_ready()
        subject = "after the death of " + role

        def deliver():
            try:
                server.deliver("alice@example.test", subject=subject)
                return True
            except Exception:
                return False
        wait_for(deliver, 15, f"accepted again after {role} died")

        def arrived():
            try:
                box = server.imap("alice")
                box.select("INBOX")
                found = len(box.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
                box.logout()
                return found
            except Exception:
                return 0
        wait_for(arrived, 20, f"delivered after {role} died")
        expect(arrived() == 1, f"exactly one after {role} died")


def test_news_in_idle_at_once(server):
    c = server.raw(993, tls=True)
    c.line()
    c.command(f'a login alice@example.test "{server.passwords["alice@example.test"]}"', "a OK")
    c.command("b select INBOX", "b OK")
    c.send("c idle\r\n")
    c.until("+")
    time.sleep(0.5)
    start = time.monotonic()
    server.deliver("alice@example.test", subject="idle news")
    lines = c.until("* ", 10)
    expect("EXISTS" in lines[-1], f"EXISTS in IDLE: {lines}")
    expect(time.monotonic() - start < 3, "at once")
    c.command("DONE", "c OK")
    c.close()
