/* Which uids are gone, since when: QRESYNC (RFC 7162) and the numbers of parked sessions are built from it. A row is a
 * run of uids removed together, and names only uids that were removed then, so that the mailbox as it was at any modseq
 * above the history floor can be rebuilt exactly: what exists now plus what vanished since. Older rows are forgotten
 * after 30 days; asked below that floor, every uid that does not exist is named. */
#include "store/store_private.h"

static enum err add_run(struct tx *tx, struct box *box, uint32_t first, uint32_t last)
{
	static const char sql[] = "INSERT INTO vanished VALUES (?1, ?2, ?3, ?4)";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_int64(q, 1, box->m.mailbox_id);
	stmt_bind_u64(q, 2, tx->modseq);
	stmt_bind_int64(q, 3, first);
	stmt_bind_int64(q, 4, last);
	return stmt_done(q);
}

enum err vanished_add(struct tx *tx, struct box *box, const struct row *rows, size_t n)
{
	size_t start = 0;

	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && rows[i + 1].uid == rows[i].uid + 1)
			continue;
		TRY(add_run(tx, box, rows[start].uid, rows[i].uid));
		start = i + 1;
	}
	return ERR_OK;
}

enum err vanished_prune(struct tx *tx, uint64_t floor)
{
	static const char sql[] = "DELETE FROM vanished WHERE modseq <= ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(tx->v->db, sql);

	stmt_bind_u64(q, 1, floor);
	return stmt_done(q);
}

enum err vanished_since(struct view *v, int64_t mailbox_id, uint64_t modseq, uint32_t uid_limit, struct arena *a,
						struct uid_set *out)
{
	static const char sql[] = "SELECT first, last FROM vanished WHERE mailbox_id = ?1 AND modseq > ?2";
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, mailbox_id);
		stmt_bind_u64(q, 2, modseq);
		while (stmt_row(q)) {
			uint32_t first = (uint32_t)stmt_int64(q, 0), last = (uint32_t)stmt_int64(q, 1);
			if (first < uid_limit)
				uid_set_push(out, a, first, last < uid_limit ? last : uid_limit - 1);
		}
		e = stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	uid_set_sort(out);
	return e;
}

/* All uids of 1..uidnext-1 that no message has. */
static enum err never_or_gone(struct view *v, int64_t mailbox_id, struct arena *a, struct uid_set *out)
{
	struct selected *s;
	struct message_row rows[256];
	uint32_t next = 0, expected = 1, uidnext;
	size_t n;

	TRY(selected_open(v, mailbox_id, NULL, &s));
	uidnext = selected_uidnext(s);
	while ((n = selected_rows(s, NULL, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++) {
			if (rows[i].uid > expected)
				uid_set_add(out, a, expected, rows[i].uid - 1);
			expected = rows[i].uid + 1;
		}
	if (uidnext > expected)
		uid_set_add(out, a, expected, uidnext - 1);
	selected_close(s);
	return ERR_OK;
}

static void intersect(const struct uid_set *x, const struct uid_set *y, struct arena *a, struct uid_set *out)
{
	for (size_t i = 0, k = 0; i < x->n && k < y->n;) {
		uint32_t first = x->r[i].first > y->r[k].first ? x->r[i].first : y->r[k].first;
		uint32_t last = x->r[i].last < y->r[k].last ? x->r[i].last : y->r[k].last;
		if (first <= last)
			uid_set_add(out, a, first, last);
		if (x->r[i].last < y->r[k].last)
			i++;
		else
			k++;
	}
}

enum err view_vanished(struct view *v, int64_t mailbox_id, uint64_t modseq, const struct uid_set *known,
					   struct arena *a, struct uid_set *out)
{
	struct uid_set all = { 0 };
	struct mailbox m;

	*out = (struct uid_set){ 0 };
	TRY(view_mailbox_get(v, mailbox_id, a, &m));
	if (modseq == 0)
		TRY(never_or_gone(v, mailbox_id, a, &all));
	else
		TRY(vanished_since(v, mailbox_id, modseq, m.uidnext, a, &all));
	if (known == NULL)
		*out = all;
	else
		intersect(&all, known, a, out);
	return ERR_OK;
}
