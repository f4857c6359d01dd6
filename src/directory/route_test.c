#include "directory/directory_private.h"
#include "directory/world_test.h"

/* What is typed, with a login or without, and what it means: name, TLS. */
TEST(targets)
{
	static const struct { const char *in, *login, *tls, *name, *means; } cases[] = {
		{ "relay.example.net", "", "", "relay.example.net:25", "may" },
		{ "Relay.B\xc3\xbc" "cher.example.", "", "", "relay.xn--bcher-kva.example:25", "may" },
		{ "relay.example.net", "alice", "", "alice@relay.example.net:587", "verify" },
		{ "relay.example.net:465", "a@b.example", "", "a@b.example@relay.example.net:465", "implicit" },
		{ "relay.example.net", "alice", "implicit", "alice@relay.example.net:465", "implicit" },
		{ "smtp:relay.example.net:2525", "", "encrypt", "relay.example.net:2525", "encrypt" },
		{ "lmtp:127.0.0.1", "", "", "lmtp:127.0.0.1:24", "may" },
		{ "LMTP://[::1]:2400", "", "none", "lmtp:[::1]:2400", "none" },
		{ "[2001:DB8::7]", "", "", "[2001:db8::7]:25", "may" },
		{ "2001:db8::7", "", "", "[2001:db8::7]:25", "may" },
		{ "192.0.2.7:2525", "", "", "192.0.2.7:2525", "may" },
		{ "relay.example.net:", "", "", NULL, NULL }, { "relay.example.net:0", "", "", NULL, NULL },
		{ "relay.example.net:65536", "", "", NULL, NULL }, { "relay.example.net:25x", "", "", NULL, NULL },
		{ "[192.0.2.7", "", "", NULL, NULL }, { "[192.0.2.7]25", "", "", NULL, NULL }, { "[192.0.2.7]:", "", "", NULL, NULL },
		{ "http://relay.example.net", "", "", NULL, NULL }, { "re lay", "", "", NULL, NULL }, { "", "", "", NULL, NULL },
		{ "lmtp:", "", "", NULL, NULL }, { "192.0.2.700", "", "", NULL, NULL }, { "under_score.example", "", "", NULL, NULL },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct route r;
		bool is_good = route_target_parse(str_of(c->in), &a, &r);
		if (is_good != (c->name != NULL))
			print_error("%s\n", c->in);
		EXPECT_INT(is_good, c->name != NULL);
		if (!is_good)
			continue;
		r.login = str_of(c->login);
		EXPECT_INT(route_tls_parse(str_of(c->tls), &r.tls), c->tls[0] != 0);
		route_complete(&r, c->tls[0] != 0);
		EXPECT_STR(route_name(&r, &a), c->name);
		EXPECT_STR(str_of(route_tls_name(r.tls)), c->means);
	}
}

TEST(direct)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct route r;

	EXPECT(route_target_parse(STR("direct"), &a, &r));
	route_complete(&r, false);
	EXPECT(r.host.n == 0 && r.port == 0 && !r.is_lmtp);
}

/* A password in clear text, or to whoever answers, goes nowhere but to this machine. */
TEST(logins_are_protected)
{
	static const struct { const char *target, *tls; bool is_protected; } cases[] = {
		{ "relay.example.net", "verify", true }, { "relay.example.net", "implicit", true }, { "relay.example.net", "encrypt", false },
		{ "relay.example.net", "may", false },   { "192.0.2.7", "none", false },            { "127.0.0.1", "none", true },
		{ "[::1]:25", "may", true },             { "127.0.0.1.example.net", "may", false }, { "localhost", "may", false },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct route r;
		EXPECT(route_target_parse(str_of(c->target), &a, &r) && route_tls_parse(str_of(c->tls), &r.tls));
		EXPECT(route_protects_login(&r));
		r.login = STR("alice");
		if (route_protects_login(&r) != c->is_protected)
			print_error("%s %s\n", c->target, c->tls);
		EXPECT_INT(route_protects_login(&r), c->is_protected);
	}
}

TEST(patterns)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "*", "*" },   { "Example.NET", "example.net" }, { ".Example.net", ".example.net" }, { "b\xc3\xbc" "cher.test", "xn--bcher-kva.test" },
		{ "**", NULL }, { "*.example.net", NULL },        { "..example.net", NULL },           { ".", NULL }, { "", NULL }, { "a@example.net", NULL },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct str out;
		EXPECT_INT(route_pattern_parse(str_of(c->in), &a, &out), c->out != NULL);
		if (c->out)
			EXPECT_STR(out, c->out);
	}
}

/* ---- in the directory ---- */

static struct world *begin_with_alice(void)
{
	struct world *w = begin();
	struct directory_address alice = at(w, "alice@example.test");
	uint64_t account;

	EXPECT_OK(account_add(w->d, &alice, STR("Alice"), false, &account));
	return w;
}

static void set(struct world *w, const char *pattern, const char *target)
{
	struct route r;

	EXPECT(route_target_parse(str_of(target), &w->arena, &r));
	route_complete(&r, false);
	EXPECT_OK(route_set(w->d, str_of(pattern), &r));
}

static struct str way(struct world *w, const char *domain)
{
	struct route r;
	return lookup_route(w->l, str_of(domain), &r) ? route_name(&r, &w->arena) : STR("direct");
}

TEST(the_narrowest_route_counts)
{
	static const struct { const char *domain, *way; } cases[] = {
		{ "example.net", "a.example:25" },  { "mail.example.net", "b.example:25" },    { "x.mail.example.net", "b.example:25" },
		{ "z.x.example.net", "direct" },    { "notexample.net", "smart.example:25" },  { "example.org", "smart.example:25" },
		{ "net", "smart.example:25" },      { "[192.0.2.7]", "smart.example:25" },     { "example.test", "direct" },
		{ "sub.example.test", "smart.example:25" },
	};
	struct world *w = begin_with_alice();

	publish(w);
	EXPECT_STR(way(w, "example.net"), "direct");
	EXPECT(lookup_routes_mark(w->l) == 0);
	set(w, "*", "smart.example");
	set(w, "example.net", "a.example");
	set(w, ".example.net", "b.example");
	set(w, ".x.example.net", "direct");
	publish(w);
	EACH(cases, c)
		EXPECT_STR(way(w, c->domain), c->way);
	uint64_t mark = lookup_routes_mark(w->l);
	EXPECT_OK(domain_add(w->d, STR("second.test")));
	publish(w);
	EXPECT(mark != 0 && lookup_routes_mark(w->l) == mark);
	set(w, "*", "other.example");
	publish(w);
	EXPECT(lookup_routes_mark(w->l) != mark);
	EXPECT_STR(way(w, "example.org"), "other.example:25");
	end(w);
}

/* Of the server, of the domain, of the account; none of its own is no address, too. */
TEST(source_addresses)
{
	struct world *w = begin_with_alice();
	struct directory_address bob;
	struct str v4, v6;
	uint64_t account;

	EXPECT_OK(domain_add(w->d, STR("second.test")));
	EXPECT(directory_address_parse(STR("bob@second.test"), &w->arena, &bob));
	EXPECT_OK(account_add(w->d, &bob, STR("Bob"), false, &account));
	EXPECT_OK(setting_store(w->d, SCOPE_SERVER, STR(""), SETTING_source_ipv4, STR("192.0.2.1")));
	EXPECT_OK(setting_store(w->d, SCOPE_DOMAIN, STR("second.test"), SETTING_source_ipv6, STR("2001:db8::2")));
	publish(w);
	for (uint64_t i = 0; i <= 1; i++) {  /* nobody, and alice */
		lookup_source(w->l, i, &v4, &v6);
		EXPECT_STR(v4, "192.0.2.1");
		EXPECT_STR(v6, "");
	}
	lookup_source(w->l, account, &v4, &v6);
	EXPECT_STR(v4, "192.0.2.1");
	EXPECT_STR(v6, "2001:db8::2");
	EXPECT_OK(setting_store(w->d, SCOPE_ACCOUNT, STR("1"), SETTING_source_ipv4, STR("")));
	CLEANUP(buf_free) struct buf next = BUF(LOOKUP_BYTES_MAX);
	struct lookup *l;
	EXPECT_OK(lookup_update(w->d, w->l, directory_version(w->d), &next));
	EXPECT_OK(lookup_read(buf_str(&next), &l));
	lookup_source(l, 1, &v4, &v6);
	EXPECT(v4.n == 0 && v6.n == 0);
	lookup_source(l, account, &v4, &v6);
	EXPECT_STR(v4, "192.0.2.1");
	lookup_close(l);
	end(w);
}

/* A domain of ours whose other mailboxes are on an LMTP server: who is here is here, the others are there; an alias may lead there. */
TEST(a_domain_of_ours)
{
	struct world *w = begin_with_alice();
	struct directory_address info, bob;
	struct lookup_result r;

	EXPECT(directory_address_parse(STR("info@example.test"), &w->arena, &info) && directory_address_parse(STR("bob@example.test"), &w->arena, &bob));
	EXPECT_OK(name_add(w->d, &info, NAME_ALIAS, &bob, 1));
	publish(w);
	EXPECT_INT(lookup_resolve(w->l, STR("bob@example.test"), &w->arena, &r), LOOKUP_UNKNOWN);
	set(w, "example.test", "lmtp:127.0.0.1:2400");
	publish(w);
	EXPECT_INT(lookup_resolve(w->l, STR("alice+x@example.test"), &w->arena, &r), LOOKUP_FOUND);
	EXPECT_INT(r.targets[0].account, 1);
	EXPECT_INT(lookup_resolve(w->l, STR("Bob+x@example.test"), &w->arena, &r), LOOKUP_FOUND);
	EXPECT(r.n == 1 && r.targets[0].account == 0);
	EXPECT_STR(r.targets[0].remote, "Bob+x@example.test");
	EXPECT_INT(lookup_resolve(w->l, STR("info@example.test"), &w->arena, &r), LOOKUP_FOUND);
	EXPECT(r.n == 1 && r.targets[0].account == 0);
	EXPECT_STR(r.targets[0].remote, "bob@example.test");
	EXPECT_STR(way(w, "example.test"), "lmtp:127.0.0.1:2400");
	EXPECT_ERR(route_remove(w->d, STR("*")), ERR_NOTFOUND);
	EXPECT_OK(route_remove(w->d, STR("example.test")));
	publish(w);
	EXPECT_INT(lookup_resolve(w->l, STR("bob@example.test"), &w->arena, &r), LOOKUP_UNKNOWN);
	end(w);
}

/* One in the place of another is no more than before. */
TEST(as_many_routes_as_may_be)
{
	static const char sql[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO route (pattern, "
	                          "host, port, is_lmtp, tls, login) SELECT 'd' || i || '.example', 'a.example', 25, 0, 1, '' FROM n";
	struct world *w = begin_with_alice();
	struct route r;

	EXPECT(route_target_parse(STR("a.example"), &w->arena, &r));
	route_complete(&r, false);
	struct stmt *q = db_query(w->d->db, sql);
	EXPECT_OK(stmt_done(q));
	stmt_release(&q);
	EXPECT_ERR(route_set(w->d, STR("more.example"), &r), ERR_LIMIT);
	EXPECT_OK(route_set(w->d, STR("d17.example"), &r));
	end(w);
}
