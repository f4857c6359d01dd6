/* Rows of `metadata`. They carry no modseq; that they changed is told by an event to who asked for that (RFC 5465 §5.6, §5.7). */
#include "store/metadata.h"
#include "store/store_private.h"

enum err metadata_read(struct view *v, int64_t mailbox_id, struct arena *a, struct metadata **out, size_t *n)
{
	static const char sql[] = "SELECT entry, value FROM metadata WHERE mailbox_id = ?1 ORDER BY entry LIMIT ?2";
	enum err e;

	*out = arena_array(a, METADATA_ENTRIES_MAX, sizeof **out);
	*n = 0;
	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, mailbox_id);
		stmt_bind_int64(q, 2, METADATA_ENTRIES_MAX);
		while (*n < METADATA_ENTRIES_MAX && stmt_row(q)) {
			struct metadata *m = &(*out)[(*n)++];
			m->entry = str_copy(a, stmt_str(q, 0));
			m->value = str_copy(a, stmt_str(q, 1));
			if (m->value.p == NULL)
				m->value = STR("");
		}
		e = *n == METADATA_ENTRIES_MAX ? ERR_OK : stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err write_one(struct view *v, int64_t mailbox_id, const struct metadata *m)
{
	static const char put[] = "INSERT OR REPLACE INTO metadata VALUES (?1, ?2, ?3)";
	static const char drop[] = "DELETE FROM metadata WHERE mailbox_id = ?1 AND entry = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, m->value.p ? put : drop);

	stmt_bind_int64(q, 1, mailbox_id);
	stmt_bind_text(q, 2, m->entry);
	if (m->value.p)
		stmt_bind_blob(q, 3, m->value);
	return stmt_done(q);
}

static enum err within_limits(struct view *v, int64_t mailbox_id)
{
	static const char sql[] =
		"SELECT total(length(entry) + length(value)), sum(mailbox_id = ?1) FROM metadata";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, mailbox_id);
	if (!stmt_row(q))
		return stmt_end(q);
	return stmt_int64(q, 0) > METADATA_TOTAL_MAX || stmt_int64(q, 1) > METADATA_ENTRIES_MAX ? ERR_LIMIT : ERR_OK;
}

static enum err write_all(struct view *v, int64_t mailbox_id, const struct metadata *entries, size_t n)
{
	struct box *box = mailbox_id ? box_by_id(v, mailbox_id) : NULL;

	if (mailbox_id != 0 && (box == NULL || box->is_deleted))
		return ERR_NOTFOUND;
	for (size_t i = 0; i < n; i++)
		TRY(write_one(v, mailbox_id, &entries[i]));
	return within_limits(v, mailbox_id);
}

static struct str names_of(const struct metadata *entries, size_t n, struct arena *a)
{
	struct str names = STR_NONE;

	for (size_t i = 0; i < n; i++)
		names = i == 0 ? entries[i].entry : arena_printf(a, STR_FMT " " STR_FMT, STR_ARG(names), STR_ARG(entries[i].entry));
	return names;
}

enum err metadata_write(struct view *v, int64_t mailbox_id, const struct metadata *entries, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct box *box;
	uint64_t commit;

	TRY(tx_begin(v, TX_FLAGS, &tx));  /* view_tick() syncs it */
	TRY(write_all(v, mailbox_id, entries, n));
	box = mailbox_id ? box_by_id(v, mailbox_id) : NULL;
	tx_event(&tx, EVENT_METADATA, box ? box->m.path : STR(""), names_of(entries, n, &a));
	return tx_commit(&tx, &commit);
}
