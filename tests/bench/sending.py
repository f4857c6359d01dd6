"""Mail that leaves, for the benchmark: facteur and Debian's Postfix hand the same messages on to Postfix's smtp-sink.

Both ask the same name server for the same domains, of which one or a thousand are used; their mail hosts are sixteen sinks, each at an
address of its own. Neither signs (Postfix would need a milter for it); what facteur's signatures cost is a row of its own. facteur takes
the messages from users who have logged in, once a connection and without TLS; Postfix from this machine's network, without a login."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import debian
import ours
import parts
from group import Group
from harness import ROOT, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests"))
from nameserver import NameServer  # noqa: E402

DOMAINS, SINKS, SENDERS = 1000, 16, 64
UNLIMITED = (("submit_recipients_per_hour", 10000000), ("submit_recipients_per_day", 10000000), ("submit_watch", "off"))


class Elsewhere:
    """The rest of the world: names, and who takes mail under them."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="facteur-elsewhere-")
        os.chmod(self.dir, 0o755)
        self.sinks, self.dns = [], None
        try:
            self.dns = NameServer("127.53.0.1", 53, ttl=86400)  # no port can be told to Postfix
            self.names()
            self.port = debian.free_ports(1)[0]
            for i in range(SINKS):
                with open(f"{self.dir}/sink{i}", "wb") as out:
                    self.sinks.append(subprocess.Popen(debian.inside("smtp-sink", "-c", "-u", "root", f"127.53.1.{i}:{self.port}", "1000"),
                                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out))
            wait_for(lambda: all(self.answers(i) for i in range(SINKS)), 30, "the sinks answer")
        except Exception:
            self.close()
            raise

    def names(self):
        for i in range(SINKS):
            self.dns.add(f"mx{i}.sink.test", "A", f"127.53.1.{i}")
        for i in range(DOMAINS):
            self.dns.add(f"d{i}.sink.test", "MX", f"10 mx{i % SINKS}.sink.test")
        for i in range(DOMAINS):  # nobody listens there
            self.dns.add(f"d{i}.gone.test", "A", "127.53.2.1")
        self.anchor = self.dns.anchor(f"{self.dir}/anchor")
        os.chmod(self.anchor, 0o644)
        with open(f"{self.dir}/resolv.conf", "w") as f:
            f.write(f"nameserver {self.dns.address}\n")

    def answers(self, i):
        try:
            with socket.create_connection((f"127.53.1.{i}", self.port), timeout=5) as s:
                return s.recv(1) == b"2"
        except OSError:
            return False

    def taken(self):
        """Messages that the sinks have, by their own count."""
        total = 0
        for i in range(SINKS):
            with open(f"{self.dir}/sink{i}", "rb") as f:
                counted = f.read()[-200:].split(b"mesg=")
            total += int(counted[-1].split()[0]) if len(counted) > 1 else 0
        return total

    def round_trip_us(self):
        """A command and its reply, the median of a thousand."""
        times = []
        with socket.create_connection(("127.53.1.0", self.port), timeout=5) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.recv(1000)
            for _ in range(1000):
                start = time.perf_counter()
                s.sendall(b"NOOP\r\n")
                s.recv(1000)
                times.append(time.perf_counter() - start)
            s.sendall(b"QUIT\r\n")
        return sorted(times)[500] * 1e6

    def close(self):
        for sink in self.sinks:
            sink.kill()  # smtp-sink has no other end
            sink.wait()
        if self.dns:
            self.dns.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Facteur(ours.Ours):
    def __init__(self, elsewhere):
        conf = (f"dns_server = {elsewhere.dns.setting}", f"dns_trust_anchor = {elsewhere.anchor}", f"smtp_port_out = {elsewhere.port}")
        super().__init__(accounts=SENDERS, settings=UNLIMITED, conf=conf)

    def where(self):
        """Arguments of the generator: how it logs in, and the port."""
        return ["-p", parts.logins_file(self)], self.port("submission")

    def hurry(self):
        self.server.cli("queue", "retry")


class Postfix(debian.Postfix):
    label = "postfix"
    def __init__(self, elsewhere):
        self.group = Group("postfix", self.pids)
        super().__init__("127.0.0.1", debian.free_ports(1)[0], "mail.example.test", f"""
smtp_tcp_port = {elsewhere.port}
# the sinks say 250 to whatever name; nobody looks up who connects
smtpd_peername_lookup = no
""", over=((f"{elsewhere.dir}/resolv.conf", "/etc/resolv.conf"),), enter=self.group.enter)

    def where(self):
        return [], self.port

    def hurry(self):
        self.run("postqueue", "-c", self.conf, "-f")

    def close(self):
        super().close()
        self.group.close()
