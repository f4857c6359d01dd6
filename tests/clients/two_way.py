"""Two-way sync against changing mailboxes: `make clients [CLIENTS=thunderbird,mbsync] [ROUNDS=n] [SEED=n]`.

Each program has an account of its own. A round changes messages at random on both sides (flags, keywords, new ones, moved ones, removed
ones), in some rounds while the program is at work, in some the cell of the account is killed meanwhile. Then the program syncs until both agree, a few times at most: what
it keeps in its own files and what the server has must be the same messages, each once, whole, with the same flags; and what only one
side has changed must have come out as that side changed it. What both sides changed differently has to be equal only."""
import argparse
import contextlib
import imaplib
import os
import random
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import Server, expect, wait_for
from maildir import Mbsync, Offlineimap
from thunderbird import Thunderbird

PROGRAMS = {p.name: p for p in (Thunderbird, Mbsync, Offlineimap)}
FOLDERS = ["INBOX", "Work", "Work/Sub", "&AMk-t&AOk-"]
LETTERS = {"\\Seen": "S", "\\Answered": "R", "\\Flagged": "F", "work": "w"}
SYNCS = 4
WORDS = {letter: word for word, letter in LETTERS.items()}


class Remote:
    """The account as another device sees it."""

    def __init__(self, server, user):
        self.server, self.user = server, user
        self.box = server.imap(user)

    def again(self):
        """True: it is there."""
        with contextlib.suppress(Exception):
            self.box.shutdown()
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self.box = self.server.imap(self.user)
            return self.box.select("INBOX")[0] == "OK"
        return False

    def close(self):
        self.box.logout()

    def done(self, answer):
        expect(answer[0] == "OK", answer)
        return answer[1]

    def select(self, folder):
        self.done(self.box.select(f'"{folder}"'))

    def uid(self, folder, subject):
        self.select(folder)
        found = self.done(self.box.uid("SEARCH", "HEADER", "SUBJECT", f'"{subject}"'))[0].split()
        expect(len(found) == 1, f"{subject} is {len(found)} times in {folder}")
        return found[0].decode()

    def view(self):
        found = {}
        for folder in FOLDERS:
            here = found[folder] = {}
            self.select(folder)
            for part in self.done(self.box.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")):
                if not isinstance(part, tuple):
                    continue
                text = part[1].decode()
                subject = re.search(r"^Subject: (.*?)\r$", text, re.M)[1]
                flags = re.search(r"FLAGS \((.*?)\)", part[0].decode())[1].split()
                expect(subject not in here, f"{subject} is twice in {folder} of the server")
                here[subject] = ["".join(sorted(LETTERS[f] for f in flags if f in LETTERS)), text]
        return found

    def mark(self, folder, subject, flag, on):
        self.done(self.box.uid("STORE", self.uid(folder, subject), "+FLAGS" if on else "-FLAGS", f"({WORDS[flag]})"))

    def move(self, folder, subject, to):
        self.done(self.box.uid("MOVE", self.uid(folder, subject), f'"{to}"'))

    def remove(self, folder, subject):
        uid = self.uid(folder, subject)
        self.done(self.box.uid("STORE", uid, "+FLAGS", "(\\Deleted)"))
        self.done(self.box.uid("EXPUNGE", uid))

    def add(self, folder, subject, text):
        self.done(self.box.append(f'"{folder}"', "(\\Seen)", None, text.encode()))


class Game:
    def __init__(self, server, kind, rounds, seed, kills):
        self.random = random.Random(f"{seed} {kind.name}")
        self.server, self.kind, self.rounds, self.kills = server, kind, rounds, kills
        self.user = kind.name
        server.add_account(self.user)
        self.far = Remote(server, self.user)
        for folder in FOLDERS[1:]:
            self.far.box.create(f'"{folder}"')
            self.far.box.subscribe(f'"{folder}"')
        self.made, self.changes, self.killed = 0, 0, 0
        self.model = {}      # subject: (folder, flags); what both sides agreed on, and since then what one of them did
        self.unsure = set()  # what both did something to since then
        self.who = {}        # subject: the side that changed it in this round
        self.why = ""        # the sides are not equal
        self.marked = set()  # by the program in this round
        self.gone = set()    # from where it was, by either
        self.done = []       # what was done in this round, for whoever has to find out
        for _ in range(30):
            self.new(self.far)
        self.near = kind(server, self.user, FOLDERS)
        self.until_equal()

    def new(self, side):
        self.made += 1
        subject, folder = f"m{self.made:05}", self.random.choice(FOLDERS)
        filler = "".join(f"line {i} of {subject}, caf\u00e9\r\n" for i in range(self.random.choice([1, 5, 40, 900])))
        text = (f"From: someone@elsewhere.test\r\nTo: {self.user}@example.test\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject}@elsewhere.test>\r\n"
                f"Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{filler}")
        side.add(folder, subject, text)
        self.model[subject] = (folder, "S")
        self.who[subject] = side
        self.note(side, "new", subject, folder)

    def note(self, side, what, subject, folder, more=""):
        self.done.append(f"{'the program' if side is not self.far else 'the other side'}: {what} {subject} in {folder} {more}".rstrip())

    def change(self, side, mine):
        """Something at random on this side, to a message that is there (mine: as this side saw the account when the round began)."""
        flags = self.kind.flags
        what = self.random.choice("nmmdffff")
        self.changes += 1
        if what == "n" or not mine:
            self.new(side)
            return
        subject = self.random.choice(sorted(mine))
        if self.who.get(subject, side) is not side:
            if self.random.random() < 0.7 or what == "m":  # what both move is twice then, for each of them made one
                return
            if self.kind.acts_at_once and subject in self.gone:  # the other side would not find it
                return
            self.unsure.add(subject)
        self.who[subject] = side
        folder, has = mine[subject]
        if what in "dm":
            self.gone.add(subject)
        if what == "d":
            self.note(side, "remove", subject, folder)
            side.remove(folder, subject)
            del mine[subject]
            self.model.pop(subject, None)
        elif what == "m":
            to = self.random.choice([f for f in FOLDERS if f != folder])
            self.note(side, "move", subject, folder, f"to {to}")
            side.move(folder, subject, to)
            mine[subject] = self.model[subject] = (to, has)
        else:
            flag = self.random.choice(flags)
            on = flag not in has or flag == "R"
            self.note(side, "mark", subject, folder, f"{'+' if on else '-'}{flag}")
            side.mark(folder, subject, flag, on)
            if side is self.near:
                self.marked.add(subject)
            has = "".join(sorted(set(has) | {flag} if on else set(has) - {flag}))
            mine[subject] = self.model[subject] = (folder, has)

    def kill_cell(self):
        time.sleep(self.random.choice([0, 0.02, 0.1, 0.4]))
        for pid in self.server.pids_of("cell"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed += 1

    def round(self):
        self.who, self.unsure, self.marked, self.gone, self.done = {}, set(), set(), set(), []
        mine = {side: dict(self.model) for side in (self.near, self.far)}
        for _ in range(self.random.randrange(8)):
            self.change(self.near, mine[self.near])
        how = self.random.choice(["before", "before", "meanwhile"] + ["kill"] * self.kills)
        changes = self.random.randrange(1, 8)
        self.done.append({"before": "then it syncs, after the other side's changes", "meanwhile": "then it syncs, meanwhile the other side's changes",
                          "kill": "then it syncs, and the cell is killed"}[how])

        def others():
            for _ in range(changes):
                self.change(self.far, mine[self.far])
        trouble = []
        if how == "before":
            others()
            self.near.sync()
        else:
            def work():
                try:
                    self.kill_cell() if how == "kill" else others()
                except BaseException as why:
                    trouble.append(why)
            beside = threading.Thread(target=work)
            beside.start()
            with contextlib.suppress(Exception) if how == "kill" else contextlib.nullcontext():
                self.near.sync()
            beside.join()
        if trouble:
            raise trouble[0]
        if how == "kill" and self.kind.forgets_marks:
            self.unsure |= self.marked
        if how == "kill":  # after some kills master waits for two seconds before it starts the cell again
            wait_for(self.far.again, 20, "the account is there again")
        self.until_equal()

    def until_equal(self):
        """A program that saw something half done needs a second run."""
        for _ in range(SYNCS):
            if self.is_equal():
                return
        raise AssertionError(f"after {SYNCS} runs\n{self.why}")

    def is_equal(self):
        self.near.sync()
        here, there = self.near.view(), self.far.view()
        self.why = differences(here, there, self.kind.flags)
        if self.why:
            return False
        now = {}
        for folder, all_here in there.items():
            for subject, (flags, _) in all_here.items():
                expect(subject not in now, f"{subject} is in {folder}, and in {now.get(subject, [''])[0]}")
                now[subject] = folder, flags
        for subject in set(now) | set(self.model):
            if subject not in self.unsure:
                expect(now.get(subject) == self.model.get(subject), f"{subject} is {now.get(subject)}, should be {self.model.get(subject)}")
        self.model = now
        return True

    def play(self):
        for number in range(self.rounds):
            try:
                self.round()
            except Exception as why:
                raise AssertionError(f"round {number}: {why}\n    " + "\n    ".join(self.done)) from why

    def close(self):
        with contextlib.suppress(Exception):
            self.far.close()
        self.near.close()


def plain(text):
    """Without the fields that the programs add for themselves, and their ways to end lines."""
    return re.sub(r"^X-(TUID|OfflineIMAP|Mozilla-[A-Za-z0-9-]+): .*\n", "", text.replace("\r\n", "\n"), flags=re.M).rstrip("\n")


def differences(here, there, flags):
    found = []
    for folder in FOLDERS:
        for subject in sorted(set(here[folder]) | set(there[folder])):
            a, b = here[folder].get(subject), there[folder].get(subject)
            if a is None or b is None:
                found.append(f"{folder}: {subject} is only {'there' if a is None else 'here'}")
            elif "".join(f for f in a[0] if f in flags) != "".join(f for f in b[0] if f in flags):
                found.append(f"{folder}: {subject} has {a[0]} here, {b[0]} there")
            elif a[1] is None or plain(a[1]) != plain(b[1]):
                found.append(f"{folder}: {subject} is not the same text: {a[1] and plain(a[1])[-300:]!r} here, {plain(b[1])[-300:]!r} there")
    return "\n".join(found[:10])


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clients", default=",".join(PROGRAMS), help="which programs, with commas")
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--no-kills", action="store_true", help="the cell is never killed")
    options = options.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    failed = 0
    print(f"seed {seed}, {options.rounds} rounds a program")
    for name in options.clients.split(","):
        server, game, begin = Server(accounts=()), None, time.monotonic()
        try:
            game = Game(server, PROGRAMS[name], options.rounds, seed, not options.no_kills)
            game.play()
            print(f"  ok    {name}: {game.rounds} rounds, {game.changes} changes, {game.killed} cells killed, {len(game.model)} messages in the end,"
                  f"{f' started anew {game.near.restarts} times,' if game.near.restarts else ''} {time.monotonic() - begin:.0f} s", flush=True)
        except Exception as why:
            failed += 1
            print(f"  FAIL  {name}: {why}\n--- end of the server's log\n{server.log()[-2000:]}", flush=True)
        finally:
            if game:
                game.close()
            server.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
