"""mbsync and offlineimap of Debian: both keep a Maildir beside the account, and carry changes in both directions when they are run."""
import os
import shutil
import subprocess
import tempfile

LETTERS = "FRS"


class Maildirs:
    flags = LETTERS

    def __init__(self, server, user, folders):
        self.home = tempfile.mkdtemp(prefix=f"facteur-{self.name}-")
        self.folders, self.server, self.user = folders, server, f"{user}@{server.domain}"
        self.made = 0
        with open(os.path.join(self.home, "rc"), "w") as f:
            f.write(self.settings())
        os.chmod(os.path.join(self.home, "rc"), 0o600)

    def sync(self):
        done = subprocess.run(self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, cwd=self.home,
                              env=dict(os.environ, HOME=self.home, LANG="C.UTF-8"))
        if done.returncode:
            raise AssertionError(f"{self.name}: exit {done.returncode}\n{done.stdout.decode('utf-8', 'replace')[-2000:]}")

    def place(self, folder):
        return os.path.join(self.home, "mail", folder)

    def files(self, folder):
        """{subject: (path, flags, text)}"""
        found = {}
        for part in ("new", "cur"):
            for name in os.listdir(os.path.join(self.place(folder), part)):
                path = os.path.join(self.place(folder), part, name)
                with open(path, "rb") as f:
                    text = f.read()
                subject = next(line for line in text.splitlines() if line.startswith(b"Subject: "))[9:].decode()
                if subject in found:
                    raise AssertionError(f"{subject} is twice in {folder}")
                found[subject] = (path, "".join(sorted(name.partition(":2,")[2])), text.decode())
        return found

    def view(self):
        return {folder: {subject: [flags, text] for subject, (_, flags, text) in self.files(folder).items()} for folder in self.folders}

    def keep(self, folder, flags, text):
        self.made += 1
        with open(os.path.join(self.place(folder), "cur", f"{self.made}.made.here:2,{flags}"), "w", newline="") as f:
            f.write(text.replace("\r\n", "\n"))

    def mark(self, folder, subject, flag, on):
        path, flags, _ = self.files(folder)[subject]
        flags = "".join(sorted(set(flags) | {flag} if on else set(flags) - {flag}))
        os.rename(path, os.path.join(self.place(folder), "cur", os.path.basename(path).partition(":2,")[0] + ":2," + flags))

    def move(self, folder, subject, to):
        path, flags, text = self.files(folder)[subject]
        self.keep(to, flags, text)
        os.remove(path)

    def remove(self, folder, subject):
        os.remove(self.files(folder)[subject][0])

    def add(self, folder, subject, text):
        self.keep(folder, "S", text)

    def close(self):
        shutil.rmtree(self.home, ignore_errors=True)


class Mbsync(Maildirs):
    name = "mbsync"
    acts_at_once, forgets_marks, restarts = False, False, 0

    def settings(self):
        os.makedirs(self.place(""))
        return (f"IMAPAccount a\nHost localhost\nPort {self.server.port(993)}\nUser {self.user}\nPass \"{self.server.passwords[self.user]}\"\n"
                f"SSLType IMAPS\nCertificateFile {self.server.dir}/ca.pem\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nSubFolders Verbatim\n"
                f"Path {self.place('')}\nInbox {self.place('INBOX')}\n\nChannel c\nFar :far:\nNear :near:\n"
                f"Patterns * !Archive !Drafts !Junk !Sent !Trash\nCreate Both\nExpunge Both\nSyncState *\n")

    def command(self):
        return ["mbsync", "-c", "rc", "-a"]


class Offlineimap(Maildirs):
    name = "offlineimap"
    acts_at_once, forgets_marks, restarts = False, False, 0

    def settings(self):
        return ("[general]\naccounts = a\nui = quiet\n[Account a]\nlocalrepository = l\nremoterepository = r\n[Repository l]\ntype = Maildir\nsep = /\n"
                f"localfolders = {self.home}/mail\n[Repository r]\ntype = IMAP\nremotehost = localhost\nremoteport = {self.server.port(993)}\nssl = yes\n"
                f"sslcacertfile = {self.server.dir}/ca.pem\nremoteuser = {self.user}\nremotepass = {self.server.passwords[self.user]}\n"
                "folderfilter = lambda name: name not in ('Archive', 'Drafts', 'Junk', 'Sent', 'Trash')\n")

    def command(self):
        return ["offlineimap", "-c", "rc", "-o"]
