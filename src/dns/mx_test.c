/* Where mail for a domain goes: the plan from made-up answers, then whole searches through tests/nameserver.py. */
#include "dns/nameserver_test.h"
#include "dns/mx_private.h"

static const char *const zones[] = {
	"add two.test MX 20 b.two.test",
	"add two.test MX 10 a.two.test",
	"add a.two.test A 192.0.2.1",
	"add a.two.test AAAA 2001:db8::1",
	"add b.two.test A 192.0.2.2",
	"add plain.test A 192.0.2.3",
	"add null.test MX 0 .",
	"add nullish.test MX 0 .",
	"add nullish.test MX 5 a.two.test",
	"add empty.test TXT nothing",
	"add gone.test MX 10 nowhere.gone.test",
	"add gone.test MX 20 nowhere2.gone.test",
	"add number.test MX 10 192.0.2.1",
	"add alias.test CNAME two.test",
	"add viacname.test MX 10 www.two.test",
	"add www.two.test CNAME a.two.test",
	"add ours.test MX 10 mail.here.test",
	"add backup.test MX 5 a.two.test",
	"add backup.test MX 10 mail.here.test",
	"add backup.test MX 10 b.two.test",
	"add backup.test MX 20 b.two.test",
	"add byip.test MX 5 other.here.test",
	"add mail.here.test A 192.0.2.77",
	"add inside.test MX 10 mail.inside.test",
	"add mail.inside.test A 10.1.2.3",
	"add mail.inside.test AAAA fe80::1",
	"add mixed.test MX 10 mail.mixed.test",
	"add mail.mixed.test A 127.0.0.1",
	"add mail.mixed.test A 192.0.2.8",
	"add alone.test A 192.168.0.1",
	"add other.here.test A 192.0.2.77",
	"fail broken.test servfail",
	"add half.test MX 10 mail.broken.test",
	"add half.test MX 20 a.two.test",
	"add allbroken.test MX 10 mail.broken.test",
	"add allbroken.test MX 20 nowhere.gone.test",
	"sign dane.test",
	"add dane.test MX 10 mx.dane.test",
	"add dane.test MX 20 old.dane.test",
	"add mx.dane.test A 192.0.2.4",
	"add _25._tcp.mx.dane.test TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"add _25._tcp.mx.dane.test TLSA 1 0 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"add old.dane.test A 192.0.2.5",
	"sign pkix.test",
	"add pkix.test MX 10 mx.pkix.test",
	"add mx.pkix.test A 192.0.2.6",
	"add _25._tcp.mx.pkix.test TLSA 1 0 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"add _25._tcp.mx.pkix.test TLSA 3 1 1 e3b0",
	"sign cname.test",
	"add cname.test MX 10 name.cname.test",
	"add name.cname.test CNAME real.cname.test",
	"add real.cname.test A 192.0.2.7",
	"add _25._tcp.name.cname.test TLSA 2 0 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"sign lost.test",
	"add lost.test MX 10 mx.lost.test",
	"add lost.test MX 20 a.two.test",
	"add mx.lost.test A 192.0.2.8",
	"add _25._tcp.mx.lost.test TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"fail _25._tcp.mx.lost.test servfail",
	"sign alllost.test",
	"add alllost.test MX 10 mx.lost.test",
	"sign forged.test",
	"add forged.test MX 10 mx.forged.test",
	"fail forged.test forge",
	"add unsigned.test MX 10 mx.dane.test",   /* its MX could be anybody's: DANE does not count (RFC 7672 §2.2.1) */
};

static enum mx_kind is_here(UNUSED void *context, struct str host, const struct peer *address)
{
	char room[PEER_TEXT_MAX];

	if (address && mx_is_private(address))
		return MX_PRIVATE;
	return (address ? str_eq(peer_text(address, room), STR("192.0.2.77")) : str_eq(host, STR("mail.here.test"))) ? MX_OWN : MX_USUAL;
}

struct search { struct mx_route *route; bool is_done; };

static void found(void *context, struct mx_route *route)
{
	struct search *s = context;

	EXPECT(!s->is_done);
	*s = (struct search){ route, true };
}

/* "10 a.two.test 2001:db8::1, 10 a.two.test 192.0.2.1, …", or "550 5.1.2 there is …" */
static struct str show(struct arena *a, const struct mx_route *r)
{
	CLEANUP(buf_free) struct buf b = BUF(10000);
	char room[PEER_TEXT_MAX];

	if (r->outcome != MX_FOUND)
		buf_printf(&b, "%d %s " STR_FMT, r->code, r->status, STR_ARG(r->why));
	for (size_t i = 0; i < r->target_count; i++) {
		const struct mx_host *h = &r->hosts[r->targets[i].host];
		buf_printf(&b, "%s%u " STR_FMT " ", i ? ", " : "", h->preference, STR_ARG(h->name));
		buf_add(&b, peer_text(&r->targets[i].address, room));
		if (h->dane == MX_DANE_VERIFY)
			buf_printf(&b, " dane %zu " STR_FMT, h->tlsa_count, STR_ARG(h->names[0]));
		if (h->dane == MX_DANE_ENCRYPT)
			buf_add_cstr(&b, " encrypt");
	}
	return str_copy(a, buf_str(&b));
}

TEST(searches)
{
	static const struct { const char *domain, *route; } cases[] = {
		{ "two.test",         "10 a.two.test 2001:db8::1, 10 a.two.test 192.0.2.1, 20 b.two.test 192.0.2.2" },
		{ "Plain.Test.",      "0 plain.test 192.0.2.3" },
		{ "null.test",        "556 5.1.10 null.test has said that it takes no mail at all (null MX, RFC 7505)" },
		{ "nullish.test",     "5 a.two.test 2001:db8::1, 5 a.two.test 192.0.2.1" },
		{ "empty.test",       "550 5.4.4 empty.test takes no mail: it has no MX record and no address" },
		{ "nowhere.two.test", "550 5.1.2 there is no domain nowhere.two.test: check the address for a typing mistake" },
		{ "gone.test",        "550 5.4.4 no mail can reach gone.test: there is no host nowhere.gone.test, which its MX record names; nor do the others help" },
		{ "number.test",      "550 5.4.4 no mail can reach number.test: 192.0.2.1 is not the name of a host, which its MX record names" },
		{ "alias.test",       "10 a.two.test 2001:db8::1, 10 a.two.test 192.0.2.1, 20 b.two.test 192.0.2.2" },
		{ "viacname.test",    "10 www.two.test 2001:db8::1, 10 www.two.test 192.0.2.1" },
		{ "ours.test",        "550 5.4.6 mail for ours.test leads back to this server, which does not know that domain: `facteur domain add` makes "
		                      "it one of its own; otherwise its MX record has to name another server" },
		{ "backup.test",      "5 a.two.test 2001:db8::1, 5 a.two.test 192.0.2.1" },
		{ "byip.test",        "550 5.4.6 mail for byip.test leads back to this server, which does not know that domain: `facteur domain add` makes "
		                      "it one of its own; otherwise its MX record has to name another server" },
		{ "broken.test",      "451 4.4.3 the mail servers of broken.test could not be looked up: the name servers failed or could not be reached (SERVFAIL)" },
		{ "half.test",        "20 a.two.test 2001:db8::1, 20 a.two.test 192.0.2.1" },
		{ "allbroken.test",   "451 4.4.3 the address of mail.broken.test could not be looked up: the name servers failed or could not be reached (SERVFAIL)" },
		{ "dane.test",        "10 mx.dane.test 192.0.2.4 dane 1 mx.dane.test, 20 old.dane.test 192.0.2.5" },
		{ "pkix.test",        "10 mx.pkix.test 192.0.2.6 encrypt" },
		{ "cname.test",       "10 name.cname.test 192.0.2.7 dane 1 name.cname.test" },
		{ "lost.test",        "20 a.two.test 2001:db8::1, 20 a.two.test 192.0.2.1" },
		{ "alllost.test",     "451 4.7.5 the TLSA records of mx.lost.test (DANE) could not be looked up: the name servers failed or could not be reached (SERVFAIL)" },
		{ "unsigned.test",    "10 mx.dane.test 192.0.2.4" },
		{ "inside.test",      "550 5.4.4 no mail can reach inside.test, whose MX record names this host: mail.inside.test has the address 10.1.2.3, of a private "
		                      "network: mail is not sent there because the records of other domains say so (smtp_to_private in facteur.conf, or a route, allows it)" },
		{ "mixed.test",       "10 mail.mixed.test 192.0.2.8" },
		{ "alone.test",       "550 5.4.4 alone.test has the address 192.168.0.1, of a private network: mail is not sent there because the records of other "
		                      "domains say so (smtp_to_private in facteur.conf, or a route, allows it)" },
		{ "[192.0.2.9]",      "0 [192.0.2.9] 192.0.2.9" },
		{ "[127.0.0.1]",      "550 5.4.4 [127.0.0.1] has the address 127.0.0.1, of a private network: mail is not sent there because the records of other "
		                      "domains say so (smtp_to_private in facteur.conf, or a route, allows it)" },
		{ "[IPv6:2001:db8::9]", "0 [ipv6:2001:db8::9] 2001:db8::9" },
		{ "[192.0.2.77]",     "550 5.4.6 mail for [192.0.2.77] leads back to this server, which does not know that domain: `facteur domain add` makes "
		                      "it one of its own; otherwise its MX record has to name another server" },
		{ "[192.0.2]",        "550 5.1.3 [192.0.2] is not a domain: check the address for a typing mistake" },
		{ "a..b",             "550 5.1.3 a..b is not a domain: check the address for a typing mistake" },
		{ "",                 "550 5.1.3  is not a domain: check the address for a typing mistake" },
	};
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct loop *l = loop_new();
	struct resolver *r = nameserver_resolver(&ns, l);
	struct arena a = { 0 };

	EACH(cases, c) {
		struct search s = { 0 };
		struct mx_search *search = mx_find(r, str_of(c->domain), 25, is_here, found, &s);
		EXPECT(search != NULL && !s.is_done);
		loop_until(l, &s.is_done);
		EXPECT_STR(show(&a, s.route), c->route);
		EXPECT((s.route->outcome == MX_FOUND) == (s.route->target_count > 0));
		if (s.route->outcome == MX_FOUND)
			EXPECT_INT(s.route->is_partial, str_eq(str_of(c->domain), STR("half.test")) || str_eq(str_of(c->domain), STR("lost.test")));
		mx_route_free(s.route);
	}
	struct search forged = { 0 };
	mx_find(r, STR("forged.test"), 25, is_here, found, &forged);
	loop_until(l, &forged.is_done);
	EXPECT_INT(forged.route->code, 451);
	EXPECT_STR(str_of(forged.route->status), "4.7.5");
	mx_route_free(forged.route);
	struct search relaxed = { 0 };
	mx_without_dane(mx_find(r, STR("alllost.test"), 25, is_here, found, &relaxed));
	loop_until(l, &relaxed.is_done);
	EXPECT_STR(show(&a, relaxed.route), "10 mx.lost.test 192.0.2.8");
	mx_route_free(relaxed.route);
	arena_free(&a);
	resolver_free(r);
	loop_free(l);
	nameserver_stop(&ns);
}

/* A host that somebody has named: what is wrong with it is not for ever. */
TEST(given_hosts)
{
	static const struct { const char *host, *route; } cases[] = {
		{ "a.two.test",     "0 a.two.test 2001:db8::1, 0 a.two.test 192.0.2.1" },
		{ "two.test",       "451 4.4.4 the host that mail for this destination goes to by a route of this server cannot be reached: two.test has no address; "
		                    "`facteur route list` shows the routes" },
		{ "nowhere.two.test", "451 4.4.4 the host that mail for this destination goes to by a route of this server cannot be reached: there is no host "
		                    "nowhere.two.test; `facteur route list` shows the routes" },
		{ "mx.dane.test",   "0 mx.dane.test 192.0.2.4 dane 1 mx.dane.test" },
		{ "mail.broken.test", "451 4.4.3 the address of mail.broken.test could not be looked up: the name servers failed or could not be reached (SERVFAIL)" },
		{ "mail.here.test", "0 mail.here.test 192.0.2.77" },
		{ "[192.0.2.9]",    "0 [192.0.2.9] 192.0.2.9" },
		{ "a..b",           "451 4.4.4 a..b is not a domain: check the address for a typing mistake" },
	};
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct loop *l = loop_new();
	struct resolver *r = nameserver_resolver(&ns, l);
	struct arena a = { 0 };

	EACH(cases, c) {
		struct search s = { 0 };
		mx_find_host(r, str_of(c->host), 25, found, &s);
		loop_until(l, &s.is_done);
		EXPECT_STR(show(&a, s.route), c->route);
		EXPECT(s.route->outcome != MX_REFUSED && s.route->is_given);
		mx_route_free(s.route);
	}
	arena_free(&a);
	resolver_free(r);
	loop_free(l);
	nameserver_stop(&ns);
}

/* Cancelled at every stage: nobody is called, nothing is left. */
TEST(cancelled)
{
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct loop *l = loop_new();
	struct resolver *r = nameserver_resolver(&ns, l);
	struct search s = { 0 };

	static const char *const domains[] = { "dane.test", "two.test", "[192.0.2.9]" };
	for (int rounds = 0; rounds < 12; rounds++) {
		struct mx_search *search = mx_find(r, str_of(domains[rounds % 3]), 25, is_here, found, &s);
		for (int i = 0; i < rounds / 3 && !s.is_done; i++)
			loop_once(l, 1);
		if (!s.is_done)
			mx_cancel(search);
		mx_route_free(s.route);
		s = (struct search){ 0 };
	}
	mx_cancel(NULL);
	for (int i = 0; i < 5; i++)
		loop_once(l, 10);
	EXPECT(!s.is_done);
	resolver_free(r);
	loop_free(l);
	nameserver_stop(&ns);
}

/* ---- the plan alone ---- */

static struct str mx_rdata(struct arena *a, unsigned preference, const char *label)
{
	return arena_printf(a, "%c%c%c%s%c", (char)(preference >> 8), (char)preference, (char)strlen(label), label, 0);
}

static struct mx_plan plan_of(struct str *records, size_t n)
{
	struct mx_plan p = { .route = mx_route_new(STR("example.test")) };
	struct dns_answer mx = { .outcome = DNS_RECORDS, .type = DNS_MX, .name = STR("example.test"), .canonical = STR("example.test"), .ttl_s = 9,
	                         .records = records, .n = n };

	mx_plan_hosts(&p, &mx);
	return p;
}

/* Three hosts of one preference: each comes first about as often (RFC 5321 §5.1), none before a better one; the families by turns. */
TEST(order_within_a_preference)
{
	enum { ROUNDS = 600 };
	struct arena a = { 0 };
	int first[3] = { 0 };

	for (int round = 0; round < ROUNDS; round++) {
		struct str records[] = { mx_rdata(&a, 10, "a"), mx_rdata(&a, 10, "b"), mx_rdata(&a, 10, "c"), mx_rdata(&a, 5, "best") };
		struct mx_plan p = plan_of(records, COUNT_OF(records));
		EXPECT_INT(p.route->host_count, 4);
		EXPECT_STR(p.route->hosts[0].name, "best");
		first[p.route->hosts[1].name.p[0] - 'a']++;
		for (size_t i = 0; i < 4; i++) {
			struct str v4 = STR("\xc0\0\2\1"), v6 = STR("\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1");
			mx_plan_addresses(&p, i, &(struct dns_answer){ .outcome = DNS_RECORDS, .type = DNS_A, .records = &v4, .n = 1, .ttl_s = 5 });
			mx_plan_addresses(&p, i, &(struct dns_answer){ .outcome = DNS_RECORDS, .type = DNS_AAAA, .records = &v6, .n = 1, .ttl_s = 7 });
		}
		mx_plan_cut(&p);
		mx_plan_targets(&p);
		EXPECT_INT(p.route->target_count, 8);
		EXPECT_INT(p.route->ttl_s, 5);
		static const struct { size_t host; bool is_v4; } want[] = { { 0, false }, { 0, true }, { 1, false }, { 2, true }, { 3, false },
		                                                           { 1, true }, { 2, false }, { 3, true } };
		for (size_t i = 0; i < 8; i++) {
			EXPECT_INT(p.route->targets[i].host, want[i].host);
			EXPECT_INT(peer_is_v4(&p.route->targets[i].address), want[i].is_v4);
		}
		mx_route_free(p.route);
		arena_reset(&a);
	}
	for (int i = 0; i < 3; i++)
		EXPECT(first[i] > ROUNDS / 6);
	arena_free(&a);
}

/* However much an answer holds, a route stays within its limits, and the best hosts are kept. */
TEST(limits)
{
	struct arena a = { 0 };
	struct str records[DNS_RECORDS_MAX], addresses[DNS_RECORDS_MAX];

	for (size_t i = 0; i < COUNT_OF(records); i++) {
		records[i] = mx_rdata(&a, 1000u - (unsigned)i, arena_printf(&a, "host%zu", i).p);
		addresses[i] = arena_printf(&a, "\x7f%c%c%c", 1, 2, (char)(i + 1));
	}
	struct mx_plan p = plan_of(records, COUNT_OF(records));
	EXPECT_INT(p.route->host_count, MX_HOSTS_MAX);
	EXPECT_STR(p.route->hosts[0].name, "host199");
	for (size_t i = 0; i < MX_HOSTS_MAX; i++)
		mx_plan_addresses(&p, i, &(struct dns_answer){ .outcome = DNS_RECORDS, .type = DNS_A, .records = addresses, .n = COUNT_OF(addresses) });
	mx_plan_targets(&p);
	EXPECT_INT(p.route->target_count, MX_TARGETS_MAX);
	mx_route_free(p.route);
	arena_free(&a);
}
