"""What a set of processes costs: CPU by control group, memory by PSS, system calls by perf in a run of its own."""
import contextlib
import glob
import os
import re
import signal
import subprocess
import tempfile
import time

V1, V2 = "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"
UNIFIED = "/sys/fs/cgroup/unified"  # v2 beside v1: no controllers, but perf counts by it
SYNCS = ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range", "msync")
EVENTS = ["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{s}" for s in SYNCS]


def pss_kb(pid):
    """Its memory, with its share of what others use too; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    except OSError:
        return 0


def remove(folder):
    for _ in range(50):
        try:
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:  # its last process is still being collected
            time.sleep(0.1)


def remove_all():
    """The groups of this process that were not closed."""
    for base in (V1, V2, UNIFIED):
        for folder in glob.glob(os.path.join(base, f"facteur-bench-{os.getpid()}-*")):
            remove(folder)


class Group:
    """The processes of one server: what is started through enter() or adopted, and all that these start. CPU of processes that ended
    is counted too where a control group can be made; `how` says which way it is done."""

    def __init__(self, name, pids):
        self.pids, self.folders, self.file = pids, [], None
        name = f"facteur-bench-{os.getpid()}-{name}"
        for base, file in ((V1, "cpuacct.usage"), (V2, "cpu.stat"), (UNIFIED, None)):
            folder = os.path.join(base, name)
            if not os.path.exists(os.path.join(base, "cgroup.procs")) or (file and self.file):
                continue
            try:
                os.mkdir(folder)
            except OSError:
                continue
            if not os.path.exists(os.path.join(folder, file or "cgroup.procs")):
                os.rmdir(folder)
                continue
            self.folders.append(folder)
            if file:
                self.file = os.path.join(folder, file)
        self.name = name
        self.how = "control group" if self.file else "sum over the processes that live (no control group is permitted here: what ended " \
                                                     "in between is missing)"

    def enter(self):
        """Called between fork and exec."""
        for folder in self.folders:
            with open(os.path.join(folder, "cgroup.procs"), "w") as f:
                f.write(str(os.getpid()))

    def adopt(self):
        for folder in self.folders:
            for pid in self.pids():
                try:
                    with open(os.path.join(folder, "cgroup.procs"), "w") as f:
                        f.write(str(pid))
                except OSError:  # it ended
                    pass

    def members(self):
        """Who is in the group now, also children whose parents are gone."""
        if not self.folders:
            return self.pids()
        with open(os.path.join(self.folders[0], "cgroup.procs")) as f:
            return [int(p) for p in f.read().split()]

    def kill(self):
        """kill -9 for all at once: none is left that could start another."""
        stopped = set()
        while set(self.members()) - stopped:
            for pid in set(self.members()) - stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                stopped.add(pid)
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def gone(self, seconds):
        """Waits for the last of them; False: some are still there."""
        until = time.monotonic() + seconds
        while self.members() and time.monotonic() < until:
            time.sleep(0.05)
        return not self.members()

    def cpu_us(self):
        if self.file:
            with open(self.file) as f:
                text = f.read()
            usage = re.search(r"usage_usec (\d+)", text)
            return int(usage.group(1)) if usage else int(text) / 1000
        total = 0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                        total += int(f.read().split()[0])
            except OSError:
                pass
        return total / 1000

    def pss_kb(self):
        return sum(pss_kb(pid) for pid in self.pids())

    def close(self):
        for folder in self.folders:
            remove(folder)


class Calls:
    """Counts the system calls of a group while it lives: with Calls(group) as c: …; c.calls, c.syncs. perf counts in the kernel, so
    nothing stops; CPU figures still come from other runs. None where perf may not count here."""

    def __init__(self, group):
        self.group, self.calls, self.syncs, self.process = group, None, None, None

    def __enter__(self):
        if any(f.startswith((UNIFIED, V2 + "/facteur")) for f in self.group.folders):
            self.out = tempfile.NamedTemporaryFile(prefix="facteur-bench-", mode="r")
            groups = ",".join([self.group.name] * len(EVENTS))
            try:
                self.process = subprocess.Popen(["perf", "stat", "-a", "-x", ";", "-o", self.out.name, "-e", ",".join(EVENTS), "-G", groups],
                                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(0.7)  # until it counts
            except OSError:
                pass
        return self

    def __exit__(self, *_):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        counts = {}
        for line in self.out.read().splitlines():
            part = line.split(";")
            if len(part) > 2 and part[0].isdigit():
                counts[part[2]] = int(part[0])
        if EVENTS[0] in counts:
            self.calls = counts.pop(EVENTS[0])
            self.syncs = sum(counts.values())
