/* BINARYMIME into what can be stored and sent on.
 * The tree says where leaves are; everything between them (headers, preambles, delimiters, epilogues) is copied with
 * its line breaks made CRLF. A leaf that needs it is encoded, and its header is written with another
 * Content-Transfer-Encoding. The output is made in one pass over the tree in the order of the bytes: `at` is how far
 * the message has been copied. */
#include "mime/rewrite.h"
#include "mime/decode.h"
#include "mime/header.h"
#include <assert.h>

static bool has_only_crlf(struct str s)
{
	if (s.n == 0)
		return true;
	if (memchr(s.p, '\0', s.n))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			return false;
		if (s.p[i] == '\r' && (++i == s.n || s.p[i] != '\n'))
			return false;
	}
	return true;
}

bool mime_needs_rewrite(struct str message, const struct mime_part *root)
{
	if (!has_only_crlf(message))
		return true;
	for (const struct mime_part *p = root; p; p = mime_next(p))
		if (p->encoding == MIME_BINARY)
			return true;
	return false;
}

/* Copies with CRLF for every LF. A CR alone and a NUL become "?": were they dropped or made a line break, the result
 * could have a header field that nobody saw before. Callers cut at line starts or inside lines only. */
static void put_lines(struct buf *out, struct str s)
{
	size_t i = 0;

	while (i < s.n) {
		size_t from = i;
		while (i < s.n && s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0')
			i++;
		buf_add_bytes(out, s.p + from, i - from);
		if (i == s.n)
			break;
		bool is_crlf = s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n';
		if (is_crlf || s.p[i] == '\n')
			buf_add(out, STR("\r\n"));
		else
			buf_add_char(out, '?');
		i += is_crlf ? 2 : 1;
	}
}

static void put_header(struct buf *out, struct str header, const char *encoding)
{
	struct scan s = scan_of(header);
	struct header_field f;
	bool is_written = false;
	const char *copied = header.p;

	while (header_next(&s, &f)) {
		if (!str_ieq(f.name, STR("Content-Transfer-Encoding")))
			continue;
		put_lines(out, str_make(copied, (size_t)(f.line.p - copied)));
		if (!is_written)
			buf_printf(out, "Content-Transfer-Encoding: %s\r\n", encoding);
		is_written = true;
		copied = f.line.p + f.line.n;
	}
	struct str rest = str_make(copied, (size_t)(header.p + header.n - copied));
	if (is_written) {
		put_lines(out, rest);
		return;
	}
	/* before the empty line; a header without one gets it */
	size_t empty = str_ends(rest, STR("\r\n")) ? 2 : str_ends(rest, STR("\n")) ? 1 : 0;
	put_lines(out, str_sub(rest, 0, rest.n - empty));
	if (out->n >= 2 && !out->failed && rest.n > empty && out->p[out->n - 1] != '\n')
		buf_add(out, STR("\r\n"));
	buf_printf(out, "Content-Transfer-Encoding: %s\r\n\r\n", encoding);
}

static bool is_identity(enum mime_encoding e) { return e == MIME_7BIT || e == MIME_8BIT || e == MIME_BINARY; }

void mime_rewrite(struct str message, const struct mime_part *root, struct buf *out)
{
	size_t at = 0;

	for (const struct mime_part *p = root; p; p = mime_next(p)) {
		bool is_container = p->kind == MIME_MULTIPART || p->kind == MIME_MESSAGE;
		bool must_encode = !is_container && is_identity(p->encoding) && p->body_n > 0 &&
		                   (p->encoding == MIME_BINARY || !has_only_crlf(mime_body(message, p)));
		assert(p->header_at >= at);
		put_lines(out, str_sub(message, at, p->header_at - at));
		if (must_encode)
			put_header(out, mime_header(message, p), "base64");
		else if (p->encoding == MIME_BINARY)
			put_header(out, mime_header(message, p), is_container ? "8bit" : "7bit");
		else
			put_lines(out, mime_header(message, p));
		at = p->body_at;
		if (is_container)
			continue;
		if (must_encode) {
			struct mime_base64 e = { 0 };
			mime_base64_put(&e, mime_body(message, p), out);
			mime_base64_end(&e, out);
			if (!out->failed && p->body_at + p->body_n < message.n)
				buf_truncate(out, out->n - 2);  /* the line break before the boundary comes from there */
		} else {
			put_lines(out, mime_body(message, p));
		}
		at = p->body_at + p->body_n;
	}
	put_lines(out, str_from(message, at));
	if (!out->failed && out->n && out->p[out->n - 1] != '\n')
		buf_add(out, STR("\r\n"));
}
