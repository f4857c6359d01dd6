/* text/charset.h -- any charset named in mail, to UTF-8 (RFC 2045 §5.1, RFC 2047 §3). Never fails: mail names
 * charsets wrongly, or not at all, and somebody still wants to read it. The result is always valid UTF-8 (RFC 3629).
 * Thread-safe, no state. */
#ifndef FACTEUR_TEXT_CHARSET_H
#define FACTEUR_TEXT_CHARSET_H
#include "base/arena.h"

/* Converts at most the first max_bytes of in. name: as written in the mail, any case, aliases of IANA and of ICU;
 * empty, unknown, us-ascii and the like: charset_guess(). Malformed bytes become U+FFFD. The result is in when it was
 * UTF-8 already, else lives in the arena: at most 4 bytes for each byte of in. */
struct str charset_to_utf8(struct arena *a, struct str name, struct str in, size_t max_bytes);
/* Unlabelled bytes: UTF-8 when they are valid UTF-8, else windows-1252. */
struct str charset_guess(struct arena *a, struct str in);
/* Can we convert it? For IMAP SEARCH CHARSET and [BADCHARSET]: "us-ascii", "utf-8" and whatever ICU knows. */
bool charset_is_known(struct str name);
#endif
