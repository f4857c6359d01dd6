"""Rights that change while guests work: bob gives and takes what they may do in one of the mailboxes that he shares.

A SETACL that was answered holds from then on, for commands that begin later, also after a kill or a power cut. So a guest looks before and
after a command at what is known: where nothing was asked for in between, what was done must have been allowed, and what was refused
must not. Which of two is true while a SETACL runs, or for a while after one that nobody answered, is not known, and nothing is said of it."""
import re
import threading
import time

from clients import GUESTS, RIGHTS, Imap, Refused, Worker
from model import Wrong

OWNER, CHANGES = "bob", "Archive"
CHOICES = (RIGHTS, RIGHTS, "lrs", "lr", "lri", "lrswi", "lrte", "l", "")
UNSURE_SECONDS = 10.0   # a session whose answer nobody heard may still be at work
DENIALS = re.compile(r"\[(NOPERM|NONEXISTENT|TRYCREATE)\b")


class Rights:
    """What each guest may do in CHANGES: all that is possible, and how often it was asked for something else."""
    MAILBOX = CHANGES

    def __init__(self, model):
        self.model, self.lock = model, threading.Lock()
        self.may = {g: [RIGHTS] for g in GUESTS}
        self.asked_times = {g: 0 for g in GUESTS}
        self.unsure_until = {g: 0.0 for g in GUESTS}

    def asked(self, guest, rights):
        with self.lock:
            self.asked_times[guest] += 1
            self.may[guest].append(rights)

    def told(self, guest, rights):
        with self.lock:
            if time.monotonic() >= self.unsure_until[guest]:
                self.may[guest] = [rights]

    def unanswered(self, guest):
        with self.lock:
            self.unsure_until[guest] = time.monotonic() + UNSURE_SECONDS

    def known(self, guest):
        """(how often asked, the rights if they are certain)"""
        with self.lock:
            return self.asked_times[guest], self.may[guest][0] if len(set(self.may[guest])) == 1 else None

    def judge(self, guest, before, what, needs, refused):
        """A command that needed these rights in CHANGES was answered; refused: with this NO. Wrong where that cannot be."""
        if before != self.known(guest) or before[1] is None:
            return
        lacks = "".join(sorted(set(needs) - set(before[1])))
        if refused is None and lacks:
            raise Wrong(f"{guest} may do \"{before[1]}\" in {OWNER}/{CHANGES}, and did what needs {lacks}: {what}")
        if refused is not None and not lacks and DENIALS.search(refused):
            raise Wrong(f"{guest} may do \"{before[1]}\" in {OWNER}/{CHANGES}, and is refused: {what}: {refused}")
        if refused is not None and lacks:
            self.model.denied()


class Owner(Worker):
    """Gives and takes, as his mail program would."""

    def __init__(self, server, model, rng, rights):
        super().__init__(server, model, rng)
        self.rights = rights

    def set(self, c, guest, rights):
        self.rights.asked(guest, rights)
        try:
            if rights or self.rng.random() < 0.5:
                c.command(f'SETACL {CHANGES} {guest}@example.test "{rights}"')
            else:
                c.command(f"DELETEACL {CHANGES} {guest}@example.test")
        except Exception:
            self.rights.unanswered(guest)
            raise
        self.rights.told(guest, rights)
        self.model.rights_changed()

    def work(self):
        c = Imap(self.server, OWNER)
        try:
            while not self.stopped.is_set():
                self.set(c, self.rng.choice(GUESTS), self.rng.choice(CHOICES))
                self.stopped.wait(self.rng.choice((0.02, 0.2, 0.8)))
        finally:
            c.close()

    def give_back(self):
        """At the end of a round: what stands in the list is what was answered; then everybody may do everything again. All that is wrong."""
        wrong, c = [], Imap(self.server, OWNER)
        try:
            line = next(text for text, _ in c.command(f"GETACL {CHANGES}") if text.startswith("* ACL "))
            listed = {who: set(rights) for who, rights in re.findall(r'"(\w+)@example\.test" (\w+)', line)}
            for guest in GUESTS:
                if not any(set(may) == listed.get(guest, set()) & set(RIGHTS) for may in self.rights.may[guest]):
                    wrong.append(f"{guest} may do \"{''.join(sorted(listed.get(guest, '')))}\" in {OWNER}/{CHANGES}; {OWNER} was told of one of {self.rights.may[guest]}")
                c.command(f"SETACL {CHANGES} {guest}@example.test {RIGHTS}")
        except Refused as no:
            wrong.append(f"{OWNER} cannot give rights back, though nothing happens any more: {no}")
        finally:
            c.close()
        return wrong
