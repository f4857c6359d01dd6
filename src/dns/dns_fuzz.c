/* What name servers and web servers send, as it is used: records, a route made of answers, a policy of MTA-STS, the answer to QUESTION.
 * The first byte chooses; a route is built from answers cut out of the input, and has to keep its promises whatever they are. */
#include "dns/mta_sts.h"
#include "dns/mx_private.h"
#include "dns/name.h"
#include "dns/question.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool it) { if (!it) abort(); }

static void read_records(struct str rdata, struct arena *a)
{
	struct peer peer;
	struct dns_mx mx;
	struct dns_srv srv;
	struct dns_tlsa tlsa;
	struct dns_caa caa;
	struct str text, *strings;
	size_t n;

	(void)dns_read_address(rdata, &peer);
	(void)dns_read_mx(rdata, a, &mx);
	(void)dns_read_srv(rdata, a, &srv);
	(void)dns_read_tlsa(rdata, &tlsa);
	(void)dns_read_caa(rdata, &caa);
	if (dns_read_name(rdata, a, &text))
		need(text.n <= DNS_NAME_MAX && str_is_ascii(text) && !str_has_ctl(text));
	if (dns_read_text(rdata, a, &text))
		need(text.n < rdata.n && dns_read_strings(rdata, a, &strings, &n));
}

/* length, bytes; nothing when the input is at its end */
static struct str piece(struct scan *s)
{
	struct str n = scan_bytes(s, 1);

	if (s->failed)
		return STR_NONE;
	size_t want = (unsigned char)n.p[0], left = scan_left(s);
	return scan_bytes(s, want < left ? want : left);
}

static struct dns_answer answer_of(struct scan *s, struct arena *a, uint16_t type)
{
	struct dns_answer x = { .outcome = DNS_FAILED, .type = type, .name = STR("example.test"), .canonical = STR("example.test"), .why = STR("why") };
	struct str head = piece(s);

	if (head.n == 0)
		return x;
	x.outcome = (enum dns_outcome)(1 + (unsigned char)head.p[0] % 5);
	x.is_secure = head.p[0] & 0x40;
	x.ttl_s = head.n;
	x.n = x.outcome == DNS_RECORDS ? 1u + ((unsigned char)head.p[0] >> 3) % 6 : 0;
	x.records = arena_array(a, x.n, sizeof *x.records);
	for (size_t i = 0; i < x.n; i++)
		x.records[i] = piece(s);
	return x;
}

static enum mx_kind kind(UNUSED void *context, struct str host, const struct peer *address)
{
	if (address && address->address[15] == 78)
		return MX_PRIVATE;
	return (address ? address->address[15] == 77 : str_starts(host, STR("own"))) ? MX_OWN : MX_USUAL;
}

static void check(const struct mx_route *r)
{
	need(r->outcome >= MX_FOUND && r->outcome <= MX_DEFERRED);
	need((r->outcome == MX_FOUND) == (r->target_count > 0));
	need(r->outcome == MX_FOUND || (r->why.n > 0 && r->status[0] == '0' + r->code / 100));
	need(r->target_count <= MX_TARGETS_MAX && r->host_count <= MX_HOSTS_MAX);
	for (size_t i = 0; i < r->target_count; i++) {
		const struct mx_host *h = &r->hosts[r->targets[i].host];
		need(r->targets[i].host < r->host_count);
		need(h->dane != MX_DANE_UNKNOWN && (h->dane == MX_DANE_NONE || (r->is_secure && h->is_secure)));
		need(h->dane != MX_DANE_VERIFY || (h->tlsa_count > 0 && h->name_count > 0));
		need(kind(NULL, h->name, &r->targets[i].address) == MX_USUAL && kind(NULL, h->name, NULL) == MX_USUAL);
		need(i == 0 || h->preference >= r->hosts[r->targets[i - 1].host].preference);
	}
}

static void make_route(struct scan *s, struct arena *a)
{
	struct mx_plan p = { .route = mx_route_new(piece(s)), .judge = kind };
	struct dns_answer x;

	if (!mx_plan_at_once(&p)) {
		x = answer_of(s, a, DNS_MX);
		mx_plan_hosts(&p, &x);
		for (size_t i = 0; i < p.route->host_count && !p.route->outcome; i++) {
			x = answer_of(s, a, DNS_AAAA);
			mx_plan_addresses(&p, i, &x);
			x = answer_of(s, a, DNS_A);
			mx_plan_addresses(&p, i, &x);
		}
		if (!p.route->outcome)
			mx_plan_cut(&p);
		for (size_t i = 0; i < p.route->host_count && !p.route->outcome; i++) {
			struct str base = mx_plan_tlsa_base(&p, i, 0);
			x = answer_of(s, a, DNS_TLSA);
			if (base.n)
				(void)mx_plan_tlsa(&p, i, base, &x);
		}
		mx_plan_targets(&p);
	}
	check(p.route);
	mx_route_free(p.route);
}

static void read_policy(struct str text, struct arena *a)
{
	struct mta_sts_policy p;
	struct str why, id;
	struct dns_answer txt = { .outcome = DNS_RECORDS, .type = DNS_TXT, .records = &text, .n = 1 };

	if (mta_sts_policy_parse(text, a, &p, &why) == ERR_OK) {
		need(p.pattern_count <= MTA_STS_PATTERNS_MAX && p.max_age_s <= MTA_STS_AGE_MAX);
		need(p.mode == MTA_STS_NONE || p.pattern_count > 0);
		for (size_t i = 0; i < p.pattern_count; i++)
			need(mta_sts_policy_allows(&p, p.patterns[i]) || p.patterns[i].p[0] == '*');
	} else {
		need(why.n > 0);
	}
	if (mta_sts_record(&txt, a, &id) == ERR_OK)
		need(id.n > 0 && id.n <= MTA_STS_ID_MAX);
}

static void read_name(struct str in, struct arena *a)
{
	struct str out, again;

	if (!domain_to_ascii(in, a, &out))
		return;
	need(domain_is_name(out) && domain_to_ascii(out, a, &again) && str_eq(out, again));
	(void)domain_is_host(out);
	(void)domain_to_unicode(out, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str rest = str_make(data + 1, size - 1);
	struct scan s = scan_of(rest);
	struct dns_answer x;

	if (size < 2)
		return 0;
	switch (data[0] % 5) {
	case 0: read_records(rest, &a); break;
	case 1: make_route(&s, &a); break;
	case 2: read_policy(rest, &a); break;
	case 3: (void)get_dns_answer(&s, &a, &x); break;
	case 4: read_name(rest, &a); break;
	}
	return 0;
}
