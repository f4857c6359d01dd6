"""Disks that are full or fail: nothing acknowledged is lost, the sender is told in words, and it recovers by itself or by a restart.
The test build's disk layer fails on demand (src/disk/fault.h)."""
import imaplib
import json
import os
import smtplib
import tempfile
import time

from harness import Server, expect, wait_for
from world import World


class Faults:
    def __init__(self):
        self.path = tempfile.mkstemp(prefix="facteur-faults-")[1]
        os.chmod(self.path, 0o644)

    def set(self, *lines):
        with open(self.path, "w") as f:      # in place: the roles have it open
            f.write("".join(line + "\n" for line in lines) or "# nothing\n")


def count(server, name, subject):
    try:
        box = server.imap(name)
    except imaplib.IMAP4.error as e:         # its cell is just being ended
        if "UNAVAILABLE" not in str(e):
            raise
        return -1
    box.select("INBOX")
    found = len(box.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
    box.logout()
    return found


def comes(server, name, subject):
    """True when it is there once; a mailbox that is just being opened again says so, and is asked later."""
    try:
        return count(server, name, subject) == 1
    except imaplib.IMAP4.error as e:
        expect("try again" in str(e), str(e))
        return False


def refused_for_now(server, subject):
    """The text of the 4xx that a message got."""
    try:
        server.deliver("alice@example.test", subject=subject)
    except smtplib.SMTPResponseException as e:
        return e.smtp_code, e.smtp_error.decode()
    except smtplib.SMTPRecipientsRefused as e:
        return next(iter(e.recipients.values()))
    raise AssertionError("accepted")


def test_a_full_disk_refuses_and_recovers():
    faults = Faults()
    faults.set()
    server = Server(build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        server.deliver("alice@example.test", subject="before")
        wait_for(lambda: count(server, "alice", "before") == 1, 10, "arrived")
        faults.set("write accounts enospc 1")      # the log has room, the account has not
        server.deliver("alice@example.test", subject="while the account is full")
        time.sleep(1.5)
        faults.set()
        wait_for(lambda: comes(server, "alice", "while the account is full"), 90, "delivered when there is room again")
        expect(count(server, "alice", "before") == 1, "the older one is still there")
    finally:
        server.close()
        os.unlink(faults.path)


def test_who_comes_first_on_a_full_disk_hears_so():
    faults = Faults()
    faults.set()
    server = Server(build="fault", settings=(("plain_login_loopback", "on"),), env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        login = f'login alice@example.test "{server.passwords["alice@example.test"]}"'
        faults.set("write accounts enospc 1")
        c = server.raw(143)
        c.line()
        c.command("f language fr", "f ")
        for _ in range(9):                         # after some tries no process is started for a moment
            answer = c.command(f"f {login}", "f ")[-1]
            expect(answer.startswith("f NO [UNAVAILABLE] le disque du serveur est plein : réessayez"), answer)
        p = server.raw(110)
        for line in ("", "USER alice@example.test", f"PASS {server.passwords['alice@example.test']}"):
            p.send(line + "\r\n" if line else "")
            answer = p.line()
        expect(answer.startswith("-ERR [SYS/TEMP] the server's disk is full: try again"), answer)
        expect("No space left on device" in server.log(), "the log says what it was")
        faults.set()
        wait_for(lambda: c.command(f"a {login}", "a ")[-1].startswith("a OK"), 10, "she is in when there is room")
    finally:
        server.close()
        os.unlink(faults.path)


def test_a_full_disk_is_called_so_wherever_something_is_written():
    faults = Faults()
    faults.set()
    server = Server(build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        box = server.imap("alice")
        box.append("INBOX", None, None, b"Subject: before\r\n\r\ntext\r\n")
        box.select("INBOX")
        tries = (lambda: box.append("INBOX", None, None, b"Subject: new\r\n\r\ntext\r\n"), lambda: box.store("1", "+FLAGS", "\\Flagged"),
                 lambda: box.create("Work"), lambda: box.copy("1", "INBOX"))
        faults.set("write accounts enospc 1")
        for attempt in tries:
            kind, said = attempt()
            expect(kind == "NO" and said[0].startswith(b"[UNAVAILABLE] the server's disk is full"), said)
        with server.submission("alice") as s:
            try:
                s.sendmail("alice@example.test", ["bob@example.test"], b"Subject: sent\r\n\r\ntext\r\n")
                raise AssertionError("it was taken")
            except smtplib.SMTPDataError as e:
                expect(e.smtp_code == 452 and b"no room" in e.smtp_error, e)
        faults.set("write directory.db enospc 1")
        said = server.cli("account", "add", "carol@example.test", "--password-stdin", stdin="a password of hers\n", check=False)
        expect("the disk is full" in str(said), said)
        faults.set()
        for attempt in tries:
            kind, said = attempt()
            expect(kind == "OK", said)
        with server.submission("alice") as s:
            s.sendmail("alice@example.test", ["bob@example.test"], b"Subject: sent\r\n\r\ntext\r\n")
        wait_for(lambda: comes(server, "bob", "sent"), 10, "it goes on by itself")
        server.cli("account", "add", "carol@example.test", "--password-stdin", stdin="a password of hers\n")
    finally:
        server.close()
        os.unlink(faults.path)


def test_mail_for_others_outlasts_a_full_disk():
    faults = Faults()
    faults.set()
    w = World(servers=(("example.test", ("alice",)),), build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        peer = w.peer("later", rcpt={f"{x}@later.peer.test": ["450 4.2.0 later", "250 2.1.5 ok"] for x in "xy"})
        w.send("x@later.peer.test", subject="before")
        wait_for(lambda: w.here.cli_json("queue", "list"), 20, "deferred")
        faults.set("write queue.db enospc 1")      # the log has room, the table of what waits has not
        w.send("y@later.peer.test", subject="while it is full")
        wait_for(lambda: "queue.db-wal" in w.here.log(), 30, "the log says what is full")
        faults.set()
        for subject in ("before", "while it is full"):
            w.arrives(peer, subject, retries=True)
        wait_for(lambda: w.here.cli_json("queue", "list") == [], 30, "nothing waits any more")
        expect(sorted(peer.subjects()) == ["before", "while it is full"], f"each once: {peer.subjects()}")
    finally:
        w.close()
        os.unlink(faults.path)


def waits(server):
    """What the queue lists; nothing while it is started again."""
    done = server.cli("queue", "list", "--json", check=False)
    return done.returncode == 0 and json.loads(done.stdout)


def test_mail_for_others_outlasts_a_table_that_fails():
    """A failed sync is not believed again by the process that saw it, so the queue is started again, and what was deferred meanwhile waits."""
    faults = Faults()
    faults.set()
    w = World(servers=(("example.test", ("alice",)),), build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        peer = w.peer("later", rcpt={"x@later.peer.test": ["450 4.2.0 later", "250 2.1.5 ok"]})
        before = w.here.pids_of("queue")
        faults.set("sync queue.db eio 1")
        w.send("x@later.peer.test", subject="deferred meanwhile")
        wait_for(lambda: "queue.db" in w.here.log(), 20, "the log says what has failed")
        faults.set()
        wait_for(lambda: w.here.pids_of("queue") not in ([], before), 30, "it is started again")
        wait_for(lambda: waits(w.here), 30, "it waits")
        w.arrives(peer, "deferred meanwhile", retries=True)
        expect(peer.subjects() == ["deferred meanwhile"], f"once: {peer.subjects()}")
    finally:
        w.close()
        os.unlink(faults.path)


def test_a_failing_log_acknowledges_nothing():
    faults = Faults()
    faults.set()
    server = Server(build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        for i in range(5):
            server.deliver("alice@example.test", subject=f"safe {i}")
        faults.set("sync log eio 1", "write log eio 1")
        code, text = refused_for_now(server, "never acknowledged")
        code = int(code)
        expect(400 <= code < 500, f"{code} {text}")
        wait_for(lambda: "log" in server.log() and "error" in server.log(), 5, "an alarm in the log")
        faults.set()

        def accepted():
            try:
                server.deliver("alice@example.test", subject="after it")
                return True
            except (OSError, smtplib.SMTPException):
                return False
        if not wait_for(lambda: accepted() or server.process.poll() is not None, 40, "accepted again"):
            raise AssertionError("unreachable")
        wait_for(lambda: comes(server, "alice", "after it"), 20, "delivered again")
        for i in range(5):
            expect(count(server, "alice", f"safe {i}") == 1, f"safe {i}: exactly once")
        expect(count(server, "alice", "never acknowledged") <= 1, "at most once")
    finally:
        server.close()
        os.unlink(faults.path)


def test_a_file_system_that_cannot_be_synced():
    """More accounts than are asked one by one, so their file system is synced, in vain. Then each says for itself what it has."""
    faults = Faults()
    faults.set()
    names = ["alice", "bob", "carol", "dave", "erin"]
    server = Server(build="fault", accounts=names, env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        for name in names:
            expect(count(server, name, "anything") == 0, "a cell that has worked stays, and has not synced what comes then")
        faults.set("syncfs * eio 1")
        for subject in ("the first", "the second"):
            with server.smtp() as s:
                s.sendmail("x@elsewhere.test", [f"{n}@example.test" for n in names], f"Subject: {subject}\r\n\r\ntext\r\n".encode())
            wait_for(lambda: "file system of the accounts has lost something" in server.log(), 20, "the log says so")
            time.sleep(2)                        # a round
        for name in names:
            for subject in ("the first", "the second"):
                wait_for(lambda: comes(server, name, subject), 20, f"{name} has {subject}, once")
        expect(server.log().count("the file system of the accounts has lost something") == 1, "it is said once")
        server.kill_all()
        faults.set()
        server.start()
        for name in names:
            for subject in ("the first", "the second"):
                wait_for(lambda: comes(server, name, subject), 20, f"{name} has {subject}, once")
    finally:
        server.close()
        os.unlink(faults.path)


def test_an_account_that_cannot_be_synced():
    """Its cell is asked by the queue, and says so. Mail for others is taken and delivered all the time; its own waits, and comes once."""
    faults = Faults()
    faults.set()
    server = Server(build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        number = server.cli_json("account", "show", "alice@example.test")["account"]
        for name in ("alice", "bob"):
            expect(count(server, name, "anything") == 0, "a cell that has worked stays, and has not synced what comes then")
        faults.set(f"sync accounts/{number}/ eio 1")
        for i in range(3):
            with server.smtp() as s:
                s.sendmail("x@elsewhere.test", ["alice@example.test", "bob@example.test"], f"Subject: for both {i}\r\n\r\ntext\r\n".encode())
            wait_for(lambda: count(server, "bob", f"for both {i}") == 1, 15, "bob's mail")
            wait_for(lambda: "the disk has lost something of an account" in server.log(), 20, "the log says so")
        wait_for(lambda: server.cli_json("queue", "list"), 30, "alice's mail waits in queue.db")
        for command in (["queue", "status"], ["status"]):
            said = server.cli(*command)
            expect("what came for alice@example.test" in said and "account check" in said, said)
        faults.set()
        server.cli("queue", "retry")
        for name in ("alice", "bob"):
            for i in range(3):
                wait_for(lambda: comes(server, name, f"for both {i}"), 90, f"{name} has message {i}, once")
        wait_for(lambda: not server.cli_json("status")["trouble"], 30, "no trouble any more")
        server.kill_all()
        server.start()
        for name in ("alice", "bob"):
            for i in range(3):
                wait_for(lambda: comes(server, name, f"for both {i}"), 20, f"{name} has message {i}, once")
    finally:
        server.close()
        os.unlink(faults.path)


def test_a_failing_account_delays_only_itself():
    faults = Faults()
    faults.set()
    server = Server(build="fault", env={"FACTEUR_DISK_FAULT": faults.path})
    try:
        account = server.cli_json("account", "show", "alice@example.test")
        number = account.get("account") or account["result"]["account"]
        faults.set(f"sync accounts/{number}/ eio 1")
        server.deliver("alice@example.test", subject="to the failing one")
        server.deliver("bob@example.test", subject="to the healthy one")
        wait_for(lambda: count(server, "bob", "to the healthy one") == 1, 15, "bob's mail")
        wait_for(lambda: server.cli_json("queue", "list"), 20, "alice's mail waits")
        faults.set()
        server.cli("queue", "retry")
        wait_for(lambda: comes(server, "alice", "to the failing one"), 90, "alice's mail, later")
    finally:
        server.close()
        os.unlink(faults.path)
