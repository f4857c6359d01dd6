/* queue/orders.h -- recipients that are for the server itself: members of groups who leave, and bounces to groups. One thread. */
#ifndef FACTEUR_QUEUE_ORDERS_H
#define FACTEUR_QUEUE_ORDERS_H
#include "queue/add.h"
#include "queue/resolve.h"

struct queue;

/* Carries out all->orders, one after the other. e: who says so; body: what came. done runs once, perhaps before this returns: ERR_OK, all
 * is on disk (or needed nothing); else: not now. all, e and body must live until then. */
void orders_run(struct queue *q, const struct resolved *all, const struct envelope *e, const struct queue_body *body,
                void (*done)(void *context, enum err result), void *context);
#endif
