/* auth/jwt.h -- signed tokens (JWT, RFC 7519, in the compact form of RFC 7515 §7.1) as OAuth servers issue them for access (RFC 9068).
 *
 * Two steps in two processes. The gate takes a token apart and looks at its header and whose it says it is, which anybody may have written: they only
 * lead to the keys it is tried by. What the token says is read by keys, and only after an issuer's key has proved that it wrote it. */
#ifndef FACTEUR_AUTH_JWT_H
#define FACTEUR_AUTH_JWT_H
#include "auth/verify.h"
#include "base/arena.h"

/* Once in a process that reads tokens, before its sandbox. */
void jwt_setup(void);

struct jwt { struct str issuer, kid, signed_part, signature; };   /* issuer: empty if it names none, or no possible one */
/* Slices in the arena or of the token. False: not three parts, a header that is no JSON object or asks for what we do not do (an algorithm but
 * RS256, ES256, EdDSA; "crit"), a part that is too long. */
bool jwt_read(struct str token, struct arena *a, struct jwt *out);

enum { JWT_AUDIENCES_MAX = 20 };
struct jwt_claims {
	struct str issuer;
	struct str audiences[JWT_AUDIENCES_MAX];
	size_t     audience_count;
	int64_t    expires_s, not_before_s;   /* seconds since 1970; expires_s 0: it never does, not_before_s 0: at once */
	struct str who;                       /* the claim that names the account; empty: it is not there */
	bool       is_unverified;             /* who is the claim "email", and "email_verified" is there and not true: the issuer does not vouch for it */
	bool       is_for_access;             /* false: the header says another kind ("typ": logout+jwt, …), or Keycloak does among the claims (ID, Refresh, …) */
};
/* The payload inside a signed part whose signature is right. False: malformed. Strings are copied to the arena. */
bool jwt_claims(struct str signed_part, const char *claim, struct arena *a, struct jwt_claims *out);
#endif
