/* The table setting: values as they were typed, by place (the server, a domain, an account) and name. */
#include "base/log.h"
#include "base/scan.h"
#include "directory/directory_private.h"

/* A setting of an account concerns nobody else. */
static enum err commit(struct directory *d, enum setting_scope scope, struct str of)
{
	struct scan s = scan_of(of);
	uint64_t account = scope == SCOPE_ACCOUNT ? scan_u64(&s) : 0;

	d->conf_is_stale = true;
	return directory_commit_account(d, s.failed ? 0 : account);
}

enum err setting_store(struct directory *d, enum setting_scope scope, struct str of, enum setting s, struct str value)
{
	static const char sql[] = "INSERT OR REPLACE INTO setting (scope, place, name, value) VALUES (?1, ?2, ?3, ?4)";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_int64(q, 1, scope);
	stmt_bind_text(q, 2, of);
	stmt_bind_text(q, 3, str_of(setting_row(s)->name));
	stmt_bind_text(q, 4, value.p ? value : STR(""));
	TRY(stmt_done(q));
	return commit(d, scope, of);
}

enum err setting_forget(struct directory *d, enum setting_scope scope, struct str of, enum setting s)
{
	static const char sql[] = "DELETE FROM setting WHERE scope = ?1 AND place = ?2 AND name = ?3";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_int64(q, 1, scope);
	stmt_bind_text(q, 2, of);
	stmt_bind_text(q, 3, str_of(setting_row(s)->name));
	TRY(stmt_done(q));
	return commit(d, scope, of);
}

enum err setting_forget_all(struct directory *d, enum setting_scope scope, struct str of)
{
	static const char sql[] = "DELETE FROM setting WHERE scope = ?1 AND place = ?2";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_int64(q, 1, scope);
	stmt_bind_text(q, 2, of);
	TRY(stmt_done(q));
	return commit(d, scope, of);
}

struct str setting_place(struct arena *a, enum setting_scope scope, struct str of)
{
	return arena_printf(a, "%d:" STR_FMT, (int)scope, STR_ARG(of));
}

enum err setting_places(struct directory *d, struct map *places)
{
	static const char sql[] = "SELECT DISTINCT scope, place FROM setting WHERE scope <> ?1";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_int64(q, 1, SCOPE_SERVER);
	while (stmt_row(q))
		map_set(places, setting_place(&a, (enum setting_scope)stmt_int64(q, 0), stmt_str(q, 1)), d);
	return stmt_end(q);
}

enum err setting_load(struct directory *d, enum setting_scope scope, struct str of, struct conf *c)
{
	static const char sql[] = "SELECT name, value FROM setting WHERE scope = ?1 AND place = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_int64(q, 1, scope);
	stmt_bind_text(q, 2, of);
	while (stmt_row(q)) {
		struct conf_problem p;
		enum setting s;
		if (setting_find(stmt_str(q, 0), &s) && !conf_set(c, s, stmt_str(q, 1), &p))
			log_warn("a stored setting is not valid any more, its default holds name=%s", setting_row(s)->name);
	}
	return stmt_end(q);
}
