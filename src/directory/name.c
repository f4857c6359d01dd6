/* The tables name and target: every address there is, and where aliases and groups lead. One name space: the primary key is
 * the folded address, so that "Bob@" and "bob@" are one row whatever each of them is. */
#include "directory/directory_private.h"

struct str name_key(struct arena *a, const struct directory_address *x) { return directory_address_key(a, x->local, x->domain); }

enum err name_insert(struct directory *d, const struct directory_address *x, enum name_kind kind, uint64_t account)
{
	static const char sql[] = "INSERT INTO name (key, address, domain, kind, account) VALUES (?1, ?2, ?3, ?4, ?5)";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	struct str key = name_key(&a, x);

	if (key.n == 0)
		return ERR_LIMIT;
	if (!domain_exists(d, x->domain))
		return ERR_NOTFOUND;
	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, directory_address_text(&a, x));
	stmt_bind_text(q, 3, x->domain);
	stmt_bind_int64(q, 4, kind);
	if (account)
		stmt_bind_u64(q, 5, account);
	return stmt_done(q);
}

static enum err target_insert(struct directory *d, struct str key, const struct directory_address *target)
{
	static const char count[] = "SELECT count(*) FROM target WHERE key = ?1";
	static const char sql[] = "INSERT INTO target (key, target_key, address) VALUES (?1, ?2, ?3)";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *c = db_query(d->db, count);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(c, 1, key);
	if (!stmt_row(c))
		return stmt_err(c, ERR_IO);
	if (stmt_int64(c, 0) >= NAME_TARGETS_MAX)
		return ERR_LIMIT;
	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, name_key(&a, target));
	stmt_bind_text(q, 3, directory_address_text(&a, target));
	return stmt_done(q);
}

static enum err targets_insert(struct directory *d, struct str key, const struct directory_address *targets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum err e = target_insert(d, key, &targets[i]);
		if (e != ERR_OK && e != ERR_EXISTS)  /* the same target twice is one */
			return e;
	}
	return ERR_OK;
}

enum err name_add(struct directory *d, const struct directory_address *x, enum name_kind kind, const struct directory_address *targets, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	DIRECTORY_CHANGE(d);

	TRY(name_insert(d, x, kind, 0));
	TRY(targets_insert(d, name_key(&a, x), targets, n));
	return directory_commit(d);
}

enum err name_add_further(struct directory *d, const struct directory_address *x, uint64_t account)
{
	DIRECTORY_CHANGE(d);

	TRY(name_insert(d, x, NAME_FURTHER, account));
	return directory_commit(d);
}

/* A group that is made anew under its address is another one (share.c). */
static enum err note_former_group(struct directory *d, struct str key)
{
	static const char sql[] = "INSERT INTO former_group SELECT key, 1 FROM name WHERE key = ?1 AND kind = 4"
	                          " ON CONFLICT (key) DO UPDATE SET times = times + 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	return stmt_done(q);
}

enum err name_delete(struct directory *d, struct str key)
{
	static const char sql[] = "DELETE FROM name WHERE key = ?1";
	static const char targets[] = "DELETE FROM target WHERE key = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	CLEANUP(stmt_release) struct stmt *t = db_query(d->db, targets);

	stmt_bind_text(t, 1, key);
	TRY(stmt_done(t));
	TRY(group_delete(d, key));
	TRY(note_former_group(d, key));
	stmt_bind_text(q, 1, key);
	TRY(stmt_done(q));
	return db_changes(d->db) ? ERR_OK : ERR_NOTFOUND;
}

enum err name_delete_of_account(struct directory *d, uint64_t account)
{
	static const char sql[] = "DELETE FROM name WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	return stmt_done(q);
}

enum err name_remove(struct directory *d, const struct directory_address *x)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	DIRECTORY_CHANGE(d);
	struct directory_name name = { 0 };

	TRY(name_find(d, x, &a, &name));
	if (name.kind == NAME_MAIN)
		return ERR_CONFLICT;
	TRY(name_delete(d, name.key));
	return directory_commit(d);
}

enum err name_targets_add(struct directory *d, const struct directory_address *x, const struct directory_address *targets, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	DIRECTORY_CHANGE(d);

	TRY(targets_insert(d, name_key(&a, x), targets, n));
	return directory_commit(d);
}

static enum err target_delete(struct directory *d, struct str key, struct str target_key)
{
	static const char sql[] = "DELETE FROM target WHERE key = ?1 AND target_key = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, target_key);
	TRY(stmt_done(q));
	return db_changes(d->db) ? group_delete_member(d, key, target_key) : ERR_NOTFOUND;
}

enum err name_targets_remove(struct directory *d, const struct directory_address *x, const struct directory_address *targets, size_t n, size_t *failed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	DIRECTORY_CHANGE(d);

	for (*failed = 0; *failed < n; ++*failed)
		TRY(target_delete(d, name_key(&a, x), name_key(&a, &targets[*failed])));
	return directory_commit(d);
}

/* Asked by every cell that starts: by index, however many names there are. */
enum err name_senders(struct directory *d, uint64_t account, size_t max, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] =
		"SELECT address, kind FROM name WHERE account = ?1"
		" UNION SELECT alias.address, alias.kind FROM name AS own JOIN target ON target.target_key = own.key"
		" JOIN name AS alias ON alias.key = target.key AND alias.kind = 3 WHERE own.account = ?1 ORDER BY kind, address LIMIT ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, (int64_t)max);
	*out = arena_array(a, max, sizeof **out);
	for (*n = 0; *n < max && stmt_row(q); ++*n)
		(*out)[*n] = str_copy(a, stmt_str(q, 0));
	return *n == max ? ERR_OK : stmt_end(q);
}

enum err name_leaders(struct directory *d, struct str key, uint64_t account, size_t max, struct arena *a, struct str **out, size_t *n)
{
	static const char sql[] = "SELECT DISTINCT leader.address FROM target JOIN name AS leader ON leader.key = target.key"
	                          " WHERE target.target_key = ?1 OR target.target_key IN (SELECT key FROM name WHERE account = ?2)"
	                          " ORDER BY leader.key LIMIT ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	stmt_bind_text(q, 1, key);
	stmt_bind_u64(q, 2, account);
	stmt_bind_int64(q, 3, (int64_t)max);
	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		(*out)[*n] = str_copy(a, stmt_str(q, 0));
	}
	return stmt_end(q);
}

enum err name_is_target(struct directory *d, struct str key, char separator, bool *is_target)
{
	static const char sql[] = "SELECT 1 FROM target WHERE target_key = ?1 OR (target_key > ?2 AND target_key < ?3)"
	                          " UNION ALL SELECT 1 FROM poster WHERE poster_key = ?1 OR (poster_key > ?2 AND poster_key < ?3) LIMIT 1";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	struct str local = str_sub(key, 0, (size_t)str_rchr(key, '@'));

	stmt_bind_text(q, 1, key);
	stmt_bind_text(q, 2, arena_printf(&a, STR_FMT "%c", STR_ARG(local), separator ? separator : '@'));
	stmt_bind_text(q, 3, arena_printf(&a, STR_FMT "%c", STR_ARG(local), separator ? separator + 1 : '@'));
	*is_target = stmt_row(q);
	return *is_target ? ERR_OK : stmt_end(q);
}

enum err name_count(struct directory *d, uint64_t account, uint64_t *n)
{
	static const char sql[] = "SELECT count(*) FROM name WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	*n = stmt_u64(q, 0);
	return ERR_OK;
}

static enum err load_targets(struct directory *d, struct arena *a, struct directory_name *name)
{
	static const char sql[] = "SELECT address FROM target WHERE key = ?1 ORDER BY target_key";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	stmt_bind_text(q, 1, name->key);
	while (stmt_row(q)) {
		name->targets = arena_grow(a, name->targets, name->target_count, &cap, sizeof(struct str));
		name->targets[name->target_count++] = str_copy(a, stmt_str(q, 0));
	}
	return stmt_end(q);
}

static void read_row(struct stmt *q, struct arena *a, struct directory_name *out)
{
	*out = (struct directory_name){ .key = str_copy(a, stmt_str(q, 0)), .address = str_copy(a, stmt_str(q, 1)),
	                                .kind = (enum name_kind)stmt_int64(q, 2), .account = stmt_u64(q, 3) };
}

enum err name_find(struct directory *d, const struct directory_address *x, struct arena *a, struct directory_name *out)
{
	static const char sql[] = "SELECT key, address, kind, account FROM name WHERE key = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name_key(a, x));
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	read_row(q, a, out);
	return load_targets(d, a, out);
}

enum err name_account(struct directory *d, const struct directory_address *x, uint64_t *account)
{
	static const char sql[] = "SELECT account FROM name WHERE key = ?1";
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name_key(&a, x));
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*account = stmt_u64(q, 0);
	return ERR_OK;
}

enum err name_list(struct directory *d, enum name_kind kind, struct arena *a, struct directory_name **out, size_t *n)
{
	static const char sql[] = "SELECT key, address, kind, account FROM name WHERE ?1 = 0 OR kind = ?1 ORDER BY domain, key";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	stmt_bind_int64(q, 1, kind);
	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		read_row(q, a, *out + *n);
	}
	TRY(stmt_end(q));
	for (size_t i = 0; i < *n; i++)
		if ((*out)[i].kind >= NAME_ALIAS)
			TRY(load_targets(d, a, *out + i));
	return ERR_OK;
}
