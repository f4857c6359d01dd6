"""./run, as somebody types it for the first time: builds, starts, says what to type, stops, goes on."""
import imaplib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time

from harness import PORTS, ROOT, alive, expect, free_offset, wait_for


class Run:
    def __init__(self, folder, offset, lang="en_GB.UTF-8"):
        self.out = open(os.path.join(folder, "out.txt"), "w+")
        self.process = subprocess.Popen([os.path.join(ROOT, "run"), "--no-install", "--dir", os.path.join(folder, "demo"), "--port-offset", str(offset)],
                                        stdout=self.out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                        env=dict(os.environ, LC_ALL=lang))
        wait_for(lambda: self.process.poll() is not None or re.search(r"^ready$", self.text(), re.M), 300, "ready")
        expect(self.process.poll() is None, "it ended: " + self.text())

    def text(self):
        with open(self.out.name) as f:
            return f.read()

    def children(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    todo += [int(p) for p in f.read().split()]
            except OSError:
                pass
        return found

    def interrupt(self):
        """Ctrl-C: to the whole group, as a terminal does it."""
        pids = self.children()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)
        wait_for(lambda: not any(alive(p) for p in pids), 10, "no process is left")
        self.out.close()
        return self.process.returncode


def command_line(pid):
    with open(f"/proc/{pid}/cmdline") as f:
        return f.read().split("\0")


def passwords(folder):
    with open(os.path.join(folder, "demo/accounts.txt")) as f:
        return dict(line.split(" ", 1) for line in f.read().splitlines())


def setting(folder, name):
    shown = subprocess.run([os.path.join(ROOT, "build/release/facteur"), "-d", os.path.join(folder, "demo"), "config", "get", name, "--json"],
                           stdout=subprocess.PIPE, check=True).stdout
    return json.loads(shown)["value"]


def subjects(folder, offset, address):
    context = ssl.create_default_context(cafile=os.path.join(folder, "demo/ca.pem"))
    box = imaplib.IMAP4_SSL("localhost", 993 + offset, ssl_context=context)
    box.login(address, passwords(folder)[address])
    box.select("INBOX")
    found = wait_for(lambda: box.noop() and box.search(None, "ALL")[1][0].split(), 15, "a message in " + address)
    data = box.fetch(",".join(n.decode() for n in found), "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    box.logout()
    return [d[1].decode() for d in data if isinstance(d, tuple)]


def test_demonstration_and_again():
    folder = tempfile.mkdtemp(prefix="facteur-run-")
    try:
        os.chmod(folder, 0o711)
        offset = free_offset()
        first = Run(folder, offset)
        text = first.text()
        accounts = passwords(folder)
        expect(set(accounts) == {"alice@example.test", "bob@example.test"}, f"accounts.txt: {accounts}")
        expect(os.stat(os.path.join(folder, "demo/accounts.txt")).st_mode & 0o777 == 0o600, "only for its owner")
        for port in set(PORTS) - {443}:  # that one is not for mail programs
            expect(re.search(rf"\b{port + offset}\b", text), f"port {port + offset} is printed: {text}")
        expect("is not sent" in text and setting(folder, "send_elsewhere") == "off", f"no mail to the world from a domain that does not exist: {text}")
        for address, password in accounts.items():
            expect(address in text and password in text, f"what to type for {address}")
            expect(any("Welcome" in s for s in subjects(folder, offset, address)), "the welcome message")
        expect(first.interrupt() == 0, "Ctrl-C: " + first.text())

        second = Run(folder, offset, lang="fr_FR.UTF-8")
        expect("Mot de passe" in second.text(), "French by locale: " + second.text())
        expect(passwords(folder) == accounts, "the same passwords")
        for address in accounts:
            expect(len(subjects(folder, offset, address)) == 1, "the same data, one welcome")
        master = [p for p in second.children() if "serve" in command_line(p)]
        expect(len(master) == 1, "one master below ./run")
        os.kill(master[0], signal.SIGKILL)
        expect(second.process.wait(10) == 1, "a server that dies ends ./run, which says so")
        expect("server.log" in second.text().split("\nready\n")[1], second.text()[-500:])

        third = Run(folder, offset)
        expect(passwords(folder) == accounts, "goes on after a crash")
        begin = time.monotonic()
        expect(third.interrupt() == 0, "Ctrl-C: " + third.text())
        expect(time.monotonic() - begin < 15, "stops soon")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
