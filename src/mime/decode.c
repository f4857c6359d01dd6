/* Content-Transfer-Encoding both ways.
 * The decoders keep what a chunk leaves undecided (up to 3 base64 digits; for quoted-printable an "=", "=X", or white
 * space before a line break), so that chunks of any size give the same bytes as one. Base64 takes whole groups of
 * four by table; only where one is broken by a line break or by rubbish it goes byte by byte. */
#include "mime/decode.h"
#include "mime/mime_private.h"
#include "base/bytes.h"

enum { BASE64_SKIP = 64, BASE64_PAD = 65, BASE64_BAD = 66, LINE_MAX_CHARS = 76 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t digit_of(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint8_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint8_t)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0' + 52);
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	if (c == '=')
		return BASE64_PAD;
	return c == '\r' || c == '\n' || c == ' ' || c == '\t' ? BASE64_SKIP : BASE64_BAD;
}

static void decode_base64(struct mime_decoder *d, struct str in, struct buf *out)
{
	size_t at = 0;

	while (at < in.n) {
		size_t step = in.n - at < 65536 ? in.n - at : 65536;
		char *to = buf_reserve(out, step / 4 * 3 + 3), *from = to;
		if (to == NULL)
			return;
		for (size_t end = at + step; at < end; at++) {
			uint8_t v = digit_of((unsigned char)in.p[at]);
			if (v < 64) {
				if (d->is_ended) {  /* more after padding: pieces that were encoded one by one */
					d->is_ended = false;
					d->bits_n = 0;
				}
				d->bits = d->bits << 6 | v;
				if (++d->bits_n == 4) {
					*to++ = (char)(d->bits >> 16);
					*to++ = (char)(d->bits >> 8);
					*to++ = (char)d->bits;
					d->bits_n = 0;
				}
			} else if (v == BASE64_PAD && !d->is_ended) {
				if (d->bits_n == 3) {
					*to++ = (char)(d->bits >> 10);
					*to++ = (char)(d->bits >> 2);
				} else if (d->bits_n == 2) {
					*to++ = (char)(d->bits >> 4);
				} else {
					d->is_damaged = true;
				}
				d->bits_n = 0;
				d->is_ended = true;
			} else if (v == BASE64_BAD) {
				d->is_damaged = true;
			}
		}
		buf_grew(out, (size_t)(to - from));
	}
}

static int hex_digit(char c)
{
	return chr_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void flush_held(struct mime_decoder *d, struct buf *out)
{
	buf_add_bytes(out, d->held, d->held_n);
	d->held_n = 0;
}

/* One byte of quoted-printable. held has "=", "=X", "=" and white space (a soft line break is coming), or white
 * space. */
static void qp_byte(struct mime_decoder *d, char c, struct buf *out)
{
	bool is_escape = d->held_n && d->held[0] == '=';
	bool is_blank = c == ' ' || c == '\t' || c == '\r';

	if (is_escape) {
		if (c == '\n') {
			bool is_soft = d->held_n == 1 || hex_digit(d->held[1]) < 0;
			if (is_soft) {
				d->held_n = 0;
				return;
			}
		} else if (d->held_n == 2 && hex_digit(d->held[1]) >= 0 && hex_digit(c) >= 0) {
			buf_add_char(out, (char)(hex_digit(d->held[1]) << 4 | hex_digit(c)));
			d->held_n = 0;
			return;
		} else if (d->held_n < sizeof(d->held) &&
		           ((d->held_n == 1 && hex_digit(c) >= 0) || (is_blank &&
		             (d->held_n == 1 || hex_digit(d->held[1]) < 0)))) {
			d->held[d->held_n++] = c;
			return;
		}
		d->is_damaged = true;  /* "=?" as it stands */
		flush_held(d, out);
	}
	if (c == '\n') {  /* white space before a line break was added by transport; the CR of CRLF stays */
		bool has_cr = d->held_n && d->held[d->held_n - 1] == '\r';
		d->held_n = 0;
		if (has_cr)
			buf_add_char(out, '\r');
		buf_add_char(out, '\n');
	} else if (c == '=') {
		flush_held(d, out);
		d->held[d->held_n++] = c;
	} else if (is_blank) {
		if (d->held_n == sizeof(d->held))
			flush_held(d, out);
		d->held[d->held_n++] = c;
	} else {
		flush_held(d, out);
		buf_add_char(out, c);
	}
}

static void decode_qp(struct mime_decoder *d, struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		size_t run = i;
		while (d->held_n == 0 && run < in.n && (unsigned char)in.p[run] > ' ' && in.p[run] != '=')
			run++;
		if (run > i)
			buf_add_bytes(out, in.p + i, run - i);
		if (run == in.n)
			return;
		i = run;
		qp_byte(d, in.p[i], out);
	}
}

void mime_decode(struct mime_decoder *d, struct str in, struct buf *out)
{
	if (in.n == 0)
		return;
	if (d->encoding == MIME_BASE64)
		decode_base64(d, in, out);
	else if (d->encoding == MIME_QUOTED_PRINTABLE)
		decode_qp(d, in, out);
	else
		buf_add(out, in);
}

void mime_decode_end(struct mime_decoder *d, struct buf *out)
{
	if (d->encoding == MIME_QUOTED_PRINTABLE && d->held_n) {
		/* "=" at the very end is a soft line break of nothing; white space there is as at the end of a line */
		if (d->held[0] == '=' && d->held_n > 1 && hex_digit(d->held[1]) >= 0) {
			d->is_damaged = true;
			flush_held(d, out);
		}
		d->held_n = 0;
	}
	if (d->encoding == MIME_BASE64 && d->bits_n >= 2) {  /* the padding is missing */
		buf_add_char(out, (char)(d->bits >> (d->bits_n * 6 - 8)));
		if (d->bits_n == 3)
			buf_add_char(out, (char)(d->bits >> 2));
		d->is_damaged = true;
	}
	d->bits_n = 0;
}

struct str mime_decode_all(struct arena *a, enum mime_encoding e, struct str in, size_t max)
{
	if (e != MIME_BASE64 && e != MIME_QUOTED_PRINTABLE)
		return str_sub(in, 0, max);
	struct mime_decoder d = mime_decoder(e);
	struct buf b = BUF(in.n + 8);  /* decoding never grows */
	mime_decode(&d, in, &b);
	mime_decode_end(&d, &b);
	struct str out = b.n ? str_copy(a, str_sub(buf_str(&b), 0, max)) : STR("");
	buf_free(&b);
	return out;
}

/* -------------------------------------------------------------------------------------------------------- encoding */

static void put_group(struct mime_base64 *e, const uint8_t *g, size_t n, struct buf *out)
{
	uint32_t v = (uint32_t)g[0] << 16 | (n > 1 ? (uint32_t)g[1] << 8 : 0) | (n > 2 ? g[2] : 0);
	char text[6] = { alphabet[v >> 18], alphabet[v >> 12 & 63], n > 1 ? alphabet[v >> 6 & 63] : '=',
	                 n > 2 ? alphabet[v & 63] : '=', '\r', '\n' };

	e->column = (uint8_t)(e->column + 4);
	buf_add_bytes(out, text, e->column == LINE_MAX_CHARS ? 6 : 4);
	if (e->column == LINE_MAX_CHARS)
		e->column = 0;
}

void mime_base64_put(struct mime_base64 *e, struct str in, struct buf *out)
{
	size_t i = 0;

	while (e->held_n > 0 && e->held_n < 3 && i < in.n)
		e->held[e->held_n++] = (uint8_t)in.p[i++];
	if (e->held_n == 3) {
		put_group(e, e->held, 3, out);
		e->held_n = 0;
	}
	if (e->held_n > 0)
		return;
	for (; in.n - i >= 3; i += 3)
		put_group(e, (const uint8_t *)in.p + i, 3, out);
	while (i < in.n)
		e->held[e->held_n++] = (uint8_t)in.p[i++];
}

void mime_base64_end(struct mime_base64 *e, struct buf *out)
{
	if (e->held_n)
		put_group(e, e->held, e->held_n, out);
	if (e->column)
		buf_add(out, STR("\r\n"));
	*e = (struct mime_base64){ 0 };
}

void mime_qp_put_text(struct str in, struct buf *out)
{
	size_t column = 0;

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		bool is_break = c == '\n' || (c == '\r' && i + 1 < in.n && in.p[i + 1] == '\n');
		if (is_break) {
			i += c == '\r';
			buf_add(out, STR("\r\n"));
			column = 0;
			continue;
		}
		bool is_line_end = i + 1 == in.n || in.p[i + 1] == '\n' ||
		                   (in.p[i + 1] == '\r' && i + 2 < in.n && in.p[i + 2] == '\n');
		/* "From " and "." at the start of a line are changed by mbox files and by bad SMTP */
		bool is_risky = column == 0 && (c == '.' || (c == 'F' && str_starts(str_from(in, i), STR("From "))));
		bool is_plain = !is_risky && ((c > 32 && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !is_line_end));
		size_t width = is_plain ? 1 : 3;
		if (column + width > LINE_MAX_CHARS - (is_line_end ? 0 : 1)) {
			buf_add(out, STR("=\r\n"));
			column = 0;
			i--;  /* again, now at the start of a line */
			continue;
		}
		if (is_plain)
			buf_add_char(out, (char)c);
		else
			buf_printf(out, "=%02X", c);
		column += width;
	}
}
