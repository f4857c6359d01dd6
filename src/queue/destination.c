/* The domain is what stands behind the last "@": a quoted local part may have others. A literal is taken as it is: net knows what may
 * stand in it, and says so in its answer. */
#include "queue/destination.h"
#include "base/err.h"
#include "dns/name.h"
#include "queue/send.h"

bool address_destination(struct str address, struct arena *a, struct str *out)
{
	ptrdiff_t at = str_rchr(address, '@');
	struct str domain = at > 0 ? str_from(address, (size_t)at + 1) : STR("");

	if (str_starts(domain, STR("[")) && str_ends(domain, STR("]")) && domain.n <= DOMAIN_MAX) {
		*out = str_lower(a, domain);
		return true;
	}
	return domain.n > 0 && domain_to_ascii(domain, a, out);
}

/* Two routes to one host may ask for different encryption, and mail of the stricter one must not go along with the other's. */
struct str queue_way_name(const struct route *r, struct arena *a)
{
	struct route usual = *r;
	struct str name = route_name(r, a);

	route_complete(&usual, false);
	return usual.tls == r->tls ? name : arena_printf(a, STR_FMT " (TLS %s)", STR_ARG(name), route_tls_name(r->tls));
}

bool queue_way_of(const struct lookup *l, struct str address, struct arena *a, struct queue_way *out)
{
	struct str domain;

	*out = (struct queue_way){ .route = { .host = STR(""), .login = STR("") } };
	if (!address_destination(address, a, &domain))
		return false;
	out->destination = domain;
	if (l == NULL || !lookup_route(l, domain, &out->route))
		return true;
	out->is_inner = lookup_domain(l, domain);
	out->destination = queue_way_name(&out->route, a);
	if (out->is_inner)
		out->destination = arena_printf(a, STR_FMT " for " STR_FMT, STR_ARG(out->destination), STR_ARG(domain));
	return true;
}

bool queue_destination_named(const struct lookup *l, struct str name, struct arena *a, struct str *out, bool *is_routed)
{
	struct route route;

	*is_routed = false;
	if (str_chr(name, ':') >= 0 && !(str_starts(name, STR("[")) && str_ends(name, STR("]")))) {  /* no domain has one, and a literal ends so */
		*out = str_copy(a, name);
		return name.n <= SEND_DESTINATION_MAX;
	}
	if (!address_destination(arena_printf(a, "x@" STR_FMT, STR_ARG(name)), a, out))
		return false;
	*is_routed = l != NULL && lookup_route(l, *out, &route);
	return true;
}
