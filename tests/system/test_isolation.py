"""What a role that was taken over could reach: read from the kernel's own account of each process."""
import contextlib
import ctypes
import os
import signal
import socket
import struct

from harness import Server, expect, needs_root, wait_for

ROLES = ("nursery", "control", "keys", "gate", "mx", "queue", "net", "cell")


def make_server():
    return Server()


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_every_role_is_inside(server):
    server.deliver("alice@example.test")
    box = server.imap("alice")
    for role in ROLES:
        pids = wait_for(lambda: server.pids_of(role), 5, f"a process of {role}")
        for pid in pids:
            s = status(pid)
            expect(s["NoNewPrivs"].strip() == "1", f"{role}: no new privileges")
            expect(s["Seccomp"].strip() == "2", f"{role}: seccomp filter")
    box.logout()


def test_a_cell_reaches_only_its_own_account(server):
    probe = server.cli("selftest", "isolation", check=False)
    expect(probe.returncode == 0, probe.stdout.decode() + probe.stderr.decode())


# ---- a role that was taken over: what it could say on the channels that it has, said in its place by us, who are root ----

def descriptor_of(pid, number):
    """A copy of another process's descriptor (pidfd_getfd(2)); only root may, and the server's own processes are refused it."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(434, pid, 0)
    fd = libc.syscall(438, pidfd, number, 0)
    expect(fd >= 0, f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    os.close(pidfd)
    return socket.socket(fileno=fd)


MASTER_FD = 3


def message(kind, body=b"", call=0, flags=0):
    return struct.pack("<HHII", kind, flags, call, 0) + body


def say(pid, *messages, fds=()):
    channel = descriptor_of(pid, MASTER_FD)
    for m in messages:
        socket.send_fds(channel, [m], list(fds)) if fds else channel.send(m)
    channel.close()


def account_of_alice(server):
    """The account that was made first."""
    return min(int(n) for n in os.listdir(os.path.join(server.dir, "accounts")) if n.isdigit())


def texts(server, name):
    """All of an inbox; nothing while the server is coming back."""
    with contextlib.suppress(Exception):
        box = server.imap(name)
        box.select("INBOX")
        found = box.fetch("1:*", "(BODY.PEEK[])")[1]
        box.logout()
        return b"".join(part[1] for part in found if isinstance(part, tuple))
    return b""


WHAT_ENDS_A_ROLE = (
    ("gate", "a message that does not exist", message(9999)),
    ("gate", "what only control may ask: erase an account", message(30, struct.pack("<Q", 1), call=1)),
    ("mx", "what only control may ask: raise an epoch", message(21, struct.pack("<QI", 1, 99))),
    ("mx", "half a header", b"\x01\x02\x03"),
    ("queue", "a session for a cell, which only gates bring", message(10, struct.pack("<QB", 1, 1))),
    ("keys", "an account's folder", message(27, struct.pack("<Q", 7), call=1)),
)


def test_a_role_that_says_what_it_must_not_is_ended(server):
    needs_root()
    for role, what, bad in WHAT_ENDS_A_ROLE:
        before = server.pids_of(role)
        os.kill(before[0], signal.SIGSTOP)  # an honest one would leave by itself
        say(before[0], bad)
        wait_for(lambda: before[0] not in server.pids_of(role) and len(server.pids_of(role)) == len(before), 15,
                 f"{role} is ended and comes back after: {what}")
    server.wait_ready()
    server.deliver("alice@example.test", subject="after all that")
    wait_for(lambda: b"after all that" in texts(server, "alice"), 20, "the message")


def test_a_grant_that_gate_makes_itself_opens_nothing(server):
    needs_root()
    account = account_of_alice(server)
    for rights, mac in ((0xffffffff, b"\0" * 32), (0xffffffff, os.urandom(32))):
        ours, cells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        say(server.pids_of("gate")[0], message(10, struct.pack("<QB", account, 1)), fds=[cells.fileno()])
        cells.close()
        grant = struct.pack("<QIqIQI", account, rights, 1 << 40, 0, 1, 0) + mac
        text = lambda b: struct.pack("<I", len(b)) + b  # noqa: E731
        ours.send(b"\1" + grant + struct.pack("<B??", 3, True, False) + text(b"127.0.0.1") + struct.pack("<HH", 1, 993) +
                  text(b"alice@example.test") + text(b"a1 LOGIN") + text(b"TLSv1.3") + text(b""))
        ours.settimeout(20)
        answer = ours.recv(16384)
        expect(answer[:1] in (b"\x0a", b""), f"refused or closed, and got {answer[:200]!r}")
        ours.close()


def test_a_flood_of_requests_harms_nobody_else(server):
    """A gate that tells master to watch accounts that nobody has, and to open sessions of them, as fast as it can."""
    needs_root()
    channel = descriptor_of(server.pids_of("gate")[0], MASTER_FD)
    channel.setblocking(True)
    for n in range(50000):
        channel.send(message(14, struct.pack("<Q?", 1 << 40 | n, True)))
    for n in range(2000):
        ours, cells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(channel, [message(10, struct.pack("<QB", 1 << 41 | n, 1))], [cells.fileno()])
        ours.close()
        cells.close()
    channel.close()
    server.deliver("bob@example.test", subject="beside a flood")
    wait_for(lambda: b"beside a flood" in texts(server, "bob"), 30, "the message")
