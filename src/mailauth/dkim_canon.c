/* White space and line breaks are held back until something follows them: what stands at the end of a line, or of the body, then
 * simply never counts. A CR or LF alone is text, as RFC 6376 knows only CRLF; the queue holds no such line. */
#include "mailauth/dkim_canon.h"

static bool is_wsp(char c) { return c == ' ' || c == '\t'; }

void dkim_relax_field(struct buf *out, struct str name, struct str value)
{
	bool space = false, begun = false;

	for (size_t i = 0; i < name.n; i++)
		buf_add_char(out, chr_lower(name.p[i]));
	buf_add_char(out, ':');
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '\r' && i + 1 < value.n && value.p[i + 1] == '\n') {
			i++;
			continue;
		}
		if (is_wsp(value.p[i])) {
			space = true;
			continue;
		}
		if (space && begun)
			buf_add_char(out, ' ');
		buf_add_char(out, value.p[i]);
		space = false;
		begun = true;
	}
}

static void flush(struct dkim_body *b)
{
	digest_add(b->digest, str_make(b->room, b->n));
	b->n = 0;
}

static inline void put(struct dkim_body *b, char c)
{
	if (b->n == sizeof b->room)
		flush(b);
	b->room[b->n++] = c;
}

static void put_break(struct dkim_body *b)
{
	put(b, '\r');
	put(b, '\n');
}

/* A byte that counts, and all that was held back before it. */
static inline void text(struct dkim_body *b, char c)
{
	for (; b->empty_lines > 0; b->empty_lines--)
		put_break(b);
	if (b->space)
		put(b, ' ');
	b->space = false;
	put(b, c);
	b->has_text = true;
}

static void line_break(struct dkim_body *b)
{
	b->empty_lines++;
	b->space = false;
}

void dkim_body_begin(struct dkim_body *b)
{
	*b = (struct dkim_body){ .digest = digest_begin(DIGEST_SHA256) };
}

void dkim_body_add(struct dkim_body *b, struct str piece)
{
	for (size_t i = 0; i < piece.n; i++) {
		char c = piece.p[i];

		if (b->cr) {
			b->cr = false;
			if (c == '\n') {
				line_break(b);
				continue;
			}
			text(b, '\r');
		}
		if (c == '\r')
			b->cr = true;
		else if (is_wsp(c))
			b->space = true;
		else
			text(b, c);
	}
}

void dkim_body_end(struct dkim_body *b, uint8_t hash[SHA256_SIZE])
{
	if (b->cr)
		text(b, '\r');
	if (b->has_text)
		put_break(b);  /* the one that ends the last line, whether it stood there or not */
	flush(b);
	digest_end(b->digest, hash);
	b->digest = NULL;
}
