"""facteur as a contestant of the benchmark: the harness's server, with accounts made quickly, in a control group."""
import base64
import hashlib
import os
import time

from admin import Admin
from group import Group
from harness import Server
from work import Work

PORTS = {"smtp": 25, "submissions": 465, "submission": 587, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
HASH = "{SSHA}" + base64.b64encode(hashlib.sha1(b"of nobody" + b"salt").digest() + b"salt").decode()


class Ours:
    label = "facteur"

    def __init__(self, accounts=100, logins=None, settings=(), conf=(), counted=False):
        """logins: how many of the accounts have an app password (all, when None), which is what people's programs log in with. counted: it
        counts its own work."""
        self.accounts, self.passwords = accounts, []
        self.work = Work() if counted else None
        self.server = Server(build="release", accounts=(), segment_size="32MB", conf=conf, env=self.work.env if counted else None,
                             settings=(("plain_login_loopback", "on"), ("smtp_messages_per_connection", 1000000), *settings))
        self.dir, self.group = self.server.dir, Group("facteur", self.pids)
        try:
            admin = Admin(self.dir)
            for i in range(accounts):
                admin.ask("account add", address=f"user{i}@example.test", hash=HASH)
            for i in range(accounts if logins is None else logins):
                self.passwords.append(admin.ask("app-password add", address=f"user{i}@example.test", label="bench")["password"])
            self.group.adopt()
        except Exception:
            self.close()
            raise

    def pids(self):
        return list(self.server.pids())

    def port(self, name):
        return self.server.port(PORTS[name])

    def password(self, i):
        return self.passwords[i]

    def waiting(self):
        status = self.server.cli_json("queue", "status")
        return status["backlog"] + status["deferred"]

    def asleep(self):
        """Waits until every cell has left, 30 s after it last had work."""
        until = time.monotonic() + 90
        while self.server.pids_of("cell"):
            if time.monotonic() > until:
                raise RuntimeError(f"{len(self.server.pids_of('cell'))} cells are still there after 90 s")
            time.sleep(0.5)

    def start(self):
        self.server.start()
        self.group.adopt()

    def stop(self):
        self.server.stop()

    def kill(self):
        self.server.kill_all()

    def log(self):
        return self.server.log()[-3000:] if os.path.exists(self.server.log_path) else ""

    def close(self):
        self.server.close()
        self.group.close()
        if self.work:
            self.work.close()
