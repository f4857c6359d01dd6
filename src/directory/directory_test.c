#include "base/test.h"
#include "base/bytes.h"
#include "directory/info.h"
#include "directory/world_test.h"
#include <time.h>

TEST(addresses)
{
	static const struct { const char *in, *key; } cases[] = {
		{ "bob@example.test", "bob@example.test" },
		{ "BoB@Example.TEST", "bob@example.test" },
		{ "\"bob\"@example.test", "bob@example.test" },           /* the quoted form is the same address */
		{ "\"john doe\"@example.test", "john doe@example.test" },
		{ "\"a\\\"b\"@example.test", "a\"b@example.test" },
		{ "bob+shop@example.test", "bob+shop@example.test" },
		{ "bob@b\xc3\xbc" "cher.test", "bob@xn--bcher-kva.test" },
		{ "bob@XN--BCHER-KVA.test", "bob@xn--bcher-kva.test" },
		{ "bob@[192.0.2.1]", "bob@[192.0.2.1]" },
		{ "\xe2\x84\xaa@example.test", "k@example.test" },         /* the Kelvin sign is not another "k" */
		{ "bob", NULL }, { "@example.test", NULL }, { "bob@", NULL }, { "", NULL },
		{ ".bob@example.test", NULL }, { "bob.@example.test", NULL }, { "b..b@example.test", NULL },
		{ "bob@example..test", NULL }, { "bob@-example.test", NULL }, { "bob@exa_mple.test", NULL },
		{ "bob smith@example.test", NULL }, { "bob@example.test ", NULL }, { "b\xff@example.test", NULL },
		{ "\"bob@example.test", NULL }, { "\"a\"b\"@example.test", NULL }, { "\"\"@example.test", NULL }, { "\"a\\\"@example.test", NULL },
		{ "0123456789012345678901234567890123456789012345678901234567890123@example.test",
		  "0123456789012345678901234567890123456789012345678901234567890123@example.test" },
		{ "01234567890123456789012345678901234567890123456789012345678901234@example.test", NULL },  /* 65 octets */
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct directory_address x;
		bool ok = directory_address_parse(str_of(c->in), &a, &x);
		if (ok != (c->key != NULL))
			print_error("%s\n", c->in);
		EXPECT_INT(ok, c->key != NULL);
		if (ok)
			EXPECT_STR(directory_address_key(&a, x.local, x.domain), c->key);
	}
}

TEST(spellings_of_one_address)
{
	static const struct { const char *one, *other; bool same; } cases[] = {
		{ "\xc3\x89ric@example.test", "\xc3\xa9ric@example.test", true },    /* É é */
		{ "e\xcc\x81ric@example.test", "\xc3\xa9ric@example.test", true },   /* e + combining acute */
		{ "eric@example.test", "\xc3\xa9ric@example.test", false },
		{ "\xce\xa3\xce\xaf@example.test", "\xcf\x83\xce\x8a@example.test", true },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct directory_address x, y;
		EXPECT(directory_address_parse(str_of(c->one), &a, &x) && directory_address_parse(str_of(c->other), &a, &y));
		EXPECT_INT(str_eq(directory_address_key(&a, x.local, x.domain), directory_address_key(&a, y.local, y.domain)), c->same);
	}
}

static uint64_t add(struct world *w, const char *text)
{
	struct directory_address x = at(w, text);
	uint64_t account = 0;

	EXPECT_OK(account_add(w->d, &x, STR("A Person"), false, &account));
	return account;
}

static void list(struct world *w, enum name_kind kind, const char *name, const char *const *targets)
{
	struct directory_address x = at(w, name), to[10];
	size_t n = 0;

	for (; targets[n]; n++)
		to[n] = at(w, targets[n]);
	EXPECT_OK(name_add(w->d, &x, kind, to, n));
}

#define LIST(w, kind, name, ...) list(w, kind, name, (const char *const[]){ __VA_ARGS__, NULL })

/* "1,2,x@y": accounts by number, remote addresses as text; "unknown", "foreign", "invalid". */
static struct str resolve(struct world *w, const char *address)
{
	struct lookup_result r;
	struct buf b = BUF(10000);

	switch (lookup_resolve(w->l, str_of(address), &w->arena, &r)) {
	case LOOKUP_INVALID: return STR("invalid");
	case LOOKUP_FOREIGN: return STR("foreign");
	case LOOKUP_UNKNOWN: return STR("unknown");
	case LOOKUP_FOUND:   break;
	}
	for (size_t i = 0; i < r.n; i++) {
		if (i)
			buf_add_char(&b, ',');
		if (r.targets[i].account)
			buf_printf(&b, "%llu", (unsigned long long)r.targets[i].account);
		else
			buf_add(&b, r.targets[i].remote);
	}
	if (r.detail.n)
		buf_printf(&b, " detail=" STR_FMT, STR_ARG(r.detail));
	struct str text = str_copy(&w->arena, buf_str(&b));
	buf_free(&b);
	return text;
}

/* `facteur setup` publishes a domain before it has anybody. */
TEST(a_domain_without_accounts)
{
	struct world *w = begin();

	publish(w);
	EXPECT(lookup_domain(w->l, STR("example.test")));
	struct lookup_result r;
	EXPECT_INT(lookup_resolve(w->l, STR("postmaster@example.test"), &w->arena, &r), LOOKUP_UNKNOWN);
	end(w);
}

TEST(resolving)
{
	static const struct { const char *address, *want; } cases[] = {
		{ "alice@example.test", "1" }, { "ALICE@EXAMPLE.TEST", "1" }, { "alice+shop@example.test", "1 detail=shop" },
		{ "\"alice+a b\"@example.test", "1 detail=a b" }, { "alice+a+b@example.test", "1 detail=a+b" },
		{ "bob@example.test", "2" }, { "robert@example.test", "2" }, { "sales@example.test", "1,2" },
		{ "staff@example.test", "staff@example.test" },        /* a group is one target, by whatever name; its members are below */
		{ "crew@example.test", "2,staff@example.test" }, { "staff+x@example.test", "staff@example.test detail=x" },
		{ "nobody-there@example.test", "unknown" },
		{ "postmaster@xn--bcher-kva.test", "1,far@elsewhere.test,2" }, { "abuse@xn--bcher-kva.test", "1,2" },   /* people, not lists */
		{ "loop-a@example.test", "1" }, { "loop-b@example.test", "1" }, { "nobody-home@example.test", "unknown" },
		{ "far@example.test", "far@elsewhere.test" }, { "nobody@example.test", "unknown" }, { "+x@example.test", "unknown" },
		{ "alice@elsewhere.test", "foreign" }, { "alice@[192.0.2.1]", "foreign" }, { "alice", "invalid" },
		{ "postmaster", "1" }, { "Postmaster@example.test", "1" }, { "abuse@example.test", "1" },
		{ "anybody@second.test", "2" }, { "postmaster@second.test", "3" }, { "carol@second.test", "3" },
		{ "dave@second.test", "2" },                           /* deleted: the catch-all gets it */
		{ "\xc3\x89ric@b\xc3\xbc" "cher.test", "5" }, { "\xc3\xa9ric@xn--bcher-kva.test", "5" },
		{ "hostmaster@example.test", "1" }, { "webmaster@example.test", "3" }, { "help@example.test", "help@example.test" },  /* roles that nobody made */
	};
	struct world *w = begin();

	EXPECT_OK(domain_add(w->d, STR("second.test")));
	EXPECT_OK(domain_add(w->d, STR("xn--bcher-kva.test")));
	add(w, "Alice@example.test");
	uint64_t bob = add(w, "bob@example.test");
	add(w, "carol@second.test");
	EXPECT_OK(account_delete(w->d, add(w, "dave@second.test")));
	add(w, "\xc3\xa9ric@b\xc3\xbc" "cher.test");
	struct directory_address robert = at(w, "robert@example.test");
	EXPECT_OK(name_add_further(w->d, &robert, bob));
	LIST(w, NAME_ALIAS, "sales@example.test", "alice@example.test", "bob+sales@example.test");
	LIST(w, NAME_ALIAS, "far@example.test", "far@elsewhere.test");
	LIST(w, NAME_GROUP, "staff@example.test", "alice@example.test", "far@elsewhere.test", "sales@example.test");
	LIST(w, NAME_ALIAS, "postmaster@xn--bcher-kva.test", "staff@example.test");
	LIST(w, NAME_GROUP, "abuse@xn--bcher-kva.test", "alice@example.test", "bob@example.test");
	LIST(w, NAME_ALIAS, "crew@example.test", "staff@example.test", "bob@example.test");
	LIST(w, NAME_GROUP, "nobody-there@example.test", "gone@example.test");
	LIST(w, NAME_ALIAS, "loop-a@example.test", "loop-b@example.test", "alice@example.test");
	LIST(w, NAME_ALIAS, "loop-b@example.test", "loop-a@example.test");
	LIST(w, NAME_ALIAS, "nobody-home@example.test", "gone@example.test");
	LIST(w, NAME_ALIAS, "hostmaster@example.test", "postmaster@example.test");
	LIST(w, NAME_ALIAS, "webmaster@example.test", "abuse@second.test");
	LIST(w, NAME_GROUP, "help@example.test", "postmaster@example.test", "bob@example.test");
	EXPECT_OK(domain_catch_all(w->d, STR("second.test"), STR("bob@example.test")));
	publish(w);
	EACH(cases, c) {
		struct str got = resolve(w, c->address);
		if (!str_eq(got, str_of(c->want)))
			print_error("%s\n", c->address);
		EXPECT_STR(got, c->want);
	}
	EXPECT_STR(lookup_hostname(w->l), "mail.example.test");
	EXPECT(lookup_domain(w->l, STR("B\xc3\x9c" "CHER.test")) && !lookup_domain(w->l, STR("third.test")));
	end(w);
}

/* Whatever the setting says, and in whatever circle, somebody gets the mail of a role; and so does who is led to it. */
TEST(roles_that_nobody_made)
{
	static const struct { const char *administrator, *postmaster, *info, *unknown; } cases[] = {
		{ "",                        "2",   "2",   "2" },     /* of a domain without accounts: the first of the server */
		{ "carol@example.test",      "4",   "4",   "4" },
		{ "out@elsewhere.test",      "out@elsewhere.test", "out@elsewhere.test", "out@elsewhere.test" },
		{ "gone@example.test",       "2",   "2",   "2" },
		{ "postmaster@second.test",  "2",   "2",   "2" },
		{ "info@second.test",        "2",   "2",   "2" },     /* which leads to postmaster@ */
		{ "both@example.test",       "3,4", "3,4", "3,4" },
	};
	struct world *w = begin();
	struct directory_address none = at(w, "first@example.test");
	uint64_t first;

	EXPECT_OK(account_add(w->d, &none, STR(""), false, &first));
	EXPECT_OK(account_delete(w->d, first));
	add(w, "alice@example.test");
	add(w, "bob@example.test");
	add(w, "carol@example.test");
	EXPECT_OK(domain_add(w->d, STR("second.test")));
	EXPECT_OK(domain_catch_all(w->d, STR("second.test"), STR("postmaster@second.test")));
	LIST(w, NAME_ALIAS, "info@second.test", "postmaster@second.test", "info@second.test");
	LIST(w, NAME_ALIAS, "both@example.test", "carol@example.test", "bob@example.test", "abuse@second.test");
	EACH(cases, c) {
		EXPECT_OK(setting_store(w->d, SCOPE_SERVER, STR(""), SETTING_administrator, str_of(c->administrator)));
		publish(w);
		EXPECT_STR(resolve(w, "postmaster@second.test"), c->postmaster);
		EXPECT_STR(resolve(w, "info@second.test"), c->info);
		EXPECT_STR(resolve(w, "nobody@second.test"), c->unknown);
	}
	end(w);
}

static struct directory_group set_group(struct world *w, const char *name, const struct directory_group *g)
{
	struct directory_address x = at(w, name);
	struct directory_group got;

	EXPECT_OK(group_set(w->d, directory_address_key(&w->arena, x.local, x.domain), g));
	EXPECT_OK(group_get(w->d, directory_address_key(&w->arena, x.local, x.domain), &w->arena, &got));
	publish(w);
	return got;
}

/* Who may write: known by the account that logged in, or by an address elsewhere; one of ours that has not logged in may be anybody. */
TEST(who_may_write_to_a_group)
{
	enum { ALICE = 1, BOB, CAROL };
	static const struct { enum group_post post; const char *sender; uint64_t account; bool may; } cases[] = {
		{ GROUP_POST_ANYONE, "eve@elsewhere.test", 0, true },   { GROUP_POST_ANYONE, "alice@example.test", 0, true },
		{ GROUP_POST_MEMBERS, "eve@elsewhere.test", 0, false }, { GROUP_POST_MEMBERS, "FAR@Elsewhere.test", 0, true },
		{ GROUP_POST_MEMBERS, "alice@example.test", 0, false }, { GROUP_POST_MEMBERS, "alice@example.test", ALICE, true },
		{ GROUP_POST_MEMBERS, "bob@example.test", BOB, true },  /* through a group in it */
		{ GROUP_POST_MEMBERS, "carol@example.test", CAROL, false }, { GROUP_POST_MEMBERS, "far@elsewhere.test", CAROL, false },
		{ GROUP_POST_POSTERS, "bob@example.test", BOB, false }, { GROUP_POST_POSTERS, "carol@example.test", CAROL, true },
		{ GROUP_POST_POSTERS, "press@elsewhere.test", 0, true }, { GROUP_POST_POSTERS, "", 0, false },
	};
	struct world *w = begin();
	struct str posters[] = { STR("carol@example.test"), STR("Press@elsewhere.test") };
	struct lookup_target *members;
	struct lookup_group g;
	size_t n;

	add(w, "alice@example.test");
	add(w, "bob@example.test");
	add(w, "carol@example.test");
	LIST(w, NAME_GROUP, "inner@example.test", "bob@example.test");
	LIST(w, NAME_GROUP, "team@example.test", "alice@example.test", "inner@example.test", "far@elsewhere.test");
	EACH(cases, c) {
		set_group(w, "team@example.test", &(struct directory_group){ .post = c->post, .posters = posters, .poster_count = 2 });
		EXPECT(lookup_group(w->l, STR("TEAM@example.test"), &g));
		if (lookup_group_may_post(w->l, &g, str_of(c->sender), c->account) != c->may)
			print_error("%s %llu\n", c->sender, (unsigned long long)c->account);
		EXPECT_INT(lookup_group_may_post(w->l, &g, str_of(c->sender), c->account), c->may);
	}
	lookup_group_members(w->l, &g, &w->arena, &members, &n);
	EXPECT_INT(n, 3);
	EXPECT_INT(g.members, 3);
	EXPECT(!lookup_group(w->l, STR("alice@example.test"), &g));
	end(w);
}

/* The shortest way counts, in whatever order they were written; an alias is none. */
TEST(who_may_leave_a_group_comes_first)
{
	static const struct { const char *address; bool may; } cases[] = {
		{ "open@elsewhere.test", true }, { "Direct@Elsewhere.test", true }, { "firm@elsewhere.test", false }, { "alias@elsewhere.test", false },
		{ "deep@elsewhere.test", true },
	};
	struct world *w = begin();
	struct lookup_target *members;
	struct lookup_group g;
	size_t n;

	add(w, "alice@example.test");
	add(w, "bob@example.test");
	LIST(w, NAME_GROUP, "firm@example.test", "bob@example.test", "direct@elsewhere.test", "firm@elsewhere.test", "deepest@example.test");
	LIST(w, NAME_GROUP, "open@example.test", "open@elsewhere.test", "all@example.test");
	LIST(w, NAME_GROUP, "deepest@example.test", "deep@elsewhere.test");
	LIST(w, NAME_ALIAS, "alias@example.test", "alias@elsewhere.test", "open@elsewhere.test");
	LIST(w, NAME_GROUP, "all@example.test", "alias@example.test", "firm@example.test", "open@example.test", "alice@example.test", "direct@elsewhere.test");
	set_group(w, "open@example.test", &(struct directory_group){ .may_leave = true });
	set_group(w, "deepest@example.test", &(struct directory_group){ .may_leave = true });
	set_group(w, "all@example.test", &(struct directory_group){ .may_leave = true });
	EXPECT(lookup_group(w->l, STR("all@example.test"), &g));
	lookup_group_members(w->l, &g, &w->arena, &members, &n);
	EXPECT_INT(n, 7);
	EXPECT_INT(g.leavers, 4);
	EXPECT_INT(members[0].account, 1);
	EACH(cases, c)
		EXPECT_INT(lookup_group_lets_go(w->l, &g, str_of(c->address)), c->may);
	EXPECT(lookup_group(w->l, STR("firm@example.test"), &g));
	EXPECT(!lookup_group_lets_go(w->l, &g, STR("deep@elsewhere.test")));   /* the group that is named has to allow it too */
	end(w);
}

TEST(what_a_group_has_besides_its_members)
{
	struct world *w = begin();
	struct directory_address team = at(w, "team@example.test"), bob = at(w, "bob@elsewhere.test");
	struct str key = directory_address_key(&w->arena, team.local, team.domain);
	struct directory_group g = { .title = STR("Our team"), .replies_to_group = true, .may_leave = true }, got;
	struct lookup_group found;
	struct lookup_result r;

	EXPECT_ERR(group_set(w->d, key, &g), ERR_NOTFOUND);
	add(w, "alice@example.test");
	LIST(w, NAME_GROUP, "team@example.test", "alice@example.test", "bob@elsewhere.test");
	got = set_group(w, "team@example.test", &g);
	EXPECT_STR(got.title, "Our team");
	EXPECT(lookup_group(w->l, STR("team@example.test"), &found) && found.replies_to_group && found.may_leave);
	EXPECT_STR(found.title, "Our team");
	/* its addresses for the server itself */
	struct str leave = lookup_list_address(w->l, found.address, LIST_LEAVE, STR("bob@elsewhere.test"), &w->arena);
	EXPECT_INT(lookup_resolve(w->l, leave, &w->arena, &r), LOOKUP_FOUND);
	EXPECT_INT(r.targets[0].order, LIST_LEAVE);
	EXPECT_STR(resolve(w, "team=leave=aaaaaaaaaaaaaaaa@example.test"), "unknown");
	EXPECT_STR(resolve(w, "alice=bounce@example.test"), "unknown");
	/* it goes with the group */
	EXPECT_OK(name_remove(w->d, &team));
	LIST(w, NAME_GROUP, "team@example.test", "alice@example.test");
	EXPECT_OK(group_get(w->d, key, &w->arena, &got));
	EXPECT(!got.may_leave && got.title.n == 0);
	EXPECT_ERR(group_bounced(w->d, key, &bob, STR("550 no"), 1000, &w->arena, NULL), ERR_NOTFOUND);
	end(w);
}

/* Days count, not messages; after a month without one it begins anew. */
TEST(bounces_of_members)
{
	static const struct { int64_t at; uint32_t days; } cases[] = {
		{ 100 * 86400, 1 }, { 100 * 86400 + 5, 1 }, { 101 * 86400, 2 }, { 105 * 86400, 3 }, { 106 * 86400, 4 }, { 150 * 86400, 1 },
	};
	struct world *w = begin();
	struct directory_address team = at(w, "team@example.test"), bob = at(w, "bob@elsewhere.test");
	struct str key = directory_address_key(&w->arena, team.local, team.domain);
	struct directory_bounce now, *all;
	size_t n;

	LIST(w, NAME_GROUP, "team@example.test", "bob@elsewhere.test", "eve@elsewhere.test");
	uint64_t version = directory_version(w->d);
	EACH(cases, c) {
		EXPECT_OK(group_bounced(w->d, key, &bob, STR("550 5.1.1 nobody"), c->at, &w->arena, &now));
		EXPECT_INT(now.days, c->days);
		EXPECT(!now.is_reported);
		if (c->days == 4)
			EXPECT_OK(group_bounce_reported(w->d, key, &bob));
	}
	EXPECT_OK(group_bounces(w->d, key, &w->arena, &all, &n));
	EXPECT_INT(n, 1);
	EXPECT_STR(all[0].address, "bob@elsewhere.test");
	EXPECT_INT(directory_version(w->d), version);
	EXPECT_OK(name_targets_remove(w->d, &team, &bob, 1, &(size_t){ 0 }));
	EXPECT_OK(group_bounces(w->d, key, &w->arena, &all, &n));
	EXPECT_INT(n, 0);
	end(w);
}

/* What senders to a domain are told about TLS; an account that is added later (lookup_update) changes nothing about it. */
TEST(policies_of_domains)
{
	struct world *w = begin();
	enum mta_sts_mode mode;

	EXPECT_OK(domain_add(w->d, STR("second.test")));
	EXPECT_OK(setting_store(w->d, SCOPE_DOMAIN, STR("second.test"), SETTING_mta_sts, STR("enforce")));
	add(w, "alice@example.test");
	publish(w);
	for (int i = 0; i < 2; i++) {
		EXPECT(lookup_domain_sts(w->l, STR("Example.TEST"), &mode));
		EXPECT_INT(mode, MTA_STS_NONE);
		EXPECT(lookup_domain_sts(w->l, STR("second.test"), &mode));
		EXPECT_INT(mode, MTA_STS_ENFORCE);
		EXPECT(!lookup_domain_sts(w->l, STR("elsewhere.test"), &mode));
		EXPECT(!lookup_domain_sts(w->l, STR(""), &mode));
		if (i == 0)
			add(w, "bob@example.test");
		publish(w);
	}
	EXPECT_OK(setting_store(w->d, SCOPE_SERVER, STR(""), SETTING_mta_sts, STR("testing")));
	publish(w);
	EXPECT(lookup_domain_sts(w->l, STR("example.test"), &mode));
	EXPECT_INT(mode, MTA_STS_TESTING);
	end(w);
}

/* What an alias sends on, and how a bounce to it finds its way; also after the look-up was made anew. */
TEST(senders_of_forwarded_mail)
{
	struct world *w = begin();
	struct str sender;

	add(w, "alice@example.test");
	publish(w);
	EXPECT_STR(lookup_forward_sender(w->l, STR("alice@example.test"), &w->arena), "alice@example.test");
	EXPECT_STR(lookup_forward_sender(w->l, STR(""), &w->arena), "");
	sender = lookup_forward_sender(w->l, STR("Bob@elsewhere.test"), &w->arena);
	EXPECT(str_starts(sender, STR("SRS0=")) && str_ends(sender, STR("=elsewhere.test=Bob@example.test")));
	EXPECT_STR(resolve(w, str_cstr(&w->arena, sender)), "Bob@elsewhere.test");
	publish(w);
	EXPECT_STR(resolve(w, str_cstr(&w->arena, sender)), "Bob@elsewhere.test");
	EXPECT_STR(resolve(w, "SRS0=aaaaaa=aa=elsewhere.test=eve@example.test"), "unknown");
	EXPECT_OK(domain_catch_all(w->d, STR("example.test"), STR("alice@example.test")));
	publish(w);
	EXPECT_STR(resolve(w, "SRS0=aaaaaa=aa=elsewhere.test=eve@example.test"), "1");
	EXPECT_STR(resolve(w, str_cstr(&w->arena, sender)), "Bob@elsewhere.test");
	end(w);
}

TEST(logins_and_flags)
{
	struct world *w = begin();
	struct directory_account row;
	struct lookup_account x;
	struct issuer *issuers;
	uint64_t alice = add(w, "alice@example.test"), bob = add(w, "bob@example.test");
	uint32_t epoch;
	bool changed;

	publish(w);
	EXPECT(lookup_login(w->l, STR("Alice"), &x) && x.account == alice);   /* the only domain need not be typed */
	EXPECT(lookup_login(w->l, STR("BOB@example.test"), &x) && x.account == bob && x.epoch == 1 && x.rights == UINT32_MAX);
	EXPECT(!lookup_login(w->l, STR("bob+x@example.test"), &x) && !lookup_login(w->l, STR("postmaster"), &x) && !lookup_login(w->l, STR(""), &x));
	EXPECT_OK(account_suspend(w->d, bob, true));
	EXPECT_OK(account_raise_epoch(w->d, bob, &epoch));
	EXPECT_OK(account_usage(w->d, bob, 10, 1, true, &changed));
	EXPECT(changed);
	EXPECT_OK(account_usage(w->d, bob, 11, 2, true, &changed));
	EXPECT(!changed);
	EXPECT_OK(account_uses(w->d, (struct account_use[]){ { alice, 70, 3 }, { 999, 1, 1 }, { bob, 12, 3 } }, 3));
	EXPECT_OK(account_get(w->d, alice, &w->arena, &row));
	EXPECT(row.used_bytes == 70 && row.messages == 3);
	EXPECT_OK(setting_store(w->d, SCOPE_ACCOUNT, STR("2"), SETTING_over_quota_temporary, STR("off")));
	EXPECT_OK(setting_store(w->d, SCOPE_SERVER, STR(""), SETTING_scram, STR("on")));
	EXPECT_OK(account_stop_sending(w->d, alice, 1700000000, STR("signs: BULK=1/1/1")));
	EXPECT_OK(account_get(w->d, alice, &w->arena, &row));
	EXPECT(row.stopped_s == 1700000000);
	EXPECT_STR(row.stopped_why, "signs: BULK=1/1/1");
	EXPECT_OK(printer_add(w->d, STR("::ffff:192.0.2.7"), alice));
	EXPECT(!lookup_has_issuers(w->l));
	EXPECT_OK(issuer_set(w->d, &(struct issuer){ STR("https://id.test"), STR("mail"), STR("email"), STR("example.test"),
	                                             (struct issuer_key[]){ { STR("k1"), STR("DER") } }, 1, 1700000000, { .is_fetched = true } }));
	publish(w);
	EXPECT(lookup_account(w->l, bob, &x) && x.is_suspended && x.is_full && !x.full_is_temporary && x.epoch == 2 && epoch == 2);
	EXPECT(lookup_account(w->l, alice, &x) && !x.is_suspended && !x.is_full && x.full_is_temporary && x.is_stopped);
	EXPECT_OK(account_stop_sending(w->d, alice, 0, STR("")));
	publish(w);
	EXPECT(lookup_account(w->l, alice, &x) && !x.is_stopped && lookup_account(w->l, bob, &x) && !x.is_stopped);
	EXPECT(!lookup_account(w->l, 3, &x) && !lookup_account(w->l, 0, &x));
	EXPECT(lookup_scram(w->l));
	EXPECT(lookup_has_issuers(w->l) && lookup_issuers(w->l, &w->arena, &issuers) == 1);
	EXPECT(str_eq(issuers[0].name, STR("https://id.test")) && issuers[0].key_count == 1 && str_eq(issuers[0].keys[0].public_der, STR("DER")));
	EXPECT(issuers[0].source.is_fetched);
	uint64_t version = directory_version(w->d), mark = lookup_issuers_mark(w->l);
	struct issuer_source source = { .is_fetched = true, .url = STR("https://id.test/keys"), .fetched_s = 1700000000, .tried_s = 1700000300, .fault = ISSUER_STATUS,
	                                .asked = STR("https://id.test/keys"), .why = STR("503") };
	struct issuer one;
	EXPECT_OK(issuer_note(w->d, STR("https://id.test"), &source));
	EXPECT_ERR(issuer_note(w->d, STR("https://id.test/"), &source), ERR_NOTFOUND);
	EXPECT_INT(directory_version(w->d), version);   /* a look at an issuer that changes nothing is nobody else's business */
	EXPECT_OK(issuer_get(w->d, STR("https://id.test"), &w->arena, &one));
	EXPECT(one.source.fetched_s == 1700000000 && one.source.tried_s == 1700000300 && one.source.fault == ISSUER_STATUS);
	EXPECT_STR(one.source.url, "https://id.test/keys");
	EXPECT_STR(one.source.why, "503");
	one.keys[0].kid = STR("k2");
	EXPECT_OK(issuer_set(w->d, &one));
	publish(w);
	EXPECT(lookup_issuers_mark(w->l) != mark);
	EXPECT_OK(issuer_remove(w->d, STR("https://id.test")));
	EXPECT_ERR(issuer_remove(w->d, STR("https://id.test")), ERR_NOTFOUND);
	EXPECT(lookup_printer(w->l, STR("192.0.2.7"), &x) && x.account == alice && !lookup_printer(w->l, STR("192.0.2.8"), &x));
	EXPECT_OK(domain_add(w->d, STR("second.test")));
	publish(w);
	EXPECT(!lookup_login(w->l, STR("alice"), &x));   /* two domains: which alice? */
	end(w);
}

TEST(when_the_keys_of_an_issuer_are_due)
{
	static const struct { bool is_fetched; enum issuer_fault fault; int64_t since_s; bool is_due, is_due_for_a_key; } cases[] = {
		{ true, ISSUER_FINE, 0, false, false }, { true, ISSUER_FINE, 299, false, false }, { true, ISSUER_FINE, 300, false, true },
		{ true, ISSUER_FINE, 3599, false, true }, { true, ISSUER_FINE, 3600, true, true },
		{ true, ISSUER_STATUS, 299, false, false }, { true, ISSUER_STATUS, 599, false, true }, { true, ISSUER_STATUS, 600, true, true },
		{ true, ISSUER_FINE, -5, true, true },              /* the clock was set back */
		{ false, ISSUER_FINE, 1000000, false, false },
	};

	EACH(cases, c) {
		struct issuer i = { .source = { .is_fetched = c->is_fetched, .fault = c->fault, .tried_s = 1700000000 } };
		EXPECT_INT(issuer_is_due(&i, false, 1700000000 + c->since_s), c->is_due);
		EXPECT_INT(issuer_is_due(&i, true, 1700000000 + c->since_s), c->is_due_for_a_key);
	}
}

TEST(life_of_an_account)
{
	struct world *w = begin();
	struct directory_account x;
	struct directory_address bob = at(w, "bob@example.test"), robert = at(w, "Robert@example.test"), foreign = at(w, "bob@elsewhere.test");
	uint64_t number = add(w, "bob@example.test"), other;

	EXPECT_ERR(account_add(w->d, &bob, STR(""), false, &other), ERR_EXISTS);
	EXPECT_ERR(account_add(w->d, &foreign, STR(""), false, &other), ERR_NOTFOUND);
	EXPECT_OK(account_rename(w->d, number, &robert, true));
	EXPECT_OK(account_find(w->d, &bob, &w->arena, &x));
	EXPECT_STR(x.address, "Robert@example.test");
	EXPECT_ERR(name_remove(w->d, &robert), ERR_CONFLICT);
	EXPECT_OK(account_rename(w->d, number, &bob, false));   /* back to one of its own addresses */
	EXPECT_ERR(account_find(w->d, &robert, &w->arena, &x), ERR_NOTFOUND);
	EXPECT_OK(account_delete(w->d, number));
	EXPECT_ERR(account_delete(w->d, number), ERR_NOTFOUND);
	EXPECT_ERR(account_add(w->d, &bob, STR(""), false, &other), ERR_EXISTS);
	EXPECT_OK(account_undelete(w->d, number));
	EXPECT_OK(account_delete(w->d, number));
	EXPECT_OK(account_forget(w->d, number));
	EXPECT_ERR(account_undelete(w->d, number), ERR_NOTFOUND);
	EXPECT(add(w, "bob@example.test") > number);   /* a number is never used again */
	EXPECT_ERR(domain_remove(w->d, STR("example.test")), ERR_CONFLICT);
	directory_close(w->d);
	EXPECT_OK(directory_open(w->dir, &w->d));
	EXPECT_OK(account_find(w->d, &bob, &w->arena, &x));
	EXPECT_INT(x.account, number + 1);
	end(w);
}

TEST(what_a_cell_is_told)
{
	struct world *w = begin();
	uint64_t alice = add(w, "alice@example.test");
	CLEANUP(buf_free) struct buf request = BUF(100), answer = BUF(MESSAGE_BODY_MAX);
	CLEANUP(account_info_free) struct account_info info = { 0 };

	LIST(w, NAME_ALIAS, "sales@example.test", "Alice@example.test");
	struct directory_address second = { .local = STR("al"), .domain = STR("example.test") };
	EXPECT_OK(name_add_further(w->d, &second, alice));
	LIST(w, NAME_ALIAS, "support@example.test", "bob@elsewhere.test", "AL@example.test");
	LIST(w, NAME_GROUP, "staff@example.test", "alice@example.test");
	EXPECT_OK(setting_store(w->d, SCOPE_DOMAIN, STR("example.test"), SETTING_quota, STR("1GB")));
	put_u64(&request, alice);
	EXPECT_OK(account_info_serve(w->d, buf_str(&request), &answer));
	struct scan s = scan_of(buf_str(&answer));
	EXPECT(get_account_info(&s, &w->arena, &info));
	EXPECT_INT(conf_number(info.conf, SETTING_quota), 1 << 30);
	EXPECT_INT(info.message_size_max, 64 << 20);
	EXPECT(account_info_may_send(&info, STR("ALICE@example.test")) && account_info_may_send(&info, STR("alice+x@example.test")));
	EXPECT(account_info_may_send(&info, STR("sales@example.test")) && account_info_may_send(&info, STR("al@example.test")));
	EXPECT(account_info_may_send(&info, STR("support@example.test")));  /* by way of its further address */
	EXPECT_STR(info.senders[0], "alice@example.test");
	EXPECT(!account_info_may_send(&info, STR("staff@example.test")) && !account_info_may_send(&info, STR("bob@example.test")) &&
	       !account_info_may_send(&info, STR("")));
	static const struct { const char *address; bool is_elsewhere; } addresses[] = {
		{ "x@elsewhere.test", true }, { "x@sub.example.test", true }, { "x@[192.0.2.1]", true }, { "nobody@Example.TEST", false },
		{ "postmaster", false }, { "no address", false },
	};
	EACH(addresses, c)
		EXPECT_INT(account_info_is_elsewhere(&info, str_of(c->address)), c->is_elsewhere);
	for (size_t cut = 0; cut < answer.n; cut++) {
		struct account_info broken;
		s = scan_of(str_sub(buf_str(&answer), 0, cut));
		EXPECT(!get_account_info(&s, &w->arena, &broken));
	}
	end(w);
}

TEST(a_cell_of_a_large_server_asks)
{
	struct world *w = begin();
	CLEANUP(buf_free) struct buf request = BUF(100);

	put_u64(&request, add(w, "alice@example.test"));
	for (int i = 2; i <= INFO_DOMAINS_MAX + 1; i++) {
		CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
		CLEANUP(account_info_free) struct account_info info = { 0 };
		struct str name = arena_printf(&w->arena, "d%d.test", i);

		EXPECT_OK(domain_add(w->d, name));
		if (i < INFO_DOMAINS_MAX)
			continue;
		EXPECT_OK(account_info_serve(w->d, buf_str(&request), &answer));
		struct scan s = scan_of(buf_str(&answer));
		EXPECT(get_account_info(&s, &w->arena, &info));
		EXPECT_INT(account_info_is_elsewhere(&info, STR("x@elsewhere.test")), i == INFO_DOMAINS_MAX);
		EXPECT(!account_info_is_elsewhere(&info, arena_printf(&w->arena, "x@" STR_FMT, STR_ARG(name))));
	}
	end(w);
}

/* Every byte changed, every length: refused, or every question is answered inside the bytes (with sanitizers). */
TEST(damaged_lookups)
{
	struct world *w = begin();
	struct lookup_target *members;
	struct lookup_result r;
	struct lookup_account x;
	struct lookup_group g;
	size_t n;

	add(w, "alice@example.test");
	LIST(w, NAME_ALIAS, "sales@example.test", "alice@example.test", "far@elsewhere.test");
	const struct route relay = { .host = STR("relay.example.net"), .port = 25, .login = STR("") };
	EXPECT_OK(route_set(w->d, STR("*"), &relay));
	LIST(w, NAME_GROUP, "team@example.test", "sales@example.test");
	LIST(w, NAME_ALIAS, "crew@example.test", "team@example.test");
	publish(w);
	for (size_t i = 0; i < w->bytes.n * 2; i++) {
		struct str whole = buf_str(&w->bytes), copy;
		struct lookup *l;
		CLEANUP(arena_free) struct arena a = { 0 };
		if (i < whole.n) {
			copy = str_copy(&a, whole);
			((char *)copy.p)[i] ^= (char)(1 << (i % 8));
		} else {
			copy = str_copy(&a, str_sub(whole, 0, i - whole.n));
		}
		if (lookup_read(copy, &l) != ERR_OK)
			continue;
		EXPECT(i < whole.n);   /* nothing cut is ever accepted */
		lookup_resolve(l, STR("sales@example.test"), &a, &r);
		lookup_resolve(l, STR("alice+a@example.test"), &a, &r);
		lookup_resolve(l, STR("crew@example.test"), &a, &r);
		if (lookup_group(l, STR("team@example.test"), &g)) {
			lookup_group_members(l, &g, &a, &members, &n);
			lookup_group_may_post(l, &g, STR("eve@elsewhere.test"), 0);
		}
		lookup_login(l, STR("alice"), &x);
		struct route route;
		lookup_route(l, STR("elsewhere.test"), &route);
		lookup_close(l);
	}
	end(w);
}

/* The write-ahead log is emptied again and again while changes go on, and none of them is told to have failed. */
TEST(many_changes)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	uint64_t first = directory_version(w->d);

	for (int i = 0; i < 700; i++) {
		add(w, arena_printf(&a, "user%d@example.test", i).p);
		arena_reset(&a);
	}
	EXPECT_INT(directory_version(w->d), first + 700);
	end(w);
}

TEST(speed)
{
	struct world *w = begin();
	CLEANUP(arena_free) struct arena a = { 0 };
	enum { ROUNDS = 100000 };

	for (int i = 0; i < 50; i++)
		add(w, arena_printf(&a, "user%d@example.test", i).p);
	publish(w);
	clock_t from = clock();
	for (int i = 0; i < ROUNDS; i++) {
		struct lookup_result r;
		EXPECT_INT(lookup_resolve(w->l, STR("User17@Example.test"), &a, &r), LOOKUP_FOUND);
		arena_reset(&a);
	}
	int64_t ns = (int64_t)(clock() - from) * 1000 / (CLOCKS_PER_SEC / 1000000) / ROUNDS;
	print_message("lookup_resolve: %lld ns\n", (long long)ns);
	EXPECT(ns < 20000);   /* of processor time; budget 1 µs, sanitizers are slow */
	end(w);
}
