/* Rows of queue.db with something to tell their sender.
 *
 * A report is numbered before it is written, in the same transaction that puts its rows into it (message.reports counts, recipient.report
 * names it). Whoever finds a row with a number after a crash knows the very set of rows that report had, and asks for it again; a row
 * whose outcome comes later, or changes meanwhile, has report = 0 and waits for the next one. So the report that the log has and the
 * rows that are ended by its number are always the same (report.c). */
#include "queue/late_private.h"

static const char due_sql[] =
	"SELECT log_id, seq FROM recipient WHERE state = 4 AND due <= ?1"
	" UNION SELECT log_id, seq FROM recipient WHERE notice = 1 LIMIT ?2";

bool late_report_is_due(struct late *l, int64_t now)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, due_sql);

	stmt_bind_int64(q, 1, now);
	stmt_bind_int64(q, 2, 1);
	return stmt_row(q) || stmt_end(q) != ERR_OK;
}

/* The number of one that was begun; 0: none. */
static enum err find_begun(struct late *l, const struct late_key *k, uint32_t *number)
{
	static const char sql[] =
		"SELECT report FROM recipient WHERE seq = ?1 AND log_id = ?2 AND report > 0 ORDER BY report LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	*number = stmt_row(q) ? (uint32_t)stmt_int64(q, 0) : 0;
	return stmt_end(q);
}

static enum err next_number(struct late *l, const struct late_key *k, uint32_t *number)
{
	static const char sql[] = "UPDATE message SET reports = reports + 1 WHERE seq = ?1 AND log_id = ?2 RETURNING reports";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*number = (uint32_t)stmt_int64(q, 0);
	return stmt_end(q);
}

static enum err put_into(struct late *l, const struct late_key *k, uint32_t number)
{
	static const char sql[] =
		"UPDATE recipient SET report = ?3 WHERE seq = ?1 AND log_id = ?2 AND recipient IN (SELECT recipient FROM recipient"
		" WHERE seq = ?1 AND log_id = ?2 AND report = 0 AND (state = 4 OR notice = 1) ORDER BY recipient LIMIT ?4)";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	stmt_bind_int64(q, 3, number);
	stmt_bind_int64(q, 4, REPORT_RECIPIENTS_MAX);
	return stmt_done(q);
}

static enum err read_rows(struct late *l, const struct late_key *k, struct arena *a, struct late_report *out)
{
	static const char sql[] =
		"SELECT " LATE_ROW_COLUMNS " FROM recipient WHERE seq = ?1 AND log_id = ?2 AND report = ?3 ORDER BY recipient";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	size_t cap = 0;

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	stmt_bind_int64(q, 3, out->number);
	while (stmt_row(q)) {
		out->rows = arena_grow(a, out->rows, out->n, &cap, sizeof *out->rows);
		late_read_row(q, a, &out->rows[out->n++]);
	}
	return stmt_end(q);
}

/* Its envelope is damaged (logged): nobody can be told, somebody has to look. */
static enum err put_aside(struct late *l, const struct late_key *k)
{
	static const char sql[] =
		"UPDATE recipient SET state = 2, due = 9223372036854775807, notice = 0, report = 0"
		" WHERE seq = ?1 AND log_id = ?2 AND (state = 4 OR notice = 1)";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	return stmt_done(q);
}

static enum err begin_one(struct late *l, const struct late_key *k, struct arena *a, struct late_report *out)
{
	*out = (struct late_report){ 0 };
	TRY(late_read_message(l, k->log_id, k->seq, a, &out->message));
	TRY(find_begun(l, k, &out->number));
	if (out->number == 0) {
		TRY(next_number(l, k, &out->number));
		TRY(put_into(l, k, out->number));
	}
	return read_rows(l, k, a, out);
}

static enum err list_due(struct late *l, int64_t now, size_t max, struct late_key *out, size_t *n)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, due_sql);

	*n = 0;
	stmt_bind_int64(q, 1, now);
	stmt_bind_int64(q, 2, (int64_t)max);
	while (stmt_row(q))
		out[(*n)++] = (struct late_key){ stmt_u64(q, 0), stmt_u64(q, 1), 0 };
	return stmt_end(q);
}

enum err late_report_begin(struct late *l, int64_t now, size_t max, struct arena *a, struct late_report *out, size_t *n)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	struct late_key *keys = arena_array(a, max, sizeof *keys);
	size_t n_keys;

	*n = 0;
	TRY(db_begin(l->db));
	TRY(list_due(l, now, max, keys, &n_keys));
	for (size_t i = 0; i < n_keys; i++) {
		enum err e = begin_one(l, &keys[i], a, &out[*n]);
		if (e == ERR_CORRUPT)
			e = put_aside(l, &keys[i]);
		else
			(*n)++;
		TRY(e);
	}
	return late_commit(l);
}

enum err late_pass_deadline(struct late *l, const struct late_overdue *rows, size_t n)
{
	static const char sql[] =
		"UPDATE recipient SET deadline = 0, notice = CASE WHEN ?4 AND notice = 0 THEN 1 ELSE notice END WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3"
		" AND state = 1";
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	TRY(db_begin(l->db));
	for (size_t i = 0; i < n; i++) {
		stmt_bind_u64(q, 1, rows[i].key.seq);
		stmt_bind_u64(q, 2, rows[i].key.log_id);
		stmt_bind_int64(q, 3, rows[i].key.recipient);
		stmt_bind_int64(q, 4, rows[i].tells);
		TRY(stmt_done(q));
		stmt_reset(q);
	}
	return late_commit(l);
}

static enum err end_rows(struct late *l, uint64_t log_id, uint64_t seq, uint32_t number)
{
	static const char sql[] =
		"UPDATE recipient SET report = 0, state = CASE state WHEN 4 THEN 3 ELSE state END,"
		" due = CASE state WHEN 4 THEN 0 ELSE due END, notice = CASE state WHEN 4 THEN 0 ELSE 100 END"
		" WHERE seq = ?1 AND log_id = ?2 AND report = ?3";
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	TRY(db_begin(l->db));
	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	stmt_bind_int64(q, 3, number);
	TRY(stmt_done(q));
	return late_commit(l);
}

static bool is_begun(struct late *l, uint64_t log_id, uint64_t seq, uint32_t number)
{
	static const char sql[] = "SELECT 1 FROM recipient WHERE seq = ?1 AND log_id = ?2 AND report = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, seq);
	stmt_bind_u64(q, 2, log_id);
	stmt_bind_int64(q, 3, number);
	return stmt_row(q) || stmt_end(q) != ERR_OK;
}

enum err late_report_end(struct late *l, uint64_t log_id, uint64_t seq, uint32_t number)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);

	if (number == 0 || !is_begun(l, log_id, seq, number))
		return ERR_OK;
	TRY(end_rows(l, log_id, seq, number));
	return late_forget_finished(l);
}
