/* One connection, plain or TLS; see the header. TLS may need to write before it can read and the other way round (a key update, a
 * handshake in progress): what the last ERR_AGAIN waited for is remembered per direction, so the session says only what it
 * wants to do next. */
#include "net/stream.h"
#include "base/log.h"
#include "net/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

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

enum err stream_read(struct stream *st, char *room, size_t n, size_t *got)
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

enum err stream_write(struct stream *st, struct str bytes, size_t *taken)
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

unsigned stream_wants(const struct stream *st, bool reads, bool writes)
{
	if (st->is_handshaking)
		return st->read_wants ? st->read_wants : LOOP_READ;
	return (reads ? (st->read_wants ? st->read_wants : (unsigned)LOOP_READ) : 0u) |
	       (writes ? (st->write_wants ? st->write_wants : (unsigned)LOOP_WRITE) : 0u);
}

bool stream_has_input(const struct stream *st) { return st->tls && !st->is_handshaking && tls_has_input(st->tls); }

void stream_close(struct stream *st)
{
	if (st->tls) {
		tls_close(st->tls);
		tls_free(st->tls);
	}
	st->tls = NULL;
	st->is_handshaking = false;
	fd_close(&st->fd);
	st->fd = -1;
}
