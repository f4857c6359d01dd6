/* The table route: patterns and where they lead. */
#include "directory/directory_private.h"
#include "directory/route.h"

/* For one more, or for another one in its place. */
static enum err is_room(struct directory *d, struct str pattern)
{
	static const char sql[] = "SELECT count(*) FROM route WHERE pattern <> ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, pattern);
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	return stmt_int64(q, 0) < ROUTES_MAX ? ERR_OK : ERR_LIMIT;
}

enum err route_set(struct directory *d, struct str pattern, const struct route *r)
{
	static const char sql[] = "INSERT OR REPLACE INTO route (pattern, host, port, is_lmtp, tls, login) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
	DIRECTORY_CHANGE(d);
	TRY(is_room(d, pattern));
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, pattern);
	stmt_bind_text(q, 2, r->host);
	stmt_bind_int64(q, 3, r->port);
	stmt_bind_int64(q, 4, r->is_lmtp);
	stmt_bind_int64(q, 5, r->tls);
	stmt_bind_text(q, 6, r->login);
	TRY(stmt_done(q));
	return directory_commit(d);
}

enum err route_remove(struct directory *d, struct str pattern)
{
	static const char sql[] = "DELETE FROM route WHERE pattern = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, pattern);
	TRY(stmt_done(q));
	return db_changes(d->db) ? directory_commit(d) : ERR_NOTFOUND;
}

static struct route row_route(struct stmt *q, struct arena *a)
{
	return (struct route){ .host = str_copy(a, stmt_str(q, 1)), .port = (uint16_t)stmt_int64(q, 2), .is_lmtp = stmt_int64(q, 3) != 0,
	                       .tls = (enum route_tls)stmt_int64(q, 4), .login = str_copy(a, stmt_str(q, 5)) };
}

enum err route_list(struct directory *d, struct arena *a, struct directory_route **out, size_t *n)
{
	static const char sql[] = "SELECT pattern, host, port, is_lmtp, tls, login FROM route ORDER BY pattern";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		(*out)[*n] = (struct directory_route){ str_copy(a, stmt_str(q, 0)), row_route(q, a) };
	}
	return stmt_end(q);
}
