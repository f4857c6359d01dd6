/* A list of jobs, one lock; what is finished goes back by handback.h. */
#include "queue/worker.h"
#include "base/mem.h"
#include "base/thread.h"
#include <stdbool.h>

struct worker {
	pthread_t          thread;
	pthread_mutex_t    lock;
	pthread_cond_t     has_work;
	struct handed_list waiting;
	bool               stops;
	struct handback    back;
};

/* The next job; NULL: there is none any more. */
static struct job *wait_for_job(struct worker *w)
{
	struct handed *h;

	pthread_mutex_lock(&w->lock);
	while ((h = handed_list_take(&w->waiting)) == NULL && !w->stops)
		pthread_cond_wait(&w->has_work, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return (struct job *)h;
}

static void *work(void *context)
{
	struct worker *w = context;
	struct handed_list finished;
	struct job *j;

	handed_list_init(&finished);
	while ((j = wait_for_job(w)) != NULL) {
		j->run(j);
		handed_list_add(&finished, &j->handed);
		handback_give(&w->back, &finished);
	}
	return NULL;
}

struct worker *worker_new(void)
{
	struct worker *w = MEM_NEW(struct worker);

	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->has_work, NULL);
	handed_list_init(&w->waiting);
	handback_init(&w->back);
	thread_begin(&w->thread, work, w);
	return w;
}

/* What a done() has added while there is no thread any more. */
static void finish_here(struct worker *w)
{
	struct job *j;

	while ((j = (struct job *)handed_list_take(&w->waiting)) != NULL) {
		j->run(j);
		j->done(j);
	}
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
	finish_here(w);
	handback_free(&w->back);
	pthread_cond_destroy(&w->has_work);
	pthread_mutex_destroy(&w->lock);
	mem_free(w);
}

void worker_add(struct worker *w, struct job *j)
{
	pthread_mutex_lock(&w->lock);
	handed_list_add(&w->waiting, &j->handed);
	pthread_mutex_unlock(&w->lock);
	pthread_cond_signal(&w->has_work);
}

int worker_fd(const struct worker *w) { return w->back.fd; }

void worker_receive(struct worker *w)
{
	struct handed_list finished;
	struct handed *h;

	handback_take(&w->back, &finished);
	while ((h = handed_list_take(&finished)) != NULL)
		((struct job *)h)->done((struct job *)h);
}
