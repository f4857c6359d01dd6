/* Frames between gate and cell; see the header. One datagram, one frame: nothing to reassemble, nothing half read. */
#include "ipc/frame.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { LOOK_MS = 1000 };

void put_session_open(struct buf *b, const struct session_open *o)
{
	put_grant(b, &o->grant);
	put_u8(b, (uint8_t)o->protocol);
	put_bool(b, o->is_tls);
	put_bool(b, o->is_compressed);
	put_str(b, o->peer);
	put_u16(b, o->peer_port);
	put_u16(b, o->local_port);
	put_str(b, o->login_name);
	put_str(b, o->command);
	put_str(b, o->tls_text);
	put_str(b, o->record);
	put_str(b, o->changed);
}

bool get_session_open(struct scan *s, struct session_open *o)
{
	*o = (struct session_open){ 0 };
	get_grant(s, &o->grant);
	o->protocol = (enum protocol)get_u8(s);
	o->is_tls = get_bool(s);
	o->is_compressed = get_bool(s);
	o->peer = get_str(s, 64);
	o->peer_port = get_u16(s);
	o->local_port = get_u16(s);
	o->login_name = get_str(s, 512);
	o->command = get_str(s, 1024);
	o->tls_text = get_str(s, 128);
	o->record = get_str(s, PARK_RECORD_MAX);
	o->changed = get_str(s, PARK_CHANGED_MAX);
	return get_end(s) && o->protocol > 0 && o->protocol < PROTOCOL_COUNT;
}

enum err frame_send_both(int fd, enum frame type, struct str bytes, struct str more, int timeout_ms)
{
	uint8_t first = (uint8_t)type;
	struct iovec part[3] = { { &first, 1 }, { (void *)(uintptr_t)bytes.p, bytes.n }, { (void *)(uintptr_t)more.p, more.n } };
	struct msghdr m = { .msg_iov = part, .msg_iovlen = more.n ? 3 : 2 };
	int64_t until = timeout_ms == 0 ? 0 : clock_mono_ms() + timeout_ms;

	if (bytes.n > FRAME_LARGE_DATA_MAX || more.n > FRAME_LARGE_DATA_MAX - bytes.n)
		return ERR_INVALID;
	for (;;) {
		if (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return ERR_OK;
		if (errno == EINTR)
			continue;
		if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
			return ERR_CLOSED;
		if (errno == EMSGSIZE)
			return ERR_LIMIT;
		if (errno != EAGAIN && errno != ENOBUFS)
			return log_errno("send", "frame");
		if (timeout_ms == 0)
			return ERR_AGAIN;
		int64_t left = until - clock_mono_ms();
		if (left <= 0)
			return ERR_TIMEOUT;
		/* tried again now and then: the kernel says that there is room when three quarters are free, with large frames all of it, and
		 * who reads slowly has taken a frame long before */
		struct pollfd p = { fd, POLLOUT, 0 };
		if (poll(&p, 1, left < LOOK_MS ? (int)left : LOOK_MS) < 0 && errno != EINTR)
			return log_errno("poll", "frame");
	}
}

enum err frame_send(int fd, enum frame type, struct str bytes, int timeout_ms)
{
	return frame_send_both(fd, type, bytes, STR_NONE, timeout_ms);
}

void frame_refuse(int fd, enum err why, enum text sentence)
{
	CLEANUP(buf_free) struct buf b = BUF(8);

	put_u8(&b, (uint8_t)why);
	put_u16(&b, (uint16_t)sentence);
	if (frame_send(fd, FRAME_REFUSED, buf_str(&b), 0) != ERR_OK)
		log_debug("refusal not sent");
}

bool get_refusal(struct scan *s, enum err *why, enum text *sentence)
{
	*why = (enum err)get_u8(s);
	*sentence = (enum text)get_u16(s);
	return get_end(s) && *why != ERR_OK && *why < ERR_COUNT && *sentence < TEXT_COUNT;
}

static enum err receive(int fd, char *room, size_t max, enum frame *type, struct str *bytes)
{
	for (bool was_reset = false;;) {
		ssize_t n = recv(fd, room, max, MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ECONNRESET && !was_reset) {
			was_reset = true;  /* the peer closed with frames of ours unread: told once, before what it said last */
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			return ERR_AGAIN;
		if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE)))
			return ERR_CLOSED;
		if (n < 0)
			return log_errno("recv", "frame");
		if ((size_t)n > max)
			return ERR_INVALID;
		*type = (enum frame)(uint8_t)room[0];
		*bytes = str_make(room + 1, (size_t)n - 1);
		return ERR_OK;
	}
}

enum err frame_receive(int fd, char *room, enum frame *type, struct str *bytes) { return receive(fd, room, FRAME_MAX, type, bytes); }

enum err frame_receive_large(int fd, char *room, enum frame *type, struct str *bytes)
{
	return receive(fd, room, FRAME_LARGE_MAX, type, bytes);
}
