/* smtp/reply.h -- an SMTP reply: code, enhanced status code, one sentence (RFC 5321 §4.2, RFC 2034, RFC 3463). */
#ifndef FACTEUR_SMTP_REPLY_H
#define FACTEUR_SMTP_REPLY_H
#include "base/arena.h"
#include "base/buf.h"

enum { SMTP_REPLY_LINE_MAX = 512, SMTP_REPLY_TEXT_MAX = 4000 };  /* RFC 5321 §4.5.3.1.5: a line with its CRLF */

struct smtp_reply {
	int         code;      /* 250, 550 …; 0: none */
	const char *enhanced;  /* "2.1.0"; NULL where RFC 2034 wants none (220 greeting, EHLO, 334, 354) */
	struct str  text;      /* a sentence for people; '\n' begins a new line */
};
#define SMTP_REPLY(code, enhanced, sentence) ((struct smtp_reply){ (code), (enhanced), STR(sentence) })
/* With arguments; the text lives in the arena. */
struct smtp_reply smtp_reply_printf(struct arena *a, int code, const char *enhanced, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* Writes it, in as many lines as it needs, each with the codes. What it contains from outside does no harm: control
 * characters and non-ASCII bytes become "?" (RFC 6531 §3.7.4.2 allows UTF-8 only to some clients). */
void smtp_put_reply(struct buf *out, const struct smtp_reply *r);
/* The same for a reply without arguments. */
void smtp_put(struct buf *out, int code, const char *enhanced, const char *sentence);
#endif
