/* queue/copies.h -- what groups send on of one message: checked, made, and written with it. One thread. */
#ifndef FACTEUR_QUEUE_COPIES_H
#define FACTEUR_QUEUE_COPIES_H
#include "queue/adding.h"
#include "queue/resolve.h"

struct copies;
struct due;
typedef void (*copies_done)(void *context, enum err result);

/* In the ordinal of a copy's parent: no more come behind it. */
enum { COPIES_LAST = 1 << 30 };

/* all and body (its bytes or its spool file) must live until they are made. ERR_IO: the spool file cannot be read (logged). */
enum err copies_new(struct queue *q, struct resolved *all, const struct queue_body *body, struct copies **out) MUST_CHECK;
/* Takes out what must not be sent on: what has been through the group already, and automatic answers. Those groups are no recipients any more,
 * but drops of all (in a). Where nothing else is left, and the sender can still be told: ERR_CONFLICT for the former, ERR_DENIED for the
 * latter. */
enum err copies_check(struct copies *c, const struct envelope *e, struct arena *a) MUST_CHECK;
/* Makes their records. of_seq: of the message they are of; 0: it is written with them. done runs once, perhaps before this returns; what all
 * views of the look-up is not needed after this. ERR_LIMIT: too many groups, or too large. */
void copies_make(struct copies *c, uint64_t of_seq, copies_done done, void *context);
size_t copies_count(const struct copies *c);   /* of those that are made */
/* Writes the message (NULL: it is there already), and behind it what was made, all or none; message->written runs first. Each that is durable goes
 * to the backlog. Then done (may be NULL), and c is freed. */
void copies_write(struct copies *c, struct adding *message, copies_done done, void *context);
enum err copies_result(const struct copies *c);   /* from when message->written runs: ERR_OK: all are durable */
/* This recipient, a group, is done: its sender is told where he has asked for it. */
void copies_settle(struct queue *q, struct due *d);
void copies_free(struct copies *c);   /* NULL is fine; not while they are being made, nor after copies_write() */
#endif
