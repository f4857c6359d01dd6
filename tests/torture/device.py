"""A disk whose power can be cut: a file system (ext4 or xfs) on a loop device on a file that logs its writes and flushes (blocklog.c).

The kernel's own file system and page cache lie between the server and this disk, so here the promises of fsync, fdatasync, syncfs and
rename are the real ones, and so is the file system's recovery. cut() makes an image from what was there before, everything up to the last
flush, and of the writes after it any part, torn at 512 bytes: all kept, none, a prefix, or every sector by chance. before_flush() chooses
when: most of the time nothing is pending, and a cut there shows nothing."""
import contextlib
import mmap
import os
import random
import shutil
import struct
import subprocess
import time

SIZE = 1 << 30            # sparse; the server wants disk_reserve free
SECTOR = 512
KINDS = {"ext4": (["mkfs.ext4", "-q", "-F", "-E", "nodiscard"], "noatime"),
         "ext4, small journal": (["mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", "nodiscard"], "noatime,commit=1"),
         "ext4, data=writeback": (["mkfs.ext4", "-q", "-F", "-E", "nodiscard"], "noatime,data=writeback"),
         "xfs": (["mkfs.xfs", "-q", "-f", "-K"], "noatime,nodiscard"),
         "ext4, data=journal": (["mkfs.ext4", "-q", "-F", "-E", "nodiscard"], "noatime,data=journal")}


def why_not(xfs=True):
    """Why this machine cannot do it, in words; or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    for path in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(path):
            return f"there is no {path}"
    for tool in ["unshare", "mkfs.ext4", "losetup", "mount", "fusermount3"] + ["mkfs.xfs"] * xfs:
        if shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            return f"{tool} is not installed (tools/install torture)"
    return None


def run(*args):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stdout.decode(errors='replace').strip()}")
    return done.stdout.decode()


class Device:
    """work: a folder of our own. The disk is work/image; mounted at `at`."""

    def __init__(self, blocklog, work, at):
        self.blocklog, self.work, self.at = blocklog, work, at
        self.image, self.base, self.log, self.fuse = (os.path.join(work, n) for n in ("image", "image.base", "blocks", "fuse"))
        self.process = self.loop = None

    def make(self, kind):
        os.makedirs(self.fuse, exist_ok=True)
        with open(self.image, "wb") as f:
            f.truncate(SIZE)
        self.options = KINDS[kind][1]
        run(*KINDS[kind][0], self.image)

    def mount(self, begins=True):
        """begins: what the disk is now is the base of the next cut, and its log begins. Else it is only looked at."""
        if begins:
            run("cp", "--sparse=always", self.image, self.base)
        log = self.log if begins else self.log + ".looked-at"
        self.process = subprocess.Popen([self.blocklog, self.image, log, self.fuse], start_new_session=True)
        disk = os.path.join(self.fuse, "disk")
        until = time.monotonic() + 20
        while not os.path.exists(disk):
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError("blocklog does not serve its file")
            time.sleep(0.02)
        self.loop = run("losetup", "--find", "--show", disk).strip()
        run("mount", "-o", self.options, self.loop, self.at)

    def unmount(self):
        """Also half of it, after a failure."""
        if self.loop:
            for attempt in range(50):
                try:
                    run("umount", self.at)
                    break
                except RuntimeError as busy:
                    if "not mounted" in str(busy):
                        break
                    if attempt == 49:
                        raise
                    time.sleep(0.1)
            run("losetup", "--detach", self.loop)
            self.loop = None
        if self.process:
            for _ in range(300):
                if subprocess.run(["fusermount3", "-u", self.fuse], stderr=subprocess.DEVNULL).returncode == 0:
                    break
                time.sleep(0.1)
            self.process.wait(60)
            self.process = None

    def fail(self, skip, count, containing=b""):
        """After so many writes (that contain these bytes), so many fail."""
        with open(os.path.join(self.fuse, "fail"), "r+b", buffering=0) as f:
            f.write(struct.pack("<II", skip, count) + containing)

    def position(self):
        return os.path.getsize(self.log)

    @contextlib.contextmanager
    def records(self, position):
        """The log up to a position, as (end of the record, offset on the disk, where its bytes are, length); a flush has no offset."""
        def each(m):
            at = 0
            while at < position:
                if m[at:at + 1] == b"F":
                    at += 1
                    yield at, None, at, 0
                    continue
                offset, length = struct.unpack_from("<QQ", m, at + 1)
                where, at = at + 17, at + 17 + length
                if at > position:
                    return
                yield at, offset, where, length

        with open(self.log, "rb") as f:
            if position == 0:
                yield None, iter(())
                return
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
                yield m, each(m)

    def before_flush(self, first, last, rng):
        """A position between two: just before a flush, rather where much waits for it. Any position where there is none."""
        found, pending, before = [], 0, 0
        with self.records(last) as (_, each):
            for end, offset, _, _ in each:
                if offset is None:
                    if before >= first and pending:
                        found.append((before, pending))
                    pending = 0
                else:
                    pending += 1
                before = end
        if not found:
            return rng.randint(first, last)
        return rng.choices([p for p, _ in found], [n for _, n in found])[0]

    def cut(self, position, seed):
        """The image becomes what the disk may be when the power went after so many bytes of the log. In words what was done."""
        rng = random.Random(seed)
        run("cp", "--sparse=always", self.base, self.image)
        with self.records(position) as (m, each), open(self.image, "r+b") as image:
            writes, flushed = [], 0
            for _, offset, where, length in each:
                if offset is None:
                    flushed = len(writes)
                else:
                    writes.append((offset, where, length))
            pending = len(writes) - flushed
            way = rng.choice(("all", "none", "prefix", "sectors", "sectors", "writes"))
            kept = {"all": pending, "none": 0, "prefix": rng.randrange(pending + 1)}.get(way, pending)
            for i, (offset, where, length) in enumerate(writes[:flushed + kept]):
                if i < flushed or way in ("all", "prefix"):
                    image.seek(offset)
                    image.write(m[where:where + length])
                elif way == "writes" and rng.randrange(2):
                    image.seek(offset)
                    image.write(m[where:where + length])
                elif way == "sectors":
                    for s in range(0, length, SECTOR):
                        if rng.randrange(2):
                            image.seek(offset + s)
                            image.write(m[where + s:where + min(s + SECTOR, length)])
        return f"{len(writes)} writes, {pending} since the last flush: {way}"
