/* Files, one system call each, behind the seam of the crash tests. Decisions:
 *   - names, not paths: everything is openat() below a folder opened before the sandbox closed; O_NOFOLLOW, no "..".
 *   - fdatasync, not fsync: size is metadata that it writes when needed; times are nobody's business.
 *   - the end of a file is remembered, not asked for, so an append is one pwrite and a failed one can be cut off again.
 *   - what is written and synced 4 kB at a time goes past the page cache: to fill a page, find it again and empty it is 40 of the 110 µs of
 *     CPU that such a sync takes, and a third of its time (ext4, 100 times 3.9 kB in turn, medians of 30 rounds). A disk with sectors of
 *     4 kB refuses ours (EINVAL): then the file is written as before.
 *   - EINTR is retried for reads and writes, never for a sync: there the first answer is the truth.
 *   - after a failed sync the kernel calls the lost pages clean and goes on showing them, to every process, until they leave its
 *     memory; a write-ahead log with such a hole is read whole, continued and synced with success, and ends at the hole when the
 *     power goes. So the file is taken out of the page cache at once: who opens it next recovers from what is on the disk.
 *     But pages that somebody is just changing stay (large folios make them many), so who opens it does the same once more, when
 *     nobody else has it (disk_settle()). To write such pages again does not help: ext4 keeps a block whose first write failed as one
 *     that holds nothing, whatever is written there later, until it is read from the disk.
 * Every operation that changes something passes disk_fault_begin()/done(), nothing in release builds. */
#include "disk/disk.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "disk/fault.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { NAMES_MAX = 1000000 };

struct disk_dir {
	int   fd;
	char *path;
};

struct disk_file {
	int      fd, direct_fd;  /* direct_fd: past the page cache; -1: there is no such way */
	uint64_t end;      /* where the next append goes */
	char    *folder;   /* path of its folder, for the trace */
	char     name[DISK_NAME_MAX + 1];
};

static bool name_is_good(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= DISK_NAME_MAX && name[0] != '/' && strstr(name, "..") == NULL;
}

/* -------------------------------------------------------------------------------------------------------- folders */

static struct disk_dir *dir_new(int fd, char *path)
{
	struct disk_dir *d = MEM_NEW(struct disk_dir);

	d->fd = fd;
	d->path = path;
	return d;
}

enum err disk_dir_open(const char *path, struct disk_dir **out)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *full;

	if (fd < 0)
		return log_errno("open", path);
	full = realpath(path, NULL);
	if (full == NULL) {
		enum err e = log_errno("realpath", path);
		close(fd);
		return e;
	}
	*out = dir_new(fd, mem_strdup(full));
	free(full);
	return ERR_OK;
}

static char *join(const char *folder, const char *name)
{
	size_t n = strlen(folder) + 1 + strlen(name) + 1;
	char *path = mem_alloc(n);

	snprintf(path, n, "%s/%s", folder, name);
	return path;
}

enum err disk_dir_open_below(struct disk_dir *parent, const char *name, bool create, struct disk_dir **out)
{
	uint64_t id;

	assert(name_is_good(name));
	if (create) {
		errno = disk_fault_begin(DISK_OP_MKDIR, parent->path, name, 0, STR_NONE, &id);
		int bad = errno || (mkdirat(parent->fd, name, 0700) < 0 && errno != EEXIST);
		disk_fault_done(id, bad ? errno : 0);
		if (bad)
			return log_errno("mkdir", name);
	}
	int fd = openat(parent->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOTFOUND : log_errno("open", name);
	*out = dir_new(fd, join(parent->path, name));
	return ERR_OK;
}

void disk_dir_close(struct disk_dir **d)
{
	if (*d == NULL)
		return;
	fd_close(&(*d)->fd);
	mem_free((*d)->path);
	mem_free(*d);
	*d = NULL;
}

const char *disk_dir_path(const struct disk_dir *d) { return d->path; }

/* sub: the part of the path below d, or "" */
static enum err sync_folder(int fd, const char *folder, const char *sub)
{
	uint64_t id;

	errno = disk_fault_begin(DISK_OP_DIRSYNC, folder, sub, 0, STR_NONE, &id);
	int bad = errno || fsync(fd) < 0;
	disk_fault_done(id, bad ? errno : 0);
	return bad ? log_errno("fsync", folder) : ERR_OK;
}

enum err disk_dir_sync(struct disk_dir *d) { return sync_folder(d->fd, d->path, ""); }

enum err disk_dir_sync_name(struct disk_dir *d, const char *name)
{
	const char *slash = strrchr(name, '/');
	char sub[DISK_NAME_MAX + 1];

	assert(name_is_good(name));
	if (slash == NULL)
		return disk_dir_sync(d);
	snprintf(sub, sizeof(sub), "%.*s", (int)(slash - name), name);
	CLEANUP(fd_close) int fd = openat(d->fd, sub, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return log_errno("open", sub);
	return sync_folder(fd, d->path, sub);
}

enum err disk_check_owner(const char *path, uid_t uid)
{
	struct stat st;

	if (lstat(path, &st) < 0 || st.st_uid == uid)
		return ERR_OK;
	log_error("%s belongs to the user with the number %u, not %u: was it copied without its owner? `facteur setup`, as root, puts that right",
	          path, (unsigned)st.st_uid, (unsigned)uid);
	return ERR_IO;
}

enum err disk_dir_sync_all(struct disk_dir *d)
{
	uint64_t id;

	errno = disk_fault_begin(DISK_OP_SYNCFS, d->path, "", 0, STR_NONE, &id);
	int bad = errno || syncfs(d->fd) < 0;
	disk_fault_done(id, bad ? errno : 0);
	return bad ? log_errno("syncfs", d->path) : ERR_OK;
}

enum err disk_space(struct disk_dir *d, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct statvfs st;

	if (fstatvfs(d->fd, &st) < 0)
		return log_errno("statvfs", d->path);
	*free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	*total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
	return ERR_OK;
}

/* ---------------------------------------------------------------------------------------------------------- files */

static int open_flags(enum disk_how how)
{
	switch (how) {
	case DISK_READ: return O_RDONLY;
	case DISK_WRITE: return O_RDWR;
	case DISK_CREATE: return O_RDWR | O_CREAT;
	case DISK_NEW: return O_RDWR | O_CREAT | O_EXCL;
	}
	return O_RDONLY;
}

enum err disk_open(struct disk_dir *d, const char *name, enum disk_how how, struct disk_file **out)
{
	struct stat st;
	uint64_t id = 0;
	int bad, fd = -1;

	assert(name_is_good(name));
	bool makes = how >= DISK_CREATE && (how == DISK_NEW || !disk_exists(d, name));
	errno = disk_fault_begin(makes ? DISK_OP_CREATE : DISK_OP_OPEN, d->path, name, 0, STR_NONE, &id);
	if (errno == 0)
		fd = openat(d->fd, name, open_flags(how) | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
	bad = fd < 0 || fstat(fd, &st) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (bad) {
		int errnum = errno;
		fd_close(&fd);
		if (errnum == ENOENT)
			return ERR_NOTFOUND;
		if (errnum == EEXIST)
			return ERR_EXISTS;
		errno = errnum;
		return log_errno("open", name);
	}
	struct disk_file *f = MEM_NEW(struct disk_file);
	f->fd = fd;
	f->direct_fd = -1;
	f->end = (uint64_t)st.st_size;
	f->folder = mem_strdup(d->path);
	memcpy(f->name, name, strlen(name) + 1);
	*out = f;
	return ERR_OK;
}

void disk_close(struct disk_file **f)
{
	if (*f == NULL)
		return;
	fd_close(&(*f)->fd);
	fd_close(&(*f)->direct_fd);
	mem_free((*f)->folder);
	mem_free(*f);
	*f = NULL;
}

int disk_fd(const struct disk_file *f) { return f->fd; }
const char *disk_name(const struct disk_file *f) { return f->name; }

/* A read lease is given only where nobody writes (fcntl(2)); it is not kept. */
bool disk_has_writer(const struct disk_file *f)
{
	if (fcntl(f->fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	fcntl(f->fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Drops the first n bytes of v; returns how many pieces are used up. */
static int advance(struct iovec *v, int count, size_t n)
{
	int i = 0;

	while (i < count && n >= v[i].iov_len)
		n -= v[i++].iov_len;
	if (i < count) {
		v[i].iov_base = (char *)v[i].iov_base + n;
		v[i].iov_len -= n;
	}
	return i;
}

enum err disk_preadv(struct disk_file *f, struct iovec *v, int count, uint64_t offset, size_t *got)
{
	uint64_t id;

	*got = 0;
	errno = disk_fault_begin(DISK_OP_READ, f->folder, f->name, offset, STR_NONE, &id);
	if (errno)
		return log_errno("pread", f->name);
	while (count > 0) {
		ssize_t r = preadv(f->fd, v, count, (off_t)(offset + *got));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return log_errno("pread", f->name);
		if (r == 0)
			break;
		*got += (size_t)r;
		int used = advance(v, count, (size_t)r);
		v += used;
		count -= used;
	}
	return ERR_OK;
}

enum err disk_pread(struct disk_file *f, void *p, size_t n, uint64_t offset, size_t *got)
{
	struct iovec v = { p, n };

	return disk_preadv(f, &v, 1, offset, got);
}

enum err disk_read_all(struct disk_file *f, void *p, size_t n, uint64_t offset)
{
	size_t got;

	TRY(disk_pread(f, p, n, offset, &got));
	if (got == n)
		return ERR_OK;
	log_error("file ends too early object=%s offset=%llu wanted=%zu got=%zu", f->name, (unsigned long long)offset, n, got);
	return ERR_CORRUPT;
}

static void grew_to(struct disk_file *f, uint64_t end)
{
	if (end > f->end)
		f->end = end;
}

static int write_fully(int fd, const char *p, size_t n, uint64_t offset)
{
	while (n > 0) {
		ssize_t w = pwrite(fd, p, n, (off_t)offset);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		p += w;
		n -= (size_t)w;
		offset += (uint64_t)w;
	}
	return 0;
}

enum err disk_pwrite(struct disk_file *f, const void *p, size_t n, uint64_t offset)
{
	uint64_t id;

	errno = disk_fault_begin(DISK_OP_WRITE, f->folder, f->name, offset, str_make(p, n), &id);
	int bad = errno || write_fully(f->fd, p, n, offset) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (bad)
		return log_errno("pwrite", f->name);
	grew_to(f, offset + n);
	return ERR_OK;
}

void disk_direct(struct disk_dir *d, struct disk_file *f)
{
	fd_close(&f->direct_fd);
	f->direct_fd = openat(d->fd, f->name, O_WRONLY | O_DIRECT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
}

static int write_directly(struct disk_file *f, const void *p, size_t n, uint64_t offset)
{
	if (f->direct_fd >= 0 && write_fully(f->direct_fd, p, n, offset) == 0)
		return 0;
	if (f->direct_fd >= 0 && errno != EINVAL)
		return -1;
	fd_close(&f->direct_fd);
	return write_fully(f->fd, p, n, offset);
}

enum err disk_pwrite_direct(struct disk_file *f, const void *p, size_t n, uint64_t offset)
{
	uint64_t id;

	assert(offset % DISK_SECTOR == 0 && n % DISK_SECTOR == 0 && (uintptr_t)p % DISK_ALIGNED == 0);
	errno = disk_fault_begin(DISK_OP_WRITE, f->folder, f->name, offset, str_make(p, n), &id);
	int bad = errno || write_directly(f, p, n, offset) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (bad)
		return log_errno("pwrite", f->name);
	grew_to(f, offset + n);
	return ERR_OK;
}

static int writev_fully(int fd, struct iovec *v, int count, uint64_t offset)
{
	while (count > 0) {
		ssize_t w = pwritev(fd, v, count < IOV_MAX ? count : IOV_MAX, (off_t)offset);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		offset += (uint64_t)w;
		int used = advance(v, count, (size_t)w);
		v += used;
		count -= used;
	}
	return 0;
}

enum err disk_pwritev(struct disk_file *f, struct iovec *v, int count, uint64_t offset)
{
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += v[i].iov_len;
#ifdef FACTEUR_FAULT  /* one operation in the trace: join the pieces */
	CLEANUP(buf_free) struct buf all = BUF(n + 1);
	for (int i = 0; i < count; i++)
		buf_add_bytes(&all, v[i].iov_base, v[i].iov_len);
	return disk_pwrite(f, all.p, all.n, offset);
#endif
	if (writev_fully(f->fd, v, count, offset) < 0)
		return log_errno("pwritev", f->name);
	grew_to(f, offset + n);
	return ERR_OK;
}

enum err disk_append(struct disk_file *f, struct str bytes, uint64_t *offset)
{
	uint64_t at = f->end;
	enum err e = disk_pwrite(f, bytes.p, bytes.n, at);

	if (e != ERR_OK) {
		(void)!ftruncate(f->fd, (off_t)at);
		return e;
	}
	*offset = at;
	return ERR_OK;
}

enum err disk_truncate(struct disk_file *f, uint64_t size)
{
	uint64_t id;

	errno = disk_fault_begin(DISK_OP_TRUNCATE, f->folder, f->name, size, STR_NONE, &id);
	int bad = errno || ftruncate(f->fd, (off_t)size) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (bad)
		return log_errno("ftruncate", f->name);
	f->end = size;
	return ERR_OK;
}

enum err disk_size(struct disk_file *f, uint64_t *size)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return log_errno("fstat", f->name);
	*size = (uint64_t)st.st_size;
	return ERR_OK;
}

enum err disk_sync(struct disk_file *f)
{
	uint64_t id;

	errno = disk_fault_begin(DISK_OP_SYNC, f->folder, f->name, 0, STR_NONE, &id);
	int bad = errno || fdatasync(f->fd) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (!bad)
		return ERR_OK;
	enum err e = log_errno("fdatasync", f->name);
	if (disk_fault_begin(DISK_OP_FORGET, f->folder, f->name, 0, STR_NONE, &id) == 0)
		(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);  /* see above */
	return e;
}

enum err disk_settle(struct disk_file *f)
{
	TRY(disk_sync(f));
	(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);  /* see above */
	return ERR_OK;
}

enum err disk_written_elsewhere(UNUSED struct disk_file *f)
{
#ifdef FACTEUR_FAULT
	char piece[65536];
	size_t got = sizeof(piece);

	for (uint64_t at = 0, id; got == sizeof(piece); at += got) {
		TRY(disk_pread(f, piece, sizeof(piece), at, &got));
		errno = disk_fault_begin(DISK_OP_WRITE, f->folder, f->name, at, str_make(piece, got), &id);
		if (errno != 0)
			return log_errno("write", f->name);
		disk_fault_done(id, 0);
	}
#endif
	return ERR_OK;
}

enum err disk_lock(struct disk_file *f)
{
	if (flock(f->fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	return errno == EWOULDBLOCK ? ERR_AGAIN : log_errno("flock", f->name);
}

/* ---------------------------------------------------------------------------------------------------------- names */

enum err disk_remove(struct disk_dir *d, const char *name)
{
	uint64_t id;

	assert(name_is_good(name));
	errno = disk_fault_begin(DISK_OP_REMOVE, d->path, name, 0, STR_NONE, &id);
	int bad = errno || unlinkat(d->fd, name, 0) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (!bad)
		return ERR_OK;
	return errno == ENOENT ? ERR_NOTFOUND : log_errno("unlink", name);
}

enum err disk_replace(struct disk_dir *d, const char *from, const char *to)
{
	uint64_t id;
	CLEANUP(buf_free) struct buf full = BUF(2 * PATH_MAX);

	assert(name_is_good(from) && name_is_good(to));
	buf_printf(&full, "%s/%s", d->path, to);
	errno = disk_fault_begin(DISK_OP_REPLACE, d->path, from, 0, buf_str(&full), &id);
	int bad = errno || renameat(d->fd, from, d->fd, to) < 0;
	disk_fault_done(id, bad ? errno : 0);
	if (!bad)
		return ERR_OK;
	return errno == ENOENT ? ERR_NOTFOUND : log_errno("rename", from);
}

enum err disk_write_file(struct disk_dir *d, const char *name, struct str bytes)
{
	char fresh[DISK_NAME_MAX + 1];
	CLEANUP(disk_close) struct disk_file *f = NULL;

	if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", name) >= sizeof(fresh))
		return ERR_LIMIT;
	TRY(disk_open(d, fresh, DISK_CREATE, &f));
	assert(f != NULL);
	TRY(disk_truncate(f, 0));
	TRY(disk_pwrite(f, bytes.p, bytes.n, 0));
	TRY(disk_sync(f));
	TRY(disk_replace(d, fresh, name));
	return disk_dir_sync_name(d, name);
}

enum err disk_read_file(struct disk_dir *d, const char *name, size_t max, struct arena *a, struct str *bytes)
{
	CLEANUP(disk_close) struct disk_file *f = NULL;
	uint64_t size = 0;
	size_t got;

	TRY(disk_open(d, name, DISK_READ, &f));
	assert(f != NULL);
	TRY(disk_size(f, &size));
	if (size > max)
		return ERR_LIMIT;
	char *p = arena_alloc(a, size + 1);
	TRY(disk_pread(f, p, size, 0, &got));
	*bytes = str_make(p, got);
	return ERR_OK;
}

static int by_name(const void *a, const void *b) { return str_cmp(*(const struct str *)a, *(const struct str *)b); }

enum err disk_list(struct disk_dir *d, struct arena *a, struct str **names, size_t *n)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t cap = 0;
	enum err e = ERR_OK;

	*names = NULL;
	*n = 0;
	if (dir == NULL) {
		e = log_errno("opendir", d->path);
		fd_close(&fd);
		return e;
	}
	while (errno = 0, (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (*n == NAMES_MAX) {
			e = ERR_LIMIT;
			break;
		}
		if (*n == cap)
			*names = arena_grow(a, *names, *n, &cap, sizeof(**names));
		(*names)[(*n)++] = str_copy(a, str_of(entry->d_name));
	}
	if (entry == NULL && errno != 0)
		e = log_errno("readdir", d->path);
	closedir(dir);
	if (*n > 1)
		qsort(*names, *n, sizeof(**names), by_name);
	return e;
}

bool disk_exists(struct disk_dir *d, const char *name)
{
	struct stat st;

	return fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

void disk_close_inherited(unsigned first)
{
#ifdef FACTEUR_FAULT
	if (first < DISK_FAULT_FDS) {
		close_range(first, DISK_FAULT_FDS - 1, 0);
		first = DISK_FAULT_CONTROL_FD + 1;
	}
#endif
	close_range(first, ~0U, 0);
}
