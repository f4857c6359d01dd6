/* One thread, one lock, two lists. The log belongs to whoever writes (is_writing); everybody else only adds and collects.
 *
 * When to begin. On a disk that needs a millisecond for a sync the batch gathers by itself. On one that needs 50 µs the
 * first of 64 senders would be written alone, and the others in fours: measured 0.22 syncs a message, and a quarter
 * more work in this process. So where several came together last time, the thread waits for as many again, but no
 * longer than GATHER_MS; now and then it hopes for some more, and less often after each disappointment. One sender
 * alone never waits.
 *
 * Who writes. A thread that is woken, writes, and wakes the loop costs two changes of threads, which is more than the write itself
 * where a sync takes 50 µs. So a record that is alone is written by the loop, at the end of its turn (writer_go()): nothing else is to be
 * done for those who send, and answers of cells wait no longer than that write. It goes back to the thread when messages come in company:
 * several in one turn, or one at the very moment the last was written, since it came meanwhile; and on a disk that is slow. Notes of what
 * has been sent (LOG_DONE) are no company: nobody waits for them, and one sender's last message leaves while his next one comes in. Where
 * nothing waits for their place either they have WRITER_LATER_MS, in which that next one brings the sync they need: one a message, not two.
 *
 * LOG_W goes first in a batch, so that the segments it frees are free for what follows. Alone it is written only when
 * asked for (the server stops, or nothing has come for a while): by itself it would cost a sync that nobody waits for.
 * */
#include "queue/writer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/wire.h"
#include <limits.h>
#include <time.h>

enum { GATHER_MS = 10, GATHER_MOST = 48, PROBE_AFTER = 8, PROBE_AFTER_MOST = 1024 };
enum { COMPANY_US = 30, COMPANY_STAYS = 8, HERE_MOST = 8, SLOW_US = 2000, SLOW_STAYS = 4, SLOW_STAYS_MOST = 4096 };

struct gather {
	size_t   goal;           /* records to wait for, which have no time; 0, 1: none */
	uint32_t until_probe, probe_after;
	bool     is_probing;
};

struct alone {              /* the loop's only */
	size_t   added;         /* records since the last writer_go() */
	size_t   senders;       /* … that somebody waits for */
	size_t   by_thread;     /* so many more go by the thread */
	size_t   slow_stays;    /* how many, after the next slow write */
	int64_t  wrote_us;      /* when the last write here was done */
	int64_t  later_us;      /* when the oldest of those that have time was added; 0: there is none */
};

struct writer {
	pthread_t           thread;
	pthread_mutex_t     lock;
	pthread_cond_t      has_work;
	struct log         *log;
	struct handed_list  waiting;
	size_t              waiting_n, waiting_hurried;   /* records; those that have no time */
	size_t              wanted;        /* wake the thread when so many of these wait */
	struct gather       gather;
	uint64_t            w, written_w;
	bool                w_now, is_writing, stops;
	bool                later_is_due;  /* those that have time wait alone, and it is over */
	size_t              pending;       /* added and not yet done; only the loop's */
	struct alone        alone;
	struct handback     back;
};

/* What goes with another one has its sender. */
static bool has_sender(const struct writing *record) { return record->entry.kind == LOG_MESSAGE && record->entry.names == NULL; }

static size_t next_together(const struct writer *w)
{
	const struct writing *next = (const struct writing *)w->waiting.first;

	return next == NULL ? 0 : next->entry.together > 1 ? next->entry.together : 1;
}

/* Lock held. Moves what fits one batch; at least one record, however long, and those that go together. */
static size_t take_batch(struct writer *w, struct writing **batch)
{
	size_t n = 0, bytes = 0, together;

	while ((together = next_together(w)) > 0 && n + together <= WRITER_BATCH_MAX && (n == 0 || bytes < WRITER_BATCH_BYTES))
		for (; together > 0; together--) {
			batch[n] = (struct writing *)handed_list_take(&w->waiting);
			bytes += batch[n]->entry.head.n + batch[n]->entry.body.n;
			w->waiting_hurried -= !batch[n]->has_time;
			n++;
		}
	w->waiting_n -= n;
	return n;
}

/* Lock held, something waits that has no time. */
static void wait_for_more(struct writer *w)
{
	struct gather *g = &w->gather;
	struct timespec until;

	g->is_probing = g->goal >= 2 && g->goal < GATHER_MOST && g->until_probe-- == 0;
	if (g->is_probing)
		g->goal += g->goal / 4 + 1;
	if (g->goal > GATHER_MOST)
		g->goal = GATHER_MOST;
	if (w->waiting_hurried >= g->goal)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	w->wanted = g->goal;
	while (w->waiting_hurried < g->goal && !w->stops && !w->w_now)
		if (pthread_cond_timedwait(&w->has_work, &w->lock, &until) != 0)
			break;
	w->wanted = 1;
}

/* n: of those that have no time. Notes alone soon wait for nobody; one sender is alone whatever else was there. */
static void note_batch(struct gather *g, size_t n, size_t senders)
{
	bool came = n >= g->goal;
	size_t more = g->goal + g->goal / 4 + 1;

	if (n == 0)
		return;
	if (senders == 0) {
		g->goal /= 2;
		return;
	}
	if (senders == 1)
		n = 1;
	if (g->is_probing && came)
		g->probe_after = PROBE_AFTER;
	else if (g->is_probing && g->probe_after < PROBE_AFTER_MOST)
		g->probe_after *= 2;
	if (g->is_probing)
		g->until_probe = g->probe_after;
	g->goal = n < more ? n : more;
}

/* The disk, or this process, stood still for minutes: who sent it was told that it was not taken, and sends it again. */
static bool is_too_late(const struct writing *first, int64_t now_ms) { return first->until_ms != 0 && now_ms >= first->until_ms; }

static void write_batch(struct writer *w, struct writing **batch, size_t n, uint64_t w_to)
{
	CLEANUP(buf_free) struct buf number = BUF(8);
	struct log_entry *entries[WRITER_BATCH_MAX + 1];
	struct log_entry passed = { .kind = LOG_W };
	int64_t now_ms = clock_mono_ms();
	bool too_late = false;
	size_t count = 0;

	put_u64(&number, w_to);
	passed.head = buf_str(&number);
	if (w_to > 0)
		entries[count++] = &passed;
	for (size_t i = 0; i < n; i++) {
		if (batch[i]->entry.together > 0)  /* the first of those that go together */
			too_late = is_too_late(batch[i], now_ms);
		if (too_late)
			batch[i]->entry.result = ERR_TIMEOUT;
		else
			entries[count++] = &batch[i]->entry;
	}
	if (count > 0)
		log_write(w->log, entries, count);
}

struct write {
	struct writing *batch[WRITER_BATCH_MAX];
	size_t          n;
	uint64_t        w_to;
};

static size_t senders_of(const struct write *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += has_sender(w->batch[i]);
	return n;
}

static size_t hurried_of(const struct write *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += !w->batch[i]->has_time;
	return n;
}

/* Lock held. What is to be written now; false: nothing. Whoever got it writes it, and nobody else does until then. */
static bool begin_write(struct writer *w, struct write *out)
{
	out->n = take_batch(w, out->batch);
	w->later_is_due = w->waiting_n > 0 && w->waiting_hurried == 0;  /* the rest of a full batch */
	bool has_w = w->w > w->written_w && (out->n > 0 || w->w_now || w->stops);

	out->w_to = has_w ? w->w : 0;
	if (out->n == 0 && !has_w)
		return false;
	if (has_w) {
		w->written_w = out->w_to;  /* also when it fails: then the log takes nothing more */
		w->w_now = false;
	}
	w->is_writing = true;
	return true;
}

static void end_write(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->is_writing = false;
	pthread_mutex_unlock(&w->lock);
}

/* Lock held. What has time comes with the next that has none, or when writer_go() says so. */
static bool has_work(const struct writer *w) { return w->waiting_hurried > 0 || w->later_is_due || w->w_now || w->stops; }

static void *work(void *context)
{
	struct writer *w = context;
	struct write now;
	struct handed_list finished;

	handed_list_init(&finished);
	pthread_mutex_lock(&w->lock);
	for (;;) {
		if (w->is_writing || !has_work(w)) {  /* the loop is at it, and leaves nothing */
			pthread_cond_wait(&w->has_work, &w->lock);
			continue;
		}
		if (w->waiting_hurried > 0)
			wait_for_more(w);
		if (!begin_write(w, &now)) {
			if (w->stops)
				break;
			pthread_cond_wait(&w->has_work, &w->lock);
			continue;
		}
		note_batch(&w->gather, hurried_of(&now), senders_of(&now));
		pthread_mutex_unlock(&w->lock);
		write_batch(w, now.batch, now.n, now.w_to);
		for (size_t i = 0; i < now.n; i++)
			handed_list_add(&finished, &now.batch[i]->handed);
		end_write(w);
		handback_give(&w->back, &finished);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct writer *writer_new(struct log *l)
{
	struct writer *w = MEM_NEW(struct writer);
	pthread_condattr_t monotonic;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->has_work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	w->gather.until_probe = w->gather.probe_after = PROBE_AFTER;
	w->wanted = 1;
	w->alone.slow_stays = SLOW_STAYS;
	w->log = l;
	w->w = w->written_w = log_w(l);
	handed_list_init(&w->waiting);
	handback_init(&w->back);
	thread_begin(&w->thread, work, w);
	return w;
}

void writer_free(struct writer *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stops = true;
	pthread_cond_signal(&w->has_work);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	writer_receive(w);
	handback_free(&w->back);
	pthread_cond_destroy(&w->has_work);
	pthread_mutex_destroy(&w->lock);
	mem_free(w);
}

/* How many of them have a sender. */
static size_t put(struct writer *w, struct writing *const *records, size_t n, bool has_time)
{
	size_t senders = 0;

	w->pending += n;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < n; i++) {
		records[i]->entry.together = i == 0 ? n : 0;
		records[i]->has_time = has_time;
		handed_list_add(&w->waiting, &records[i]->handed);
		senders += has_sender(records[i]);
	}
	w->waiting_n += n;
	w->waiting_hurried += has_time ? 0 : n;
	pthread_mutex_unlock(&w->lock);
	return senders;
}

void writer_add_together(struct writer *w, struct writing *const *records, size_t n)
{
	w->alone.added += n;
	w->alone.senders += put(w, records, n, false);
}

void writer_add(struct writer *w, struct writing *record) { writer_add_together(w, &record, 1); }

void writer_add_later(struct writer *w, struct writing *record)
{
	if (w->alone.later_us == 0)
		w->alone.later_us = clock_mono_us();
	(void)put(w, &record, 1, true);
}

int writer_patience_ms(const struct writer *w)
{
	int64_t waited_us = w->alone.later_us != 0 ? clock_mono_us() - w->alone.later_us : 0;

	return w->alone.later_us == 0 ? INT_MAX : waited_us >= WRITER_LATER_MS * 1000 ? 0 : WRITER_LATER_MS - (int)(waited_us / 1000);
}

/* Notes in a hurry and nobody who sends: a backlog leaves, and more of them come while these are written. */
static bool is_in_company(struct alone *a)
{
	if (a->senders > 1 || (a->senders == 0 && a->added > 0) || clock_mono_us() < a->wrote_us + COMPANY_US)
		a->by_thread = COMPANY_STAYS > a->by_thread ? COMPANY_STAYS : a->by_thread;
	if (a->by_thread == 0)
		return false;
	a->by_thread -= a->added < a->by_thread ? a->added : a->by_thread;
	return true;
}

static void note_time(struct alone *a, int64_t began_us)
{
	a->wrote_us = clock_mono_us();
	if (a->wrote_us - began_us < SLOW_US) {
		a->slow_stays = SLOW_STAYS;
		return;
	}
	a->by_thread = a->slow_stays;
	if (a->slow_stays < SLOW_STAYS_MOST)
		a->slow_stays *= 2;
}

static void write_here(struct writer *w, struct write *now)
{
	int64_t began_us = clock_mono_us();

	write_batch(w, now->batch, now->n, now->w_to);
	end_write(w);
	note_time(&w->alone, began_us);
	for (size_t i = 0; i < now->n; i++) {
		w->pending--;
		now->batch[i]->done(now->batch[i]);
	}
}

void writer_go(struct writer *w)
{
	struct write now;

	if (w->alone.added == 0 && writer_patience_ms(w) > 0)
		return;
	bool is_alone = !is_in_company(&w->alone);
	w->alone.added = w->alone.senders = 0;
	w->alone.later_us = 0;
	pthread_mutex_lock(&w->lock);
	/* pending: what the thread has written, and nobody received yet, comes first */
	bool here = is_alone && w->pending == w->waiting_n && w->waiting_n <= HERE_MOST && !w->is_writing && w->gather.goal <= 1 &&
	            begin_write(w, &now);
	w->later_is_due = w->waiting_n > 0 && w->waiting_hurried == 0;
	bool is_enough = !w->is_writing && (w->later_is_due || (w->waiting_hurried > 0 && w->waiting_hurried >= w->wanted));
	bool is_rest = here && w->waiting_n > 0;  /* of what is large */
	pthread_mutex_unlock(&w->lock);
	if (here)
		write_here(w, &now);
	if (is_enough || is_rest)  /* outside the lock, which the thread needs first of all */
		pthread_cond_signal(&w->has_work);
}

void writer_set_w(struct writer *w, uint64_t to, bool now)
{
	pthread_mutex_lock(&w->lock);
	if (to > w->w)
		w->w = to;
	w->w_now |= now && w->w > w->written_w;
	if (now)
		pthread_cond_signal(&w->has_work);
	pthread_mutex_unlock(&w->lock);
}

bool writer_is_idle(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	bool is_idle = w->pending == 0 && !w->is_writing && !(w->w_now && w->w > w->written_w);
	pthread_mutex_unlock(&w->lock);
	return is_idle;
}

int writer_fd(const struct writer *w) { return w->back.fd; }

void writer_receive(struct writer *w)
{
	struct handed_list finished;
	struct handed *h;

	handback_take(&w->back, &finished);
	while ((h = handed_list_take(&finished)) != NULL) {
		w->pending--;
		((struct writing *)h)->done((struct writing *)h);
	}
}
