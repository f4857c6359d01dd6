/* What an account has sent lately, by steps of ten minutes and networks; and whom it has ever written to, as hashes.
 *
 * A row for each message would say no more and cost more: what is asked for are sums over an hour and a day. Whether somebody is a
 * stranger needs all who are none: 8 bytes and the day each, the SENDING_KNOWN_MAX that were written to last.
 *
 * All that a message takes is one transaction: the day's allowance and the pace are written with it (allowance.c). Three of them, with what
 * they read first, were a third of what a submitted message costs.
 *
 * Habits (the busiest hour of two months, the networks of before) are sums over some thousand rows (2.7 ms), so they are looked up only
 * for who is just busy, and kept in memory for a step: an ordinary message costs a look at the rows of one day. Once a day what is
 * too old goes. */
#include "store/sending.h"
#include "store/store_private.h"

enum { STEP_S = 600, STEPS_HOUR = 6, STEPS_DAY = 144, STEPS_KEPT = 60 * STEPS_DAY };

/* Kept on disk: never changes. */
uint64_t sending_recipient(struct str address)
{
	char lower[320];

	address = str_sub(address, 0, sizeof lower);
	for (size_t i = 0; i < address.n; i++)
		lower[i] = address.p[i] >= 'A' && address.p[i] <= 'Z' ? (char)(address.p[i] + 32) : address.p[i];
	return str_hash_keyed(str_make(lower, address.n), 0x73656e64696e67ULL, 1);
}

/* ---- writing; the db lock held, in a transaction */

static enum err forget_rows(struct view *v, int64_t step)
{
	static const char sql[] = "DELETE FROM sending WHERE step < ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, step - STEPS_KEPT);
	return stmt_done(q);
}

static enum err forget_known(struct view *v)
{
	static const char sql[] = "DELETE FROM written_to WHERE recipient IN (SELECT recipient FROM written_to ORDER BY day DESC LIMIT -1 OFFSET ?1)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, SENDING_KNOWN_MAX);
	return stmt_done(q);
}

static enum err read_newest(struct view *v, int64_t *step)
{
	static const char sql[] = "SELECT max(step) FROM sending";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*step = stmt_int64(q, 0);
	return ERR_OK;
}

/* The first of a day takes out what is too old. */
static enum err forget(struct view *v, int64_t step)
{
	int64_t last = v->sent_step;

	if (last == 0)
		TRY(read_newest(v, &last));
	v->sent_step = last > step ? last : step;
	if (last / STEPS_DAY == step / STEPS_DAY)
		return ERR_OK;
	TRY(forget_rows(v, step));
	return forget_known(v);
}

static enum err add_row(struct view *v, int64_t step, struct str network, int64_t recipients, int64_t strangers, int64_t refused)
{
	static const char sql[] = "INSERT INTO sending VALUES (?1, ?2, max(0, ?3), ?4, ?5) ON CONFLICT DO UPDATE SET"
	                          " recipients = max(0, recipients + ?3), strangers = strangers + excluded.strangers,"
	                          " refused = refused + excluded.refused";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, step);
	stmt_bind_text(q, 2, str_sub(network.p ? network : STR(""), 0, SENDING_NETWORK_MAX));
	stmt_bind_int64(q, 3, recipients);
	stmt_bind_int64(q, 4, strangers);
	stmt_bind_int64(q, 5, refused);
	return stmt_done(q);
}

static enum err know(struct view *v, uint64_t recipient, int64_t day, int64_t *strangers)
{
	static const char was[] = "SELECT day FROM written_to WHERE recipient = ?1";
	static const char sql[] = "INSERT OR REPLACE INTO written_to VALUES (?1, ?2)";
	CLEANUP(stmt_release) struct stmt *w = db_query(v->db, was);
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(w, 1, recipient);
	bool known = stmt_row(w);
	if (!known)
		TRY(stmt_end(w));
	*strangers += !known;
	if (known && stmt_int64(w, 0) == day)
		return ERR_OK;
	stmt_bind_u64(q, 1, recipient);
	stmt_bind_int64(q, 2, day);
	return stmt_done(q);
}

static enum err add(struct view *v, const struct sending *s, int64_t step)
{
	int64_t strangers = 0;

	TRY(forget(v, step));
	for (size_t i = 0; i < s->n; i++)
		TRY(know(v, s->recipients[i], step / STEPS_DAY, &strangers));
	return add_row(v, step, s->network, (int64_t)s->n, strangers, 0);
}

/* ---- each call is one transaction */

static enum err begin(struct view *v)
{
	if (atomic_load(&v->is_broken))
		return ERR_IO;
	pthread_mutex_lock(&v->db_lock);
	enum err e = db_begin(v->db);
	if (e != ERR_OK)
		pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err end(struct view *v, enum err e)
{
	if (e == ERR_OK)
		e = db_commit(v->db);
	else
		db_rollback(v->db);
	if (e != ERR_OK) {  /* what is known in memory may not be so */
		allowance_forget(v);
		v->sent_step = 0;
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err spend(struct view *v, const struct sending_cost *c, int64_t now_s, uint64_t *wait_s)
{
	enum err e = allowance_spend(v, ALLOWANCE_RECIPIENTS, (int64_t)c->recipients, c->per_day, now_s, wait_s);

	if (e != ERR_OK)
		return e == ERR_LIMIT ? ERR_QUOTA : e;
	if (c->elsewhere.n == 0)
		return ERR_OK;
	TRY(allowance_pace(v, ALLOWANCE_PACE, (int64_t)c->elsewhere.n, c->per_hour, now_s, wait_s));
	return add(v, &c->elsewhere, now_s / STEP_S);
}

static enum err give_back(struct view *v, const struct sending_cost *c, bool is_remembered, int64_t now_s)
{
	uint64_t ignored;

	TRY(allowance_spend(v, ALLOWANCE_RECIPIENTS, -(int64_t)c->recipients, c->per_day, now_s, &ignored));
	if (c->elsewhere.n == 0)
		return ERR_OK;
	TRY(allowance_pace(v, ALLOWANCE_PACE, -(int64_t)c->elsewhere.n, c->per_hour, now_s, &ignored));
	return is_remembered ? ERR_OK : add_row(v, now_s / STEP_S, c->elsewhere.network, -(int64_t)c->elsewhere.n, 0, 0);
}

enum err view_sending_spend(struct view *v, const struct sending_cost *c, int64_t now_s, uint64_t *wait_s)
{
	*wait_s = 0;
	TRY(begin(v));
	return end(v, spend(v, c, now_s, wait_s));
}

enum err view_sending_return(struct view *v, const struct sending_cost *c, bool is_remembered, int64_t now_s)
{
	TRY(begin(v));
	return end(v, give_back(v, c, is_remembered, now_s));
}

enum err view_sending_refused(struct view *v, uint64_t n, int64_t now_s)
{
	TRY(begin(v));
	return end(v, add_row(v, now_s / STEP_S, STR(""), 0, 0, (int64_t)n));
}

static enum err is_news(struct view *v, uint64_t recipient, int64_t day, bool *news)
{
	static const char sql[] = "SELECT 1 FROM written_to WHERE recipient = ?1 AND day = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(q, 1, recipient);
	stmt_bind_int64(q, 2, day);
	*news = !stmt_row(q);
	return *news ? stmt_end(q) : ERR_OK;
}

static enum err add_unknown(struct view *v, uint64_t recipient, int64_t step, bool *counts)
{
	int64_t strangers = 0;

	TRY(is_news(v, recipient, step / STEPS_DAY, counts));
	if (!*counts)
		return ERR_OK;
	TRY(know(v, recipient, step / STEPS_DAY, &strangers));
	return add_row(v, step, STR(""), 0, 0, 1);
}

enum err view_sending_unknown(struct view *v, uint64_t recipient, int64_t now_s, bool *counts)
{
	TRY(begin(v));
	return end(v, add_unknown(v, recipient, now_s / STEP_S, counts));
}

/* ---- reading */

static enum err read_sums(struct view *v, int64_t after, struct sending_counts *out)
{
	static const char sql[] = "SELECT coalesce(sum(recipients), 0), coalesce(sum(strangers), 0), coalesce(sum(refused), 0),"
	                          " count(DISTINCT CASE WHEN recipients > 0 THEN network END) FROM sending WHERE step > ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, after);
	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*out = (struct sending_counts){ .recipients = stmt_u64(q, 0), .strangers = stmt_u64(q, 1), .refused = stmt_u64(q, 2), .networks = stmt_u64(q, 3) };
	return ERR_OK;
}

static enum err read_new_networks(struct view *v, int64_t after, int64_t day_ago, uint64_t *out)
{
	static const char sql[] = "SELECT coalesce(sum(recipients), 0) FROM sending WHERE step > ?1 AND NOT EXISTS"
	                          " (SELECT 1 FROM sending AS before WHERE before.network = sending.network AND before.step <= ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, after);
	stmt_bind_int64(q, 2, day_ago);
	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*out = stmt_u64(q, 0);
	return ERR_OK;
}

static enum err read_habits(struct view *v, int64_t day_ago, struct sending_facts *out)
{
	static const char sql[] = "SELECT coalesce(max(n), 0), count(DISTINCT hour / 24) FROM"
	                          " (SELECT step / 6 AS hour, sum(recipients) AS n FROM sending WHERE step <= ?1 AND recipients > 0 GROUP BY step / 6)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, day_ago);
	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	out->usual_hour = stmt_u64(q, 0);
	out->days = stmt_u64(q, 1);
	return ERR_OK;
}

/* Two months of the past are the same for ten minutes. */
static enum err use_habits(struct view *v, int64_t step, struct sending_facts *out)
{
	struct sending_habits *h = &v->habits;

	if (h->step != step) {
		TRY(read_habits(v, step - STEPS_DAY, out));
		*h = (struct sending_habits){ step, out->usual_hour, out->days };
	}
	out->usual_hour = h->usual_hour;
	out->days = h->days;
	return ERR_OK;
}

static enum err read_facts(struct view *v, int64_t step, struct sending_facts *out)
{
	static const int64_t lengths[SENDING_WINDOWS] = { STEPS_HOUR, STEPS_DAY };

	for (size_t i = 0; i < SENDING_WINDOWS; i++)
		TRY(read_sums(v, step - lengths[i], &out->in[i]));
	if (out->in[SENDING_HOUR].recipients < SENDING_BUSY)
		return ERR_OK;
	TRY(read_new_networks(v, step - STEPS_HOUR, step - STEPS_DAY, &out->in[SENDING_HOUR].from_new_networks));
	return use_habits(v, step, out);
}

enum err view_sending_facts(struct view *v, int64_t now_s, struct sending_facts *out)
{
	*out = (struct sending_facts){ 0 };
	pthread_mutex_lock(&v->db_lock);
	enum err e = read_facts(v, now_s / STEP_S, out);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

/* ---- forgiving */

/* Networks of now are those of before. */
static enum err know_networks(struct view *v, int64_t day_ago)
{
	static const char sql[] = "INSERT OR IGNORE INTO sending SELECT DISTINCT ?1, network, 0, 0, 0 FROM sending WHERE step > ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, day_ago);
	return stmt_done(q);
}

static enum err forgive(struct view *v, int64_t day_ago)
{
	static const char sql[] = "UPDATE sending SET strangers = 0, refused = 0 WHERE step > ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	TRY(know_networks(v, day_ago));
	stmt_bind_int64(q, 1, day_ago);
	return stmt_done(q);
}

enum err view_sending_forgive(struct view *v, int64_t now_s)
{
	TRY(begin(v));
	return end(v, forgive(v, now_s / STEP_S - STEPS_DAY));
}
