/* text/text.h -- what facteur says to people, in English and French: one row a sentence in text.def. Protocol replies, the
 * command line and the documentation all take their sentences here. {1} {2} … stand for arguments: any order, each any
 * number of times, and nothing an argument contains is ever read as a placeholder. */
#ifndef FACTEUR_TEXT_TEXT_H
#define FACTEUR_TEXT_TEXT_H
#include "base/arena.h"

enum lang { LANG_EN, LANG_FR, LANG_COUNT };

enum text {
#define TEXT(name, english, french) TEXT_##name,
#include "text/text.def"
#undef TEXT
	TEXT_COUNT
};

/* The sentence as it stands in the table; never NULL. */
const char *text_get(enum lang lang, enum text id);
/* With its arguments: text_fmt(&a, lang, TEXT_NO_SUCH_MAILBOX, name, other). Arguments are struct str. */
struct str text_format(struct arena *a, enum lang lang, enum text id, const struct str *args, size_t n);
#define text_fmt(a, lang, id, ...) \
	text_format((a), (lang), (id), (const struct str[]){ __VA_ARGS__ }, sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))

/* From a locale as in LC_ALL, LC_MESSAGES or LANG ("fr_CA.UTF-8"): French for fr*, else English. */
enum lang lang_of_locale(const char *locale);
/* Of this process: the first language in LANGUAGE that is one of ours; else, and where nobody has chosen a locale, of the first of LC_ALL,
 * LC_MESSAGES, LANG that is set. */
enum lang lang_of_environment(void);
/* "fr" or "en"; false: neither. */
bool lang_find(struct str code, enum lang *out);
const char *lang_code(enum lang lang);
#endif
