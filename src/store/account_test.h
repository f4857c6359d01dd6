/* An account of its own for a test of the store: account 7, in a folder of test_dir(). */
#ifndef FACTEUR_STORE_ACCOUNT_TEST_H
#define FACTEUR_STORE_ACCOUNT_TEST_H
#include "base/test.h"
#include "store/view.h"

static inline struct view *open_account(const char *dir)
{
	struct view_config config = { .account = 7 };
	struct view *v = NULL;

	EXPECT_OK(view_open(dir, &config, &v));
	return v;
}

static inline int64_t inbox_of(struct view *v)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &m));
	return m.mailbox_id;
}
#endif
