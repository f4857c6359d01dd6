/* queue/destination.h -- where an address leads, as far as the queue cares: its domain in A-labels and lower case, or an address
 * literal with its brackets. */
#ifndef FACTEUR_QUEUE_DESTINATION_H
#define FACTEUR_QUEUE_DESTINATION_H
#include "base/arena.h"

/* False: it has no domain that could be asked for. */
bool address_destination(struct str address, struct arena *a, struct str *out) MUST_CHECK;
#endif
