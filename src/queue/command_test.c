/* What `facteur queue …` asks and gets, from the encoded question to the decoded answer. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/test.h"
#include "queue/command.h"
#include "queue/late_private.h"

enum { LOG_ID_HIGH = 0x3f2a9c01 };
static const uint64_t LOG_ID = UINT64_C(0x3f2a9c0112345678);

struct place { const char *path; struct disk_dir *dir; struct late *l; struct buf answer; struct arena arena; };

static void start(struct place *p)
{
	log_setup("test", LOG_LEVEL_WARN, false);
	*p = (struct place){ .path = test_dir(), .answer = BUF(MESSAGE_BODY_MAX) };
	EXPECT_OK(disk_dir_open(p->path, &p->dir));
	EXPECT_OK(late_open(p->dir, LOG_ID, 0, &p->l));
}

static void stop(struct place *p)
{
	late_close(&p->l);
	disk_dir_close(&p->dir);
	buf_free(&p->answer);
	arena_free(&p->arena);
	test_dir_remove(p->path);
}

/* n recipients, every third elsewhere, with long reasons. */
static void add(struct place *p, uint64_t seq, size_t n, struct str sender)
{
	struct envelope_recipient *to = arena_array(&p->arena, n, sizeof(*to));
	struct late_recipient *r = arena_array(&p->arena, n, sizeof(*r));
	struct envelope e = { .source = ENVELOPE_MX, .sender = sender, .body = ENVELOPE_7BIT, .received = 1700000000,
		.peer = STR("[192.0.2.1]"), .n = n, .recipients = to };
	struct late_new m = { .log_id = LOG_ID, .seq = seq, .envelope = &e, .body = STR("x\r\n"), .size = 3,
		.crc = crc32c(0, "x\r\n", 3), .n = n, .recipients = r };

	for (size_t i = 0; i < n; i++) {
		to[i] = (struct envelope_recipient){ .address = arena_printf(&p->arena, "user%zu@example.test", i),
			.account = i % 3 };
		r[i] = (struct late_recipient){ .index = (uint16_t)i, .state = LATE_WAITING, .due = i % 3 ? 1800000000 : LATE_NEVER,
			.tries = 2, .status = STR("4.2.2"), .reason = arena_printf(&p->arena, "%0450d", 7) };
	}
	EXPECT_OK(late_add(p->l, &m, 1));
}

static enum err ask(struct place *p, struct queue_command c, struct queue_answer *out, bool *has_changed)
{
	CLEANUP(buf_free) struct buf request = BUF(1000);
	struct queue_counters counters = { .log_id = LOG_ID, .w = 3, .last_seq = 9, .fill_percent = 12, .failing = 2, .failing_account = 7, .backlog = 4 };

	queue_command_encode(&c, &request);
	buf_reset(&p->answer);
	TRY(queue_command_serve(p->l, NULL, &counters, buf_str(&request), &p->answer, has_changed));
	return queue_answer_decode(buf_str(&p->answer), &p->arena, out);
}

TEST(counters)
{
	struct queue_answer answer;
	struct place p;
	bool changed;

	start(&p);
	add(&p, 5, 4, STR("ann@example.org"));
	EXPECT_OK(ask(&p, (struct queue_command){ .kind = QUEUE_COUNTERS }, &answer, &changed));
	EXPECT_INT(answer.counters.fill_percent, 12);
	EXPECT_INT(answer.counters.failing, 2);
	EXPECT_INT(answer.counters.failing_account, 7);
	EXPECT_INT(answer.counters.backlog, 4);
	EXPECT_INT(answer.counters.late.waiting, 4);
	EXPECT_INT(answer.counters.late.elsewhere, 2);
	EXPECT_INT(answer.counters.late.oldest, 1700000000);
	EXPECT_INT(answer.counters.late.next_due, 1800000000);
	stop(&p);
}

/* All pages together show each message once. */
TEST(the_list_in_pages)
{
	struct queue_command c = { .kind = QUEUE_LIST };
	struct queue_answer answer;
	struct place p;
	uint64_t seq = 0;
	size_t pages = 0;
	bool changed;

	start(&p);
	for (uint64_t i = 1; i <= 130; i++)
		add(&p, i, 2, i % 2 ? STR("ann@example.org") : STR(""));
	do {
		EXPECT_OK(ask(&p, c, &answer, &changed));
		for (size_t i = 0; i < answer.n; i++) {
			const struct queue_listed *m = &answer.messages[i];
			EXPECT_INT(m->id.seq, ++seq);
			EXPECT_STR(m->sender, seq % 2 ? "ann@example.org" : "");
			EXPECT(m->waiting == 2 && m->held == 0 && m->size == 3 && m->next_due == 1800000000);
			EXPECT_STR(m->address, "user0@example.test");
			EXPECT_STR(m->status, "4.2.2");
			EXPECT_INT(m->reason.n, 450);
			c.after = m->id;
		}
		pages++;
	} while (answer.has_more);
	EXPECT_INT(seq, 130);
	EXPECT(pages >= 2);
	stop(&p);
}

static void damage(struct place *p, uint64_t seq)
{
	struct stmt *q = db_query(p->l->db, "UPDATE message SET envelope = x'00' WHERE seq = ?1");

	stmt_bind_u64(q, 1, seq);
	EXPECT_OK(stmt_done(q));
	stmt_release(&q);
}

/* Its envelope cannot be read: the others are listed, and it is named, with what to do. It can be looked at, and taken out. */
TEST(a_damaged_one_among_others)
{
	struct queue_command c = { .kind = QUEUE_LIST };
	struct queue_answer answer;
	struct place p;
	bool changed;

	start(&p);
	for (uint64_t i = 1; i <= 3; i++)
		add(&p, i, 2, STR("ann@example.org"));
	damage(&p, 2);
	EXPECT_OK(ask(&p, c, &answer, &changed));
	EXPECT_INT(answer.n, 3);
	for (size_t i = 0; i < answer.n; i++) {
		const struct queue_listed *m = &answer.messages[i];
		bool is_whole = m->id.seq != 2;
		EXPECT_STR(m->sender, is_whole ? "ann@example.org" : "?");
		EXPECT_STR(m->address, "user0@example.test");
		EXPECT_INT(m->received, 1700000000);
		EXPECT((str_find(m->reason, STR("`facteur queue remove 3f2a9c01-2`")) > 0) == !is_whole);
	}
	EXPECT_OK(ask(&p, (struct queue_command){ .kind = QUEUE_SHOW, .name = STR("3f2a9c01-2") }, &answer, &changed));
	EXPECT_INT(answer.n, 2);
	EXPECT_STR(answer.recipients[1].address, "user1@example.test");
	EXPECT(str_find(answer.messages[0].reason, STR("remove 3f2a9c01-2")) > 0);
	EXPECT_OK(ask(&p, (struct queue_command){ .kind = QUEUE_REMOVE, .name = STR("3f2a9c01-2"), .recipient = -1 }, &answer, &changed));
	EXPECT_INT(answer.changed, 2);
	EXPECT_OK(ask(&p, c, &answer, &changed));
	EXPECT_INT(answer.n, 2);
	stop(&p);
}

/* Whatever place it has among them; a page in which nothing is found is not the end. */
TEST(the_list_of_those_for_somebody)
{
	static const struct { const char *text; uint64_t first; size_t n; const char *address; } cases[] = {
		{ "",                  1,   130, "user0@example.test" },
		{ "user1@",            1,   130, "user1@example.test" },
		{ "USER4@Example",     100, 1,   "user4@example.test" },
		{ "user_@",            0,   0,   NULL },
		{ "%",                 0,   0,   NULL },
		{ "nobody",            0,   0,   NULL },
	};

	struct place p;
	start(&p);
	for (uint64_t i = 1; i <= 130; i++)
		add(&p, i, i == 100 ? 5 : 2, STR("ann@example.org"));
	EACH(cases, c) {
		struct queue_command ask_it = { .kind = QUEUE_LIST, .text = str_of(c->text) };
		struct queue_answer answer;
		uint64_t first = 0;
		size_t n = 0;
		bool changed;
		do {
			EXPECT_OK(ask(&p, ask_it, &answer, &changed));
			for (size_t i = 0; i < answer.n; i++, n++) {
				first = first ? first : answer.messages[i].id.seq;
				EXPECT_STR(answer.messages[i].address, c->address);
			}
			ask_it.after = answer.last;
		} while (answer.has_more);
		EXPECT(first == c->first && n == c->n);
	}
	stop(&p);
}

TEST(one_message_with_many_recipients)
{
	static const struct str unknown[] = { { "3f2a9c01-6", 10 }, { "nonsense", 8 }, { NULL, 0 } };
	struct queue_command c = { .kind = QUEUE_SHOW, .name = STR("3f2a9c01-5") };
	struct queue_answer answer;
	struct place p;
	size_t seen = 0;
	bool changed;

	start(&p);
	add(&p, 5, 1000, STR("ann@example.org"));
	do {
		EXPECT_OK(ask(&p, c, &answer, &changed));
		EXPECT_INT(answer.messages->waiting, 1000);
		EXPECT_STR(answer.peer, "[192.0.2.1]");
		for (size_t i = 0; i < answer.n; i++)
			EXPECT_INT(answer.recipients[i].index, seen++);
		c.from = (uint16_t)seen;
	} while (answer.has_more);
	EXPECT_INT(seen, 1000);
	EACH(unknown, name) {
		EXPECT_ERR(ask(&p, (struct queue_command){ .kind = QUEUE_SHOW, .name = *name }, &answer, &changed), ERR_NOTFOUND);
		EXPECT_INT(p.answer.n, 0);
	}
	stop(&p);
}

TEST(orders)
{
	static const struct {
		enum queue_command_kind kind;
		const char *name;
		int         recipient;
		enum err    want;
		int         changed;
	} cases[] = {
		{ QUEUE_HOLD,    "3f2a9c01-5", -1, ERR_OK,       4 },
		{ QUEUE_RETRY,   "3f2a9c01-5", -1, ERR_OK,       0 },  /* held */
		{ QUEUE_RELEASE, "3f2a9c01-5", 1,  ERR_OK,       1 },
		{ QUEUE_RELEASE, "3f2a9c01-5", -1, ERR_OK,       3 },
		{ QUEUE_RETRY,   "",           -1, ERR_OK,       8 },  /* of both messages */
		{ QUEUE_REMOVE,  "3f2a9c01-5", 0,  ERR_OK,       1 },
		{ QUEUE_REMOVE,  "",           -1, ERR_INVALID,  0 },
		{ QUEUE_REMOVE,  "3f2a9c01-5", -1, ERR_OK,       3 },
		{ QUEUE_REMOVE,  "3f2a9c01-5", -1, ERR_NOTFOUND, 0 },
		{ QUEUE_RETRY,   "3f2a9c02-6", -1, ERR_NOTFOUND, 0 },
	};
	struct queue_answer answer;
	struct place p;
	bool changed;

	start(&p);
	add(&p, 5, 4, STR("ann@example.org"));
	add(&p, 6, 4, STR("ann@example.org"));
	EACH(cases, c) {
		answer = (struct queue_answer){ 0 };
		struct queue_command order = { .kind = c->kind, .name = str_of(c->name), .recipient = c->recipient };
		EXPECT_ERR(ask(&p, order, &answer, &changed), c->want);
		EXPECT_INT(answer.changed, c->changed);
		EXPECT_INT(changed, c->changed > 0);
	}
	EXPECT_OK(late_pause(p.l, STR("example.test"), true));
	EXPECT_OK(ask(&p, (struct queue_command){ .kind = QUEUE_RETRY, .name = STR(""), .recipient = -1 }, &answer, &changed));
	EXPECT_INT(answer.changed, 2);  /* those elsewhere wait all the same */
	stop(&p);
}

TEST(destinations_are_asked_of_a_queue_that_sends)
{
	struct queue_answer answer;
	struct place p;
	bool changed;

	start(&p);
	EXPECT_INT(ask(&p, (struct queue_command){ .kind = QUEUE_DESTINATIONS }, &answer, &changed), ERR_UNAVAILABLE);
	EXPECT_INT(ask(&p, (struct queue_command){ .kind = QUEUE_PAUSE, .name = STR("far.test") }, &answer, &changed), ERR_UNAVAILABLE);
	stop(&p);
}

TEST(malformed_questions)
{
	static const struct str cases[] = {
		{ "", 0 }, { "\0", 1 }, { "\x08", 1 }, { "\1x", 2 }, { "\2\0", 2 }, { "\3\xff\xff\xff\xff", 5 },
		{ "\4\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff", 13 },  /* recipient -2 */
	};
	struct queue_command c;

	EACH(cases, s) EXPECT_ERR(queue_command_decode(*s, &c), ERR_INVALID);
}
