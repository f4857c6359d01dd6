/* disk/disk.h -- everything durable goes through here: named files below a folder, and when they reach the platter.
 *
 * Three promises and no more: what was written is read back by this and every other process at once; what was written before
 * disk_sync() returned ERR_OK survives a power cut (a new, renamed or removed name also needs disk_dir_sync() of its folder);
 * of everything else any part may survive, torn at 512 bytes. After a failed sync of a file nothing written since the last
 * good one may be believed, and trying again proves nothing (the kernel forgets the failure): the caller stops and alarms;
 * who opens the file after that reads what is on the disk, not what was in memory.
 *
 * Names are relative to the folder: "account.db", "bodies/000001"; no "..", no leading "/", at most 255 bytes.
 * Failures are logged here once ("pwrite failed object=bodies/000001 error=..."), except ERR_NOTFOUND and ERR_EXISTS of
 * open, remove and replace, and ERR_AGAIN of lock. ERR_FULL: the disk (or the user's disk quota) is. ERR_IO: all else.
 * Any number of threads may use a folder and a file at once (appends to one file: one thread).
 *
 * Test builds (FACTEUR_FAULT) record each operation in a trace and can make it fail: disk/fault.h. */
#ifndef FACTEUR_DISK_DISK_H
#define FACTEUR_DISK_DISK_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include <sys/uio.h>

enum { DISK_SECTOR = 512, DISK_ALIGNED = 4096, DISK_NAME_MAX = 255 };

struct disk_dir;    /* a folder */
struct disk_file;   /* an open file */

/* Opens a folder by its path; ERR_NOTFOUND (logged) if there is none. Do this before the sandbox closes. */
enum err disk_dir_open(const char *path, struct disk_dir **out) MUST_CHECK;
/* Opens a folder below another; made (0700, durable after disk_dir_sync(parent)) when create is true and it is absent. */
enum err disk_dir_open_below(struct disk_dir *parent, const char *name, bool create, struct disk_dir **out) MUST_CHECK;
void disk_dir_close(struct disk_dir **d);            /* for CLEANUP too; NULL is fine. Files stay open */
const char *disk_dir_path(const struct disk_dir *d); /* absolute; for messages and for the SQL library */
enum err disk_dir_sync(struct disk_dir *d) MUST_CHECK;              /* names: created, renamed, removed */
enum err disk_dir_sync_name(struct disk_dir *d, const char *name) MUST_CHECK;  /* of the folder that holds "bodies/000001" */
/* Does what the path names belong to this user? What is not there does. ERR_IO (logged, with what to do about it): it is another's, as after
 * a copy that has not kept the owners. */
enum err disk_check_owner(const char *path, uid_t uid) MUST_CHECK;
/* Every file of the whole file system the folder is on, data and names (syncfs(2)). */
enum err disk_dir_sync_all(struct disk_dir *d) MUST_CHECK;
/* Free and total bytes of the file system, as an unprivileged writer sees them. */
enum err disk_space(struct disk_dir *d, uint64_t *free_bytes, uint64_t *total_bytes) MUST_CHECK;

enum disk_how {
	DISK_READ,    /* must exist */
	DISK_WRITE,   /* read and write; must exist */
	DISK_CREATE,  /* read and write; made (0600) when absent */
	DISK_NEW,     /* read and write; ERR_EXISTS when there is one */
};
enum err disk_open(struct disk_dir *d, const char *name, enum disk_how how, struct disk_file **out) MUST_CHECK;
void disk_close(struct disk_file **f);               /* for CLEANUP too; NULL is fine */
/* The descriptor: for passing it on, mapping or polling, never for writing past this seam. */
int disk_fd(const struct disk_file *f);
const char *disk_name(const struct disk_file *f);    /* as given to disk_open() */

/* Reads up to n bytes at offset; *got < n only at the end of the file. */
enum err disk_pread(struct disk_file *f, void *p, size_t n, uint64_t offset, size_t *got) MUST_CHECK;
/* The same into several pieces, one system call when it can; v is used up. */
enum err disk_preadv(struct disk_file *f, struct iovec *v, int count, uint64_t offset, size_t *got) MUST_CHECK;
/* Reads exactly n bytes; ERR_CORRUPT (logged) when the file ends before. */
enum err disk_read_all(struct disk_file *f, void *p, size_t n, uint64_t offset) MUST_CHECK;
/* Writes all n bytes; on an error any part may be there. */
enum err disk_pwrite(struct disk_file *f, const void *p, size_t n, uint64_t offset) MUST_CHECK;
/* The same for several pieces, one system call when it can; v is used up. */
enum err disk_pwritev(struct disk_file *f, struct iovec *v, int count, uint64_t offset) MUST_CHECK;
/* From now on disk_pwrite_direct() of a file of this folder, which is open for writing, goes past the page cache. Where the file system cannot
 * do that, nothing changes. */
void disk_direct(struct disk_dir *d, struct disk_file *f);
/* Writes whole sectors, offset and n being multiples of DISK_SECTOR, from memory that is aligned to DISK_ALIGNED. Promises what disk_pwrite()
 * promises; who reads them next reads them from the disk. For what is synced at once in small pieces. */
enum err disk_pwrite_direct(struct disk_file *f, const void *p, size_t n, uint64_t offset) MUST_CHECK;
/* Writes at the end; *offset is where it starts. On an error the file is cut back to what it was (best effort). */
enum err disk_append(struct disk_file *f, struct str bytes, uint64_t *offset) MUST_CHECK;
enum err disk_truncate(struct disk_file *f, uint64_t size) MUST_CHECK;
enum err disk_size(struct disk_file *f, uint64_t *size) MUST_CHECK;
/* The bytes and the size of this file (fdatasync). The name of a new file: disk_dir_sync_name(). */
enum err disk_sync(struct disk_file *f) MUST_CHECK;
/* A file that a process which did not end well has left, and that nobody else has open now, before it is read: what was written is durable, and
 * what a sync of that process has failed to write is not shown any more. */
enum err disk_settle(struct disk_file *f) MUST_CHECK;
/* The file was written through a descriptor that was given away (disk_fd()): its bytes enter the trace of the test build, so that a
 * sync that follows covers them there as it does in the kernel; where such a write shall fail, that is said here. Elsewhere nothing. */
enum err disk_written_elsewhere(struct disk_file *f) MUST_CHECK;
/* Of a file opened for reading: has anybody else it open for writing, or mapped so? False where the file system cannot tell. */
bool disk_has_writer(const struct disk_file *f);
/* Takes the exclusive lock of this file, kept until it is closed or the process ends; ERR_AGAIN: another one has it. */
enum err disk_lock(struct disk_file *f) MUST_CHECK;

enum err disk_remove(struct disk_dir *d, const char *name) MUST_CHECK;
/* Renames, replacing what is there: after a crash `to` is the old file or the new one. */
enum err disk_replace(struct disk_dir *d, const char *from, const char *to) MUST_CHECK;
/* A small file, all or nothing: writes name.new, syncs it, renames it, syncs the folder. Durable when it returns ERR_OK. */
enum err disk_write_file(struct disk_dir *d, const char *name, struct str bytes) MUST_CHECK;
/* The whole of a small file; ERR_NOTFOUND (not logged); ERR_LIMIT: larger than max. */
enum err disk_read_file(struct disk_dir *d, const char *name, size_t max, struct arena *a, struct str *bytes) MUST_CHECK;
/* Names in the folder, sorted, without "." and ".."; at most 1,000,000 (ERR_LIMIT). */
enum err disk_list(struct disk_dir *d, struct arena *a, struct str **names, size_t *n) MUST_CHECK;
/* True when there is such a name. */
bool disk_exists(struct disk_dir *d, const char *name);

/* Closes every descriptor >= first of this process, except what the test build records its trace on. For a child that keeps
 * nothing it inherited. */
void disk_close_inherited(unsigned first);
#endif
