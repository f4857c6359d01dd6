/* crypto/digest.h -- SHA-1, SHA-256, SHA-512 (FIPS 180-4), MD5 (only to read old hashes). At once or in pieces. */
#ifndef FACTEUR_CRYPTO_DIGEST_H
#define FACTEUR_CRYPTO_DIGEST_H
#include "base/err.h"
#include "base/str.h"

enum digest { DIGEST_SHA256 = 1, DIGEST_SHA512, DIGEST_SHA1, DIGEST_MD5 };
enum { SHA256_SIZE = 32, SHA512_SIZE = 64, SHA1_SIZE = 20, MD5_SIZE = 16, DIGEST_SIZE_MAX = 64 };

size_t digest_size(enum digest d);
void digest_once(enum digest d, struct str in, uint8_t *out);  /* out: digest_size(d) bytes */
static inline void sha256(struct str in, uint8_t out[SHA256_SIZE]) { digest_once(DIGEST_SHA256, in, out); }

/* In pieces. One state is used by one thread at a time. */
struct digest_state;
struct digest_state *digest_begin(enum digest d);
void digest_add(struct digest_state *s, struct str in);
void digest_end(struct digest_state *s, uint8_t *out);  /* writes the digest and frees s; out NULL: only frees */
#endif
