"""Cases of tests/system/test_power.py, each in a process with mounts of its own: power.py CASE. Exit 77: this machine lets nobody mount."""
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from clients import LOST, Imap, fetched, look  # noqa: E402
from harness import ROOT, expect, wait_for  # noqa: E402
from torture import Folder  # noqa: E402


def append(server, number, body="markerbody"):
    """False: refused, also at the door, where the account is being closed just then."""
    c = None
    try:
        c = Imap(server, "alice")
        c.command("APPEND Drafts", f"Subject: no {number:07d}\r\n\r\n{body}\r\n".encode())
        return True
    except LOST:
        return False
    finally:
        if c:
            c.close()


def lose_power(server):
    """Everything is killed, and the disk is what was under its last flush, and of the rest some part; then the server starts again."""
    server.kill_all()
    position = server.device.position()
    server.device.unmount()
    server.device.cut(position, 1)
    server.device.mount(begins=False)
    server.begin()


def a_lost_page_of_a_write_ahead_log(server):
    """One page of account.db's log is lost by the disk, once; the client is told. What is confirmed to it afterwards must not stand behind
    the hole: the kernel shows the page as if it were there, until the power goes."""
    expect(append(server, 1), "a first message")
    server.device.fail(0, 1, b"markermailbox")
    c = Imap(server, "alice")
    try:
        c.command("CREATE markermailbox")
        raise AssertionError("CREATE was confirmed though the disk had lost it")
    except LOST:
        pass
    finally:
        c.close()
    expect(re.search(r"fdatasync failed object=account.db-wal", server.log()), "the failure is in the log")
    wait_for(lambda: append(server, 2), 20, "the account works again")
    for number in (3, 4):
        expect(append(server, number), f"message {number}")
    lose_power(server)
    found = sorted(number for number, _ in look(server, "alice")["Drafts"][2].values())
    expect(found == [1, 2, 3, 4], f"confirmed were 1, 2, 3, 4; after the power cut there are {found}")


def keep_pages(server):
    """The kernel is told to forget what it could not write, and need not listen."""
    with open(server.rules, "w") as f:
        f.write("forget * eio 1\n")


def a_lost_page_that_the_kernel_keeps(server):
    keep_pages(server)
    a_lost_page_of_a_write_ahead_log(server)


def a_lost_body_that_the_kernel_keeps(server):
    keep_pages(server)
    a_lost_page_of_a_body(server)


def a_lost_body_before_its_row(server):
    """The body of a client's message is lost by the disk before there is a row of it, in an account that was left cleanly and so looks as if it
    were still so. What is confirmed afterwards shares a page with it."""
    keep_pages(server)
    expect(append(server, 1), "a first message")
    server.stop()                                   # its cell leaves
    server.begin()
    server.device.fail(0, 1, b"lostbody")
    expect(not append(server, 2, "x" * 5000 + "lostbody"), "a message that the disk has lost is not confirmed")
    expect(re.search(r"fdatasync failed object=0", server.log()), "the failure is in the log")
    wait_for(lambda: append(server, 3), 20, "the account works again")
    expect(append(server, 4), "message 4")
    lose_power(server)
    whole = read_whole(server, "alice", "Drafts")
    expect(whole == 3, f"three messages were confirmed; after the power cut {whole} are there and whole")


def a_lost_page_of_a_checkpoint(server):
    """A page that the database gets for the first time is lost when the log is copied into it. The next process copies it once more; that must
    not be in vain, since then the log begins anew."""
    keep_pages(server)
    names = [f"mailbox{number:03d}" + "x" * 180 for number in range(60)] + ["markermailbox"]
    server.device.fail(1, 1, b"markermailbox")      # the log is written, the database is not
    create(server, names)
    wait_for(lambda: re.search(r"fdatasync failed object=account.db ", server.log()), 20, "the failure is in the log")
    wait_for(lambda: append(server, 1), 20, "the account works again")
    create(server, [f"another{number:03d}" + "x" * 180 for number in range(60)])
    time.sleep(8)                                   # a checkpoint
    expect(append(server, 2), "the log begins anew")
    lose_power(server)
    there = look(server, "alice")
    expect(all(name in there for name in names), f"after the power cut there are {sorted(there)}")


def create(server, names):
    """Connects again where a cell ends meanwhile; a name that is there by then was made."""
    c = None

    def made(name):
        nonlocal c
        try:
            c = c or Imap(server, "alice")
            c.command(f"CREATE {name}")
            return True
        except LOST as e:
            if "[ALREADYEXISTS]" in str(e):
                return True
            if c:
                c.close()
            c = None
            return False

    for name in names:
        wait_for(lambda: made(name), 20, f"{name} is made")
    c.close()


def sent(server, number):
    """A message to alice from port 25; a marker in its body."""
    import smtplib
    s = smtplib.SMTP("127.0.0.1", server.port(25), timeout=20)
    try:
        s.sendmail("sender@elsewhere.test", ["alice@example.test"], f"Subject: no {number:07d}\r\n\r\nmarkerbody\r\n".encode())
        return True
    except smtplib.SMTPException:
        return False
    finally:
        s.close()


def a_lost_page_of_a_body(server):
    """The body of a delivery is lost by the disk, once, and the queue has heard that it is delivered. Then somebody comes, and the cell syncs
    for him, in vain. The next cell can sync all that is left; the queue must not let go of the message for that."""
    lose_a_body(server, None)


def a_lost_page_of_a_body_that_somebody_waits_for(server):
    """The same where the cell syncs before it answers, since a session waits: the queue hears "not now", and the account must not stay as it is,
    refusing everything, as long as anybody is there."""
    watcher = Imap(server, "alice")
    watcher.command("SELECT INBOX")
    lose_a_body(server, watcher)


def a_lost_page_of_a_body_that_the_queue_asks_for(server):
    """The same where the cell stays, and the queue asks it to sync. No restart is needed, and nobody else's mail waits."""
    lose_a_body(server, None, stays=True)
    expect("the disk has lost something of an account" in server.log(), "the queue has heard of it")


def lose_a_body(server, watcher, stays=False):
    expect(sent(server, 1), "a first message")
    wait_for(lambda: len(look(server, "alice")["INBOX"][2]) == 1, 20, "it is there")
    if not watcher and not stays:
        time.sleep(3)                               # its cell has left
    server.device.fail(1, 1, b"markerbody")         # the queue's log is written, the account's file is not
    expect(sent(server, 2), "a second message")
    if not watcher and not stays:
        wait_for(lambda: server.log().count(" delivered queue=") == 2, 10, "it is delivered")
        with contextlib.suppress(*LOST):
            look(server, "alice")
    wait_for(lambda: re.search(r"fdatasync failed object=0", server.log()), 20, "the failure is in the log")
    wait_for(lambda: append(server, 3), 20, "the account works again")
    wait_for(lambda: settled(server), 30, "the queue takes mail again")
    for number in (4, 5):                           # the second one's record says how far the queue is
        expect(sent(server, number), f"message {number}")
        wait_for(lambda: settled(server), 30, "it is delivered")
        time.sleep(2)                               # a round of syncs
    lose_power(server)
    wait_for(lambda: len(look(server, "alice")["INBOX"][2]) >= 4, 20, "all that was accepted is there")
    whole = read_whole(server, "alice", "INBOX")
    expect(whole == 4, f"four messages were accepted; after the power cut {whole} are there and whole")


def settled(server):
    server.cli("queue", "retry")
    said = server.cli_json("queue", "status")
    return not said["trouble"] and said["backlog"] == said["deferred"] == 0


def read_whole(server, account, mailbox):
    """How many of its messages are as they were sent."""
    c = Imap(server, account)
    try:
        c.command(f"EXAMINE {mailbox}")
        said = c.command("UID FETCH 1:* (BODY.PEEK[])")
        return sum(literals[0].endswith(b"markerbody\r\n") for _, _, _, literals in fetched(said) if literals)
    except LOST:
        return 0
    finally:
        c.close()


class First:
    """Stands for a random choice: always the first."""

    @staticmethod
    def choice(options):
        return options[0]


def main():
    work = tempfile.mkdtemp(prefix="facteur-power-")
    os.chmod(work, 0o711)
    server = Folder(os.path.join(work, "life"), "fault", os.path.join(ROOT, "build", "torture", "blocklog"))
    try:
        try:
            server.make(First)
        except RuntimeError as e:           # of the tools that mount
            print(e)
            return 77
        server.begin()
        try:
            globals()[sys.argv[1]](server)
        except AssertionError:
            print(server.log()[-6000:])
            raise
        server.stop()
        return 0
    finally:
        if server.process and server.process.poll() is None:
            server.kill_all()
        server.device.unmount()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
