/* imap/language.h -- which language the server's sentences have, before and after the login: LANGUAGE (RFC 5255 §3). */
#ifndef FACTEUR_IMAP_LANGUAGE_H
#define FACTEUR_IMAP_LANGUAGE_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"
#include "text/text.h"

enum { IMAP_LANGUAGES_MAX = 20 };  /* in one command */

/* A sentence as the code says it, in this language; the sentence itself when french.def has no other. */
const char *imap_in(enum lang lang, const char *english) __attribute__((format_arg(2)));

enum imap_language { IMAP_LANGUAGE_LISTED, IMAP_LANGUAGE_CHOSEN, IMAP_LANGUAGE_UNKNOWN, IMAP_LANGUAGE_MALFORMED };
/* *(SP lang-range-quoted): chooses *lang, or leaves it as it is, and writes the untagged answer. */
enum imap_language imap_language_choose(struct scan *args, struct arena *a, enum lang *lang, struct buf *out);
#endif
