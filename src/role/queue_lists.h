/* role/queue_lists.h -- the role queue and the members of groups: who leaves, whose mail comes back. */
#ifndef FACTEUR_ROLE_QUEUE_LISTS_H
#define FACTEUR_ROLE_QUEUE_LISTS_H
#include "queue/queue.h"

struct queue_lists {   /* borrowed; may be NULL until they are there */
	struct channel       *control;
	struct queue         *queue;
	const struct lookup  *lookup;
};

/* For queue_host.list_order; lists outlives the answer. */
void queue_lists_order(struct queue_lists *lists, const struct list_order_request *r, void (*done)(void *context, enum err result),
                       void *done_context);
/* A report for the sender of what a group sent on: nobody is told, but each failure is noted for its member. */
void queue_lists_report(struct queue_lists *lists, const struct report *r);
#endif
