/* One connection, plain or TLS, compressed or not; see the header. TLS may need to write before it can read and the
 * other way round (a key update, a handshake in progress): what the last ERR_AGAIN waited for is remembered per
 * direction, so the session says only what it wants to do next. */
#include "net/stream.h"
#include "base/log.h"
#include "net/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 16384, DROP_ROUNDS = 4 };

enum err stream_start_tls(struct stream *st, struct tls_server *s, enum protocol protocol)
{
	st->tls = tls_server_is_ready(s) ? tls_accept(s, st->fd, protocol) : NULL;
	st->is_handshaking = st->tls != NULL;
	return st->tls ? ERR_OK : ERR_UNAVAILABLE;
}

enum err stream_handshake(struct stream *st)
{
	if (!st->is_handshaking)
		return ERR_OK;
	enum err e = tls_handshake(st->tls);
	st->read_wants = st->write_wants = e == ERR_AGAIN ? (unsigned char)tls_wants(st->tls) : 0;
	if (e == ERR_OK)
		st->is_handshaking = false;
	return e;
}

/* TLS that is broken is a connection that ended. */
static enum err tls_outcome(struct stream *st, enum err e, unsigned char *wants, unsigned own)
{
	unsigned other = e == ERR_AGAIN ? tls_wants(st->tls) : 0;

	*wants = other == own ? 0 : (unsigned char)other;
	if (e == ERR_INVALID)
		log_debug("TLS ended reason=%s", tls_reason(st->tls));
	return e == ERR_INVALID ? ERR_CLOSED : e;
}

static enum err wire_read(struct stream *st, char *room, size_t n, size_t *got)
{
	*got = 0;
	if (st->tls)
		return tls_outcome(st, tls_read(st->tls, room, n, got), &st->read_wants, LOOP_READ);
	for (;;) {
		ssize_t r = recv(st->fd, room, n, MSG_DONTWAIT);
		if (r > 0) {
			*got = (size_t)r;
			return ERR_OK;
		}
		if (r < 0 && errno == EINTR)
			continue;
		return r < 0 && errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
	}
}

static enum err wire_write(struct stream *st, struct str bytes, size_t *taken)
{
	*taken = 0;
	if (st->tls)
		return tls_outcome(st, tls_write(st->tls, bytes, taken), &st->write_wants, LOOP_WRITE);
	for (;;) {
		ssize_t r = send(st->fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r >= 0) {
			*taken = (size_t)r;
			return ERR_OK;
		}
		if (errno == EINTR)
			continue;
		return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
	}
}

/* ---- compression */

void stream_compress(struct stream *st)
{
	if (st->deflate)
		return;
	st->deflate = deflate_new();
	st->deflated = BUF(deflate_bound(PIECE) * 2);
}

bool stream_decompress(struct stream *st, size_t n, struct buf *raw)
{
	struct str rest;

	if (!deflate_stopped(st->deflate, n, &rest))
		return false;
	buf_add(raw, rest);
	deflate_free(st->deflate);
	st->deflate = NULL;
	return !raw->failed;
}

static enum err inflated_read(struct stream *st, char *room, size_t n, size_t *got)
{
	char raw[PIECE];
	size_t raw_n;
	enum err e;

	while ((e = deflate_get(st->deflate, room, n, got)) == ERR_AGAIN) {
		TRY(wire_read(st, raw, sizeof(raw), &raw_n));
		deflate_feed(st->deflate, str_make(raw, raw_n));
	}
	if (e == ERR_INVALID)
		log_info("client sent something that is not deflate, session ended");
	return e == ERR_INVALID ? ERR_CLOSED : e;
}

enum err stream_read(struct stream *st, char *room, size_t n, size_t *got)
{
	enum err e = st->deflate ? inflated_read(st, room, n, got) : wire_read(st, room, n, got);

	st->bytes_in += *got;
	return e;
}

bool stream_is_flushed(const struct stream *st) { return st->deflated.n == 0; }

enum err stream_flush(struct stream *st)
{
	size_t taken;

	while (st->deflated.n) {
		TRY(wire_write(st, buf_str(&st->deflated), &taken));
		buf_drop_front(&st->deflated, taken);
	}
	buf_free(&st->deflated);
	return ERR_OK;
}

static enum err deflated_write(struct stream *st, struct str bytes, size_t *taken)
{
	*taken = 0;
	TRY(stream_flush(st));
	bytes = str_sub(bytes, 0, PIECE);
	deflate_put(st->deflate, bytes, &st->deflated);
	*taken = bytes.n;
	enum err e = stream_flush(st);
	return e == ERR_AGAIN ? ERR_OK : e;
}

enum err stream_write(struct stream *st, struct str bytes, size_t *taken)
{
	enum err e = st->deflate ? deflated_write(st, bytes, taken) : wire_write(st, bytes, taken);

	st->bytes_out += *taken;
	return e;
}

void stream_park(struct stream *st)
{
	if (st->deflate)
		deflate_park(st->deflate);
}

/* ---- watching, closing */

unsigned stream_wants(const struct stream *st, bool reads, bool writes)
{
	if (st->is_handshaking)
		return st->read_wants ? st->read_wants : LOOP_READ;
	return (reads ? (st->read_wants ? st->read_wants : (unsigned)LOOP_READ) : 0u) |
	       (writes ? (st->write_wants ? st->write_wants : (unsigned)LOOP_WRITE) : 0u);
}

bool stream_has_input(const struct stream *st)
{
	return (st->deflate && deflate_has_input(st->deflate)) || (st->tls && !st->is_handshaking && tls_has_input(st->tls));
}

void stream_end_output(struct stream *st)
{
	if (st->tls)
		tls_close(st->tls);
	shutdown(st->fd, SHUT_WR);
}

bool stream_drop_input(struct stream *st)
{
	char dropped[PIECE];
	ssize_t n = recv(st->fd, dropped, sizeof(dropped), MSG_DONTWAIT);

	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

void stream_close(struct stream *st)
{
	char dropped[PIECE];

	if (st->tls) {
		tls_close(st->tls);
		tls_free(st->tls);
	}
	st->tls = NULL;
	deflate_free(st->deflate);
	st->deflate = NULL;
	buf_free(&st->deflated);
	for (int i = 0; i < DROP_ROUNDS && st->fd >= 0; i++)
		if (recv(st->fd, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0)
			break;
	st->is_handshaking = false;
	fd_close(&st->fd);
	st->fd = -1;
}
