/* What tests of the store do with messages, in an account with French names. */
#ifndef FACTEUR_STORE_MESSAGES_TEST_H
#define FACTEUR_STORE_MESSAGES_TEST_H
#include "store/account_test.h"

static inline struct view *open_french(const char *dir)
{
	struct view_config config = { .account = 7, .french = true };
	struct view *v = NULL;

	EXPECT_OK(view_open(dir, &config, &v));
	return v;
}

static inline struct appended add(struct view *v, int64_t mailbox_id, const char *text, uint64_t flags)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .mailbox_id = mailbox_id, .internal_date = 1700000000, .flags = flags };
	struct append *ap;
	struct appended *done;
	size_t n;

	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_OK(append_write(ap, str_of(text)));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	EXPECT_INT(n, 1);
	return done[0];
}

static inline struct mailbox get(struct view *v, int64_t mailbox_id, struct arena *a)
{
	struct mailbox m = { 0 };

	EXPECT_OK(view_mailbox_get(v, mailbox_id, a, &m));
	return m;
}

static inline void store(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last, enum flags_op op, uint64_t flags)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };
	struct flags_change change = { .op = op, .flags = flags };

	uid_set_add(&set, &a, first, last);
	EXPECT_OK(view_store_flags(v, mailbox_id, &set, &change, &a, NULL, NULL));
}

static inline void expunge(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };

	uid_set_add(&set, &a, first, last);
	EXPECT_OK(view_expunge(v, mailbox_id, &set, false, &a, NULL));
}
#endif
