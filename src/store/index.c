/* The life of the index: opened when first needed, made from the messages in steps, thrown away when damaged.
 *
 * Messages are read in the order of their numbers, so one number says how far it is. Two things could make that number a lie. A message whose
 * number was taken may be committed after a higher one: so nothing is read beyond the first number that an append has taken and not
 * committed (email_settled()). And a power cut may take back rows whose numbers are then given out again: so everything that was read is made
 * durable before a segment that names it is (view_publish() in write_batch()).
 *
 * Which segments there are stands in search/segments, replaced as a whole; other files in the folder are leavings. What an account had
 * before it was put back from a copy is recognised by the last email of each segment (index_check()).
 *
 * Work is cut into steps; two of them never run at once (work). What searches need is a list of open segments, guarded by lock, which nobody
 * holds for longer than it takes to copy it. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "store/index_private.h"
#include "store/store_private.h"
#include <stdlib.h>

enum {
	BATCH_BYTES = 6 << 20,      /* of memory; then a segment is written */
#ifdef FACTEUR_FAULT
	WORTH_EMAILS = 4,           /* the crash tests have few */
#else
	WORTH_EMAILS = 64,          /* fewer new ones are left to whoever searches: he reads them */
#endif
	READ_AT_ONCE = 16,
	MANIFEST_MAX = 16384,
	DEAD_LEAST = 1000,
	SWEEP_AT_ONCE = 500,
};
static const char manifest_name[] = "segments", manifest_magic[] = "facteur search 2";

struct index {
	struct disk_dir *dir;
	pthread_mutex_t  lock;      /* segments, next_number */
	struct segments  segments;
	uint32_t         next_number;
	atomic_bool      is_off;    /* its disk failed */
	pthread_mutex_t  work;      /* the rest; one step at a time */
	struct batch    *batch;     /* NULL: empty */
	uint32_t         batch_first, batch_last;
	uint64_t         batch_check;
	struct merge    *merge;
	size_t           merge_from;
	atomic_uint      read_upto, written_upto;
	bool             is_stale;  /* much of it was purged; what lives is looked up: */
	uint8_t         *live;      /* bits, from email 1 on; NULL: not begun */
	uint32_t         live_upto, live_count;
};

/* -------------------------------------------------------------------------------------------------------- what there is */

static uint64_t check_of(uint32_t email, int64_t received, uint64_t size)
{
	return ((uint64_t)received * UINT64_C(0x9e3779b97f4a7c15)) ^ (size << 20) ^ email;
}

/* ERR_NOTFOUND: purged. ERR_CORRUPT: the account has never had it. */
static enum err index_check(struct view *v, uint32_t email, uint64_t *check)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct summary sum;

	if (email >= atomic_load(&v->email_next))
		return ERR_CORRUPT;
	TRY(view_summaries(v, &email, 1, false, &a, &sum));
	*check = check_of(sum.email, sum.received, sum.size);
	return sum.email == email ? ERR_OK : ERR_NOTFOUND;
}

static enum err write_manifest(struct index *x)
{
	CLEANUP(buf_free) struct buf b = BUF(MANIFEST_MAX);

	put_str(&b, str_of(manifest_magic));
	put_u32(&b, x->next_number);
	put_u32(&b, (uint32_t)x->segments.n);
	for (size_t i = 0; i < x->segments.n; i++) {
		const struct segment_info *s = &x->segments.s[i]->info;
		put_u32(&b, s->number);
		put_u32(&b, s->level);
		put_u32(&b, s->first);
		put_u32(&b, s->last);
		put_u32(&b, s->emails);
		for (int file = 0; file < SEGMENT_FILES; file++)
			put_u64(&b, s->bytes[file]);
		put_u64(&b, s->check);
	}
	put_u32(&b, crc32c(0, b.p, b.n));
	return disk_write_file(x->dir, manifest_name, buf_str(&b));
}

static struct segment_info get_info(struct scan *s)
{
	struct segment_info i = { 0 };

	i.number = get_u32(s);
	i.level = get_u32(s);
	i.first = get_u32(s);
	i.last = get_u32(s);
	i.emails = get_u32(s);
	for (int file = 0; file < SEGMENT_FILES; file++)
		i.bytes[file] = get_u64(s);
	i.check = get_u64(s);
	return i;
}

static enum err read_segments(struct view *v, struct index *x, struct str bytes)
{
	struct str body = str_sub(bytes, 0, bytes.n >= 4 ? bytes.n - 4 : 0);
	struct scan s = scan_of(body), sum = scan_of(str_from(bytes, body.n));
	uint32_t expected = 1;

	if (get_u32(&sum) != crc32c(0, body.p, body.n) || sum.failed || !str_eq(get_str(&s, 64), str_of(manifest_magic)))
		return ERR_CORRUPT;
	x->next_number = get_u32(&s);
	for (uint32_t n = get_count(&s, SEGMENTS_MAX); n > 0; n--) {
		struct segment_info info = get_info(&s);
		uint64_t check = info.check;
		if (s.failed || info.first != expected || info.last < info.first || info.last == UINT32_MAX || info.number >= x->next_number)
			return ERR_CORRUPT;
		enum err e = index_check(v, info.last, &check);
		if (e != ERR_NOTFOUND)
			TRY(e);
		if (check != info.check && e == ERR_OK)
			return ERR_CORRUPT;
		TRY(segment_open(x->dir, &info, &x->segments.s[x->segments.n]));
		x->segments.n++;
		expected = info.last + 1;
	}
	return get_end(&s) ? ERR_OK : ERR_CORRUPT;
}

static void close_segments(struct index *x)
{
	for (size_t i = 0; i < x->segments.n; i++)
		segment_release(x->segments.s[i]);
	x->segments.n = 0;
}

static bool is_named(const struct index *x, struct str name)
{
	if (str_eq(name, str_of(manifest_name)))
		return true;
	for (size_t i = 0; i < x->segments.n; i++) {
		struct segment_names names = segment_names(x->segments.s[i]->info.number);
		for (int file = 0; file < SEGMENT_FILES; file++)
			if (str_eq(name, str_of(names.of[file])))
				return true;
	}
	return false;
}

static enum err remove_leavings(struct index *x)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str *names;
	size_t n;

	TRY(disk_list(x->dir, &a, &names, &n));
	for (size_t i = 0; i < n; i++)
		if (!is_named(x, names[i]))
			TRY(disk_remove(x->dir, str_cstr(&a, names[i])));
	return ERR_OK;
}

static uint32_t last_of(const struct index *x) { return x->segments.n > 0 ? x->segments.s[x->segments.n - 1]->info.last : 0; }

static void note_written(struct index *x)
{
	atomic_store(&x->written_upto, last_of(x));
	if (x->batch == NULL)
		atomic_store(&x->read_upto, last_of(x));
}

/* More than a fifth of what it knows is in no mailbox any more and cannot be brought back. */
static enum err look_for_dead(struct view *v, struct index *x)
{
	struct quota quota;
	uint64_t kept, known = 0;

	TRY(expunged_count(v, &kept));
	view_quota(v, &quota);
	for (size_t i = 0; i < x->segments.n; i++)
		known += x->segments.s[i]->info.emails;
	x->is_stale = known > (quota.messages + kept) / 4 * 5 + DEAD_LEAST;
	return ERR_OK;
}

static enum err load(struct view *v, struct index *x)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str bytes;
	enum err e;

	TRY(disk_dir_open_below(v->dir, "search", true, &x->dir));
	x->next_number = 1;
	e = disk_read_file(x->dir, manifest_name, MANIFEST_MAX, &a, &bytes);
	if (e == ERR_OK)
		e = read_segments(v, x, bytes);
	if (e == ERR_CORRUPT || e == ERR_LIMIT) {
		log_warn("the search index is not of this account, or damaged; it is made anew account=%llu", (unsigned long long)v->config.account);
		close_segments(x);
		e = ERR_OK;
	} else if (e == ERR_NOTFOUND) {
		e = ERR_OK;
	}
	TRY(e);
	note_written(x);
	TRY(look_for_dead(v, x));
	return remove_leavings(x);
}

static struct index *index_of(struct view *v)
{
	struct index *x;

	pthread_mutex_lock(&v->index_lock);
	if (v->index == NULL) {
		v->index = MEM_NEW(struct index);
		pthread_mutex_init(&v->index->lock, NULL);
		pthread_mutex_init(&v->index->work, NULL);
		atomic_store(&v->index->is_off, load(v, v->index) != ERR_OK);  /* logged */
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
	close_segments(x);
	disk_dir_close(&x->dir);
	pthread_mutex_destroy(&x->lock);
	pthread_mutex_destroy(&x->work);
	mem_free(x);
	v->index = NULL;
}

void index_segments(struct view *v, struct segments *out)
{
	struct index *x = index_of(v);

	pthread_mutex_lock(&x->lock);
	*out = x->segments;
	if (atomic_load(&x->is_off))
		out->n = 0;
	for (size_t i = 0; i < out->n; i++)
		segment_use(out->s[i]);
	pthread_mutex_unlock(&x->lock);
}

void index_segments_release(struct segments *s)
{
	for (size_t i = 0; i < s->n; i++)
		segment_release(s->s[i]);
	s->n = 0;
}

/* ---------------------------------------------------------------------------------------------------- what there will be */

/* Replaces n segments from at on by one, or adds it; the old files go. Under work. */
static enum err take_in(struct index *x, size_t at, size_t n, const struct segment_info *info)
{
	struct segment *s, *old[SEGMENTS_MAX];
	enum err e;

	TRY(segment_open(x->dir, info, &s));
	pthread_mutex_lock(&x->lock);
	memcpy(old, x->segments.s + at, n * sizeof old[0]);
	memmove(x->segments.s + at + 1, x->segments.s + at + n, (x->segments.n - at - n) * sizeof old[0]);
	x->segments.s[at] = s;
	x->segments.n = x->segments.n - n + 1;
	pthread_mutex_unlock(&x->lock);
	e = write_manifest(x);
	for (size_t i = 0; i < n; i++) {
		struct segment_names names = segment_names(old[i]->info.number);
		for (int file = 0; file < SEGMENT_FILES && e == ERR_OK; file++)
			(void)!disk_remove(x->dir, names.of[file]);  /* logged; what stays is removed at the next opening */
		segment_release(old[i]);
	}
	note_written(x);
	return e;
}

/* Everything that was read is durable before files that name it are. */
static enum err write_batch(struct view *v, struct index *x)
{
	struct segment_info info = { .first = atomic_load(&x->written_upto) + 1, .last = x->batch_last, .emails = batch_emails(x->batch),
	                             .check = x->batch_check };
	struct segment_writer *w;
	enum err e;

	will_wait(v);
	TRY(view_publish(v));
	TRY(segment_begin(x->dir, x->next_number++, &w));
	e = batch_write(x->batch, w);
	if (e == ERR_OK)
		e = segment_end(&w, &info);
	else
		segment_abandon(&w);
	batch_free(x->batch);
	x->batch = NULL;
	return e == ERR_OK ? take_in(x, x->segments.n, 0, &info) : e;
}

static enum err read_one(struct view *v, struct index *x, const struct summary *sum)
{
	CLEANUP(body_close) struct body body = { 0 };
	enum err e = body_open(v, sum->email, &body);
	char *bytes;

	if (e == ERR_NOTFOUND)
		return ERR_OK;
	if (e != ERR_OK) {
		batch_add_unread(x->batch, sum->email);
		return ERR_OK;
	}
	bytes = mem_alloc((size_t)body.size + 1);
	if (body_read(&body, 0, bytes, (size_t)body.size) == ERR_OK)
		batch_add_message(x->batch, sum->email, sum->record, str_make(bytes, (size_t)body.size));
	else
		batch_add_unread(x->batch, sum->email);  /* logged; whoever searches sees the failure himself */
	mem_free(bytes);
	return ERR_OK;
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
		if (x->batch == NULL)
			x->batch = batch_new();
		if (sums[i].email != 0)
			TRY(read_one(v, x, &sums[i]));
		x->batch_last = emails[i];
		x->batch_check = check_of(sums[i].email, sums[i].received, sums[i].size);
		atomic_store(&x->read_upto, emails[i]);
		if (clock_mono_ms() >= until_ms) {
			*is_end = *is_end && i + 1 == n;
			break;
		}
	}
	if (*is_end)  /* the last numbers may have no message: purged, or never committed */
		atomic_store(&x->read_upto, settled);
	return ERR_OK;
}

static uint64_t unread(struct view *v, const struct index *x)
{
	uint32_t settled = email_settled(v), upto = atomic_load(&x->read_upto);

	return settled > upto ? settled - upto : 0;
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
	return merge_begin(x->dir, x->segments.s + x->merge_from, n, x->next_number++, live, &x->merge);
}

/* Which of its emails are still there? When that is known, all segments become one without the others. */
static enum err sweep(struct view *v, struct index *x, int64_t until_ms)
{
	uint32_t emails[SWEEP_AT_ONCE];
	uint8_t *live;
	size_t n;

	if (x->live == NULL) {
		x->live = mem_alloc(last_of(x) / 8 + 1);
		x->live_upto = x->live_count = 0;
	}
	do {
		TRY(emails_after(v, x->live_upto, last_of(x), emails, SWEEP_AT_ONCE, &n));
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

static enum err go_on_merging(struct index *x, int64_t until_ms)
{
	struct segment_info info;
	bool done;
	enum err e = merge_step(x->merge, until_ms, &done, &info);

	if (e == ERR_OK && done && info.emails > 0 && x->live_count > 0)
		info.emails = x->live_count < info.emails ? x->live_count : info.emails;
	x->live_count = done ? 0 : x->live_count;
	if (e == ERR_OK && done)
		e = take_in(x, x->merge_from, merge_inputs(x->merge), &info);
	if (e != ERR_OK || done)
		merge_abandon(&x->merge);
	return e;
}

static enum err step(struct view *v, struct index *x, int64_t until_ms, bool *more)
{
	size_t n;
	bool is_end;

	if (x->merge != NULL) {
		TRY(go_on_merging(x, until_ms));
		*more = true;
		return ERR_OK;
	}
	n = worth_merging(x);
	*more = x->is_stale || n > 0 || x->batch != NULL || unread(v, x) >= WORTH_EMAILS;
	if (!*more)
		return ERR_OK;
	if (x->is_stale && x->batch == NULL)
		return sweep(v, x, until_ms);
	if (n > 0)
		return begin_merge(x, n, NULL);
	TRY(read_some(v, x, until_ms, &is_end));
	if (x->batch != NULL && (is_end || batch_bytes(x->batch) >= BATCH_BYTES))
		TRY(write_batch(v, x));
	return ERR_OK;
}

static void throw_away(struct index *x)
{
	drop_work(x);
	x->is_stale = false;  /* of what is gone */
	pthread_mutex_lock(&x->lock);
	close_segments(x);
	pthread_mutex_unlock(&x->lock);
	note_written(x);
	if (write_manifest(x) != ERR_OK || remove_leavings(x) != ERR_OK)
		atomic_store(&x->is_off, true);
}

/* Under work. */
static void fail(struct view *v, struct index *x, enum err e)
{
	if (e == ERR_CORRUPT) {
		throw_away(x);
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
static bool step_until(struct view *v, struct index *x, int64_t until_ms)
{
	bool more = false;
	enum err e = ERR_OK;

	do {
		more = false;
		if (!atomic_load(&x->is_off))
			e = step(v, x, until_ms, &more);
	} while (e == ERR_OK && more && clock_mono_ms() < until_ms);
	if (e != ERR_OK)
		fail(v, x, e);
	pthread_mutex_unlock(&x->work);
	return more && e == ERR_OK;
}

bool index_step(struct view *v, int budget_ms)
{
	struct index *x = index_of(v);
	int64_t until_ms = clock_mono_ms() + budget_ms;

	pthread_mutex_lock(&x->work);
	return step_until(v, x, until_ms);
}

bool index_step_if_free(struct view *v, int budget_ms)
{
	struct index *x = index_of(v);

	return pthread_mutex_trylock(&x->work) != 0 || step_until(v, x, clock_mono_ms() + budget_ms);
}

void index_forget(struct view *v)
{
	struct index *x = index_of(v);

	pthread_mutex_lock(&x->work);
	if (!atomic_load(&x->is_off))
		throw_away(x);
	pthread_mutex_unlock(&x->work);
}

void index_progress(struct view *v, struct index_progress *out)
{
	struct index *x = index_of(v);
	uint32_t settled = email_settled(v), upto = atomic_load(&x->written_upto);

	*out = (struct index_progress){ .done = atomic_load(&x->read_upto) };
	if (!atomic_load(&x->is_off) && settled > upto)
		out->todo = settled - (settled < out->done ? settled : (uint32_t)out->done);
}

void index_facts(struct view *v, struct index_facts *out)
{
	struct segments s;

	*out = (struct index_facts){ 0 };
	index_segments(v, &s);
	for (size_t i = 0; i < s.n; i++) {
		out->emails += s.s[i]->info.emails;
		for (int file = 0; file < SEGMENT_FILES; file++)
			out->bytes += s.s[i]->info.bytes[file];
	}
	index_segments_release(&s);
	out->todo = unread(v, index_of(v));
}
