/* auth/jwks.h -- the public keys of an issuer, as it publishes them (JWK Set, RFC 7517 §5). */
#ifndef FACTEUR_AUTH_JWKS_H
#define FACTEUR_AUTH_JWKS_H
#include "directory/issuer.h"

enum { JWKS_TEXT_MAX = 65536 };

/* The keys that can verify tokens: for signatures (or for anything), RSA of 2048 to 4096 bits, P-256, Ed25519; others in the set are left out.
 * ERR_INVALID: not a set of keys; ERR_NOTFOUND: none of use; ERR_DENIED: there is a private or a shared key in it, which whoever reads it could
 * make tokens with; ERR_LIMIT: more than ISSUER_KEYS_MAX. Strings are in the arena. */
enum err jwks_read(struct str text, struct arena *a, struct issuer_key *keys, size_t *n) MUST_CHECK;
#endif
