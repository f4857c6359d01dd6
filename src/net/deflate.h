/* net/deflate.h -- COMPRESS=DEFLATE (RFC 4978): both directions of one connection, between the session's bytes and
 * the wire. Raw deflate (RFC 1951). What is put is flushed whole each time, so the client can act on it at once.
 * Input never makes it use more memory: bytes come out as room is given. About 170 kB while active, and what the client has sent
 * since its last flush, at most 32 kB; parked, what the next bytes of the client may refer to (all that it sent, at most 32 kB,
 * seldom more than 2) and 2 kB of ours. */
#ifndef FACTEUR_NET_DEFLATE_H
#define FACTEUR_NET_DEFLATE_H
#include "base/buf.h"
#include "base/err.h"

struct deflate;
struct deflate *deflate_new(void);
void deflate_free(struct deflate *d);                    /* NULL is fine */

/* Adds the compressed bytes to out; they always fit into deflate_bound(). */
void deflate_put(struct deflate *d, struct str bytes, struct buf *out);
size_t deflate_bound(size_t n);

/* Compressed bytes from the wire; taken when deflate_has_input() is false, copied. */
void deflate_feed(struct deflate *d, struct str bytes);
/* *got > 0 bytes. ERR_AGAIN: feed more; ERR_INVALID: not deflate; ERR_CLOSED: the client ended its stream. */
enum err deflate_get(struct deflate *d, char *room, size_t n, size_t *got) MUST_CHECK;
/* The client has stopped compressing, n bytes before the last one that deflate_get() gave: *raw is what it sent since, as it came; valid until the
 * next call. False: where that is cannot be told, because no flush of the client ended there (RFC 1951 §3.2.4). */
bool deflate_stopped(const struct deflate *d, size_t n, struct str *raw) MUST_CHECK;
bool deflate_has_input(const struct deflate *d);         /* deflate_get() may give something without being fed */

/* Frees what can be made again at the next use. The other end does not notice. */
void deflate_park(struct deflate *d);
#endif
