#include "base/test.h"
#include "directory/directory.h"
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

/* With routes: all that goes one way is one destination, but for what stays in a domain of ours. */
TEST(ways)
{
	static const struct { const char *address, *destination, *host; bool is_inner; } cases[] = {
		{ "bob@Example.org", "alice@relay.example.net:587", "relay.example.net", false },
		{ "bob@[192.0.2.1]", "alice@relay.example.net:587", "relay.example.net", false },
		{ "bob@example.com", "example.com", "", false },
		{ "bob@example.net", "relay.example.net:25", "relay.example.net", false },
		{ "bob@bank.example", "relay.example.net:25 (TLS verify)", "relay.example.net", false },  /* no mail of it goes with the one before */
		{ "eve@ours.test", "lmtp:127.0.0.1:24 for ours.test", "127.0.0.1", true },
		{ "eve@other.test", "other.test", "", false },
	};
	static const struct { const char *name, *destination; bool is_routed; } names[] = {
		{ "Example.COM", "example.com", false }, { "example.org", "example.org", true }, { "[2001:db8::1]:25", "[2001:db8::1]:25", false },
		{ "[IPv6:2001:db8::1]", "[ipv6:2001:db8::1]", true },
		{ "alice@relay.example.net:587", "alice@relay.example.net:587", false }, { "ours.test", "ours.test", true }, { "a b", NULL, false },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
	const struct route relay = { STR("relay.example.net"), 587, false, ROUTE_TLS_VERIFY, STR("alice") },
		open = { STR("relay.example.net"), 25, false, ROUTE_TLS_MAY, STR("") }, sure = { STR("relay.example.net"), 25, false, ROUTE_TLS_VERIFY, STR("") },
		lmtp = { STR("127.0.0.1"), 24, true, ROUTE_TLS_MAY, STR("") }, direct = { .host = STR(""), .login = STR("") };
	const char *path = test_dir();
	struct directory *d;
	struct disk_dir *dir;
	struct lookup *l;
	struct str named;
	bool is_routed;
	struct queue_way way;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(directory_open(dir, &d));
	EXPECT_OK(domain_add(d, STR("ours.test")));
	EXPECT_OK(domain_add(d, STR("other.test")));
	EXPECT_OK(route_set(d, STR("*"), &relay));
	EXPECT_OK(route_set(d, STR("example.com"), &direct));
	EXPECT_OK(route_set(d, STR("example.net"), &open));
	EXPECT_OK(route_set(d, STR("bank.example"), &sure));
	EXPECT_OK(route_set(d, STR("ours.test"), &lmtp));
	EXPECT_OK(lookup_build(d, 1, &bytes));
	EXPECT_OK(lookup_read(buf_str(&bytes), &l));
	EACH(cases, c) {
		EXPECT(queue_way_of(l, str_of(c->address), &a, &way));
		EXPECT_STR(way.destination, c->destination);
		EXPECT_STR(way.route.host, c->host);
		EXPECT_INT(way.is_inner, c->is_inner);
	}
	EXPECT(queue_way_of(NULL, STR("eve@ours.test"), &a, &way) && way.route.host.n == 0);
	EXPECT(!queue_way_of(l, STR("eve"), &a, &way));
	EACH(names, c) {
		bool is_good = queue_destination_named(l, str_of(c->name), &a, &named, &is_routed);
		EXPECT_INT(is_routed, c->is_routed);
		EXPECT_INT(is_good, c->destination != NULL);
		if (is_good)
			EXPECT_STR(named, c->destination);
	}
	lookup_close(l);
	directory_close(d);
	disk_dir_close(&dir);
	test_dir_remove(path);
}
