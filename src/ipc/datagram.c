/* Datagrams: how a message of a channel becomes bytes and descriptors, and the other way round.
 *
 * A message is received whole or not at all, and so large that one cannot know before: there is room for the largest, and what came is
 * given memory of its own size. Descriptors that came belong to the datagram until
 * somebody takes them out. */
#include "ipc/datagram.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { HEADER_SIZE = 12, COPY_MAX = 8192 };

/* Passwords travel here (VERIFY, SECRET_COMMAND): nothing of a message stays in memory that is given back. */
void datagram_free(struct datagram *d)
{
	if (d == NULL)
		return;
	for (int i = 0; i < d->fd_count; i++)
		fd_close(&d->fds[i]);
	mem_wipe(d->body, d->size);
	mem_free(d);
}

int datagram_send(int fd, const struct datagram *head, struct str body)
{
	CLEANUP(buf_free) struct buf b = BUF(HEADER_SIZE);
	union { char room[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)]; struct cmsghdr align; } control = { { 0 } };

	put_u16(&b, head->type);
	put_u16(&b, head->flags);
	put_u32(&b, head->call);
	put_u32(&b, (uint32_t)head->status);
	struct iovec part[2] = { { b.p, b.n }, { (void *)(uintptr_t)body.p, body.n } };
	struct msghdr m = { .msg_iov = part, .msg_iovlen = 2 };
	if (head->fd_count > 0) {
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)head->fd_count);
		struct cmsghdr *c = &control.align;  /* CMSG_FIRSTHDR(), of a room that is there */
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)head->fd_count);
		memcpy(CMSG_DATA(c), head->fds, sizeof(int) * (size_t)head->fd_count);
	}
	for (;;) {
		if (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		return errno == ENOBUFS || errno == EWOULDBLOCK || errno == ETOOMANYREFS ? EAGAIN : errno;
	}
}

struct datagram *datagram_keep(const struct datagram *head, struct str body)
{
	struct datagram *d = mem_alloc(sizeof(*d) + body.n);

	*d = *head;
	d->size = body.n;
	if (body.n)
		memcpy(d->body, body.p, body.n);
	for (d->fd_count = 0; d->fd_count < head->fd_count; d->fd_count++) {
		int copy = fcntl(head->fds[d->fd_count], F_DUPFD_CLOEXEC, 3);
		if (copy < 0) {
			datagram_free(d);
			return NULL;
		}
		d->fds[d->fd_count] = copy;
	}
	return d;
}

/* Room for the largest message is a lot to ask of the allocator for each, so one is kept for whoever receives next. It is empty. */
static _Atomic(struct datagram *) spare_room;

static struct datagram *room_get(void)
{
	struct datagram *d = atomic_exchange(&spare_room, NULL);

	return d != NULL ? d : mem_resize(NULL, sizeof(*d) + MESSAGE_BODY_MAX);
}

static void room_keep(struct datagram *d)
{
	mem_free(atomic_exchange(&spare_room, d));
}

/* What was received, in memory of its own size: a small message is copied out of its room, a large one takes it along. */
static struct datagram *fitted(struct datagram *room)
{
	size_t size = sizeof(*room) + room->size;

	if (room->size > COPY_MAX)
		return mem_resize(room, size);
	struct datagram *d = mem_resize(NULL, size);
	memcpy(d, room, size);
	mem_wipe(room->body, room->size);
	room_keep(room);
	return d;
}

struct datagram *datagram_receive(int fd, int *failure)
{
	struct datagram *d = room_get();
	char head[HEADER_SIZE];
	union { char room[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)]; struct cmsghdr align; } control;
	struct iovec parts[2] = { { head, sizeof(head) }, { d->body, MESSAGE_BODY_MAX } };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
	ssize_t n;

	*failure = 0;
	*d = (struct datagram){ 0 };
	do
		n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		*failure = errno == EAGAIN ? 0 : errno;
		room_keep(d);
		return NULL;
	}
	d->size = (size_t)n > sizeof(head) ? (size_t)n - sizeof(head) : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		d->fd_count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(d->fds, CMSG_DATA(c), sizeof(int) * (size_t)d->fd_count);
	}
	/* Descriptors are missing because we have no room for more: that is not the sender's fault. The message comes without
	 * any, and its handler refuses it. Only more than a message may carry is. */
	bool has_too_many = (m.msg_flags & MSG_CTRUNC) && d->fd_count == MESSAGE_FDS_MAX;
	while ((m.msg_flags & MSG_CTRUNC) && d->fd_count > 0)
		fd_close(&d->fds[--d->fd_count]);
	if ((m.msg_flags & MSG_CTRUNC) && !has_too_many)
		log_warn("no descriptor left for a message: raise the limit of open files (LimitNOFILE=, ulimit -n)");
	if (n == 0) {  /* the end; or nothing, perhaps with descriptors, which nobody of ours sends */
		datagram_free(d);
		*failure = EPIPE;
		return NULL;
	}
	struct scan s = scan_of(str_make(head, (size_t)n - d->size));
	d->type = get_u16(&s);
	d->flags = get_u16(&s);
	d->call = get_u32(&s);
	d->status = (enum err)get_u32(&s);
	if (s.failed || (m.msg_flags & MSG_TRUNC) || has_too_many || (unsigned)d->status >= ERR_COUNT) {
		datagram_free(d);
		*failure = EPROTO;
		return NULL;
	}
	return fitted(d);
}
