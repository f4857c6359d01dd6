/* queue/destination_list.h -- what the administrator sees of the destinations: how much waits for each (queue.db), and how it goes
 * with them (turns.h). */
#ifndef FACTEUR_QUEUE_DESTINATION_LIST_H
#define FACTEUR_QUEUE_DESTINATION_LIST_H
#include "queue/command.h"
#include "queue/turns.h"

/* Those with most waiting recipients first, then those that something is known of; at most max. Strings live in the arena. */
enum err destination_list(struct late *l, const struct turns *t, size_t max, struct arena *a, struct queue_destination **out,
                          size_t *n) MUST_CHECK;
#endif
