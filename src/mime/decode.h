/* mime/decode.h -- Content-Transfer-Encoding, streaming both ways (RFC 2045 §6): chunks of any size, the same
 * result. */
#ifndef FACTEUR_MIME_DECODE_H
#define FACTEUR_MIME_DECODE_H
#include "base/buf.h"
#include "mime/parse.h"

/* Lenient: bytes that are not base64 are skipped, a bad "=XY" stays as it is, white space before a line break goes. */
struct mime_decoder {
	enum mime_encoding encoding;   /* 7BIT, 8BIT, BINARY and UNKNOWN: identity */
	uint32_t bits;                 /* private */
	uint8_t  bits_n;
	bool     is_ended;             /* base64: padding was seen */
	bool     is_damaged;           /* something was not as it should be; the rest was decoded as well as can be */
	char     held[80];             /* quoted-printable: what cannot be decided yet */
	uint8_t  held_n;
};
static inline struct mime_decoder mime_decoder(enum mime_encoding e) { return (struct mime_decoder){ .encoding = e }; }
void mime_decode(struct mime_decoder *d, struct str in, struct buf *out);
void mime_decode_end(struct mime_decoder *d, struct buf *out);   /* flushes what was held */
/* All at once, at most max bytes of result; identity returns in itself. */
struct str mime_decode_all(struct arena *a, enum mime_encoding e, struct str in, size_t max);

/* base64 in lines of 76 characters and CRLF (RFC 2045 §6.8). */
struct mime_base64 {
	uint8_t held[3];
	uint8_t held_n;
	uint8_t column;
};
void mime_base64_put(struct mime_base64 *e, struct str in, struct buf *out);
void mime_base64_end(struct mime_base64 *e, struct buf *out);  /* the last line has its CRLF, unless it is empty */
/* Text as quoted-printable (§6.7): lines may end with LF or CRLF in, CRLF out, at most 76 characters. */
void mime_qp_put_text(struct str in, struct buf *out);
#endif
