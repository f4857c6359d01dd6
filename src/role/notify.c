/* One datagram to the socket the service manager named, so that `systemctl start` returns when every role serves, and not before.
 * Our own lines instead of libsystemd: the protocol is stable and the library would be the largest in master. */
#include "role/notify.h"
#include "base/err.h"
#include "base/log.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;

	if (n == 0)
		return;
	if ((path[0] != '/' && path[0] != '@') || n >= sizeof(to.sun_path)) {
		log_warn("NOTIFY_SOCKET is not the path of a socket path=%s", path);
		return;
	}
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0';  /* an abstract name */
	CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, length) < 0)
		log_errno("sendto", "NOTIFY_SOCKET");
}
