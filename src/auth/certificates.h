/* auth/certificates.h -- CERTIFICATE_LIST: what the administrator may know about the certificates that clients are shown:
 * names, end, and the hash of the public key. Asked in pages: u32 from index -> list, next index (0 = end). */
#ifndef FACTEUR_AUTH_CERTIFICATES_H
#define FACTEUR_AUTH_CERTIFICATES_H
#include "auth/keyring.h"

enum { CERTIFICATES_PAGE_MAX = 100, CERTIFICATE_NAMES_TEXT_MAX = 400 };

struct certificate_info {
	struct str names;          /* that it is shown for: "example.org, *.example.org"; cut with "…"; "": to clients that name none */
	int64_t    not_after_s;    /* seconds since 1970 */
	uint8_t    key_hash[TLS_KEY_HASH_SIZE];   /* SHA-256 of SubjectPublicKeyInfo: TLSA 3 1 1 (RFC 6698 §2.1) */
};
/* keys' side: the body of the answer. ERR_INVALID: malformed. */
enum err certificates_serve(const struct keyring *k, struct str request, struct buf *answer) MUST_CHECK;
/* Adds what the answer holds to *list, an array in the arena (start: NULL, 0, 0). */
bool get_certificates(struct scan *s, struct arena *a, struct certificate_info **list, size_t *n, size_t *cap,
					  uint32_t *next);
#endif
