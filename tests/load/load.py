"""The load test: what ten thousand clients do to the server, and what it does at each of its limits.

    make load                             every part, a table at the end
    make load LOAD="park herd"            only these parts
    make load LOAD="--json --again"       figures for scripts; --again: also what was done already

A part's result is kept in build/load/results.json and shown again by the next run, so that an interrupted run goes on where it
stopped. Clients are tests/load/clients.c; they come from 127.0.0.1, which has no limits, or from 127.1.x.y, which has those of
strangers. Beside each part a probe logs in over and over: the service to others goes on, or the part fails.

LOAD_CLIENTS (10000), LOAD_SESSIONS (50000), LOAD_MINUTES (60) make it smaller; what a result was measured with stands beside it."""
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from admin import Admin  # noqa: E402
from harness import ROOT, Server, expect, free_offset, wait_for  # noqa: E402

CLIENTS = os.path.join(ROOT, "build/release/load/clients")
SENDER = os.path.join(ROOT, "build/release/bench/smtp_load")
KEPT = os.path.join(ROOT, "build/load")
RESULTS = os.path.join(KEPT, "results.json")
MANY = int(os.environ.get("LOAD_CLIENTS", "10000"))
SESSIONS = int(os.environ.get("LOAD_SESSIONS", "50000"))
MINUTES = float(os.environ.get("LOAD_MINUTES", "60"))
PORTS = (("SMTP", 25, 0), ("POP3", 110, 0), ("IMAP", 143, 0), ("submission", 587, 0), ("submissions", 465, 1), ("IMAPS", 993, 1),
         ("POP3S", 995, 1))


def say(text):
    print(f"    {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# ---- a server with many accounts ----------------------------------------------------------------------------------------

class ManyAccounts(Server):
    """A server from a folder that was made once: user0 … userN@example.test, and probe@, each with an app password."""

    def __init__(self, accounts, settings=(), conf=()):
        made = os.path.join(KEPT, f"accounts-{accounts}.tar")
        if not os.path.exists(made):
            make_accounts(accounts, made)
        self.binary = os.path.join(ROOT, "build/release/facteur")
        self.dir = tempfile.mkdtemp(prefix="facteur-load-")
        os.chmod(self.dir, 0o711)
        with tarfile.open(made) as tar:
            tar.extractall(self.dir, numeric_owner=True)
        self.offset = free_offset()
        self.env = dict(os.environ, LANG="C.UTF-8")
        self.log_path = os.path.join(self.dir, "server.log")
        self.passwords_path = os.path.join(self.dir, "passwords.txt")
        with open(os.path.join(self.dir, "probe.txt")) as f:
            self.passwords = {"probe@example.test": f.read()}
        with open(os.path.join(self.dir, "facteur.conf"), "a") as f:
            f.write("".join(line + "\n" for line in conf))
        try:
            self.start()
            for name, value in settings:
                self.cli("config", "set", name, str(value))
        except Exception:
            self.close()
            raise


def make_accounts(n, path):
    say(f"making {n} accounts, once (kept in {os.path.relpath(path, ROOT)})")
    os.makedirs(KEPT, exist_ok=True)
    server = Server(accounts=("probe",), segment_size="32MB")
    try:
        admin, passwords = Admin(server.dir), []
        password = admin.ask("app-password add", address="probe@example.test", label="probe")["password"]
        with open(os.path.join(server.dir, "probe.txt"), "w") as f:
            f.write(password)
        since = time.monotonic()
        for i in range(n):
            admin.ask("account add", address=f"user{i}@example.test")
            passwords.append(admin.ask("app-password add", address=f"user{i}@example.test", label="load")["password"])
            if i % 1000 == 999:
                say(f"{i + 1} accounts after {time.monotonic() - since:.0f} s")
        with open(os.path.join(server.dir, "passwords.txt"), "w") as f:
            f.write("".join(p + "\n" for p in passwords))
        server.stop()
        for name in ("admin.sock", "submit.sock", "server.log"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(server.dir, name))
        with tarfile.open(path + ".new", "w") as tar:
            for name in sorted(os.listdir(server.dir)):
                tar.add(os.path.join(server.dir, name), name)
        os.rename(path + ".new", path)
    finally:
        server.close()


class Clients:
    """One process of clients.c."""

    def __init__(self, server, port, script, **options):
        options.setdefault("passwords", server.passwords_path)
        args = [CLIENTS, str(server.port(port)), script] + [f"{k}={v}" for k, v in options.items()]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        text = self.process.stdout.readline()
        expect(text, "the clients ended")
        return json.loads(text)

    def do(self, line):
        self.begin(line)
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Probe:
    """Somebody else: logs in over TLS, selects, leaves, again and again."""

    def __init__(self, server):
        self.server, self.times, self.failures, self.stops = server, [], [], False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stops:
            since = time.monotonic()
            try:
                box = self.server.imap("probe")
                box.select()
                box.logout()
                self.times.append(time.monotonic() - since)
            except Exception as why:  # each is one that was not served
                self.failures.append(repr(why))
            time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stops = True
        self.thread.join()

    def rows(self, beside, p99_bound=2.0):
        times = sorted(self.times) or [float("inf")]
        say(f"probe beside {beside}: {len(self.times)} logins, {len(self.failures)} failed {self.failures[:2]}")
        return [row(f"  others beside it: login, SELECT, LOGOUT, p99 (median {times[len(times) // 2] * 1000:.0f} ms)",
                    round(times[len(times) - 1 - len(times) // 100], 3), "s", p99_bound),
                row("  others beside it: failed", len(self.failures), "", 0)]


def row(what, value, unit="", bound=None, least=None):
    ok = (bound is None or value <= bound) and (least is None or value >= least)
    return {"what": what, "value": value, "unit": unit, "bound": bound, "least": least, "ok": ok}


def said(result):
    return ", ".join(f"{n} × {text}" for text, n in result["said"].items()) or "nothing"


# ---- what the processes hold ---------------------------------------------------------------------------------------------

def holdings(server):
    """{role: {processes, pss_kb, fds, threads}}"""
    found = {}
    for pid, role in server.pids().items():
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                pss = int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
            fds, threads = len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
        except (OSError, AttributeError):
            continue
        sum_ = found.setdefault(role, {"processes": 0, "pss_kb": 0, "fds": 0, "threads": 0})
        for key, value in (("processes", 1), ("pss_kb", pss), ("fds", fds), ("threads", threads)):
            sum_[key] += value
    return found


def total(held, key="pss_kb"):
    return sum(one[key] for one in held.values())


def keep_maps(server, name):
    """The heap profile that needs no help of the process: every mapping of every role but the cells, with what of it is in memory."""
    with open(os.path.join(KEPT, f"maps-{name}.txt"), "w") as out:
        for pid, role in sorted(server.pids().items(), key=lambda one: (one[1], one[0])):
            if role == "cell":
                continue
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps") as f:
                out.write(f"==== {role}\n")
                for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", f.read()):
                    size = re.search(r"^Pss:\s+(\d+)", mapping, re.M)
                    if size and int(size.group(1)):
                        out.write(f"{int(size.group(1)):8d} kB  {mapping.splitlines()[0]}\n")


def slope(points):
    """Least squares; points: [(x, y)]; per unit of x."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def cells_gone(server, seconds=120):
    wait_for(lambda: not server.pids_of("cell"), seconds, "idle cells leave")


def send(server, messages, accounts, connections=16, size=4096):
    out = subprocess.run([SENDER, str(server.port(25)), str(connections), str(messages), str(size), str(accounts)], input=b"go\n",
                         stdout=subprocess.PIPE, check=True, timeout=900).stdout
    return json.loads(out.splitlines()[-1])


def queue_is_empty(server, seconds):
    wait_for(lambda: server.cli_json("queue", "status").get("backlog", 0) == 0, seconds, "the queue is empty")


# ---- parts ---------------------------------------------------------------------------------------------------------------

def part_park():
    """So many parked IMAP connections over TLS, a fifth of them active; then all of them come back at once."""
    active, rows = MANY // 5, []
    server = ManyAccounts(MANY)
    try:
        before = holdings(server)
        with Clients(server, 993, "imap_idle", tls=1, accounts=MANY, pending=200) as clients:
            got = clients.do(f"open {MANY}")
            say(f"open: {got}")
            rows.append(row(f"{MANY} IMAP connections over TLS, one for each account, come and IDLE", got["open"], "connections", least=MANY))
            rows.append(row("  all of them are in after", round(got["seconds"], 1), "s", 120))
            cells_gone(server)
            held = holdings(server)
            rows.append(row("  memory for each while it waits, all processes", round((total(held) - total(before)) / MANY, 1), "kB", 20))
            with Probe(server) as probe:
                got = clients.do(f"again {active} 20")
            say(f"active: {got}")
            rows.append(row(f"{active} of them fetch and idle again once a second: rounds", got["finished"], "", least=1))
            rows.append(row(f"  a round, p99 (median {got['p50_ms']:.0f} ms)", round(got["p99_ms"] / 1000, 2), "s", 5))
            rows.append(row("  connections lost", got["lost"], "", 0))
            rows += probe.rows("the active ones")
            rows += herd(server, clients, "kill -9 of one gate", kill_gate)
            rows += herd(server, clients, "restart of the server", restart)
            wait_for(lambda: server.cli_json("status").get("sessions", 0) >= MANY, 10, "every session is listed")
    finally:
        server.close()
    return rows


def kill_gate(server):
    os.kill(server.pids_of("gate")[0], 9)


def restart(server):
    server.stop()
    server.start(wait=False)


def herd(server, clients, what, blow):
    clients.begin("herd 240")
    blow(server)
    server.wait_ready(60)
    with Probe(server) as probe:
        mail = time.monotonic()
        server.deliver("probe@example.test")
        mail = time.monotonic() - mail
        got = clients.answer()
    say(f"{what}: {got}")
    return [row(f"after {what}: {got['lost']} come back at once; all are in after", round(got["seconds"], 1), "s", 120),
            row("  connections", got["open"], "", least=MANY),
            row("  a message is taken meanwhile within", round(mail, 2), "s", 5)] + probe.rows(what, 10)


def part_deliver():
    """As many accounts get one message each; then one message goes to a group of all of them."""
    server, rows = ManyAccounts(MANY), []
    try:
        with Probe(server) as probe:
            since = time.monotonic()
            got = send(server, MANY, MANY)
            acknowledged = time.monotonic() - since
            queue_is_empty(server, 600)
            seconds = time.monotonic() - since
        say(f"{MANY} sleeping accounts, a message each: {got}")
        rows.append(row(f"{MANY} sleeping accounts, a message each: acknowledged after", round(acknowledged, 1), "s"))
        rows.append(row("  all delivered after", round(seconds, 1), "s", 120))
        rows += probe.rows("the deliveries")
        cells_gone(server)
        admin = Admin(server.dir)
        for first in range(0, MANY, 1000):
            last = min(MANY, first + 1000)
            command = "group member add" if first else "group add"
            admin.ask(command, group="all@example.test", member=[f"user{i}@example.test" for i in range(first, last)])
        peak, stops = [0], threading.Event()

        def watch():
            while not stops.wait(1):
                peak[0] = max(peak[0], total(holdings(server)))
        watcher = threading.Thread(target=watch)
        watcher.start()
        with Probe(server) as probe:
            since = time.monotonic()
            server.deliver("all@example.test", subject="to all", body="text\r\n" * 500)
            acknowledged = time.monotonic() - since
            queue_is_empty(server, 600)
            seconds = time.monotonic() - since
        stops.set()
        watcher.join()
        rows.append(row(f"a message to a group of {MANY}: acknowledged after", round(acknowledged, 2), "s", 5))
        rows.append(row("  delivered to all after", round(seconds, 1), "s", 120))
        rows.append(row("  memory of the whole server meanwhile", round(peak[0] / 1024), "MB", 1024))
        rows += probe.rows("the group")
    finally:
        server.close()
    return rows


def part_flood():
    """Connections without a word: from one address, from one network, from a hundred networks; at each port."""
    rows = []
    settings = (("connections_per_address", 50), ("connections_per_network", 200), ("connections_per_minute", 100000))
    server = ManyAccounts(10, settings=settings)
    try:
        with Probe(server) as probe:
            for name, port, tls in PORTS:
                for what, sources, network, bound in (("one address", 1, 1, 50), ("one network", 200, 200, 200)):
                    with Clients(server, port, "none", sources=sources, network=network, pending=600) as clients:
                        clients.do("open 600")
                        got = clients.do("hold 1")
                    rows.append(row(f"{name}: 600 connections from {what}: let in by all gates together", got["open"], "", bound + 1, bound))
                    if not tls:
                        say(f"{name}, {what}: {said(got)}")
                        refused = sum(n for text, n in got["said"].items() if "too many" in text)
                        rows.append(row("  told why", refused, "", least=got["lost"] * 95 // 100))
            for name, port, tls in PORTS:
                with Clients(server, port, "none", sources=20000, network=200, pending=2000) as clients:
                    got = clients.do("flood 3")
                say(f"{name} from 100 networks: {got}")
            rows.append(row(f"floods of {len(PORTS)} ports from 100 networks, 3 s each: connections of the last one", got["attempts"], ""))
        rows += probe.rows("the floods")
        held = holdings(server)
        rows.append(row("gates afterwards: memory", round(held["gate"]["pss_kb"] / 1024, 1), "MB", 60))
        wait_for(lambda: holdings(server)["gate"]["fds"] < 200, 30, "the gates have closed what is gone")
    finally:
        server.close()
    return rows


def part_handshake():
    """TLS handshakes without end, and thousands that are begun and left."""
    rows, half = [], min(MANY, 5000)
    server = ManyAccounts(10, settings=(("connections_per_minute", 100000), ("login_timeout", "10s")))
    try:
        with Clients(server, 993, "greeting", tls=1, sources=20000, network=200, pending=200) as clients, Probe(server) as probe:
            got = clients.do("handshakes 10")
        say(f"handshakes: {got}")
        rows.append(row("TLS handshakes without end, 200 at a time: a second", round(got["finished"] / got["seconds"]), "", least=1))
        rows += probe.rows("the handshakes")
        before = holdings(server)
        with Clients(server, 993, "none", half=100, sources=20000, network=200, pending=half) as clients, Probe(server) as probe:
            got = clients.do(f"open {half}")
            kept = got["open"]
            held = holdings(server)
            got = clients.do("hold 15")
        say(f"half-open: {kept}, then {got}")
        rows.append(row(f"{half} handshakes begun and left: memory of each",
                        round((held["gate"]["pss_kb"] - before["gate"]["pss_kb"]) / max(1, kept), 1), "kB", 60))
        rows.append(row("  still open after login_timeout", got["open"], "", 0))
        rows += probe.rows("the half-open ones")
    finally:
        server.close()
    return rows


def part_slow():
    """A thousand that ask for megabytes and read nothing; a thousand that send a byte and wait."""
    rows, deaf = [], min(1000, MANY)
    server = ManyAccounts(100)
    try:
        send(server, 2000, 100, size=30000)
        queue_is_empty(server, 60)
        before = holdings(server)
        with Clients(server, 993, "imap_deaf", tls=1, deaf=1, accounts=100, pending=100) as clients, Probe(server) as probe:
            got = clients.do(f"open {deaf}")
            say(f"deaf: {got}")
            time.sleep(5)
            held = holdings(server)
            rows.append(row(f"{deaf} clients of 100 accounts ask for 1.8 MB and read nothing", got["open"], "", least=deaf))
            rows.append(row("  memory of each in the gates", round((held["gate"]["pss_kb"] - before["gate"]["pss_kb"]) / deaf, 1), "kB", 120))
            rows.append(row("  threads of a cell", max_threads(server), "", 9))
            rows += probe.rows("the deaf ones")
        with Clients(server, 143, "none", pending=500) as clients, Probe(server) as probe:
            got = clients.do(f"open {deaf}")
            clients.do("hold 3")
        rows += probe.rows("those that say nothing")
        wait_for(lambda: len(os.listdir(f"/proc/{server.pids_of('gate')[0]}/fd")) < 200, 30, "the gates have closed what is gone")
    finally:
        server.close()
    return rows


def max_threads(server):
    most = 0
    for pid in server.pids_of("cell"):
        with contextlib.suppress(OSError):
            most = max(most, len(os.listdir(f"/proc/{pid}/task")))
    return most


def part_one():
    """One account with as many sessions as it may have, and one more."""
    rows, n = [], 500
    server = ManyAccounts(10)
    try:
        with Clients(server, 993, "imap_idle", tls=1, accounts=1, pending=50) as clients, Probe(server) as probe:
            got = clients.do(f"open {n + 20}")
            say(f"one account: {got}")
            rows.append(row(f"{n + 20} sessions of one account: in (setting sessions_per_account)", got["open"], "", n + 1, n))
            rows.append(row("  told why", sum(k for text, k in got["said"].items() if "NO [LIMIT]" in text), "", least=18))
            since = time.monotonic()
            clients.begin(f"news {n} 30")
            server.deliver("user0@example.test")
            got = clients.answer()
            rows.append(row("  a new message: told to all of them", got["news"], "", least=n))
            rows.append(row("  the last one after", round(time.monotonic() - since, 2), "s", 5))
            rows.append(row("  memory of its cell", round(holdings(server).get("cell", {"pss_kb": 0})["pss_kb"] / 1024, 1), "MB", 30))
        rows += probe.rows("them")
    finally:
        server.close()
    return rows


def part_short():
    """Nothing grows with the number of past sessions."""
    rows = []
    server = ManyAccounts(100)
    try:
        keep_maps(server, "short-start")
        with Clients(server, 993, "imap_short", tls=1, accounts=100, pending=32) as imap, \
                Clients(server, 110, "smtp_short", pending=1), Clients(server, 25, "smtp_short", pending=16) as smtp, \
                Clients(server, 995, "pop3_short", tls=1, accounts=100, pending=16) as pop3:
            def run(n):
                for clients, part in ((imap, 0.7), (smtp, 0.2), (pop3, 0.1)):
                    got = clients.do(f"short {int(n * part)}")
                    expect(got["failed"] == 0, got)
                cells_gone(server)
                time.sleep(2)
                return holdings(server)
            first = run(SESSIONS // 2)   # what is made once: caches, tables; and the allocator finds its level
            say(f"after {SESSIONS // 2} sessions: {first}")
            last = run(SESSIONS)
            say(f"after {SESSIONS} more: {last}")
        keep_maps(server, "short-end")
        for role in sorted(first):
            grown = last[role]["pss_kb"] - first[role]["pss_kb"]
            rows.append(row(f"{SESSIONS} short sessions over: {role} has grown by", grown, "kB", max(400, first[role]["pss_kb"] // 20)))
            rows.append(row(f"  {role}: descriptors more", last[role]["fds"] - first[role]["fds"], "", 0))
            rows.append(row(f"  {role}: threads more", last[role]["threads"] - first[role]["threads"], "", 0))
    finally:
        server.close()
    return rows


def part_mixed():
    """Everything at once for LOAD_MINUTES; memory of each role sampled, and a line put through the second half."""
    rows, samples, seconds = [], [], MINUTES * 60
    server = ManyAccounts(1000 if MANY >= 1000 else MANY, settings=(("undelete_days", 0),))
    accounts = min(MANY, 1000)
    try:
        with Clients(server, 993, "imap_idle", tls=1, accounts=accounts, pending=100) as parked, \
                Clients(server, 993, "imap_short", tls=1, accounts=accounts, pending=4) as short, \
                Clients(server, 25, "smtp_short", pending=4) as smtp, Probe(server) as probe:
            expect(parked.do(f"open {accounts}")["failed"] == 0, "all come in")
            since = time.monotonic()
            while time.monotonic() < since + seconds:
                parked.begin("again 50 8")
                short.begin("short 200")
                smtp.begin("short 200")
                send(server, 200, accounts, connections=4)
                for clients in (parked, short, smtp):
                    clients.answer()
                held = holdings(server)
                samples.append((time.monotonic() - since, held))
                if len(samples) == 1:
                    keep_maps(server, "mixed-start")
                if len(samples) % 10 == 0:
                    say(f"{samples[-1][0] / 60:.1f} of {MINUTES:.0f} minutes: " +
                        ", ".join(f"{role} {one['pss_kb']} kB" for role, one in sorted(held.items())))
        keep_maps(server, "mixed-end")
        second = samples[len(samples) // 2:]
        for role in sorted(second[-1][1]):
            if role == "cell":
                continue   # as many as are awake at the moment: they come and go, and hold nothing when they leave
            points = [(at / 3600, held[role]["pss_kb"]) for at, held in second if role in held]
            an_hour = slope(points)
            level = points[-1][1]
            rows.append(row(f"{MINUTES:.0f} minutes of mixed load: {role}, {level} kB, grows an hour by", round(an_hour), "kB",
                            max(1024, level // 10)))
            fds = [held[role]["fds"] for _, held in second if role in held]
            if role not in ("gate", "master", "queue", "control"):   # these have some for each session or cell of the moment
                rows.append(row(f"  {role}: descriptors more", fds[-1] - fds[0], "", 2))
        rows += probe.rows("the mixed load")
    finally:
        server.close()
    return rows


PARTS = {"park": part_park, "deliver": part_deliver, "flood": part_flood, "handshake": part_handshake, "slow": part_slow,
         "one": part_one, "short": part_short, "mixed": part_mixed}


def show(results):
    out = io.StringIO()
    for name, result in results.items():
        print(f"\n{name}: {result['what']}  ({result['clients']} clients, {result['date']}, {result['version']})", file=out)
        for one in result["rows"]:
            bound = "" if one["bound"] is None and one["least"] is None else \
                f"= {one['bound']}" if one["bound"] == one["least"] else \
                f"<= {one['bound']}" if one["least"] is None else f">= {one['least']}" if one["bound"] is None else \
                f"{one['least']} to {one['bound']}"
            verdict = "" if not bound else "ok" if one["ok"] else "OVER"
            print(f"  {one['what']:92} {one['value']:>10} {one['unit']:12} {bound:>14}  {verdict}", file=out)
    return out.getvalue()


def main():
    args = sys.argv[1:]
    chosen = [a for a in args if not a.startswith("--")] or list(PARTS)
    if "--help" in args:
        sys.exit(__doc__)
    unknown = [a for a in args if a not in (*PARTS, "--json", "--again")]
    if unknown:
        sys.exit(f"no such part: {' '.join(unknown)}; there are: {' '.join(PARTS)}")
    os.makedirs(KEPT, exist_ok=True)
    results = {}
    with contextlib.suppress(FileNotFoundError), open(RESULTS) as f:
        results = json.load(f)
    version = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    for name in chosen:
        if name in results and "--again" not in args:
            print(f"{name}: done already ({results[name]['date']}); --again repeats it", file=sys.stderr)
            continue
        print(f"{name}: {PARTS[name].__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
        rows = PARTS[name]()
        results[name] = {"what": PARTS[name].__doc__.splitlines()[0], "rows": rows, "version": version, "clients": MANY,
                         "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}
        with open(RESULTS + ".new", "w") as f:
            json.dump(results, f, indent=1)
        os.rename(RESULTS + ".new", RESULTS)
    wanted = {name: results[name] for name in chosen}
    print(json.dumps(wanted, indent=1) if "--json" in args else show(wanted))
    sys.exit(any(not one["ok"] for result in wanted.values() for one in result["rows"]))


if __name__ == "__main__":
    main()
