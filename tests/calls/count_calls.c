/* Counts work, for tests/work.py: preloaded into a server (LD_PRELOAD), it stands before the functions of libc that ask the kernel for
 * something, or for memory, and counts their calls, and the bytes asked for, by role in a file that all processes share (FACTEUR_WORK).
 *
 * Problem: what a command costs shall not grow unnoticed. Time depends on the machine and on who else uses it; calls do not. strace
 * needs rights that a container may lack, and cells cannot be traced by anybody on purpose. So the program under test is the released
 * one, and counts itself. The file is mapped when a process starts, before its sandbox closes; a cell inherits it from the nursery and
 * gets its own row when it takes its name. Programs that name no role (Dovecot) have one row. A wait that ended because nothing happened is not counted, nor is what libc does inside
 * itself (locks). */
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define COUNTERS(_) \
	_(read) _(write) _(recv) _(recvmsg) _(send) _(sendmsg) _(pread) _(pwrite) _(open) _(close) _(accept) _(socketpair) \
	_(epoll_wait) _(epoll_ctl) _(poll) _(timerfd) _(mmap) _(munmap) _(sync) _(bytes) _(alloc) _(asked)
enum {
#define NAME(n) COUNT_##n,
	COUNTERS(NAME)
#undef NAME
	COUNT_ALL
};
static const char *const names[] = {
#define NAME(n) #n,
	COUNTERS(NAME)
#undef NAME
};

enum { ROWS = 16, NAME_SIZE = 16 };

struct row {
	char                  role[NAME_SIZE];
	atomic_uint_least64_t n[COUNT_ALL];
};
struct table {
	char       call[COUNT_ALL][NAME_SIZE];
	struct row row[ROWS];
};

static struct table *table;
static struct row nowhere, *row = &nowhere;

static void add(int what, uint64_t n) { atomic_fetch_add_explicit(&row->n[what], n, memory_order_relaxed); }

/* The row of this name, a new one if need be. Roles take their names one after the other, or at the worst share the first row. */
static void become(const char *name)
{
	for (int i = 0; table && i < ROWS; i++) {
		if (table->row[i].role[0] == '\0')
			snprintf(table->row[i].role, NAME_SIZE, "%s", name);
		if (strncmp(table->row[i].role, name, NAME_SIZE - 1) == 0) {
			row = &table->row[i];
			return;
		}
	}
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("FACTEUR_WORK");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = fd >= 0 ? mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return;
	table = p;
	for (int i = 0; i < COUNT_ALL; i++)
		snprintf(table->call[i], NAME_SIZE, "%s", names[i]);
	become("master");
}

int prctl(int option, ...)
{
	va_list ap;
	unsigned long a[4];

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_NAME)
		become((const char *)a[0]);
	return (int)syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

/* ---- memory: what the program asks libc for, how often and how many bytes; what grows counts by how much it grows */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static void asked(size_t n)
{
	add(COUNT_alloc, 1);
	add(COUNT_asked, n);
}

void *malloc(size_t n)
{
	asked(n);
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	asked(n * size);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	size_t had = malloc_usable_size(p);  /* 0 for NULL */

	asked(n > had ? n - had : 0);
	return __libc_realloc(p, n);
}

/* ---- calls of the kernel */

#define CALL(type, name, counter, params, ...) \
	type name params \
	{ \
		add(COUNT_##counter, 1); \
		return (type)syscall(__VA_ARGS__); \
	}

CALL(ssize_t, read, read, (int fd, void *p, size_t n), SYS_read, fd, p, n)
CALL(ssize_t, write, write, (int fd, const void *p, size_t n), SYS_write, fd, p, n)
CALL(ssize_t, recv, recv, (int fd, void *p, size_t n, int flags), SYS_recvfrom, fd, p, n, flags, NULL, NULL)
CALL(ssize_t, recvmsg, recvmsg, (int fd, struct msghdr *m, int flags), SYS_recvmsg, fd, m, flags)
CALL(ssize_t, send, send, (int fd, const void *p, size_t n, int flags), SYS_sendto, fd, p, n, flags, NULL, 0)
CALL(ssize_t, sendmsg, sendmsg, (int fd, const struct msghdr *m, int flags), SYS_sendmsg, fd, m, flags)
CALL(ssize_t, pread, pread, (int fd, void *p, size_t n, off_t at), SYS_pread64, fd, p, n, at)
CALL(int, close, close, (int fd), SYS_close, fd)
CALL(int, accept4, accept, (int fd, struct sockaddr *a, socklen_t *n, int flags), SYS_accept4, fd, a, n, flags)
CALL(int, socketpair, socketpair, (int domain, int kind, int protocol, int fd[2]), SYS_socketpair, domain, kind, protocol, fd)
CALL(int, epoll_ctl, epoll_ctl, (int set, int op, int fd, struct epoll_event *e), SYS_epoll_ctl, set, op, fd, e)
CALL(int, poll, poll, (struct pollfd *p, nfds_t n, int ms), SYS_poll, p, n, ms)
CALL(int, timerfd_settime, timerfd, (int fd, int flags, const struct itimerspec *t, struct itimerspec *was), SYS_timerfd_settime, fd, flags, t, was)
CALL(int, munmap, munmap, (void *p, size_t n), SYS_munmap, p, n)
CALL(int, fsync, sync, (int fd), SYS_fsync, fd)
CALL(int, fdatasync, sync, (int fd), SYS_fdatasync, fd)
CALL(int, syncfs, sync, (int fd), SYS_syncfs, fd)

void *mmap(void *p, size_t n, int protection, int flags, int fd, off_t at)
{
	add(COUNT_mmap, 1);
	if (flags & MAP_ANONYMOUS)
		add(COUNT_asked, n);
	return (void *)syscall(SYS_mmap, p, n, protection, flags, fd, at);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	add(COUNT_pwrite, 1);
	add(COUNT_bytes, n);
	return syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
	add(COUNT_pwrite, 1);
	for (int i = 0; i < count; i++)
		add(COUNT_bytes, v[i].iov_len);
	return syscall(SYS_pwritev, fd, v, count, at, 0);
}

int epoll_wait(int fd, struct epoll_event *e, int max, int ms)
{
	int n = (int)syscall(SYS_epoll_wait, fd, e, max, ms);

	if (n > 0)
		add(COUNT_epoll_wait, 1);
	return n;
}

static int open_counted(int dir, const char *path, int flags, int mode)
{
	add(COUNT_open, 1);
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define MODE_AFTER(last) \
	va_list ap; \
	va_start(ap, last); \
	int mode = last & (O_CREAT | __O_TMPFILE) ? va_arg(ap, int) : 0; \
	va_end(ap);

int open(const char *path, int flags, ...)
{
	MODE_AFTER(flags)
	return open_counted(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	MODE_AFTER(flags)
	return open_counted(dir, path, flags, mode);
}
