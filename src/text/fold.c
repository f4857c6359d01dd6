/* Folding of text for comparison.
 * Both forms walk code points. Runs of ASCII, which are most of mail, are copied as they are found; the letters of Europe are kept once they were
 * asked for, and ideographs, which no standard will ever change (Unicode's stability policy), are not asked for: so a search in French or
 * Chinese costs little more than one in English. The normaliser and the case maps are ICU's constant tables: nothing is opened. */
#include "text/fold.h"
#include "base/bytes.h"
#include <stdatomic.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

enum { OUR_VERSION = 2 };     /* grows when what comes out of this folder does */
enum { DECOMPOSED_MAX = 32 };  /* UTF-16 units; the longest in Unicode has 18 */

/* The full compatibility decomposition of c, or c itself; returns how many code points. */
static int decompose(const UNormalizer2 *nfkd, uint32_t c, uint32_t out[DECOMPOSED_MAX])
{
	UChar units[DECOMPOSED_MAX];
	UErrorCode status = U_ZERO_ERROR;
	int32_t n = nfkd ? unorm2_getDecomposition(nfkd, (UChar32)c, units, DECOMPOSED_MAX, &status) : -1;
	int made = 0;

	if (n < 0 || U_FAILURE(status)) {
		out[0] = c;
		return 1;
	}
	for (int32_t i = 0; i < n;) {
		UChar32 u;
		U16_NEXT(units, i, n, u);
		out[made++] = (uint32_t)u;
	}
	return made;
}

static const UNormalizer2 *normaliser(void)
{
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *n = unorm2_getNFKDInstance(&status);

	return U_SUCCESS(status) ? n : NULL;
}

static struct str into_arena(struct arena *a, struct buf *b)
{
	struct str out = str_copy(a, buf_str(b));

	buf_free(b);
	return out.p ? out : STR("");
}

/* What a letter below KEPT_END becomes: up to seven bytes, and how many in the eighth. 0: not asked yet. Two threads may write the same. */
enum { KEPT_END = 0x530, KEPT_BYTES = 7, KEPT_NOT = 0xff /* it becomes more */ };
static _Atomic uint64_t kept[KEPT_END];

static void put_decomposed(struct buf *b, const UNormalizer2 *nfkd, uint32_t c)
{
	uint32_t parts[DECOMPOSED_MAX];
	int n = decompose(nfkd, (uint32_t)u_totitle((UChar32)c), parts);

	for (int i = 0; i < n; i++)
		utf8_put(b, parts[i]);
}

static void put_kept(struct buf *b, const UNormalizer2 *nfkd, uint32_t c)
{
	uint64_t bytes = atomic_load_explicit(&kept[c], memory_order_relaxed);
	char room[8] = "";
	size_t from = b->n;

	if (bytes != 0 && bytes >> 56 != KEPT_NOT) {
		memcpy(room, &bytes, sizeof room);
		buf_add_bytes(b, room, (size_t)(bytes >> 56));
		return;
	}
	put_decomposed(b, nfkd, c);
	if (bytes != 0 || b->failed)
		return;
	if (b->n - from <= KEPT_BYTES)
		memcpy(room, b->p + from, b->n - from);
	memcpy(&bytes, room, sizeof bytes);
	bytes |= (uint64_t)(b->n - from <= KEPT_BYTES ? b->n - from : KEPT_NOT) << 56;
	atomic_store_explicit(&kept[c], bytes, memory_order_relaxed);
}

static size_t ascii_run(struct str s)
{
	size_t n = 0;

	for (uint64_t eight; n + 8 <= s.n; n += 8) {
		memcpy(&eight, s.p + n, 8);
		if (eight & UINT64_C(0x8080808080808080))
			break;
	}
	while (n < s.n && (unsigned char)s.p[n] < 0x80)
		n++;
	return n;
}

static void put_upper(struct buf *b, struct str ascii)
{
	char *to = ascii.n > 0 ? buf_reserve(b, ascii.n) : NULL;

	if (to == NULL)
		return;
	for (size_t i = 0; i < ascii.n; i++)
		to[i] = chr_upper(ascii.p[i]);
	buf_grew(b, ascii.n);
}

static bool never_changes(uint32_t c) { return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf); }

void fold_casemap_into(struct buf *b, struct str in)
{
	const UNormalizer2 *nfkd = normaliser();
	struct scan s = scan_of(in);

	while (!scan_done(&s)) {
		struct str ascii = str_sub(scan_rest(&s), 0, ascii_run(scan_rest(&s)));
		put_upper(b, ascii);
		s.p += ascii.n;
		if (scan_done(&s))
			return;
		const char *from = s.p;
		uint32_t c = (uint32_t)utf8_next(&s);
		if (never_changes(c))
			buf_add_bytes(b, from, (size_t)(s.p - from));
		else if (c < KEPT_END)
			put_kept(b, nfkd, c);
		else
			put_decomposed(b, nfkd, c);
	}
}

struct str fold_casemap(struct arena *a, struct str in)
{
	struct buf b = BUF(in.n * 11 + 16);

	if (str_is_ascii(in)) {
		char *out = arena_alloc(a, in.n + 1);
		for (size_t i = 0; i < in.n; i++)
			out[i] = chr_upper(in.p[i]);
		return str_make(out, in.n);
	}
	fold_casemap_into(&b, in);
	return into_arena(a, &b);
}

bool fold_contains(struct arena *a, struct str text, struct str folded_needle)
{
	return folded_needle.n == 0 || str_find(fold_casemap(a, text), folded_needle) >= 0;
}

/* Letters that Unicode does not decompose but people type without: lower case. NULL: not special. */
static const char *spelled(uint32_t c)
{
	static const struct { uint32_t c; const char *as; } letters[] = {
		{ 0xdf, "ss" }, { 0xe6, "ae" }, { 0xf0, "d" }, { 0xf8, "o" }, { 0xfe, "th" }, { 0x111, "d" }, { 0x127, "h" },
		{ 0x131, "i" }, { 0x138, "k" }, { 0x142, "l" }, { 0x14b, "n" }, { 0x153, "oe" }, { 0x167, "t" }, { 0x2bc, "'" },
		{ 0x2018, "'" }, { 0x2019, "'" }, { 0x201c, "\"" }, { 0x201d, "\"" }, { 0x2013, "-" }, { 0x2014, "-" },
	};

	for (size_t i = 0; i < COUNT_OF(letters); i++)
		if (letters[i].c == c)
			return letters[i].as;
	return NULL;
}

static void put_plain(struct buf *b, uint32_t c)
{
	int8_t type = u_charType((UChar32)c);

	if (type == U_NON_SPACING_MARK || type == U_ENCLOSING_MARK || type == U_FORMAT_CHAR)
		return;  /* accents, joiners, soft hyphens */
	if (c < 0x80) {
		buf_add_char(b, c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v' ? ' ' : chr_lower((char)c));
		return;
	}
	if (u_isUWhiteSpace((UChar32)c)) {
		buf_add_char(b, ' ');
		return;
	}
	uint32_t lower = (uint32_t)u_tolower((UChar32)c);
	const char *as = spelled(lower);
	if (as)
		buf_add_cstr(b, as);
	else
		utf8_put(b, lower);
}

struct str fold_accents(struct arena *a, struct str in)
{
	const UNormalizer2 *nfkd = normaliser();
	struct buf b = BUF(in.n * 11 + 16);
	struct scan s = scan_of(in);

	while (!scan_done(&s)) {
		if ((unsigned char)*s.p < 0x80) {
			put_plain(&b, (unsigned char)*s.p++);
			continue;
		}
		uint32_t parts[DECOMPOSED_MAX];
		int n = decompose(nfkd, (uint32_t)utf8_next(&s), parts);
		for (int i = 0; i < n; i++)
			put_plain(&b, parts[i]);
	}
	return into_arena(a, &b);
}

struct str fold_composed(struct arena *a, struct str in)
{
	UChar units[FOLD_NAME_MAX], composed[3 * FOLD_NAME_MAX];  /* no unit becomes more than three */
	UErrorCode status = U_ZERO_ERROR;
	int32_t n, room;
	char *out;

	if (str_is_ascii(in) || in.n > FOLD_NAME_MAX)
		return in;
	const UNormalizer2 *nfc = unorm2_getNFCInstance(&status);
	u_strFromUTF8(units, COUNT_OF(units), &n, in.p, (int32_t)in.n, &status);
	if (unorm2_isNormalized(nfc, units, n, &status) || U_FAILURE(status))
		return in;
	n = unorm2_normalize(nfc, units, n, composed, COUNT_OF(composed), &status);
	if (U_FAILURE(status))
		return in;
	room = 3 * n + 1;
	out = arena_alloc(a, (size_t)room);
	u_strToUTF8(out, room, &n, composed, n, &status);
	return U_FAILURE(status) ? in : str_make(out, (size_t)n);
}

uint32_t fold_version(void)
{
	UVersionInfo unicode;

	u_getUnicodeVersion(unicode);
	return (uint32_t)unicode[0] << 24 | (uint32_t)unicode[1] << 16 | (uint32_t)unicode[2] << 8 | OUR_VERSION;
}
