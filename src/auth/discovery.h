/* auth/discovery.h -- where an issuer publishes its keys: the document about itself that it serves at a place known beforehand (OpenID Connect
 * Discovery 1.0 §4, RFC 8414 §3). */
#ifndef FACTEUR_AUTH_DISCOVERY_H
#define FACTEUR_AUTH_DISCOVERY_H
#include "base/arena.h"
#include "http/url.h"

enum { DISCOVERY_PLACES = 2, DISCOVERY_TEXT_MAX = 65536, DISCOVERY_URL_MAX = 2000 };

/* Where its document may be, the usual place first. False: the issuer is not a URL that could be asked. */
bool discovery_places(struct str issuer, struct arena *a, struct http_url out[DISCOVERY_PLACES]);

/* ERR_OK: *keys is its jwks_uri. ERR_INVALID: not such a document; ERR_CONFLICT: it is about another issuer, *said; ERR_NOTFOUND: it names no keys,
 * not over https, or with too long a URL, *said. Strings are in the arena. */
enum err discovery_read(struct str text, struct str issuer, struct arena *a, struct str *keys, struct str *said) MUST_CHECK;
#endif
