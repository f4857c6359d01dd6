/* What people make of the records they were told to publish. */
#include "base/bytes.h"
#include "base/test.h"
#include "mailauth/published.h"
#include "net/peer_test.h"

static const char *const names[PUBLISHED_COUNT] = {
	[PUBLISHED_GOOD] = "good", [PUBLISHED_MISSING] = "missing", [PUBLISHED_TWICE] = "twice", [PUBLISHED_QUOTED] = "quoted",
	[PUBLISHED_BACKSLASHED] = "backslashed", [PUBLISHED_MALFORMED] = "malformed", [PUBLISHED_CUT] = "cut",
	[PUBLISHED_OTHER_KEY] = "other key", [PUBLISHED_REVOKED] = "revoked", [PUBLISHED_TESTING] = "testing", [PUBLISHED_OPEN] = "open",
	[PUBLISHED_NOT_US] = "not us", [PUBLISHED_UNSURE] = "unsure",
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

		expect(c->texts, published_spf(texts, n, &s, &at), c->want);
	}
}
