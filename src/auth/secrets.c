/* keys.db: small tables (dkim_key is dkim_store.c's, route_password is route_password.c's, client_certificate is client_certificate.c's). An app password is found by its MAC, not by trying each: one row of an index. Durability is FULL: a
 * password somebody was told is set must not come back old after a power cut. Only the last use of app passwords is lazy, since
 * ten thousand phones that come back at once must not mean ten thousand fsyncs. */
#include "auth/client_certificate.h"
#include "auth/secrets_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/password.h"

enum { USED_MAX = 1000, USED_EVERY_S = 3600 };
enum server_secret { SERVER_GRANT, SERVER_APP, SERVER_SCRAM, SERVER_COUNT };

struct used { uint64_t account; uint32_t app_password_id; int64_t at_s; };

struct secrets {
	struct db  *db;
	uint8_t     server[SERVER_COUNT][SECRET_KEY_SIZE];
	struct used used[USED_MAX];
	size_t      used_count;
};

static const struct db_step steps[] = {
	{ 1, "CREATE TABLE server_secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	     "CREATE TABLE password (account INTEGER PRIMARY KEY, hash TEXT NOT NULL, changed_s INTEGER NOT NULL);"
	     "CREATE TABLE app_password (account INTEGER NOT NULL, app_password_id INTEGER NOT NULL, name TEXT NOT NULL,"
	     " rights INTEGER NOT NULL, mac BLOB NOT NULL, stored_key BLOB, server_key BLOB, created_s INTEGER NOT NULL,"
	     " last_used_s INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (account, app_password_id)) WITHOUT ROWID;"
	     "CREATE UNIQUE INDEX app_password_mac ON app_password (mac)" },
	{ 2, "CREATE TABLE dkim_key (dkim_key_id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, selector TEXT NOT NULL,"
	     " algorithm INTEGER NOT NULL, state INTEGER NOT NULL, since_s INTEGER NOT NULL, public_key BLOB NOT NULL,"
	     " private_key TEXT, UNIQUE (domain, selector))" },
	{ 3, "CREATE TABLE route_password (name BLOB PRIMARY KEY, password BLOB NOT NULL, changed_s INTEGER NOT NULL) WITHOUT ROWID" },
	{ 4, "CREATE TABLE client_certificate (account INTEGER NOT NULL, certificate_id INTEGER NOT NULL, fingerprint BLOB NOT NULL,"
	     " name TEXT NOT NULL, rights INTEGER NOT NULL, expires_s INTEGER NOT NULL, created_s INTEGER NOT NULL,"
	     " last_used_s INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (account, certificate_id)) WITHOUT ROWID;"
	     "CREATE UNIQUE INDEX client_certificate_fingerprint ON client_certificate (fingerprint, account)" },
};

/* Reads the secret of this name, or makes it. */
static enum err server_secret(struct db *db, const char *name, uint8_t out[SECRET_KEY_SIZE])
{
	static const char find[] = "SELECT value FROM server_secret WHERE name = ?1";
	static const char add[] = "INSERT INTO server_secret (name, value) VALUES (?1, ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, find), *w = NULL;

	stmt_bind_text(q, 1, str_of(name));
	if (stmt_row(q)) {
		struct str v = stmt_str(q, 0);

		if (v.n != SECRET_KEY_SIZE) {
			log_error("keys.db holds a secret of the wrong size name=%s", name);
			return ERR_CORRUPT;
		}
		memcpy(out, v.p, SECRET_KEY_SIZE);
		return ERR_OK;
	}
	if (stmt_err(q, ERR_NOTFOUND) != ERR_NOTFOUND)
		return stmt_err(q, ERR_NOTFOUND);
	random_bytes(out, SECRET_KEY_SIZE);
	w = db_query(db, add);
	stmt_bind_text(w, 1, str_of(name));
	stmt_bind_blob(w, 2, str_make(out, SECRET_KEY_SIZE));
	return stmt_done(w);
}

static enum err open_db(struct secrets *s, struct disk_dir *dir)
{
	static const char *const names[SERVER_COUNT] = { [SERVER_GRANT] = "grant", [SERVER_APP] = "app", [SERVER_SCRAM] = "scram" };

	TRY(db_open(dir, "keys.db", &(struct db_options){ .durability = DB_FULL }, &s->db));
	TRY(db_migrate(s->db, "auth", steps, COUNT_OF(steps)));
	for (size_t i = 0; i < SERVER_COUNT; i++)
		TRY(server_secret(s->db, names[i], s->server[i]));
	return ERR_OK;
}

enum err secrets_open(struct disk_dir *dir, struct secrets **out)
{
	struct secrets *s = MEM_NEW(struct secrets);
	enum err e = open_db(s, dir);

	if (e != ERR_OK)
		secrets_close(s);
	else
		*out = s;
	return e;
}

void secrets_close(struct secrets *s)
{
	if (s == NULL)
		return;
	if (s->db != NULL && (secrets_flush(s) != ERR_OK || (db_wal_pages(s->db) > 0 && db_checkpoint(s->db) != ERR_OK)))
		log_warn("keys.db was closed without its last words");
	db_close(&s->db);
	mem_wipe(s->server, sizeof s->server);
	mem_free(s);
}

struct db *secrets_db(struct secrets *s) { return s->db; }

const uint8_t *secrets_grant_key(const struct secrets *s) { return s->server[SERVER_GRANT]; }
const uint8_t *secrets_app_key(const struct secrets *s) { return s->server[SERVER_APP]; }
const uint8_t *secrets_scram_key(const struct secrets *s) { return s->server[SERVER_SCRAM]; }

/* ---- the account's own password ---- */

enum err secrets_password(struct secrets *s, uint64_t account, struct arena *a, struct str *hash)
{
	static const char sql[] = "SELECT hash FROM password WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	stmt_bind_u64(q, 1, account);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*hash = str_copy(a, stmt_str(q, 0));
	return ERR_OK;
}

enum err secrets_set_password(struct secrets *s, uint64_t account, struct str hash)
{
	static const char sql[] = "INSERT INTO password (account, hash, changed_s) VALUES (?1, ?2, ?3) "
	                          "ON CONFLICT (account) DO UPDATE SET hash = ?2, changed_s = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_text(q, 2, hash);
	stmt_bind_int64(q, 3, clock_wall_s());
	return stmt_done(q);
}

enum err secrets_upgrade_password(struct secrets *s, uint64_t account, struct str old_hash, struct str hash)
{
	static const char sql[] = "UPDATE password SET hash = ?3 WHERE account = ?1 AND hash = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_text(q, 2, old_hash);
	stmt_bind_text(q, 3, hash);
	TRY(stmt_done(q));
	return db_changes(s->db) == 1 ? ERR_OK : ERR_CONFLICT;
}

enum err secrets_remove_password(struct secrets *s, uint64_t account)
{
	static const char sql[] = "DELETE FROM password WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	stmt_bind_u64(q, 1, account);
	return stmt_done(q);
}

/* The next one that is made may get its number. id 0: all of the account. */
static void forget_use(struct secrets *s, uint64_t account, uint32_t app_password_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->used_count; i++)
		if (s->used[i].account != account || (app_password_id != 0 && s->used[i].app_password_id != app_password_id))
			s->used[kept++] = s->used[i];
	s->used_count = kept;
}

enum err secrets_forget(struct secrets *s, uint64_t account)
{
	static const char sql[] = "DELETE FROM app_password WHERE account = ?1";
	CLEANUP(db_rollback_if_open) struct db *tx = s->db;
	CLEANUP(stmt_release) struct stmt *q = NULL;

	forget_use(s, account, 0);
	TRY(db_begin(tx));
	TRY(secrets_remove_password(s, account));
	TRY(client_certificate_forget(s, account));
	q = db_query(s->db, sql);
	stmt_bind_u64(q, 1, account);
	TRY(stmt_done(q));
	stmt_release(&q);
	q = NULL;
	return db_commit(tx);
}

/* ---- app passwords ---- */

static enum err app_next(struct secrets *s, uint64_t account, uint32_t *app_password_id)
{
	static const char sql[] = "SELECT COUNT(*), COALESCE(MAX(app_password_id), 0) + 1 FROM app_password WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	stmt_bind_u64(q, 1, account);
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	*app_password_id = (uint32_t)stmt_int64(q, 1);
	return stmt_int64(q, 0) >= APP_PASSWORDS_MAX ? ERR_LIMIT : ERR_OK;
}

enum err secrets_app_add(struct secrets *s, uint64_t account, struct str name, const struct app_secret *app, uint32_t *app_password_id)
{
	static const char sql[] = "INSERT INTO app_password (account, app_password_id, name, rights, mac, stored_key, server_key, created_s) "
	                          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
	CLEANUP(stmt_release) struct stmt *q = NULL;

	TRY(app_next(s, account, app_password_id));
	q = db_query(s->db, sql);
	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, *app_password_id);
	stmt_bind_text(q, 3, name);
	stmt_bind_int64(q, 4, app->rights);
	stmt_bind_blob(q, 5, str_make(app->mac, sizeof app->mac));
	if (app->has_scram) {
		stmt_bind_blob(q, 6, str_make(app->stored_key, sizeof app->stored_key));
		stmt_bind_blob(q, 7, str_make(app->server_key, sizeof app->server_key));
	}
	stmt_bind_int64(q, 8, clock_wall_s());
	return stmt_done(q);
}

enum err secrets_app_remove(struct secrets *s, uint64_t account, uint32_t app_password_id)
{
	static const char sql[] = "DELETE FROM app_password WHERE account = ?1 AND app_password_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	forget_use(s, account, app_password_id);
	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, app_password_id);
	TRY(stmt_done(q));
	return db_changes(s->db) == 1 ? ERR_OK : ERR_NOTFOUND;
}

enum err secrets_app_list(struct secrets *s, uint64_t account, struct arena *a, struct app_password **apps, size_t *count)
{
	static const char sql[] = "SELECT app_password_id, rights, name, created_s, last_used_s FROM app_password WHERE account = ?1 "
	                          "ORDER BY app_password_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);
	struct app_password *list = arena_array(a, APP_PASSWORDS_MAX, sizeof *list);
	size_t n = 0;

	stmt_bind_u64(q, 1, account);
	while (n < APP_PASSWORDS_MAX && stmt_row(q)) {
		struct app_password *p = list + n++;

		*p = (struct app_password){ (uint32_t)stmt_int64(q, 0), (uint32_t)stmt_int64(q, 1), str_copy(a, stmt_str(q, 2)),
		                            stmt_int64(q, 3), stmt_int64(q, 4) };
		for (size_t i = 0; i < s->used_count; i++)
			if (s->used[i].account == account && s->used[i].app_password_id == p->app_password_id)
				p->last_used_s = s->used[i].at_s;
	}
	*apps = list;
	*count = n;
	return stmt_end(q);
}

static void read_app(struct stmt *q, struct app_secret *out)
{
	struct str mac = stmt_str(q, 2), stored = stmt_str(q, 3), server = stmt_str(q, 4);

	*out = (struct app_secret){ .app_password_id = (uint32_t)stmt_int64(q, 0), .rights = (uint32_t)stmt_int64(q, 1) };
	if (mac.n == sizeof out->mac)
		memcpy(out->mac, mac.p, sizeof out->mac);
	out->has_scram = stored.n == sizeof out->stored_key && server.n == sizeof out->server_key;
	if (out->has_scram) {
		memcpy(out->stored_key, stored.p, sizeof out->stored_key);
		memcpy(out->server_key, server.p, sizeof out->server_key);
	}
}

enum err secrets_app_find(struct secrets *s, uint64_t account, const uint8_t mac[SHA256_SIZE], struct app_secret *out)
{
	static const char sql[] = "SELECT app_password_id, rights, mac, stored_key, server_key FROM app_password "
	                          "WHERE mac = ?2 AND account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_blob(q, 2, str_make(mac, SHA256_SIZE));
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	read_app(q, out);
	return ERR_OK;
}

enum err secrets_app_scram(struct secrets *s, uint64_t account, struct arena *a, struct app_secret **apps, size_t *count)
{
	static const char sql[] = "SELECT app_password_id, rights, mac, stored_key, server_key FROM app_password "
	                          "WHERE account = ?1 AND stored_key IS NOT NULL";
	CLEANUP(stmt_release) struct stmt *q = db_query(s->db, sql);

	*apps = arena_array(a, APP_PASSWORDS_MAX, sizeof **apps);
	*count = 0;
	stmt_bind_u64(q, 1, account);
	while (*count < APP_PASSWORDS_MAX && stmt_row(q))
		read_app(q, *apps + (*count)++);
	return stmt_end(q);
}

void secrets_app_used(struct secrets *s, uint64_t account, uint32_t app_password_id, int64_t now_s)
{
	size_t i = 0;

	while (i < s->used_count && (s->used[i].account != account || s->used[i].app_password_id != app_password_id))
		i++;
	if (i == USED_MAX)
		return;  /* it will be used again */
	s->used[i] = (struct used){ account, app_password_id, now_s };
	if (i == s->used_count)
		s->used_count++;
}

enum err secrets_flush(struct secrets *s)
{
	static const char sql[] = "UPDATE app_password SET last_used_s = ?3 WHERE account = ?1 AND app_password_id = ?2 AND last_used_s < ?4";
	CLEANUP(db_rollback_if_open) struct db *tx = s->db;
	CLEANUP(stmt_release) struct stmt *q = NULL;

	if (s->used_count == 0)
		return ERR_OK;
	TRY(db_begin(tx));
	q = db_query(s->db, sql);
	for (size_t i = 0; i < s->used_count; i++) {
		stmt_bind_u64(q, 1, s->used[i].account);
		stmt_bind_int64(q, 2, s->used[i].app_password_id);
		stmt_bind_int64(q, 3, s->used[i].at_s);
		stmt_bind_int64(q, 4, s->used[i].at_s - USED_EVERY_S);  /* to within an hour: most logins change nothing */
		TRY(stmt_done(q));
		stmt_reset(q);
	}
	stmt_release(&q);
	q = NULL;
	TRY(db_commit(tx));
	s->used_count = 0;
	if (db_wal_pages(s->db) > 200)
		return db_checkpoint(s->db);
	return ERR_OK;
}
