"""Runs every stage of ./test and adds up: layers, unit tests (release, and with ASan+UBSan), fuzz targets on their corpus plus
a few seconds, transcripts and real clients against real servers, crash rounds. Prints one line a test and, at the end, the sum.

A stage is a function that yields (name, ok, detail). Output of a failed step is shown whole; nothing is skipped silently."""
import glob
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(ROOT)
sys.path.insert(0, os.path.join(ROOT, "tests"))
import harness  # noqa: E402
JOBS = str(os.cpu_count() or 2)
FUZZ_SECONDS = int(os.environ.get("FACTEUR_FUZZ_SECONDS", "4"))
COLOUR = sys.stdout.isatty()


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def command(args, timeout=600, env=None):
    """(exit code, output)"""
    try:
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=timeout,
                              env=dict(os.environ, **(env or {})))
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode("utf-8", "replace") + f"\n(no end after {timeout} s)"


MEMORY = {"TMPDIR": harness.MEMORY} if harness.MEMORY else {}


class Ahead:
    """What later stages need is compiled while tests wait for clocks and disks: behind everything else, in the order in which it is needed.
    The stages run make again and report what failed."""

    def __init__(self, chosen):
        jobs = [("unit", "asan", ["all"] + unit_programs("asan")), ("tsan", "tsan", ["all"] + tsan_programs()), ("fuzz", "fuzz", ["fuzzers"])]
        self.jobs = [job for job in jobs if job[0] in chosen]
        self.is_done = {stage: threading.Event() for stage, _, _ in self.jobs}
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        for stage, build, goals in self.jobs:
            subprocess.run(["nice", "-n", "19", "make", "-k", "-j" + JOBS, f"BUILD={build}"] + goals, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.is_done[stage].set()

    def start(self):
        if not self.thread.ident:
            self.thread.start()

    def wait(self, stages=("unit", "tsan", "fuzz")):
        """Returns when what these stages need is compiled, where that has begun."""
        for stage in stages:
            if self.thread.ident and stage in self.is_done:
                self.is_done[stage].wait()


def stage_build():
    for build in ("release", "fault"):
        code, out = command(["make", "-j" + JOBS, f"BUILD={build}"])
        yield f"make BUILD={build}", code == 0, out


def stage_layers():
    code, out = command(["tools/layers"])
    yield "includes go one way", code == 0, out


def stage_hardening():
    code, out = command(["tools/hardening", "build/release/facteur"])
    yield "hardened binary", code == 0, out


def unit_programs(build):
    return [f"build/{build}/{t[4:-2]}" for t in sorted(glob.glob("src/*/*_test.c"))]


def stage_unit(ahead):
    """Every TEST() counts by itself; a program that dies counts as one failure. Those of the release keep their files on the disk, as the
    program does; with ASan they are about bytes, and have theirs in memory."""
    for build, env in (("release", {}), ("asan", MEMORY)):
        tests = unit_programs(build)
        if build == "asan":
            ahead.wait(["unit"])
        code, out = command(["make", "-k", "-j" + JOBS, f"BUILD={build}"] + tests)
        ahead.start()  # behind the tests of the release
        if code:
            yield f"unit tests build ({build})", False, out
            continue
        tests.sort(key=lambda t: not re.search(r"crash|crowd|random|/role/|/queue/", t))  # those that take long, first
        with ThreadPoolExecutor(2 * int(JOBS)) as pool:  # they mostly wait for the disk and for clocks
            for program, (code, out) in zip(tests, pool.map(lambda t: command([t], timeout=400, env=env), tests)):
                passed = re.findall(r"\[       OK \] (\w+)", out)
                failed = re.findall(r"\[  FAILED  \] (\w+)$", out, re.M)
                name = program.split("/", 2)[2]
                for one in passed:
                    yield f"{build} {name} {one}", True, ""
                for one in sorted(set(failed)):
                    yield f"{build} {name} {one}", False, out
                if code and not failed:
                    yield f"{build} {name}", False, out


def stage_fuzz(ahead):
    """Every committed corpus is replayed, then a few seconds of new inputs: the strength is in the corpora (`make fuzz`)."""
    sys.path.insert(0, os.path.join(ROOT, "tests/fuzz"))
    import campaign
    ahead.wait(["fuzz"])
    code, out = command(["make", "-k", "-j" + JOBS, "BUILD=fuzz", "fuzzers"], timeout=900)
    if code:
        yield "fuzz targets build", False, out
        return

    def fuzz(target):
        work = f"build/fuzz/test/{target.flat}"
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        artifact = f"build/fuzz/test/{target.flat}-"
        for old in glob.glob(artifact + "*"):
            os.remove(old)
        code, out = command([target.program, f"-max_total_time={FUZZ_SECONDS}", "-verbosity=0", f"-artifact_prefix={artifact}"] +
                            target.arguments() + [work] + target.folders(), timeout=FUZZ_SECONDS + 180, env=campaign.ENVIRONMENT)
        runs = re.search(r"number_of_executed_units: (\d+)", out)
        return f"fuzz {target.name} ({runs.group(1) if runs else '?'} runs)", code == 0, campaign.finding_text(out, artifact)

    with ThreadPoolExecutor(int(JOBS)) as pool:
        yield from pool.map(fuzz, campaign.all_targets())


THREADED = ("imap/crowd", "store/threads", "store/view", "net/pool", "net/attach", "ipc/channel", "auth/hasher", "queue/role", "role/control", "role/mx")


def tsan_programs():
    return [f"build/tsan/{t}_test" for t in THREADED if os.path.exists(f"src/{t}_test.c")]


def stage_tsan(ahead):
    """What has threads, under ThreadSanitizer."""
    programs = tsan_programs()
    ahead.wait(["tsan"])
    code, out = command(["make", "-k", "-j" + JOBS, "BUILD=tsan"] + programs, timeout=900)
    if code:
        yield "tsan builds", False, out
        return
    with ThreadPoolExecutor(int(JOBS)) as pool:
        done = pool.map(lambda p: command([p], timeout=300, env={"TSAN_OPTIONS": "halt_on_error=1"}), programs)
        for program, (code, out) in zip(programs, done):
            yield f"tsan {program.split('/', 2)[2]}", code == 0, out
    code, out = command(["make", "-j" + JOBS, "BUILD=tsan"], timeout=900)
    yield "make BUILD=tsan", code == 0, out
    if code == 0:
        code, out = command([sys.executable, "tests/stress.py", "tsan"], timeout=300)
        yield "the whole server in one process, under load (tsan)", code == 0, out


SANITIZED = ("admin", "imap", "submission", "smtp", "commands", "login", "spine", "pop3")  # the long ones first


def stage_servers(only, sanitized, ahead):
    """The system tests (only: None for none of them). The protocols' modules run again ("asan ...") on a server that ASan and UBSan watch,
    among the others: all of them wait for clocks and disks most of the time."""
    again = []
    if sanitized:
        ahead.wait(["unit"])
        code, out = command(["make", "-j" + JOBS, "BUILD=asan"], timeout=900)
        yield "make BUILD=asan", code == 0, out
        again = ["test_" + m for m in SANITIZED] if code == 0 else []
    ahead.start()
    yield from harness.run_all(only, again, ahead.wait)


def main():
    only = sys.argv[1:]
    stages = [("build", stage_build), ("layers", stage_layers), ("hardening", stage_hardening), ("unit", lambda: stage_unit(ahead)),
              ("system", lambda: stage_servers(filters, "sanitized" in chosen, ahead)), ("sanitized", lambda: stage_servers(None, True, ahead)),
              ("tsan", lambda: stage_tsan(ahead)), ("fuzz", lambda: stage_fuzz(ahead))]
    names = [n for n, _ in stages]
    filters = [o for o in only if o not in names]
    chosen = [o for o in only if o in names] or (names if not only else ["system"])
    ahead = Ahead(chosen)
    passed = failed = skipped = 0
    begin = time.monotonic()
    for name, stage in stages:
        if name not in chosen or (name == "sanitized" and "system" in chosen):  # then they were among those
            continue
        print(paint(f"== {name}", "1"), flush=True)
        start = time.monotonic()
        here = 0
        for test, ok, detail in stage():
            here += 1
            if ok is None:
                skipped += 1
                print(paint(f"  SKIPPED {test}: {detail}", "33"), flush=True)
            elif ok:
                passed += 1
                if name not in ("unit",):
                    print(f"  ok    {test}", flush=True)
            else:
                failed += 1
                print(paint(f"  FAIL  {test}", "31"), flush=True)
                print("        " + detail.strip().replace("\n", "\n        ")[-8000:], flush=True)
        print(f"  {here} in {time.monotonic() - start:.0f} s", flush=True)
        if name == "build" and failed:
            break
    print(f"({time.monotonic() - begin:.0f} s, {skipped} skipped)")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
