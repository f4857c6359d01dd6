"""The parts of the benchmark: what is done to each contestant, in the same way.

A part makes its contestants, prepares each once, and yields after every measurement of a round; bench.py calls the measurements of all
contestants in turn, several rounds. `Part.add` takes one value of one contestant; the report makes medians of them."""
import contextlib
import imaplib
import json
import os
import resource
import socket
import subprocess
import time

from harness import ROOT
from group import Calls, pss_kb

TOOLS = os.path.join(ROOT, "build/release/bench")
PATIENCE_S = 900


class Load:
    """A load generator: prepared when it is made, measured by run(), its connections held until the end of the with."""

    def __init__(self, tool, *args):
        self.process = subprocess.Popen([os.path.join(TOOLS, tool), *[str(a) for a in args]], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        self.line()
        return self

    def line(self):
        line = self.process.stdout.readline().decode()
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)[:200]}: {self.process.stderr.read().decode().strip()}")
        return line

    def run(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def __exit__(self, failure, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if failure:
            self.process.kill()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def logins_file(c):
    path = os.path.join(c.dir, "logins.txt")
    if not os.path.exists(path):
        with open(path, "w") as f:
            for i in range(len(c.passwords) if hasattr(c, "passwords") else min(c.accounts, 1000)):
                f.write(f"user{i}@example.test {c.password(i)}\n")
    return path


def delivered(c, left=0):
    """Waits until every message but so many has arrived."""
    until = time.monotonic() + PATIENCE_S
    while c.waiting() > left:
        if time.monotonic() > until:
            raise RuntimeError(f"{c.label}: {c.waiting()} messages were not delivered within {PATIENCE_S} s\n{c.log()}")
        time.sleep(0.02)


def in_mailboxes(c, accounts):
    """Messages that IMAP shows in the INBOX of the first accounts: nothing may be missing of what was acknowledged."""
    total = 0
    for i in range(accounts):
        box = imaplib.IMAP4("127.0.0.1", c.port("imap"))
        box.login(f"user{i}@example.test", c.password(i))
        total += int(box.select("INBOX", readonly=True)[1][0])
        box.logout()
    return total


def smtp(c, senders, messages, size, accounts, submission=False):
    """One load of SMTP until it is delivered: what the generator said, with CPU and rates added."""
    login = ["-t", logins_file(c)] if submission else []
    with Load("smtp_load", *login, c.port("submissions" if submission else "smtp"), senders, messages, size, accounts) as load:
        before, start = c.group.cpu_us(), time.monotonic()
        got = load.run()
        delivered(c)
        got["visible_per_second"] = messages / (time.monotonic() - start)
        time.sleep(1.1)  # what is still to be done a second later belongs to it: the sync point, log files
        got["cpu_us"] = (c.group.cpu_us() - before) / messages
    return got


def mail(c, *args, setup=(), commands=(), protocol="imap"):
    """One load of IMAP or POP3. Its JSON, with cpu_us of all of it; allocations, and the bytes allocated, where the server counts them."""
    tls = "-t" in args
    port = c.port(protocol + ("s" if tls else ""))
    with Load("mail_load", *(["-p"] if protocol == "pop3" else []), *args, port, logins_file(c), *setup, "--", *commands) as load:
        before, calls, asked = c.group.cpu_us(), counted(c, "alloc"), counted(c, "asked")
        got = load.run()
        got.update(cpu_us=c.group.cpu_us() - before, allocations=counted(c, "alloc") - calls, allocated=counted(c, "asked") - asked)
    return got


def counted(c, call):
    return c.work.sum(call) if getattr(c, "work", None) else 0


def fill(c, mailbox, messages, size):
    """Appends so many messages, 100 a command."""
    batch = 100 if size and size < 10000 else 20
    setup = [] if mailbox == "INBOX" else [f"CREATE {mailbox}"]
    mail(c, "-r", max(1, messages // batch), setup=setup, commands=[f"APPEND {mailbox} {{@{size}x{batch}}}"])


# -- the parts: prepare(c) once for each contestant, measure(c, add) in every round -----------------------------------------------------

class Smtp:
    """Mail that comes in by SMTP, to accounts that are active: each was read by IMAP a moment ago. Once more with a session of each
    in IDLE, which hears of every message."""
    accounts = 100
    cases = [(1, 4000, 500), (8, 4000, 2000), (64, 4000, 4000), (8, 0, 500), (8, 75000, 300)]

    def prepare(self, c):
        self.sent = getattr(self, "sent", {})
        self.sent[c] = 0

    def measure(self, c, add):
        for senders, size, messages in self.cases:
            messages = max(100, int(messages * self.scale))
            mail(c, "-l", "-c", self.accounts, commands=["SELECT INBOX"])
            got = smtp(c, senders, messages, size, self.accounts)
            self.sent[c] += messages
            what = f"{'28 kB mix' if size == 0 else f'{size // 1000} kB'} in, {senders} sender{'s' if senders > 1 else ''}"
            add(f"{what}: CPU", got["cpu_us"], "µs a message", budget=250 if size == 4000 else None)
            add(f"{what}: acknowledged", got["per_second"], "a second", more=True)
            add(f"{what}: visible", got["visible_per_second"], "a second", more=True)
            add(f"{what}: p50 of the 250", got["p50_us"] / 1000, "ms")
            add(f"{what}: p99 of the 250", got["p99_us"] / 1000, "ms")
        messages = max(100, int(2000 * self.scale))
        with Load("mail_load", "-c", self.accounts, c.port("imap"), logins_file(c), "SELECT INBOX", "IDLE", "--"):
            got = smtp(c, 8, messages, 4000, self.accounts)
        self.sent[c] += messages
        add("4 kB in, 8 senders, a session of each account in IDLE: CPU", got["cpu_us"], "µs a message")
        add("4 kB in, 8 senders, a session of each account in IDLE: visible", got["visible_per_second"], "a second", more=True)

    def finish(self, c):
        found = in_mailboxes(c, self.accounts)
        if found != self.sent[c]:
            raise RuntimeError(f"{c.label}: {self.sent[c]} messages were acknowledged, {found} are in the mailboxes")


class Work:
    """System calls and syncs of a message, counted by perf in a run of its own, so that CPU figures stay what they are."""
    accounts = 20

    def prepare(self, c):
        smtp(c, 8, 400, 4000, self.accounts)

    def measure(self, c, add):
        for senders, messages, budget in ((1, 200, 1.3), (64, 4000, 0.05)):
            with Calls(c.group) as calls:
                smtp(c, senders, messages, 4000, self.accounts)
            if calls.calls is None:
                add.note("System calls are not counted: perf may not count tracepoints by control group here.")
                return
            who = f"{senders} sender{'s' if senders > 1 else ''}, {self.accounts} accounts"
            add(f"4 kB in, {who}: syncs", calls.syncs / messages, "a message", budget=budget)
            add(f"4 kB in, {who}: system calls", calls.calls / messages, "a message")


class Sleeping:
    """A message to accounts that nobody uses: one each."""
    accounts = 200

    def prepare(self, c):
        smtp(c, 8, self.accounts, 4000, self.accounts)

    def measure(self, c, add):
        c.asleep()
        got = smtp(c, 8, self.accounts, 4000, self.accounts)
        add("4 kB to a sleeping account, 8 senders: CPU", got["cpu_us"], "µs a message", budget=4000)
        add("4 kB to a sleeping account, 8 senders: visible", got["visible_per_second"], "a second", more=True)


class Accounts(Sleeping):
    """10,000 accounts, one message each."""
    accounts, logins = 10000, 1

    def measure(self, c, add):
        c.asleep()
        got = smtp(c, 32, self.accounts, 4000, self.accounts)
        add("4 kB to each of 10,000 accounts, 32 senders: CPU", got["cpu_us"], "µs a message", budget=4000)
        add("4 kB to each of 10,000 accounts, 32 senders: acknowledged", got["per_second"], "a second", more=True)
        add("4 kB to each of 10,000 accounts, 32 senders: visible", got["visible_per_second"], "a second", more=True)


class Submission:
    """What people send: TLS, AUTH, to others here."""
    accounts = 8

    def prepare(self, c):
        smtp(c, 8, 200, 4000, self.accounts, submission=True)

    def measure(self, c, add):
        got = smtp(c, 8, 400, 4000, self.accounts, submission=True)
        add("4 kB submitted over TLS, 8 senders: CPU", got["cpu_us"], "µs a message")
        add("4 kB submitted over TLS, 8 senders: accepted", got["per_second"], "a second", more=True)


class Login:
    accounts = 10

    def prepare(self, c):
        mail(c, "-l", "-t", "-r", 10, "-c", self.accounts)

    def measure(self, c, add):
        for tls, budget in ((True, 2500), (False, None)):
            got = mail(c, "-l", *(["-t"] if tls else []), "-r", 20, "-c", self.accounts)
            add(f"login + logout over {'TLS, full handshake' if tls else 'plain TCP'}: CPU", got["cpu_us"] / got["count"], "µs", budget=budget)
            add(f"login + logout over {'TLS, full handshake' if tls else 'plain TCP'}: sessions", got["per_second"], "a second", more=True)


class Imap:
    """Reading and changing mailboxes. Mailbox Many<n>: messages of 4 kB; Large: the 28 kB mix."""
    accounts = 1
    sizes = (1000, 10000)
    large = 500

    def prepare(self, c):
        for n in self.sizes:
            fill(c, f"Many{n}", n, 4000)
        fill(c, "Large", self.large, 0)
        fill(c, "Source", 200, 4000)

    def cost(self, add, what, got, times, unit, budget=None):
        """A row: what a load took, for each of so many."""
        add(f"{what}: CPU", got["cpu_us"] / times, unit, budget=budget)

    def measure(self, c, add):
        for n in self.sizes:
            self.mailbox(c, add, n)
        self.bodies(c, add)
        self.changes(c, add)

    def mailbox(self, c, add, n):
        box = [f"SELECT Many{n}"]
        many = f"{n:,} messages"
        got = mail(c, "-r", 10, commands=[f"EXAMINE Many{n}"])
        self.cost(add, f"SELECT, {many}", got, 10, "µs")
        for what, command, budget in (("FETCH 1:* FLAGS", "FETCH 1:* (UID FLAGS)", 0.6),
                                      ("FETCH 1:* ENVELOPE BODYSTRUCTURE", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", 4)):
            got = mail(c, "-r", 3, setup=[*box, "FETCH 1 (UID FLAGS ENVELOPE BODYSTRUCTURE)"], commands=[command])
            if got["answers"] < 3 * n:
                raise RuntimeError(f"{c.label}: {command} answered {got['answers']} times for 3 * {n} messages")
            self.cost(add, f"{what}, {many}", got, 3 * n, "µs a message", budget=budget)
        got = mail(c, setup=box, commands=["SEARCH TEXT nowhere-to-be-found"])
        self.cost(add, f"SEARCH TEXT, {many}, no index", got, n, "µs a message")
        for what, command in (("SEARCH SUBJECT", "SEARCH SUBJECT nowhere-to-be-found"), ("SORT (SUBJECT)", "SORT (SUBJECT) UTF-8 ALL"),
                              ("SORT (REVERSE DATE)", "SORT (REVERSE DATE) UTF-8 ALL"), ("THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL")):
            got = mail(c, "-r", 3, setup=[*box, command], commands=[command])  # once before: a cache of headers is there
            self.cost(add, f"{what}, {many}", got, 3 * n, "µs a message")
        self.resync(c, add, n)
        got = mail(c, setup=[*box, "STORE 1:* -FLAGS.SILENT (\\Seen)"], commands=["STORE 1:* +FLAGS.SILENT (\\Seen)"])
        self.cost(add, f"STORE 1:* +FLAGS.SILENT, {many}", got, n, "µs a message", budget=1.5)
        got = mail(c, "-r", 100, setup=[*box, "STORE 1:100 -FLAGS.SILENT (\\Flagged)"], commands=["STORE %i +FLAGS (\\Flagged)"])
        self.cost(add, f"STORE of one message, {many}", got, 100, "µs", budget=40)

    def resync(self, c, add, n):
        """A client comes back after the flags of one message in a hundred were changed by another."""
        box = imaplib.IMAP4("127.0.0.1", c.port("imap"))
        box.login("user0@example.test", c.password(0))
        box.enable("QRESYNC")
        box.select(f"Many{n}")
        known = [box.response(word)[1][0].decode() for word in ("UIDVALIDITY", "HIGHESTMODSEQ")]
        changed = [",".join(map(str, range(i, min(i + 100000, n + 1), 100))) for i in range(1, n + 1, 100000)]  # lines that each server takes
        for some in changed:
            box.store(some, "+FLAGS.SILENT", "(\\Answered)")
        got = mail(c, "-r", 10, setup=["ENABLE QRESYNC"], commands=[f"SELECT Many{n} (QRESYNC ({' '.join(known)}))"])
        if got["answers"] < n // 100 * 10:
            raise RuntimeError(f"{c.label}: QRESYNC told {got['answers']} things, 10 * {n // 100} were changed")
        self.cost(add, f"SELECT with QRESYNC after 1 % of flags changed, {n:,} messages", got, 10, "µs")
        for some in changed:
            box.store(some, "-FLAGS.SILENT", "(\\Answered)")
        box.logout()

    def bodies(self, c, add):
        for tls, budget in ((False, 25), (True, 60)):
            got = mail(c, *(["-t"] if tls else []), "-r", 3, setup=["SELECT Large"], commands=["UID FETCH 1:* BODY.PEEK[]"])
            if got["bytes"] < 3 * self.large * 25000:
                raise RuntimeError(f"{c.label}: only {got['bytes']} bytes came for 3 * {self.large} messages")
            self.cost(add, f"UID FETCH 1:* BODY.PEEK[], 28 kB mix, {'TLS' if tls else 'plain'}", got, 3 * self.large, "µs a message", budget=budget)

    def changes(self, c, add):
        got = mail(c, "-r", 100, commands=["APPEND Large {@4000}"], setup=["SELECT Source"])
        self.cost(add, "APPEND 4 kB, 1 connection", got, 100, "µs", budget=200)
        mail(c, setup=["SELECT Large", f"STORE {self.large + 1}:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"])
        got = mail(c, "-c", 4, "-r", 50, commands=["APPEND Source {@4000}"])
        self.cost(add, "APPEND 4 kB, 4 connections", got, 200, "µs", budget=200)
        got = mail(c, setup=["CREATE Copies", "SELECT Source"], commands=["COPY 1:200 Copies"])
        self.cost(add, "COPY of 200 messages", got, 200, "µs a message")
        got = mail(c, setup=["CREATE Moved", "SELECT Copies"], commands=["MOVE 1:200 Moved"])
        self.cost(add, "MOVE of 200 messages", got, 200, "µs a message")
        got = mail(c, setup=["SELECT Source", "STORE 201:* +FLAGS.SILENT (\\Deleted)"], commands=["EXPUNGE"])
        self.cost(add, "EXPUNGE of 200 messages", got, 200, "µs a message")
        mail(c, setup=["DELETE Copies", "DELETE Moved"])


class Allocations(Imap):
    """What the same commands, and a session, ask of the allocator (and map without a file): bytes, and how often, all processes together.
    They count it themselves (tests/work.py), in servers of their own, so that CPU figures stay what they are."""
    counted = True

    def measure(self, c, add):
        got = mail(c, "-l", "-r", 20, commands=["SELECT INBOX"])
        self.cost(add, "login + SELECT + logout over plain TCP", got, 20, "µs")
        super().measure(c, add)

    def cost(self, add, what, got, times, unit, budget=None):
        if got["allocations"] == 0:
            raise RuntimeError(f"{what}: nothing was counted")
        add(f"{what}: allocated", got["allocated"] / times, unit.replace("µs", "bytes"))
        add(f"{what}: allocations", got["allocations"] / times, unit.replace("µs", "").strip())


class Many(Imap):
    """The same in mailboxes of 100,000; with --million, of 1,000,000."""
    sizes = (100000,)

    def prepare(self, c):
        for n in self.sizes:
            fill(c, f"Many{n}", n, 1000)

    def measure(self, c, add):
        for n in self.sizes:
            self.mailbox(c, add, n)


class Search:
    """A large mailbox that was searched before (facteur has an index then; Dovecot has none, as Debian ships it), and mail that comes in
    while others search it without a pause. With --million, of 1,000,000 of 1 kB."""
    accounts, messages, size, at_once = 20, 20000, 4000, 4
    nothing, everything = "SEARCH TEXT nowhere-to-be-found", "SEARCH TEXT subject"

    def prepare(self, c):
        fill(c, "Much", self.messages, self.size)
        mail(c, setup=["SELECT Much"], commands=[self.nothing])

    def measure(self, c, add):
        many = f"{self.messages:,} messages"
        for what, command in (("SEARCH TEXT, found in none", self.nothing), ("SEARCH TEXT, found in all", self.everything),
                              ("SEARCH TEXT, two words, found in none", 'SEARCH TEXT "subject nowhere"')):
            got = mail(c, "-r", 3, setup=["SELECT Much"], commands=[command])
            add(f"{what}, {many}: CPU", got["cpu_us"] / 3 / 1000, "ms")
        got = smtp(c, 1, max(100, int(500 * self.scale)), 4000, self.accounts)
        add("4 kB in, 1 sender, nothing beside: p99 of the 250", got["p99_us"] / 1000, "ms")
        with Load("mail_load", "-c", self.at_once, "-r", 1000000, c.port("imap"), self.login(c), "SELECT Much", "--", self.nothing) as load:
            load.process.stdin.write(b"go\n")
            load.process.stdin.flush()
            got = smtp(c, 1, max(100, int(500 * self.scale)), 4000, self.accounts)
            seen = mail(c, "-w", "-r", 100, setup=["SELECT INBOX"], commands=["APPEND INBOX {@4000}"])
            if load.process.poll() is not None:
                raise RuntimeError(f"{c.label}: the searches ended before the deliveries")
            load.process.kill()
        beside = f"beside {self.at_once} sessions that search {many}"
        add(f"4 kB in, 1 sender, {beside}: p50 of the 250", got["p50_us"] / 1000, "ms")
        add(f"4 kB in, 1 sender, {beside}: p99 of the 250", got["p99_us"] / 1000, "ms", budget=50)
        add(f"APPEND to the same account, {beside}: another session is told, p99", seen["p99_us"] / 1000, "ms", budget=100)

    @staticmethod
    def login(c):
        """All of them are of one account."""
        path = os.path.join(c.dir, "login.txt")
        with open(path, "w") as f:
            f.write(f"user0@example.test {c.password(0)}\n" * Search.at_once)
        return path


class Pop3:
    accounts, messages = 1, 1000

    def prepare(self, c):
        fill(c, "INBOX", self.messages, 0)

    def measure(self, c, add):
        for command in ("UIDL", "LIST"):
            got = mail(c, "-r", 3, commands=[command], protocol="pop3")
            add(f"POP3 {command}, 1,000 messages: CPU", got["cpu_us"] / 3 / self.messages, "µs a message")
        for tls, budget in ((False, 30), (True, 65)):
            got = mail(c, *(["-t"] if tls else []), commands=["RETR *"], protocol="pop3")
            if got["answers"] != self.messages:
                raise RuntimeError(f"{c.label}: {got['answers']} of {self.messages} messages came by POP3")
            add(f"POP3 RETR of all, 28 kB mix, {'TLS' if tls else 'plain'}: CPU", got["cpu_us"] / self.messages, "µs a message", budget=budget)


class Wake:
    """Two sessions of one account: how long after the OK of one the other, in IDLE, hears of it."""
    accounts = 4

    def prepare(self, c):
        mail(c, "-c", self.accounts, commands=["APPEND INBOX {@4000x100}"])

    def measure(self, c, add):
        for what, command in (("APPEND", "APPEND INBOX {@1000}"), ("STORE", "STORE %i +FLAGS (\\Answered)")):
            setup = ["SELECT INBOX", "STORE 1:30 -FLAGS.SILENT (\\Answered)"]
            got = mail(c, "-w", "-c", self.accounts, "-r", 25, "-s", 150, setup=setup, commands=[command])
            add(f"news of {what} to a session in IDLE: p99", got["p99_us"] / 1000, "ms", budget=100)
            add(f"news of {what} to a session in IDLE: p50", got["p50_us"] / 1000, "ms")


class Idle:
    """What a connection that only waits costs in memory: PSS of all processes."""
    accounts, connections, settle_s = 20, 400, 5
    compress = True
    kinds = (("plain", [], ["SELECT INBOX", "IDLE"], 5), ("TLS", ["-t"], ["SELECT INBOX", "IDLE"], 20),
             ("TLS + COMPRESS", ["-t"], ["SELECT INBOX", "COMPRESS DEFLATE", "IDLE"], 24))

    def prepare(self, c):
        mail(c, "-c", self.accounts, commands=["APPEND INBOX {@4000x20}"])

    def measure(self, c, add):
        for name, args, setup, budget in self.kinds:
            c.stop()  # processes and heaps of the kind before would be found again
            c.start()
            mail(c, "-l", *args, "-c", self.accounts, commands=["SELECT INBOX"])
            c.asleep()
            before = c.group.pss_kb()
            with Load("mail_load", *args, "-c", self.connections, c.port("imaps" if args else "imap"), logins_file(c), *setup, "--"):
                c.asleep()
                time.sleep(self.settle_s)
                add(f"idle IMAP connection, {name}: memory", (c.group.pss_kb() - before) / self.connections, "kB", budget=budget)


class Folders:
    """An account with ten thousand mailboxes: what programs ask when they start. Each hundredth has a message."""
    accounts, folders, scale = 1, 9900, 1

    def prepare(self, c):
        n = int(self.folders * self.scale)
        if hasattr(c, "make_mailboxes"):
            c.make_mailboxes(0, [f"Folder{i}" for i in range(1, n + 1)])
        else:
            mail(c, "-r", n, commands=["CREATE Folder%i"])
        mail(c, "-r", n // 100, commands=["APPEND Folder%i {@4000}"])

    def measure(self, c, add):
        for what, command in (("LIST", 'LIST "" *'), ("LIST with STATUS of each", 'LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))'),
                              ("NOTIFY SET STATUS", "NOTIFY SET STATUS (personal (MessageNew MessageExpunge))")):
            got = mail(c, "-r", 5, setup=[command], commands=[command])
            if got["answers"] < 5 * self.folders * self.scale:
                raise RuntimeError(f"{c.label}: {command} answered {got['answers']} times for 5 * {self.folders * self.scale:.0f} mailboxes")
            add(f"{what}, {self.folders:,} mailboxes: p50", got["p50_us"] / 1000, "ms", budget=200)
            add(f"{what}, {self.folders:,} mailboxes: CPU", got["cpu_us"] / 5 / 1000, "ms")


class Slow:
    """Logins beside 2,000 clients that stopped: in the handshake, a literal, a reply, half a line, DATA. The peers are not measured: their
    limits of processes would refuse most of these clients."""
    accounts, alone = 2, True
    stopped = (("imaps", b""), ("imap", b"a LOGIN {20}\r\n"), ("pop3", b"CAPA\r\n" * 200), ("submissions", b""),
               ("smtp", b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\nSubject: x\r\n"))

    def prepare(self, c):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))

    def measure(self, c, add):
        kept = []
        try:
            for _ in range(400):
                for port, said in self.stopped:
                    kept.append(socket.create_connection(("127.0.0.1", c.port(port)), timeout=30))
                    kept[-1].sendall(said)
            got = mail(c, "-l", "-t", "-r", 200, commands=["SELECT INBOX"])
            add("login + SELECT over TLS beside 2,000 stopped clients: p99", got["p99_us"] / 1000, "ms", budget=100)
            add("login + SELECT over TLS beside 2,000 stopped clients: p50", got["p50_us"] / 1000, "ms")
        finally:
            for s in kept:
                s.close()


class Memory:
    """The whole server, a minute after its start."""
    accounts = 100

    def prepare(self, c):
        c.stop()
        c.start()
        self.started = getattr(self, "started", {})
        self.started[c] = time.monotonic()

    def measure(self, c, add):
        time.sleep(max(0, 60 - (time.monotonic() - self.started[c])))
        add("the whole server, 60 s after its start, 100 accounts: memory", c.group.pss_kb() / 1024, "MB", budget=40)


class Restart:
    """From the start of the program until every port answers: after a clean stop, and after kill -9 with acknowledged mail that waits."""
    accounts = 50

    def prepare(self, c):
        smtp(c, 8, 500, 4000, self.accounts)
        self.sent = getattr(self, "sent", {})
        self.sent[c] = 500

    def measure(self, c, add):
        c.stop()
        start = time.monotonic()
        c.start()
        add("start after a clean stop, until every port answers", (time.monotonic() - start) * 1000, "ms")
        messages = max(500, int(4000 * self.scale))
        with Load("smtp_load", c.port("smtp"), 64, messages, 28000, self.accounts) as load:
            load.run()
            c.kill()
        self.sent[c] += messages
        start = time.monotonic()
        c.start()
        add(f"start after kill -9 under load ({messages} messages of 28 kB), until every port answers", (time.monotonic() - start) * 1000, "ms")
        delivered(c)
        add("  until all of them are in their mailboxes", (time.monotonic() - start) * 1000, "ms")

    def finish(self, c):
        found = in_mailboxes(c, self.accounts)
        if found < self.sent[c]:
            raise RuntimeError(f"{c.label}: {self.sent[c]} messages were acknowledged, {found} are in the mailboxes")


class Sending:
    """Mail that leaves: to one domain, and to a thousand, until the last has been taken there (sending.py)."""
    cases = [(1, 1, 1000), (8, 1, 4000), (64, 1, 6000), (1, 1000, 1000), (8, 1000, 4000), (64, 1000, 6000)]

    def contestants(self, layouts, stack):
        import sending
        self.elsewhere = stack.enter_context(contextlib.closing(sending.Elsewhere()))
        made = [stack.enter_context(contextlib.closing(sending.Facteur(self.elsewhere)))]
        if layouts:
            made.append(stack.enter_context(contextlib.closing(sending.Postfix(self.elsewhere))))
        return made

    def prepare(self, c):
        """A message to each domain, so that the names are known. Some questions get no answer in time when all are asked at once."""
        login, port = c.where()
        with Load("smtp_load", *login, "-d", "sink.test", port, 8, 1000, 4000, 1000) as load:
            load.run()
        until = time.monotonic() + PATIENCE_S
        while c.waiting():
            if time.monotonic() > until:
                raise RuntimeError(f"{c.label}: {c.waiting()} messages of the first thousand have not left\n{c.log()}")
            c.hurry()
            time.sleep(1)

    def send(self, c, senders, domains, messages, left=0):
        """left: so many wait for others, and stay."""
        login, port = c.where()
        had = self.elsewhere.taken()
        with Load("smtp_load", *login, "-d", "sink.test", port, senders, messages, 4000, domains) as load:
            before, start = c.group.cpu_us(), time.monotonic()
            got = load.run()
            delivered(c, left)
            got["sent_per_second"] = messages / (time.monotonic() - start)
            time.sleep(1.1)
            got["cpu_us"] = (c.group.cpu_us() - before) / messages
        if self.elsewhere.taken() - had != messages:
            raise RuntimeError(f"{c.label}: {messages} were given to it, {self.elsewhere.taken() - had} arrived")
        return got

    def measure(self, c, add):
        if not hasattr(self, "round_trip"):
            self.round_trip = self.elsewhere.round_trip_us()
            add.note(f"The round trip to a sink, a command and its reply: {self.round_trip:.0f} µs")
        for senders, domains, messages in self.cases:
            got = self.send(c, senders, domains, max(100, int(messages * self.scale)))
            what = f"4 kB out, {senders} sender{'s' if senders > 1 else ''}, {domains:,} destination{'s' if domains > 1 else ''}"
            add(f"{what}: CPU", got["cpu_us"], "µs a message")
            add(f"{what}: taken there", got["sent_per_second"], "a second", more=True)
            add(f"{what}: acknowledged here", got["per_second"], "a second", more=True)


class Deferred(Sending):
    """100,000 messages for a thousand domains that nobody can reach: what they cost in memory, at a start, and whether other mail notices."""

    def contestants(self, layouts, stack):
        return super().contestants((), stack)

    def measure(self, c, add):
        messages, mail = int(100000 * self.scale), int(4000 * self.scale)
        add("fresh mail, 8 senders, nothing deferred: taken there", self.send(c, 8, 1000, mail)["sent_per_second"], "a second", more=True)
        self.defer(c, messages)
        many = f"{messages:,} deferred"
        add(f"{many}: memory of queue and net", self.memory_mb(c), "MB", budget=60)
        got = self.send(c, 8, 1000, mail, left=messages)
        add(f"fresh mail, 8 senders, beside {many}: taken there", got["sent_per_second"], "a second", more=True)
        add(f"fresh mail, 8 senders, beside {many}: CPU", got["cpu_us"], "µs a message")
        c.stop()
        start = time.monotonic()
        c.start()
        add(f"start with {many}, until every port answers", time.monotonic() - start, "s", budget=2)
        self.send(c, 8, 1000, mail, left=messages)
        add(f"{many}, after a start and fresh mail: memory of queue and net", self.memory_mb(c), "MB", budget=60)

    def defer(self, c, messages):
        login, port = c.where()
        with Load("smtp_load", *login, "-d", "gone.test", port, 64, messages, 1000, 1000) as load:
            load.run()
        until = time.monotonic() + PATIENCE_S
        while self.kept(c) != (0, messages):
            if time.monotonic() > until:
                raise RuntimeError(f"{messages} messages are not all deferred within {PATIENCE_S} s: {self.kept(c)}")
            time.sleep(1)

    @staticmethod
    def kept(c):
        status = c.server.cli_json("queue", "status")
        return status["backlog"], status["deferred"]

    @staticmethod
    def memory_mb(c):
        time.sleep(5)  # connections that are kept
        return sum(pss_kb(p) for role in ("queue", "net") for p in c.server.pids_of(role)) / 1024


PARTS = {"smtp": Smtp, "work": Work, "sleeping": Sleeping, "accounts": Accounts, "submission": Submission, "login": Login, "imap": Imap,
         "allocations": Allocations, "many": Many, "search": Search, "pop3": Pop3, "wake": Wake, "idle": Idle, "memory": Memory,
         "restart": Restart, "folders": Folders, "slow": Slow, "sending": Sending, "deferred": Deferred}
