/* Notes at mailboxes: limits, all or nothing, and that they are there after the account was opened again. */
#include "base/test.h"
#include "store/account_test.h"
#include "store/metadata.h"
#include "store/shared_names.h"

static enum err write_some(struct view *v, int from, int n, struct str value)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct metadata *m = arena_array(&a, (size_t)n, sizeof *m);

	for (int i = 0; i < n; i++)
		m[i] = (struct metadata){ arena_printf(&a, "/private/%04d", from + i), value };
	return metadata_write(v, 0, 0, m, (size_t)n);
}

TEST(limits_hold_for_all_or_nothing)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct metadata *all;
	struct str large = str_make(arena_alloc(&a, METADATA_VALUE_MAX), METADATA_VALUE_MAX);
	size_t n;

	EXPECT_OK(write_some(v, 0, METADATA_ENTRIES_MAX - 1, STR("x")));
	EXPECT_ERR(write_some(v, 200, 2, STR("x")), ERR_LIMIT);
	EXPECT_OK(metadata_read(v, 0, 0, &a, &all, &n));
	EXPECT_INT(n, METADATA_ENTRIES_MAX - 1);
	EXPECT_ERR(write_some(v, 0, METADATA_TOTAL_MAX / METADATA_VALUE_MAX, large), ERR_LIMIT);
	EXPECT_OK(write_some(v, 0, METADATA_TOTAL_MAX / METADATA_VALUE_MAX - 2, large));
	EXPECT_OK(write_some(v, 0, METADATA_ENTRIES_MAX - 2, STR_NONE));
	EXPECT_ERR(metadata_write(v, 999, 0, &(struct metadata){ STR("/private/x"), STR("x") }, 1), ERR_NOTFOUND);
	EXPECT_OK(view_close(v));
	v = open_account(dir);
	EXPECT_OK(metadata_read(v, 0, 0, &a, &all, &n));
	EXPECT_INT(n, 1);
	EXPECT_STR(all[0].entry, "/private/0098");
	EXPECT_STR(all[0].value, "x");
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

/* RFC 7162 §3.2: who asks a mailbox for HIGHESTMODSEQ sees that there is something new. */
TEST(a_change_is_one_of_its_mailbox)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct mailbox before, after;
	struct metadata *all;
	size_t n;

	EXPECT_OK(view_mailbox_find(v, STR("INBOX"), &a, &before));
	EXPECT_OK(metadata_write(v, before.mailbox_id, 0, &(struct metadata){ STR("/private/comment"), STR("x") }, 1));
	EXPECT_OK(view_publish(v));
	EXPECT_OK(view_mailbox_find(v, STR("INBOX"), &a, &after));
	EXPECT(after.highestmodseq > before.highestmodseq);
	EXPECT_OK(metadata_write(v, 0, 0, &(struct metadata){ STR("/private/comment"), STR("y") }, 1));
	EXPECT_OK(metadata_write(v, 2, 0, (struct metadata[]){ { STR("/private/b"), STR("2") }, { STR("/private/a"), STR("1") } }, 2));
	EXPECT_OK(view_close(v));
	v = open_account(dir);
	EXPECT_OK(view_mailbox_find(v, STR("INBOX"), &a, &before));
	EXPECT_INT(before.highestmodseq, after.highestmodseq);
	EXPECT_OK(metadata_read_all(v, 0, &a, &all, &n));
	EXPECT_INT(n, 4);
	EXPECT(all[0].mailbox_id == 0 && all[1].mailbox_id == before.mailbox_id && all[2].mailbox_id == 2 && all[3].mailbox_id == 2);
	EXPECT_STR(all[2].entry, "/private/a");
	EXPECT_STR(all[3].value, "2");
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

static size_t count(struct view *v, uint64_t guest)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct metadata *all;
	size_t n;

	EXPECT_OK(metadata_read(v, 0, guest, &a, &all, &n));
	return n;
}

/* What a guest notes for himself nobody else sees, and it takes nothing of what is the owner's. */
TEST(guests_have_their_own)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct str large = str_make(arena_alloc(&a, METADATA_VALUE_MAX), METADATA_VALUE_MAX);
	struct metadata *all, x[4];
	size_t n;

	EXPECT_OK(metadata_write(v, 0, 0, &(struct metadata){ STR("/private/x"), STR("owner") }, 1));
	EXPECT_OK(metadata_write(v, 0, 7, &(struct metadata){ STR("/private/x"), STR("seven") }, 1));
	EXPECT_OK(metadata_write(v, 0, 7, &(struct metadata){ STR("/shared/y"), STR("for all") }, 1));
	EXPECT_OK(metadata_read(v, 0, 7, &a, &all, &n));
	EXPECT_INT(n, 2);
	EXPECT_STR(all[0].entry, "/private/x");
	EXPECT_STR(all[0].value, "seven");
	EXPECT_STR(all[1].value, "for all");
	EXPECT_INT(count(v, 0), 2);
	EXPECT_INT(count(v, 77), 1);  /* not 7 */
	for (int i = 0; i < 4; i++)
		x[i] = (struct metadata){ arena_printf(&a, "/private/%d", i), large };
	EXPECT_ERR(metadata_write(v, 0, 7, x, 4), ERR_LIMIT);
	EXPECT_OK(metadata_write(v, 0, 7, x, 3));
	for (int i = 0; i < METADATA_TOTAL_MAX / METADATA_VALUE_MAX / 3; i++)
		if (metadata_write(v, 0, 100 + (uint64_t)i, x, 3) != ERR_OK)
			EXPECT(i > 18);  /* all guests together */
	EXPECT_OK(metadata_write(v, 0, 0, x, 4));
	EXPECT_OK(metadata_write(v, 0, 7, &(struct metadata){ STR("/private/x"), STR_NONE }, 1));
	EXPECT_INT(count(v, 7), 4);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

TEST(what_others_share_is_kept)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct shared_names *all;
	size_t n;

	for (uint64_t owner = 1; owner <= SHARED_NAMES_OWNERS_MAX; owner++)
		EXPECT_OK(shared_names_write(v, &(struct shared_names){ owner, STR("alice@x"), STR("old") }));
	EXPECT_ERR(shared_names_write(v, &(struct shared_names){ 999, STR("bob@x"), STR("y") }), ERR_LIMIT);
	EXPECT_ERR(shared_names_write(v, &(struct shared_names){ 5, STR("bob@x"), str_make(arena_alloc(&a, SHARED_NAMES_MAX + 1), SHARED_NAMES_MAX + 1) }), ERR_LIMIT);
	EXPECT_OK(shared_names_write(v, &(struct shared_names){ 5, STR("bob@x"), STR("new") }));
	EXPECT_OK(shared_names_write(v, &(struct shared_names){ .owner = 4 }));
	EXPECT_OK(view_close(v));
	v = open_account(dir);
	EXPECT_OK(shared_names_read(v, &a, &all, &n));
	EXPECT_INT(n, SHARED_NAMES_OWNERS_MAX - 1);
	EXPECT_INT(all[3].owner, 5);
	EXPECT_STR(all[3].address, "bob@x");
	EXPECT_STR(all[3].names, "new");
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}
