/* Names, records, the texts of MTA-STS, the encoding of answers: tables. */
#include "base/test.h"
#include "dns/mta_sts.h"
#include "dns/name.h"
#include "dns/question_private.h"
#include "dns/record.h"

TEST(names)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "Example.ORG",        "example.org" },
		{ "example.org.",       "example.org" },
		{ "B\xc3\xbc" "cher.example", "xn--bcher-kva.example" },
		{ "stra\xc3\x9f" "e.example", "xn--strae-oqa.example" },   /* not strasse: that is another domain */
		{ "caf\x65\xcc\x81.example",  "xn--caf-dma.example" },     /* e and an accent, two characters: NFC joins them */
		{ "\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88", "xn--r8jz45g.xn--zckzah" },
		{ "",                   NULL },
		{ ".",                  NULL },
		{ "a..b",               NULL },
		{ "-a.example",         NULL },
		{ "a b.example",        NULL },
		{ "a_b.example",        NULL },
		{ "\xff\xfe.example",   NULL },
		{ "0123456789012345678901234567890123456789012345678901234567890123.example", NULL },  /* a label of 64 */
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		struct str out = STR_NONE;
		bool fine = domain_to_ascii(str_of(c->in), &a, &out);
		if (!fine)
			out = STR_NONE;
		EXPECT_STR(out, c->out);
	}
	EXPECT_STR(domain_to_unicode(STR("xn--bcher-kva.example"), &a), "b\xc3\xbc" "cher.example");
	EXPECT_STR(domain_to_unicode(STR("xn--\x01.example"), &a), "xn--\x01.example");
	EXPECT(domain_is_host(STR("mail.example.org")) && !domain_is_host(STR("192.0.2.1")) && !domain_is_host(STR("_a.example")));
	EXPECT(domain_is_name(STR("_25._tcp.mail.example.org")) && !domain_is_name(STR("a..b")) && !domain_is_name(STR("[192.0.2.1]")));
}

TEST(records)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct dns_mx mx;
	struct dns_srv srv;
	struct dns_tlsa tlsa;
	struct dns_caa caa;
	struct str text, *strings;
	struct peer p;
	char room[PEER_TEXT_MAX];
	size_t n;

	EXPECT(dns_read_mx(STR("\0\x0a\4MAIL\7Example\0"), &a, &mx));
	EXPECT_INT(mx.preference, 10);
	EXPECT_STR(mx.host, "mail.example");
	EXPECT(dns_read_mx(STR("\0\0\0"), &a, &mx) && mx.host.n == 0);
	EXPECT(dns_read_name(STR("\5a.b\\\xff\0"), &a, &text));
	EXPECT_STR(text, "a\\046b\\092\\255");
	EXPECT(dns_read_text(STR("\3v=s\0\2pf"), &a, &text));
	EXPECT_STR(text, "v=spf");
	EXPECT(dns_read_strings(STR("\3v=s\0\2pf"), &a, &strings, &n));
	EXPECT_INT(n, 3);
	EXPECT_STR(strings[2], "pf");
	EXPECT(dns_read_srv(STR("\0\1\0\2\0\x8f\1a\0"), &a, &srv));
	EXPECT_INT(srv.port, 143);
	EXPECT(dns_read_tlsa(STR("\3\1\1xyz"), &tlsa) && tlsa.usage == 3 && tlsa.data.n == 3);
	EXPECT(dns_read_caa(STR("\x80\5issuex.example"), &caa) && caa.is_critical);
	EXPECT_STR(caa.value, "x.example");
	EXPECT(dns_read_address(STR("\xc0\0\2\7"), &p));
	EXPECT_STR(peer_text(&p, room), "192.0.2.7");
	EXPECT_STR(dns_reverse_name(&p, &a), "7.2.0.192.in-addr.arpa");
	EXPECT(dns_read_address(STR("\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\x17"), &p));
	EXPECT_STR(dns_reverse_name(&p, &a), "7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");

	static const struct str bad_names[] = {
		{ "", 0 }, { "\4mai", 4 }, { "\4mail", 5 }, { "\xc0\x0c", 2 }, { "\1a\0x", 4 }, { "\x40", 1 },
	};
	EACH(bad_names, b)
		EXPECT(!dns_read_name(*b, &a, &text));
	EXPECT(!dns_read_text(STR("\5abc"), &a, &text) && !dns_read_text(STR(""), &a, &text));
	EXPECT(!dns_read_tlsa(STR("\3\1\1"), &tlsa) && !dns_read_caa(STR("\0\0"), &caa) && !dns_read_address(STR("12345"), &p));
}

TEST(mta_sts_policies)
{
	static const struct { const char *text, *why; enum mta_sts_mode mode; uint32_t age; size_t patterns; } cases[] = {
		{ "version: STSv1\r\nmode: enforce\r\nmx: Mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n", NULL, MTA_STS_ENFORCE, 604800, 2 },
		{ "version: STSv1\nmode: testing\nmx: a.example\nmax_age: 9999999999\nfuture: x\n\n", NULL, MTA_STS_TESTING, MTA_STS_AGE_MAX, 1 },
		{ "version: STSv1\nmode: none\nmax_age: 86400", NULL, MTA_STS_NONE, 86400, 0 },
		{ "mode: enforce\nmx: a.example\nmax_age: 1\n", "the line \"version: STSv1\" is missing", 0, 0, 0 },
		{ "version: STSv2\nmode: enforce\n", "line 1: the version is not STSv1", 0, 0, 0 },
		{ "version: STSv1\nmode: maybe\n", "line 2: mode is none, testing or enforce", 0, 0, 0 },
		{ "version: STSv1\nmode: enforce\nmax_age: -5\n", "line 3: max_age is a number of seconds", 0, 0, 0 },
		{ "version: STSv1\nmode: enforce\nmax_age: 5\n", "there is no line \"mx:\"", 0, 0, 0 },
		{ "version: STSv1\nmode: enforce\nmx: *\nmax_age: 5\n", "line 3: mx is the name of a mail host, or *. and a domain", 0, 0, 0 },
		{ "version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 5\n", "line 3: mx is the name of a mail host, or *. and a domain", 0, 0, 0 },
		{ "version: STSv1\n<html>\n", "line 2: a line is a key, a colon and a value", 0, 0, 0 },
		{ "", "the line \"version: STSv1\" is missing", 0, 0, 0 },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mta_sts_policy p;
	struct str why;

	EACH(cases, c) {
		EXPECT_ERR(mta_sts_policy_parse(str_of(c->text), &a, &p, &why), c->why ? ERR_INVALID : ERR_OK);
		EXPECT_STR(str_make(why.n ? why.p : NULL, why.n), c->why);
		if (c->why)
			continue;
		EXPECT_INT(p.mode, c->mode);
		EXPECT_INT(p.max_age_s, c->age);
		EXPECT_INT(p.pattern_count, c->patterns);
	}
	EXPECT_OK(mta_sts_policy_parse(str_of(cases[0].text), &a, &p, &why));
	static const struct { const char *host; bool is_allowed; } hosts[] = {
		{ "mail.example.com", true }, { "MAIL.example.com", true }, { "x.example.net", true }, { "example.net", false },
		{ "a.b.example.net", false }, { "xexample.net", false }, { "mail.example.com.evil.test", false }, { "", false },
	};
	EACH(hosts, h)
		EXPECT_INT(mta_sts_policy_allows(&p, str_of(h->host)), h->is_allowed);
}

/* What we publish can be read by those who read it; its id changes with it, and only then. */
TEST(our_own_policy)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str text = mta_sts_policy_text(&a, MTA_STS_ENFORCE, STR("mail.example.org"), STR("backup.example.net  *.filter.example")), id = mta_sts_policy_id(&a, text), why;
	struct mta_sts_policy p;
	enum mta_sts_mode mode = MTA_STS_ENFORCE;

	EXPECT_STR(text, "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: backup.example.net\r\nmx: *.filter.example\r\nmax_age: 604800\r\n");
	EXPECT_OK(mta_sts_policy_parse(text, &a, &p, &why));
	EXPECT_STR(p.text, str_cstr(&a, text));
	EXPECT(mta_sts_policy_allows(&p, STR("mail.example.org")) && mta_sts_policy_allows(&p, STR("a.filter.example")));
	EXPECT(id.n > 0 && id.n <= MTA_STS_ID_MAX);
	EXPECT(str_eq(id, mta_sts_policy_id(&a, text)));
	text = mta_sts_policy_text(&a, MTA_STS_NONE, STR("mail.example.org"), STR(""));
	EXPECT_OK(mta_sts_policy_parse(text, &a, &p, &why));
	EXPECT_INT(p.mode, MTA_STS_NONE);
	EXPECT(!str_eq(id, mta_sts_policy_id(&a, text)));
	EXPECT(mta_sts_mode_parse(STR("Testing"), &mode) && mode == MTA_STS_TESTING);
	EXPECT(!mta_sts_mode_parse(STR("enforced"), &mode) && !mta_sts_mode_parse(STR(""), &mode));
}

TEST(mta_sts_records)
{
	static const struct { struct str records[2]; size_t n; enum err e; const char *id; } cases[] = {
		{ { STR("\x1fv=STSv1; id=20160831085700Z; x=y") }, 1, ERR_OK, "20160831085700Z" },
		{ { STR("\x10v=STSv1;  id = a1") }, 1, ERR_OK, "a1" },
		{ { STR("\x0dv=spf1 ~all -x"), STR("\x0dv=STSv1; id=1") }, 2, ERR_OK, "1" },
		{ { STR("\x0dv=STSv1; id=1"), STR("\x0dv=STSv1; id=2") }, 2, ERR_NOTFOUND, NULL },
		{ { STR("\x0ev=STSv10; id=1") }, 1, ERR_NOTFOUND, NULL },
		{ { STR("\x08v=STSv1;") }, 1, ERR_INVALID, NULL },
		{ { STR("\x0fv=STSv1; id=a-b") }, 1, ERR_INVALID, NULL },
		{ { STR("") }, 0, ERR_NOTFOUND, NULL },
	};
	CLEANUP(arena_free) struct arena a = { 0 };

	EACH(cases, c) {
		struct str records[2] = { c->records[0], c->records[1] }, id;
		for (size_t i = 0; i < c->n; i++)   /* the length as it is */
			records[i] = arena_printf(&a, "%c" STR_FMT, (char)(records[i].n - 1), STR_ARG(str_from(records[i], 1)));
		struct dns_answer txt = { .outcome = c->n ? DNS_RECORDS : DNS_NO_NAME, .type = DNS_TXT, .records = records, .n = c->n };
		EXPECT_ERR(mta_sts_record(&txt, &a, &id), c->e);
		if (c->id)
			EXPECT_STR(id, c->id);
	}
	struct dns_answer failed = { .outcome = DNS_FAILED };
	struct str id;
	EXPECT_ERR(mta_sts_record(&failed, &a, &id), ERR_AGAIN);
}

TEST(encoded_answers)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct str records[] = { STR("one"), STR("two\0x") };
	struct dns_answer in = { DNS_RECORDS, DNS_TXT, true, 300, STR("a.example"), STR("b.example"), records, 2, STR_NONE }, out;
	struct scan s;

	put_dns_answer(&b, &in);
	s = scan_of(buf_str(&b));
	EXPECT(get_dns_answer(&s, &a, &out));
	EXPECT(out.outcome == DNS_RECORDS && out.type == DNS_TXT && out.is_secure && out.ttl_s == 300 && out.n == 2);
	EXPECT_STR(out.canonical, "b.example");
	EXPECT(str_eq(out.records[1], records[1]));
	for (size_t n = 0; n < b.n; n++) {   /* cut anywhere: refused */
		s = scan_of(str_make(b.p, n));
		EXPECT(!get_dns_answer(&s, &a, &out));
	}
	/* what does not fit is left out whole */
	struct str large[10];
	for (size_t i = 0; i < COUNT_OF(large); i++)
		large[i] = str_make(arena_alloc(&a, 20000), 20000);
	in.records = large;
	in.n = COUNT_OF(large);
	buf_reset(&b);
	put_dns_answer(&b, &in);
	EXPECT(!b.failed);
	s = scan_of(buf_str(&b));
	EXPECT(get_dns_answer(&s, &a, &out));
	EXPECT_INT(out.n, 2);
	EXPECT_INT(out.records[1].n, 20000);
}
