/* The life of the index: opened when first needed, made from the messages in steps, thrown away when damaged.
 *
 * Messages are read in the order of their numbers, so one number says how far it is. Two things could make that number a lie. A message whose
 * number was taken may be committed after a higher one: so nothing is read beyond the first number that an append has taken and not
 * committed (email_settled()). And a power cut may take back rows whose numbers are then given out again: so everything that was read is made
 * durable before a segment that names it is one of the index (index_mark() in write_batch()).
 *
 * Work is cut into steps; two of them never run at once (work). What searches need is a list of open segments, guarded by lock, which nobody
 * holds for longer than it takes to copy it. */
#include "base/clock.h"
#include "base/log.h"
#include "store/index_private.h"
#include "store/store_private.h"

enum {
	BATCH_BYTES = 6 << 20,      /* of memory; then a segment is written */
#ifdef FACTEUR_FAULT
	WORTH_EMAILS = 4,           /* the crash tests have few */
#else
	WORTH_EMAILS = 64,          /* fewer new ones are left to whoever searches: he reads them */
#endif
	READ_AT_ONCE = 16,
	LARGE_MESSAGE = 1 << 20,
	PAUSE_MS = 60000,           /* with a disk that is nearly full */
	SWEEP_AT_ONCE = 500,
};

struct index *index_of(struct view *v)
{
	struct index *x;

	pthread_mutex_lock(&v->index_lock);
	if (v->index == NULL) {
		v->index = MEM_NEW(struct index);
		pthread_mutex_init(&v->index->lock, NULL);
		pthread_mutex_init(&v->index->work, NULL);
		atomic_store(&v->index->is_off, index_load(v, v->index) != ERR_OK);  /* logged */
	}
	x = v->index;
	pthread_mutex_unlock(&v->index_lock);
	return x;
}

static void drop_work(struct index *x)
{
	mem_free(x->live);
	x->live = NULL;
	x->live_count = 0;
	message_words_free(x->reading);
	x->reading = NULL;
	segment_abandon(&x->writer);
	batch_free(x->batch);
	x->batch = NULL;
	merge_abandon(&x->merge);
}

void index_close(struct view *v)
{
	struct index *x = v->index;

	if (x == NULL)
		return;
	drop_work(x);
	index_close_segments(x);
	disk_dir_close(&x->dir);
	pthread_mutex_destroy(&x->lock);
	pthread_mutex_destroy(&x->work);
	mem_free(x);
	v->index = NULL;
}

/* ---------------------------------------------------------------------------------------------------- what there will be */

/* Everything that was read is durable before files that name it are. */
static enum err go_on_writing(struct view *v, struct index *x, int64_t until_ms)
{
	struct segment_info info = { .first = atomic_load(&x->written_upto) + 1, .last = x->batch_last, .emails = batch_emails(x->batch) };
	bool done;
	enum err e = batch_write(x->batch, x->writer, until_ms, &done);

	if (e == ERR_OK && !done)
		return ERR_OK;
	will_wait(v);
	if (e == ERR_OK)
		e = segment_end(&x->writer, &info);
	segment_abandon(&x->writer);
	batch_free(x->batch);
	x->batch = NULL;
	TRY(e);
	TRY(index_mark(v, x));
	return index_take_in(x, x->segments.n, 0, &info);
}

static void begin_unread(struct index *x, uint32_t email)
{
	batch_begin_email(x->batch, email);
	batch_mark_unsure(x->batch);
}

/* Others go on while a large one is read from the disk and taken apart. */
static void begin_one(struct view *v, struct index *x, const struct summary *sum)
{
	CLEANUP(body_close) struct body body = { 0 };
	enum err e = sum->email != 0 ? body_open(v, sum->email, &body) : ERR_NOTFOUND;
	char *bytes;

	if (e == ERR_NOTFOUND)
		return;  /* purged meanwhile */
	if (e != ERR_OK) {
		begin_unread(x, sum->email);
		return;
	}
	if (body.size > LARGE_MESSAGE)
		will_wait(v);
	bytes = mem_alloc((size_t)body.size + 1);
	if (body_read(&body, 0, bytes, (size_t)body.size) == ERR_OK) {
		message_words_begin(x->reading, x->batch, sum->email, sum->record, bytes, (size_t)body.size);
		return;
	}
	mem_free(bytes);
	begin_unread(x, sum->email);  /* logged; whoever searches sees the failure himself */
}

static enum err read_some(struct view *v, struct index *x, int64_t until_ms, bool *is_end)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	uint32_t emails[READ_AT_ONCE];
	struct summary sums[READ_AT_ONCE];
	uint32_t settled = email_settled(v);
	size_t n;

	TRY(emails_after(v, atomic_load(&x->read_upto), settled, emails, READ_AT_ONCE, &n));
	*is_end = n < READ_AT_ONCE;
	TRY(view_summaries(v, emails, n, true, &a, sums));
	for (size_t i = 0; i < n; i++) {
		begin_one(v, x, &sums[i]);
		message_words_step(x->reading, until_ms);
		x->batch_last = emails[i];
		atomic_store(&x->read_upto, emails[i]);
		if (clock_mono_ms() >= until_ms) {
			*is_end = *is_end && i + 1 == n && message_words_is_done(x->reading);
			break;
		}
	}
	if (*is_end)  /* the last numbers may have no message: purged, or never committed */
		atomic_store(&x->read_upto, settled);
	return ERR_OK;
}

/* Words of some more messages; when they are enough, or all there are, their segment is begun. */
static enum err go_on_reading(struct view *v, struct index *x, int64_t until_ms)
{
	bool is_end = false;

	if (x->reading == NULL)
		x->reading = message_words_new();
	if (x->batch == NULL)
		x->batch = batch_new();
	message_words_step(x->reading, until_ms);
	if (message_words_is_done(x->reading))
		TRY(read_some(v, x, until_ms, &is_end));
	if (!message_words_is_done(x->reading) || (!is_end && batch_bytes(x->batch) < BATCH_BYTES))
		return ERR_OK;
	if (batch_emails(x->batch) > 0)
		return segment_begin(x->dir, x->next_number++, &x->writer);
	batch_free(x->batch);
	x->batch = NULL;
	return ERR_OK;
}

/* The last segments that are of one level and enough of them; or all of them when there is no room for more. */
static size_t worth_merging(const struct index *x)
{
	size_t n = x->segments.n, same = 0;

	while (same < n && x->segments.s[n - 1 - same]->info.level == x->segments.s[n - 1]->info.level)
		same++;
	return n == SEGMENTS_MAX ? n : same >= MERGE_FAN ? same : 0;
}

static enum err begin_merge(struct index *x, size_t n, uint8_t *live)
{
	x->merge_from = x->segments.n - n;
	x->merge_forgets = live != NULL;
	return merge_begin(x->dir, x->segments.s + x->merge_from, n, x->next_number++, live, &x->merge);
}

/* Which of its emails are still there? When that is known, all segments become one without the others. */
static enum err sweep(struct view *v, struct index *x, int64_t until_ms)
{
	uint32_t emails[SWEEP_AT_ONCE];
	uint8_t *live;
	size_t n;

	if (x->live == NULL) {
		x->live = mem_alloc(index_last(x) / 8 + 1);
		x->live_upto = x->live_count = 0;
	}
	do {
		TRY(emails_after(v, x->live_upto, index_last(x), emails, SWEEP_AT_ONCE, &n));
		for (size_t i = 0; i < n; i++)
			x->live[(emails[i] - 1) / 8] |= (uint8_t)(1 << (emails[i] - 1) % 8);
		x->live_count += (uint32_t)n;
		x->live_upto = n > 0 ? emails[n - 1] : x->live_upto;
		if (n < SWEEP_AT_ONCE) {
			live = x->live;
			x->live = NULL;
			x->is_stale = false;
			return begin_merge(x, x->segments.n, live);
		}
	} while (clock_mono_ms() < until_ms);
	return ERR_OK;
}

static enum err go_on_merging(struct view *v, struct index *x, int64_t until_ms)
{
	struct segment_info info;
	bool done;
	enum err e = merge_step(x->merge, until_ms, &done, &info);

	if (e == ERR_OK && done && info.emails > 0 && x->live_count > 0)
		info.emails = x->live_count < info.emails ? x->live_count : info.emails;
	x->live_count = done ? 0 : x->live_count;
	if (e == ERR_OK && done && x->merge_forgets)
		e = index_mark(v, x);
	if (e == ERR_OK && done)
		e = index_take_in(x, x->merge_from, merge_inputs(x->merge), &info);
	if (e != ERR_OK || done)
		merge_abandon(&x->merge);
	return e;
}

static void pause_work(struct view *v, struct index *x)
{
	if (x->paused_until_ms == 0)
		log_warn("the disk is nearly full: the search index waits until there is room; searches read what it does not have account=%llu",
		         (unsigned long long)v->config.account);
	x->paused_until_ms = clock_mono_ms() + PAUSE_MS;
}

/* The server accepts no mail when less than disk_reserve is free; what can be made anew stops before that. */
static bool has_room(struct view *v, struct index *x, uint64_t bytes)
{
	uint64_t free_bytes, total, reserve;

	if (clock_mono_ms() < x->paused_until_ms)
		return false;
	pthread_mutex_lock(&v->memory_lock);
	reserve = v->config.limits.disk_reserve;
	pthread_mutex_unlock(&v->memory_lock);
	if (reserve == 0 || disk_space(x->dir, &free_bytes, &total) != ERR_OK || (free_bytes > reserve && free_bytes - reserve > bytes)) {
		x->paused_until_ms = 0;
		return true;
	}
	pause_work(v, x);
	return false;
}

static uint64_t bytes_of(const struct index *x, size_t from)
{
	uint64_t bytes = 0;

	for (size_t i = from; i < x->segments.n; i++)
		for (int file = 0; file < SEGMENT_FILES; file++)
			bytes += x->segments.s[i]->info.bytes[file];
	return bytes;
}

/* What was begun is brought to its end. least: so many new emails are worth a segment. */
static enum err step(struct view *v, struct index *x, unsigned least, int64_t until_ms, bool *more)
{
	size_t merges;

	*more = true;
	if (x->merge != NULL)
		return go_on_merging(v, x, until_ms);
	if (x->writer != NULL)
		return go_on_writing(v, x, until_ms);
	if (x->batch != NULL)
		return go_on_reading(v, x, until_ms);
	merges = x->is_stale ? x->segments.n : worth_merging(x);
	*more = (merges > 0 || index_unread(v, x) >= least) && has_room(v, x, merges > 0 ? bytes_of(x, x->segments.n - merges) : BATCH_BYTES);
	if (!*more)
		return ERR_OK;
	if (x->is_stale)
		return sweep(v, x, until_ms);
	return merges > 0 ? begin_merge(x, merges, NULL) : go_on_reading(v, x, until_ms);
}

static void throw_away(struct index *x)
{
	drop_work(x);
	x->is_stale = false;  /* of what is gone */
	pthread_mutex_lock(&x->lock);
	index_close_segments(x);
	pthread_mutex_unlock(&x->lock);
	index_note_written(x);
	if (index_write_manifest(x) != ERR_OK || index_remove_leavings(x) != ERR_OK)
		atomic_store(&x->is_off, true);
}

/* Under work. */
static void fail(struct view *v, struct index *x, enum err e)
{
	if (e == ERR_CORRUPT) {
		throw_away(x);
		return;
	}
	if (e == ERR_FULL || e == ERR_LIMIT) {
		drop_work(x);
		index_note_written(x);
		pause_work(v, x);
		return;
	}
	log_error("searching goes on without the index until the account is opened again account=%llu reason=%s",
	          (unsigned long long)v->config.account, err_name(e));
	atomic_store(&x->is_off, true);
	drop_work(x);
}

void index_failed(struct view *v, enum err e)
{
	struct index *x = index_of(v);

	pthread_mutex_lock(&x->work);
	if (!atomic_load(&x->is_off))
		fail(v, x, e);
	pthread_mutex_unlock(&x->work);
}

/* Under work, which it gives back. */
static bool step_until(struct view *v, struct index *x, unsigned least, int64_t until_ms)
{
	bool more = false;
	enum err e = ERR_OK;

	do {
		more = false;
		if (!atomic_load(&x->is_off))
			e = step(v, x, least, until_ms, &more);
	} while (e == ERR_OK && more && clock_mono_ms() < until_ms);
	if (e != ERR_OK)
		fail(v, x, e);
	pthread_mutex_unlock(&x->work);
	return more && e == ERR_OK;
}

/* A step may take long (one large message: 0.2 s): who waits for it holds a thread, which the account's other sessions need. */
static void wait_for_work(struct view *v, struct index *x)
{
	if (pthread_mutex_trylock(&x->work) == 0)
		return;
	will_wait(v);
	pthread_mutex_lock(&x->work);
}

static bool step_for(struct view *v, unsigned least, int budget_ms)
{
	struct index *x = index_of(v);
	int64_t until_ms = clock_mono_ms() + budget_ms;

	wait_for_work(v, x);
	return step_until(v, x, least, until_ms);
}

bool index_step(struct view *v, int budget_ms) { return step_for(v, WORTH_EMAILS, budget_ms); }
bool index_step_to_end(struct view *v, int budget_ms) { return step_for(v, 1, budget_ms); }

bool index_step_if_free(struct view *v, int budget_ms)
{
	struct index *x = index_of(v);

	return pthread_mutex_trylock(&x->work) != 0 || step_until(v, x, WORTH_EMAILS, clock_mono_ms() + budget_ms);
}

void index_forget(struct view *v)
{
	struct index *x = index_of(v);

	pthread_mutex_lock(&x->work);
	if (!atomic_load(&x->is_off))
		throw_away(x);
	pthread_mutex_unlock(&x->work);
}
