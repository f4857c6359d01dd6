/* auth/bearer.h -- is a token one of an issuer that the administrator trusts, for this server, now, and for whom? Pure: keys asks it with the
 * issuers of the directory; who the address belongs to is the caller's. */
#ifndef FACTEUR_AUTH_BEARER_H
#define FACTEUR_AUTH_BEARER_H
#include "auth/verify.h"
#include "directory/issuer.h"

enum { BEARER_LEEWAY_S = 60 };   /* clocks differ */

enum bearer_fault {
	BEARER_FINE, BEARER_NO_TOKEN, BEARER_UNKNOWN_ISSUER, BEARER_UNKNOWN_KEY, BEARER_SIGNATURE,   /* anybody may have made it */
	BEARER_MALFORMED, BEARER_ISSUER, BEARER_AUDIENCE, BEARER_KIND, BEARER_NEVER_EXPIRES, BEARER_EXPIRED, BEARER_NOT_YET, BEARER_NO_ADDRESS,
	BEARER_UNVERIFIED, BEARER_FAULT_COUNT
};
/* For the log: "expired". */
const char *bearer_fault_name(enum bearer_fault f);
/* Its signature is right: nobody has guessed. */
static inline bool bearer_is_signed(enum bearer_fault f) { return f == BEARER_FINE || f >= BEARER_MALFORMED; }

struct bearer_token {
	const struct issuer     *issuer;      /* whose it says it is; NULL: none of the issuers */
	const struct issuer_key *key;         /* that has signed it; NULL: none */
	struct str               address;     /* BEARER_FINE: what its claim says, in the arena */
	int64_t                  expires_s;   /* BEARER_FINE */
};
/* now_s: seconds since 1970. */
enum bearer_fault bearer_judge(const struct issuer *issuers, size_t n, const struct bearer_request *r, int64_t now_s, struct arena *a,
                               struct bearer_token *out);
#endif
