#include "base/bytes.h"
#include "base/test.h"
#include "queue/record.h"

TEST(inline_and_spool)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct record_message in = { .envelope = STR("envelope"), .body = STR("Subject: x\r\n\r\n"), .size = 14, .crc = 7 }, out;

	record_message_encode(&in, &b);
	buf_add(&b, in.body);
	EXPECT(record_message_decode(buf_str(&b), &out));
	EXPECT_STR(out.envelope, "envelope");
	EXPECT_STR(out.body, "Subject: x\r\n\r\n");
	EXPECT_INT(out.crc, 7);
	for (size_t cut = 0; cut < b.n; cut++)
		EXPECT(!record_message_decode(str_make(b.p, cut), &out));
	buf_reset(&b);
	in = (struct record_message){ .envelope = STR("e"), .spool = 42, .size = UINT64_C(5) << 30, .crc = 9 };
	record_message_encode(&in, &b);
	EXPECT(record_message_decode(buf_str(&b), &out));
	EXPECT_INT(out.spool, 42);
	EXPECT_INT(out.size, UINT64_C(5) << 30);
	EXPECT_STR(out.body, NULL);
	b.p[0]++;  /* a later version */
	EXPECT(!record_message_decode(buf_str(&b), &out));
}

TEST(an_empty_body_is_inline)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct record_message in = { .envelope = STR("e") }, out;

	record_message_encode(&in, &b);
	EXPECT(record_message_decode(buf_str(&b), &out));
	EXPECT(out.body.p != NULL);
	EXPECT_INT(out.body.n, 0);
}

TEST(what_has_been_sent)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct record_done in = { 7, 9, 2, { 0, 19999 }, { 0, RECORD_PEER_TELLS } }, out;

	record_done_encode(&in, &b);
	EXPECT(record_done_decode(buf_str(&b), &out));
	EXPECT(out.log_id == 7 && out.seq == 9 && out.n == 2 && out.recipients[0] == 0 && out.recipients[1] == 19999);
	EXPECT(out.taken[0] == 0 && out.taken[1] == RECORD_PEER_TELLS);
	EXPECT(!record_done_decode(str_sub(buf_str(&b), 0, b.n - 1), &out));
	in.n = 0;
	buf_reset(&b);
	record_done_encode(&in, &b);
	EXPECT(!record_done_decode(buf_str(&b), &out));
	in.n = RECORD_DONE_MAX;
	buf_reset(&b);
	record_done_encode(&in, &b);
	EXPECT(record_done_decode(buf_str(&b), &out));
}

/* As an older facteur wrote it: nobody is told of it, as he did not. */
TEST(what_has_been_sent_in_its_first_version)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct record_done out;

	put_u8(&b, 1);
	put_u64(&b, 7);
	put_u64(&b, 9);
	put_u32(&b, 1);
	put_u16(&b, 3);
	EXPECT(record_done_decode(buf_str(&b), &out));
	EXPECT(out.seq == 9 && out.recipients[0] == 3 && out.taken[0] == (RECORD_PEER_TELLS | RECORD_PASSED_BY));
	b.p[0] = 3;
	EXPECT(!record_done_decode(buf_str(&b), &out));
}

TEST(spool_names)
{
	char name[SPOOL_NAME_MAX];
	uint64_t n;

	spool_name(UINT64_MAX, name);
	EXPECT_STR(str_of(name), "spool/18446744073709551615");
	EXPECT(spool_name_parse(STR("18446744073709551615"), &n) && n == UINT64_MAX);
	spool_name(42, name);
	EXPECT_STR(str_of(name), "spool/00000000000000000042");
	EXPECT(spool_name_parse(str_from(str_of(name), 6), &n) && n == 42);
	EXPECT(!spool_name_parse(STR("42"), &n));
	EXPECT(!spool_name_parse(STR("00000000000000000000"), &n));
	EXPECT(!spool_name_parse(STR("0000000000000000004x"), &n));
}
