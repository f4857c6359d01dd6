/* Eight bits into seven.
 * One pass over the tree in the order of the bytes, as in rewrite.c, but what comes out is a list of pieces: bytes to copy, text to put
 * between them, bytes to encode. A message may have 256 MB and go to hundreds of such servers at once, so the result is made while it is
 * read. The size must be known before (SIZE, BDAT), so each encoded piece is counted first, by the same steps that make it later.
 *
 * Quoted-printable here is exact: it gives the same bytes back, also a CR or LF alone. No line of it begins with "-", so none can be taken
 * for a boundary, and a line that was broken makes no new one.
 *
 * message/rfc822 must not be encoded as a whole (RFC 2046 §5.2.1): its parts are. message/global may be (RFC 6532 §3.7), which
 * saves its header. */
#include "mime/downgrade.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "mime/decode.h"
#include "mime/header.h"
#include <assert.h>

enum { LINE_CHARS = 76, BASE64_LINE = 57 };  /* bytes that make a line of 76 characters */

enum piece_kind {
	PIECE_COPY,
	PIECE_MASK,      /* eight-bit bytes become "?" */
	PIECE_ESCAPE,    /* quoted-printable already, and yet it has eight-bit bytes: only they become =XX */
	PIECE_QP,
	PIECE_BASE64,    /* without the line break at the end */
};

struct downgrade_piece {
	struct str      from;
	uint64_t        size;
	enum piece_kind kind;
};

/* ---- making ---- */

static bool is_high(char c) { return (unsigned char)c > 127; }

static size_t put_hex(char *out, char c)
{
	static const char digits[] = "0123456789ABCDEF";

	out[0] = '=';
	out[1] = digits[(unsigned char)c >> 4];
	out[2] = digits[(unsigned char)c & 15];
	return 3;
}

static bool is_break(struct str s, size_t i) { return i + 1 < s.n && s.p[i] == '\r' && s.p[i + 1] == '\n'; }

/* Does this byte stand for itself? "." and "From " at the start of a line are changed by bad SMTP and mbox files, "--" may be a boundary. */
static bool is_plain(struct str s, size_t i, size_t column, bool is_last)
{
	char c = s.p[i];

	if (column == 0 && (c == '.' || c == '-' || (c == 'F' && str_starts(str_from(s, i), STR("From ")))))
		return false;
	return (c > 32 && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !is_last);
}

/* The next byte or line break of s, quoted-printable (RFC 2045 §6.7): up to 6 characters. */
static size_t qp_step(struct str s, size_t *at, size_t *column, char *out)
{
	size_t i = *at, n = 0;

	if (is_break(s, i)) {
		*at += 2;
		*column = 0;
		memcpy(out, "\r\n", 2);
		return 2;
	}
	bool is_last = i + 1 == s.n || is_break(s, i + 1);
	size_t width = is_plain(s, i, *column, is_last) ? 1 : 3;
	if (*column + width > LINE_CHARS - (is_last ? 0 : 1)) {
		memcpy(out, "=\r\n", 3);
		n = 3;
		*column = 0;
		width = is_plain(s, i, 0, is_last) ? 1 : 3;
	}
	if (width == 1)
		out[n] = s.p[i];
	else
		put_hex(out + n, s.p[i]);
	(*at)++;
	*column += width;
	return n + width;
}

static size_t base64_step(struct str s, size_t *at, char *out)
{
	struct buf b = BUF(LINE_CHARS + 2);
	struct mime_base64 e = { 0 };
	struct str line = str_sub(s, *at, BASE64_LINE);

	mime_base64_put(&e, line, &b);
	mime_base64_end(&e, &b);
	*at += line.n;
	size_t n = *at == s.n ? b.n - 2 : b.n;
	memcpy(out, b.p, n);
	buf_free(&b);
	return n;
}

/* The next characters of a piece that is not copied; out has room for 80. */
static size_t step(const struct downgrade_piece *p, size_t *at, size_t *column, char *out)
{
	if (p->kind == PIECE_QP)
		return qp_step(p->from, at, column, out);
	if (p->kind == PIECE_BASE64)
		return base64_step(p->from, at, out);
	char c = p->from.p[(*at)++];
	if (is_high(c) && p->kind == PIECE_ESCAPE)
		return put_hex(out, c);
	out[0] = is_high(c) ? '?' : c;
	return 1;
}

/* Letters and such, which stand for themselves wherever they are in a line but at its beginning: how many of them follow before the line is
 * nearly full. Most text is made of them, and counting them one by one with qp_step() takes most of the time of a plan. */
static size_t plain_run(struct str s, size_t at, size_t column)
{
	size_t most = column > 0 && column < LINE_CHARS - 2 ? LINE_CHARS - 2 - column : 0, n = 0;

	while (n < most && at + n < s.n && s.p[at + n] > 32 && s.p[at + n] < 127 && s.p[at + n] != '=')
		n++;
	return n;
}

static uint64_t size_of(const struct downgrade_piece *p)
{
	size_t lines = (p->from.n + BASE64_LINE - 1) / BASE64_LINE, at = 0, column = 0;
	uint64_t size = 0;
	char out[80];

	if (p->kind == PIECE_COPY || p->kind == PIECE_MASK)
		return p->from.n;
	if (p->kind == PIECE_BASE64)
		return (uint64_t)(p->from.n + 2) / 3 * 4 + (lines ? lines - 1 : 0) * 2;
	while (at < p->from.n) {
		size_t run = p->kind == PIECE_QP ? plain_run(p->from, at, column) : 0;
		at += run;
		column += run;
		size += run;
		if (at < p->from.n)
			size += step(p, &at, &column, out);
	}
	return size;
}

/* ---- the plan ---- */

struct planner {
	struct arena *a;
	struct mime_downgrade *out;
	struct str message;
	size_t at;            /* so far the message is in the plan */
};

static void put_piece(struct planner *pl, struct downgrade_piece p)
{
	struct mime_downgrade *d = pl->out;

	if (p.from.n == 0)
		return;
	p.size = p.size ? p.size : size_of(&p);
	d->size += p.size;
	struct downgrade_piece *last = d->n ? &d->pieces[d->n - 1] : NULL;
	if (last && p.kind == PIECE_COPY && last->kind == PIECE_COPY && last->from.p + last->from.n == p.from.p) {
		last->from.n += p.from.n;
		last->size += p.size;
		return;
	}
	if (d->n == d->cap)
		d->pieces = arena_grow(pl->a, d->pieces, d->n, &d->cap, sizeof(*d->pieces));
	d->pieces[d->n++] = p;  /* NOLINT(clang-analyzer-core.NullDereference): there is room for one more */
}

static void put_text(struct planner *pl, struct str text) { put_piece(pl, (struct downgrade_piece){ text, 0, PIECE_COPY }); }

/* The message up to here. */
static void put_until(struct planner *pl, size_t end, enum piece_kind if_8bit)
{
	struct str s = str_sub(pl->message, pl->at, end - pl->at);

	put_piece(pl, (struct downgrade_piece){ s, 0, str_is_ascii(s) ? PIECE_COPY : if_8bit });
	pl->at = end;
}

/* Its header, with this encoding. A message without MIME-Version gets one, or nobody would look at the encoding (RFC 2045 §4). False: it
 * has no end, so nothing can be added. */
static bool put_header(struct planner *pl, const struct mime_part *p, const char *encoding)
{
	struct str header = mime_header(pl->message, p), version;
	struct scan s = scan_of(header);
	struct header_field f;
	struct str field = arena_printf(pl->a, "Content-Transfer-Encoding: %s\r\n", encoding);
	size_t empty = str_ends(header, STR("\r\n")) ? 2 : 1;
	bool is_written = false;

	if (!str_ends(header, STR("\n")) || (header.n > empty && header.p[header.n - empty - 1] != '\n'))
		return false;
	while (header_next(&s, &f)) {
		if (!str_ieq(f.name, STR("Content-Transfer-Encoding")))
			continue;
		put_until(pl, (size_t)(f.line.p - pl->message.p), PIECE_COPY);
		if (!is_written)
			put_text(pl, field);
		is_written = true;
		pl->at += f.line.n;
	}
	put_until(pl, p->body_at - empty, PIECE_COPY);
	if (p->envelope && !header_find(header, STR("MIME-Version"), &version))
		put_text(pl, STR("MIME-Version: 1.0\r\n"));
	if (!is_written)
		put_text(pl, field);
	put_until(pl, p->body_at, PIECE_COPY);
	return true;
}

static bool is_identity(enum mime_encoding e) { return e == MIME_7BIT || e == MIME_8BIT || e == MIME_BINARY; }

/* May it be quoted-printable or base64? By what its header says: the tree calls a multipart without its boundary text. */
static bool may_encode(struct str message, const struct mime_part *p)
{
	static const char *const never[] = { "multipart/", "message/rfc822", "message/partial", "message/external-body" };
	struct str value;

	if (!header_find(mime_header(message, p), STR("Content-Type"), &value))
		return !(p->parent && mime_is(p->parent, "multipart", "digest"));  /* there it means message/rfc822 */
	for (size_t i = 0; i < COUNT_OF(never); i++)
		if (str_istarts(str_trim(value), str_of(never[i])))
			return false;
	return true;
}

static enum downgrade_outcome put_encoded(struct planner *pl, const struct mime_part *p)
{
	struct str body = mime_body(pl->message, p);
	struct downgrade_piece qp = { body, 0, PIECE_QP }, base64 = { body, 0, PIECE_BASE64 };
	size_t end = p->body_at + p->body_n;

	if (!may_encode(pl->message, p))
		return DOWNGRADE_BROKEN;
	qp.size = size_of(&qp);
	base64.size = size_of(&base64);
	bool is_qp = qp.size <= base64.size;
	if (!put_header(pl, p, is_qp ? "quoted-printable" : "base64"))
		return DOWNGRADE_BROKEN;
	put_piece(pl, is_qp ? qp : base64);
	if (!is_qp && end == pl->message.n)
		put_text(pl, STR("\r\n"));  /* elsewhere the boundary brings it */
	pl->at = end;
	return DOWNGRADE_DONE;
}

/* A leaf, or what is treated like one, that has eight-bit bytes in its body. */
static enum downgrade_outcome put_leaf(struct planner *pl, const struct mime_part *p)
{
	if (is_identity(p->encoding))
		return put_encoded(pl, p);
	if (p->encoding == MIME_ENCODING_UNKNOWN)
		return DOWNGRADE_BROKEN;
	put_until(pl, p->body_at, PIECE_COPY);
	/* base64 passes over what is none of its letters (RFC 2045 §6.8): "?" as well */
	put_until(pl, p->body_at + p->body_n, p->encoding == MIME_BASE64 ? PIECE_MASK : PIECE_ESCAPE);
	return DOWNGRADE_DONE;
}

/* The next part that is not inside this one. */
static const struct mime_part *next_outside(const struct mime_part *p)
{
	while (p && !p->next)
		p = p->parent;
	return p ? p->next : NULL;
}

/* Puts a part, or of a container its header, and sets *next. */
static enum downgrade_outcome put_part(struct planner *pl, const struct mime_part *p, const struct mime_part **next)
{
	bool is_ascii = str_is_ascii(mime_body(pl->message, p));
	bool is_signed = p->kind == MIME_MULTIPART && mime_is(p, "multipart", "signed");
	bool is_whole = p->children == NULL || is_signed || (!is_ascii && is_identity(p->encoding) && mime_is(p, "message", "global"));

	put_until(pl, p->header_at, PIECE_MASK);
	*next = is_whole ? next_outside(p) : mime_next(p);
	if (p->has_8bit)
		return DOWNGRADE_HEADER;
	if (is_signed && !is_ascii)
		return DOWNGRADE_SIGNED;
	if (is_whole && !is_ascii)
		return put_leaf(pl, p);
	if (p->encoding == MIME_8BIT || p->encoding == MIME_BINARY) {
		if (!put_header(pl, p, "7bit"))
			return DOWNGRADE_BROKEN;
	} else {
		put_until(pl, p->body_at, PIECE_COPY);
	}
	if (is_whole)
		put_until(pl, p->body_at + p->body_n, PIECE_COPY);
	return DOWNGRADE_DONE;
}

enum downgrade_outcome mime_downgrade(struct arena *a, struct str message, struct mime_downgrade *out)
{
	CLEANUP(arena_free) struct arena tree = { 0 };
	struct planner pl = { .a = a, .out = out, .message = message };
	enum downgrade_outcome outcome;

	if (str_is_ascii(message))
		return DOWNGRADE_NOT_NEEDED;
	*out = (struct mime_downgrade){ .message = message };
	for (const struct mime_part *p = mime_parse(&tree, message); p;) {
		outcome = put_part(&pl, p, &p);
		if (outcome != DOWNGRADE_DONE)
			return outcome;
	}
	put_until(&pl, message.n, PIECE_MASK);
	return DOWNGRADE_DONE;
}

/* ---- reading ---- */

/* Some of the next bytes, at most n; room NULL: they are passed over. */
static size_t read_some(struct mime_downgrade *d, char *room, size_t n)
{
	const struct downgrade_piece *p = &d->pieces[d->cursor.piece];

	if (d->cursor.held_at == d->cursor.held_n && d->cursor.at == p->from.n) {
		d->cursor.piece++;
		d->cursor.at = d->cursor.column = 0;
		p++;
	}
	assert(d->cursor.piece < d->n);
	if (p->kind == PIECE_COPY) {
		n = n < p->from.n - d->cursor.at ? n : p->from.n - d->cursor.at;
		if (room)
			memcpy(room, p->from.p + d->cursor.at, n);
		d->cursor.at += n;
		return n;
	}
	if (d->cursor.held_at == d->cursor.held_n) {
		d->cursor.held_n = step(p, &d->cursor.at, &d->cursor.column, d->cursor.held);
		d->cursor.held_at = 0;
	}
	n = n < d->cursor.held_n - d->cursor.held_at ? n : d->cursor.held_n - d->cursor.held_at;
	if (room)
		memcpy(room, d->cursor.held + d->cursor.held_at, n);
	d->cursor.held_at += n;
	return n;
}

void mime_downgrade_read(struct mime_downgrade *d, uint64_t offset, char *room, size_t n)
{
	assert(offset <= d->size && n <= d->size - offset);
	if (offset < d->cursor.offset)
		memset(&d->cursor, 0, sizeof(d->cursor));
	while (d->cursor.offset < offset) {
		uint64_t gap = offset - d->cursor.offset;
		d->cursor.offset += read_some(d, NULL, gap < SIZE_MAX ? (size_t)gap : SIZE_MAX);
	}
	while (n > 0) {
		size_t got = read_some(d, room, n);
		room += got;
		n -= got;
		d->cursor.offset += got;
	}
}
