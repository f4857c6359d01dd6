/* The table domain. The first domain (lowest number) gives the server its name and answers a bare "postmaster". */
#include "directory/directory_private.h"

enum err domain_add(struct directory *d, struct str name)
{
	static const char sql[] = "INSERT INTO domain (name) VALUES (?1)";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name);
	TRY(stmt_done(q));
	return directory_commit(d);
}

enum err domain_remove(struct directory *d, struct str name)
{
	static const char used[] = "SELECT 1 FROM name WHERE domain = ?1 LIMIT 1";
	static const char sql[] = "DELETE FROM domain WHERE name = ?1";
	static const char settings[] = "DELETE FROM setting WHERE scope = ?1 AND place = ?2";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *u = db_query(d->db, used);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	CLEANUP(stmt_release) struct stmt *s = db_query(d->db, settings);

	stmt_bind_text(u, 1, name);
	if (stmt_row(u))
		return ERR_CONFLICT;
	TRY(stmt_end(u));
	stmt_bind_text(q, 1, name);
	TRY(stmt_done(q));
	if (db_changes(d->db) == 0)
		return ERR_NOTFOUND;
	stmt_bind_int64(s, 1, SCOPE_DOMAIN);
	stmt_bind_text(s, 2, name);
	TRY(stmt_done(s));
	d->conf_is_stale = true;
	return directory_commit(d);
}

enum err domain_catch_all(struct directory *d, struct str name, struct str target)
{
	static const char sql[] = "UPDATE domain SET catch_all = ?2 WHERE name = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name);
	stmt_bind_text(q, 2, target.n ? target : STR_NONE);
	TRY(stmt_done(q));
	return db_changes(d->db) ? directory_commit(d) : ERR_NOTFOUND;
}

enum err domain_list(struct directory *d, struct arena *a, struct directory_domain **out, size_t *n)
{
	static const char sql[] = "SELECT name, catch_all, coalesce(accounts, 0) FROM domain LEFT JOIN"
	                          " (SELECT domain, count(*) AS accounts FROM account WHERE deleted = 0 GROUP BY domain)"
	                          " ON domain = name ORDER BY domain_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[*n] = (struct directory_domain){ .name = str_copy(a, stmt_str(q, 0)), .catch_all = str_copy(a, stmt_str(q, 1)),
		                                        .accounts = (uint32_t)stmt_int64(q, 2) };
	}
	return stmt_end(q);
}

enum err domain_names(struct directory *d, size_t max, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] = "SELECT name FROM domain ORDER BY domain_id LIMIT ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	*out = NULL;
	stmt_bind_int64(q, 1, (int64_t)max);
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		(*out)[*n] = str_copy(a, stmt_str(q, 0));
	}
	return stmt_end(q);
}

enum err domain_hostname(struct directory *d, struct arena *a, struct str *out)
{
	static const char sql[] = "SELECT name FROM domain ORDER BY domain_id LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	bool found = stmt_row(q);

	*out = found ? arena_printf(a, "mail." STR_FMT, STR_ARG(stmt_str(q, 0))) : STR("localhost");
	return found ? ERR_OK : stmt_end(q);
}

bool domain_exists(struct directory *d, struct str name)
{
	static const char sql[] = "SELECT 1 FROM domain WHERE name = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name);
	return stmt_row(q);
}

enum err domain_has_older(struct directory *d, struct str domain, uint64_t account, bool *has)
{
	static const char sql[] = "SELECT 1 FROM account WHERE domain = ?1 AND deleted = 0 AND account < ?2 LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_u64(q, 2, account);
	*has = stmt_row(q);
	return *has ? ERR_OK : stmt_end(q);
}

enum err domain_catch_alls(struct directory *d, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] = "SELECT catch_all FROM domain WHERE catch_all IS NOT NULL";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[*n] = str_copy(a, stmt_str(q, 0));
	}
	return stmt_end(q);
}
