"""The benchmark: facteur beside Debian's Postfix and Dovecot, in the same run, in turn.

    make bench                             every part, 5 rounds, a table
    make bench BENCH="smtp imap"           only these parts: smtp work sleeping accounts submission login imap allocations
                                           many search pop3 wake idle memory restart folders slow sending deferred
    make bench BENCH="imap --rounds 3"     --rounds N; --json; --peers mdbox,Maildir (or none); --million (mailboxes of 1,000,000 in
                                           `many`, `search`); --scale 0.1 (smaller loads, to try); --save FILE (the JSON too); --svg FILE
    make bench BENCH="imap --awake"        no processor idles meanwhile: what a program does is counted without what waking a virtual
                                           processor takes (docs/performance.md)
    python3 tests/bench/bench.py --from FILE... [--json|--markdown|--svg FILE]      tables of runs that were saved

What is compared is work: CPU of all processes of a server, memory, system calls. Rates and times depend on the machine and its
neighbours: read the ratios. docs/performance.md has the last full run."""
import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import awake  # noqa: E402
import debian  # noqa: E402
import ending  # noqa: E402
import pace  # noqa: E402
import parts  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
from harness import ROOT  # noqa: E402
from ours import Ours  # noqa: E402


class Rows:
    """Takes one value after the other; remembers whose, of which part."""

    def __init__(self):
        self.rows, self.notes, self.part, self.contestant, self.contestants, self.how = {}, [], None, None, [], "not measured"
        self.pace = []

    def __call__(self, what, value, unit, more=False, budget=None):
        row = self.rows.setdefault((self.part, what), {"part": self.part, "what": what.strip(), "unit": unit, "more": more, "budget": budget,
                                                       "values": {}})
        row["values"].setdefault(self.contestant, []).append(round(value, 4))

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)


class Progress:
    def __init__(self):
        self.terminal = sys.stderr.isatty()

    def __call__(self, text):
        print(f"\r\033[K… {text}" if self.terminal else f"… {text}", end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def contestants(part, layouts, stack):
    """The servers of a part, closed with the stack."""
    if hasattr(part, "contestants"):
        return part.contestants(layouts, stack)
    counted = getattr(part, "counted", False)
    made = [stack.enter_context(contextlib.closing(Ours(part.accounts, logins=getattr(part, "logins", None), counted=counted)))]
    for layout in () if getattr(part, "alone", False) else layouts:
        peer = peers.Peers(layout, part.accounts, compress=getattr(part, "compress", False), counted=counted)
        made.append(stack.enter_context(contextlib.closing(peer)))
    return made


def run_part(name, args, rows, progress):
    part = parts.PARTS[name]()
    part.scale = args.scale
    if name == "many" and args.million:
        part.sizes = (100000, 1000000)
    if name == "search" and args.million:
        part.messages, part.size = 1000000, 1000
    rows.part = name
    with contextlib.ExitStack() as stack:
        progress(f"{name}: making the servers")
        made = contestants(part, args.layouts, stack)
        rows.how = made[0].group.how
        rows.contestants += [c.label for c in made if c.label not in rows.contestants]
        for c in made:
            progress(f"{name}: preparing {c.label}")
            part.prepare(c)
        for k in range(args.rounds):
            rows.pace.append({"part": name, **pace.measure()})
            for c in made[k % len(made):] + made[:k % len(made)]:  # nobody is always the first
                progress(f"{name}: round {k + 1} of {args.rounds}, {c.label}")
                rows.contestant = c.label
                part.measure(c, rows)
        for c in made:
            if hasattr(part, "finish"):
                part.finish(c)
    progress.end()


def facts():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as f:
        memory = round(int(f.readline().split()[1]) / 1e6)
    with open("/etc/os-release") as f:
        system = next((line.split("=")[1].strip().strip('"') for line in f if line.startswith("PRETTY_NAME")), "")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {"machine": f"{os.cpu_count()} × {model}, {memory} GB, Linux {platform.release()}", "system": system,
            "facteur": commit.stdout.decode().strip()}


def measure(args):
    rows, progress, failed = Rows(), Progress(), False
    if args.layouts:
        progress("fetching Postfix and Dovecot")
        debian.prepare()
    results = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "rounds": args.rounds,
               "awake": args.awake, **facts(),
               "versions": debian.versions() if args.layouts else {}, "settings": peers.CONFIG if args.layouts else {},
               "command": "make bench BENCH=\"" + " ".join(sys.argv[1:]) + "\""}
    for name in args.parts:
        try:
            run_part(name, args, rows, progress)
        except Exception as why:  # the other parts still tell something; the exit code tells that this one did not
            progress.end()
            if ending.stopped:  # and then a server did not end as it should
                raise
            rows.notes.append(f"{name} was not measured to its end: {str(why).splitlines()[0] if str(why) else type(why).__name__}")
            print(f"{name}: {why}", file=sys.stderr)
            failed = True
        results.update(rows=list(rows.rows.values()), notes=rows.notes, cpu=rows.how, contestants=rows.contestants, pace=rows.pace)
        if args.save:
            with open(args.save, "w") as f:
                json.dump(results, f, indent=1)
    return results, failed


def saved(files):
    """Several runs as one: a later file replaces the parts it has."""
    all_of_them = None
    for name in files:
        with open(name) as f:
            results = json.load(f)
        if all_of_them is None:
            all_of_them = results
            continue
        if results.get("awake") != all_of_them.get("awake"):
            raise RuntimeError(f"{name} and {files[0]} are not to be compared: one was measured with --awake, one without")
        again = {r["part"] for r in results["rows"]}
        all_of_them["rows"] = [r for r in all_of_them["rows"] if r["part"] not in again] + results["rows"]
        all_of_them["pace"] = [p for p in all_of_them.get("pace", []) if p["part"] not in again] + results.get("pace", [])
        all_of_them["notes"] += results["notes"]
        all_of_them["contestants"] += [c for c in results["contestants"] if c not in all_of_them["contestants"]]
    order = list(parts.PARTS)
    all_of_them["rows"].sort(key=lambda r: order.index(r["part"]))
    return all_of_them


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("parts", nargs="*", metavar="PART")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--peers", default="mdbox,Maildir")
    p.add_argument("--scale", type=float, default=1)
    p.add_argument("--million", action="store_true")
    p.add_argument("--awake", action="store_true")
    p.add_argument("--json", action="store_true")
    p.add_argument("--markdown", action="store_true")
    p.add_argument("--save")
    p.add_argument("--svg")
    p.add_argument("--from", nargs="+", dest="files")
    args = p.parse_args()
    args.layouts = [] if args.peers == "none" else args.peers.split(",")
    for name in args.parts:
        if name not in parts.PARTS:
            p.error(f"no part is called {name}; there are: {' '.join(parts.PARTS)}")
    for layout in args.layouts:
        if layout not in peers.LOCATIONS:
            p.error(f"no mailbox format is called {layout}; there are: {' '.join(peers.LOCATIONS)}, none")
    args.parts = args.parts or list(parts.PARTS)
    return args


def main():
    args = arguments()
    try:
        if args.files:
            results, failed = saved(args.files), False
        else:
            with ending.nothing_left(), awake.processors() if args.awake else contextlib.nullcontext():
                results, failed = measure(args)
    except RuntimeError as why:
        sys.exit(str(why))
    if args.svg:
        with open(args.svg, "w") as f:
            f.write(report.svg(results))
    if args.json:
        print(json.dumps(results, indent=1))
    elif args.markdown:
        report.markdown(results)
    else:
        report.table(results, sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR")))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
