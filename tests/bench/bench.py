"""The benchmark: what the hot paths cost, as work (CPU of all server processes, fsyncs, writes, kB), beside the budgets of the design.

    make bench                     everything, a table
    make bench BENCH="smtp idle"   only these parts;  BENCH="--json" for scripts

CPU is that of all processes of the server, by control group where this machine lets us make one (else the sum over /proc, which misses
processes that ended meanwhile; the table says which). Rates depend on the machine and its neighbours: compare ratios."""
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import ROOT, Server  # noqa: E402

LOAD = os.path.join(ROOT, "build/release/bench/smtp_load")
ROWS = []


def row(what, value, unit, budget=None, peers=None):
    ROWS.append({"what": what, "value": value, "unit": unit, "budget": budget, "peers": peers,
                 "ok": None if budget is None else value <= budget})


class Cpu:
    """Microseconds of CPU of a process and all it starts."""

    def __init__(self):
        name = f"facteur-bench-{os.getpid()}"
        self.folder = self.file = None
        for base, file in (("/sys/fs/cgroup", "cpu.stat"), ("/sys/fs/cgroup/cpuacct", "cpuacct.usage")):
            folder = os.path.join(base, name)
            try:
                os.mkdir(folder)
            except OSError:
                continue
            if os.path.exists(os.path.join(folder, file)) and os.path.exists(os.path.join(folder, "cgroup.procs")):
                self.folder, self.file = folder, os.path.join(folder, file)
                return
            os.rmdir(folder)

    def adopt(self, server):
        self.server = server
        if self.folder:
            for pid in server.pids():
                try:
                    with open(os.path.join(self.folder, "cgroup.procs"), "w") as f:
                        f.write(str(pid))
                except OSError:
                    pass

    def us(self):
        if self.file:
            with open(self.file) as f:
                text = f.read()
            usage = re.search(r"usage_usec (\d+)", text)
            return int(usage.group(1)) if usage else int(text) / 1000
        total = 0
        for pid in self.server.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
        return total / 1000

    def close(self):
        if self.folder:
            try:
                os.rmdir(self.folder)
            except OSError:
                pass


def pss_kb(server):
    total = 0
    for pid in server.pids():
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        except OSError:
            pass
    return total


def disk_ops(trace):
    """{sync, write, bytes} of the test build's trace."""
    from powercut import DIRSYNC, SYNC, SYNCFS, WRITE, records
    n = {"sync": 0, "write": 0, "bytes": 0}
    for op, _, _, _, _, data in records(trace):
        if op in (SYNC, DIRSYNC, SYNCFS):
            n["sync"] += 1
        elif op == WRITE:
            n["write"] += 1
            n["bytes"] += len(data)
    return n


def load(server, connections, messages, size, accounts, reconnect=0):
    out = subprocess.run([LOAD, "127.0.0.1", str(server.port(25)), str(connections), str(messages), str(size), str(accounts),
                          "example.test", str(reconnect)], stdout=subprocess.PIPE, check=True, timeout=300).stdout
    return json.loads(out)


def names(n):
    return tuple(f"user{i}" for i in range(n))


def stored(server, n):
    """Waits until n messages are in the accounts, by the server's own count."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if server.cli_json("queue", "status").get("waiting", 0) == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{n} messages were not delivered within 2 minutes")


def make(accounts, build="release", env=None):
    return Server(build=build, accounts=names(accounts), env=env, segment_size="32MB",
                  settings=(("plain_login_loopback", "on"), ("smtp_messages_per_connection", 1000000)))


def part_smtp():
    server, cpu = make(100), Cpu()
    try:
        cpu.adopt(server)
        load(server, 8, 2000, 4096, 100)
        stored(server, 2000)
        for senders, messages in ((1, 1000), (8, 8000), (64, 16000)):
            before = cpu.us()
            got = load(server, senders, messages, 4096, 100)
            stored(server, messages)
            each = (cpu.us() - before) / messages
            row(f"4 kB in, {senders} senders, 100 active accounts: CPU", round(each), "us/message", 250, 6500)
            row(f"  acknowledged, p99 {got['p99_us'] / 1000:.1f} ms", got["per_second"], "messages/s", None, 500)
        got = load(server, 8, 1000, 75000, 100)
        row("75 kB in, 8 senders: acknowledged", got["per_second"], "messages/s")
    finally:
        server.close()
        cpu.close()


def part_fsync():
    trace = "/tmp/facteur-bench-trace"
    for senders, messages, budget in ((1, 300, 1.3), (64, 6000, 0.05)):
        server = make(20, build="fault")
        server.stop()
        if os.path.exists(trace):
            os.unlink(trace)
        server.env["FACTEUR_DISK_TRACE"] = trace
        try:
            server.start()
            load(server, 8, 200, 4096, 20)
            stored(server, 200)
            time.sleep(2)
            before = disk_ops(trace)
            load(server, senders, messages, 4096, 20)
            stored(server, messages)
            time.sleep(2)
            after = disk_ops(trace)
            row(f"syncs a message, {senders} senders, 20 active accounts", round((after["sync"] - before["sync"]) / messages, 3), "", budget, 4)
            row("  bytes written a message", round((after["bytes"] - before["bytes"]) / messages), "bytes")
        finally:
            server.close()
            os.unlink(trace)


def imap_raw(server, tls=False, name="user0"):
    c = server.raw(993 if tls else 143, tls=tls)
    c.line()
    c.command(f'l login {name}@example.test "{server.passwords[name + "@example.test"]}"', "l OK")
    return c


def drain(c, tag):
    """Reads fast to the tagged line: the client must cost less than the server."""
    data, end = b"", f"\r\n{tag} ".encode()
    c.sock.settimeout(60)
    total = len(c.buffer)
    data, c.buffer = c.buffer, b""
    while True:
        tail = data[-4096:]
        at = tail.find(end)
        if at >= 0 and tail.endswith(b"\r\n"):
            return total, tail[at + 2:].decode()
        if data.startswith(f"{tag} ".encode()) and data.endswith(b"\r\n"):
            return total, data.decode()
        more = c.sock.recv(1 << 20)
        if not more:
            raise EOFError(repr(tail))
        total += len(more)
        data = tail + more


def timed(cpu, c, command, messages, repeat=3):
    best = None
    for i in range(repeat):
        before = cpu.us()
        c.send(f"t{i} {command}\r\n")
        _, last = drain(c, f"t{i}")
        if " OK" not in last:
            raise AssertionError(f"{command}: {last}")
        each = (cpu.us() - before) / messages
        best = each if best is None else min(best, each)
    return round(best, 2)


def fill(c, mailbox, count, size):
    head = b"From: Someone <a@b.example>\r\nTo: you@example.test\r\nSubject: number %d\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n" \
           b"Message-ID: <n%d@b.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    body = b"x" * 76 + b"\r\n"
    c.command(f"c CREATE {mailbox}", "c ")
    done = 0
    while done < count:
        part = min(200, count - done)
        text = [f"a APPEND {mailbox}".encode()]
        for i in range(done, done + part):
            m = head % (i, i)
            m += body * max(1, (size - len(m)) // len(body))
            text.append(b" {%d+}\r\n" % len(m) + m)
        c.send(b"".join(text) + b"\r\n")
        c.until("a ", 60)
        done += part


def part_imap():
    server, cpu = make(2), Cpu()
    try:
        cpu.adopt(server)
        c, n = imap_raw(server), 10000
        fill(c, "Many", n, 1000)
        c.command("s SELECT Many", "s OK")
        c.command("w FETCH 1:10 FLAGS", "w OK")
        row("FETCH 1:* FLAGS, 10,000 messages", timed(cpu, c, "FETCH 1:* FLAGS", n), "us/message", 0.6, 1.34)
        row("FETCH 1:* (ENVELOPE BODYSTRUCTURE)", timed(cpu, c, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", n), "us/message", 4, 19.7)
        row("STORE 1:* +FLAGS.SILENT", timed(cpu, c, "STORE 1:* +FLAGS.SILENT (\\Seen)", n, 1), "us/message", 1.5, 17.5)
        before, k = cpu.us(), 200
        for i in range(k):
            c.command(f"f STORE {i + 1} FLAGS (\\Flagged)", "f OK")
        row("STORE of one message", round((cpu.us() - before) / k, 1), "us", 40, 111)
        row("SEARCH TEXT, 10,000 messages (no index yet)", timed(cpu, c, "SEARCH TEXT nowhere", n, 1), "us/message")
        fill(c, "Large", 500, 28000)
        c.command("s SELECT Large", "s OK")
        row("UID FETCH 1:* BODY.PEEK[], 28 kB, plain", timed(cpu, c, "UID FETCH 1:* BODY.PEEK[]", 500), "us/message", 25, 49)
        t = imap_raw(server, tls=True)
        t.command("s SELECT Large", "s OK")
        row("UID FETCH 1:* BODY.PEEK[], 28 kB, TLS", timed(cpu, t, "UID FETCH 1:* BODY.PEEK[]", 500), "us/message", 60, 193)
        m = b"Subject: x\r\n\r\n" + b"y" * 4000 + b"\r\n"
        before, k = cpu.us(), 200
        for i in range(k):
            c.send(b"p APPEND INBOX {%d+}\r\n" % len(m) + m + b"\r\n")
            c.until("p OK")
        row("APPEND 4 kB, durable, 1 connection", round((cpu.us() - before) / k), "us", 200, 1950)
        c.close()
        t.close()
    finally:
        server.close()
        cpu.close()


def part_login():
    server, cpu = make(1), Cpu()
    try:
        server.passwords["user0@example.test"] = server.cli_json("app-password", "add", "user0@example.test", "bench")["password"]
        cpu.adopt(server)
        imap_raw(server, tls=True).close()
        before, k = cpu.us(), 200
        for _ in range(k):
            c = imap_raw(server, tls=True)
            c.command("q LOGOUT", "q ")
            c.close()
        row("login + logout over TLS, full handshake, app password", round((cpu.us() - before) / k / 1000, 2), "ms", 2.5, 22.7)
    finally:
        server.close()
        cpu.close()


def without_cells(server):
    """PSS when every cell has left (30 s after its last work): what remains is what waiting costs."""
    until = time.monotonic() + 60
    while server.pids_of("cell") and time.monotonic() < until:
        time.sleep(1)
    return pss_kb(server)


def part_idle():
    for what, tls, compress, budget, peers in (("TLS", True, False, 20, 1814), ("plain", False, False, 5, 519), ("TLS + COMPRESS", True, True, 24, None)):
        server = make(50)
        kept, n = [], 500
        try:
            for i in range(50):
                imap_raw(server, tls, f"user{i}").close()
            before = without_cells(server)
            for i in range(n):
                c = imap_raw(server, tls, f"user{i % 50}")
                c.command("s SELECT INBOX", "s OK")
                if compress:
                    c.command("z COMPRESS DEFLATE", "z OK")
                else:
                    c.send("i IDLE\r\n")
                    c.until("+")
                kept.append(c)
            time.sleep(4)
            after = without_cells(server)
            row(f"idle IMAP connection over {what}", round((after - before) / n, 1), "kB", budget, peers)
        finally:
            for c in kept:
                c.close()
            server.close()


def part_memory():
    server = make(100)
    try:
        time.sleep(60)
        row("whole server, 60 s after start, 100 accounts", round(pss_kb(server) / 1024, 1), "MB", 40)
    finally:
        server.close()


def part_slow():
    """Logins of one account beside 2,000 clients that stopped: in the handshake, a literal, DATA, a reply, half a line."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server = make(2)
    stopped = ((993, ""), (143, "a LOGIN {20}\r\n"), (110, "CAPA\r\n" * 200), (587, "EHLO"),
               (25, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user1@example.test>\r\nDATA\r\nSubject: x\r\n"))
    kept, times = [], []
    try:
        for _ in range(400):
            for port, said in stopped:
                kept.append(server.raw(port))
                kept[-1].send(said)
        for _ in range(200):
            start = time.monotonic()
            c = imap_raw(server, tls=True)
            c.command("s SELECT INBOX", "s OK")
            times.append((time.monotonic() - start) * 1000)
            c.close()
        times.sort()
        row("login + SELECT over TLS beside 2,000 stopped clients, p99", round(times[197], 1), "ms", 100)
        row("  the same, median", round(times[100], 1), "ms")
    finally:
        for c in kept:
            c.close()
        server.close()


PARTS = {"smtp": part_smtp, "fsync": part_fsync, "imap": part_imap, "login": part_login, "idle": part_idle, "memory": part_memory, "slow": part_slow}


def table():
    colour = sys.stdout.isatty()
    print(f"{'':58} {'here':>10} {'budget':>8} {'peers':>8}  ratio to peers")
    for r in ROWS:
        mark = "" if r["ok"] is None else "ok" if r["ok"] else "OVER"
        if colour and mark:
            mark = f"\033[{32 if r['ok'] else 31}m{mark}\033[0m"
        better = (r["value"], r["peers"]) if r["unit"] == "messages/s" else (r["peers"], r["value"])
        ratio = f"{better[0] / better[1]:.1f} x" if r["peers"] and r["value"] else ""
        print(f"{r['what']:58} {r['value']:>10} {r['budget'] or '':>8} {r['peers'] or '':>8}  {ratio:8} {r['unit']} {mark}")


def main():
    args = sys.argv[1:]
    chosen = [a for a in args if a in PARTS] or list(PARTS)
    for name in chosen:
        print(f"… {name}", file=sys.stderr, flush=True)
        PARTS[name]()
    print(json.dumps(ROWS, indent=1)) if "--json" in args else table()


if __name__ == "__main__":
    main()
