/* crypto/pkey.h -- private keys and what they sign; certificates as far as a server must look into its own.
 * Only keys (and the cli while it makes demo certificates) ever holds a struct pkey. Not to be shared between threads while
 * it is freed; signing from several threads is fine. */
#ifndef FACTEUR_CRYPTO_PKEY_H
#define FACTEUR_CRYPTO_PKEY_H
#include "base/arena.h"
#include "base/buf.h"

struct pkey;
enum pkey_kind { PKEY_RSA = 1, PKEY_EC, PKEY_ED25519 };
enum { PKEY_PEM_MAX = 65536, PKEY_SIGNATURE_MAX = 1024, CERTIFICATE_CHAIN_MAX = 10, CERTIFICATE_NAMES_MAX = 100 };

/* An unencrypted key out of PEM (PKCS#8, or the older RSA and EC forms); other PEM blocks are skipped.
 * ERR_NOTFOUND: no private key in it; ERR_INVALID: malformed, encrypted, or not RSA >= 2048, a NIST curve, Ed25519. */
enum err pkey_from_pem(struct str pem, struct pkey **out) MUST_CHECK;
enum err pkey_generate(enum pkey_kind kind, struct pkey **out) MUST_CHECK;  /* RSA 2048, EC P-256, Ed25519 */
struct str pkey_pem(const struct pkey *k, struct arena *a);                 /* PKCS#8; secret */
struct str pkey_public_der(const struct pkey *k, struct arena *a);          /* SubjectPublicKeyInfo */
enum pkey_kind pkey_kind(const struct pkey *k);
void pkey_free(struct pkey *k);                                             /* wipes; NULL is fine */

/* How a signature is made. digest_name: OpenSSL's ("SHA256", "SHA384" ...), NULL for Ed25519.
 * padding: for RSA "pkcs1" or "pss" (MGF1 with the same digest, salt as long as the digest); ignored otherwise. */
struct pkey_scheme { const char *digest_name; const char *padding; };

/* Signs the message itself (the digest is computed here). ERR_INVALID: the scheme does not fit the key. */
enum err pkey_sign(const struct pkey *k, const struct pkey_scheme *how, struct str message, struct buf *signature) MUST_CHECK;

/* What a certificate chain in PEM says about itself (the first is the server's own). */
struct certificate {
	struct str der[CERTIFICATE_CHAIN_MAX];
	size_t     der_count;
	struct str names[CERTIFICATE_NAMES_MAX];  /* DNS names of the subject alternative name, lower case; "*.example.test" stays */
	size_t     name_count;
	int64_t    not_before_s, not_after_s;     /* of the first one */
};
/* The CERTIFICATE blocks of the text, copied to the arena; self-signed ones behind the first (roots: clients have their own) are
 * left out. ERR_NOTFOUND: none; ERR_INVALID: malformed; ERR_LIMIT: too many. */
enum err certificate_read(struct str pem, struct arena *a, struct certificate *out) MUST_CHECK;
/* SubjectPublicKeyInfo of the first certificate: equal to pkey_public_der() of its key. */
struct str certificate_public_der(const struct certificate *c, struct arena *a);
#endif
