#include "mime/text.h"
#include "base/test.h"

TEST(html)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "<p>Hello <b>wor</b>ld</p>", "\nHello world\n" }, { "a<br>b", "a\nb" }, { "&eacute;&#233;&#xe9;&amp;&nosuch;&", "ééé&&nosuch;&" },
		{ "<style>p{color:red}</style>x<script>if(a<b)</script>y", "xy" }, { "<!-- <p> -->x", "x" }, { "<a title='>'>x</a>", "x" },
		{ "a < b", "a < b" }, { "<p", "\n" }, { "x<!-- open", "x" }, { "<script>open", "" }, { "&#0;", " " }, { "&#x110000;", " " },
		{ "<td>a</td><td>b", " a  b" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(mime_html_text(&a, str_of(c->in)), c->out);
	arena_free(&a);
}

TEST(text_of_parts)
{
	struct arena a = { 0 };
	struct str m = STR("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\n"
	                   "Content-Transfer-Encoding: quoted-printable\n\n=E9t=\n=E9\n--b\nContent-Type: image/png\n\nx\n--b\n"
	                   "Content-Type: message/rfc822\n\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
	                   "PGI+aW48L2I+bmVy\n--b--\n");
	const struct mime_part *root = mime_parse(&a, m), *p = mime_text_first(root);

	EXPECT_STR(mime_text(&a, m, p, 1000), "été");
	p = mime_text_next(p);
	EXPECT_STR(mime_text(&a, m, p, 1000), "inner");
	EXPECT(mime_text_next(p) == NULL);
	EXPECT_STR(mime_header_text(&a, STR("A: =?utf-8?q?=C3=A9?=\n b\nB: c\n\nx")), "A: é b\nB: c\n");
	arena_free(&a);
}

TEST(preview)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "A: b\n\n  Hello\n\n\tworld  \n", "Hello world" },
		{ "A: b\n\n> only\n> quotes\n", "> only > quotes" },
		{ "Content-Type: text/html\n\n<html><head><style>x</style></head><p>Hi&nbsp;there", "Hi there" },
		{ "Content-Type: image/png\n\nx", "" },
		{ "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html\n--b\n\nplain\n--b--\n", "plain" },
		{ "A: b\n\nééééééééééééééééé", "éééééééééé" },  /* ten characters, none cut */
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		size_t max = c + 1 == cases + COUNT_OF(cases) ? 10 : 256;
		EXPECT_STR(mime_preview(&a, str_of(c->in), mime_parse(&a, str_of(c->in)), max), c->out);
	}
	arena_free(&a);
}
