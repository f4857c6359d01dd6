/* So much of something in a day, for each account: a bucket that leaks. What is taken fills it, and it empties evenly, per_day in 86,400
 * seconds; so there is no midnight at which everything is allowed again, and "when may I go on?" has an answer. The level is
 * kept in 1/86,400 of a unit, whole numbers all the way.
 *
 * A pace is a bucket of an hour that may be filled beyond its brim: what is above leaks out first, and how long that takes is how long the
 * next one waits.
 *
 * It survives the cell, which comes and goes with its sessions: the row is committed, so kill -9 takes nothing back. It is not
 * synced for its own sake: a power cut may give a little of the day back, and nobody is harmed. */
#include "base/clock.h"
#include "store/store_private.h"

enum { DAY_S = 86400, HOURS = 24, PASSED_MAX_S = 100000000 };  /* the last: so that nothing overflows */

/* leak: in a second. */
static enum err level_read(struct view *v, enum allowance what, int64_t leak, int64_t now, int64_t *level)
{
	static const char sql[] = "SELECT level, at FROM allowance WHERE what = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	*level = 0;
	stmt_bind_int64(q, 1, what);
	if (!stmt_row(q))
		return stmt_end(q);
	int64_t passed = now - stmt_int64(q, 1);  /* a clock that was set back empties nothing */
	if (passed < PASSED_MAX_S)
		*level = stmt_int64(q, 0) - (passed > 0 ? passed : 0) * leak;
	if (*level < 0)
		*level = 0;
	return ERR_OK;
}

static enum err level_write(struct view *v, enum allowance what, int64_t level, int64_t now)
{
	static const char sql[] = "INSERT OR REPLACE INTO allowance VALUES (?1, ?2, ?3)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, what);
	stmt_bind_int64(q, 2, level);
	stmt_bind_int64(q, 3, now);
	return stmt_done(q);
}

enum err view_allowance_left(struct view *v, enum allowance what, uint64_t per_day, uint64_t *left)
{
	int64_t level, full = (int64_t)per_day * DAY_S;

	*left = 0;
	pthread_mutex_lock(&v->db_lock);
	enum err e = level_read(v, what, (int64_t)per_day, clock_wall_s(), &level);
	pthread_mutex_unlock(&v->db_lock);
	if (e == ERR_OK && level < full)
		*left = (uint64_t)(full - level) / DAY_S;
	return e;
}

enum err view_spend(struct view *v, enum allowance what, int64_t n, uint64_t per_day, uint64_t *wait_s)
{
	int64_t level, full = (int64_t)per_day * DAY_S, now = clock_wall_s();
	enum err e;

	*wait_s = 0;
	if (atomic_load(&v->is_broken))
		return ERR_IO;
	pthread_mutex_lock(&v->db_lock);
	e = level_read(v, what, (int64_t)per_day, now, &level);
	level += n * DAY_S;
	if (e == ERR_OK && n > 0 && level > full) {
		*wait_s = ((uint64_t)(level - full) + per_day - 1) / per_day;
		e = ERR_LIMIT;
	}
	if (e == ERR_OK)
		e = level_write(v, what, level > 0 ? level : 0, now);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

enum err view_pace(struct view *v, enum allowance what, int64_t n, uint64_t per_hour, uint64_t *wait_s)
{
	int64_t level, full = (int64_t)per_hour * DAY_S, leak = (int64_t)per_hour * HOURS, now = clock_wall_s();
	enum err e;

	*wait_s = 0;
	if (atomic_load(&v->is_broken))
		return ERR_IO;
	pthread_mutex_lock(&v->db_lock);
	e = level_read(v, what, leak, now, &level);
	if (e == ERR_OK && level > full)
		*wait_s = (uint64_t)((level - full + leak - 1) / leak);
	level += n * DAY_S;
	if (e == ERR_OK && n > 0 && *wait_s > DAY_S)
		e = ERR_LIMIT;
	if (e == ERR_OK)
		e = level_write(v, what, level > 0 ? level : 0, now);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}
