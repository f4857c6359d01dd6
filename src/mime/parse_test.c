#include "mime/parse.h"
#include "mime/summary.h"
#include "base/test.h"
#include <time.h>

/* One line a part: indent, type/subtype, body in quotes for leaves. */
static void put_tree(struct buf *b, struct str message, const struct mime_part *root)
{
	for (const struct mime_part *p = root; p; p = mime_next(p)) {
		for (const struct mime_part *q = p->parent; q; q = q->parent)
			buf_add_char(b, ' ');
		buf_printf(b, STR_FMT "/" STR_FMT, STR_ARG(p->type), STR_ARG(p->subtype));
		if (!p->children)
			buf_printf(b, " '" STR_FMT "'", STR_ARG(mime_body(message, p)));
		buf_add_char(b, '\n');
	}
}

TEST(broken_mail)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "Subject: no empty line", "text/plain ''\n" },
		{ "\n\nbody", "text/plain '\nbody'\n" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\nA: b\n--b\n\nx", "multipart/mixed\n text/plain ''\n text/plain 'x'\n" },
		/* close delimiters forgotten: the outer boundary ends the inner multipart */
		{ "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\nx\n--a\n\ny\n",
		  "multipart/mixed\n multipart/mixed\n  text/plain 'x'\n text/plain 'y\n'\n" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b  \n\nx\n--b--  \n--b\n\nepilogue\n", "multipart/mixed\n text/plain 'x'\n" },
		{ "Content-Type: multipart/mixed; boundary=\"a b\"\n\n--a b\n\n--x\n-\n--a b--", "multipart/mixed\n text/plain '--x\n-'\n" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n\n--b--", "multipart/mixed\n text/plain ''\n" },
		{ "Content-Type: text\n\nx", "text/plain 'x'\n" }, { "Content-Type: pdf\n\nx", "application/octet-stream 'x'\n" },
		{ "Content-Type: \n\nx", "text/plain 'x'\n" }, { "Content-Type: a/b\nContent-Type: c/d\n\nx", "a/b 'x'\n" },
		{ "Content-Type: message/rfc822", "message/rfc822\n text/plain ''\n" },
		{ "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQUE=\n", "message/rfc822\n text/plain ''\n" },
	};

	EACH(cases, c) {
		struct arena a = { 0 };
		struct buf b = BUF(1000);
		put_tree(&b, str_of(c->in), mime_parse(&a, str_of(c->in)));
		EXPECT_STR(buf_str(&b), c->out);
		buf_free(&b);
		arena_free(&a);
	}
}

static size_t count_parts(const struct mime_part *p)
{
	size_t n = 0;

	for (; p; p = mime_next(p))
		n++;
	return n;
}

TEST(too_many_parts)
{
	struct buf b = BUF(1 << 20);
	struct arena a = { 0 };

	buf_add(&b, STR("Content-Type: multipart/mixed; boundary=b\n\n"));
	for (int i = 0; i < MIME_PARTS_MAX + 5; i++)
		buf_add(&b, STR("--b\n\nx\n"));
	buf_add(&b, STR("--b--\n"));
	const struct mime_part *root = mime_parse(&a, buf_str(&b)), *last = root->children;
	EXPECT_INT(count_parts(root), MIME_PARTS_MAX);
	while (last->next)
		last = last->next;
	EXPECT_INT(last->body_at + last->body_n, b.n);  /* it swallowed the rest */
	EXPECT(summary_is_valid(summary_build(&a, buf_str(&b), root)));
	buf_free(&b);
	arena_free(&a);
}

TEST(too_deep)
{
	struct buf b = BUF(1 << 20);
	struct arena a = { 0 };
	int depth = 0;

	for (int i = 0; i < 200; i++)
		buf_printf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
	const struct mime_part *p = mime_parse(&a, buf_str(&b));
	for (; p->children; p = p->children)
		depth++;
	EXPECT_INT(depth, MIME_DEPTH_MAX);
	EXPECT(mime_is(p, "application", "octet-stream"));
	buf_reset(&b);
	for (int i = 0; i < 200; i++)
		buf_add(&b, STR("Content-Type: message/rfc822\n\n"));
	struct str r = summary_build(&a, buf_str(&b), NULL);
	struct buf body = BUF(1 << 20);
	EXPECT(summary_body(r, true, &body));
	buf_free(&body);
	buf_free(&b);
	arena_free(&a);
}

TEST(a_header_without_end)
{
	struct buf b = BUF(4 << 20);
	struct arena a = { 0 };

	while (b.n < MIME_HEADER_MAX + 100000)
		buf_add(&b, STR("X: y\n"));
	const struct mime_part *p = mime_parse(&a, buf_str(&b));
	EXPECT(p->header_n <= MIME_HEADER_MAX + 5 && p->body_n > 90000);
	buf_free(&b);
	arena_free(&a);
}

static int64_t processor_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Hostile repetitions of 1 MB: each must cost time in proportion to its size. */
TEST(linear_time)
{
	static const struct { const char *head, *unit; } cases[] = {
		{ "Subject: ", "=?a?q?" }, { "Subject: ", "=?utf-8?q?x?= " }, { "From: ", "<@" }, { "From: ", "<@," }, { "From: ", "a@b@" },
		{ "From: ", "((" }, { "To: ", "a," }, { "To: ", "\"" }, { "To: ", "x:;" }, { "Content-Type: a/b", ";a=\"" }, { "References: ", "<" },
		{ "Content-Type: a/b", ";a*0=b" }, { "", "To: a\n" }, { "Content-Type: text/html\n\n", "<!--" }, { "Date: ", "1:" },
		{ "Content-Type: text/html\n\n", "<script>" }, { "Content-Type: text/html\n\n", "<a =\"" }, { "Content-Type: text/html\n\n", "</" },
		{ "Content-Type: multipart/mixed; boundary=b\n\n", "--b\nContent-Type: message/rfc822\n\n" },
		{ "", "Content-Type: multipart/mixed; boundary=--\n\n----\n" }, { "Content-Disposition: x;", " a=(" },
	};

	EACH(cases, c) {
		struct buf b = BUF(2 << 20);
		struct arena a = { 0 };
		buf_add_cstr(&b, c->head);
		while (b.n < 1000000)
			buf_add_cstr(&b, c->unit);
		int64_t from = processor_ms();
		struct str r = summary_build(&a, buf_str(&b), NULL);
		(void)summary_addresses(&a, r, SUMMARY_FROM);
		(void)summary_subject(&a, r);
		int64_t took = processor_ms() - from;
		if (took > 1000)
			print_error("'%s' took %lld ms\n", c->unit, (long long)took);
		EXPECT(took < 5000);  /* squares would take minutes */
		buf_free(&b);
		arena_free(&a);
	}
}
