/* directory.db: opening, schema, the version, and what does not belong to one table.
 *
 * Durability is FULL: an administrator who read "created" finds it after a power cut. Changes are rare, look-ups are never
 * answered from here (lookup.h), so plain statements do. */
#include "base/log.h"
#include "base/mem.h"
#include "directory/directory_private.h"

enum { WAL_PAGES_MAX = 1000 };

static const struct db_step steps[] = {
	{ 1, "CREATE TABLE domain (domain_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, catch_all TEXT);"
	     "CREATE TABLE account (account INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, domain TEXT NOT NULL,"
	     " name TEXT NOT NULL, french INTEGER NOT NULL, suspended INTEGER NOT NULL, epoch INTEGER NOT NULL,"
	     " created INTEGER NOT NULL, deleted INTEGER NOT NULL, used_bytes INTEGER NOT NULL, messages INTEGER NOT NULL,"
	     " is_full INTEGER NOT NULL);"
	     "CREATE TABLE name (key TEXT PRIMARY KEY, address TEXT NOT NULL, domain TEXT NOT NULL, kind INTEGER NOT NULL,"
	     " account INTEGER) WITHOUT ROWID;"
	     "CREATE INDEX name_account ON name (account);"
	     "CREATE TABLE target (key TEXT NOT NULL, target_key TEXT NOT NULL, address TEXT NOT NULL,"
	     " PRIMARY KEY (key, target_key)) WITHOUT ROWID;"
	     "CREATE TABLE printer (ip TEXT PRIMARY KEY, account INTEGER NOT NULL) WITHOUT ROWID;"
	     "CREATE TABLE setting (scope INTEGER NOT NULL, place TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
	     " PRIMARY KEY (scope, place, name)) WITHOUT ROWID;"
	     "CREATE TABLE version (version INTEGER NOT NULL);"
	     "INSERT INTO version VALUES (1);" },
	{ 2, "CREATE INDEX target_target ON target (target_key);" },
	{ 3, "CREATE TABLE srs (key BLOB NOT NULL); INSERT INTO srs VALUES (randomblob(32));" },  /* smtp/srs.h */
	{ 4, "ALTER TABLE account ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE account ADD COLUMN stopped_why TEXT NOT NULL DEFAULT '';" },
	{ 5, "CREATE TABLE route (pattern TEXT PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, is_lmtp INTEGER NOT NULL,"
	     " tls INTEGER NOT NULL, login TEXT NOT NULL) WITHOUT ROWID;" },
	{ 6, "CREATE TABLE list (key TEXT PRIMARY KEY, title TEXT NOT NULL, post INTEGER NOT NULL, replies INTEGER NOT NULL,"
	     " may_leave INTEGER NOT NULL) WITHOUT ROWID;"
	     "CREATE TABLE poster (key TEXT NOT NULL, poster_key TEXT NOT NULL, address TEXT NOT NULL,"
	     " PRIMARY KEY (key, poster_key)) WITHOUT ROWID;"
	     "CREATE TABLE bounce (key TEXT NOT NULL, target_key TEXT NOT NULL, days INTEGER NOT NULL, first INTEGER NOT NULL,"
	     " last INTEGER NOT NULL, reason TEXT NOT NULL, reported INTEGER NOT NULL, PRIMARY KEY (key, target_key)) WITHOUT ROWID;" },
	/* share.c; kind: enum subject_kind */
	{ 7, "CREATE TABLE share (owner INTEGER NOT NULL, kind INTEGER NOT NULL, account INTEGER NOT NULL, grp TEXT NOT NULL,"
	     " PRIMARY KEY (owner, kind, account, grp)) WITHOUT ROWID;"
	     "CREATE INDEX share_with ON share (kind, account, grp);" },
	{ 8, "CREATE TABLE issuer (name TEXT PRIMARY KEY, issuer BLOB NOT NULL) WITHOUT ROWID;" },
	{ 9, "ALTER TABLE issuer ADD COLUMN is_fetched INTEGER NOT NULL DEFAULT 0; ALTER TABLE issuer ADD COLUMN url TEXT NOT NULL DEFAULT '';"
	     "ALTER TABLE issuer ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0; ALTER TABLE issuer ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;"
	     "ALTER TABLE issuer ADD COLUMN fault INTEGER NOT NULL DEFAULT 0; ALTER TABLE issuer ADD COLUMN asked TEXT NOT NULL DEFAULT '';"
	     "ALTER TABLE issuer ADD COLUMN why TEXT NOT NULL DEFAULT '';" },
	/* name.c: how many groups of this address are gone */
	{ 10, "CREATE TABLE former_group (key TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;" },
};

static enum err read_version(struct directory *d)
{
	static const char sql[] = "SELECT version FROM version";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	d->version = d->opened_version = stmt_u64(q, 0);
	return ERR_OK;
}

enum err directory_open(struct disk_dir *dir, struct directory **out)
{
	const struct db_options options = { .durability = DB_FULL, .cache_kib = 2048 };
	struct directory *d = MEM_NEW(struct directory);
	enum err e = db_open(dir, "directory.db", &options, &d->db);

	if (e == ERR_OK)
		e = db_migrate(d->db, "directory", steps, COUNT_OF(steps));
	if (e == ERR_OK)
		e = read_version(d);
	if (e != ERR_OK) {
		directory_close(d);
		return e;
	}
	*out = d;
	return ERR_OK;
}

static void forget_conf(struct directory *d)
{
	conf_free(d->conf);
	map_free(&d->places);
	d->places = (struct map){ 0 };
	d->conf = NULL;
}

void directory_close(struct directory *d)
{
	if (d == NULL)
		return;
	if (d->db && db_wal_pages(d->db) > 0 && db_checkpoint(d->db) != ERR_OK)
		log_warn("directory.db keeps its write-ahead log; nothing is lost");
	db_close(&d->db);
	forget_conf(d);
	map_free(&d->making);
	mem_free(d);
}

uint64_t directory_version(const struct directory *d) { return d->version; }

/* The log is emptied before a change, not after one: then no statement is open, and no change that is done can fail. */
enum err directory_begin(struct directory *d)
{
	if (db_wal_pages(d->db) > WAL_PAGES_MAX)
		TRY(db_checkpoint(d->db));
	return db_begin(d->db);
}

enum err directory_commit_account(struct directory *d, uint64_t account)
{
	static const char sql[] = "UPDATE version SET version = version + 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	TRY(stmt_done(q));
	TRY(db_commit(d->db));
	d->version++;
	d->changed[d->version % CHANGES_KEPT] = account;
	return ERR_OK;
}

enum err directory_commit(struct directory *d) { return directory_commit_account(d, 0); }

bool directory_changed_accounts(const struct directory *d, uint64_t since, uint64_t *accounts, size_t *n)
{
	*n = 0;
	if (since < d->opened_version || since > d->version || d->version - since > CHANGES_KEPT)
		return false;
	for (uint64_t version = since + 1; version <= d->version; version++) {
		accounts[*n] = d->changed[version % CHANGES_KEPT];
		if (accounts[(*n)++] == 0)
			return false;
	}
	return true;
}

/* d->conf and d->places as they are now. */
static enum err read_conf(struct directory *d)
{
	enum err e;

	if (d->conf != NULL && !d->conf_is_stale)
		return ERR_OK;
	forget_conf(d);
	d->conf = conf_new();
	e = setting_load(d, SCOPE_SERVER, STR(""), d->conf);
	if (e == ERR_OK)
		e = setting_places(d, &d->places);
	if (e != ERR_OK) {
		forget_conf(d);
		return e;
	}
	d->conf_is_stale = false;
	return ERR_OK;
}

enum err directory_conf(struct directory *d, struct conf **out)
{
	TRY(read_conf(d));
	*out = conf_copy(d->conf);
	return ERR_OK;
}

static enum err overlay(struct directory *d, enum setting_scope scope, struct str of, struct arena *a, struct conf *c)
{
	return map_get(&d->places, setting_place(a, scope, of)) ? setting_load(d, scope, of, c) : ERR_OK;
}

enum err directory_is_plain(struct directory *d, uint64_t account, struct str address, bool *plain)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	TRY(read_conf(d));
	*plain = d->places.n == 0 || (!map_get(&d->places, setting_place(&a, SCOPE_DOMAIN, str_from(address, (size_t)(str_rchr(address, '@') + 1)))) &&
	                              !map_get(&d->places, setting_place(&a, SCOPE_ACCOUNT, arena_printf(&a, "%llu", (unsigned long long)account))));
	return ERR_OK;
}

enum err directory_domain_conf(struct directory *d, struct str domain, struct conf **out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf *c;
	enum err e;

	TRY(directory_conf(d, &c));
	e = overlay(d, SCOPE_DOMAIN, domain, &a, c);
	if (e != ERR_OK) {
		conf_free(c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

enum err directory_account_conf(struct directory *d, uint64_t account, struct str address, struct conf **out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf *c;
	enum err e;

	TRY(directory_conf(d, &c));
	e = overlay(d, SCOPE_DOMAIN, str_from(address, (size_t)(str_rchr(address, '@') + 1)), &a, c);
	if (e == ERR_OK)
		e = overlay(d, SCOPE_ACCOUNT, arena_printf(&a, "%llu", (unsigned long long)account), &a, c);
	if (e != ERR_OK) {
		conf_free(c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

enum err directory_srs_key(struct directory *d, struct arena *a, struct str *out)
{
	static const char sql[] = "SELECT key FROM srs";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	if (!stmt_row(q))
		return stmt_err(q, ERR_CORRUPT);
	*out = str_copy(a, stmt_str(q, 0));
	return ERR_OK;
}

enum err directory_hostname(struct directory *d, const struct conf *c, struct arena *a, struct str *out)
{
	*out = str_copy(a, conf_text(c, SETTING_hostname));
	return out->n ? ERR_OK : domain_hostname(d, a, out);
}
