/* Words for the index. The cut must depend on nothing but the characters beside it, because a needle is cut without the text around it, and
 * its inner words have to come out as they do there: so no dictionary, no language, only classes of characters.
 *
 * Ideographs come in pairs: single ones would be in nearly every message of such an account, a whole run is a sentence. The last one of a run
 * also comes alone, so that each begins a word and one of them can be found. */
#include "text/words.h"
#include "base/bytes.h"
#include "text/fold.h"
#include <unicode/uchar.h>

enum class { SEPARATOR, LETTER, IDEOGRAPH };

static bool is_ideographic(uint32_t c)
{
	static const struct { uint32_t first, last; } scripts[] = {
		{ 0x0e00, 0x0fff },    /* Thai, Lao, Tibetan */
		{ 0x1000, 0x109f },    /* Burmese */
		{ 0x1780, 0x17ff },    /* Khmer */
		{ 0x2e80, 0x312f },    /* radicals, kana, Bopomofo */
		{ 0x3190, 0x4dbf }, { 0x4e00, 0x9fff }, { 0xf900, 0xfaff }, { 0x20000, 0x3ffff },
	};

	if (c < scripts[0].first)
		return false;
	for (size_t i = 0; i < COUNT_OF(scripts); i++)
		if (c >= scripts[i].first && c <= scripts[i].last)
			return true;
	return false;
}

static enum class class_of(uint32_t c)
{
	if (c < 0x80)
		return chr_alpha((char)c) || chr_digit((char)c) ? LETTER : SEPARATOR;
	if (c >= 0x4e00 && c <= 0x9fff)
		return IDEOGRAPH;  /* nearly all there are */
	if (!(U_MASK(u_charType((UChar32)c)) & (U_GC_L_MASK | U_GC_N_MASK | U_GC_M_MASK)))
		return SEPARATOR;
	return is_ideographic(c) ? IDEOGRAPH : LETTER;
}

/* Of the character at the cursor, which moves past it; SEPARATOR at the end. */
static enum class take_class(struct scan *s) { return scan_done(s) ? SEPARATOR : class_of((uint32_t)utf8_next(s)); }

static enum class peek_class(const struct scan *s)
{
	struct scan t = *s;

	return take_class(&t);
}

static void skip_class(struct scan *s, enum class class)
{
	while (!scan_done(s) && peek_class(s) == class)
		utf8_next(s);
}

static struct str take_letters(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end) {
		if (chr_alpha(*s->p) || chr_digit(*s->p))
			s->p++;
		else if ((unsigned char)*s->p < 0x80 || peek_class(s) != LETTER)
			break;
		else
			utf8_next(s);
	}
	return str_make(from, (size_t)(s->p - from));
}

/* second: behind the first one */
static struct str take_ideographs(struct words *w, struct scan second)
{
	struct scan end = second;
	const char *from = w->s.p;

	if (take_class(&end) != IDEOGRAPH)
		end = second;
	w->s = second;
	return str_make(from, (size_t)(end.p - from));
}

static struct str piece_of(struct words *w, struct str word)
{
	w->rest = STR_NONE;
	if (word.n <= WORD_MAX)
		return word;
	struct str piece = utf8_clip(word, WORD_MAX), done = utf8_clip(word, WORD_MAX / 2);
	w->rest = str_from(word, done.n);
	return piece;
}

bool words_next(struct words *w, struct str *word)
{
	if (w->rest.n > 0) {
		*word = piece_of(w, w->rest);
		return true;
	}
	while (!scan_done(&w->s)) {
		struct scan second = w->s;
		enum class class = take_class(&second);
		if (class != SEPARATOR) {
			*word = class == IDEOGRAPH ? take_ideographs(w, second) : piece_of(w, take_letters(&w->s));
			return true;
		}
		w->s = second;
	}
	return false;
}

/* ---------------------------------------------------------------------------------------------------------- needles */

struct cutting {
	struct needle_part *out;
	size_t              n;
	bool                is_whole;   /* no part was shortened or left out */
};

static void add_part(struct cutting *x, struct str text, enum word_match match)
{
	if (x->n == NEEDLE_PARTS_MAX || text.n > WORD_SURE)
		x->is_whole = false;
	if (x->n == NEEDLE_PARTS_MAX)
		return;
	if (text.n > WORD_SURE) {
		text = utf8_clip(text, WORD_SURE);
		match = WORD_INSIDE;
	}
	x->out[x->n++] = (struct needle_part){ text, match };
}

/* A run of one may be the first or the second of a pair. */
static void add_ideographs(struct cutting *x, struct scan *s)
{
	struct scan run = *s;
	struct words w;
	struct str pair;

	skip_class(s, IDEOGRAPH);
	w = words_of(str_make(run.p, (size_t)(s->p - run.p)));
	utf8_next(&run);
	if (run.p == s->p) {
		add_part(x, str_make(w.s.p, (size_t)(run.p - w.s.p)), WORD_INSIDE);
		return;
	}
	while (words_next(&w, &pair))
		if (!scan_done(&w.s))  /* the last one alone says nothing more */
			add_part(x, pair, WORD_WHOLE);
}

size_t words_of_needle(struct str folded, struct needle_part out[NEEDLE_PARTS_MAX], bool *is_exact)
{
	struct scan s = scan_of(folded);
	struct cutting x = { .out = out, .is_whole = true };
	size_t bytes = 0;

	for (skip_class(&s, SEPARATOR); !scan_done(&s); skip_class(&s, SEPARATOR)) {
		bool is_first = s.p == folded.p;
		const char *from = s.p;
		if (peek_class(&s) == IDEOGRAPH) {
			add_ideographs(&x, &s);
		} else {
			struct str word = take_letters(&s);
			bool is_last = scan_done(&s);
			add_part(&x, word, is_first && is_last ? WORD_INSIDE : is_first ? WORD_ENDS : is_last ? WORD_BEGINS : WORD_WHOLE);
		}
		bytes = (size_t)(s.p - from);
	}
	*is_exact = x.n == 1 && x.is_whole && bytes == folded.n;
	return x.n;
}

bool word_matches(struct str word, const struct needle_part *part)
{
	switch (part->match) {
	case WORD_BEGINS:
		return str_starts(word, part->text);
	case WORD_ENDS:
		return str_ends(word, part->text);
	case WORD_WHOLE:
		return str_eq(word, part->text);
	case WORD_INSIDE:
		break;
	}
	return str_find(word, part->text) >= 0;
}

/* ------------------------------------------------------------------------------------------------------- like, not equal */

struct str word_plain(struct arena *a, struct str folded)
{
	return str_is_ascii(folded) ? folded : fold_casemap(a, fold_accents(a, folded));
}

struct str word_stem(struct str plain)
{
	static const struct { const char *end; size_t cut, least; } endings[] = {
		{ "IES", 3, 6 }, { "AUX", 2, 6 }, { "EUX", 1, 5 }, { "SSES", 2, 6 }, { "SHES", 2, 6 }, { "CHES", 2, 6 }, { "XES", 2, 5 }, { "EES", 3, 7 },
		{ "SS", 0, 0 }, { "ES", 2, 6 }, { "S", 1, 4 }, { "AL", 1, 6 }, { "E", 1, 5 }, { "Y", 1, 6 },
	};

	for (size_t i = 0; i < COUNT_OF(endings); i++)
		if (plain.n >= endings[i].least && str_ends(plain, str_of(endings[i].end)))
			return str_sub(plain, 0, plain.n - endings[i].cut);
	return plain;
}

enum { LIKE_PLURAL = 90, LIKE_LONGER = 60, LIKE_WITHIN = 30, LIKE_MISTYPED = 25, PLURAL_LONGER = 3, MISTYPED_LEAST = 4 };

unsigned word_like(struct str plain, struct str wanted, struct str stem)
{
	if (str_eq(plain, wanted))
		return LIKE_MAX;
	if (str_starts(plain, stem))
		return plain.n <= stem.n + PLURAL_LONGER ? LIKE_PLURAL : LIKE_LONGER;
	return stem.n >= 3 && str_find(plain, stem) >= 0 ? LIKE_WITHIN : 0;
}

/* One step of Damerau and Levenshtein apart: what is left after the common beginning and the common end tells. */
unsigned word_mistyped(struct str plain, struct str wanted)
{
	size_t same = 0;

	if (wanted.n < MISTYPED_LEAST || plain.n + 1 < wanted.n || plain.n > wanted.n + 1)
		return 0;
	while (same < plain.n && same < wanted.n && plain.p[same] == wanted.p[same])
		same++;
	struct str a = str_from(plain, same), b = str_from(wanted, same);
	while (a.n > 0 && b.n > 0 && a.p[a.n - 1] == b.p[b.n - 1]) {
		a.n--;
		b.n--;
	}
	bool is_swap = a.n == 2 && b.n == 2 && a.p[0] == b.p[1] && a.p[1] == b.p[0];
	return is_swap || (a.n <= 1 && b.n <= 1) ? LIKE_MISTYPED : 0;
}
