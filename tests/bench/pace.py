"""The pace of this machine, measured beside every round (pace.c says of what), so that figures of two days can be compared."""
import json
import os
import subprocess
import tempfile

from harness import ROOT

PROGRAM = os.path.join(ROOT, "build/release/bench/pace")


def measure():
    """{"round_trip_us": …, "page_us": …, "body_us": …}; the file is where the servers have theirs."""
    done = subprocess.run([PROGRAM, tempfile.gettempdir()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)
