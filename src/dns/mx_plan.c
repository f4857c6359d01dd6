/* From answers to a route (RFC 5321 §5.1, RFC 7505, RFC 7672).
 *
 * Order: by preference; within one, the hosts at random (§5.1 "MUST randomize"), the first address of each before the second of any, and
 * IPv6 first for one host, IPv4 first for the next: a host that is down, or a network without IPv6, costs one failed attempt, not
 * one for each address it has.
 *
 * A loop is cut by name before addresses are asked and by address after; what has our preference or a larger one goes too, or two
 * servers that are each other's backup would play ball with a message.
 *
 * DANE: a host counts only when all that leads to it is signed: the MX records, and each answer that gave an address. A question
 * for TLSA that fails takes the host out: an attacker who can drop packets must not turn TLS off. */
#include "dns/mx_private.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "dns/name.h"
#include <arpa/inet.h>
#include <stdlib.h>

enum { TTL_MAX = 3600 };

struct mx_route *mx_route_new(struct str domain)
{
	struct mx_route *r = MEM_NEW(struct mx_route);

	r->domain = str_lower(&r->arena, domain);
	if (r->domain.n > 1 && r->domain.p[r->domain.n - 1] == '.')
		r->domain.n--;
	r->ttl_s = TTL_MAX;
	return r;
}

void mx_route_free(struct mx_route *r)
{
	if (r == NULL)
		return;
	arena_free(&r->arena);
	mem_free(r);
}

static void refuse(struct mx_route *r, int code, const char *status, struct str why)
{
	bool may_be_mended = r->is_given && code / 100 == 5;

	r->outcome = code / 100 == 5 && !may_be_mended ? MX_REFUSED : MX_DEFERRED;
	r->code = may_be_mended ? 451 : code;
	r->status = may_be_mended ? "4.4.4" : status;
	r->why = why;
	r->target_count = 0;
}

static void hold_at_most(struct mx_route *r, uint32_t ttl_s) { r->ttl_s = ttl_s < r->ttl_s ? ttl_s : r->ttl_s; }

/* ---- address literals ---- */

static bool literal_address(struct str literal, struct peer *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str text = str_sub(literal, 1, literal.n - 2);
	uint8_t bytes[16];

	if (str_istarts(text, STR("IPv6:")))
		return inet_pton(AF_INET6, str_cstr(&a, str_from(text, 5)), bytes) == 1 && dns_read_address(str_make(bytes, 16), out);
	return inet_pton(AF_INET, str_cstr(&a, text), bytes) == 1 && dns_read_address(str_make(bytes, 4), out);
}

static void add_host(struct mx_plan *p, struct str name, unsigned preference)
{
	struct mx_route *r = p->route;

	p->hosts[r->host_count] = (struct mx_plan_host){ .canonical = name };
	r->hosts[r->host_count++] = (struct mx_host){ .name = name, .preference = preference };
}

static void make_room(struct mx_plan *p, size_t hosts)
{
	p->route->hosts = arena_array(&p->route->arena, hosts, sizeof *p->route->hosts);
	p->hosts = arena_array(&p->route->arena, hosts, sizeof *p->hosts);
}

static enum mx_kind kind_of(const struct mx_plan *p, struct str host, const struct peer *address)
{
	return p->judge != NULL ? p->judge(p->context, host, address) : MX_USUAL;
}

bool mx_is_private(const struct peer *address)
{
	static const char *const networks[] = {
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
		"::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8",
	};

	for (size_t i = 0; i < COUNT_OF(networks); i++)
		if (peer_is_in(address, str_of(networks[i])))
			return true;
	return false;
}

/* Unless it is left out: true. */
static bool take_address(struct mx_plan *p, size_t host, const struct peer *address)
{
	struct mx_plan_host *h = &p->hosts[host];
	enum mx_kind kind = kind_of(p, p->route->hosts[host].name, address);
	char room[PEER_TEXT_MAX];

	h->is_own |= kind == MX_OWN;
	if (kind == MX_PRIVATE)
		h->private_address = str_copy(&p->route->arena, peer_text(address, room));
	return kind != MX_PRIVATE;
}

static void take_literal(struct mx_plan *p, const struct peer *address)
{
	struct mx_plan_host *h;

	p->route->is_implicit = true;
	make_room(p, 1);
	h = p->hosts;
	add_host(p, p->route->domain, 0);
	h->has_name = true;
	if (take_address(p, 0, address) && peer_is_v4(address))
		h->v4[h->v4_count++] = *address;
	else if (h->private_address.n == 0)
		h->v6[h->v6_count++] = *address;
	mx_plan_cut(p);
	mx_plan_targets(p);
}

bool mx_plan_at_once(struct mx_plan *p)
{
	struct mx_route *r = p->route;
	struct str d = r->domain;
	struct peer address;

	if (domain_is_name(d))
		return false;
	if (d.n > 2 && d.p[0] == '[' && d.p[d.n - 1] == ']' && literal_address(d, &address))
		take_literal(p, &address);
	else
		refuse(r, 550, "5.1.3", arena_printf(&r->arena, STR_FMT " is not a domain: check the address for a typing mistake", STR_ARG(d)));
	return true;
}

/* ---- MX records ---- */

static void refuse_answer(struct mx_route *r, const struct dns_answer *a)
{
	if (a->outcome == DNS_NO_NAME)
		refuse(r, 550, "5.1.2", arena_printf(&r->arena, "there is no domain " STR_FMT ": check the address for a typing mistake", STR_ARG(r->domain)));
	else if (a->outcome == DNS_FORGED)
		refuse(r, 451, "4.7.5", arena_printf(&r->arena, "what the name servers say about " STR_FMT " is not what its owner has signed (DNSSEC), so it "
		                                     "cannot be used: " STR_FMT, STR_ARG(r->domain), STR_ARG(a->why)));
	else
		refuse(r, 451, "4.4.3", arena_printf(&r->arena, "the mail servers of " STR_FMT " could not be looked up: " STR_FMT,
		                                     STR_ARG(r->domain), STR_ARG(a->why)));
}

static int by_preference(const void *x, const void *y)
{
	const struct dns_mx *a = x, *b = y;

	return (a->preference > b->preference) - (a->preference < b->preference);
}

/* Fisher and Yates; sorting by preference afterwards must not undo it, so it is done on each run of equal ones. */
static void shuffle(struct dns_mx *mx, size_t n)
{
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && mx[to].preference == mx[from].preference; to++)
			;
		for (size_t i = to - from; i > 1; i--) {
			size_t j = from + (size_t)(random_u64() % i);
			struct dns_mx swap = mx[from + i - 1];
			mx[from + i - 1] = mx[j];
			mx[j] = swap;
		}
	}
}

/* The same host twice: the better preference, which comes first. */
static bool is_known(const struct mx_route *r, struct str host)
{
	for (size_t i = 0; i < r->host_count; i++)
		if (str_eq(r->hosts[i].name, host))
			return true;
	return false;
}

/* All records that name a host, sorted. "." beside others says nothing and is left out (RFC 7505 §3 forbids it there). */
static size_t read_records(struct mx_route *r, const struct dns_answer *a, struct dns_mx *mx, size_t *null_count)
{
	size_t n = 0;

	*null_count = 0;
	for (size_t i = 0; i < a->n; i++) {
		if (!dns_read_mx(a->records[i], &r->arena, &mx[n]))
			continue;
		if (mx[n].host.n == 0)
			++*null_count;
		else
			n++;
	}
	qsort(mx, n, sizeof *mx, by_preference);
	shuffle(mx, n);
	return n;
}

static void take_records(struct mx_plan *p, const struct dns_answer *a)
{
	struct mx_route *r = p->route;
	struct dns_mx *mx = arena_array(&r->arena, a->n, sizeof *mx);
	size_t null_count, n = read_records(r, a, mx, &null_count);

	if (n == 0 && null_count) {
		refuse(r, 556, "5.1.10", arena_printf(&r->arena, STR_FMT " has said that it takes no mail at all (null MX, RFC 7505)", STR_ARG(r->domain)));
		return;
	}
	if (n == 0) {
		refuse(r, 550, "5.4.4", arena_printf(&r->arena, "the MX records of " STR_FMT " cannot be read: its owner has to mend them", STR_ARG(r->domain)));
		return;
	}
	make_room(p, n < MX_HOSTS_MAX ? n : MX_HOSTS_MAX);
	for (size_t i = 0; i < n && r->host_count < MX_HOSTS_MAX; i++)
		if (!is_known(r, mx[i].host))
			add_host(p, mx[i].host, mx[i].preference);
}

/* Leaves out the hosts that are this server, and those that are not better than it (RFC 5321 §5.1). */
void mx_plan_cut(struct mx_plan *p)
{
	struct mx_route *r = p->route;
	unsigned own = UINT32_MAX;
	size_t n;

	for (size_t i = 0; i < r->host_count; i++)
		if (p->hosts[i].is_own && r->hosts[i].preference < own)
			own = r->hosts[i].preference;
	for (n = 0; n < r->host_count && r->hosts[n].preference < own; n++)
		;
	if (r->host_count && n == 0)
		refuse(r, 550, "5.4.6", arena_printf(&r->arena, "mail for " STR_FMT " leads back to this server, which does not know that domain: "
		       "`facteur domain add` makes it one of its own; otherwise its MX record has to name another server", STR_ARG(r->domain)));
	r->host_count = n;
}

void mx_plan_given(struct mx_plan *p)
{
	struct mx_route *r = p->route;

	r->is_implicit = true;
	r->is_secure = true;
	make_room(p, 1);
	add_host(p, r->domain, 0);
}

void mx_plan_hosts(struct mx_plan *p, const struct dns_answer *mx)
{
	struct mx_route *r = p->route;

	hold_at_most(r, mx->ttl_s);
	r->is_secure = mx->is_secure;
	p->canonical = str_copy(&r->arena, mx->canonical);
	if (mx->outcome == DNS_RECORDS) {
		take_records(p, mx);
	} else if (mx->outcome == DNS_NONE) {
		r->is_implicit = true;
		make_room(p, 1);
		add_host(p, r->domain, 0);
	} else {
		refuse_answer(r, mx);
	}
	for (size_t i = 0; i < r->host_count; i++)
		p->hosts[i].is_own = kind_of(p, r->hosts[i].name, NULL) == MX_OWN;
	mx_plan_cut(p);
}

/* ---- addresses ---- */

void mx_plan_addresses(struct mx_plan *p, size_t host, const struct dns_answer *a)
{
	struct mx_route *r = p->route;
	struct mx_plan_host *h = &p->hosts[host];
	struct peer address;

	h->has_name |= a->outcome != DNS_NO_NAME;
	if (a->outcome == DNS_FAILED || a->outcome == DNS_FORGED) {
		h->has_failed = true;
		h->is_forged |= a->outcome == DNS_FORGED;
		h->failure = str_copy(&r->arena, a->why);
	}
	if (a->outcome != DNS_RECORDS)
		return;
	hold_at_most(r, a->ttl_s);
	r->hosts[host].is_secure = r->is_secure && a->is_secure && (r->hosts[host].is_secure || h->v4_count + h->v6_count == 0);
	h->canonical = str_copy(&r->arena, a->canonical);
	for (size_t i = 0; i < a->n; i++) {
		if (a->records[i].n != (a->type == DNS_A ? 4 : 16) || !dns_read_address(a->records[i], &address))
			continue;
		if (!take_address(p, host, &address))
			continue;
		if (a->type == DNS_A && h->v4_count < MX_HOST_ADDRESSES_MAX)
			h->v4[h->v4_count++] = address;
		if (a->type == DNS_AAAA && h->v6_count < MX_HOST_ADDRESSES_MAX)
			h->v6[h->v6_count++] = address;
	}
}

/* ---- DANE ---- */

/* Where a CNAME has led first, then the name itself (RFC 7672 §2.2.2, §2.2.3). */
struct str mx_plan_tlsa_base(const struct mx_plan *p, size_t host, unsigned attempt)
{
	const struct mx_host *h = &p->route->hosts[host];
	struct str canonical = p->hosts[host].canonical;

	if (!h->is_secure || attempt > 1)
		return STR_NONE;
	if (attempt == 0)
		return canonical;
	return str_eq(canonical, h->name) ? STR_NONE : h->name;
}

/* RFC 7672 §3.1: usages 2 and 3; the PKIX ones would need a list of authorities that sender and receiver agree on. */
static bool is_usable(const struct dns_tlsa *t)
{
	static const size_t lengths[] = { 0, 32, 64 };   /* of matching types: whole, SHA-256, SHA-512 (RFC 6698 §2.1.3) */

	if ((t->usage != 2 && t->usage != 3) || t->selector > 1 || t->matching > 2)
		return false;
	return t->matching == 0 || t->data.n == lengths[t->matching];
}

static void add_name(struct mx_host *h, struct str name)
{
	for (size_t i = 0; i < h->name_count; i++)
		if (str_eq(h->names[i], name))
			return;
	if (h->name_count < MX_NAMES_MAX)
		h->names[h->name_count++] = name;
}

static void take_tlsa(struct mx_plan *p, struct mx_host *h, struct str base, const struct dns_answer *a)
{
	struct arena *arena = &p->route->arena;
	struct dns_tlsa t;

	h->tlsa = arena_array(arena, MX_TLSA_MAX, sizeof *h->tlsa);
	for (size_t i = 0; i < a->n && h->tlsa_count < MX_TLSA_MAX; i++) {
		if (!dns_read_tlsa(a->records[i], &t) || !is_usable(&t))
			continue;
		t.data = str_copy(arena, t.data);
		h->tlsa[h->tlsa_count++] = t;
	}
	h->dane = h->tlsa_count ? MX_DANE_VERIFY : MX_DANE_ENCRYPT;
	add_name(h, str_copy(arena, base));
	add_name(h, h->name);
	add_name(h, p->route->domain);   /* RFC 7672 §3.2.2: the name mail was for, since the MX records are signed */
	add_name(h, p->canonical);
}

bool mx_plan_tlsa(struct mx_plan *p, size_t host, struct str base, const struct dns_answer *a)
{
	struct mx_host *h = &p->route->hosts[host];
	struct arena *arena = &p->route->arena;

	if (a->outcome == DNS_FAILED || a->outcome == DNS_FORGED) {
		h->dane = MX_DANE_UNKNOWN;
		h->why = arena_printf(arena, "the TLSA records of " STR_FMT " (DANE) could not be looked up: " STR_FMT, STR_ARG(base), STR_ARG(a->why));
		return true;
	}
	if (a->outcome != DNS_RECORDS || !a->is_secure)
		return false;
	hold_at_most(p->route, a->ttl_s);
	take_tlsa(p, h, base, a);
	return true;
}

/* ---- the order ---- */

/* The k-th address of a host: the families by turns, begun by IPv6 where v6_first. */
static const struct peer *address_at(const struct mx_plan_host *h, size_t k, bool v6_first)
{
	const struct peer *first = v6_first ? h->v6 : h->v4, *second = v6_first ? h->v4 : h->v6;
	size_t first_count = v6_first ? h->v6_count : h->v4_count, second_count = v6_first ? h->v4_count : h->v6_count;
	size_t both = first_count < second_count ? first_count : second_count;

	if (k < 2 * both)
		return k % 2 == 0 ? &first[k / 2] : &second[k / 2];
	k -= both;
	if (k < first_count)
		return &first[k];
	return k < second_count ? &second[k] : NULL;
}

/* The hosts from..to have one preference. */
static void add_targets(struct mx_plan *p, size_t from, size_t to)
{
	struct mx_route *r = p->route;

	for (size_t k = 0; k < MX_HOST_ADDRESSES_MAX; k++) {
		for (size_t i = from; i < to && r->target_count < MX_TARGETS_MAX; i++) {
			const struct peer *address = r->hosts[i].dane == MX_DANE_UNKNOWN ? NULL : address_at(&p->hosts[i], k, (i - from) % 2 == 0);
			if (address != NULL)
				r->targets[r->target_count++] = (struct mx_target){ .host = i, .address = *address };
		}
	}
}

static struct str why_no_address(struct mx_plan *p, size_t host)
{
	const struct mx_plan_host *h = &p->hosts[host];
	struct arena *a = &p->route->arena;
	struct str name = p->route->hosts[host].name;

	if (h->has_failed)
		return arena_printf(a, "the address of " STR_FMT " could not be looked up: " STR_FMT, STR_ARG(name), STR_ARG(h->failure));
	if (h->private_address.n > 0)
		return arena_printf(a, STR_FMT " has the address " STR_FMT ", of a private network: mail is not sent there because the records of other "
		                    "domains say so (smtp_to_private in facteur.conf, or a route, allows it)", STR_ARG(name), STR_ARG(h->private_address));
	if (h->has_name)
		return arena_printf(a, STR_FMT " has no address", STR_ARG(name));
	if (!domain_is_host(name))
		return arena_printf(a, STR_FMT " is not the name of a host", STR_ARG(name));
	return arena_printf(a, "there is no host " STR_FMT, STR_ARG(name));
}

/* No target: for which reason? One that may pass counts more than one that will not. */
static void refuse_hosts(struct mx_plan *p)
{
	struct mx_route *r = p->route;

	for (size_t i = 0; i < r->host_count; i++)
		if (r->hosts[i].dane == MX_DANE_UNKNOWN || p->hosts[i].is_forged) {
			refuse(r, 451, "4.7.5", r->hosts[i].why);
			return;
		}
	for (size_t i = 0; i < r->host_count; i++)
		if (p->hosts[i].has_failed) {
			refuse(r, 451, "4.4.3", r->hosts[i].why);
			return;
		}
	if (r->is_given)
		refuse(r, 550, "5.4.4", arena_printf(&r->arena, "the host that mail for this destination goes to by a route of this server cannot be "
		       "reached: " STR_FMT "; `facteur route list` shows the routes", STR_ARG(r->hosts[0].why)));
	else if (p->hosts[0].private_address.n > 0)
		refuse(r, 550, "5.4.4", r->is_implicit ? r->hosts[0].why : arena_printf(&r->arena, "no mail can reach " STR_FMT ", whose MX record names this "
		       "host: " STR_FMT, STR_ARG(r->domain), STR_ARG(r->hosts[0].why)));
	else if (r->is_implicit)
		refuse(r, 550, "5.4.4", arena_printf(&r->arena, STR_FMT " takes no mail: it has no MX record and no address", STR_ARG(r->domain)));
	else
		refuse(r, 550, "5.4.4", arena_printf(&r->arena, "no mail can reach " STR_FMT ": " STR_FMT ", which its MX record names%s", STR_ARG(r->domain),
		                                     STR_ARG(r->hosts[0].why), r->host_count > 1 ? "; nor do the others help" : ""));
}

void mx_plan_targets(struct mx_plan *p)
{
	struct mx_route *r = p->route;

	if (r->outcome)
		return;
	r->targets = arena_array(&r->arena, MX_TARGETS_MAX, sizeof *r->targets);
	for (size_t from = 0, to; from < r->host_count; from = to) {
		for (to = from + 1; to < r->host_count && r->hosts[to].preference == r->hosts[from].preference; to++)
			;
		add_targets(p, from, to);
	}
	for (size_t i = 0; i < r->host_count; i++)
		if (p->hosts[i].v4_count + p->hosts[i].v6_count == 0) {
			r->hosts[i].why = why_no_address(p, i);
			r->is_partial |= p->hosts[i].has_failed;
		} else if (r->hosts[i].dane == MX_DANE_UNKNOWN) {
			r->is_partial = true;
		}
	if (r->target_count)
		r->outcome = MX_FOUND;
	else
		refuse_hosts(p);
}
