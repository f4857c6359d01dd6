/* clients: thousands of mail programs in one process, for tests/load/load.py. One thread, one epoll set, OpenSSL.
 *
 *   clients PORT SCRIPT [key=value ...]      then commands on standard input, one JSON object a command on standard output
 *
 * A connection runs a script: a list of lines to send and of the beginning of the line that must come back. Whatever
 * else comes back is a failure and counted by its text: the test wants to read what the server says at a limit.
 *
 *   open N          N connections run SCRIPT to its end and stay; answers when each has succeeded or failed
 *   again N SECONDS N that are open run the cycle (fetch, idle again) once a second, for so long
 *   short N         N sessions, one after the other (`pending` at a time), each closed at its end
 *   herd SECONDS    from now on a lost connection comes back at once; answers when some were lost and all are back
 *   news N SECONDS  answers when N connections have been told EXISTS
 *   hold SECONDS    just keeps them, reading; answers how many the server closed meanwhile, and what it said last
 *   flood SECONDS   connects as fast as `pending` allows, never says a word, keeps what is accepted
 *   handshakes SECONDS  TLS handshakes, each closed when done
 *   close           all
 *
 * Keys: tls=0|1  accounts=N (userI@example.test)  first=I  passwords=FILE (one a line)  pending=N  sources=N (127.1.x.y; 0: the usual
 * one)  half=BYTES (of a ClientHello, then silence)  deaf=1 (after the script nothing is read any more)  network=N (addresses a /24) */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_ROOM = 2000, TEXTS = 24, TEXT_MAX = 160, LATENCIES = 400000, GIVE_UP_MS = 60000, BACK_OFF_MS = 500 };

struct step { const char *send, *want; };   /* %s: the user, then the password */
struct script { const char *name; const struct step *steps; };

static const struct step imap_idle[] = {
	{ NULL, "* OK" }, { "a LOGIN %s \"%s\"\r\n", "a OK" }, { "b SELECT INBOX\r\n", "b OK" }, { "c IDLE\r\n", "+ " }, { 0 },
};
static const struct step imap_short[] = {
	{ NULL, "* OK" }, { "a LOGIN %s \"%s\"\r\n", "a OK" }, { "b SELECT INBOX\r\n", "b OK" }, { "c LOGOUT\r\n", "c OK" }, { 0 },
};
static const struct step imap_cycle[] = {
	{ "DONE\r\n", "c OK" }, { "d FETCH 1:* (FLAGS)\r\n", "d OK" }, { "c IDLE\r\n", "+ " }, { 0 },
};
static const struct step imap_deaf[] = {  /* asks for far more than any buffer holds */
	{ NULL, "* OK" }, { "a LOGIN %s \"%s\"\r\n", "a OK" }, { "b SELECT INBOX\r\n", "b OK" },
	{ "c FETCH 1:* BODY.PEEK[]\r\nd FETCH 1:* BODY.PEEK[]\r\ne FETCH 1:* BODY.PEEK[]\r\n", "* " }, { 0 },
};
static const struct step pop3_short[] = {
	{ NULL, "+OK" }, { "USER %s\r\n", "+OK" }, { "PASS %.0s%s\r\n", "+OK" }, { "QUIT\r\n", "+OK" }, { 0 },
};
static const struct step smtp_short[] = { { NULL, "220" }, { "EHLO load.test\r\n", "250 " }, { "QUIT\r\n", "221" }, { 0 } };
static const struct step greeting[] = { { NULL, "" }, { 0 } };
static const struct script scripts[] = {
	{ "imap_idle", imap_idle }, { "imap_short", imap_short }, { "imap_deaf", imap_deaf }, { "pop3_short", pop3_short },
	{ "smtp_short", smtp_short }, { "greeting", greeting }, { 0 },
};

enum state { NONE, CONNECTING, HANDSHAKE, TALKING, DONE, SILENT };

struct conn {
	int        fd;
	enum state state;
	SSL       *ssl;
	const struct step *step;
	int64_t    began_us, not_before_ms;
	uint32_t   number;
	bool       is_cycling, has_news, was_open;
	size_t     n, out_n, out_at;
	char      *line;                     /* while talking */
	char       out[300];
};

static struct {
	int        epoll, port, accounts, first, pending, sources, half, network;
	bool       tls, deaf, comes_back;
	char     **passwords;                /* of user0, user1, … */
	int        password_count;
	const struct step *script;
	SSL_CTX   *ssl;
	struct conn *conns;
	uint32_t   cap;
	uint32_t   busy, open, failed, lost, news, finished, attempts;
	uint32_t   latency[LATENCIES];       /* in us */
	uint32_t   latencies;
	struct { char text[TEXT_MAX]; uint32_t times; } texts[TEXTS];
} g;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
static int64_t now_ms(void) { return now_us() / 1000; }

static void note_text(const char *text)
{
	char plain[TEXT_MAX] = "";
	for (size_t i = 0; text[i] && text[i] != '\r' && i < TEXT_MAX - 1; i++)
		plain[i] = text[i] == '"' || text[i] == '\\' || text[i] < ' ' ? '\'' : text[i];
	for (size_t i = 0; i < TEXTS; i++) {
		if (g.texts[i].times == 0 || strcmp(g.texts[i].text, plain) == 0) {
			memcpy(g.texts[i].text, plain, sizeof plain);
			g.texts[i].times++;
			return;
		}
	}
}

static void note_latency(int64_t us)
{
	if (g.latencies < LATENCIES)
		g.latency[g.latencies++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void report(const char *what, int64_t since_us)
{
	qsort(g.latency, g.latencies, sizeof(g.latency[0]), by_size);
	uint32_t n = g.latencies;
	printf("{\"did\": \"%s\", \"seconds\": %.3f, \"open\": %u, \"failed\": %u, \"lost\": %u, \"news\": %u, \"finished\": %u, \"attempts\": %u, "
	       "\"steps\": %u, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, \"said\": {",
	       what, (double)(now_us() - since_us) / 1e6, g.open, g.failed, g.lost, g.news, g.finished, g.attempts, n,
	       n ? g.latency[n / 2] / 1e3 : 0, n ? g.latency[n - 1 - n / 100] / 1e3 : 0, n ? g.latency[n - 1] / 1e3 : 0);
	for (size_t i = 0; i < TEXTS && g.texts[i].times; i++)
		printf("%s\"%s\": %u", i ? ", " : "", g.texts[i].text, g.texts[i].times);
	printf("}}\n");
	fflush(stdout);
	memset(g.texts, 0, sizeof g.texts);
	g.latencies = 0;
	g.failed = g.lost = g.finished = g.attempts = 0;
}

/* ---- one connection ---- */

static void watch(struct conn *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data = { .ptr = c } };
	if (epoll_ctl(g.epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		epoll_ctl(g.epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

static void conn_close(struct conn *c)
{
	if (c->state != NONE && c->state != DONE && c->state != SILENT)
		g.busy--;
	else if (c->state != NONE)
		g.open--;
	if (c->is_cycling && c->state == TALKING)
		g.open--;   /* it was open before the cycle */
	SSL_free(c->ssl);
	if (c->fd > 0)
		close(c->fd);
	free(c->line);
	c->ssl = NULL;
	c->line = NULL;
	c->fd = 0;
	c->state = NONE;
	c->is_cycling = false;
}

static bool is_goodbye(const char *line)
{
	return strncmp(line, "* BYE", 5) == 0 || strncmp(line, "421", 3) == 0 || strncmp(line, "-ERR", 4) == 0;
}

/* The connection ended, with what the server said last or with what went wrong. */
static void conn_failed(struct conn *c, const char *why)
{
	bool was_open = c->state == DONE || c->state == SILENT || c->is_cycling;
	note_text(c->line && is_goodbye(c->line) ? c->line : why);
	conn_close(c);
	if (was_open)
		g.lost++;
	else
		g.failed++;
	c->not_before_ms = now_ms() + (was_open ? 0 : BACK_OFF_MS / 2 + rand() % BACK_OFF_MS);
}

static bool conn_send(struct conn *c)
{
	while (c->out_at < c->out_n) {
		int n = c->ssl ? SSL_write(c->ssl, c->out + c->out_at, (int)(c->out_n - c->out_at))
		               : (int)send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
		if (n <= 0) {
			watch(c, EPOLLIN | EPOLLOUT);
			return false;
		}
		c->out_at += (size_t)n;
	}
	watch(c, EPOLLIN);
	return true;
}

/* Sends the line of the present step; at the end of the script the connection is open, or closed. */
static void conn_step(struct conn *c)
{
	char user[64];
	if (c->step->want == NULL) {
		note_latency(now_us() - c->began_us);
		g.busy--;
		g.open += !c->is_cycling;
		c->state = DONE;
		c->is_cycling = false;
		free(c->line);
		c->line = NULL;
		g.finished++;
		if (g.deaf)
			watch(c, 0);
		return;
	}
	if (c->step->send == NULL)
		return;
	int who = g.first + (int)(c->number % (uint32_t)g.accounts);
	snprintf(user, sizeof user, "user%d@example.test", who);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	c->out_n = (size_t)snprintf(c->out, sizeof c->out, c->step->send, user, who < g.password_count ? g.passwords[who] : "x");
#pragma GCC diagnostic pop
	c->out_at = 0;
	conn_send(c);
}

static void conn_line(struct conn *c)
{
	const char *want = c->step ? c->step->want : NULL;
	if (strstr(c->line, " EXISTS") && c->line[0] == '*' && c->state == DONE && !c->has_news) {
		c->has_news = true;
		g.news++;
	}
	if (c->state != TALKING)
		return;
	if (strncmp(c->line, want, strlen(want)) == 0) {
		c->step++;
		conn_step(c);
	} else if (strncmp(c->line, "* BYE", 5) == 0 && c->step->send && strstr(c->step->send, "LOGOUT")) {
		return;   /* RFC 9051 §6.1.3: it comes before the OK */
	} else if (want[0] == '2' && c->line[0] == '2') {
		return;   /* a reply of several lines */
	} else if ((want[0] != '*' && want[0] != '+' && (c->line[0] == want[0] || strncmp(c->line, "* BYE", 5) == 0)) ||
	           (want[0] == '*' && strncmp(c->line, "* BYE", 5) == 0) || c->line[0] == '-' ||
	           (want[0] == '2' && (c->line[0] == '4' || c->line[0] == '5')) || (want[0] == '+' && c->line[0] == 'c' && c->line[1] == ' ')) {
		conn_failed(c, c->line);
	}
}

/* False: it is closed. */
static bool conn_read(struct conn *c)
{
	char room[16384];
	for (;;) {
		int n = c->ssl ? SSL_read(c->ssl, room, sizeof room) : (int)recv(c->fd, room, sizeof room, 0);
		if (n <= 0 && c->ssl ? SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0) {
			conn_failed(c, c->state == DONE ? "(closed)" : "(closed before the end)");
			return false;
		}
		if (c->line == NULL) {
			c->line = calloc(1, LINE_ROOM);
			c->n = 0;
		}
		for (int i = 0; i < n; i++) {
			if (c->n < LINE_ROOM - 1)
				c->line[c->n++] = room[i];
			if (room[i] != '\n')
				continue;
			c->line[c->n] = 0;
			conn_line(c);
			if (c->state == NONE)
				return false;
			if (c->line == NULL && !(c->line = calloc(1, LINE_ROOM)))
				exit(1);
			c->n = 0;
		}
		if (c->state == DONE && c->n == 0 && !is_goodbye(c->line)) {   /* kept: it says why the connection is closed next */
			free(c->line);
			c->line = NULL;
		}
		if (g.deaf && c->state == DONE)
			return true;
	}
}

static void conn_handshake(struct conn *c)
{
	int n = SSL_connect(c->ssl);
	if (n == 1) {
		c->state = TALKING;
		watch(c, EPOLLIN);
		conn_read(c);
		return;
	}
	int e = SSL_get_error(c->ssl, n);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		watch(c, e == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT | EPOLLIN);
	else
		conn_failed(c, "(TLS handshake ended)");
	ERR_clear_error();
}

static void conn_ready(struct conn *c, uint32_t events)
{
	if (c->state == CONNECTING) {
		int why = 0;
		socklen_t n = sizeof why;
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &n);
		if (why) {
			conn_failed(c, strerror(why));
			return;
		}
		if (g.half) {   /* the beginning of a record that promises more */
			static const char hello[512] = "\x16\x03\x01\x01\xf0\x01\x00\x01\xec\x03\x03";
			if (send(c->fd, hello, (size_t)g.half, MSG_NOSIGNAL) < 0)
				note_text("(not sent)");
		}
		if (g.half || g.script == NULL) {
			g.busy--;
			g.open++;
			c->state = SILENT;
			watch(c, EPOLLIN);
			return;
		}
		c->state = g.tls ? HANDSHAKE : TALKING;
		if (g.tls) {
			c->ssl = SSL_new(g.ssl);
			SSL_set_fd(c->ssl, c->fd);
		} else {
			watch(c, EPOLLIN);
			return;
		}
	}
	if (c->state == HANDSHAKE) {
		conn_handshake(c);
		return;
	}
	if (c->out_at < c->out_n && (events & EPOLLOUT) && !conn_send(c))
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		conn_read(c);
}

static void conn_begin(struct conn *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)g.port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int on = 1;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		c->fd = 0;
		note_text(strerror(errno));
		g.failed++;
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (g.deaf) {
		int small = 4096;
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	}
	if (g.sources) {
		uint32_t i = c->number % (uint32_t)g.sources;
		uint32_t address = 0x7f010000 + (i / (uint32_t)g.network) * 256 + 1 + i % (uint32_t)g.network;
		struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { htonl(address) } };
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		bind(c->fd, (struct sockaddr *)&from, sizeof from);
	}
	c->began_us = now_us();
	c->step = g.script;
	c->n = c->out_n = c->out_at = 0;
	c->has_news = false;
	c->state = CONNECTING;
	g.busy++;
	g.attempts++;
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
		conn_failed(c, strerror(errno));
		return;
	}
	watch(c, EPOLLOUT);
}

/* ---- rounds ---- */

static void turn(int wait_ms)
{
	struct epoll_event events[256];
	int n = epoll_wait(g.epoll, events, 256, wait_ms);
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;
		if (c->state != NONE)
			conn_ready(c, events[i].events);
	}
}

static void grow(uint32_t n)
{
	if (n <= g.cap)
		return;
	if (g.cap) {
		fprintf(stderr, "the first command opens the most connections\n");
		exit(2);
	}
	g.conns = calloc(n, sizeof(struct conn));
	g.cap = n;
	for (uint32_t i = 0; i < n; i++)
		g.conns[i].number = i;
}

static void give_up(void)
{
	for (uint32_t i = 0; i < g.cap; i++)
		if (g.conns[i].state != NONE && g.conns[i].state != DONE && g.conns[i].state != SILENT)
			conn_failed(&g.conns[i], "(no answer within the time)");
}

static void do_open(uint32_t n, const char *what)
{
	int64_t since = now_us(), until = now_ms() + GIVE_UP_MS;
	uint32_t next = 0;
	grow(n);
	while ((next < n || g.busy) && now_ms() < until) {
		while (next < n && g.busy < (uint32_t)g.pending) {
			if (g.conns[next].state == NONE)
				conn_begin(&g.conns[next]);
			next++;
			until = now_ms() + GIVE_UP_MS;
		}
		turn(100);
	}
	give_up();
	report(what, since);
}

static void do_short(uint32_t n)
{
	int64_t since = now_us(), until = now_ms() + GIVE_UP_MS;
	uint32_t begun = 0, before = g.finished;
	grow((uint32_t)g.pending);
	while ((begun < n || g.busy) && now_ms() < until) {
		for (uint32_t i = 0; i < g.cap; i++) {
			struct conn *c = &g.conns[i];
			if (c->state == DONE)
				conn_close(c);
			if (c->state == NONE && begun < n) {
				c->number = begun++;
				conn_begin(c);
			}
		}
		if (g.finished != before)
			until = now_ms() + GIVE_UP_MS;
		before = g.finished;
		turn(100);
	}
	give_up();
	for (uint32_t i = 0; i < g.cap; i++)
		if (g.conns[i].state != NONE)
			conn_close(&g.conns[i]);
	report("short", since);
}

static void do_again(uint32_t n, int seconds)
{
	int64_t since = now_us(), until = now_ms() + seconds * 1000;
	for (uint32_t i = 0; i < g.cap; i++)   /* people do not all look at the same instant */
		g.conns[i].not_before_ms = now_ms() + rand() % (1 + seconds * 250);
	while (now_ms() < until) {
		int64_t now = now_ms();
		uint32_t chosen = 0;
		for (uint32_t i = 0; i < g.cap && chosen < n; i++) {
			struct conn *c = &g.conns[i * 7919u % g.cap];
			chosen += c->state != NONE;
			if (c->state != DONE || now < c->not_before_ms)
				continue;
			c->not_before_ms = now + 1000;
			c->is_cycling = true;
			c->state = TALKING;
			c->step = imap_cycle;
			c->began_us = now_us();
			g.busy++;
			conn_step(c);
		}
		turn(20);
	}
	for (until = now_ms() + GIVE_UP_MS; g.busy && now_ms() < until;)
		turn(100);
	report("again", since);
}

static void do_herd(int seconds)
{
	int64_t until = now_ms() + seconds * 1000, since = now_us();
	uint32_t all = g.open, lost = 0;
	while (now_ms() < until && (lost == 0 || g.busy || g.open < all)) {
		turn(20);
		if (lost == 0 && g.lost)
			since = now_us();
		lost = g.lost;
		for (uint32_t i = 0; lost && i < g.cap && g.busy < (uint32_t)g.pending; i++)
			if (g.conns[i].state == NONE && now_ms() >= g.conns[i].not_before_ms)
				conn_begin(&g.conns[i]);
	}
	give_up();
	report("herd", since);
}

static void do_news(uint32_t n, int seconds)
{
	int64_t since = now_us(), until = now_ms() + seconds * 1000;
	while (g.news < n && now_ms() < until)
		turn(100);
	report("news", since);
	g.news = 0;
	for (uint32_t i = 0; i < g.cap; i++)
		g.conns[i].has_news = false;
}

static void do_hold(int seconds)
{
	int64_t since = now_us(), until = now_ms() + seconds * 1000;
	while (now_ms() < until)
		turn(100);
	report("hold", since);
}

/* is_polite: each ends its handshake and goes. */
static void do_flood(int seconds, bool is_polite)
{
	int64_t since = now_us(), until = now_ms() + seconds * 1000;
	uint32_t at = 0;
	grow((uint32_t)g.pending);
	while (now_ms() < until) {
		for (uint32_t i = 0; i < g.cap; i++) {
			struct conn *c = &g.conns[at++ % g.cap];
			if (is_polite && (c->state == TALKING || c->state == DONE)) {
				note_latency(now_us() - c->began_us);
				g.finished++;
				conn_close(c);
			}
			if (c->state == NONE) {
				c->number = (uint32_t)rand();
				conn_begin(c);
			}
		}
		turn(5);
	}
	report("flood", since);
}

static void do_close(void)
{
	int64_t since = now_us();
	for (uint32_t i = 0; i < g.cap; i++)
		if (g.conns[i].state != NONE)
			conn_close(&g.conns[i]);
	report("close", since);
}

static void read_passwords(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[100];
	for (int cap = 0; f && fgets(line, sizeof line, f); g.password_count++) {
		if (g.password_count == cap)
			g.passwords = realloc(g.passwords, sizeof(char *) * (size_t)(cap = cap ? cap * 2 : 64));
		line[strcspn(line, "\n")] = 0;
		g.passwords[g.password_count] = strdup(line);
	}
	if (f)
		fclose(f);
}

static void option(const char *arg)
{
	static const struct { const char *name; int *number; } numbers[] = {
		{ "accounts=", &g.accounts }, { "first=", &g.first }, { "pending=", &g.pending }, { "sources=", &g.sources },
		{ "half=", &g.half }, { "network=", &g.network },
	};
	if (strncmp(arg, "tls=", 4) == 0)
		g.tls = arg[4] == '1';
	else if (strncmp(arg, "deaf=", 5) == 0)
		g.deaf = arg[5] == '1';
	else if (strncmp(arg, "passwords=", 10) == 0)
		read_passwords(arg + 10);
	else
		for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
			if (strncmp(arg, numbers[i].name, strlen(numbers[i].name)) == 0)
				*numbers[i].number = atoi(arg + strlen(numbers[i].name));
}

int main(int argc, char **argv)
{
	struct rlimit files;
	char line[200];

	if (argc < 3)
		return 2;
	g.port = atoi(argv[1]);
	g.accounts = 1;
	g.pending = 100;
	g.network = 200;
	for (size_t i = 0; scripts[i].name; i++)
		if (strcmp(scripts[i].name, argv[2]) == 0)
			g.script = scripts[i].steps;
	for (int i = 3; i < argc; i++)
		option(argv[i]);
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	g.epoll = epoll_create1(EPOLL_CLOEXEC);
	g.ssl = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_mode(g.ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(g.ssl, SSL_SESS_CACHE_OFF);
	while (fgets(line, sizeof line, stdin)) {
		uint32_t n = 0;
		int seconds = 0;
		char word[20] = "";
		if (sscanf(line, "%19s %u %d", word, &n, &seconds) < 1)
			continue;
		if (strcmp(word, "open") == 0)
			do_open(n, "open");
		else if (strcmp(word, "short") == 0)
			do_short(n);
		else if (strcmp(word, "again") == 0)
			do_again(n, seconds);
		else if (strcmp(word, "herd") == 0)
			do_herd((int)n);
		else if (strcmp(word, "news") == 0)
			do_news(n, seconds);
		else if (strcmp(word, "hold") == 0)
			do_hold((int)n);
		else if (strcmp(word, "flood") == 0 || strcmp(word, "handshakes") == 0)
			do_flood((int)n, word[0] == 'h');
		else if (strcmp(word, "close") == 0)
			do_close();
		else
			return 2;
	}
	return 0;
}
