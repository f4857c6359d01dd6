"""What the data folder may look like after a power cut, made from the trace of the disk layer (src/disk/fault.h).

The program writes down every operation before it is performed, and its end. From the folder as it was when the trace began (taken as
durable) and the trace up to the cut, rebuild() makes one possible state of the disk: what was under a successful sync is there; of
later writes to a file any part may be, torn at 512 bytes; names made, removed or renamed in a folder survive as a prefix of their
order unless the folder was synced. src/disk/powercut_test.h does the same for the unit tests; here it is the whole server, all roles
in one order, cut down by SIGKILL in the middle of its work."""
import mmap
import os
import random
import shutil
import struct

DONE, CREATE, WRITE, TRUNCATE, SYNC, DIRSYNC, SYNCFS, REMOVE, REPLACE, MKDIR = range(10)
HEADER = struct.Struct("<4sII")
RECORD = struct.Struct("<BIQIQHI")
SECTOR, WINDOW, MAGIC = 512, 65536, b"FDT1"


def next_magic(m, at):
    """Where it stands from `at` on, or -1. Not m.find(): that of Python 3.11 reads a byte behind the end, where no page may be."""
    while at < len(m):
        found = m[at:at + WINDOW].find(MAGIC)
        if found >= 0:
            return at + found
        at += WINDOW - len(MAGIC) + 1
    return -1


def records(path):
    """(op, id, errno, offset, path, data) in order. A process that was killed can leave a torn record: the next magic is looked for."""
    if os.path.getsize(path) == 0:
        return
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        at, end = 0, len(m)
        while 0 <= at and at + HEADER.size + RECORD.size <= end:
            magic, length, _ = HEADER.unpack_from(m, at)
            following = at + length
            if magic != MAGIC or length < HEADER.size + RECORD.size or following > end or \
                    (following < end and m[following:following + 4] != MAGIC):
                at = next_magic(m, at + 1)
                continue
            op, _, number, errnum, offset, path_n, data_n = RECORD.unpack_from(m, at + HEADER.size)
            where = at + HEADER.size + RECORD.size
            yield op, number, errnum, offset, m[where:where + path_n].decode(), m[where + path_n:where + path_n + data_n]
            at = following


class File:
    """An inode: what is durable, and the operations after that, in order: [done, offset, data or None for truncate]."""

    def __init__(self, content=b""):
        self.kept, self.pending = bytearray(content), []

    def apply(self, offset, data):
        if data is None:
            del self.kept[offset:]
            self.kept.extend(bytes(offset - len(self.kept)))
            return
        if len(self.kept) < offset:
            self.kept.extend(bytes(offset - len(self.kept)))
        self.kept[offset:offset + len(data)] = data

    def settle(self, count):
        """The first count pending operations are durable."""
        for op in self.pending[:count]:
            self.apply(op[1], op[2])
        del self.pending[:count]

    def tear(self, rng):
        """The cut: keep all, none, a prefix, or any sectors of what is pending."""
        way = rng.randrange(4)
        if way == 1:
            self.pending.clear()
        elif way == 2:
            del self.pending[rng.randrange(len(self.pending) + 1):]
        for _, offset, data in self.pending:
            if way != 3 or data is None or rng.randrange(3) == 0:
                self.apply(offset, data)
                continue
            at = offset
            while at < offset + len(data) and data:
                stop = min((at // SECTOR + 1) * SECTOR, offset + len(data))
                if rng.randrange(2):
                    self.apply(at, data[at - offset:stop - offset])
                at = stop
        self.pending.clear()


class Disk:
    def __init__(self, base):
        self.base, self.names, self.kept, self.changes, self.open = base, {}, {}, [], {}
        self.writes = {}                    # id -> [operation] that have not ended
        self.last = {}                      # pid -> position of its last record, of processes that are dead at the cut
        for folder, _, files in os.walk(base):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        self.names[path] = self.kept[path] = File(f.read())

    def change(self, op, path, to, file):
        self.changes.append((op, path, to, file))
        self.rename(self.names, op, path, to, file)

    @staticmethod
    def rename(names, op, path, to, file):
        if op == CREATE:
            names[path] = file
        else:
            names.pop(path, None)
            if op == REPLACE:
                names[to] = file

    def settle_names(self, changes):
        for change in changes:
            self.rename(self.kept, *change)
            self.changes.remove(change)

    def play(self, at, op, number, errnum, offset, path, data):
        """at: the position of the record. The id of an operation begins with its process."""
        file = self.names.get(path)
        if op == CREATE:
            self.change(CREATE, path, None, File())
        elif op in (WRITE, TRUNCATE) and file is not None:
            entry = [False, offset, bytes(data) if op == WRITE else None]
            file.pending.append(entry)
            self.writes.setdefault(number, []).append(entry)
        elif op == REMOVE:
            self.change(REMOVE, path, None, file)
        elif op == REPLACE and file is not None:
            self.change(REPLACE, path, data.decode(), file)
        elif op in (SYNC, DIRSYNC, SYNCFS):
            self.bury(at)
            self.open[number] = self.covered(op, path, file)
        elif op == DONE:
            for entry in self.writes.pop(number, ()):
                entry[0] = True
            covered = self.open.pop(number, None)
            if covered and errnum == 0:
                self.synced(*covered)

    def bury(self, at):
        """A killed process writes no DONE; what it had begun is over when it is dead, and a later sync covers it."""
        for number in [n for n in self.writes if self.last.get(n >> 32, at) < at]:
            for entry in self.writes.pop(number):
                entry[0] = True

    def covered(self, op, path, file):
        """What a sync that begins now will have made durable when it ends: operations that have ended by now."""
        files = set(self.names.values()) if op == SYNCFS else {file} - {None} if op == SYNC else set()
        changes = list(self.changes) if op == SYNCFS else \
            [c for c in self.changes if os.path.dirname(c[2] or c[1]) == path or os.path.dirname(c[1]) == path] if op == DIRSYNC else []
        ended = {}
        for f in files:
            ended[f] = [entry for entry in f.pending if entry[0]]
        return ended, changes

    def synced(self, ended, changes):
        for file, entries in ended.items():
            mine = {id(e) for e in entries}
            count = 0
            while count < len(file.pending) and id(file.pending[count]) in mine:
                count += 1
            file.settle(count)
        self.settle_names([c for c in changes if c in self.changes])

    def cut(self, rng):
        """{path: bytes} of one possible state."""
        for folder in {os.path.dirname(c[1]) for c in self.changes}:
            mine = [c for c in self.changes if os.path.dirname(c[1]) == folder]
            self.settle_names(mine[:rng.randrange(len(mine) + 1)])
        for file in {id(f): f for f in self.kept.values()}.values():
            file.tear(rng)
        return {path: bytes(file.kept) for path, file in self.kept.items()}


def rebuild(base, trace, folder, seed, skip=(), alive=()):
    """base: copy of folder as it was when the trace began, at another place; folder is rewritten in place to a state after the cut.
    Owners and modes of what stays are kept. alive: processes that lived until the cut. skip: names below folder that are left alone (logs of the test itself)."""
    rng = random.Random(seed)
    disk = Disk(base)
    moved = {}
    for table in (disk.names, disk.kept):
        for path in list(table):
            moved[folder + path[len(base):]] = table.pop(path)
        table.update(moved)
        moved = {}
    for at, record in enumerate(records(trace)):
        if record[1] >> 32 not in alive:
            disk.last[record[1] >> 32] = at
    for at, record in enumerate(records(trace)):
        disk.play(at, *record)
    state = disk.cut(rng)
    for where, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path) and path not in state and os.path.relpath(path, folder) not in skip:
                os.unlink(path)
    for path, content in state.items():
        if os.path.relpath(path, folder) in skip:
            continue
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            continue                        # made after the cut's last synced name: not there
        is_new = not os.path.exists(path)
        with open(path, "r+b" if not is_new else "wb") as f:
            f.truncate(0)
            f.write(content)
        if is_new:
            owner = os.stat(parent)
            os.chown(path, owner.st_uid, owner.st_gid)
            os.chmod(path, 0o600)


def snapshot(folder, to):
    """A copy with everything but sockets, to play the trace on."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, ignore=lambda where, names: [n for n in names if not os.path.isdir(os.path.join(where, n)) and
                                                               not os.path.isfile(os.path.join(where, n))])
