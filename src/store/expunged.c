/* What was expunged is kept for 30 days: the owner can have it back, and it counts for no quota. But no more is kept than the quota
 * besides, or APPEND and EXPUNGE in a loop would fill the disk: then the oldest goes before its time. (kept_bytes: an email counts
 * once, and only while no mailbox has it.) Rows go in small transactions of view_tick(): with the last row that names an email its
 * own row goes too, and its bytes count as dead in their file until compact.c empties that. What is forgotten here raises the history floor: removals below it are no
 * longer told one by one (vanished.c). */
#include "base/clock.h"
#include "store/store_private.h"

enum { PRUNE_MAX = 64 };

struct kept {
	int64_t    expunged_id, mailbox_id, at;
	struct row row;
};

static enum err kept_read(struct view *v, int64_t mailbox_id, int64_t from, int64_t before, int64_t after_id,
						  struct kept *out, size_t max, size_t *n)
{
	static const char sql[] =
		"SELECT x.expunged_id, x.mailbox_id, x.uid, x.email_id, x.modseq, x.flags, e.size, x.at FROM expunged x"
		" JOIN email e ON e.email_id = x.email_id WHERE x.expunged_id > ?1 AND x.at >= ?2 AND x.at < ?3"
		" AND (?4 = 0 OR x.mailbox_id = ?4) ORDER BY x.expunged_id LIMIT ?5";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, after_id);
	stmt_bind_int64(q, 2, from);
	stmt_bind_int64(q, 3, before);
	stmt_bind_int64(q, 4, mailbox_id);
	stmt_bind_int64(q, 5, (int64_t)max);
	*n = 0;
	while (*n < max && stmt_row(q))
		out[(*n)++] = (struct kept){ stmt_int64(q, 0),
									 stmt_int64(q, 1),
									 stmt_int64(q, 7),
									 { (uint32_t)stmt_int64(q, 2), (uint32_t)stmt_int64(q, 3), stmt_u64(q, 4),
									   stmt_u64(q, 5), stmt_u64(q, 6) } };
	return *n == max ? ERR_OK : stmt_end(q);
}

static enum err kept_delete(struct tx *tx, int64_t expunged_id)
{
	static const char sql[] = "DELETE FROM expunged WHERE expunged_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_int64(q, 1, expunged_id);
	return stmt_done(q);
}

enum err expunged_count(struct view *v, uint64_t *n)
{
	static const char sql[] = "SELECT count(*) FROM expunged";
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		*n = stmt_row(q) ? stmt_u64(q, 0) : 0;
		e = stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err expunged_flags(struct view *v, uint64_t enough, uint64_t *flags)
{
	static const char sql[] = "SELECT flags FROM expunged";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	while ((enough & ~*flags) != 0) {
		if (!stmt_row(q))
			return stmt_end(q);
		*flags |= stmt_u64(q, 0);
	}
	return ERR_OK;
}

/* -------------------------------------------------------------------------------------------------------- undelete */

enum err view_undelete(struct view *v, int64_t mailbox_id, int64_t since, uint32_t *restored)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct kept kept[200];
	int64_t after_id = 0;
	size_t n;

	*restored = 0;
	TRY(tx_begin(v, TX_SYNC, &tx));
	do {
		TRY(kept_read(v, mailbox_id, since, INT64_MAX, after_id, kept, COUNT_OF(kept), &n));
		for (size_t i = 0; i < n; i++) {
			struct box *box = box_for_messages(v, kept[i].mailbox_id);
			kept[i].row.flags &= ~FLAG_DELETED;
			if (box == NULL)
				box = box_by_role(v, MAILBOX_INBOX);
			TRY(message_insert(&tx, box, MESSAGE_RESTORED, &kept[i].row));
			TRY(kept_delete(&tx, kept[i].expunged_id));
			after_id = kept[i].expunged_id;
			(*restored)++;
		}
	} while (n == COUNT_OF(kept));
	if (*restored == 0)
		return ERR_OK;
	if (!usage_fits(&tx)) {
		*restored = 0;
		return ERR_QUOTA;
	}
	return tx_commit_synced(&tx);
}

/* ----------------------------------------------------------------------------------------------------------- prune */

static enum err forget(struct tx *tx, const struct kept *k)
{
	int64_t live, total;

	TRY(kept_delete(tx, k->expunged_id));
	TRY(shared_read(tx->v, k->row.email, &live, &total));
	if (total > 1)
		return shared_write(tx->v, k->row.email, live, total - 1);
	tx->kept_bytes -= (int64_t)k->row.size;
	return email_delete(tx, k->row.email);
}

static bool is_over(const struct view *v, int64_t kept)
{
	return v->config.limits.quota_bytes > 0 && kept > 0 && (uint64_t)kept > v->config.limits.quota_bytes;
}

bool expunged_is_too_much(struct view *v)
{
	pthread_mutex_lock(&v->db_lock);
	bool is_too_much = is_over(v, v->kept_bytes);
	pthread_mutex_unlock(&v->db_lock);
	return is_too_much;
}

/* The oldest: what has had its time, then what is more than the quota; *floor rises to the newest of them. */
static enum err forget_oldest(struct tx *tx, int64_t before, size_t max, uint64_t *floor, size_t *done)
{
	struct kept kept[PRUNE_MAX];
	size_t n;

	*done = 0;
	TRY(kept_read(tx->v, 0, 0, is_over(tx->v, tx->kept_bytes) ? INT64_MAX : before, 0, kept, max, &n));
	for (; *done < n && (kept[*done].at < before || is_over(tx->v, tx->kept_bytes)); ++*done) {
		TRY(forget(tx, &kept[*done]));
		if (kept[*done].row.modseq > *floor)
			*floor = kept[*done].row.modseq;
	}
	if (n == 0 && is_over(tx->v, tx->kept_bytes))
		tx->kept_bytes = 0;  /* nothing is there that could be too much: a damaged sum */
	return ERR_OK;
}

enum err expunged_prune(struct view *v, int64_t before, size_t max, bool *more)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	uint64_t floor, commit;
	size_t n;

	*more = false;
	TRY(tx_begin(v, TX_SYNC, &tx));
	floor = v->history_floor;
	TRY(forget_oldest(&tx, before, max < PRUNE_MAX ? max : PRUNE_MAX, &floor, &n));
	if (n == 0 && tx.kept_bytes == v->kept_bytes)
		return ERR_OK;
	TRY(vanished_prune(&tx, floor));
	pthread_mutex_lock(&v->memory_lock);
	v->history_floor = floor;  /* should the commit fail, more is told than needed */
	pthread_mutex_unlock(&v->memory_lock);
	TRY(state_write_counters(v, tx.modseq, false));
	TRY(tx_commit(&tx, &commit));
	*more = n == max || n == PRUNE_MAX;
	return ERR_OK;
}
