/* Messages of the admin socket: a length and JSON.
 *
 * jansson takes its memory through functions of ours: base/mem.h never fails, and every value is wiped when it is
 * freed, because passwords travel here. Its nesting limit (2,048) and the length limit bound what a request can cost.
 */
#include "admin/wire.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SIZE_HEAD = 16 };  /* keeps what malloc would promise: 16 byte alignment */

static void *json_alloc(size_t n)
{
	char *p = mem_alloc(n + SIZE_HEAD);

	memcpy(p, &n, sizeof n);
	return p + SIZE_HEAD;
}

static void json_release(void *value)
{
	size_t n;

	if (value == NULL)
		return;
	char *p = (char *)value - SIZE_HEAD;
	memcpy(&n, p, sizeof n);
	mem_wipe(p, n + SIZE_HEAD);
	mem_free(p);
}

void admin_json_setup(void)
{
	json_set_alloc_funcs(json_alloc, json_release);
	json_object_seed((size_t)random_u64() | 1);
}

json_t *admin_json_read(struct str message)
{
	json_error_t error;
	json_t *value = json_loadb(message.p ? message.p : "", message.n, JSON_REJECT_DUPLICATES, &error);

	if (value != NULL && !json_is_object(value)) {
		json_decref(value);
		return NULL;
	}
	return value;
}

static int add_bytes(const char *bytes, size_t n, void *context)
{
	struct buf *b = context;

	buf_add_bytes(b, bytes, n);
	return b->failed ? -1 : 0;
}

void admin_json_write(struct buf *b, const json_t *value)
{
	if (json_dump_callback(value, add_bytes, b, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
		b->failed = true;
}

enum err admin_connect(const char *dir, int *fd)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int n = snprintf(to.sun_path, sizeof to.sun_path, "%s/admin.sock", dir), s;

	if (n < 0 || (size_t)n >= sizeof to.sun_path)
		return ERR_INVALID;
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return ERR_IO;
	if (connect(s, (const struct sockaddr *)&to, sizeof to) == 0) {
		*fd = s;
		return ERR_OK;
	}
	int why = errno;
	close(s);
	return why == ECONNREFUSED			   ? ERR_CLOSED
		   : why == ENOENT				   ? ERR_NOTFOUND
		   : why == EACCES || why == EPERM ? ERR_DENIED
										   : ERR_IO;
}

/* Waits until fd is ready or the time is over. */
static enum err wait_for(int fd, short events, int64_t until_ms)
{
	for (;;) {
		struct pollfd p = { fd, events, 0 };
		int64_t left = until_ms - clock_mono_ms();
		int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (ready > 0)
			return ERR_OK;
		if (ready == 0)
			return ERR_TIMEOUT;
		if (errno != EINTR)
			return ERR_IO;
	}
}

static enum err send_all(int fd, struct str bytes, int64_t until_ms)
{
	while (bytes.n > 0) {
		ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			bytes = str_from(bytes, (size_t)n);
			continue;
		}
		if (errno == EAGAIN)
			TRY(wait_for(fd, POLLOUT, until_ms));
		else if (errno != EINTR)
			return ERR_CLOSED;
	}
	return ERR_OK;
}

enum err admin_send(int fd, struct str message, int timeout_ms)
{
	CLEANUP(buf_free) struct buf head = BUF(4);
	int64_t until_ms = clock_mono_ms() + timeout_ms;

	put_u32(&head, (uint32_t)message.n);
	TRY(send_all(fd, buf_str(&head), until_ms));
	return send_all(fd, message, until_ms);
}

static enum err receive_all(int fd, char *to, size_t n, int64_t until_ms)
{
	while (n > 0) {
		ssize_t got = recv(fd, to, n, MSG_DONTWAIT);
		if (got == 0)
			return ERR_CLOSED;
		if (got > 0) {
			to += got;
			n -= (size_t)got;
			continue;
		}
		if (errno == EAGAIN)
			TRY(wait_for(fd, POLLIN, until_ms));
		else if (errno != EINTR)
			return ERR_CLOSED;
	}
	return ERR_OK;
}

enum err admin_receive(int fd, struct buf *b, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	char head[4], *to;
	struct scan s = scan_of(str_make(head, sizeof head));
	uint32_t n;

	buf_reset(b);
	TRY(receive_all(fd, head, sizeof head, until_ms));
	n = get_u32(&s);
	if (n > b->max)
		return ERR_LIMIT;
	if (n == 0)
		return ERR_OK;
	to = buf_reserve(b, n);
	if (to == NULL)
		return ERR_LIMIT;
	TRY(receive_all(fd, to, n, until_ms));
	buf_grew(b, n);
	return ERR_OK;
}
