"""Millions of operations of imap/model_test, slice by slice; stopped, it goes on where it was. `make torture-imap [OPERATIONS=5000000]`.

A slice is a number of plays, one after the other by their seeds, with the release build; each tenth is played with ASan and UBSan as well. A play that goes
wrong is made small and shown by the test itself; its slice is kept in build/torture-imap/findings, and the campaign goes on behind it. Exit code 1: there was one."""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(ROOT, "build/torture-imap")
STATE = os.path.join(FOLDER, "state.json")
PLAY, PLAYS = 400, 100       # operations of a play (model_test.h); plays of a slice
FIRST = 1001                 # the seeds before it are those of ./test
SANITIZED_EACH = 10


def played(build, first):
    """The seed that went wrong, or None; and what was said."""
    done = subprocess.run([os.path.join(ROOT, f"build/{build}/imap/model_test")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                          env=dict(os.environ, FACTEUR_FIRST=str(first), FACTEUR_OPERATIONS=str(PLAYS * PLAY)))
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode == 0:
        return None, said
    wrong = re.search(r"FACTEUR_SEED=(\d+)", said)
    return int(wrong[1]) if wrong else first, said


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--operations", type=int, default=5000000, help="in all, with those of earlier runs")
    options = options.parse_args()
    os.makedirs(os.path.join(FOLDER, "findings"), exist_ok=True)
    state = {"next": FIRST, "operations": 0, "sanitized": 0, "wrong": [], "seconds": 0}
    if os.path.exists(STATE):
        with open(STATE) as f:
            state = json.load(f)
    print(f"goes on with seed {state['next']}, after {state['operations']:,} operations", flush=True)
    while state["operations"] < options.operations:
        begin, first = time.monotonic(), state["next"]
        builds = ["release"] + ["asan"] * ((first - FIRST) // PLAYS % SANITIZED_EACH == 0)
        for build in builds:
            wrong, said = played(build, first)
            if wrong is not None:
                state["wrong"].append([build, wrong])
                path = os.path.join(FOLDER, "findings", f"{build}-{wrong}.log")
                with open(path, "w") as f:
                    f.write(said)
                print(f"  FAIL  {build}, seed {wrong}: {path}", flush=True)
        state["next"] += PLAYS
        state["operations"] += PLAYS * PLAY
        state["sanitized"] += PLAYS * PLAY * ("asan" in builds)
        state["seconds"] += time.monotonic() - begin
        with open(STATE + ".new", "w") as f:
            json.dump(state, f)
        os.rename(STATE + ".new", STATE)
    print(f"{state['operations']:,} operations in {state['seconds'] / 3600:.2f} h, {state['sanitized']:,} of them with ASan, too; "
          f"{len(state['wrong'])} plays went wrong{': ' if state['wrong'] else ''}{', '.join(f'{b} {s}' for b, s in state['wrong'])}")
    return 1 if state["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
