/* Routes as text and as bytes.
 *
 * A target is typed as people know it from other mail servers: a host, perhaps a port, "lmtp:" before it. What was not said is filled in
 * so that the safe thing is the short thing to type: a login alone means port 587 and a certificate that is checked. */
#include "directory/route.h"
#include "directory/address.h"
#include "directory/directory.h"
#include "base/bytes.h"
#include "dns/name.h"

static const char *const tls_names[ROUTE_TLS_COUNT] = {
	[ROUTE_TLS_NEVER] = "none", [ROUTE_TLS_MAY] = "may", [ROUTE_TLS_ENCRYPT] = "encrypt", [ROUTE_TLS_VERIFY] = "verify",
	[ROUTE_TLS_IMPLICIT] = "implicit",
};

const char *route_tls_name(enum route_tls t) { return tls_names[t]; }

bool route_tls_parse(struct str in, enum route_tls *out)
{
	for (int i = 0; i < ROUTE_TLS_COUNT; i++) {
		if (str_ieq(in, str_of(tls_names[i]))) {
			*out = (enum route_tls)i;
			return true;
		}
	}
	return false;
}

/* ---- targets ---- */

static bool parse_host(struct str in, struct arena *a, struct str *out)
{
	struct str ip;

	if (printer_ip(in, a, &ip)) {
		*out = ip;
		return true;
	}
	return domain_to_ascii(in, a, out) && domain_is_host(*out);
}

static bool parse_port(struct str in, uint16_t *out)
{
	struct scan s = scan_of(in);
	uint64_t port = scan_number(&s, UINT16_MAX);

	*out = (uint16_t)port;
	return !s.failed && scan_done(&s) && port > 0;
}

/* host [":" port] / "[" address "]" [":" port]; an IPv6 address with several ":" is no host with a port */
static bool cut_port(struct str in, struct str *host, struct str *port)
{
	ptrdiff_t colon = str_rchr(in, ':');

	*port = STR("");
	*host = in;
	if (str_starts(in, STR("["))) {
		ptrdiff_t end = str_chr(in, ']');
		if (end < 0 || ((size_t)end + 1 < in.n && in.p[end + 1] != ':'))
			return false;
		*host = str_sub(in, 1, (size_t)end - 1);
		*port = (size_t)end + 1 < in.n ? str_from(in, (size_t)end + 2) : STR("");
		return (size_t)end + 1 == in.n || port->n > 0;
	}
	if (colon < 0 || str_chr(in, ':') != colon)
		return true;
	*host = str_sub(in, 0, (size_t)colon);
	*port = str_from(in, (size_t)colon + 1);
	return port->n > 0;
}

bool route_target_parse(struct str in, struct arena *a, struct route *out)
{
	struct str host, port;
	struct scan s = scan_of(in);

	*out = (struct route){ .host = STR(""), .login = STR("") };
	if (str_ieq(in, STR("direct")))
		return true;
	out->is_lmtp = scan_take_istr(&s, STR("lmtp:"));
	if (!out->is_lmtp)
		(void)scan_take_istr(&s, STR("smtp:"));
	(void)scan_take_str(&s, STR("//"));
	return cut_port(scan_rest(&s), &host, &port) && (port.n == 0 || parse_port(port, &out->port)) && parse_host(host, a, &out->host);
}

static bool is_ip(struct str host) { return str_chr(host, ':') >= 0 || !domain_is_host(host); }

static bool is_this_machine(struct str host) { return str_eq(host, STR("::1")) || (is_ip(host) && str_starts(host, STR("127."))); }

void route_complete(struct route *r, bool has_tls)
{
	if (r->host.n == 0)
		return;
	if (!has_tls)
		r->tls = r->port == 465 ? ROUTE_TLS_IMPLICIT : r->login.n > 0 && !is_this_machine(r->host) ? ROUTE_TLS_VERIFY : ROUTE_TLS_MAY;
	if (r->port == 0)
		r->port = r->is_lmtp ? 24 : r->tls == ROUTE_TLS_IMPLICIT ? 465 : r->login.n > 0 ? 587 : 25;
}

bool route_can_verify(const struct route *r) { return (r->tls != ROUTE_TLS_VERIFY && r->tls != ROUTE_TLS_IMPLICIT) || !is_ip(r->host); }

bool route_protects_login(const struct route *r)
{
	return r->login.n == 0 || is_this_machine(r->host) || r->tls == ROUTE_TLS_VERIFY || r->tls == ROUTE_TLS_IMPLICIT;
}

struct str route_name(const struct route *r, struct arena *a)
{
	bool has_colon = str_chr(r->host, ':') >= 0;

	return arena_printf(a, "%s" STR_FMT "%s%s" STR_FMT "%s:%u", r->is_lmtp ? "lmtp:" : "", STR_ARG(r->login), r->login.n > 0 ? "@" : "",
	                    has_colon ? "[" : "", STR_ARG(r->host), has_colon ? "]" : "", r->port);
}

bool route_pattern_parse(struct str in, struct arena *a, struct str *out)
{
	bool is_below = str_starts(in, STR("."));
	struct str domain;

	*out = STR("*");
	if (str_eq(in, STR("*")))
		return true;
	if (!directory_domain_parse(is_below ? str_from(in, 1) : in, a, &domain))
		return false;
	*out = is_below ? arena_printf(a, "." STR_FMT, STR_ARG(domain)) : domain;
	return true;
}

/* ---- bytes: host, u16 port, bool LMTP, u8 TLS, login ---- */

void put_route(struct buf *b, const struct route *r)
{
	put_str(b, r->host);
	put_u16(b, r->port);
	put_bool(b, r->is_lmtp);
	put_u8(b, (uint8_t)r->tls);
	put_str(b, r->login);
}

struct route get_route(struct scan *s)
{
	struct route r = { .host = get_str(s, ROUTE_HOST_MAX) };

	r.port = get_u16(s);
	r.is_lmtp = get_bool(s);
	r.tls = (enum route_tls)get_u8(s);
	r.login = get_str(s, ROUTE_LOGIN_MAX);
	if (r.tls >= ROUTE_TLS_COUNT || (r.host.n > 0 && r.port == 0) || str_has_ctl(r.host) || str_has_ctl(r.login))
		scan_fail(s);
	return s->failed ? (struct route){ .host = STR(""), .login = STR("") } : r;
}
