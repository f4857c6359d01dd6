/* Charsets of mail to UTF-8.
 * Nearly all mail is UTF-8, ASCII or Latin 1, so these are done here without ICU; windows-1252 stands in for
 * iso-8859-1, as in every browser and mail program, because what calls itself Latin 1 often has the quotes of 1252;
 * so do GB 18030 and windows-949 for the older sets of Chinese and Korean, whose names are all that many programs write.
 * All else goes through an ICU converter that is opened for the call: ICU caches the tables, and an open converter
 * would be state.
 * The name comes from strangers and ICU also reads files and options named by it, so only plain names of at most 60
 * characters out of [A-Za-z0-9._:+()-] reach ICU. */
#include "text/charset.h"
#include "base/bytes.h"
#include <unicode/ucnv.h>

enum { NAME_MAX_BYTES = 60 };
enum family { FAMILY_UNLABELLED, FAMILY_UTF8, FAMILY_1252, FAMILY_ICU, FAMILY_UNKNOWN };

static const uint16_t windows_1252[32] = {  /* 0x80-0x9f; the five holes are malformed */
	0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
	0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd,
	0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
	0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178,
};

/* Names of people are among what the first has not and the second has (WHATWG Encoding §4.2). */
static struct str stand_in(struct str name)
{
	static const struct { struct str name, reads_as; } wider[] = { { { "gb2312", 6 }, { "gb18030", 7 } }, { { "euc-kr", 6 }, { "windows-949", 11 } } };

	for (size_t i = 0; i < COUNT_OF(wider); i++)
		if (str_ieq(name, wider[i].name))
			return wider[i].reads_as;
	return name;
}

static enum family family_of(struct str name, char plain[NAME_MAX_BYTES + 1])
{
	static const struct { struct str name; enum family family; } own[] = {
		{ { "utf-8", 5 }, FAMILY_UTF8 }, { { "utf8", 4 }, FAMILY_UTF8 }, { { "us-ascii", 8 }, FAMILY_UNLABELLED },
		{ { "iso-8859-1", 10 }, FAMILY_1252 }, { { "windows-1252", 12 }, FAMILY_1252 },
		{ { "ascii", 5 }, FAMILY_UNLABELLED },
		{ { "latin1", 6 }, FAMILY_1252 }, { { "cp1252", 6 }, FAMILY_1252 },
		{ { "ansi_x3.4-1968", 14 }, FAMILY_UNLABELLED },
		{ { "unknown-8bit", 12 }, FAMILY_UNLABELLED }, { { "x-unknown", 9 }, FAMILY_UNLABELLED },
	};

	name = str_trim(name);
	if (name.n == 0)
		return FAMILY_UNLABELLED;
	for (size_t i = 0; i < COUNT_OF(own); i++)
		if (str_ieq(name, own[i].name))
			return own[i].family;
	if (name.n > NAME_MAX_BYTES)
		return FAMILY_UNKNOWN;
	name = stand_in(name);
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (!chr_alpha(c) && !chr_digit(c) && (c == '\0' || strchr("._:+()-", c) == NULL))
			return FAMILY_UNKNOWN;
		plain[i] = c;
	}
	plain[name.n] = '\0';
	return FAMILY_ICU;
}

static UConverter *converter_open(const char *name)
{
	UErrorCode status = U_ZERO_ERROR;
	UConverter *c = ucnv_open(name, &status);

	if (U_FAILURE(status)) {
		ucnv_close(c);
		return NULL;
	}
	return c;
}

bool charset_is_known(struct str name)
{
	char plain[NAME_MAX_BYTES + 1];
	enum family f = family_of(name, plain);

	if (f != FAMILY_ICU)
		return f != FAMILY_UNKNOWN;
	UConverter *c = converter_open(plain);
	if (c)
		ucnv_close(c);
	return c != NULL;
}

static struct str from_1252(struct arena *a, struct str in)
{
	size_t more = 0;

	for (size_t i = 0; i < in.n; i++)
		more += (unsigned char)in.p[i] >= 0x80;
	char *out = arena_alloc(a, in.n + 2 * more), *p = out;
	for (size_t i = 0; i < in.n; i++) {
		uint32_t u = (unsigned char)in.p[i];
		if (u >= 0x80 && u < 0xa0)
			u = windows_1252[u - 0x80];
		if (u < 0x80) {
			*p++ = (char)u;
		} else if (u < 0x800) {
			*p++ = (char)(0xc0 | u >> 6);
			*p++ = (char)(0x80 | (u & 0x3f));
		} else {
			*p++ = (char)(0xe0 | u >> 12);
			*p++ = (char)(0x80 | (u >> 6 & 0x3f));
			*p++ = (char)(0x80 | (u & 0x3f));
		}
	}
	return str_make(out, (size_t)(p - out));
}

static struct str repair_utf8(struct arena *a, struct str in)
{
	if (utf8_valid(in))
		return in;
	char *out = arena_alloc(a, in.n * 3), *p = out;
	struct scan s = scan_of(in);
	while (!scan_done(&s)) {
		const char *from = s.p;
		int32_t u = utf8_next(&s);
		if (u == 0xfffd) {
			memcpy(p, "\xef\xbf\xbd", 3);
			p += 3;
		} else {
			memcpy(p, from, (size_t)(s.p - from));
			p += s.p - from;
		}
	}
	return str_make(out, (size_t)(p - out));
}

static struct str from_icu(struct arena *a, UConverter *c, struct str in)
{
	UErrorCode status = U_ZERO_ERROR;
	int32_t cap = (int32_t)(in.n * 4);
	char *out = arena_alloc(a, (size_t)cap + 1);
	int32_t n = ucnv_toAlgorithmic(UCNV_UTF8, c, out, cap, in.p, (int32_t)in.n, &status);

	if (n > cap)  /* a charset that grows more than fourfold: the beginning is better than nothing */
		n = cap;
	if (U_FAILURE(status) && status != U_BUFFER_OVERFLOW_ERROR)
		return charset_guess(a, in);
	return repair_utf8(a, str_make(out, (size_t)(n > 0 ? n : 0)));
}

struct str charset_guess(struct arena *a, struct str in)
{
	return utf8_valid(in) ? in : from_1252(a, in);
}

struct str charset_to_utf8(struct arena *a, struct str name, struct str in, size_t max_bytes)
{
	char plain[NAME_MAX_BYTES + 1];

	if (max_bytes > INT32_MAX / 8)
		max_bytes = INT32_MAX / 8;
	struct str whole = in;
	in = str_sub(in, 0, max_bytes);
	switch (family_of(name, plain)) {
	case FAMILY_UTF8:
		return repair_utf8(a, utf8_clip(whole, max_bytes));
	case FAMILY_1252:
		return str_is_ascii(in) ? in : from_1252(a, in);
	case FAMILY_ICU: {
		UConverter *c = converter_open(plain);
		if (c == NULL)
			break;
		struct str out = from_icu(a, c, in);
		ucnv_close(c);
		return out;
	}
	case FAMILY_UNLABELLED:
	case FAMILY_UNKNOWN:
		break;
	}
	return charset_guess(a, in);
}
