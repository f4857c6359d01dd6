#include "base/clock.h"
#include "store/messages_test.h"
#include "store/store_private.h"

static const char *names_of(struct view *v, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(10000);
	struct mailbox *boxes;
	size_t n;

	EXPECT_OK(view_mailboxes(v, a, &boxes, &n));
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s%.*s", i ? " " : "", boxes[i].has_children ? "+" : "", STR_ARG(boxes[i].path));
	return str_cstr(a, buf_str(&b));
}

TEST(new_account_has_its_special_mailboxes_and_they_stay)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct mailbox m;
	bool subscribed;

	EXPECT_STR(str_of(names_of(v, &a)), "INBOX Archives Brouillons Corbeille Envoyés Indésirables");
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_SENT, &a, &m));
	EXPECT_STR(m.path, "Envoyés");
	EXPECT_OK(view_mailbox_find(v, m.path, &a, &m));
	EXPECT_OK(view_is_subscribed(v, m.path, &subscribed));
	EXPECT(subscribed);
	EXPECT_OK(view_mailbox_find(v, STR("inbox"), &a, &m));
	EXPECT_STR(m.path, "INBOX");
	view_close(v);
	v = open_french(dir);
	EXPECT_STR(str_of(names_of(v, &a)), "INBOX Archives Brouillons Corbeille Envoyés Indésirables");
	view_close(v);
	test_dir_remove(dir);
}

TEST(names_of_mailboxes)
{
	static const struct { const char *path; enum err e; } cases[] = {
		{ "Travail/Été", ERR_OK },
		{ "Travail", ERR_EXISTS },          /* made as the parent */
		{ "Travail/Été/", ERR_EXISTS },     /* one '/' at the end does not count */
		{ "a//b", ERR_INVALID },
		{ "/a", ERR_INVALID },
		{ "", ERR_INVALID },
		{ "x\x01y", ERR_INVALID },
		{ "bad\xff", ERR_INVALID },
		{ "c1\xc2\x85", ERR_INVALID },     /* U+0085, a control */
		{ "line\xe2\x80\xa8", ERR_INVALID },
		{ "par\xe2\x80\xa9", ERR_INVALID },
		{ "nbsp\xc2\xa0", ERR_OK },
		{ "iNbOx", ERR_EXISTS },
		{ "inbox/x", ERR_OK },
		{ "INBOX/x", ERR_EXISTS },
		{ "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21", ERR_INVALID },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);

	EACH(cases, c) EXPECT_ERR(view_mailbox_create(v, str_of(c->path), MAILBOX_PLAIN, &a, NULL), c->e);
	view_close(v);
	test_dir_remove(dir);
}

/* "é" in one character, and as "e" with an accent of its own. */
#define COMPOSED "caf\xc3\xa9"
#define APART    "cafe\xcc\x81"

TEST(names_are_composed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct mailbox m, found;

	EXPECT_OK(view_mailbox_create(v, STR(APART "/" APART), MAILBOX_PLAIN, &a, &m));
	EXPECT_STR(m.path, COMPOSED "/" COMPOSED);
	EXPECT_ERR(view_mailbox_create(v, STR(COMPOSED "/" APART), MAILBOX_PLAIN, &a, NULL), ERR_EXISTS);
	EXPECT_OK(view_mailbox_find(v, STR(APART "/" COMPOSED), &a, &found));
	EXPECT_INT(found.mailbox_id, m.mailbox_id);
	EXPECT_OK(view_mailbox_rename(v, STR(APART), STR(APART "2")));
	EXPECT_OK(view_mailbox_find(v, STR(COMPOSED "2/" APART), &a, &found));
	EXPECT_ERR(view_mailbox_rename(v, STR(APART "2"), STR(COMPOSED "2")), ERR_EXISTS);
	EXPECT_OK(view_mailbox_delete(v, STR(APART "2/" APART)));
	view_close(v);
	test_dir_remove(dir);
}

static void rename_row(struct view *v, struct str path, struct str to)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, "UPDATE mailbox SET path = ?1 WHERE path = ?2");

	stmt_bind_text(q, 1, to);
	stmt_bind_text(q, 2, path);
	EXPECT_OK(stmt_done(q));
	EXPECT_INT(db_changes(v->db), 1);
}

/* From before names were composed. */
TEST(an_account_with_both_forms_of_a_name_has_two_mailboxes)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct mailbox m, one, other;

	EXPECT_OK(view_mailbox_create(v, STR(COMPOSED), MAILBOX_PLAIN, &a, &one));
	EXPECT_OK(view_mailbox_create(v, STR("x"), MAILBOX_PLAIN, &a, &other));
	rename_row(v, STR("x"), STR(APART));
	view_close(v);
	v = open_french(dir);
	EXPECT_OK(view_mailbox_find(v, STR(COMPOSED), &a, &m));
	EXPECT_INT(m.mailbox_id, one.mailbox_id);
	EXPECT_OK(view_mailbox_find(v, STR(APART), &a, &m));
	EXPECT_INT(m.mailbox_id, other.mailbox_id);
	EXPECT_ERR(view_mailbox_create(v, STR(APART), MAILBOX_PLAIN, &a, NULL), ERR_EXISTS);
	EXPECT_ERR(view_mailbox_rename(v, STR(APART), STR(COMPOSED)), ERR_EXISTS);
	/* what is made in one of them stays in it */
	EXPECT_OK(view_mailbox_create(v, STR(APART "/" APART), MAILBOX_PLAIN, &a, &m));
	EXPECT_STR(m.path, APART "/" COMPOSED);
	EXPECT_OK(view_mailbox_create(v, STR(COMPOSED "/" APART), MAILBOX_PLAIN, &a, &m));
	EXPECT_STR(m.path, COMPOSED "/" COMPOSED);
	EXPECT_OK(view_mailbox_delete(v, STR(COMPOSED "/" COMPOSED)));
	EXPECT_OK(view_mailbox_delete(v, STR(COMPOSED)));
	/* now there is one, and any form of its name finds it; it may be given the other one */
	EXPECT_OK(view_mailbox_find(v, STR(COMPOSED), &a, &m));
	EXPECT_INT(m.mailbox_id, other.mailbox_id);
	EXPECT_OK(view_mailbox_rename(v, STR(APART), STR(COMPOSED)));
	EXPECT_OK(view_mailbox_get(v, other.mailbox_id, &a, &m));
	EXPECT_STR(m.path, COMPOSED);
	EXPECT_OK(view_mailbox_find(v, STR(APART "/" APART), &a, &m));
	EXPECT_STR(m.path, COMPOSED "/" COMPOSED);
	view_close(v);
	test_dir_remove(dir);
}

TEST(rename_takes_the_children_and_subscriptions_along)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct mailbox before, after;
	bool subscribed;

	EXPECT_OK(view_mailbox_create(v, STR("a/b/c"), MAILBOX_PLAIN, &a, &before));
	EXPECT_OK(view_mailbox_create(v, STR("a b"), MAILBOX_PLAIN, &a, NULL));
	EXPECT_OK(view_subscribe(v, STR("a/b/c"), true));
	EXPECT_ERR(view_mailbox_rename(v, STR("a"), STR("a/x")), ERR_INVALID);
	EXPECT_ERR(view_mailbox_rename(v, STR("a"), STR("a b")), ERR_EXISTS);
	EXPECT_ERR(view_mailbox_rename(v, STR("nope"), STR("z")), ERR_NOTFOUND);
	EXPECT_OK(view_mailbox_rename(v, STR("a"), STR("y/z")));
	EXPECT_OK(view_mailbox_find(v, STR("y/z/b/c"), &a, &after));
	EXPECT_OK(view_is_subscribed(v, after.path, &subscribed));
	EXPECT(subscribed);
	EXPECT_INT(after.mailbox_id, before.mailbox_id);
	EXPECT_INT(after.uidvalidity, before.uidvalidity);
	EXPECT_ERR(view_mailbox_find(v, STR("a"), &a, &after), ERR_NOTFOUND);
	EXPECT_ERR(view_mailbox_delete(v, STR("y/z")), ERR_CONFLICT);
	EXPECT_ERR(view_mailbox_delete(v, STR("INBOX")), ERR_DENIED);
	EXPECT_OK(view_mailbox_delete(v, STR("y/z/b/c")));
	EXPECT_STR(str_of(names_of(v, &a)), "INBOX Archives Brouillons Corbeille Envoyés Indésirables a b +y +y/z y/z/b");
	/* the same name again is another mailbox */
	EXPECT_OK(view_mailbox_create(v, STR("y/z/b/c"), MAILBOX_PLAIN, &a, &after));
	EXPECT(after.mailbox_id != before.mailbox_id && after.uidvalidity > before.uidvalidity);
	/* a role goes from one to another, and stays there */
	EXPECT_ERR(view_mailbox_set_role(v, after.mailbox_id, MAILBOX_SENT), ERR_CONFLICT);
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_SENT, &a, &before));
	EXPECT_OK(view_mailbox_set_role(v, before.mailbox_id, MAILBOX_PLAIN));
	EXPECT_OK(view_mailbox_set_role(v, after.mailbox_id, MAILBOX_SENT));
	EXPECT_ERR(view_mailbox_set_role(v, 999, MAILBOX_SENT), ERR_NOTFOUND);
	view_close(v);
	v = open_french(dir);
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_SENT, &a, &before));
	EXPECT_STR(before.path, "y/z/b/c");
	EXPECT_STR(str_of(names_of(v, &a)),
			   "INBOX Archives Brouillons Corbeille Envoyés Indésirables a b +y +y/z +y/z/b y/z/b/c");
	view_close(v);
	test_dir_remove(dir);
}

TEST(renaming_inbox_moves_its_messages)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct mailbox m;

	add(v, inbox_of(v), "Subject: 1\r\n\r\n", 0);
	add(v, inbox_of(v), "Subject: 2\r\n\r\n", FLAG_SEEN);
	EXPECT_OK(view_mailbox_rename(v, STR("inbox"), STR("Old")));
	EXPECT_OK(view_mailbox_find(v, STR("Old"), &a, &m));
	EXPECT_INT(m.messages, 2);
	EXPECT_INT(m.unseen, 1);
	EXPECT_INT(get(v, inbox_of(v), &a).messages, 0);
	EXPECT_INT(get(v, inbox_of(v), &a).uidnext, 3);  /* never reused */
	view_close(v);
	test_dir_remove(dir);
}

static struct view *open_put_back(const char *dir, int64_t put_back_s)
{
	struct view_config config = { .account = 7, .put_back_s = put_back_s };
	struct view *v = NULL;

	EXPECT_OK(view_open(dir, &config, &v));
	return v;
}

/* What mail programs know of uids that the copy does not have, they must not take for what comes now. */
TEST(an_account_that_was_put_back_from_a_copy_has_new_uidvalidities)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct selected_state parked;
	struct selected *s;
	struct mailbox *before, *after, made;
	size_t n, n_after;

	add(v, inbox_of(v), "Subject: x\r\n\r\nx\r\n", 0);
	EXPECT_OK(selected_open(v, inbox_of(v), NULL, &s));
	selected_state(s, &parked);
	selected_close(s);
	EXPECT_OK(view_mailboxes(v, &a, &before, &n));
	EXPECT_OK(view_close(v));
	int64_t put_back_s = clock_wall_s() + 3600;

	v = open_put_back(dir, put_back_s);  /* a time that has not come yet is a mistake */
	EXPECT_INT(get(v, inbox_of(v), &a).uidvalidity, before[0].uidvalidity);
	EXPECT_OK(view_close(v));

	clock_wall_offset(3601);
	v = open_put_back(dir, put_back_s);
	EXPECT_OK(view_mailboxes(v, &a, &after, &n_after));
	EXPECT_INT(n_after, n);
	for (size_t i = 0; i < n; i++) {
		EXPECT(after[i].uidvalidity >= put_back_s);
		EXPECT_INT(after[i].uidnext, before[i].uidnext);
		for (size_t k = 0; k < i; k++)  /* one that is deleted may be followed by another one of its name */
			EXPECT(after[i].uidvalidity != after[k].uidvalidity);
	}
	EXPECT_INT(get(v, inbox_of(v), &a).messages, 1);
	EXPECT_ERR(selected_open(v, inbox_of(v), &parked, &s), ERR_CONFLICT);
	EXPECT_OK(view_mailbox_create(v, STR("new"), MAILBOX_PLAIN, &a, &made));
	for (size_t i = 0; i < n; i++)
		EXPECT(made.uidvalidity > after[i].uidvalidity);
	view_close_unclean(v);

	v = open_put_back(dir, put_back_s);  /* once */
	for (size_t i = 0; i < n; i++)
		EXPECT_INT(get(v, after[i].mailbox_id, &a).uidvalidity, after[i].uidvalidity);
	EXPECT_INT(get(v, made.mailbox_id, &a).uidvalidity, made.uidvalidity);
	EXPECT_OK(view_close(v));
	clock_wall_offset(0);
	test_dir_remove(dir);
}

struct meddler {
	struct view *v;
	bool         is_on;
	int64_t      mailbox_id;
	enum err     created, renamed, appended;
};

static enum err try_append(struct view *v, int64_t mailbox_id)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(append_abandon) struct append *ap = NULL;
	const struct append_new in = { .mailbox_id = mailbox_id, .internal_date = 1 };
	struct appended *done;
	size_t n;

	TRY(append_begin(v, &ap));
	TRY(append_message(ap, &in, 1));
	TRY(append_write(ap, STR("x")));
	TRY(append_end(ap));
	return append_commit(&ap, &a, &done, &n);
}

/* Another session, while the one that deletes waits for the disk. */
static void meddle(void *context)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct meddler *m = context;

	if (!m->is_on)
		return;
	m->is_on = false;
	m->created = view_mailbox_create(m->v, STR("Old/New"), MAILBOX_PLAIN, &a, NULL);
	m->renamed = view_mailbox_rename(m->v, STR("Old"), STR("Kept"));
	m->appended = try_append(m->v, m->mailbox_id);
}

/* Or all its messages were erased, and DELETE answered that it could not be done, or was done to what somebody had renamed to keep it, or to
 * mail that had just come. */
TEST(one_that_is_being_deleted_gets_nothing_more_and_keeps_its_name)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct meddler m = { 0 };
	struct view_config config = { .account = 7, .on_wait = meddle, .context = &m };
	struct mailbox old;

	EXPECT_OK(view_open(dir, &config, &m.v));
	EXPECT_OK(view_mailbox_create(m.v, STR("Old"), MAILBOX_PLAIN, &a, &old));
	add(m.v, old.mailbox_id, "Subject: x\r\n\r\nx\r\n", 0);
	m.mailbox_id = old.mailbox_id;
	m.is_on = true;
	EXPECT_OK(view_mailbox_delete(m.v, STR("Old")));
	EXPECT_INT(m.created, ERR_AGAIN);
	EXPECT_INT(m.renamed, ERR_AGAIN);
	EXPECT_INT(m.appended, ERR_NOTFOUND);
	EXPECT_ERR(view_mailbox_find(m.v, STR("Old"), &a, &old), ERR_NOTFOUND);
	EXPECT_ERR(view_mailbox_find(m.v, STR("Kept"), &a, &old), ERR_NOTFOUND);
	EXPECT_OK(view_mailbox_create(m.v, STR("Old/New"), MAILBOX_PLAIN, &a, NULL));
	EXPECT_OK(view_close(m.v));
	test_dir_remove(dir);
}
