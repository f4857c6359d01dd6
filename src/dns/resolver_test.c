/* Questions to a real name server of ours (tests/nameserver.py): what comes back, what DNSSEC makes of it, and what goes wrong. */
#include "dns/kept.h"
#include "dns/nameserver_test.h"
#include "dns/question.h"
#include "dns/record.h"
#include <pthread.h>
#include <sys/socket.h>

static const char *const zones[] = {
	"add example.test MX 10 mail.example.test",
	"add example.test MX 20 backup.example.test",
	"add mail.example.test A 192.0.2.1",
	"add www.example.test CNAME mail.example.test",
	"add dangling.example.test CNAME nowhere.example.test",
	"add big.example.test TXT " "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
	"add tcp.test A 192.0.2.9",
	"fail tcp.test tcp",
	"fail broken.test servfail",
	"fail closed.test refused",
	"fail odd.test garbage",
	"sign signed.test",
	"add signed.test MX 10 mx.signed.test",
	"add mx.signed.test A 192.0.2.2",
	"add alias.signed.test CNAME mail.example.test",
	"sign forged.test",
	"add forged.test A 192.0.2.3",
	"fail forged.test forge",
};

struct asked {
	struct arena      arena;
	struct dns_answer answer;
	bool              is_done;
	int               times;
};

static void keep(void *context, const struct dns_answer *a)
{
	struct asked *x = context;

	dns_answer_copy(&x->arena, a, &x->answer);
	x->is_done = true;
	x->times++;
}

static struct asked ask(struct loop *l, struct resolver *r, const char *name, uint16_t type)
{
	struct asked x = { 0 };

	resolver_ask(r, str_of(name), type, keep, &x);
	EXPECT(!x.is_done);
	loop_until(l, &x.is_done);
	EXPECT_INT(x.times, 1);
	return x;
}

TEST(answers)
{
	static const struct { const char *name; uint16_t type; enum dns_outcome outcome; bool is_secure; size_t n; const char *canonical; } cases[] = {
		{ "example.test",          DNS_MX,   DNS_RECORDS, false, 2, "example.test" },
		{ "EXAMPLE.Test.",         DNS_MX,   DNS_RECORDS, false, 2, "example.test" },
		{ "example.test",          DNS_AAAA, DNS_NONE,    false, 0, "example.test" },
		{ "nobody.example.test",   DNS_A,    DNS_NO_NAME, false, 0, "nobody.example.test" },
		{ "www.example.test",      DNS_A,    DNS_RECORDS, false, 1, "mail.example.test" },
		{ "dangling.example.test", DNS_A,    DNS_NO_NAME, false, 0, "nowhere.example.test" },
		{ "big.example.test",      DNS_TXT,  DNS_RECORDS, false, 1, "big.example.test" },
		{ "tcp.test",              DNS_A,    DNS_RECORDS, false, 1, "tcp.test" },     /* truncated over UDP */
		{ "signed.test",           DNS_MX,   DNS_RECORDS, true,  1, "signed.test" },
		{ "signed.test",           DNS_TLSA, DNS_NONE,    true,  0, "signed.test" },
		{ "nope.signed.test",      DNS_A,    DNS_NO_NAME, true,  0, "nope.signed.test" },
		{ "alias.signed.test",     DNS_A,    DNS_RECORDS, false, 1, "mail.example.test" },  /* its target is not signed */
		{ "forged.test",           DNS_A,    DNS_FORGED,  false, 0, "forged.test" },
		{ "broken.test",           DNS_A,    DNS_FAILED,  false, 0, "broken.test" },
		{ "closed.test",           DNS_A,    DNS_FAILED,  false, 0, "closed.test" },
		{ "odd.test",              DNS_A,    DNS_FAILED,  false, 0, "odd.test" },
		{ "a..b",                  DNS_A,    DNS_NO_NAME, false, 0, "a..b" },
		{ "",                      DNS_A,    DNS_NO_NAME, false, 0, "" },
		{ "with space.test",       DNS_A,    DNS_NO_NAME, false, 0, "with space.test" },
	};
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct loop *l = loop_new();
	struct resolver *r = nameserver_resolver(&ns, l);

	EACH(cases, c) {
		struct asked x = ask(l, r, c->name, c->type);
		if (x.answer.outcome != c->outcome || x.answer.is_secure != c->is_secure || x.answer.n != c->n)
			print_error("%s %u: outcome %d secure %d n %zu why " STR_FMT "\n", c->name, c->type, x.answer.outcome, x.answer.is_secure,
			            x.answer.n, STR_ARG(x.answer.why));
		EXPECT_INT(x.answer.outcome, c->outcome);
		EXPECT_INT(x.answer.is_secure, c->is_secure);
		EXPECT_INT(x.answer.n, c->n);
		EXPECT_STR(x.answer.canonical, c->canonical);
		EXPECT((x.answer.why.n > 0) == (c->outcome == DNS_FAILED || c->outcome == DNS_FORGED));
		EXPECT(x.answer.ttl_s <= 60);
		arena_free(&x.arena);
	}
	struct asked x = ask(l, r, "big.example.test", DNS_TXT);
	struct str text;
	EXPECT(dns_read_text(x.answer.records[0], &x.arena, &text));
	EXPECT_INT(text.n, 300);
	arena_free(&x.arena);
	struct resolver_counts n = resolver_counts(r);
	EXPECT_INT(n.asked, COUNT_OF(cases) + 1);
	EXPECT_INT(n.answered, n.asked);
	EXPECT_INT(n.failed, 3);
	EXPECT_INT(n.forged, 1);
	EXPECT_INT(n.waiting, 0);
	resolver_free(r);
	loop_free(l);
	nameserver_stop(&ns);
}

static struct dns_answer some_answer(struct arena *a, unsigned number, uint32_t ttl_s, size_t bytes)
{
	struct dns_answer x = { .outcome = DNS_RECORDS, .type = DNS_A, .is_secure = true, .ttl_s = ttl_s, .n = 2 };

	x.name = arena_printf(a, "n%u.test", number);
	x.canonical = arena_printf(a, "c%u.test", number);
	x.records = arena_array(a, 2, sizeof *x.records);
	x.records[0] = arena_printf(a, "%u", number);
	x.records[1] = str_make(arena_alloc(a, bytes), bytes);
	return x;
}

static bool is_kept(struct kept *k, unsigned number, int64_t now_ms, uint32_t *ttl_s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct dns_answer x, want = some_answer(&a, number, 0, 4);
	bool found = kept_find(k, want.name, DNS_A, now_ms, &a, &x);

	EXPECT(!kept_find(k, want.name, DNS_AAAA, now_ms, &a, &(struct dns_answer){ 0 }));
	if (!found)
		return false;
	EXPECT(str_eq(x.name, want.name) && str_eq(x.canonical, want.canonical) && x.is_secure && x.n == 2);
	EXPECT(str_eq(x.records[0], want.records[0]));
	*ttl_s = x.ttl_s;
	return true;
}

TEST(what_is_kept)
{
	static const struct { uint32_t ttl_s; int64_t after_ms; size_t bytes; enum dns_outcome outcome; uint32_t left_s; } cases[] = {
		{ 60, 0, 4, DNS_RECORDS, 60 },
		{ 60, 59500, 4, DNS_RECORDS, 1 },
		{ 60, 60000, 4, DNS_RECORDS, 0 },                    /* over */
		{ 86400, 1000, 4, DNS_RECORDS, KEPT_MOST_S - 1 },
		{ 0, 0, 4, DNS_RECORDS, 0 },
		{ 60, 0, KEPT_BYTES_MAX, DNS_RECORDS, 0 },           /* too large */
		{ 60, 0, 4, DNS_FAILED, 0 }, { 60, 0, 4, DNS_FORGED, 0 },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	uint32_t left_s;

	EACH(cases, c) {
		struct kept *k = kept_new();
		struct dns_answer x = some_answer(&a, 1, c->ttl_s, c->bytes);

		x.outcome = c->outcome;
		kept_add(k, &x, 5000);
		left_s = 0;
		EXPECT_INT(is_kept(k, 1, 5000 + c->after_ms, &left_s), c->left_s > 0);
		EXPECT_INT(left_s, c->left_s);
		kept_free(k);
	}
	struct kept *k = kept_new();
	for (unsigned i = 0; i < 2 * KEPT_GENERATION + 1; i++) {
		struct dns_answer x = some_answer(&a, i, 60, 4);
		kept_add(k, &x, 0);
		kept_add(k, &x, 1000);                               /* a newer one takes its place */
	}
	EXPECT(!is_kept(k, 0, 0, &left_s) && !is_kept(k, KEPT_GENERATION - 1, 0, &left_s));   /* the oldest went */
	EXPECT(is_kept(k, KEPT_GENERATION + 1, 1000, &left_s) && is_kept(k, 2 * KEPT_GENERATION, 1000, &left_s));
	EXPECT_INT(left_s, 60);
	kept_free(k);
}

/* Who cancels hears nothing; who waits is told when the time is over; whoever comes after still gets an answer. */
TEST(cancelled_and_over_time)
{
	static const char *const silent[] = { "fail silent.test drop", "add example.test A 192.0.2.1" };
	struct nameserver ns = nameserver_start(silent, COUNT_OF(silent));
	struct loop *l = loop_new();
	struct resolver *r = nameserver_resolver(&ns, l);
	struct asked late = { 0 }, never = { 0 };

	resolver_ask(r, STR("silent.test"), DNS_A, keep, &late);
	question_cancel(resolver_ask(r, STR("example.test"), DNS_A, keep, &never));
	question_cancel(resolver_ask(r, STR("no..name"), DNS_A, keep, &never));
	question_cancel(NULL);
	struct asked x = ask(l, r, "example.test", DNS_A);
	EXPECT_INT(x.answer.outcome, DNS_RECORDS);
	clock_mono_advance(DNS_DEADLINE_MS + 1);
	loop_until(l, &late.is_done);
	EXPECT_INT(late.answer.outcome, DNS_FAILED);
	EXPECT_STR(late.answer.why, "the name servers did not answer within 30 seconds");
	EXPECT(!never.is_done);
	resolver_free(r);   /* with a question that is still open */
	EXPECT_INT(late.times, 1);
	arena_free(&x.arena);
	arena_free(&late.arena);
	loop_free(l);
	nameserver_stop(&ns);
}

/* Without a trust anchor nothing is secure, and nothing is found to be forged. */
TEST(no_trust_anchor)
{
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct resolver_config c = { .servers = str_of(ns.server), .trust_anchor = STR("none") };
	struct loop *l = loop_new();
	struct resolver *r = NULL;

	EXPECT_OK(resolver_new(l, &c, &r));
	static const char *const names[] = { "forged.test", "mx.signed.test", "mail.example.test" };
	EACH(names, name) {
		struct asked x = ask(l, r, *name, DNS_A);
		EXPECT_INT(x.answer.outcome, DNS_RECORDS);
		EXPECT(!x.answer.is_secure);
		arena_free(&x.arena);
	}
	resolver_free(r);
	loop_free(l);
	nameserver_stop(&ns);
}

/* QUESTION: a role that may not connect asks the role net, and waits in a thread of its own. */
struct asker { struct channel *net; bool is_done; enum err plain, none, too_long; struct arena arena; struct dns_answer answer; };

static void *ask_from_afar(void *context)
{
	struct asker *x = context;
	struct dns_answer nobody;
	char long_name[2000];

	memset(long_name, 'a', sizeof long_name);
	x->plain = question_call(x->net, STR("signed.test"), DNS_MX, &x->arena, &x->answer);
	x->none = question_call(x->net, STR("nobody.example.test"), DNS_MX, &x->arena, &nobody);
	if (nobody.outcome != DNS_NO_NAME)
		x->none = ERR_INVALID;
	x->too_long = question_call(x->net, str_make(long_name, sizeof long_name), DNS_MX, &x->arena, &nobody);
	x->is_done = true;
	return NULL;
}

static void on_question(void *context, struct channel *ch, struct message *m) { question_serve(context, ch, m); }

TEST(asked_by_another_role)
{
	static const struct channel_handler handlers[] = { { REQUEST_QUESTION, on_question }, { 0 } }, none[] = { { 0 } };
	struct nameserver ns = nameserver_start(zones, COUNT_OF(zones));
	struct loop *l = loop_new();
	struct resolver *r = nameserver_resolver(&ns, l);
	struct asker x = { 0 };
	struct dns_mx mx;
	pthread_t thread;
	int pair[2];

	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	x.net = channel_new(pair[0], ROLE_CONTROL, ROLE_NET, none, NULL, NULL);
	struct channel *net = channel_new(pair[1], ROLE_NET, ROLE_CONTROL, handlers, r, NULL);
	loop_channel(l, net);
	pthread_create(&thread, NULL, ask_from_afar, &x);
	for (int64_t end = clock_mono_ms() + 60000; pthread_tryjoin_np(thread, NULL) != 0 && clock_mono_ms() < end;)
		loop_once(l, 20);
	EXPECT(x.is_done);
	EXPECT_OK(x.plain);
	EXPECT_OK(x.none);
	EXPECT_ERR(x.too_long, ERR_INVALID);
	EXPECT(x.answer.is_secure && x.answer.n == 1 && dns_read_mx(x.answer.records[0], &x.arena, &mx));
	EXPECT_STR(mx.host, "mx.signed.test");
	loop_forget_channel(l, net);
	channel_free(net);
	channel_free(x.net);
	arena_free(&x.arena);
	resolver_free(r);
	loop_free(l);
	nameserver_stop(&ns);
}

TEST(wrong_settings)
{
	static const struct resolver_config cases[] = {
		{ .servers = { "ns.example.test", 15 } },
		{ .servers = { "192.0.2.53@x", 12 } },
		{ .trust_anchor = { "/nowhere/root.key", 17 } },
		{ .trust_anchor = { "tests/nameserver.py", 19 } },
	};
	struct loop *l = loop_new();
	struct resolver *r = NULL;

	EACH(cases, c)
		EXPECT_ERR(resolver_new(l, c, &r), ERR_INVALID);
	EXPECT(r == NULL);
	loop_free(l);
}
