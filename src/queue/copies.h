/* queue/copies.h -- what groups send on of one message: checked, and written as messages of their own. One thread. */
#ifndef FACTEUR_QUEUE_COPIES_H
#define FACTEUR_QUEUE_COPIES_H
#include "queue/add.h"
#include "queue/resolve.h"

struct queue;
struct copies;

/* all and body (its bytes or its spool file) must outlive it, bytes until copies_write() at least: where they move, copies_write() is told by
 * body itself. ERR_IO: the spool file cannot be read (logged). */
enum err copies_new(struct queue *q, struct resolved *all, const struct queue_body *body, struct copies **out) MUST_CHECK;
/* Takes out what must not be sent on: what has been through the group already, and automatic answers. Where nothing else is left, and the
 * sender can still be told: ERR_CONFLICT for the former, ERR_DENIED for the latter. */
enum err copies_check(struct copies *c, const struct envelope *e) MUST_CHECK;
/* done runs once, perhaps before this returns: ERR_OK, all are durable. */
void copies_write(struct copies *c, void (*done)(void *context, enum err result), void *context);
void copies_free(struct copies *c);   /* NULL is fine; not while they are being written */
#endif
