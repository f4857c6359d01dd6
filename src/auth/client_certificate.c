/* The table client_certificate. One certificate may stand for several accounts (a person with two addresses): then the client has to say which.
 * The last use is kept to within a day, so a device that comes every minute writes once. */
#include "auth/client_certificate.h"
#include "auth/secrets_private.h"
#include "base/clock.h"
#include "base/log.h"

enum { USED_EVERY_S = 86400 };

static enum err next_id(struct secrets *s, uint64_t account, struct str fingerprint, uint32_t *certificate_id)
{
	static const char sql[] = "SELECT COUNT(*), COALESCE(MAX(certificate_id), 0) + 1, COALESCE(SUM(fingerprint = ?2), 0) "
	                          "FROM client_certificate WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_blob(q, 2, fingerprint);
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	*certificate_id = (uint32_t)stmt_int64(q, 1);
	return stmt_int64(q, 2) > 0 ? ERR_EXISTS : stmt_int64(q, 0) >= CLIENT_CERTIFICATES_MAX ? ERR_LIMIT : ERR_OK;
}

enum err client_certificate_add(struct secrets *s, uint64_t account, const struct client_certificate *c, uint32_t *certificate_id)
{
	static const char sql[] = "INSERT INTO client_certificate (account, certificate_id, fingerprint, name, rights, expires_s, created_s) "
	                          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	struct str fingerprint = str_make(c->fingerprint, sizeof c->fingerprint);
	CLEANUP(stmt_release) struct stmt *q = NULL;

	TRY(next_id(s, account, fingerprint, certificate_id));
	q = db_query(secrets_db(s), sql);
	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, *certificate_id);
	stmt_bind_blob(q, 3, fingerprint);
	stmt_bind_text(q, 4, c->name);
	stmt_bind_int64(q, 5, c->rights);
	stmt_bind_int64(q, 6, c->expires_s);
	stmt_bind_int64(q, 7, clock_wall_s());
	return stmt_done(q);
}

enum err client_certificate_remove(struct secrets *s, uint64_t account, uint32_t certificate_id)
{
	static const char sql[] = "DELETE FROM client_certificate WHERE account = ?1 AND certificate_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_u64(q, 1, account);
	stmt_bind_int64(q, 2, certificate_id);
	TRY(stmt_done(q));
	return db_changes(secrets_db(s)) == 1 ? ERR_OK : ERR_NOTFOUND;
}

enum err client_certificate_list(struct secrets *s, uint64_t account, struct arena *a, struct client_certificate **out, size_t *n)
{
	static const char sql[] = "SELECT certificate_id, rights, name, fingerprint, expires_s, created_s, last_used_s FROM client_certificate "
	                          "WHERE account = ?1 ORDER BY certificate_id";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	*out = arena_array(a, CLIENT_CERTIFICATES_MAX, sizeof **out);
	*n = 0;
	stmt_bind_u64(q, 1, account);
	while (*n < CLIENT_CERTIFICATES_MAX && stmt_row(q)) {
		struct client_certificate *c = *out + (*n)++;
		struct str fingerprint = stmt_str(q, 3);

		*c = (struct client_certificate){ .certificate_id = (uint32_t)stmt_int64(q, 0), .rights = (uint32_t)stmt_int64(q, 1),
		                                  .name = str_copy(a, stmt_str(q, 2)), .expires_s = stmt_int64(q, 4), .created_s = stmt_int64(q, 5),
		                                  .last_used_s = stmt_int64(q, 6) };
		if (fingerprint.n == sizeof c->fingerprint)
			memcpy(c->fingerprint, fingerprint.p, sizeof c->fingerprint);
	}
	return stmt_end(q);
}

enum err client_certificate_forget(struct secrets *s, uint64_t account)
{
	static const char sql[] = "DELETE FROM client_certificate WHERE account = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_u64(q, 1, account);
	return stmt_done(q);
}

static enum err note_use(struct secrets *s, const struct certificate_owner *o, int64_t now_s)
{
	static const char sql[] = "UPDATE client_certificate SET last_used_s = ?3 WHERE account = ?1 AND certificate_id = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_u64(q, 1, o->account);
	stmt_bind_int64(q, 2, o->certificate_id);
	stmt_bind_int64(q, 3, now_s);
	return stmt_done(q);
}

static enum err find(struct secrets *s, const struct certificate_search *x, struct certificate_owner *out, int64_t *last_used_s)
{
	static const char sql[] = "SELECT account, certificate_id, rights, last_used_s FROM client_certificate "
	                          "WHERE fingerprint = ?1 AND (account = ?2 OR ?2 = 0)";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);
	size_t n = 0;

	stmt_bind_blob(q, 1, str_make(x->fingerprint, sizeof x->fingerprint));
	stmt_bind_u64(q, 2, x->account);
	while (stmt_row(q)) {
		if (!x->lives(x->context, stmt_u64(q, 0)))
			continue;
		if (n++ > 0)
			return ERR_CONFLICT;
		*out = (struct certificate_owner){ stmt_u64(q, 0), (uint32_t)stmt_int64(q, 1), (uint32_t)stmt_int64(q, 2) };
		*last_used_s = stmt_int64(q, 3);
	}
	TRY(stmt_end(q));
	return n > 0 ? ERR_OK : ERR_NOTFOUND;
}

enum err client_certificate_find(struct secrets *s, const struct certificate_search *x, int64_t now_s, struct certificate_owner *out)
{
	int64_t last_used_s = 0;

	TRY(find(s, x, out, &last_used_s));
	if (now_s >= last_used_s && now_s < last_used_s + USED_EVERY_S)
		return ERR_OK;
	if (note_use(s, out, now_s) != ERR_OK)  /* the disk is full, perhaps: no reason to keep him out */
		log_warn("the use of a certificate was not noted account=%llu", (unsigned long long)out->account);
	return ERR_OK;
}
