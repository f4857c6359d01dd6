/* Paths, as they come from good and from bad clients. */
#include "base/test.h"
#include "smtp/path.h"

static bool parse(const char *in, bool forward, struct smtp_path *p)
{
	struct scan s = scan_of(str_of(in));
	bool ok = forward ? scan_forward_path(&s, p) : scan_reverse_path(&s, p);

	return ok && scan_done(&s);
}

TEST(paths)
{
	static const struct { const char *in, *want; bool utf8; } cases[] = {
		{ "<bob@example.org>", "bob@example.org", false },
		{ "<@relay.example,@other.example:bob@example.org>", "bob@example.org", false },  /* source route: dropped */
		{ "<\"bob smith\"@example.org>", "\"bob smith\"@example.org", false },
		{ "<\"a\\\"b>\"@example.org>", "\"a\\\"b>\"@example.org", false },              /* ">" inside quotes ends nothing */
		{ "<bob@[192.0.2.1]>", "bob@[192.0.2.1]", false },
		{ "<bob@[IPv6:2001:db8::1]>", "bob@[IPv6:2001:db8::1]", false },
		{ "<a..b.@carrier.example>", "a..b.@carrier.example", false },
		{ "<bob@my_host.example>", "bob@my_host.example", false },
		{ "<j\xc3\xa9r\xc3\xb4me@b\xc3\xbc" "cher.example>", "j\xc3\xa9r\xc3\xb4me@b\xc3\xbc" "cher.example", true },
		{ "bob@example.org", NULL, false }, { "<bob@example.org", NULL, false }, { "<bob>", NULL, false }, { "<@>", NULL, false },
		{ "<bob@>", NULL, false }, { "<bob@-x.example>", NULL, false }, { "<bob@x..example>", NULL, false }, { "<bob@x.example.>", NULL, false },
		{ "<bob@[300.0.2.1]>", NULL, false }, { "<bob@[IPv6:1.2.3.4]>", NULL, false }, { "<bob@[]>", NULL, false },
		{ "<b ob@example.org>", NULL, false }, { "<\"a\nb\"@example.org>", NULL, false }, { "<\"a@example.org>", NULL, false },
		{ "<\xff@example.org>", NULL, false },            /* not UTF-8 */
		{ "<<bob@example.org>>", NULL, false }, { "<bob@example.org>x", NULL, false }, { "<@relay.example bob@example.org>", NULL, false },
		{ "<Postmaster>", NULL, false }, { "", NULL, false },
	};
	EACH(cases, c) {
		struct smtp_path p;
		bool ok = parse(c->in, false, &p);
		EXPECT_STR(ok ? p.address : STR_NONE, c->want);
		EXPECT_INT(ok && p.is_utf8, c->utf8);
	}
}

TEST(reverse_and_forward_differ)
{
	struct smtp_path p;

	EXPECT(parse("<>", false, &p) && p.address.n == 0);
	EXPECT(!parse("<>", true, &p));
	EXPECT(parse("<PostMaster>", true, &p));
	EXPECT_STR(p.address, "PostMaster");
	EXPECT(p.domain.n == 0);
	EXPECT(!parse("<webmaster>", true, &p));
}

TEST(limits)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	char local[600];
	struct smtp_path p;

	memset(local, 'a', sizeof(local));
	EXPECT(parse(str_cstr(&a, arena_printf(&a, "<%.*s@example.org>", 200, local)), false, &p));
	EXPECT(!parse(str_cstr(&a, arena_printf(&a, "<%.*s@example.org>", 599, local)), false, &p));
	EXPECT(!parse(str_cstr(&a, arena_printf(&a, "<a@%.*s>", 300, local)), false, &p));
}
