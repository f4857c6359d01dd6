/* queue/destination.h -- where an address leads, as far as the queue cares: its domain in A-labels and lower case, or an address
 * literal with its brackets; or, when a route says so (directory/route.h), the name of that route, for all that goes that way. */
#ifndef FACTEUR_QUEUE_DESTINATION_H
#define FACTEUR_QUEUE_DESTINATION_H
#include "base/arena.h"
#include "directory/lookup.h"

/* False: it has no domain that could be asked for. */
bool address_destination(struct str address, struct arena *a, struct str *out) MUST_CHECK;

struct queue_way {
	struct str   destination;  /* "example.net"; "relay.example.net:587", with " (TLS verify)" where that is not the usual for it; of a
	                              domain of ours "lmtp:127.0.0.1:24 for example.org": what an outer server needs (another sender, for
	                              one) is not for an inner one, even if both are the same host */
	struct route route;        /* host empty: none */
	bool         is_inner;     /* it stays in a domain of ours */
};
/* l NULL: there are no routes. Lives in the arena, and the route in l. False: as above. */
bool queue_way_of(const struct lookup *l, struct str address, struct arena *a, struct queue_way *out) MUST_CHECK;
/* The destination of all that goes by a route, without " for example.org". */
struct str queue_way_name(const struct route *r, struct arena *a);
/* What an administrator calls a destination: a domain, or the name of a route. *is_routed: a domain whose mail goes by a route, so nothing has this
 * destination. False: neither. */
bool queue_destination_named(const struct lookup *l, struct str name, struct arena *a, struct str *out, bool *is_routed) MUST_CHECK;
#endif
