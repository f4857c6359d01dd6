/* directory/route.h -- routes: where mail for a destination goes instead of to the mail hosts that its domain names: a smart host (which may
 * want a login), an LMTP server behind us, or, as an exception from a wider route, its own mail hosts again.
 *
 * A route stands for a pattern: "example.net" (that domain), ".example.net" (every domain below it), "*" (all that is not ours). The
 * narrowest one counts. Domains of ours have only a route of their own name: what nobody here has goes there, in place of a catch-all.
 * Passwords are not here: the role keys has them, by the name of the route. */
#ifndef FACTEUR_DIRECTORY_ROUTE_H
#define FACTEUR_DIRECTORY_ROUTE_H
#include "base/arena.h"
#include "base/wire.h"

enum { ROUTE_HOST_MAX = 253, ROUTE_LOGIN_MAX = 255, ROUTE_NAME_MAX = 530, ROUTE_PATTERN_MAX = 254, ROUTES_MAX = 10000 };

enum route_tls {
	ROUTE_TLS_NEVER = 0,    /* in clear text, also where the server offers TLS */
	ROUTE_TLS_MAY,          /* STARTTLS where it is offered, whatever the certificate */
	ROUTE_TLS_ENCRYPT,      /* STARTTLS or nothing, whatever the certificate */
	ROUTE_TLS_VERIFY,       /* STARTTLS or nothing, with a certificate for the host's name */
	ROUTE_TLS_IMPLICIT,     /* TLS from the first byte (RFC 8314 §3.3), with a certificate for the host's name */
	ROUTE_TLS_COUNT
};
const char *route_tls_name(enum route_tls t);               /* "verify", as it is typed */
bool route_tls_parse(struct str in, enum route_tls *out);

struct route {
	struct str     host;     /* a host name (A-labels, lower case), or an IP address without brackets; empty: none, the destination's own hosts */
	uint16_t       port;
	bool           is_lmtp;  /* RFC 2033 */
	enum route_tls tls;
	struct str     login;    /* user name for AUTH; empty: none. Its password goes only over verified TLS, or to this machine */
};

/* What is typed: "direct", "relay.example.net", "192.0.2.7:2525", "[2001:db8::7]:25", "lmtp:127.0.0.1:24". Sets host, port (0: not named)
 * and is_lmtp; the rest is zero. False: not understood. */
bool route_target_parse(struct str in, struct arena *a, struct route *out);
/* Fills in what was not said: the port (25; 587 with a login, 465 with implicit TLS; LMTP 24), TLS (implicit on 465, verified with a login,
 * else opportunistic). has_tls: out->tls was said. */
void route_complete(struct route *r, bool has_tls);
/* "verify" and "implicit" need a host with a name: a certificate of an address is nobody's. */
bool route_can_verify(const struct route *r);
/* A login goes over verified TLS, or to an address of this machine. */
bool route_protects_login(const struct route *r);

/* "relay.example.net:587", "alice@relay.example.net:587", "lmtp:127.0.0.1:24": what people see, what turns and connections go by, and by what
 * the password is kept. Never a domain or an address literal. */
struct str route_name(const struct route *r, struct arena *a);
/* A pattern in any spelling -> as it is compared. False: not one. */
bool route_pattern_parse(struct str in, struct arena *a, struct str *out);

void put_route(struct buf *b, const struct route *r);
/* Views the message. Fails the scan on what is no route. */
struct route get_route(struct scan *s);

/* ---- the table, in directory.db */
struct directory;
struct directory_route {
	struct str   pattern;
	struct route route;
};
enum err route_set(struct directory *d, struct str pattern, const struct route *r) MUST_CHECK;   /* replaces; ERR_LIMIT: ROUTES_MAX */
enum err route_remove(struct directory *d, struct str pattern) MUST_CHECK;                       /* ERR_NOTFOUND */
enum err route_list(struct directory *d, struct arena *a, struct directory_route **out, size_t *n) MUST_CHECK;
#endif
