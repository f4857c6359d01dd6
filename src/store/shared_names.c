/* Rows of `shared_names`: copies of what others say about themselves. They have no modseq, because nothing of this account has changed; but what they
 * tell sessions of has one, as every event has. */
#include "store/shared_names.h"
#include "store/store_private.h"

enum err shared_names_read(struct view *v, struct arena *a, struct shared_names **out, size_t *n)
{
	static const char sql[] = "SELECT owner, address, names FROM shared_names ORDER BY owner LIMIT ?1";
	enum err e;

	*out = arena_array(a, SHARED_NAMES_OWNERS_MAX, sizeof **out);
	*n = 0;
	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, SHARED_NAMES_OWNERS_MAX);
		while (*n < SHARED_NAMES_OWNERS_MAX && stmt_row(q)) {
			struct shared_names *row = &(*out)[(*n)++];
			row->owner = (uint64_t)stmt_int64(q, 0);
			row->address = str_copy(a, stmt_str(q, 1));
			row->names = str_copy(a, stmt_str(q, 2));
		}
		e = *n == SHARED_NAMES_OWNERS_MAX ? ERR_OK : stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err write_row(struct view *v, const struct shared_names *names)
{
	static const char put[] = "INSERT OR REPLACE INTO shared_names SELECT ?1, ?2, ?3"
	                          " WHERE (SELECT count(*) FROM shared_names WHERE owner <> ?1) < ?4 RETURNING owner";
	static const char drop[] = "DELETE FROM shared_names WHERE owner = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, names->names.p ? put : drop);

	stmt_bind_int64(q, 1, (int64_t)names->owner);
	if (names->names.p == NULL)
		return stmt_done(q);
	stmt_bind_text(q, 2, names->address);
	stmt_bind_blob(q, 3, names->names);
	stmt_bind_int64(q, 4, SHARED_NAMES_OWNERS_MAX);
	return stmt_row(q) ? stmt_end(q) : stmt_err(q, ERR_LIMIT);
}

enum err shared_names_write(struct view *v, const struct shared_names *names)
{
	if (names->names.n > SHARED_NAMES_MAX)
		return ERR_LIMIT;
	if (atomic_load(&v->is_broken))
		return ERR_IO;
	pthread_mutex_lock(&v->db_lock);
	enum err e = write_row(v, names);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err shared_names_heard(struct view *v, const struct shared_names *names, const struct shared_change *changes, size_t n)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	uint64_t commit;

	if (n == 0)
		return shared_names_write(v, names);
	if (names->names.n > SHARED_NAMES_MAX)
		return ERR_LIMIT;
	TRY(tx_begin(v, TX_FLAGS, &tx));
	TRY(write_row(v, names));
	for (size_t i = 0; i < n; i++)
		tx_event(&tx, changes[i].is_gone ? EVENT_DELETED : changes[i].old.n > 0 ? EVENT_RENAMED : EVENT_CREATED, changes[i].path, changes[i].old);
	return tx_commit(&tx, &commit);
}
