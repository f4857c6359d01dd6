/* Late recipients: what an administrator and a restart find of them. Power cuts: late_crash_test.c. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/test.h"
#include "queue/late_private.h"
#include "queue/record.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOG_ID = 77, NOW = 1000000 };

struct place { const char *path; struct disk_dir *dir; struct late *l; };

static void start(struct place *p, uint64_t w)
{
	if (p->path == NULL)
		p->path = test_dir();
	EXPECT_OK(disk_dir_open(p->path, &p->dir));
	EXPECT_OK(late_open(p->dir, LOG_ID, w, &p->l));
}

static void stop(struct place *p)
{
	late_close(&p->l);
	disk_dir_close(&p->dir);
}

static size_t files(struct place *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *dir = NULL;
	struct str *names;
	size_t n;

	EXPECT_OK(disk_dir_open_below(p->dir, "late", false, &dir));
	EXPECT_OK(disk_list(dir, &a, &names, &n));
	return n;
}

/* A message to bob (account 1), carol (account 2) and dave (elsewhere). */
static enum err add(struct place *p, uint64_t seq, const struct late_recipient *r, size_t n, struct str body,
                    uint64_t spool)
{
	struct envelope_recipient to[3] = {
		{ STR("bob+x@example.test"), STR("rfc822;bob@old.example"), STR("x"), 1, ENVELOPE_NOTIFY_DELAY },
		{ STR("carol@example.test"), STR(""), STR(""), 2, 0 },
		{ STR("dave@elsewhere.example"), STR(""), STR(""), 0, 0 },
	};
	struct envelope e = { .source = ENVELOPE_SUBMISSION, .sender = STR("ann@example.test"), .body = ENVELOPE_8BITMIME,
		.received = 500 + (int64_t)seq, .peer = STR("[192.0.2.1]"), .n = 3, .recipients = to };
	struct late_new m = { .log_id = LOG_ID, .seq = seq, .envelope = &e, .body = body, .spool = spool, .size = body.n,
		.crc = crc32c(0, body.p, body.n), .n = n, .recipients = r };

	if (spool != 0)
		m.body = STR_NONE;
	return late_add(p->l, &m, 1);
}

static void add_all(struct place *p, uint64_t seq, struct str body)
{
	static const struct late_recipient r[] = {
		{ 0, LATE_WAITING, NOW + 300, 1, { "4.2.2", 5 }, { "over quota", 10 } },
		{ 1, LATE_WAITING, NOW + 60, 1, { "4.3.2", 5 }, { "no answer", 9 } },
		{ 2, LATE_WAITING, LATE_NEVER, 0, { NULL, 0 }, { NULL, 0 } },
	};

	EXPECT_OK(add(p, seq, r, 3, body, 0));
}

static struct late_row row(struct place *p, struct arena *a, uint64_t seq, uint16_t recipient)
{
	struct late_key k = { LOG_ID, seq, recipient };
	struct late_row r;

	EXPECT_OK(late_find(p->l, &k, a, &r));
	return r;
}

static bool is_there(struct place *p, uint64_t seq, uint16_t recipient)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_key k = { LOG_ID, seq, recipient };
	struct late_row r;

	return late_find(p->l, &k, &a, &r) == ERR_OK;
}

static void finish(struct place *p, uint64_t seq, uint16_t recipient)
{
	struct late_change c = { .key = { LOG_ID, seq, recipient }, .state = LATE_FINISHED };

	EXPECT_OK(late_change(p->l, &c, 1));
}

static void expect_body(struct place *p, uint64_t seq, struct str want)
{
	CLEANUP(buf_free) struct buf b = BUF(4 << 20);
	CLEANUP(fd_close) int fd = -1;

	EXPECT_OK(late_body(p->l, LOG_ID, seq, &b, &fd));
	if (fd >= 0) {
		char *room = buf_reserve(&b, want.n + 1);
		EXPECT_INT(pread(fd, room, want.n + 1, 0), want.n);
		buf_grew(&b, want.n);
		EXPECT(write(fd, "x", 1) < 0);  /* it is for reading */
	}
	EXPECT(str_eq(buf_str(&b), want));
}

/* Two that find at the same time that it is over (a deadline, a last try) make one report of it. */
TEST(what_is_final_stays_so)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_change c = { .key = { LOG_ID, 5, 0 }, .state = LATE_REPORT, .due = NOW, .notice = REPORT_FAILED, .status = STR("5.4.7") };
	struct place p = { 0 };
	struct late_report report;
	size_t n;

	start(&p, 0);
	add_all(&p, 5, STR("x"));
	EXPECT_OK(late_change(p.l, &c, 1));
	EXPECT_OK(late_report_begin(p.l, NOW + 1, 1, &a, &report, &n));
	EXPECT_INT(n, 1);
	c.status = STR("5.1.1");
	EXPECT_OK(late_change(p.l, &c, 1));
	EXPECT_STR(row(&p, &a, 5, 0).status, "5.4.7");
	EXPECT_OK(late_report_end(p.l, LOG_ID, 5, report.number));
	finish(&p, 5, 1);
	EXPECT_OK(late_pass_deadline(p.l, &(struct late_overdue){ { LOG_ID, 5, 1 }, true }, 1));   /* delivered since somebody looked */
	EXPECT_OK(late_report_begin(p.l, NOW + 1, 1, &a, &report, &n));
	EXPECT_INT(n, 0);
	stop(&p);
	test_dir_remove(p.path);
}

TEST(what_was_added_is_found_again)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct late_message m;
	struct late_row r;

	start(&p, 0);
	add_all(&p, 5, STR("Subject: one\r\n\r\n"));
	for (int again = 0; again < 2; again++) {
		r = row(&p, &a, 5, 0);
		EXPECT_STR(r.recipient.address, "bob+x@example.test");
		EXPECT_STR(r.recipient.orcpt, "rfc822;bob@old.example");
		EXPECT_STR(r.recipient.detail, "x");
		EXPECT_INT(r.recipient.account, 1);
		EXPECT_INT(r.recipient.notify, ENVELOPE_NOTIFY_DELAY);
		EXPECT_INT(r.state, LATE_WAITING);
		EXPECT_INT(r.due, NOW + 300);
		EXPECT_STR(r.status, "4.2.2");
		EXPECT_STR(r.reason, "over quota");
		EXPECT_INT(row(&p, &a, 5, 2).due == LATE_NEVER, again == 0);  /* nothing stays parked when the process begins anew */
		EXPECT_OK(late_message_find(p.l, LOG_ID, 5, &a, &m));
		EXPECT_STR(m.envelope.sender, "ann@example.test");
		EXPECT_INT(m.envelope.n, 0);
		EXPECT_INT(m.size, 16);
		expect_body(&p, 5, STR("Subject: one\r\n\r\n"));
		stop(&p);
		start(&p, 0);
	}
	EXPECT_ERR(late_message_find(p.l, LOG_ID, 6, &a, &m), ERR_NOTFOUND);
	EXPECT_ERR(late_message_find(p.l, 1, 5, &a, &m), ERR_NOTFOUND);
	stop(&p);
	test_dir_remove(p.path);
}

TEST(adding_twice_adds_once)
{
	static const struct late_recipient later = { 1, LATE_HELD, NOW, 9, { "4.0.0", 5 }, { "again", 5 } };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct late_counts c;

	start(&p, 0);
	EXPECT_OK(add(&p, 5, &later, 1, STR("one\r\n"), 0));
	add_all(&p, 5, STR("one\r\n"));  /* the replay after a crash: all three, one of them is there */
	EXPECT_OK(late_count(p.l, &c));
	EXPECT_INT(c.waiting, 2);
	EXPECT_INT(c.held, 1);
	EXPECT_INT(c.elsewhere, 1);
	EXPECT_INT(c.oldest, 505);
	EXPECT_INT(c.next_due, NOW + 300);
	EXPECT_STR(row(&p, &a, 5, 1).reason, "again");
	EXPECT_INT(files(&p), 1);
	expect_body(&p, 5, STR("one\r\n"));
	stop(&p);
	test_dir_remove(p.path);
}

/* What is kept as counts, beside the rows themselves. */
static void expect_counts(struct place *p, int64_t oldest)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_message *m;
	struct late_counts c, want = { 0 };
	size_t n, n_rows;

	EXPECT_OK(late_list(p->l, 0, 0, 100, &a, &m, &n));
	for (size_t i = 0; i < n; i++) {
		struct late_row *rows;
		EXPECT_OK(late_rows(p->l, m[i].log_id, m[i].seq, 0, 100, &a, &rows, &n_rows));
		for (size_t k = 0; k < n_rows; k++) {
			want.held += rows[k].state == LATE_HELD;
			want.waiting += rows[k].state != LATE_HELD;
			want.elsewhere += rows[k].state != LATE_HELD && rows[k].recipient.account == 0;
		}
	}
	EXPECT_OK(late_count(p->l, &c));
	EXPECT_INT(c.waiting, want.waiting);
	EXPECT_INT(c.held, want.held);
	EXPECT_INT(c.elsewhere, want.elsewhere);
	EXPECT_INT(c.oldest, oldest);
}

TEST(counts_follow_whatever_happens_to_rows)
{
	static const struct envelope_recipient others[] = { { STR("eve@example.test"), STR(""), STR(""), 9, 0 },
		{ STR("fred@elsewhere.example"), STR(""), STR(""), 0, 0 }, { STR("gill@elsewhere.example"), STR(""), STR(""), 0, 0 } };
	const struct late_change held = { .key = { LOG_ID, 5, 2 }, .state = LATE_HELD, .due = LATE_NEVER };
	const struct late_change told = { .key = { LOG_ID, 5, 1 }, .state = LATE_REPORT, .due = NOW, .notice = REPORT_FAILED };
	const struct late_key dave = { LOG_ID, 6, 2 };
	struct place p = { 0 };
	uint64_t changed;

	start(&p, 0);
	expect_counts(&p, 0);
	add_all(&p, 5, STR("five\r\n"));
	add_all(&p, 6, STR("six\r\n"));
	expect_counts(&p, 505);
	EXPECT_OK(late_change(p.l, &held, 1));
	EXPECT_OK(late_change(p.l, &told, 1));
	expect_counts(&p, 505);
	EXPECT_OK(late_readdress(p.l, &dave, others, COUNT_OF(others), NOW));
	expect_counts(&p, 505);
	for (int order = LATE_RETRY; order <= LATE_RELEASE; order++) {
		EXPECT_OK(late_order(p.l, (enum late_order)order, 0, 0, -1, NOW, &changed));
		expect_counts(&p, 505);
	}
	stop(&p);
	start(&p, 5);
	expect_counts(&p, 505);
	EXPECT_OK(late_order(p.l, LATE_REMOVE, LOG_ID, 5, -1, NOW, &changed));
	finish(&p, 6, 0);
	expect_counts(&p, 506);
	EXPECT_OK(late_order(p.l, LATE_REMOVE, LOG_ID, 6, -1, NOW, &changed));
	expect_counts(&p, 0);
	stop(&p);
	test_dir_remove(p.path);
}

/* A finished row must survive until W has passed it: a replay would deliver again. */
TEST(finished_rows_stay_until_w_has_passed)
{
	struct place p = { 0 };
	struct late_counts c;

	start(&p, 0);
	add_all(&p, 5, STR("five\r\n"));
	add_all(&p, 6, STR("six\r\n"));
	for (uint16_t i = 0; i < 3; i++)
		finish(&p, 5, i);
	EXPECT(is_there(&p, 5, 0));
	EXPECT_OK(late_count(p.l, &c));
	EXPECT_INT(c.waiting, 3);
	stop(&p);
	start(&p, 4);
	EXPECT(is_there(&p, 5, 0));
	EXPECT_OK(late_passed(p.l, 5));
	EXPECT(!is_there(&p, 5, 0) && is_there(&p, 6, 0));
	expect_body(&p, 6, STR("six\r\n"));
	EXPECT_OK(late_passed(p.l, 6));
	for (uint16_t i = 0; i < 3; i++)
		finish(&p, 6, i);
	EXPECT(!is_there(&p, 6, 0));
	EXPECT_INT(files(&p), 0);  /* with the last message of a file its bytes are gone */
	stop(&p);
	test_dir_remove(p.path);
}

TEST(rows_of_an_older_log_are_never_replayed)
{
	struct place p = { 0 };

	start(&p, 0);
	add_all(&p, 5, STR("five\r\n"));
	finish(&p, 5, 0);
	late_close(&p.l);
	EXPECT_OK(late_open(p.dir, LOG_ID + 1, 0, &p.l));  /* the ring was made anew */
	EXPECT(!is_there(&p, 5, 0) && is_there(&p, 5, 1));
	finish(&p, 5, 1);
	EXPECT(!is_there(&p, 5, 1));
	expect_body(&p, 5, STR("five\r\n"));
	stop(&p);
	test_dir_remove(p.path);
}

TEST(due_ones_in_their_order)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_change held = { .key = { LOG_ID, 6, 1 }, .state = LATE_HELD, .due = NOW }, gone = { .key = { LOG_ID, 5, 1 },
		.state = LATE_WAITING, .due = NOW + 5 };
	struct place p = { 0 };
	struct late_due *due;
	int64_t next;
	size_t n;

	start(&p, 0);
	EXPECT_OK(late_next_due(p.l, &next));
	EXPECT_INT(next, LATE_NEVER);
	add_all(&p, 5, STR("five\r\n"));
	add_all(&p, 6, STR("six\r\n"));
	EXPECT_OK(late_next_due(p.l, &next));
	EXPECT_INT(next, NOW + 60);
	EXPECT_OK(late_list_due(p.l, false, NULL, NOW + 59, 10, &a, &due, &n));
	EXPECT_INT(n, 0);
	EXPECT_OK(late_list_due(p.l, false, NULL, NOW + 300, 3, &a, &due, &n));
	EXPECT_INT(n, 3);
	EXPECT(due[0].key.recipient == 1 && due[1].key.recipient == 1 && due[2].key.recipient == 0);
	EXPECT_INT(due[0].account, 2);
	EXPECT_OK(late_list_due(p.l, false, NULL, LATE_NEVER, 10, &a, &due, &n));
	EXPECT_INT(n, 4);  /* those elsewhere are asked for by themselves */
	EXPECT_OK(late_list_account(p.l, 1, NOW, 10, &a, &due, &n));
	EXPECT(n == 2 && due[0].key.seq == 5 && due[1].key.seq == 6);
	EXPECT_OK(late_list_account(p.l, 1, NOW, 1, &a, &due, &n));
	EXPECT_INT(n, 1);
	EXPECT_OK(late_list_account(p.l, 3, NOW, 10, &a, &due, &n));
	EXPECT_INT(n, 0);
	EXPECT_OK(late_change(p.l, &held, 1));
	finish(&p, 5, 1);
	EXPECT_OK(late_change(p.l, &gone, 1));  /* the administrator was faster: it stays finished */
	EXPECT_OK(late_list_due(p.l, false, NULL, LATE_NEVER, 10, &a, &due, &n));
	EXPECT_INT(n, 2);
	stop(&p);
	test_dir_remove(p.path);
}

TEST(the_oldest_late_delivery_of_an_account)
{
	struct place p = { 0 };
	uint64_t seq;

	start(&p, 0);
	add_all(&p, 9, STR("x\r\n"));
	add_all(&p, 5, STR("x\r\n"));
	EXPECT_OK(late_oldest_seq(p.l, 2, LOG_ID, &seq));
	EXPECT_INT(seq, 5);
	finish(&p, 5, 1);
	EXPECT_OK(late_oldest_seq(p.l, 2, LOG_ID, &seq));
	EXPECT_INT(seq, 9);
	EXPECT(late_has_other_log(p.l, 2, 1));
	EXPECT(!late_has_other_log(p.l, 2, LOG_ID));
	EXPECT(!late_has_other_log(p.l, 3, 1));
	EXPECT_OK(late_oldest_seq(p.l, 2, 1, &seq));
	EXPECT(seq == UINT64_MAX);
	EXPECT_OK(late_oldest_seq(p.l, 3, LOG_ID, &seq));
	EXPECT(seq == UINT64_MAX);
	stop(&p);
	test_dir_remove(p.path);
}

static uint64_t order(struct place *p, enum late_order o, uint64_t log_id, uint64_t seq, int recipient, int64_t now)
{
	uint64_t changed;

	EXPECT_OK(late_order(p->l, o, log_id, seq, recipient, now, &changed));
	return changed;
}

TEST(the_administrator_decides)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	uint64_t changed;

	start(&p, 0);
	add_all(&p, 5, STR("five\r\n"));
	add_all(&p, 6, STR("six\r\n"));
	EXPECT_INT(order(&p, LATE_RETRY, LOG_ID, 5, -1, NOW), 3);
	EXPECT_INT(row(&p, &a, 5, 0).due, NOW);
	EXPECT_INT(row(&p, &a, 6, 0).due, NOW + 300);
	EXPECT_INT(order(&p, LATE_RETRY, 0, 0, -1, NOW), 6);
	EXPECT_INT(order(&p, LATE_HOLD, LOG_ID, 5, 1, NOW), 1);
	EXPECT_INT(order(&p, LATE_HOLD, LOG_ID, 5, 1, NOW), 0);
	EXPECT_INT(row(&p, &a, 5, 1).state, LATE_HELD);
	EXPECT_INT(order(&p, LATE_HOLD, LOG_ID, 5, -1, NOW), 2);
	EXPECT_INT(order(&p, LATE_RELEASE, LOG_ID, 5, -1, NOW + 7), 3);
	EXPECT_INT(row(&p, &a, 5, 1).due, NOW + 7);
	EXPECT_INT(row(&p, &a, 5, 2).due, NOW + 7);
	EXPECT_INT(order(&p, LATE_REMOVE, LOG_ID, 5, 2, NOW), 1);
	EXPECT_INT(order(&p, LATE_REMOVE, LOG_ID, 5, -1, NOW), 2);
	EXPECT_INT(order(&p, LATE_REMOVE, LOG_ID, 5, -1, NOW), 0);
	EXPECT(is_there(&p, 5, 0));  /* W has not passed it */
	EXPECT_ERR(late_order(p.l, LATE_REMOVE, 0, 0, -1, NOW, &changed), ERR_INVALID);
	EXPECT_INT(order(&p, LATE_RETRY, LOG_ID, 99, -1, NOW), 0);
	stop(&p);
	test_dir_remove(p.path);
}

/* A retry by command is no failed try: what comes of it does not push the next one out. */
TEST(a_try_that_was_asked_for_does_not_count)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct late_row r;
	struct late_next next;

	start(&p, 0);
	add_all(&p, 5, STR("five\r\n"));
	EXPECT_INT(order(&p, LATE_RETRY, LOG_ID, 5, -1, NOW), 3);
	EXPECT_INT(order(&p, LATE_RETRY, LOG_ID, 5, -1, NOW + 1), 3);  /* twice is no more than once */
	EXPECT_INT(row(&p, &a, 5, 0).asked, NOW + 300);
	EXPECT_INT(row(&p, &a, 5, 1).asked, NOW + 60);
	EXPECT_INT(row(&p, &a, 5, 2).asked, 0);                        /* was parked: it has no time of its own */
	r = row(&p, &a, 5, 0);
	late_next_of(&(struct late_past){ true, NOW - 100, r.tries, r.asked }, NOW + 5, 86400, &next);
	EXPECT(next.tries == 1 && next.due == NOW + 300 && !next.is_over);
	late_next_of(&(struct late_past){ true, NOW - 100, r.tries, r.asked }, NOW + 400, 86400, &next);  /* that time has passed */
	EXPECT(next.tries == 1 && next.due == NOW + 700);
	late_next_of(&(struct late_past){ true, NOW - 100, r.tries, 0 }, NOW + 5, 86400, &next);
	EXPECT(next.tries == 2 && next.due == NOW + 605);
	late_next_of(&(struct late_past){ true, NOW - 90000, r.tries, r.asked }, NOW, 86400, &next);
	EXPECT(next.is_over);
	struct late_change c = { .key = { LOG_ID, 5, 0 }, .state = LATE_WAITING, .due = NOW + 300, .tries = 1, .tried = NOW + 5 };
	EXPECT_OK(late_change(p.l, &c, 1));
	r = row(&p, &a, 5, 0);
	EXPECT(r.asked == 0 && r.tried == NOW + 5 && r.due == NOW + 300);
	stop(&p);
	test_dir_remove(p.path);
}

TEST(pages_and_names)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct place p = { 0 };
	struct late_message *m;
	struct late_row *rows;
	struct late_summary sum;
	uint64_t log_id;
	size_t n;

	start(&p, 0);
	for (uint64_t seq = 1; seq <= 5; seq++)
		add_all(&p, seq, STR("x\r\n"));
	for (uint16_t i = 0; i < 3; i++)
		finish(&p, 3, i);
	EXPECT_OK(late_list(p.l, 0, 0, 3, &a, &m, &n));
	EXPECT(n == 3 && m[0].seq == 1 && m[1].seq == 2 && m[2].seq == 4);
	EXPECT_OK(late_list(p.l, LOG_ID, 4, 3, &a, &m, &n));
	EXPECT(n == 1 && m[0].seq == 5);
	finish(&p, 5, 0);
	EXPECT_OK(late_rows(p.l, LOG_ID, 5, 0, 10, &a, &rows, &n));
	EXPECT(n == 2 && rows[0].key.recipient == 1 && rows[1].key.recipient == 2);
	EXPECT_OK(late_summarise(p.l, LOG_ID, 5, &sum));
	EXPECT(sum.waiting == 2 && sum.held == 0 && sum.next_due == NOW + 60);
	EXPECT_OK(late_find_name(p.l, 0, 5, &log_id));
	EXPECT_INT(log_id, LOG_ID);
	EXPECT_ERR(late_find_name(p.l, 1, 5, &log_id), ERR_NOTFOUND);
	EXPECT_ERR(late_find_name(p.l, 0, 3, &log_id), ERR_NOTFOUND);
	stop(&p);
	test_dir_remove(p.path);
}

TEST(log_ids_use_all_64_bits)
{
	struct envelope_recipient bob = { .address = STR("bob@example.test"), .account = 1 };
	struct envelope e = { .source = ENVELOPE_MX, .body = ENVELOPE_7BIT, .n = 1, .recipients = &bob };
	struct late_recipient r = { .state = LATE_WAITING, .due = NOW };
	struct late_new m = { .log_id = UINT64_C(0xfedcba9876543210), .seq = 8, .envelope = &e, .body = STR(""), .n = 1,
		.recipients = &r };
	struct place p = { 0 };
	uint64_t found;

	start(&p, 0);
	EXPECT_OK(late_add(p.l, &m, 1));
	EXPECT_OK(late_find_name(p.l, 0xfedcba98, 8, &found));
	EXPECT(found == m.log_id);
	stop(&p);
	test_dir_remove(p.path);
}

/* More than the write-ahead log is kept at; nothing is complained of. */
TEST(the_largest_group)
{
	enum { N = ENVELOPE_RECIPIENTS_MAX };
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int said = memfd_create("log", MFD_CLOEXEC);
	struct envelope_recipient *to = arena_array(&a, N, sizeof(*to));
	struct late_recipient *r = arena_array(&a, N, sizeof(*r));
	struct late_change *done = arena_array(&a, N, sizeof(*done));
	struct envelope e = { .source = ENVELOPE_MX, .body = ENVELOPE_7BIT, .n = N, .recipients = to };
	struct late_new m = { .log_id = LOG_ID, .seq = 8, .envelope = &e, .body = STR(""), .n = N, .recipients = r };
	struct place p = { 0 };
	struct late_counts c;

	for (size_t i = 0; i < N; i++) {
		to[i] = (struct envelope_recipient){ .address = arena_printf(&a, "user%zu@example.test", i), .account = i };
		r[i] = (struct late_recipient){ .index = (uint16_t)i, .state = LATE_WAITING, .due = NOW + (int64_t)i };
		done[i] = (struct late_change){ .key = { LOG_ID, 8, (uint16_t)i }, .state = LATE_FINISHED };
	}
	log_to_fd(said);
	start(&p, 0);
	EXPECT_OK(late_add(p.l, &m, 1));
	EXPECT_OK(late_count(p.l, &c));
	EXPECT_INT(c.waiting, N);
	EXPECT_OK(late_change(p.l, done, N));
	EXPECT_OK(late_passed(p.l, 8));
	EXPECT_INT(files(&p), 1);  /* the one that is open */
	EXPECT(!is_there(&p, 8, 0) && !is_there(&p, 8, N - 1));
	stop(&p);
	log_to_fd(2);
	EXPECT_INT(lseek(said, 0, SEEK_END), 0);
	test_dir_remove(p.path);
}

TEST(large_bodies_and_spool_files)
{
	static const struct late_recipient one = { .index = 0, .state = LATE_WAITING, .due = NOW };
	CLEANUP(buf_free) struct buf large = BUF(4 << 20);
	struct place p = { 0 };
	CLEANUP(disk_dir_close) struct disk_dir *spool = NULL;

	start(&p, 0);
	while (large.n <= LATE_SHARED_MAX)
		buf_add(&large, STR("0123456789\r\n"));
	EXPECT_OK(add(&p, 1, &one, 1, buf_str(&large), 0));
	EXPECT_OK(add(&p, 2, &one, 1, STR("small\r\n"), 0));
	EXPECT_OK(disk_dir_open_below(p.dir, "spool", true, &spool));
	EXPECT_OK(disk_write_file(p.dir, "spool/00000000000000000042", buf_str(&large)));
	EXPECT_OK(disk_write_file(p.dir, "spool/00000000000000000043", STR("small in spool\r\n")));
	EXPECT_OK(add(&p, 3, &one, 1, buf_str(&large), 42));
	EXPECT_OK(add(&p, 4, &one, 1, STR("small in spool\r\n"), 43));
	EXPECT_INT(files(&p), 2);
	expect_body(&p, 1, buf_str(&large));
	expect_body(&p, 2, STR("small\r\n"));
	expect_body(&p, 3, buf_str(&large));
	expect_body(&p, 4, STR("small in spool\r\n"));
	EXPECT(late_names_spool(p.l, 42) && !late_names_spool(p.l, 44));
	EXPECT_OK(late_passed(p.l, 3));
	for (uint64_t seq = 1; seq <= 4; seq++)
		finish(&p, seq, 0);
	EXPECT(!late_names_spool(p.l, 42) && !disk_exists(p.dir, "spool/00000000000000000042"));
	EXPECT(late_names_spool(p.l, 43) && disk_exists(p.dir, "spool/00000000000000000043"));  /* W is not there yet */
	EXPECT_OK(late_passed(p.l, 4));
	EXPECT(!disk_exists(p.dir, "spool/00000000000000000043"));
	stop(&p);
	start(&p, 4);
	EXPECT_INT(files(&p), 0);  /* the shared file that was open is swept at the opening */
	stop(&p);
	test_dir_remove(p.path);
}

/* Many bodies fill several shared files; each goes with its last message. */
TEST(shared_files_are_sealed)
{
	static const struct late_recipient one = { .index = 0, .state = LATE_WAITING, .due = NOW };
	CLEANUP(buf_free) struct buf body = BUF(4 << 20);
	struct place p = { 0 };

	start(&p, 0);
	while (body.n < LATE_FILE_SEAL / 16)
		buf_add_char(&body, 'x');
	for (uint64_t seq = 1; seq <= 40; seq++)
		EXPECT_OK(add(&p, seq, &one, 1, buf_str(&body), 0));
	EXPECT_INT(files(&p), 3);
	expect_body(&p, 1, buf_str(&body));
	expect_body(&p, 40, buf_str(&body));
	EXPECT_OK(late_passed(p.l, 40));
	for (uint64_t seq = 1; seq <= 20; seq++)
		finish(&p, seq, 0);
	EXPECT_INT(files(&p), 2);
	stop(&p);
	test_dir_remove(p.path);
}

/* ---- the write-ahead log. A checkpoint while a statement reads or writes would be refused, and the log grow for ever: none is open where one is made. */

static enum err do_passed(struct place *p) { return late_passed(p->l, 6); }
static enum err do_due(struct place *p) { return late_change(p->l, &(struct late_change){ .key = { LOG_ID, 7, 0 }, .state = LATE_WAITING, .due = NOW }, 1); }
static enum err do_finished(struct place *p) { return late_change(p->l, &(struct late_change){ .key = { LOG_ID, 7, 0 }, .state = LATE_FINISHED }, 1); }
static enum err do_order(struct place *p) { return late_order(p->l, LATE_RETRY, LOG_ID, 7, -1, NOW, &(uint64_t){ 0 }); }
static enum err do_remove(struct place *p) { return late_order(p->l, LATE_REMOVE, LOG_ID, 7, 1, NOW, &(uint64_t){ 0 }); }
static enum err do_final(struct place *p)
{
	return late_change(p->l, &(struct late_change){ .key = { LOG_ID, 7, 2 }, .state = LATE_REPORT, .due = NOW, .notice = REPORT_FAILED }, 1);
}
static enum err do_set_back(struct place *p) { return late_set_back(p->l, NOW - 9000); }
static enum err do_deadline(struct place *p) { return late_pass_deadline(p->l, &(struct late_overdue){ { LOG_ID, 7, 2 }, false }, 1); }
static enum err do_add(struct place *p)
{
	add_all(p, 8, STR("eight\r\n"));
	return ERR_OK;
}
static enum err do_readdress(struct place *p)
{
	const struct envelope_recipient to[] = { { .address = STR("eve@example.test"), .account = 3 }, { .address = STR("fay@example.test"), .account = 4 } };

	return late_readdress(p->l, &(struct late_key){ LOG_ID, 8, 2 }, to, 2, NOW);
}
static enum err do_report(struct place *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_report r[2];
	size_t n;

	return late_report_begin(p->l, NOW + 9000, 2, &a, r, &n);
}
static enum err do_report_end(struct place *p) { return late_report_end(p->l, LOG_ID, 7, 1); }

TEST(every_change_may_empty_the_write_ahead_log)
{
	static enum err (*const changes[])(struct place *p) = {
		do_passed, do_due, do_order, do_final, do_set_back, do_deadline, do_add, do_readdress, do_report, do_report_end, do_remove, do_finished,
	};
	static const char fill[] = "UPDATE filler SET x = zeroblob(4200000 + (length(x) + 1) % 2)";
	static const struct db_step make[] = { { 1, "CREATE TABLE filler (x); INSERT INTO filler VALUES (1);" } };
	struct place p = { 0 };

	start(&p, 0);
	EXPECT_OK(db_migrate(p.l->db, "filler", make, 1));
	add_all(&p, 6, STR("six\r\n"));
	add_all(&p, 7, STR("seven\r\n"));
	EXPECT_INT(order(&p, LATE_REMOVE, LOG_ID, 6, -1, NOW), 3);
	EACH(changes, change) {
		struct stmt *q = db_query(p.l->db, fill);
		EXPECT_OK(stmt_done(q));
		stmt_release(&q);
		EXPECT(db_wal_pages(p.l->db) > 1000);
		EXPECT_OK((*change)(&p));
		if (db_wal_pages(p.l->db) != 0)
			print_error("change %zu\n", (size_t)(change - changes));
		EXPECT_INT(db_wal_pages(p.l->db), 0);
	}
	EXPECT(!is_there(&p, 6, 0));
	stop(&p);
	test_dir_remove(p.path);
}

TEST(a_damaged_body_is_said_to_be)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct place p = { 0 };
	int fd;

	log_setup("test", LOG_LEVEL_ERROR + 1, false);
	start(&p, 0);
	add_all(&p, 5, STR("five\r\n"));
	EXPECT_OK(disk_write_file(p.dir, "late/000001", STR("fife\r\n")));
	EXPECT_ERR(late_body(p.l, LOG_ID, 5, &b, &fd), ERR_CORRUPT);
	EXPECT_OK(disk_remove(p.dir, "late/000001"));
	EXPECT_ERR(late_body(p.l, LOG_ID, 5, &b, &fd), ERR_CORRUPT);
	EXPECT_ERR(late_body(p.l, LOG_ID, 6, &b, &fd), ERR_NOTFOUND);
	stop(&p);
	log_setup("test", LOG_LEVEL_INFO, false);
	test_dir_remove(p.path);
}

TEST(when_to_try_again)
{
	static const struct { uint32_t tries; int64_t wait_s; } cases[] = { { 1, 15 }, { 2, 30 }, { 3, 60 }, { 8, 1920 }, { 9, 3600 },
		{ 500, 3600 } };
	int64_t due;

	EACH(cases, c) {
		EXPECT(late_next_try(NOW, NOW - 10, 86400, c->tries, &due));
		EXPECT_INT(due, NOW + c->wait_s);
	}
	EXPECT(!late_next_try(NOW, NOW - 86400, 86400, 30, &due));
	EXPECT(late_next_try(NOW, NOW + 100, 86400, 1, &due));  /* a clock that was set back */
}

TEST(how_old_it_is)
{
	static const struct { struct late_past past; int64_t age_s; } cases[] = {
		{ { true, NOW - 100, 9, 0 }, 100 },
		{ { true, NOW + 1, 0, 0 }, 0 },                         /* it came while the clock was ahead: its tries are counted */
		{ { true, NOW + 1, 1, 0 }, 300 },
		{ { true, NOW + 1, 3, 0 }, 300 + 600 + 1200 },
		{ { true, NOW + 1, 8, 0 }, 300 * 63 + 2 * 14400 },
		{ { false, NOW + 1, 9, 0 }, 15 * 255 + 3600 },
	};

	EACH(cases, c)
		EXPECT_INT(late_age(&c->past, NOW), c->age_s);
}

/* The clock was ahead by a day when these were written. */
TEST(a_clock_that_was_set_back)
{
	static const struct late_recipient r[] = {
		{ 0, LATE_WAITING, NOW + 86400 + 60, 2, { "4.2.2", 5 }, { "over quota", 10 } },
		{ 1, LATE_WAITING, NOW + 20, 2, { "4.3.2", 5 }, { "no answer", 9 } },
		{ 2, LATE_WAITING, NOW + 86400 + 14400, 30, { "4.4.1", 5 }, { "no answer", 9 } },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_change told = { .key = { LOG_ID, 6, 0 }, .state = LATE_REPORT, .due = NOW + 86400, .notice = REPORT_FAILED };
	struct place p = { 0 };

	start(&p, 0);
	EXPECT_OK(add(&p, 5, r, 3, STR("five"), 0));
	add_all(&p, 6, STR("six"));
	EXPECT_OK(late_change(p.l, &told, 1));
	EXPECT(!late_report_is_due(p.l, NOW + 10));
	EXPECT_OK(late_set_back(p.l, NOW));
	EXPECT_INT(row(&p, &a, 5, 0).due, NOW + 30);
	EXPECT_INT(row(&p, &a, 5, 1).due, NOW + 20);
	EXPECT_INT(row(&p, &a, 5, 2).due, NOW + 14400);
	EXPECT_INT(row(&p, &a, 6, 1).due, NOW + 15);
	EXPECT_INT(row(&p, &a, 6, 2).due, LATE_NEVER);      /* parked; by no clock of before */
	EXPECT(row(&p, &a, 6, 2).added <= NOW);
	EXPECT(late_report_is_due(p.l, NOW + 10));
	stop(&p);
	test_dir_remove(p.path);
}
