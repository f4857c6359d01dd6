/* An answer, read as it arrives (RFC 9112). Lines are collected up to their LF; a body goes straight into its buffer. How long a body is
 * follows §6.3 in its order: none for 204 and 304, chunks, a length, else until the connection ends. Answers of the 1xx kind that come
 * before the real one are read and forgotten (RFC 9110 §15.2), but not without end: they would keep the reader busy for ever. */
#include "http/answer.h"
#include "base/scan.h"
#include "http/http_private.h"

enum state { HEAD, FIXED, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE, DONE, BAD };
enum { CHUNK_LINE_MAX = 1000, INTERIM_MAX = 10 };

void http_answer_init(struct http_answer *h, size_t body_max)
{
	*h = (struct http_answer){ .body = BUF(body_max), .head = BUF(HTTP_HEAD_MAX), .line = BUF(CHUNK_LINE_MAX), .state = HEAD };
}

void http_answer_free(struct http_answer *h)
{
	buf_free(&h->body);
	buf_free(&h->head);
	buf_free(&h->line);
}

static enum err bad(struct http_answer *h, enum err e, const char *why)
{
	h->state = BAD;
	h->why = why;
	return e;
}

/* ---- status line and fields ---- */

struct fields {
	bool     has_length, is_chunked;
	uint64_t length;
};

/* status-line = HTTP-version SP status-code SP [ reason-phrase ]                                                 RFC 9112 §4 */
static bool read_status(struct http_answer *h, struct str line)
{
	struct scan s = scan_of(line);
	struct str code;

	scan_need_str(&s, STR("HTTP/1."));
	if (!scan_take(&s, '1'))
		scan_need(&s, '0');
	scan_need(&s, ' ');
	code = scan_bytes(&s, 3);
	if (!scan_done(&s))
		scan_need(&s, ' ');
	if (s.failed)
		return false;
	for (size_t i = 0; i < 3; i++)
		if (!chr_digit(code.p[i]))
			return false;
	h->status = (code.p[0] - '0') * 100 + (code.p[1] - '0') * 10 + (code.p[2] - '0');
	return h->status >= 100;
}

static bool read_length(struct fields *f, struct str value)
{
	uint64_t n;

	if (!http_read_length(value, &n) || (f->has_length && n != f->length))
		return false;
	f->has_length = true;
	f->length = n;
	return true;
}

static bool read_field(struct http_answer *h, struct fields *f, struct str line)
{
	struct str name, value;

	if (!http_split_field(line, &name, &value))
		return false;
	if (str_ieq(name, STR("content-length")))
		return read_length(f, value);
	if (str_ieq(name, STR("transfer-encoding"))) {
		bool is_first = !f->is_chunked;
		f->is_chunked = true;
		return is_first && str_ieq(value, STR("chunked"));
	}
	if (str_ieq(name, STR("content-type")) && h->content_type.n == 0)
		h->content_type = value;
	return true;
}

/* How the body comes (RFC 9112 §6.3). */
static enum err begin_body(struct http_answer *h, const struct fields *f)
{
	if (f->is_chunked && f->has_length)
		return bad(h, ERR_INVALID, "the answer says two things about its length");
	h->left = f->length;
	if (f->has_length && f->length > h->body.max)
		return bad(h, ERR_LIMIT, "the answer is too large");
	if (h->status == 204 || h->status == 304 || (f->has_length && f->length == 0))
		h->state = DONE;
	else if (f->is_chunked)
		h->state = CHUNK_SIZE;
	else
		h->state = f->has_length ? FIXED : UNTIL_CLOSE;
	return h->state == DONE ? ERR_OK : ERR_AGAIN;
}

/* All of the head is there, with the empty line at its end; every line ends in CRLF. */
static enum err read_head(struct http_answer *h)
{
	struct str rest = buf_str(&h->head), line;
	struct fields f = { 0 };

	str_cut(rest, '\n', &line, &rest);
	if (!read_status(h, str_sub(line, 0, line.n - 1)))
		return bad(h, ERR_INVALID, "the answer is not HTTP/1.1");
	while (str_cut(rest, '\n', &line, &rest) && line.n > 1)
		if (!read_field(h, &f, str_sub(line, 0, line.n - 1)))
			return bad(h, ERR_INVALID, "a header field of the answer is malformed");
	if (h->status / 100 == 1 && ++h->interim > INTERIM_MAX)
		return bad(h, ERR_LIMIT, "the answer does not begin, it is only announced again and again");
	if (h->status / 100 == 1) {
		h->status = 0;
		h->content_type = STR_NONE;
		buf_reset(&h->head);
		return ERR_AGAIN;
	}
	return begin_body(h, &f);
}

/* ---- the bytes ---- */

static bool ends_in_crlf(struct str s) { return str_ends(s, STR("\r\n")); }

static enum err take_head(struct http_answer *h, struct str *in)
{
	size_t before = h->head.n;
	bool is_whole = http_take_line(&h->head, in);
	struct str head = buf_str(&h->head);

	if (h->head.failed)
		return bad(h, ERR_LIMIT, "the header of the answer is too large");
	if (!is_whole)
		return ERR_AGAIN;
	if (!ends_in_crlf(head))
		return bad(h, ERR_INVALID, "a line of the answer does not end in CRLF");
	if (str_eq(head, STR("\r\n")))
		return bad(h, ERR_INVALID, "the answer is not HTTP/1.1");
	return str_ends(head, STR("\r\n\r\n")) && before < head.n ? read_head(h) : ERR_AGAIN;
}

/* chunk-size [ chunk-ext ] CRLF                                                                                RFC 9112 §7.1 */
static enum err take_chunk_size(struct http_answer *h, struct str *in)
{
	struct str line;
	uint64_t n = 0;
	size_t i;

	if (!http_take_line(&h->line, in))
		return h->line.failed ? bad(h, ERR_INVALID, "a chunk of the answer is malformed") : ERR_AGAIN;
	line = buf_str(&h->line);
	for (i = 0; i < line.n && i < 9; i++) {
		char c = chr_lower(line.p[i]);
		if (!chr_digit(c) && (c < 'a' || c > 'f'))
			break;
		n = n * 16 + (uint64_t)(chr_digit(c) ? c - '0' : c - 'a' + 10);
	}
	if (h->line.failed || i == 0 || i == 9 || !ends_in_crlf(line) || (line.p[i] != '\r' && line.p[i] != ';' && line.p[i] != ' '))
		return bad(h, ERR_INVALID, "a chunk of the answer is malformed");
	if (n > h->body.max - h->body.n)
		return bad(h, ERR_LIMIT, "the answer is too large");
	buf_reset(&h->line);
	h->left = n;
	h->state = n ? CHUNK_DATA : TRAILER;
	return ERR_AGAIN;
}

static enum err take_chunk_end(struct http_answer *h, struct str *in)
{
	bool is_whole = http_take_line(&h->line, in);

	if (h->line.failed || h->line.n > 2 || (is_whole && !str_eq(buf_str(&h->line), STR("\r\n"))))
		return bad(h, ERR_INVALID, "a chunk of the answer is malformed");
	if (is_whole) {
		buf_reset(&h->line);
		h->state = CHUNK_SIZE;
	}
	return ERR_AGAIN;
}

/* Trailers are read and forgotten. */
static enum err take_trailer(struct http_answer *h, struct str *in)
{
	size_t before = in->n;
	bool is_whole = http_take_line(&h->line, in);

	h->trailer_bytes += before - in->n;
	if (h->line.failed || h->trailer_bytes > HTTP_HEAD_MAX)
		return bad(h, ERR_LIMIT, "the end of the answer is too large");
	if (!is_whole)
		return ERR_AGAIN;
	if (!ends_in_crlf(buf_str(&h->line)))
		return bad(h, ERR_INVALID, "a line of the answer does not end in CRLF");
	if (h->line.n == 2)
		h->state = DONE;
	buf_reset(&h->line);
	return h->state == DONE ? ERR_OK : ERR_AGAIN;
}

static enum err take_body(struct http_answer *h, struct str *in)
{
	size_t n = h->state != UNTIL_CLOSE && h->left < in->n ? (size_t)h->left : in->n;

	buf_add(&h->body, str_sub(*in, 0, n));
	*in = str_from(*in, n);
	if (h->body.failed)
		return bad(h, ERR_LIMIT, "the answer is too large");
	if (h->state == UNTIL_CLOSE)
		return ERR_AGAIN;
	h->left -= n;
	if (h->left > 0)
		return ERR_AGAIN;
	h->state = h->state == FIXED ? DONE : CHUNK_END;
	return h->state == DONE ? ERR_OK : ERR_AGAIN;
}

static enum err take_some(struct http_answer *h, struct str *in)
{
	switch ((enum state)h->state) {
	case HEAD: return take_head(h, in);
	case CHUNK_SIZE: return take_chunk_size(h, in);
	case CHUNK_END: return take_chunk_end(h, in);
	case TRAILER: return take_trailer(h, in);
	case FIXED:
	case CHUNK_DATA:
	case UNTIL_CLOSE: return take_body(h, in);
	case DONE: return ERR_OK;
	case BAD: break;
	}
	return ERR_INVALID;
}

enum err http_answer_take(struct http_answer *h, struct str bytes)
{
	enum err e = h->state == DONE ? ERR_OK : h->state == BAD ? ERR_INVALID : ERR_AGAIN;

	while (bytes.n && e == ERR_AGAIN)
		e = take_some(h, &bytes);
	return e;
}

enum err http_answer_end(struct http_answer *h, bool is_said)
{
	if (h->state == DONE || (h->state == UNTIL_CLOSE && is_said))
		return ERR_OK;
	if (h->why == NULL)
		h->why = h->state == UNTIL_CLOSE ? "the connection was cut, and nothing had said where the answer ends"
		                                 : "the connection ended before the answer did";
	return ERR_CLOSED;
}

bool http_answer_is_type(const struct http_answer *h, struct str type)
{
	struct str own, rest;

	str_cut(h->content_type, ';', &own, &rest);
	return str_ieq(str_trim(own), type);
}
