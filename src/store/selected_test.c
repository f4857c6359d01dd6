#include "base/clock.h"
#include "store/messages_test.h"
#include "store/store_private.h"
#include <unistd.h>

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

TEST(what_came_and_went_while_a_session_was_parked_is_counted_as_long_as_removals_wait)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	int64_t inbox = inbox_of(v);
	struct selected_state parked;
	struct selected *s;
	struct news news;

	add(v, inbox, "1\r\n", 0);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	selected_state(s, &parked);
	selected_close(s);
	add(v, inbox, "2\r\n", 0);
	add(v, inbox, "3\r\n", 0);
	expunge(v, inbox, 1, 2);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));  /* who knows of nothing else lets it be forgotten */
	selected_close(s);
	for (int i = 0; i < 2; i++) {
		EXPECT_OK(selected_open(v, inbox, &parked, &s));
		selected_news(s, false, &a, &news);
		EXPECT_INT(news.exists, 3);
		selected_state(s, &parked);
		selected_close(s);
	}
	EXPECT_OK(selected_open(v, inbox, &parked, &s));
	selected_news(s, true, &a, &news);
	EXPECT_STR(str_of(uid_set_text(&news.vanished, &a)), "1:2");
	EXPECT_INT(news.exists, 1);
	selected_close(s);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

static void run_sql(struct view *v, const char *sql, int64_t mailbox_id)
{
	CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);

	stmt_bind_int64(q, 1, mailbox_id);
	EXPECT_OK(stmt_done(q));
}

TEST(who_comes_back_while_his_mailbox_is_being_deleted_hears_just_that)
{
	static const char forget[] = "DELETE FROM vanished WHERE mailbox_id = ?1", delete[] = "DELETE FROM mailbox WHERE mailbox_id = ?1";
	const char *dir = test_dir();
	struct view *v = open_french(dir);
	struct selected_state parked;
	struct selected *s;
	int64_t inbox = inbox_of(v);

	add(v, inbox, "1\r\n", 0);
	add(v, inbox, "2\r\n", 0);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));
	selected_state(s, &parked);
	selected_close(s);
	expunge(v, inbox, 1, 2);
	EXPECT_OK(selected_open(v, inbox, NULL, &s));  /* who knows of nothing else lets it be forgotten */
	selected_close(s);
	run_sql(v, forget, inbox);
	EXPECT_INT(selected_open(v, inbox, &parked, &s), ERR_CONFLICT);
	run_sql(v, delete, inbox);
	EXPECT_INT(selected_open(v, inbox, &parked, &s), ERR_NOTFOUND);
	(void)!view_close(v);
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

struct returning {
	struct view           *v;        /* NULL: nobody does anything */
	int                    waits;
	struct selected_state  known;
	struct selected       *s;
};

/* Two messages are committed, and wait for their sync, when somebody removes the second; and that waits when a parked session comes back. */
static void come_back(void *context)
{
	struct returning *r = context;

	if (r->v != NULL && r->waits++ == 0)
		expunge(r->v, r->known.mailbox_id, 3, 3);
	else if (r->v != NULL && r->waits == 2)
		EXPECT_OK(selected_open(r->v, r->known.mailbox_id, &r->known, &r->s));
}

/* What it hears nothing of, because it was never there, must not stand in the way of what comes. */
TEST(who_comes_back_hears_nothing_of_what_was_never_there)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct returning back = { 0 };
	const struct view_config config = { .account = 7, .on_wait = come_back, .context = &back };
	const struct append_new in = { .mailbox_id = 1, .internal_date = 1 };
	const char *dir = test_dir();
	struct appended *done;
	struct append *ap;
	struct selected *s;
	struct view *v;
	struct news news;
	size_t n;

	EXPECT_OK(view_open(dir, &config, &v));
	EXPECT_INT(inbox_of(v), in.mailbox_id);
	add(v, in.mailbox_id, "x\r\n", 0);
	EXPECT_OK(selected_open(v, in.mailbox_id, NULL, &s));
	selected_state(s, &back.known);
	EXPECT_OK(append_begin(v, &ap));
	for (int i = 0; i < 2; i++) {
		EXPECT_OK(append_message(ap, &in, 0));
		EXPECT_OK(append_write(ap, STR("y\r\n")));
		EXPECT_OK(append_end(ap));
	}
	back.v = v;
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	back.v = NULL;
	selected_news(s, true, &a, &news);
	EXPECT(news.exists == 2 && news.n_removed == 0 && selected_uid(s, 2) == 2);
	selected_news(back.s, true, &a, &news);
	EXPECT(news.exists == 2 && news.n_removed == 0 && selected_uid(back.s, 2) == 2);
	selected_close(back.s);
	selected_close(s);
	EXPECT_OK(view_close(v));
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
