/* Statements, prepared once a connection and found again by the address of their text: one statement, one constant string. A
 * failure sticks in the statement, so binds and reads need no check and the caller looks once. What nobody expects is logged here,
 * with the text and without the values (they are people's mail). */
#include "base/log.h"
#include "base/mem.h"
#include "db/db_private.h"
#include <assert.h>

/* Outcomes for callers. A constraint is an answer, the rest is a failure. */
static enum err outcome(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE: return ERR_OK;
	case SQLITE_CONSTRAINT:
		return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_ROWID
			? ERR_EXISTS : ERR_CONFLICT;
	case SQLITE_FULL: return ERR_FULL;
	case SQLITE_TOOBIG: return ERR_LIMIT;
	case SQLITE_CORRUPT: case SQLITE_NOTADB: return ERR_CORRUPT;
	case SQLITE_BUSY: case SQLITE_LOCKED: return ERR_AGAIN;
	default: return ERR_IO;
	}
}

enum err db_error(struct db *db, int rc, const char *sql)
{
	enum err e = outcome(rc);

	if (e != ERR_OK && e != ERR_EXISTS)
		log_error("SQL failed folder=%s error=%s code=%d text=%s sql=%s", db_folder(db), sqlite3_errstr(rc), rc,
		          db->handle ? sqlite3_errmsg(db->handle) : "", sql ? sql : "");
	return e;
}

static struct stmt *prepare(struct db *db, const char *sql)
{
	struct stmt *q = MEM_NEW(struct stmt);

	q->db = db;
	q->sql = sql;
	q->rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->prepared, NULL);
	if (q->rc != SQLITE_OK)
		db_error(db, q->rc, sql);
	return q;
}

struct stmt *db_query(struct db *db, const char *sql)
{
	struct stmt *first = map_get_u64(&db->statements, (uintptr_t)sql), *q;

	for (q = first; q != NULL && q->is_taken; q = q->next)
		;
	if (q == NULL) {
		q = prepare(db, sql);
		q->next = first;
		map_set_u64(&db->statements, (uintptr_t)sql, q);
	} else if (q->prepared == NULL) {  /* it failed before: the schema may have changed since */
		q->rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->prepared, NULL);
		if (q->rc != SQLITE_OK)
			db_error(db, q->rc, sql);
	}
	q->is_taken = true;
	return q;
}

void db_prepare(struct db *db, const char *sql)
{
	CLEANUP(stmt_release) UNUSED struct stmt *q = db_query(db, sql);
}

size_t db_statements(const struct db *db, const char **sql, size_t max)
{
	size_t at = 0, n = 0;
	struct str key;
	void *value;

	while (n < max && map_next(&db->statements, &at, &key, &value))
		sql[n++] = ((const struct stmt *)value)->sql;
	return n;
}

void stmt_reset(struct stmt *q)
{
	if (q->prepared == NULL)
		return;
	sqlite3_reset(q->prepared);
	q->rc = SQLITE_OK;
}

void stmt_release(struct stmt **q)
{
	if (*q == NULL)
		return;
	stmt_reset(*q);
	if ((*q)->prepared)
		sqlite3_clear_bindings((*q)->prepared);  /* they pointed into the caller's memory */
	(*q)->is_taken = false;
	*q = NULL;
}

void stmt_free_all(struct db *db)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&db->statements, &at, &key, &value)) {
		for (struct stmt *q = value, *next; q != NULL; q = next) {
			next = q->next;
			sqlite3_finalize(q->prepared);
			mem_free(q);
		}
	}
	map_free(&db->statements);
}

static bool has_failed(const struct stmt *q) { return q->rc != SQLITE_OK && q->rc != SQLITE_ROW && q->rc != SQLITE_DONE; }

/* A bind that fails is our own bug (index out of range, or bound while running) or out of memory. */
static void bound(struct stmt *q, int rc) { assert(rc == SQLITE_OK || has_failed(q)); }

void stmt_bind_int64(struct stmt *q, int index, int64_t v)
{
	if (!has_failed(q))
		bound(q, sqlite3_bind_int64(q->prepared, index, v));
}

void stmt_bind_u64(struct stmt *q, int index, uint64_t v) { stmt_bind_int64(q, index, (int64_t)v); }

void stmt_bind_text(struct stmt *q, int index, struct str v)
{
	if (!has_failed(q))
		bound(q, sqlite3_bind_text64(q->prepared, index, v.p, v.n, SQLITE_STATIC, SQLITE_UTF8));
}

void stmt_bind_blob(struct stmt *q, int index, struct str v)
{
	if (!has_failed(q))
		bound(q, sqlite3_bind_blob64(q->prepared, index, v.p, v.n, SQLITE_STATIC));
}

void stmt_bind_null(struct stmt *q, int index)
{
	if (!has_failed(q))
		bound(q, sqlite3_bind_null(q->prepared, index));
}

bool stmt_row(struct stmt *q)
{
	if (has_failed(q) || q->rc == SQLITE_DONE)
		return false;
	q->rc = sqlite3_step(q->prepared);
	if (has_failed(q))
		db_error(q->db, q->rc, q->sql);
	return q->rc == SQLITE_ROW;
}

int64_t stmt_int64(struct stmt *q, int column) { return q->rc == SQLITE_ROW ? sqlite3_column_int64(q->prepared, column) : 0; }
uint64_t stmt_u64(struct stmt *q, int column) { return (uint64_t)stmt_int64(q, column); }

bool stmt_is_null(struct stmt *q, int column)
{
	return q->rc != SQLITE_ROW || sqlite3_column_type(q->prepared, column) == SQLITE_NULL;
}

struct str stmt_str(struct stmt *q, int column)
{
	if (stmt_is_null(q, column))
		return STR_NONE;
	const void *p = sqlite3_column_blob(q->prepared, column);
	int n = sqlite3_column_bytes(q->prepared, column);
	return n > 0 ? str_make(p, (size_t)n) : STR("");
}

enum err stmt_err(struct stmt *q, enum err at_end) { return has_failed(q) ? outcome(q->rc) : at_end; }
enum err stmt_end(struct stmt *q) { return has_failed(q) ? outcome(q->rc) : ERR_OK; }

enum err stmt_done(struct stmt *q)
{
	while (stmt_row(q))
		;
	return stmt_end(q);
}
