/* Writing replies. A sentence may quote what the client sent, so every byte that is not printable ASCII is replaced
 * here, in the one place all replies pass; a long sentence is broken at a space, and each line repeats the codes (RFC
 * 2034 §4). */
#include "smtp/reply.h"
#include <assert.h>

static void put_codes(struct buf *out, const struct smtp_reply *r, bool is_last)
{
	buf_printf(out, "%03d%c", r->code, is_last ? ' ' : '-');
	if (r->enhanced) {
		buf_add_cstr(out, r->enhanced);
		buf_add_char(out, ' ');
	}
}

static void put_printable(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if ((c & 0xc0) == 0x80 && i > 0 && (unsigned char)text.p[i - 1] >= 0x80)
			continue;  /* one "?" for one character */
		buf_add_char(out, c >= 32 && c < 127 ? (char)c : '?');
	}
}

/* The first line of the text, at most max bytes, cut at a space where there is one; the rest stays. */
static struct str take_line(struct str *text, size_t max)
{
	struct str line, rest;

	str_cut(*text, '\n', &line, &rest);
	if (line.n <= max) {
		*text = rest;
		return line;
	}
	line = str_sub(*text, 0, max);
	ptrdiff_t space = str_rchr(line, ' ');
	if (space > 0)
		line.n = (size_t)space;
	*text = str_from(*text, line.n + (space > 0));
	return line;
}

void smtp_put_reply(struct buf *out, const struct smtp_reply *r)
{
	struct str text = str_sub(r->text, 0, SMTP_REPLY_TEXT_MAX);

	assert(r->code >= 200 && r->code < 600);
	do {
		struct str line = take_line(&text, SMTP_REPLY_LINE_MAX - 20);
		put_codes(out, r, text.n == 0);
		put_printable(out, line);
		buf_add(out, STR("\r\n"));
	} while (text.n > 0);
}

void smtp_put(struct buf *out, int code, const char *enhanced, const char *sentence)
{
	smtp_put_reply(out, &(struct smtp_reply){ code, enhanced, str_of(sentence) });
}

struct smtp_reply smtp_reply_printf(struct arena *a, int code, const char *enhanced, const char *fmt, ...)
{
	struct smtp_reply r = { code, enhanced, STR_NONE };
	va_list ap;

	va_start(ap, fmt);
	r.text = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return r;
}
