/* queue/forward.h -- what an alias sends on elsewhere, and gets back: a circle that is cut at the first turn. One thread.
 *
 * What leaves by an alias bears its mark, a field that only this server can read (directory/list_address.h); what comes for an alias whose mark it
 * has already goes no further. */
#ifndef FACTEUR_QUEUE_FORWARD_H
#define FACTEUR_QUEUE_FORWARD_H
#include "queue/add.h"
#include "queue/resolve.h"

struct queue;
/* Takes out the recipients that such a message must not go to. ERR_CONFLICT: none is left, and its sender can be told. */
enum err forward_check(const struct queue *q, const struct queue_body *body, struct resolved *all, struct arena *a) MUST_CHECK;
/* The mark for a message that goes to this recipient, as a field; empty: no alias of ours sends it there. */
struct str forward_field(const struct lookup *l, struct str address, struct str orcpt, struct arena *a);
#endif
