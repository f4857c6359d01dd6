#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "deliver/local.h"
#include "store/account_test.h"
#include "store/delivered.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct delivery letter(uint64_t seq, const char *text)
{
	struct str body = str_of(text);

	return (struct delivery){ .log_id = 5,
							  .seq = seq,
							  .sender = STR("alice@example.test"),
							  .original_recipient = STR("bob@example.test"),
							  .received = 1700000000,
							  .size = body.n,
							  .crc = crc32c(0, body.p, body.n),
							  .body = body,
							  .fd = -1 };
}

static struct mailbox find(struct view *v, const char *path, struct arena *a)
{
	struct mailbox m = { 0 };

	EXPECT_OK(view_mailbox_find(v, str_of(path), a, &m));
	return m;
}

static void expect_text(struct view *v, int64_t mailbox_id, uint32_t uid, const char *want)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set set = { 0 };
	struct selected *s;
	struct message_row row;
	struct body body;
	uint32_t next = 0;
	char *text;

	uid_set_add(&set, &a, uid, uid);
	EXPECT_OK(selected_open(v, mailbox_id, NULL, &s));
	EXPECT_INT(selected_rows_by_uid(s, &set, 0, &next, &row, 1), 1);
	EXPECT_OK(body_open(v, row.email, &body));
	text = arena_alloc(&a, body.size + 1);
	EXPECT_OK(body_read(&body, 0, text, body.size));
	EXPECT_STR(str_make(text, body.size), want);
	body_close(&body);
	selected_close(s);
}

TEST(a_batch_and_its_replay)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { .sync_now = true };
	struct delivery d[3] = { letter(1, "Subject: 1\r\n\r\n"), letter(2, "Subject: 2\r\n\r\n"),
							 letter(3, "Subject: 3\r\n\r\n") };
	struct delivery_batch batch = { .account = 7, .n = 2, .deliveries = d };
	struct delivery_result *results;
	struct mailbox inbox;

	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT(results[1].is_synced);
	inbox = find(v, "INBOX", &a);
	EXPECT_INT(inbox.messages, 2);
	expect_text(v, inbox.mailbox_id, 1,
				"Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: 1\r\n\r\n");
	/* the queue crashed and sends all again, and one more */
	view_close(v);
	v = open_account(dir);
	batch.n = 3;
	for (int i = 0; i < 3; i++)
		d[i].may_be_duplicate = true;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(results[2].outcome, DELIVERY_DONE);
	EXPECT_INT(find(v, "INBOX", &a).messages, 3);
	/* forgotten up to 2: the same names would be new */
	batch = (struct delivery_batch){ .account = 7, .prune_log_id = 5, .prune_seq = 2, .n = 0, .deliveries = d };
	d[0] = letter(4, "Subject: 4\r\n\r\n");
	batch.n = 1;
	deliver_batch(v, &settings, &batch, &a, &results);
	d[0] = letter(3, "Subject: 3\r\n\r\n");
	d[0].may_be_duplicate = true;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(find(v, "INBOX", &a).messages, 4);
	view_close(v);
	test_dir_remove(dir);
}

static void deliver_to(struct view *v, uint64_t first, uint64_t last, const char *detail, uint64_t prune_seq)
{
	static const struct deliver_settings settings = { .detail_is_folder = true };

	while (first <= last) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct delivery d[DELIVERY_BATCH_MAX];
		struct delivery_batch batch = { .account = 7, .prune_log_id = 5, .prune_seq = prune_seq, .deliveries = d };
		struct delivery_result *results;
		for (; first <= last && batch.n < COUNT_OF(d); first++) {
			d[batch.n] = letter(first, "Subject: x\r\n\r\n");
			d[batch.n].detail = str_of(detail);
			d[batch.n++].may_be_duplicate = true;
		}
		deliver_batch(v, &settings, &batch, &a, &results);
		for (size_t i = 0; i < batch.n; i++)
			EXPECT_INT(results[i].outcome, DELIVERY_DONE);
	}
}

static uint32_t messages_in(struct view *v, const char *path)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	EXPECT_OK(view_publish(v));
	return find(v, path, &a).messages;
}

static void expect_known(struct view *v, uint64_t log_id, uint64_t first, uint64_t last, enum err want)
{
	uint32_t email;

	for (uint64_t seq = first; seq <= last; seq++) {
		EXPECT_ERR(delivered_find(v, &(struct delivery_key){ log_id, seq, 0 }, &email), want);
		if (want == ERR_OK)
			EXPECT_OK(delivered_check(v, email));
	}
}

/* The newest 128 names stand elsewhere than the others: neither moving nor forgetting may lose one, or find one that is gone. */
TEST(names_of_any_number_of_deliveries)
{
	static const uint64_t ends[] = { 1, 127, 128, 129, 300 };

	EACH(ends, end) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		uint64_t half = *end / 2;
		for (uint64_t seq = 1; seq <= *end; seq++)
			deliver_to(v, seq, seq, "", 0);  /* one by one */
		for (int again = 0; again < 2; again++) {
			expect_known(v, 5, 1, *end, ERR_OK);
			expect_known(v, 5, *end + 1, *end + 1, ERR_NOTFOUND);
			expect_known(v, 4, *end, *end, ERR_NOTFOUND);   /* of another log */
			deliver_to(v, 1, *end, "", 0);
			EXPECT_INT(messages_in(v, "INBOX"), *end);
			view_close(v);
			v = open_account(dir);
		}
		deliver_to(v, *end + 1, *end + 1, "", half);
		expect_known(v, 5, 1, half, ERR_NOTFOUND);
		expect_known(v, 5, half + 1, *end + 1, ERR_OK);
		view_close(v);
		v = open_account(dir);
		expect_known(v, 5, 1, half, ERR_NOTFOUND);
		deliver_to(v, half + 1, *end + 130, "", half);   /* some known, some in batches */
		EXPECT_INT(messages_in(v, "INBOX"), *end + 130);
		deliver_to(v, *end + 131, *end + 131, "", *end + 130);
		expect_known(v, 5, 1, *end + 130, ERR_NOTFOUND);
		expect_known(v, 5, *end + 131, *end + 131, ERR_OK);
		view_close(v);
		test_dir_remove(dir);
	}
}

/* The queue's log was made anew (6): names of the old one (5) stay as long as the queue has something of it, and then go. */
TEST(names_of_a_log_that_is_gone)
{
	static const uint64_t ends[] = { 3, 128, 300 };

	EACH(ends, end) {
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		deliver_to(v, 1, *end, "", 0);
		for (uint64_t seq = 1; seq <= 4; seq++) {
			CLEANUP(arena_free) struct arena a = { 0 };
			struct delivery d = letter(seq, "Subject: new\r\n\r\n");
			struct delivery_batch batch = { .account = 7, .prune_log_id = 6, .prune_seq = seq - 1, .is_only_log = seq > 2, .n = 1, .deliveries = &d };
			struct delivery_result *results;
			d.log_id = 6;
			deliver_batch(v, &(struct deliver_settings){ 0 }, &batch, &a, &results);
			EXPECT_INT(results[0].outcome, DELIVERY_DONE);
			expect_known(v, 5, 1, *end, seq > 2 ? ERR_NOTFOUND : ERR_OK);
			expect_known(v, 6, seq, seq, ERR_OK);
			expect_known(v, 6, seq - 1, seq - 1, ERR_NOTFOUND);
			view_close(v);
			v = open_account(dir);
		}
		deliver_to(v, 1, 200, "", 0);   /* the table that was empty is not taken to be so for ever */
		view_close(v);
		v = open_account(dir);
		expect_known(v, 5, 1, 200, ERR_OK);
		view_close(v);
		test_dir_remove(dir);
	}
}

TEST(names_of_deliveries_into_other_mailboxes)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	uint64_t modseq;

	EXPECT_OK(view_mailbox_create(v, STR("lists"), MAILBOX_PLAIN, &a, NULL));
	deliver_to(v, 1, 1, "", 0);
	EXPECT_OK(view_publish(v));
	modseq = find(v, "INBOX", &a).highestmodseq;
	for (uint64_t seq = 2; seq <= 100; seq++)
		deliver_to(v, seq, seq, "lists", 0);
	EXPECT_OK(view_publish(v));
	EXPECT_INT(find(v, "INBOX", &a).highestmodseq, modseq);   /* nothing happened there */
	view_close(v);
	v = open_account(dir);
	deliver_to(v, 1, 100, "lists", 0);
	EXPECT_INT(messages_in(v, "lists"), 99);
	view_close(v);
	test_dir_remove(dir);
}

/* A transaction that moves all names into the table, and one that forgets them, and neither is committed. */
TEST(names_stay_when_nothing_is_committed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct appended *done;
	struct append *ap;
	size_t n;

	deliver_to(v, 1, 128, "", 0);
	for (uint64_t forget = 0; forget <= 128; forget += 64) {
		struct append_new in = { .mailbox_id = inbox_of(v) };
		EXPECT_OK(append_begin(v, &ap));
		EXPECT_OK(append_message(ap, &in, 1));
		EXPECT_OK(append_write(ap, STR("x\r\n")));
		EXPECT_OK(append_end(ap));
		append_delivered(ap, &(struct delivery_key){ 5, 129, 0 });
		append_forget_delivered(ap, 5, forget, true);
		view_set_limits(v, &(struct view_limits){ .quota_bytes = 1 });
		EXPECT_ERR(append_commit_later(&ap, &a, &done, &n), ERR_QUOTA);
		view_set_limits(v, &(struct view_limits){ 0 });
		expect_known(v, 5, 1, 128, ERR_OK);
		expect_known(v, 5, 129, 129, ERR_NOTFOUND);
	}
	view_close(v);
	v = open_account(dir);
	expect_known(v, 5, 1, 128, ERR_OK);
	deliver_to(v, 1, 129, "", 0);
	EXPECT_INT(messages_in(v, "INBOX"), 129);
	view_close(v);
	test_dir_remove(dir);
}

/* Delivered while nobody looked, sent again when somebody does: this delivery has synced nothing. */
TEST(a_duplicate_is_not_called_synced)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { 0 };
	struct delivery d = letter(1, "Subject: again\r\n\r\nsome text\r\n");
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = &d };
	struct delivery_result *results;

	deliver_batch(v, &settings, &batch, &a, &results);
	d.may_be_duplicate = true;
	settings.sync_now = true;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT(!results[0].is_synced);
	EXPECT_INT(find(v, "INBOX", &a).messages, 0);
	EXPECT_OK(view_publish(v));
	EXPECT_INT(find(v, "INBOX", &a).messages, 1);
	view_close(v);
	test_dir_remove(dir);
}

TEST(a_torn_body_is_written_again)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { 0 };
	struct delivery d = letter(1, "Subject: torn\r\n\r\nsome text\r\n");
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = &d };
	struct delivery_result *results;
	struct mailbox inbox;
	char path[300];
	int fd;

	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT(!results[0].is_synced);
	EXPECT_INT(find(v, "INBOX", &a).messages, 0);  /* not visible before it is synced */
	EXPECT_OK(view_publish(v));
	inbox = find(v, "INBOX", &a);
	EXPECT_INT(inbox.messages, 1);
	view_close(v);
	snprintf(path, sizeof path, "%s/bodies/000001", dir);
	fd = open(path, O_RDWR);
	EXPECT(fd >= 0);
	EXPECT_INT(pwrite(fd, "\0\0\0\0", 4, 100), 4);
	close(fd);
	v = open_account(dir);
	d.may_be_duplicate = true;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(find(v, "INBOX", &a).messages, 1);
	expect_text(
		v, inbox.mailbox_id, 1,
		"Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: torn\r\n\r\nsome text\r\n");
	view_close(v);
	test_dir_remove(dir);
}

/* Messages that take most of the file and are gone for good, behind one that was delivered and is not synced yet. */
static void fill_with_waste(struct view *v)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct append_new in = { .mailbox_id = inbox_of(v), .internal_date = 1 };
	char *text = arena_alloc(&a, 100000);
	struct uid_set most = { 0 };
	struct append *ap;
	struct appended *done;
	size_t n;

	memset(text, 'x', 100000);
	EXPECT_OK(append_begin(v, &ap));
	for (int i = 0; i < 20; i++) {
		EXPECT_OK(append_message(ap, &in, 100000));
		EXPECT_OK(append_write(ap, str_make(text, 100000)));
		EXPECT_OK(append_end(ap));
	}
	EXPECT_OK(append_commit(&ap, &a, &done, &n));
	uid_set_add(&most, &a, done[0].uid, done[n - 1].uid);
	EXPECT_OK(view_expunge(v, in.mailbox_id, &most, false, &a, NULL));
}

static void compact(struct view *v)
{
	clock_wall_offset(40 * 86400);
	view_compact(v);
	while (view_tick(v))
		;
	clock_wall_offset(0);
}

/* A copy would have a checksum of its own, and the damage would be taken for what was sent. */
TEST(a_torn_body_is_not_moved_before_the_replay)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir(), *after = test_dir();
	char *path = str_cstr(&a, arena_printf(&a, "%s/bodies/000001", after));
	struct view *v = open_account(dir);
	struct deliver_settings settings = { 0 };
	struct delivery d = letter(1, "Subject: torn\r\n\r\nsome text\r\n");
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = &d };
	struct delivery_result *results;

	deliver_batch(v, &settings, &batch, &a, &results);
	fill_with_waste(v);
	EXPECT(system(str_cstr(&a, arena_printf(&a, "cp -r '%s/.' '%s/'", dir, after))) == 0);
	view_close(v);
	int fd = open(path, O_RDWR);
	EXPECT(fd >= 0 && pwrite(fd, "\0\0\0\0", 4, 100) == 4);
	close(fd);
	v = open_account(after);
	EXPECT(view_was_unclean(v));
	compact(v);
	d.may_be_duplicate = true;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT_OK(view_publish(v));
	view_replayed(v);
	compact(v);
	EXPECT(access(path, F_OK) < 0);
	expect_text(v, inbox_of(v), 1,
	            "Return-Path: <alice@example.test>\r\nDelivered-To: bob@example.test\r\nSubject: torn\r\n\r\nsome text\r\n");
	view_close(v);
	test_dir_remove(dir);
	test_dir_remove(after);
}

TEST(the_sub_address_names_an_existing_folder_only)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { .sync_now = true, .detail_is_folder = true };
	struct delivery d[3] = { letter(1, "a\r\n"), letter(2, "b\r\n"), letter(3, "c\r\n") };
	struct delivery_batch batch = { .account = 7, .n = 3, .deliveries = d };
	struct delivery_result *results;

	EXPECT_OK(view_mailbox_create(v, STR("lists"), MAILBOX_PLAIN, &a, NULL));
	d[0].detail = STR("lists");
	d[1].detail = STR("nowhere");
	d[2].detail = STR("../../etc");
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(find(v, "lists", &a).messages, 1);
	EXPECT_INT(find(v, "INBOX", &a).messages, 2);
	view_close(v);
	test_dir_remove(dir);
}

/* A stranger chooses the address: what looks like the owner's own mail, or is about to be erased, is not his to write. */
TEST(the_sub_address_names_no_folder_of_the_owners_own_mail)
{
	static const enum mailbox_role roles[] = { MAILBOX_DRAFTS, MAILBOX_SENT, MAILBOX_TRASH };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { .sync_now = true, .detail_is_folder = true };
	struct delivery d[2 * COUNT_OF(roles)];
	struct delivery_batch batch = { .account = 7, .n = COUNT_OF(d), .deliveries = d };
	struct delivery_result *results;
	struct mailbox m;

	for (size_t i = 0; i < COUNT_OF(roles); i++) {
		EXPECT_OK(view_mailbox_by_role(v, roles[i], &a, &m));
		d[2 * i] = letter(2 * i + 1, "a\r\n");
		d[2 * i].detail = m.path;
		d[2 * i + 1] = letter(2 * i + 2, "b\r\n");
		d[2 * i + 1].detail = arena_printf(&a, STR_FMT "/2025/May", STR_ARG(m.path));  /* those that he keeps by year */
		EXPECT_OK(view_mailbox_create(v, d[2 * i + 1].detail, MAILBOX_PLAIN, &a, NULL));
	}
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(find(v, "INBOX", &a).messages, COUNT_OF(d));
	view_close(v);
	test_dir_remove(dir);
}

struct deletion {
	struct view           *v;
	bool                   is_on;
	struct delivery_result result;
};

/* Mail comes while the session that deletes waits for the disk. */
static void mail_comes(void *context)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct deletion *x = context;
	struct deliver_settings settings = { .sync_now = true, .detail_is_folder = true };
	struct delivery d = letter(1, "Subject: x\r\n\r\nx\r\n");
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = &d };
	struct delivery_result *results;

	if (!x->is_on)
		return;
	x->is_on = false;
	d.detail = STR("Old");
	deliver_batch(x->v, &settings, &batch, &a, &results);
	x->result = results[0];
	x->result.reason = str_eq(results[0].reason, STR("INBOX")) ? STR("INBOX") : STR("elsewhere");
}

/* It did not have to wait for a next try, with a reason that says the storage had failed. */
TEST(mail_for_a_folder_that_is_being_deleted_goes_to_the_inbox)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct deletion x = { 0 };
	struct view_config config = { .account = 7, .on_wait = mail_comes, .context = &x };
	struct deliver_settings settings = { .sync_now = true, .detail_is_folder = true };
	struct delivery d = letter(2, "Subject: y\r\n\r\ny\r\n");
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = &d };
	struct delivery_result *results;

	EXPECT_OK(view_open(dir, &config, &x.v));
	EXPECT_OK(view_mailbox_create(x.v, STR("Old"), MAILBOX_PLAIN, &a, NULL));
	d.detail = STR("Old");
	deliver_batch(x.v, &settings, &batch, &a, &results);
	EXPECT_INT(find(x.v, "Old", &a).messages, 1);
	x.is_on = true;
	EXPECT_OK(view_mailbox_delete(x.v, STR("Old")));
	EXPECT(!x.is_on);
	EXPECT_INT(x.result.outcome, DELIVERY_DONE);
	EXPECT_STR(x.result.reason, "INBOX");
	EXPECT_INT(find(x.v, "INBOX", &a).messages, 1);
	view_close(x.v);
	test_dir_remove(dir);
}

/* What begins below the quota may pass it; then the account is full, and says so. */
TEST(the_last_one_may_pass_the_quota)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { .sync_now = true };
	struct delivery d[2] = { letter(1, "longer than what is left\r\n"), letter(2, "c\r\n") };
	struct delivery_batch batch = { .account = 7, .n = 2, .deliveries = d };
	struct delivery_result *results;
	struct quota q;

	view_set_limits(v, &(struct view_limits){ .quota_bytes = 5 });
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(results[1].outcome, DELIVERY_DEFERRED);
	EXPECT_STR(results[1].status, "4.2.2");
	view_quota(v, &q);
	EXPECT(q.used_bytes >= q.limit_bytes);
	EXPECT_INT(find(v, "INBOX", &a).messages, 1);
	settings.full_is_refused = true;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_STR(results[1].status, "5.2.2");
	view_close(v);
	test_dir_remove(dir);
}

/* … but not by any size: by a tenth, or by 1 MB where that is more. */
TEST(what_is_too_large_for_the_room_left_waits)
{
	static const struct { uint64_t quota; size_t size; bool is_final; enum delivery_outcome outcome; const char *status, *word; } cases[] = {
		{ 3 << 20,  3900000, false, DELIVERY_DONE,     "2.0.0", "INBOX" },
		{ 3 << 20,  4150000, false, DELIVERY_DEFERRED, "4.2.2", "less room" },
		{ 3 << 20,  4150000, true,  DELIVERY_REFUSED,  "5.2.2", "less room" },
		{ 3 << 20,  4300000, false, DELIVERY_REFUSED,  "5.2.3", "whole mailbox" },   /* never, however much is deleted */
	};
	char *text = mem_alloc(5 << 20);

	memset(text, 'x', 5 << 20);
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		const char *dir = test_dir();
		struct view *v = open_account(dir);
		const struct deliver_settings settings = { .sync_now = true, .full_is_refused = c->is_final };
		struct delivery d[3] = { letter(1, ""), letter(2, ""), letter(3, "small\r\n") };
		struct delivery_batch batch = { .account = 7, .n = 3, .deliveries = d };
		struct delivery_result *results;

		for (size_t i = 0; i < 2; i++) {
			d[i].body = str_make(text, i == 0 ? 100000 : c->size);
			d[i].size = d[i].body.n;
			d[i].crc = crc32c(0, d[i].body.p, d[i].body.n);
		}
		view_set_limits(v, &(struct view_limits){ .quota_bytes = c->quota });
		deliver_batch(v, &settings, &batch, &a, &results);
		EXPECT_INT(results[0].outcome, DELIVERY_DONE);
		EXPECT_INT(results[1].outcome, c->outcome);
		EXPECT_STR(results[1].status, c->status);
		EXPECT(str_find(results[1].reason, str_of(c->word)) >= 0);
		if (c->outcome != DELIVERY_DONE)
			EXPECT_INT(results[2].outcome, DELIVERY_DONE);   /* there is room for it */
		view_set_limits(v, &(struct view_limits){ .quota_bytes = 40 << 20 });
		EXPECT_INT(view_delivery_size_max(v), 44 << 20);
		view_set_limits(v, &(struct view_limits){ .quota_bytes = 1LL << 40 });
		EXPECT_INT(view_delivery_size_max(v), view_message_size_max(v));
		view_close(v);
		test_dir_remove(dir);
	}
	mem_free(text);
}

/* Nobody looks, and no sync has come yet: the quota holds all the same. */
TEST(unseen_deliveries_count_for_the_quota)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	const struct deliver_settings settings = { 0 };
	struct delivery d[2] = { letter(1, "longer than what is left\r\n"), letter(2, "c\r\n") };
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = d };
	struct delivery_result *results;
	struct quota q;

	view_set_limits(v, &(struct view_limits){ .quota_bytes = 5 });
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT(view_has_unseen(v));
	view_quota(v, &q);
	EXPECT(q.used_bytes >= q.limit_bytes);
	batch.deliveries = d + 1;
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DEFERRED);
	view_close(v);
	test_dir_remove(dir);
}

TEST(one_that_does_not_fit_does_not_hold_up_the_others)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { .sync_now = true };
	struct delivery d[4] = { letter(1, "a\r\n"),
							 letter(2, "0123456789012345678901234567890123456789012345678901234567890123456789"),
							 letter(3, "c\r\n"), letter(4, "damaged\r\n") };
	struct delivery_batch batch = { .account = 7, .n = 4, .deliveries = d };
	struct delivery_result *results;

	d[3].crc++;
	view_set_limits(v, &(struct view_limits){ .message_size_max = 120 });
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT_INT(results[1].outcome, DELIVERY_REFUSED);
	EXPECT_STR(results[1].status, "5.3.4");
	EXPECT_INT(results[2].outcome, DELIVERY_DONE);
	EXPECT_INT(results[3].outcome, DELIVERY_DEFERRED);
	EXPECT_INT(find(v, "INBOX", &a).messages, 2);
	view_close(v);
	test_dir_remove(dir);
}

/* Records of a batch are written together, but for those of long messages; what is refused in between leaves nothing. */
TEST(a_batch_of_all_sizes)
{
	static const size_t sizes[] = { 10, 5000, 1, 70000, 3, 1 << 20, 40, 65536, 2000000, 7, 30000, 30000, 30000 };
	CLEANUP(arena_free) struct arena a = { 0 };
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	const struct deliver_settings settings = { .sync_now = true };
	struct delivery d[2 * COUNT_OF(sizes)];
	struct delivery_batch batch = { .account = 7, .n = COUNT_OF(d), .deliveries = d };
	struct delivery_result *results;
	uint32_t email;
	struct body body;

	for (size_t i = 0; i < COUNT_OF(d); i++) {
		size_t n = sizes[i % COUNT_OF(sizes)];
		char *text = arena_alloc(&a, n + 1);
		memset(text, 'a' + (int)(i % 26), n);
		d[i] = letter(i + 1, text);
		d[i].crc += i % 5 == 4;  /* damaged */
	}
	deliver_batch(v, &settings, &batch, &a, &results);
	for (size_t i = 0; i < COUNT_OF(d); i++) {
		struct delivery_key key = { 5, i + 1, 0 };
		EXPECT_INT(results[i].outcome, i % 5 == 4 ? DELIVERY_DEFERRED : DELIVERY_DONE);
		EXPECT_ERR(delivered_find(v, &key, &email), i % 5 == 4 ? ERR_NOTFOUND : ERR_OK);
		if (i % 5 == 4)
			continue;
		EXPECT_OK(delivered_check(v, email));
		EXPECT_OK(body_open(v, email, &body));
		char *text = arena_alloc(&a, body.size + 1);
		EXPECT_OK(body_read(&body, 0, text, body.size));
		EXPECT(str_ends(str_make(text, body.size), d[i].body));
		body_close(&body);
	}
	view_close(v);
	test_dir_remove(dir);
}

TEST(a_long_body_comes_as_a_file)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf text = BUF(4 << 20);
	CLEANUP(fd_close) int spool = memfd_create("spool", 0);
	const char *dir = test_dir();
	struct view *v = open_account(dir);
	struct deliver_settings settings = { .sync_now = true };
	struct delivery d = letter(1, "");
	struct delivery_batch batch = { .account = 7, .n = 1, .deliveries = &d };
	struct delivery_result *results;

	for (int i = 0; i < 200000; i++)
		buf_printf(&text, "line %06d\r\n", i);
	EXPECT_INT(write(spool, text.p, text.n), text.n);
	d.fd = spool;
	d.body = STR_NONE;
	d.size = text.n;
	d.crc = crc32c(0, text.p, text.n);
	deliver_batch(v, &settings, &batch, &a, &results);
	EXPECT_INT(results[0].outcome, DELIVERY_DONE);
	EXPECT(find(v, "INBOX", &a).size > text.n);
	view_close(v);
	test_dir_remove(dir);
}
