"""Keeps every processor from idling while a benchmark runs (awake.c says why): `with awake.processors(): …`, for all contestants alike.

The processes are in nobody's control group, so they are not counted, and they take time only when nobody else wants it."""
import contextlib
import os
import subprocess

from harness import ROOT

PROGRAM = os.path.join(ROOT, "build/release/bench/awake")


@contextlib.contextmanager
def processors():
    running = []
    try:
        for number in sorted(os.sched_getaffinity(0)):
            running.append(subprocess.Popen([PROGRAM, str(number), str(os.getpid())], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
            if running[-1].stdout.readline() != b"awake\n":
                raise RuntimeError("a processor cannot be kept awake: see above")
        yield
        ended = [p.pid for p in running if p.poll() is not None]
        if ended:
            raise RuntimeError(f"{len(ended)} processors were not kept awake to the end: the figures are of neither kind")
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdout.close()
