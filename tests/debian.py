"""Debian's Postfix and Dovecot for tests and the benchmark, on loopback, each with a configuration and folders of its own.

Nothing of the machine is changed: the packages are only fetched and unpacked below build/peers, and run in a mount namespace of their
own in which /usr and /etc have these files added. Where both are installed already, the installed programs are used, still with their own
configuration. Their processes end by pid."""
import contextlib
import fcntl
import glob
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import ROOT, alive, wait_for

PACKAGES = ["postfix", "dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-pop3d"]
UNPACKED = os.path.join(ROOT, "build/peers")
USERS = {"postfix": 64901, "dovecot": 64902, "dovenull": 64903}
GROUPS = dict(USERS, postdrop=64904)

MAIN_CF = """
compatibility_level = 3.6
mail_owner = postfix
setgid_group = postdrop
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = {hostname}
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
message_size_limit = 52428800
# a message is handed on at once, and the sender is not slowed down when delivery is behind (default 1 s)
in_flow_delay = 0
"""
# of master.cf, behind what listens
SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def installed():
    return all(shutil.which(p, path="/usr/sbin:/usr/bin") for p in ("postfix", "dovecot"))


def prepare():
    """Fetches and unpacks the packages, once. RuntimeError with a sentence that says what is missing."""
    if os.geteuid() != 0:
        raise RuntimeError("Postfix and Dovecot start as root only, and this is not root")
    if installed():
        return
    if not os.path.exists(os.path.join(UNPACKED, "complete")):
        fetch_alone()
    done = subprocess.run(inside("true"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError("Postfix and Dovecot cannot be run beside what is installed: " + done.stdout.decode().strip())


def fetch_alone():
    os.makedirs(UNPACKED, exist_ok=True)
    with open(os.path.join(UNPACKED, "lock"), "w") as lock:  # tests run beside each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(UNPACKED, "complete")):
            fetch()


def fetch():
    debs = os.path.join(UNPACKED, "debs")
    os.makedirs(os.path.join(debs, "partial"), exist_ok=True)
    download = ["apt-get", "-y", "-q", "--download-only", "-o", f"Dir::Cache::archives={debs}", "install", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(download, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:  # a machine that was just made has no lists, or old ones
        subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = subprocess.run(download, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError("the packages of Postfix and Dovecot could not be fetched:\n" + done.stdout.decode())
    tree_of_them = os.path.join(UNPACKED, "root")
    for deb in glob.glob(os.path.join(debs, "*.deb")):
        subprocess.run(["dpkg", "-x", deb, tree_of_them], check=True)
    for name, own, line in (("passwd", USERS, "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin\n"), ("group", GROUPS, "{0}:x:{1}:\n")):
        with open(os.path.join("/etc", name)) as f:
            text = f.read()
        with open(os.path.join(tree_of_them, "etc", name), "w") as f:
            f.write(text + "".join(line.format(n, i) for n, i in own.items() if f"\n{n}:" not in text))
    # what the packages' own scripts would have put into /etc
    shutil.copy(os.path.join(tree_of_them, "usr/share/postfix/dynamicmaps.cf"), os.path.join(tree_of_them, "etc/postfix"))
    shutil.copy(os.path.join(tree_of_them, "usr/share/postfix/main.cf.debian"), os.path.join(tree_of_them, "etc/postfix/main.cf"))
    shutil.copy(os.path.join(tree_of_them, "usr/share/postfix/master.cf.dist"), os.path.join(tree_of_them, "etc/postfix/master.cf"))
    open(os.path.join(UNPACKED, "complete"), "w").close()


def inside(*command, over=()):
    """The command line that runs a program of the peers. over: (file, path), to be seen there by it and nobody else."""
    mounts = []
    if not installed():
        lower = os.path.join(UNPACKED, "root")
        mounts += [f"mount -t overlay -o lowerdir={lower}/{top}:/{top} overlay /{top}" for top in ("usr", "etc")]
    mounts += [f"mount --bind {file} {path}" for file, path in over]
    if not mounts:
        return list(command)
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", " && ".join(mounts) + ' && exec "$@"', "sh", *command]


def versions():
    def first(*command):
        return subprocess.run(inside(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode().strip().splitlines()[-1]
    return {"postfix": first("postconf", "-d", "-h", "mail_version"), "dovecot": first("dovecot", "--version").split()[0]}


def owner(name):
    """uid and gid of a user of the peers."""
    with contextlib.suppress(KeyError):
        if installed():
            return pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid
    return USERS[name], USERS[name]


def free_ports(n):
    """Below those that clients get by chance."""
    found = []
    while len(found) < n:
        port = random.randrange(10000, 32000)
        with contextlib.closing(socket.socket()) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def tree(roots):
    """The processes given and all below them."""
    found, todo = [], [p for p in roots if p]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as f:
                todo += [int(p) for p in f.read().split()]
            found.append(pid)
        except OSError:
            pass
    return found


def greets(name, server):
    """It talks; an error when it has ended instead."""
    if server.process.poll() is not None:
        raise RuntimeError(f"{name} ended: " + server.log())
    with contextlib.closing(socket.socket()) as s:
        s.settimeout(5)
        try:
            s.connect((server.address, server.port))
            return s.recv(1) == b"2"
        except OSError:
            return False


class Postfix:
    """One Postfix that listens on an address and takes mail from this machine. settings: further lines of main.cf; over: see inside();
    enter: called in its first process, before it becomes Postfix."""

    def __init__(self, address, port, hostname, settings="", over=(), enter=None):
        self.dir = tempfile.mkdtemp(prefix="facteur-postfix-")
        os.chmod(self.dir, 0o755)
        self.conf = os.path.join(self.dir, "conf")  # nothing else in it: Postfix looks at each file of this folder when it starts
        self.address, self.port, self.over, self.enter, self.process = address, port, over, enter, None
        os.mkdir(self.conf)
        with open(f"{self.conf}/main.cf", "w") as f:
            f.write(MAIN_CF.format(dir=self.dir, hostname=hostname) + settings)
        with open(f"{self.conf}/master.cf", "w") as f:
            f.write(f"{address}:{port} inet n - n - - smtpd" + SERVICES)
        uid, gid = owner("postfix")
        for name in ("queue", "data"):
            os.mkdir(f"{self.dir}/{name}")
        os.chown(f"{self.dir}/data", uid, gid)
        try:
            self.start()
        except Exception:
            self.close()
            raise

    def start(self):
        self.run("postfix", "-c", self.conf, "set-permissions")
        with open(f"{self.dir}/output", "ab") as out:
            self.process = subprocess.Popen(inside("postfix", "-c", self.conf, "start-fg", over=self.over), stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=self.enter)
        wait_for(self.answers, 60, "Postfix answers")

    def run(self, *command):
        subprocess.run(inside(*command, over=self.over), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)

    def answers(self):
        return greets("Postfix", self)

    def log(self):
        text = ""
        for name in ("output", "mail.log"):
            if os.path.exists(f"{self.dir}/{name}"):
                with open(f"{self.dir}/{name}", errors="replace") as f:
                    text += f"--- {name}\n" + f.read()[-4000:]
        return text

    def pids(self):
        return tree([self.process.pid] if self.process else [])

    def waiting(self):
        """Messages that were taken and have not left."""
        return sum(len(files) for name in ("maildrop", "incoming", "active", "deferred")
                   for _, _, files in os.walk(f"{self.dir}/queue/{name}"))

    def stop(self):
        """By the pid of its master, which may stand below a shell."""
        left = self.pids()
        with contextlib.suppress(OSError, ValueError, ProcessLookupError):
            with open(f"{self.dir}/queue/pid/master.pid") as f:
                master = int(f.read())
            if master in left:
                os.kill(master, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for pid in left:  # a child that did not follow its master
            if alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        try:
            if self.process:
                self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


DOVECOT_CONF = """
protocols = lmtp
listen = {address}
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
ssl = no
mail_location = maildir:{dir}/home/%n
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = username_format=%u {dir}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {dir}/users
  override_fields = uid=mail gid=mail home={dir}/home/%n
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
}}
"""


class Dovecot:
    """Dovecot that takes mail by LMTP for the addresses given."""

    def __init__(self, address, port, users):
        self.dir, self.address, self.port = tempfile.mkdtemp(prefix="facteur-dovecot-"), address, port
        os.chmod(self.dir, 0o755)
        os.mkdir(f"{self.dir}/home")
        mail = pwd.getpwnam("mail")
        os.chown(f"{self.dir}/home", mail.pw_uid, mail.pw_gid)
        with open(f"{self.dir}/dovecot.conf", "w") as f:
            f.write(DOVECOT_CONF.format(dir=self.dir, address=address, port=port))
        with open(f"{self.dir}/users", "w") as f:
            f.writelines(f"{u}:{{PLAIN}}x::::::\n" for u in users)
        with open(f"{self.dir}/output", "wb") as out:
            self.process = subprocess.Popen(inside("dovecot", "-F", "-c", f"{self.dir}/dovecot.conf"), stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for(self.answers, 60, "Dovecot answers")
        except Exception:
            self.close()
            raise

    def answers(self):
        return greets("Dovecot", self)

    def log(self):
        text = ""
        for name in ("output", "dovecot.log"):
            if os.path.exists(f"{self.dir}/{name}"):
                with open(f"{self.dir}/{name}", errors="replace") as f:
                    text += f.read()[-3000:]
        return text

    def messages(self, user):
        """What the user has got, as bytes."""
        found = []
        for path in glob.glob(f"{self.dir}/home/{user}/new/*"):
            with open(path, "rb") as f:
                found.append(f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found

    def close(self):
        for pid in tree([self.process.pid])[:1]:
            os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
