/* queue/queue_private.h -- the struct behind queue.h, shared by queue.c (life, time), askers.c (channels), add.c (what comes in), local.c
 * (what goes to mailboxes here). */
#ifndef FACTEUR_QUEUE_QUEUE_PRIVATE_H
#define FACTEUR_QUEUE_QUEUE_PRIVATE_H
#include "queue/backlog.h"
#include "queue/content.h"
#include "queue/dispatch.h"
#include "queue/jump.h"
#include "queue/parents.h"
#include "queue/queue.h"
#include "queue/reporter.h"
#include "queue/send.h"
#include "queue/spool.h"
#include "queue/sync.h"
#include "queue/unfinished.h"
#include "queue/worker.h"
#include "queue/writer.h"

/* Who is at the other end of a channel. Its number is never used again, so an answer that comes late finds out whether
 * it is still wanted. */
struct asker {
	struct queue   *queue;
	uint64_t        number;
	uint64_t        account;      /* of a cell; 0: mx */
	size_t          adding;       /* its ADDs without an answer */
	bool            is_synced;    /* of a cell: all it got is, and its account is closed */
	struct channel *ch;
};

struct queue {
	struct queue_config   config;
	struct queue_host     host;
	const struct lookup  *lookup;        /* NULL: not there yet */
	struct disk_dir      *log_dir;
	struct log           *log;
	struct late          *late;
	struct spool         *spool;
	struct writer        *writer;
	struct worker        *worker;
	struct content_cache *contents;
	struct backlog        backlog;
	struct dispatch      *dispatch;
	struct sync          *sync;
	struct jumps          jumps;         /* of the clock */
	struct reporter      *reporter;
	struct parents        parents;
	struct map            askers;        /* number -> struct asker */
	struct map            cells;         /* account -> struct asker */
	struct asker         *mx, *control;
	struct parcels       *parcels;
	struct map            sent;          /* while the log is replayed: keys that a LOG_DONE names -> a byte of replay.c */
	struct unfinished     unfinished;
	struct map            late_out;      /* rows of accounts that are being tried: key -> the queue */
	uint64_t              next_asker;
	uint64_t              w;             /* the durable one, as last seen */
	int64_t               now_ms, ticked_ms, swept_ms, added_ms, stops_ms, failed_ms, late_due;
	size_t                adding;        /* ADDs without an answer */
	bool                  is_disk_full;
	bool                  is_set_back;   /* the clock was, and queue.db has not heard of it */
	bool                  has_jumped;    /* jumps are others than queue.db has */
	bool                  stops, is_stopped, has_synced_last;
};

/* askers.c: all channels are closed. */
void askers_close(struct queue *q);

/* add.c: handlers of what an asker (the context) sends. */
void add_on_add(void *context, struct channel *ch, struct message *m);
void add_on_spool(void *context, struct channel *ch, struct message *m);
void add_on_spool_drop(void *context, struct channel *ch, struct message *m);
/* A message of the queue's own. bytes and what e names are copied. done runs once, perhaps before this returns: ERR_OK, it is durable, and hold keeps W below
 * it until backlog_settle(); or why it cannot be kept now, and hold is NULL. */
typedef void (*add_own_done)(void *context, enum err result, struct due *hold);
void add_own(struct queue *q, const struct envelope *e, struct str bytes, add_own_done done, void *context);
/* A record that is durable: its recipients to where they belong. again: found at start. */
enum err add_to_backlog(struct queue *q, struct log_place place, const struct content *c, bool again) MUST_CHECK;

/* replay.c: reads what has been sent, before the messages are; was it? (out: as it was when it was answered); then finishes the rows that
 * were sent to. */
enum err replay_read_sent(struct queue *q) MUST_CHECK;
bool replay_was_sent(const struct queue *q, const struct late_key *key, struct sync_result *out);
enum err replay_finish_sent(struct queue *q) MUST_CHECK;

/* times.c: when a recipient of it may be tried, and why it waits (seconds since 1970; 0: now). Where its
 * sender or his limits set the time, why->status is empty: the trail says so already. */
int64_t times_wait(const struct queue *q, const struct envelope *e, bool elsewhere, struct arena *a, struct sync_result *why);
bool times_is_stopped(const struct queue *q, const struct envelope *e);   /* who sent it may not send now */
int64_t times_look_again(void);                                         /* when to ask that again */
struct str times_over(int64_t deliver_by, struct str last, struct arena *a);   /* what its sender is told; last: reason of the last try */
void times_tick(struct queue *q);   /* about once a second */
/* local.c: mail for mailboxes of this server. */
struct dispatch_host local_host(struct queue *q);
void local_tick(struct queue *q);                              /* about once a second: rows that fell due */
void local_try_late(struct queue *q, uint64_t account);        /* its cell asks for what waits: all of it, due or not */
void local_finished(struct queue *q, const struct late_key *key);   /* the result of a row is in queue.db */
/* A row that waits gets this as its result, if it is not being tried now. */
void queue_give_up(struct queue *q, const struct late_row *row, const struct envelope *e, const struct sync_result *result);

/* note.c: for the trail. */
void note_received(struct queue *q, const struct content *c, bool again);
/* Its groups have sent it on. */
struct resolved;
void note_distributed(struct queue *q, const struct content *c, const struct resolved *all);
/* A member has left a group by mail (result as of list_order_run()), or wanted to. */
void note_left(struct queue *q, struct str sender, struct str peer, const struct list_order_request *r, enum err result);
/* Of a recipient here; due: when it is tried again; 0: not by itself. */
void note_result(struct queue *q, const struct late_key *key, uint64_t account, const struct delivery_result *r, int64_t due);
/* Of a recipient elsewhere; past: before this try. */
void note_sent(struct queue *q, const struct late_key *key, struct str address, const struct late_past *past, const struct send_result *r);
/* Of a recipient elsewhere: it waits without a try until due (LATE_NEVER: nobody knows). */
void note_put_aside(struct queue *q, const struct late_key *key, struct str address, int64_t due, const struct sync_result *why);
/* Hosts that were tried in vain on the way. */
void note_attempts(struct queue *q, uint64_t log_id, uint64_t seq, const struct send_answer *a);
/* A QUEUE_COMMAND that has changed something. */
void note_order(struct queue *q, struct str request);
#endif
