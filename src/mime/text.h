/* mime/text.h -- the readable text of a message, as UTF-8: for SEARCH TEXT and BODY, previews, the index. */
#ifndef FACTEUR_MIME_TEXT_H
#define FACTEUR_MIME_TEXT_H
#include "mime/parse.h"

enum { MIME_TEXT_MAX = 8 << 20 };  /* bytes of one part that are decoded; more is not searched */

/* The next part with text after p in tree order (text/ of any kind, attached or not; message/delivery-status too);
 * start with mime_text_first(root). NULL: no more. */
const struct mime_part *mime_text_first(const struct mime_part *root);
const struct mime_part *mime_text_next(const struct mime_part *p);
/* Its text: decoded, converted, HTML without its tags. At most max bytes of the part are read (≤ MIME_TEXT_MAX). */
struct str mime_text(struct arena *a, struct str message, const struct mime_part *p, size_t max);
/* The first readable words: text/plain before text/html, not attached; runs of white space are one SP, quoted lines
 * ("> ") and signatures skipped when something else is there; at most max characters. */
struct str mime_preview(struct arena *a, struct str message, const struct mime_part *root, size_t max_characters);
/* A header to search in: "Name: decoded text" LF for each field that says something to people. Left out is what only machines read and what
 * would be found by accident: Received, signatures and seals, the X- fields of filters (mime_field_is_for_machines()). */
struct str mime_header_text(struct arena *a, struct str header);
bool mime_field_is_for_machines(struct str name);
/* The same of a part, with the name of its file as people see it. */
struct str mime_part_header_text(struct arena *a, struct str message, const struct mime_part *p);
/* HTML without tags, script and style; entities decoded; block elements end a line. html: UTF-8. */
struct str mime_html_text(struct arena *a, struct str html);
#endif
