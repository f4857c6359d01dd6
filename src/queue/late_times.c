/* When rows are tried next, and how old they are; also of a clock that was ahead when they were written (jump.c says what of it matters), and
 * what is known of it over a restart. */
#include "queue/fate.h"
#include "queue/late_private.h"

/* Twice as long each time. */
struct backoff {
	int64_t  first_s, most_s;
	uint32_t doublings;
};
static const struct backoff here = { 15, 3600, 7 }, elsewhere = { 300, 4 * 3600, 5 };

static int64_t wait_s(const struct backoff *b, uint32_t tries) { return tries < 1 || tries > b->doublings + 1 ? b->most_s : b->first_s << (tries - 1); }

static bool next_try(const struct backoff *b, int64_t now, int64_t received, int64_t lifetime_s, uint32_t tries, int64_t *due)
{
	*due = now + wait_s(b, tries);
	return now - received < lifetime_s;
}

bool late_next_try(int64_t now, int64_t received, int64_t lifetime_s, uint32_t tries, int64_t *due)
{
	return next_try(&here, now, received, lifetime_s, tries, due);
}

bool late_next_try_elsewhere(int64_t now, int64_t received, int64_t lifetime_s, uint32_t tries, int64_t *due)
{
	return next_try(&elsewhere, now, received, lifetime_s, tries, due);
}

int64_t late_age(const struct late_past *p, int64_t now)
{
	const struct backoff *b = p->is_elsewhere ? &elsewhere : &here;
	uint32_t doubled = p->tries < b->doublings + 1 ? p->tries : b->doublings + 1;

	if (p->received <= now)
		return now - p->received;
	return b->first_s * (((int64_t)1 << doubled) - 1) + b->most_s * (p->tries - doubled);
}

void late_next_of(const struct late_past *p, int64_t now, int64_t lifetime_s, struct late_next *out)
{
	const struct backoff *b = p->is_elsewhere ? &elsewhere : &here;

	out->tries = p->asked == 0 || p->tries == 0 ? p->tries + 1 : p->tries;
	out->is_over = !next_try(b, now, now - late_age(p, now), lifetime_s, out->tries, &out->due);
	if (p->asked > now)
		out->due = p->asked < now + b->most_s ? p->asked : now + b->most_s;
}

static enum err set_back(struct late *l, const struct backoff *b, int64_t now)
{
	static const char sql[] =
		"UPDATE recipient SET due = ?1 + CASE WHEN tries > ?4 THEN ?3 ELSE ?2 << max(tries - 1, 0) END"
		" WHERE state = 1 AND (account = 0) = ?5 AND due > ?1 + ?2 AND due < 9223372036854775807 AND release <= ?1"
		" AND due > ?1 + CASE WHEN tries > ?4 THEN ?3 ELSE ?2 << max(tries - 1, 0) END";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_int64(q, 1, now);
	stmt_bind_int64(q, 2, b->first_s);
	stmt_bind_int64(q, 3, b->most_s);
	stmt_bind_int64(q, 4, b->doublings + 1);
	stmt_bind_int64(q, 5, b == &elsewhere);
	return stmt_done(q);
}

/* Reports, and how long parked rows have been there. */
static enum err set_back_rest(struct late *l, const char *sql, int64_t latest)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_int64(q, 1, latest);
	return stmt_done(q);
}

/* Mail of a sender who was slowed down, with a date that is still to come. */
static enum err find_slowed(struct late *l, int64_t now, struct arena *a, struct late_key **out, size_t *n)
{
	static const char sql[] =
		"SELECT DISTINCT r.log_id, r.seq FROM recipient r JOIN message m ON m.seq = r.seq AND m.log_id = r.log_id"
		" WHERE r.state = 1 AND (r.account = 0) = 1 AND r.due > ?1 AND r.release > ?1 AND m.received > ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	stmt_bind_int64(q, 1, now);
	while (stmt_row(q)) {
		*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		(*out)[(*n)++] = (struct late_key){ stmt_u64(q, 0), stmt_u64(q, 1), 0 };
	}
	return stmt_end(q);
}

/* They wait as long as they were to, from now. */
static enum err set_back_slowed(struct late *l, int64_t now)
{
	static const char sql[] =
		"UPDATE recipient SET release = ?3, due = ?3 WHERE seq = ?1 AND log_id = ?2 AND state = 1 AND account = 0 AND release > ?3 AND due = release";
	CLEANUP(arena_free) struct arena keys = { 0 }, a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);
	struct late_key *found;
	size_t n;

	TRY(find_slowed(l, now, &keys, &found, &n));
	for (size_t i = 0; i < n; i++, arena_reset(&a)) {
		struct late_message m;
		enum err e = late_read_message(l, found[i].log_id, found[i].seq, &a, &m);
		if (e != ERR_OK && e != ERR_CORRUPT)  /* a damaged one (logged) is held when its time comes */
			return e;
		if (e != ERR_OK || m.envelope.slowed_until <= m.envelope.received)
			continue;
		int64_t leaves = now + m.envelope.slowed_until - m.envelope.received;
		stmt_bind_u64(q, 1, found[i].seq);
		stmt_bind_u64(q, 2, found[i].log_id);
		stmt_bind_int64(q, 3, leaves > m.envelope.wishes.release ? leaves : m.envelope.wishes.release);
		TRY(stmt_done(q));
		stmt_reset(q);
	}
	return ERR_OK;
}

enum err late_set_back(struct late *l, int64_t now)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;

	TRY(db_begin(l->db));
	TRY(set_back(l, &here, now));
	TRY(set_back(l, &elsewhere, now));
	TRY(set_back_slowed(l, now));
	TRY(set_back_rest(l, "UPDATE recipient SET due = ?1 WHERE state = 4 AND due > ?1", now + FATE_GATHER_S));
	TRY(set_back_rest(l, "UPDATE recipient INDEXED BY recipient_parked_long SET added = ?1 WHERE account = 0 AND state = 1"
	                     " AND due = 9223372036854775807 AND added > ?1", now));
	return late_commit(l);
}

static enum err forget_jumps(struct late *l)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, "DELETE FROM jump");

	return stmt_done(q);
}

static enum err keep_jump(struct late *l, const struct jump *j)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, "INSERT INTO jump(before, ahead) VALUES(?1, ?2)");

	stmt_bind_int64(q, 1, j->before_s);
	stmt_bind_int64(q, 2, j->by_s);
	return stmt_done(q);
}

enum err late_keep_jumps(struct late *l, const struct jumps *j)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;

	TRY(db_begin(l->db));
	TRY(forget_jumps(l));
	for (size_t i = 0; i < j->n; i++)
		TRY(keep_jump(l, &j->ahead[i]));
	return late_commit(l);
}

enum err late_read_jumps(struct late *l, struct jump out[static JUMPS_MAX], size_t *n)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, "SELECT before, ahead FROM jump ORDER BY number");

	*n = 0;
	while (*n < JUMPS_MAX && stmt_row(q))
		out[(*n)++] = (struct jump){ stmt_int64(q, 0), stmt_int64(q, 1) };
	return *n < JUMPS_MAX ? stmt_end(q) : ERR_OK;
}
