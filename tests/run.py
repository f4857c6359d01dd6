"""Runs every stage of ./test and adds up: layers, unit tests (release, and with ASan+UBSan), fuzz targets on their corpus plus
a few seconds, transcripts and real clients against real servers, crash rounds. Prints one line a test and, at the end, the sum.

A stage is a function that yields (name, ok, detail). Output of a failed step is shown whole; nothing is skipped silently."""
import glob
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(ROOT)
sys.path.insert(0, os.path.join(ROOT, "tests"))
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


def stage_build():
    for build in ("release", "fault", "asan"):
        code, out = command(["make", "-j" + JOBS, f"BUILD={build}"])
        yield f"make BUILD={build}", code == 0, out


def stage_layers():
    code, out = command(["tools/layers"])
    yield "includes go one way", code == 0, out


def stage_hardening():
    code, out = command(["tools/hardening", "build/release/facteur"])
    yield "hardened binary", code == 0, out


def stage_unit():
    """Every TEST() counts by itself; a program that dies counts as one failure. While those of the release wait for disks and clocks,
    those with ASan are compiled."""
    sources = [t[4:-2] for t in sorted(glob.glob("src/*/*_test.c"))]
    make = {build: ["make", "-k", "-j" + JOBS, f"BUILD={build}"] + [f"build/{build}/{t}" for t in sources] for build in ("release", "asan")}
    ahead = None
    for build in ("release", "asan"):
        tests = [f"build/{build}/{t}" for t in sources]
        if ahead:
            ahead.wait()
        code, out = command(make[build])
        if not ahead:
            ahead = subprocess.Popen(["nice", "-n", "19"] + make["asan"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        if code:
            yield f"unit tests build ({build})", False, out
            continue
        tests.sort(key=lambda t: not re.search(r"crash|crowd|random|/role/|/queue/", t))  # those that take long, first
        with ThreadPoolExecutor(2 * int(JOBS)) as pool:  # they mostly wait for the disk and for clocks
            for program, (code, out) in zip(tests, pool.map(lambda t: command([t], timeout=180), tests)):
                passed = re.findall(r"\[       OK \] (\w+)", out)
                failed = re.findall(r"\[  FAILED  \] (\w+)$", out, re.M)
                name = program.split("/", 2)[2]
                for one in passed:
                    yield f"{build} {name} {one}", True, ""
                for one in sorted(set(failed)):
                    yield f"{build} {name} {one}", False, out
                if code and not failed:
                    yield f"{build} {name}", False, out


def stage_fuzz():
    """Every committed corpus is replayed, then a few seconds of new inputs: the strength is in the corpora (`make fuzz`)."""
    sys.path.insert(0, os.path.join(ROOT, "tests/fuzz"))
    import campaign
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


class Ahead:
    """What later stages need is compiled while the system tests wait for clocks and disks: behind everything else, and done before
    the tests that want the machine for themselves. The stages run make again and report what failed."""

    def __init__(self, chosen):
        jobs = []
        if "fuzz" in chosen:
            jobs.append(f"make -k -j{JOBS} BUILD=fuzz fuzzers")
        if "tsan" in chosen:
            jobs.append(f"make -k -j{JOBS} BUILD=tsan all " + " ".join(tsan_programs()))
        self.process = subprocess.Popen(["nice", "-n", "19", "sh", "-c", "; ".join(jobs)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if jobs else None

    def wait(self):
        if self.process:
            self.process.wait()


def stage_tsan():
    """What has threads, under ThreadSanitizer."""
    programs = tsan_programs()
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


SANITIZED = ("spine", "imap", "pop3", "smtp", "login", "submission", "admin", "commands")


def stage_sanitized():
    """The system tests of the protocols again, on a server that ASan and UBSan watch."""
    import harness
    os.environ["FACTEUR_TEST_BUILD"] = "asan"
    try:
        for name, ok, detail in harness.run_all(["test_" + m for m in SANITIZED]):
            yield "asan " + name, ok, detail
    finally:
        del os.environ["FACTEUR_TEST_BUILD"]


def stage_system(only, chosen):
    import harness
    ahead = Ahead(chosen)
    yield from harness.run_all(only, ahead.wait)
    ahead.wait()


def main():
    only = sys.argv[1:]
    stages = [("build", stage_build), ("layers", stage_layers), ("hardening", stage_hardening), ("unit", stage_unit),
              ("system", lambda: stage_system([o for o in only if o != "system"], chosen)),
              ("sanitized", stage_sanitized), ("tsan", stage_tsan), ("fuzz", stage_fuzz)]
    names = [n for n, _ in stages]
    chosen = [o for o in only if o in names] or (names if not only else ["system"])
    passed = failed = skipped = 0
    begin = time.monotonic()
    for name, stage in stages:
        if name not in chosen:
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
