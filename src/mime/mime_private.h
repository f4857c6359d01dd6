/* mime/mime_private.h -- shared by the files of this folder: tokens of structured fields. */
#ifndef FACTEUR_MIME_PRIVATE_H
#define FACTEUR_MIME_PRIVATE_H
#include "base/arena.h"
#include "base/scan.h"
#include "mime/parse.h"

/* White space, line breaks and comments (RFC 5322 §3.2.2); a comment that is not closed goes to the end. If comment
 * is not NULL the inside of the last comment is left there. */
void mime_skip_cfws(struct scan *s, struct str *comment);
/* Characters up to a tspecial or white space (RFC 2045 §5.1); possibly empty. */
struct str mime_token(struct scan *s);
/* The cursor is at the opening quote: the inside, unescaped, line breaks out; an unclosed one goes to the end. */
struct str mime_quoted_string(struct arena *a, struct scan *s);
/* Content-Type or Content-Disposition's first word and parameters; cursor at the start of an unfolded value. */
struct mime_param *mime_params_read(struct arena *a, struct scan *s);
enum mime_encoding mime_encoding_of(struct str name);
#endif
