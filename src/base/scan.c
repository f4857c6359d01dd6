/* The cursor of all our parsers; see the header. */
#include "base/scan.h"

void scan_fail(struct scan *s)
{
	s->failed = true;
	s->p = s->end;
}

int scan_peek(const struct scan *s) { return s->p < s->end ? (unsigned char)*s->p : -1; }

bool scan_take(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

bool scan_take_str(struct scan *s, struct str word)
{
	if (!str_starts(scan_rest(s), word))
		return false;
	s->p += word.n;
	return true;
}

bool scan_take_istr(struct scan *s, struct str word)
{
	if (!str_istarts(scan_rest(s), word))
		return false;
	s->p += word.n;
	return true;
}

void scan_need(struct scan *s, char c)
{
	if (!scan_take(s, c))
		scan_fail(s);
}

void scan_need_str(struct scan *s, struct str word)
{
	if (!scan_take_str(s, word))
		scan_fail(s);
}

struct str scan_bytes(struct scan *s, size_t n)
{
	if (n > scan_left(s)) {
		scan_fail(s);
		return STR_NONE;
	}
	struct str out = { s->p, n };
	s->p += n;
	return out;
}

struct str scan_while(struct scan *s, bool (*in)(char c))
{
	const char *from = s->p;

	while (s->p < s->end && in(*s->p))
		s->p++;
	return (struct str){ from, (size_t)(s->p - from) };
}

struct str scan_until(struct scan *s, char c)
{
	const char *from = s->p, *at = s->p < s->end ? memchr(s->p, c, scan_left(s)) : NULL;

	s->p = at ? at : s->end;
	return (struct str){ from, (size_t)(s->p - from) };
}

uint64_t scan_number(struct scan *s, uint64_t max)
{
	uint64_t v = 0;

	if (s->p == s->end || !chr_digit(*s->p)) {
		scan_fail(s);
		return 0;
	}
	while (s->p < s->end && chr_digit(*s->p)) {
		uint64_t digit = (uint64_t)(*s->p - '0');
		if (v > (max - digit) / 10 || digit > max) {
			scan_fail(s);
			return 0;
		}
		v = v * 10 + digit;
		s->p++;
	}
	return v;
}

uint32_t scan_u32(struct scan *s) { return (uint32_t)scan_number(s, UINT32_MAX); }
uint64_t scan_u64(struct scan *s) { return scan_number(s, UINT64_MAX); }

void scan_skip(struct scan *s, const char *set)
{
	while (s->p < s->end && *s->p != '\0' && strchr(set, *s->p))
		s->p++;
}

bool str_to_u64(struct str s, uint64_t *out)
{
	struct scan c = scan_of(s);
	uint64_t v = scan_u64(&c);

	if (c.failed || !scan_done(&c))
		return false;
	*out = v;
	return true;
}
