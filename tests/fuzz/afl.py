"""`make fuzz-afl`: AFL++ on the two line readers and MIME, for variety: it mutates in other ways than libFuzzer and has other ideas of
what is new. The harnesses and seeds are the same. Resumable: an output folder that exists is gone on with.

    make fuzz-afl FUZZ="--minutes 30 mime/mime"

What AFL++ found to be new goes into build/fuzz/corpus, so that libFuzzer goes on from there, and the other way round."""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGETS = ("smtpd/smtpd", "imap/login", "mime/mime")
SEED_MAX = 4000  # bytes


def seeds(flat, out):
    os.makedirs(out, exist_ok=True)
    for f in glob.glob(f"{ROOT}/tests/fuzz/{flat}/*") + glob.glob(f"{ROOT}/build/fuzz/corpus/{flat}/*"):
        if 0 < os.path.getsize(f) <= SEED_MAX:
            shutil.copy(f, out)
    if not os.listdir(out):
        open(f"{out}/empty", "w").write("\n")


def figures(folder):
    text = open(f"{folder}/default/fuzzer_stats").read()
    return {k: v for k, v in re.findall(r"^(\w+)\s*: (.*)$", text, re.M)}


def run(name, minutes):
    flat = name.replace("/", "_")
    program, folder = f"{ROOT}/build/afl/{name}_fuzz", f"{ROOT}/build/afl/out/{flat}"
    os.makedirs(folder, exist_ok=True)
    again = os.path.isdir(f"{folder}/default/queue")
    if not again:
        seeds(flat, f"{ROOT}/build/afl/in/{flat}")
    environment = dict(os.environ, AFL_SKIP_CPUFREQ="1", AFL_NO_UI="1", AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES="1", AFL_NO_AFFINITY="1",
                       AFL_SKIP_CRASHES="1", ASAN_OPTIONS="abort_on_error=1:symbolize=0:detect_leaks=0", TMPDIR="/dev/shm")
    done = subprocess.run(["afl-fuzz", "-i", "-" if again else f"{ROOT}/build/afl/in/{flat}", "-o", folder, "-V", str(int(minutes * 60)),
                           "-t", "2000+", "-m", "none", "--", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not os.path.exists(f"{folder}/default/fuzzer_stats"):
        sys.exit(f"afl-fuzz did not begin with {name}:\n{done.stdout.decode('utf-8', 'replace')[-3000:]}")
    corpus = f"{ROOT}/build/fuzz/corpus/{flat}"
    os.makedirs(corpus, exist_ok=True)
    for f in glob.glob(f"{folder}/default/queue/id*"):
        shutil.copy(f, f"{corpus}/afl-{os.path.basename(f)[3:9]}")
    s = figures(folder)
    findings = sorted(glob.glob(f"{folder}/default/crashes/id*") + glob.glob(f"{folder}/default/hangs/id*"))
    print(f"{name:16} {int(s['run_time']) / 60:6.1f} min {s['execs_done']:>10} runs {float(s['execs_per_sec']):8.0f}/s  {s['bitmap_cvg']:>7} of the map  "
          f"{s['corpus_count']:>6} inputs  {len(findings)} findings", flush=True)
    for f in findings:
        print(f"  {os.path.relpath(f, ROOT)}")
    return len(findings)


def main():
    p = argparse.ArgumentParser(prog="make fuzz-afl FUZZ=", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("targets", nargs="*", default=TARGETS)
    p.add_argument("--minutes", type=float, default=30)
    a = p.parse_args()
    programs = [f"build/afl/{t}_fuzz" for t in a.targets]
    if subprocess.run(["make", "-j2", "--no-print-directory", "BUILD=afl"] + programs, cwd=ROOT, stdout=sys.stderr).returncode:
        sys.exit("the targets do not build for AFL++: the lines above say why")
    return 1 if sum(run(t, a.minutes) for t in a.targets) else 0


if __name__ == "__main__":
    sys.exit(main())
