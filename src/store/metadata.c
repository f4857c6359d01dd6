/* Rows of `metadata`. They carry no modseq, but their mailbox gets a new one with each change (RFC 7162 §3.2); and that they changed is told by an event
 * to who asked for that (RFC 5465 §5.6, §5.7).
 *
 * A guest's own, "/private/comment", stands there as "/guest/7/private/comment", which no client can write: so an account needs no more than one
 * table, and what a guest notes goes with the mailbox. It counts by itself, so that guests cannot use up what is the owner's. */
#include "store/metadata.h"
#include "store/store_private.h"

#define GUESTS "/guest/"
#define SHARED "/shared"

/* What stands before "/private" in the table. */
static struct str prefix_of(uint64_t guest, struct arena *a)
{
	return guest == 0 ? STR("") : arena_printf(a, GUESTS "%llu", (unsigned long long)guest);
}

static struct str stored_name(struct str entry, uint64_t guest, struct arena *a)
{
	if (guest == 0 || str_starts(entry, STR(SHARED)))
		return entry;
	return arena_printf(a, STR_FMT STR_FMT, STR_ARG(prefix_of(guest, a)), STR_ARG(entry));
}

/* What a reader may see of them: what is shared, and his own. */
#define READABLE "(substr(entry, 1, 7) = '" SHARED "' OR substr(entry, 1, length(?2)) = ?2)"

/* The rows of one of these two statements. */
static enum err read_rows(struct view *v, const char *sql, int64_t mailbox_id, uint64_t guest, struct arena *a, struct metadata **out, size_t *n)
{
	struct str prefix = prefix_of(guest, a), private = arena_printf(a, STR_FMT "/private", STR_ARG(prefix));
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	stmt_bind_int64(q, 1, mailbox_id);
	stmt_bind_text(q, 2, private);
	while (stmt_row(q)) {
		if (*n == cap)
			*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		struct metadata *m = &(*out)[(*n)++];
		m->entry = str_copy(a, stmt_str(q, 0));
		if (guest != 0 && str_starts(m->entry, STR(GUESTS)))
			m->entry = str_from(m->entry, prefix.n);
		m->value = str_copy(a, stmt_str(q, 1));
		if (m->value.p == NULL)
			m->value = STR("");
		m->mailbox_id = stmt_int64(q, 2);
	}
	return stmt_end(q);
}

enum err metadata_read(struct view *v, int64_t mailbox_id, uint64_t guest, struct arena *a, struct metadata **out, size_t *n)
{
	static const char sql[] = "SELECT entry, value, mailbox_id FROM metadata WHERE mailbox_id = ?1 AND " READABLE " ORDER BY entry";
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	e = read_rows(v, sql, mailbox_id, guest, a, out, n);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err metadata_read_all(struct view *v, uint64_t guest, struct arena *a, struct metadata **out, size_t *n)
{
	static const char sql[] = "SELECT entry, value, mailbox_id FROM metadata WHERE mailbox_id >= ?1 AND " READABLE " ORDER BY mailbox_id, entry";
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	e = read_rows(v, sql, 0, guest, a, out, n);
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

/* Of the rows whose names begin with prefix, or of those that are no guest's: not too many bytes, nor too many at this mailbox. */
static enum err within_limits(struct view *v, int64_t mailbox_id, struct str prefix, int64_t bytes_max)
{
	static const char sql[] = "SELECT total(length(entry) + length(value)), total(mailbox_id = ?1) FROM metadata"
	                          " WHERE CASE WHEN ?2 = '' THEN substr(entry, 1, 7) <> '" GUESTS "' ELSE substr(entry, 1, length(?2)) = ?2 END";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, mailbox_id);
	stmt_bind_text(q, 2, prefix);
	if (!stmt_row(q))
		return stmt_end(q);
	bool is_guests = str_eq(prefix, STR(GUESTS));
	return stmt_int64(q, 0) > bytes_max || (!is_guests && stmt_int64(q, 1) > METADATA_ENTRIES_MAX) ? ERR_LIMIT : ERR_OK;
}

static enum err write_all(struct view *v, int64_t mailbox_id, uint64_t guest, const struct metadata *entries, size_t n, struct arena *a)
{
	struct box *box = mailbox_id ? box_by_id(v, mailbox_id) : NULL;

	if (mailbox_id != 0 && (box == NULL || box->is_deleted))
		return ERR_NOTFOUND;
	for (size_t i = 0; i < n; i++)
		TRY(write_one(v, mailbox_id, &(struct metadata){ stored_name(entries[i].entry, guest, a), entries[i].value, mailbox_id }));
	TRY(within_limits(v, mailbox_id, STR(""), METADATA_TOTAL_MAX));
	if (guest == 0)
		return ERR_OK;
	TRY(within_limits(v, mailbox_id, arena_printf(a, STR_FMT "/", STR_ARG(prefix_of(guest, a))), METADATA_GUEST_MAX));
	return within_limits(v, mailbox_id, STR(GUESTS), METADATA_TOTAL_MAX);
}

/* Those that others can see. */
static struct str names_of(const struct metadata *entries, size_t n, uint64_t guest, struct arena *a)
{
	struct str names = STR_NONE;

	for (size_t i = 0; i < n; i++)
		if (guest == 0 || str_starts(entries[i].entry, STR(SHARED)))
			names = names.n == 0 ? entries[i].entry : arena_printf(a, STR_FMT " " STR_FMT, STR_ARG(names), STR_ARG(entries[i].entry));
	return names;
}

enum err metadata_write(struct view *v, int64_t mailbox_id, uint64_t guest, const struct metadata *entries, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str names = names_of(entries, n, guest, &a);
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	struct box *box;
	uint64_t commit;

	TRY(tx_begin(v, TX_FLAGS, &tx));  /* view_tick() syncs it */
	TRY(write_all(v, mailbox_id, guest, entries, n, &a));
	box = mailbox_id ? box_by_id(v, mailbox_id) : NULL;
	if (box != NULL)  /* no chunk has this modseq, from which it could be counted */
		TRY(mailbox_write(&tx, tx_counters(&tx, box)));
	if (names.n > 0)
		tx_event(&tx, EVENT_METADATA, box ? box->m.path : STR(""), names);
	return tx_commit(&tx, &commit);
}
