/* The table route_password in keys.db, and its encodings. */
#include "auth/route_password.h"
#include "auth/secrets_private.h"
#include "base/clock.h"

void put_route_password_command(struct buf *b, const struct route_password_command *c)
{
	put_u8(b, (uint8_t)c->op);
	put_str(b, c->name);
	put_str(b, c->password);
}

bool get_route_password_command(struct scan *s, struct route_password_command *c)
{
	*c = (struct route_password_command){ .op = (enum route_password_op)get_u8(s) };
	c->name = get_str(s, ROUTE_NAME_MAX);
	c->password = get_str(s, SECRET_MAX);
	return get_end(s) && c->op > 0 && c->op < ROUTE_PASSWORD_OP_COUNT && c->name.n > 0;
}

void put_route_password_name(struct buf *b, struct str name) { put_str(b, name); }

bool get_route_password_name(struct scan *s, struct str *name)
{
	*name = get_str(s, ROUTE_NAME_MAX);
	return get_end(s) && name->n > 0;
}

enum err route_password_find(struct secrets *s, struct str name, struct arena *a, struct str *password)
{
	static const char sql[] = "SELECT password FROM route_password WHERE name = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_blob(q, 1, name);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*password = str_copy(a, stmt_str(q, 0));
	return ERR_OK;
}

static enum err has(struct secrets *s, struct str name, bool *is_there)
{
	static const char sql[] = "SELECT 1 FROM route_password WHERE name = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_blob(q, 1, name);
	*is_there = stmt_row(q);
	return *is_there ? ERR_OK : stmt_end(q);
}

static enum err set(struct secrets *s, struct str name, struct str password)
{
	static const char sql[] = "INSERT OR REPLACE INTO route_password (name, password, changed_s) VALUES (?1, ?2, ?3)";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_blob(q, 1, name);
	stmt_bind_blob(q, 2, password);
	stmt_bind_int64(q, 3, clock_wall_s());
	return stmt_done(q);
}

static enum err forget(struct secrets *s, struct str name)
{
	static const char sql[] = "DELETE FROM route_password WHERE name = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_blob(q, 1, name);
	return stmt_done(q);
}

enum err route_password_run(struct secrets *s, const struct route_password_command *c, bool *was_there)
{
	TRY(has(s, c->name, was_there));
	switch (c->op) {
	case ROUTE_PASSWORD_SET:
		if (c->password.n == 0 || c->password.n > SECRET_MAX || memchr(c->password.p, 0, c->password.n) != NULL)
			return ERR_INVALID;
		return set(s, c->name, c->password);
	case ROUTE_PASSWORD_FORGET:
		return forget(s, c->name);
	case ROUTE_PASSWORD_HAS:
		return ERR_OK;
	case ROUTE_PASSWORD_OP_COUNT:
		break;
	}
	return ERR_INVALID;
}
