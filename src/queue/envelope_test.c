#include "base/test.h"
#include "queue/envelope.h"

static struct envelope example(struct envelope_recipient *r, size_t n)
{
	return (struct envelope){ .source = ENVELOPE_MX, .sender = STR("ann@example.org"), .body = ENVELOPE_8BITMIME,
		.ret = ENVELOPE_RET_HDRS, .envid = STR("id 7"), .smtputf8 = true, .received = 1700000000,
		.peer = STR("mail.example.org [192.0.2.1]"), .parent = { 1, 2, 3, 4 },
		.wishes = { .release = 1700003600, .deliver_by = 1700090000, .by = ENVELOPE_BY_RETURN, .priority = -9, .tls = ENVELOPE_TLS_REQUIRED },
		.slowed_until = 1700000060, .list = STR("team@example.test"),
		.n = n, .recipients = r };
}

TEST(there_and_back)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(ENVELOPE_BYTES_MAX);
	struct envelope_recipient r[2] = {
		{ STR("bob+x@example.test"), STR("rfc822;bob+x@example.test"), STR("x"), 17, ENVELOPE_NOTIFY_FAILURE | ENVELOPE_NOTIFY_DELAY },
		{ STR("carol@elsewhere.example"), STR(""), STR(""), 0, 0 },
	};
	struct envelope in = example(r, 2), out;

	envelope_encode(&in, &b);
	EXPECT(!b.failed);
	EXPECT(envelope_decode(buf_str(&b), &a, &out));
	EXPECT_STR(out.sender, "ann@example.org");
	EXPECT_STR(out.recipients[0].detail, "x");
	EXPECT_INT(out.recipients[0].account, 17);
	EXPECT_INT(out.recipients[0].notify, 12);
	EXPECT_STR(out.recipients[1].address, "carol@elsewhere.example");
	EXPECT_INT(out.parent.ordinal, 4);
	EXPECT(out.smtputf8 && !out.is_authenticated);
	EXPECT(memcmp(&out.wishes, &in.wishes, sizeof in.wishes) == 0);  /* NOLINT: both began as zeros, padding too */
	EXPECT_INT(envelope_begins(&out), 1700003600);
	EXPECT_INT(out.slowed_until, 1700000060);
	EXPECT_STR(out.list, "team@example.test");
	for (size_t cut = 0; cut < b.n; cut++)
		EXPECT(!envelope_decode(str_make(b.p, cut), &a, &out));
	b.p[0] = 9;  /* of a later release */
	EXPECT(!envelope_decode(buf_str(&b), &a, &out));
}

TEST(many_recipients_and_one_too_many)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(ENVELOPE_BYTES_MAX);
	struct envelope_recipient *r = arena_array(&a, ENVELOPE_RECIPIENTS_MAX + 1, sizeof(*r));
	struct envelope in = example(r, ENVELOPE_RECIPIENTS_MAX), out;

	for (size_t i = 0; i <= ENVELOPE_RECIPIENTS_MAX; i++)
		r[i] = (struct envelope_recipient){ .address = arena_printf(&a, "user%zu@example.test", i), .account = i };
	envelope_encode(&in, &b);
	EXPECT(!b.failed && envelope_decode(buf_str(&b), &a, &out));
	EXPECT_STR(out.recipients[ENVELOPE_RECIPIENTS_MAX - 1].address, "user19999@example.test");
	buf_reset(&b);
	in.n++;
	envelope_encode(&in, &b);
	EXPECT(b.failed);
	buf_reset(&b);
	in.n = 0;
	envelope_encode(&in, &b);
	EXPECT(b.failed);
}

TEST(when_it_arrives)
{
	static const struct { int64_t received, release, now, want; } cases[] = {
		{ 1000, 0, 1005, 1000 },     /* as always */
		{ 1000, 2000, 2003, 2000 },  /* at its time */
		{ 1000, 2000, 1500, 1500 },  /* released by the administrator */
		{ 1000, 2000, 900, 1000 },   /* the clock was set back */
	};
	EACH(cases, c) {
		struct envelope e = { .received = c->received, .wishes = { .release = c->release } };
		EXPECT_INT(envelope_arrives(&e, c->now), c->want);
	}
}

/* As the first release wrote it: such records are still in a log, and such heads in queue.db, when a server is brought up to date. */
TEST(an_older_release_wrote_it)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct envelope out;

	buf_add(&b, STR("\x01\x02" "\x05\0\0\0" "a@b.c" "\x01\x00" "\0\0\0\0" "\x00\x01" "\x00\xf1\x53\x65\0\0\0\0" "\0\0\0\0"
	                "\x07\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\0\0"));
	EXPECT(envelope_head_decode(buf_str(&b), &out));
	EXPECT_STR(out.sender, "a@b.c");
	EXPECT_INT(out.submitter, 7);
	EXPECT_INT(out.wishes.release, 0);
	EXPECT_INT(out.wishes.priority, 0);
	EXPECT_INT(envelope_begins(&out), out.received);
	buf_add(&b, STR("\x01\0\0\0" "\x03\0\0\0" "x@y" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0\0\0\0\0" "\x00"));
	EXPECT(envelope_decode(buf_str(&b), &a, &out));
	EXPECT_STR(out.recipients[0].address, "x@y");
}

TEST(wishes_that_make_no_sense_are_refused)
{
	static const struct envelope_wishes cases[] = {
		{ .release = -1 }, { .deliver_by = 5 }, { .by = ENVELOPE_BY_RETURN }, { .deliver_by = 5, .by = 3 }, { .priority = 10 },
		{ .priority = -10 }, { .tls = 3 },
	};
	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(100);
		struct envelope_wishes out;
		put_wishes(&b, c);
		struct scan s = scan_of(buf_str(&b));
		get_wishes(&s, &out);
		EXPECT(s.failed);
	}
}
