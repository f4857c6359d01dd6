/* Rows of queue.db and their life. What they promise, and the order of things that keeps it, stands in late.h; this is
 * how.
 *
 * SQL and not another log: here are few rows that live for days, are looked for by time, by account and by name, and
 * change many times. Two tables, so that a message with 20,000 recipients has its envelope once. The primary key begins
 * with seq: the name people use has only half of the log id.
 *
 * The order of every change: bodies synced, rows committed (FULL: synced), and only then what is no longer named is
 * removed. A crash in between leaves files without rows, never rows without files. When a sync failed nothing is
 * removed, because the rows may be there after all, and every later commit fails (db/), until the process starts again.
 *
 * At the opening the write-ahead log is synced before anything is believed. A killed process may have left a commit in
 * the page cache only: we would see the row, leave the recipient to it, let W pass, and lose it with the power. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/late_private.h"
#include "queue/record.h"

enum { CHECKPOINT_PAGES = 1000 };

static const struct db_step steps[] = {
	{ 1, "CREATE TABLE message (seq INTEGER NOT NULL, log_id INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL,"
	     " file INTEGER NOT NULL, at INTEGER NOT NULL, spool INTEGER NOT NULL, received INTEGER NOT NULL,"
	     " envelope BLOB NOT NULL, PRIMARY KEY (seq, log_id)) WITHOUT ROWID;"
	     "CREATE INDEX message_file ON message (file) WHERE file > 0;"
	     "CREATE INDEX message_spool ON message (spool) WHERE spool <> 0;"
	     /* due of a finished row is 0 */
	     "CREATE TABLE recipient (seq INTEGER NOT NULL, log_id INTEGER NOT NULL, recipient INTEGER NOT NULL,"
	     " state INTEGER NOT NULL, due INTEGER NOT NULL, account INTEGER NOT NULL, tries INTEGER NOT NULL,"
	     " added INTEGER NOT NULL, notify INTEGER NOT NULL, address BLOB NOT NULL, orcpt BLOB NOT NULL, detail BLOB NOT NULL,"
	     " status BLOB NOT NULL, reason BLOB NOT NULL, PRIMARY KEY (seq, log_id, recipient)) WITHOUT ROWID;"
	     "CREATE INDEX recipient_due ON recipient (state, due);"
	     "CREATE INDEX recipient_account ON recipient (account, log_id, seq);" },
	{ 2, "ALTER TABLE message ADD COLUMN reports INTEGER NOT NULL DEFAULT 0;"  /* the last number that was given */
	     "ALTER TABLE recipient ADD COLUMN host BLOB NOT NULL DEFAULT x'';"
	     "ALTER TABLE recipient ADD COLUMN notice INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE recipient ADD COLUMN report INTEGER NOT NULL DEFAULT 0;" /* the number of the one it is in */
	     "CREATE INDEX recipient_delayed ON recipient (notice) WHERE notice = 1;" },
	/* A guess for the rows that are there; where it is wrong they wait a little longer. */
	{ 3, "ALTER TABLE recipient ADD COLUMN destination BLOB NOT NULL DEFAULT x'';"
	     "UPDATE recipient SET destination = CAST(lower(substr(CAST(address AS TEXT), instr(CAST(address AS TEXT), '@') + 1)) AS BLOB)"
	     " WHERE account = 0;"
	     "DROP INDEX recipient_due;"
	     "CREATE INDEX recipient_due ON recipient (state, account = 0, due);"
	     "CREATE INDEX recipient_parked ON recipient (destination) WHERE account = 0 AND state = 1 AND due = 9223372036854775807;"
	     "CREATE TABLE paused (destination BLOB PRIMARY KEY) WITHOUT ROWID;" },
	{ 4, "ALTER TABLE recipient ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;"   /* when it was last; 0: never */
	     "ALTER TABLE recipient ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;" }, /* a retry by command: when it was due before; 0: none */
	{ 5, "CREATE TABLE routed (mark INTEGER NOT NULL); INSERT INTO routed VALUES (0);" },   /* late_route.c */
	{ 6, "ALTER TABLE recipient ADD COLUMN release INTEGER NOT NULL DEFAULT 0;"  /* not tried before */
	     "ALTER TABLE recipient ADD COLUMN deadline INTEGER NOT NULL DEFAULT 0;" /* DELIVERBY; 0: none, or what it asks for is done */
	     "CREATE INDEX recipient_deadline ON recipient (deadline) WHERE state = 1 AND deadline > 0;"
	     "UPDATE recipient SET due = 0 WHERE state = 3;" },
	{ 7, "CREATE INDEX recipient_parked_long ON recipient (added) WHERE account = 0 AND state = 1 AND due = 9223372036854775807;" },
	/* How many there are is kept, not counted: who asks each second would have all of them read. */
	{ 8, "CREATE TABLE tally (elsewhere INTEGER NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (elsewhere, state)) WITHOUT ROWID;"
	     "INSERT INTO tally SELECT e, s, (SELECT count(*) FROM recipient WHERE state = s AND (account = 0) = e)"
	     " FROM (SELECT 0 AS e UNION SELECT 1), (SELECT 1 AS s UNION SELECT 2);"
	     "CREATE TRIGGER tally_more AFTER INSERT ON recipient WHEN NEW.state < 3 BEGIN"
	     " UPDATE tally SET n = n + 1 WHERE elsewhere = (NEW.account = 0) AND state = NEW.state; END;"
	     "CREATE TRIGGER tally_less AFTER DELETE ON recipient WHEN OLD.state < 3 BEGIN"
	     " UPDATE tally SET n = n - 1 WHERE elsewhere = (OLD.account = 0) AND state = OLD.state; END;"
	     "CREATE TRIGGER tally_other AFTER UPDATE OF state, account ON recipient WHEN OLD.state <> NEW.state OR OLD.account <> NEW.account BEGIN"
	     " UPDATE tally SET n = n - 1 WHERE elsewhere = (OLD.account = 0) AND state = OLD.state;"
	     " UPDATE tally SET n = n + 1 WHERE elsewhere = (NEW.account = 0) AND state = NEW.state; END;"
	     "CREATE INDEX message_received ON message (received);" },
	{ 9, "CREATE TABLE jump (number INTEGER PRIMARY KEY, before INTEGER NOT NULL, ahead INTEGER NOT NULL);" },   /* struct jump, in seconds */
};

struct late *late_lock(struct late *l)
{
	pthread_mutex_lock(&l->lock);
	return l;
}

void late_unlock(struct late **l) { pthread_mutex_unlock(&(*l)->lock); }

void late_bind_bytes(struct stmt *q, int index, struct str s) { stmt_bind_blob(q, index, s.n ? s : STR("")); }

/* --------------------------------------------------------------------------------------------- what nobody names */

static bool is_file_named(struct late *l, uint32_t number)
{
	static const char sql[] = "SELECT 1 FROM message WHERE file = ?1 AND file > 0";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_int64(q, 1, number);
	return stmt_row(q) || stmt_end(q) != ERR_OK;  /* in doubt it is kept */
}

static bool is_spool_named(struct late *l, uint64_t spool)
{
	static const char sql[] = "SELECT 1 FROM message WHERE spool = ?1 AND spool <> 0";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, spool);
	return stmt_row(q) || stmt_end(q) != ERR_OK;
}

bool late_names_spool(struct late *l, uint64_t spool)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);

	return is_spool_named(held, spool);
}

static void note_gone(struct arena *a, struct late_gone *g, uint32_t file, uint64_t spool)
{
	g->bodies = arena_grow(a, g->bodies, g->n, &g->cap, sizeof(*g->bodies));
	g->spools = arena_grow(a, g->spools, g->n, &g->spools_cap, sizeof(*g->spools));
	g->bodies[g->n].file = file;
	g->spools[g->n++] = spool;
}

void late_remove_gone(struct late *l, const struct late_gone *g)
{
	char name[SPOOL_NAME_MAX];

	for (size_t i = 0; i < g->n; i++) {
		uint32_t file = g->bodies[i].file;
		if (file != 0 && file != l->bodies.number && !is_file_named(l, file))
			late_bodies_remove(&l->bodies, file);
		if (g->spools[i] != 0 && !is_spool_named(l, g->spools[i])) {
			spool_name(g->spools[i], name);
			(void)!disk_remove(l->dir, name);
		}
	}
}

enum err late_drop_message(struct late *l, uint64_t log_id, uint64_t seq, struct arena *a, struct late_gone *g)
{
	static const char sql[] =
		"DELETE FROM message WHERE seq = ?1 AND log_id = ?2 AND NOT EXISTS"
		" (SELECT 1 FROM recipient WHERE seq = ?1 AND log_id = ?2) RETURNING file, spool";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	while (stmt_row(q))
		note_gone(a, g, (uint32_t)stmt_int64(q, 0), stmt_u64(q, 1));
	return stmt_end(q);
}

enum err late_commit(struct late *l)
{
	TRY(db_commit(l->db));
	if (db_wal_pages(l->db) > CHECKPOINT_PAGES && db_checkpoint(l->db) != ERR_OK)
		log_warn("queue.db keeps its write-ahead log; nothing is lost");
	return ERR_OK;
}

enum err late_forget_finished(struct late *l)
{
	static const char sql[] =
		"DELETE FROM recipient WHERE state = 3 AND due = 0 AND (log_id <> ?1 OR seq <= ?2) RETURNING log_id, seq";
	static const char any[] = "SELECT 1 FROM recipient WHERE state = 3 AND due = 0 AND (log_id <> ?1 OR seq <= ?2)";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql), *is_any = db_query(l->db, any);
	struct late_gone gone = { 0 };

	stmt_bind_u64(is_any, 1, l->log_id);
	stmt_bind_u64(is_any, 2, l->w);
	if (!stmt_row(is_any))
		return stmt_end(is_any);
	stmt_reset(is_any);
	TRY(db_begin(l->db));
	stmt_bind_u64(q, 1, l->log_id);
	stmt_bind_u64(q, 2, l->w);
	while (stmt_row(q))  /* all is deleted at the first step; the rows are what it returns */
		TRY(late_drop_message(l, stmt_u64(q, 0), stmt_u64(q, 1), &a, &gone));
	TRY(stmt_end(q));
	stmt_reset(q);
	TRY(late_commit(l));
	late_remove_gone(l, &gone);
	return ERR_OK;
}

/* ---------------------------------------------------------------------------------------------------------- opening */

static enum err first_free_number(struct late *l, uint32_t *number)
{
	static const char sql[] = "SELECT coalesce(max(file), 0) + 1 FROM message WHERE file > 0";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*number = (uint32_t)stmt_int64(q, 0);
	return ERR_OK;
}

/* Who parked them is gone. */
enum err late_unpark_all(struct late *l)
{
	static const char sql[] = "UPDATE recipient SET due = added WHERE state = 1 AND (account = 0) = 1 AND due = 9223372036854775807";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	return stmt_done(q);
}

static enum err open_all(struct late *l)
{
	const struct db_options options = { .durability = DB_FULL, .cache_kib = 4096 };
	uint32_t number = 1;

	TRY(db_open(l->dir, "queue.db", &options, &l->db));
	TRY(db_migrate(l->db, "queue", steps, COUNT_OF(steps)));
	TRY(db_sync_wal(l->db));
	TRY(late_unpark_all(l));
	TRY(first_free_number(l, &number));
	TRY(late_bodies_open(l->dir, number, &l->bodies));
	TRY(late_bodies_sweep(&l->bodies, is_file_named, l));
	return late_forget_finished(l);
}

enum err late_open(struct disk_dir *dir, uint64_t log_id, uint64_t w, struct late **out)
{
	struct late *l = MEM_NEW(struct late);
	enum err e;

	pthread_mutex_init(&l->lock, NULL);
	l->dir = dir;
	l->log_id = log_id;
	l->w = w;
	e = open_all(l);
	if (e != ERR_OK) {
		late_close(&l);
		return e;
	}
	*out = l;
	return ERR_OK;
}

void late_close(struct late **out)
{
	struct late *l = *out;

	if (l == NULL)
		return;
	if (l->db && db_wal_pages(l->db) > 0 && db_checkpoint(l->db) != ERR_OK)
		log_warn("queue.db keeps its write-ahead log; nothing is lost");
	db_close(&l->db);
	late_bodies_close(&l->bodies);
	lookup_close(l->lookup);
	pthread_mutex_destroy(&l->lock);
	mem_free(l);
	*out = NULL;
}

bool late_has_failed(struct late *l) { return db_has_failed(l->db); }

/* ----------------------------------------------------------------------------------------------------------- adding */

static enum err is_known(struct late *l, const struct late_new *m, bool *known)
{
	static const char sql[] = "SELECT 1 FROM message WHERE seq = ?1 AND log_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, m->seq);
	stmt_bind_u64(q, 2, m->log_id);
	*known = stmt_row(q);
	return stmt_end(q);
}

static enum err insert_message(struct late *l, const struct late_new *m, struct late_place place)
{
	static const char sql[] =
		"INSERT INTO message(seq, log_id, size, crc, file, at, spool, received, envelope)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	CLEANUP(buf_free) struct buf envelope = BUF(ENVELOPE_BYTES_MAX);

	envelope_head_encode(m->envelope, &envelope);
	if (envelope.failed)
		return ERR_LIMIT;
	stmt_bind_u64(q, 1, m->seq);
	stmt_bind_u64(q, 2, m->log_id);
	stmt_bind_u64(q, 3, m->size);
	stmt_bind_int64(q, 4, m->crc);
	stmt_bind_int64(q, 5, place.file);
	stmt_bind_u64(q, 6, place.at);
	stmt_bind_u64(q, 7, m->spool);
	stmt_bind_int64(q, 8, m->envelope->received);
	late_bind_bytes(q, 9, buf_str(&envelope));
	return stmt_done(q);
}

static enum err insert_recipients(struct late *l, const struct late_new *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const char sql[] =
		"INSERT INTO recipient(seq, log_id, recipient, state, due, account, tries, added, notify, address, orcpt, detail,"
		" status, reason, host, notice, destination, tried, release, deadline)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)"
		" ON CONFLICT DO NOTHING";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	for (size_t i = 0; i < m->n; i++) {
		const struct late_recipient *r = &m->recipients[i];
		const struct envelope_recipient *to = &m->envelope->recipients[r->index];
		stmt_bind_u64(q, 1, m->seq);
		stmt_bind_u64(q, 2, m->log_id);
		stmt_bind_int64(q, 3, r->index);
		stmt_bind_int64(q, 4, r->state);
		stmt_bind_int64(q, 5, r->state == LATE_FINISHED ? 0 : r->due);
		stmt_bind_u64(q, 6, to->account);
		stmt_bind_int64(q, 7, r->tries);
		stmt_bind_int64(q, 8, clock_wall_s());
		stmt_bind_int64(q, 9, to->notify);
		late_bind_bytes(q, 10, to->address);
		late_bind_bytes(q, 11, to->orcpt);
		late_bind_bytes(q, 12, to->detail);
		late_bind_bytes(q, 13, str_sub(r->status, 0, LATE_STATUS_MAX));
		late_bind_bytes(q, 14, utf8_clip(r->reason, LATE_REASON_MAX));
		late_bind_bytes(q, 15, utf8_clip(r->host, LATE_HOST_MAX));
		stmt_bind_int64(q, 16, r->notice);
		late_bind_bytes(q, 17, late_destination_of(l, to->account, to->address, &a));
		stmt_bind_int64(q, 18, r->tried);
		stmt_bind_int64(q, 19, envelope_leaves(m->envelope, to->account == 0));
		stmt_bind_int64(q, 20, m->envelope->wishes.deliver_by);
		TRY(stmt_done(q));
		stmt_reset(q);
		arena_reset(&a);
	}
	return ERR_OK;
}

static enum err write_bodies(struct late *l, const struct late_new *m, size_t n, struct late_place *places)
{
	for (size_t i = 0; i < n; i++) {
		bool known = false;
		TRY(is_known(l, &m[i], &known));
		if (!known && m[i].spool == 0)
			TRY(late_bodies_write(&l->bodies, m[i].body, &places[i]));
	}
	return late_bodies_sync(&l->bodies);
}

static enum err insert_all(struct late *l, const struct late_new *m, size_t n, const struct late_place *places)
{
	for (size_t i = 0; i < n; i++) {
		TRY(insert_message(l, &m[i], places[i]));
		TRY(insert_recipients(l, &m[i]));
	}
	return ERR_OK;
}

/* Removes what was written for rows that did not commit, so that trying again does not fill a full disk further. Only
 * when the write-ahead log can be synced is it certain that they did not (a full disk: no commit was written). */
static void take_back(struct late *l)
{
	db_rollback(l->db);
	late_bodies_seal(&l->bodies);
	if (db_sync_wal(l->db) == ERR_OK)
		(void)!late_bodies_sweep(&l->bodies, is_file_named, l);
}

enum err late_add(struct late *l, const struct late_new *messages, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	struct late_place *places = arena_array(&a, n + 1, sizeof(*places));
	enum err e = write_bodies(l, messages, n, places);

	if (e == ERR_OK)
		e = db_begin(l->db);
	if (e == ERR_OK)
		e = insert_all(l, messages, n, places);
	if (e == ERR_OK)
		e = late_commit(l);
	if (e != ERR_OK)
		take_back(l);
	return e;
}

enum err late_passed(struct late *l, uint64_t w)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);

	if (w <= l->w)
		return ERR_OK;
	l->w = w;
	return late_forget_finished(l);
}
