/* SQLite's files over disk/. Each connection registers a VFS of its own, whose pAppData is the connection: the library then needs no
 * paths (names are relative to the folder, so nothing depends on a working directory or a sandbox), and the file of the
 * write-ahead log is known to its connection, which syncs it outside the owner's lock (DESIGN.md §5).
 *
 * Locking is one lock for the life of the connection, taken when the main file is opened; the library's own protocol between
 * processes is not needed (locking_mode=EXCLUSIVE), and so is no shared memory: version 1 of the methods.
 *
 * The library writes each frame of the write-ahead log in two pieces, a header of 24 bytes and a page: ten to sixteen system calls for
 * a lone message. During a COMMIT they are collected, the pages by address (they are the library's own, and it does not touch them until
 * it has written the last), and go out in one piece with the page of the frame that commits, as its header says. A disk that is full is
 * so still this commit's failure, which the library undoes by itself, and nothing that is committed is ever held. Pages that do not fit
 * the page cache are written before the COMMIT, as they come; in the COMMIT the library then goes over their headers once more.
 *
 * A sync that failed is remembered: the kernel reports a lost page once and then forgets it, so a second fsync that succeeds
 * would lie. The connection answers ERR_IO from then on, until it is opened again and recovers from what is really there. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "db/db_private.h"
#include <assert.h>
#include <stdio.h>
#include <time.h>

struct vfs_file {
	sqlite3_file      base;
	struct db        *db;
	struct disk_file *f;
	bool              is_wal, is_new;
};

static int to_rc(enum err e, int rc) { return e == ERR_OK ? SQLITE_OK : e == ERR_FULL ? SQLITE_FULL : rc; }

/* Writes what is held; it is given up if that fails, since the transaction is. */
static enum err let_go(struct vfs_file *v)
{
	struct wal *w = &v->db->wal;
	int n = w->n_held;
	enum err e;

	if (n == 0)
		return ERR_OK;
	w->n_held = 0;
	e = disk_pwritev(v->f, w->held, n, w->held_at);
	pthread_mutex_lock(&w->lock);
	w->written++;
	pthread_mutex_unlock(&w->lock);
	return e;
}

/* The header of a frame says how many pages the database has after it, if it is the last of a commit; else 0. */
static bool header_commits(const char *p) { return (p[4] | p[5] | p[6] | p[7]) != 0; }

static enum err hold(struct vfs_file *v, const char *p, size_t n, uint64_t offset)
{
	struct wal *w = &v->db->wal;
	bool is_header = n == WAL_HEADER, is_page = n == WAL_PAGE;

	if (w->n_held > 0 && (w->n_held == WAL_HELD_MAX || offset != w->held_end))
		TRY(let_go(v));
	if (w->n_held == 0)
		w->held_at = offset;
	if (is_header) {
		memcpy(w->headers[w->n_held], p, n);
		p = w->headers[w->n_held];
		w->commits = header_commits(p);
	}
	w->held[w->n_held++] = (struct iovec){ (void *)(uintptr_t)p, n };
	w->held_end = offset + n;
	bool waits = is_header ? !w->was_read : is_page && !w->commits;  /* no page follows a header that was read before: it is mended */
	w->was_read = false;
	return waits ? ERR_OK : let_go(v);
}

static int file_close(sqlite3_file *file)
{
	struct vfs_file *v = (struct vfs_file *)file;

	if (v->f != NULL && db_has_failed(v->db))
		(void)!disk_settle(v->f);  /* the next process sees what is on the disk, whatever it takes us for */
	if (v->is_wal) {
		pthread_mutex_lock(&v->db->wal.sync_lock);  /* not while it is being synced */
		pthread_mutex_lock(&v->db->wal.lock);
		v->db->wal.file = NULL;
		pthread_mutex_unlock(&v->db->wal.lock);
		pthread_mutex_unlock(&v->db->wal.sync_lock);
	}
	disk_close(&v->f);
	return SQLITE_OK;
}

/* As a database without a write-ahead log: as long as there is no folder there can be none. */
static size_t read_image(struct str image, char *p, size_t n, uint64_t offset)
{
	struct str part = str_sub(image, (size_t)offset, n);

	memcpy(p, part.p, part.n);
	for (uint64_t at = WRITE_VERSION; at <= READ_VERSION; at++)
		if (at >= offset && at < offset + part.n)
			p[at - offset] = NO_WAL;
	return part.n;
}

static int file_read(sqlite3_file *file, void *p, int n, sqlite3_int64 offset)
{
	struct vfs_file *v = (struct vfs_file *)file;
	size_t got;

	v->db->wal.was_read |= v->is_wal;
	if (v->f == NULL && v->db->image.n == 0)
		return SQLITE_IOERR_READ;  /* what is read now would be taken for what the file says */
	if (v->f == NULL)
		got = read_image(v->db->image, p, (size_t)n, (uint64_t)offset);
	else if ((v->is_wal && let_go(v) != ERR_OK) || disk_pread(v->f, p, (size_t)n, (uint64_t)offset, &got) != ERR_OK)
		return SQLITE_IOERR_READ;
	if (got == (size_t)n)
		return SQLITE_OK;
	memset((char *)p + got, 0, (size_t)n - got);
	return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 offset)
{
	struct vfs_file *v = (struct vfs_file *)file;
	struct wal *w = &v->db->wal;
	enum err e;

	if (v->f == NULL)
		return SQLITE_READONLY;
	if (v->is_wal && w->holds)
		return to_rc(hold(v, p, (size_t)n, (uint64_t)offset), SQLITE_IOERR_WRITE);
	e = disk_pwrite(v->f, p, (size_t)n, (uint64_t)offset);
	if (v->is_wal) {
		pthread_mutex_lock(&w->lock);
		w->written++;
		pthread_mutex_unlock(&w->lock);
	}
	return to_rc(e, SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct vfs_file *v = (struct vfs_file *)file;
	enum err e = v->is_wal ? let_go(v) : ERR_OK;

	return to_rc(e != ERR_OK ? e : disk_truncate(v->f, (uint64_t)size), SQLITE_IOERR_TRUNCATE);
}

enum err wal_sync(struct db *db)
{
	struct wal *w = &db->wal;
	enum err e = ERR_OK;

	pthread_mutex_lock(&w->sync_lock);
	pthread_mutex_lock(&w->lock);
	struct disk_file *f = w->file;
	uint64_t upto = w->written;
	bool failed = w->failed, is_new = w->is_new, clean = w->synced == upto && !is_new;
	pthread_mutex_unlock(&w->lock);
	if (failed) {
		e = ERR_IO;
	} else if (f != NULL && !clean) {
		e = disk_sync(f);
		if (e == ERR_OK && is_new)
			e = disk_dir_sync(db->dir);
		pthread_mutex_lock(&w->lock);
		if (e == ERR_OK) {
			w->synced = upto;
			w->is_new = false;
		} else {
			w->failed = true;
		}
		pthread_mutex_unlock(&w->lock);
	}
	pthread_mutex_unlock(&w->sync_lock);
	return e;
}

static int file_sync(sqlite3_file *file, UNUSED int flags)
{
	struct vfs_file *v = (struct vfs_file *)file;
	enum err e;

	if (v->is_wal) {
		e = let_go(v);
		return to_rc(e != ERR_OK ? e : wal_sync(v->db), SQLITE_IOERR_FSYNC);
	}
	e = disk_sync(v->f);
	if (e == ERR_OK && v->is_new) {
		e = disk_dir_sync(v->db->dir);
		v->is_new = e != ERR_OK;
	}
	if (e != ERR_OK) {
		pthread_mutex_lock(&v->db->wal.lock);
		v->db->wal.failed = true;
		pthread_mutex_unlock(&v->db->wal.lock);
	}
	return to_rc(e, SQLITE_IOERR_FSYNC);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	struct vfs_file *v = (struct vfs_file *)file;
	uint64_t n = v->db->image.n;
	enum err e = v->is_wal ? let_go(v) : ERR_OK;

	if (e == ERR_OK && v->f != NULL)
		e = disk_size(v->f, &n);

	*size = e == ERR_OK ? (sqlite3_int64)n : 0;
	return to_rc(e, SQLITE_IOERR_FSTAT);
}

static int file_lock(UNUSED sqlite3_file *file, UNUSED int level) { return SQLITE_OK; }

static int file_check_lock(UNUSED sqlite3_file *file, int *is_reserved)
{
	*is_reserved = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, UNUSED void *arg)
{
	if (op == SQLITE_FCNTL_COMMIT_PHASETWO)
		assert(((struct vfs_file *)file)->db->wal.n_held == 0);  /* what is committed can be synced by anybody */
	return SQLITE_NOTFOUND;
}

static int file_sector_size(UNUSED sqlite3_file *file) { return 4096; }
/* A write does not damage its neighbours when the power goes (what is torn is within what was written). */
static int file_characteristics(UNUSED sqlite3_file *file) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

static const sqlite3_io_methods methods = {
	.iVersion = 1, .xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate,
	.xSync = file_sync, .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_lock, .xCheckReservedLock = file_check_lock,
	.xFileControl = file_control, .xSectorSize = file_sector_size, .xDeviceCharacteristics = file_characteristics,
};

/* What another process left, before it is read: the log's bytes, and its name, which a process that was killed before its first sync
 * has left in no folder of the disk; and the database, of which a checkpoint may have failed to write pages that the next one would then
 * write in vain. */
static enum err settle(struct db *db, int flags, struct disk_file *f)
{
	TRY(disk_settle(f));
	return (flags & SQLITE_OPEN_WAL) ? disk_dir_sync(db->dir) : ERR_OK;
}

/* Nobody else has the main file as long as it is open here. */
static enum err open_file(struct db *db, const char *name, int flags, bool is_new, struct disk_file **f)
{
	enum err e = disk_open(db->dir, name, DISK_CREATE, f);

	if (e == ERR_OK && (flags & SQLITE_OPEN_MAIN_DB))
		e = disk_lock(*f);
	if (e == ERR_OK && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)) && db->settles && !is_new)
		e = settle(db, flags, *f);
	if (e != ERR_OK)
		disk_close(f);
	return e;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	struct db *db = vfs->pAppData;
	struct vfs_file *v = (struct vfs_file *)file;
	struct disk_file *f = NULL;
	bool is_new = false;
	enum err e = ERR_OK;

	v->base.pMethods = NULL;
	if (name == NULL) {  /* temp_store=MEMORY: nothing temporary belongs on the disk */
		log_error("the SQL library asks for a temporary file flags=%d", flags);
		return SQLITE_CANTOPEN;
	}
	if (db->dir != NULL) {
		is_new = !disk_exists(db->dir, name);
		if (is_new && !(flags & SQLITE_OPEN_CREATE))
			return SQLITE_CANTOPEN;
		e = open_file(db, name, flags, is_new, &f);
	} else if (!(flags & SQLITE_OPEN_MAIN_DB)) {
		return SQLITE_CANTOPEN;
	}
	if (e != ERR_OK)
		return e == ERR_AGAIN ? SQLITE_BUSY : to_rc(e, SQLITE_CANTOPEN);
	*v = (struct vfs_file){ .base.pMethods = &methods, .db = db, .f = f, .is_wal = (flags & SQLITE_OPEN_WAL) != 0, .is_new = is_new };
	if (v->is_wal) {
		pthread_mutex_lock(&db->wal.lock);
		db->wal.file = f;
		db->wal.is_new = is_new;
		db->wal.written++;  /* what a killed process left there may not be durable: the first sync is never skipped */
		pthread_mutex_unlock(&db->wal.lock);
	}
	if (out_flags)
		*out_flags = flags;
	return SQLITE_OK;
}

enum err vfs_adopt(struct db *db, const char *name)
{
	sqlite3_file *file = NULL;

	TRY(db_error(db, sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file), NULL));
	struct vfs_file *v = (struct vfs_file *)file;
	v->is_new = !disk_exists(db->dir, name);
	return open_file(db, name, SQLITE_OPEN_MAIN_DB, false, &v->f);
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct db *db = vfs->pAppData;
	enum err e = disk_remove(db->dir, name);

	if (e == ERR_NOTFOUND)
		return SQLITE_IOERR_DELETE_NOENT;
	if (e == ERR_OK && sync)
		e = disk_dir_sync(db->dir);
	return to_rc(e, SQLITE_IOERR_DELETE);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, UNUSED int flags, int *out)
{
	const struct db *db = vfs->pAppData;

	*out = db->dir != NULL && disk_exists(db->dir, name);
	return SQLITE_OK;
}

static int vfs_full_name(UNUSED sqlite3_vfs *vfs, const char *name, int max, char *out)
{
	return snprintf(out, (size_t)max, "%s", name) < max ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(UNUSED sqlite3_vfs *vfs, int n, char *out)
{
	random_bytes(out, (size_t)n);
	return n;
}

static int vfs_sleep(UNUSED sqlite3_vfs *vfs, int us)
{
	struct timespec ts = { us / 1000000, (us % 1000000) * 1000L };

	nanosleep(&ts, NULL);
	return us;
}

static int vfs_time(UNUSED sqlite3_vfs *vfs, sqlite3_int64 *ms_since_julian)
{
	*ms_since_julian = 210866760000000LL + clock_wall_ms();  /* 1970-01-01 is Julian day 2440587.5 */
	return SQLITE_OK;
}

static int vfs_last_error(UNUSED sqlite3_vfs *vfs, UNUSED int n, UNUSED char *out) { return 0; }

enum err vfs_register(struct db *db)
{
	snprintf(db->vfs_name, sizeof(db->vfs_name), "facteur-%p", (void *)db);
	db->vfs = (sqlite3_vfs){
		.iVersion = 2, .szOsFile = sizeof(struct vfs_file), .mxPathname = 512, .zName = db->vfs_name, .pAppData = db,
		.xOpen = vfs_open, .xDelete = vfs_delete, .xAccess = vfs_access, .xFullPathname = vfs_full_name,
		.xRandomness = vfs_randomness, .xSleep = vfs_sleep, .xGetLastError = vfs_last_error, .xCurrentTimeInt64 = vfs_time,
	};
	return sqlite3_vfs_register(&db->vfs, 0) == SQLITE_OK ? ERR_OK : ERR_IO;
}

void vfs_unregister(struct db *db) { sqlite3_vfs_unregister(&db->vfs); }
