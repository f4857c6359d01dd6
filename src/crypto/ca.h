/* crypto/ca.h -- a small certificate authority of our own: `./run` and a fresh `setup` have TLS before anybody bought or
 * fetched a certificate. EC P-256 throughout. Not for the outside world: nobody else trusts it. */
#ifndef FACTEUR_CRYPTO_CA_H
#define FACTEUR_CRYPTO_CA_H
#include "base/arena.h"

struct ca_pair { struct str certificate_pem, key_pem; };  /* key_pem is secret: write it with mode 0600 */

/* A self-signed authority that may only sign server certificates (pathlen 0). name: shown to people ("facteur demo CA"). */
enum err ca_make(struct str name, int days, struct arena *a, struct ca_pair *out) MUST_CHECK;
/* A server certificate for these DNS names or IP addresses (as text), the first is also its common name. At most 50.
 * out->certificate_pem: the certificate followed by the authority's. ERR_INVALID: the pair cannot be read or no names. */
enum err ca_issue(const struct ca_pair *ca, const struct str *names, size_t count, int days, struct arena *a,
                  struct ca_pair *out) MUST_CHECK;
#endif
