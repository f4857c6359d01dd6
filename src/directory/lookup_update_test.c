#include "base/test.h"
#include "base/bytes.h"
#include "directory/directory.h"
#include "directory/lookup_private.h"

/* Whatever was changed: bringing the published one up to date and building it anew say the same about everybody. */

enum { LOCALS = 12, DOMAINS = 2, ADDRESSES = LOCALS * DOMAINS, STEPS = 300, ROUNDS = 3, ACCOUNTS = 100 };

struct world {
	const char       *path;
	struct disk_dir  *dir;
	struct directory *d;
	struct arena      arena;
	struct buf        bytes, next;
	struct lookup    *l;          /* published, from bytes */
	uint64_t          account;    /* highest number so far */
	unsigned          random;
};

static const char *const locals[LOCALS] = { "a", "b", "c", "d", "e", "a+x", "b+x", "c-y", "d.z", "postmaster", "abuse", "f+x+y" };

static struct str text_of(struct world *w, unsigned i)
{
	return arena_printf(&w->arena, "%s@%s", locals[i % LOCALS], i / LOCALS % DOMAINS ? "other.test" : "example.test");
}

static struct directory_address address(struct world *w, unsigned i)
{
	struct directory_address x;

	EXPECT(directory_address_parse(text_of(w, i), &w->arena, &x));
	return x;
}

static unsigned draw(struct world *w, unsigned n)
{
	w->random = w->random * 1103515245u + 12345u;
	return w->random / 65536u % n;
}

static uint64_t draw_account(struct world *w) { return 1 + draw(w, (unsigned)w->account + 1); }

static struct world begin(unsigned seed)
{
	struct world w = { .path = test_dir(), .random = seed };

	EXPECT_OK(disk_dir_open(w.path, &w.dir));
	EXPECT_OK(directory_open(w.dir, &w.d));
	EXPECT_OK(domain_add(w.d, STR("example.test")));
	EXPECT_OK(domain_add(w.d, STR("other.test")));
	return w;
}

static void end(struct world *w)
{
	lookup_close(w->l);
	buf_free(&w->bytes);
	directory_close(w->d);
	disk_dir_close(&w->dir);
	arena_free(&w->arena);
	test_dir_remove(w->path);
}

/* True: it was brought up to date, not built. */
static bool publish(struct world *w)
{
	struct lookup *fresh;
	uint64_t seed = w->l ? w->l->h.seed : 0;

	w->next = BUF(LOOKUP_BYTES_MAX);
	EXPECT_OK(lookup_update(w->d, w->l, directory_version(w->d), &w->next));
	EXPECT_OK(lookup_read(buf_str(&w->next), &fresh));
	EXPECT_INT(lookup_version(fresh), directory_version(w->d));
	lookup_close(w->l);
	buf_free(&w->bytes);
	w->bytes = w->next;
	w->l = fresh;
	return fresh->h.seed == seed;
}

static bool change(struct world *w)
{
	struct directory_address x = address(w, draw(w, ADDRESSES)), y = address(w, draw(w, ADDRESSES));
	struct str account, posters[1];
	uint64_t number = 0;
	uint32_t epoch;
	bool changed;
	enum err e = ERR_OK;

	switch (draw(w, 21)) {
	case 0: case 1: case 2: e = account_add(w->d, &x, STR("A Person"), draw(w, 2), &number); break;
	case 3: e = account_reserve(w->d, &x, STR(""), false, &number); break;
	case 4: e = account_ready(w->d, draw_account(w)); break;
	case 5: e = account_suspend(w->d, draw_account(w), draw(w, 2)); break;
	case 6: e = account_usage(w->d, draw_account(w), draw(w, 3), 1, draw(w, 2), &changed); break;
	case 7: e = account_describe(w->d, draw_account(w), STR("x"), draw(w, 2)); break;
	case 8: e = account_delete(w->d, draw_account(w)); break;
	case 9: e = account_undelete(w->d, draw_account(w)); break;
	case 10: e = account_forget(w->d, draw_account(w)); break;
	case 11: e = account_rename(w->d, draw_account(w), &x, draw(w, 2)); break;
	case 12: e = name_add(w->d, &x, draw(w, 2) ? NAME_ALIAS : NAME_GROUP, &y, 1); break;
	case 13: e = name_remove(w->d, &x); break;
	case 14: e = name_add_further(w->d, &x, draw_account(w)); break;
	case 15: e = domain_catch_all(w->d, STR("other.test"), draw(w, 2) ? text_of(w, draw(w, ADDRESSES)) : STR("")); break;
	case 16: e = setting_store(w->d, SCOPE_SERVER, STR(""), SETTING_administrator, text_of(w, draw(w, ADDRESSES))); break;
	case 17: e = setting_store(w->d, SCOPE_SERVER, STR(""), SETTING_address_separator, draw(w, 2) ? STR("+") : STR("-")); break;
	case 18:
		account = arena_printf(&w->arena, "%llu", (unsigned long long)draw_account(w));
		e = draw(w, 2) ? setting_store(w->d, SCOPE_ACCOUNT, account, SETTING_message_size_max, STR("2MB"))
		               : setting_forget(w->d, SCOPE_ACCOUNT, account, SETTING_message_size_max);
		break;
	case 20:
		posters[0] = text_of(w, draw(w, ADDRESSES));
		e = group_set(w->d, directory_address_key(&w->arena, x.local, x.domain),
		              &(struct directory_group){ .post = GROUP_POST_POSTERS, .posters = posters, .poster_count = 1 });
		break;
	case 19: e = account_raise_epoch(w->d, draw_account(w), &epoch); break;
	}
	if (number > w->account)
		w->account = number;
	return e == ERR_OK;
}

static void expect_same_account(const struct lookup *one, const struct lookup *other, uint64_t account)
{
	struct lookup_account a, b;
	bool is_there = lookup_account(one, account, &a);

	EXPECT_INT(lookup_account(other, account, &b), is_there);
	if (!is_there)
		return;
	EXPECT(str_eq(a.address, b.address));
	EXPECT(a.epoch == b.epoch && a.rights == b.rights && a.is_suspended == b.is_suspended && a.is_full == b.is_full && a.french == b.french);
	EXPECT(a.message_size_max == b.message_size_max && a.full_is_temporary == b.full_is_temporary);
}

static void expect_same_way(struct world *w, const struct lookup *other, unsigned i)
{
	struct lookup_result a, b;
	struct lookup_account one = { 0 }, two = { 0 };
	struct str text = text_of(w, i);

	EXPECT_INT(lookup_resolve(w->l, text, &w->arena, &a), lookup_resolve(other, text, &w->arena, &b));
	EXPECT_INT(a.n, b.n);
	for (size_t t = 0; t < a.n; t++) {
		EXPECT_INT(a.targets[t].account, b.targets[t].account);
		EXPECT(str_eq(a.targets[t].remote, b.targets[t].remote));
		EXPECT(a.targets[t].is_full == b.targets[t].is_full && a.targets[t].is_suspended == b.targets[t].is_suspended);
	}
	struct lookup_group g, h;
	EXPECT_INT(lookup_group(w->l, text, &g), lookup_group(other, text, &h));
	if (lookup_group(w->l, text, &g))
		for (uint64_t account = 0; account <= w->account; account++)
			EXPECT_INT(lookup_group_may_post(w->l, &g, text, account), lookup_group_may_post(other, &h, text, account));
	EXPECT_INT(lookup_login(w->l, text, &one), lookup_login(other, text, &two));
	EXPECT_INT(one.account, two.account);
}

static void compare(struct world *w)
{
	CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
	struct lookup *built;

	EXPECT_OK(lookup_build(w->d, directory_version(w->d), &bytes));
	EXPECT_OK(lookup_read(buf_str(&bytes), &built));
	EXPECT_INT(w->l->h.accounts, built->h.accounts);
	EXPECT_INT(w->l->h.names, built->h.names);
	for (uint64_t account = 1; account <= w->account; account++)
		expect_same_account(w->l, built, account);
	for (unsigned i = 0; i < ADDRESSES; i++)
		expect_same_way(w, built, i);
	EXPECT(str_eq(lookup_hostname(w->l), lookup_hostname(built)));
	lookup_close(built);
}

TEST(up_to_date_is_as_good_as_built)
{
	for (unsigned seed = 1; seed <= ROUNDS; seed++) {
		struct world w = begin(seed);
		unsigned updated = 0, built = 0;
		publish(&w);
		for (int i = 0; i < STEPS; i++) {
			bool is_changed = change(&w);
			if (draw(&w, 3) == 0)
				continue;  /* a few changes at once */
			if (publish(&w))
				updated += is_changed;
			else
				built++;
			compare(&w);
			arena_reset(&w.arena);
		}
		EXPECT(updated > 10 && built > 10);
		end(&w);
	}
}

/* The first account is postmaster, so that all is built; for those after it nothing but their own rows. */
TEST(accounts_by_the_hundred)
{
	struct world w = begin(1);
	struct directory_address x;

	publish(&w);
	for (int i = 0; i < ACCOUNTS; i++) {
		EXPECT(directory_address_parse(arena_printf(&w.arena, "user%d@example.test", i), &w.arena, &x));
		EXPECT_OK(account_reserve(w.d, &x, STR("A Person"), true, &w.account));
		EXPECT_OK(setting_store(w.d, SCOPE_ACCOUNT, arena_printf(&w.arena, "%llu", (unsigned long long)w.account), SETTING_quota, STR("1GB")));
		EXPECT_OK(account_ready(w.d, w.account));
		EXPECT_INT(publish(&w), i > 0);
	}
	compare(&w);
	end(&w);
}

/* More changes than are remembered. */
TEST(after_many_changes_it_is_built)
{
	struct world w = begin(1);
	uint32_t epoch;

	struct directory_address x = address(&w, 3);

	EXPECT_OK(account_add(w.d, &x, STR(""), false, &w.account));
	publish(&w);
	for (int i = 0; i < 256; i++)
		EXPECT_OK(account_raise_epoch(w.d, w.account, &epoch));
	EXPECT(publish(&w));
	for (int i = 0; i < 257; i++)
		EXPECT_OK(account_raise_epoch(w.d, w.account, &epoch));
	EXPECT(!publish(&w));
	compare(&w);
	end(&w);
}
