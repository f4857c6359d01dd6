"""The accounts as they must be, from what clients were told; verdicts in plain words.

Every message has a number, in its subject, and its text follows from it. For each account, mailbox and number the model keeps how many
copies there are at least (those a client was told of) and at most (those that were asked for and not answered). A clean look at the end of
a round must lie between the two; then what was seen becomes what is known, for the next round. UIDs keep the number they were seen or
announced with, for ever; a UID that was expunged never comes back; what appears does so above every UIDNEXT that was told before.

Flags may be lost by a power cut for a moment (view.h: durable within a second): each has its history, and the values that are allowed
are those since the last one that was told long enough before the cut."""
import pickle
import random
import threading
import time

FLAG_SECONDS = 10.0     # in which the cell runs; the promise is 1 s after the answer; a busy machine is late with its syncs, and this is no test of speed


def text_of(number):
    """The message with this number, the same at every call. One in a hundred is larger than a record of the log may be."""
    rng = random.Random(number)
    size = rng.choices((rng.randrange(100, 4000), rng.randrange(4000, 60000), rng.randrange(100000, 240000),
                        rng.randrange(1100000, 2000000)), (75, 20, 4, 1))[0]
    line = f"{number} " + "".join(rng.choices("abcdefgh ,ijklmnopqrstuvwxyz", k=rng.randrange(20, 900)))
    body = "\r\n".join([line] * (size // len(line) + 1))
    return f"From: sender@elsewhere.test\r\nTo: someone@example.test\r\nSubject: no {number:07d}\r\n\r\n{body}\r\n".encode()


class Wrong(Exception):
    """A promise was broken; the text is for people."""


class Model:
    def __init__(self):
        self.lock = threading.Lock()
        self.last_number = 0
        self.copies = {}        # (account, mailbox, number) -> [at least, at most]
        self.totals = {}        # (account, number) -> the same over all mailboxes: a MOVE changes none of it
        self.meaning = {}       # (account, mailbox, uidvalidity, uid) -> number
        self.dead = set()       # (account, mailbox, uid) whose removal was answered with OK
        self.validity = {}      # (account, mailbox) -> uidvalidity
        self.uidnext = {}       # (account, mailbox) -> (largest UIDNEXT that was told, UIDs that were there below it)
        self.flags = {}         # (account, mailbox, uid, flag) -> [[value, time it was answered or None], ...]
        self.uidl = {}          # (account, uidl) -> number
        self.told = {}          # (account, mailbox) -> [(when, UIDNEXT that a session which waits was told), ...]
        self.counted = {"acknowledged": 0, "operations": 0, "checks": 0, "by_guests": 0, "heard_by_guests": 0, "rights_changed": 0, "denied": 0}
        self.between = {}       # of copies and totals: [smallest "at least", largest "at most"] since watch(); see between()

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "lock"}

    def __setstate__(self, state):
        self.__dict__.update(state, lock=threading.Lock())

    def copy(self):
        with self.lock:
            return pickle.loads(pickle.dumps(self))

    def watch(self):
        """A copy; from now on it is noted what comes and goes, until the next one."""
        with self.lock:
            self.between = {}
            return pickle.loads(pickle.dumps(self))

    def take_number(self):
        with self.lock:
            self.last_number += 1
            return self.last_number

    # what was asked and answered ------------------------------------------------------------------------------------
    def _add(self, account, mailbox, number, which, by, in_total=True):
        self._change(self.copies, (account, mailbox, number), which, by)
        if in_total:
            self._change(self.totals, (account, number), which, by)

    def _change(self, table, key, which, by):
        known = table.setdefault(key, [0, 0])
        known[which] += by
        seen = self.between.setdefault(key, list(known))
        seen[:] = min(seen[0], known[0]), max(seen[1], known[1])

    def asked_to_add(self, account, mailbox, number):
        with self.lock:
            self._add(account, mailbox, number, 1, 1)

    def added(self, account, mailbox, number, validity=None, uid=None):
        with self.lock:
            self.counted["acknowledged"] += 1
            self._add(account, mailbox, number, 0, 1)
            if uid is not None:
                self._means(account, mailbox, validity, uid, number)

    def asked_to_remove(self, account, mailbox, number):
        with self.lock:
            self._add(account, mailbox, number, 0, -1)

    def removed(self, account, mailbox, number, uid=None):
        with self.lock:
            self.counted["operations"] += 1
            self._add(account, mailbox, number, 1, -1)
            if uid is not None:
                self.dead.add((account, mailbox, uid))

    def asked_to_move(self, account, source, to, number):
        with self.lock:
            self._add(account, source, number, 0, -1, in_total=False)
            self._add(account, to, number, 1, 1, in_total=False)

    def moved(self, account, source, to, number, uid, validity, new_uid):
        with self.lock:
            self.counted["operations"] += 1
            self._add(account, source, number, 1, -1, in_total=False)
            self._add(account, to, number, 0, 1, in_total=False)
            self.dead.add((account, source, uid))
            self._means(account, to, validity, new_uid, number)

    def asked_to_flag(self, account, mailbox, uid, flag, value):
        with self.lock:
            entry = [value, None]
            self.flags.setdefault((account, mailbox, uid, flag), []).append(entry)
            return entry

    def flagged(self, entry):
        with self.lock:
            self.counted["operations"] += 1
            entry[1] = time.monotonic()

    def _means(self, account, mailbox, validity, uid, number):
        known = self.meaning.setdefault((account, mailbox, validity, uid), number)
        if known != number:
            raise Wrong(f"{account}/{mailbox}: uid {uid} (uidvalidity {validity}) was announced as message {known} and is now message {number}")

    def means(self, account, mailbox, validity, uid, number):
        with self.lock:
            known = self.validity.setdefault((account, mailbox), validity)
            if known != validity:
                raise Wrong(f"{account}/{mailbox}: the uidvalidity was {known} and is now {validity}")
            self._means(account, mailbox, validity, uid, number)

    def number_of(self, account, mailbox, validity, uid):
        return self.meaning.get((account, mailbox, validity, uid))

    def uidl_means(self, account, uidl, number):
        with self.lock:
            known = self.uidl.setdefault((account, uidl), number)
            if known != number:
                raise Wrong(f"{account}: POP3's UIDL {uidl} was message {known} and is now message {number}")

    def by_guest(self):
        with self.lock:
            self.counted["by_guests"] += 1

    def rights_changed(self):
        with self.lock:
            self.counted["rights_changed"] += 1

    def denied(self):
        with self.lock:
            self.counted["denied"] += 1

    def uidnext_told(self, account, mailbox, uidnext, is_guest):
        with self.lock:
            self.counted["heard_by_guests"] += is_guest
            self.told.setdefault((account, mailbox), []).append((time.monotonic(), uidnext))

    # the verdict ----------------------------------------------------------------------------------------------------
    def missing(self, account, seen):
        """Numbers that must be there and are not (yet): what a check waits for."""
        found = {}
        for mailbox, (_, _, messages) in seen.items():
            for number, _ in messages.values():
                found[mailbox, number] = found.get((mailbox, number), 0) + 1
        with self.lock:
            return sorted({n for (a, m, n), (least, _) in self.copies.items() if a == account and found.get((m, n), 0) < least})

    def judge(self, account, seen, cut_at, unsynced_at=None):
        """seen: {mailbox: (uidvalidity, uidnext, {uid: (number, flags)})}. cut_at: when the power went, or None. unsynced_at: since when the cell
        hung until then, or could not sync, or None. All that is wrong."""
        wrong, found, total = [], {}, {}
        for mailbox, (validity, uidnext, messages) in seen.items():
            for uid, (number, flags) in sorted(messages.items()):
                try:
                    self.means(account, mailbox, validity, uid, number)
                except Wrong as w:
                    wrong.append(str(w))
                if (account, mailbox, uid) in self.dead:    # only here: while clients work, an older answer may be read later
                    wrong.append(f"{account}/{mailbox}: uid {uid} (message {number}) was expunged with OK, and is there again")
                found[mailbox, number] = found.get((mailbox, number), 0) + 1
                total[number] = total.get(number, 0) + 1
            wrong += self._judge_uidnext(account, mailbox, uidnext, messages, cut_at)
            wrong += self._judge_flags(account, mailbox, messages, cut_at if cut_at is None or unsynced_at is None else min(cut_at, unsynced_at))
        self.counted["checks"] += len(total)
        for (a, mailbox, number), (least, most) in sorted(self.copies.items()):
            n = found.get((mailbox, number), 0)
            if a == account and not least <= n <= most:
                wrong.append(f"{account}/{mailbox}: message {number} is there {n} times; clients were told of at least {least}, at most {most}")
        for (a, number), (least, most) in sorted(self.totals.items()):
            n = total.get(number, 0)
            if a == account and not least <= n <= most:
                wrong.append(f"{account}: message {number} is there {n} times in all mailboxes; it must be at least {least} and at most {most}")
        for number in total:
            if (account, number) not in self.totals:
                wrong.append(f"{account}: message {number} is there again; it was settled that it is not")
        return wrong

    def _judge_uidnext(self, account, mailbox, uidnext, messages, cut_at):
        told, there = self.uidnext.get((account, mailbox), (1, frozenset()))
        wrong = [f"{account}/{mailbox}: UIDNEXT was {told} and is now {uidnext}"] if uidnext < told else []
        late = [u for u in messages if u < told and u not in there]
        if late:
            wrong.append(f"{account}/{mailbox}: UIDNEXT was told as {told}, and below it appeared uids {late[:10]}")
        heard = max((n for when, n in self.told.get((account, mailbox), ()) if cut_at is None or when < cut_at), default=0)
        if heard > uidnext:
            wrong.append(f"{account}/{mailbox}: a session that waits was told that UIDNEXT is {heard}, and it is {uidnext}")
        return wrong

    def _judge_flags(self, account, mailbox, messages, cut_at):
        wrong = []
        for uid, (number, flags) in messages.items():
            for flag in ("\\Seen", "\\Flagged", "\\Answered", "\\Draft"):
                history = self.flags.get((account, mailbox, uid, flag))
                if not history:
                    continue
                allowed = set()
                for value, told in reversed(history):
                    allowed.add(value)
                    if told is not None and (cut_at is None or told < cut_at - FLAG_SECONDS):
                        break
                else:
                    allowed = {True, False}             # what it was before is not known: delivered or copied in this round
                if (flag in flags) not in allowed:
                    wrong.append(f"{account}/{mailbox}: uid {uid} (message {number}): {flag} is {'set' if flag in flags else 'not set'}, "
                                 f"against what was answered (history {history}, power cut at {cut_at})")
        return wrong

    def settle(self, account, seen):
        """What was seen is what is known from now on."""
        with self.lock:
            for table in (self.copies, self.totals, self.flags):
                for key in [k for k in table if k[0] == account]:
                    del table[key]
            for key in [k for k in self.told if k[0] == account]:
                del self.told[key]
            self.between = {}
            for mailbox, (_, uidnext, messages) in seen.items():
                self.uidnext[account, mailbox] = (uidnext, frozenset(messages))
                for uid, (number, flags) in messages.items():
                    for which in (0, 1):
                        self._add(account, mailbox, number, which, 1)
                    for flag in ("\\Seen", "\\Flagged", "\\Answered", "\\Draft"):
                        self.flags[account, mailbox, uid, flag] = [[flag in flags, 0.0]]


def between(earlier, later):
    """What must and what may be at a moment between earlier = watch() and later: the least and the most of what was told and asked by
    then. What came and went between the two may have been there."""
    m = earlier.copy()
    for mine, other in ((m.copies, later.copies), (m.totals, later.totals)):
        for key in set(mine) | set(other):
            all_of = [t[key] for t in (mine, later.between, other) if key in t] + [[0, 0]] * (key not in mine or key not in other)
            mine[key] = [min(least for least, _ in all_of), max(most for _, most in all_of)]
    m.flags = later.flags
    return m
