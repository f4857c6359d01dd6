/* The table dkim_key. A selector is the day it was made and a letter for the algorithm, "20261128r": whoever looks at the DNS sees how old
 * a key is, and one that was published is not given again with another key while its row lives. */
#include "auth/dkim_store.h"
#include "auth/secrets_private.h"
#include "base/clock.h"
#include "base/log.h"
#include <time.h>

enum { SELECTORS_A_DAY = 99 };

enum err dkim_store_signing(struct secrets *s, struct str domain, struct arena *a, struct dkim_secret out[DKIM_ALGORITHM_COUNT],
                            size_t *n)
{
	static const char sql[] = "SELECT dkim_key_id, algorithm, selector, private_key FROM dkim_key WHERE domain = ?1 AND state = ?2 "
	                          "ORDER BY algorithm";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	*n = 0;
	stmt_bind_text(q, 1, domain);
	stmt_bind_int64(q, 2, DKIM_SIGNS);
	while (*n < DKIM_ALGORITHM_COUNT && stmt_row(q)) {
		if (stmt_int64(q, 1) >= DKIM_ALGORITHM_COUNT)
			continue;  /* of a newer program */
		out[(*n)++] = (struct dkim_secret){ stmt_u64(q, 0), (enum dkim_algorithm)stmt_int64(q, 1), str_copy(a, stmt_str(q, 2)),
		                                    str_copy(a, stmt_str(q, 3)) };
	}
	return stmt_end(q);
}

enum err dkim_store_missing(struct secrets *s, struct str domain, enum dkim_state state, bool missing[DKIM_ALGORITHM_COUNT], size_t *n)
{
	static const char sql[] = "SELECT algorithm FROM dkim_key WHERE domain = ?1 AND state = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	*n = 0;
	for (size_t i = 0; i < DKIM_ALGORITHM_COUNT; i++)
		missing[i] = true;
	stmt_bind_text(q, 1, domain);
	stmt_bind_int64(q, 2, state);
	while (stmt_row(q))
		if (stmt_int64(q, 0) < DKIM_ALGORITHM_COUNT)
			missing[stmt_int64(q, 0)] = false;
	for (size_t i = 0; i < DKIM_ALGORITHM_COUNT; i++)
		*n += missing[i];
	return stmt_end(q);
}

/* ERR_EXISTS: the domain has this selector. */
static enum err insert(struct db *db, struct str domain, struct str selector, enum dkim_state state, const struct dkim_pair *pair)
{
	static const char sql[] = "INSERT INTO dkim_key (domain, selector, algorithm, state, since_s, public_key, private_key) "
	                          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_text(q, 2, selector);
	stmt_bind_int64(q, 3, pair->algorithm);
	stmt_bind_int64(q, 4, state);
	stmt_bind_int64(q, 5, clock_wall_s());
	stmt_bind_blob(q, 6, pair->public_key);
	stmt_bind_text(q, 7, pair->pem);
	return stmt_done(q);
}

static bool has_selector(struct db *db, struct str domain, struct str selector)
{
	static const char sql[] = "SELECT 1 FROM dkim_key WHERE domain = ?1 AND selector = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_text(q, 2, selector);
	return stmt_row(q);
}

static enum err add_one(struct db *db, struct str domain, enum dkim_state state, const struct dkim_pair *pair)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	time_t now = (time_t)clock_wall_s();
	struct tm day;
	struct str selector;
	int tries = 1;

	gmtime_r(&now, &day);
	selector = arena_printf(&a, "%04d%02d%02d%s", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday,
	                        dkim_algorithm(pair->algorithm)->suffix);
	while (has_selector(db, domain, selector)) {
		if (++tries > SELECTORS_A_DAY)
			return ERR_LIMIT;
		selector = arena_printf(&a, "%04d%02d%02d%s%d", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday,
		                        dkim_algorithm(pair->algorithm)->suffix, tries);
	}
	log_info("DKIM key made domain=" STR_FMT " selector=" STR_FMT, STR_ARG(domain), STR_ARG(selector));
	return insert(db, domain, selector, state, pair);
}

enum err dkim_store_add(struct secrets *s, struct str domain, enum dkim_state state, const struct dkim_pair *pairs, size_t n)
{
	CLEANUP(db_rollback_if_open) struct db *tx = secrets_db(s);
	bool missing[DKIM_ALGORITHM_COUNT];
	size_t count;

	TRY(db_begin(tx));
	TRY(dkim_store_missing(s, domain, state, missing, &count));
	for (size_t i = 0; i < n; i++) {
		if (missing[pairs[i].algorithm])
			TRY(add_one(tx, domain, state, &pairs[i]));
		missing[pairs[i].algorithm] = false;
	}
	return db_commit(tx);
}

/* The algorithm of the key that waits. */
static enum err find_waiting(struct db *db, struct str domain, struct str selector, int64_t *algorithm)
{
	static const char sql[] = "SELECT algorithm FROM dkim_key WHERE domain = ?1 AND selector = ?2 AND state = ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_text(q, 2, selector);
	stmt_bind_int64(q, 3, DKIM_WAITS);
	if (!stmt_row(q))
		return stmt_err(q, ERR_NOTFOUND);
	*algorithm = stmt_int64(q, 0);
	return ERR_OK;
}

static enum err retire(struct db *db, struct str domain, int64_t algorithm)
{
	static const char sql[] = "UPDATE dkim_key SET state = ?3, since_s = ?4, private_key = NULL "
	                          "WHERE domain = ?1 AND algorithm = ?2 AND state = ?5";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_int64(q, 2, algorithm);
	stmt_bind_int64(q, 3, DKIM_RETIRED);
	stmt_bind_int64(q, 4, clock_wall_s());
	stmt_bind_int64(q, 5, DKIM_SIGNS);
	return stmt_done(q);
}

static enum err let_sign(struct db *db, struct str domain, struct str selector)
{
	static const char sql[] = "UPDATE dkim_key SET state = ?3, since_s = ?4 WHERE domain = ?1 AND selector = ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_text(q, 2, selector);
	stmt_bind_int64(q, 3, DKIM_SIGNS);
	stmt_bind_int64(q, 4, clock_wall_s());
	return stmt_done(q);
}

static enum err drop_retired(struct db *db, struct str domain)
{
	static const char sql[] = "DELETE FROM dkim_key WHERE domain = ?1 AND state = ?2 AND since_s < ?3";
	CLEANUP(stmt_release) struct stmt *q = db_query(db, sql);

	stmt_bind_text(q, 1, domain);
	stmt_bind_int64(q, 2, DKIM_RETIRED);
	stmt_bind_int64(q, 3, clock_wall_s() - DKIM_RETIRED_DAYS * 86400);
	return stmt_done(q);
}

enum err dkim_store_activate(struct secrets *s, struct str domain, struct str selector)
{
	CLEANUP(db_rollback_if_open) struct db *tx = secrets_db(s);
	int64_t algorithm = 0;

	TRY(db_begin(tx));
	TRY(find_waiting(tx, domain, selector, &algorithm));
	TRY(drop_retired(tx, domain));
	TRY(retire(tx, domain, algorithm));
	TRY(let_sign(tx, domain, selector));
	TRY(db_commit(tx));
	log_info("DKIM key signs from now on domain=" STR_FMT " selector=" STR_FMT, STR_ARG(domain), STR_ARG(selector));
	return ERR_OK;
}

static enum err read_keys(struct stmt *q, struct arena *a, struct dkim_keys *out)
{
	out->list = arena_array(a, DKIM_KEYS_MAX, sizeof *out->list);
	out->count = 0;
	while (out->count < DKIM_KEYS_MAX && stmt_row(q)) {
		if (stmt_int64(q, 2) >= DKIM_ALGORITHM_COUNT)
			continue;
		out->list[out->count++] = (struct dkim_key){
			.domain = str_copy(a, stmt_str(q, 0)), .selector = str_copy(a, stmt_str(q, 1)),
			.algorithm = (enum dkim_algorithm)stmt_int64(q, 2), .state = (enum dkim_state)stmt_int64(q, 3),
			.since_s = stmt_int64(q, 4), .public_key = str_copy(a, stmt_str(q, 5)) };
	}
	return stmt_end(q);
}

#define KEY_COLUMNS "SELECT domain, selector, algorithm, state, since_s, public_key FROM dkim_key "

static enum err list_waiting(struct secrets *s, struct arena *a, struct dkim_keys *out)
{
	static const char sql[] = KEY_COLUMNS "WHERE state = ?1 ORDER BY since_s";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_int64(q, 1, DKIM_WAITS);
	return read_keys(q, a, out);
}

enum err dkim_store_list(struct secrets *s, struct str domain, struct arena *a, struct dkim_keys *out)
{
	static const char sql[] = KEY_COLUMNS "WHERE domain = ?1 AND NOT (state = ?2 AND since_s < ?3) ORDER BY algorithm, dkim_key_id DESC";
	CLEANUP(stmt_release) struct stmt *q = NULL;

	if (domain.n == 0)
		return list_waiting(s, a, out);
	q = db_query(secrets_db(s), sql);
	stmt_bind_text(q, 1, domain);
	stmt_bind_int64(q, 2, DKIM_RETIRED);
	stmt_bind_int64(q, 3, clock_wall_s() - DKIM_RETIRED_DAYS * 86400);
	return read_keys(q, a, out);
}

enum err dkim_store_forget(struct secrets *s, struct str domain)
{
	static const char sql[] = "DELETE FROM dkim_key WHERE domain = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(secrets_db(s), sql);

	stmt_bind_text(q, 1, domain);
	return stmt_done(q);
}
