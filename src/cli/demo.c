/* facteur demo: a server to look at, on this machine only. ./run builds the program and ends here.
 *
 * This process sets the folder up, starts `serve` as its child, waits until every port answers, makes the accounts,
 * prints the card, and then only waits: for Ctrl-C, which reaches the child as well, or for the end of the child. If
 * this process is killed the kernel ends the child (PR_SET_PDEATHSIG), so that no server is left behind unseen. The
 * server's log goes to a file: lines between those of the card would help nobody. */
#include "cli/demo.h"
#include "admin/wire.h"
#include "base/clock.h"
#include "cli/flags.h"
#include "cli/request.h"
#include "cli/setup.h"
#include "ipc/sandbox.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	START_TIMEOUT_MS = 60000, PAUSE_US = 50000, ANSWER_TIMEOUT_MS = 5000,
	OFFSET_WHEN_TAKEN = 10000, LOG_SHOWN_MAX = 3000,
};

static volatile sig_atomic_t wants_stop;
static void on_stop_signal(int number) { wants_stop = number; }
static void on_child_signal(UNUSED int number) { }  /* a signal without a handler would not end sigsuspend() */

static bool can_bind(const char *address, int port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	bool is_v6 = inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
	int on = 1;

	if (!is_v6 && inet_pton(AF_INET, address, &v4.sin_addr) != 1)
		return false;
	CLEANUP(fd_close) int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd >= 0 &&
	       bind(fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, is_v6 ? sizeof(v6) : sizeof(v4)) == 0;
}

/* The first port that cannot be bound at this offset; 0: all can. */
static int taken_port(int offset)
{
	if (!can_bind("127.0.0.1", DEMO_SMTP_PORT + offset))
		return DEMO_SMTP_PORT + offset;
	for (size_t i = 0; i < demo_port_count; i++)
		if (!can_bind("127.0.0.1", demo_ports[i].port + offset))
			return demo_ports[i].port + offset;
	return 0;
}

/* Without a wish 0 where all the usual ports are free and allowed (for which root or a low ip_unprivileged_port_start
 * is needed). False, said: in use. Asked before the server starts: another program's answer would look like ours. */
static bool choose_offset(struct demo *d)
{
	int taken;

	if (d->port_offset < 0)
		d->port_offset = taken_port(0) == 0 ? 0 : OFFSET_WHEN_TAKEN;
	taken = taken_port(d->port_offset);
	if (taken)
		complain(d->cli, TEXT_DEMO_PORT_TAKEN, arena_printf(&d->cli->arena, "%d", taken));
	return taken == 0;
}

/* What facteur.conf gets as bind. This machine itself always; an address that stands for all includes it. */
static struct str bind_text(struct demo *d)
{
	const char *loopback = can_bind("::1", 0) ? "127.0.0.1 ::1" : "127.0.0.1";
	struct str rest = d->bind, address;

	while (rest.n) {
		str_cut(rest, ' ', &address, &rest);
		if (str_eq(address, STR("0.0.0.0")))
			return d->bind;
	}
	return str_trim(arena_printf(&d->cli->arena, "%s " STR_FMT, loopback, STR_ARG(d->bind)));
}

static bool is_running(const struct demo *d)
{
	CLEANUP(fd_close) int fd = -1;

	return admin_connect(d->cli->dir, &fd) == ERR_OK;
}

static int connect_local(int port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool answers(int port, bool has_greeting)
{
	CLEANUP(fd_close) int fd = connect_local(port);
	struct pollfd p = { fd, POLLIN, 0 };
	char greeting[4];

	if (fd < 0 || !has_greeting)
		return fd >= 0;
	if (poll(&p, 1, ANSWER_TIMEOUT_MS) != 1 || read(fd, greeting, sizeof(greeting)) != sizeof(greeting))
		return false;
	/* while it starts it may also answer 421 or BYE */
	return memcmp(greeting, "220", 3) == 0 || memcmp(greeting, "* OK", 4) == 0 || memcmp(greeting, "+OK", 3) == 0;
}

static bool all_answer(const struct demo *d)
{
	if (!answers(DEMO_SMTP_PORT + d->port_offset, true))
		return false;
	for (size_t i = 0; i < demo_port_count; i++)
		if (!answers(demo_ports[i].port + d->port_offset, demo_ports[i].has_greeting))
			return false;
	return true;
}

static struct str log_path(struct demo *d) { return arena_printf(&d->cli->arena, "%s/server.log", d->cli->dir); }

/* The end of the log, where the reason stands. */
static void show_log(struct demo *d)
{
	CLEANUP(fd_close) int fd = open(log_path(d).p, O_RDONLY | O_CLOEXEC);
	char text[LOG_SHOWN_MAX];
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t n = pread(fd, text, sizeof(text), end > LOG_SHOWN_MAX ? end - LOG_SHOWN_MAX : 0);

	if (n > 0)
		fprintf(stderr, "%.*s", (int)n, text);
}

static pid_t start_server(struct demo *d)
{
	char offset[16];
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	int log = open(log_path(d).p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (log < 0 || getppid() != parent)
		_exit(1);
	dup2(nothing, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	snprintf(offset, sizeof(offset), "%d", d->port_offset);
	execl("/proc/self/exe", "facteur", "-d", d->cli->dir, "serve", "--demo", "--port-offset", offset, (char *)NULL);
	_exit(127);
}

/* True while the child lives. */
static bool is_alive(pid_t *pid)
{
	int status;

	if (*pid > 0 && waitpid(*pid, &status, WNOHANG) == *pid)
		*pid = 0;
	return *pid > 0;
}

static bool wait_until_ready(struct demo *d, pid_t *server)
{
	int64_t until = clock_mono_ms() + START_TIMEOUT_MS;

	while (!wants_stop && is_alive(server) && clock_mono_ms() < until) {
		if (all_answer(d))
			return true;
		usleep(PAUSE_US);
	}
	return false;
}

static int end_server(pid_t server)
{
	int status = 0;

	if (server <= 0)
		return EXIT_FAILED;
	kill(server, SIGTERM);
	while (waitpid(server, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* Until the server ends, or somebody wants it to. */
static int wait_for_end(struct demo *d, pid_t server)
{
	sigset_t block, old;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, &old);
	while (!wants_stop && is_alive(&server))
		sigsuspend(&old);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (wants_stop) {
		say(d->cli, TEXT_DEMO_STOPPING);
		return end_server(server);
	}
	complain(d->cli, TEXT_DEMO_ENDED, log_path(d));
	show_log(d);
	return EXIT_FAILED;
}

static void catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction stop = { .sa_handler = on_stop_signal }, child = { .sa_handler = on_child_signal };

	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		sigaction(numbers[i], &stop, NULL);
	sigaction(SIGCHLD, &child, NULL);
}

/* Small rings, and a small reserve: a demonstration has to fit beside other things. Nobody out there should get mail from a domain that
 * does not exist. */
static bool configure(struct demo *d)
{
	return setup_request(d->cli, "config set", "setting", STR("queue_segment_size"), "value", STR("4MB")) &&
	       setup_request(d->cli, "config set", "setting", STR("disk_reserve"), "value", STR("64MB")) &&
	       setup_request(d->cli, "config set", "setting", STR("send_elsewhere"), "value", STR("off"));
}

static bool prepare(struct demo *d)
{
	struct setup s = { .domain = STR(DEMO_DOMAIN), .hostname = STR("mail." DEMO_DOMAIN) };

	s.bind = bind_text(d);
	if (request_has_data(d->cli))
		s.hostname = STR("");
	if (!setup_make(d->cli, &s))
		return false;
	d->missing = sandbox_missing();
	return !s.made_domain || configure(d);
}

static int run(struct demo *d)
{
	pid_t server = start_server(d);

	if (!wait_until_ready(d, &server)) {
		if (!wants_stop) {
			complain(d->cli, TEXT_DEMO_DID_NOT_START, log_path(d));
			show_log(d);
		}
		end_server(server);
		return EXIT_FAILED;
	}
	if (!demo_accounts(d)) {
		end_server(server);
		return EXIT_FAILED;
	}
	demo_card(d);
	return wait_for_end(d, server);
}

int cli_demo(struct cli *c, int argc, char **argv)
{
	struct demo d = { .cli = c, .port_offset = -1 };
	struct str offset = STR_NONE, none[1];
	size_t n;
	const struct flag flags[] = { { "port-offset", NULL, &offset }, { "bind", NULL, &d.bind }, { 0 } };

	if (!flags_parse(c, argc, argv, flags, none, 0, &n) || (offset.p && !cli_port_offset(c, offset, &d.port_offset)))
		return EXIT_USAGE;
	if (is_running(&d)) {
		complain(c, TEXT_DEMO_RUNS, str_of(c->dir));
		return EXIT_FAILED;
	}
	catch_signals();
	return choose_offset(&d) && prepare(&d) ? run(&d) : EXIT_FAILED;
}
