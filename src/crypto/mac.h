/* crypto/mac.h -- keyed hashes and key derivation: HMAC (RFC 2104), HKDF (RFC 5869), PBKDF2 (RFC 8018 §5.2).
 * Compare MACs with str_same_secret() only. */
#ifndef FACTEUR_CRYPTO_MAC_H
#define FACTEUR_CRYPTO_MAC_H
#include "crypto/digest.h"

void hmac_sha256(struct str key, struct str in, uint8_t out[SHA256_SIZE]);
/* HKDF-SHA-256, extract and expand; n at most 255 * 32. An empty salt is allowed. */
void hkdf_sha256(struct str secret, struct str salt, struct str info, uint8_t *out, size_t n);
/* PBKDF2-HMAC: n bytes of key out of a password; iterations at least 1. */
void pbkdf2(enum digest d, struct str password, struct str salt, uint32_t iterations, uint8_t *out, size_t n);
#endif
