"""What a role that was taken over could reach: read from the kernel's own account of each process."""
import os
import re

from harness import Server, expect, wait_for

ROLES = ("control", "keys", "gate", "mx", "queue", "cell")


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
