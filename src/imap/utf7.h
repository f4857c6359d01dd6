/* imap/utf7.h -- mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3), or UTF-8 after ENABLE (RFC 9051 §5.1, RFC 6855). */
#ifndef FACTEUR_IMAP_UTF7_H
#define FACTEUR_IMAP_UTF7_H
#include "base/arena.h"
#include "base/buf.h"

/* "Entw&APw-rfe" to UTF-8. False: not modified UTF-7 (bad base64, a lone surrogate, an unclosed or needless shift that would give
 * one name two spellings, a control character). Bytes above 127 are taken as UTF-8 if they are valid: clients do that. */
bool utf7_decode(struct arena *a, struct str in, struct str *out);
/* UTF-8 (valid) to modified UTF-7. */
void utf7_put(struct buf *b, struct str utf8);
#endif
