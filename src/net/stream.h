/* net/stream.h -- a client's connection, plain or TLS, compressed or not, without blocking: what a session reads
 * from and writes to. It has no buffers of its own but the compressor's: an idle connection costs its descriptor
 * and, with TLS, the TLS state. */
#ifndef FACTEUR_NET_STREAM_H
#define FACTEUR_NET_STREAM_H
#include "net/deflate.h"
#include "net/tls.h"

struct stream {   /* set fd, the rest zero */
	int         fd;
	struct tls *tls;             /* NULL: plain */
	struct deflate *deflate;     /* NULL: not compressed */
	struct buf  deflated;        /* compressed bytes that the peer has no room for yet */
	uint64_t    bytes_in, bytes_out;  /* of the session, before compression and TLS */
	bool        is_handshaking;
	unsigned char read_wants, write_wants;  /* what the last ERR_AGAIN waited for when it was the other direction; else 0 */
};

/* From here on TLS: at once (implicit TLS) or after the reply to STARTTLS was written. ERR_UNAVAILABLE: no
 * certificate yet. */
enum err stream_start_tls(struct stream *st, struct tls_server *s, enum protocol protocol) MUST_CHECK;
/* ERR_OK: done (also when there is no TLS); ERR_AGAIN, ERR_CLOSED, ERR_INVALID (tls_reason). */
enum err stream_handshake(struct stream *st) MUST_CHECK;
/* *got > 0 bytes; ERR_AGAIN; ERR_CLOSED: the end, or broken. */
enum err stream_read(struct stream *st, char *room, size_t n, size_t *got) MUST_CHECK;
/* From here on compressed both ways (RFC 4978). Everything written before must be flushed. */
void stream_compress(struct stream *st);
/* From here on as it is, both ways: the client has stopped compressing n bytes before the last one that stream_read() gave, and what it has sent since
 * is added to raw. Everything written before must be flushed. False: where that was cannot be told (net/deflate.h), or raw has no room. */
bool stream_decompress(struct stream *st, size_t n, struct buf *raw) MUST_CHECK;
/* *taken > 0 bytes; ERR_AGAIN; ERR_CLOSED. With compression the last of them may still wait: stream_flush(). */
enum err stream_write(struct stream *st, struct str bytes, size_t *taken) MUST_CHECK;
bool stream_is_flushed(const struct stream *st);
/* Sends what waits. ERR_AGAIN: watch for LOOP_WRITE; ERR_CLOSED. */
enum err stream_flush(struct stream *st) MUST_CHECK;
void stream_park(struct stream *st);              /* nobody uses it for a while: frees what can be made again */
/* What to watch for, given what the session would do next: LOOP_READ | LOOP_WRITE. TLS may need the other direction
 * first. */
unsigned stream_wants(const struct stream *st, bool reads, bool writes);
bool stream_has_input(const struct stream *st);   /* bytes wait inside TLS or compression: read without waiting for the socket */
/* For who has said all, while the client may still be sending what was refused: to close now would answer that with a reset, which may take our last
 * word from it. Ends our half; then the caller drops what comes, for a moment. */
void stream_end_output(struct stream *st);
bool stream_drop_input(struct stream *st);        /* drops a piece of what has come. False: nothing more will come */
/* close_notify, close; never waits. What the client has sent meanwhile is read and dropped: the system would
 * otherwise answer with a reset, and the client might never see our last words. */
void stream_close(struct stream *st);
#endif
