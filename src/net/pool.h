/* net/pool.h -- the threads of a cell: a pool on one shared epoll set (DESIGN.md §3). A source is a descriptor and a function;
 * one thread at a time runs it, then it is armed again. One thread at the start; another is added when all would wait. */
#ifndef FACTEUR_NET_POOL_H
#define FACTEUR_NET_POOL_H
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

struct pool;

enum pool_next {
	POOL_ARM,   /* run again when there is something to read, or after pool_kick() */
	POOL_GONE,  /* the source ends; its context may already be freed; the descriptor is closed by whoever owns it, before */
};
typedef enum pool_next (*pool_ready)(void *context);

/* on_alarm runs in one of the threads when the time of pool_alarm() has come. */
struct pool *pool_new(int threads_max, void (*on_alarm)(void *context), void *context);
void pool_free(struct pool *p);                     /* after pool_run() returned */
/* Returns the source's number (never 0, never used again). */
uint64_t pool_add(struct pool *p, int fd, pool_ready ready, void *context);
void pool_kick(struct pool *p, uint64_t source);    /* runs it soon, even without input; nothing happens if it is gone */
/* Until it is let go no thread is woken for it: one waits at the descriptor itself. What comes meanwhile, and is left, is seen then. */
void pool_hold(struct pool *p, uint64_t source, bool is_held);
void pool_alarm(struct pool *p, int64_t at_mono_ms);/* an earlier one that was set stays */
/* The calling thread is about to wait for a peer or the disk: makes sure that another thread listens. */
void pool_will_wait(struct pool *p);
int pool_threads_max(const struct pool *p);
void pool_run(struct pool *p);                      /* works until pool_stop() and all threads have finished */
void pool_stop(struct pool *p);
#endif
