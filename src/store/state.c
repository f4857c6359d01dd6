/* The one row of `state`: the modseq counter and its blocks, the gaps, and the other counters that must never go back.
 *
 * Flags are durable only within a second, so after a power cut the newest modseqs may be lost although clients saw
 * them. If they were given out again, a client would miss changes for ever (RFC 7162 §3.1). So modseqs come from blocks
 * of 1,000 whose end is durable before the first of them is seen; after an unclean stop the account goes on at the end
 * of its block, and what lies between is a gap (DESIGN §4.7).
 *
 * A client that names a modseq in the gap, or one before it, is told everything. Before it, too: clients remember the
 * HIGHESTMODSEQ of their SELECT and the flags they were told after it, so one with an old modseq may know flags of the
 * gap that no longer are. From then on every mailbox says a HIGHESTMODSEQ behind the gap, so that it happens once.
 *
 * The row is written once a block, at a clean end, and for the rare counters; the modseq itself is the newest of the
 * mailboxes' (which may stand in a chunk only, see mailbox_row.c), so that a delivery does not touch this page. */
#include "base/clock.h"
#include "base/log.h"
#include "store/store_private.h"

static enum err state_create(struct view *v)
{
	static const char sql[] = "INSERT INTO state VALUES (1, 1, 1, 1, 1, 1, 0, 0, 0, ?1, 0, 0, 0)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, clock_wall_s());
	return stmt_done(q);
}

static enum err gap_load(struct view *v)
{
	static const char sql[] = "SELECT max(last) FROM gap";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	if (stmt_row(q))
		v->gap_end = (uint64_t)stmt_int64(q, 0);  /* no gap: NULL is 0 */
	return stmt_end(q);
}

static enum err gap_add(struct view *v, uint64_t first, uint64_t last)
{
	static const char sql[] = "INSERT OR REPLACE INTO gap VALUES (?1, ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, (int64_t)first);
	stmt_bind_int64(q, 2, (int64_t)last);
	TRY(stmt_done(q));
	v->gap_end = last;
	return ERR_OK;
}

/* No change has the number behind the gap; a client that names it knows what there was after the gap. */
static void go_behind_gap(struct view *v)
{
	if (v->gap_end == 0)
		return;
	if (v->modseq <= v->gap_end)
		v->modseq = v->gap_end + 1;
	for (size_t i = 0; i < v->n_boxes; i++)
		if (v->boxes[i]->m.highestmodseq <= v->gap_end)
			v->boxes[i]->m.highestmodseq = v->boxes[i]->seen.highestmodseq = v->gap_end + 1;
}

/* The newest email may have been purged: its number is not given out again. */
static enum err email_next_load(struct view *v, uint32_t at_least)
{
	static const char sql[] = "SELECT max(email_id) FROM email";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	uint32_t newest = stmt_row(q) ? (uint32_t)stmt_int64(q, 0) : 0;

	atomic_store(&v->email_next, newest + 1 > at_least ? newest + 1 : at_least);
	return stmt_end(q);
}

static enum err state_read(struct view *v, bool *found, bool *clean, uint32_t *email_next)
{
	static const char sql[] =
		"SELECT modseq, reserved, clean, email_next, mailbox_next, uidvalidity, shared_bytes, history_floor,"
		" kept_bytes FROM state";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	*found = stmt_row(q);
	if (!*found)
		return stmt_end(q);
	v->modseq = (uint64_t)stmt_int64(q, 0);
	v->reserved = (uint64_t)stmt_int64(q, 1);
	*clean = stmt_int64(q, 2) != 0;
	*email_next = (uint32_t)stmt_int64(q, 3);
	v->mailbox_next = stmt_int64(q, 4);
	v->uidvalidity = (uint32_t)stmt_int64(q, 5);
	v->shared_bytes = stmt_int64(q, 6);
	v->history_floor = (uint64_t)stmt_int64(q, 7);
	v->kept_bytes = stmt_int64(q, 8);
	return stmt_end(q);
}

/* Far below the end of what RFC 7162 allows (63 bits), and never reached by counting. */
static const uint64_t MODSEQ_END = UINT64_C(1) << 61;

enum err state_peek(struct view *v, bool *is_clean)
{
	uint32_t email_next;
	bool found;

	*is_clean = true;
	return state_read(v, &found, is_clean, &email_next);
}

enum err state_load(struct view *v)
{
	bool found, clean = true;
	uint32_t email_next = 1;

	TRY(state_read(v, &found, &clean, &email_next));
	if (!found) {
		TRY(state_create(v));
		TRY(state_read(v, &found, &clean, &email_next));
	}
	TRY(gap_load(v));
	TRY(email_next_load(v, email_next));
	if (!clean)
		TRY(mailbox_count_flags(v));
	for (size_t i = 0; i < v->n_boxes; i++)
		if (v->boxes[i]->m.highestmodseq > v->modseq)
			v->modseq = v->boxes[i]->m.highestmodseq;
	if (v->modseq >= MODSEQ_END || v->reserved >= MODSEQ_END) {
		log_error("the account's database is damaged: a modification number beyond all account=%llu; bring it back from a backup",
		          (unsigned long long)v->config.account);
		return ERR_CORRUPT;
	}
	v->is_unclean = v->was_unclean = !clean;
	if (!clean && v->reserved > v->modseq) {
		log_info("unclean stop, modseqs skipped account=%llu first=%llu last=%llu",
				 (unsigned long long)v->config.account, (unsigned long long)v->modseq + 1,
				 (unsigned long long)v->reserved);
		TRY(gap_add(v, v->modseq + 1, v->reserved));
	}
	go_behind_gap(v);
	v->reserved = v->modseq;  /* the first change takes a block of its own */
	v->seen_modseq = v->events.floor = v->modseq;
	return ERR_OK;
}

enum err state_reserve(struct view *v)
{
	static const char sql[] =
		"UPDATE state SET modseq = ?1, reserved = ?2, clean = 0, mailbox_next = ?3, email_next = max(email_next, ?4)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	uint64_t end = v->modseq + MODSEQ_BLOCK;

	stmt_bind_int64(q, 1, (int64_t)v->modseq);
	stmt_bind_int64(q, 2, (int64_t)end);
	stmt_bind_int64(q, 3, v->mailbox_next);
	stmt_bind_int64(q, 4, atomic_load(&v->email_next));
	TRY(stmt_done(q));
	v->is_unclean = true;
	v->reserved = end;
	return ERR_OK;
}

enum err state_write_counters(struct view *v, uint64_t modseq, bool clean)
{
	static const char sql[] =
		"UPDATE state SET modseq = ?1, clean = ?2, mailbox_next = ?3, email_next = max(email_next, ?4),"
		" uidvalidity = ?5, shared_bytes = ?6, history_floor = ?7";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_u64(q, 1, modseq);
	stmt_bind_int64(q, 2, clean);
	stmt_bind_int64(q, 3, v->mailbox_next);
	stmt_bind_int64(q, 4, atomic_load(&v->email_next));
	stmt_bind_int64(q, 5, v->uidvalidity);
	stmt_bind_int64(q, 6, v->shared_bytes);
	stmt_bind_int64(q, 7, (int64_t)v->history_floor);
	return stmt_done(q);
}

enum err state_set_bytes(struct view *v, int64_t shared, int64_t kept)
{
	static const char sql[] = "UPDATE state SET shared_bytes = ?1, kept_bytes = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, shared);
	stmt_bind_int64(q, 2, kept);
	return stmt_done(q);
}

static enum err write_search_marks(struct view *v, uint64_t mark, uint64_t before)
{
	static const char sql[] = "UPDATE state SET search_mark = ?1, search_mark_before = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, (int64_t)mark);
	stmt_bind_int64(q, 2, (int64_t)before);
	return stmt_done(q);
}

enum err state_set_search_marks(struct view *v, uint64_t mark, uint64_t before)
{
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	e = db_begin(v->db);
	if (e == ERR_OK)
		e = write_search_marks(v, mark, before);
	if (e == ERR_OK)
		e = db_commit(v->db);
	if (e != ERR_OK)
		db_rollback(v->db);
	else
		atomic_fetch_add(&v->committed, 1);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err state_search_marks(struct view *v, uint64_t *mark, uint64_t *before)
{
	static const char sql[] = "SELECT search_mark, search_mark_before FROM state";
	enum err e;

	*mark = *before = 0;
	pthread_mutex_lock(&v->db_lock);
	struct stmt *q = db_query(v->db, sql);
	if (stmt_row(q)) {
		*mark = (uint64_t)stmt_int64(q, 0);
		*before = (uint64_t)stmt_int64(q, 1);
	}
	e = stmt_end(q);
	stmt_release(&q);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

uint64_t modseq_floor(const struct view *v, uint64_t modseq)
{
	return modseq > v->seen_modseq || modseq < v->history_floor || modseq <= v->gap_end ? 0 : modseq;
}

uint64_t view_modseq_floor(struct view *v, uint64_t modseq)
{
	uint64_t floor;

	pthread_mutex_lock(&v->memory_lock);
	floor = modseq_floor(v, modseq);
	pthread_mutex_unlock(&v->memory_lock);
	return floor;
}
