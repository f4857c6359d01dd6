#include "base/test.h"
#include "queue/envelope.h"

static struct envelope example(struct envelope_recipient *r, size_t n)
{
	return (struct envelope){ .source = ENVELOPE_MX, .sender = STR("ann@example.org"), .body = ENVELOPE_8BITMIME,
		.ret = ENVELOPE_RET_HDRS, .envid = STR("id 7"), .smtputf8 = true, .received = 1700000000,
		.peer = STR("mail.example.org [192.0.2.1]"), .parent = { 1, 2, 3, 4 }, .n = n, .recipients = r };
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
	for (size_t cut = 0; cut < b.n; cut++)
		EXPECT(!envelope_decode(str_make(b.p, cut), &a, &out));
	b.p[0]++;
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
