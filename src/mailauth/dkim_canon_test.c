/* What is hashed: the examples of RFC 6376, and what they leave open. */
#include "base/bytes.h"
#include "base/test.h"
#include "mailauth/dkim_canon.h"

TEST(relaxed_fields)
{
	static const struct { const char *name, *value, *out; } cases[] = {
		{ "A", " X", "a:X" },                                     /* RFC 6376 §3.4.5 */
		{ "B", " Y\t\r\n\tZ  ", "b:Y Z" },
		{ "SUBJect", "AbC\r\n", "subject:AbC" },
		{ "Subject", " \t caf\xc3\xa9  \t au  lait\t", "subject:caf\xc3\xa9 au lait" },
		{ "X", "", "x:" },
		{ "X", "   ", "x:" },
		{ "X", " a\r\n b\r\n\t c", "x:a b c" },
		{ "X", " a\rb\nc", "x:a\rb\nc" },                          /* no line breaks: text */
		{ "X", " a\r", "x:a\r" },
	};
	EACH(cases, c) {
		CLEANUP(buf_free) struct buf out = BUF(1000);
		dkim_relax_field(&out, str_of(c->name), str_of(c->value));
		EXPECT_STR(buf_str(&out), c->out);
	}
}

/* The hash of what remains: compared with the hash of the canonical text itself, in one piece and byte by byte. */
TEST(relaxed_bodies)
{
	static const struct { const char *in, *canonical; } cases[] = {
		{ " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n" },          /* RFC 6376 §3.4.5 */
		{ "", "" },
		{ "\r\n", "" },                                           /* §3.4.4: relaxed, nothing but line breaks is nothing */
		{ " \t \r\n\r\n  \r\n", "" },
		{ "a", "a\r\n" },                                         /* the last line gets its end */
		{ "a\r\n", "a\r\n" },
		{ "a\r\n ", "a\r\n" },
		{ "a \t", "a\r\n" },
		{ "\r\n\r\na\r\n\r\n\r\nb", "\r\n\r\na\r\n\r\n\r\nb\r\n" },
		{ "  a\r\n", " a\r\n" },
		{ "a\rb\r\nc\nd\r\n", "a\rb\r\nc\nd\r\n" },
		{ "a\r", "a\r\r\n" },
		{ "a\r\r\nb", "a\r\r\nb\r\n" },
		{ "\r", "\r\r\n" },
	};
	EACH(cases, c) {
		struct str in = str_of(c->in);
		uint8_t want[SHA256_SIZE], got[SHA256_SIZE];

		sha256(str_of(c->canonical), want);
		for (size_t step = 1; step <= 100; step += 99) {
			struct dkim_body b;

			dkim_body_begin(&b);
			for (size_t at = 0; at < in.n; at += step)
				dkim_body_add(&b, str_sub(in, at, step));
			dkim_body_end(&b, got);
			if (memcmp(want, got, sizeof got) != 0)
				print_error("body %s\n", c->in);
			EXPECT(memcmp(want, got, sizeof got) == 0);
		}
	}
}

/* RFC 8463, appendix A.3 */
TEST(known_hash)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	uint8_t hash[SHA256_SIZE];
	struct dkim_body b;

	dkim_body_begin(&b);
	dkim_body_add(&b, STR("Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"));
	dkim_body_end(&b, hash);
	EXPECT_STR(base64_encode(&a, str_make(hash, sizeof hash)), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
}

/* Larger than the buffer before the digest. */
TEST(large_body)
{
	CLEANUP(buf_free) struct buf in = BUF(1 << 20), canonical = BUF(1 << 20);
	uint8_t want[SHA256_SIZE], got[SHA256_SIZE];
	struct dkim_body b;

	for (int i = 0; i < 5000; i++) {
		buf_printf(&in, "line %d  of many \t\r\n", i);
		buf_printf(&canonical, "line %d of many\r\n", i);
	}
	sha256(buf_str(&canonical), want);
	dkim_body_begin(&b);
	for (size_t at = 0; at < in.n; at += 777)
		dkim_body_add(&b, str_sub(buf_str(&in), at, 777));
	dkim_body_end(&b, got);
	EXPECT(memcmp(want, got, sizeof got) == 0);
}
