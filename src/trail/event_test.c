/* What is noted comes back as it was, clipped where a stranger wrote too much; and who may note what. */
#include "base/test.h"
#include "trail/trail.h"

static struct trail_event full(void)
{
	static const struct trail_recipient to[] = { { { "bob@example.org", 15 }, 7 }, { { "x@elsewhere.example", 19 }, 0 } };

	return (struct trail_event){
		.kind = TRAIL_RECEIVED, .at_ms = 1700000000123, .log_id = 0x1122334455667788, .seq = 42, .parent_log_id = 1,
		.parent_seq = 2, .account = 3, .size = 4096, .due = 5, .count = 2, .source = 1, .sender = STR("ann@example.net"),
		.recipient = STR("carol@example.org"), .message_id = STR("a.b@c"), .peer = STR("mx [192.0.2.1]"),
		.status = STR("4.2.2"), .text = STR("450 4.2.2 full\n450 4.2.2 sorry"), .tls = STR("TLSv1.3"), .where = STR("INBOX"),
		.received_id = STR("0a1b2c3d4e.7"), .n = 2, .recipients = to,
	};
}

static void expect_same(const struct trail_event *a, const struct trail_event *b)
{
	EXPECT_INT(a->kind, b->kind);
	EXPECT_INT(a->at_ms, b->at_ms);
	EXPECT(a->log_id == b->log_id && a->seq == b->seq);
	EXPECT(a->parent_log_id == b->parent_log_id && a->parent_seq == b->parent_seq);
	EXPECT(a->account == b->account && a->size == b->size && a->due == b->due && a->count == b->count);
	EXPECT_INT(a->source, b->source);
	EXPECT(str_eq(a->sender, b->sender) && str_eq(a->recipient, b->recipient) && str_eq(a->message_id, b->message_id));
	EXPECT(str_eq(a->peer, b->peer) && str_eq(a->status, b->status) && str_eq(a->text, b->text));
	EXPECT(str_eq(a->tls, b->tls) && str_eq(a->where, b->where) && str_eq(a->received_id, b->received_id));
	EXPECT_INT(a->n, b->n);
	for (size_t i = 0; i < a->n; i++)
		EXPECT(a->recipients[i].account == b->recipients[i].account &&
		       str_eq(a->recipients[i].address, b->recipients[i].address));
}

TEST(there_and_back)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(1 << 20);
	struct trail_event events[] = { full(), { .kind = TRAIL_DELIVERED, .log_id = 1, .seq = 1 } }, out;

	EACH(events, e)
		trail_event_encode(e, &b);
	struct scan s = scan_of(buf_str(&b));
	EACH(events, e) {
		EXPECT(trail_event_decode(&s, &a, &out));
		expect_same(e, &out);
	}
	EXPECT(!trail_event_decode(&s, &a, &out) && !s.failed);
}

TEST(a_long_text_is_clipped)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);
	struct trail_event e = full(), out;
	char *text = arena_alloc(&a, 100000);
	struct trail_recipient many[100];

	memset(text, 'x', 100000);
	e.sender = e.recipient = e.message_id = e.peer = e.status = e.text = e.tls = e.where = str_make(text, 100000);
	for (size_t i = 0; i < COUNT_OF(many); i++)
		many[i] = (struct trail_recipient){ e.sender, i };
	e.recipients = many;
	e.n = COUNT_OF(many);
	trail_event_encode(&e, &b);
	EXPECT(!b.failed);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(trail_event_decode(&s, &a, &out));
	EXPECT_INT(out.text.n, TRAIL_TEXT_MAX);
	EXPECT_INT(out.n, TRAIL_RECIPIENTS_MAX);
	EXPECT_INT(out.recipients[19].address.n, TRAIL_ADDRESS_MAX);
}

TEST(what_a_later_release_noted_is_passed_over)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);
	struct trail_event e = full(), out;

	trail_event_encode(&e, &b);
	size_t first = b.n;
	trail_event_encode(&e, &b);
	b.p[0] = (char)200;           /* another kind */
	b.p[first + 6] = (char)0x80;  /* a field above all we know */
	e.kind = TRAIL_SENT;
	trail_event_encode(&e, &b);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(trail_event_decode(&s, &a, &out));
	EXPECT_INT(out.kind, TRAIL_SENT);
}

TEST(malformed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);
	struct trail_event e = full(), out;

	trail_event_encode(&e, &b);
	for (size_t n = 1; n < b.n; n++) {  /* cut anywhere */
		struct scan s = scan_of(str_sub(buf_str(&b), 0, n));
		EXPECT(!trail_event_decode(&s, &a, &out) && s.failed);
	}
	b.p[1]++;  /* one byte more than it has */
	buf_add_char(&b, 0);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(!trail_event_decode(&s, &a, &out) && s.failed);
}

TEST(who_may_note_what)
{
	static const struct { enum role who; uint64_t account; struct trail_event e; bool may; } cases[] = {
		{ ROLE_QUEUE, 0, { .kind = TRAIL_DELIVERED, .log_id = 1, .seq = 1 }, true },
		{ ROLE_MX, 0, { .kind = TRAIL_REFUSED }, true },
		{ ROLE_MX, 0, { .kind = TRAIL_LOST }, true },
		{ ROLE_MX, 0, { .kind = TRAIL_REFUSED, .log_id = 1, .seq = 1 }, false },    /* it has a name: the queue's business */
		{ ROLE_MX, 0, { .kind = TRAIL_DELIVERED }, false },
		{ ROLE_CELL, 7, { .kind = TRAIL_REFUSED, .account = 7 }, true },
		{ ROLE_CELL, 7, { .kind = TRAIL_REFUSED, .account = 8 }, false },           /* somebody else's account */
		{ ROLE_CELL, 7, { .kind = TRAIL_REFUSED }, false },
		{ ROLE_GATE, 0, { .kind = TRAIL_REFUSED }, false },
	};
	EACH(cases, c)
		EXPECT_INT(trail_may_note(c->who, c->account, &c->e), c->may);
}
