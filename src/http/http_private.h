/* http/http_private.h -- what requests and answers have in common: lines and fields (RFC 9112 §2.2, §5), read strictly. */
#ifndef FACTEUR_HTTP_HTTP_PRIVATE_H
#define FACTEUR_HTTP_HTTP_PRIVATE_H
#include "base/buf.h"

enum { HTTP_CONTENT_LENGTH_MAX_BITS = 50 };

bool http_is_token(struct str s);                                        /* RFC 9110 §5.6.2 */
/* A field line without its CRLF; value is trimmed and has no control characters. False: malformed, or folded. */
bool http_split_field(struct str line, struct str *name, struct str *value);
/* Content-Length: digits and nothing else. */
bool http_read_length(struct str value, uint64_t *out);
/* Moves what belongs to the line from *in to *line; true: it is whole, its LF included. */
bool http_take_line(struct buf *line, struct str *in);
#endif
