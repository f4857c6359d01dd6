/* UTF-8, base64, hex, CRC32C, random bytes. */
#include "base/bytes.h"
#include "base/mem.h"
#include <nmmintrin.h>
#include <stdlib.h>
#include <sys/random.h>
#include <wmmintrin.h>

int32_t utf8_next(struct scan *s)
{
	if (s->p == s->end)
		return -1;
	unsigned char lead = (unsigned char)*s->p++;
	if (lead < 0x80)
		return lead;
	int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
	if (lead < 0xc2 || lead > 0xf4 || s->end - s->p < more)
		return 0xfffd;
	int32_t code = lead & (0x3f >> more);
	for (int i = 0; i < more; i++) {
		unsigned char c = (unsigned char)s->p[i];
		if ((c & 0xc0) != 0x80)
			return 0xfffd;
		code = code << 6 | (c & 0x3f);
	}
	if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0xfffd;
	s->p += more;
	return code;
}

/* 32 or eight bytes of ASCII at a time: most of all mail is nothing else. */
static void skip_ascii(struct scan *s)
{
	uint64_t eight, four[4];

	while (s->end - s->p >= 32) {
		memcpy(four, s->p, sizeof four);
		if ((four[0] | four[1] | four[2] | four[3]) & UINT64_C(0x8080808080808080))
			break;
		s->p += sizeof four;
	}
	while (s->end - s->p >= 8) {
		memcpy(&eight, s->p, 8);
		if (eight & UINT64_C(0x8080808080808080))
			return;
		s->p += 8;
	}
}

bool utf8_valid(struct str in)
{
	struct scan s = scan_of(in);

	for (skip_ascii(&s); !scan_done(&s); skip_ascii(&s)) {
		const char *from = s.p;
		if (utf8_next(&s) == 0xfffd && !(s.p - from == 3 && memcmp(from, "\xef\xbf\xbd", 3) == 0))
			return false;
	}
	return true;
}

void utf8_put(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_add_char(b, (char)c);
	} else if (c < 0x800) {
		buf_add_char(b, (char)(0xc0 | c >> 6));
		buf_add_char(b, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_add_char(b, (char)(0xe0 | c >> 12));
		buf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_char(b, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_add_char(b, (char)(0xf0 | c >> 18));
		buf_add_char(b, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_char(b, (char)(0x80 | (c & 0x3f)));
	}
}

struct str utf8_clip(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	size_t n = max;
	while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	return str_sub(s, 0, n);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *b, struct str in)
{
	const unsigned char *p = (const unsigned char *)in.p;
	char *to = in.n ? buf_reserve(b, (in.n + 2) / 3 * 4) : NULL;

	if (to == NULL)
		return;
	for (size_t i = 0; i < in.n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < in.n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < in.n ? p[i + 2] : 0);
		*to++ = alphabet[v >> 18];
		*to++ = alphabet[v >> 12 & 63];
		*to++ = i + 1 < in.n ? alphabet[v >> 6 & 63] : '=';
		*to++ = i + 2 < in.n ? alphabet[v & 63] : '=';
	}
	buf_grew(b, (in.n + 2) / 3 * 4);
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_get(struct buf *b, struct str in)
{
	if (in.n % 4)
		return false;
	for (size_t i = 0; i < in.n; i += 4) {
		int v[4], pad = 0;
		for (int j = 0; j < 4; j++) {
			char c = in.p[i + (size_t)j];
			if (c == '=' && i + 4 == in.n && j >= 2) {
				pad++;
				v[j] = 0;
			} else if (pad || (v[j] = base64_value(c)) < 0) {
				return false;
			}
		}
		uint32_t w = (uint32_t)(v[0] << 18 | v[1] << 12 | v[2] << 6 | v[3]);
		if ((pad == 1 && (w & 0xff)) || (pad == 2 && (w & 0xffff)))
			return false;  /* stray bits: two spellings of the same bytes */
		char out[3] = { (char)(w >> 16), (char)(w >> 8), (char)w };
		buf_add_bytes(b, out, (size_t)(3 - pad));
	}
	return !b->failed;
}

bool base64url_get(struct buf *b, struct str in)
{
	uint32_t w = 0;
	unsigned bits = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		int v = c == '+' || c == '/' ? -1 : base64_value(c == '-' ? '+' : c == '_' ? '/' : c);
		if (v < 0)
			return false;
		w = w << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_add_char(b, (char)(w >> bits & 0xff));
		}
	}
	return bits < 6 && (w & ((1u << bits) - 1)) == 0 && !b->failed;
}

struct str base64_encode(struct arena *a, struct str in)
{
	CLEANUP(buf_free) struct buf b = BUF(SIZE_MAX / 2);

	base64_put(&b, in);
	return str_copy(a, b.n ? buf_str(&b) : STR(""));
}

void hex_put(struct buf *b, struct str in)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.n; i++) {
		buf_add_char(b, digits[(unsigned char)in.p[i] >> 4]);
		buf_add_char(b, digits[(unsigned char)in.p[i] & 15]);
	}
}

static int hex_value(char c)
{
	c = chr_lower(c);
	return chr_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_get(struct buf *b, struct str in)
{
	if (in.n % 2)
		return false;
	for (size_t i = 0; i < in.n; i += 2) {
		int hi = hex_value(in.p[i]), lo = hex_value(in.p[i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		buf_add_char(b, (char)(hi << 4 | lo));
	}
	return !b->failed;
}

static uint32_t crc_table(uint32_t crc, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
	}
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; p += 8, n -= 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		c = _mm_crc32_u64(c, word);
	}
	for (; n; p++, n--)
		c = _mm_crc32_u8((uint32_t)c, *p);
	return (uint32_t)c;
}

/* One instruction takes three cycles and another may begin each cycle: so three pieces are summed up side by side and then joined. To go
 * on over n bytes of zeros is to multiply by x^8n modulo the polynomial (bits reversed); the last 33 of these 8n are the instruction's. */
enum { LANE = 1024 };
static const uint64_t over_one_lane = 0x170076fa, over_two_lanes = 0xa51b6135;

__attribute__((target("sse4.2,pclmul"))) static uint64_t over_zeros(uint64_t crc, uint64_t factor)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi64_si128((int64_t)factor), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_side_by_side(uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE) {
		uint64_t a = crc, b = 0, c = 0, words[3];
		for (size_t i = 0; i < LANE; i += 8) {
			memcpy(&words[0], p + i, 8);
			memcpy(&words[1], p + LANE + i, 8);
			memcpy(&words[2], p + 2 * LANE + i, 8);
			a = _mm_crc32_u64(a, words[0]);
			b = _mm_crc32_u64(b, words[1]);
			c = _mm_crc32_u64(c, words[2]);
		}
		crc = (uint32_t)(over_zeros(a, over_two_lanes) ^ over_zeros(b, over_one_lane) ^ c);
	}
	return crc_sse42(crc, p, n);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	if (!__builtin_cpu_supports("sse4.2"))
		return ~crc_table(~crc, p, n);
	return ~(n >= 3 * LANE && __builtin_cpu_supports("pclmul") ? crc_side_by_side(~crc, p, n) : crc_sse42(~crc, p, n));
}

void random_bytes(void *p, size_t n)
{
	char *to = p;

	while (n) {
		ssize_t got = getrandom(to, n, 0);
		if (got < 0)
			abort();
		to += got;
		n -= (size_t)got;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

struct str random_word(struct arena *a, size_t n)
{
	static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
	enum { LETTERS = sizeof(letters) - 1 };
	char *p = arena_alloc(a, n + 1);

	for (size_t i = 0; i < n;) {
		unsigned char r;
		random_bytes(&r, 1);
		if (r < 256 / LETTERS * LETTERS)  /* without bias */
			p[i++] = letters[r % LETTERS];
	}
	return (struct str){ p, n };
}
