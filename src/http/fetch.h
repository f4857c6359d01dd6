/* http/fetch.h -- one small text from a known place over HTTPS (RFC 9110 §9.3.1), or one posted there, in a loop and without waiting for anybody. The
 * certificate has to be of a known authority and for this host. No redirects are followed, no cookies kept, no compression asked for;
 * the connection serves one text. */
#ifndef FACTEUR_HTTP_FETCH_H
#define FACTEUR_HTTP_FETCH_H
#include "dns/resolver.h"
#include "http/answer.h"
#include "net/tls_client.h"

struct http_place {
	struct str host;          /* A-labels; also what the certificate has to be for */
	uint16_t   port;          /* 443 */
	struct str path;          /* "/.well-known/mta-sts.txt" */
	size_t     body_max;      /* bytes; more is an error */
	int        deadline_ms;   /* for all of it, name servers included */
	bool       public_only;   /* a stranger names the host: addresses of private networks are not connected to (mx_is_private()) */
	struct str type, body;    /* POST: "application/tlsrpt+gzip" and what is posted; type empty: GET */
};
struct http_fetched {
	enum err   e;             /* ERR_OK: an answer came, of any status; else ERR_TIMEOUT, ERR_UNAVAILABLE: no connection, a wrong
	                           * certificate; ERR_INVALID, ERR_LIMIT, ERR_CLOSED: no whole answer */
	struct str why;           /* unless OK: for people */
	bool       has_bad_certificate;     /* … and that is why */
	const struct http_answer *answer;   /* OK: until the callback returns */
};
typedef void (*http_done)(void *context, const struct http_fetched *f);

/* resolver and its loop, tls: borrowed until it ends. done runs once, from the loop, never before this returns; not after http_cancel(). */
struct http_fetch;
struct http_fetch *http_get(struct resolver *resolver, struct tls_client *tls, const struct http_place *p, http_done done, void *context);
void http_cancel(struct http_fetch *f);   /* NULL is fine */
#endif
