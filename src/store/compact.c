/* Giving disk space back: when more than 40 % of a file of bodies/ is dead, its live records are copied to the newest
 * file, synced, their rows changed, and the old file is unlinked, when no reader has it open. Punching holes gave back
 * 1 % at 3 kB a message and 12 % at 4 kB (DESIGN §5). Works in steps of a range of emails, from view_tick(); a stop in
 * the middle leaves copies nobody names, and the work begins again.
 *
 * An email takes its number before its bytes are written, and has its row some time later: a client may need minutes for an APPEND of
 * several. So when the file has been left for new records, every email in it has a number that was given out; it goes when all
 * up to that one are settled.
 *
 * What the disk has damaged is copied as it is, with the checksum that gives it away. What cannot be read at all stays where it is, and its file with
 * it, until the account is opened again: perhaps the disk has been mended then, or the file put back. */
#include "base/log.h"
#include "store/store_private.h"

enum {
#ifdef FACTEUR_FAULT
	EMAILS_STEP = 7, WORTH_BYTES = 100, WORTH_PERCENT = 1,   /* the crash tests compact often, and stop in the middle */
#else
	EMAILS_STEP = 500, WORTH_BYTES = 1 << 20, WORTH_PERCENT = 40,
#endif
	BYTES_STEP = 4 << 20,
};

enum err body_file_add_dead(struct view *v, const struct place *place)
{
	static const char sql[] = "INSERT INTO body_file VALUES (?1, ?2) ON CONFLICT (file) DO UPDATE SET dead = dead + ?2";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, place->file);
	stmt_bind_u64(q, 2, place->size + RECORD_HEADER);
	return stmt_done(q);
}

struct dead_file {
	uint32_t file;
	uint64_t dead;
};

static enum err dead_files(struct view *v, struct dead_file *out, size_t max, size_t *n)
{
	static const char sql[] = "SELECT file, dead FROM body_file ORDER BY dead DESC LIMIT ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, (int64_t)max);
	*n = 0;
	while (*n < max && stmt_row(q))
		out[(*n)++] = (struct dead_file){ (uint32_t)stmt_int64(q, 0), stmt_u64(q, 1) };
	return *n == max ? ERR_OK : stmt_end(q);
}

static enum err forget_dead(struct view *v, uint32_t file)
{
	static const char sql[] = "DELETE FROM body_file WHERE file = ?1";
	enum err e;

	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, file);
		e = stmt_done(q);
	}
	atomic_fetch_add(&v->committed, 1);
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

static enum err forget_missing(struct view *v, uint32_t file)
{
	log_error("a file of messages is missing account=%llu file=bodies/%06u; `facteur account check` says whether any message was in it",
	          (unsigned long long)v->config.account, file);
	return forget_dead(v, file);
}

static bool is_left_alone(const struct view *v, uint32_t file)
{
	for (size_t i = 0; i < v->n_compact_left; i++)
		if (v->compact_left[i] == file)
			return true;
	return v->n_compact_left == COUNT_OF(v->compact_left);  /* so many of them: nothing is moved on such a disk */
}

static enum err worth_emptying(struct view *v, uint32_t *file)
{
	struct dead_file dead[16];
	uint64_t size;
	size_t n;
	enum err e;

	*file = 0;
	pthread_mutex_lock(&v->db_lock);
	e = dead_files(v, dead, COUNT_OF(dead), &n);
	pthread_mutex_unlock(&v->db_lock);
	for (size_t i = 0; e == ERR_OK && i < n && *file == 0; i++) {
		if (is_left_alone(v, dead[i].file))
			continue;
		e = bodies_file_size(v->bodies, dead[i].file, &size);
		if (e == ERR_CORRUPT)
			e = forget_missing(v, dead[i].file);  /* a stop came before the note that it was removed */
		else if (e == ERR_OK && dead[i].dead > WORTH_BYTES && dead[i].dead * 100 > size * WORTH_PERCENT)
			*file = dead[i].file;
	}
	return e;
}

/* The next file to be emptied becomes v->compacting, if there is one: only when nothing is added to it any more. */
static enum err begin(struct view *v)
{
	uint32_t file;

	TRY(worth_emptying(v, &file));
	if (file == 0)
		return ERR_OK;
	TRY(bodies_leave(v->bodies, file));
	v->compacting = file;
	v->compact_after = 0;
	v->compact_upto = atomic_load(&v->email_next) - 1;
	return ERR_OK;
}

struct live {
	uint32_t     email;
	struct place from, to;
};

static enum err live_read(struct view *v, uint32_t file, uint32_t after, uint32_t upto, struct live *out, size_t max,
						  size_t *n)
{
	static const char sql[] =
		"SELECT email_id, at, size FROM email WHERE email_id > ?1 AND email_id <= ?2 AND file = ?3 ORDER BY email_id";
	enum err e;

	*n = 0;
	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, after);
		stmt_bind_int64(q, 2, upto);
		stmt_bind_int64(q, 3, file);
		while (*n < max && stmt_row(q))
			out[(*n)++] =
				(struct live){ .email = (uint32_t)stmt_int64(q, 0), .from = { file, stmt_u64(q, 1), stmt_u64(q, 2) } };
		e = *n == max ? ERR_OK : stmt_end(q);
	}
	pthread_mutex_unlock(&v->db_lock);
	return e;
}

/* Of the file that is being emptied, something stays in it. */
static void leave_alone(struct view *v)
{
	if (!is_left_alone(v, v->compacting))
		v->compact_left[v->n_compact_left++] = v->compacting;
}

/* to.file 0: it stays where it is. */
static enum err copy_body(struct view *v, struct live *l)
{
	bool is_whole;
	enum err e = bodies_copy(v->bodies, &l->from, l->email, &l->to, &is_whole);

	if (e == ERR_OK && is_whole)
		return ERR_OK;
	if (e != ERR_OK && e != ERR_CORRUPT)
		return e;
	body_is_damaged(v, l->email, &l->from);
	if (e == ERR_CORRUPT) {
		l->to = (struct place){ 0 };
		leave_alone(v);
	}
	return ERR_OK;
}

static enum err change_rows(struct view *v, const struct live *live, size_t n)
{
	CLEANUP(tx_abandon) struct tx tx = { 0 };
	uint64_t commit;

	TRY(tx_begin(v, TX_SYNC, &tx));
	for (size_t i = 0; i < n; i++) {
		if (live[i].to.file == 0)
			continue;
		enum err e = email_set_place(v, live[i].email, &live[i].to);
		if (e == ERR_NOTFOUND)  /* purged meanwhile: the copy is dead at once */
			e = body_file_add_dead(v, &live[i].to);
		TRY(e);
	}
	TRY(state_write_counters(v, tx.modseq, false));
	return tx_commit(&tx, &commit);
}

static enum err finish(struct view *v, bool *more)
{
	enum err e;

	if (is_left_alone(v, v->compacting)) {
		v->compacting = 0;
		*more = true;
		return ERR_OK;
	}
	TRY(view_publish(v));  /* the rows that name the copies are durable before the old bytes go */
	e = bodies_remove(v->bodies, v->compacting);
	if (e != ERR_OK)
		return e == ERR_AGAIN ? ERR_OK : e;  /* a reader has it: next time */
	e = forget_dead(v, v->compacting);
	log_info("bodies compacted account=%llu file=%u", (unsigned long long)v->config.account, v->compacting);
	v->compacting = 0;
	*more = true;  /* perhaps another one */
	return e;
}

enum err compact_step(struct view *v, bool *more)
{
	struct live live[EMAILS_STEP];
	uint32_t upto, settled;
	uint64_t bytes = 0;
	size_t n, done = 0;

	*more = false;
	if (v->compacting == 0) {
		TRY(begin(v));
		if (v->compacting == 0)
			return ERR_OK;
	}
	if (v->compact_after >= v->compact_upto)
		return finish(v, more);
	settled = email_settled(v);
	if (v->compact_after >= settled)
		return ERR_OK;  /* somebody is still writing: next time */
	upto = settled < v->compact_upto ? settled : v->compact_upto;
	if (upto - v->compact_after > EMAILS_STEP)
		upto = v->compact_after + EMAILS_STEP;
	TRY(live_read(v, v->compacting, v->compact_after, upto, live, COUNT_OF(live), &n));
	while (done < n && bytes < BYTES_STEP) {
		TRY(copy_body(v, &live[done]));
		bytes += live[done++].from.size;
	}
	if (done > 0) {
		TRY(bodies_sync(v->bodies));
		TRY(change_rows(v, live, done));
	}
	v->compact_after = done < n ? live[done - 1].email : upto;
	*more = true;
	return ERR_OK;
}
