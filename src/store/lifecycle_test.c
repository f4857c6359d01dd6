/* What happens to an account over time: stops that were not clean, disks that fail, mail that is forgotten after a month. */
#include "base/clock.h"
#include "base/log.h"
#include "base/test.h"
#include "disk/fault_test.h"
#include "store/account_test.h"
#include "store/damage.h"
#include "store/metadata.h"
#include "store/store_private.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err append(struct view *v, size_t size, uint32_t *email)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .mailbox_id = inbox_of(v), .internal_date = 1 };
	char *text = arena_alloc(&a, size);
	struct append *ap;
	struct appended *done;
	size_t n;
	enum err e;

	memset(text, 'x', size);
	TRY(append_begin(v, &ap));
	e = append_message(ap, &in, size);
	if (e == ERR_OK)
		e = append_write(ap, str_make(text, size));
	if (e == ERR_OK)
		e = append_end(ap);
	if (e != ERR_OK) {
		append_abandon(&ap);
		return e;
	}
	TRY(append_commit(&ap, &a, &done, &n));
	if (email)
		*email = done[0].email;
	return ERR_OK;
}

static enum err flag(struct view *v, uint32_t uid, uint64_t flags)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct flags_change change = { .op = FLAGS_REPLACE, .flags = flags };
	struct uid_set set = { 0 };

	uid_set_add(&set, &a, uid, uid);
	return view_store_flags(v, inbox_of(v), &set, &change, &a, NULL, NULL);
}

/* A copy of the folder of a running account is what a killed process leaves. */
static const char *copy_of(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *copy = test_dir();

	EXPECT(system(str_cstr(&a, arena_printf(&a, "cp -r '%s/.' '%s/'", dir, copy))) == 0);
	return copy;
}

static uint64_t inbox_modseq(struct view *v)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox inbox;

	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &inbox));
	return inbox.highestmodseq;
}

TEST(unclean_stop_leaves_a_gap_of_modseqs)
{
	const char *dir = test_dir(), *copy;
	struct view *v = open_account(dir), *again;
	uint64_t known, later;

	EXPECT_OK(append(v, 10, NULL));
	EXPECT_OK(flag(v, 1, FLAG_SEEN));
	known = view_modseq(v);
	copy = copy_of(dir);
	again = open_account(copy);
	EXPECT(view_was_unclean(again));
	EXPECT(view_modseq(again) > known);
	EXPECT_INT(view_modseq_floor(again, known + 1), 0);      /* a client may have seen this one, and we lost it */
	EXPECT_INT(view_modseq_floor(again, known), 0);          /* and so may one that remembers only what SELECT said before */
	EXPECT_INT(inbox_modseq(again), view_modseq(again));     /* what it is told now is behind the gap: it happens once */
	EXPECT_INT(view_modseq_floor(again, inbox_modseq(again)), view_modseq(again));
	later = view_modseq(again);
	EXPECT_OK(flag(again, 1, 0));
	EXPECT(view_modseq(again) > later);
	EXPECT_INT(view_modseq_floor(again, view_modseq(again)), view_modseq(again));
	view_close(again);
	again = open_account(copy);  /* a clean stop leaves none */
	EXPECT(!view_was_unclean(again));
	EXPECT_INT(view_modseq(again), later + 1);
	EXPECT_INT(view_modseq_floor(again, known + 1), 0);
	view_close(again);
	view_close(v);
	test_dir_remove(dir);
	test_dir_remove(copy);
}

static void expect_inbox(struct view *v, uint32_t messages, uint32_t unseen, uint32_t deleted, uint64_t highest)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct mailbox m;

	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &m));
	EXPECT_INT(m.messages, messages);
	EXPECT_INT(m.unseen, unseen);
	EXPECT_INT(m.deleted, deleted);
	EXPECT_INT(m.highestmodseq, highest);
}

/* So that they are counted anew: the row of the mailbox is behind. */
static struct view *open_killed(const char *dir, const char **copy)
{
	struct view *v = open_account(*copy = copy_of(dir));

	EXPECT(view_was_unclean(v));
	return v;
}

TEST(counters_after_a_stop_in_the_middle_of_flags)
{
	enum { MESSAGES = 20 };   /* three chunks in the build with faults */
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *copy;
	struct view *v = open_account(dir), *again;
	struct uid_set gone;
	uint64_t highest;

	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		EXPECT_OK(append(v, 10, NULL));
	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		EXPECT_OK(flag(v, uid, uid % 2 ? FLAG_SEEN : uid % 4 ? 0 : FLAG_DELETED));
	highest = view_modseq(v);
	expect_inbox(v, MESSAGES, MESSAGES / 2, MESSAGES / 4, highest);
	again = open_killed(dir, &copy);
	expect_inbox(again, MESSAGES, MESSAGES / 2, MESSAGES / 4, view_modseq(again));
	EXPECT(inbox_modseq(again) > highest);
	EXPECT_OK(view_expunge(again, inbox_of(again), NULL, true, &a, &gone));   /* finds nothing where the counter says 0 */
	EXPECT_STR(str_of(uid_set_text(&gone, &a)), "4,8,12,16,20");
	EXPECT_OK(view_close(again));
	again = open_account(copy);
	EXPECT(!view_was_unclean(again));
	expect_inbox(again, MESSAGES * 3 / 4, MESSAGES / 4, 0, view_modseq(again));
	EXPECT_OK(view_close(again));
	test_dir_remove(copy);

	copy = copy_of(dir);   /* opened and closed, and nothing in between: the clean end has what was counted */
	EXPECT_OK(view_close(open_account(copy)));
	again = open_account(copy);
	EXPECT(!view_was_unclean(again));
	expect_inbox(again, MESSAGES, MESSAGES / 2, MESSAGES / 4, view_modseq(again));
	EXPECT_OK(view_close(again));
	test_dir_remove(copy);

	EXPECT_OK(view_close(v));
	v = open_account(dir);   /* the clean end had it, too */
	EXPECT(!view_was_unclean(v));
	expect_inbox(v, MESSAGES, MESSAGES / 2, MESSAGES / 4, highest);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
}

#ifdef FACTEUR_FAULT
/* A killed account of which one page cannot be read, not even when it is tried again: that of the n-th reading. NULL: it cannot be opened. */
static struct view *open_with_bad_page(const char *dir, const char *path, unsigned n, const char **copy)
{
	struct view_config config = { .account = 7 };
	struct view *v = NULL;
	char rules[100];

	*copy = copy_of(dir);
	snprintf(rules, sizeof rules, "read account.db eio-once %u\nread account.db eio-once %u\n", n, n + 1);
	disk_shall(path, rules);
	enum err e = view_open(*copy, &config, &v);
	disk_shall(path, "");
	return e == ERR_OK ? v : NULL;
}

static unsigned last_reading(const char *dir, const char *rules)
{
	unsigned low = 1, high = 1000;

	while (low < high) {
		const char *copy;
		struct view *v = open_with_bad_page(dir, rules, (low + high) / 2, &copy);
		if (v == NULL)
			low = (low + high) / 2 + 1;
		else
			high = (low + high) / 2;
		if (v != NULL)
			EXPECT_OK(view_close(v));
		test_dir_remove(copy);
	}
	return high;
}
#endif

/* Only the mailbox that stands on it is the worse: it keeps the counters of its row until it is opened again. */
TEST(a_bad_block_keeps_no_account_closed)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *control = test_dir(), *copy;
	const char *rules = arena_printf(&a, "%s/rules", control).p;
	struct view *v = open_account(dir);
	struct mailbox inbox, sent;
	struct uid_set everything = { 0 }, gone;
	struct copied copied;
	bool was_without = false;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	EXPECT_OK(view_mailbox_by_role(v, MAILBOX_SENT, &a, &sent));
	for (uint32_t uid = 1; uid <= 20; uid++)
		EXPECT_OK(append(v, 10, NULL));
	uid_set_add(&everything, &a, 1, 20);
	EXPECT_OK(view_copy(v, inbox_of(v), &everything, sent.mailbox_id, &a, &copied));
	for (uint32_t uid = 1; uid <= 20; uid++)
		EXPECT_OK(flag(v, uid, uid % 2 ? FLAG_SEEN | FLAG_DELETED : FLAG_SEEN));
	unsigned last = last_reading(dir, rules);
	for (unsigned n = last > 10 ? last - 10 : 1; n <= last; n++) {
		struct view *again = open_with_bad_page(dir, rules, n, &copy);
		if (again != NULL) {
			EXPECT_OK(view_mailbox_by_role(again, MAILBOX_INBOX, &a, &inbox));
			EXPECT_OK(view_mailbox_by_role(again, MAILBOX_SENT, &a, &sent));
			EXPECT_INT(inbox.messages, 20);
			EXPECT_INT(sent.unseen, 20);
			EXPECT_OK(append(again, 10, NULL));
			was_without |= inbox.unseen != 0;
			EXPECT_OK(view_expunge(again, inbox.mailbox_id, NULL, true, &a, &gone));  /* whatever the counter says */
			EXPECT_INT(uid_set_count(&gone), 10);
			EXPECT_OK(view_mailbox_by_role(again, MAILBOX_INBOX, &a, &inbox));
			EXPECT(inbox.deleted == 0);
			EXPECT_OK(view_close(again));
			again = open_account(copy);
			EXPECT_OK(view_mailbox_by_role(again, MAILBOX_INBOX, &a, &inbox));
			EXPECT_INT(inbox.messages, 11);
			EXPECT_INT(inbox.unseen, 1);
			EXPECT_OK(view_close(again));
		}
		test_dir_remove(copy);
	}
	EXPECT(was_without);
	EXPECT_OK(view_close(v));
	test_dir_remove(dir);
	test_dir_remove(control);
#endif
}

/* Where the block of modseqs is used up there is no gap behind which every mailbox would go. */
TEST(no_mailbox_goes_back_at_the_end_of_a_block)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *copy;
	struct view *v = open_account(dir), *again;
	struct mailbox other;
	uint64_t known;

	EXPECT_OK(append(v, 10, NULL));
	EXPECT_OK(flag(v, 1, FLAG_SEEN | FLAG_DELETED));
	EXPECT_OK(metadata_write(v, inbox_of(v), 0, &(struct metadata){ STR("/private/comment"), STR("no message has its modseq") }, 1));
	known = inbox_modseq(v);
	for (bool on = true; v->modseq + 1 < v->reserved; on = !on)   /* numbers that no mailbox has */
		EXPECT_OK(view_subscribe(v, STR("x"), on));
	EXPECT_OK(view_mailbox_create(v, STR("x"), MAILBOX_PLAIN, &a, &other));
	EXPECT_INT(other.highestmodseq, v->reserved);
	EXPECT_INT(inbox_modseq(v), known);
	again = open_killed(dir, &copy);
	expect_inbox(again, 1, 0, 1, known);
	EXPECT_INT(view_modseq(again), other.highestmodseq);
	EXPECT_INT(view_modseq_floor(again, known), known);
	EXPECT_OK(view_close(again));
	EXPECT_OK(view_close(v));
	test_dir_remove(copy);
	test_dir_remove(dir);
}

TEST(only_one_process_has_an_account)
{
	const char *dir = test_dir();
	struct view *v = open_account(dir), *second;
	struct view_config config = { .account = 7 };

	EXPECT_ERR(view_open(dir, &config, &second), ERR_AGAIN);
	view_close(v);
	v = open_account(dir);
	view_close(v);
	EXPECT_ERR(view_open("/nonexistent/account", &config, &second), ERR_NOTFOUND);
	test_dir_remove(dir);
}

static uint64_t bodies_size(const char *dir)
{
	uint64_t sum = 0;

	for (int i = 1; i < 20; i++) {
		struct stat st;
		char path[300];
		snprintf(path, sizeof path, "%s/bodies/%06d", dir, i);
		if (stat(path, &st) == 0)
			sum += (uint64_t)st.st_size;
	}
	return sum;
}

TEST(a_month_later_the_space_comes_back)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct uid_set most = { 0 };
	struct body body, reader;
	uint32_t email[20], restored;
	uint64_t before, old_modseq;

	log_setup("test", LOG_LEVEL_ERROR, false);
	for (int i = 0; i < 20; i++)
		EXPECT_OK(append(v, 100000 + (size_t)i, &email[i]));
	EXPECT_OK(append(v, 2000000, NULL));  /* a file of its own */
	uid_set_add(&most, &a, 2, 19);
	uid_set_add(&most, &a, 21, 21);
	EXPECT_OK(view_expunge(v, inbox_of(v), &most, false, &a, NULL));
	old_modseq = view_modseq(v) - 1;
	before = bodies_size(dir);
	view_close(v);
	clock_wall_offset(20 * 86400);
	v = open_account(dir);
	view_compact(v);
	while (view_tick(v))
		;
	EXPECT_INT(bodies_size(dir), before);  /* still there for the owner */
	EXPECT_OK(body_open(v, email[5], &body));
	body_close(&body);
	clock_wall_offset(40 * 86400);
	view_close(v);
	v = open_account(dir);
	EXPECT_OK(append(v, 10, NULL));
	EXPECT_OK(body_open(v, email[0], &reader));
	view_compact(v);
	for (int i = 0; i < 50; i++)
		view_tick(v);
	EXPECT(body_read(&reader, 99990, (char[10]){ 0 }, 10) == ERR_OK);  /* what is open stays readable */
	body_close(&reader);
	view_compact(v);
	while (view_tick(v))
		;
	EXPECT_ERR(body_open(v, email[5], &body), ERR_NOTFOUND);
	EXPECT(bodies_size(dir) < before / 2);
	EXPECT_OK(body_open(v, email[19], &body));
	EXPECT_INT(body.size, 100019);
	EXPECT(body_read(&body, 100009, (char[10]){ 0 }, 10) == ERR_OK);
	body_close(&body);
	EXPECT_OK(view_undelete(v, 0, 0, &restored));
	EXPECT_INT(restored, 0);
	EXPECT_INT(view_modseq_floor(v, old_modseq), 0);  /* removals before it are no longer known one by one */
	view_close(v);
	v = open_account(dir);
	EXPECT_OK(body_open(v, email[19], &body));
	body_close(&body);
	view_close(v);
	clock_wall_offset(0);
	test_dir_remove(dir);
}

/* A client takes its time over an APPEND of several: what is written already, and named by no row yet, must not go with the file that it is in. */
TEST(compaction_spares_what_is_not_committed_yet)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct append_new in = { .mailbox_id = inbox_of(v), .internal_date = 1 };
	struct uid_set most = { 0 };
	struct append *ap;
	struct appended *done;
	struct body body;
	char *text = arena_alloc(&a, 100000);
	size_t n;

	log_setup("test", LOG_LEVEL_ERROR, false);
	memset(text, 'x', 100000);
	for (int i = 0; i < 20; i++)
		EXPECT_OK(append(v, 100000, NULL));
	uid_set_add(&most, &a, 1, 20);
	EXPECT_OK(view_expunge(v, inbox_of(v), &most, false, &a, NULL));
	EXPECT_OK(append_begin(v, &ap));
	EXPECT_OK(append_message(ap, &in, 100000));
	EXPECT_OK(append_write(ap, str_make(text, 100000)));
	EXPECT_OK(append_end(ap));
	clock_wall_offset(40 * 86400);
	view_compact(v);
	for (int i = 0; i < 50; i++)
		view_tick(v);
	EXPECT_OK(append_message(ap, &in, 3));
	EXPECT_OK(append_write(ap, STR("x\r\n")));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < n; i++) {
			EXPECT_OK(body_open(v, done[i].email, &body));
			EXPECT(body_read(&body, 0, text, 3) == ERR_OK && text[0] == 'x');
			body_close(&body);
		}
		while (view_tick(v))   /* it goes on by itself */
			;
	}
	EXPECT(bodies_size(dir) < 200000);   /* in the end the space comes back */
	view_close(v);
	clock_wall_offset(0);
	test_dir_remove(dir);
}

TEST(how_long_erased_messages_can_come_back)
{
	static const struct { uint32_t days; uint32_t restored; } cases[] = { { 20, 1 }, { 5, 0 }, { 0, 0 } };

	log_setup("test", LOG_LEVEL_ERROR, false);
	EACH(cases, t) {
		CLEANUP(arena_free) struct arena a = { 0 };
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		struct uid_set first = { 0 };
		uint32_t restored;
		uid_set_add(&first, &a, 1, 1);
		EXPECT_OK(append(v, 1000, NULL));
		EXPECT_OK(view_expunge(v, inbox_of(v), &first, false, &a, NULL));
		clock_wall_offset(10 * 86400);
		view_set_undelete_days(v, t->days);
		view_compact(v);
		while (view_tick(v))
			;
		EXPECT_OK(view_undelete(v, 0, 0, &restored));
		EXPECT_INT(restored, t->restored);
		clock_wall_offset(0);
		view_close(v);
		test_dir_remove(dir);
	}
}

/* APPEND and EXPUNGE in a loop: what is kept for the owner is the newest, and no more than the quota. A copy in another mailbox is
 * not kept, it lives; and what comes back counts in the quota again, no longer among what is kept. */
TEST(no_more_is_kept_than_the_quota)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct uid_set all = { 0 };
	struct body body;
	uint32_t email[40], restored;

	view_set_limits(v, &(struct view_limits){ .quota_bytes = 1000000 });
	for (int i = 0; i < 40; i++) {
		EXPECT_OK(append(v, 100000, &email[i]));
		uid_set_add(&all, &a, 1, (uint32_t)i + 1);
		EXPECT_OK(view_expunge(v, inbox_of(v), &all, false, &a, NULL));
		while (view_tick(v))
			;
	}
	EXPECT_ERR(body_open(v, email[29], &body), ERR_NOTFOUND);
	EXPECT_OK(body_open(v, email[30], &body));
	body_close(&body);
	EXPECT(bodies_size(dir) < 3000000);
	view_close(v);
	v = open_account(dir);
	view_set_limits(v, &(struct view_limits){ .quota_bytes = 1000000 });
	EXPECT_OK(view_undelete(v, 0, 0, &restored));
	EXPECT_INT(restored, 10);
	uid_set_add(&all, &a, 41, 50);
	EXPECT_OK(view_expunge(v, inbox_of(v), &all, false, &a, NULL));
	while (view_tick(v))
		;
	EXPECT_OK(view_undelete(v, 0, 0, &restored));
	EXPECT_INT(restored, 10);
	view_close(v);
	test_dir_remove(dir);
}

/* A draft of 600 kB in an account of a megabyte is saved again: there is room for one of them. */
TEST(replacing_needs_no_room_for_both)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct append *ap;
	struct append_new in = { .mailbox_id = inbox_of(v), .internal_date = 1700000000 };
	struct appended *done;
	struct quota quota;
	char *bytes = arena_alloc(&a, 600000);
	size_t n;

	memset(bytes, 'x', 600000);
	view_set_limits(v, &(struct view_limits){ .quota_bytes = 1000000 });
	EXPECT_OK(append(v, 600000, NULL));
	EXPECT_ERR(append(v, 600000, NULL), ERR_QUOTA);
	for (int i = 0; i < 2; i++) {  /* the second time it is gone already */
		EXPECT_OK(append_begin(v, &ap));
		append_replaces(ap, in.mailbox_id, 1, 600000);
		EXPECT_OK(append_message(ap, &in, 600000));
		EXPECT_OK(append_write(ap, str_make(bytes, 600000)));
		EXPECT_OK(append_end(ap));
		EXPECT_ERR(append_commit(&ap, &a, &done, &n), i == 0 ? ERR_OK : ERR_CONFLICT);
	}
	view_quota(v, &quota);
	EXPECT_INT(quota.messages, 1);
	EXPECT_INT(quota.used_bytes, 600000);
	view_close(v);
	test_dir_remove(dir);
}

/* DESIGN §4.8 */
TEST(a_failed_sync_ends_all_promises)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *control = test_dir();
	char *rules = str_cstr(&a, arena_printf(&a, "%s/rules", control));
	static const char *const failures[] = { "sync account.db-wal eio-once 1\n", "sync bodies eio-once 1\n" };
	struct mailbox m;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	for (size_t i = 0; i < COUNT_OF(failures); i++) {
		struct view *v = open_account(dir);
		EXPECT_OK(append(v, 10, NULL));
		EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &m));
		disk_shall(rules, failures[i]);
		EXPECT(!view_has_failed(v));
		EXPECT_ERR(append(v, 10, NULL), ERR_IO);
		disk_shall(rules, "");
		EXPECT_ERR(append(v, 10, NULL), ERR_IO);  /* the kernel forgets a failure; we do not */
		EXPECT(view_has_failed(v));
		view_close(v);
		v = open_account(dir);
		EXPECT_OK(append(v, 10, NULL));
		view_close(v);
	}
	test_dir_remove(dir);
	test_dir_remove(control);
#endif
}

TEST(a_full_disk_refuses_and_recovers)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *control = test_dir();
	char *rules = str_cstr(&a, arena_printf(&a, "%s/rules", control));
	static const char *const failures[] = { "write bodies enospc 1\n", "write account.db-wal enospc 1\n" };
	struct view *v = open_account(dir);
	struct mailbox before, after;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	EXPECT_OK(append(v, 10, NULL));
	for (size_t i = 0; i < COUNT_OF(failures); i++) {
		EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &before));
		disk_shall(rules, failures[i]);
		EXPECT_ERR(append(v, 10, NULL), ERR_FULL);
		EXPECT_ERR(append(v, 2000000, NULL), ERR_FULL);
		disk_shall(rules, "");
		EXPECT_OK(append(v, 10, NULL));
		EXPECT_OK(view_mailbox_by_role(v, MAILBOX_INBOX, &a, &after));
		EXPECT_INT(after.messages, before.messages + 1);
	}
	view_close(v);
	test_dir_remove(dir);
	test_dir_remove(control);
#endif
}

/* Each message over a megabyte has a file of its own: whoever erases many of them shall not wait ten minutes for each. */
TEST(compaction_goes_on_to_the_next_file)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct uid_set all = { 0 };

	for (int i = 0; i < 4; i++)
		EXPECT_OK(append(v, 1200000, NULL));
	uid_set_add(&all, &a, 1, 4);
	EXPECT_OK(view_expunge(v, inbox_of(v), &all, false, &a, NULL));
	clock_wall_offset(40 * 86400);
	view_compact(v);
	while (view_tick(v))
		;
	clock_wall_offset(0);
	EXPECT_INT(bodies_size(dir), 0);
	view_close(v);
	test_dir_remove(dir);
}

/* Fills a file with what is then gone for good, behind a message that stays; *email: that one. */
static void waste(struct view *v, uint32_t *email)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set wasted = { 0 };
	uint32_t gone;

	EXPECT_OK(append(v, 1000, email));
	for (int i = 0; i < 20; i++)
		EXPECT_OK(append(v, 100000, &gone));
	uid_set_add(&wasted, &a, *email + 1, gone);  /* in INBOX uids are emails here */
	EXPECT_OK(view_expunge(v, inbox_of(v), &wasted, false, &a, NULL));
}

/* Stopped between the removal of a file and the note of it: said once, not every ten minutes. */
TEST(a_file_that_is_gone_is_forgotten)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int log = memfd_create("log", MFD_CLOEXEC);
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	off_t said[3];
	uint32_t email;

	waste(v, &email);
	view_close(v);
	clock_wall_offset(40 * 86400);
	EXPECT_INT(unlink(str_cstr(&a, arena_printf(&a, "%s/bodies/000001", dir))), 0);
	log_setup("test", LOG_LEVEL_ERROR, false);
	log_to_fd(log);
	v = open_account(dir);
	for (size_t i = 0; i < COUNT_OF(said); i++) {
		view_compact(v);
		while (view_tick(v))
			;
		said[i] = lseek(log, 0, SEEK_END);
	}
	log_to_fd(STDERR_FILENO);
	EXPECT(said[0] > 0);
	EXPECT_INT(said[2], said[0]);
	clock_wall_offset(0);
	view_close(v);
	test_dir_remove(dir);
}

static void write_into(const char *dir, unsigned file, off_t at, const char *bytes, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int fd = open(str_cstr(&a, arena_printf(&a, "%s/bodies/%06u", dir, file)), O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0);
	if (n == 0)
		EXPECT_INT(ftruncate(fd, at), 0);
	else
		EXPECT_INT(pwrite(fd, bytes, n, at), n);
}

static enum err read_part(struct view *v, uint32_t email, uint64_t upto)
{
	CLEANUP(body_close) struct body body = { 0 };
	CLEANUP(arena_free) struct arena a = { 0 };

	TRY(body_open(v, email, &body));
	upto = upto == 0 ? body.size : upto;
	TRY(body_check(&body, upto));
	return body_read(&body, 0, arena_alloc(&a, upto), upto);
}

static enum err look(struct view *v, uint32_t email)
{
	CLEANUP(body_close) struct body body = { 0 };
	struct str all;

	TRY(body_open(v, email, &body));
	TRY(body_look(&body, &all));
	EXPECT(all.n == body.size && all.p[0] == 'x' && all.p[all.n - 1] == 'x');
	return ERR_OK;
}

/* What a message's header and bytes may have become; none of it is shown, and the messages around it are. */
TEST(damage_is_seen_and_said_once)
{
	enum { SHORT = 1000, LONG = 2000000, HEADER = 24, FIRST = HEADER + SHORT };
	static const struct { off_t at; const char *bytes; } cases[] = {
		{ FIRST, "FCB2" }, { FIRST + 4, "x" }, { FIRST + 8, "\xe9" }, { FIRST + 16, "z" }, { FIRST + HEADER, "y" }, { FIRST + HEADER + SHORT - 1, "y" },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int log = memfd_create("log", MFD_CLOEXEC);

	log_setup("test", LOG_LEVEL_ERROR, false);
	log_to_fd(log);
	EACH(cases, c) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		uint32_t email[5];
		for (size_t i = 0; i < COUNT_OF(email); i++)
			EXPECT_OK(append(v, i < 3 ? SHORT : LONG, &email[i]));
		write_into(dir, 1, c->at, c->bytes, strlen(c->bytes));
		write_into(dir, 2, HEADER + LONG - 1, "y", 1);
		off_t said = lseek(log, 0, SEEK_END);
		for (int tries = 0; tries < 2; tries++) {
			EXPECT_OK(read_part(v, email[0], 0));
			EXPECT_ERR(read_part(v, email[1], 0), ERR_CORRUPT);
			EXPECT_ERR(read_part(v, email[1], 10), ERR_CORRUPT);
			EXPECT_ERR(look(v, email[1]), ERR_CORRUPT);
			EXPECT_OK(look(v, email[2]));
			EXPECT_ERR(look(v, email[4]), ERR_LIMIT);
			EXPECT_OK(read_part(v, email[2], 10));
			EXPECT_ERR(read_part(v, email[3], 0), ERR_CORRUPT);
			EXPECT_ERR(read_part(v, email[3], LONG - 1), ERR_CORRUPT);
			EXPECT_OK(read_part(v, email[3], LONG / 10));   /* only the beginning */
			EXPECT_OK(read_part(v, email[4], LONG - 1));
			EXPECT(tries == 0 ? lseek(log, 0, SEEK_END) > said : lseek(log, 0, SEEK_END) == said);
			said = lseek(log, 0, SEEK_END);
		}
		struct damage damage;
		EXPECT_OK(damage_look(v, 0, &a, &damage));
		EXPECT_INT(damage.checked, COUNT_OF(email));
		EXPECT_INT(damage.bytes, 3 * SHORT + 2 * LONG);
		EXPECT_INT(damage.n, 2);
		EXPECT(damage.messages[0].uid == 2 && damage.messages[0].file == 1 && !damage.messages[0].is_unreadable);
		EXPECT(damage.messages[1].uid == 4 && damage.messages[1].file == 2 && damage.messages[1].size == LONG);
		EXPECT(str_eq(damage.messages[1].path, STR("INBOX")));
		EXPECT_OK(damage_look(v, email[3], &a, &damage));
		EXPECT_INT(damage.n, 1);
		view_close(v);
		test_dir_remove(dir);
	}
	log_to_fd(STDERR_FILENO);
}

/* Its file is emptied: it goes along as it is, and nothing says that it is whole; what cannot be read at all stays, until it can be. */
TEST(damage_is_not_hidden_by_compaction)
{
	enum { HEADER = 24, EACH = HEADER + 1000, LAST = 3 * EACH + 20 * (HEADER + 100000) };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *before;
	struct view *v = open_account(dir);
	struct damage damage;
	uint32_t email[3], last;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	EXPECT_OK(append(v, 1000, &email[0]));
	waste(v, &email[1]);
	write_into(dir, 1, HEADER + 500, "y", 1);
	clock_wall_offset(40 * 86400);
	view_compact(v);
	while (view_tick(v))
		;
	EXPECT(bodies_size(dir) < 200000);   /* the first file is gone */
	EXPECT_ERR(read_part(v, email[0], 0), ERR_CORRUPT);
	EXPECT_OK(read_part(v, email[1], 0));
	waste(v, &email[2]);
	EXPECT_OK(append(v, 1000, &last));
	before = copy_of(dir);
	write_into(dir, 2, LAST + 500, NULL, 0);   /* the end of the newest one is lost */
	clock_wall_offset(80 * 86400);
	view_compact(v);
	while (view_tick(v))
		;
	EXPECT(bodies_size(dir) > 2000000);
	EXPECT_ERR(read_part(v, last, 0), ERR_CORRUPT);
	EXPECT_OK(damage_look(v, last, &a, &damage));
	EXPECT(damage.n == 1 && damage.messages[0].is_unreadable);
	for (size_t i = 1; i < COUNT_OF(email); i++)
		EXPECT_OK(read_part(v, email[i], 0));
	view_close(v);
	EXPECT(system(str_cstr(&a, arena_printf(&a, "cp '%s/bodies/000002' '%s/bodies/000002'", before, dir))) == 0);   /* put back */
	v = open_account(dir);
	view_compact(v);
	while (view_tick(v))
		;
	EXPECT(bodies_size(dir) < 200000);
	EXPECT_OK(read_part(v, last, 0));
	EXPECT_ERR(read_part(v, email[0], 0), ERR_CORRUPT);
	clock_wall_offset(0);
	view_close(v);
	test_dir_remove(dir);
	test_dir_remove(before);
}

TEST(compaction_on_a_full_disk_loses_nothing)
{
#ifdef FACTEUR_FAULT
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *control = test_dir();
	char *rules = str_cstr(&a, arena_printf(&a, "%s/rules", control));
	struct view *v = open_account(dir);
	struct body body;
	uint32_t email[3];

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	for (size_t i = 0; i < COUNT_OF(email); i++) {
		waste(v, &email[i]);
		clock_wall_offset((int64_t)(i + 1) * 40 * 86400);
		for (int tries = i == 1 ? 0 : 1; tries < 2; tries++) {
			disk_shall(rules, tries == 0 ? "open bodies enospc 1\n" : "");   /* no new file for what is to be kept */
			view_compact(v);
			while (view_tick(v))
				;
		}
		EXPECT(bodies_size(dir) < 200000);
		for (size_t k = 0; k <= i; k++) {
			EXPECT_OK(body_open(v, email[k], &body));
			body_close(&body);
		}
	}
	clock_wall_offset(0);
	view_close(v);
	test_dir_remove(dir);
	test_dir_remove(control);
#endif
}

TEST(an_allowance_grows_back_and_survives)
{
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	uint64_t left, wait_s;

	EXPECT_OK(view_allowance_left(v, ALLOWANCE_RECIPIENTS, 100, &left));
	EXPECT_INT(left, 100);
	EXPECT_OK(view_spend(v, ALLOWANCE_RECIPIENTS, 90, 100, &wait_s));
	EXPECT_ERR(view_spend(v, ALLOWANCE_RECIPIENTS, 11, 100, &wait_s), ERR_LIMIT);  /* one too many: 864 s for one of 100 a day */
	EXPECT(wait_s >= 862 && wait_s <= 864);
	EXPECT_OK(view_spend(v, ALLOWANCE_RECIPIENTS, 10, 100, &wait_s));
	EXPECT_OK(view_spend(v, ALLOWANCE_RECIPIENTS, -10, 100, &wait_s));             /* given back */
	view_close(v);

	v = open_account(dir);  /* the next cell */
	EXPECT_OK(view_allowance_left(v, ALLOWANCE_RECIPIENTS, 100, &left));
	EXPECT_INT(left, 10);
	clock_wall_offset(43200);
	EXPECT_OK(view_allowance_left(v, ALLOWANCE_RECIPIENTS, 100, &left));
	EXPECT_INT(left, 60);
	EXPECT_OK(view_spend(v, ALLOWANCE_RECIPIENTS, 60, 100, &wait_s));
	clock_wall_offset(0);  /* a clock that is set back neither gives nor takes */
	EXPECT_OK(view_allowance_left(v, ALLOWANCE_RECIPIENTS, 100, &left));
	EXPECT_INT(left, 0);
	EXPECT_OK(view_allowance_left(v, ALLOWANCE_RECIPIENTS, 50, &left));            /* the setting became smaller */
	EXPECT_INT(left, 0);
	clock_wall_offset(43200 + 86400);
	EXPECT_OK(view_allowance_left(v, ALLOWANCE_RECIPIENTS, 100, &left));
	EXPECT_INT(left, 100);
	EXPECT_ERR(view_spend(v, ALLOWANCE_RECIPIENTS, 101, 100, &wait_s), ERR_LIMIT); /* more than a day's */
	clock_wall_offset(400 * 86400);  /* a year ahead by mistake: nobody waits a year for it */
	EXPECT_OK(view_spend(v, ALLOWANCE_RECIPIENTS, 100, 100, &wait_s));
	clock_wall_offset(0);
	EXPECT_OK(view_spend(v, ALLOWANCE_RECIPIENTS, 100, 100, &wait_s));
	EXPECT_ERR(view_spend(v, ALLOWANCE_RECIPIENTS, 1, 100, &wait_s), ERR_LIMIT);
	view_close(v);
	test_dir_remove(dir);
}
