/* The tables list, poster and bounce: what a group has besides its members (name.c). A group without a row has the defaults, so a group
 * costs nothing until somebody sets something.
 *
 * Bounces are counted by days, not by messages: a busy list would else lose a member whose server was broken for an hour. Who has
 * had none for a month begins anew. */
#include "directory/directory_private.h"

enum { DAY_S = 86400, FORGET_S = 30 * DAY_S };

static enum err load_posters(struct directory *d, struct str key, struct arena *a, struct directory_group *g)
{
	static const char sql[] = "SELECT address FROM poster WHERE key = ?1 ORDER BY poster_key";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	stmt_bind_text(q, 1, key);
	while (stmt_row(q)) {
		g->posters = arena_grow(a, g->posters, g->poster_count, &cap, sizeof(struct str));
		g->posters[g->poster_count++] = str_copy(a, stmt_str(q, 0));
	}
	return stmt_end(q);
}

enum err group_get(struct directory *d, struct str key, struct arena *a, struct directory_group *out)
{
	static const char sql[] = "SELECT title, post, replies, may_leave FROM list WHERE key = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	*out = (struct directory_group){ 0 };
	stmt_bind_text(q, 1, key);
	if (!stmt_row(q))
		return stmt_end(q);
	*out = (struct directory_group){ .title = str_copy(a, stmt_str(q, 0)), .post = (enum group_post)stmt_int64(q, 1),
	                                 .replies_to_group = stmt_int64(q, 2), .may_leave = stmt_int64(q, 3) };
	return load_posters(d, key, a, out);
}

enum err group_delete(struct directory *d, struct str key)
{
	static const char *const all[] = { "DELETE FROM list WHERE key = ?1", "DELETE FROM poster WHERE key = ?1",
	                                   "DELETE FROM bounce WHERE key = ?1" };

	for (size_t i = 0; i < COUNT_OF(all); i++) {
		CLEANUP(stmt_release) struct stmt *q = db_query(d->db, all[i]);
		stmt_bind_text(q, 1, key);
		TRY(stmt_done(q));
	}
	return ERR_OK;
}

enum err group_delete_member(struct directory *d, struct str key, struct str member_key)
{
	static const char sql[] = "DELETE FROM bounce WHERE key = ?1 AND target_key = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, member_key);
	return stmt_done(q);
}

static enum err put_posters(struct directory *d, struct str key, const struct directory_group *g)
{
	static const char clear[] = "DELETE FROM poster WHERE key = ?1";
	static const char sql[] = "INSERT OR REPLACE INTO poster (key, poster_key, address) VALUES (?1, ?2, ?3)";
	CLEANUP(stmt_release) struct stmt *c = db_query(d->db, clear);

	stmt_bind_text(c, 1, key);
	TRY(stmt_done(c));
	for (size_t i = 0; i < g->poster_count; i++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
		struct directory_address x;
		if (!directory_address_parse(g->posters[i], &a, &x))
			return ERR_INVALID;
		stmt_bind_text(q, 1, key);
		stmt_bind_text(q, 2, name_key(&a, &x));
		stmt_bind_text(q, 3, directory_address_text(&a, &x));
		TRY(stmt_done(q));
	}
	return ERR_OK;
}

static enum err is_group(struct directory *d, struct str key)
{
	static const char sql[] = "SELECT 1 FROM name WHERE key = ?1 AND kind = 4";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	return stmt_row(q) ? ERR_OK : stmt_err(q, ERR_NOTFOUND);
}

enum err group_set(struct directory *d, struct str key, const struct directory_group *g)
{
	static const char sql[] = "INSERT OR REPLACE INTO list (key, title, post, replies, may_leave) VALUES (?1, ?2, ?3, ?4, ?5)";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	if (g->title.n > GROUP_TITLE_MAX || g->poster_count > GROUP_POSTERS_MAX)
		return ERR_LIMIT;
	TRY(is_group(d, key));
	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, g->title.n ? g->title : STR(""));
	stmt_bind_int64(q, 3, g->post);
	stmt_bind_int64(q, 4, g->replies_to_group);
	stmt_bind_int64(q, 5, g->may_leave);
	TRY(stmt_done(q));
	TRY(put_posters(d, key, g));
	return directory_commit(d);
}

/* ---- bounces ---- */

static enum err is_member(struct directory *d, struct str key, struct str member_key)
{
	static const char sql[] = "SELECT 1 FROM target WHERE key = ?1 AND target_key = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, member_key);
	return stmt_row(q) ? ERR_OK : stmt_err(q, ERR_NOTFOUND);
}

static void read_bounce(struct stmt *q, struct arena *a, struct directory_bounce *out)
{
	*out = (struct directory_bounce){ .address = str_copy(a, stmt_str(q, 0)), .days = (uint32_t)stmt_int64(q, 1),
	                                  .first_s = stmt_int64(q, 2), .last_s = stmt_int64(q, 3), .reason = str_copy(a, stmt_str(q, 4)),
	                                  .is_reported = stmt_int64(q, 5) };
}

enum err group_bounced(struct directory *d, struct str key, const struct directory_address *member, struct str reason, int64_t now_s,
                       struct arena *a, struct directory_bounce *out)
{
	static const char sql[] =
		"INSERT INTO bounce (key, target_key, days, first, last, reason, reported) VALUES (?1, ?2, 1, ?3, ?3, ?4, 0)"
		" ON CONFLICT (key, target_key) DO UPDATE SET reason = ?4,"
		" days = CASE WHEN ?3 - last > ?5 THEN 1 WHEN ?3 / 86400 = last / 86400 THEN days ELSE days + 1 END,"
		" first = CASE WHEN ?3 - last > ?5 THEN ?3 ELSE first END,"
		" reported = CASE WHEN ?3 - last > ?5 THEN 0 ELSE reported END, last = ?3"
		" RETURNING ?6, days, first, last, reason, reported";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	struct str member_key = name_key(a, member);
	struct directory_bounce now = { 0 };

	TRY(is_member(d, key, member_key));
	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, member_key);
	stmt_bind_int64(q, 3, now_s);
	stmt_bind_text(q, 4, reason.n > 0 ? str_sub(reason, 0, GROUP_REASON_MAX) : STR(""));
	stmt_bind_int64(q, 5, FORGET_S);
	stmt_bind_text(q, 6, directory_address_text(a, member));
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	read_bounce(q, a, &now);
	if (out != NULL)
		*out = now;
	while (stmt_row(q))
		;
	return stmt_end(q);
}

enum err group_bounce_reported(struct directory *d, struct str key, const struct directory_address *member)
{
	static const char sql[] = "UPDATE bounce SET reported = 1 WHERE key = ?1 AND target_key = ?2";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, name_key(&a, member));
	return stmt_done(q);
}

enum err group_bounces(struct directory *d, struct str key, struct arena *a, struct directory_bounce **out, size_t *n)
{
	static const char sql[] = "SELECT target.address, days, first, last, reason, reported FROM bounce JOIN target"
	                          " ON target.key = bounce.key AND target.target_key = bounce.target_key"
	                          " WHERE bounce.key = ?1 ORDER BY days DESC, last DESC";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	stmt_bind_text(q, 1, key);
	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		read_bounce(q, a, *out + *n);
	}
	return stmt_end(q);
}
