/* A list of jobs, a list of finished ones, one lock, an event descriptor. */
#include "queue/worker.h"
#include "base/err.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job_list {
	struct job *first, **end;
};

struct worker {
	pthread_t       thread;
	pthread_mutex_t lock;
	pthread_cond_t  has_work;
	struct job_list waiting, finished;
	bool            stops;
	int             fd;
};

static void list_add(struct job_list *l, struct job *j)
{
	j->next = NULL;
	*l->end = j;
	l->end = &j->next;
}

static struct job *list_take(struct job_list *l)
{
	struct job *j = l->first;

	if (j != NULL) {
		l->first = j->next;
		if (l->first == NULL)
			l->end = &l->first;
	}
	return j;
}

static void *work(void *context)
{
	struct worker *w = context;
	const uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *j = list_take(&w->waiting);
		if (j == NULL && w->stops)
			break;
		if (j == NULL) {
			pthread_cond_wait(&w->has_work, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		j->run(j);
		pthread_mutex_lock(&w->lock);
		list_add(&w->finished, j);
		(void)!write(w->fd, &one, sizeof one);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct worker *worker_new(void)
{
	struct worker *w = MEM_NEW(struct worker);

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->has_work, NULL);
	w->waiting.end = &w->waiting.first;
	w->finished.end = &w->finished.first;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_create(&w->thread, NULL, work, w);
	return w;
}

void worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stops = true;
	pthread_cond_signal(&w->has_work);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	worker_receive(w);
	fd_close(&w->fd);
	pthread_cond_destroy(&w->has_work);
	pthread_mutex_destroy(&w->lock);
	mem_free(w);
}

void worker_add(struct worker *w, struct job *j)
{
	pthread_mutex_lock(&w->lock);
	list_add(&w->waiting, j);
	pthread_cond_signal(&w->has_work);
	pthread_mutex_unlock(&w->lock);
}

int worker_fd(const struct worker *w) { return w->fd; }

void worker_receive(struct worker *w)
{
	uint64_t ignored;

	(void)!read(w->fd, &ignored, sizeof ignored);
	for (;;) {
		pthread_mutex_lock(&w->lock);
		struct job *j = list_take(&w->finished);
		pthread_mutex_unlock(&w->lock);
		if (j == NULL)
			return;
		j->done(j);
	}
}
