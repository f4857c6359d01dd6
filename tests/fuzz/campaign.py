"""`make fuzz`: one target after another gets its minutes, first those that strangers reach (FIRST), in slices, so that it can be
stopped at any time and goes on where it was. Minutes are of processor time: a busy machine makes a campaign long, not thin. A target that
has had its minutes is left alone until the files that it tries change.

    make fuzz                                all targets, 30 minutes each
    make fuzz FUZZ="imap/engine role --minutes 5 --jobs 1"      one target, a folder
    make fuzz FUZZ=--until-quiet             30 minutes, or until nothing new was found for twice the time that all finds took (6 at least)
    make fuzz FUZZ="--report --coverage"     the table of what was done so far, with line coverage; --json for programs
    make fuzz FUZZ="--repeat imap/engine @FILE"                 one input again, from a file or as base64
    make fuzz FUZZ="--merge"                 the corpora made small, into tests/fuzz/TARGET
    make fuzz FUZZ="--report --record"       and written to docs/fuzzing.txt, from where the next checkout goes on counting

What was found out lies in build/fuzz/: corpus/TARGET (inputs that reach something new), findings/ (inputs that broke something),
state/TARGET.json (minutes). README.md beside this file says which target reads what."""
import argparse
import base64
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "tests/fuzz")
OUT = os.path.join(ROOT, "build/fuzz")
RECORD = os.path.join(ROOT, "docs/fuzzing.txt")
# what a stranger reaches without a password, then what needs one; the others follow, the one with the fewest minutes first
FIRST = ("smtpd/smtpd", "smtp/smtp", "mime/mime", "smtpd/login", "imap/login", "pop3/login", "auth/sasl", "mime/header", "mime/address",
         "role/mx", "role/net", "role/gate", "imap/engine", "pop3/engine", "submit/fixup", "net/deflate")
SLICE_S = 120
QUIET_MIN_S = 3 * SLICE_S - 5      # slices are some seconds shorter in processor time than by the clock
UNIT_S, MEMORY_MB = 20, 2048       # one input may take so long and so much
COMMITTED_MAX = 36_000             # bytes of a corpus in the repository
# accounts and queues of a target: in memory, where a sync costs nothing
ENVIRONMENT = dict(os.environ, **({"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}))


class Target:
    def __init__(self, source):
        self.name = source[len("src/"):-len("_fuzz.c")]
        self.flat = self.name.replace("/", "_")
        self.program = f"{OUT}/{self.name}_fuzz"
        self.corpus, self.seeds = f"{OUT}/corpus/{self.flat}", f"{HERE}/{self.flat}"
        self.dictionary = f"{HERE}/{self.flat}.dict"
        self.state_file = f"{OUT}/state/{self.flat}.json"
        self.state = {"files": "", "code": "", "seconds": 0, "runs": 0, "new_seconds": 0, "all_seconds": 0, "all_runs": 0, "edges": 0, "edges_of": 0, "findings": []}
        if os.path.exists(self.state_file):
            self.state.update(json.load(open(self.state_file)))
        else:
            self.state.update(recorded(self.name))

    def arguments(self):
        """Roles read a program of many steps: short inputs first would only waste time."""
        return (["-len_control=0", "-max_len=1024"] if self.name.startswith("role/") else []) + [f"-rss_limit_mb={MEMORY_MB}", f"-timeout={UNIT_S}", "-print_final_stats=1"] + \
               ([f"-dict={self.dictionary}"] if os.path.exists(self.dictionary) else [])

    def folders(self):
        return [d for d in (self.seeds,) if os.path.isdir(d)]

    def note_code(self):
        """Minutes belong to the files that are tried, findings to the program: a change of it may have mended them."""
        files, code = sum_of(modules().get(self.name, []) + [f"src/{self.name}_fuzz.c"]), code_of(self.program)
        if files != self.state["files"]:
            self.state.update(files=files, seconds=0, runs=0, new_seconds=0, edges=0)
        if code != self.state["code"]:
            self.state.update(code=code, findings=[])
        self.save()

    def is_quiet(self):
        """Two thirds of its time brought nothing new, as far as slices tell."""
        return self.state["seconds"] >= max(QUIET_MIN_S, 3 * self.state["new_seconds"])

    def save(self):
        os.makedirs(os.path.dirname(self.state_file), exist_ok=True)
        with open(self.state_file + ".new", "w") as f:
            json.dump(self.state, f)
        os.replace(self.state_file + ".new", self.state_file)

    def run(self, seconds):
        """One slice, on a copy of the program, so that it may be rebuilt meanwhile."""
        copy = f"{OUT}/run/{self.flat}"
        for d in (self.corpus, f"{OUT}/run", f"{OUT}/findings"):
            os.makedirs(d, exist_ok=True)
        shutil.copy(self.program, copy)
        before = set(glob.glob(f"{OUT}/findings/{self.flat}-*"))
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen([copy, f"-max_total_time={seconds}", "-reload=0", f"-artifact_prefix={OUT}/findings/{self.flat}-"] +
                                       self.arguments() + [self.corpus] + self.folders(), stdout=output, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, cwd=ROOT, env=ENVIRONMENT)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            self.note(output.read().decode("utf-8", "replace"), process.returncode, used.ru_utime + used.ru_stime,
                      sorted(set(glob.glob(f"{OUT}/findings/{self.flat}-*")) - before))

    def note(self, output, code, seconds, files):
        s = self.state
        runs = int((re.findall(r"number_of_executed_units:\s*(\d+)", output) or re.findall(r"^#(\d+)", output, re.M) or [0])[-1])
        s["seconds"] += seconds
        s["all_seconds"] += seconds
        s["runs"] += runs
        s["all_runs"] += runs
        edges, of = re.findall(r" cov: (\d+) ", output), re.findall(r"Loaded \d+ modules\s+\((\d+) inline", output)
        if edges:
            if int(edges[-1]) > s["edges"]:
                s["edges"], s["new_seconds"] = int(edges[-1]), s["seconds"]
            s["edges_of"] = int(of[0]) if of else 0
        if code != 0:
            s["findings"].append({"what": summary(output), "files": [os.path.relpath(f, ROOT) for f in files]})
            with open(f"{OUT}/findings/{self.flat}.log", "a") as f:
                f.write(output + "\n")
        self.save()


def recorded(name):
    """What docs/fuzzing.txt says of a target."""
    rows = [line.split() for line in open(RECORD)] if os.path.exists(RECORD) else []
    for row in rows:
        if row and row[0] == name:
            return {"files": row[1], "seconds": float(row[2]) * 60, "all_seconds": float(row[3]) * 60, "runs": int(row[4]),
                    "all_runs": int(row[5]), "edges": int(row[6]), "edges_of": int(row[7]),
                    "new_seconds": float(row[8]) * 60}
    return {}


def record():
    """All targets, also those that were not chosen: a line each."""
    targets = all_targets()                            # before the file is emptied: it is where most of them are known from
    with open(RECORD, "w") as f:
        f.write("# Minutes of processor time that `make fuzz` has given each target: written by make fuzz FUZZ=\"--report --record\",\n"
                "# read where build/fuzz/state has nothing. files: a sum over the files that the target tries (tests/fuzz/README.md);\n"
                "# last_new: the minute at whose end the last new edge had been found.\n"
                f"#{'target':<21} {'files':<12} {'minutes':>7} {'in_all':>7} {'runs':>12} {'in_all':>12} {'edges':>6} {'of':>6} {'last_new':>8}\n")
        for t in targets:
            s = t.state
            f.write(f"{t.name:<22} {s['files'] or '-':<12} {s['seconds'] / 60:7.1f} {s['all_seconds'] / 60:7.1f} {s['runs']:12} {s['all_runs']:12} "
                    f"{s['edges']:6} {s['edges_of']:6} {s['new_seconds'] / 60:8.1f}\n")


def sum_of(files):
    digest = hashlib.sha256()
    for name in sorted(files):
        with open(os.path.join(ROOT, name), "rb") as f:
            digest.update(name.encode() + b"\0" + f.read())
    return digest.hexdigest()[:12]


def code_of(program):
    """A sum over the instructions and constants of a program: what the debugger reads does not count."""
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "-j", ".rodata", program, f.name], check=True)
        return hashlib.sha256(f.read()).hexdigest()[:16]


def summary(output):
    lines = re.findall(r"^(?:SUMMARY: .*|.*Assertion .*failed.*|.*runtime error: .*|.*ERROR: libFuzzer: .*)$", output, re.M)
    return lines[0].strip() if lines else "ended without a word"


def finding_text(output, artifact):
    """What ./test prints of a failure: enough to repeat it anywhere."""
    found = sorted(glob.glob(artifact + "*"))
    text = output[-6000:]
    for f in found:
        data = base64.b64encode(open(f, "rb").read()).decode()
        text += f"\nthe input, {os.path.basename(f)}, as base64 (repeat: make fuzz FUZZ=\"--repeat TARGET BASE64\"):\n{data}"
    return text


def all_targets():
    return [Target(s) for s in sorted(glob.glob("src/*/*_fuzz.c", root_dir=ROOT))]


def chosen(names):
    targets = all_targets()
    unknown = [n for n in names if not any(t.name == n or t.name.startswith(n + "/") for t in targets)]
    if unknown:
        sys.exit(f"no such target: {' '.join(unknown)} (there are: {' '.join(t.name for t in targets)})")
    return [t for t in targets if not names or any(t.name == n or t.name.startswith(n + "/") for n in names)]


def build(kind="fuzz"):
    if subprocess.run(["make", f"-j{min(2, os.cpu_count() or 1)}", "--no-print-directory", f"BUILD={kind}", "fuzzers"], cwd=ROOT,
                      stdout=sys.stderr).returncode:
        sys.exit("the fuzz targets do not build: the lines above say why (is clang there? tools/install test)")


def campaign(targets, minutes, jobs, wall_s, until_quiet):
    lock, busy = threading.Lock(), set()
    end = time.monotonic() + wall_s if wall_s else None
    wanted = minutes * 60

    def next_target():
        with lock:
            if end and time.monotonic() >= end:
                return None
            left = [t for t in targets if t not in busy and t.state["seconds"] < wanted - 1 and not t.state["findings"] and not (until_quiet and t.is_quiet())]
            if not left:
                return None
            t = min(left, key=lambda t: (FIRST.index(t.name) if t.name in FIRST else len(FIRST), t.state["seconds"], t.state["all_seconds"]))
            busy.add(t)
            return t

    def work():
        while (t := next_target()) is not None:
            t.note_code()
            seconds = min(SLICE_S, max(30, wanted - t.state["seconds"]), max(1, end - time.monotonic()) if end else SLICE_S)
            before = t.state["runs"]
            t.run(int(seconds))
            with lock:
                busy.discard(t)
            told = f"FINDING: {t.state['findings'][-1]['what']}" if t.state["findings"] else \
                   f"{t.state['runs'] - before} runs, {t.state['edges']} edges"
            print(f"{time.strftime('%H:%M:%S')} {t.name} {t.state['seconds'] / 60:.1f} of {minutes:g} min: {told}", file=sys.stderr, flush=True)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def modules():
    """target -> the files it reads with, from the table of README.md"""
    rows = re.findall(r"^\| `([a-z0-9_]+/[a-z0-9_]+)` \|[^|]*\| ([^|]*) \|$", open(f"{HERE}/README.md").read(), re.M)
    return {name: [f for word in files.split() for f in sorted(glob.glob(f"src/{word.strip('`')}", root_dir=ROOT))
                   if not f.endswith(("_test.c", "_fuzz.c"))] for name, files in rows}


def line_coverage(targets):
    """The corpora replayed on a build that counts lines: per cent of the lines of the files under test."""
    build("cov")
    out, of_target = {}, modules()
    for t in targets:
        program, raw = f"{ROOT}/build/cov/{t.name}_fuzz", f"{ROOT}/build/cov/{t.flat}.profraw"
        folders = [d for d in (t.corpus, t.seeds) if os.path.isdir(d)]
        if not folders or not of_target.get(t.name):
            continue
        subprocess.run([program, "-runs=0", "-verbosity=0"] + folders, env=dict(os.environ, LLVM_PROFILE_FILE=raw), cwd=ROOT,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)
        data = raw[:-3] + "data"
        if subprocess.run(["llvm-profdata", "merge", "-sparse", "-o", data, raw], cwd=ROOT).returncode:
            continue
        told = subprocess.run(["llvm-cov", "export", "-summary-only", f"-instr-profile={data}", program] + of_target[t.name], cwd=ROOT,
                              stdout=subprocess.PIPE)
        if told.returncode == 0:
            lines = json.loads(told.stdout)["data"][0]["totals"]["lines"]
            out[t.name] = round(lines["percent"], 1)
    return out


def report(targets, coverage, as_json):
    rows = [{"target": t.name, "minutes": round(t.state["seconds"] / 60, 1), "minutes_in_all": round(t.state["all_seconds"] / 60, 1),
             "runs": t.state["runs"], "runs_in_all": t.state["all_runs"],
             "per_second": round(t.state["all_runs"] / max(1, t.state["all_seconds"])),
             "edges": t.state["edges"], "edges_of": t.state["edges_of"], "last_new_minutes": round(t.state["new_seconds"] / 60, 1), "lines_percent": coverage.get(t.name),
             "findings": t.state["findings"]} for t in targets]
    if as_json:
        print(json.dumps({"targets": rows}, indent=1))
        return
    print(f"{'target':22} {'minutes':>8} {'in all':>7} {'runs in all':>12} {'runs/s':>7} {'edges':>7} {'last new':>8} {'lines':>6}  findings")
    for r in rows:
        lines = f"{r['lines_percent']:.0f} %" if r["lines_percent"] is not None else ""
        print(f"{r['target']:22} {r['minutes']:8.1f} {r['minutes_in_all']:7.1f} {r['runs_in_all']:12} {r['per_second']:7} {r['edges']:7} {r['last_new_minutes']:8.1f} {lines:>6}  {len(r['findings'])}")
    for r in rows:
        for f in r["findings"]:
            print(f"{r['target']}: {f['what']}\n  " + "\n  ".join(f["files"]))
    print(f"{len(rows)} targets, {sum(r['minutes'] for r in rows):.0f} minutes with these files, "
          f"{sum(r['minutes_in_all'] for r in rows):.0f} in all, {sum(len(r['findings']) for r in rows)} findings")


def merge(targets):
    """A few inputs that reach the same edges as all together, into tests/fuzz/TARGET: small inputs first, as far as the limit allows. How
    often an edge was taken does not count here: that would be hundreds of inputs."""
    for t in targets:
        folders = [d for d in (t.corpus, t.seeds) if os.path.isdir(d)]
        if not folders:
            continue
        with tempfile.TemporaryDirectory() as fresh:
            done = subprocess.run([t.program, "-set_cover_merge=1", "-use_counters=0", f"-timeout={UNIT_S}", fresh] + folders, cwd=ROOT, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if done.returncode:
                print(f"{t.name}: not merged\n{done.stderr.decode('utf-8', 'replace')[-2000:]}", file=sys.stderr)
                continue
            files = sorted(glob.glob(fresh + "/*"), key=os.path.getsize)
            size = kept = 0
            shutil.rmtree(t.seeds, ignore_errors=True)
            os.makedirs(t.seeds)
            for f in files:
                if size + os.path.getsize(f) > COMMITTED_MAX:
                    break
                size += os.path.getsize(f)
                kept += 1
                shutil.copy(f, f"{t.seeds}/{kept:03}")
            print(f"{t.name}: {kept} of {len(files)} inputs, {size} bytes", file=sys.stderr)


def repeat(targets, what):
    data = open(what[1:], "rb").read() if what.startswith("@") else base64.b64decode(what)
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        return subprocess.run([targets[0].program, f.name], cwd=ROOT).returncode


def main():
    p = argparse.ArgumentParser(prog="make fuzz FUZZ=", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("targets", nargs="*")
    p.add_argument("--minutes", type=float, default=30, help="of processor time for each target, with its files as they are")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    p.add_argument("--wall", type=float, default=0, metavar="MINUTES", help="stop after so many minutes in all")
    p.add_argument("--until-quiet", action="store_true", help="less, where nothing new was found for twice as long as all finds took")
    p.add_argument("--again", action="store_true", help="forget the minutes and findings there are (not the corpora)")
    p.add_argument("--report", action="store_true", help="only print the table")
    p.add_argument("--record", action="store_true", help="write the minutes to docs/fuzzing.txt")
    p.add_argument("--coverage", action="store_true", help="with per cent of lines of the files under test")
    p.add_argument("--json", action="store_true")
    p.add_argument("--merge", action="store_true", help="write minimised corpora to tests/fuzz")
    p.add_argument("--repeat", metavar="BASE64", help="run the target on this input; @FILE reads a file")
    a = p.parse_args()
    targets = chosen(a.targets)
    build()
    if a.repeat:
        return repeat(targets, a.repeat)
    if a.merge:
        merge(targets)
        return 0
    for t in targets:
        if a.again:
            t.state.update(code="")
        t.note_code()
    if not a.report:
        campaign(targets, a.minutes, a.jobs, a.wall * 60, a.until_quiet)
    report(targets, line_coverage(targets) if a.coverage else {}, a.json)
    if a.record:
        record()
    return 1 if any(t.state["findings"] for t in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
