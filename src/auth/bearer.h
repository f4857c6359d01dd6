/* auth/bearer.h -- is a token one of an issuer that the administrator trusts, for this server, now, and for whom? Pure: keys asks it with the
 * issuers of the directory; who the address belongs to is the caller's. */
#ifndef FACTEUR_AUTH_BEARER_H
#define FACTEUR_AUTH_BEARER_H
#include "auth/verify.h"
#include "directory/issuer.h"

enum bearer_fault {
	BEARER_FINE, BEARER_NO_TOKEN, BEARER_UNKNOWN_KEY, BEARER_SIGNATURE,          /* anybody may have made it */
	BEARER_MALFORMED, BEARER_ISSUER, BEARER_AUDIENCE, BEARER_KIND, BEARER_NEVER_EXPIRES, BEARER_EXPIRED, BEARER_NOT_YET, BEARER_NO_ADDRESS,
	BEARER_UNVERIFIED, BEARER_FAULT_COUNT
};
/* For the log: "expired". */
const char *bearer_fault_name(enum bearer_fault f);
/* Its signature is right: nobody has guessed. */
static inline bool bearer_is_signed(enum bearer_fault f) { return f == BEARER_FINE || f >= BEARER_MALFORMED; }

/* now_s: seconds since 1970. BEARER_FINE: *issuer is whose it is, *address what its claim says (in the arena). */
enum bearer_fault bearer_judge(const struct issuer *issuers, size_t n, const struct bearer_request *r, int64_t now_s, struct arena *a,
                               const struct issuer **issuer, struct str *address);
#endif
