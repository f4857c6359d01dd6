/* db/db.h -- SQL: one connection a database file, statements, transactions, schema steps, and when it reaches the disk.
 *
 * SQLite over disk/ (DESIGN.md §5): locking_mode=EXCLUSIVE (one owner process, one connection), WAL, 4 kB pages,
 * temp_store=MEMORY, no automatic checkpoint, trusted_schema off, DEFENSIVE. A connection is not thread-safe: whoever uses it
 * holds the owner's lock. Only db_sync_wal() may run beside it, from any thread.
 *
 * Errors are sticky in a statement: bind and read freely, look once at the end with stmt_err() (rows) or stmt_done()
 * (changes). What fails outside of us is logged here once, with the SQL text and never with values. */
#ifndef FACTEUR_DB_DB_H
#define FACTEUR_DB_DB_H
#include "base/err.h"
#include "base/str.h"
#include "disk/disk.h"

struct db;
struct stmt;

enum db_durability {
	DB_NORMAL,  /* a commit is durable after db_sync_wal() or db_checkpoint() */
	DB_FULL,    /* a commit is durable when db_commit() returns */
};
struct db_options {
	enum db_durability durability;
	int                cache_kib;   /* page cache, grown as needed; 0: 256 */
	/* After an unclean stop: what a killed process wrote and did not sync, bytes and names, is durable before it is read, and what it failed
	 * to sync is gone (disk_settle()). DB_FULL always does it. */
	bool               settles;
};

/* Opens or makes the file `name` in dir (which must outlive the connection) and takes it for this process alone.
 * ERR_AGAIN: another process has it. ERR_CORRUPT: not a database, or damaged. ERR_FULL: the disk is. ERR_IO. All logged. */
enum err db_open(struct disk_dir *dir, const char *name, const struct db_options *options, struct db **out) MUST_CHECK;
/* Rolls back an open transaction and closes; no checkpoint (call db_empty_wal() before if nobody waits). NULL is fine. */
void db_close(struct db **db);

/* ---- schema: a list of numbered steps for each component (folder) that has tables in this file. A step that has shipped is
 * never edited. The number reached is kept in the table schema_step(component, step). */
struct db_step {
	int         number;   /* 1, 2, 3, … without gaps */
	const char *sql;      /* one or more statements, separated by ';' */
	enum err (*then)(struct db *db);   /* NULL, or what SQL cannot say: after it, in the same transaction */
};
/* Runs what is missing, each step with its number in one transaction, and all in one where none was run yet; synced at the end (also with DB_NORMAL).
 * ERR_CONFLICT: the file is newer than this program (logged). */
enum err db_migrate(struct db *db, const char *component, const struct db_step *steps, size_t n) MUST_CHECK;

/* ---- images: where databases with the same tables are made again and again (accounts), they are made once in memory, and each is a copy.
 * Making one by itself takes ten times as long as opening it: a journal that ends as soon as it began, and every table understood anew. */
/* What db_migrate() makes of nothing, as the bytes of a file; mem_free(image->p). Some 100 kB, 3 ms. ERR_IO; logged. */
enum err db_image_make(const char *component, const struct db_step *steps, size_t n, struct str *image) MUST_CHECK;
/* A database that never reaches a disk. ERR_IO; logged. */
enum err db_open_memory(struct db **out) MUST_CHECK;
/* Before db_open(): where there is no file `name`, nor a log of one, it is the image, durable when ERR_OK is returned; else nothing is done. Not beside
 * another process that may do the same (hold a lock of your own). ERR_FULL: the disk is. ERR_IO. */
enum err db_create(struct disk_dir *dir, const char *name, struct str image) MUST_CHECK;

/* ---- connections that are inherited: a process that forks others, each of which opens one database with the tables of the image, opens one to the image itself
 * before. A child has then what the library made of the tables, and the statements that were compiled, and only goes on from there with its
 * own file. (The library's warning about fork() is about locks and descriptors, of which such a connection has none.) */
/* image: of db_image_make(); read during the call. Nothing but db_prepare(), db_adopt() and db_close() may be called with it. ERR_IO; logged. */
enum err db_open_image(struct str image, const char *name, const struct db_options *options, struct db **out) MUST_CHECK;
/* Compiles this statement now, for db_query(). */
void db_prepare(struct db *db, const char *sql);
/* The statements that were used with this connection, at most max of them. */
size_t db_statements(const struct db *db, const char **sql, size_t max);
/* As db_open() of the file with the name given to db_open_image(). Where its tables are not those of the image, they are read. After an error: db_close(). */
enum err db_adopt(struct db *db, struct disk_dir *dir) MUST_CHECK;

/* ---- transactions. Not nested. Writing outside one commits by itself. */
enum err db_begin(struct db *db) MUST_CHECK;      /* BEGIN IMMEDIATE */
enum err db_commit(struct db *db) MUST_CHECK;     /* on an error everything is rolled back */
void     db_rollback(struct db *db);              /* harmless without a transaction */
bool     db_in_transaction(const struct db *db);
/* For CLEANUP: `CLEANUP(db_rollback_if_open) struct db *tx = db;` rolls back what no commit ended. */
void     db_rollback_if_open(struct db **db);

/* ---- statements: sql must be a `static const char[]` (the prepared statement is cached by its address until db_close()).
 * Used recursively the same statement is prepared a second time for the inner use. Never returns NULL. */
struct stmt *db_query(struct db *db, const char *sql);
void stmt_release(struct stmt **q);               /* resets and gives it back to the cache; for CLEANUP */

void stmt_bind_int64(struct stmt *q, int index, int64_t v);      /* index from 1, as ?1 */
void stmt_bind_u64(struct stmt *q, int index, uint64_t v);       /* the same 64 bits; read with stmt_u64(); orders as signed */
void stmt_bind_text(struct stmt *q, int index, struct str v);    /* borrowed until stmt_reset/release; p == NULL binds NULL */
void stmt_bind_blob(struct stmt *q, int index, struct str v);    /* the same, as bytes */
void stmt_bind_null(struct stmt *q, int index);

/* The next row; false at the end or on a failure, which stmt_err() tells apart. Also runs INSERT ... RETURNING. */
bool stmt_row(struct stmt *q);
/* Columns of the current row, from 0. Slices live until the next stmt_row/reset/release: copy what must stay. NULL reads
 * as 0 / STR_NONE; an empty text or blob has p != NULL. */
int64_t  stmt_int64(struct stmt *q, int column);
uint64_t stmt_u64(struct stmt *q, int column);
struct str stmt_str(struct stmt *q, int column);   /* text or blob: the bytes as stored */
bool     stmt_is_null(struct stmt *q, int column);
/* After rows: ERR_OK is never returned; `at_end` if the statement simply had no (further) row, else the failure
 * (ERR_EXISTS: a UNIQUE or PRIMARY KEY constraint; ERR_FULL: the disk is; ERR_CORRUPT; ERR_IO). */
enum err stmt_err(struct stmt *q, enum err at_end);
/* Runs a statement that returns nothing to its end: ERR_OK or the failure. */
enum err stmt_done(struct stmt *q) MUST_CHECK;
/* Failed so far? For loops: `while (stmt_row(q)) …; TRY(stmt_end(q));` ERR_OK: the rows simply ended. */
enum err stmt_end(struct stmt *q) MUST_CHECK;
/* Ready for the next binds and run of the same statement, without releasing it (bulk inserts). */
void stmt_reset(struct stmt *q);

int64_t db_changes(const struct db *db);           /* rows changed by the last INSERT, UPDATE or DELETE */
int64_t db_last_rowid(const struct db *db);

/* ---- durability */
/* Makes all that was committed before the call durable: fsync of the write-ahead log. Needs no lock: any thread, beside a
 * statement in progress. Cheap when nothing was written since. After a failure every later call fails too (nothing is believed). */
enum err db_sync_wal(struct db *db) MUST_CHECK;
bool db_has_failed(struct db *db);                 /* a sync did: no later one is believed */
/* Copies the write-ahead log into the file, synced, and starts it anew. Needs the lock; not inside a transaction. */
enum err db_checkpoint(struct db *db) MUST_CHECK;
/* Before the end, where the write-ahead log has more than so many pages: the same, and the log is empty, so that the next opening has
 * nothing to read there. */
enum err db_empty_wal(struct db *db, uint32_t pages) MUST_CHECK;
uint32_t db_wal_pages(const struct db *db);        /* pages in the write-ahead log: checkpoint at 1,000 or when idle */
#endif
