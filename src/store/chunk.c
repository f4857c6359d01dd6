/* Rows of messages, 140 to a row of the database.
 *
 * Problem: a mailbox is read whole (the array of a SELECT) and changed in runs (STORE 1:*, COPY, EXPUNGE), and SQLite takes 0.3 µs to find,
 * decode and hand over a row of five small numbers, and 0.4 µs to change it: nearly all that those commands cost. Choice: a row is what
 * fits a page, 28 bytes a message in fixed places, so that a step of SQLite is paid once for 140 messages; the rest is copying. Pages
 * written stay what they were: a message alone changes the page that it stands in, as before. A chunk that is emptied goes; one that
 * gets thin stays so, since what is left in it costs no more than a row of its own did.
 *
 * One chunk is held, so that what comes one by one (deliveries of a batch, the messages of a COPY) is collected, and a lone delivery
 * need not read what it adds to. What is held and clean is always what the table says: only the holder of the db lock changes either, and a
 * rollback forgets it.
 *
 * The key is mailbox << 32 | the uid that its first message had. */
#include "store/chunk.h"
#include "base/log.h"
#include "store/store_private.h"
#include <endian.h>

enum {
#ifdef FACTEUR_FAULT
	CHUNK_FULL = 7,           /* random and crash tests come to the end of one often */
#else
	CHUNK_FULL = CHUNK_MAX,
#endif
	SLOT_BYTES = 28, AT_EMAIL = 4, AT_MODSEQ = 8, AT_FLAGS = 16, AT_SAVED = 24
};

struct chunk {
	int64_t key;              /* 0: none is held */
	size_t  n;
	bool    is_last;          /* of its mailbox, known to be */
	bool    is_dirty;
	unsigned char slots[CHUNK_MAX * SLOT_BYTES];
};

static int64_t key_of(int64_t mailbox_id, uint32_t uid) { return (int64_t)((uint64_t)mailbox_id << 32 | uid); }
static bool can_have_key(int64_t mailbox_id) { return mailbox_id > 0 && mailbox_id <= INT32_MAX; }
static bool is_of(const struct chunk *c, int64_t mailbox_id) { return c->key >> 32 == mailbox_id; }

/* ------------------------------------------------------------------------------------------------------------ slots */

static uint32_t u32_at(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return le32toh(v);
}

static uint64_t u64_at(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

static void set_u32(unsigned char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof v);
}

static void set_u64(unsigned char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof v);
}

static uint32_t uid_of(const struct chunk *c, size_t i) { return u32_at(c->slots + i * SLOT_BYTES); }

size_t chunk_count(const struct chunk *c) { return c->n; }
uint32_t chunk_key(const struct chunk *c) { return (uint32_t)c->key; }
uint32_t chunk_last_uid(const struct chunk *c) { return uid_of(c, c->n - 1); }

size_t chunk_find(const struct chunk *c, uint32_t uid)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (uid_of(c, mid) < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct slot chunk_slot(const struct chunk *c, size_t i)
{
	const unsigned char *p = c->slots + i * SLOT_BYTES;

	return (struct slot){ u32_at(p), u32_at(p + AT_EMAIL), u64_at(p + AT_MODSEQ), u64_at(p + AT_FLAGS) & ~FLAG_GONE, u32_at(p + AT_SAVED) };
}

void chunk_entries(const struct chunk *c, size_t i, struct entry *out)
{
	for (const unsigned char *p = c->slots + i * SLOT_BYTES, *end = c->slots + c->n * SLOT_BYTES; p < end; p += SLOT_BYTES)
		*out++ = (struct entry){ u32_at(p), u32_at(p + AT_EMAIL), u64_at(p + AT_MODSEQ), u64_at(p + AT_FLAGS) & ~FLAG_GONE };
}

void chunk_set_flags(struct chunk *c, size_t i, uint64_t flags, uint64_t modseq)
{
	set_u64(c->slots + i * SLOT_BYTES + AT_FLAGS, flags);
	set_u64(c->slots + i * SLOT_BYTES + AT_MODSEQ, modseq);
	c->is_dirty = true;
}

static void push(struct chunk *c, const struct slot *s)
{
	unsigned char *p = c->slots + c->n++ * SLOT_BYTES;

	set_u32(p, s->uid);
	set_u32(p + AT_EMAIL, s->email);
	set_u64(p + AT_MODSEQ, s->modseq);
	set_u64(p + AT_FLAGS, s->flags);
	set_u32(p + AT_SAVED, s->saved < 0 ? 0 : s->saved > UINT32_MAX ? UINT32_MAX : (uint32_t)s->saved);
	c->is_dirty = true;
}

/* ---------------------------------------------------------------------------------------------------- read and write */

static bool is_sound(const struct chunk *c)
{
	for (size_t i = 1; i < c->n; i++)
		if (uid_of(c, i) <= uid_of(c, i - 1))
			return false;
	return uid_of(c, 0) >= (uint32_t)c->key && chunk_last_uid(c) < UINT32_MAX;
}

/* The one row of q becomes what is held; without one nothing is held. */
static enum err take_row(struct view *v, struct stmt *q, struct chunk **out)
{
	struct chunk *c = v->chunk;
	struct str slots;

	c->key = 0;
	*out = NULL;
	if (!stmt_row(q))
		return stmt_end(q);
	slots = stmt_str(q, 1);
	c->key = stmt_int64(q, 0);
	c->n = slots.n / SLOT_BYTES;
	c->is_last = c->is_dirty = false;
	if (slots.n == 0 || slots.n > sizeof c->slots || slots.n % SLOT_BYTES != 0) {
		c->n = 0;
	} else {
		memcpy(c->slots, slots.p, slots.n);
	}
	if (c->n == 0 || !is_sound(c)) {
		log_error("the account's database is damaged: messages of a mailbox account=%llu mailbox_id=%lld uid=%u; bring it back from a backup",
		          (unsigned long long)v->config.account, (long long)(c->key >> 32), (uint32_t)c->key);
		c->key = 0;
		return ERR_CORRUPT;
	}
	*out = c;
	return ERR_OK;
}

static enum err read_newest(struct view *v, int64_t first, int64_t last, struct chunk **out)
{
	static const char sql[] = "SELECT chunk_id, slots FROM chunk WHERE chunk_id BETWEEN ?1 AND ?2 ORDER BY chunk_id DESC LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, first);
	stmt_bind_int64(q, 2, last);
	return take_row(v, q, out);
}

static enum err read_oldest(struct view *v, int64_t first, int64_t last, struct chunk **out)
{
	static const char sql[] = "SELECT chunk_id, slots FROM chunk WHERE chunk_id BETWEEN ?1 AND ?2 ORDER BY chunk_id LIMIT 1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, first);
	stmt_bind_int64(q, 2, last);
	return take_row(v, q, out);
}

static enum err write(struct db *db, const struct chunk *c)
{
	static const char keep[] = "INSERT OR REPLACE INTO chunk VALUES (?1, ?2)";
	static const char drop[] = "DELETE FROM chunk WHERE chunk_id = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, c->n > 0 ? keep : drop);

	stmt_bind_int64(q, 1, c->key);
	if (c->n > 0)
		stmt_bind_blob(q, 2, str_make((const char *)c->slots, c->n * SLOT_BYTES));
	return stmt_done(q);
}

enum err chunk_flush(struct view *v)
{
	struct chunk *c = v->chunk;

	if (c == NULL || c->key == 0 || !c->is_dirty)
		return ERR_OK;
	TRY(write(v->db, c));
	c->is_dirty = false;
	if (c->n == 0)
		c->key = 0;
	return ERR_OK;
}

void chunk_forget(struct view *v)
{
	mem_free(v->chunk);
	v->chunk = NULL;
}

static struct chunk *held(struct view *v)
{
	if (v->chunk == NULL)
		v->chunk = MEM_NEW(struct chunk);
	return v->chunk;
}

/* ------------------------------------------------------------------------------------------------------------- calls */

enum err chunk_seek(struct view *v, int64_t mailbox_id, uint32_t uid, struct chunk **out)
{
	const struct chunk *c = held(v);
	int64_t end = key_of(mailbox_id, UINT32_MAX);

	*out = NULL;
	if (!can_have_key(mailbox_id))
		return ERR_OK;
	if (is_of(c, mailbox_id) && c->n > 0 && uid_of(c, 0) <= uid && uid <= chunk_last_uid(c)) {
		*out = v->chunk;
		return ERR_OK;
	}
	bool is_behind = is_of(c, mailbox_id) && c->n > 0 && uid == chunk_last_uid(c) + 1;
	int64_t key = c->key;
	TRY(chunk_flush(v));
	if (is_behind)  /* who reads one after the other */
		return read_oldest(v, key + 1, end, out);
	TRY(read_newest(v, key_of(mailbox_id, 0), key_of(mailbox_id, uid), out));
	if (*out != NULL && chunk_last_uid(*out) >= uid)
		return ERR_OK;
	return uid == UINT32_MAX ? (*out = NULL, ERR_OK) : read_oldest(v, key_of(mailbox_id, uid + 1), end, out);
}

enum err chunk_each(struct view *v, int64_t mailbox_id, uint32_t key, size_t max, chunk_taker *take, void *context, bool *more)
{
	static const char sql[] = "SELECT chunk_id, slots FROM chunk WHERE chunk_id BETWEEN ?1 AND ?2 ORDER BY chunk_id";
	struct chunk *c = held(v);
	size_t n = 0;

	*more = false;
	if (!can_have_key(mailbox_id))
		return ERR_OK;
	TRY(chunk_flush(v));
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	stmt_bind_int64(q, 1, key_of(mailbox_id, key));
	stmt_bind_int64(q, 2, key_of(mailbox_id, UINT32_MAX));
	for (; n < max; n++) {
		TRY(take_row(v, q, &c));
		if (c == NULL)
			return ERR_OK;
		take(context, c);
	}
	*more = true;
	return ERR_OK;
}

enum err chunk_flags(struct view *v, uint64_t enough, uint64_t *flags)
{
	static const char sql[] = "SELECT chunk_id, slots FROM chunk";
	struct chunk *c = held(v);

	TRY(chunk_flush(v));
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	while ((enough & ~*flags) != 0) {
		TRY(take_row(v, q, &c));
		if (c == NULL)
			break;
		for (size_t i = 0; i < c->n; i++)
			*flags |= u64_at(c->slots + i * SLOT_BYTES + AT_FLAGS);
	}
	return ERR_OK;
}

/* Holds the last one of the mailbox; key 0: it has none. */
static enum err hold_last(struct view *v, int64_t mailbox_id)
{
	struct chunk *c = held(v), *last;

	if (is_of(c, mailbox_id) && c->is_last && c->n > 0)
		return ERR_OK;
	TRY(chunk_flush(v));
	TRY(read_newest(v, key_of(mailbox_id, 0), key_of(mailbox_id, UINT32_MAX), &last));
	if (last != NULL)
		last->is_last = true;
	return ERR_OK;
}

enum err chunk_append(struct view *v, int64_t mailbox_id, const struct slot *s)
{
	struct chunk *c;

	if (!can_have_key(mailbox_id))
		return ERR_LIMIT;
	TRY(hold_last(v, mailbox_id));
	c = v->chunk;
	if (c->key != 0 && chunk_last_uid(c) >= s->uid) {
		log_error("the account's database is damaged: the next uid of a mailbox is taken account=%llu mailbox_id=%lld uid=%u; bring it back "
		          "from a backup", (unsigned long long)v->config.account, (long long)mailbox_id, s->uid);
		return ERR_CORRUPT;
	}
	if (c->key == 0 || c->n >= CHUNK_FULL) {
		TRY(chunk_flush(v));
		c->key = key_of(mailbox_id, s->uid);
		c->n = 0;
		c->is_last = true;
	}
	push(c, s);
	return ERR_OK;
}

enum err chunk_remove(struct view *v, int64_t mailbox_id, uint32_t uid)
{
	struct chunk *c;
	size_t i;

	TRY(chunk_seek(v, mailbox_id, uid, &c));
	i = c != NULL ? chunk_find(c, uid) : 0;
	if (c == NULL || uid_of(c, i) != uid)
		return ERR_NOTFOUND;
	memmove(c->slots + i * SLOT_BYTES, c->slots + (i + 1) * SLOT_BYTES, (c->n - i - 1) * SLOT_BYTES);
	c->n--;
	c->is_dirty = true;
	return ERR_OK;
}

/* ----------------------------------------------------------------------------------------------------------- the step */

enum err chunk_convert(struct db *db)
{
	static const char sql[] = "SELECT mailbox_id, uid, email_id, flags, modseq, saved FROM message ORDER BY mailbox_id, uid";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);
	struct chunk c = { 0 };

	while (stmt_row(q)) {
		int64_t mailbox_id = stmt_int64(q, 0);
		struct slot s = { (uint32_t)stmt_int64(q, 1), (uint32_t)stmt_int64(q, 2), stmt_u64(q, 4), stmt_u64(q, 3), stmt_int64(q, 5) };
		if (c.n == CHUNK_MAX || (c.n > 0 && !is_of(&c, mailbox_id))) {
			TRY(write(db, &c));
			c.n = 0;
		}
		if (c.n == 0)
			c.key = key_of(mailbox_id, s.uid);
		push(&c, &s);
	}
	TRY(stmt_end(q));
	return c.n > 0 ? write(db, &c) : ERR_OK;
}
