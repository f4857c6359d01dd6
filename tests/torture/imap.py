"""Millions of operations of imap/model_test (or crowd_test), slice by slice; stopped, it goes on where it was. `make torture-imap [OPERATIONS=5000000]`,
`make torture-crowd [OPERATIONS=5000000]`.

A slice is a number of plays, one after the other by their seeds, with the release build; now and then one is played with a sanitizer as well. A play that goes
wrong is shown by the test itself; its slice is kept in build/torture-imap/findings, and the campaign goes on behind it. Exit code 1: there was one."""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIRST = 1001                 # the seeds before it are those of ./test


class Test:
    """play: its operations, as the test has it; plays of a slice; sanitizer: of each so many slices one."""

    def __init__(self, name, play, plays, sanitizer, sanitized_each):
        self.name, self.play, self.plays, self.sanitizer, self.sanitized_each = name, play, plays, sanitizer, sanitized_each
        self.folder = os.path.join(ROOT, f"build/torture-{'imap' if name == 'model' else name}")
        self.state = os.path.join(self.folder, "state.json")


TESTS = {t.name: t for t in (Test("model", 400, 100, "asan", 10), Test("crowd", 2000, 25, "tsan", 40))}


def played(test, build, first):
    """The seed that went wrong, or None; and what was said."""
    done = subprocess.run([os.path.join(ROOT, f"build/{build}/imap/{test.name}_test")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                          env=dict(os.environ, FACTEUR_FIRST=str(first), FACTEUR_OPERATIONS=str(test.plays * test.play)))
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode == 0:
        return None, said
    wrong = re.search(r"FACTEUR_SEED=(\d+)", said)
    return int(wrong[1]) if wrong else first, said


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--operations", type=int, default=5000000, help="in all, with those of earlier runs")
    options.add_argument("--test", choices=TESTS, default="model")
    options = options.parse_args()
    test = TESTS[options.test]
    os.makedirs(os.path.join(test.folder, "findings"), exist_ok=True)
    state = {"next": FIRST, "operations": 0, "sanitized": 0, "wrong": [], "seconds": 0}
    if os.path.exists(test.state):
        with open(test.state) as f:
            state = json.load(f)
    print(f"goes on with seed {state['next']}, after {state['operations']:,} operations", flush=True)
    while state["operations"] < options.operations:
        begin, first = time.monotonic(), state["next"]
        builds = ["release"] + [test.sanitizer] * ((first - FIRST) // test.plays % test.sanitized_each == 0)
        for build in builds:
            wrong, said = played(test, build, first)
            if wrong is not None:
                state["wrong"].append([build, wrong])
                path = os.path.join(test.folder, "findings", f"{build}-{wrong}.log")
                with open(path, "w") as f:
                    f.write(said)
                print(f"  FAIL  {build}, seed {wrong}: {path}", flush=True)
        state["next"] += test.plays
        state["operations"] += test.plays * test.play
        state["sanitized"] += test.plays * test.play * (len(builds) > 1)
        state["seconds"] += time.monotonic() - begin
        with open(test.state + ".new", "w") as f:
            json.dump(state, f)
        os.rename(test.state + ".new", test.state)
    print(f"{state['operations']:,} operations in {state['seconds'] / 3600:.2f} h, {state['sanitized']:,} of them with a sanitizer, too; "
          f"{len(state['wrong'])} plays went wrong{': ' if state['wrong'] else ''}{', '.join(f'{b} {s}' for b, s in state['wrong'])}")
    return 1 if state["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
