/* mime/build.h -- small messages of our own: welcome, reports, delivery status notifications (RFC 5322, 2045, 2047,
 * 2231, 3462, 3464). Everything is checked on its way out: a line break in a value can never make a header field.
 * CRLF lines, 7-bit result unless a part brings 8-bit bytes (build_part.raw). */
#ifndef FACTEUR_MIME_BUILD_H
#define FACTEUR_MIME_BUILD_H
#include "base/arena.h"
#include "base/buf.h"

/* Single fields, each with its CRLF, folded at 78 columns. text: UTF-8; encoded (RFC 2047, B or Q) only when it must
 * be. */
void build_field_text(struct buf *b, const char *name, struct str text);
void build_field_raw(struct buf *b, const char *name, struct str value);  /* ASCII text; control bytes become SP */
/* display: UTF-8, may be empty; address: local@domain */
void build_field_address(struct buf *b, const char *name, struct str display, struct str address);
void build_field_date(struct buf *b, const char *name, int64_t unix_s);    /* in UTC: "+0000" */
/* "<random.time@domain>" with its brackets. */
struct str build_message_id(struct arena *a, struct str domain);
/* `; name=value`, quoted or RFC 2231 encoded as needed; folds before. */
void build_param(struct buf *b, const char *name, struct str value);

struct build_part {
	struct str type;          /* "text/plain", "message/delivery-status" ... */
	struct str text;          /* UTF-8 text, LF or CRLF lines: us-ascii as 7bit, else charset=utf-8, quoted-printable */
	struct str raw;           /* or, when p != NULL: bytes as they are, CRLF lines (a returned message, its header) */
	struct str bytes;         /* or, when p != NULL: any bytes, as base64 (an attachment) */
	struct str filename;      /* UTF-8; non-empty: Content-Disposition: attachment */
	struct str description;   /* Content-Description; may be empty */
};
struct build_message {
	struct str from_name, from;        /* UTF-8 display name (may be empty); address; from empty: no From field */
	struct str to_name, to;
	struct str subject;                /* UTF-8 */
	int64_t    date;                   /* seconds since 1970 */
	struct str message_id;             /* with brackets, from build_message_id() */
	struct str in_reply_to, references;/* with brackets; may be empty */
	bool       is_auto_submitted;      /* RFC 3834: auto-replied if in_reply_to is set, else auto-generated */
	struct str extra;                  /* further fields, made with build_field_*: whole lines */
	const struct build_part *parts;    /* one: it is the body; more: multipart */
	size_t     parts_n;
	const char *multipart;             /* "mixed" when NULL; "report; report-type=delivery-status" */
};
/* Adds the whole message; out->failed when it did not fit. */
void build_message(const struct build_message *m, struct buf *out);
#endif
