#include "text/charset.h"
#include "text/fold.h"
#include "text/words.h"
#include "base/test.h"
#include "base/bytes.h"
#include <unicode/uchar.h>
#include <unicode/unorm2.h>

TEST(charset_to_utf8)
{
	static const struct { const char *name, *in, *out; } cases[] = {
		{ "UTF-8", "caf\xc3\xa9", "café" },
		{ "utf-8", "caf\xe9!", "caf\xef\xbf\xbd!" },           /* labelled but malformed */
		{ "iso-8859-1", "caf\xe9 \x80", "café €" },            /* Latin 1 is read as 1252 */
		{ "ISO-8859-15", "\xa4 \xbd", "€ œ" },
		{ "us-ascii", "caf\xe9", "café" },                     /* a lie: guessed */
		{ "us-ascii", "caf\xc3\xa9", "café" },
		{ "", "\x93hi\x94", "“hi”" },
		{ "no-such-charset", "caf\xe9", "café" },
		{ "../../etc/passwd", "a", "a" },                      /* never reaches ICU */
		{ "UTF-8,version=1", "a", "a" },
		{ "iso-2022-jp", "\x1b$B$3$s\x1b(B", "こん" },
		{ "Shift_JIS", "\x82\xb1\x82\xf1", "こん" },
		{ "gb2312", "\xc4\xe3\xba\xc3", "你好" },
		{ "GB2312", "\xd6\xec\xe9\x46\xbb\xf9", "朱镕基" },  /* the second is in GBK only */
		{ "euc-kr", "\x8c\x63\xb9\xe6", "똠방" },
		{ "koi8-r", "\xf0\xd2\xc9", "При" },
		{ "utf-7", "caf+AOk-", "café" },
		{ "windows-1252", "\x81", "\xef\xbf\xbd" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(charset_to_utf8(&a, str_of(c->name), str_of(c->in), 1000), c->out);
	EXPECT_STR(charset_to_utf8(&a, STR("utf-8"), STR("ab\xc3\xa9"), 3), "ab");  /* the limit cuts no character */
	arena_free(&a);
}

TEST(charset_known)
{
	EXPECT(charset_is_known(STR("utf-8")));
	EXPECT(charset_is_known(STR("US-ASCII")));
	EXPECT(charset_is_known(STR("KOI8-R")));
	EXPECT(!charset_is_known(STR("nonsense")));
	EXPECT(!charset_is_known(STR("a/b")));
}

TEST(fold_casemap)
{
	static const struct { const char *a, *b; bool same; } cases[] = {
		{ "Hello", "hELLO", true }, { "É", "é", true }, { "é", "e", false }, { "é", "e\xcc\x81", true },  /* composed or not */
		{ "ﬁ", "fi", false },       /* decomposes to lower case after the title-casing: RFC 5051 §2 has no second round */
		{ "ﬁ", "ﬁ", true }, { "Ａ", "a", true }, { "ß", "SS", false }, { "ДА", "да", true }, { "x\xff", "X\xff", true },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		bool same = str_eq(fold_casemap(&a, str_of(c->a)), fold_casemap(&a, str_of(c->b)));
		if (same != c->same)
			print_error("%s / %s\n", c->a, c->b);
		EXPECT(same == c->same);
	}
	EXPECT(fold_contains(&a, STR("Un Café crème"), fold_casemap(&a, STR("CAFÉ"))));
	EXPECT(!fold_contains(&a, STR("Un Café crème"), fold_casemap(&a, STR("cafe c"))));
	EXPECT(fold_contains(&a, STR("x"), STR("")));
	arena_free(&a);
}

TEST(fold_composed)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "plain", "plain" }, { "\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9" }, { "e\xcc\x81te\xcc\x81/x", "\xc3\xa9t\xc3\xa9/x" },
		{ "q\xcc\xa3\xcc\x87", "q\xcc\xa3\xcc\x87" }, { "q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87" },  /* the order of two accents */
		{ "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c" },  /* Hangul, as macOS writes it */
		{ "\xef\xac\x81", "\xef\xac\x81" },                      /* a ligature is another letter */
		{ "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc" },          /* one that is never composed: longer than it was */
		{ "bad\xff" "e\xcc\x81", "bad\xff" "e\xcc\x81" },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	char *longest = arena_alloc(&a, FOLD_NAME_MAX + 3);

	EACH(cases, c) EXPECT_STR(fold_composed(&a, str_of(c->in)), c->out);
	for (size_t i = 0; i < FOLD_NAME_MAX; i += 2)
		memcpy(longest + i, "\xcd\x84", 2);  /* U+0344 becomes two of two bytes */
	EXPECT_INT(fold_composed(&a, str_make(longest, FOLD_NAME_MAX)).n, 2 * FOLD_NAME_MAX);
	EXPECT_INT(fold_composed(&a, str_make(longest, FOLD_NAME_MAX + 2)).n, FOLD_NAME_MAX + 2);
}

/* As ICU has it, for every character, also when it is asked again; in pieces as in one. */
TEST(fold_casemap_of_every_character)
{
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *nfkd = unorm2_getNFKDInstance(&status);
	CLEANUP(buf_free) struct buf all = BUF(1 << 22), folded = BUF(1 << 24), wanted = BUF(1 << 24);

	for (uint32_t c = 1; c < 0x11000; c++) {
		UChar units[64];
		UErrorCode each = U_ZERO_ERROR;
		if (c >= 0xd800 && c < 0xe000)
			continue;
		utf8_put(&all, c);
		int32_t n = unorm2_getDecomposition(nfkd, u_totitle((UChar32)c), units, 64, &each);
		if (n < 0)
			utf8_put(&wanted, (uint32_t)u_totitle((UChar32)c));
		for (int32_t i = 0; i < n;) {
			UChar32 part;
			U16_NEXT(units, i, n, part);
			utf8_put(&wanted, (uint32_t)part);
		}
	}
	for (int round = 0; round < 2; round++) {
		buf_reset(&folded);
		for (struct str rest = buf_str(&all), piece; rest.n > 0; rest = str_from(rest, piece.n)) {
			piece = utf8_clip(rest, 1000);
			fold_casemap_into(&folded, piece);
		}
		EXPECT(str_eq(buf_str(&folded), buf_str(&wanted)));
	}
}

TEST(fold_accents)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "Élève ŒUVRE", "eleve oeuvre" }, { "Straße Ærø Łódź", "strasse aero lodz" }, { "ﬁn\tde\xc2\xa0ligne", "fin de ligne" },
		{ "l’été", "l'ete" }, { "Ｆｕｌｌ", "full" }, { "Việt Nam", "viet nam" }, { "日本", "日本" }, { "ÇA", "ca" },
	};
	struct arena a = { 0 };

	EACH(cases, c) EXPECT_STR(fold_accents(&a, str_of(c->in)), c->out);
	arena_free(&a);
}

static struct str words_joined(struct arena *a, const char *text)
{
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct words w = words_of(fold_casemap(a, str_of(text)));
	struct str word;

	while (words_next(&w, &word)) {
		if (b.n > 0)
			buf_add_char(&b, ' ');
		buf_add(&b, word);
	}
	return b.n ? str_copy(a, buf_str(&b)) : STR("");
}

TEST(words)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const struct { const char *in, *out; } cases[] = {
		{ "", "" }, { " - ", "" },
		{ "Hello, world2!", "HELLO WORLD2" },
		{ "l'\xc3\xa9t\xc3\xa9", "L E\xcc\x81TE\xcc\x81" },
		{ "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd", "\xe6\x9d\xb1\xe4\xba\xac \xe4\xba\xac\xe9\x83\xbd \xe9\x83\xbd" },   /* two at a time */
		{ "a\xe6\x9d\xb1z", "A \xe6\x9d\xb1 Z" },
		{ "\xe6\x9d\xb1\xe3\x80\x82\xe4\xba\xac", "\xe6\x9d\xb1 \xe4\xba\xac" },   /* a full stop between */
		{ "0123456789012345678901234567890123456789012345678901234567890123456789",   /* 70: pieces that overlap */
		  "0123456789012345678901234567890123456789012345678901234567890123 23456789012345678901234567890123456789" },
	};

	EACH(cases, c)
		EXPECT_STR(words_joined(&a, c->in), c->out);
}

TEST(words_of_needle)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	static const struct { const char *in, *out; bool is_exact; } cases[] = {
		{ "", "", false }, { "?!", "", false },
		{ "udg", "*UDG*", true },
		{ " udg", "UDG*", false }, { "udg.", "*UDG", false }, { ".udg.", "UDG", false },
		{ "udget of the pla", "*UDGET OF THE PLA*", false },
		{ "\xe4\xba\xac", "*\xe4\xba\xac*", true },
		{ "\xe6\x9d\xb1\xe4\xba\xac", "\xe6\x9d\xb1\xe4\xba\xac", true },
		{ "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd", "\xe6\x9d\xb1\xe4\xba\xac \xe4\xba\xac\xe9\x83\xbd", false },
		{ "012345678901234567890123456789", "*0123456789012345678901234567*", false },   /* longer than is sure to be in one piece */
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(1000);
		struct needle_part parts[NEEDLE_PARTS_MAX];
		bool is_exact;
		size_t n = words_of_needle(fold_casemap(&a, str_of(c->in)), parts, &is_exact);
		for (size_t i = 0; i < n; i++) {
			enum word_match m = parts[i].match;
			buf_printf(&b, "%s%s" STR_FMT "%s", i ? " " : "", m == WORD_INSIDE || m == WORD_ENDS ? "*" : "", STR_ARG(parts[i].text),
			           m == WORD_INSIDE || m == WORD_BEGINS ? "*" : "");
		}
		EXPECT_STR(b.n ? buf_str(&b) : STR(""), c->out);
		EXPECT_INT(is_exact, c->is_exact);
	}
}

/* What the index rests on: no string of a text may have a part that its words do not have. */
TEST(words_have_every_part_of_every_string)
{
	static const char *const pieces[] = { "a", "B", "7", " ", ".", "\xc3\xa9", "\xe6\x9d\xb1", "\xe3\x82\xac", "\xe3\x80\x82", "\xc5\x93", "\xef\xac\x81",
	                                      "0123456789abcdefghijklmnopqrstuvwxyz", "\xe0\xb8\x81" };
	uint32_t random = 7;

	for (int round = 0; round < 3000; round++) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(buf_free) struct buf b = BUF(4000);
		size_t starts[33], n = 1 + (random >> 8) % 32;
		for (size_t i = 0; i < n; i++) {
			random = random * 1664525 + 1013904223;
			starts[i] = b.n;
			buf_add_cstr(&b, pieces[(random >> 16) % COUNT_OF(pieces)]);
		}
		starts[n] = b.n;
		size_t from = (random >> 4) % n, to = from + 1 + (random >> 12) % (n - from);
		struct str text = fold_casemap(&a, buf_str(&b)), word;
		struct str needle = fold_casemap(&a, str_sub(buf_str(&b), starts[from], starts[to] - starts[from]));
		struct needle_part parts[NEEDLE_PARTS_MAX];
		bool is_exact;
		size_t n_parts = words_of_needle(needle, parts, &is_exact);
		EXPECT(str_find(text, needle) >= 0);
		for (size_t i = 0; i < n_parts; i++) {
			struct words w = words_of(text);
			bool is_there = false;
			while (!is_there && words_next(&w, &word))
				is_there = word_matches(word, &parts[i]);
			EXPECT(is_there);
		}
	}
}

TEST(words_that_resemble)
{
	static const struct { const char *word, *wanted; unsigned least, most; } cases[] = {
		{ "FACTURE", "FACTURE", 100, 100 }, { "FACTURES", "FACTURE", 90, 90 }, { "FACTURE", "FACTURES", 90, 90 },
		{ "JOURNAUX", "JOURNAL", 90, 90 }, { "COMPANY", "COMPANIES", 90, 90 }, { "BOX", "BOXES", 90, 90 }, { "CHAUD", "CHAUDES", 90, 90 },
		{ "FACTURATION", "FACTUR", 60, 60 }, { "REFACTURE", "FACTURE", 30, 30 }, { "FRACTURE", "FACTURE", 0, 0 },
		{ "IS", "S", 0, 0 },
	};

	EACH(cases, c) {
		unsigned like = word_like(str_of(c->word), str_of(c->wanted), word_stem(str_of(c->wanted)));
		EXPECT(like >= c->least && like <= c->most);
	}
	EXPECT(word_mistyped(STR("HELLO"), STR("HELO")) > 0);
	EXPECT(word_mistyped(STR("FRACTURE"), STR("FACTURE")) > 0);
	EXPECT(word_mistyped(STR("HLELO"), STR("HELLO")) > 0);
	EXPECT_INT(word_mistyped(STR("HELP"), STR("HOLE")), 0);
	EXPECT_INT(word_mistyped(STR("THE"), STR("TEE")), 0);
}
