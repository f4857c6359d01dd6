/* queue/sync.h -- sync points (DESIGN.md §4.4): when everything up to a seq is durable somewhere else, W may be that
 * seq.
 *
 * A round: (1) what could not be delivered moves to queue.db; (2) the accounts that got something are synced, by
 * themselves when they are few, else with one syncfs; (3) what was late and has been delivered is finished in queue.db;
 * (4) W is what was the oldest unfinished message minus one when the round began. One round at a time, about one a
 * second and a half. Until a round has proved it, what was delivered is remembered here: when its cell ends without the word that
 * all is synced it is delivered again (the account knows what it has). A sync that fails costs only the accounts that
 * cannot prove what they have. One thread calls; the slow parts run in the worker. */
#ifndef FACTEUR_QUEUE_SYNC_H
#define FACTEUR_QUEUE_SYNC_H
#include "queue/backlog.h"
#include "queue/delivery.h"
#include "queue/jump.h"
#include "queue/late.h"
#include "queue/worker.h"

enum {
	SYNC_EVERY_MS = 1500,           /* a cell that was woken for a delivery ends after 1000, and has synced then */
	SYNC_BYTES = 32 << 20,          /* delivered and not synced: a round is due */
	SYNC_CELLS_FEW = 4,             /* up to so many accounts are synced by their cells */
	SYNC_CELLS_MANY = 64,           /* the same where a syncfs takes longer than SYNC_SLOW_MS */
	SYNC_SLOW_MS = 1000,
	SYNC_CELL_TIMEOUT_MS = 2000,
	SYNC_DOUBT_TIMEOUT_MS = 10000,  /* the same where only the cell's word counts; without it twice, the cell is ended */
};

struct sync;

struct sync_host {
	void  *context;
	struct channel *(*channel)(void *context, uint64_t account);   /* of its cell; NULL: it sleeps */
	void (*settled)(void *context, struct due *d);                 /* it is a row of queue.db */
	void (*finished)(void *context, const struct late_key *key);   /* the result of a late delivery is in queue.db */
	void (*passed)(void *context, uint64_t w);                     /* W may be this */
	enum err (*sync_accounts)(void *context);                      /* all of them, at once; in the worker's thread */
	void (*doubt_cells)(void *context);                            /* that has failed: sync_doubt() for each cell that runs */
	void (*again)(void *context, uint64_t account);                /* something waits for it again: sync_lost() */
	void (*end)(void *context, uint64_t account);                  /* its cell cannot sync, and shall end */
};

struct sync_config {
	struct log      *log;
	struct late     *late;
	struct backlog  *backlog;
	struct worker   *worker;
	uint64_t         bytes;         /* SYNC_BYTES, or less for a small ring */
	int64_t          lifetime_s;
	int64_t          delay_notice_s; /* queue/fate.h */
	int              every_ms;      /* SYNC_EVERY_MS */
	const struct jumps *jumps;      /* copied when a round begins */
};

struct sync_result {                /* of a try */
	enum delivery_outcome outcome;
	struct str status, reason;
	struct str host;                /* who gave the reason, word for word; empty: this server */
	bool       peer_tells, has_passed_by;   /* queue/fate.h */
};

struct sync *sync_new(const struct sync_config *c, const struct sync_host *host);
void sync_free(struct sync *s);                              /* no round is under way; NULL is fine */
void sync_configure(struct sync *s, int64_t lifetime_s, int64_t delay_notice_s);

/* All records up to seq are in the backlog. */
void sync_known(struct sync *s, uint64_t seq);
/* Something is delivered to this account (bytes: of the message, 0 for a row of queue.db), which is not synced. */
void sync_dirty(struct sync *s, uint64_t account, size_t bytes);
/* A recipient of a message of the log, delivered to a dirty account; takes d. */
void sync_delivered(struct sync *s, struct due *d);
/* Of its cell's files something may be lost, as another sync of all accounts was told: only its own sync is believed. */
void sync_doubt(struct sync *s, uint64_t account);
/* The account's cell has ended well, and synced all it got. */
void sync_closed(struct sync *s, uint64_t account);
/* The account's cell has ended without that word. What it got since the last round began waits again: perhaps its disk has failed, and
 * the next cell can sync what is left without a hint that something is missing. */
void sync_lost(struct sync *s, uint64_t account);
/* A recipient of a message of the log goes to queue.db, with the result of its try. DONE: the sender wants to hear of it; the row says
 * so only when the account is synced. */
void sync_move(struct sync *s, struct due *d, const struct sync_result *r);
/* The same without a try: tried at due, or (only elsewhere) LATE_NEVER: parked. why: status, reason and host to be seen meanwhile; NULL: none. */
void sync_put_aside(struct sync *s, struct due *d, int64_t due, const struct sync_result *why);
/* A row of queue.db is due then, or (LATE_NEVER) parked until its destination has room (queue/late.h); host.finished() as for a result. */
void sync_postpone(struct sync *s, const struct late_key *key, int64_t due);
/* The result of a row of queue.db. */
void sync_late(struct sync *s, const struct late_key *key, const struct sync_result *r);
/* The same of one that an account was asked to take; takes d. */
void sync_late_here(struct sync *s, struct due *d, const struct sync_result *r);

/* Begins a round when one is due; now: at once, if there is anything at all to do. */
void sync_tick(struct sync *s, int64_t now_ms, bool now);
bool sync_is_running(const struct sync *s);
/* How many accounts could not be synced when they were asked last, and one of them (0: none). */
size_t sync_failing(const struct sync *s, uint64_t *account);
/* It is deleted: it will not be asked again. */
void sync_forget_failing(struct sync *s, uint64_t account);
/* What a cell of this account that has ended got is in the round that is under way: it is proved by that, or waits again then. */
bool sync_is_unproved(const struct sync *s, uint64_t account);
#endif
