/* http/request.h -- what somebody asks of our web server: one request of HTTP/1.1 (RFC 9112), read as it arrives, and small. Strict: what two
 * programs could read in two ways is refused. One connection carries one request, so nothing that follows it can be taken for another. */
#ifndef FACTEUR_HTTP_REQUEST_H
#define FACTEUR_HTTP_REQUEST_H
#include "base/arena.h"
#include "base/buf.h"

enum { HTTP_REQUEST_LINE_MAX = 4 << 10, HTTP_REQUEST_HEAD_MAX = 16 << 10, HTTP_REQUEST_BODY_MAX = 8 << 10, HTTP_FIELDS_MAX = 100 };

enum http_method { HTTP_GET = 1, HTTP_HEAD, HTTP_POST, HTTP_OTHER };
struct http_request {      /* http_request_init() first */
	enum http_method method;
	struct str host;           /* lower case, no port, no last dot: "mta-sts.example.org". Lives in arena, as path */
	struct str path;           /* "/a?b": begins with "/", visible ASCII; as it came */
	struct buf body;
	bool       french;         /* Accept-Language names French before English */
	int        refuse;         /* ERR_INVALID: the status that says why: 400, 411, 413, 414, 417, 431, 501, 505 */
	/* private */
	int        state;
	bool       has_host, has_length, is_over;
	size_t     head_bytes, fields;
	uint64_t   left;
	struct buf line;
	struct arena arena;
};
void http_request_init(struct http_request *r);
void http_request_free(struct http_request *r);   /* for CLEANUP too */
/* More of it. ERR_OK: it is whole; ERR_AGAIN: not yet; ERR_INVALID: see refuse. What follows is not looked at. */
enum err http_request_take(struct http_request *r, struct str bytes) MUST_CHECK;
/* The path is this one, with or without a query. */
bool http_request_is_for(const struct http_request *r, struct str path);

/* Head and body of an answer that ends the connection. extra: further fields, each with its CRLF. now_s: for Date. */
struct http_reply {
	int        status;
	struct str type, body, extra;
	bool       is_head;        /* answers HEAD: the body is left out, its length is not */
};
void http_reply_put(const struct http_reply *r, int64_t now_s, struct buf *out);
#endif
