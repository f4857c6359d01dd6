/* The table issuer: whose tokens are believed. An issuer is one text, as it travels in the look-up memfd: all of it is read at once, and none
 * of it is searched. Where its keys come from stands beside it: it changes with every look, and concerns nobody but control. */
#include "directory/issuer.h"
#include "directory/directory_private.h"

enum { ISSUER_BYTES_MAX = 32768, LOOK_EVERY_S = 3600, LOOK_AGAIN_S = 600, LOOK_FOR_KEY_S = 300 };

bool issuer_is_due(const struct issuer *i, bool is_key_missing, int64_t now_s)
{
	int64_t since_s = now_s - i->source.tried_s;

	if (!i->source.is_fetched)
		return false;
	return since_s < 0 || since_s >= (is_key_missing ? LOOK_FOR_KEY_S : i->source.fault != ISSUER_FINE ? LOOK_AGAIN_S : LOOK_EVERY_S);
}

uint32_t issuer_mark(const struct issuer *i, const struct issuer_key *k)
{
	uint64_t mark = str_hash_keyed(i->name, 0, 1);

	mark = str_hash_keyed(i->audience, mark, 2);
	mark = str_hash_keyed(i->claim, mark, 3);
	mark = str_hash_keyed(i->domain, mark, 4);
	mark = str_hash_keyed(k->public_der, mark, 5);
	return (uint32_t)mark != 0 ? (uint32_t)mark : 1;
}

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

static struct str kept(struct str text, size_t max) { return text.p == NULL ? STR("") : str_sub(text, 0, max); }

static enum err note(struct directory *d, struct str name, const struct issuer_source *s)
{
	static const char sql[] = "UPDATE issuer SET is_fetched = ?2, url = ?3, fetched = ?4, tried = ?5, fault = ?6, asked = ?7, why = ?8 WHERE name = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	stmt_bind_text(q, 1, name);
	stmt_bind_int64(q, 2, s->is_fetched);
	stmt_bind_text(q, 3, kept(s->url, ISSUER_URL_MAX));
	stmt_bind_int64(q, 4, s->fetched_s);
	stmt_bind_int64(q, 5, s->tried_s);
	stmt_bind_int64(q, 6, s->fault);
	stmt_bind_text(q, 7, kept(s->asked, ISSUER_URL_MAX));
	stmt_bind_text(q, 8, kept(s->why, ISSUER_WHY_MAX));
	TRY(stmt_done(q));
	return db_changes(d->db) ? ERR_OK : ERR_NOTFOUND;
}

enum err issuer_set(struct directory *d, const struct issuer *i)
{
	static const char sql[] = "INSERT OR REPLACE INTO issuer (name, issuer) VALUES (?1, ?2)";   /* the source is noted after it */
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
	TRY(note(d, i->name, &i->source));
	return directory_commit(d);
}

enum err issuer_note(struct directory *d, struct str name, const struct issuer_source *source)
{
	DIRECTORY_CHANGE(d);

	TRY(note(d, name, source));
	return db_commit(d->db);
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

static struct issuer_source source_of(struct stmt *q, struct arena *a)
{
	int64_t fault = stmt_int64(q, 5);

	return (struct issuer_source){ .is_fetched = stmt_int64(q, 1) != 0, .url = str_copy(a, stmt_str(q, 2)), .fetched_s = stmt_int64(q, 3),
	                               .tried_s = stmt_int64(q, 4), .fault = fault >= 0 && fault < ISSUER_FAULT_COUNT ? (enum issuer_fault)fault : ISSUER_FINE,
	                               .asked = str_copy(a, stmt_str(q, 6)), .why = str_copy(a, stmt_str(q, 7)) };
}

enum err issuer_list(struct directory *d, struct arena *a, struct issuer **out, size_t *n)
{
	static const char sql[] = "SELECT issuer, is_fetched, url, fetched, tried, fault, asked, why FROM issuer ORDER BY name";
	CLEANUP(stmt_release) struct stmt *q = db_query(d->db, sql);

	*out = arena_array(a, ISSUERS_MAX, sizeof **out);
	for (*n = 0; *n < ISSUERS_MAX && stmt_row(q); ++*n) {
		struct scan s = scan_of(str_copy(a, stmt_str(q, 0)));
		(*out)[*n] = get_issuer(&s, a);
		if (!get_end(&s))
			return ERR_CORRUPT;
		(*out)[*n].source = source_of(q, a);
	}
	return stmt_end(q);
}

enum err issuer_get(struct directory *d, struct str name, struct arena *a, struct issuer *out)
{
	struct issuer *list;
	size_t n;

	TRY(issuer_list(d, a, &list, &n));
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(list[i].name, name))
			continue;
		*out = list[i];
		return ERR_OK;
	}
	return ERR_NOTFOUND;
}
