#include "base/test.h"
#include "queue/destination.h"

TEST(destinations)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const struct { const char *address, *want; } cases[] = {
		{ "bob@Example.ORG", "example.org" },
		{ "bob@example.org.", "example.org" },         /* a root dot */
		{ "\"a@b\"@example.org", "example.org" },
		{ "bob@b\303\274cher.example", "xn--bcher-kva.example" },
		{ "bob@[192.0.2.1]", "[192.0.2.1]" },
		{ "bob@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]" },
		{ "postmaster", NULL },
		{ "bob@", NULL },
		{ "@example.org", NULL },
		{ "bob@a..b", NULL },
		{ "bob@exa mple.org", NULL },
	};

	EACH(cases, c) {
		struct str out = STR("");
		bool found = address_destination(str_of(c->address), &a, &out);
		EXPECT_INT(found, c->want != NULL);
		if (found)
			EXPECT_STR(out, c->want);
	}
}
