/* Who gets a message: aliases, groups in groups, sub-addresses, people named twice, names that are gone. */
#include "base/test.h"
#include "directory/directory.h"
#include "queue/resolve.h"

static struct directory_address address(struct arena *a, const char *text)
{
	struct directory_address x;

	EXPECT(directory_address_parse(str_of(text), a, &x));
	return x;
}

static void name(struct directory *d, struct arena *a, const char *text, enum name_kind kind, const char *t1, const char *t2)
{
	struct directory_address x = address(a, text), targets[2] = { address(a, t1), address(a, t2) };

	EXPECT_OK(name_add(d, &x, kind, targets, 2));
}

struct world {
	const char       *path;
	struct disk_dir  *dir;
	struct directory *d;
	struct arena      a;
	struct buf        bytes;
	struct lookup    *l;
};

static void publish(struct world *w)
{
	lookup_close(w->l);
	buf_free(&w->bytes);
	w->bytes = BUF(LOOKUP_BYTES_MAX);
	EXPECT_OK(lookup_build(w->d, 1, &w->bytes));
	EXPECT_OK(lookup_read(buf_str(&w->bytes), &w->l));
}

static void begin(struct world *w)
{
	struct directory_address alice, bob;
	uint64_t account;

	*w = (struct world){ .path = test_dir() };
	alice = address(&w->a, "alice@example.test");
	bob = address(&w->a, "bob@example.test");
	EXPECT_OK(disk_dir_open(w->path, &w->dir));
	EXPECT_OK(directory_open(w->dir, &w->d));
	EXPECT_OK(domain_add(w->d, STR("example.test")));
	EXPECT_OK(account_add(w->d, &alice, STR(""), false, &account));
	EXPECT_OK(account_add(w->d, &bob, STR(""), false, &account));
	name(w->d, &w->a, "team@example.test", NAME_GROUP, "alice@example.test", "bob@example.test");
	name(w->d, &w->a, "all@example.test", NAME_GROUP, "team@example.test", "friend@elsewhere.test");
	name(w->d, &w->a, "crew@example.test", NAME_ALIAS, "team@example.test", "cook@elsewhere.test");
	name(w->d, &w->a, "board@example.test", NAME_GROUP, "alice@example.test", "chair@elsewhere.test");
	EXPECT_OK(group_set(w->d, STR("board@example.test"), &(struct directory_group){ .post = GROUP_POST_MEMBERS }));
	publish(w);
}

static void end(struct world *w)
{
	lookup_close(w->l);
	buf_free(&w->bytes);
	directory_close(w->d);
	disk_dir_close(&w->dir);
	arena_free(&w->a);
	test_dir_remove(w->path);
}

/* "1 2+x @friend@elsewhere.test": accounts with their details, addresses elsewhere. */
static struct str describe(struct arena *a, const struct envelope *e)
{
	struct buf b = BUF(4096);

	for (size_t i = 0; i < e->n; i++) {
		const struct envelope_recipient *r = &e->recipients[i];
		if (r->account == ENVELOPE_GROUP)
			buf_printf(&b, "%sgroup:" STR_FMT, i ? " " : "", STR_ARG(r->address));
		else if (r->account)
			buf_printf(&b, "%s%llu" STR_FMT STR_FMT, i ? " " : "", (unsigned long long)r->account, STR_ARG(r->detail.n ? STR("+") : STR("")),
			           STR_ARG(r->detail));
		else
			buf_printf(&b, "%s@" STR_FMT, i ? " " : "", STR_ARG(r->address));
	}
	struct str out = str_copy(a, buf_str(&b));
	buf_free(&b);
	return out;
}

/* "group:team@example.test | team: 1 2": the message itself, and what groups send on, to members here ("~": who may leave) and (">") elsewhere. */
static struct str describe_all(struct arena *a, const struct resolved *all)
{
	struct str out = arena_printf(a, STR_FMT, STR_ARG(describe(a, &all->envelope)));

	for (size_t i = 0; i < all->n; i++)
		out = arena_printf(a, STR_FMT " | %s" STR_FMT " " STR_FMT, STR_ARG(out), all->copies[i].is_elsewhere ? ">" : all->copies[i].may_leave ? "~" : "",
		                   STR_ARG(str_sub(all->copies[i].group.address, 0, (size_t)str_chr(all->copies[i].group.address, '@'))),
		                   STR_ARG(describe(a, &all->copies[i].envelope)));
	return out;
}

TEST(recipients_become_targets_once_each)
{
	static const struct { const char *asked[3], *got; } cases[] = {
		{ { "alice@example.test" }, "1" },
		{ { "ALICE@Example.Test", "alice@example.test" }, "1" },
		{ { "bob+x@example.test" }, "2+x" },
		{ { "bob+x@example.test", "bob@example.test" }, "2+x" },             /* the first mention counts */
		{ { "team@example.test" }, "group:team@example.test | team 1 2" },
		{ { "team@example.test", "TEAM@example.test" }, "group:team@example.test | team 1 2" },
		/* who is named himself does not get it as a member as well */
		{ { "all@example.test", "bob@example.test" }, "group:all@example.test 2 | all 1 | >all @friend@elsewhere.test" },
		/* who is in two groups gets it from the first */
		{ { "team@example.test", "all@example.test" }, "group:team@example.test group:all@example.test | team 1 2 | >all @friend@elsewhere.test" },
		{ { "crew@example.test" }, "@cook@elsewhere.test group:crew@example.test | team 1 2" },   /* an alias that leads to a group */
		{ { "friend@elsewhere.test", "FRIEND@elsewhere.test" }, "@friend@elsewhere.test" },
		{ { "gone@example.test", "alice@example.test" }, "@gone@example.test 1" },
		{ { "not an address" }, "@not an address" },
	};
	struct world w;

	begin(&w);
	EACH(cases, c) {
		/* an account that the asker claims is not believed */
		struct envelope_recipient r[3] = { { .account = 77 }, { .account = 77 }, { .account = 77 } };
		struct envelope in = { .source = ENVELOPE_MX, .sender = STR("eve@elsewhere.test"), .recipients = r };
		struct resolved out;
		while (in.n < 3 && c->asked[in.n]) {
			r[in.n].address = str_of(c->asked[in.n]);
			in.n++;
		}
		EXPECT_OK(envelope_distribute(w.l, &in, &w.a, &out));
		EXPECT_STR(describe_all(&w.a, &out), c->got);
	}
	end(&w);
}

/* What the members get is the group's mail: bounces come back to it, nobody hears of more than failures. */
/* Each sub-address of an alias is another address, and leads to all whom the alias names. */
TEST(a_large_alias_named_a_thousand_times)
{
	enum { TARGETS = 20, FEW = 1000, MANY = 6000 };
	struct envelope_recipient *asked;
	struct directory_address targets[TARGETS], all;
	struct envelope in = { .sender = STR("a@b.test") }, got;
	struct world w;

	begin(&w);
	asked = arena_array(&w.a, MANY, sizeof *asked);
	all = address(&w.a, "everybody@example.test");
	for (size_t i = 0; i < TARGETS; i++)
		targets[i] = address(&w.a, str_cstr(&w.a, arena_printf(&w.a, "friend%zu@elsewhere.test", i)));
	EXPECT_OK(name_add(w.d, &all, NAME_ALIAS, targets, TARGETS));
	publish(&w);
	for (size_t i = 0; i < MANY; i++)
		asked[i].address = arena_printf(&w.a, "everybody+%zu@example.test", i);
	in.recipients = asked;
	in.n = FEW;
	EXPECT_OK(envelope_resolve(w.l, &in, &w.a, &got));
	EXPECT_INT(got.n, TARGETS);
	in.n = MANY;
	EXPECT_ERR(envelope_resolve(w.l, &in, &w.a, &got), ERR_LIMIT);
	end(&w);
}

TEST(what_a_group_sends_on)
{
	struct envelope_recipient r = { .address = STR("all@example.test"), .notify = ENVELOPE_NOTIFY_SUCCESS };
	struct envelope in = { .source = ENVELOPE_MX, .sender = STR("eve@elsewhere.test"), .envid = STR("E1"), .recipients = &r, .n = 1 };
	struct resolved out;
	struct world w;

	begin(&w);
	EXPECT_OK(envelope_distribute(w.l, &in, &w.a, &out));
	EXPECT_STR(out.envelope.sender, "eve@elsewhere.test");
	EXPECT_INT(out.envelope.recipients[0].notify, ENVELOPE_NOTIFY_SUCCESS);
	EXPECT(out.envelope.list.n == 0);
	EXPECT_INT(out.n, 2);
	for (size_t i = 0; i < out.n; i++) {
		const struct envelope *e = &out.copies[i].envelope;
		EXPECT_STR(e->sender, "all=bounce@example.test");
		EXPECT_STR(e->list, "all@example.test");
		EXPECT_STR(e->envid, "");
		EXPECT_INT(e->recipients[0].notify, ENVELOPE_NOTIFY_FAILURE);
	}
	end(&w);
}

/* Of a group that lets its members go: who is in it by way of one that does not hears nothing of leaving, unless he is in it himself. */
TEST(who_hears_how_to_leave)
{
	static const struct { bool team, inner; const char *got; } cases[] = {
		{ true, false, "group:most@example.test | ~most 1 | most 2 | >most @friend@elsewhere.test" },
		{ true, true, "group:most@example.test | ~most 1 2 | >most @friend@elsewhere.test" },
		{ false, true, "group:most@example.test | most 1 2 | >most @friend@elsewhere.test" },
	};
	struct envelope_recipient r = { .address = STR("most@example.test") };
	struct envelope in = { .source = ENVELOPE_MX, .sender = STR("eve@elsewhere.test"), .recipients = &r, .n = 1 };
	struct resolved out;
	struct world w;

	begin(&w);
	name(w.d, &w.a, "most@example.test", NAME_GROUP, "all@example.test", "alice@example.test");
	EXPECT_OK(group_set(w.d, STR("all@example.test"), &(struct directory_group){ .may_leave = true }));
	EACH(cases, c) {
		EXPECT_OK(group_set(w.d, STR("most@example.test"), &(struct directory_group){ .may_leave = c->team }));
		EXPECT_OK(group_set(w.d, STR("team@example.test"), &(struct directory_group){ .may_leave = c->inner }));
		publish(&w);
		EXPECT_OK(envelope_distribute(w.l, &in, &w.a, &out));
		EXPECT_STR(describe_all(&w.a, &out), c->got);
	}
	end(&w);
}

/* mx has asked for strangers; what accounts send, or send on, is asked here. Nothing without a sender is for the members. */
TEST(who_may_write)
{
	enum { ALICE = 1, BOB };
	static const struct { enum envelope_source source; const char *sender; uint64_t submitter, parent; const char *got; } cases[] = {
		{ ENVELOPE_SUBMISSION, "alice@example.test", ALICE, 0, "group:board@example.test | board 1 | >board @chair@elsewhere.test" },
		{ ENVELOPE_SUBMISSION, "bob@example.test", BOB, 0, "" },
		{ ENVELOPE_DELIVERY, "eve@elsewhere.test", ALICE, ALICE, "group:board@example.test | board 1 | >board @chair@elsewhere.test" },
		{ ENVELOPE_DELIVERY, "alice@example.test", BOB, BOB, "" },
		{ ENVELOPE_DELIVERY, "", ALICE, ALICE, "" },                            /* a vacation reply */
		{ ENVELOPE_LOCAL, "root@example.test", 0, 0, "group:board@example.test | board 1 | >board @chair@elsewhere.test" },
	};
	struct world w;

	begin(&w);
	EACH(cases, c) {
		struct envelope_recipient r = { .address = STR("board@example.test") };
		struct envelope in = { .source = c->source, .sender = str_of(c->sender), .submitter = c->submitter,
			                   .parent = { .log_id = c->parent != 0, .account = c->parent }, .recipients = &r, .n = 1 };
		struct resolved out;
		EXPECT_OK(envelope_distribute(w.l, &in, &w.a, &out));
		EXPECT_STR(describe_all(&w.a, &out), c->got);
	}
	end(&w);
}

TEST(what_is_for_the_server_itself)
{
	struct world w;
	struct resolved out;

	begin(&w);
	struct str leave = lookup_list_address(w.l, STR("team@example.test"), LIST_LEAVE, STR("bob@example.test"), &w.a);
	struct envelope_recipient r[4] = {
		{ .address = leave },
		{ .address = STR("team=leave=aaaaaaaaaaaaaaaa@example.test") },   /* forged: nobody */
		{ .address = leave },                                             /* once is enough */
		{ .address = arena_printf(&w.a, "TEAM" STR_FMT, STR_ARG(str_from(leave, 4))) },
	};
	struct envelope in = { .source = ENVELOPE_MX, .sender = STR("bob@elsewhere.test"), .recipients = r, .n = 4 };
	EXPECT_OK(envelope_distribute(w.l, &in, &w.a, &out));
	EXPECT_INT(out.orders_n, 1);
	EXPECT_INT(out.orders[0].order, LIST_LEAVE);
	EXPECT_STR(out.orders[0].group, "team@example.test");
	EXPECT_STR(describe_all(&w.a, &out), "@team=leave=aaaaaaaaaaaaaaaa@example.test");
	end(&w);
}
