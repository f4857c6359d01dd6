/* Keywords of an account: names for bits 6-63 of a message's flags. A word for each message is what makes flags cheap to keep, to
 * change and to search; so there are 58 names at a time, and a name that nothing has must not keep its bit for ever.
 *
 * While the account is open the list only grows: a bit means the same in every copy of the flags, in the arrays, in a command that runs
 * and in results that are kept up to date. keywords_named is raised after the name is in place, so readers need no lock. When it is closed, and names
 * are many, those go that neither a message has nor one that can be undeleted. The bit may then mean something else in the next process. Who
 * crosses from one to the next, a parked session, holds no bits but the mark of the names that its client was told: it differs, and FLAGS
 * is said before anything that has the new name. A kill at any moment leaves either the old name, or none that a message has.
 *
 * All messages are looked through for it, so only where one of the last KEYWORDS_SPARE bits was taken, or a client was told that there is no room.
 * Who makes names all the time is hardly ever refused one; everybody else pays nothing.
 *
 * Names compare without regard to ASCII case and keep the case of their first use (RFC 9051 §2.3.2). */
#include "base/log.h"
#include "store/chunk.h"
#include "store/store_private.h"

enum { KEYWORDS_SPARE = 8 };      /* who takes one of the last is followed by a look for those that nothing has */

static char *own(struct str s)
{
	char *p = mem_alloc(s.n + 1);

	memcpy(p, s.p, s.n);
	return p;
}

static unsigned first_of(uint64_t flags) { return (unsigned)__builtin_ctzll(flags >> 6); }
static size_t count_of(uint64_t flags) { return (size_t)__builtin_popcountll(flags); }

/* FNV-1a: a parked session takes it into the next process */
static uint32_t mark_of(unsigned bit, struct str name)
{
	uint32_t h = (2166136261u ^ bit) * 16777619u;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 16777619u;
	return h;
}

static void add(struct view *v, unsigned bit, struct str name)
{
	v->keywords[bit] = own(name);
	atomic_fetch_or(&v->keywords_named, FLAG_KEYWORD(bit));
	atomic_fetch_add(&v->keywords_mark, mark_of(bit, name));
}

/* flag-keyword = "$MDNSent" / … / atom: no blanks, quotes, parentheses, wildcards or 8-bit characters; RFC 9051 §9 */
static bool is_flag_keyword(struct str name)
{
	if (name.n == 0 || name.n > KEYWORD_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 127 || strchr("(){%*\"\\]", name.p[i]))
			return false;
	return true;
}

/* Messages may have the bit: it is not given to another name. */
static void add_damaged(struct view *v, unsigned bit)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	log_error("the account's database is damaged: the name of a keyword account=%llu bit=%u; bring it back from a backup", (unsigned long long)v->config.account, bit);
	add(v, bit, arena_printf(&a, "damaged%u", bit));
}

enum err keyword_load(struct view *v)
{
	static const char sql[] = "SELECT bit, name FROM keyword WHERE bit BETWEEN 0 AND ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, KEYWORDS_MAX - 1);
	while (stmt_row(q)) {
		if (is_flag_keyword(stmt_str(q, 1)))
			add(v, (unsigned)stmt_int64(q, 0), stmt_str(q, 1));
		else
			add_damaged(v, (unsigned)stmt_int64(q, 0));
	}
	return stmt_end(q);
}

uint64_t view_keywords(struct view *v, struct str names[KEYWORDS_MAX])
{
	uint64_t named = atomic_load(&v->keywords_named);

	for (uint64_t left = named; left != 0; left &= left - 1)
		names[first_of(left)] = str_of(v->keywords[first_of(left)]);
	return named;
}

uint32_t view_keywords_mark(struct view *v, uint64_t flags)
{
	uint32_t mark = 0;

	for (uint64_t left = flags & atomic_load(&v->keywords_named); left != 0; left &= left - 1)
		mark += mark_of(first_of(left), str_of(v->keywords[first_of(left)]));
	return mark;
}

bool view_keywords_fit(struct view *v, size_t n)
{
	bool fits = count_of(atomic_load(&v->keywords_named)) + n <= KEYWORDS_MAX;

	if (!fits)
		atomic_store(&v->keywords_crowded, true);
	return fits;
}

static uint64_t find(struct view *v, struct str name)
{
	for (uint64_t left = atomic_load(&v->keywords_named); left != 0; left &= left - 1)
		if (str_ieq(str_of(v->keywords[first_of(left)]), name))
			return FLAG_KEYWORD(first_of(left));
	return 0;
}

static enum err keyword_insert(struct view *v, unsigned bit, struct str name)
{
	static const char sql[] = "INSERT INTO keyword VALUES (?1, ?2)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, bit);
	stmt_bind_text(q, 2, name);
	return stmt_done(q);
}

uint64_t view_keyword(struct view *v, struct str name, bool create)
{
	uint64_t flag = find(v, name), room;

	if (flag != 0 || !create || !is_flag_keyword(name) || atomic_load(&v->is_broken))
		return flag;
	pthread_mutex_lock(&v->db_lock);
	flag = find(v, name);
	room = FLAGS_KEYWORDS & ~atomic_load(&v->keywords_named);
	if (flag == 0 && count_of(room) <= KEYWORDS_SPARE)
		atomic_store(&v->keywords_crowded, true);
	if (flag == 0 && room != 0 && keyword_insert(v, first_of(room), name) == ERR_OK) {
		add(v, first_of(room), name);
		atomic_fetch_add(&v->committed, 1);
		flag = FLAG_KEYWORD(first_of(room));
	}
	pthread_mutex_unlock(&v->db_lock);
	return flag;
}

static enum err keyword_delete(struct view *v, unsigned bit)
{
	static const char sql[] = "DELETE FROM keyword WHERE bit = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, bit);
	return stmt_done(q);
}

static enum err delete_unused(struct view *v)
{
	CLEANUP(db_rollback_if_open) struct db *tx = v->db;
	uint64_t named = atomic_load(&v->keywords_named), used = 0;

	TRY(db_begin(tx));
	TRY(chunk_flags(v, named, &used));
	TRY(expunged_flags(v, named, &used));
	if ((named & ~used) == 0)
		return ERR_OK;
	for (uint64_t left = named & ~used; left != 0; left &= left - 1)
		TRY(keyword_delete(v, first_of(left)));
	TRY(db_commit(tx));
	atomic_fetch_add(&v->committed, 1);
	log_info("keywords that no message has are forgotten account=%llu n=%zu left=%zu", (unsigned long long)v->config.account,
	         count_of(named & ~used), count_of(named & used));
	return ERR_OK;
}

enum err keyword_make_room(struct view *v)
{
	enum err e;

	if (!atomic_load(&v->keywords_crowded))
		return ERR_OK;
	pthread_mutex_lock(&v->db_lock);
	e = delete_unused(v);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}
