/* Rows change: results of tries, and what the administrator wants of them. A row that is done for good is deleted, or kept as finished
 * while a replay of the log could bring it again (late.h). */
#include "base/bytes.h"
#include "queue/late_private.h"

static bool can_come_again(const struct late *l, uint64_t log_id, uint64_t seq)
{
	return log_id == l->log_id && seq > l->w;
}

/* --------------------------------------------------------------------------------------------------------- changing */

static enum err delete_row(struct late *l, const struct late_key *k)
{
	static const char sql[] = "DELETE FROM recipient WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	stmt_bind_int64(q, 3, k->recipient);
	return stmt_done(q);
}

static enum err finish_row(struct late *l, const struct late_key *k)
{
	static const char sql[] =
		"UPDATE recipient SET state = 3, due = 0, notice = 0, report = 0 WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, k->seq);
	stmt_bind_u64(q, 2, k->log_id);
	stmt_bind_int64(q, 3, k->recipient);
	return stmt_done(q);
}

static enum err finish(struct late *l, const struct late_key *k, struct arena *a, struct late_gone *g)
{
	if (can_come_again(l, k->log_id, k->seq))
		return finish_row(l, k);
	TRY(delete_row(l, k));
	return late_drop_message(l, k->log_id, k->seq, a, g);
}

static enum err update_row(struct late *l, const struct late_change *c)
{
	static const char sql[] =
		"UPDATE recipient SET state = CASE WHEN state = 2 AND ?4 = 1 THEN 2 ELSE ?4 END, due = ?5, tries = ?6, status = ?7, reason = ?8, host = ?9,"
		" notice = CASE ?10 WHEN 0 THEN notice ELSE ?10 END, report = CASE ?10 WHEN 0 THEN report ELSE 0 END, tried = ?11, asked = ?12"
		" WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3 AND state < 3";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, c->key.seq);
	stmt_bind_u64(q, 2, c->key.log_id);
	stmt_bind_int64(q, 3, c->key.recipient);
	stmt_bind_int64(q, 4, c->state);
	stmt_bind_int64(q, 5, c->due);
	stmt_bind_int64(q, 6, c->tries);
	late_bind_bytes(q, 7, str_sub(c->status, 0, LATE_STATUS_MAX));
	late_bind_bytes(q, 8, utf8_clip(c->reason, LATE_REASON_MAX));
	late_bind_bytes(q, 9, utf8_clip(c->host, LATE_HOST_MAX));
	stmt_bind_int64(q, 10, c->notice);
	stmt_bind_int64(q, 11, c->tried);
	stmt_bind_int64(q, 12, c->asked);
	return stmt_done(q);
}

enum err late_change(struct late *l, const struct late_change *changes, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	struct late_gone gone = { 0 };

	TRY(db_begin(l->db));
	for (size_t i = 0; i < n; i++) {
		if (changes[i].state == LATE_FINISHED)
			TRY(finish(l, &changes[i].key, &a, &gone));
		else
			TRY(update_row(l, &changes[i]));
	}
	TRY(late_commit(l));
	late_remove_gone(l, &gone);
	return ERR_OK;
}

/* --------------------------------------------------------------------------------------- orders of the administrator */

/* All but removing: another state, due now, for one message (or one recipient of it), or for all. What is only tried earlier remembers
 * when it would have been its time. Before its release (FUTURERELEASE) nothing is tried but by name. */
#define OF_MESSAGE " AND seq = ?2 AND log_id = ?3 AND (?4 < 0 OR recipient = ?4)"
#define RETRY_SQL \
	"UPDATE recipient SET due = ?1, asked = CASE WHEN asked = 0 AND due > ?1 AND due < 9223372036854775807 THEN due ELSE asked END" \
	" WHERE state = 1 AND release <= ?1 AND NOT (account = 0 AND destination IN (SELECT destination FROM paused))"
#define HOLD_SQL "UPDATE recipient SET state = 2, due = ?1 WHERE state = 1"

static const char *order_sql(enum late_order order, bool is_all)
{
	switch (order) {
	case LATE_RETRY:
		return is_all ? RETRY_SQL : RETRY_SQL OF_MESSAGE;
	case LATE_HOLD:
		return is_all ? HOLD_SQL : HOLD_SQL OF_MESSAGE;
	default:
		return is_all ? "UPDATE recipient SET state = 1, due = max(?1, release) WHERE state = 2"
		              : "UPDATE recipient SET state = 1, due = ?1, release = 0 WHERE (state = 2 OR (state = 1 AND release > ?1))" OF_MESSAGE;
	}
}

static enum err order_rows(struct late *l, enum late_order order, const struct late_key *k, int recipient, int64_t now, uint64_t *changed)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, order_sql(order, k->log_id == 0));

	stmt_bind_int64(q, 1, now);
	if (k->log_id != 0) {
		stmt_bind_u64(q, 2, k->seq);
		stmt_bind_u64(q, 3, k->log_id);
		stmt_bind_int64(q, 4, recipient);
	}
	TRY(stmt_done(q));
	*changed = (uint64_t)db_changes(l->db);
	return ERR_OK;
}

static enum err remove_rows(struct late *l, struct late_key k, int recipient, struct arena *a, struct late_gone *g,
                            uint64_t *changed)
{
	static const char sql[] =
		"SELECT recipient FROM recipient WHERE seq = ?1 AND log_id = ?2 AND state < 3 AND (?3 < 0 OR recipient = ?3)";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	size_t n = 0, cap = 0;
	uint16_t *found = NULL;

	stmt_bind_u64(q, 1, k.seq);
	stmt_bind_u64(q, 2, k.log_id);
	stmt_bind_int64(q, 3, recipient);
	while (stmt_row(q)) {
		found = arena_grow(a, found, n, &cap, sizeof(*found));
		found[n++] = (uint16_t)stmt_int64(q, 0);
	}
	TRY(stmt_end(q));
	for (size_t i = 0; i < n; i++) {
		k.recipient = found[i];
		TRY(finish(l, &k, a, g));
	}
	*changed = n;
	return ERR_OK;
}

enum err late_order(struct late *l, enum late_order order, uint64_t log_id, uint64_t seq, int recipient, int64_t now,
                    uint64_t *changed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	struct late_key k = { log_id, seq, 0 };
	struct late_gone gone = { 0 };

	*changed = 0;
	if (order == LATE_REMOVE && log_id == 0)
		return ERR_INVALID;  /* nobody empties the queue by leaving out a name */
	TRY(db_begin(l->db));
	if (order == LATE_REMOVE)
		TRY(remove_rows(l, k, recipient, &a, &gone, changed));
	else
		TRY(order_rows(l, order, &k, recipient, now, changed));
	TRY(late_commit(l));
	late_remove_gone(l, &gone);
	return ERR_OK;
}
