/* crypto/public_key.h -- public keys of others, and whether they made a signature, as tokens need it (JWS, RFC 7518 §3 and RFC 8037).
 * A key verifies in one way only, which its kind decides: RSA (2048 to 4096 bits) RS256, P-256 ES256, Ed25519 EdDSA. What is signed says
 * nothing about how. */
#ifndef FACTEUR_CRYPTO_PUBLIC_KEY_H
#define FACTEUR_CRYPTO_PUBLIC_KEY_H
#include "base/arena.h"

enum { PUBLIC_KEY_DER_MAX = 700 };

/* The key as SubjectPublicKeyInfo, out of its numbers (big-endian). ERR_INVALID: no such key. */
enum err public_key_rsa(struct str n, struct str e, struct arena *a, struct str *der) MUST_CHECK;
enum err public_key_p256(struct str x, struct str y, struct arena *a, struct str *der) MUST_CHECK;
enum err public_key_ed25519(struct str x, struct arena *a, struct str *der) MUST_CHECK;
/* der is one of those. */
bool public_key_verify(struct str der, struct str message, struct str signature);
#endif
