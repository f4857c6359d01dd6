/* queue/resolve.h -- recipients as a client named them become what the directory says (queue/envelope.h, "who resolves"). */
#ifndef FACTEUR_QUEUE_RESOLVE_H
#define FACTEUR_QUEUE_RESOLVE_H
#include "directory/lookup.h"
#include "queue/envelope.h"

/* What a group sends on is a message of its own (another header, another sender): one for its members here, one for those of them who may
 * not leave by themselves, one for members elsewhere. */
struct resolved_copy {
	struct lookup_group group;
	uint16_t            recipient;    /* which of the message itself the group is */
	bool                is_elsewhere, may_leave;
	struct envelope     envelope;
};
struct resolved_drop {
	struct str            address;    /* as its sender wrote it */
	bool                  is_loop;    /* it has been sent on from there before; else an automatic answer */
};
/* What an alias sends on elsewhere. */
struct resolved_forward {
	struct str            alias;
	uint16_t              recipient;
};
struct resolved {
	struct envelope       envelope;   /* the message itself; a group stands in it as one recipient, ENVELOPE_GROUP; n may be 0 */
	struct resolved_copy *copies;
	size_t                n;
	struct resolved_forward *forwards;
	size_t                forwards_n;
	struct resolved_drop *drops;      /* must not get it, no recipients any more: copies_check(), forward_check() */
	size_t                drops_n, drops_cap;
	struct list_address  *orders;     /* recipients that are for the server itself: bounces to a group, members who leave */
	size_t                orders_n;
};

/* Sets out to copies of in whose recipients are the targets of its addresses: each account and each address elsewhere once, those that are
 * named themselves before members of groups. An address of ours that nobody has any more, or that is none, stays as it is, with account
 * 0. What in->recipients say of accounts is not believed: it comes from a role that cannot know. in->source and submitter are.
 * ERR_LIMIT: more than ENVELOPE_RECIPIENTS_MAX, or five times as many are named again and again. Lives in a, and views in and l. */
enum err envelope_distribute(const struct lookup *l, const struct envelope *in, struct arena *a, struct resolved *out) MUST_CHECK;
/* The same once more for the groups in `logged`, an envelope that has been resolved, of which some copies are there already: who has got it
 * by those, or by the message itself, gets none. out->copies has what is missing. */
enum err envelope_distribute_rest(const struct lookup *l, const struct envelope *logged, const struct envelope *there, size_t n, struct arena *a,
                                  struct resolved *out) MUST_CHECK;
/* One recipient less; it is among the drops (in a). */
void resolved_drop_recipient(struct resolved *all, size_t at, bool is_loop, struct arena *a);
/* The message itself alone. */
enum err envelope_resolve(const struct lookup *l, const struct envelope *in, struct arena *a, struct envelope *out) MUST_CHECK;
#endif
