/* The table issuer: whose tokens are believed. An issuer is one text, as it travels in the look-up memfd: all of it is read at once, and none
 * of it is searched. */
#include "directory/issuer.h"
#include "directory/directory_private.h"

enum { ISSUER_BYTES_MAX = 32768 };

void put_issuer(struct buf *b, const struct issuer *i)
{
	put_str(b, i->name);
	put_str(b, i->audience);
	put_str(b, i->claim);
	put_str(b, i->domain);
	put_i64(b, i->changed_s);
	put_u32(b, (uint32_t)i->key_count);
	for (size_t k = 0; k < i->key_count; k++) {
		put_str(b, i->keys[k].kid);
		put_str(b, i->keys[k].public_der);
	}
}

struct issuer get_issuer(struct scan *s, struct arena *a)
{
	struct issuer i = { 0 };

	i.name = get_str(s, ISSUER_TEXT_MAX);
	i.audience = get_str(s, ISSUER_TEXT_MAX);
	i.claim = get_str(s, ISSUER_TEXT_MAX);
	i.domain = get_str(s, ISSUER_TEXT_MAX);
	i.changed_s = get_i64(s);
	i.key_count = get_count(s, ISSUER_KEYS_MAX);
	i.keys = arena_array(a, i.key_count, sizeof *i.keys);
	for (size_t k = 0; k < i.key_count; k++) {
		i.keys[k].kid = get_str(s, ISSUER_KID_MAX);
		i.keys[k].public_der = get_str(s, ISSUER_KEY_MAX);
	}
	if (i.name.n == 0 || i.audience.n == 0 || i.claim.n == 0)
		scan_fail(s);
	return i;
}

static enum err is_room(struct directory *d, struct str name)
{
	static const char sql[] = "SELECT count(*) FROM issuer WHERE name <> ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name);
	if (!stmt_row(q))
		return stmt_err(q, ERR_IO);
	return stmt_int64(q, 0) < ISSUERS_MAX ? ERR_OK : ERR_LIMIT;
}

enum err issuer_set(struct directory *d, const struct issuer *i)
{
	static const char sql[] = "INSERT OR REPLACE INTO issuer (name, issuer) VALUES (?1, ?2)";
	CLEANUP(buf_free) struct buf text = BUF(ISSUER_BYTES_MAX);

	put_issuer(&text, i);
	if (text.failed)
		return ERR_LIMIT;
	DIRECTORY_CHANGE(d);
	TRY(is_room(d, i->name));
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);
	stmt_bind_text(q, 1, i->name);
	stmt_bind_blob(q, 2, buf_str(&text));
	TRY(stmt_done(q));
	return directory_commit(d);
}

enum err issuer_remove(struct directory *d, struct str name)
{
	static const char sql[] = "DELETE FROM issuer WHERE name = ?1";
	DIRECTORY_CHANGE(d);
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name);
	TRY(stmt_done(q));
	return db_changes(d->db) ? directory_commit(d) : ERR_NOTFOUND;
}

enum err issuer_list(struct directory *d, struct arena *a, struct issuer **out, size_t *n)
{
	static const char sql[] = "SELECT issuer FROM issuer ORDER BY name";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	*out = arena_array(a, ISSUERS_MAX, sizeof **out);
	for (*n = 0; *n < ISSUERS_MAX && stmt_row(q); ++*n) {
		struct scan s = scan_of(str_copy(a, stmt_str(q, 0)));
		(*out)[*n] = get_issuer(&s, a);
		if (!get_end(&s))
			return ERR_CORRUPT;
	}
	return stmt_end(q);
}
