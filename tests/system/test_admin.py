"""What commands change is so for everybody who is served, at once: logins, sessions, mail that comes in, cells that sleep."""
import concurrent.futures
import contextlib
import imaplib
import json
import os
import poplib
import re
import shutil
import signal
import smtplib
import subprocess
import time

from harness import Server, expect, wait_for


def make_server():
    return Server(accounts=("alice", "dave", "carol"))


def login_fails(server, name, password):
    box = imaplib.IMAP4_SSL("localhost", server.port(993), ssl_context=server.tls())
    try:
        box.login(f"{name}@example.test", password)
    except imaplib.IMAP4.error as e:
        return str(e)
    finally:
        box.shutdown()
    return ""


def has_ended(box):
    try:
        box.noop()
        return False
    except (imaplib.IMAP4.abort, OSError):
        return True


def rcpt(server, address):
    s = smtplib.SMTP("127.0.0.1", server.port(25), timeout=30)
    try:
        s.ehlo()
        s.mail("someone@elsewhere.test")
        code, reply = s.rcpt(address)
        return code, reply.decode()
    finally:
        s.close()


def count(server, name, mailbox="INBOX"):
    box = server.imap(name)
    try:
        return int(box.select(mailbox)[1][0])
    finally:
        box.logout()


def test_sessions_are_listed_and_ended(server):
    box = server.imap("alice")
    box.select("INBOX")
    rows = server.cli_json("sessions", "alice@example.test")
    expect(len(rows) == 1 and rows[0]["protocol"] == "imap" and rows[0]["peer"] == "127.0.0.1" and rows[0]["tls"], f"listed: {rows}")
    other = server.imap("dave")
    server.cli("sessions", "end", "alice@example.test")
    wait_for(lambda: has_ended(box), 2, "alice's session ends")
    expect(not has_ended(other), "dave's session goes on")
    other.logout()
    wait_for(lambda: not server.cli_json("sessions", "alice@example.test"), 5, "it is not listed any more")
    server.imap("alice").logout()


def test_parked_session_ends_with_the_password(server):
    raw = server.raw(993, tls=True)
    raw.line()
    raw.command(f'a1 LOGIN alice@example.test "{server.passwords["alice@example.test"]}"', "a1 ")
    raw.command("a2 SELECT INBOX", "a2 ")
    raw.send("a3 IDLE\r\n")
    raw.until("+")
    wait_for(lambda: [r for r in server.cli_json("sessions", "alice@example.test") if r["parked"]], 10, "the session is parked")
    old = server.passwords["alice@example.test"]
    server.cli("account", "password", "alice@example.test", "--password-stdin", stdin="a new one\n")
    server.passwords["alice@example.test"] = "a new one"
    begin = time.monotonic()
    try:
        while True:
            raw.line(timeout=5)
    except (EOFError, OSError):
        pass
    expect(time.monotonic() - begin < 3, "the parked session ended")
    expect("AUTHENTICATIONFAILED" in login_fails(server, "alice", old), "the old password is wrong now")
    server.imap("alice").logout()


def test_suspended_account(server):
    box = server.imap("dave")
    server.cli("account", "suspend", "dave@example.test")
    wait_for(lambda: has_ended(box), 2, "the session ends")
    expect(login_fails(server, "dave", server.passwords["dave@example.test"]), "no login while suspended")
    server.deliver("dave@example.test", subject="kept")
    server.cli("account", "resume", "dave@example.test")
    wait_for(lambda: count(server, "dave") >= 1, 10, "mail was kept meanwhile")


def test_new_names_are_known_at_once(server):
    expect(rcpt(server, "sales@example.test")[0] == 550, "unknown before")
    server.cli("alias", "add", "sales@example.test", "alice@example.test", "dave@example.test")
    expect(rcpt(server, "sales@example.test")[0] == 250, "known in the moment the command returns")
    server.cli("alias", "remove", "sales@example.test")
    expect(rcpt(server, "sales@example.test")[0] == 550, "and unknown again")
    server.cli("domain", "add", "other.test")
    server.cli("domain", "catch-all", "other.test", "alice@example.test")
    expect(rcpt(server, "whoever@other.test")[0] == 250, "the catch-all of a new domain")


def test_deleted_and_back(server):
    server.deliver("carol@example.test", subject="before")
    wait_for(lambda: count(server, "carol") == 1, 10, "delivered")
    server.cli("account", "delete", "carol@example.test")
    expect(rcpt(server, "carol@example.test")[0] == 550, "no mail for a deleted account")
    expect(login_fails(server, "carol", server.passwords["carol@example.test"]), "no login")
    refused = server.cli("account", "add", "carol@example.test", "--generate", check=False)
    expect(refused.returncode == 1 and b"undelete" in refused.stderr, f"the address is reserved: {refused.stderr}")
    server.cli("account", "undelete", "carol@example.test")
    expect(count(server, "carol") == 1, "its mail is back")
    server.cli("account", "delete", "carol@example.test")
    folder = os.path.join(server.dir, "accounts", str(server.cli_json("account", "show", "carol@example.test")["account"]))
    expect(os.path.isdir(folder), "the folder is there until the purge")
    server.cli("account", "purge", "carol@example.test", "--yes")
    expect(not os.path.exists(folder), "and gone after it")
    server.add_account("carol")
    expect(count(server, "carol") == 0, "a new carol begins with nothing")


def test_erased_messages_come_back(server):
    server.deliver("carol@example.test", subject="precious")
    wait_for(lambda: count(server, "carol") == 1, 10, "delivered")
    box = server.imap("carol")
    box.select("INBOX")
    box.store("1", "+FLAGS", "\\Deleted")
    box.expunge()
    box.logout()
    expect(count(server, "carol") == 0, "erased")
    result = server.cli_json("message", "undelete", "carol@example.test", "--since", "1h")
    expect(result["restored"] == 1, f"{result}")
    expect(count(server, "carol") == 1, "it is back")
    rows = server.cli_json("account", "mailboxes", "carol@example.test")
    expect([r for r in rows if r["role"] == "inbox"][0]["messages"] == 1, f"the command counts the same: {rows}")


def test_quota_that_changes(server):
    server.deliver("dave@example.test", body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 3000)
    wait_for(lambda: server.cli_json("account", "mailboxes", "dave@example.test")[0]["size"] > 200000, 10, "delivered")
    server.cli("config", "set", "quota", "100kB", "--account", "dave@example.test")
    wait_for(lambda: rcpt(server, "dave@example.test")[0] == 452, 40, "the running cell reports that it is full; mx says so")
    server.cli("config", "set", "over_quota_temporary", "off")
    expect(rcpt(server, "dave@example.test")[0] == 552, "a server setting holds at once")
    server.cli("config", "unset", "over_quota_temporary")
    server.cli("config", "set", "quota", "10MB", "--account", "dave@example.test")
    expect(rcpt(server, "dave@example.test")[0] == 250, "with more room it is taken at once")


def spoil(server, name, text):
    """The disk gives back another byte; whether a cell runs or not."""
    folder = os.path.join(server.dir, "accounts", str(server.cli_json("account", "show", f"{name}@example.test")["account"]), "bodies")
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), "r+b") as f:
            at = f.read().find(text)
            if at >= 0:
                f.seek(at)
                f.write(b"?")
                return file
    raise AssertionError(f"{text} is in no file of {folder}")


def test_damaged_message(server):
    for word in "violet", "yellow":
        server.deliver("carol@example.test", body=f"The {word} house\r\n")
    box = server.imap("carol")
    wait_for(lambda: box.select("INBOX")[0] == "OK" and box.uid("SEARCH", "BODY", "yellow")[1][0], 10, "delivered")
    uid = box.uid("SEARCH", "BODY", "yellow")[1][0].decode()
    expect("as they were stored" in server.cli("account", "check", "carol@example.test"), "all is well")
    file = spoil(server, "carol", b"yellow")
    kind, data = box.uid("FETCH", uid, "(BODY.PEEK[])")
    expect(kind == "NO" and b"CORRUPTION" in data[0], f"the client is told: {kind} {data}")
    with contextlib.closing(server.pop3("carol")) as pop:
        whole, refused = 0, ""
        for number in range(1, pop.stat()[0] + 1):
            try:
                whole += b"." not in pop.retr(number)[1]
            except poplib.error_proto as e:
                refused += str(e)
        expect(whole >= 1 and refused.count("damaged") == 1, f"POP3: {whole} {refused}")
        pop.quit()
    done = server.cli("account", "check", "carol@example.test", "--json", check=False)
    rows = json.loads(done.stdout)
    expect(done.returncode == 1 and len(rows) == 1, f"one is damaged: {done}")
    expect(rows[0]["mailbox"] == "INBOX" and str(rows[0]["uid"]) == uid and rows[0]["damage"] == "damaged" and rows[0]["file"] == f"bodies/{file}", f"{rows}")
    expect(server.log().count("a message is damaged on the disk") >= 1, "and it is in the log")
    box.uid("STORE", uid, "+FLAGS", "\\Deleted")
    box.expunge()
    box.logout()


def test_full_account_that_is_emptied(server):
    before = count(server, "carol")
    server.cli("config", "set", "quota", "100kB", "--account", "carol@example.test")
    server.deliver("carol@example.test", subject="the last that goes in", body=("y" * 70 + "\r\n") * 3000)
    wait_for(lambda: rcpt(server, "carol@example.test")[0] == 452, 10, "full after that delivery")
    expect(count(server, "carol") == before + 1, "it is there")
    box = server.imap("carol")
    box.select("INBOX")
    box.store("1:*", "+FLAGS", "\\Deleted")
    box.expunge()
    wait_for(lambda: rcpt(server, "carol@example.test")[0] == 250, 5, "taken again while the session that made room is still there")
    box.logout()
    server.cli("config", "unset", "quota", "--account", "carol@example.test")


def test_renamed_account(server):
    server.cli("account", "rename", "dave@example.test", "david@example.test")
    server.passwords["david@example.test"] = server.passwords["dave@example.test"]
    for name in ("dave", "david"):
        expect(rcpt(server, f"{name}@example.test")[0] == 250, f"mail for {name}")
        server.imap(name).logout()
    server.cli("account", "rename", "david@example.test", "dave@example.test", "--drop-old")
    expect(rcpt(server, "david@example.test")[0] == 550, "the dropped address is unknown")


def test_what_is_shared(server):
    """The command line and mail programs change the same lists of rights."""
    server.cli("account", "share", "alice@example.test", "Sent", "dave@example.test", "read")
    box = server.imap("alice")
    try:
        got = box.getacl("Sent")[1][0].decode()
        expect('"dave@example.test" lr' in got and '"alice@example.test" lrswipkxtecda' in got, f"GETACL: {got}")
        expect(box.setacl("Sent", "carol@example.test", "lrs")[0] == "OK", "SETACL")
    finally:
        box.logout()
    rows = server.cli_json("account", "shares", "alice@example.test")["rows"]
    expect([(r["shared_with"], r["may"], r["rights"]) for r in rows] == [("carol@example.test", "some", "lrs"), ("dave@example.test", "read", "lr")], f"{rows}")
    for name in ("carol", "dave"):
        server.cli("account", "unshare", "alice@example.test", "Sent", f"{name}@example.test")
    expect(server.cli_json("account", "shares", "alice@example.test") == {"sharers": [], "rows": []}, "nothing is shared any more")


def test_app_passwords(server):
    made = server.cli_json("app-password", "add", "alice@example.test", "phone", "--for", "imap")
    box = imaplib.IMAP4_SSL("localhost", server.port(993), ssl_context=server.tls())
    box.login("alice@example.test", made["password"])
    s = smtplib.SMTP_SSL("localhost", server.port(465), context=server.tls(), timeout=30)
    try:
        s.login("alice@example.test", made["password"])
        raise AssertionError("submission with a password for IMAP only")
    except smtplib.SMTPAuthenticationError:
        s.close()
    server.cli("app-password", "remove", "alice@example.test", str(made["app_password_id"]))
    wait_for(lambda: has_ended(box), 2, "its session ends")
    expect(login_fails(server, "alice", made["password"]), "it does not log in any more")


def test_what_waits_in_the_queue(server):
    s = server.submission("alice")
    s.sendmail("alice@example.test", ["x@elsewhere.example", "y@elsewhere.example"],
               b"From: alice@example.test\r\nTo: x@elsewhere.example\r\nSubject: far away\r\n\r\ntext\r\n")
    s.quit()
    rows = wait_for(lambda: server.cli_json("queue", "list", "--from", "alice"), 20, "mail for elsewhere waits")
    expect(len(rows) == 1 and rows[0]["waiting"] == 2 and rows[0]["sender"] == "alice@example.test", f"{rows}")
    name = rows[0]["message"]
    expect(not server.cli_json("queue", "list", "--to", "nobody@"), "the filter")
    shown = server.cli("queue", "show", name)
    expect("x@elsewhere.example" in shown and "y@elsewhere.example" in shown, shown)
    server.cli("queue", "hold", name)
    expect(server.cli_json("queue", "list", "--held")[0]["held"] == 2, "held")
    expect(server.cli_json("queue", "status")["held"] == 2, "and counted")
    server.cli("queue", "release", name)
    expect(not server.cli_json("queue", "list", "--held"), "released")
    server.cli("queue", "retry", name)
    server.cli("queue", "remove", name)
    expect(not server.cli_json("queue", "list", "--from", "alice"), "removed")
    gone = server.cli("queue", "show", name, check=False)
    expect(gone.returncode == 1 and b"queue list" in gone.stderr, f"{gone.stderr}")
    expect(server.cli("queue", "retry", "nonsense", check=False).returncode == 1, "not a name")


def test_certificates_are_listed(server):
    rows = server.cli_json("certificate", "list")
    expect(len(rows) == 1 and "localhost" in rows[0]["names"] and rows[0]["expires"] > time.time(), f"{rows}")
    expect(server.cli_json("status")["certificate_expires"] == rows[0]["expires"], "status names the first to expire")


def test_many_commands_at_once(server):
    def add(i):
        server.cli("account", "add", f"user{i}@example.test", "--generate")
        return rcpt(server, f"user{i}@example.test")[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(add, range(24)))
    expect(codes == [250] * 24, f"each is known when its command returns: {codes}")
    expect(len([r for r in server.cli_json("account", "list") if r["address"].startswith("user")]) == 24, "all are there")


def test_control_dies_and_commands_go_on(server):
    box = server.imap("alice")
    for pid in server.pids_of("control"):
        os.kill(pid, signal.SIGKILL)
    expect(rcpt(server, "alice@example.test")[0] == 250, "mx needs no control")
    wait_for(lambda: server.cli("account", "list", check=False).returncode == 0, 15, "commands are answered again")
    server.cli("alias", "add", "again@example.test", "alice@example.test")
    expect(rcpt(server, "again@example.test")[0] == 250, "published by the new one")
    rows = server.cli_json("account", "mailboxes", "alice@example.test")
    expect(rows[0]["mailbox"] == "INBOX", "the running cell is known to the new one")
    expect(not has_ended(box), "no session was lost")
    box.logout()


def test_secrets_stay_out_of_the_log(server):
    server.cli("account", "password", "alice@example.test", "--password-stdin", stdin="zanzibar-zeppelin\n")
    server.passwords["alice@example.test"] = "zanzibar-zeppelin"
    made = server.cli_json("account", "password", "carol@example.test", "--generate")
    app = server.cli_json("app-password", "add", "carol@example.test", "tablet")
    log = server.log()
    for secret in ("zanzibar", made["password"], app["password"]):
        expect(not re.search(re.escape(secret), log), "no password in the log")



def test_commands_without_a_server(server):
    server.stop()
    server.cli("account", "add", "offline@example.test", "--generate")
    rows = server.cli_json("account", "mailboxes", "alice@example.test")
    expect(rows[0]["mailbox"] == "INBOX", f"{rows}")
    expect(server.cli("sessions", check=False).returncode == 1, "sessions need a server")
    server.start()
    expect(rcpt(server, "offline@example.test")[0] == 250, "what was made without a server is known after the start")
    server.imap("alice").logout()


def uidvalidities(server):
    box = server.imap("alice")
    found = {name: int(re.search(rb"UIDVALIDITY (\d+)", box.status(name, "(UIDVALIDITY)")[1][0]).group(1)) for name in ("INBOX", "Sent", "Trash")}
    box.logout()
    return found


def test_mail_programs_read_anew_what_was_put_back_from_a_copy(server):
    before = uidvalidities(server)
    wait_for(lambda: time.time() > max(before.values()) + 1, 30, "the clock is past the beginning of the mailboxes")
    copy = server.dir + "-copy"
    server.stop()
    subprocess.run(["cp", "-a", server.dir, copy], check=True)
    server.start()
    server.deliver("alice@example.test", subject="after the copy was made")
    expect(uidvalidities(server) == before, "a stop and a start change nothing")
    server.stop()
    shutil.rmtree(server.dir)
    os.rename(copy, server.dir)
    server.cli("config", "set", "put_back", str(int(time.time())))
    server.start()
    after = uidvalidities(server)
    expect(all(after[name] > before[name] for name in before), f"{before} {after}")
    expect(uidvalidities(server) == after, "once")


def test_whatever_dies_an_account_is_whole_or_not_there(server):
    def add(i):
        done = server.cli("account", "add", f"torn{i}@example.test", "--password-stdin", stdin=f"password {i}\n", check=False)
        return done.returncode == 0

    made = []
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = [pool.submit(add, i) for i in range(30)]
        for role in ("control", "keys", "control", "mx"):
            time.sleep(0.15)
            for pid in server.pids_of(role):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        made = [i for i, r in enumerate(results) if r.result()]
    server.kill_all()
    server.start()
    for i in range(30):
        name = f"torn{i}@example.test"
        if i not in made and not add(i):  # what was not acknowledged is there and whole, or can be made (again)
            server.cli("account", "password", name, "--password-stdin", stdin=f"password {i}\n", check=False)
            shown = server.cli("account", "show", name, "--json", check=False)
            if json.loads(shown.stdout).get("state") != "active":  # or erased meanwhile: control does that by itself soon after its start
                server.cli("account", "purge", name, "--yes", check=False)
                expect(add(i), f"{name} can be made again")
        server.passwords[name] = f"password {i}"
        server.imap(f"torn{i}").logout()
        expect(rcpt(server, name)[0] == 250, f"mail for {name}")


def test_figures_while_somebody_works(server):
    """account list and account show have what the cell that runs knows, not what it said when it began."""
    server.add_account("busy")
    c = server.raw(993, tls=True)
    c.line()
    c.command(f'a login busy@example.test "{server.passwords["busy@example.test"]}"', "a OK")
    for n in range(1, 4):
        c.send("a append INBOX {6+}\r\nx: y\r\n\r\n")
        c.until("a OK")
        expect(server.cli_json("account", "show", "busy@example.test")["messages"] == n, f"{n} shown")
        expect([a["messages"] for a in server.cli_json("account", "list") if a["address"] == "busy@example.test"] == [n], f"{n} listed")
    c.close()
