"""Debian's Postfix and Dovecot as one server for the benchmark (tests/debian.py says how they get here). `CONFIG` is what is set; all else is
as Debian ships it."""
import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import debian
from debian import free_ports, inside, owner, tree
from group import Group
from harness import wait_for
from work import Work

DOMAIN, PASSWORD = "example.test", "measured by everybody"

# What is set beyond a plain set-up, and why. No setting below makes a message less safe than Debian ships it.
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
myhostname = mail.example.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.test
virtual_mailbox_maps = hash:{dir}/addresses
virtual_transport = lmtp:unix:{dir}/run/lmtp
# a message is handed on at once, and the sender is not slowed down when delivery is behind (default 1 s)
in_flow_delay = 0
smtpd_tls_cert_file = {dir}/cert.pem
smtpd_tls_key_file = {dir}/key.pem
smtpd_tls_security_level = may
smtpd_tls_session_cache_database = btree:{dir}/data/smtpd_scache
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dir}/run/auth-smtp
message_size_limit = 52428800
"""
MASTER_CF = """
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{submissions} inet n - n - - smtpd
  -o syslog_name=postfix/submissions
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
""" + debian.SERVICES
DOVECOT_CONF = """
protocols = imap pop3 lmtp
listen = 127.0.0.1
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
ssl = yes
ssl_cert = <{dir}/cert.pem
ssl_key = <{dir}/key.pem
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8
mail_location = {location}
first_valid_uid = 1
mail_max_userip_connections = 100000
default_client_limit = 20000
default_process_limit = 4000
{plugins}
{environment}
# the password hash is a cheap one ({{SSHA512}}), and what was looked up is kept: logins measure the server, not the hash
auth_cache_size = 64M
passdb {{
  driver = passwd-file
  args = username_format=%u {dir}/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={dir}/home/%n allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  # login processes serve many connections, as the documentation advises for busy servers (default: a process a connection)
  service_count = 0
  process_min_avail = 2
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 2
}}
# a process serves many sessions, one after the other (default: one)
service imap {{
  service_count = 256
  process_min_avail = 2
}}
service pop3 {{
  service_count = 256
  process_min_avail = 2
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  process_min_avail = 2
}}
service auth {{
  unix_listener auth-smtp {{
    mode = 0666
  }}
}}
"""
LOCATIONS = {"mdbox": "mdbox:~/mdbox", "Maildir": "maildir:~/Maildir"}
CONFIG = {"main.cf": MAIN_CF, "master.cf": MASTER_CF, "dovecot.conf": DOVECOT_CONF}


class Peers:
    """postfix -> dovecot-lmtpd; IMAP and POP3 by Dovecot."""

    def __init__(self, layout, accounts=100, compress=False, counted=False):
        """counted: Dovecot counts its own work."""
        self.label = f"postfix + dovecot, {layout}"
        self.dir = tempfile.mkdtemp(prefix="facteur-peers-")
        os.chmod(self.dir, 0o755)
        self.conf = os.path.join(self.dir, "conf")  # nothing else in it: Postfix looks at each file of this folder when it starts
        os.mkdir(self.conf)
        self.accounts, self.postfix, self.dovecot, self.work = accounts, None, None, Work() if counted else None
        environment = [f"{name}={value}" for name, value in self.work.env.items()] if counted else []
        self.counter = ["env", *environment] if counted else []
        self.group = Group(layout, self.pids)
        self.ports = dict(zip(("smtp", "submissions", "imap", "imaps", "pop3", "pop3s"), free_ports(6)))
        values = dict(self.ports, dir=self.dir, location=LOCATIONS[layout],
                      plugins="mail_plugins = zlib\nprotocol imap {\n  mail_plugins = zlib imap_zlib\n}" if compress else "",
                      environment="import_environment = TZ " + " ".join(environment) if counted else "")
        for name, text in CONFIG.items():
            with open(os.path.join(self.conf, name), "w") as f:
                f.write(text.format(**values))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=localhost", "-keyout", f"{self.dir}/key.pem", "-out", f"{self.dir}/cert.pem"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.make_accounts()
        uid, gid = owner("postfix")
        for name in ("queue", "data"):
            os.mkdir(f"{self.dir}/{name}")
        os.chown(f"{self.dir}/data", uid, gid)
        os.mkdir(f"{self.dir}/home")
        os.chown(f"{self.dir}/home", pwd.getpwnam("mail").pw_uid, grp.getgrnam("mail").gr_gid)
        self.run("postfix", "-c", self.conf, "set-permissions", check=False)
        try:
            self.start()
        except Exception:
            self.close()
            raise

    def make_accounts(self):
        import base64
        import hashlib
        hashed = base64.b64encode(hashlib.sha512(PASSWORD.encode() + b"salt").digest() + b"salt").decode()
        with open(f"{self.dir}/users", "w") as f:
            f.writelines(f"user{i}@{DOMAIN}:{{SSHA512}}{hashed}\n" for i in range(self.accounts))
        with open(f"{self.dir}/addresses", "w") as f:
            f.writelines(f"user{i}@{DOMAIN} x\n" for i in range(self.accounts))
        self.run("postmap", "-c", self.conf, f"hash:{self.dir}/addresses")

    def run(self, *command, check=True):
        done = subprocess.run(inside(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout.decode()}")

    def spawn(self, *command):
        with open(f"{self.dir}/output", "ab") as out:
            return subprocess.Popen(inside(*command), stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                                    preexec_fn=self.group.enter)

    def start(self):
        self.dovecot = self.spawn(*self.counter, "dovecot", "-F", "-c", f"{self.conf}/dovecot.conf")
        self.postfix = self.spawn("postfix", "-c", self.conf, "start-fg")
        wait_for(self.answers, 60, "Postfix and Dovecot answer")

    def answers(self):
        for process in (self.postfix, self.dovecot):
            if process.poll() is not None:
                raise RuntimeError("Postfix or Dovecot ended: " + self.log())
        for name, port in self.ports.items():
            with contextlib.closing(socket.socket()) as s:
                s.settimeout(2)
                try:
                    s.connect(("127.0.0.1", port))
                    if name in ("smtp", "imap", "pop3") and s.recv(1) not in (b"2", b"*", b"+"):
                        return False
                except OSError:
                    return False
        return True

    def log(self):
        text = ""
        for name in ("output", "mail.log", "dovecot.log"):
            if os.path.exists(f"{self.dir}/{name}"):
                with open(f"{self.dir}/{name}", errors="replace") as f:
                    text += f"--- {name}\n" + f.read()[-2000:]
        return text

    def make_mailboxes(self, i, names):
        """Empty ones of an account. CREATE over IMAP takes 1.4 s for 300 and 18 s for 900, and goes on so; without fsync and the index of the list,
        which a LIST makes anew, 900 take 2.5 s."""
        for k in range(0, len(names), 1000):
            self.run("doveadm", "-c", f"{self.conf}/dovecot.conf", "-o", "mailbox_list_index=no", "-o", "mail_fsync=never",
                     "mailbox", "create", "-u", f"user{i}@{DOMAIN}", *names[k:k + 1000])

    def pids(self):
        return tree([p.pid for p in (self.postfix, self.dovecot) if p])

    def port(self, name):
        return self.ports[name]

    def password(self, i):
        return PASSWORD

    def waiting(self):
        """Messages that were taken and are not in a mailbox yet."""
        return sum(len(files) for name in ("maildrop", "incoming", "active", "deferred")
                   for _, _, files in os.walk(f"{self.dir}/queue/{name}"))

    def asleep(self):
        """Nothing to wait for: no process stays for an account."""

    def postfix_master(self):
        """Below the script that started it."""
        with contextlib.suppress(OSError, ValueError):
            with open(f"{self.dir}/queue/pid/master.pid") as f:
                return int(f.read())
        return None

    def kill(self):
        self.group.kill()
        for process in (self.postfix, self.dovecot):
            process.wait()
        self.group.gone(20)

    def stop(self):
        left = self.pids()
        for pid in (self.postfix_master(), self.dovecot and self.dovecot.pid):
            if pid in left:
                os.kill(pid, signal.SIGTERM)
        for process in (self.postfix, self.dovecot):
            if process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
        if not self.group.gone(5):  # a child that did not follow its master
            self.group.kill()
            self.group.gone(20)

    def close(self):
        try:
            self.stop()
        finally:
            self.group.close()
            shutil.rmtree(self.dir, ignore_errors=True)
            if self.work:
                self.work.close()
