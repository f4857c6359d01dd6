"""make torture: a campaign of rounds against a real server (docs/robustness.md).

A round starts the server, lets clients work, hurts it (faults.py), brings it back, and asks the model (model.py) whether every promise
held. Twenty-five rounds share one data folder (a life), so that what an earlier round left behind is hurt again; then a new one begins,
with a ring of another size. What goes wrong is printed in plain words and kept below build/torture/SEED/findings, with the folder and the
trace as they were; the campaign goes on with a new life.

  python3 tests/torture/torture.py [--rounds N] [--seed S] [--round N] [--dir D] [--build fault|asan] [--json]

Without --seed the newest unfinished campaign goes on. --round N repeats one round by its number: on what was kept of a finding, else
on a new folder."""
import argparse
import glob
import json
import os
import pickle
import random
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import device  # noqa: E402
import powercut  # noqa: E402
from clients import GUESTS, LOST, RIGHTS, SHARED, Device, Imap, Listener, Reader, Sender, Watcher, code, look, named, read_bodies  # noqa: E402
from elsewhere import WRITER, Elsewhere, Writer  # noqa: E402
from faults import ACCOUNTS, Hurt, in_words, plan  # noqa: E402
from harness import PASSWORDS, ROOT, Server, free_offset, give_back  # noqa: E402
from model import Model, Wrong, between, text_of  # noqa: E402
from rights import Owner, Rights  # noqa: E402

LIFE = 25               # rounds that share a data folder
DEVICE_LIFE = 6         # of a device: each life has another file system
MOMENTS = 3             # earlier moments at which the power of a device may have gone, looked at after the round
SETTLE_SECONDS = 150    # by then everything accepted must be in its mailbox again
NEWS_SECONDS = 60       # by then who waits has heard of what is new; seconds, even on a busy machine
SETTINGS = (("connections_per_minute", "100000"), ("connections_per_network", "10000"), ("connections_per_address", "10000"),
            ("smtp_errors_max", "1000"), ("disk_reserve", "16MB"), ("plain_login_loopback", "on"), ("submit_watch", "off"),
            ("submit_recipients_per_hour", "10000000"), ("submit_recipients_per_day", "10000000"))
# what the log of a healthy program never has, whatever is done to it from outside
BUGS = re.compile(r"assert|Assertion|ERROR: AddressSanitizer|runtime error:|signal=(?:6|7|11|31)\b|stack smashing|unknown request|internal error")


class Folder(Server):
    """A server over a folder that outlives this program."""

    def __init__(self, work, build, blocklog=None, conf=()):
        self.work, self.dir, self.conf = work, os.path.join(work, "data"), conf
        self.device = device.Device(blocklog, work + "-disk", self.dir) if blocklog else None
        self.binary = work + "-facteur"                 # a copy: somebody may compile meanwhile
        shutil.copy(os.path.join(ROOT, "build", build, "facteur"), self.binary)
        self.rules, self.clock = os.path.join(work, "rules"), os.path.join(work, "clock")
        self.env = dict(os.environ, LANG="C.UTF-8", FACTEUR_DISK_FAULT=self.rules, FACTEUR_CLOCK=self.clock, ASAN_OPTIONS="detect_leaks=0")
        self.env.pop("LANGUAGE", None)
        self.offset = None
        self.log_path = os.path.join(work, "server.log")
        self.passwords = {f"{a}@example.test": PASSWORDS.get(a, "password of " + a) for a in ACCOUNTS + (WRITER,)}
        self.numbers = {}

    def make(self, rng, file_system="ext4"):
        if self.device:
            self.device.unmount()
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.dir)
        if self.device:
            self.device.make(file_system)
            self.device.mount()
        for path in (self.work, self.dir):
            os.chmod(path, 0o711)                       # the roles are users of their own
        conf = "".join(line + "\n" for line in ("bind = 127.0.0.1", *self.conf)).encode()
        for path, content in ((self.rules, b"# nothing\n"), (self.clock, struct.pack("<q", 0)), (os.path.join(self.dir, "facteur.conf"), conf)):
            with open(path, "wb") as f:
                f.write(content)
        self.cli("setup", "example.test", "--yes")
        self.cli("config", "set", "queue_segment_size", "1MB")
        self.cli("config", "set", "queue_segments", str(rng.choice((4, 5, 8, 16))))
        self.begin()
        for name, value in SETTINGS:
            self.cli("config", "set", name, value)
        for name in ACCOUNTS + (WRITER,):
            self.add_account(name)
        for mailbox in SHARED:
            for guest in GUESTS:
                self.cli("account", "share", "bob@example.test", mailbox, f"{guest}@example.test", RIGHTS)
        self.stop()

    def begin(self):
        """Starts on free ports; another program may take one in between, once."""
        self.change_ports()
        try:
            self.start()
        except AssertionError:
            if "in use" not in self.log()[-3000:]:
                raise
            self.change_ports()
            self.start()

    def change_ports(self):
        give_back(self.offset)
        self.offset = free_offset()

    def folder_of(self, account):
        if account not in self.numbers:
            shown = self.cli_json("account", "show", f"{account}@example.test")
            self.numbers[account] = shown.get("account") or shown["result"]["account"]
        return os.path.join(self.dir, "accounts", str(self.numbers[account]))


class Moments(threading.Thread):
    """Notes, while clients work, what the model and the log of the device were: the power may have gone there. Positions of the log are
    between the two copies of the model, so the moment may be in the middle of any operation."""

    def __init__(self, model, elsewhere, disk, rng):
        super().__init__(daemon=True)
        self.model, self.elsewhere, self.disk, self.rng, self.found, self.stopped = model, elsewhere, disk, rng, [], threading.Event()

    def run(self):
        while not self.stopped.wait(self.rng.uniform(0.05, 1.0)):
            earlier, left, first, when = self.model.watch(), self.elsewhere.watch(), self.disk.position(), time.monotonic()
            self.stopped.wait(self.rng.uniform(0, 0.15))
            last, later, came = self.disk.position(), self.model.copy(), set(self.elsewhere.counter.copies())
            moment = (earlier, later, first, last, when, left, came)
            if len(self.found) < MOMENTS:
                self.found.append(moment)
            elif self.rng.random() < 0.5:
                self.found[self.rng.randrange(MOMENTS)] = moment


class Round:
    def __init__(self, campaign, number):
        self.campaign, self.number, self.server, self.model = campaign, number, campaign.server, campaign.model
        self.elsewhere = campaign.elsewhere
        self.plan = plan(campaign.seed, number, campaign.device)
        self.rng = random.Random(self.plan["seed"])
        self.wrong, self.cut_at, self.hung, self.moments, self.rights = [], None, {}, None, Rights(self.model)
        self.disk_fails = None

    def run(self):
        server = self.server
        open(server.log_path, "wb").close()
        if self.plan["end"] == "cut":
            self.before_cut()
        self.elsewhere.counter.later = self.rng.choice((0.01, 0.01, 0.4))
        hurt = Hurt(server, self.elsewhere)
        server.begin()
        server.folder_of("dave")
        workers = self.workers()
        for w in workers:
            w.start()
        if server.device and self.plan["end"] == "cut":
            self.moments = Moments(self.model, self.elsewhere, server.device, random.Random(self.rng.random()))
            self.moments.start()
        hurt.run(self.plan)
        self.end(hurt, workers)
        if self.plan["end"] == "cut":
            self.after_cut(hurt)
            if self.wrong:
                return self.wrong
        if server.process.poll() is not None:
            server.begin()
        else:
            server.wait_ready()
        hurt.take_back()
        self.check(settles=True)
        if not self.wrong:
            self.leave()
        return self.wrong

    def before_cut(self):
        server = self.server
        if server.device:
            server.device.unmount()
            server.device.mount()
            return
        self.base, self.trace = os.path.join(server.work, "base"), os.path.join(server.work, "trace")
        shutil.rmtree(self.base, ignore_errors=True)
        powercut.snapshot(server.dir, self.base)
        open(self.trace, "wb").close()
        os.chmod(self.trace, 0o666)
        server.env["FACTEUR_DISK_TRACE"] = self.trace

    def after_cut(self, hurt):
        """The disk as it may be. Of a device there are several such disks; all but the last are looked at only."""
        server, seed = self.server, self.plan["seed"]
        if server.device is None:
            del server.env["FACTEUR_DISK_TRACE"]
            powercut.rebuild(self.base, self.trace, server.dir, seed, alive=self.alive)
            return
        server.device.unmount()
        for earlier, later, first, last, when, left, came in self.moments.found:
            with self.elsewhere.apart():
                self.look_at(hurt, between(earlier, later), server.device.before_flush(first, last, self.rng), when, left, came)
            if self.wrong:
                return
            seed += 1
        self.campaign.say(f"power: {server.device.cut(self.position, seed)}")
        server.device.mount(begins=False)

    def look_at(self, hurt, model, position, when, left, came):
        """The server on the disk as it was at an earlier moment; nothing of it remains."""
        server, undo, now, cut_at = self.server, list(hurt.undo), self.model, self.cut_at
        self.campaign.say(f"power: {server.device.cut(position, self.plan['seed'] + position)}")
        server.device.mount(begins=False)
        server.begin()
        hurt.take_back()
        self.model, self.cut_at, hurt.undo = model, when, undo
        self.check(settles=False)
        if not self.wrong:
            self.wrong += self.elsewhere.judge_moment(left, came, server)
        self.model, self.cut_at = now, cut_at
        server.kill_all()
        if not self.wrong:
            server.device.unmount()

    def workers(self):
        m, s, rng = self.model, self.server, self.rng
        made = [Sender(s, m, random.Random(rng.random()), ACCOUNTS) for _ in range(4)]
        made += [Sender(s, m, random.Random(rng.random()), ("alice", "bob", "carol", "dave")) for _ in range(1)]
        self.devices = []
        for i, (account, mailbox, which, guest) in enumerate((
                ("alice", "INBOX", 0, None), ("alice", "INBOX", 1, None), ("bob", "INBOX", 0, None), ("bob", "Archive", 1, None),
                ("bob", "INBOX", 1, "carol"), ("bob", "Archive", 0, "alice"))):
            d = Device(s, m, random.Random(rng.random()), account, mailbox, which, guest, self.rights)
            if i in self.campaign.devices:
                d.restore(self.campaign.devices[i])
            self.devices.append(d)
        made += self.devices
        made += [Watcher(s, m, random.Random(rng.random()), *whose) for whose in (("alice",), ("bob",), ("bob", "carol"))]
        made += [Listener(s, m, random.Random(rng.random()), a) for a in GUESTS]
        made += [Reader(s, m, random.Random(rng.random()), "carol")]
        made += [Writer(s, self.elsewhere, random.Random(rng.random()))]
        self.owner = Owner(s, m, random.Random(rng.random()), self.rights)
        return made + [self.owner]

    def end(self, hurt, workers):
        end, server = self.plan["end"], self.server
        disk_failed = any(f["kind"] in ("eio", "enospc") for f in self.plan["faults"])
        if self.moments:
            self.moments.stopped.set()                  # later ones would all be the same: nothing happens any more
            self.moments.join()
        if end in ("cut", "kill"):
            self.alive = server.kill_all()
            self.position = server.device.position() if server.device and end == "cut" else 0
        if disk_failed or end == "cut":
            self.cut_at = time.monotonic()
        self.hung, self.disk_fails = hurt.hung, hurt.disk_fails
        hurt.end_rules()
        for w in workers:
            w.stopped.set()
        for w in workers:
            w.join(90)
            if w.is_alive():
                self.wrong.append(f"a client got no answer within 90 s: {type(w).__name__}")
            self.wrong += w.wrong
        if end == "stop":
            server.stop()

    def unsynced_since(self, account):
        """When its cell began to hang, or could not sync: flags that were answered a moment before may be lost. None: neither."""
        said = f"account sync failed, nothing more is accepted account={ACCOUNTS.index(account) + 1}\n"
        return min((t for t in (self.hung.get(account), self.disk_fails if said in self.server.log() else None) if t), default=None)

    def settled(self):
        """Everything accepted is out of the queue: what waits for later is tried now, what was held after days is let go."""
        self.server.cli("queue", "retry")
        for line in self.server.cli_json("queue", "list", "--held"):
            self.server.cli("queue", "release", line["message"] if "message" in line else line["queue"])
        said = self.server.cli_json("queue", "status")
        return not said["trouble"] and said["backlog"] == said["deferred"] == said["held"] == 0

    def check(self, settles):
        """Against the model; settles: this is what everybody goes on from."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                seen, last = None, "the queue is not empty"
                done = self.settled()
                seen = {a: look(self.server, a) for a in ACCOUNTS} if done else None
                if done and not any(self.model.missing(a, seen[a]) for a in ACCOUNTS):
                    break
            except LOST + (AssertionError, subprocess.TimeoutExpired) as e:
                seen, last = None, e
            except Wrong as w:
                self.wrong.append(str(w))
                return
            if time.monotonic() > until:
                break
            time.sleep(0.2 if time.monotonic() < until - SETTLE_SECONDS + 5 else 1)
        if seen is None:
            try:
                status = self.server.cli("queue", "status") + self.server.cli("queue", "list")
            except AssertionError as e:
                status = str(e)
            self.wrong.append(f"not settled {SETTLE_SECONDS} s after it was well again: {last}; {status[:1500]}")
            return
        for account in ACCOUNTS:
            self.wrong += self.model.judge(account, seen[account], self.cut_at, self.unsynced_since(account))
        self.check_bodies(seen)
        if settles:
            self.wrong += self.elsewhere.judge(self.server)
            self.wrong += self.owner.give_back()
            self.check_devices(seen)
        for line in self.server.log().splitlines():
            if BUGS.search(line) and "signal=9" not in line:
                self.wrong.append("the server's log: " + line[:300])
        if settles and not self.wrong:
            for account in ACCOUNTS:
                self.model.settle(account, seen[account])
            self.campaign.devices = {i: d.state() for i, d in enumerate(self.devices)}
            self.check_news(seen)

    def check_bodies(self, seen):
        """Every text that is new, and some that are old."""
        for account, mailboxes in seen.items():
            for mailbox, (_, _, messages) in mailboxes.items():
                old = self.campaign.bodies_read.setdefault((account, mailbox), set())
                old &= set(messages)
                some = [u for u in messages if u not in old or self.rng.random() < 0.02]
                self.wrong += read_bodies(self.server, account, mailbox, some, {u: messages[u][0] for u in some}) if some else []
                old |= set(some)

    def check_devices(self, seen):
        for d in self.devices:
            try:
                self.wrong += d.compare(seen[d.account])
            except LOST as e:
                self.wrong.append(f"{d.account}: a device cannot resynchronise: {e}")

    def check_news(self, seen):
        """A guest by NOTIFY: he is told at once what is there, and when another guest adds a message, of that."""
        listener = Listener(self.server, self.model, self.rng, "alice")
        try:
            for (account, mailbox), items in listener.connect().items():
                _, uidnext, messages = seen[account][mailbox]
                if (items["UIDNEXT"], items["MESSAGES"]) != (uidnext, len(messages)):
                    self.wrong.append(f"alice is told by NOTIFY that {account}/{mailbox} has {items}; it has UIDNEXT {uidnext}, {len(messages)} messages")
            begin = time.monotonic()
            uidnext = self.add_as_guest()
            if not listener.wait(self.rng.random() < 0.5, NEWS_SECONDS, lambda heard: heard.get(("bob", "Archive"), {}).get("UIDNEXT", 0) >= uidnext):
                self.wrong.append(f"alice waits with NOTIFY and has not heard within {time.monotonic() - begin:.0f} s that bob/Archive has a new message")
        except Wrong as w:
            self.wrong.append(str(w))
        except LOST as e:
            self.wrong.append(f"a session that waits with NOTIFY ended, though nothing happened: {e!r}")
        finally:
            if listener.c:
                listener.c.close()

    def add_as_guest(self):
        """One more in bob/Archive; the UIDNEXT after it."""
        number = self.model.take_number()
        self.model.asked_to_add("bob", "Archive", number)
        c = Imap(self.server, "carol")
        try:
            told = code(c.command(f"APPEND {named('Archive', 'bob', 'carol')}", text_of(number)), "APPENDUID")
        finally:
            c.close()
        self.model.added("bob", "Archive", number, int(told[0]), int(told[1]))
        return int(told[1]) + 1

    def leave(self):
        if self.plan["after"] == "kill":
            self.server.kill_all()
            return
        self.server.stop()
        if self.server.process.returncode:
            self.wrong.append(f"it stopped with exit code {self.server.process.returncode}")
        if self.number % 5 == 0:
            self.check_databases()

    def check_databases(self):
        with tempfile.TemporaryDirectory() as to:
            for path in glob.glob(self.server.dir + "/**/*.db", recursive=True):
                copy = os.path.join(to, "copy.db")
                shutil.copy(path, copy)
                with open(copy + "-wal", "wb") as f:
                    if os.path.exists(path + "-wal"):
                        with open(path + "-wal", "rb") as wal:
                            f.write(wal.read())
                db = sqlite3.connect(copy)
                said = db.execute("PRAGMA integrity_check").fetchall()
                db.close()
                if said != [("ok",)]:
                    self.wrong.append(f"{os.path.relpath(path, self.server.dir)}: {said[:3]}")
                os.unlink(copy)


class Campaign:
    """What goes on from round to round and, in a file, from run to run."""

    KEPT = ("seed", "rounds", "build", "device", "next", "findings", "seconds", "totals", "model", "devices", "bodies_read", "left", "ended_well")

    def __init__(self, home, seed, rounds, build, blocklog=None):
        self.home, self.seed, self.rounds, self.build, self.device = home, seed, rounds, build, blocklog is not None
        self.notes = []
        self.next, self.findings, self.seconds, self.ended_well = 0, [], 0.0, False
        self.totals = {"acknowledged": 0, "operations": 0, "checks": 0, "by_guests": 0, "heard_by_guests": 0, "rights_changed": 0, "denied": 0, "to_elsewhere": 0, "came_twice": 0,
                       "came_back": 0}
        self.elsewhere = Elsewhere(seed)
        self.server = Folder(os.path.join(home, "life"), build, blocklog, self.elsewhere.conf)
        self.forget()

    def say(self, note):
        self.notes.append(note)

    def forget(self):
        self.model, self.devices, self.bodies_read = Model(), {}, {}
        self.elsewhere.forget()
        self.left = self.elsewhere.counted()

    @property
    def state(self):
        return os.path.join(self.home, "state")

    def save(self):
        with open(self.state + ".new", "wb") as f:
            pickle.dump({k: getattr(self, k) for k in self.KEPT}, f)
        os.replace(self.state + ".new", self.state)

    def load(self):
        with open(self.state, "rb") as f:
            for k, v in pickle.load(f).items():
                setattr(self, k, v)
        self.ended_well = False                         # what had left is not known any more: a new life

    def counted(self):
        """Of this life."""
        return {**self.model.counted, **self.left}

    def new_life(self, number):
        for k, n in self.counted().items():
            self.totals[k] += n
        self.forget()
        kinds = list(device.KINDS)
        kind = kinds[number // DEVICE_LIFE % len(kinds)]
        self.server.make(random.Random(f"{self.seed} life {number}"), kind)
        if self.device:
            self.say(f"on {kind}")

    def one(self, number):
        if number % (DEVICE_LIFE if self.device else LIFE) == 0 or not self.ended_well:
            self.new_life(number)
        self.ended_well = False
        self.save()                                     # a campaign that is interrupted goes on with a new folder
        start, before = time.monotonic(), self.model.counted["acknowledged"]
        this = Round(self, number)
        try:
            wrong = this.run()
        except KeyboardInterrupt:
            raise
        except Exception as e:
            wrong = this.wrong + [f"{type(e).__name__}: {e}"]
        took = time.monotonic() - start
        self.seconds += took
        self.left = self.elsewhere.counted()
        print(f"round {number} ({time.strftime('%H:%M:%S')}, {took:.1f} s, {self.model.counted['acknowledged'] - before} acknowledged): "
              f"{in_words(this.plan)}{''.join('; ' + n for n in self.notes)}: {'ok' if not wrong else 'WRONG'}", flush=True)
        self.notes = []
        if wrong:
            self.keep(number, this, wrong)
        self.ended_well = not wrong
        self.next = number + 1
        self.save()
        return not wrong

    def keep(self, number, this, wrong):
        wrong = wrong + [f"port {port} is not ours: {program} has it, pid {pid}" for port, pid, program in self.server.strangers()]
        if self.server.process and self.server.process.poll() is None:
            self.server.kill_all()
        self.server.env.pop("FACTEUR_DISK_TRACE", None)
        to = os.path.join(self.home, "findings", f"round-{number}")
        shutil.rmtree(to, ignore_errors=True)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        if self.server.device:
            self.server.device.unmount()
            shutil.copytree(self.server.device.work, os.path.join(to, "disk"), ignore=lambda where, names: ["fuse"])
        shutil.copytree(self.server.work, to, dirs_exist_ok=True, ignore=lambda where, names: [n for n in names if n.endswith(".sock")])
        with open(os.path.join(to, "wrong.txt"), "w") as f:
            f.write(f"seed {self.seed}, round {number}: {json.dumps(this.plan)}\n" + "\n".join(wrong) + "\n")
        self.findings.append((number, wrong[:20]))
        for line in wrong[:12]:
            print("    " + line, flush=True)
        print(f"    kept in {to}; again: make torture SEED={self.seed} ROUND={number}", flush=True)

    def summary(self):
        counted = {k: self.totals[k] + n for k, n in self.counted().items()}
        return {"seed": self.seed, "build": self.build, "rounds": self.next, "findings": len(self.findings), "hours": round(self.seconds / 3600, 2),
                **counted}


def newest_unfinished(home):
    found = []
    for state in glob.glob(os.path.join(home, "*", "state")):
        with open(state, "rb") as f:
            kept = pickle.load(f)
        if kept["next"] < kept["rounds"]:
            found.append((os.path.getmtime(state), kept["seed"]))
    return max(found)[1] if found else None


def interrupted(number, frame):
    raise KeyboardInterrupt


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=1000)
    p.add_argument("--seed", type=int)
    p.add_argument("--round", type=int)
    p.add_argument("--dir", default=os.path.join(ROOT, "build", "torture"))
    p.add_argument("--build", default="fault", choices=("fault", "asan"))
    p.add_argument("--device", metavar="BLOCKLOG", help="data on a disk whose power is cut below the kernel; the program from blocklog.c")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    if args.device and device.why_not():
        print(f"SKIPPED: no power cuts of a real disk: {device.why_not()}")
        return 0
    if args.device:
        if "FACTEUR_TORTURE_NAMESPACE" not in os.environ:   # mounts that nobody else sees, so that nobody else keeps them busy
            os.environ["FACTEUR_TORTURE_NAMESPACE"] = "own"
            os.execvp("unshare", ["unshare", "--mount", sys.executable] + sys.argv)
        args.dir += "-device"
    seed = args.seed if args.seed is not None else newest_unfinished(args.dir)
    seed = seed if seed is not None else random.randrange(1 << 30)
    home = os.path.join(args.dir, str(seed))
    os.makedirs(home, exist_ok=True)
    c = Campaign(home, seed, args.rounds, args.build, args.device)
    if os.path.exists(c.state) and args.round is None:
        c.load()
        c.rounds = args.rounds
    print(f"seed {seed}: rounds {c.next} to {args.rounds - 1}, in {home}; Ctrl-C stops, the same command goes on", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    try:
        if args.round is not None:
            return 0 if c.one(args.round) else 1
        while c.next < args.rounds:
            c.one(c.next)
    except KeyboardInterrupt:
        print("stopped; the same command goes on")
    finally:
        if c.server.process and c.server.process.poll() is None:
            c.server.kill_all()
        if c.server.device:
            c.server.device.unmount()
        c.elsewhere.close()
    done = c.summary()
    print(json.dumps(done) if args.json else
          f"seed {seed}: {done['rounds']} rounds, {done['hours']} h, {done['acknowledged']} messages acknowledged, {done['operations']} changes, "
          f"{done['checks']} messages checked; {done['by_guests']} steps of guests, who heard {done['heard_by_guests']} times by NOTIFY; "
          f"{done['rights_changed']} changes of rights, {done['denied']} commands rightly refused; "
          f"{done['to_elsewhere']} messages to elsewhere, {done['came_twice']} came twice, {done['came_back']} came back after days: "
          f"{done['findings']} rounds went wrong")
    return 1 if done["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
