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

/* "1 2+x @friend@elsewhere.test": accounts with their details, addresses elsewhere. */
static struct str describe(struct arena *a, const struct envelope *e)
{
	struct buf b = BUF(4096);

	for (size_t i = 0; i < e->n; i++) {
		const struct envelope_recipient *r = &e->recipients[i];
		if (r->account)
			buf_printf(&b, "%s%llu" STR_FMT STR_FMT, i ? " " : "", (unsigned long long)r->account, STR_ARG(r->detail.n ? STR("+") : STR("")),
			           STR_ARG(r->detail));
		else
			buf_printf(&b, "%s@" STR_FMT, i ? " " : "", STR_ARG(r->address));
	}
	struct str out = str_copy(a, buf_str(&b));
	buf_free(&b);
	return out;
}

TEST(recipients_become_targets_once_each)
{
	static const struct { const char *asked[3], *got; } cases[] = {
		{ { "alice@example.test" }, "1" },
		{ { "ALICE@Example.Test", "alice@example.test" }, "1" },
		{ { "bob+x@example.test" }, "2+x" },
		{ { "bob+x@example.test", "bob@example.test" }, "2+x" },             /* the first mention counts */
		{ { "team@example.test" }, "1 2" },
		{ { "all@example.test", "bob@example.test" }, "@friend@elsewhere.test 1 2" },
		{ { "friend@elsewhere.test", "FRIEND@elsewhere.test" }, "@friend@elsewhere.test" },
		{ { "gone@example.test", "alice@example.test" }, "@gone@example.test 1" },
		{ { "not an address" }, "@not an address" },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
	const char *path = test_dir();
	struct disk_dir *dir;
	struct directory *d;
	struct lookup *l;
	uint64_t account;

	EXPECT_OK(disk_dir_open(path, &dir));
	EXPECT_OK(directory_open(dir, &d));
	EXPECT_OK(domain_add(d, STR("example.test")));
	struct directory_address alice = address(&a, "alice@example.test"), bob = address(&a, "bob@example.test");
	EXPECT_OK(account_add(d, &alice, STR(""), false, &account));
	EXPECT_OK(account_add(d, &bob, STR(""), false, &account));
	name(d, &a, "team@example.test", NAME_GROUP, "alice@example.test", "bob@example.test");
	name(d, &a, "all@example.test", NAME_GROUP, "team@example.test", "friend@elsewhere.test");
	EXPECT_OK(lookup_build(d, 1, &bytes));
	EXPECT_OK(lookup_read(buf_str(&bytes), &l));
	EACH(cases, c) {
		/* an account that the asker claims is not believed */
		struct envelope_recipient r[3] = { { .account = 77 }, { .account = 77 }, { .account = 77 } };
		struct envelope in = { .recipients = r }, out;
		while (in.n < 3 && c->asked[in.n]) {
			r[in.n].address = str_of(c->asked[in.n]);
			in.n++;
		}
		EXPECT_OK(envelope_resolve(l, &in, &a, &out));
		EXPECT_STR(describe(&a, &out), c->got);
	}
	lookup_close(l);
	directory_close(d);
	disk_dir_close(&dir);
	test_dir_remove(path);
}
