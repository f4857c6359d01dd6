/* The domain is what stands behind the last "@": a quoted local part may have others. A literal is taken as it is: net knows what may
 * stand in it, and says so in its answer. */
#include "queue/destination.h"
#include "base/err.h"
#include "dns/name.h"

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
