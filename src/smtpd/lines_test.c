/* Where a message ends, and what makes it unacceptable. Every case is also cut at each of its bytes. */
#include "base/buf.h"
#include "base/test.h"
#include "smtpd/lines.h"

/* The text, then "|flaw=" and "|rest=" when the end was met. */
static void run(struct str in, size_t piece, bool is_dotted, struct buf *out)
{
	struct lines l;
	struct str text, some;
	bool is_end = false;

	lines_begin(&l, is_dotted);
	while (in.n > 0 && !is_end) {
		size_t n = piece && piece < in.n ? piece : in.n;
		some = str_sub(in, 0, n);
		while (some.n > 0 && !is_end) {
			is_end = lines_take(&l, &some, 20, &text);
			buf_add(out, text);
		}
		in = str_from(in, n - some.n);
	}
	if (l.flaw != LINES_FINE) {
		buf_reset(out);
		buf_printf(out, "flaw=%d", (int)l.flaw);
	}
	if (is_end)
		buf_printf(out, "|" STR_FMT, STR_ARG(in));
}

#define BYTES(s) { s, sizeof(s) - 1 }

TEST(data)
{
	static const struct { struct str in; const char *want; } cases[] = {
		{ BYTES(".\r\nQUIT"), "|QUIT" },
		{ BYTES("a\r\n.\r\nQUIT"), "a\r\n|QUIT" },
		{ BYTES("a\r\n..b\r\n...\r\n.c\r\n.\r\n"), "a\r\n.b\r\n..\r\nc\r\n|" },
		{ BYTES("a.\r\n.\r\n"), "a.\r\n|" },
		{ BYTES("a"), "a" },
		{ BYTES("a\r\n."), "a\r\n" },
		{ BYTES("a\r\n.\r"), "a\r\n" },
		/* not an end: the flaw is seen, and the search goes on to the true one */
		{ BYTES("a\n.\nQUIT\r\n.\r\nX"), "flaw=2|X" },
		{ BYTES("a\n.\r\nQUIT\r\n.\r\nX"), "flaw=2|X" },
		{ BYTES("a\r.\rQUIT\r\n.\r\nX"), "flaw=1|X" },
		{ BYTES("a\r.\r\nQUIT\r\n.\r\nX"), "flaw=1|X" },
		{ BYTES("a\r\n.\nQUIT\r\n.\r\nX"), "flaw=2|X" },
		{ BYTES("a\r\n.\rQUIT\r\n.\r\nX"), "flaw=1|X" },
		{ BYTES("a\r\n.\r\r\nQUIT\r\n.\r\nX"), "flaw=1|X" },
		{ BYTES("a\r\n\0.\r\nQUIT\r\n.\r\nX"), "flaw=3|X" },
		{ BYTES("a\r\n.\0\r\nQUIT\r\n.\r\nX"), "flaw=3|X" },
		{ BYTES("a\r\r\n.\r\nX"), "flaw=1|X" },      /* that is the true end */
		{ BYTES("a\n\r\n.\r\nX"), "flaw=2|X" },
		{ BYTES("\n.\r\n.\r\nX"), "flaw=2|X" },
		{ BYTES("0123456789012345678901\r\n.\r\nX"), "flaw=4|X" },
		{ BYTES("\r\n.\r\nX"), "\r\n|X" },
	};
	EACH(cases, c) {
		for (size_t piece = 0; piece < c->in.n; piece++) {
			CLEANUP(buf_free) struct buf out = BUF(1000);
			run(c->in, piece, true, &out);
			EXPECT_STR(buf_str(&out).p ? buf_str(&out) : STR(""), c->want);
		}
	}
}

TEST(chunks)
{
	static const struct { struct str in; const char *want; } cases[] = {
		{ BYTES("a\r\n.\r\nQUIT\r\n"), "a\r\n.\r\nQUIT\r\n" },  /* dots mean nothing */
		{ BYTES("..a"), "..a" }, { BYTES("a\nb"), "flaw=2" }, { BYTES("a\rb"), "flaw=1" }, { BYTES("\0"), "flaw=3" },
	};
	EACH(cases, c) {
		for (size_t piece = 0; piece < c->in.n; piece++) {
			CLEANUP(buf_free) struct buf out = BUF(1000);
			run(c->in, piece, false, &out);
			EXPECT_STR(buf_str(&out).p ? buf_str(&out) : STR(""), c->want);
		}
	}
}

TEST(end_of_chunks)
{
	static const struct { const char *in; bool complete; enum lines_flaw flaw; } cases[] = {
		{ "", true, LINES_FINE }, { "a\r\n", true, LINES_FINE }, { "a", false, LINES_FINE }, { "a\r", false, LINES_BARE_CR },
	};
	EACH(cases, c) {
		struct lines l;
		struct str in = str_of(c->in), piece;
		lines_begin(&l, false);
		while (in.n > 0)
			lines_take(&l, &in, 20, &piece);
		EXPECT_INT(lines_end(&l), c->complete);
		EXPECT_INT(l.flaw, c->flaw);
	}
}
