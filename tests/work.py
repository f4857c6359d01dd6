"""What a server asks of the kernel and of the allocator, counted by itself: the library tests/calls/count_calls.c (make call-counter)
is preloaded into it and counts by role, in a file that all its processes share."""
import mmap
import os
import shutil
import struct
import tempfile

from harness import ROOT

LIBRARY = os.path.join(ROOT, "build/release/calls/count_calls.so")
CALLS = 22          # COUNT_ALL in count_calls.c
ROWS, NAME = 16, 16


class Work:
    """The counters of all roles of one server, which is to be started with `env`. close(): they stay readable; processes that do not have
    the file yet will not be counted."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="facteur-work-")
        os.chmod(self.dir, 0o755)   # processes may have users of their own, who cannot see where this is built
        library, path = shutil.copy(LIBRARY, self.dir), os.path.join(self.dir, "counters")
        self.env = {"LD_PRELOAD": library, "FACTEUR_WORK": path}
        with open(path, "w+b") as f:
            os.chmod(path, 0o666)
            f.truncate(CALLS * NAME + ROWS * (NAME + 8 * CALLS))
            self.memory = mmap.mmap(f.fileno(), 0)

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def text(self, at):
        return self.memory[at:at + NAME].split(b"\0")[0].decode()

    def now(self):
        """{(role, call): times}"""
        calls = [self.text(i * NAME) for i in range(CALLS)]
        found = {}
        for r in range(ROWS):
            at = CALLS * NAME + r * (NAME + 8 * CALLS)
            if role := self.text(at):
                found.update(((role, c), n) for c, n in zip(calls, struct.unpack_from(f"={CALLS}Q", self.memory, at + NAME)))
        return found

    def sum(self, call):
        """Of all roles."""
        return sum(n for (_, c), n in self.now().items() if c == call)
