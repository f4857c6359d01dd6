/* mime/rewrite.h -- BINARYMIME to what is stored and relayed: only CRLF lines and no NUL (RFC 3030 §3, DESIGN §4.2). */
#ifndef FACTEUR_MIME_REWRITE_H
#define FACTEUR_MIME_REWRITE_H
#include "base/buf.h"
#include "mime/parse.h"

/* True when the message has a NUL, a bare CR or LF, or a part declared binary. */
bool mime_needs_rewrite(struct str message, const struct mime_part *root);
/* Adds the message to out: leaves that are binary (declared, or with NUL, bare CR or LF under 7bit/8bit/binary) as
 * base64 with Content-Transfer-Encoding changed or added; multiparts and messages declared binary become 8bit;
 * elsewhere an LF becomes CRLF, a NUL or CR alone "?". The last line has its CRLF. out->failed: it did not fit. */
void mime_rewrite(struct str message, const struct mime_part *root, struct buf *out);
#endif
