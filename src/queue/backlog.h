/* queue/backlog.h -- what is queued and not yet in its mailbox: in memory, by message and by account. Memory only, one
 * thread.
 *
 *   struct queued   a message of the log (or of queue.db) that somebody still needs
 *   struct due      one local recipient of it
 *   struct target   an account: what waits for it, in order
 *
 * A due is in exactly one place: waiting at its target, or taken by the caller (sent, or on its way to queue.db) until
 * it is given back, or settled for good; or it is delivered and not durable yet: then its message stays, and knows how many. A due costs 48 bytes, so what the ring can hold fits; bodies are read when
 * they are sent. */
#ifndef FACTEUR_QUEUE_BACKLOG_H
#define FACTEUR_QUEUE_BACKLOG_H
#include "base/map.h"
#include "queue/log.h"

struct queued {
	uint64_t         log_id, seq;
	struct log_place place;         /* in the log; length 0: in queue.db */
	int64_t          since_ms;      /* when it came to the backlog */
	uint32_t         left;          /* recipients that are not settled */
	uint32_t         moving;        /* of them: on their way to queue.db, or delivered and not durable */
	struct queued   *before, *after;
};

struct due {
	struct queued *message;
	struct target *target;          /* NULL: a recipient elsewhere */
	struct due    *next;
	struct parcel *parcel;          /* parcels.c; NULL: an account's, or nobody there knows it any more */
	uint16_t       recipient;       /* index in the envelope */
	uint8_t        losses;          /* cells that died with it, or before what it had left there was durable */
	bool           may_be_duplicate;
	bool           tells_success;   /* its sender asked to hear that it arrived */
	bool           is_parking;      /* parcels.c: on its way to queue.db, to wait there without a time */
};

struct due_list {
	struct due *first, **end;
	size_t      n;
};

struct target {
	uint64_t        account;
	struct due_list waiting;
	size_t          dues;           /* waiting or taken */
	size_t          duplicates;     /* of them: what may have been delivered before */
	void           *owner;          /* what the dispatcher knows of it */
};

struct backlog {
	struct map     targets;         /* account -> struct target */
	struct queued *first, *last;    /* messages of the log, by seq */
	size_t         dues;            /* not settled, with those elsewhere */
};

void backlog_init(struct backlog *b);
void backlog_free(struct backlog *b);      /* dues that the caller has taken must have been given back */

/* A message of the log: seqs ascend. With left == 0 after all backlog_due() calls it must be dropped: backlog_close().
 * */
struct queued *backlog_message(struct backlog *b, uint64_t log_id, struct log_place place, int64_t now_ms);
/* A message of queue.db, which holds up no W. */
struct queued *backlog_late(struct backlog *b, uint64_t log_id, uint64_t seq, int64_t now_ms);
/* Adds a recipient: at the end of what waits for its account; account 0: elsewhere, taken by the caller. */
struct due *backlog_due(struct backlog *b, struct queued *q, uint64_t account, uint16_t recipient,
						bool may_be_duplicate);
/* No more recipients come. True: there was none (left), and the message is gone. */
bool backlog_close(struct backlog *b, struct queued *q);

struct target *backlog_target(struct backlog *b, uint64_t account);      /* made when absent */
struct target *backlog_find(const struct backlog *b, uint64_t account);  /* NULL: none */
void backlog_drop_target(struct backlog *b, struct target *t); /* nothing waits there, nothing is taken from it */

/* The first that waits; NULL: none. */
struct due *backlog_take(struct target *t);
/* Back to the front, as something that may have been delivered. Several: the last one first. */
void backlog_give_back(struct due *d);
/* It is delivered for good, or a row of queue.db; frees it, and its message with the last one. */
void backlog_settle(struct backlog *b, struct due *d);
/* It is delivered, and not durable: frees it, its message stays until backlog_durable() or backlog_again(), once for each. */
void backlog_delivered(struct backlog *b, struct due *d);
void backlog_durable(struct backlog *b, struct queued *q);
/* It may be lost: it waits again, as something that may have been delivered. */
struct due *backlog_again(struct backlog *b, struct queued *q, uint64_t account, uint16_t recipient);

static inline bool queued_is_late(const struct queued *q) { return q->place.length == 0; }
/* The smallest seq with a recipient that is neither settled nor moving nor delivered; UINT64_MAX: none. */
uint64_t backlog_lowest(const struct backlog *b);

void due_list_init(struct due_list *l);
void due_list_add(struct due_list *l, struct due *d);
struct due *due_list_take(struct due_list *l);   /* the first; NULL: none */
#endif
