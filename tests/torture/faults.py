"""What a round does to the server. plan() draws it, the same for the same seed and number; hurt() does it.

A plan is a dictionary, printed with the round: how long clients work, which faults come when, and how it ends:
  stop    a clean stop                     kill   every process at once, what the kernel has stays
  live    nothing: it must mend itself     cut    power: what was under no sync is dropped, torn or kept, file by file
On a device (device.py) the cut is one of a real file system, and the fault "disk" makes its writes fail below the kernel.
"""
import contextlib
import os
import random
import signal
import struct
import time

ACCOUNTS = ("alice", "bob", "carol", "dave")
ROLES = ("queue", "cell", "cell", "mx", "gate", "keys", "control", "nursery", "net", "net")
OPS = ("write", "sync", "dirsync", "read", "open", "remove", "replace", "truncate")
PLACES = ("log", "accounts", "queue.db", "late", "spool", "bodies", "account.db", "account.db-wal", "directory.db", "keys.db", "*")
JUMPS = (0, 0, -3600, 60, 3600, 86400, -86400 * 30, 86400 * 45, 86400 * 400)


def draw_fault(rng, on_device):
    if on_device and rng.random() < 0.12:
        return {"kind": "disk", "after": round(rng.uniform(0.1, 1.5), 2), "skip": rng.randrange(60), "count": rng.choice((1, 1, 3, 20, 200)),
                "keeps": rng.random() < 0.5}                # the kernel does not let go of pages that it could not write
    kind = rng.choices(("role", "eio", "enospc", "slow", "clock", "ring", "freeze", "quota", "suspend"), (30, 14, 6, 8, 8, 2, 3, 5, 4))[0]
    fault = {"kind": kind, "after": round(rng.uniform(0.1, 1.5), 2)}
    if kind == "role":
        fault["role"] = rng.choice(ROLES)
    elif kind == "eio":
        fault["line"] = f"{rng.choice(OPS)} {rng.choice(PLACES)} {rng.choice(('eio', 'eio-once'))} {rng.randrange(1, 40)}"
    elif kind == "enospc":
        fault["line"] = f"write {rng.choice(PLACES)} {rng.choice(('enospc', 'enospc-once'))} {rng.randrange(1, 40)}"
    elif kind == "slow":
        fault["line"] = f"{rng.choice(('sync', 'sync', 'write', 'read', 'any'))} {rng.choice(PLACES)} slow {rng.choice((5, 30, 200))}"
    elif kind == "clock":
        fault["seconds"] = rng.choice(JUMPS)
    return fault


def plan(seed, number, on_device=False):
    rng = random.Random(f"{seed} {number}")
    drawn = {"faults": [draw_fault(rng, on_device) for _ in range(rng.choices((0, 1, 2, 3), (3, 5, 3, 1))[0])],
             "end": rng.choices(("cut", "kill", "stop", "live"), (45, 30, 10, 15))[0],
             "last": round(rng.uniform(0.2, 1.5), 2),                # seconds from the last fault to the end
             "after": rng.choice(("stop", "stop", "kill")),          # how the server is left for the next round
             "seed": rng.randrange(1 << 30)}                         # of the clients and of the cut
    if any(f["kind"] == "disk" for f in drawn["faults"]):
        drawn["end"] = "cut"            # the file system itself may be hurt: only a new mount mends that
    return drawn


def in_words(drawn):
    words = [" ".join(str(v) for k, v in f.items() if k != "after") for f in drawn["faults"]]
    return "; ".join(words + [drawn["end"]])


class Hurt:
    """The means: rules of the fault layer, the clock, signals, orders of the administrator; and how each is taken back."""

    def __init__(self, server, elsewhere):
        self.server, self.elsewhere, self.lines, self.stopped, self.undo = server, elsewhere, [], [], []
        self.hung = {}                                      # account: since when its cell hangs, and syncs nothing
        self.disk_fails = None                              # since when a disk may fail

    def write_rules(self):
        with open(self.server.rules, "w") as f:             # in place: the roles have it open
            f.write("".join(line + "\n" for line in self.lines) or "# nothing\n")

    def clock(self, seconds):
        with open(self.server.clock, "r+b") as f:
            f.write(struct.pack("<q", seconds))
        self.elsewhere.jumps(seconds)

    def signal(self, pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def cell_of(self, account):
        """Pids of cells that have this account's lock open."""
        folder = self.server.folder_of(account)
        found = []
        for pid in self.server.pids_of("cell"):
            with contextlib.suppress(OSError):
                if any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith(folder + "/") for fd in os.listdir(f"/proc/{pid}/fd")):
                    found.append(pid)
        return found

    def order(self, *args):
        with contextlib.suppress(Exception):                # the server may be down: then it is not done
            self.server.cli(*args)

    def apply(self, fault):
        """Returns the seconds that the clients should go on working because of it."""
        kind = fault["kind"]
        if kind in ("eio", "enospc", "disk"):
            self.disk_fails = self.disk_fails or time.monotonic()
        if kind == "role":
            self.signal(self.server.pids_of(fault["role"]), signal.SIGKILL)
        elif kind in ("eio", "enospc", "slow"):
            self.lines.append(fault["line"])
            self.write_rules()
        elif kind == "disk":
            if fault["keeps"]:
                self.lines.append("forget * eio 1")
                self.write_rules()
            self.server.device.fail(fault["skip"], fault["count"])
        elif kind == "clock":
            self.clock(fault["seconds"])
        elif kind == "freeze":                              # longer than a delivery may take: it is deferred
            until = time.monotonic() + 3
            while not (pids := self.cell_of("dave")) and time.monotonic() < until:
                time.sleep(0.1)
            self.hung.setdefault("dave", time.monotonic())
            self.signal(pids, signal.SIGSTOP)
            self.stopped += pids
            return 12
        elif kind == "ring":                                # every cell hangs, mail goes on coming in: the ring fills
            for account in ACCOUNTS:
                self.hung.setdefault(account, time.monotonic())
            for _ in range(24):
                pids = self.server.pids_of("cell")
                self.signal(pids, signal.SIGSTOP)
                self.stopped += pids
                time.sleep(0.5)
        elif kind == "quota":
            self.order("config", "set", "quota", "100KB", "--account", "dave@example.test")
            self.undo.append(("config", "unset", "quota", "--account", "dave@example.test"))
            return 1
        elif kind == "suspend":
            self.order("account", "suspend", "dave@example.test")
            self.undo.append(("account", "resume", "dave@example.test"))
        return 0

    def run(self, drawn):
        for fault in drawn["faults"]:
            time.sleep(fault["after"])
            time.sleep(self.apply(fault))
        time.sleep(drawn["last"])

    def end_rules(self):
        self.lines = []
        self.write_rules()
        self.signal(self.stopped, signal.SIGCONT)
        self.stopped = []

    def take_back(self):
        """Orders that must be undone; the server runs."""
        for args in self.undo:
            self.server.cli(*args)
        self.undo = []


