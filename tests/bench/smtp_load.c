/* A load of SMTP: N connections that each send messages one after the other over one connection, as fast as the server answers.
 * One thread, epoll, no library: the sender must cost less than what it measures.
 *
 *   smtp_load HOST PORT CONNECTIONS MESSAGES BYTES ACCOUNTS DOMAIN [RECONNECT]
 * ACCOUNTS: recipients are user0@DOMAIN … in turn. RECONNECT: a new connection after so many messages (0: never).
 * Prints one line of JSON: messages acknowledged, seconds, p50 and p99 of the time from the end of DATA to its 250, in microseconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum step { GREETING, EHLO, MAIL, RCPT, DATA, BODY, QUIT };

struct client {
	int       fd;
	enum step step;
	char      in[2048];
	size_t    in_n;
	long      sent;          /* over this connection */
	int64_t   asked_us;
	size_t    body_at;       /* of the body that did not fit the socket; SIZE_MAX: nothing waits */
};

static struct sockaddr_in server;
static int epoll_fd;
static long messages, begun, acknowledged, accounts, reconnect, refused;
static const char *domain;
static char *body;
static size_t body_n;
static uint32_t *times;

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(struct client *c, int op, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll_fd, op, c->fd, &e) < 0)
		die("epoll_ctl");
}

static void connect_client(struct client *c)
{
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->step = GREETING;
	c->in_n = 0;
	c->sent = 0;
	c->body_at = SIZE_MAX;
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void say(struct client *c, const char *line)
{
	if (write(c->fd, line, strlen(line)) != (ssize_t)strlen(line))
		die("write");
}

static void send_body(struct client *c)
{
	if (c->body_at == SIZE_MAX)
		c->body_at = 0;
	ssize_t n = send(c->fd, body + c->body_at, body_n - c->body_at, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		die("send");
	c->body_at += n > 0 ? (size_t)n : 0;
	bool done = c->body_at == body_n;
	watch(c, EPOLL_CTL_MOD, done ? EPOLLIN : EPOLLIN | EPOLLOUT);
	if (done) {
		c->body_at = SIZE_MAX;
		c->asked_us = now_us();
	}
}

static void next_message(struct client *c)
{
	char line[400];

	if (begun >= messages || (reconnect && c->sent >= reconnect)) {
		c->step = QUIT;
		say(c, "QUIT\r\n");
		return;
	}
	snprintf(line, sizeof(line), "MAIL FROM:<load@sender.test>\r\nRCPT TO:<user%ld@%s>\r\nDATA\r\n", begun % accounts, domain);
	begun++;
	c->sent++;
	c->step = MAIL;
	say(c, line);
}

/* One complete reply. False: the connection is over. */
static bool on_reply(struct client *c, int code)
{
	static const int wanted[] = { 220, 250, 250, 250, 354, 250, 221 };

	if (c->step == QUIT) {
		close(c->fd);
		c->fd = -1;
		if (begun < messages)
			connect_client(c);
		return false;
	}
	if (code != wanted[c->step]) {
		fprintf(stderr, "unexpected reply %d in step %d: %.*s\n", code, c->step, (int)c->in_n, c->in);
		refused++;
		exit(2);
	}
	switch (c->step) {
	case GREETING: c->step = EHLO; say(c, "EHLO load.sender.test\r\n"); break;
	case EHLO:     next_message(c); break;
	case MAIL:     c->step = RCPT; break;
	case RCPT:     c->step = DATA; break;
	case DATA:     c->step = BODY; send_body(c); break;
	case BODY:
		times[acknowledged++] = (uint32_t)(now_us() - c->asked_us);
		next_message(c);
		break;
	case QUIT: break;
	}
	return true;
}

static void on_input(struct client *c)
{
	ssize_t n = read(c->fd, c->in + c->in_n, sizeof(c->in) - c->in_n);

	if (n <= 0)
		die("the server closed the connection");
	c->in_n += (size_t)n;
	for (;;) {
		char *end = memchr(c->in, '\n', c->in_n);
		if (end == NULL)
			return;
		size_t line_n = (size_t)(end - c->in) + 1;
		bool is_last = line_n >= 4 && c->in[3] != '-';
		int code = atoi(c->in);
		if (is_last && !on_reply(c, code))
			return;
		c->in_n -= line_n;
		memmove(c->in, c->in + line_n, c->in_n);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void make_body(size_t bytes)
{
	static const char head[] = "From: Load <load@sender.test>\r\nTo: you@example.test\r\nSubject: a message of the load generator\r\n"
	                           "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <load.1@sender.test>\r\n"
	                           "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";

	body = malloc(bytes + 256 + sizeof(head));
	if (body == NULL)
		die("malloc");
	memcpy(body, head, sizeof(head) - 1);
	body_n = sizeof(head) - 1;
	for (unsigned i = 0; body_n < bytes; i++)
		body_n += (size_t)sprintf(body + body_n, "%06u the quick brown fox jumps over the lazy dog, and again.\r\n", i);
	memcpy(body + body_n, ".\r\n", 3);
	body_n += 3;
}

int main(int argc, char **argv)
{
	if (argc < 8) {
		fprintf(stderr, "usage: smtp_load HOST PORT CONNECTIONS MESSAGES BYTES ACCOUNTS DOMAIN [RECONNECT]\n");
		return 2;
	}
	long connections = atol(argv[3]);
	messages = atol(argv[4]);
	accounts = atol(argv[6]);
	domain = argv[7];
	reconnect = argc > 8 ? atol(argv[8]) : 0;
	server = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])) };
	inet_pton(AF_INET, argv[1], &server.sin_addr);
	make_body((size_t)atol(argv[5]));
	times = calloc((size_t)messages, sizeof(*times));
	epoll_fd = epoll_create1(0);
	struct client *clients = calloc((size_t)connections, sizeof(*clients));
	if (times == NULL || clients == NULL)
		die("calloc");
	for (long i = 0; i < connections; i++)
		connect_client(&clients[i]);
	int64_t start = now_us();
	while (acknowledged < messages) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll_fd, events, 64, 30000);
		if (n <= 0)
			die("no answer within 30 s");
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if ((events[i].events & EPOLLOUT) && c->body_at != SIZE_MAX)
				send_body(c);
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				on_input(c);
		}
	}
	double seconds = (double)(now_us() - start) / 1e6;
	qsort(times, (size_t)messages, sizeof(*times), compare);
	printf("{\"messages\": %ld, \"seconds\": %.3f, \"per_second\": %.0f, \"p50_us\": %u, \"p99_us\": %u}\n", messages, seconds,
	       (double)messages / seconds, times[messages / 2], times[messages * 99 / 100]);
	return 0;
}
