/* queue/parents.h -- messages made by a delivery (redirect, vacation, bounce) are queued once (DESIGN.md §4.3): the key
 * says which delivery made it, and the how-many-eth it was. Memory only: what counts after a restart is rebuilt from
 * the log. */
#ifndef FACTEUR_QUEUE_PARENTS_H
#define FACTEUR_QUEUE_PARENTS_H
#include "base/map.h"
#include "queue/envelope.h"
#include "queue/late.h"

struct parents {  /* all zeros: none */
	struct map keys;
};

/* The seq of the message with this key; 0: there is none; PARENT_BEING_WRITTEN. */
#define PARENT_BEING_WRITTEN UINT64_MAX
uint64_t parents_find(const struct parents *p, const struct envelope_parent *key);
void parents_set(struct parents *p, const struct envelope_parent *key, uint64_t seq);   /* 0 forgets it */
/* W is durable: keys whose parent cannot be delivered again are forgotten. */
void parents_passed(struct parents *p, uint64_t log_id, uint64_t w, struct late *late);
void parents_free(struct parents *p);
#endif
