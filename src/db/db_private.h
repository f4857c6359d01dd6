/* db/db_private.h -- the connection, shared by db.c (connections, transactions), stmt.c (statements) and vfs.c (files). */
#ifndef FACTEUR_DB_DB_PRIVATE_H
#define FACTEUR_DB_DB_PRIVATE_H
#include "base/buf.h"
#include "base/map.h"
#include "db/db.h"
#include <pthread.h>
#include <sqlite3.h>
#include <sys/uio.h>

/* Fifteen frames, less than 64 kB: one record in the trace of the crash tests. */
enum { WAL_HEADER = 24, WAL_PAGE = 4096, WAL_HELD_MAX = 30 };

/* The two bytes of a database file that say whether a write-ahead log belongs to it (https://sqlite.org/fileformat.html, 1.3). */
enum { WRITE_VERSION = 18, READ_VERSION, NO_WAL = 1, HAS_WAL = 2 };

struct stmt {
	struct db    *db;
	const char   *sql;
	sqlite3_stmt *prepared;   /* NULL: could not be prepared, rc says why */
	struct stmt  *next;       /* more copies of the same statement, for use within use */
	int           rc;         /* the last result; SQLITE_OK, ROW, DONE or the failure, which sticks until reset */
	bool          is_taken;
};

/* What vfs.c knows of the write-ahead log, so that it can be synced beside a running statement. Guarded by lock. */
struct wal {
	pthread_mutex_t   lock, sync_lock;
	struct disk_file *file;        /* NULL: not open yet */
	bool              is_new;      /* its name is not durable yet */
	bool              failed;      /* a sync failed: nothing is believed any more */
	uint64_t          written, synced;  /* writes so far, and how many of them are durable */
	/* under the owner's lock: what a COMMIT has not written yet */
	bool              holds;       /* a COMMIT is under way */
	bool              commits;     /* the newest header ends the transaction */
	bool              was_read;    /* the last operation on the file was a read */
	struct iovec      held[WAL_HELD_MAX];
	int               n_held;
	uint64_t          held_at, held_end;
	char              headers[WAL_HELD_MAX][WAL_HEADER];
};

struct db {
	struct disk_dir *dir;          /* NULL: no file yet, or none ever */
	struct str       image;        /* while it is read */
	struct buf       tables;       /* of the image: the rows of sqlite_schema */
	sqlite3         *handle;
	enum db_durability durability;
	sqlite3_vfs      vfs;
	char             vfs_name[32];
	struct wal       wal;
	struct map       statements;   /* by address of the text */
	uint32_t         wal_pages;
	bool             settles;
};

/* Registers the files of this connection with the library, under db->vfs_name. */
enum err vfs_register(struct db *db) MUST_CHECK;
void vfs_unregister(struct db *db);
/* From the image to the file of this name in db->dir. */
enum err vfs_adopt(struct db *db, const char *name) MUST_CHECK;
/* fsync of the write-ahead log up to what is written now. */
enum err wal_sync(struct db *db) MUST_CHECK;

static inline const char *db_folder(const struct db *db) { return db->dir != NULL ? disk_dir_path(db->dir) : "none"; }   /* for the log */

/* Maps a result of the library; logs what is neither success nor an expected constraint. sql may be NULL. */
enum err db_error(struct db *db, int rc, const char *sql);
void stmt_free_all(struct db *db);
#endif
