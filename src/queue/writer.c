/* One thread, one lock, two lists. The log belongs to the thread alone; everybody else only adds and collects.
 *
 * LOG_W goes first in a batch, so that the segments it frees are free for what follows. Alone it is written only when asked for
 * (the server stops, or nothing has come for a while): by itself it would cost a sync that nobody waits for. */
#include "queue/writer.h"
#include "base/mem.h"
#include "base/wire.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct writing_list {
	struct writing *first, **end;
};

struct writer {
	pthread_t           thread;
	pthread_mutex_t     lock;
	pthread_cond_t      has_work;
	struct log         *log;
	struct writing_list waiting, finished;
	size_t              pending;       /* added and not yet done */
	uint64_t            w, written_w;
	bool                w_now, is_writing, stops;
	int                 fd;
};

static void list_add(struct writing_list *l, struct writing *r)
{
	r->next = NULL;
	*l->end = r;
	l->end = &r->next;
}

static struct writing *list_take(struct writing_list *l)
{
	struct writing *r = l->first;

	if (r != NULL) {
		l->first = r->next;
		if (l->first == NULL)
			l->end = &l->first;
	}
	return r;
}

/* Lock held. Moves what fits one batch; at least one record, however long. */
static size_t take_batch(struct writer *w, struct writing **batch)
{
	size_t n = 0, bytes = 0;

	while (w->waiting.first != NULL && n < WRITER_BATCH_MAX && (n == 0 || bytes < WRITER_BATCH_BYTES)) {
		batch[n] = list_take(&w->waiting);
		bytes += batch[n]->entry.head.n + batch[n]->entry.body.n;
		n++;
	}
	return n;
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
	const uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		size_t n = take_batch(w, batch);
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
		pthread_mutex_lock(&w->lock);
		w->is_writing = false;
		for (size_t i = 0; i < n; i++)
			list_add(&w->finished, batch[i]);
		(void)!write(w->fd, &one, sizeof one);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct writer *writer_new(struct log *l)
{
	struct writer *w = MEM_NEW(struct writer);

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->has_work, NULL);
	w->log = l;
	w->w = w->written_w = log_w(l);
	w->waiting.end = &w->waiting.first;
	w->finished.end = &w->finished.first;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
	fd_close(&w->fd);
	pthread_cond_destroy(&w->has_work);
	pthread_mutex_destroy(&w->lock);
	mem_free(w);
}

void writer_add(struct writer *w, struct writing *record)
{
	pthread_mutex_lock(&w->lock);
	list_add(&w->waiting, record);
	w->pending++;
	if (!w->is_writing)
		pthread_cond_signal(&w->has_work);
	pthread_mutex_unlock(&w->lock);
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

int writer_fd(const struct writer *w) { return w->fd; }

void writer_receive(struct writer *w)
{
	uint64_t ignored;

	(void)!read(w->fd, &ignored, sizeof ignored);
	for (;;) {
		pthread_mutex_lock(&w->lock);
		struct writing *r = list_take(&w->finished);
		if (r != NULL)
			w->pending--;
		pthread_mutex_unlock(&w->lock);
		if (r == NULL)
			return;
		r->done(r);
	}
}
