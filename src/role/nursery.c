/* The nursery forks cells. It is small, single-threaded, and knows what is the same for every account (cell_preload()), and nothing else: a forked
 * child starts in 2 ms because there is little to copy, and inherits no secret. It never reads the key descriptor that it passes on. Its door (role/door.h)
 * leaves it all accounts, and what a cell may call; each child closes another one behind itself, with a list of calls that is made here once.
 * It collects its children and tells master; when it dies, master (child subreaper) collects them itself. */
#include "base/log.h"
#include "base/mem.h"
#include "disk/disk.h"
#include "ipc/sandbox.h"
#include "role/cell.h"
#include "role/door.h"
#include "role/role.h"
#include "role/threads.h"
#include "role/watch.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 65536 };

struct child { pid_t pid; uint64_t account; };

struct nursery {
	const struct role_start *start;
	struct watch   *watch;
	struct channel *master;
	struct child   *children;
	size_t          n, cap;
	int             signal_fd;
	struct sandbox_filter *filter;   /* of its cells */
	bool            stops;
};

/* In the child: nothing of the nursery stays open but what is named here. Does not return. */
static void run_child(const struct nursery *n, uint64_t account, uint32_t epoch, bool is_watched, int channel_fd, int key_fd)
{
	sigset_t none;

	dup3(channel_fd, 3, O_CLOEXEC);
	dup3(key_fd, 4, O_CLOEXEC);
	disk_close_inherited(5);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log_role("cell");
	prctl(PR_SET_NAME, "cell");
	const struct cell_start cell = {
		.account = account, .epoch = epoch, .is_watched = is_watched, .master_fd = 3, .key_fd = 4, .dir = n->start->dir,
		.sandbox = n->start->sandbox, .filter = n->filter,
	};
	_exit(role_cell(&cell));
}

static pid_t start_child(const struct nursery *n, uint64_t account, uint32_t epoch, bool is_watched, int channel_fd, int key_fd)
{
	if (threads_are_used()) {
		const struct cell_start cell = {
			.account = account, .epoch = epoch, .is_watched = is_watched, .dir = n->start->dir,
			.master_fd = fcntl(channel_fd, F_DUPFD_CLOEXEC, 0), .key_fd = fcntl(key_fd, F_DUPFD_CLOEXEC, 0),
		};
		return threads_start_cell(&cell);
	}
	pid_t pid = fork();
	if (pid == 0)
		run_child(n, account, epoch, is_watched, channel_fd, key_fd);
	return pid;
}

static void on_spawn(void *context, struct channel *ch, struct message *m)
{
	struct nursery *n = context;
	struct scan s = scan_of(m->body);
	CLEANUP(buf_free) struct buf answer = BUF(64);
	uint64_t account = get_u64(&s);
	uint32_t epoch = get_u32(&s);
	bool is_watched = get_bool(&s);

	if (!get_end(&s) || m->fd_count != 2 || n->n >= CHILDREN_MAX) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	/* above 4, so that the child's dup3 cannot overwrite one with the other */
	CLEANUP(fd_close) int channel_fd = fcntl(m->fds[0], F_DUPFD_CLOEXEC, 8);
	CLEANUP(fd_close) int key_fd = fcntl(m->fds[1], F_DUPFD_CLOEXEC, 8);
	pid_t pid = start_child(n, account, epoch, is_watched, channel_fd, key_fd);
	if (pid < 0) {
		channel_reply(ch, m->call, log_errno("fork", "cell"), STR(""), NULL, 0);
		return;
	}
	if (n->n == n->cap) {
		n->cap = n->cap ? n->cap * 2 : 64;
		n->children = mem_resize(n->children, n->cap * sizeof(*n->children));
	}
	n->children[n->n++] = (struct child){ pid, account };
	CLEANUP(fd_close) int pid_fd = threads_are_used() ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	put_u32(&answer, (uint32_t)pid);
	channel_reply(ch, m->call, ERR_OK, buf_str(&answer), &pid_fd, pid_fd >= 0 ? 1 : 0);
}

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct nursery *)context)->stops = true; }
static void on_connect(UNUSED void *context, UNUSED struct channel *ch, UNUSED struct message *m) { }

static void collected(struct nursery *n, pid_t pid, int status)
{
	for (size_t i = 0; i < n->n; i++) {
		if (n->children[i].pid != pid)
			continue;
		CLEANUP(buf_free) struct buf b = BUF(64);
		put_u64(&b, n->children[i].account);
		put_u32(&b, (uint32_t)pid);
		put_u32(&b, (uint32_t)status);
		channel_notify(n->master, NOTICE_EXITED, buf_str(&b), NULL, 0);
		n->children[i] = n->children[--n->n];
		return;
	}
}

static void on_child(void *context)
{
	struct nursery *n = context;
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(n->signal_fd, &info, sizeof(info)) == sizeof(info))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		collected(n, pid, status);
}

static void on_thread_ended(void *context)
{
	int number, code;

	while ((number = threads_ended_cell(&code)) > 0)
		collected(context, number, W_EXITCODE(code, 0));
}

static void on_master_gone(void *context, UNUSED struct channel *ch) { ((struct nursery *)context)->stops = true; }

static const struct channel_handler handlers[] = {
	{ REQUEST_SPAWN, on_spawn }, { NOTICE_CONNECT, on_connect }, { NOTICE_STOP, on_stop }, { NOTICE_LOG, role_on_log }, { REQUEST_ALIVE, role_on_alive }, { 0 },
};

static void watch_children(struct nursery *n)
{
	sigset_t set;

	if (threads_are_used()) {
		watch_fd(n->watch, threads_cell_fd(), on_thread_ended, n);
		return;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	n->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	watch_fd(n->watch, n->signal_fd, on_child, n);
}

int role_nursery(const struct role_start *start)
{
	struct nursery n = { .start = start, .watch = watch_new() };

	cell_preload(start->dir);
	if (start->sandbox && (sandbox_filter_make(ROLE_CELL, &n.filter) != ERR_OK || door_close(ROLE_NURSERY, start->dir, 0, NULL) != ERR_OK))
		return 1;
	n.master = channel_new(start->master_fd, ROLE_NURSERY, ROLE_MASTER, handlers, &n, on_master_gone);
	watch_channel(n.watch, n.master);
	watch_children(&n);
	channel_notify(n.master, NOTICE_READY, STR(""), NULL, 0);
	while (!n.stops)
		watch_run(n.watch, -1);
	watch_forget(n.watch, n.master);
	channel_free(n.master);
	watch_free(n.watch);
	mem_free(n.children);
	sandbox_filter_free(&n.filter);
	return 0;
}
