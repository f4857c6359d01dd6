/* What people make of the records they were told to publish. */
#include "base/bytes.h"
#include "base/test.h"
#include "mailauth/published.h"
#include "net/peer_test.h"

static const char *const names[PUBLISHED_COUNT] = {
	[PUBLISHED_GOOD] = "good", [PUBLISHED_MISSING] = "missing", [PUBLISHED_TWICE] = "twice", [PUBLISHED_QUOTED] = "quoted",
	[PUBLISHED_BACKSLASHED] = "backslashed", [PUBLISHED_MALFORMED] = "malformed", [PUBLISHED_CUT] = "cut",
	[PUBLISHED_OTHER_KEY] = "other key", [PUBLISHED_REVOKED] = "revoked", [PUBLISHED_TESTING] = "testing", [PUBLISHED_OPEN] = "open",
	[PUBLISHED_NOT_US] = "not us", [PUBLISHED_UNSURE] = "unsure", [PUBLISHED_NOWHERE] = "nowhere", [PUBLISHED_TOO_MUCH] = "too much",
};

static void expect(const char *what, enum published got, const char *want)
{
	if (strcmp(names[got], want) != 0) {
		print_error("%s: is %s, want %s\n", what, names[got], want);
		fail();
	}
}

/* The texts of one name, with '|' between. */
static size_t split(const char *text, struct str out[8])
{
	struct str rest = str_of(text);
	size_t n = 0;
	bool more = *text != '\0';

	while (more)
		more = str_cut(rest, '|', &out[n++], &rest);
	return n;
}

TEST(dkim)
{
	static const struct { const char *texts, *want; } cases[] = {
		{ "v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "good" },
		{ "v=DKIM1;k=ed25519;p=MDEyMzQ1Njc4OTAxMjM0NTY3 ODkwMTIzNDU2Nzg5MDE= ;", "good" },          /* white space may stand in p= */
		{ "site-verification=1|k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "good" },
		{ "", "missing" },
		{ "\"v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\"", "quoted" },
		{ "v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAx\" \"MjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "quoted" },
		{ "v=DKIM1\\; k=ed25519\\; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "backslashed" },
		{ "v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0", "cut" },
		{ "v=DKIM1; k=ed25519; p=AAEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "other key" },
		{ "v=DKIM1; k=ed25519; p=", "revoked" },
		{ "v=DKIM1; k=ed25519", "malformed" },
		{ "v=DKIM1; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "malformed" },                 /* without k= it is RSA */
		{ "v=DKIM1; k=ed25519; t=y:s; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "testing" },
		{ "v=DKIM1; p=AAAA|v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "twice" },
		{ "hello", "missing" },
	};
	EACH(cases, c) {
		struct str texts[8], at;
		size_t n = split(c->texts, texts);

		expect(c->texts, published_dkim(texts, n, DKIM_ED25519, STR("01234567890123456789012345678901"), &at), c->want);
	}
}

TEST(dkim_text)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str text = published_dkim_text(&a, DKIM_ED25519, STR("01234567890123456789012345678901")), at;

	EXPECT_STR(text, "v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
	EXPECT_INT(published_dkim(&text, 1, DKIM_ED25519, STR("01234567890123456789012345678901"), &at), PUBLISHED_GOOD);
}

TEST(dmarc)
{
	static const struct { const char *texts, *want; } cases[] = {
		{ "v=DMARC1; p=none", "good" },
		{ "v=DMARC1; p=Reject; rua=mailto:x@example.org", "good" },
		{ "", "missing" },
		{ "something else", "missing" },
		{ "v=DMARC1; p=none|v=DMARC1; p=reject", "twice" },
		{ "\"v=DMARC1; p=none\"", "quoted" },
		{ "v=DMARC1\\; p=none", "backslashed" },
		{ "v=DMARC1; p=nothing", "malformed" },
		{ "v=DMARC1", "malformed" },
		{ "V=dmarc1; p=none", "malformed" },
	};
	EACH(cases, c) {
		struct str texts[8], at;
		size_t n = split(c->texts, texts);

		expect(c->texts, published_dmarc(texts, n, &at), c->want);
	}
}

/* Other domains: what `include:` leads to. */
static enum err ask(UNUSED void *context, struct str name, struct str texts[PUBLISHED_TEXTS_MAX], size_t *n)
{
	static const struct { const char *name, *text; } zone[] = {
		{ "four.example", "v=spf1 ip4:192.0.2.0/24 -all" }, { "six.example", "v=spf1 ip6:2001:db8::/32 ?all" },
		{ "both.example", "v=spf1 include:four.example include:six.example ~all" }, { "others.example", "v=spf1 ip4:203.0.113.0/24 mx -all" },
		{ "world.example", "v=spf1 +all" }, { "loop.example", "v=spf1 include:loop.example -all" }, { "empty.example", "hello" },
		{ "deep.example", "v=spf1 include:deeper.example -all" }, { "deeper.example", "v=spf1 include:nowhere.example -all" },
		{ "elsewhere.example", "v=spf1 redirect=both.example" }, { "us.example", "v=spf1 a:mail.example.org -all" },
		{ "wrong.example", "v=spf1 ip5:1 -all" },
	};

	*n = 0;
	if (str_eq(name, STR("silent.example")))
		return ERR_UNAVAILABLE;
	EACH(zone, z)
		if (str_eq(name, str_of(z->name)))
			texts[(*n)++] = str_of(z->text);
	return ERR_OK;
}

TEST(spf_of_other_domains)
{
	static const struct { const char *text, *want, *at; } cases[] = {
		{ "v=spf1 include:both.example -all", "good", NULL },
		{ "v=spf1 include:four.example -all", "not us", NULL },              /* our IPv6 address is in neither */
		{ "v=spf1 include:four.example ip6:2001:db8::/32 -all", "good", NULL },
		{ "v=spf1 -include:both.example -all", "not us", NULL },
		{ "v=spf1 include:us.example -all", "good", NULL },
		{ "v=spf1 redirect=both.example", "good", NULL },
		{ "v=spf1 redirect=elsewhere.example", "good", NULL },
		{ "v=spf1 redirect=both.example -all", "not us", NULL },             /* §6.1: where there is an all it counts for nothing */
		{ "v=spf1 include:others.example -all", "unsure", NULL },            /* its own MX might be us */
		{ "v=spf1 include:world.example -all", "open", NULL },
		{ "v=spf1 include:silent.example -all", "unsure", NULL },
		{ "v=spf1 include:%{i}._spf.example -all", "unsure", NULL },
		{ "v=spf1 mx include:nowhere.example -all", "nowhere", "nowhere.example" },
		{ "v=spf1 mx include:empty.example -all", "nowhere", "empty.example" },
		{ "v=spf1 mx include:deep.example -all", "nowhere", "nowhere.example" },
		{ "v=spf1 mx include:wrong.example -all", "malformed", NULL },
		{ "v=spf1 include:loop.example -all", "too much", NULL },
		{ "v=spf1 mx a a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 -all", "good", NULL }, /* ten questions */
		{ "v=spf1 mx a a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9 -all", "too much", NULL },
	};
	struct peer addresses[2] = { peer_of("192.0.2.7"), peer_of("2001:db8::7") };
	const struct published_sender s = { STR("example.org"), STR("mail.example.org"), true, addresses, COUNT_OF(addresses) };

	EACH(cases, c) {
		struct str text = str_of(c->text), at;

		expect(c->text, published_spf(&text, 1, &s, &(struct published_world){ ask, NULL }, &at), c->want);
		EXPECT_STR(at, c->at ? c->at : c->text);
	}
}

TEST(spf)
{
	static const struct { const char *texts; bool is_mx; const char *want; } cases[] = {
		{ "v=spf1 mx -all", true, "good" },
		{ "v=spf1 mx -all", false, "not us" },
		{ "V=SPF1 MX ~ALL", true, "good" },
		{ "v=spf1 +mx/24 ?all", true, "good" },
		{ "v=spf1 mx:example.org -all", true, "good" },
		{ "v=spf1 mx:example.net -all", true, "not us" },
		{ "v=spf1 mx:example.org/28 -all", true, "good" },
		{ "v=spf1 a:mail.example.org -all", false, "good" },
		{ "v=spf1 a -all", false, "not us" },                             /* the domain itself is another machine */
		{ "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", false, "good" },
		{ "v=spf1 ip4:192.0.2.0/24 -all", false, "not us" },              /* but not our IPv6 address */
		{ "v=spf1 -mx -all", true, "not us" },
		{ "v=spf1 -all mx", true, "not us" },                             /* nothing behind all counts */
		{ "v=spf1 include:_spf.example.net -all", false, "unsure" },
		{ "v=spf1 mx include:_spf.example.net -all", true, "good" },
		{ "v=spf1 redirect=example.net", false, "unsure" },
		{ "v=spf1 +all", true, "open" },
		{ "v=spf1 mx all", true, "open" },
		{ "v=spf1 mx x-new=1 -all", true, "good" },                       /* an unknown modifier */
		{ "v=spf1 mx ipv4:192.0.2.1 -all", true, "malformed" },           /* it is called ip4 */
		{ "v=spf1 mx -all|v=spf1 -all", true, "twice" },
		{ "\"v=spf1 mx -all\"", true, "quoted" },
		{ "v=spf1 \"mx\" -all", true, "quoted" },
		{ "v=spf10 mx -all", true, "malformed" },
		{ "other text", true, "missing" },
		{ "", true, "missing" },
		{ "v=spf1", true, "not us" },
		{ "v=spf1 : / = a: mx/ -", true, "malformed" },
	};
	struct peer addresses[2] = { peer_of("192.0.2.7"), peer_of("2001:db8::7") };

	EACH(cases, c) {
		struct str texts[8], at;
		size_t n = split(c->texts, texts);
		struct published_sender s = { STR("example.org"), STR("mail.example.org"), c->is_mx, addresses, COUNT_OF(addresses) };

		expect(c->texts, published_spf(texts, n, &s, &(struct published_world){ NULL, NULL }, &at), c->want);
	}
}
