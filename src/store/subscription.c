/* Names that an account is subscribed to: a table of their own, since a subscription outlives its mailbox (RFC 9051 §6.3.7). */
#include "store/store_private.h"
#include <stdlib.h>

enum err subscription_write(struct view *v, struct str path, bool subscribed)
{
	static const char add[] = "INSERT OR IGNORE INTO subscription VALUES (?1)";
	static const char drop[] = "DELETE FROM subscription WHERE path = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, subscribed ? add : drop);

	stmt_bind_text(q, 1, path);
	return stmt_done(q);
}

static int str_order(const void *left, const void *right)
{
	return mailbox_name_order(*(const struct str *)left, *(const struct str *)right);
}

enum err view_subscriptions(struct view *v, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] = "SELECT path FROM subscription";
	size_t cap = 0;
	enum err e;

	*out = NULL;
	*n = 0;
	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		while (stmt_row(q)) {
			if (*n == cap)
				*out = arena_grow(a, *out, *n, &cap, sizeof **out);
			(*out)[(*n)++] = str_copy(a, stmt_str(q, 0));
		}
		e = stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	if (*n > 1)
		qsort(*out, *n, sizeof **out, str_order);
	return e;
}

enum err view_is_subscribed(struct view *v, struct str path, bool *out)
{
	static const char sql[] = "SELECT 1 FROM subscription WHERE path = ?1";
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_text(q, 1, path);
		*out = stmt_row(q);
		e = stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err subscriptions_count(struct view *v, int64_t *n)
{
	static const char sql[] = "SELECT count(*) FROM subscription";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	*n = stmt_row(q) ? stmt_int64(q, 0) : 0;
	return stmt_end(q);
}

enum err view_subscribe(struct view *v, struct str path, bool subscribed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct str right;
	uint64_t commit;
	int64_t n = 0;

	TRY(mailbox_path(path, &a, &right));
	TRY(tx_begin(v, TX_FLAGS, &tx));  /* view_tick() syncs it */
	if (subscribed)
		TRY(subscriptions_count(v, &n));
	if (n >= SUBSCRIPTIONS_MAX)
		return ERR_LIMIT;
	TRY(subscription_write(v, right, subscribed));
	tx_event(&tx, EVENT_SUBSCRIPTION, right, STR_NONE);
	return tx_commit(&tx, &commit);
}
