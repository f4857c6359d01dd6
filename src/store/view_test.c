#include "base/clock.h"
#include "base/test.h"
#include "mime/summary.h"
#include "store/delivered.h"
#include "store/gist.h"
#include "store/messages_test.h"
#include "store/store_private.h"

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

/* What a rename puts deeper than a name can be could be found under no name any more. */
TEST(rename_within_the_levels)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct mailbox m;

	EXPECT_OK(view_mailbox_create(v, STR("a/b/c/d/e/f/g/h/i/j/k"), MAILBOX_PLAIN, &a, NULL));  /* 11 levels */
	EXPECT_ERR(view_mailbox_rename(v, STR("a"), STR("1/2/3/4/5/6/7/8/9/10/11")), ERR_INVALID);
	EXPECT_ERR(view_mailbox_find(v, STR("1"), &a, &m), ERR_NOTFOUND);
	EXPECT_OK(view_mailbox_rename(v, STR("a"), STR("1/2/3/4/5/6/7/8/9/10")));
	EXPECT_OK(view_mailbox_find(v, STR("1/2/3/4/5/6/7/8/9/10/b/c/d/e/f/g/h/i/j/k"), &a, &m));
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
	test_dir_remove(dir);
}

/* The word and a number, from 0 to before n; how many could be made */
static int make_keywords(struct view *v, const char *word, int n)
{
	int made = 0;

	for (int i = 0; i < n; i++) {
		char name[20];
		snprintf(name, sizeof name, "%s%d", word, i);
		made += view_keyword(v, str_of(name), true) != 0;
	}
	return made;
}

static uint64_t flags_of(struct view *v, int64_t mailbox_id, uint32_t uid)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set one = { 0 };
	struct message_row row = { 0 };
	struct selected *s;
	uint32_t next = 0;

	uid_set_add(&one, &a, uid, uid);
	EXPECT_OK(selected_open(v, mailbox_id, NULL, &s));
	EXPECT_INT(selected_rows_by_uid(s, &one, 0, &next, &row, 1), 1);
	selected_close(s);
	return row.flags;
}

static bool hears_of_keywords(struct view *v, struct selected_state *state)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct news news;

	EXPECT_OK(view_news(v, state, true, &a, &news));
	return news.has_keywords;
}

TEST(a_keyword_that_no_message_has_makes_room_when_the_account_is_closed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct mailbox m;
	struct selected_state parked;
	struct selected *s;
	uint32_t n;

	EXPECT_OK(view_mailbox_create(v, STR("Somewhere"), MAILBOX_PLAIN, &a, &m));
	EXPECT_INT(make_keywords(v, "key", 60), 58);
	add(v, inbox, "1\r\n", FLAG_KEYWORD(3));
	add(v, inbox, "2\r\n", FLAG_KEYWORD(4));
	add(v, inbox, "3\r\n", FLAG_KEYWORD(5));
	add(v, m.mailbox_id, "4\r\n", FLAG_KEYWORD(57));
	EXPECT(view_keyword(v, STR("fresh"), true) == 0);
	expunge(v, inbox, 3, 3);  /* and can be brought back */
	EXPECT_OK(view_mailbox_delete(v, STR("Somewhere")));
	store(v, inbox, 2, 2, FLAGS_REMOVE, FLAG_KEYWORD(4));
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	selected_state(s, &parked);
	selected_close(s);
	EXPECT_OK(view_close(v));

	v = open_french(dir);
	EXPECT(view_keyword(v, STR("key3"), false) == FLAG_KEYWORD(3));
	EXPECT(view_keyword(v, STR("key5"), false) == FLAG_KEYWORD(5));
	EXPECT(view_keyword(v, STR("key57"), false) == FLAG_KEYWORD(57));
	EXPECT(view_keyword(v, STR("key4"), false) == 0);
	EXPECT(hears_of_keywords(v, &parked));
	EXPECT(!hears_of_keywords(v, &parked));
	EXPECT(view_keyword(v, STR("fresh"), true) == FLAG_KEYWORD(0));
	EXPECT(hears_of_keywords(v, &parked));
	EXPECT_INT(make_keywords(v, "key", 58), 57);  /* as many names as before, at other places */
	EXPECT(hears_of_keywords(v, &parked));
	EXPECT_OK(view_undelete(v, 0, 0, &n));
	EXPECT_INT(n, 2);
	EXPECT(flags_of(v, inbox, 4) == FLAG_KEYWORD(5));
	EXPECT_OK(view_close(v));

	v = open_french(dir);
	EXPECT_INT(make_keywords(v, "other", 58), 55);  /* the same number of names, and of bits */
	EXPECT(hears_of_keywords(v, &parked));
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

static void rename_keywords(struct view *v, struct str name)
{
	static const char sql[] = "UPDATE keyword SET name = ?1";
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_text(q, 1, name);
	EXPECT_OK(stmt_done(q));
}

TEST(a_damaged_name_of_a_keyword_is_told_to_nobody)
{
	static const char *const damages[] = { "", "k) x\r\n* BYE", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x" };

	EACH(damages, name) {
		const char *dir = test_dir();
		struct view *v = open_french(dir);
		struct str names[KEYWORDS_MAX];
		EXPECT_INT(make_keywords(v, "key", 2), 2);
		rename_keywords(v, str_of(*name));
		EXPECT_OK(view_close(v));
		v = open_french(dir);
		EXPECT(view_keywords(v, names) == (FLAG_KEYWORD(0) | FLAG_KEYWORD(1)));
		EXPECT_STR(names[1], "damaged1");
		EXPECT(view_keyword(v, STR("new"), true) == FLAG_KEYWORD(2));
		EXPECT_OK(view_close(v));
		test_dir_remove(dir);
	}
}

TEST(names_of_keywords_stay_where_there_is_room)
{
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct selected_state parked = { 0 };
	struct selected *s;

	EXPECT_INT(make_keywords(v, "key", 50), 50);
	EXPECT_OK(selected_open(v, inbox_of(v), NULL, &s));
	selected_state(s, &parked);
	selected_close(s);
	EXPECT_OK(view_close(v));
	v = open_french(dir);
	EXPECT(view_keyword(v, STR("KEY49"), false) == FLAG_KEYWORD(49));
	EXPECT(!hears_of_keywords(v, &parked));
	EXPECT(view_keyword(v, STR("key50"), true) != 0);  /* eight places were left: it looks ahead, so that nobody is refused */
	EXPECT_OK(view_close(v));
	v = open_french(dir);
	EXPECT(view_keyword(v, STR("key49"), false) == 0);
	EXPECT_OK(view_close(v));
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
