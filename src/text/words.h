/* text/words.h -- the words of a text, as an index knows them, and what a searched string means in words.
 *
 * All text here is folded by fold_casemap() (text/fold.h). A word is a run of letters, digits and their accents. Scripts without spaces (Han,
 * kana, Thai, Lao, Khmer, Burmese, Tibetan) give two characters at a time, overlapping: 東京都 is 東京, 京都, 都. A word longer than WORD_MAX
 * comes in pieces that overlap by half.
 *
 * What makes an exact index possible: when a text contains a string, then words of the text contain the parts of that string, each in the
 * way words_of_needle() says. */
#ifndef FACTEUR_TEXT_WORDS_H
#define FACTEUR_TEXT_WORDS_H
#include "base/arena.h"
#include "base/scan.h"

enum {
	WORD_MAX  = 64,    /* bytes */
	WORD_SURE = 28,    /* so many bytes of any word are together in one piece */
	NEEDLE_PARTS_MAX = 16,
};

struct words {         /* words_of(text) */
	struct scan s;
	struct str  rest;  /* of a long word */
};
static inline struct words words_of(struct str folded) { return (struct words){ .s = scan_of(folded) }; }
/* The next word, a view into the text; false at the end. */
bool words_next(struct words *w, struct str *word);

enum word_match { WORD_INSIDE, WORD_BEGINS, WORD_ENDS, WORD_WHOLE };   /* where in a word of the text */
struct needle_part {
	struct str      text;
	enum word_match match;
};
/* The parts that a text with this string must have. *is_exact: there is one part, and a text has the string if and only if one of its words
 * has the part; else the text itself has to be asked. 0: the string has no word in it (nothing is known). */
size_t words_of_needle(struct str folded, struct needle_part out[NEEDLE_PARTS_MAX], bool *is_exact);
bool word_matches(struct str word, const struct needle_part *part);

/* ------------------------------------------------------------------------------------------------------- like, not equal */

/* The form in which words are compared that only resemble each other: without accents, ligatures spelled out. In the arena. */
struct str word_plain(struct arena *a, struct str folded);
/* A word without what makes it a plural or a feminine (French, English); at least three letters. A view. plain: word_plain(). */
struct str word_stem(struct str plain);
enum { LIKE_MAX = 100 };
/* How much a word of a text (word_plain()) is what somebody looked for: 0 not at all, LIKE_MAX the same word. stem: word_stem(wanted). */
unsigned word_like(struct str plain, struct str wanted, struct str stem);
/* The same for words of four letters or more with one letter wrong, missing, too many, or two exchanged: 0 or a small number. */
unsigned word_mistyped(struct str plain, struct str wanted);
#endif
