/* Modified UTF-7 (RFC 3501 §5.1.3): US-ASCII stands for itself, "&" is "&-", everything else is UTF-16BE in base64 with "," for
 * "/" and without padding, between "&" and "-". One name must have one spelling (a client compares names as bytes), so decoding
 * is strict: printable ASCII inside a shift and two shifts in a row are refused. */
#include "imap/utf7.h"
#include "base/bytes.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

static bool is_plain(uint32_t c) { return c >= 0x20 && c <= 0x7e; }

/* The inside of "&...-"; the cursor stands behind "&". */
static bool decode_shift(struct scan *s, struct buf *b)
{
	uint32_t bits = 0, n_bits = 0, high = 0, taken = 0;

	for (;;) {
		int c = scan_peek(s), digit;
		if (c < 0)
			return false;
		s->p++;
		if (c == '-')
			break;
		if ((digit = digit_of((char)c)) < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		n_bits += 6;
		taken++;
		if (n_bits < 16)
			continue;
		n_bits -= 16;
		uint32_t unit = bits >> n_bits & 0xffff;
		bits &= (1u << n_bits) - 1;
		if (unit >= 0xd800 && unit < 0xdc00) {
			if (high)
				return false;
			high = unit;
		} else if (unit >= 0xdc00 && unit < 0xe000) {
			if (!high)
				return false;
			utf8_put(b, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
			high = 0;
		} else {
			if (high || unit < 0x20 || is_plain(unit))
				return false;
			utf8_put(b, unit);
		}
	}
	if (taken == 0) {
		buf_add_char(b, '&');
		return true;
	}
	return !high && n_bits < 6 && bits == 0 && !(s->p + 1 < s->end && s->p[0] == '&' && s->p[1] != '-');
}

bool utf7_decode(struct arena *a, struct str in, struct str *out)
{
	CLEANUP(buf_free) struct buf b = BUF(in.n * 3 + 4);
	struct scan s = scan_of(in);

	if (!str_is_ascii(in)) {
		*out = in;
		return utf8_valid(in);
	}
	if (in.n == 0 || str_chr(in, '&') < 0) {
		*out = in;
		return true;
	}
	while (!scan_done(&s)) {
		if (!scan_take(&s, '&'))
			buf_add_char(&b, *s.p++);
		else if (!decode_shift(&s, &b))
			return false;
	}
	*out = str_copy(a, buf_str(&b));
	return !b.failed;
}

static void put_unit(struct buf *b, uint32_t unit, uint32_t *bits, uint32_t *n_bits)
{
	*bits = *bits << 16 | unit;
	*n_bits += 16;
	while (*n_bits >= 6) {
		*n_bits -= 6;
		buf_add_char(b, alphabet[*bits >> *n_bits & 63]);
	}
	*bits &= (1u << *n_bits) - 1;
}

void utf7_put(struct buf *b, struct str utf8)
{
	struct scan s = scan_of(utf8);
	uint32_t bits = 0, n_bits = 0;
	bool shifted = false;

	while (!scan_done(&s)) {
		uint32_t c = (uint32_t)utf8_next(&s);
		if (is_plain(c)) {
			if (shifted && n_bits > 0)
				buf_add_char(b, alphabet[bits << (6 - n_bits) & 63]);
			if (shifted)
				buf_add_char(b, '-');
			shifted = false;
			buf_add_char(b, (char)c);
			if (c == '&')
				buf_add_char(b, '-');
			continue;
		}
		if (!shifted) {
			buf_add_char(b, '&');
			bits = n_bits = 0;
			shifted = true;
		}
		if (c >= 0x10000) {
			put_unit(b, 0xd800 + ((c - 0x10000) >> 10), &bits, &n_bits);
			put_unit(b, 0xdc00 + ((c - 0x10000) & 0x3ff), &bits, &n_bits);
		} else {
			put_unit(b, c, &bits, &n_bits);
		}
	}
	if (shifted && n_bits > 0)
		buf_add_char(b, alphabet[bits << (6 - n_bits) & 63]);
	if (shifted)
		buf_add_char(b, '-');
}
