/* mime/parse.h -- a whole message in memory to a tree of parts: one pass, little copied (RFC 5322, 2045, 2046, 2231).
 * Never fails: whatever the bytes are, the tree is valid. What a broken message becomes:
 *   header without an empty line        the header is all up to the enclosing boundary or the end; the body is empty
 *   line without a colon in a header    stays in the header, is no field; the header ends at the first empty line only
 *   multipart without boundary, or its boundary never comes      one leaf, text/plain
 *   close delimiter missing             the part ends at the enclosing boundary or at the end
 *   lines that end with LF alone        are lines; a line that ends with CR alone is not one
 *   a limit below is passed             the rest is one opaque leaf (its last part swallows what follows) */
#ifndef FACTEUR_MIME_PARSE_H
#define FACTEUR_MIME_PARSE_H
#include "base/arena.h"

enum {
	MIME_PARTS_MAX = 10000,        /* parts of a message, all levels */
	MIME_DEPTH_MAX = 50,           /* multiparts and messages inside each other */
	MIME_HEADER_MAX = 1 << 20,     /* bytes of one header; what follows is body */
	MIME_PARAMS_MAX = 100,         /* parameters of one field; the rest is dropped */
	MIME_BOUNDARY_MAX = 1000,      /* bytes; longer is no boundary */
	MIME_REPEATS_MAX = 10,         /* To: fields of one header that are joined; the rest is dropped */
};

enum mime_kind { MIME_LEAF, MIME_TEXT, MIME_MULTIPART, MIME_MESSAGE };  /* MESSAGE: message/rfc822 and message/global */
enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED_PRINTABLE, MIME_BASE64, MIME_ENCODING_UNKNOWN };

/* A parameter with its continuations joined (RFC 2231 §3). is_extended: the value is charset'language'%XX text (§4)
 * and IMAP shows it under "name*"; mime_param() decodes it. */
struct mime_param {
	struct str         name;         /* as written, without "*0" and "*" */
	struct str         value;        /* unquoted */
	bool               is_extended;
	struct mime_param *next;
};

/* Fields of the header of a message, raw: unfolded, trimmed, not RFC 2047 decoded. p == NULL: no such field. The
 * first one counts; repeated address fields are joined with ", " (RFC 5322 §3.6 forbids them, mail has them). */
struct mime_envelope {
	struct str date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id, references;
};

struct mime_part {
	struct mime_part  *parent;        /* NULL: the message itself */
	struct mime_part  *children;      /* of a MULTIPART: 1 or more; of a MESSAGE: exactly one, the message inside (its
	                                   * header and body, of any kind, also MULTIPART); else NULL */
	struct mime_part  *next;          /* sibling */
	enum mime_kind     kind;
	enum mime_encoding encoding;
	size_t             header_at, header_n;  /* offset in the message; the header has its empty line */
	size_t             body_at, body_n;      /* without the line break before the boundary */
	uint32_t           header_lines, body_lines;  /* LFs in them */
	struct str         type, subtype;        /* as written ("text" "plain" when absent); compare with str_ieq */
	struct mime_param *params;
	struct str         encoding_name;        /* as written; "7bit" when absent */
	struct str         content_id, description, md5, location;  /* raw, p == NULL: absent */
	struct str         disposition;          /* the word; p == NULL: absent */
	struct mime_param *disposition_params;
	struct str        *languages;            /* Content-Language (RFC 3282) */
	uint32_t           languages_n;
	bool               has_8bit;             /* a byte above 127 in its header */
	struct mime_envelope *envelope;          /* of the message and of messages inside; NULL for other parts */
};

/* All of it lives in the arena, or points into message, which must outlive it. */
struct mime_part *mime_parse(struct arena *a, struct str message);
/* The next part in tree order (the order of the bytes), or NULL after the last one. */
const struct mime_part *mime_next(const struct mime_part *p);
static inline struct str mime_header(struct str message, const struct mime_part *p)
{
	return str_sub(message, p->header_at, p->header_n);
}
static inline struct str mime_body(struct str message, const struct mime_part *p)
{
	return str_sub(message, p->body_at, p->body_n);
}
bool mime_is(const struct mime_part *p, const char *type, const char *subtype);  /* subtype NULL: any */

/* A parameter as UTF-8: RFC 2231 charset and %XX decoded; RFC 2047 words, which are not allowed here but common, too.
 * p == NULL: there is none. name in lower case. */
struct str mime_param(struct arena *a, const struct mime_param *params, const char *name);
/* Content-Disposition's filename, else Content-Type's name; the last component of a path; p == NULL: none. */
struct str mime_filename(struct arena *a, const struct mime_part *p);

/* "type/subtype; a=b; c=d" of any structured field (Content-Type, Authentication-Results ...): reads parameters from
 * where the cursor is, best effort; comments are skipped. */
struct mime_param *mime_params_parse(struct arena *a, struct str raw);
#endif
