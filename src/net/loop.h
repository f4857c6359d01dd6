/* net/loop.h -- the event loop of gate and mx: one thread, one epoll set, timers, and the channels to other roles.
 *
 * Everything is intrusive: a session embeds its struct loop_fd and struct loop_timer, the loop allocates nothing for them, so tens
 * of thousands cost what their structs cost. All zeros is "not watched" / "not set". A handler may unwatch or free anything,
 * itself included: events that were fetched for it in the same round are dropped. Nothing run by the loop may wait for a
 * stranger; short waits for another role (channel_call of TLS_SIGN) are allowed. Not thread-safe. */
#ifndef FACTEUR_NET_LOOP_H
#define FACTEUR_NET_LOOP_H
#include "ipc/channel.h"

struct loop;

/* LOOP_GONE is reported even when it was not asked for: error or hang-up of both directions. Reading or writing then says why. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_GONE = 4 };

struct loop_fd {
	void   (*ready)(void *context, unsigned events);  /* events: LOOP_READ | ... */
	void    *context;
	int      fd;
	unsigned events;      /* what it is watched for; read-only for callers */
	bool     is_watched;
};

struct loop_timer {
	void   (*due)(void *context);
	void    *context;
	int64_t  at_ms;       /* clock_mono_ms() */
	size_t   place;       /* in the heap, from 1; 0: not set */
};

struct loop_task {
	void           (*run)(void *context);
	void            *context;
	struct loop_task *next, **link;  /* link NULL: not waiting */
};

struct loop *loop_new(void);
void loop_free(struct loop *l);            /* forgets channels; frees none of them */
void loop_run(struct loop *l);             /* until loop_stop() */
void loop_once(struct loop *l, int max_wait_ms);   /* one round, for tests */
void loop_stop(struct loop *l);
int64_t loop_now_ms(const struct loop *l); /* clock_mono_ms() at the start of the round: cheap */

/* Level-triggered: ready runs again and again while it is true. Watching again with other events changes them; events 0 keeps the
 * descriptor in the set, where only LOOP_GONE is reported. Fill ready, context and fd before. */
void loop_watch(struct loop *l, struct loop_fd *w, unsigned events);
void loop_unwatch(struct loop *l, struct loop_fd *w);            /* before close(fd); harmless when not watched */

/* Runs t->due once, not before at_ms. Setting it again moves it. */
void loop_timer_at(struct loop *l, struct loop_timer *t, int64_t at_mono_ms);
void loop_timer_in(struct loop *l, struct loop_timer *t, int64_t delay_ms);
void loop_timer_stop(struct loop *l, struct loop_timer *t);      /* harmless when not set */

/* Runs t->run once, after the handlers of this round, before it waits again. */
void loop_defer(struct loop *l, struct loop_task *t);
void loop_defer_cancel(struct loop *l, struct loop_task *t);

/* Receives from the channel whenever something is there, flushes what waits to be sent, ends asks that are over time. Call it
 * again after channel_replace(): the descriptor has changed. A channel that was lost stays known until loop_forget_channel(). */
void loop_channel(struct loop *l, struct channel *ch);
void loop_forget_channel(struct loop *l, struct channel *ch);    /* before channel_free() */
#endif
