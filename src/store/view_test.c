#include "base/clock.h"
#include "base/test.h"
#include "mime/summary.h"
#include "store/account_test.h"
#include "store/delivered.h"
#include "store/gist.h"
#include "store/store_private.h"
#include <stdio.h>
#include <unistd.h>

static struct view *open_french(const char *dir)
{
	struct view_config config = { .account = 7, .french = true };
	struct view *v = NULL;

	EXPECT_OK(view_open(dir, &config, &v));
	return v;
}

static struct appended add(struct view *v, int64_t mailbox_id, const char *text, uint64_t flags)
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

static struct mailbox get(struct view *v, int64_t mailbox_id, struct arena *a)
{
	struct mailbox m = { 0 };

	EXPECT_OK(view_mailbox_get(v, mailbox_id, a, &m));
	return m;
}

static void store(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last, enum flags_op op, uint64_t flags)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };
	struct flags_change change = { .op = op, .flags = flags };

	uid_set_add(&set, &a, first, last);
	EXPECT_OK(view_store_flags(v, mailbox_id, &set, &change, &a, NULL, NULL));
}

static void expunge(struct view *v, int64_t mailbox_id, uint32_t first, uint32_t last)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };

	uid_set_add(&set, &a, first, last);
	EXPECT_OK(view_expunge(v, mailbox_id, &set, false, &a, NULL));
}

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

static size_t shared_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[1000], rights[5];
	size_t n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps) != NULL)
		n += sscanf(line, "%*s %4s", rights) == 1 && rights[3] == 's';
	fclose(maps);
	return n;
}

/* A cell that somebody has taken over may make any memory writable: what it changes must be its own, not what the next accounts begin with. The first test: no
 * account was made yet. */
TEST(what_new_accounts_begin_with_is_shared_with_no_cell)
{
	const char *dir = test_dir();
	size_t before = shared_mappings();

	view_preload();
	EXPECT_INT(shared_mappings(), before);
	EXPECT_OK(view_close(open_french(dir)));
	test_dir_remove(dir);
}

TEST(expunge_takes_what_is_deleted_and_named_and_nothing_between)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct uid_set named = { 0 }, gone;
	struct selected *s = NULL;

	for (uint32_t i = 1; i <= 60; i++)
		add(v, inbox, "Subject: x\r\n\r\n", i <= 2 || i == 5 || i == 9 || i == 50 || i == 59 ? FLAG_DELETED : 0);
	for (int with_array = 0; with_array < 2; with_array++) {  /* looked up in the table, and in memory */
		if (with_array)
			EXPECT_OK(selected_open(v, inbox, NULL, &s));
		named = (struct uid_set){ 0 };
		uid_set_add(&named, &a, with_array ? 6 : 2, with_array ? 55 : 8);
		EXPECT_OK(view_expunge(v, inbox, &named, true, &a, &gone));
		EXPECT_STR(str_of(uid_set_text(&gone, &a)), with_array ? "9,50" : "2,5");
	}
	EXPECT_OK(view_expunge(v, inbox, NULL, true, &a, &gone));
	EXPECT_STR(str_of(uid_set_text(&gone, &a)), "1,59");
	EXPECT_INT(get(v, inbox, &a).messages, 54);
	selected_close(s);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
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

TEST(append_and_read_back)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct appended one = add(v, inbox_of(v), "Subject: hello\r\n\r\nbody\r\n", FLAG_SEEN | FLAG_KEYWORD(0));
	struct mailbox m = get(v, inbox_of(v), &a);
	struct summary s;
	struct body body;
	char text[100];

	EXPECT_INT(one.uid, 1);
	EXPECT_INT(m.messages, 1);
	EXPECT_INT(m.unseen, 0);
	EXPECT_INT(m.size, 24);
	EXPECT_OK(view_summaries(v, &one.email, 1, true, &a, &s));
	EXPECT_INT(s.size, 24);
	EXPECT_INT(s.received, 1700000000);
	EXPECT_OK(body_open(v, one.email, &body));
	EXPECT_OK(body_read(&body, 9, text, 5));
	EXPECT_STR(str_make(text, 5), "hello");
	EXPECT_ERR(body_read(&body, 20, text, 5), ERR_INVALID);
	body_close(&body);
	view_close(v);
	v = open_french(dir);
	EXPECT_OK(body_open(v, one.email, &body));
	EXPECT_INT(body.size, 24);
	body_close(&body);
	view_close(v);
	test_dir_remove(dir);
}

/* Long ones go to a file of their own as they come. */
TEST(long_message)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf chunk = BUF(200000);
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct append_new in = { .mailbox_id = inbox_of(v) };
	struct appended *done;
	struct append *ap;
	struct body body;
	char text[8];
	size_t n;

	for (int i = 0; i < 10000; i++)
		buf_printf(&chunk, "line number %04d\r\n", i);
	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 0));
	for (int i = 0; i < 20; i++)
		EXPECT_OK(append_write(ap, buf_str(&chunk)));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_message(ap, &in, 0));  /* abandoned in the middle */
	for (int i = 0; i < 20; i++)
		EXPECT_OK(append_write(ap, buf_str(&chunk)));
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	EXPECT_INT(n, 1);
	EXPECT_OK(body_open(v, done[0].email, &body));
	EXPECT_INT(body.size, 20 * chunk.n);
	EXPECT_OK(body_read(&body, 19 * chunk.n + 12, text, 4));
	EXPECT_STR(str_make(text, 4), "0000");
	body_close(&body);
	add(v, in.mailbox_id, "after it\r\n", 0);
	view_close(v);
	v = open_french(dir);
	EXPECT_INT(get(v, in.mailbox_id, &a).messages, 2);
	EXPECT_OK(body_open(v, done[0].email, &body));
	body_close(&body);
	view_close(v);
	test_dir_remove(dir);
}

/* However they are mixed: short ones are written together, many at a time, long ones alone, and each is found where its row says. */
TEST(short_messages_around_a_long_one)
{
	enum { BEFORE = 255, ALL = 700 };
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf chunk = BUF(200000);
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct append_new in = { .mailbox_id = inbox_of(v) };
	struct appended *done;
	struct append *ap;
	size_t n;

	for (int i = 0; i < 10000; i++)
		buf_printf(&chunk, "line number %04d\r\n", i);
	EXPECT_OK(append_begin(v, &ap));
	for (int i = 0; i < ALL; i++) {
		EXPECT_OK(append_message(ap, &in, 0));
		EXPECT_OK(append_write(ap, arena_printf(&a, "%04d\r\n", i)));
		for (int j = 0; i == BEFORE && j < 10; j++)
			EXPECT_OK(append_write(ap, buf_str(&chunk)));
		EXPECT_OK(append_end(ap));
	}
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	EXPECT_INT(n, ALL);
	for (size_t i = 0; i < n; i++) {
		struct body body;
		char text[4];
		EXPECT_OK(body_open(v, done[i].email, &body));
		EXPECT_OK(body_read(&body, 0, text, 4));
		EXPECT_STR(str_make(text, 4), str_cstr(&a, arena_printf(&a, "%04d", (int)i)));
		body_close(&body);
	}
	view_close(v);
	test_dir_remove(dir);
}

TEST(what_is_refused_leaves_nothing)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct append_new in = { .mailbox_id = inbox_of(v) };
	struct append_new nowhere = { .mailbox_id = 999 };
	struct append *ap;
	struct appended *done;
	size_t n;

	view_set_limits(v, &(struct view_limits){ .quota_bytes = 100, .message_size_max = 50 });
	EXPECT_OK(append_begin(v, &ap));
	EXPECT_ERR(append_message(ap, &nowhere, 0), ERR_NOTFOUND);
	EXPECT_ERR(append_message(ap, &in, 51), ERR_LIMIT);
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_ERR(append_write(ap, STR("123456789012345678901234567890123456789012345678901")), ERR_LIMIT);
	EXPECT_ERR(append_end(ap), ERR_LIMIT);
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_ERR(append_write(ap, STR("a\0b")), ERR_INVALID);
	EXPECT_ERR(append_end(ap), ERR_INVALID);
	EXPECT_OK(append_message(ap, &in, 0));
	EXPECT_ERR(append_end(ap), ERR_INVALID);  /* empty */
	for (int i = 0; i < 2; i++) {
		EXPECT_OK(append_message(ap, &in, 45));
		EXPECT_OK(append_write(ap, STR("123456789012345678901234567890123456789012345")));
		EXPECT_OK(append_end(ap));
	}
	EXPECT_ERR(append_message(ap, &in, 20), ERR_QUOTA);
	view_set_limits(v, &(struct view_limits){ .quota_bytes = 80, .message_size_max = 50 });  /* smaller while they were on their way: none of them comes in */
	EXPECT_ERR(append_commit(&ap, &a, &done, &n), ERR_QUOTA);
	EXPECT_INT(get(v, in.mailbox_id, &a).messages, 0);
	EXPECT_INT(get(v, in.mailbox_id, &a).uidnext, 1);
	view_close(v);
	test_dir_remove(dir);
}

/* RFC 9208 §5.2, §5.3 */
TEST(limits_of_messages_and_mailboxes)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct append_new in = { .mailbox_id = inbox };
	struct uid_set first = { 0 };
	struct append *ap;
	struct appended *done;
	struct copied copied;
	struct mailbox trash;
	struct quota q;
	uint32_t restored;
	size_t n;

	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_TRASH, &a, &trash));
	uid_set_add(&first, &a, 1, 1);
	view_set_limits(v, &(struct view_limits){ .messages_max = 3, .mailboxes_max = 8 });
	add(v, inbox, "1", 0);
	add(v, inbox, "2", 0);
	EXPECT_OK(view_copy(v, inbox, &first, trash.mailbox_id, &a, &copied));
	EXPECT_ERR(view_copy(v, inbox, &first, trash.mailbox_id, &a, &copied), ERR_QUOTA);
	EXPECT_OK(append_begin(v, &ap));
	EXPECT_ERR(append_message(ap, &in, 1), ERR_QUOTA);
	append_replaces(ap, inbox, 2, 1);  /* one goes, one comes */
	EXPECT_OK(append_message(ap, &in, 1));
	EXPECT_OK(append_write(ap, STR("3")));
	EXPECT_OK(append_end(ap));
	EXPECT_ERR(append_message(ap, &in, 1), ERR_QUOTA);
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	EXPECT_OK(view_move(v, inbox, &first, trash.mailbox_id, &a, &copied));  /* a full account can be tidied */
	EXPECT_ERR(view_undelete(v, 0, 0, &restored), ERR_QUOTA);
	view_quota(v, &q);
	EXPECT_INT(q.messages, 3);
	EXPECT_INT(q.messages_max, 3);
	EXPECT_INT(q.percent, 100);
	EXPECT_INT(q.mailboxes, 6);
	view_set_limits(v, &(struct view_limits){ .messages_max = 4, .mailboxes_max = 8 });
	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 1));
	EXPECT_OK(append_write(ap, STR("4")));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit_later(&ap, &a, &done, &n));
	EXPECT(view_has_unseen(v));
	view_quota(v, &q);
	EXPECT(q.messages == 4 && q.percent == 100);  /* a delivery that nobody has seen yet */
	EXPECT_ERR(view_mailbox_create(v, STR("x/y/z"), MAILBOX_PLAIN, &a, NULL), ERR_QUOTA);  /* would be 9 */
	EXPECT_OK(view_mailbox_create(v, STR("x/y"), MAILBOX_PLAIN, &a, NULL));
	EXPECT_ERR(view_mailbox_create(v, STR("z"), MAILBOX_PLAIN, &a, NULL), ERR_QUOTA);
	EXPECT_ERR(view_mailbox_rename(v, STR("x/y"), STR("new/y")), ERR_QUOTA);
	EXPECT_OK(view_mailbox_rename(v, STR("x/y"), STR("z")));
	view_quota(v, &q);
	EXPECT_INT(q.mailboxes, 8);
	EXPECT_INT(q.mailboxes_max, 8);
	view_close(v);
	test_dir_remove(dir);
}

TEST(flags_and_counters)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct uid_set set = { 0 }, modified;
	struct flags_change change = { .op = FLAGS_ADD, .flags = FLAG_DELETED, .has_unchanged_since = true };
	struct mailbox m;
	uint64_t modseq, first;

	for (int i = 0; i < 5; i++)
		add(v, inbox, "x\r\n", 0);
	first = view_modseq(v);
	store(v, inbox, 2, 3, FLAGS_ADD, FLAG_SEEN | view_keyword(v, STR("$Forwarded"), true));
	m = get(v, inbox, &a);
	EXPECT_INT(m.unseen, 3);
	EXPECT_INT(m.highestmodseq, first + 1);
	store(v, inbox, 2, 3, FLAGS_ADD, FLAG_SEEN);  /* nothing changes: no modseq */
	EXPECT_INT(view_modseq(v), first + 1);
	uid_set_add(&set, &a, 1, UINT32_MAX);
	change.unchanged_since = first;
	EXPECT_OK(view_store_flags(v, inbox, &set, &change, &a, &modified, &modseq));
	EXPECT_STR(str_of(uid_set_text(&modified, &a)), "2:3");
	EXPECT_INT(modseq, first + 2);
	EXPECT_INT(get(v, inbox, &a).deleted, 3);
	EXPECT_OK(view_expunge(v, inbox, NULL, true, &a, &set));
	EXPECT_STR(str_of(uid_set_text(&set, &a)), "1,4:5");
	m = get(v, inbox, &a);
	EXPECT_INT(m.messages, 2);
	EXPECT_INT(m.deleted, 0);
	EXPECT_INT(m.unseen, 0);
	EXPECT(view_keyword(v, STR("$forwarded"), false) == FLAG_KEYWORD(0));
	EXPECT(view_keyword(v, STR("nope"), false) == 0);
	EXPECT(view_keyword(v, STR("not ok"), true) == 0);
	for (int i = 0; i < 60; i++) {
		char name[20];
		snprintf(name, sizeof name, "key%d", i);
		EXPECT((view_keyword(v, str_of(name), true) != 0) == (i < 57));
	}
	view_close(v);
	v = open_french(dir);
	EXPECT(view_keyword(v, STR("key56"), false) == FLAG_KEYWORD(57));
	view_close(v);
	test_dir_remove(dir);
}

TEST(a_session_keeps_its_numbers_until_it_is_told)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct selected *s, *other;
	struct message_row rows[10];
	struct news news;
	uint32_t next = 0;

	for (int i = 0; i < 6; i++)
		add(v, inbox, "x\r\n", 0);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	EXPECT_OK(selected_open(v, inbox, NULL, &other));
	EXPECT_INT(selected_count(s), 6);
	selected_news(s, true, &a, &news);
	EXPECT(news.n_removed == 0 && news.n_changed == 0 && !news.has_new);
	expunge(v, inbox, 2, 2);
	expunge(v, inbox, 4, 4);
	add(v, inbox, "new\r\n", 0);
	store(v, inbox, 5, 5, FLAGS_ADD, FLAG_SEEN);
	/* in the middle of a FETCH: nothing may be removed */
	EXPECT_INT(selected_uid(s, 5), 5);
	selected_news(s, false, &a, &news);
	EXPECT_INT(news.n_removed, 0);
	EXPECT_INT(news.exists, 7);
	EXPECT(news.has_new);
	EXPECT_INT(news.n_changed, 1);
	EXPECT_INT(news.changed[0].seq, 5);
	EXPECT_INT(selected_uid(s, 2), 2);  /* still counted */
	EXPECT_INT(selected_rows(s, NULL, 0, &next, rows, 10), 7);
	EXPECT(rows[1].flags & FLAG_GONE);
	EXPECT(selected_modseq(s) < view_modseq(v));  /* removals are held back */
	selected_news(s, true, &a, &news);
	EXPECT_INT(news.n_removed, 2);
	EXPECT_INT(news.removed[0].seq, 4);
	EXPECT_INT(news.removed[1].seq, 2);
	EXPECT_STR(str_of(uid_set_text(&news.vanished, &a)), "2,4");
	EXPECT_INT(news.exists, 5);
	EXPECT(!news.has_new);
	EXPECT_INT(selected_modseq(s), view_modseq(v));
	EXPECT_INT(selected_uid(s, 2), 3);
	EXPECT_INT(selected_seq(s, 7), 5);
	EXPECT_INT(selected_seq(s, 4), 0);
	/* the other one, all at once: numbers after the removals */
	EXPECT_INT(selected_count(other), 6);
	EXPECT_INT(selected_uid(other, 6), 6);
	selected_news(other, true, &a, &news);
	EXPECT_INT(news.exists, 5);
	EXPECT(news.has_new);
	EXPECT_INT(news.changed[0].seq, 3);
	selected_close(s);
	selected_close(other);
	view_close(v);
	test_dir_remove(dir);
}

TEST(own_changes_are_not_news)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct flags_change seen = { .op = FLAGS_ADD, .flags = FLAG_SEEN };
	struct uid_set set = { 0 };
	struct selected *s;
	struct news news;
	uint64_t modseq;

	add(v, inbox, "1\r\n", 0);
	add(v, inbox, "2\r\n", 0);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	uid_set_add(&set, &a, 1, 2);
	EXPECT_OK(view_store_flags(v, inbox, &set, &seen, &a, NULL, &modseq));
	selected_told(s, modseq, false);
	store(v, inbox, 2, 2, FLAGS_ADD, FLAG_FLAGGED);  /* somebody else, after us */
	selected_news(s, true, &a, &news);
	EXPECT_INT(news.n_changed, 1);
	EXPECT_INT(news.changed[0].uid, 2);
	selected_close(s);
	view_close(v);
	test_dir_remove(dir);
}

/* Another device sets one flag, and before this session has heard of it it sets another one of the same message, and does not say how it is now. */
TEST(an_own_change_hides_none_of_another_device)
{
	static const struct flags_change seen = { .op = FLAGS_ADD, .flags = FLAG_SEEN }, drafts = { .op = FLAGS_REPLACE, .flags = FLAG_DRAFT };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct uid_set both = { 0 };
	struct selected *s;
	struct news news;
	uint64_t modseq;

	add(v, inbox_of(v), "Subject: x\r\n\r\n", 0);
	add(v, inbox_of(v), "Subject: y\r\n\r\n", 0);
	EXPECT_OK(selected_open(v, inbox_of(v), NULL, &s));
	uid_set_add(&both, &a, 1, 2);
	store(v, inbox_of(v), 1, 1, FLAGS_ADD, FLAG_FLAGGED);
	EXPECT_OK(view_store_flags(v, inbox_of(v), &both, &seen, &a, NULL, &modseq));
	selected_told(s, modseq, false);
	selected_news(s, false, &a, &news);
	EXPECT(news.n_changed == 2 && news.changed[0].uid == 1);
	EXPECT_INT(news.changed[0].flags, FLAG_FLAGGED | FLAG_SEEN);
	store(v, inbox_of(v), 2, 2, FLAGS_REMOVE, FLAG_SEEN);
	EXPECT_OK(view_store_flags(v, inbox_of(v), &both, &seen, &a, NULL, &modseq));
	selected_told(s, modseq, true);
	selected_news(s, false, &a, &news);
	EXPECT_INT(news.n_changed, 0);
	EXPECT_OK(view_store_flags(v, inbox_of(v), &both, &drafts, &a, NULL, &modseq));
	selected_told(s, modseq, false);
	selected_news(s, false, &a, &news);
	EXPECT_INT(news.n_changed, 0);  /* nothing was hidden */
	selected_close(s);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

TEST(parked_session_is_told_everything)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct selected_state parked, held;
	struct selected *s;
	struct news news;

	for (int i = 0; i < 6; i++)
		add(v, inbox, "x\r\n", 0);
	expunge(v, inbox, 1, 1);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	selected_state(s, &parked);
	selected_close(s);
	/* mail only: out of the counters, no array */
	view_close(v);
	v = open_french(dir);
	add(v, inbox, "x\r\n", 0);
	EXPECT_OK(view_news(v, &parked, true, &a, &news));
	EXPECT(news.has_new && news.exists == 6 && parked.count == 6 && parked.uidnext == 8);
	held = parked;
	expunge(v, inbox, 3, 4);
	store(v, inbox, 7, 7, FLAGS_ADD, FLAG_SEEN);
	/* no EXPUNGE when no command runs; the parked still counts them */
	EXPECT_OK(view_news(v, &held, false, &a, &news));
	EXPECT_INT(news.n_removed, 0);
	EXPECT_INT(held.count, 6);
	EXPECT_INT(news.n_changed, 1);
	EXPECT_INT(news.changed[0].seq, 6);
	/* a command comes: the session is back with the same numbers, after a restart of the cell */
	view_close(v);
	v = open_french(dir);
	EXPECT_OK(selected_open(v, inbox, &held, &s));
	EXPECT_INT(selected_uid(s, 2), 3);
	EXPECT_INT(selected_uid(s, 6), 7);
	selected_news(s, true, &a, &news);
	EXPECT_STR(str_of(uid_set_text(&news.vanished, &a)), "3:4");
	EXPECT_INT(news.removed[0].seq, 3);
	EXPECT_INT(selected_count(s), 4);
	selected_close(s);
	/* and one that is wrong about the mailbox cannot be rebuilt */
	parked.count = 77;
	EXPECT_ERR(selected_open(v, inbox, &parked, &s), ERR_CONFLICT);
	parked.uidvalidity++;
	EXPECT_ERR(selected_open(v, inbox, &parked, &s), ERR_CONFLICT);
	EXPECT_OK(view_mailbox_create(v, STR("gone"), MAILBOX_PLAIN, &a, NULL));
	view_close(v);
	test_dir_remove(dir);
}

TEST(a_mailbox_that_is_copied_into_itself_does_not_grow_without_end)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct uid_set all = { 0 };
	struct copied copied;
	enum err e;

	add(v, inbox, "1", 0);
	uid_set_add(&all, &a, 1, UINT32_MAX);
	while ((e = view_copy(v, inbox, &all, inbox, &a, &copied)) == ERR_OK)
		EXPECT(get(v, inbox, &a).messages <= EMAIL_PLACES_MAX);
	EXPECT_INT(e, ERR_LIMIT);
	EXPECT_INT(get(v, inbox, &a).messages, 512);  /* all or none */
	view_close(v);
	test_dir_remove(dir);
}

TEST(copy_shares_the_email_and_counts_once)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct uid_set set = { 0 };
	struct mailbox archive;
	struct copied copied;
	struct quota quota;
	uint32_t restored;

	for (int i = 0; i < 3; i++)
		add(v, inbox, "1234567890", 0);
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_ARCHIVE, &a, &archive));
	uid_set_add(&set, &a, 2, 9);
	EXPECT_OK(view_copy(v, inbox, &set, archive.mailbox_id, &a, &copied));
	EXPECT_STR(str_of(uid_set_text(&copied.from, &a)), "2:3");
	EXPECT_STR(str_of(uid_set_text(&copied.to, &a)), "1:2");
	EXPECT_INT(copied.uidvalidity, archive.uidvalidity);
	view_quota(v, &quota);
	EXPECT_INT(quota.used_bytes, 30);
	EXPECT_INT(quota.messages, 5);
	expunge(v, inbox, 2, 2);
	view_quota(v, &quota);
	EXPECT_INT(quota.used_bytes, 30);
	expunge(v, archive.mailbox_id, 1, 1);
	view_quota(v, &quota);
	EXPECT_INT(quota.used_bytes, 20);
	/* to itself: new uids, not endless */
	EXPECT_OK(view_move(v, inbox, &set, inbox, &a, &copied));
	EXPECT_STR(str_of(uid_set_text(&copied.to, &a)), "4");
	EXPECT_OK(view_undelete(v, 0, 0, &restored));
	EXPECT_INT(restored, 2);
	view_quota(v, &quota);
	EXPECT_INT(quota.used_bytes, 30);
	EXPECT_INT(get(v, inbox, &a).messages, 3);
	view_close(v);
	v = open_french(dir);
	view_quota(v, &quota);
	EXPECT_INT(quota.used_bytes, 30);
	view_close(v);
	test_dir_remove(dir);
}

TEST(vanished_and_the_floor)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct uid_set set, known = { 0 };
	uint64_t before;

	for (int i = 0; i < 9; i++)
		add(v, inbox, "x\r\n", 0);
	expunge(v, inbox, 1, 2);
	before = view_modseq(v);
	expunge(v, inbox, 5, 6);
	EXPECT_OK(view_vanished(v, inbox, before, NULL, &a, &set));
	EXPECT_STR(str_of(uid_set_text(&set, &a)), "5:6");
	EXPECT_OK(view_vanished(v, inbox, 0, NULL, &a, &set));
	EXPECT_STR(str_of(uid_set_text(&set, &a)), "1:2,5:6");
	uid_set_add(&known, &a, 2, 5);
	EXPECT_OK(view_vanished(v, inbox, 0, &known, &a, &set));
	EXPECT_STR(str_of(uid_set_text(&set, &a)), "2,5");
	EXPECT_INT(view_modseq_floor(v, before), before);
	EXPECT_INT(view_modseq_floor(v, view_modseq(v) + 1), 0);  /* never given out */
	/* a month later they are forgotten */
	clock_wall_offset(40 * 86400);
	view_close(v);
	v = open_french(dir);
	expunge(v, inbox, 9, 9);
	view_compact(v);
	while (view_tick(v))
		;
	view_close(v);
	clock_wall_offset(0);
	test_dir_remove(dir);
}

static uint64_t thread_of(struct view *v, const char *text)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct appended done = add(v, inbox_of(v), text, 0);
	struct summary s;

	EXPECT_OK(view_summaries(v, &done.email, 1, true, &a, &s));
	EXPECT(s.record.n > 0);
	return s.threadid;
}

TEST(threads_by_references_and_subject)
{
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	uint64_t first = thread_of(v, "Message-ID: <a@x>\r\nSubject: Lunch\r\n\r\n");

	EXPECT(thread_of(v, "Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Re: Lunch\r\n\r\n") == first);
	EXPECT(thread_of(v, "Message-ID: <c@x>\r\nReferences: <a@x> <b@x>\r\nSubject: RE: lunch\r\n\r\n") == first);
	/* its parent never came, but the grandparent did */
	EXPECT(thread_of(v, "Message-ID: <e@x>\r\nReferences: <a@x> <lost@x>\r\nSubject: Re: Lunch\r\n\r\n") == first);
	/* the same references, another subject: another thread (RFC 8621 §3) */
	EXPECT(thread_of(v, "Message-ID: <d@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Dinner\r\n\r\n") != first);
	EXPECT(thread_of(v, "Subject: Lunch\r\n\r\n") != first);
	/* siblings whose parent we do not have */
	uint64_t orphan = thread_of(v, "Message-ID: <f@x>\r\nIn-Reply-To: <p@x>\r\nSubject: Re: Tea\r\n\r\n");
	EXPECT(thread_of(v, "Message-ID: <g@x>\r\nIn-Reply-To: <p@x>\r\nSubject: Re: Tea\r\n\r\n") == orphan);
	view_close(v);
	test_dir_remove(dir);
}

TEST(who_looks_for_the_first_unseen_message_looks_once)
{
	static const struct flags_change unread = { .op = FLAGS_REMOVE, .flags = FLAG_SEEN };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct uid_set third = { 0 };
	struct selected *s;

	for (int i = 0; i < 5; i++)
		add(v, inbox_of(v), "Subject: x\r\n\r\n", i < 4 ? FLAG_SEEN : 0);
	EXPECT_OK(selected_open(v, inbox_of(v), NULL, &s));
	EXPECT_INT(selected_first_unseen(s), 5);
	EXPECT_INT(s->array->seen_upto, 4);
	uid_set_add(&third, &a, 3, 3);
	EXPECT_OK(view_store_flags(v, inbox_of(v), &third, &unread, &a, NULL, NULL));
	EXPECT_INT(selected_first_unseen(s), 3);
	EXPECT_OK(view_expunge(v, inbox_of(v), &third, false, &a, NULL));
	EXPECT_INT(selected_first_unseen(s), 5);  /* it has not heard of that yet */
	selected_close(s);
	EXPECT_OK(selected_open(v, inbox_of(v), NULL, &s));
	EXPECT_INT(selected_first_unseen(s), 4);
	EXPECT_INT(s->array->seen_upto, 3);
	selected_close(s);
	view_close(v);
	test_dir_remove(dir);
}

struct selecting {
	struct view *v;
	atomic_bool  is_done;
};

static void *select_inbox(void *context)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct selecting *w = context;
	struct selected *s;
	struct mailbox m;

	EXPECT_OK(view_mailbox_find(w->v, STR("INBOX"), &a, &m));
	EXPECT_OK(view_mailbox_get(w->v, m.mailbox_id, &a, &m));
	EXPECT_OK(selected_open(w->v, m.mailbox_id, NULL, &s));
	selected_close(s);
	atomic_store(&w->is_done, true);
	return NULL;
}

/* A mailbox that is in memory is selected out of memory alone: neither a statement, nor a wait for who has the database (COPY of a million). */
TEST(a_mailbox_in_memory_is_selected_without_the_database)
{
	const char *dir = test_dir();
	struct selecting w = { .v = open_french(dir) };
	pthread_t thread;

	add(w.v, inbox_of(w.v), "Subject: x\r\n\r\n", 0);
	select_inbox(&w);
	w.is_done = false;
	pthread_mutex_lock(&w.v->db_lock);
	EXPECT(pthread_create(&thread, NULL, select_inbox, &w) == 0);
	for (int64_t end_ms = clock_mono_ms() + 10000; !atomic_load(&w.is_done) && clock_mono_ms() < end_ms; usleep(1000))
		;
	EXPECT(atomic_load(&w.is_done));
	pthread_mutex_unlock(&w.v->db_lock);
	pthread_join(thread, NULL);
	view_close(w.v);
	test_dir_remove(dir);
}
