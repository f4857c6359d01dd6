/* queue/parcels.h -- recipients on other servers: who is tried when, what net said, and what is written down about it.
 *
 * A parcel is one message for recipients of one destination: one SEND. It comes from the log, and leaves it for queue.db after
 * PARCELS_LOG_MS, sent or not, so that W goes on; or from rows of queue.db that are due, or parked (queue/late.h) until their
 * destination has room. How many are out for whom says turns.h. The argument why nobody gets a message twice but for what a kill
 * interrupts stands in parcels.c.
 *
 * One thread. */
#ifndef FACTEUR_QUEUE_PARCELS_H
#define FACTEUR_QUEUE_PARCELS_H
#include "queue/backlog.h"
#include "queue/envelope.h"
#include "queue/late.h"
#include "queue/sync.h"
#include "queue/turns.h"

enum {
	PARCELS_LOG_MS = 10000,            /* so long from the log */
	PARCELS_ROWS_MAX = LATE_DUE_MAX,   /* of queue.db, in memory */
	PARCELS_PARK_ABOVE = 500,          /* recipients that wait for one destination; further rows are parked */
	PARCELS_PULL_BELOW = 100,
	PARCELS_BYTES_OUT = 64 << 20,      /* of messages at net that are not in files */
	PARCELS_LOSSES_MAX = 3,            /* net died with it so often: deferred */
};

struct queue;
struct parcels;

struct parcels *parcels_new(struct queue *q);
/* Parcels are forgotten: log and queue.db have them. NULL is fine. */
void parcels_free(struct parcels *r);
/* Channels to net and keys; they replace older ones. They take fd. */
void parcels_net(struct parcels *r, int fd);
void parcels_keys(struct parcels *r, int fd);
void parcels_close(struct parcels *r);   /* both: before parcels_free(), while the rest of the queue still works */

/* A recipient elsewhere of a message of the log. */
void parcels_add(struct parcels *r, struct due *d, const struct envelope *e);
/* Sync's: this due is a row of queue.db now, and about to be freed. */
void parcels_settled(struct parcels *r, struct due *d);
/* Sync's: a result, or that it is parked, is in queue.db. */
void parcels_finished(struct parcels *r, const struct late_key *key);

/* A row gets this as its result, if it is not here. */
void parcels_give_up(struct parcels *r, const struct late_row *row, const struct envelope *e, const struct sync_result *result);
/* What waits here for its turn and may not be delivered any more (DELIVERBY) gets that as its result. About once a second. */
void parcels_expire(struct parcels *r);

/* After each round of events: sends. */
void parcels_run(struct parcels *r, int64_t now_ms);
/* At the end of them: net hears of what is on disk since. */
void parcels_tell_sent(struct parcels *r);
/* About once a second. */
void parcels_tick(struct parcels *r, int64_t now_ms);
/* The queue stops: nothing more is sent, and net is told. */
void parcels_stop(struct parcels *r);
size_t parcels_out(const struct parcels *r);   /* SENDs without an answer, or without their record */

/* The administrator's: the pause that a destination has earned is over; STR_NONE: those of all. */
void parcels_hurry(struct parcels *r, struct str destination);
/* He has changed rows of queue.db: some may be due. */
void parcels_look_anew(struct parcels *r);
/* Routes have changed: what waits is filed anew. */
void parcels_reroute(struct parcels *r);
/* domain: or the name of a route. ERR_INVALID: neither. ERR_CONFLICT: to be paused, and goes by a route. Durable when it returns. */
enum err parcels_pause(struct parcels *r, struct str domain, bool is_paused) MUST_CHECK;
/* The setting: nothing leaves while it is held. */
void parcels_hold(struct parcels *r, bool is_held);
const struct turns *parcels_turns(const struct parcels *r);
#endif
