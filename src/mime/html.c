/* HTML to text, simply: for searching and previews, never for showing. Tags go, script and style with their content,
 * entities are decoded, block elements end a line. Broken HTML comes out as some text; the result is never longer
 * than the input plus a byte. */
#include "mime/text.h"
#include "base/bytes.h"

static bool is_name(char c) { return chr_alpha(c) || chr_digit(c); }

static bool ends_line(struct str name)
{
	static const char *const blocks[] = { "p", "br", "div", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3",
	                                      "h4", "h5", "h6", "blockquote", "pre", "hr", "title", "section", "article", "header", "footer",
	                                      "dt", "dd" };

	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		if (name.n > 0 && chr_lower(name.p[0]) == blocks[i][0] && str_ieq(name, str_of(blocks[i])))
			return true;
	return false;
}

/* After "</name" or "<name": up to and with ">"; quoted attribute values may have one inside. */
static void skip_tag(struct scan *s)
{
	while (!scan_done(s) && *s->p != '>') {
		char c = *s->p++;
		if (c == '=' && (scan_peek(s) == '"' || scan_peek(s) == '\'')) {
			char quote = *s->p++;
			const char *close = memchr(s->p, quote, scan_left(s));
			if (close)
				s->p = close + 1;
		}
	}
	scan_take(s, '>');
}

static void skip_element(struct scan *s, struct str name)
{
	while (!scan_done(s)) {
		scan_until(s, '<');
		struct scan t = *s;
		if (scan_take(&t, '<') && scan_take(&t, '/') && scan_take_istr(&t, name)) {
			skip_tag(&t);
			*s = t;
			return;
		}
		if (!scan_done(s))
			s->p++;
	}
}

/* The cursor is at "&". 0: no entity. */
static uint32_t take_entity(struct scan *s)
{
	static const struct { const char *name; uint32_t c; } named[] = {
		{ "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' }, { "nbsp", 0xa0 },
		{ "eacute", 0xe9 },
		{ "egrave", 0xe8 }, { "ecirc", 0xea }, { "euml", 0xeb }, { "agrave", 0xe0 }, { "acirc", 0xe2 },
		{ "aacute", 0xe1 },
		{ "auml", 0xe4 }, { "aring", 0xe5 }, { "aelig", 0xe6 }, { "ccedil", 0xe7 }, { "icirc", 0xee },
		{ "iuml", 0xef },
		{ "iacute", 0xed }, { "ntilde", 0xf1 }, { "ocirc", 0xf4 }, { "ouml", 0xf6 }, { "oacute", 0xf3 },
		{ "oslash", 0xf8 },
		{ "ugrave", 0xf9 }, { "ucirc", 0xfb }, { "uuml", 0xfc }, { "uacute", 0xfa }, { "oelig", 0x153 },
		{ "szlig", 0xdf },
		{ "Eacute", 0xc9 }, { "Egrave", 0xc8 }, { "Agrave", 0xc0 }, { "Ccedil", 0xc7 }, { "Auml", 0xc4 },
		{ "Ouml", 0xd6 },
		{ "Uuml", 0xdc }, { "Aring", 0xc5 }, { "Oslash", 0xd8 }, { "laquo", 0xab }, { "raquo", 0xbb },
		{ "rsquo", 0x2019 },
		{ "lsquo", 0x2018 }, { "ldquo", 0x201c }, { "rdquo", 0x201d }, { "ndash", 0x2013 }, { "mdash", 0x2014 },
		{ "hellip", 0x2026 }, { "euro", 0x20ac }, { "copy", 0xa9 }, { "reg", 0xae }, { "trade", 0x2122 },
		{ "deg", 0xb0 },
		{ "bull", 0x2022 }, { "middot", 0xb7 }, { "times", 0xd7 }, { "pound", 0xa3 }, { "sect", 0xa7 },
		{ "zwnj", 0x200c },
	};
	struct scan t = *s;
	uint32_t c = 0;

	t.p++;
	if (scan_take(&t, '#')) {
		bool is_hex = scan_take(&t, 'x') || scan_take(&t, 'X');
		int digits = 0;
		for (; digits < 7 && !scan_done(&t); digits++, t.p++) {
			char d = *t.p;
			bool is_letter = is_hex && chr_lower(d) >= 'a' && chr_lower(d) <= 'f';
			int v = chr_digit(d) ? d - '0' : is_letter ? chr_lower(d) - 'a' + 10 : -1;
			if (v < 0)
				break;
			c = c * (is_hex ? 16 : 10) + (uint32_t)v;
		}
		if (digits == 0)
			return 0;
		if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (c < 32 && c != '\n' && c != '\t'))
			c = ' ';
	} else {
		struct str name = scan_while(&t, is_name);
		for (size_t i = 0; i < COUNT_OF(named) && !c; i++)
			if (name.n > 0 && name.p[0] == named[i].name[0] && str_eq(name, str_of(named[i].name)))
				c = named[i].c;
		if (!c)
			return 0;
	}
	scan_take(&t, ';');
	*s = t;
	return c;
}

struct str mime_html_text(struct arena *a, struct str html)
{
	struct buf b = BUF(html.n + 16);
	struct scan s = scan_of(html);

	while (!scan_done(&s)) {
		const char *from = s.p;
		while (s.p < s.end && *s.p != '<' && *s.p != '&')
			s.p++;
		buf_add_bytes(&b, from, (size_t)(s.p - from));
		if (scan_done(&s))
			break;
		if (*s.p == '&') {
			uint32_t c = take_entity(&s);
			if (c)
				utf8_put(&b, c);
			else
				buf_add_char(&b, *s.p++);
			continue;
		}
		if (scan_take_str(&s, STR("<!--"))) {
			ptrdiff_t end = str_find(scan_rest(&s), STR("-->"));
			s.p = end < 0 ? s.end : s.p + end + 3;
			continue;
		}
		struct scan t = s;
		t.p++;
		bool is_close = scan_take(&t, '/');
		if (!scan_done(&t) && !chr_alpha(*t.p) && *t.p != '!' && *t.p != '?') {  /* "a < b" */
			buf_add_char(&b, *s.p++);
			continue;
		}
		struct str name = scan_while(&t, is_name);
		skip_tag(&t);
		s = t;
		if (!is_close && (str_ieq(name, STR("script")) || str_ieq(name, STR("style"))))
			skip_element(&s, name);
		else if (ends_line(name))
			buf_add_char(&b, '\n');
		else if (str_ieq(name, STR("td")) || str_ieq(name, STR("th")))
			buf_add_char(&b, ' ');
	}
	struct str out = b.n ? str_copy(a, buf_str(&b)) : STR("");
	buf_free(&b);
	return out;
}
