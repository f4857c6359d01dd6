/* queue/orders.h -- recipients that are for the server itself: members of groups who leave, and bounces to groups. One thread. */
#ifndef FACTEUR_QUEUE_ORDERS_H
#define FACTEUR_QUEUE_ORDERS_H
#include "queue/add.h"
#include "queue/resolve.h"

struct queue;

/* Carries out all->orders, one after the other. e: who says so; body: what came. done runs once, perhaps before this returns: ERR_OK, all
 * is on disk (or needed nothing); ERR_NOTFOUND: the same, but who wanted to leave a group is none of its members, or they do not leave it by
 * themselves; else: not now. all, body, and of e what is no string must live until then. */
void orders_run(struct queue *q, const struct resolved *all, const struct envelope *e, const struct queue_body *body,
                void (*done)(void *context, enum err result), void *context);
#endif
