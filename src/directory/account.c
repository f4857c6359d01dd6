/* The table account. AUTOINCREMENT: a number is never used again, so neither is its folder, its grants or its queue entries. */
#include "base/clock.h"
#include "directory/directory_private.h"

#define COLUMNS "account, address, name, french, suspended, is_full, epoch, created, deleted, used_bytes, messages, stopped, stopped_why"

static void read_row(struct stmt *q, struct arena *a, struct directory_account *out)
{
	*out = (struct directory_account){
		.account = stmt_u64(q, 0), .address = str_copy(a, stmt_str(q, 1)), .name = str_copy(a, stmt_str(q, 2)),
		.french = stmt_int64(q, 3) != 0, .is_suspended = stmt_int64(q, 4) != 0, .is_full = stmt_int64(q, 5) != 0,
		.epoch = (uint32_t)stmt_int64(q, 6), .created_s = stmt_int64(q, 7), .deleted_s = stmt_int64(q, 8),
		.used_bytes = stmt_u64(q, 9), .messages = stmt_u64(q, 10), .stopped_s = stmt_int64(q, 11), .stopped_why = str_copy(a, stmt_str(q, 12)),
	};
}

static enum err insert(struct directory *d, const struct directory_address *x, struct str name, bool french, int64_t deleted, uint64_t *account)
{
	static const char sql[] = "INSERT INTO account (address, domain, name, french, suspended, epoch, created, deleted, used_bytes,"
	                          " messages, is_full) VALUES (?1, ?2, ?3, ?4, 0, 1, ?5, ?6, 0, 0, 0)";
	static const char most[] = "SELECT coalesce(max(account), 0) FROM account";
	static const char count[] = "SELECT count(*) FROM account WHERE deleted = 0";
	CLEANUP(arena_free) struct arena a = { 0 };
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	CLEANUP(stmt_release) struct stmt *m = db_query(d->db, most);
	CLEANUP(stmt_release) struct stmt *c = db_query(d->db, count);

	if (!domain_exists(d, x->domain))
		return ERR_NOTFOUND;
	if (!stmt_row(m))
		return stmt_err(m, ERR_IO);
	if (stmt_int64(m, 0) >= ACCOUNTS_MAX && (!stmt_row(c) || stmt_int64(c, 0) >= ACCOUNTS_MAX))  /* counting only where it can matter */
		return stmt_err(c, ERR_LIMIT);
	stmt_bind_text(q, 1, directory_address_text(&a, x));
	stmt_bind_text(q, 2, x->domain);
	stmt_bind_text(q, 3, name.p ? name : STR(""));
	stmt_bind_int64(q, 4, french);
	stmt_bind_int64(q, 5, clock_wall_s());
	stmt_bind_int64(q, 6, deleted);
	TRY(stmt_done(q));
	uint64_t number = (uint64_t)db_last_rowid(d->db);
	TRY(name_insert(d, x, NAME_MAIN, number));
	TRY(directory_commit_account(d, number));
	*account = number;
	return ERR_OK;
}

enum err account_add(struct directory *d, const struct directory_address *x, struct str name, bool french, uint64_t *account)
{
	return insert(d, x, name, french, 0, account);
}

enum err account_reserve(struct directory *d, const struct directory_address *x, struct str name, bool french, uint64_t *account)
{
	TRY(insert(d, x, name, french, ACCOUNT_DOOMED, account));
	map_set_u64(&d->making, *account, d);
	return ERR_OK;
}

bool account_is_being_made(const struct directory *d, uint64_t account) { return map_get_u64(&d->making, account) != NULL; }

enum err account_find(struct directory *d, const struct directory_address *x, struct arena *a, struct directory_account *out)
{
	static const char sql[] = "SELECT " COLUMNS " FROM account WHERE account = (SELECT account FROM name WHERE key = ?1)";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name_key(a, x));
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	read_row(q, a, out);
	return ERR_OK;
}

enum err account_get(struct directory *d, uint64_t account, struct arena *a, struct directory_account *out)
{
	static const char sql[] = "SELECT " COLUMNS " FROM account WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	read_row(q, a, out);
	return ERR_OK;
}

enum err account_list(struct directory *d, struct str domain, struct arena *a, struct directory_account **out, size_t *n)
{
	static const char sql[] = "SELECT " COLUMNS " FROM account WHERE (?1 IS NULL OR domain = ?1)"
	                          " AND EXISTS (SELECT 1 FROM name WHERE name.account = account.account AND kind = 1)"
	                          " ORDER BY domain, address, account";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	size_t cap = 0;

	stmt_bind_text(q, 1, domain.n ? domain : STR_NONE);
	*out = NULL;
	for (*n = 0; stmt_row(q); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof(**out));
		read_row(q, a, *out + *n);
	}
	return stmt_end(q);
}

enum err account_rename(struct directory *d, uint64_t account, const struct directory_address *to, bool keep)
{
	static const char main_name[] = "SELECT key FROM name WHERE account = ?1 AND kind = 1";
	static const char demote[] = "UPDATE name SET kind = 2 WHERE key = ?1";
	static const char sql[] = "UPDATE account SET address = ?2, domain = ?3 WHERE account = ?1";
	CLEANUP(arena_free) struct arena a = { 0 };
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *m = db_query(d->db, main_name);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	struct directory_name present;
	struct str old, key = name_key(&a, to);

	if (!domain_exists(d, to->domain))
		return ERR_NOTFOUND;
	stmt_bind_u64(m, 1, account);
	if (!stmt_row(m))
		return stmt_err(m, ERR_NOTFOUND);
	old = str_copy(&a, stmt_str(m, 0));
	/* to may be one of its own further addresses, or the old one in another spelling */
	if (name_find(d, to, &a, &present) == ERR_OK && present.account == account)
		TRY(name_delete(d, key));
	if (!str_eq(old, key)) {
		if (keep) {
			CLEANUP(stmt_release) struct stmt *k = db_query(d->db, demote);
			stmt_bind_text(k, 1, old);
			TRY(stmt_done(k));
		} else {
			TRY(name_delete(d, old));
		}
	}
	TRY(name_insert(d, to, NAME_MAIN, account));
	stmt_bind_u64(q, 1, account);
	stmt_bind_text(q, 2, directory_address_text(&a, to));
	stmt_bind_text(q, 3, to->domain);
	TRY(stmt_done(q));
	return directory_commit(d);
}

/* Runs a change of one row that is bound already. */
static enum err change_one(struct directory *d, struct stmt *q)
{
	TRY(stmt_done(q));
	return db_changes(d->db) ? directory_commit(d) : ERR_NOTFOUND;
}

/* The same where its names lead where they did. */
static enum err change_itself(struct directory *d, struct stmt *q, uint64_t account)
{
	TRY(stmt_done(q));
	return db_changes(d->db) ? directory_commit_account(d, account) : ERR_NOTFOUND;
}

enum err account_suspend(struct directory *d, uint64_t account, bool suspended)
{
	static const char sql[] = "UPDATE account SET suspended = ?2 WHERE account = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, suspended);
	return change_itself(d, q, account);
}

enum err account_stop_sending(struct directory *d, uint64_t account, int64_t since_s, struct str why)
{
	static const char sql[] = "UPDATE account SET stopped = ?2, stopped_why = ?3 WHERE account = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, since_s);
	stmt_bind_text(q, 3, str_sub(why.p ? why : STR(""), 0, STOPPED_WHY_MAX));
	return change_itself(d, q, account);
}

enum err account_describe(struct directory *d, uint64_t account, struct str name, bool french)
{
	static const char sql[] = "UPDATE account SET name = ?2, french = ?3 WHERE account = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_text(q, 2, name);
	stmt_bind_int64(q, 3, french);
	return change_itself(d, q, account);
}

enum err account_delete(struct directory *d, uint64_t account)
{
	static const char sql[] = "UPDATE account SET deleted = ?2 WHERE account = ?1 AND deleted = 0";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, clock_wall_s());
	return change_one(d, q);
}

enum err account_undelete(struct directory *d, uint64_t account)
{
	static const char sql[] = "UPDATE account SET deleted = 0 WHERE account = ?1 AND deleted > 1"
	                          " AND EXISTS (SELECT 1 FROM name WHERE name.account = ?1 AND kind = 1)";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	return change_one(d, q);
}

enum err account_ready(struct directory *d, uint64_t account)
{
	static const char sql[] = "UPDATE account SET deleted = 0 WHERE account = ?1 AND deleted = 1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(q, 1, account);
	TRY(change_itself(d, q, account));
	map_set_u64(&d->making, account, NULL);
	return ERR_OK;
}

enum err account_doom(struct directory *d, uint64_t account)
{
	static const char sql[] = "UPDATE account SET deleted = 1 WHERE account = ?1 AND deleted <> 0";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	if (account_is_being_made(d, account))
		return ERR_CONFLICT;
	stmt_bind_u64(q, 1, account);
	return change_one(d, q);
}

enum err account_forget(struct directory *d, uint64_t account)
{
	static const char sql[] = "UPDATE account SET deleted = max(deleted, ?2), name = '' WHERE account = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	map_set_u64(&d->making, account, NULL);
	TRY(name_delete_of_account(d, account));
	TRY(printer_delete_of_account(d, account));
	TRY(share_delete_of_account(d, account));
	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, clock_wall_s());
	return change_one(d, q);
}

enum err account_raise_epoch(struct directory *d, uint64_t account, uint32_t *epoch)
{
	static const char sql[] = "UPDATE account SET epoch = epoch + 1 WHERE account = ?1 RETURNING epoch";
	DIRECTORY_CHANGE(d);
	uint32_t raised;
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
		stmt_bind_u64(q, 1, account);
		if (!stmt_row(q))
			return stmt_err(q, ERR_NOTFOUND);
		raised = (uint32_t)stmt_int64(q, 0);
	}
	TRY(directory_commit_account(d, account));
	*epoch = raised;
	return ERR_OK;
}

enum err account_usage(struct directory *d, uint64_t account, uint64_t bytes, uint64_t messages, bool is_full, bool *changed)
{
	static const char was[] = "SELECT is_full, used_bytes, messages FROM account WHERE account = ?1";
	static const char sql[] = "UPDATE account SET used_bytes = ?2, messages = ?3, is_full = ?4 WHERE account = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *w = db_query(d->db, was);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_u64(w, 1, account);
	if (!stmt_row(w))
		return stmt_err(w, ERR_NOTFOUND);
	*changed = (stmt_int64(w, 0) != 0) != is_full;
	if (!*changed && stmt_u64(w, 1) == bytes && stmt_u64(w, 2) == messages)
		return ERR_OK;  /* cells report when they leave, changed or not: no sync for that */
	stmt_bind_u64(q, 1, account);
	stmt_bind_u64(q, 2, bytes);
	stmt_bind_u64(q, 3, messages);
	stmt_bind_int64(q, 4, is_full);
	TRY(stmt_done(q));
	return *changed ? directory_commit_account(d, account) : db_commit(d->db);
}

enum err account_uses(struct directory *d, const struct account_use *uses, size_t n)
{
	static const char sql[] =
		"UPDATE account SET used_bytes = ?2, messages = ?3 WHERE account = ?1 AND (used_bytes <> ?2 OR messages <> ?3)";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	for (size_t i = 0; i < n; i++) {
		stmt_bind_u64(q, 1, uses[i].account);
		stmt_bind_u64(q, 2, uses[i].bytes);
		stmt_bind_u64(q, 3, uses[i].messages);
		TRY(stmt_done(q));
		stmt_reset(q);
	}
	return db_commit(d->db);
}
