/* http/url.h -- an https URL taken apart (RFC 3986 §3, RFC 9110 §4.2.2). */
#ifndef FACTEUR_HTTP_URL_H
#define FACTEUR_HTTP_URL_H
#include "base/arena.h"

struct http_url {
	struct str host;   /* in lower case; whether it is a name, who connects there looks */
	uint16_t   port;   /* 0: none is given */
	struct str path;   /* with its query; "/" at least */
};
/* "https://" host [ ":" port ] [ path ]: no other scheme, no user, no fragment, no address in brackets. Strings are in the arena. */
bool http_url_read(struct str url, struct arena *a, struct http_url *out);
#endif
