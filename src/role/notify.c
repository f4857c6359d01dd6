/* Datagrams to the socket the service manager named: `systemctl start` returns when every role serves, and not before; and a restart
 * loses no listening socket, since the manager has copies. Our own lines instead of libsystemd: the protocol is stable and the library
 * would be the largest in master.
 *
 * All that is kept has one name, and is known by what it is (master_ports.c compares the addresses): the name is only there to have
 * it forgotten. A manager works through its datagrams in their order, so forgetting all and keeping some again leaves no gap. When it closes
 * what it forgets is its own affair (systemd does it in the background from version 254 on), so nothing here waits for that. */
#include "role/notify.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FDS_MAX = 250, FIRST_GIVEN = 3, GIVEN_MAX = 4096 };  /* a datagram carries 253 at most (unix(7)); sd_listen_fds(3) */

/* False: nobody asked, or nobody listens (logged). */
static bool manager_address(struct sockaddr_un *to, socklen_t *length)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;

	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (n == 0)
		return false;
	if ((path[0] != '/' && path[0] != '@') || n >= sizeof(to->sun_path)) {
		log_warn("NOTIFY_SOCKET is not the path of a socket path=%s", path);
		return false;
	}
	memcpy(to->sun_path, path, n);
	if (path[0] == '@')
		to->sun_path[0] = '\0';  /* an abstract name */
	*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return true;
}

static bool send_state(const char *state, const int *fds, size_t n)
{
	union { struct cmsghdr align; char room[CMSG_SPACE(FDS_MAX * sizeof(int))]; } control = { 0 };
	struct sockaddr_un to;
	socklen_t length;

	if (!manager_address(&to, &length))
		return false;
	struct iovec text = { .iov_base = (void *)(uintptr_t)state, .iov_len = strlen(state) };
	struct msghdr message = { .msg_name = &to, .msg_namelen = length, .msg_iov = &text, .msg_iovlen = 1 };
	if (n > 0) {
		message.msg_control = control.room;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) };
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && sendmsg(fd, &message, MSG_NOSIGNAL) >= 0)
		return true;
	log_errno("sendmsg", "NOTIFY_SOCKET");
	return false;
}

void notify_manager(const char *state) { (void)send_state(state, NULL, 0); }

/* FDPOLL=0: what happens to a socket does not end its being kept. */
void notify_keep(const int *fds, size_t n)
{
	for (size_t at = 0; at < n; at += FDS_MAX)
		if (!send_state("FDSTORE=1\nFDNAME=facteur\nFDPOLL=0", fds + at, n - at < FDS_MAX ? n - at : FDS_MAX))
			return;
}

void notify_forget(void) { notify_manager("FDSTOREREMOVE=1\nFDNAME=facteur"); }

/* One socket by two numbers: whoever lets one of them go would lose the other. */
static bool is_among(const int *fds, size_t n, int fd)
{
	struct stat one, other;

	for (size_t i = 0; i < n; i++)
		if (fstat(fds[i], &one) == 0 && fstat(fd, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino)
			return true;
	return false;
}

size_t notify_given(int **fds)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t meant = 0, n = 0;
	size_t given = 0;

	*fds = NULL;
	if (pid && count && str_to_u64(str_of(pid), &meant) && meant == (uint64_t)getpid() && str_to_u64(str_of(count), &n) && n <= GIVEN_MAX)
		*fds = mem_alloc((n + 1) * sizeof(**fds));
	for (int fd = FIRST_GIVEN; *fds && fd < FIRST_GIVEN + (int)n; fd++) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			continue;
		if (is_among(*fds, given, fd))
			close(fd);
		else
			(*fds)[given++] = fd;
	}
	unsetenv("LISTEN_PID");  /* not for the roles */
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return given;
}
