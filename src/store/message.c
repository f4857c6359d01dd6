/* Messages in mailboxes, and every change to them: flags, copies, moves, removals. Where they stand is in chunk.c.
 *
 * One email may stand in several mailboxes (COPY shares it). How often is noted in `shared` only for emails that were
 * ever copied: live rows of message, and total with the rows of expunged; without a row both are 1. So the usual
 * message costs no page of it. The quota counts an email once: used = the sizes of all mailboxes - shared_bytes, where
 * shared_bytes is size * (live - 1) of each shared email.
 *
 * Counters of a mailbox change in the same transaction as its rows, here only; each call changes the array of the
 * mailbox through tx_change(). Bulk work goes in steps of ROWS_STEP rows. */
#include "base/clock.h"
#include "store/chunk.h"
#include "store/store_private.h"

/* ------------------------------------------------------------------------------------------------------ rows and usage
 */

/* What of a chunk is asked for. False: nothing behind it is. */
static bool rows_of_chunk(const struct chunk *c, uint32_t first, uint32_t last, uint64_t with, struct row *out, size_t max, size_t *n)
{
	for (size_t i = chunk_find(c, first); i < chunk_count(c); i++) {
		struct slot s = chunk_slot(c, i);
		if (s.uid > last || *n == max)
			return false;
		if ((s.flags & with) == with)
			out[(*n)++] = (struct row){ s.uid, s.email, s.modseq, s.flags, 0 };
	}
	return chunk_last_uid(c) < last;
}

enum err message_rows(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last, uint64_t with, struct row *out,
					  size_t max, size_t *n)
{
	bool more = first <= last;

	*n = 0;
	while (more && *n < max) {
		struct chunk *c;
		TRY(chunk_seek(v, mailbox_id, first, &c));
		if (c == NULL)
			break;
		more = rows_of_chunk(c, first, last, with, out, max, n);
		first = chunk_last_uid(c) + 1;
	}
	return email_sizes(v, out, *n);
}

enum err view_saved(struct view *v, int64_t mailbox_id, const uint32_t *uids, size_t n, int64_t *saved)
{
	enum err e = ERR_OK;

	pthread_mutex_lock(&v->db_lock);
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		struct chunk *c;
		e = chunk_seek(v, mailbox_id, uids[i], &c);
		size_t at = e == ERR_OK && c != NULL ? chunk_find(c, uids[i]) : 0;
		saved[i] = e == ERR_OK && c != NULL && chunk_slot(c, at).uid == uids[i] ? chunk_slot(c, at).saved : 0;
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err shared_read(struct view *v, uint32_t email, int64_t *live, int64_t *total)
{
	static const char sql[] = "SELECT live, total FROM shared WHERE email_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, email);
	*live = *total = 1;
	if (!stmt_row(q))
		return stmt_end(q);
	*live = stmt_int64(q, 0);
	*total = stmt_int64(q, 1);
	return ERR_OK;
}

enum err shared_write(struct view *v, uint32_t email, int64_t live, int64_t total)
{
	static const char keep[] = "INSERT OR REPLACE INTO shared VALUES (?1, ?2, ?3)";
	static const char drop[] = "DELETE FROM shared WHERE email_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, total > 1 ? keep : drop);

	stmt_bind_int64(q, 1, email);
	if (total > 1) {
		stmt_bind_int64(q, 2, live);
		stmt_bind_int64(q, 3, total);
	}
	return stmt_done(q);
}

/* ------------------------------------------------------------------------------------------------------ insert, remove
 */

/* Sharing before and after one more live row of this email. */
static enum err share(struct tx *tx, enum message_origin origin, const struct row *r)
{
	int64_t live, total;

	if (origin == MESSAGE_NEW || origin == MESSAGE_MOVED)
		return ERR_OK;
	TRY(shared_read(tx->v, r->email, &live, &total));
	if (origin == MESSAGE_RESTORED && (total == 1 || live == 0))
		tx->kept_bytes -= (int64_t)r->size;
	if (origin == MESSAGE_RESTORED && total == 1)
		return ERR_OK;  /* its only row comes back */
	if (origin == MESSAGE_COPIED && total >= EMAIL_PLACES_MAX)
		return ERR_LIMIT;  /* COPY 1:* into the same mailbox doubles it, and no quota would stop that */
	if (live >= 1)
		tx->shared_bytes += (int64_t)r->size;
	return shared_write(tx->v, r->email, live + 1, origin == MESSAGE_COPIED ? total + 1 : total);
}

enum err message_insert(struct tx *tx, struct box *box, enum message_origin origin, struct row *r)
{
	struct mailbox *m = tx_counters(tx, box);

	if (m->uidnext == UINT32_MAX)
		return ERR_LIMIT;  /* the last uid is never given out: it reads as "*" */
	TRY(share(tx, origin, r));
	r->uid = m->uidnext++;
	m->messages++;
	m->unseen += !(r->flags & FLAG_SEEN);
	m->deleted += !!(r->flags & FLAG_DELETED);
	m->size += r->size;
	tx_change(tx, CHANGE_ADD, box, r->uid, r->email, r->flags);
	return chunk_append(tx->v, box->m.mailbox_id, &(struct slot){ r->uid, r->email, tx->modseq, r->flags, clock_wall_s() });
}

/* Not below 0, where it was wrong before (is_uncounted). */
static void recount(uint32_t *n, bool was, bool is)
{
	*n += is;
	*n -= was && *n > 0;
}

static enum err delete_row(struct tx *tx, struct box *box, const struct row *r)
{
	struct mailbox *m = tx_counters(tx, box);

	m->messages--;
	recount(&m->unseen, !(r->flags & FLAG_SEEN), false);
	recount(&m->deleted, r->flags & FLAG_DELETED, false);
	m->size -= r->size;
	tx_change(tx, CHANGE_GONE, box, r->uid, r->email, r->flags);
	return chunk_remove(tx->v, box->m.mailbox_id, r->uid);
}

static enum err keep_for_undelete(struct tx *tx, struct box *box, const struct row *r)
{
	static const char sql[] =
		"INSERT INTO expunged (mailbox_id, uid, email_id, flags, modseq, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);
	int64_t live, total;

	stmt_bind_int64(q, 1, box->m.mailbox_id);
	stmt_bind_int64(q, 2, r->uid);
	stmt_bind_int64(q, 3, r->email);
	stmt_bind_u64(q, 4, r->flags);
	stmt_bind_u64(q, 5, tx->modseq);
	stmt_bind_int64(q, 6, clock_wall_s());
	TRY(stmt_done(q));
	TRY(shared_read(tx->v, r->email, &live, &total));
	if (live == 1)
		tx->kept_bytes += (int64_t)r->size;
	if (total == 1)
		return ERR_OK;
	if (live >= 2)
		tx->shared_bytes -= (int64_t)r->size;
	return shared_write(tx->v, r->email, live - 1, total);
}

enum err message_expunge(struct tx *tx, struct box *box, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		TRY(keep_for_undelete(tx, box, &rows[i]));
		TRY(delete_row(tx, box, &rows[i]));
	}
	return vanished_add(tx, box, rows, n);
}

/* ------------------------------------------------------------------------------------------------------------- flags
 */

struct flag_masks {
	uint64_t keep, set;
};

static struct flag_masks masks_of(const struct flags_change *change)
{
	uint64_t flags = change->flags & ~(FLAG_GONE | change->untouched);

	switch (change->op) {
	case FLAGS_ADD:
		return (struct flag_masks){ ~UINT64_C(0), flags };
	case FLAGS_REMOVE:
		return (struct flag_masks){ ~flags, 0 };
	case FLAGS_REPLACE:
		break;
	}
	return (struct flag_masks){ change->untouched, flags };
}

/* Messages of one chunk from the uid first on. */
static void store_in_chunk(struct tx *tx, struct box *box, struct chunk *c, uint32_t first, uint32_t last, struct flag_masks to,
						   uint64_t unchanged_since, struct arena *a, struct uid_set *modified)
{
	struct mailbox *m = NULL;

	for (size_t i = chunk_find(c, first); i < chunk_count(c); i++) {
		struct slot s = chunk_slot(c, i);
		uint64_t flags = (s.flags & to.keep) | to.set;
		if (s.uid > last)
			return;
		if (s.modseq > unchanged_since && modified)
			uid_set_add(modified, a, s.uid, s.uid);
		if (s.modseq > unchanged_since || flags == s.flags)
			continue;
		if (m == NULL)
			m = tx_counters(tx, box);
		recount(&m->unseen, !(s.flags & FLAG_SEEN), !(flags & FLAG_SEEN));
		recount(&m->deleted, s.flags & FLAG_DELETED, flags & FLAG_DELETED);
		tx_change(tx, CHANGE_FLAGS, box, s.uid, s.email, flags);
		chunk_set_flags(c, i, flags, tx->modseq);
	}
}

static enum err store_in_range(struct tx *tx, struct box *box, uint32_t first, uint32_t last, struct flag_masks to,
							   uint64_t unchanged_since, struct arena *a, struct uid_set *modified)
{
	while (first <= last) {
		struct chunk *c;
		TRY(chunk_seek(tx->v, box->m.mailbox_id, first, &c));
		if (c == NULL)
			break;
		store_in_chunk(tx, box, c, first, last, to, unchanged_since, a, modified);
		first = chunk_last_uid(c) + 1;
	}
	return ERR_OK;
}

enum err view_store_flags(struct view *v, int64_t mailbox_id, const struct uid_set *uids,
						  const struct flags_change *change, struct arena *a, struct uid_set *modified,
						  uint64_t *modseq)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	uint64_t unchanged_since =
		change->has_unchanged_since && change->unchanged_since < INT64_MAX ? change->unchanged_since : INT64_MAX;
	struct flag_masks to = masks_of(change);
	struct box *box;
	uint64_t commit;

	if (modified)
		*modified = (struct uid_set){ 0 };
	if (modseq)
		*modseq = 0;
	TRY(tx_begin(v, TX_FLAGS, &tx));
	box = box_by_id(v, mailbox_id);
	if (box == NULL)
		return ERR_NOTFOUND;
	for (size_t r = 0; r < uids->n; r++)
		TRY(store_in_range(&tx, box, uids->r[r].first, uids->r[r].last, to, unchanged_since, a, modified));
	if (tx.changes.n == 0)
		return ERR_OK;
	if (modseq)
		*modseq = tx.modseq;
	return tx_commit(&tx, &commit);
}

/* --------------------------------------------------------------------------------------------------------- copy, move
 */

static enum err transfer_run(struct tx *tx, struct box *from, struct box *to, struct row *rows, size_t n, bool move,
							 uint64_t left_out, struct arena *a, struct copied *out)
{
	for (size_t i = 0; i < n; i++) {
		struct row copy = rows[i];
		copy.flags &= ~left_out;
		TRY(message_insert(tx, to, move ? MESSAGE_MOVED : MESSAGE_COPIED, &copy));
		uid_set_add(&out->from, a, rows[i].uid, rows[i].uid);
		uid_set_add(&out->to, a, copy.uid, copy.uid);
	}
	for (size_t i = 0; move && i < n; i++)  /* after them: one chunk is held at a time */
		TRY(delete_row(tx, from, &rows[i]));
	return move ? vanished_add(tx, from, rows, n) : ERR_OK;
}

enum err view_transfer(struct view *v, int64_t from_id, const struct uid_set *uids, int64_t to_id, bool move, uint64_t left_out,
					   struct arena *a, struct copied *out)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct row rows[ROWS_STEP];
	struct box *from, *to;
	uint32_t limit;

	*out = (struct copied){ 0 };
	TRY(tx_begin(v, TX_SYNC, &tx));
	from = box_by_id(v, from_id);
	to = box_for_messages(v, to_id);
	if (from == NULL || to == NULL)
		return ERR_NOTFOUND;
	out->uidvalidity = to->m.uidvalidity;
	limit = from->m.uidnext - 1;  /* into the same mailbox: not what this call adds */
	for (size_t r = 0; r < uids->n; r++) {
		uint32_t first = uids->r[r].first, last = uids->r[r].last < limit ? uids->r[r].last : limit;
		size_t n = COUNT_OF(rows);
		while (n == COUNT_OF(rows) && first <= last) {
			TRY(message_rows(v, from_id, first, last, 0, rows, COUNT_OF(rows), &n));
			if (n == 0)
				break;
			TRY(transfer_run(&tx, from, to, rows, n, move, left_out, a, out));
			first = rows[n - 1].uid + 1;
		}
	}
	if (tx.changes.n == 0)
		return ERR_OK;
	if (!move && !usage_fits_messages(&tx))
		return ERR_QUOTA;
	out->modseq = tx.modseq;
	return tx_commit_synced(&tx);
}

enum err view_copy(struct view *v, int64_t from_id, const struct uid_set *uids, int64_t to_id, struct arena *a,
				   struct copied *out)
{
	return view_transfer(v, from_id, uids, to_id, false, 0, a, out);
}

enum err view_move(struct view *v, int64_t from_id, const struct uid_set *uids, int64_t to_id, struct arena *a,
				   struct copied *out)
{
	return view_transfer(v, from_id, uids, to_id, true, 0, a, out);
}

/* ----------------------------------------------------------------------------------------------------------- expunge
 */

struct expunge_walk {
	const struct uid_range *ranges;
	size_t   n, at;       /* ranges[at] is the next one */
	uint32_t next;        /* from this uid on; 0: from the range's first */
	bool     only_deleted;
};

/* Fills rows from one range after the other. */
static enum err next_rows(struct view *v, int64_t mailbox_id, struct expunge_walk *w, struct row *rows, size_t max,
						  size_t *n)
{
	*n = 0;
	while (w->at < w->n && *n < max) {
		uint32_t first = w->next > w->ranges[w->at].first ? w->next : w->ranges[w->at].first;
		size_t got;
		TRY(message_rows(v, mailbox_id, first, w->ranges[w->at].last, w->only_deleted ? FLAG_DELETED : 0, rows + *n,
						 max - *n, &got));
		*n += got;
		if (*n == max)
			w->next = rows[max - 1].uid + 1;
		else
			w->at++;
	}
	return ERR_OK;
}

/* One transaction of at most ROWS_STEP messages; *n: how many went. */
static enum err expunge_step(struct view *v, int64_t mailbox_id, struct expunge_walk *w, struct arena *a,
							 struct uid_set *expunged, size_t *n, uint64_t *commit)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct row rows[ROWS_STEP];
	struct box *box;

	*n = 0;
	TRY(tx_begin(v, TX_SYNC, &tx));
	box = box_by_id(v, mailbox_id);
	if (box == NULL)
		return ERR_NOTFOUND;
	if (w->only_deleted && box->m.deleted == 0 && !box->is_uncounted)
		return ERR_OK;
	TRY(next_rows(v, mailbox_id, w, rows, COUNT_OF(rows), n));
	if (*n == 0)
		return ERR_OK;
	TRY(message_expunge(&tx, box, rows, *n));
	TRY(tx_commit(&tx, commit));
	for (size_t i = 0; expunged != NULL && i < *n; i++)
		uid_set_add(expunged, a, rows[i].uid, rows[i].uid);
	return ERR_OK;
}

/* Adds what has \Deleted from *first on, in at most ROWS_LOOK entries; what lies close together becomes one range. False: *first is
 * after the last of the range. */
static bool look_for_deleted(const struct array *ar, uint32_t *first, uint32_t last, struct arena *a, struct uid_set *found)
{
	size_t i = array_find(ar, *first), end = ar->n - i > ROWS_LOOK ? i + ROWS_LOOK : ar->n;

	for (; i < end && ar->e[i].uid <= last; i++) {
		struct uid_range *newest = found->n > 0 ? &found->r[found->n - 1] : NULL;
		uint32_t uid = ar->e[i].uid;
		if ((ar->e[i].flags & (FLAG_DELETED | FLAG_GONE)) != FLAG_DELETED)
			continue;
		if (newest != NULL && newest->last >= *first && uid - newest->last < ROWS_NEAR)
			newest->last = uid;
		else
			uid_set_push(found, a, uid, uid);
	}
	if (i == ar->n || ar->e[i].uid > last)
		return false;
	*first = ar->e[i].uid;
	return true;
}

/* Where in the ranges \Deleted is, out of the array: a statement would look at every row of a large mailbox while all others wait for
 * the database. What is not visible yet is not removed. False: there is no array. */
static bool find_deleted(struct view *v, int64_t mailbox_id, const struct uid_range *ranges, size_t n, struct arena *a, struct uid_set *found)
{
	for (size_t r = 0; r < n; r++) {
		uint32_t first = ranges[r].first;
		bool more = true;
		while (more) {
			struct box *box;
			bool has_array;
			pthread_mutex_lock(&v->memory_lock);
			box = box_by_id(v, mailbox_id);
			has_array = box != NULL && box->array != NULL && box->array->is_ready;
			if (has_array)
				more = look_for_deleted(box->array, &first, ranges[r].last, a, found);
			pthread_mutex_unlock(&v->memory_lock);
			if (!has_array)
				return false;
		}
	}
	return true;
}

enum err view_expunge(struct view *v, int64_t mailbox_id, const struct uid_set *uids, bool only_deleted,
					  struct arena *a, struct uid_set *expunged)
{
	static const struct uid_range everything = { 1, UINT32_MAX };
	struct expunge_walk w = { .ranges = uids ? uids->r : &everything,
							  .n = uids ? uids->n : 1,
							  .only_deleted = only_deleted };
	struct uid_set deleted = { 0 };
	uint64_t commit = 0;
	size_t n;

	if (expunged)
		*expunged = (struct uid_set){ 0 };
	if (only_deleted && find_deleted(v, mailbox_id, w.ranges, w.n, a, &deleted)) {
		w.ranges = deleted.r;
		w.n = deleted.n;
	}
	do
		TRY(expunge_step(v, mailbox_id, &w, a, expunged, &n, &commit));
	while (n == ROWS_STEP);
	return commit == 0 ? ERR_OK : view_sync(v, commit);
}
