/* Two tables and an index of one of them. A count's key is all that is alike; net sends a batch every few seconds, one transaction each. What
 * strangers decide (names of hosts, policies) is bounded by rows a day, not by trust. */
#include "tlsrpt/book.h"
#include "base/log.h"
#include "base/mem.h"
#include "db/db.h"

enum { PAGE_BYTES = 50000, PAGE_ROWS = 500, SESSIONS_MAX = 5000, CHECKPOINT_PAGES = 1000 };

static const struct db_step steps[] = {
	{ 1, "CREATE TABLE sts (sts_id INTEGER PRIMARY KEY, domain TEXT NOT NULL UNIQUE, id TEXT NOT NULL, text TEXT NOT NULL,"
	     " expires INTEGER NOT NULL);"
	     "CREATE INDEX sts_expires ON sts (expires);"
	     "CREATE TABLE session (day INTEGER NOT NULL, domain TEXT NOT NULL, policy INTEGER NOT NULL, text TEXT NOT NULL, result INTEGER NOT NULL,"
	     " mx TEXT NOT NULL, receiving_ip TEXT NOT NULL, sending_ip TEXT NOT NULL, info TEXT NOT NULL, count INTEGER NOT NULL,"
	     " PRIMARY KEY (day, domain, policy, text, result, mx, receiving_ip, sending_ip, info)) WITHOUT ROWID;" },
};

struct book {
	struct db *db;
	int64_t    day;      /* that rows belongs to */
	uint64_t   rows;     /* of counts, this day */
	bool       is_full;  /* said so */
	bool       is_reporting;
};

static enum err read_rows(struct book *b, int64_t day)
{
	static const char sql[] = "SELECT count(*) FROM session WHERE day = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);

	stmt_bind_int64(q, 1, day);
	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	b->rows = stmt_u64(q, 0);
	b->day = day;
	b->is_full = false;
	return ERR_OK;
}

enum err book_open(struct disk_dir *dir, struct book **out)
{
	static const struct db_options options = { DB_NORMAL, 0 };
	struct book *b = MEM_NEW(struct book);
	enum err e = db_open(dir, "tls.db", &options, &b->db);

	b->day = -1;
	if (e == ERR_OK)
		e = db_migrate(b->db, "tlsrpt", steps, COUNT_OF(steps));
	if (e != ERR_OK) {
		book_close(b);
		return e;
	}
	*out = b;
	return ERR_OK;
}

void book_close(struct book *b)
{
	if (b == NULL)
		return;
	if (b->db != NULL && db_sync_wal(b->db) != ERR_OK)
		log_warn("the last counts of TLS sessions are perhaps not on disk");
	db_close(&b->db);
	mem_free(b);
}

static enum err commit(struct book *b)
{
	TRY(db_commit(b->db));
	return db_wal_pages(b->db) > CHECKPOINT_PAGES ? db_checkpoint(b->db) : ERR_OK;
}

/* ---- policies ---- */

static enum err drop_policies(struct book *b, int64_t now_s)
{
	static const char old[] = "DELETE FROM sts WHERE expires <= ?1";
	static const char many[] = "DELETE FROM sts WHERE sts_id IN (SELECT sts_id FROM sts ORDER BY expires DESC LIMIT -1 OFFSET ?1)";
	CLEANUP(stmt_release) struct stmt *o = db_query(b->db, old);
	CLEANUP(stmt_release) struct stmt *m = db_query(b->db, many);

	stmt_bind_int64(o, 1, now_s);
	TRY(stmt_done(o));
	stmt_bind_int64(m, 1, BOOK_POLICIES_MAX);
	return stmt_done(m);
}

enum err book_keep(struct book *b, const struct sts_record *r, int64_t now_s)
{
	static const char sql[] = "INSERT OR REPLACE INTO sts (domain, id, text, expires) VALUES (?1, ?2, ?3, ?4)";
	CLEANUP(db_rollback_if_open) struct db *tx = b->db;
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);

	TRY(db_begin(tx));
	stmt_bind_text(q, 1, r->domain);
	stmt_bind_text(q, 2, r->id);
	stmt_bind_text(q, 3, r->text);
	stmt_bind_int64(q, 4, r->expires_s);
	TRY(stmt_done(q));
	TRY(drop_policies(b, now_s));
	return commit(b);
}

enum err book_kept(struct book *b, uint64_t from, int64_t now_s, struct buf *out, uint64_t *next)
{
	static const char sql[] = "SELECT sts_id, domain, id, text, expires FROM sts WHERE sts_id >= ?1 AND expires > ?2 ORDER BY sts_id LIMIT ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);
	size_t n = 0;

	stmt_bind_u64(q, 1, from);
	stmt_bind_int64(q, 2, now_s);
	stmt_bind_int64(q, 3, PAGE_ROWS);
	for (*next = 0; stmt_row(q); n++) {
		const struct sts_record r = { stmt_str(q, 1), stmt_str(q, 2), stmt_str(q, 3), stmt_int64(q, 4) };
		if (n > 0 && out->n + r.text.n + r.domain.n + r.id.n > PAGE_BYTES) {
			*next = stmt_u64(q, 0);
			return ERR_OK;
		}
		put_sts_record(out, &r);
		from = stmt_u64(q, 0);
	}
	if (n == PAGE_ROWS)
		*next = from + 1;
	return stmt_end(q);
}

/* ---- counts ---- */

static enum err add_to_row(struct book *b, int64_t day, const struct tls_session *s, bool *found)
{
	static const char sql[] = "UPDATE session SET count = count + ?10 WHERE day = ?1 AND domain = ?2 AND policy = ?3 AND text = ?4 AND result = ?5"
	                          " AND mx = ?6 AND receiving_ip = ?7 AND sending_ip = ?8 AND info = ?9";
	static const char fresh[] = "INSERT INTO session (day, domain, policy, text, result, mx, receiving_ip, sending_ip, info, count)"
	                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
	const struct str texts[] = { s->mx, s->receiving_ip, s->sending_ip, s->info };
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, *found ? sql : fresh);

	stmt_bind_int64(q, 1, day);
	stmt_bind_text(q, 2, s->domain);
	stmt_bind_int64(q, 3, s->policy);
	stmt_bind_text(q, 4, s->text);
	stmt_bind_int64(q, 5, s->result);
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		stmt_bind_text(q, 6 + (int)i, texts[i]);
	stmt_bind_int64(q, 10, s->count);
	TRY(stmt_done(q));
	*found = db_changes(b->db) > 0;
	return ERR_OK;
}

static enum err count_one(struct book *b, int64_t day, const struct tls_session *s)
{
	bool found = true, fresh = false;

	TRY(add_to_row(b, day, s, &found));
	if (found)
		return ERR_OK;
	if (b->rows >= BOOK_ROWS_MAX) {
		if (!b->is_full)
			log_warn("too many kinds of TLS sessions in one day: some are missing in its reports");
		b->is_full = true;
		return ERR_OK;
	}
	b->rows++;
	return add_to_row(b, day, s, &fresh);
}

enum err book_count(struct book *b, int64_t day, struct str sessions)
{
	CLEANUP(db_rollback_if_open) struct db *tx = b->db;
	struct scan s = scan_of(sessions);
	struct tls_session one;

	if (b->day != day)
		TRY(read_rows(b, day));
	TRY(db_begin(tx));
	while (get_tls_session(&s, &one))
		TRY(count_one(b, day, &one));
	return s.failed ? ERR_INVALID : commit(b);
}

enum err book_domains(struct book *b, int64_t before, struct arena *a, struct book_domain **out, size_t *n)
{
	static const char sql[] = "SELECT day, domain, sum(count * (result = 0)), sum(count * (result <> 0)) FROM session WHERE day < ?1"
	                          " GROUP BY day, domain ORDER BY day, domain LIMIT ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);
	size_t cap = 0;

	*out = NULL;
	stmt_bind_int64(q, 1, before);
	stmt_bind_int64(q, 2, BOOK_DOMAINS_MAX);
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[*n] = (struct book_domain){ stmt_int64(q, 0), str_copy(a, stmt_str(q, 1)), stmt_u64(q, 2), stmt_u64(q, 3) };
	}
	return stmt_end(q);
}

static void read_session(struct stmt *q, struct arena *a, struct tls_session *s)
{
	*s = (struct tls_session){
		.policy = (enum tls_policy)stmt_int64(q, 0), .text = str_copy(a, stmt_str(q, 1)), .result = (enum tls_result)stmt_int64(q, 2),
		.mx = str_copy(a, stmt_str(q, 3)), .receiving_ip = str_copy(a, stmt_str(q, 4)), .sending_ip = str_copy(a, stmt_str(q, 5)),
		.info = str_copy(a, stmt_str(q, 6)), .count = stmt_u64(q, 7) > UINT32_MAX ? UINT32_MAX : (uint32_t)stmt_u64(q, 7),
	};
}

enum err book_sessions(struct book *b, int64_t day, struct str domain, struct arena *a, struct tls_session **out, size_t *n)
{
	static const char sql[] = "SELECT policy, text, result, mx, receiving_ip, sending_ip, info, count FROM session WHERE day = ?1 AND domain = ?2"
	                          " ORDER BY policy, text, result, count DESC LIMIT ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);
	size_t cap = 0;

	*out = NULL;
	stmt_bind_int64(q, 1, day);
	stmt_bind_text(q, 2, domain);
	stmt_bind_int64(q, 3, SESSIONS_MAX);
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		read_session(q, a, &(*out)[*n]);
		(*out)[*n].domain = domain;
	}
	return stmt_end(q);
}

enum err book_reported(struct book *b, int64_t day, struct str domain)
{
	static const char sql[] = "DELETE FROM session WHERE day = ?1 AND domain = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);

	stmt_bind_int64(q, 1, day);
	stmt_bind_text(q, 2, domain);
	b->day = -1;
	return stmt_done(q);
}

bool book_begin_report(struct book *b)
{
	bool is_free = !b->is_reporting;

	b->is_reporting = true;
	return is_free;
}

void book_end_report(struct book *b) { b->is_reporting = false; }

enum err book_prune(struct book *b, int64_t today)
{
	static const char sql[] = "DELETE FROM session WHERE day < ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(b->db, sql);

	stmt_bind_int64(q, 1, today - BOOK_KEPT_DAYS);
	return stmt_done(q);
}
