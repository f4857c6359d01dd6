"""Mailboxes of other accounts, through the cells of their owners: bob works in what alice shares with him, as far as she lets him."""
import contextlib
import imaplib
import os
import re
import signal
import time

from harness import Server, expect, wait_for

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"
HERS = f"Other Users/{ALICE}"


def make_server():
    server = Server(settings=(("plain_login_loopback", "on"),), accounts=("alice", "bob", "carol"))
    c = login(server, ALICE)
    for name in ("Team", "Team/Old", "Secret"):
        c.command(f"a create {name}", "a OK")
    for i in range(1, 6):
        append(c, "Team", f"message {i}")
    append(c, "Secret", "not for bob")
    c.close()
    server.cli("account", "share", ALICE, "Team", BOB, "lrswite")
    return server


def login(server, who):
    c = server.raw(143)
    c.line()
    c.command(f'l login {who} "{server.passwords[who]}"', "l OK")
    return c


def append(c, mailbox, subject, expected="p OK"):
    text = f"From: a@example.test\r\nSubject: {subject}\r\n\r\nbody of {subject}\r\n"
    c.send(f'p append "{mailbox}" (\\Flagged) {{{len(text)}+}}\r\n{text}\r\n')
    return c.until(expected)


def said(lines, *words):
    for word in words:
        expect(any(word in line for line in lines), f"{word!r} in {lines}")
    return lines


def unsaid(lines, *words):
    for word in words:
        expect(not any(word in line for line in lines), f"no {word!r} in {lines}")
    return lines


def parked(server, number):
    wait_for(lambda: sum(s["parked"] for s in server.cli_json("sessions")) >= number, 10, f"{number} sessions wait")


def cell_of(server, account):
    """The process that has the account's files open."""
    for pid in server.pids_of("cell"):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if f"/accounts/{account}/" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    return pid
    raise AssertionError(f"account {account} has no cell")


def test_names(server):
    bob = login(server, BOB)
    lines = said(bob.command('1 list "" *', "1 OK"), f'(\\Noselect \\HasChildren) "/" "{HERS}"', f'"{HERS}/Team"', '"/" INBOX', '(\\Noselect \\HasChildren) "/" "Other Users"')
    unsaid(lines, "Secret", "Team/Old", CAROL)
    said(bob.command('2 list "" %', "2 OK"), '"Other Users"')
    said(bob.command("11 namespace", "11 OK"), '(("" "/")) (("Other Users/" "/")) NIL')
    bob.command('12 create "other users/mine"', "12 NO [CANNOT]")
    bob.command('13 rename Archive "Other Users"', "13 NO [CANNOT]")
    said(bob.command('3 list "" "Other Users/%"', "3 OK"), f'"{HERS}"')
    said(bob.command(f'4 list "" "{HERS}/%" return (status (messages unseen) myrights)', "4 OK"), f'* STATUS "{HERS}/Team" (MESSAGES 5 UNSEEN 5)', "MYRIGHTS")
    bob.command(f'5 subscribe "{HERS}/Team"', "5 OK")
    said(bob.command('6 list (subscribed) "" *', "6 OK"), f'(\\Subscribed) "/" "{HERS}/Team"')
    said(bob.command('7 lsub "" *', "7 OK"), f'"{HERS}/Team"')
    said(bob.command(f'8 status "{HERS}/Team" (messages uidnext)', "8 OK"), f'* STATUS "{HERS}/Team" (MESSAGES 5 UIDNEXT 6)')
    bob.command(f'9 status "{HERS}/Secret" (messages)', "9 NO [NONEXISTENT]")
    bob.command(f'10 status "Other Users/{CAROL}/INBOX" (messages)', "10 NO [NONEXISTENT]")
    carol = login(server, CAROL)
    unsaid(carol.command('1 list "" *', "1 OK"), "Other Users")
    carol.command(f'2 select "{HERS}/Team"', "2 NO")
    for c in (bob, carol):
        c.close()


def test_many_connections(server):
    """A program asks by several at once: none is told less, or to come again."""
    all_of_them = [login(server, BOB) for _ in range(8)]
    for i in range(5):
        for c in all_of_them:
            c.send(f'l{i} list "" *\r\n')
        for c in all_of_them:
            said(c.until(f"l{i} OK"), f'"{HERS}/Team"')
    for c in all_of_them:
        c.close()


def test_search_of_many(server):
    bob = login(server, BOB)
    append(bob, "INBOX", "message of his own")
    theirs = f'MAILBOX "{HERS}/Team" UIDVALIDITY'
    lines = said(bob.command(f'1 esearch in (personal subtree "{HERS}/Team") subject message', "1 OK"), '(TAG "1" MAILBOX INBOX', f'(TAG "1" {theirs}')
    said(lines, "UID ALL 1:5")
    # what is not shared, or by nobody, is passed over; and what is personal is one's own
    unsaid(bob.command(f'2 esearch in (mailboxes ("{HERS}/Secret" "Other Users/{CAROL}/INBOX" "Other Users/x@y.test/z")) all', "2 OK"), "ESEARCH")
    unsaid(bob.command("3 esearch in (personal inboxes) all", "3 OK"), HERS)
    bob.command(f'4 subscribe "{HERS}/Team"', "4 OK")
    said(bob.command('5 esearch in (subscribed) return (count) subject "message 3"', "5 OK"), f'{theirs}', "COUNT 1")
    bob.send('6 esearch in (subscribed) subject {9}\r\n')
    bob.until("+")
    bob.send("message 4\r\n")
    said(bob.until("6 OK"), theirs, "UID ALL 4")
    bob.command(f'7 examine "{HERS}/Team"', "7 OK")
    said(bob.command("8 esearch return (min) all", "8 OK"), f'(TAG "8" {theirs}', "UID MIN 1")
    said(bob.command("8 esearch in (selected personal) return (min) all", "8 OK"), '(TAG "8" MAILBOX INBOX', f'(TAG "8" {theirs}', "UID MIN 1")
    said(bob.command("8 esearch in (inboxes selected) return (update) all", "8 BAD"), "kept up to date")
    bob.close()


def test_work(server):
    """What the engine can do in one's own account it does there."""
    alice, bob = login(server, ALICE), login(server, BOB)
    said(bob.command(f'1 select "{HERS}/Team"', "1 OK [READ-WRITE]"), "* 5 EXISTS", "PERMANENTFLAGS")
    alice.command("1 select Team", "1 OK")
    said(bob.command("2 fetch 1:2 (flags envelope)", "2 OK"), '* 1 FETCH (FLAGS (\\Flagged) ENVELOPE', "message 2")
    said(bob.command("3 fetch 3 body[text]", "3 OK"), "body of message 3")
    said(alice.command("3 noop", "3 OK"), "* 3 FETCH (FLAGS (\\Seen \\Flagged))")   # one \Seen for all who read it
    said(bob.command('4 search text "message 4"', "4 OK"), "* SEARCH 4")
    said(bob.command("5 sort (reverse subject) utf-8 all", "5 OK"), "* SORT 5 4 3 2 1")
    said(bob.command("6 store 2 +flags (\\Answered)", "6 OK"), "* 2 FETCH (FLAGS (\\Answered \\Flagged))")
    alice.command("4 store 1 +flags.silent (\\Deleted)", "4 OK")
    said(bob.command("7 noop", "7 OK"), "* 1 FETCH (FLAGS (\\Flagged \\Deleted))")
    said(bob.command("8 expunge", "8 OK"), "* 1 EXPUNGE")
    said(alice.command("5 noop", "5 OK"), "* 1 EXPUNGE")
    said(append(bob, f"{HERS}/Team", "from bob"), "[APPENDUID", "* 5 EXISTS")
    said(alice.command("6 noop", "6 OK"), "* 5 EXISTS")
    said(bob.command('10 search return (count) subject "from bob"', "10 OK"), '* ESEARCH (TAG "10") COUNT 1')
    bob.command("11 enable qresync", "11 OK")
    said(bob.command(f'12 select "{HERS}/Team" (qresync (1 1))', "12 OK"), "* OK [CLOSED]", "HIGHESTMODSEQ")
    bob.command("13 unselect", "13 OK")
    bob.command("14 fetch 1 flags", "14 BAD")
    bob.command("15 select INBOX", "15 OK")
    for c in (alice, bob):
        c.close()


def test_copies(server):
    bob = login(server, BOB)
    bob.command(f'1 select "{HERS}/Team"', "1 OK")
    said(bob.command("2 copy 1:2 INBOX", "2 OK"), "2 OK [COPYUID ")
    said(bob.command("3 uid move 2 INBOX", "3 OK"), "* OK [COPYUID ", "EXPUNGE")
    bob.command("4 copy 1 Nowhere", "4 NO [TRYCREATE]")
    bob.command("5 select INBOX", "5 OK")
    said(bob.command("6 fetch 1:* (flags body.peek[header.fields (subject)])", "6 OK"), "Subject: message 2", "Subject: message 3", "\\Answered", "\\Seen")
    said(bob.command(f'7 copy 1 "{HERS}/Team"', "7 OK"), "7 OK [COPYUID ")
    said(bob.command(f'8 move 1:2 "{HERS}/Team"', "8 OK"), "* OK [COPYUID ", "* 1 EXPUNGE")
    bob.command(f'9 copy 1 "{HERS}/Team/Old"', "9 NO")
    said(bob.command(f'10 status "{HERS}/Team" (messages)', "10 OK"), "MESSAGES 7")
    carol = login(server, CAROL)
    carol.command("c create Inbound", "c OK")
    server.cli("account", "share", CAROL, "Inbound", BOB, "lri")
    bob.command(f'11 select "{HERS}/Team"', "11 OK")
    said(bob.command(f'12 copy 1:* "Other Users/{CAROL}/Inbound"', "12 OK"), "12 OK [COPYUID ")
    said(carol.command("c status Inbound (messages)", "c OK"), "MESSAGES 7")
    bob.command(f'13 copy 1 "Other Users/{CAROL}/INBOX"', "13 NO")
    bob.command(f'14 setmetadata "{HERS}/Team" (/private/comment "mine" /shared/comment "ours")', "14 OK")
    said(bob.command(f'15 getmetadata "{HERS}/Team" (/private/comment /shared/comment)', "15 OK"), '/private/comment "mine" /shared/comment "ours"')
    uid = re.search(r"UID (\d+)", bob.command("16 fetch 1 (uid)", "16 OK")[0])[1]
    piece = f"/Other%20Users/{ALICE}/Team/;UID={uid}/;SECTION="
    said(bob.command(f'17 append Drafts catenate (url "{piece}HEADER" url "{piece}TEXT" text {{6+}}\r\nbehind)', "17 "), "17 OK [APPENDUID ")
    bob.command("18 select Drafts", "18 OK")
    said(bob.command("19 fetch 1 body[]", "19 OK"), "Subject: message ", "body of message", "behind")
    bob.command(f'20 select "{HERS}/Team"', "20 OK")
    said(bob.command(f'20 append Drafts catenate (url ";UID={uid}/;SECTION=HEADER" text {{6+}}\r\nbehind)', "20 "), "20 OK [APPENDUID ")
    said(bob.command(f'20 append Drafts catenate (url "/Other%20Users/{ALICE}/Secret/;UID=1")', "20 "), "20 NO [BADURL ")
    # a number means what it did when he said it, also when the owner has removed one before it meanwhile
    uids = re.findall(r"UID (\d+)", "".join(bob.command(f'21 select "{HERS}/Team"', "21 OK") + bob.command("22 fetch 1:3 (uid)", "22 OK")))
    alice = login(server, ALICE)
    alice.command("a select Team", "a OK")
    alice.command("a store 1 +flags.silent (\\Deleted)", "a OK")
    alice.command("a expunge", "a OK")
    said(bob.command("23 move 3 Drafts", "23 OK"), "* 1 EXPUNGE", f" {uids[2]} ", "* 2 EXPUNGE")
    append(alice, "Team", "instead of one")
    append(alice, "Team", "instead of another")
    alice.close()
    for c in (bob, carol):
        c.close()


def test_rights(server):
    """Refused in words, and at once when the owner changes his mind."""
    bob = login(server, BOB)
    bob.command(f'1 create "{HERS}/Team/New"', "1 NO [NOPERM]")
    bob.command(f'2 create "{HERS}/Top"', "2 NO [NOPERM]")
    bob.command(f'3 delete "{HERS}/Team"', "3 NO [NOPERM]")
    bob.command('4 create "Other Users/somebody@example.test"', "4 NO")
    bob.command(f'5 rename "{HERS}/Team" Mine', "5 NO [CANNOT]")
    bob.command(f'6 select "{HERS}/Team"', "6 OK")
    server.cli("account", "share", ALICE, "Team", BOB, "lr")
    bob.command("7 language fr", "7 OK")
    bob.command("7 store 1 +flags (\\Seen)", "7 NO [NOPERM] le propriétaire de cette boîte")
    bob.command("7 language en", "7 OK")
    bob.command("8 uid move 1:* INBOX", "8 NO [NOPERM]")
    expect("not" not in "".join(bob.command("9 fetch 1 body[]", "9 OK")), "reading goes on")
    append(bob, f"{HERS}/Team", "refused", "p NO [NOPERM]")
    server.cli("account", "unshare", ALICE, "Team", BOB)
    alice = login(server, ALICE)
    append(alice, "Team", "after")
    alice.close()
    unsaid(bob.command("10 fetch 1 flags", "10 NO [NOPERM]"), "EXISTS")
    bob.command("10 close", "10 OK")
    bob.command("10 fetch 1 flags", "10 BAD")
    bob.command(f'11 select "{HERS}/Team"', "11 NO")
    bob.command("12 select INBOX", "12 OK")
    server.cli("account", "share", ALICE, "Team", BOB, "lrswitekx")
    said(bob.command(f'13 create "{HERS}/Team/New"', "13 OK"), "MAILBOXID")
    bob.command(f'14 rename "{HERS}/Team/New" "{HERS}/Team/Newer"', "14 OK")
    bob.command(f'15 delete "{HERS}/Team/Newer"', "15 OK")
    bob.close()


def test_news_while_parked(server):
    """He waits in IDLE, the cell of the owner is let go, and a new message wakes him all the same."""
    bob = login(server, BOB)
    bob.command(f'1 select "{HERS}/Team"', "1 OK")
    said(bob.command("1a search return (update count) all", "1a OK"), 'NO [NOUPDATE "1a"]')  # it would keep him from being parked, and hearing anything
    bob.send("2 idle\r\n")
    bob.until("+")
    parked(server, 1)
    alice = login(server, ALICE)
    append(alice, "Team", "wakes bob")
    bob.until("* 9 EXISTS", 5)
    parked(server, 1)
    append(alice, "Team", "wakes bob again")
    bob.until("* 10 EXISTS", 5)
    bob.command("done", "2 OK")
    said(bob.command("3 fetch 10 (flags)", "3 OK"), "* 10 FETCH")
    time.sleep(2.5)
    parked(server, 1)
    said(bob.command("4 fetch 10 (flags)", "4 OK"), "* 10 FETCH")
    bob.command("5 notify set (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))", "5 OK")
    alice.command("s1 select Team", "s1 OK")
    parked(server, 1)
    alice.command("s2 store 10 +flags (\\Answered)", "s2 OK")  # without IDLE, too
    said(bob.until("* 10 FETCH", 5), "\\Answered")
    for c in (alice, bob):
        c.close()


def test_notify(server):
    """He watches mailboxes of two others and his own INBOX, without selecting any; what he may not see any more he does not hear of."""
    alice, bob, carol = login(server, ALICE), login(server, BOB), login(server, CAROL)
    carol.command("c create Plans", "c OK")
    server.cli("account", "share", CAROL, "Plans", BOB, "lr")
    for name in (f"{HERS}/Team", f"Other Users/{CAROL}/Plans"):
        bob.command(f'b subscribe "{name}"', "b OK")
    lines = bob.command("b notify set status (subscribed (MessageNew MessageExpunge FlagChange)) (inboxes (MessageNew MessageExpunge))", "b OK")
    said(lines, f'* STATUS "{HERS}/Team" (MESSAGES 10', f'* STATUS "Other Users/{CAROL}/Plans" (MESSAGES 0', "* STATUS INBOX (MESSAGES 2")
    unsaid(lines, "Secret", "Old")
    parked(server, 1)
    append(alice, "Secret", "not for bob either")
    append(alice, "Team", "for all")
    said(bob.until("* STATUS", 5), f'* STATUS "{HERS}/Team" (MESSAGES 11')
    append(carol, "Plans", "one")  # while he is still attached: he hears of it when he waits again
    said(bob.until("* STATUS", 6), f'* STATUS "Other Users/{CAROL}/Plans" (MESSAGES 1')
    server.deliver(BOB, "his own")
    said(bob.until("* STATUS", 6), "* STATUS INBOX (MESSAGES 3")
    server.cli("account", "unshare", ALICE, "Team", BOB)
    append(alice, "Team", "not for bob any more")
    append(carol, "Plans", "two")
    unsaid(said(bob.until("* STATUS", 6), f'* STATUS "Other Users/{CAROL}/Plans" (MESSAGES 2'), "Team")
    server.cli("account", "share", ALICE, "Team", BOB, "lrswite")
    for tree, n in ((HERS, 12), ("Other Users", 13)):  # whatever he may see, without a name of each
        lines = bob.command(f'b notify set status (subtree "{tree}" (MessageNew MessageExpunge FlagChange))', "b OK")
        unsaid(said(lines, f'* STATUS "{HERS}/Team" (MESSAGES {n}'), "Secret")
        wait_for(lambda: all(s["parked"] for s in server.cli_json("sessions", BOB)), 10, "bob waits")
        append(alice, "Secret", "not for bob either")
        append(alice, "Team", "for all")
        said(bob.until("* STATUS", 6), f'* STATUS "{HERS}/Team" (MESSAGES {n + 1}')
    for c in (alice, bob, carol):
        c.close()


def test_notify_names(server):
    """He hears which mailboxes others begin to share, rename, and share no longer, waiting or not, and once."""
    alice, bob, carol, second = login(server, ALICE), login(server, BOB), login(server, CAROL), login(server, BOB)
    gone = '* LIST (\\NonExistent \\NoAccess) "/" "'
    for c in (bob, second):
        unsaid(c.command('b notify set (subtree "Other Users" (MailboxName)) (personal (MailboxName))', "b OK"), "* LIST")
    parked(server, 2)
    alice.command("a create Team/New", "a OK")
    server.cli("account", "share", ALICE, "Team/New", BOB, "lr")
    for c in (bob, second):
        said(c.until(f'* LIST (\\HasNoChildren) "/" "{HERS}/Team/New"', 6), f'* LIST (\\HasChildren \\Subscribed) "/" "{HERS}/Team"')
    alice.command("a rename Team/New Team/Newer", "a OK")
    for c in (bob, second):
        unsaid(c.until(f'* LIST (\\HasNoChildren) "/" "{HERS}/Team/Newer" ("OLDNAME" ("{HERS}/Team/New"))', 6), "NoAccess")
    server.cli("account", "unshare", ALICE, "Team/Newer", BOB)
    for c in (bob, second):
        c.until(f'{gone}{HERS}/Team/Newer"', 6)
    for name in ("Plans", "Inbound"):
        server.cli("account", "unshare", CAROL, name, BOB)
    for c in (bob, second):
        c.until(f'* LIST (\\NonExistent \\NoAccess \\Subscribed) "/" "Other Users/{CAROL}/Plans"', 6)
    parked(server, 2)
    server.cli("account", "share", CAROL, "Plans", BOB, "lr")  # she shares nothing with him any more, so nobody waits for her account
    for c in (bob, second):
        c.until(f'* LIST (\\HasNoChildren \\Subscribed) "/" "Other Users/{CAROL}/Plans"', 6)
    for c in (alice, bob, carol, second):
        c.close()


def test_notify_of_first_sharers(server):
    """Who shared nothing before is heard of at once: with him, with a group that he is in or comes into, with anyone; also by who is never parked."""
    dave_, *others = (f"{name}@example.test" for name in ("dave", "eve", "frank", "grace"))
    for who in (dave_, *others):
        server.add_account(who.split("@")[0])
        login(server, who).command("e create Firsts", "e OK")
    eve, frank, grace = others
    bob, dave, stays = login(server, BOB), login(server, dave_), login(server, dave_)
    for c in (bob, dave, stays):
        c.command('b notify set (subtree "Other Users" (MailboxName))', "b OK")
    stays.command("b select INBOX", "b OK")
    stays.command("b search return (update all) all", "b OK")
    parked(server, 2)
    appears = '* LIST (\\HasNoChildren) "/" "Other Users/{}/Firsts"'.format
    server.cli("account", "share", eve, "Firsts", dave_, "lr")
    for c in (dave, stays):
        c.until(appears(eve), 6)
    server.cli("group", "add", "first@example.test", BOB)
    server.cli("account", "share", frank, "Firsts", "first@example.test", "lr")
    unsaid(bob.until(appears(frank), 6), eve)
    parked(server, 2)
    server.cli("group", "member", "add", "first@example.test", dave_)
    for c in (dave, stays):
        unsaid(c.until(appears(frank), 6), "NoAccess")
    server.cli("account", "share", grace, "Firsts", "anyone", "lr")
    for c in (bob, dave, stays):
        c.until(appears(grace), 6)
        c.close()


def test_notify_of_one_that_stays(server):
    """He has a search kept up to date, so he is never parked; of others he hears all the same, in IDLE and out of it, and goes on hearing."""
    alice, bob = login(server, ALICE), login(server, BOB)
    bob.command("b select INBOX", "b OK")
    bob.command("b search return (update all) all", "b OK")
    bob.command(f'b notify set (mailboxes "{HERS}/Team" (MessageNew MessageExpunge)) (subtree "Other Users" (MailboxName)) '
                "(selected (MessageNew MessageExpunge))", "b OK")
    for subject in ("heard", "heard again"):
        append(alice, "Team", subject)
        bob.until(f'* STATUS "{HERS}/Team"', 6)
    alice.command("a create Team/Stays", "a OK")
    bob.until(f'* LIST (\\HasNoChildren) "/" "{HERS}/Team/Stays"', 6)
    bob.send("c idle\r\n")
    bob.until("+")
    append(alice, "Team", "heard in IDLE")
    bob.until(f'* STATUS "{HERS}/Team"', 6)
    server.deliver(BOB, "and of his own")
    bob.until("* ", 6)
    bob.command("done", "c OK")
    alice.command("a delete Team/Stays", "a OK")
    bob.until(f'* LIST (\\NonExistent \\NoAccess) "/" "{HERS}/Team/Stays"', 6)
    for c in (alice, bob):
        c.close()


def test_a_group_that_goes(server):
    """Its line leaves the list with it, and one of its name that is made anew has none; what was taken from it stays."""
    alice = login(server, ALICE)
    acl = lambda: alice.command("g getacl Secret", "g OK")[0]
    server.cli("group", "add", "staff@example.test", BOB)
    alice.command("g setacl Secret staff@example.test lr", "g OK")
    alice.command("g setacl Secret -staff@example.test w", "g OK")
    said([acl()], '"$staff@example.test" lr', '"-$staff@example.test" w')
    for change in (("remove",), ("add", BOB)):
        server.cli("group", change[0], "staff@example.test", *change[1:])
        unsaid([acl()], '"$staff@example.test"')
        said([acl()], '"-$staff@example.test" w')
    alice.command("g setacl Secret staff@example.test lrs", "g OK")
    said([acl()], '"$staff@example.test" lrs', '"-$staff@example.test" w')
    alice.command("g deleteacl Secret staff@example.test", "g OK")
    alice.close()


def test_two_move_the_same(server):
    """Two guests move the same messages into their own accounts at the same moment: each message is in one of them, and nowhere else."""
    alice, bob, carol = login(server, ALICE), login(server, BOB), login(server, CAROL)
    alice.command("a create Race", "a OK")
    for who in (BOB, CAROL):
        server.cli("account", "share", ALICE, "Race", who, "lrste")
    for i in range(12):
        append(alice, "Race", f"race {i}")
    for c in (bob, carol):
        c.command("r create Mine", "r OK")
        c.command(f'r select "{HERS}/Race"', "r OK")
    for i in range(1, 13):
        bob.send(f"m uid move {i} Mine\r\n")
        carol.send(f"m uid move {i} Mine\r\n")
        for c in (bob, carol):
            c.until("m ")
    for c in (bob, carol):
        c.command("r select Mine", "r OK")
    had = [re.findall(r"Subject: (race \d+)", "".join(c.command("r uid fetch 1:* (body.peek[header.fields (subject)])", "r "))) for c in (bob, carol)]
    expect(sorted(had[0] + had[1]) == sorted(f"race {i}" for i in range(12)), f"bob has {had[0]}, carol {had[1]}")
    said(alice.command("a status Race (messages)", "a OK"), "MESSAGES 0")
    for c in (alice, bob, carol):
        c.close()


def test_the_owner_goes(server):
    """Her cell dies: he is told in words, and finds everything again."""
    bob = login(server, BOB)
    bob.command(f'1 select "{HERS}/Team"', "1 OK")
    os.kill(cell_of(server, 1), signal.SIGKILL)
    lines = bob.command("2 noop", "* BYE")
    said(lines, "[UNAVAILABLE]")
    bob.close()
    bob = login(server, BOB)
    answer = bob.command(f'1 select "{HERS}/Team"', "1 ")[-1]
    if not answer.startswith("1 OK"):  # he asked while the one was gone and master had not heard of it yet
        said([answer], "1 NO [UNAVAILABLE]")
        bob.command(f'2 select "{HERS}/Team"', "2 OK")
    bob.close()


def test_a_client_library(server):
    c = login(server, ALICE)
    c.command("a create Letters", "a OK")
    for i in range(10):
        append(c, "Letters", f"message {i}")
    c.close()
    server.cli("account", "share", ALICE, "Letters", CAROL, "lr")
    with imaplib.IMAP4("127.0.0.1", server.port(143)) as c:
        c.login(CAROL, server.passwords[CAROL])
        expect(c.select(f'"{HERS}/Letters"', readonly=True)[0] == "OK", "selected")
        kind, data = c.fetch("1:*", "(UID RFC822)")
        expect(kind == "OK" and len([d for d in data if isinstance(d, tuple)]) == 10, f"{kind} {len(data)}")
        expect(re.search(rb"body of message", data[0][1]), "the message")
