/* Where rows lead. A row knows its destination, so that those that are parked for one are found. Routes change, perhaps while nothing runs: the
 * mark of those that the rows were written by is in queue.db too, and when another look-up has another mark every row is looked at once.
 *
 * A row that leads elsewhere now is due now: who has mended the way wants to see mail go it. */
#include "base/clock.h"
#include "base/log.h"
#include "queue/destination.h"
#include "queue/late_private.h"

enum { PAGE = 1000 };

struct str late_destination_of(const struct late *l, uint64_t account, struct str address, struct arena *a)
{
	struct queue_way way;

	return account == 0 && queue_way_of(l->lookup, address, a, &way) ? way.destination : STR("");
}

static enum err read_mark(struct late *l, uint64_t *mark)
{
	static const char sql[] = "SELECT mark FROM routed";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*mark = stmt_u64(q, 0);
	return ERR_OK;
}

static enum err write_mark(struct late *l, uint64_t mark)
{
	static const char sql[] = "UPDATE routed SET mark = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, mark);
	return stmt_done(q);
}

struct led {
	struct late_key key;
	struct str      address, destination;
};

/* The next page behind a key. */
static enum err read_page(struct late *l, const struct late_key *behind, struct arena *a, struct led *out, size_t *n)
{
	static const char sql[] =
		"SELECT seq, log_id, recipient, address, destination FROM recipient WHERE account = 0 AND state IN (1, 2)"
		" AND (seq, log_id, recipient) > (?1, ?2, ?3) ORDER BY seq, log_id, recipient LIMIT ?4";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, behind->seq);
	stmt_bind_u64(q, 2, behind->log_id);
	stmt_bind_int64(q, 3, behind->recipient);
	stmt_bind_int64(q, 4, PAGE);
	for (*n = 0; *n < PAGE && stmt_row(q); ++*n)
		out[*n] = (struct led){ { stmt_u64(q, 1), stmt_u64(q, 0), (uint16_t)stmt_int64(q, 2) }, str_copy(a, stmt_str(q, 3)), str_copy(a, stmt_str(q, 4)) };
	return stmt_end(q);
}

static enum err lead(struct late *l, const struct late_key *key, struct str destination)
{
	static const char sql[] =
		"UPDATE recipient SET destination = ?4, due = CASE WHEN state = 1 AND due > ?5 THEN max(?5, release) ELSE due END"
		" WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, key->seq);
	stmt_bind_u64(q, 2, key->log_id);
	stmt_bind_int64(q, 3, key->recipient);
	stmt_bind_blob(q, 4, destination);
	stmt_bind_int64(q, 5, clock_wall_s());
	return stmt_done(q);
}

static enum err lead_all(struct late *l, size_t *moved)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_key behind = { 0 };
	size_t n = PAGE;

	while (n == PAGE) {
		struct led *page = arena_array(&a, PAGE, sizeof *page);
		TRY(read_page(l, &behind, &a, page, &n));
		for (size_t i = 0; i < n; i++) {
			struct str destination = late_destination_of(l, 0, page[i].address, &a);
			behind = page[i].key;
			if (str_eq(destination, page[i].destination))
				continue;
			TRY(lead(l, &page[i].key, destination));
			++*moved;
		}
		arena_reset(&a);
	}
	return ERR_OK;
}

enum err late_use_lookup(struct late *l, const struct lookup *lookup, bool *changed)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	struct lookup *before = l->lookup;
	bool is_same = l->is_routed && lookup_routes_mark(before) == lookup_routes_mark(lookup);
	uint64_t mark = 0;
	size_t moved = 0;

	*changed = false;
	l->lookup = lookup_share(lookup);
	lookup_close(before);
	if (is_same)  /* as most changes of a directory */
		return ERR_OK;
	l->is_routed = false;
	TRY(read_mark(l, &mark));
	*changed = mark != lookup_routes_mark(lookup);
	l->is_routed = !*changed;
	if (!*changed)
		return ERR_OK;
	TRY(db_begin(l->db));
	TRY(lead_all(l, &moved));
	TRY(write_mark(l, lookup_routes_mark(lookup)));
	TRY(late_commit(l));
	l->is_routed = true;
	log_info("routes have changed, what waits goes by the new ones recipients=%zu", moved);
	return ERR_OK;
}

enum err late_unpark(struct late *l)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	return late_unpark_all(l);
}

/* ------------------------------------------------------------------------------------------------- other recipients */

/* Behind all that its envelope can have, and all that it was given before. */
static enum err next_index(struct late *l, const struct late_key *key, size_t n, int64_t *index)
{
	static const char sql[] = "SELECT max(?3, max(recipient) + 1) FROM recipient WHERE seq = ?1 AND log_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	stmt_bind_u64(q, 1, key->seq);
	stmt_bind_u64(q, 2, key->log_id);
	stmt_bind_int64(q, 3, ENVELOPE_RECIPIENTS_MAX);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*index = stmt_int64(q, 0);
	return *index + (int64_t)n < UINT16_MAX ? ERR_OK : ERR_LIMIT;  /* UINT16_MAX: queue/add.c */
}

static void bind_recipient(struct late *l, struct stmt *q, const struct late_key *key, const struct envelope_recipient *to, int64_t due, struct arena *a)
{
	struct str destination = late_destination_of(l, to->account, to->address, a);

	stmt_bind_u64(q, 1, key->seq);
	stmt_bind_u64(q, 2, key->log_id);
	stmt_bind_int64(q, 3, key->recipient);
	stmt_bind_int64(q, 4, due);
	stmt_bind_u64(q, 5, to->account);
	stmt_bind_blob(q, 6, to->address);
	stmt_bind_blob(q, 7, to->orcpt.n > 0 ? to->orcpt : STR(""));
	stmt_bind_blob(q, 8, to->detail.n > 0 ? to->detail : STR(""));
	stmt_bind_blob(q, 9, destination.n > 0 ? destination : STR(""));
}

/* A copy of the row but for that. */
static enum err add_recipient(struct late *l, const struct late_key *key, const struct envelope_recipient *to, int64_t due, int64_t index)
{
	static const char sql[] =
		"INSERT INTO recipient(seq, log_id, recipient, state, due, account, tries, added, notify, address, orcpt, detail, status, reason, destination,"
		" release, deadline) SELECT seq, log_id, ?10, state, ?4, ?5, 0, added, notify, ?6, ?7, ?8, x'', x'', ?9, release, deadline FROM recipient"
		" WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3 AND state = 1";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	bind_recipient(l, q, key, to, due, &a);
	stmt_bind_int64(q, 10, index);
	return stmt_done(q);
}

static enum err change_recipient(struct late *l, const struct late_key *key, const struct envelope_recipient *to, int64_t due)
{
	static const char sql[] =
		"UPDATE recipient SET due = ?4, account = ?5, tries = 0, address = ?6, orcpt = ?7, detail = ?8, status = x'', reason = x'', host = x'', tried = 0,"
		" asked = 0, destination = ?9 WHERE seq = ?1 AND log_id = ?2 AND recipient = ?3 AND state = 1";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(l->db, sql);

	bind_recipient(l, q, key, to, due, &a);
	return stmt_done(q);
}

enum err late_readdress(struct late *l, const struct late_key *key, const struct envelope_recipient *to, size_t n, int64_t due)
{
	CLEANUP(late_unlock) UNUSED struct late *held = late_lock(l);
	CLEANUP(db_rollback_if_open) UNUSED struct db *tx = l->db;
	int64_t index = 0;

	TRY(db_begin(l->db));
	TRY(next_index(l, key, n, &index));
	for (size_t i = 1; i < n; i++)
		TRY(add_recipient(l, key, &to[i], due, index++));
	TRY(change_recipient(l, key, &to[0], due));
	return late_commit(l);
}
