"""IMAP with two devices on one account, over real TLS."""
import glob
import imaplib
import itertools
import os
import re
import signal
import threading
import time

from harness import Server, expect, wait_for

FR = "Été/À faire"


def make_server():
    return Server()


def login(server, name="alice"):
    c = server.raw(993, tls=True)
    c.line()
    c.command(f'l login {name}@example.test "{server.passwords[name + "@example.test"]}"'.encode().decode(), "l OK")
    return c


def ok(c, command, tag="x"):
    lines = c.command(f"{tag} {command}", tag + " ")
    expect(lines[-1].startswith(tag + " OK"), f"{command}: {lines[-1]}")
    return lines[:-1]


def append(c, mailbox, text, flags=""):
    data = text.replace("\n", "\r\n").encode()
    c.send(f'ap APPEND "{mailbox}" {flags}{{{len(data)}}}\r\n')
    c.until("+")
    c.send(data + b"\r\n")
    last = c.until("ap ")[-1]
    expect(last.startswith("ap OK [APPENDUID"), last)
    return int(re.search(r"APPENDUID \d+ (\d+)", last).group(1))


def test_clear_text_has_no_login(server):
    c = server.raw(143)
    greeting = c.line()
    expect("LOGINDISABLED" in greeting and "STARTTLS" in greeting, greeting)
    last = c.command("a LOGIN alice@example.test x", "a ")[-1]
    expect(last.startswith("a NO") or last.startswith("a BAD"), last)
    expect("PRIVACYREQUIRED" in last or "TLS" in last, last)
    c.close()


def test_capabilities_after_login(server):
    c = login(server)
    caps = " ".join(ok(c, "CAPABILITY"))
    for word in ("IMAP4rev1", "IMAP4rev2", "IDLE", "NAMESPACE", "ID", "UNSELECT", "UIDPLUS", "MOVE", "ENABLE", "CONDSTORE",
                 "QRESYNC", "SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS", "ESEARCH", "CHILDREN", "STATUS=SIZE", "UTF8=ACCEPT",
                 "COMPRESS=DEFLATE", "QUOTA", "OBJECTID", "APPENDLIMIT", "MULTIAPPEND", "BINARY", "SEARCHRES",
                 "SORT", "SORT=DISPLAY", "ESORT", "WITHIN", "SAVEDATE", "PREVIEW", "PARTIAL",
                 "THREAD=REFERENCES", "THREAD=REFS", "REPLACE",
                 "METADATA", "LIST-METADATA"):
        expect(re.search(rf"(^| ){re.escape(word)}", caps), f"{word} in {caps}")
    c.close()


def test_folders_by_role(server):
    c = login(server)
    lines = ok(c, 'LIST "" "*" RETURN (SPECIAL-USE)')
    for role in ("\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive"):
        expect(any(role in line for line in lines), f"{role} in {lines}")
    c.close()


def test_folder_with_accents(server):
    box = imaplib.IMAP4_SSL("localhost", server.port(993), ssl_context=server.tls())
    box.login("alice@example.test", server.passwords["alice@example.test"])
    name = '"&AMk-t&AOk-/&AMA- faire"'
    expect(box.create(name)[0] == "OK", "CREATE")
    expect(any(b"&AMk-t&AOk-/&AMA- faire" in line for line in box.list()[1]), "LIST in UTF-7")
    box.logout()
    c = login(server)
    ok(c, "ENABLE IMAP4rev2")
    lines = ok(c, 'LIST "" "*"')
    expect(any(FR in line for line in lines), f"LIST in UTF-8: {lines}")
    ok(c, f'RENAME "{FR}" "{FR}!"')
    ok(c, f'DELETE "{FR}!"')
    c.close()


def test_two_devices_see_each_other(server):
    a, b = login(server), login(server)
    ok(a, "SELECT INBOX")
    ok(b, "SELECT INBOX")
    uid = append(a, "INBOX", "Subject: two devices\n\nbody\n")
    lines = ok(b, "NOOP")
    expect(any("EXISTS" in line for line in lines), f"{lines}")
    ok(a, f"UID STORE {uid} +FLAGS (\\Seen $Work)")
    lines = ok(b, "NOOP")
    expect(any("\\Seen" in line and "$Work" in line for line in lines), f"{lines}")
    ok(b, f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
    ok(b, "EXPUNGE")
    lines = ok(a, "NOOP")
    expect(any("EXPUNGE" in line for line in lines), f"{lines}")
    a.close()
    b.close()


def test_own_changes_hide_none_of_others(server):
    """Another device sets a flag while this one reads (\\Seen) or stores another flag of the same messages: each is told in the end."""
    a, b = login(server), login(server)
    ok(a, "CREATE Race")
    for i in range(40):
        append(a, "Race", f"Subject: {i}\n\nbody\n")
    ok(a, "SELECT Race")
    ok(b, "SELECT Race")
    for turn in range(100):
        ok(a, "STORE 1:* -FLAGS (\\Seen \\Flagged)")
        ok(b, "NOOP")
        go = threading.Barrier(2)

        def other():
            go.wait()
            ok(b, "STORE 1:* +FLAGS.SILENT (\\Flagged)")
        thread = threading.Thread(target=other)
        thread.start()
        go.wait()
        lines = ok(a, "FETCH 1:* (BODY[TEXT])" if turn % 2 else "STORE 1:* +FLAGS.SILENT (\\Seen)")
        thread.join()
        told = dict(re.findall(r"^\* (\d+) FETCH .*FLAGS \(([^)]*)\)", "\n".join(lines + ok(a, "NOOP")), re.M))
        expect(all("Flagged" in told.get(str(i), "") for i in range(1, 41)), f"turn {turn}: {told}")
    ok(a, "UNSELECT")
    ok(a, "DELETE Race")
    a.close()
    b.close()


def test_parked_session_goes_on(server):
    a = login(server)
    ok(a, "SELECT INBOX")
    uid = append(a, "INBOX", "Subject: parked\n\nbody\n")
    ok(a, "NOOP")
    time.sleep(3.5)  # parked after 2 s
    b = login(server)
    ok(b, "SELECT INBOX")
    ok(b, f"UID STORE {uid} +FLAGS (\\Flagged)")
    append(b, "INBOX", "Subject: while parked\n\nbody\n")
    lines = ok(a, "NOOP")
    expect(any("\\Flagged" in line for line in lines) and any("EXISTS" in line for line in lines), f"{lines}")
    lines = ok(a, f"UID FETCH {uid} (FLAGS)")
    expect(any(f"UID {uid}" in line for line in lines), f"{lines}")
    ok(b, f"UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
    time.sleep(2.8)
    ok(b, "EXPUNGE")
    lines = ok(a, "NOOP")
    expect(any("EXPUNGE" in line for line in lines), f"{lines}")
    a.close()
    b.close()


def test_qresync_gives_exactly_the_difference(server):
    a = login(server, "bob")
    ok(a, "CREATE Sync")
    uids = [append(a, "Sync", f"Subject: s{i}\n\nx\n") for i in range(10)]
    lines = ok(a, "SELECT Sync (CONDSTORE)")
    text = "\n".join(lines)
    modseq = int(re.search(r"HIGHESTMODSEQ (\d+)", text).group(1))
    validity = int(re.search(r"UIDVALIDITY (\d+)", text).group(1))
    ok(a, f"UID STORE {uids[2]} +FLAGS (\\Seen)")
    ok(a, f"UID STORE {uids[4]},{uids[5]} +FLAGS.SILENT (\\Deleted)")
    ok(a, "EXPUNGE")
    b = login(server, "bob")
    ok(b, "ENABLE QRESYNC")
    text = "\n".join(ok(b, f"SELECT Sync (QRESYNC ({validity} {modseq}))"))
    vanished = re.search(r"VANISHED \(EARLIER\) (\S+)", text)
    expect(vanished and vanished.group(1) in (f"{uids[4]}:{uids[5]}", f"{uids[4]},{uids[5]}"), text)
    changed = re.findall(r"FETCH \(.*?UID (\d+)", text)
    expect(changed == [str(uids[2])], f"only the changed one: {text}")
    a.close()
    b.close()


def test_compress(server):
    import zlib
    c = login(server)
    expect(c.command("z COMPRESS DEFLATE", "z ")[-1].startswith("z OK"), "COMPRESS")
    out, inn = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def say(line):
        c.sock.sendall(out.compress(line.encode() + b"\r\n") + out.flush(zlib.Z_SYNC_FLUSH))
        text = b""
        while b"\r\nq " not in b"\r\n" + text or not text.endswith(b"\n"):
            text += inn.decompress(c.sock.recv(65536))
        return text.decode()
    expect("q OK" in say("q SELECT INBOX"), "a command through deflate")
    time.sleep(3)
    expect("q OK" in say("q NOOP"), "and after parking")
    c.close()


def test_password_change_ends_sessions(server):
    server.add_account("dora")
    c = login(server, "dora")
    ok(c, "SELECT INBOX")
    server.cli("account", "password", "dora@example.test", "--password-stdin", stdin="a new password 7\n")
    start = time.monotonic()
    try:
        while time.monotonic() - start < 5:
            c.send("n NOOP\r\n")
            c.until("n ")
            time.sleep(0.2)
        raise AssertionError("the session lives on with the old password")
    except (EOFError, OSError):
        expect(time.monotonic() - start < 3, "ended within a second or so")


def value(data, at=0):
    """One value of IMAP at a place, strictly: what RFC 9051 §9 allows, and where it ends."""
    if data[at:at + 1] == b"(":
        out, at = [], at + 1
        while data[at:at + 1] != b")":
            item, at = value(data, at)
            out.append(item)
            at += data[at:at + 1] == b" "
            expect(at < len(data), "a list that is not closed")
        return out, at + 1
    literal = re.compile(rb"~?\{(\d+)\}\r\n").match(data, at)
    if literal:
        return data[literal.end():literal.end() + int(literal[1])], literal.end() + int(literal[1])
    plain = re.compile(rb'"(?:[^"\\\r\n\0\x80-\xff]|\\["\\])*"|[^\s(){%*"\x00-\x1f\x7f-\xff]+').match(data, at)
    expect(plain, f"no value of IMAP: {data[at:at + 80]}")
    return plain[0], plain.end()


def fetched(box, uid, items):
    state, data = box.uid("FETCH", str(uid), items)
    expect(state == "OK", f"{items[:50]}: {data}")
    raw = b"".join(x[0] + b"\r\n" + x[1] if isinstance(x, tuple) else x for x in data)
    raw = raw[raw.index(b"("):]
    out, end = value(raw)
    expect(end == len(raw), f"{items[:50]}: more follows: {raw[end:end + 50]}")
    return out


def depth(item):
    return 1 + max((depth(x) for x in item if isinstance(x, list)), default=0)


def odd_messages():
    mixed = 'Content-Type: multipart/mixed; boundary="b{}"\r\n\r\n--b{}\r\n'
    yield "deep", ("Subject: deep\r\nMIME-Version: 1.0\r\n" + "".join(mixed.format(i, i) for i in range(60)) + "\r\nx\r\n" +
                   "".join(f"--b{i}--\r\n" for i in reversed(range(60)))).encode()
    yield "letters in letters", b"Subject: x\r\nContent-Type: message/rfc822\r\n\r\n" * 60 + b"\r\nx\r\n"
    yield "wide", b"Content-Type: multipart/mixed; boundary=w\r\n\r\n" + b"".join(
        b"--w\r\n\r\npart\r\n" for _ in range(10100)) + b"--w--\r\n"
    yield "many fields", b"Subject: x\r\n" + (b"X-Field: " + b"v" * 90 + b"\r\n") * 13001 + b"\r\nbody\r\n"
    yield "long lines", b"Subject: " + b"x" * 900000 + b"\r\nTo: " + b", ".join(b"a%d%s@example.test" % (i, b"y" * 180) for i in range(4500)) + b"\r\n\r\nbody\r\n"
    yield "eight bits", "Subject: été\r\nFrom: Éric <é@x>\r\nContent-Type: text/plain; name=\"é\"\r\n\r\né\r\n".encode()
    yield "broken", (b'Subject: \xe9\xff\r\nFrom: "\xe9 (" <a@b\r\nTo: <<<>>,,;;:\r\nDate: never\r\nContent-Type: multipart/\xff; boundary=\r\n'
                     b"\r\n--\r\nx")
    yield "controls", (b'Subject: a\x01b\x7f"\\\r\nFrom: "q\\"uo\\\\te" <x@y>\r\nContent-Type: a/b; c="\\"\x02"; d*0=e; d*1*=%ff%00\r\n'
                       b"Content-Disposition: (\r\n\r\nx\r\n")


def test_odd_messages(server):
    """10,100 parts, 60 levels, headers of more than 1 MB, broken MIME: every answer is one that a client can read."""
    box = server.imap("bob")
    box.create("odd")
    box.select("odd")
    for name, text in odd_messages():
        state, said = box.append("odd", None, None, text)
        expect(state == "OK", f"{name}: {said}")
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", said[0])[1])
        box.noop()
        structure = fetched(box, uid, "(ENVELOPE BODYSTRUCTURE)")
        expect(len(structure[structure.index(b"BODYSTRUCTURE") + 1]) <= 10010 and depth(structure) <= 55, f"{name}: limits of MIME")
        expect(text in fetched(box, uid, "(BODY.PEEK[])"), f"{name}: its bytes come back")
        for section in ("1", "1.MIME", "HEADER", "TEXT", "9999", ".".join("1" * 49), "HEADER.FIELDS (TO SUBJECT)", "HEADER.FIELDS.NOT (TO)"):
            fetched(box, uid, f"(BODY.PEEK[{section}])")
        fetched(box, uid, "(PREVIEW BINARY.PEEK[1])")
        expect(box.uid("SEARCH", None, f'UID {uid} TEXT "nowhere to be found"')[1] == [b""], name)
    expect(len(box.uid("SORT", "(SUBJECT FROM TO DATE)", "UTF-8", "ALL")[1][0].split()) == 8, "SORT has them all")
    expect(len(re.findall(rb"\d+", box.uid("THREAD", "REFERENCES", "UTF-8", "ALL")[1][0])) == 8, "THREAD has them all")
    box.delete("odd")
    box.logout()


def test_unauthenticate(server):
    """One connection, two accounts, one after the other: in one write, and in pieces that follow each other closely."""
    alice, bob = (server.passwords[f"{name}@example.test"] for name in ("alice", "bob"))
    c = login(server)
    ok(c, "CREATE only-alice")
    ok(c, "ENABLE QRESYNC")
    ok(c, "SELECT INBOX")
    c.send(f'u1 UNAUTHENTICATE\r\nu2 LOGIN bob@example.test {{{len(bob.encode())}+}}\r\n'.encode() + bob.encode() + b'\r\nu3 LIST "" *\r\nu4 CLOSE\r\n')
    expect(c.until("u1 ")[-1].startswith("u1 OK"), "given up")
    expect(c.until("u2 ")[-1].startswith("u2 OK [CAPABILITY"), "logged in anew")
    expect(not any("only-alice" in line for line in c.until("u3 ")), "bob sees his own mailboxes")
    expect(c.until("u4 ")[-1].startswith("u4 BAD"), "no mailbox is selected")
    for turn in range(30):
        for piece in ("v1 UNAUTH", "ENTICATE\r\nv2 LO", f'GIN alice@example.test "{alice}"\r\nv3 NO', "OP\r\n"):
            c.send(piece.encode())
            time.sleep(0.001 * (turn % 3))
        for tag in ("v1", "v2", "v3"):
            expect(c.until(tag + " ")[-1].startswith(tag + " OK"), f"turn {turn}, {tag}")
    expect(any("only-alice" in line for line in ok(c, 'LIST "" *')), "alice again")
    ok(c, "UNAUTHENTICATE")
    expect(c.command("w SELECT INBOX", "w ")[-1].startswith("w BAD this command comes after the login"), "nobody is logged in")
    ok(c, "LOGOUT")
    c.close()


def test_unauthenticate_compressed(server):
    """Compression ends with the login, both ways, also for who goes on at once, and each time it can begin anew (RFC 8437 §4.1)."""
    import zlib
    bob = server.passwords["bob@example.test"]
    c = login(server)
    for turn, (flush, waits) in enumerate(itertools.product((zlib.Z_SYNC_FLUSH, zlib.Z_FINISH, zlib.Z_SYNC_FLUSH), (True, False))):
        expect(c.command("z COMPRESS DEFLATE", "z ")[-1].startswith("z OK"), f"turn {turn}: COMPRESS")
        out, inn, text = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15), b""
        last = f'v LOGIN bob@example.test "{bob}"\r\n'.encode()
        commands = out.compress(b"x CAPABILITY\r\nu UNAUTHENTICATE\r\n") + out.flush(flush)
        c.sock.sendall(commands if waits else commands + last)
        raw = b""
        while b"\r\nu OK the login is given up\r\n" not in text:
            raw += c.sock.recv(65536)
            while b"\0\0\xff\xff" in raw and b"\r\nu OK" not in text:
                end = raw.index(b"\0\0\xff\xff") + 4
                text += inn.decompress(raw[:end])
                raw = raw[end:]
        c.buffer += raw
        expect(b" UNAUTHENTICATE" in text and b"COMPRESS=DEFLATE" not in text, f"turn {turn}: {text}")
        if waits:
            c.sock.sendall(last)
        expect(c.until("v ")[-1].startswith("v OK [CAPABILITY"), f"turn {turn}: logged in anew, in plain text")
    c.close()


def try_login(server, name):
    """None: the cell that was just killed is not collected yet, and the server says UNAVAILABLE."""
    c = server.raw(993, tls=True)
    c.line()
    if c.command(f'l LOGIN {name}@example.test "{server.passwords[name + "@example.test"]}"', "l ")[-1].startswith("l OK"):
        return c
    c.close()
    return None


def found_by(server, name, key):
    c = wait_for(lambda: try_login(server, name), 20, "a login")
    ok(c, "SELECT Words")
    lines = ok(c, f"SEARCH {key}")
    c.close()
    return [l for l in lines if l.startswith("* SEARCH")]


def test_search_index_outlives_its_cell_and_its_files(server):
    c = login(server, "bob")
    ok(c, "CREATE Words")
    messages = [f"Subject: n\r\n\r\nrare{n}word and others\r\n".encode() for n in range(400)]
    c.send(b"m APPEND Words" + b"".join(b" {%d+}\r\n" % len(m) + m for m in messages) + b"\r\n")
    expect(c.until("m ", 60)[-1].startswith("m OK"), "MULTIAPPEND")
    c.close()
    for damage in ("no", "kill", "words"):
        if damage != "no":
            for pid in server.pids_of("cell"):
                os.kill(pid, signal.SIGKILL)
        for path in glob.glob(f"{server.dir}/accounts/*/search/*.{damage}"):
            os.unlink(path)
        expect(found_by(server, "bob", "TEXT rare77word") == ["* SEARCH 78"], f"{damage}: the word")
        expect(found_by(server, "bob", "FUZZY TEXT others").pop().endswith(" 400"), f"{damage}: all of them")
        state = server.cli_json("account", "index", "bob@example.test")
        expect(state["indexed"] >= 400 and state["size"] > 0, f"{damage}: {state}")


def test_searches_of_large_messages_leave_others_a_thread(server):
    """Two sessions search ten megabytes of HTML, three times; a third one of the account is answered meanwhile."""
    server.add_account("erin")
    one, two, third = (login(server, "erin") for _ in range(3))
    html = b"Subject: big\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + b"".join(
        b'<p>word%d <b>in</b> &eacute;t&eacute; <a href="http://x.test/%d">link%d</a></p>\r\n' % (i, i, i) for i in range(120000))
    for text in (b"Subject: small\r\n\r\nhello\r\n", html, html, html):
        one.send(b"a APPEND INBOX {%d+}\r\n" % len(text) + text + b"\r\n")
        expect(one.until("a ", 60)[-1].startswith("a OK"), "stored")
    for c in (one, two, third):
        ok(c, "SELECT INBOX")
    start = time.monotonic()
    searches = [threading.Thread(target=c.command, args=(f'q SEARCH TEXT "{text}"', "q ", 60)) for c, text in ((one, "nowhere to be found"), (two, "hello"))]
    for search in searches:
        search.start()
    worst = 0
    while any(search.is_alive() for search in searches):
        asked = time.monotonic()
        ok(third, "FETCH 1 (FLAGS BODY.PEEK[])")
        worst = max(worst, time.monotonic() - asked)
        time.sleep(0.002)
    took = time.monotonic() - start
    expect(worst < took / 4, f"answered after {worst:.2f} s, while the searches took {took:.2f}")
    for c in (one, two, third):
        c.close()


def test_10000_messages(server):
    c = login(server, "bob")
    ok(c, "CREATE Many")
    message = b"From: a@b.c\r\nSubject: many\r\n\r\nx\r\n"
    per = 500
    start = time.monotonic()
    for _ in range(20):
        c.send(f'm APPEND Many {{{len(message)}+}}\r\n'.encode() + message +
               b"".join(b" {%d+}\r\n" % len(message) + message for _ in range(per - 1)) + b"\r\n")
        expect(c.until("m ", 60)[-1].startswith("m OK"), "MULTIAPPEND")
    lines = ok(c, "SELECT Many")
    expect("* 10000 EXISTS" in lines, f"{[l for l in lines if 'EXISTS' in l]}")
    lines = ok(c, "FETCH 1:* (UID FLAGS)")
    expect(len([l for l in lines if " FETCH " in l]) == 10000, "every message")
    lines = ok(c, "UID SEARCH RETURN (COUNT) SUBJECT many")
    expect(any("COUNT 10000" in l for l in lines), f"{lines}")
    expect(time.monotonic() - start < 60, "in a minute")
    c.close()
