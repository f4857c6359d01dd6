"""A benchmark that is stopped (Ctrl-C, kill) leaves nothing behind: no process, no folder, no control group.

The first signal raises SystemExit, so that every server is closed by whoever opened it; further ones change nothing. What that misses (a
signal between fork and the line that remembers the process, a server that did not end) is found afterwards: processes that lose their
parent become children of this one, all folders are in one, and control groups bear our pid."""
import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
import time

import group
from debian import tree
from harness import alive

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_CHILD_SUBREAPER = 36
stopped = False


def stop(number, _frame):
    global stopped
    stopped = True
    go_on()
    raise SystemExit(128 + number)


def go_on():
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # SIG_IGN would be handed on to programs


@contextlib.contextmanager
def nothing_left():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise RuntimeError("prctl: " + os.strerror(ctypes.get_errno()))
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    folder = tempfile.mkdtemp(prefix="facteur-bench-")
    os.chmod(folder, 0o755)
    tempfile.tempdir = folder
    try:
        yield
    finally:
        go_on()
        end_children()
        group.remove_all()
        shutil.rmtree(folder, ignore_errors=True)


def children():
    return [pid for pid in tree([os.getpid()]) if pid != os.getpid() and alive(pid)]


def end_children():
    for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + seconds
        while children() and time.monotonic() < until:
            time.sleep(0.05)
