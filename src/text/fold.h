/* text/fold.h -- UTF-8 text in the form in which it is compared. Fold both sides, then compare bytes (str_find,
 * str_cmp). Malformed bytes become U+FFFD. Thread-safe. */
#ifndef FACTEUR_TEXT_FOLD_H
#define FACTEUR_TEXT_FOLD_H
#include "base/arena.h"
#include "base/buf.h"

/* i;unicode-casemap (RFC 5051 §2): simple title case, then compatibility decomposition, code point by code point. "É"
 * and "é" are equal, "é" and "e" are not. What IMAP SEARCH compares with. The result may be in itself when nothing
 * changes; at most 11 bytes for each byte of in (U+FDFA). */
struct str fold_casemap(struct arena *a, struct str in);
/* The same at the end of a buffer. A long text may come in pieces that cut no character. */
void fold_casemap_into(struct buf *b, struct str in);
/* Looser, for search boxes and the index: lower case, no accents, ligatures and special letters spelled out (é = e, œ
 * = oe, ß = ss, ø = o), every kind of white space is one SP. */
struct str fold_accents(struct arena *a, struct str in);
/* The composed form (NFC, RFC 5198 §3): names that are equal but for how their accents are written become the same bytes. in itself when it is that
 * already, or is malformed, or longer than FOLD_NAME_MAX bytes. */
enum { FOLD_NAME_MAX = 4000 };
struct str fold_composed(struct arena *a, struct str in);
/* Another number when any of them, or words.h, may say something else of the same text than before: the system has a newer Unicode, or we
 * changed. What they made and was kept on disk is made anew then. */
uint32_t fold_version(void);
/* Does the folded text contain the needle? The needle must be folded by fold_casemap() already (once for a whole
 * SEARCH). An empty needle is in every text. */
bool fold_contains(struct arena *a, struct str text, struct str folded_needle);
#endif
