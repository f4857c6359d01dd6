/* Members who leave, and members whose mail comes back. */
#include "base/test.h"
#include "directory/list_order.h"

struct world {
	const char       *path;
	struct disk_dir  *dir;
	struct directory *d;
	struct arena      a;
	uint64_t          alice;
};

static struct directory_address at(struct world *w, const char *text)
{
	struct directory_address x;

	EXPECT(directory_address_parse(str_of(text), &w->a, &x));
	return x;
}

static void group(struct world *w, const char *name, const char *one, const char *other)
{
	struct directory_address x = at(w, name), targets[2] = { at(w, one), at(w, other) };

	EXPECT_OK(name_add(w->d, &x, NAME_GROUP, targets, 2));
	EXPECT_OK(group_set(w->d, str_of(name), &(struct directory_group){ .may_leave = true }));
}

static void begin(struct world *w)
{
	*w = (struct world){ .path = test_dir() };
	EXPECT_OK(disk_dir_open(w->path, &w->dir));
	EXPECT_OK(directory_open(w->dir, &w->d));
	EXPECT_OK(domain_add(w->d, STR("example.test")));
	struct directory_address alice = at(w, "alice@example.test"), more = at(w, "a.martin@example.test");
	EXPECT_OK(account_add(w->d, &alice, STR(""), false, &w->alice));
	EXPECT_OK(name_add_further(w->d, &more, w->alice));
	group(w, "team@example.test", "a.martin@example.test", "bob@elsewhere.test");
	group(w, "all@example.test", "team@example.test", "all@example.test");  /* in itself, by mistake */
}

static void end(struct world *w)
{
	directory_close(w->d);
	disk_dir_close(&w->dir);
	arena_free(&w->a);
	test_dir_remove(w->path);
}

static size_t count(struct world *w, const char *name)
{
	struct directory_address x = at(w, name);
	struct directory_name found;

	EXPECT_OK(name_find(w->d, &x, &w->a, &found));
	return found.target_count;
}

static struct list_address token_of(struct world *w, const char *name, enum list_order order, const char *member)
{
	struct list_address x;
	struct str key;

	EXPECT_OK(directory_srs_key(w->d, &w->a, &key));
	EXPECT(list_address_parse(key, list_address(key, str_of(name), order, str_of(member), &w->a), &w->a, &x));
	return x;
}

TEST(leaving)
{
	struct world w;
	struct list_order_result r;

	begin(&w);
	struct list_order_request bob = { .what = token_of(&w, "team@example.test", LIST_LEAVE, "bob@elsewhere.test") };
	EXPECT_OK(list_order_run(w.d, &bob, 1000, &w.a, &r));
	EXPECT_STR(r.member, "bob@elsewhere.test");
	EXPECT_INT(count(&w, "team@example.test"), 1);
	EXPECT_ERR(list_order_run(w.d, &bob, 1000, &w.a, &r), ERR_NOTFOUND);
	/* an account is a member under whatever address of its own; here through a group in the group */
	struct list_order_request alice = { .what = token_of(&w, "all@example.test", LIST_LEAVE, ""), .account = w.alice };
	EXPECT_OK(list_order_run(w.d, &alice, 1000, &w.a, &r));
	EXPECT_STR(r.member, "a.martin@example.test");
	EXPECT_STR(r.group, "team@example.test");
	EXPECT_INT(count(&w, "team@example.test"), 0);
	end(&w);
}

TEST(groups_that_nobody_leaves)
{
	struct world w;
	struct list_order_result r;

	begin(&w);
	EXPECT_OK(group_set(w.d, STR("team@example.test"), &(struct directory_group){ 0 }));
	struct list_order_request bob = { .what = token_of(&w, "team@example.test", LIST_LEAVE, "bob@elsewhere.test") };
	EXPECT_ERR(list_order_run(w.d, &bob, 1000, &w.a, &r), ERR_DENIED);
	EXPECT_INT(count(&w, "team@example.test"), 2);
	bob.what.group = STR("gone@example.test");
	EXPECT_ERR(list_order_run(w.d, &bob, 1000, &w.a, &r), ERR_NOTFOUND);
	end(&w);
}

/* Whoever is in a group only by way of another one leaves that one, if it lets him. */
TEST(a_group_in_a_group_that_nobody_leaves)
{
	struct world w;
	struct list_order_result r;

	begin(&w);
	EXPECT_OK(group_set(w.d, STR("team@example.test"), &(struct directory_group){ 0 }));
	struct list_order_request bob = { .what = token_of(&w, "all@example.test", LIST_LEAVE, "bob@elsewhere.test") };
	EXPECT_ERR(list_order_run(w.d, &bob, 1000, &w.a, &r), ERR_DENIED);
	EXPECT_INT(count(&w, "team@example.test"), 2);
	end(&w);
}

/* On the fifth day, and once. */
TEST(bounces_are_reported)
{
	struct world w;
	struct list_order_result r;

	begin(&w);
	struct list_order_request bob = { .what = token_of(&w, "team@example.test", LIST_BOUNCE, "bob@elsewhere.test"), .reason = STR("550 gone") };
	for (int day = 1; day <= 7; day++) {
		EXPECT_OK(list_order_run(w.d, &bob, day * 86400, &w.a, &r));
		EXPECT_INT(r.days, day);
		EXPECT_INT(r.is_report_due, day == LIST_REPORT_DAYS);
		EXPECT_STR(r.reason, "550 gone");
	}
	/* our own reports name the member by his address */
	struct list_order_request own = { .what = { .order = LIST_BOUNCE, .group = STR("team@example.test") }, .member = STR("BOB@elsewhere.test") };
	EXPECT_OK(list_order_run(w.d, &own, 8 * 86400, &w.a, &r));
	EXPECT_INT(r.days, 8);
	end(&w);
}

/* Each is looked at once: there are a thousand million ways through these. */
TEST(groups_that_are_in_each_other)
{
	enum { GROUPS = 8 };
	struct list_order_request nobody = { .what = { .order = LIST_LEAVE, .group = STR("g0@example.test") }, .member = STR("bob@elsewhere.test") };
	struct directory_address groups[GROUPS];
	struct list_order_result r;
	struct world w;

	begin(&w);
	for (size_t i = 0; i < GROUPS; i++)
		groups[i] = at(&w, (const char *[]){ "g0@example.test", "g1@example.test", "g2@example.test", "g3@example.test", "g4@example.test",
		                                    "g5@example.test", "g6@example.test", "g7@example.test" }[i]);
	for (size_t i = 0; i < GROUPS; i++)
		EXPECT_OK(name_add(w.d, &groups[i], NAME_GROUP, groups, GROUPS));
	EXPECT_ERR(list_order_run(w.d, &nobody, 0, &w.a, &r), ERR_NOTFOUND);
	end(&w);
}

TEST(requests_as_bytes)
{
	CLEANUP(buf_free) struct buf b = BUF(4096);
	const struct list_order_request in = { .what = { LIST_LEAVE, STR("team@example.test"), STR("aaaaaaaaaaaaaaaa") }, .account = 7,
		                                   .member = STR("m@x.test"), .reason = STR("why") };
	const struct list_order_result result = { STR("m@x.test"), STR("team@example.test"), true, 5, STR("why") };
	struct list_order_request out;
	struct list_order_result got;

	list_order_put_request(&in, &b);
	EXPECT(list_order_get_request(buf_str(&b), &out));
	EXPECT_STR(out.what.token, "aaaaaaaaaaaaaaaa");
	EXPECT_INT(out.account, 7);
	for (size_t i = 0; i < b.n; i++)
		EXPECT(!list_order_get_request(str_sub(buf_str(&b), 0, i), &out));
	((char *)b.p)[0] = 9;
	EXPECT(!list_order_get_request(buf_str(&b), &out));
	buf_reset(&b);
	list_order_put_result(&result, &b);
	EXPECT(list_order_get_result(buf_str(&b), &got) && got.is_report_due && got.days == 5);
	EXPECT_STR(got.group, "team@example.test");
	for (size_t i = 0; i < b.n; i++)
		EXPECT(!list_order_get_result(str_sub(buf_str(&b), 0, i), &got));
}
