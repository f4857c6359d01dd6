/* queue/resolve.h -- recipients as a client named them become what the directory says (queue/envelope.h, "who resolves"). */
#ifndef FACTEUR_QUEUE_RESOLVE_H
#define FACTEUR_QUEUE_RESOLVE_H
#include "directory/lookup.h"
#include "queue/envelope.h"

/* Sets out to a copy of in whose recipients are the targets of its addresses: each account and each address elsewhere once. An
 * address of ours that nobody has any more, or that is none, stays as it is, with account 0. What in->recipients say of accounts is
 * not believed: it comes from a role that cannot know. ERR_LIMIT: more than ENVELOPE_RECIPIENTS_MAX. Lives in a, and views in and l. */
enum err envelope_resolve(const struct lookup *l, const struct envelope *in, struct arena *a, struct envelope *out) MUST_CHECK;
#endif
