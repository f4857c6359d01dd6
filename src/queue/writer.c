/* One thread, one lock, two lists. The log belongs to the thread alone; everybody else only adds and collects.
 *
 * When to begin. On a disk that needs a millisecond for a sync the batch gathers by itself. On one that needs 50 µs the
 * first of 64 senders would be written alone, and the others in fours: measured 0.22 syncs a message, and a quarter
 * more work in this process. So where several came together last time, the thread waits for as many again, but no
 * longer than GATHER_MS; now and then it hopes for some more, and less often after each disappointment. One sender
 * alone never waits.
 *
 * LOG_W goes first in a batch, so that the segments it frees are free for what follows. Alone it is written only when
 * asked for (the server stops, or nothing has come for a while): by itself it would cost a sync that nobody waits for.
 * */
#include "queue/writer.h"
#include "base/mem.h"
#include "base/wire.h"
#include <time.h>

enum { GATHER_MS = 5, GATHER_MOST = 32, PROBE_AFTER = 8, PROBE_AFTER_MOST = 1024 };

struct gather {
	size_t   goal;           /* records to wait for; 0, 1: none */
	uint32_t until_probe, probe_after;
	bool     is_probing;
};

struct writer {
	pthread_t           thread;
	pthread_mutex_t     lock;
	pthread_cond_t      has_work;
	struct log         *log;
	struct handed_list  waiting;
	size_t              waiting_n;
	size_t              wanted;        /* wake the thread when so many wait */
	struct gather       gather;
	uint64_t            w, written_w;
	bool                w_now, is_writing, stops;
	size_t              pending;       /* added and not yet done; only the loop's */
	struct handback     back;
};

/* Lock held. Moves what fits one batch; at least one record, however long. */
static size_t take_batch(struct writer *w, struct writing **batch)
{
	size_t n = 0, bytes = 0;

	while (w->waiting.first != NULL && n < WRITER_BATCH_MAX && (n == 0 || bytes < WRITER_BATCH_BYTES)) {
		batch[n] = (struct writing *)handed_list_take(&w->waiting);
		bytes += batch[n]->entry.head.n + batch[n]->entry.body.n;
		n++;
	}
	w->waiting_n -= n;
	return n;
}

/* Lock held, something waits. */
static void wait_for_more(struct writer *w)
{
	struct gather *g = &w->gather;
	struct timespec until;

	g->is_probing = g->goal >= 2 && g->goal < GATHER_MOST && g->until_probe-- == 0;
	if (g->is_probing)
		g->goal += g->goal / 4 + 1;
	if (g->goal > GATHER_MOST)
		g->goal = GATHER_MOST;
	if (w->waiting_n >= g->goal)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	w->wanted = g->goal;
	while (w->waiting_n < g->goal && !w->stops && !w->w_now)
		if (pthread_cond_timedwait(&w->has_work, &w->lock, &until) != 0)
			break;
	w->wanted = 1;
}

static void note_batch(struct gather *g, size_t n)
{
	bool came = n >= g->goal;
	size_t more = g->goal + g->goal / 4 + 1;

	if (g->is_probing && came)
		g->probe_after = PROBE_AFTER;
	else if (g->is_probing && g->probe_after < PROBE_AFTER_MOST)
		g->probe_after *= 2;
	if (g->is_probing)
		g->until_probe = g->probe_after;
	g->goal = n < more ? n : more;
}

static void write_batch(struct writer *w, struct writing **batch, size_t n, uint64_t w_to)
{
	CLEANUP(buf_free) struct buf number = BUF(8);
	struct log_entry *entries[WRITER_BATCH_MAX + 1];
	struct log_entry passed = { .kind = LOG_W };
	size_t count = 0;

	put_u64(&number, w_to);
	passed.head = buf_str(&number);
	if (w_to > 0)
		entries[count++] = &passed;
	for (size_t i = 0; i < n; i++)
		entries[count++] = &batch[i]->entry;
	log_write(w->log, entries, count);
}

static void *work(void *context)
{
	struct writer *w = context;
	struct writing *batch[WRITER_BATCH_MAX];
	struct handed_list finished;

	handed_list_init(&finished);
	pthread_mutex_lock(&w->lock);
	for (;;) {
		if (w->waiting_n > 0)
			wait_for_more(w);
		size_t n = take_batch(w, batch);
		if (n > 0)
			note_batch(&w->gather, n);
		bool has_w = w->w > w->written_w && (n > 0 || w->w_now || w->stops);
		if (n == 0 && !has_w) {
			if (w->stops)
				break;
			pthread_cond_wait(&w->has_work, &w->lock);
			continue;
		}
		uint64_t w_to = has_w ? w->w : 0;
		if (has_w) {
			w->written_w = w_to;  /* also when it fails: then the log takes nothing more */
			w->w_now = false;
		}
		w->is_writing = true;
		pthread_mutex_unlock(&w->lock);
		write_batch(w, batch, n, w_to);
		for (size_t i = 0; i < n; i++)
			handed_list_add(&finished, &batch[i]->handed);
		pthread_mutex_lock(&w->lock);
		w->is_writing = false;
		pthread_mutex_unlock(&w->lock);
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
	w->log = l;
	w->w = w->written_w = log_w(l);
	handed_list_init(&w->waiting);
	handback_init(&w->back);
	pthread_create(&w->thread, NULL, work, w);
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

void writer_add(struct writer *w, struct writing *record)
{
	w->pending++;
	pthread_mutex_lock(&w->lock);
	handed_list_add(&w->waiting, &record->handed);
	w->waiting_n++;
	bool is_enough = !w->is_writing && w->waiting_n >= w->wanted;
	pthread_mutex_unlock(&w->lock);
	if (is_enough)  /* outside the lock, which the thread needs first of all */
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
