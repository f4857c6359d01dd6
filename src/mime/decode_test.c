#include "mime/decode.h"
#include "base/test.h"

static const struct { enum mime_encoding e; const char *in, *out; bool is_damaged; } cases[] = {
	{ MIME_BASE64, "aGVsbG8=", "hello", false },
	{ MIME_BASE64, "aGVs\r\nbG8=\r\n", "hello", false },
	{ MIME_BASE64, "aGVsbG8", "hello", true },            /* padding forgotten */
	{ MIME_BASE64, "aGVs!bG8=", "hello", true },
	{ MIME_BASE64, "aGk=aGk=", "hihi", false },           /* pieces encoded one by one */
	{ MIME_BASE64, "", "", false },
	{ MIME_BASE64, "a", "", false },
	{ MIME_QUOTED_PRINTABLE, "caf=C3=A9 =3D\r\n", "caf\xc3\xa9 =\r\n", false },
	{ MIME_QUOTED_PRINTABLE, "soft=\r\nbreak=\nhere", "softbreakhere", false },
	{ MIME_QUOTED_PRINTABLE, "soft= \t\r\nbreak", "softbreak", false },
	{ MIME_QUOTED_PRINTABLE, "trailing  \t\r\nx ", "trailing\r\nx", false },
	{ MIME_QUOTED_PRINTABLE, "bad =ZZ =4 =", "bad =ZZ =4 ", true },
	{ MIME_QUOTED_PRINTABLE, "=e9=E9", "\xe9\xe9", false },
	{ MIME_QUOTED_PRINTABLE, "a = b", "a = b", true },
	{ MIME_7BIT, "a=3D", "a=3D", false },
};

TEST(decode_in_any_chunks)
{
	EACH(cases, c) {
		struct str in = str_of(c->in);
		for (size_t step = 1; step <= in.n + 1; step++) {
			struct mime_decoder d = mime_decoder(c->e);
			struct buf b = BUF(1000);
			for (size_t i = 0; i < in.n; i += step)
				mime_decode(&d, str_sub(in, i, step), &b);
			mime_decode_end(&d, &b);
			EXPECT_STR(b.n ? buf_str(&b) : STR(""), c->out);
			EXPECT(d.is_damaged == c->is_damaged);
			buf_free(&b);
		}
	}
}

TEST(base64_round)
{
	char bytes[300];
	struct arena a = { 0 };

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7);
	for (size_t n = 0; n < sizeof(bytes); n += 7) {
		struct mime_base64 e = { 0 };
		struct buf b = BUF(1000);
		for (size_t i = 0; i < n; i += 5)
			mime_base64_put(&e, str_sub(str_make(bytes, n), i, 5), &b);
		mime_base64_end(&e, &b);
		EXPECT(str_eq(mime_decode_all(&a, MIME_BASE64, buf_str(&b), 1000), str_make(bytes, n)));
		for (size_t i = 0, column = 0; i < b.n; i++) {
			column = b.p[i] == '\n' ? 0 : column + 1;
			EXPECT(column <= 77);  /* 76 and the CR */
		}
		EXPECT(n == 0 || b.p[b.n - 1] == '\n');
		buf_free(&b);
	}
	arena_free(&a);
}

TEST(quoted_printable_text)
{
	static const struct { const char *in, *out; } texts[] = {
		{ "caf\xc3\xa9 = x\n", "caf=C3=A9 =3D x\r\n" }, { "end \n\tx\t", "end=20\r\n\tx=09" }, { ".dot\nFrom me", "=2Edot\r\n=46rom me" },
		{ "a\r\nb\rc", "a\r\nb=0Dc" },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789012345",
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345" },
		{ "01234567890123456789012345678901234567890123456789012345678901234567890123456",
		  "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n56" },
		{ "012345678901234567890123456789012345678901234567890123456789012345678901234..",
		  "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n=2E." },
	};

	EACH(texts, c) {
		struct buf b = BUF(1000);
		mime_qp_put_text(str_of(c->in), &b);
		EXPECT_STR(buf_str(&b), c->out);
		buf_free(&b);
	}
}
