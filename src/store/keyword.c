/* Keywords of an account: names for bits 6-63 of a message's flags. The list only grows, so a bit means the same in
 * every copy of the flags, in memory and in a parked session; n_keywords is raised after the name is in place, so
 * readers need no lock. Names compare without regard to ASCII case and keep the case of their first use (RFC 9051
 * §2.3.2). */
#include "store/store_private.h"

static char *own(struct str s)
{
	char *p = mem_alloc(s.n + 1);

	memcpy(p, s.p, s.n);
	return p;
}

enum err keyword_load(struct view *v)
{
	static const char sql[] = "SELECT name FROM keyword ORDER BY bit";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
	unsigned n = 0;

	while (n < KEYWORDS_MAX && stmt_row(q))
		v->keywords[n++] = own(stmt_str(q, 0));
	atomic_store(&v->n_keywords, n);
	return n == KEYWORDS_MAX ? ERR_OK : stmt_end(q);
}

size_t view_keywords(struct view *v, struct str names[KEYWORDS_MAX])
{
	unsigned n = atomic_load(&v->n_keywords);

	for (unsigned i = 0; i < n; i++)
		names[i] = str_of(v->keywords[i]);
	return n;
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

static uint64_t find(struct view *v, struct str name)
{
	unsigned n = atomic_load(&v->n_keywords);

	for (unsigned i = 0; i < n; i++)
		if (str_ieq(str_of(v->keywords[i]), name))
			return FLAG_KEYWORD(i);
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
	uint64_t flag = find(v, name);
	unsigned n;

	if (flag != 0 || !create || !is_flag_keyword(name) || atomic_load(&v->is_broken))
		return flag;
	pthread_mutex_lock(&v->db_lock);
	flag = find(v, name);
	n = atomic_load(&v->n_keywords);
	if (flag == 0 && n < KEYWORDS_MAX && keyword_insert(v, n, name) == ERR_OK) {
		v->keywords[n] = own(name);
		atomic_store(&v->n_keywords, n + 1);
		atomic_fetch_add(&v->committed, 1);
		flag = FLAG_KEYWORD(n);
	}
	pthread_mutex_unlock(&v->db_lock);
	return flag;
}
