"""Clients that work while the server is being hurt, and remember what they were told: senders, IMAP devices of three kinds, a POP3 reader;
and guests, who do the same in mailboxes that their owner shares with them.

A connection that ends, an answer that does not come, a NO or a 4xx are what a hurt server may do: the model then knows that the change
may or may not have happened. What no client may ever see is an answer that contradicts an earlier one: that is Wrong, at once."""
import base64
import collections
import contextlib
import re
import smtplib
import socket
import threading
import time

from model import Wrong, text_of

FLAGS_OF = (("\\Seen", "\\Flagged"), ("\\Answered", "\\Draft"))     # each device changes flags of its own: their order is known
SHARED = ("INBOX", "Archive", "Drafts", "Trash")                    # what bob shares with GUESTS
GUESTS, RIGHTS = ("alice", "carol"), "lrswite"
OTHERS = "Other Users/"


def named(mailbox, account, login):
    """What who logs in calls a mailbox of an account."""
    return mailbox if account == login else f'"{OTHERS}{account}@example.test/{mailbox}"'


class Refused(Exception):
    """A tagged NO, or -ERR."""


LOST = (OSError, EOFError, Refused)


class Imap:
    """One connection; a response is (line, [literals])."""

    def __init__(self, server, account, timeout=30):
        self.server, self.account, self.number, self.selected = server, account, 0, None
        raw = server.raw(993, tls=True)
        self.sock, self.buffer = raw.sock, b""
        self.sock.settimeout(timeout)
        self.response()
        self.command("AUTHENTICATE PLAIN " + base64.b64encode(server.plain(account)).decode())

    def more(self):
        data = self.sock.recv(262144)
        if not data:
            raise EOFError("closed")
        self.buffer += data

    def response(self):
        text, literals = "", []
        while True:
            while b"\n" not in self.buffer:
                self.more()
            line, self.buffer = self.buffer.split(b"\n", 1)
            text += line.rstrip(b"\r").decode("utf-8", "surrogateescape")
            literal = re.search(r"\{(\d+)\}$", text)
            if not literal:
                return text, literals
            size = int(literal.group(1))
            while len(self.buffer) < size:
                self.more()
            literals.append(self.buffer[:size])
            self.buffer = self.buffer[size:]
            text = text[:literal.start()] + "{}"

    def command(self, text, literal=None):
        """Untagged responses and the tagged one, last."""
        self.number += 1
        tag = f"t{self.number}"
        data = f"{tag} {text}".encode()
        if literal is not None:
            data += f" {{{len(literal)}+}}\r\n".encode() + literal
        self.sock.sendall(data + b"\r\n")
        responses = []
        while True:
            responses.append(self.response())
            line = responses[-1][0]
            if line.startswith("* BYE"):
                raise EOFError(line)
            if line.startswith(tag + " "):
                if line.startswith(tag + " OK"):
                    return responses
                if line.startswith(tag + " NO"):
                    raise Refused(line)
                raise Wrong(f"{self.account}: {text[:100]} was answered with {line[:200]}")

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()


def in_set(text):
    """UIDs of a sequence set like 3:5,9."""
    for part in text.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


def code(responses, word):
    found = re.search(rf"\[{word} ([^\]]*)\]", "\n".join(r[0] for r in responses))
    return found.group(1).split() if found else None


def fetched(responses):
    """{uid: (flags, modseq, literals)} of FETCH responses with a UID."""
    for line, literals in responses:
        uid, flags, modseq = (re.search(p, line) for p in (r"UID (\d+)", r"FLAGS \(([^)]*)\)", r"MODSEQ \((\d+)\)"))
        if " FETCH (" in line and uid:
            yield int(uid.group(1)), frozenset(flags.group(1).split()) - {"\\Recent"} if flags else None, modseq, literals


def look(server, account):
    """All of an account as a client sees it that knows nothing: {mailbox: (uidvalidity, uidnext, {uid: (number, flags)})}."""
    c = Imap(server, account, 60)
    seen = {}
    try:
        for line, _ in c.command('LIST "" "*"'):
            name = re.match(r'\* LIST \([^)]*\) "/" "?([^"]+)"?$', line)
            if not name or (name.group(1) + "/").startswith(OTHERS):
                continue
            r = c.command(f'EXAMINE "{name.group(1)}"')
            messages = {}
            for uid, flags, _, literals in fetched(c.command("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")):
                number = re.search(rb"no (\d+)", literals[0]) if literals else None
                if number is None:
                    raise Wrong(f"{account}/{name.group(1)}: uid {uid} has no subject of ours: {literals}")
                messages[uid] = (int(number.group(1)), flags)
            seen[name.group(1)] = (int(code(r, "UIDVALIDITY")[0]), int(code(r, "UIDNEXT")[0]), messages)
    finally:
        c.close()
    return seen


def read_bodies(server, account, mailbox, uids, numbers):
    """Each of these messages, byte for byte; all that is wrong."""
    wrong = []
    c = Imap(server, account, 60)
    try:
        c.command(f"EXAMINE {mailbox}")
        for i in range(0, len(uids), 50):
            for uid, _, _, literals in fetched(c.command(f"UID FETCH {','.join(map(str, uids[i:i + 50]))} (BODY.PEEK[])")):
                if not literals or not literals[0].endswith(text_of(numbers[uid])):
                    wrong.append(f"{account}/{mailbox}: uid {uid}, message {numbers[uid]}: its text is not what was sent "
                                 f"({len(literals[0]) if literals else 0} bytes)")
    finally:
        c.close()
    return wrong


class Worker(threading.Thread):
    """Works in a loop until stopped; reconnects; keeps what it found wrong."""

    def __init__(self, server, model, rng):
        super().__init__(daemon=True)
        self.server, self.model, self.rng, self.stopped, self.wrong = server, model, rng, threading.Event(), []

    def run(self):
        while not self.stopped.is_set():
            try:
                self.work()
            except Wrong as w:
                self.wrong.append(str(w))
                return
            except (OSError, EOFError, smtplib.SMTPException, Refused):
                self.stopped.wait(0.05 + self.rng.random() * 0.1)
            except Exception as bug:
                self.wrong.append(f"a client of the campaign failed ({type(self).__name__}): {bug!r}")
                return


class Sender(Worker):
    """Numbered messages to one to three of the accounts, from port 25; in DATA with dot-stuffing, or in BDAT chunks."""

    def __init__(self, server, model, rng, accounts, large=False):
        super().__init__(server, model, rng)
        self.accounts, self.large = accounts, large

    def work(self):
        s = smtplib.SMTP("127.0.0.1", self.server.port(25), timeout=20)
        try:
            s.ehlo("campaign.test")
            for _ in range(self.rng.randrange(1, 30)):
                if self.stopped.is_set():
                    break
                self.send(s)
        finally:
            s.close()

    def send(self, s):
        to = self.rng.sample(self.accounts, self.rng.choice((1, 1, 1, 2, 3)))
        number = self.model.take_number()
        text = text_of(number)
        s.docmd("MAIL", f"FROM:<sender@elsewhere.test> SIZE={len(text)}")
        accepted = [a for a in to if s.docmd("RCPT", f"TO:<{a}@example.test>")[0] == 250]
        if not accepted:
            s.docmd("RSET")
            return
        for a in accepted:
            self.model.asked_to_add(a, "INBOX", number)
        if s.has_extn("chunking") and self.rng.random() < 0.3:
            half = self.rng.randrange(len(text))
            s.send(f"BDAT {half}\r\n".encode() + text[:half] + f"BDAT {len(text) - half} LAST\r\n".encode() + text[half:])
            first, second = s.getreply()[0], s.getreply()[0]
            told = second if first == 250 else first
        else:
            told = s.data(text)[0]
        if told == 250:
            for a in accepted:
                self.model.added(a, "INBOX", number)


class Device(Worker):
    """A device with QRESYNC: a mirror of one mailbox, which it resynchronises from what it remembers, and changes. Two work in each mailbox
    (which: 0 or 1), sometimes one of them a guest's."""

    def __init__(self, server, model, rng, account, mailbox, which, guest=None, rights=None):
        super().__init__(server, model, rng)
        self.account, self.mailbox, self.which, self.login = account, mailbox, which, guest or account
        self.rights = rights                                    # of guests, where they change (rights.py)
        self.known, self.validity, self.modseq = {}, 0, 0       # uid -> flags
        self.memories = []                                       # earlier (validity, modseq, known)
        self.c = None

    def state(self):
        return self.validity, self.modseq, dict(self.known), self.memories

    def restore(self, state):
        self.validity, self.modseq, self.known, self.memories = state
        self.known = dict(self.known)

    def connect(self):
        self.c = Imap(self.server, self.login)
        self.c.command("ENABLE QRESYNC")
        self.has_new = False
        r = self.say(f"SELECT {self.named(self.account, self.mailbox)}" + (f" (QRESYNC ({self.validity} {self.modseq}))" if self.validity else ""))
        validity = int(code(r, "UIDVALIDITY")[0])
        if validity != self.validity:
            self.known = {}
        self.validity = validity
        self.learn(r)

    def learn(self, responses):
        """New messages are fetched before the modseq that covers them is believed: all behind those known so far, since the responses that tell
        of several may have the flags of the last one only."""
        modseq, first_new = self.modseq, max(self.known, default=0) + 1
        for line, literals in responses:
            gone = re.match(r"\* VANISHED (?:\(EARLIER\) )?(\S+)$", line)
            self.has_new |= bool(re.match(r"\* \d+ EXISTS", line))
            if gone:
                for first, last in ((int(p.partition(":")[0]), int(p.partition(":")[2] or p.partition(":")[0])) for p in gone.group(1).split(",")):
                    for uid in [u for u in self.known if first <= u <= last]:
                        del self.known[uid]
            for uid, flags, _, _ in fetched([(line, literals)]):
                if flags is not None:
                    self.known[uid] = flags
            modseq = max([modseq] + [int(m) for m in re.findall(r"HIGHESTMODSEQ (\d+)", line)])
        if self.has_new:
            self.has_new = False
            self.learn(self.c.command(f"UID FETCH {first_new}:* (FLAGS)"))
        self.modseq = max(self.modseq, modseq)

    def named(self, account, mailbox):
        return named(mailbox, account, self.login)

    def say(self, command, literal=None, needs="", to=None):
        """needs: which rights, in the own mailbox; to: the mailbox of this account that it adds to."""
        if self.rights is None or self.login == self.account or self.rights.MAILBOX not in (self.mailbox, to):
            return self.c.command(command, literal)
        needs = ("r" + needs) * (self.mailbox == self.rights.MAILBOX) + "i" * (to == self.rights.MAILBOX)
        before = self.rights.known(self.login)
        try:
            r = self.c.command(command, literal)
        except Refused as no:
            self.rights.judge(self.login, before, command, needs, str(no))
            raise
        self.rights.judge(self.login, before, command, needs, None)
        return r

    def ok(self, command, literal=None, needs="", to=None):
        r = self.say(command, literal, needs, to)
        self.learn(r)
        return r

    def work(self):
        try:
            self.connect()
            self.name_messages()
            while not self.stopped.is_set():
                self.step()
                self.ok("NOOP")
                if self.rng.random() < 0.02:
                    return                  # connects again
        finally:
            if self.c:
                self.c.close()

    def name_messages(self):
        """Which numbers the UIDs are."""
        todo = [u for u in self.known if self.model.number_of(self.account, self.mailbox, self.validity, u) is None]
        if not todo:
            return
        for uid, _, _, literals in fetched(self.ok(f"UID FETCH {','.join(map(str, todo[-200:]))} (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")):
            number = re.search(rb"no (\d+)", literals[0]) if literals else None
            if number:
                self.model.means(self.account, self.mailbox, self.validity, uid, int(number.group(1)))

    def step(self):
        do = self.rng.random()
        uid = self.rng.choice(list(self.known)) if self.known else 0
        number = self.model.number_of(self.account, self.mailbox, self.validity, uid)
        if do < 0.15:
            self.append()
        elif do < 0.3:
            self.name_messages()
        elif number is None:
            self.name_messages()
        elif do < 0.65:
            self.flag(uid)
        elif do < 0.72:
            self.copy(uid, number)
        elif uid % 2 != self.which:
            return                          # the other device removes this one: what two do to one message has no order here
        elif do < 0.8:
            self.move(uid, number)
        elif do < 0.8 + min(0.15, len(self.known) / 2000) or len(self.known) > 400:
            self.expunge(uid, number)
        if self.login != self.account:
            self.model.by_guest()
        if self.rng.random() < 0.05:
            self.remember()

    def remember(self):
        memory = (self.validity, self.modseq, dict(self.known))
        if len(self.memories) < 8:
            self.memories.append(memory)
        else:
            self.memories[self.rng.randrange(8)] = memory

    def append(self):
        number = self.model.take_number()
        text = text_of(number)
        if len(text) > 300000:
            return
        self.model.asked_to_add(self.account, "Drafts", number)
        told = code(self.ok(f"APPEND {self.named(self.account, 'Drafts')}", text), "APPENDUID")
        self.model.added(self.account, "Drafts", number, int(told[0]), int(told[1]))

    def flag(self, uid):
        flag, value = self.rng.choice(FLAGS_OF[self.which]), self.rng.random() < 0.5
        entry = self.model.asked_to_flag(self.account, self.mailbox, uid, flag, value)
        self.ok(f"UID STORE {uid} {'+' if value else '-'}FLAGS ({flag})", needs="s" if flag == "\\Seen" else "w")
        if uid in self.known:
            self.model.flagged(entry)

    def other(self):
        """A guest takes some home."""
        if self.login != self.account and self.rng.random() < 0.4:
            return self.login, "INBOX"
        return self.account, self.rng.choice([m for m in ("INBOX", "Archive", "Trash") if m != self.mailbox])

    def copy(self, uid, number):
        account, to = self.other()
        self.model.asked_to_add(account, to, number)
        told = code(self.ok(f"UID COPY {uid} {self.named(account, to)}", to=to if account == self.account else None), "COPYUID")
        if told:
            self.model.added(account, to, number, int(told[0]), int(told[2]))

    def move(self, uid, number):
        account, to = self.other()
        if account != self.account:
            self.take(uid, number, account, to)
            return
        self.model.asked_to_move(self.account, self.mailbox, to, number)
        told = code(self.ok(f"UID MOVE {uid} {self.named(account, to)}", needs="te", to=to), "COPYUID")
        if told:
            self.model.moved(self.account, self.mailbox, to, number, uid, int(told[0]), int(told[2]))

    def take(self, uid, number, account, to):
        """A MOVE out of an account: no one transaction has both, so what is interrupted is in both."""
        self.model.asked_to_add(account, to, number)
        self.model.asked_to_remove(self.account, self.mailbox, number)
        told = code(self.ok(f"UID MOVE {uid} {self.named(account, to)}", needs="te"), "COPYUID")
        if told:
            self.model.added(account, to, number, int(told[0]), int(told[2]))
            self.model.removed(self.account, self.mailbox, number, uid)

    def expunge(self, uid, number):
        entry = self.model.asked_to_flag(self.account, self.mailbox, uid, "\\Deleted", True)
        self.ok(f"UID STORE {uid} +FLAGS (\\Deleted)", needs="t")
        self.model.flagged(entry)
        self.model.asked_to_remove(self.account, self.mailbox, number)
        self.ok(f"UID EXPUNGE {uid}", needs="e")
        self.model.removed(self.account, self.mailbox, number, uid)

    def compare(self, fresh):
        """From where it is, and from each memory, a difference must end at what a fresh look shows. All that is wrong."""
        truth = {uid: flags for uid, (_, flags) in fresh[self.mailbox][2].items()}
        wrong = []
        for validity, modseq, known in [(self.validity, self.modseq, self.known)] + self.memories:
            again = Device(self.server, self.model, self.rng, self.account, self.mailbox, self.which, self.login)
            again.validity, again.modseq, again.known = validity, modseq, dict(known)
            try:
                again.connect()
            finally:
                if again.c:
                    again.c.close()
            differs = [f"uid {u}: {describe(again.known.get(u))} instead of {describe(truth.get(u))}"
                       for u in sorted(set(again.known) | set(truth)) if again.known.get(u) != truth.get(u)]
            if differs:
                wrong.append(f"{self.account}/{self.mailbox}: after QRESYNC from (uidvalidity {validity}, modseq {modseq}) this device of {self.login} "
                             f"differs from a fresh one in {len(differs)}: {'; '.join(differs[:5])}")
        return wrong


def describe(flags):
    return "not there" if flags is None else "flags (" + " ".join(sorted(flags)) + ")"


class Watcher(Worker):
    """A plain device that stays: counts by sequence number, IDLEs (its session is parked in the gate and outlives cells). Perhaps
    a guest's."""

    def __init__(self, server, model, rng, account, guest=None):
        super().__init__(server, model, rng)
        self.account, self.login = account, guest or account
        self.lately = collections.deque(maxlen=4000)    # lines that it was told, for whoever has to find out

    def work(self):
        c = Imap(self.server, self.login)
        try:
            c.command(f"SELECT {named('INBOX', self.account, self.login)}")
            uids = []
            self.take(c, c.command("UID FETCH 1:* (UID)"), uids)
            while not self.stopped.is_set():
                c.sock.sendall(b"i IDLE\r\n")
                while not c.response()[0].startswith("+"):
                    raise EOFError("no continuation")
                until = time.monotonic() + self.rng.uniform(0.1, 3)
                news = []
                while time.monotonic() < until and not self.stopped.is_set():
                    c.sock.settimeout(0.2)
                    with contextlib.suppress(socket.timeout, TimeoutError):
                        news.append(c.response())
                        if news[-1][0].startswith("* BYE"):
                            raise EOFError("BYE")
                c.sock.settimeout(30)
                c.sock.sendall(b"DONE\r\n")
                while True:
                    r = c.response()
                    if r[0].startswith("* BYE"):
                        raise EOFError("BYE")
                    if r[0].startswith("i "):
                        break
                    news.append(r)
                self.take(c, news, uids)
                self.take(c, c.command("UID FETCH 1:* (UID)"), uids, whole=True)
        finally:
            c.close()

    def take(self, c, responses, uids, whole=False):
        """Keeps uids[] as the responses say; the two ways to name a message must agree."""
        for line, _ in responses:
            self.lately.append(line)
            gone, fetch = re.match(r"\* (\d+) EXPUNGE", line), re.match(r"\* (\d+) FETCH \(.*?UID (\d+)", line)
            if gone:
                at = int(gone.group(1))
                if at <= len(uids):
                    del uids[at - 1]
                elif not whole:
                    pass                    # of messages that it has not asked for yet: EXISTS came before
            elif fetch:
                at, uid = int(fetch.group(1)), int(fetch.group(2))
                if at <= len(uids) and uids[at - 1] != uid:
                    raise Wrong(f"{self.account}: to a session of {self.login} that stays, message {at} was uid {uids[at - 1]} and is now uid {uid}, "
                                f"without EXPUNGE; it was told lately: {list(self.lately)}")
                if at == len(uids) + 1:
                    uids.append(uid)
        return uids


class Listener(Worker):
    """Has nothing selected and asks by NOTIFY to hear of its own mailboxes and of some that bob shares; in IDLE, or between two commands. What
    it is told of UIDNEXT must stay true, whatever happens then: what is seen is on disk."""
    HEARS = ("INBOX", "Archive")

    def __init__(self, server, model, rng, login):
        super().__init__(server, model, rng)
        self.login, self.c = login, None

    def connect(self):
        """And what it is told at once: {(account, mailbox): {item: value}}"""
        self.c, self.uidnext = Imap(self.server, self.login), {}
        events = "(MessageNew MessageExpunge FlagChange)"
        theirs = " ".join(named(m, "bob", self.login) for m in self.HEARS)
        return self.hear(self.c.command(f"NOTIFY SET STATUS (personal {events}) (mailboxes ({theirs}) {events})"))

    def hear(self, responses):
        heard = {}
        for line, _ in responses:
            status = re.match(r'\* STATUS (?:"([^"]+)"|(\S+)) \((.*)\)$', line)
            if line.startswith("* BYE"):
                raise EOFError(line)
            if not status:
                continue
            name, items = status.group(1) or status.group(2), status.group(3).split()
            theirs = re.match(rf"{OTHERS}([^@]+)@example.test/(.*)", name)
            where = (theirs.group(1), theirs.group(2)) if theirs else (self.login, name)
            heard[where] = {k: int(v) for k, v in zip(items[::2], items[1::2])}
            self.note(where, heard[where])
        return heard

    def note(self, where, items):
        if "UIDNEXT" not in items:
            return
        if items["UIDNEXT"] < self.uidnext.get(where, 0):
            raise Wrong(f"{self.login} was told by NOTIFY that UIDNEXT of {'/'.join(where)} is {self.uidnext[where]}, and now {items['UIDNEXT']}")
        self.uidnext[where] = items["UIDNEXT"]
        self.model.uidnext_told(*where, items["UIDNEXT"], where[0] != self.login)

    def work(self):
        try:
            self.connect()
            while not self.stopped.is_set() and self.rng.random() < 0.9:
                self.wait(self.rng.random() < 0.6, self.rng.uniform(0.5, 4), lambda heard: self.stopped.is_set())
        finally:
            if self.c:
                self.c.close()

    def wait(self, idles, seconds, is_enough):
        """So long, or until is_enough(what it hears). False: it was never enough."""
        c, until, enough = self.c, time.monotonic() + seconds, False
        if idles:
            c.sock.sendall(b"i IDLE\r\n")
        while time.monotonic() < until and not enough:
            c.sock.settimeout(0.2)
            try:
                heard = self.hear([c.response()])
            except (socket.timeout, TimeoutError):
                heard = {}
            enough = is_enough(heard)
        c.sock.settimeout(30)
        if idles:
            c.sock.sendall(b"DONE\r\n")
            while True:
                line = c.response()
                if line[0].startswith("i "):
                    return enough
                enough |= is_enough(self.hear([line]))
        return enough


class Reader(Worker):
    """POP3: takes messages away; what QUIT confirmed is gone, what it did not may be."""

    def __init__(self, server, model, rng, account):
        super().__init__(server, model, rng)
        self.account = account

    def work(self):
        import poplib
        try:
            p = self.server.pop3(self.account)
        except poplib.error_proto as e:
            raise Refused(str(e)) from e
        try:
            listing = [line.split() for line in p.uidl()[1]]
            if len({u for _, u in listing}) != len(listing):
                raise Wrong(f"{self.account}: POP3 lists one UIDL twice")
            mine = []
            for at, uidl in self.rng.sample(listing, min(len(listing), self.rng.randrange(1, 12))):
                head = b"\n".join(p.top(int(at), 0)[1])
                number = re.search(rb"no (\d+)", head)
                if not number:
                    raise Wrong(f"{self.account}: POP3 message {at} has no subject of ours: {head[:200]}")
                self.model.uidl_means(self.account, uidl, int(number.group(1)))
                if len(listing) > 40 or self.rng.random() < 0.3:
                    p.dele(int(at))
                    mine.append(int(number.group(1)))
            for number in mine:
                self.model.asked_to_remove(self.account, "INBOX", number)
            p.quit()
            for number in mine:
                self.model.removed(self.account, "INBOX", number)
        except poplib.error_proto as e:
            raise Refused(str(e)) from e
        finally:
            p.close()
        self.stopped.wait(0.1)
