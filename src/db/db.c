/* Connections. One owner process, one connection a file: so exclusive locking, a write-ahead log without shared memory, and no
 * waiting for other writers anywhere. Measured (DESIGN.md §5): 61-74 kB an open account with the page cache grown page by page.
 *
 * No checkpoint happens by itself, neither at 1,000 pages nor at close: a checkpoint syncs twice, and nobody may wait for that. The
 * owner calls db_checkpoint() when he is idle. A write-ahead log that is left behind is replayed at the next open. */
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "db/db_private.h"
#include <stdio.h>
#include <string.h>

enum { CACHE_KIB = 256, WAL_FRAME = 4096 + 24 };

static void configure_library(void)
{
	sqlite3_config(SQLITE_CONFIG_MULTITHREAD);               /* our callers hold a lock */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);     /* no 20 pages at once for each connection */
	sqlite3_initialize();
}

static int on_wal(void *context, UNUSED sqlite3 *handle, UNUSED const char *name, int pages)
{
	((struct db *)context)->wal_pages = (uint32_t)pages;
	return SQLITE_OK;
}

static enum err run(struct db *db, const char *sql) { return db_error(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), sql); }

static const char exclusive[] = "PRAGMA locking_mode=EXCLUSIVE", with_wal[] = "PRAGMA journal_mode=WAL";

static enum err set_up(struct db *db, const struct db_options *options)
{
	static const char common[] =
		"PRAGMA page_size=4096;"
		"PRAGMA temp_store=MEMORY;"
		"PRAGMA wal_autocheckpoint=0;";
	static const char normal[] = "PRAGMA synchronous=NORMAL;", full[] = "PRAGMA synchronous=FULL;";
	char cache[64];

	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	/* else each run of a query is parsed and planned anew where a partial index could fit the value that is bound; ours say it in their text */
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_QPSG, 1, NULL);
	sqlite3_limit(db->handle, SQLITE_LIMIT_ATTACHED, 0);
	TRY(run(db, common));
	if (db->image.n == 0) {
		TRY(run(db, exclusive));
		TRY(run(db, with_wal));
	}
	TRY(run(db, options->durability == DB_FULL ? full : normal));
	snprintf(cache, sizeof(cache), "PRAGMA cache_size=-%d;", options->cache_kib > 0 ? options->cache_kib : CACHE_KIB);
	TRY(run(db, cache));
	sqlite3_wal_hook(db->handle, on_wal, db);
	return ERR_OK;
}

/* How much waits in the write-ahead log from last time: an upper bound, until the first commit says. */
static uint32_t pages_left_behind(struct db *db)
{
	uint64_t size = 0;

	pthread_mutex_lock(&db->wal.lock);
	if (db->wal.file && disk_size(db->wal.file, &size) != ERR_OK)
		size = 0;
	pthread_mutex_unlock(&db->wal.lock);
	return (uint32_t)(size / WAL_FRAME);
}

static enum err open_handle(struct db *db, const char *name, const struct db_options *options)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int rc;

	pthread_once(&once, configure_library);
	db->durability = options->durability;
	pthread_mutex_init(&db->wal.lock, NULL);
	pthread_mutex_init(&db->wal.sync_lock, NULL);
	TRY(vfs_register(db));
	rc = sqlite3_open_v2(name, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, db->vfs_name);
	return rc == SQLITE_OK ? set_up(db, options) : db_error(db, rc, name);
}

enum err db_open(struct disk_dir *dir, const char *name, const struct db_options *options, struct db **out)
{
	struct db *db = MEM_NEW(struct db);
	enum err e;

	db->dir = dir;
	db->settles = options->settles || options->durability == DB_FULL;
	e = open_handle(db, name, options);
	if (e != ERR_OK) {
		db_close(&db);
		return e;
	}
	db->wal_pages = pages_left_behind(db);
	*out = db;
	return ERR_OK;
}

void db_close(struct db **out)
{
	struct db *db = *out;

	if (db == NULL)
		return;
	if (db->handle) {
		db_rollback(db);
		stmt_free_all(db);
		if (sqlite3_close(db->handle) != SQLITE_OK)
			log_error("database is closed while in use folder=%s", db_folder(db));
	}
	vfs_unregister(db);
	buf_free(&db->tables);
	pthread_mutex_destroy(&db->wal.lock);
	pthread_mutex_destroy(&db->wal.sync_lock);
	mem_free(db);
	*out = NULL;
}

/* --------------------------------------------------------------------------------------------------------- schema */

static enum err make_table_of_steps(struct db *db)
{
	static const char sql[] = "CREATE TABLE IF NOT EXISTS schema_step(component TEXT PRIMARY KEY, step INTEGER NOT NULL) WITHOUT ROWID";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	return stmt_done(q);
}

static enum err step_reached(struct db *db, const char *component, int *step)
{
	static const char sql[] = "SELECT step FROM schema_step WHERE component = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, str_of(component));
	*step = stmt_row(q) ? (int)stmt_int64(q, 0) : 0;
	return stmt_end(q);
}

static enum err note_step(struct db *db, const char *component, int step)
{
	static const char sql[] =
		"INSERT INTO schema_step(component, step) VALUES(?1, ?2) ON CONFLICT(component) DO UPDATE SET step = excluded.step";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, str_of(component));
	stmt_bind_int64(q, 2, step);
	return stmt_done(q);
}

static enum err run_steps(struct db *db, const char *component, const struct db_step *steps, size_t n)
{
	CLEANUP(db_rollback_if_open) struct db *tx = db;

	TRY(db_begin(tx));
	for (size_t i = 0; i < n; i++) {
		TRY(run(db, steps[i].sql));
		if (steps[i].then != NULL)
			TRY(steps[i].then(db));
	}
	TRY(note_step(db, component, steps[n - 1].number));
	return db_commit(db);
}

enum err db_migrate(struct db *db, const char *component, const struct db_step *steps, size_t n)
{
	int reached;

	TRY(make_table_of_steps(db));
	TRY(step_reached(db, component, &reached));
	if (reached < 0 || (size_t)reached > n) {
		log_error("the database is newer than this program; start the program that had it last, or put back a copy from before it "
		          "folder=%s component=%s step=%d known=%zu", db_folder(db), component, reached, n);
		return ERR_CONFLICT;
	}
	if ((size_t)reached == n)
		return ERR_OK;
	if (reached == 0)
		TRY(run_steps(db, component, steps, n));  /* no table yet: the pages of all of them are written once */
	else
		for (size_t i = (size_t)reached; i < n; i++)
			TRY(run_steps(db, component, &steps[i], 1));
	stmt_free_all(db);  /* most asked for tables that are gone */
	return db_sync_wal(db);
}

/* ---------------------------------------------------------------------------------------------------------- images */

enum err db_open_memory(struct db **out)
{
	static const struct db_options options = { .durability = DB_NORMAL };
	CLEANUP(db_close) struct db *db = MEM_NEW(struct db);

	TRY(open_handle(db, ":memory:", &options));
	*out = db;
	db = NULL;
	return ERR_OK;
}

enum err db_image_make(const char *component, const struct db_step *steps, size_t n, struct str *image)
{
	struct db *db = NULL;
	sqlite3_int64 size = 0;
	unsigned char *bytes = NULL;
	enum err e = db_open_memory(&db);

	if (e == ERR_OK)
		e = db_migrate(db, component, steps, n);
	if (e == ERR_OK) {
		bytes = sqlite3_serialize(db->handle, "main", &size, 0);
		e = bytes != NULL && size > READ_VERSION ? ERR_OK : ERR_IO;
	}
	if (e == ERR_OK) {
		bytes[WRITE_VERSION] = bytes[READ_VERSION] = HAS_WAL;
		*image = (struct str){ memcpy(mem_alloc((size_t)size), bytes, (size_t)size), (size_t)size };
	}
	sqlite3_free(bytes);
	db_close(&db);
	return e;
}

enum err db_create(struct disk_dir *dir, const char *name, struct str image)
{
	static const char *const others[] = { "-wal", "-journal" };
	char other[DISK_NAME_MAX + 1];

	if (disk_exists(dir, name))
		return ERR_OK;
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		if ((size_t)snprintf(other, sizeof(other), "%s%s", name, others[i]) >= sizeof(other))
			return ERR_LIMIT;
		if (disk_exists(dir, other))
			return ERR_OK;  /* of a file that is gone: db_open() knows what to do about it */
	}
	return disk_write_file(dir, name, image);
}

/* --------------------------------------------------------------------------------------------------------- inherited */

enum { TABLES_MAX = 1 << 20 };

/* Whatever the library knows of tables: it is made of these rows alone. Reading them has it learn what it did not know. */
static enum err put_tables(struct db *db, struct buf *out)
{
	static const char sql[] = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	while (stmt_row(q)) {
		for (int i = 0; i < 5; i++) {
			struct str s = stmt_str(q, i);
			put_u64(out, s.n);
			buf_add(out, s);
		}
	}
	return stmt_end(q);
}

enum err db_open_image(struct str image, const char *name, const struct db_options *options, struct db **out)
{
	CLEANUP(db_close) struct db *db = MEM_NEW(struct db);

	db->image = image;
	db->tables = (struct buf)BUF(TABLES_MAX);
	TRY(open_handle(db, name, options));
	TRY(put_tables(db, &db->tables));
	TRY(run(db, exclusive));                /* from the next reading on: what was read is no longer locked */
	sqlite3_db_release_memory(db->handle);  /* the pages of the image; the file may be at the same number of changes */
	db->image = STR_NONE;
	*out = db;
	db = NULL;
	return ERR_OK;
}

/* The number by which the library itself tells that tables have changed counts the changes: accounts that came to theirs in different ways may have
 * the same, and other pages. */
static enum err check_tables(struct db *db)
{
	static const char forget[] = "PRAGMA writable_schema=RESET";
	CLEANUP(buf_free) struct buf tables = BUF(TABLES_MAX);

	TRY(put_tables(db, &tables));
	return !tables.failed && str_eq(buf_str(&tables), buf_str(&db->tables)) ? ERR_OK : run(db, forget);
}

enum err db_adopt(struct db *db, struct disk_dir *dir)
{
	db->dir = dir;
	sqlite3_randomness(0, NULL);  /* not what the next child draws */
	TRY(vfs_adopt(db, sqlite3_db_filename(db->handle, "main")));
	TRY(check_tables(db));
	if (db->wal.file == NULL)
		TRY(run(db, with_wal));
	db->wal_pages = pages_left_behind(db);
	return ERR_OK;
}

/* --------------------------------------------------------------------------------------------------- transactions */

enum err db_begin(struct db *db)
{
	static const char sql[] = "BEGIN IMMEDIATE";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	return stmt_done(q);
}

bool db_has_failed(struct db *db)
{
	pthread_mutex_lock(&db->wal.lock);
	bool failed = db->wal.failed;
	pthread_mutex_unlock(&db->wal.lock);
	return failed;
}

enum err db_commit(struct db *db)
{
	static const char sql[] = "COMMIT";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);
	enum err e = db_has_failed(db) ? ERR_IO : ERR_OK;

	db->wal.holds = true;
	db->wal.was_read = false;
	if (e == ERR_OK)
		e = stmt_done(q);
	db->wal.holds = false;
	db->wal.n_held = 0;
	if (e != ERR_OK) {
		stmt_reset(q);
		db_rollback(db);
	}
	return e;
}

bool db_in_transaction(const struct db *db) { return !sqlite3_get_autocommit(db->handle); }

void db_rollback(struct db *db)
{
	static const char sql[] = "ROLLBACK";

	if (db_in_transaction(db)) {
		CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);
		(void)!stmt_done(q);
	}
}

void db_rollback_if_open(struct db **db)
{
	if (*db)
		db_rollback(*db);
}

int64_t db_changes(const struct db *db) { return sqlite3_changes64(db->handle); }
int64_t db_last_rowid(const struct db *db) { return sqlite3_last_insert_rowid(db->handle); }

/* ----------------------------------------------------------------------------------------------------- durability */

enum err db_sync_wal(struct db *db) { return wal_sync(db); }

static enum err checkpoint(struct db *db, int mode)
{
	int rc;

	if (db_has_failed(db))
		return ERR_IO;
	rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, NULL, NULL);
	if (rc != SQLITE_OK)
		return db_error(db, rc, "checkpoint");
	db->wal_pages = 0;  /* the next commit begins at the front again */
	return ERR_OK;
}

enum err db_checkpoint(struct db *db) { return checkpoint(db, SQLITE_CHECKPOINT_PASSIVE); }

/* How far a checkpoint came is known in memory only: the next process reads the log from its front to its end, whatever was done
 * with it, goes on behind it, and has it all to write into the database once more. So it is cut off. */
enum err db_empty_wal(struct db *db, uint32_t pages)
{
	return pages_left_behind(db) > pages ? checkpoint(db, SQLITE_CHECKPOINT_TRUNCATE) : ERR_OK;
}

uint32_t db_wal_pages(const struct db *db) { return db->wal_pages; }
