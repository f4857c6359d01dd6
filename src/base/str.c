/* Slices. Comparison helpers fold ASCII only: protocol words are ASCII; what people type is folded by text/. */
#include "base/str.h"
#include "base/bytes.h"
#include <pthread.h>

bool str_eq(struct str a, struct str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }  /* NOLINT: n > 0 has a p */

bool str_ieq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (chr_lower(a.p[i]) != chr_lower(b.p[i]))  /* NOLINT: n > 0 has a p */
			return false;
	return true;
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;

	return r ? r : (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix) { return s.n >= prefix.n && str_eq(str_sub(s, 0, prefix.n), prefix); }
bool str_istarts(struct str s, struct str prefix) { return s.n >= prefix.n && str_ieq(str_sub(s, 0, prefix.n), prefix); }
bool str_ends(struct str s, struct str suffix) { return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix); }
bool str_iends(struct str s, struct str suffix) { return s.n >= suffix.n && str_ieq(str_from(s, s.n - suffix.n), suffix); }

ptrdiff_t str_find(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	const char *at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
	return at ? at - s.p : -1;
}

ptrdiff_t str_ifind(struct str s, struct str needle)
{
	for (size_t i = 0; i + needle.n <= s.n; i++)
		if (str_ieq(str_sub(s, i, needle.n), needle))
			return (ptrdiff_t)i;
	return -1;
}

ptrdiff_t str_chr(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
	return at ? at - s.p : -1;
}

ptrdiff_t str_rchr(struct str s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
	return at ? at - s.p : -1;
}

struct str str_sub(struct str s, size_t from, size_t n)
{
	if (from > s.n)
		from = s.n;
	if (n > s.n - from)
		n = s.n - from;
	return (struct str){ s.p ? s.p + from : NULL, n };
}

struct str str_from(struct str s, size_t from) { return str_sub(s, from, SIZE_MAX); }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct str str_trim(struct str s)
{
	while (s.n && is_space(s.p[0]))
		s = str_from(s, 1);
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_cut(struct str s, char c, struct str *head, struct str *tail)
{
	ptrdiff_t at = str_chr(s, c);

	*head = at < 0 ? s : str_sub(s, 0, (size_t)at);
	*tail = at < 0 ? str_from(s, s.n) : str_from(s, (size_t)at + 1);
	return at >= 0;
}

bool str_is_ascii(struct str s)
{
	size_t i = 0;

	for (uint64_t eight; i + 8 <= s.n; i += 8) {
		memcpy(&eight, s.p + i, 8);
		if (eight & UINT64_C(0x8080808080808080))
			return false;
	}
	for (; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 128)
			return false;
	return true;
}

bool str_has_ctl(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
			return true;
	return false;
}

/* SipHash-1-3 (Aumasson, Bernstein): enough against crafted keys, and cheap. */
static uint64_t rotate(uint64_t v, int b) { return v << b | v >> (64 - b); }
#define SIP_ROUND() do { \
	v0 += v1; v1 = rotate(v1, 13) ^ v0; v0 = rotate(v0, 32); v2 += v3; v3 = rotate(v3, 16) ^ v2; \
	v0 += v3; v3 = rotate(v3, 21) ^ v0; v2 += v1; v1 = rotate(v1, 17) ^ v2; v2 = rotate(v2, 32); } while (0)

static uint64_t process_key;
static void make_process_key(void) { random_bytes(&process_key, sizeof(process_key)); }

uint64_t str_hash(struct str s, uint64_t seed)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_process_key);
	return str_hash_keyed(s, process_key, seed);
}

uint64_t str_hash_keyed(struct str s, uint64_t key, uint64_t seed)
{
	uint64_t v0 = key ^ 0x736f6d6570736575ULL, v1 = seed ^ 0x646f72616e646f6dULL;
	uint64_t v2 = key ^ 0x6c7967656e657261ULL, v3 = seed ^ 0x7465646279746573ULL;
	uint64_t last = (uint64_t)s.n << 56, word;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		v3 ^= word;
		SIP_ROUND();
		v0 ^= word;
	}
	for (int shift = 0; i < s.n; i++, shift += 8)
		last |= (uint64_t)(unsigned char)s.p[i] << shift;
	v3 ^= last;
	SIP_ROUND();
	v0 ^= last;
	v2 ^= 0xff;
	SIP_ROUND();
	SIP_ROUND();
	SIP_ROUND();
	return v0 ^ v1 ^ v2 ^ v3;
}

bool str_same_secret(struct str a, struct str b)
{
	unsigned char diff = 0;

	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		diff |= (unsigned char)(a.p[i] ^ b.p[i]);
	return diff == 0;
}
