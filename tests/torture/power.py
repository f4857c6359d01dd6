"""Cases of tests/system/test_power.py, each in a process with mounts of its own: power.py CASE. Exit 77: this machine lets nobody mount."""
import os
import re
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from clients import LOST, Imap, look  # noqa: E402
from harness import ROOT, expect, wait_for  # noqa: E402
from torture import Folder  # noqa: E402


def append(server, number):
    c = Imap(server, "alice")
    try:
        c.command("APPEND Drafts", f"Subject: no {number:07d}\r\n\r\ntext\r\n".encode())
        return True
    except LOST:
        return False
    finally:
        c.close()


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
    server.kill_all()
    position = server.device.position()
    server.device.unmount()
    server.device.cut(position, 1)
    server.device.mount(begins=False)
    server.begin()
    found = sorted(number for number, _ in look(server, "alice")["Drafts"][2].values())
    expect(found == [1, 2, 3, 4], f"confirmed were 1, 2, 3, 4; after the power cut there are {found}")


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
        globals()[sys.argv[1]](server)
        server.stop()
        return 0
    finally:
        if server.process and server.process.poll() is None:
            server.kill_all()
        server.device.unmount()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
