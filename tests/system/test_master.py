"""What master does for all: the log that is moved away and opened anew, facteur.conf, ports that stay while a role is started again."""
import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import smtplib
import socket
import stat
import subprocess
import tempfile
import time

from harness import Server, expect, wait_for


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def test_the_log_is_opened_anew():
    folder = tempfile.mkdtemp(prefix="facteur-log-")
    path = os.path.join(folder, "facteur.log")
    server = Server(conf=(f"log_file = {path}", "log_json = on"))
    try:
        box = server.imap("alice")                       # a cell lives now, too
        box.select("INBOX")
        os.rename(path, path + ".1")
        os.kill(server.process.pid, signal.SIGHUP)
        wait_for(lambda: os.path.exists(path) and "log opened anew" in read(path), 5, "a new file")
        server.deliver("alice@example.test", subject="after logrotate")
        wait_for(lambda: '"role":"mx"' in read(path), 5, "mx writes into it")
        box.logout()
        wait_for(lambda: '"role":"gate"' in read(path), 5, "the gate, too")
        before = len(read(path + ".1"))
        server.deliver("alice@example.test", subject="once more")
        time.sleep(0.3)
        expect(len(read(path + ".1")) == before, "nothing goes into the old file")
        for line in read(path).splitlines():
            expect({"time", "level", "role", "pid", "text"} <= set(json.loads(line)), line)
    finally:
        server.close()
        subprocess.run(["rm", "-r", folder], check=True)


def test_a_log_that_nobody_reads_stops_nobody():
    """What reads the log hangs: the pipe to it fills, and mail goes on."""
    server, (reader, writer) = Server(), os.pipe()
    try:
        server.stop()
        server.process = subprocess.Popen([server.binary, "-d", server.dir, "serve", "--port-offset", str(server.offset)], stdout=writer, stderr=writer,
                                          env=server.env, start_new_session=True)
        server.wait_ready()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"-" * 4096)
        server.deliver("alice@example.test", subject="with a log that nobody reads")
        box = server.imap("alice")
        expect(box.select("INBOX") == ("OK", [b"1"]), "it is read")
        box.logout()
        os.set_blocking(reader, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(reader, 65536):
                pass
        server.deliver("alice@example.test", subject="with one that is read again")
        said = b""
        os.set_blocking(reader, True)
        while b"lines are missing here count=" not in said:
            said += os.read(reader, 65536)
    finally:
        server.close()
        os.close(reader)
        os.close(writer)


def test_a_wrong_setting_is_explained():
    server = Server()
    try:
        server.stop()
        conf = os.path.join(server.dir, "facteur.conf")
        fine = open(conf).read()
        os.mkfifo(os.path.join(server.dir, "pipe"))
        for line, told in (("binnd = 127.0.0.1", "binnd"), ("dns_server = 192.0.2.300", "192.0.2.300"),
                           ("dns_trust_anchor = /nowhere/root.key", "/nowhere/root.key"), (f"log_file = {server.dir}/pipe", "nobody reads")):
            with open(conf, "w") as f:
                f.write("".join(kept + "\n" for kept in fine.splitlines() if not kept.startswith(line.split()[0])) + line + "\n")
            done = subprocess.run([server.binary, "-d", server.dir, "serve", "--port-offset", str(server.offset)], env=server.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
            said = done.stdout.decode()
            expect(done.returncode == 1 and told in said and "facteur.conf" in said, said)
    finally:
        server.close()


def test_a_copy_without_its_owners():
    """Said at once, by the server and by commands, instead of roles that end again and again; setup puts it right, and follows no link."""
    server = Server()
    try:
        server.deliver("alice@example.test")
        wait_for(lambda: server.imap("alice").select("INBOX") == ("OK", [b"1"]), 10, "it is there")
        server.stop()
        owner = {path: os.lstat(path).st_uid for top, folders, files in os.walk(server.dir) for path in (os.path.join(top, n) for n in folders + files)}
        outside = os.path.join(server.dir, "outside")
        with open(outside, "w") as f:
            f.write("root's")
        os.symlink(outside, os.path.join(server.dir, "accounts", "1", "link"))
        os.link(outside, os.path.join(server.dir, "accounts", "1", "name"))
        if not any(owner.values()):
            return  # the roles run as who starts them
        for path in owner:
            os.lchown(path, 0, 0)
        done = subprocess.run([server.binary, "-d", server.dir, "serve", "--port-offset", str(server.offset)], env=server.env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        expect(done.returncode == 1 and b"facteur setup" in done.stdout and b"role ended" not in done.stdout, done.stdout.decode())
        done = server.cli("account", "list", check=False)
        expect(done.returncode == 1 and b"facteur setup" in done.stderr, done)
        said = server.cli("setup")
        expect("another owner" in said and "cp -a): 1" in said, said)
        now = {path: os.lstat(path).st_uid for path in owner if os.path.lexists(path)}
        wrong = {path: now[path] for path in now if now[path] != owner[path]}
        expect(not wrong and os.stat(outside).st_uid == 0, wrong)
        expect("that had another owner" not in server.cli("setup"), "there is nothing left to do")
        os.unlink(os.path.join(server.dir, "accounts", "1", "name"))
        server.start()
        expect(server.imap("alice").select("INBOX") == ("OK", [b"1"]), "the mail is there")
    finally:
        server.close()


def test_limits_of_the_service_are_explained():
    """Too few files: it does not begin. Too small ones: what has to be larger fails, and the roles live on."""
    server = Server()
    try:
        server.stop()
        args = [server.binary, "-d", server.dir, "serve", "--port-offset", str(server.offset)]
        done = subprocess.run(args, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        expect(done.returncode == 1 and "LimitNOFILE" in done.stdout.decode(), done.stdout.decode())
        done = subprocess.run(args, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (60 << 20, 60 << 20)))
        expect(done.returncode == 1 and "LimitAS" in done.stdout.decode() and "role" not in done.stdout.decode(), done.stdout.decode())
        with open(server.log_path, "ab") as log:
            server.process = subprocess.Popen(args, stdout=log, stderr=log, env=server.env, start_new_session=True,
                                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
        server.wait_ready()
        server.deliver("alice@example.test")
        wait_for(lambda: server.imap("alice").select("INBOX") == ("OK", [b"1"]), 10, "it serves")
        expect("role ended" not in server.log() and "File too large" in server.log(), server.log())
    finally:
        server.close()


def test_a_second_server_is_refused():
    server = Server(accounts=())
    try:
        done = subprocess.run([server.binary, "-d", server.dir, "serve", "--port-offset", "1"], env=server.env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20)
        expect(done.returncode == 1 and "another facteur" in done.stdout.decode(), done.stdout.decode())
        expect(server.cli_json("status"), "the first one goes on")
    finally:
        server.close()


def test_no_connection_is_refused_while_a_gate_starts_again():
    server = Server()
    try:
        for pid in server.pids_of("gate"):
            os.kill(pid, signal.SIGKILL)
        s = socket.create_connection(("127.0.0.1", server.port(143)), timeout=10)   # waits in the socket that master keeps
        expect(s.recv(4).startswith(b"* OK"), "greeted by the next gate")
        s.close()
    finally:
        server.close()


def test_both_kinds_of_address():
    try:
        probe = socket.socket(socket.AF_INET6)
        probe.bind(("::1", 0))
        probe.close()
        addresses = "127.0.0.1 ::1"
    except OSError:
        addresses = "127.0.0.1 127.0.0.2"                # a machine without IPv6 still has several addresses
    server = Server()
    try:
        server.stop()
        with open(os.path.join(server.dir, "facteur.conf"), "w") as f:
            f.write(f"bind = {addresses}\n")
        server.start()
        for address in addresses.split():
            s = socket.create_connection((address, server.port(25)), timeout=10)
            expect(s.recv(3) == b"220", address)
            s.close()
    finally:
        server.close()


def break_channels(pid):
    """Ends every channel of a role but the one to master (descriptor 3), as the reader does who is told what he does not understand."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = os.pidfd_open(pid)
    broken = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        if int(name) <= 3:
            continue
        fd = libc.syscall(438, held, int(name), 0)       # pidfd_getfd
        if fd < 0 and ctypes.get_errno() == errno.EBADF:  # it has just been closed
            continue
        expect(fd >= 0, f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.close(fd)
            continue
        with socket.socket(fileno=fd) as s:
            if s.family == socket.AF_UNIX and s.type == socket.SOCK_SEQPACKET:
                s.shutdown(socket.SHUT_RDWR)
                broken += 1
    os.close(held)
    return broken


def fill_channel_to_queue(server, queue):
    """So many messages for a queue that does not read that its channel is given up (4 MB unread); how many of them were answered with 451."""
    senders = []
    for _ in range(90):
        s = server.smtp()
        s.ehlo()
        s.mail("someone@elsewhere.test")
        s.rcpt("alice@example.test")
        expect(s.docmd("DATA")[0] == 354, "begins")
        senders.append(s)
    os.kill(queue, signal.SIGSTOP)
    try:
        for s in senders:
            s.send(b"Subject: much\r\n\r\n" + (b"x" * 70 + b"\r\n") * 780 + b".\r\n")
        wait_for(lambda: "channel to queue is full" in server.log(), 20, "4 MB are not read")
    finally:
        os.kill(queue, signal.SIGCONT)
    codes = [s.getreply()[0] for s in senders]
    for s in senders:
        s.close()
    expect(set(codes) <= {250, 451}, codes)
    return codes.count(451)


def test_roles_that_have_lost_each_other():
    """A message that is not understood, and one too many that is not read, costs the channel, not the service: mail is taken again, with the same
    processes."""
    server = Server()
    try:
        server.deliver("alice@example.test", subject="before")
        roles = {role: server.pids_of(role) for role in ("mx", "queue", "control", "keys", "net")}
        expect(break_channels(roles["mx"][0]) >= 3, "keys, queue, control")
        expect(break_channels(roles["net"][0]) >= 3, "queue, keys, control")
        wait_for(lambda: server.log().count("connected again") >= 5, 10, "master connects them again")

        def taken():
            try:
                server.deliver("alice@example.test", subject="after")
                return True
            except (OSError, smtplib.SMTPException):
                return False
        wait_for(taken, 10, "mail is taken again")
        said = server.log().count("connected again")
        unread = fill_channel_to_queue(server, roles["queue"][0])
        expect("channel to queue is full" in server.log() and unread, "what is not read has an end, and its senders are told to try again")
        wait_for(lambda: server.log().count("connected again") > said, 10, "master connects those, too")
        wait_for(taken, 10, "mail is taken again")
        expect({role: server.pids_of(role) for role in roles} == roles, "nobody was started again")
    finally:
        server.close()


def test_a_role_that_hangs_is_ended():
    """It closes no channel, and would stand still for ever; one that answers stays, however long."""
    server = Server(conf=("role_patience = 6s",))
    try:
        before = {role: server.pids_of(role) for role in ("nursery", "keys", "control", "net", "queue", "mx", "gate")}
        for role in ("mx", "queue"):
            os.kill(before[role][0], signal.SIGSTOP)
            wait_for(lambda: server.pids_of(role) not in ([], before[role]), 40, f"{role} is started again")
            expect(f"ended and started again name={role}" in server.log(), "and the log says why")
            server.wait_ready()
            server.deliver("alice@example.test", subject=f"after {role}")
        for role in set(before) - {"mx", "queue"}:
            expect(server.pids_of(role) == before[role], f"{role} has answered all the time")
        box = server.imap("alice")
        wait_for(lambda: box.select("INBOX") == ("OK", [b"2"]), 10, "both are there")
        box.logout()
    finally:
        server.close()
