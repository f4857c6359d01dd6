/* queue/dispatch.h -- hands the backlog to the cells: who is served when, what is outstanding, and what a silence
 * means.
 *
 * At most one batch is out to a cell (≤ 64 deliveries, ≤ 4 MB); at most 16 sleeping accounts are being woken; accounts
 * take turns.
 *   answered           the host gets each delivery with its result
 *   the cell is gone   its batch waits again, to be sent as "may be delivered already"; a delivery that was there when
 *                      three cells ended is deferred
 *   no answer, or no cell, for 10 s
 *                      the cell is ended, and when it is collected the batch is deferred; after the second time in a
 *                      row all that waits for this account is
 * One thread; time is given, so that tests need none. */
#ifndef FACTEUR_QUEUE_DISPATCH_H
#define FACTEUR_QUEUE_DISPATCH_H
#include "queue/backlog.h"
#include "queue/delivery.h"

enum {
	DISPATCH_WAKING_MAX = 16,
	DISPATCH_TIMEOUT_MS = 10000,
	DISPATCH_BATCH_BYTES = 4 << 20,
	DISPATCH_BYTES_OUT = 256 << 20,   /* of all batches that are out and not overdue */
	DISPATCH_LOSSES_MAX = 3,
};

struct dispatch;

struct dispatch_host {
	void  *context;
	/* The account's cell shall run: dispatch_awake() follows. */
	void (*wake)(void *context, uint64_t account);
	/* The account's cell shall be ended: dispatch_ended() follows. */
	void (*end)(void *context, uint64_t account);
	/* Fills a delivery (all but may_be_duplicate); slices live until loaded_done(), fd is the dispatcher's to close.
	 * Anything but ERR_OK: the message cannot be read. */
	enum err (*load)(void *context, const struct due *d, struct arena *a, struct delivery *out);
	void (*loaded_done)(void *context);
	/* The result of one delivery; the due is the host's from now on. */
	void (*answered)(void *context, struct due *d, const struct delivery_result *r);
	/* Up to which seq of this log the account may forget names. Asked again when W has changed. */
	uint64_t (*prune)(void *context, uint64_t account, bool *is_only_log);
	/* Something that an earlier cell has taken may have to be delivered again: that is being found out. */
	bool (*is_unproved)(void *context, uint64_t account);
};

struct dispatch *dispatch_new(struct backlog *b, uint64_t log_id, const struct dispatch_host *host);
/* Batches that are out count as lost. NULL is fine. */
void dispatch_free(struct dispatch *d);

/* Something waits for this account (after backlog_due()). */
void dispatch_poke(struct dispatch *d, uint64_t account);
/* A cell runs, and ch leads to it; replaces an older one, whose asks must have ended (channel_free). */
void dispatch_awake(struct dispatch *d, uint64_t account, struct channel *ch);
/* The channel is lost; its asks have ended. */
void dispatch_asleep(struct dispatch *d, uint64_t account);
void dispatch_ended(struct dispatch *d, uint64_t account, enum err result);
/* The channel of a running cell; NULL: it sleeps, or is being ended. */
struct channel *dispatch_channel(const struct dispatch *d, uint64_t account);

/* The request CELL_REPLAYED: answered once nothing that an earlier cell may have delivered is outstanding for this
 * account. */
void dispatch_replayed(struct dispatch *d, uint64_t account, uint32_t call);

void dispatch_set_w(struct dispatch *d, uint64_t w);          /* the durable W */
/* Sends and wakes as far as there is room: after every round of events. */
void dispatch_run(struct dispatch *d, int64_t now_ms);
/* About once a second: deadlines. */
void dispatch_tick(struct dispatch *d, int64_t now_ms);
size_t dispatch_out(const struct dispatch *d);                /* batches without an answer */
/* Gives to the host, as deferred, what waits for its turn in messages with seq ≤ upto that came before since_ms; at
 * most max. */
size_t dispatch_defer_old(struct dispatch *d, uint64_t upto, int64_t since_ms, size_t max);
#endif
