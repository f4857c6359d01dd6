/* So much of something in a day, for each account: a bucket that leaks. What is taken fills it, and it empties evenly, per_day in 86,400
 * seconds; so there is no midnight at which everything is allowed again, and "when may I go on?" has an answer. The level is
 * kept in 1/86,400 of a unit, whole numbers all the way.
 *
 * A pace is a bucket of an hour that may be filled beyond its brim: what is above leaks out first, and how long that takes is how long the
 * next one waits.
 *
 * Read once, since nobody else writes the table: who sends all day pays for writing only.
 *
 * It survives the cell, which comes and goes with its sessions: the row is committed, so kill -9 takes nothing back. It is not
 * synced for its own sake: a power cut may give a little of the day back, and nobody is harmed. */
#include "base/clock.h"
#include "store/store_private.h"

enum { DAY_S = 86400, HOURS = 24, PASSED_MAX_S = 100000000 };  /* the last: so that nothing overflows */

static enum err level_load(struct view *v, enum allowance what, struct allowance_level *out)
{
	static const char sql[] = "SELECT level, at FROM allowance WHERE what = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	*out = (struct allowance_level){ .is_known = true };
	stmt_bind_int64(q, 1, what);
	if (!stmt_row(q))
		return stmt_end(q);
	out->level = stmt_int64(q, 0);
	out->at = stmt_int64(q, 1);
	return ERR_OK;
}

/* leak: in a second. */
static enum err level_read(struct view *v, enum allowance what, int64_t leak, int64_t now, int64_t *level)
{
	struct allowance_level *known = &v->levels[what];

	*level = 0;
	if (!known->is_known)
		TRY(level_load(v, what, known));
	int64_t passed = now - known->at;  /* a clock that was set back empties nothing; by more than a day: that level is of no use */
	if (passed > -DAY_S && passed < PASSED_MAX_S)
		*level = known->level - (passed > 0 ? passed : 0) * leak;
	if (*level < 0)
		*level = 0;
	return ERR_OK;
}

/* What was in a transaction that did not come to be is read again. */
static enum err level_write(struct view *v, enum allowance what, int64_t level, int64_t now)
{
	static const char sql[] = "INSERT OR REPLACE INTO allowance VALUES (?1, ?2, ?3)";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	v->levels[what] = (struct allowance_level){ 0 };
	stmt_bind_int64(q, 1, what);
	stmt_bind_int64(q, 2, level);
	stmt_bind_int64(q, 3, now);
	TRY(stmt_done(q));
	v->levels[what] = (struct allowance_level){ true, level, now };
	return ERR_OK;
}

void allowance_forget(struct view *v) { memset(v->levels, 0, sizeof v->levels); }

enum err allowance_spend(struct view *v, enum allowance what, int64_t n, uint64_t per_day, int64_t now, uint64_t *wait_s)
{
	int64_t level, full = (int64_t)per_day * DAY_S;

	*wait_s = 0;
	TRY(level_read(v, what, (int64_t)per_day, now, &level));
	level += n * DAY_S;
	if (n > 0 && level > full) {
		*wait_s = ((uint64_t)(level - full) + per_day - 1) / per_day;
		return ERR_LIMIT;
	}
	return level_write(v, what, level > 0 ? level : 0, now);
}

enum err allowance_pace(struct view *v, enum allowance what, int64_t n, uint64_t per_hour, int64_t now, uint64_t *wait_s)
{
	int64_t level, full = (int64_t)per_hour * DAY_S, leak = (int64_t)per_hour * HOURS;

	*wait_s = 0;
	TRY(level_read(v, what, leak, now, &level));
	if (level > full)
		*wait_s = (uint64_t)((level - full + leak - 1) / leak);
	level += n * DAY_S;
	if (n > 0 && *wait_s > DAY_S)
		return ERR_LIMIT;
	return level_write(v, what, level > 0 ? level : 0, now);
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
	if (atomic_load(&v->is_broken))
		return ERR_IO;
	pthread_mutex_lock(&v->db_lock);
	enum err e = allowance_spend(v, what, n, per_day, clock_wall_s(), wait_s);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}
