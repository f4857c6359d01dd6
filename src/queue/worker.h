/* queue/worker.h -- one thread for what takes long: syncs of the file system, queue.db, large spool files. Jobs run one
 * after the other, in their order; what follows from one happens in the thread that owns the rest (the event loop). */
#ifndef FACTEUR_QUEUE_WORKER_H
#define FACTEUR_QUEUE_WORKER_H
#include "queue/handback.h"

struct worker;

struct job {  /* embedded in what it works on, which it owns until done() */
	struct handed handed;
	void      (*run)(struct job *j);    /* in the worker's thread */
	void      (*done)(struct job *j);   /* in worker_receive(); may free j */
};

struct worker *worker_new(void);
void worker_free(struct worker *w);     /* after all jobs have run and their done() has been called; NULL is fine */
void worker_add(struct worker *w, struct job *j);
int  worker_fd(const struct worker *w); /* readable: call worker_receive() */
void worker_receive(struct worker *w);
#endif
