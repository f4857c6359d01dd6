/* pop3/downgrade.h -- the header of an internationalised message for a client that did not say UTF8 (RFC 6858). */
#ifndef FACTEUR_POP3_DOWNGRADE_H
#define FACTEUR_POP3_DOWNGRADE_H
#include "base/arena.h"
#include "base/buf.h"

/* True when the header (with its empty line) is UTF-8 and not ASCII: raw bytes of older charsets were always sent as they are,
 * and still are. */
bool downgrade_is_needed(struct str header);
/* Adds the header as pure ASCII, with its empty line. */
void downgrade_header(struct str header, struct buf *out);
#endif
