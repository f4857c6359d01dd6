/* What this machine takes, now, for what no mail server of this shape can do without: pace FOLDER
 *
 * The same work costs twice as much on another day, or beside other work, so a figure in microseconds says little by itself. This program does a
 * fixed piece of such work, and nothing else, with processes like ours: `gate` has a TCP connection of loopback, `cell` has the file, a
 * SOCK_SEQPACKET pair is between them. It prints the CPU, in microseconds, that the two take together (the client's is not counted):
 *   round_trip_us  64 bytes from the client through the gate to the cell, and an answer back: the ten calls and three wakes of a NOOP
 *   page_us        4,120 bytes written where a file of 4 MB goes on, as a page of a write-ahead log (the cell only)
 *   body_us        28 kB read from a file of 32 MB, added up, and sent through the gate to the client, two at a time
 * It writes FOLDER/pace and removes it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRIPS = 4000, PAGES = 4000, BODIES = 2000, SMALL = 64, PAGE = 4120, BODY = 28000, FRAME = 65536, LOG_BYTES = 4 << 20, FILE_BYTES = 32 << 20 };

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static char frame[FRAME];

/* All bytes, or the end of this program. */
static void send_all(int fd, const char *p, size_t n)
{
	for (ssize_t sent; n > 0; p += sent, n -= (size_t)sent)
		need((sent = send(fd, p, n, MSG_NOSIGNAL)) > 0, "send");
}

static int watch(int fd, uint32_t events)
{
	int set = epoll_create1(EPOLL_CLOEXEC);

	need(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = events, .data.fd = fd }) == 0, "epoll");
	return set;
}

static int next(int set)
{
	struct epoll_event e;
	int n;

	do
		n = epoll_wait(set, &e, 1, -1);
	while (n < 0 && errno == EINTR);
	need(n == 1, "epoll_wait");
	return e.data.fd;
}

/* Hands on what comes on either side, until the client has gone. */
static void be_gate(int client, int cell)
{
	int set = watch(client, EPOLLIN);

	need(epoll_ctl(set, EPOLL_CTL_ADD, cell, &(struct epoll_event){ .events = EPOLLIN, .data.fd = cell }) == 0, "epoll_ctl");
	for (;;) {
		int from = next(set);
		ssize_t n = recv(from, frame, sizeof frame, 0);
		if (n <= 0)
			exit(0);
		send_all(from == client ? cell : client, frame, (size_t)n);
	}
}

static void write_pages(int file)
{
	for (off_t i = 0; i < PAGES; i++) {
		frame[0] = (char)i;
		need(pwrite(file, frame, PAGE, i * PAGE % LOG_BYTES) == PAGE, "pwrite");
	}
}

static uint64_t sum_of(const char *p, size_t n)
{
	uint64_t sum = 0, word;

	for (size_t i = 0; i + sizeof word <= n; i += sizeof word) {
		__builtin_memcpy(&word, p + i, sizeof word);
		sum = (sum << 1 | sum >> 63) ^ word;
	}
	return sum;
}

static void send_bodies(int gate, int file)
{
	for (off_t i = 0; i < BODIES; i++) {
		char *p = frame + i % 2 * BODY;
		need(pread(file, p, BODY, i * BODY % (FILE_BYTES - BODY)) == BODY, "pread");
		p[0] = (char)sum_of(p, BODY);
		if (i % 2 == 1)
			send_all(gate, frame, 2 * BODY);
	}
}

/* 'e': an answer; 'p': pages, then an answer; 'b': bodies. */
static void be_cell(int gate, int file)
{
	int set = watch(gate, EPOLLIN | EPOLLONESHOT);

	for (;;) {
		next(set);
		ssize_t n = recv(gate, frame, sizeof frame, 0);
		if (n <= 0)
			exit(0);
		if (frame[0] == 'b')
			send_bodies(gate, file);
		if (frame[0] == 'p')
			write_pages(file);
		if (frame[0] != 'b')
			send_all(gate, frame, SMALL);
		need(epoll_ctl(set, EPOLL_CTL_MOD, gate, &(struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.fd = gate }) == 0, "epoll_ctl");
	}
}

static double cpu_us(pid_t pid)
{
	clockid_t clock;
	struct timespec t;

	need(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0, "clock_gettime");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Asks so many times, each after what the one before brought. */
static void ask(int gate, char what, int times, size_t answer)
{
	static char got[FRAME];

	for (int i = 0; i < times; i++) {
		char question[SMALL] = { what };
		send_all(gate, question, sizeof question);
		for (size_t left = answer; left > 0;) {
			ssize_t n = recv(gate, got, left < sizeof got ? left : sizeof got, 0);
			need(n > 0, "recv");
			left -= (size_t)n;
		}
	}
}

/* Two ends of a TCP connection. */
static void connect_pair(int pair[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof at;
	int one = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(bind(listening, (struct sockaddr *)&at, n) == 0 && listen(listening, 1) == 0 && getsockname(listening, (struct sockaddr *)&at, &n) == 0, "listen");
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(connect(pair[0], (struct sockaddr *)&at, n) == 0, "connect");
	need((pair[1] = accept(listening, NULL, NULL)) >= 0, "accept");
	for (int i = 0; i < 2; i++)
		need(setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "TCP_NODELAY");
	close(listening);
}

static int make_file(const char *folder)
{
	int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int file = openat(folder_fd, "pace", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	need(file >= 0 && unlinkat(folder_fd, "pace", 0) == 0, folder);
	for (off_t at = 0; at < FILE_BYTES; at += FRAME)
		need(pwrite(file, frame, FRAME, at) == FRAME, "pwrite");
	close(folder_fd);
	return file;
}

int main(int argc, char **argv)
{
	int tcp[2], pair[2], file;
	double at[4];
	pid_t cell, gate;

	if (argc != 2) {
		fputs("usage: pace FOLDER\n", stderr);
		return 2;
	}
	file = make_file(argv[1]);
	connect_pair(tcp);
	need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
	need((cell = fork()) >= 0, "fork");
	if (cell == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		be_cell(pair[1], file);
	need((gate = fork()) >= 0, "fork");
	if (gate == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		be_gate(tcp[1], pair[0]);
	ask(tcp[0], 'e', TRIPS / 10, SMALL);   /* warm */
	at[0] = cpu_us(cell) + cpu_us(gate);
	ask(tcp[0], 'e', TRIPS, SMALL);
	at[1] = cpu_us(cell) + cpu_us(gate);
	ask(tcp[0], 'p', 1, SMALL);
	at[2] = cpu_us(cell) + cpu_us(gate);
	ask(tcp[0], 'b', 1, (size_t)BODIES * BODY);
	at[3] = cpu_us(cell) + cpu_us(gate);
	printf("{\"round_trip_us\": %.2f, \"page_us\": %.2f, \"body_us\": %.2f}\n", (at[1] - at[0]) / TRIPS, (at[2] - at[1]) / PAGES, (at[3] - at[2]) / BODIES);
	kill(gate, SIGKILL);
	kill(cell, SIGKILL);
	while (wait(NULL) > 0)
		;
	return fflush(stdout) == 0 ? 0 : 1;
}
