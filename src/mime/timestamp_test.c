/* Timestamps, there and back. */
#include "base/test.h"
#include "mime/timestamp.h"

TEST(read_and_written)
{
	static const struct { const char *in; int64_t want; const char *back; } cases[] = {
		{ "1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z" },
		{ "2026-11-28T10:00:00Z", 1795860000, "2026-11-28T10:00:00Z" },
		{ "2026-11-28t11:00:00+01:00", 1795860000, "2026-11-28T10:00:00Z" },
		{ "2026-11-27T22:30:00.25-11:30", 1795860000, "2026-11-28T10:00:00Z" },
		{ "2024-02-29T23:59:60z", 1709251199, "2024-02-29T23:59:59Z" },   /* a leap second, of sorts */
		{ "0000-01-01T00:00:00Z", -62167219200, "0000-01-01T00:00:00Z" },
		{ "9999-12-31T23:59:59Z", 253402300799, "9999-12-31T23:59:59Z" },
	};
	EACH(cases, c) {
		char text[TIMESTAMP_TEXT_MAX];
		struct scan s = scan_of(str_of(c->in));
		EXPECT_INT(scan_timestamp(&s), c->want);
		EXPECT(!s.failed && scan_done(&s));
		EXPECT_STR(timestamp_text(c->want, text), c->back);
	}
	char text[TIMESTAMP_TEXT_MAX];
	EXPECT_STR(timestamp_text(INT64_MAX, text), "9999-12-31T23:59:59Z");
}

TEST(none)
{
	static const char *const cases[] = {
		"", "2026-11-28", "2026-11-28T10:00:00", "2026-11-28 10:00:00Z", "26-11-28T10:00:00Z", "2026-13-01T10:00:00Z", "2026-02-29T10:00:00Z",
		"2026-11-31T10:00:00Z", "2026-11-28T24:00:00Z", "2026-11-28T10:60:00Z", "2026-11-28T10:00:61Z", "2026-11-28T10:00:00.Z",
		"2026-11-28T10:00:00+1:00", "2026-11-28T10:00:00+24:00", "+026-11-28T10:00:00Z", "2026-11-28T10:00:0",
	};
	EACH(cases, c) {
		struct scan s = scan_of(str_of(*c));
		(void)scan_timestamp(&s);
		EXPECT(s.failed);
	}
}
