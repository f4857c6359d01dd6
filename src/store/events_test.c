/* What a session that watches mailboxes hears: which have news, and of what kind; what became of their names; and that it is told to look
 * anew when more happened than is kept. */
#include "store/account_test.h"
#include "store/events.h"
#include "base/test.h"
#include "store/metadata.h"

static int64_t id_of(struct view *v, const char *path)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	EXPECT_OK(view_mailbox_find(v, str_of(path), &a, &m));
	return m.mailbox_id;
}

static void add(struct view *v, const char *path)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .mailbox_id = id_of(v, path), .internal_date = 1700000000 };
	struct append *ap;
	struct appended *done;
	size_t n;

	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_OK(append_write(ap, STR("Subject: x\r\n\r\n")));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
}

static void flag(struct view *v, const char *path)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct flags_change change = { .op = FLAGS_ADD, .flags = FLAG_SEEN };
	struct uid_set all = { 0 };

	uid_set_add(&all, &a, 1, UINT32_MAX);
	EXPECT_OK(view_store_flags(v, id_of(v, path), &all, &change, &a, NULL, NULL));
}

/* "INBOX new, Trash flags gone" */
static struct str messages_since(struct view *v, uint64_t since, struct arena *a)
{
	struct mailbox_news *news;
	struct str out = STR("");
	size_t n;

	events_messages(v, since, a, &news, &n);
	for (size_t i = 0; i < n; i++)
		out = arena_printf(a, STR_FMT "%s" STR_FMT "%s%s%s", STR_ARG(out), i ? ", " : "", STR_ARG(news[i].m.path), news[i].has_new ? " new" : "",
		                   news[i].has_flags ? " flags" : "", news[i].has_gone ? " gone" : "");
	return out;
}

static struct str mailboxes_since(struct view *v, uint64_t since, struct arena *a)
{
	static const char *const kinds[] = { "created", "deleted", "renamed", "subscription", "metadata" };
	struct event *events;
	struct str out = STR("");
	size_t n;

	EXPECT_OK(events_mailboxes(v, since, a, &events, &n));
	for (size_t i = 0; i < n; i++)
		out = arena_printf(a, STR_FMT "%s%s " STR_FMT "(" STR_FMT ")", STR_ARG(out), i ? ", " : "", kinds[events[i].kind],
		                   STR_ARG(events[i].path), STR_ARG(events[i].more));
	return out;
}

TEST(which_mailboxes_have_news_and_what)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	uint64_t start = view_modseq(v), later;

	EXPECT_STR(messages_since(v, start, &a), "");
	add(v, "INBOX");
	EXPECT(events_own(v) == view_modseq(v));
	EXPECT_STR(messages_since(v, start, &a), "INBOX new");
	later = view_modseq(v);
	flag(v, "INBOX");
	add(v, "Trash");
	EXPECT_STR(messages_since(v, start, &a), "INBOX new flags, Trash new");
	EXPECT_STR(messages_since(v, later, &a), "INBOX flags, Trash new");
	later = view_modseq(v);
	EXPECT_OK(view_expunge(v, id_of(v, "INBOX"), NULL, false, &a, NULL));
	EXPECT_STR(messages_since(v, later, &a), "INBOX gone");
	EXPECT_OK(view_close(v));
	/* after an opening nobody knows any more what it was, so it may have been anything */
	v = open_account(dir);
	EXPECT_STR(messages_since(v, later, &a), "INBOX new flags gone");
	EXPECT_STR(messages_since(v, view_modseq(v), &a), "");
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

TEST(what_became_of_names)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	uint64_t start = view_modseq(v);
	const struct metadata notes[] = { { STR("/private/a"), STR("1") }, { STR("/private/b"), STR_NONE } };
	struct event *events;
	size_t n;

	EXPECT_STR(mailboxes_since(v, start, &a), "");
	EXPECT_OK(view_mailbox_create(v, STR("a/b"), MAILBOX_PLAIN, &a, NULL));
	EXPECT_STR(mailboxes_since(v, start, &a), "created a(), created a/b()");
	EXPECT_ERR(view_mailbox_create(v, STR("a/b"), MAILBOX_PLAIN, &a, NULL), ERR_EXISTS);
	start = view_modseq(v);
	EXPECT_OK(view_mailbox_rename(v, STR("a"), STR("c")));
	EXPECT_OK(view_subscribe(v, STR("c/b"), true));
	EXPECT_OK(metadata_write(v, id_of(v, "c"), 0, notes, 2));
	EXPECT_OK(metadata_write(v, 0, 0, notes, 1));
	EXPECT_OK(view_mailbox_delete(v, STR("c/b")));
	EXPECT_STR(mailboxes_since(v, start, &a), "renamed c(a), subscription c/b(), metadata c(/private/a /private/b), metadata (/private/a), deleted c/b()");
	/* more than is kept */
	for (int i = 0; i < 300; i++)
		EXPECT_OK(view_subscribe(v, STR("x"), i & 1));
	EXPECT_ERR(events_mailboxes(v, start, &a, &events, &n), ERR_CONFLICT);
	EXPECT_OK(events_mailboxes(v, view_modseq(v) - 10, &a, &events, &n));
	EXPECT_INT(n, 10);
	start = view_modseq(v);
	EXPECT_OK(view_close(v));
	v = open_account(dir);
	EXPECT_STR(mailboxes_since(v, start, &a), "");  /* nothing was missed */
	EXPECT_ERR(events_mailboxes(v, start - 1, &a, &events, &n), ERR_CONFLICT);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}
