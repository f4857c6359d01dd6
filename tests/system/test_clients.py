"""The programs people use, from Debian's packages, with their own configuration files."""
import os
import shutil
import subprocess
import tempfile
import time

from harness import Server, expect, wait_for


def make_server():
    server = Server()
    server.home = tempfile.mkdtemp(prefix="facteur-home-")
    return server


def run(server, *args, stdin="", timeout=120, ok=(0,), env=None):
    home = dict(server.env, HOME=server.home, **(env or {}))
    done = subprocess.run(args, input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=home, timeout=timeout,
                          cwd=server.home)
    text = done.stdout.decode("utf-8", "replace")
    expect(done.returncode in ok, f"{args[0]}: exit {done.returncode}\n{text[-2000:]}")
    return text


def write(server, name, text):
    path = os.path.join(server.home, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


def ca(server):
    return os.path.join(server.dir, "ca.pem")


def password(server, name):
    return server.passwords[f"{name}@example.test"]


def count(server, name, subject):
    box = server.imap(name)
    box.select("INBOX")
    found = box.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
    box.logout()
    return len(found)


def test_swaks(server):
    run(server, "swaks", "--server", "127.0.0.1", "--port", str(server.port(25)), "--from", "x@elsewhere.test", "--to",
        "alice@example.test", "--header", "Subject: by swaks", "--tls")
    run(server, "swaks", "--server", "localhost", "--port", str(server.port(587)), "--from", "alice@example.test", "--to",
        "bob@example.test", "--header", "Subject: by swaks 587", "--tls", "--auth", "PLAIN", "--auth-user", "alice@example.test",
        "--auth-password", password(server, "alice"))
    wait_for(lambda: count(server, "alice", "by swaks") and count(server, "bob", "by swaks 587"), 10, "both arrived")


def test_msmtp(server):
    rc = write(server, ".msmtprc", f"account default\nhost localhost\nport {server.port(465)}\ntls on\ntls_starttls off\n"
               f"tls_trust_file {ca(server)}\nauth on\nuser alice@example.test\npassword \"{password(server, 'alice')}\"\n"
               "from alice@example.test\n")
    run(server, "msmtp", "-C", rc, "bob@example.test", stdin="From: alice@example.test\nSubject: by msmtp\n\nhi\n")
    wait_for(lambda: count(server, "bob", "by msmtp"), 10, "arrived")


def test_curl(server):
    write(server, "mail.txt", "From: bob@example.test\r\nSubject: by curl\r\n\r\nhello from curl\r\n")
    user = f"bob@example.test:{password(server, 'bob')}"
    common = ("curl", "-sS", "--cacert", ca(server), "-u", user)
    run(server, *common, "--url", f"smtps://localhost:{server.port(465)}", "--mail-from", "bob@example.test", "--mail-rcpt",
        "bob@example.test", "-T", "mail.txt")
    wait_for(lambda: count(server, "bob", "by curl"), 10, "arrived")
    expect("INBOX" in run(server, *common, "--url", f"imaps://localhost:{server.port(993)}/"), "LIST by curl")
    expect("EXISTS" not in run(server, *common, "--url", f"imaps://localhost:{server.port(993)}/INBOX?SUBJECT%20curl"), "SEARCH by curl")
    listing = run(server, *common, "--url", f"pop3s://localhost:{server.port(995)}/")
    last = listing.split()[-2]
    expect("hello from curl" in run(server, *common, "--url", f"pop3s://localhost:{server.port(995)}/{last}"), "RETR by curl")


def test_mutt(server):
    server.deliver("alice@example.test", subject="for mutt", body="read by mutt\r\n")
    rc = write(server, ".muttrc", f'set folder="imaps://localhost:{server.port(993)}/"\nset spoolfile="+INBOX"\n'
               f'set imap_user="alice@example.test"\nset imap_pass="{password(server, "alice")}"\nset ssl_ca_certificates_file="{ca(server)}"\n'
               f'set certificate_file="{ca(server)}"\nset record=""\nset timeout=5\n'
               'set quit=yes\nset confirmcreate=no\nset confirmappend=no\nset delete=no\n'
               'push "<tag-pattern>~s mutt<enter><tag-prefix><copy-message><kill-line>=mutt-copy<enter><quit>"\n')
    wait_for(lambda: count(server, "alice", "for mutt"), 10, "arrived")
    run(server, "expect", "-c", f"set timeout 40; spawn mutt -F {rc}; expect eof", env={"TERM": "xterm"}, timeout=60)

    def copied():
        box = server.imap("alice")
        state, _ = box.select("mutt-copy")
        found = state == "OK" and box.search(None, "SUBJECT", '"for mutt"')[1][0].split()
        box.logout()
        return found
    wait_for(copied, 10, "mutt copied the message to a folder it made")


def sync_twice(server, tool, *args):
    run(server, tool, *args)
    run(server, tool, *args)


def test_mbsync(server):
    server.add_account("carol")
    for i in range(30):
        server.deliver("carol@example.test", subject=f"sync {i}")
    wait_for(lambda: count(server, "carol", "sync") == 30, 10, "arrived")
    os.makedirs(os.path.join(server.home, "mb"), exist_ok=True)
    rc = write(server, ".mbsyncrc", f"IMAPAccount c\nHost localhost\nPort {server.port(993)}\nUser carol@example.test\n"
               f"Pass \"{password(server, 'carol')}\"\nSSLType IMAPS\nCertificateFile {ca(server)}\n\nIMAPStore r\nAccount c\n\n"
               f"MaildirStore l\nSubFolders Verbatim\nPath {server.home}/mb/\nInbox {server.home}/mb/INBOX\n\n"
               "Channel c\nFar :r:\nNear :l:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n")
    sync_twice(server, "mbsync", "-c", rc, "-a")
    new = os.path.join(server.home, "mb/INBOX")
    files = [os.path.join(new, d, f) for d in ("new", "cur") for f in os.listdir(os.path.join(new, d))]
    expect(len(files) == 30, f"{len(files)} files of 30")
    victim = files[0]
    os.rename(victim, os.path.join(new, "cur", os.path.basename(victim).split(":")[0] + ":2,ST"))   # seen and trashed here
    with open(os.path.join(new, "new", "123.local.host"), "w") as f:
        f.write("From: me\nSubject: sync made here\n\nx\n")
    sync_twice(server, "mbsync", "-c", rc, "-a")
    expect(count(server, "carol", "sync made here") == 1, "uploaded once")
    expect(count(server, "carol", "sync") == 30, "one deleted, one added")


def test_offlineimap(server):
    """Both sides change between two runs; in the end both have the same, once."""
    server.add_account("olga")
    for i in range(20):
        server.deliver("olga@example.test", subject=f"offline {i}")
    wait_for(lambda: count(server, "olga", "offline") == 20, 10, "arrived")
    rc = write(server, ".offlineimaprc", "[general]\naccounts = a\nui = quiet\n[Account a]\nlocalrepository = l\nremoterepository = r\n"
               f"[Repository l]\ntype = Maildir\nlocalfolders = {server.home}/oi\n[Repository r]\ntype = IMAP\nremotehost = localhost\n"
               f"remoteport = {server.port(993)}\nssl = yes\nsslcacertfile = {ca(server)}\nremoteuser = olga@example.test\n"
               f"remotepass = {password(server, 'olga')}\n")
    run(server, "offlineimap", "-c", rc, "-o")
    here = os.path.join(server.home, "oi/INBOX")

    def local():
        """Subject to flags, of the Maildir."""
        found = {}
        for d in ("new", "cur"):
            for f in os.listdir(os.path.join(here, d)):
                with open(os.path.join(here, d, f)) as message:
                    subject = next(line for line in message if line.startswith("Subject: "))[9:].strip()
                expect(subject not in found, f"{subject} is there twice")
                found[subject] = "".join(sorted(f.partition(":2,")[2]))
        return found

    def remote():
        box = server.imap("olga")
        box.select("INBOX", readonly=True)
        letters = {"\\Seen": "S", "\\Answered": "R", "\\Flagged": "F", "\\Draft": "D", "\\Deleted": "T"}
        found = {}
        for head, text in [x for x in box.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(x, tuple)]:
            subject = text.decode().partition(": ")[2].strip()
            expect(subject not in found, f"{subject} is there twice")
            found[subject] = "".join(sorted(letters[f] for f in head.decode().split("(")[2].split(")")[0].split()))
        box.logout()
        return found

    expect(sorted(local()) == sorted(remote()) and len(local()) == 20, "twenty on both sides")
    files = {}
    for d in ("new", "cur"):
        for f in os.listdir(os.path.join(here, d)):
            with open(os.path.join(here, d, f)) as message:
                files[next(line for line in message if line.startswith("Subject: "))[9:].strip()] = os.path.join(here, d, f)
    for subject, flags in (("offline 1", "S"), ("offline 2", "FS"), ("offline 3", "RS")):   # here
        name = os.path.basename(files[subject]).split(":")[0]
        os.rename(files[subject], os.path.join(here, "cur", f"{name}:2,{flags}"))
    os.remove(files["offline 4"])
    with open(os.path.join(here, "new", "123.1.local.host"), "w") as f:
        f.write("From: me\nSubject: made here\n\nx\n")
    box = server.imap("olga")                                                              # and there
    box.select("INBOX")
    by_subject = lambda text: box.search(None, "SUBJECT", f'"{text}"')[1][0].split()[-1]
    box.store(by_subject("offline 11"), "+FLAGS", "(\\Seen \\Answered)")
    box.store(by_subject("offline 12"), "+FLAGS", "(\\Deleted)")
    box.expunge()
    box.append("INBOX", "(\\Flagged)", None, b"From: me\r\nSubject: made there\r\n\r\nx\r\n")
    box.logout()
    sync_twice(server, "offlineimap", "-c", rc, "-o")
    both = remote()
    expect(local() == both, f"here {local()}\nthere {both}")
    expect(len(both) == 20 and "offline 4" not in both and "offline 12" not in both, "two were deleted, two added")
    expect(both["offline 2"] == "FS" and both["offline 11"] == "RS" and both["made there"] == "F" and "made here" in both, f"{both}")


def test_fetchmail(server):
    server.deliver("bob@example.test", subject="for fetchmail")
    wait_for(lambda: count(server, "bob", "for fetchmail"), 10, "arrived")
    out = os.path.join(server.home, "fetched")
    rc = write(server, ".fetchmailrc", f'poll localhost service {server.port(995)} protocol pop3\n  user "bob@example.test" password '
               f'"{password(server, "bob")}"\n  ssl sslcertfile "{ca(server)}" sslcertck\n  keep\n  mda "cat >> {out}"\n')
    run(server, "fetchmail", "-f", rc, "--nosyslog", "-N", "--all", ok=(0,), env={"FETCHMAILHOME": server.home})
    expect("for fetchmail" in open(out).read(), "fetched, and kept there")
    expect(count(server, "bob", "for fetchmail") == 1, "kept")


def test_getmail(server):
    # getmail sends passwords as ASCII. Its own Maildir writer refuses to work as root. A program that takes a message and ends before getmail has
    # begun to wait for it is waited for in vain (baseclasses.py, _wait_for_child): ours takes a second, and there is one message.
    server.add_account("greta", "words in ascii")
    os.makedirs(os.path.join(server.home, ".getmail"), exist_ok=True)
    out = os.path.join(server.home, "getmail-got")
    rc = write(server, ".getmail/getmailrc", f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = {server.port(993)}\n"
               f"username = greta@example.test\npassword = {password(server, 'greta')}\nca_certs = {ca(server)}\n[destination]\n"
               f"type = MDA_external\npath = /bin/sh\narguments = ('-c', 'cat >> {out}; sleep 1')\nallow_root_commands = true\nunixfrom = true\n"
               "[options]\nread_all = true\ndelete = false\n")
    server.deliver("greta@example.test", subject="for getmail")
    wait_for(lambda: count(server, "greta", "for getmail"), 10, "arrived")
    run(server, "getmail", "--getmaildir", os.path.dirname(rc))
    with open(out, errors="replace") as f:
        expect("Subject: for getmail" in f.read(), "fetched")
    expect(count(server, "greta", "for getmail") == 1, "kept")


def test_clean(server):
    shutil.rmtree(server.home, ignore_errors=True)
