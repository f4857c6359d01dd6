/* http/answer.h -- what an HTTP/1.1 server answers (RFC 9112), read as it arrives. Strict: what two programs could read in two ways is
 * refused (§6.3, §11.2): two lengths, a length beside chunks, a folded field, a line without CR. */
#ifndef FACTEUR_HTTP_ANSWER_H
#define FACTEUR_HTTP_ANSWER_H
#include "base/buf.h"

enum { HTTP_HEAD_MAX = 16 << 10 };   /* bytes of status line and fields; of trailers; of one line of chunk size 1,000 */

struct http_answer {       /* http_answer_init() first */
	int         status;        /* 200, 404 …; 0: not known yet */
	struct buf  body;          /* at most as much as was said at the beginning */
	struct str  content_type;  /* its value, as written; empty: none. Views head */
	const char *why;           /* ERR_INVALID, ERR_LIMIT: for people */
	/* private */
	int         state;
	struct buf  head, line;
	uint64_t    left;
	size_t      trailer_bytes;
	unsigned    interim;       /* answers of the 1xx kind before it */
};
void http_answer_init(struct http_answer *h, size_t body_max);
void http_answer_free(struct http_answer *h);   /* for CLEANUP too */
/* More of it. ERR_OK: it is whole; ERR_AGAIN: not yet; ERR_INVALID: not HTTP; ERR_LIMIT: larger than allowed. What follows a whole answer
 * is not looked at. */
enum err http_answer_take(struct http_answer *h, struct str bytes) MUST_CHECK;
/* The connection has ended; is_said: the server said so itself (TLS: close_notify, RFC 9112 §9.8), nobody on the way has cut it. ERR_OK:
 * the answer is whole, by its own length or by this end (§6.3 rule 8); ERR_CLOSED: something may be missing. */
enum err http_answer_end(struct http_answer *h, bool is_said) MUST_CHECK;
/* "text/plain" of "Text/Plain; charset=utf-8" */
bool http_answer_is_type(const struct http_answer *h, struct str type);
#endif
