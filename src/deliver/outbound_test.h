/* deliver/outbound_test.h -- for tests only: SENDs against servers out of a script, over real sockets in one loop. A server is a thread: for
 * each connection that comes it plays the next script. A line is what it says ("220 x"), what it waits for ("<MAIL"), a whole message
 * ("<."), reads very slowly ("~"), waits until the test lets it go on ("="), or the end ("X"). */
#ifndef FACTEUR_DELIVER_OUTBOUND_TEST_H
#define FACTEUR_DELIVER_OUTBOUND_TEST_H
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "deliver/outbound.h"
#include "queue/send.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 20000, SCRIPTS_MAX = 6 };

struct server {
	pthread_t   thread;
	int         fd;
	uint16_t    port;
	const char *scripts[SCRIPTS_MAX];   /* NULL: no more connections */
	int         connections;            /* that came */
	_Atomic bool is_waiting, goes_on;   /* "=" */
	char        seen[SCRIPTS_MAX][20000];
	struct str  from;                   /* address of the last one */
	char        from_text[PEER_TEXT_MAX];
};

static bool read_line(int fd, char *room, size_t n)
{
	size_t at = 0;

	while (at + 1 < n && (at == 0 || room[at - 1] != '\n')) {
		ssize_t got = recv(fd, room + at, n - at - 1, MSG_PEEK);
		if (got <= 0)
			break;
		char *lf = memchr(room + at, '\n', (size_t)got);
		size_t take = lf ? (size_t)(lf - room) + 1 - at : (size_t)got;
		at += (size_t)recv(fd, room + at, take, 0);
	}
	room[at] = 0;
	return at > 0 && room[at - 1] == '\n';
}

static bool play_line(struct server *s, int fd, struct str line)
{
	char said[5000], reply[1000];

	if (line.p[0] == 'X')
		return false;
	if (line.p[0] == '=') {
		s->is_waiting = true;
		while (!s->goes_on && usleep(1000) == 0)
			;
		return true;
	}
	if (line.p[0] == '~') {  /* reads slowly, to the end */
		while (usleep(1000) == 0 && recv(fd, said, sizeof(said), 0) > 0)
			;
		return false;
	}
	if (line.p[0] != '<') {
		int n = snprintf(reply, sizeof(reply), STR_FMT "\r\n", STR_ARG(line));
		return send(fd, reply, (size_t)n, MSG_NOSIGNAL) == n;
	}
	line = str_from(line, 1);
	for (;;) {
		if (!read_line(fd, said, sizeof(said)))
			return false;
		size_t seen = strlen(s->seen[s->connections]);
		snprintf(s->seen[s->connections] + seen, sizeof(s->seen[0]) - seen, "%s", said);
		bool is_dot = strcmp(said, ".\r\n") == 0;
		if (str_eq(line, STR(".")) ? is_dot : str_starts(str_of(said), line))
			return true;
	}
}

static void *serve(void *context)
{
	struct server *s = context;

	while (s->connections < SCRIPTS_MAX && s->scripts[s->connections]) {
		struct sockaddr_in from;
		socklen_t n = sizeof(from);
		int fd = accept(s->fd, (struct sockaddr *)&from, &n);
		if (fd < 0)
			return NULL;
		inet_ntop(AF_INET, &from.sin_addr, s->from_text, sizeof(s->from_text));
		s->from = str_of(s->from_text);
		struct str left = str_of(s->scripts[s->connections]), line;
		bool goes_on = true;
		while (left.n > 0 && goes_on) {
			str_cut(left, '\n', &line, &left);
			goes_on = play_line(s, fd, line);
		}
		close(fd);
		s->connections++;
	}
	return NULL;
}

struct world {
	struct loop     *loop;
	struct resolver *resolver;
	struct tls_client *tls;
	struct outbound   *outbound;
	struct channel  *queue, *net;
	struct server    server;
	struct arena     arena;
	struct send_answer answer;
	size_t           n;
	enum err         status;
	bool             is_answered;
};

static void on_send(void *context, struct channel *ch, struct message *m) { outbound_on_send(((struct world *)context)->outbound, ch, m); }
static void on_sent(void *context, UNUSED struct channel *ch, struct message *m) { outbound_on_sent(((struct world *)context)->outbound, m); }
static void on_sends_end(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { outbound_on_sends_end(((struct world *)context)->outbound); }
static const struct channel_handler handlers[] = { { REQUEST_SEND, on_send }, { NOTICE_SENT, on_sent }, { NOTICE_SENDS_END, on_sends_end }, { 0 } };
static const struct channel_handler none[] = { { 0 } };

/* One for all tests of a program: reading what the authorities are takes longer than any of them. */
static struct tls_client *usual_tls(void)
{
	static struct tls_client *tls;

	if (tls == NULL)
		tls = tls_client_new("/etc/ssl/certs/ca-certificates.crt");
	return tls;
}

static void setup_with(struct world *w, const char *const *scripts, const struct resolver_config *names)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	*w = (struct world){ .loop = loop_new() };
	EXPECT_OK(resolver_new(w->loop, names, &w->resolver));
	w->tls = usual_tls();
	w->outbound = outbound_new(w->loop, w->resolver, w->tls);
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	w->queue = channel_new(pair[0], ROLE_QUEUE, ROLE_NET, none, w, NULL);
	w->net = channel_new(pair[1], ROLE_NET, ROLE_QUEUE, handlers, w, NULL);
	loop_channel(w->loop, w->queue);
	loop_channel(w->loop, w->net);
	w->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EXPECT(bind(w->server.fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(w->server.fd, 10) == 0);
	EXPECT_INT(getsockname(w->server.fd, (struct sockaddr *)&a, &n), 0);
	w->server.port = ntohs(a.sin_port);
	for (size_t i = 0; scripts[i]; i++)
		w->server.scripts[i] = scripts[i];
	struct outbound_settings s = outbound_defaults;
	s.hostname = STR("me.test");
	s.port = w->server.port;
	outbound_configure(w->outbound, &s);
	pthread_create(&w->server.thread, NULL, serve, &w->server);
}

/* Without names. */
UNUSED static void setup(struct world *w, const char *const *scripts)
{
	setup_with(w, scripts, &(struct resolver_config){ .servers = STR("127.0.0.1@9"), .trust_anchor = STR("none") });
}

static void teardown(struct world *w)
{
	outbound_stop(w->outbound);
	for (int64_t until = clock_mono_ms() + WAIT_MS; outbound_connections(w->outbound) && clock_mono_ms() < until;)
		loop_once(w->loop, 10);
	EXPECT_INT(outbound_connections(w->outbound), 0);
	shutdown(w->server.fd, SHUT_RDWR);
	pthread_join(w->server.thread, NULL);
	close(w->server.fd);
	outbound_free(w->outbound);
	loop_forget_channel(w->loop, w->queue);
	loop_forget_channel(w->loop, w->net);
	channel_free(w->queue);
	channel_free(w->net);
	resolver_free(w->resolver);
	loop_free(w->loop);
	arena_free(&w->arena);
}

static void on_answer(void *context, struct message *m)
{
	struct world *w = context;

	w->is_answered = true;
	w->status = m->status;
	if (m->status == ERR_OK)
		EXPECT_OK(send_answer_decode(str_copy(&w->arena, m->body), w->n, &w->arena, &w->answer));
}

static struct send message_to(struct send_recipient *people, size_t n)
{
	static const char body[] = "Subject: hello\r\n\r\n.dot\r\n";

	return (struct send){ .number = 7, .log_id = 1, .seq = 1, .destination = STR("[127.0.0.1]"), .sender = STR("alice@me.test"),
	                      .body_type = ENVELOPE_7BIT, .prefix = STR("DKIM-Signature: x\r\n"), .size = sizeof(body) - 1,
	                      .body = str_make(body, sizeof(body) - 1), .fd = -1, .n = n, .recipients = people };
}

static void sent(struct world *w, uint64_t number)
{
	CLEANUP(buf_free) struct buf b = BUF(8);

	put_sent(&b, number);
	channel_notify(w->queue, NOTICE_SENT, buf_str(&b), NULL, 0);
	loop_once(w->loop, 10);
	loop_once(w->loop, 10);
}

UNUSED static void end_sends(struct world *w)
{
	channel_notify(w->queue, NOTICE_SENDS_END, STR(""), NULL, 0);
	loop_once(w->loop, 10);
	loop_once(w->loop, 10);
}

/* A message in a file, of n bytes. */
UNUSED static int file_of(size_t n)
{
	static char line[64] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz012345678";
	char name[] = "/tmp/outbound_test.XXXXXX";
	int fd = mkstemp(name);

	memcpy(line + 62, "\r\n", 2);
	EXPECT(fd >= 0 && unlink(name) == 0);
	for (size_t at = 0; at < n; at += sizeof(line))
		EXPECT_INT(write(fd, line, sizeof(line)), sizeof(line));
	return fd;
}

UNUSED static struct send message_in(int fd, size_t size, struct send_recipient *people)
{
	struct send s = message_to(people, 1);

	s.body = STR_NONE;
	s.fd = fd;
	s.size = size;
	return s;
}

static void begin_to_ask(struct world *w, const struct send *s, int64_t timeout_ms)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int memfd = -1;
	int fds[MESSAGE_FDS_MAX], n = 0;

	w->n = s->n;
	w->is_answered = false;
	EXPECT_OK(send_encode(s, &b, fds, &n, &memfd));
	EXPECT_OK(channel_ask(w->queue, REQUEST_SEND, buf_str(&b), fds, n, (int)timeout_ms, on_answer, w));
}

static void ask_and_hear(struct world *w, const struct send *s, enum err status)
{
	begin_to_ask(w, s, SEND_TIMEOUT_MS);
	for (int64_t until = clock_mono_ms() + WAIT_MS; !w->is_answered && clock_mono_ms() < until;)
		loop_once(w->loop, 10);
	EXPECT(w->is_answered);
	EXPECT_ERR(w->status, status);
}

UNUSED static void ask(struct world *w, const struct send *s) { ask_and_hear(w, s, ERR_OK); }

/* Asks while there is no room for it: no answer yet. */
UNUSED static void ask_in_vain(struct world *w, const struct send *s, int64_t timeout_ms)
{
	begin_to_ask(w, s, timeout_ms);
	for (int i = 0; i < 5; i++)
		loop_once(w->loop, 10);
	EXPECT(!w->is_answered);
}

/* Goes on until that is answered. */
UNUSED static void wait_for_answer(struct world *w)
{
	for (int64_t until = clock_mono_ms() + WAIT_MS; !w->is_answered && clock_mono_ms() < until;)
		loop_once(w->loop, 10);
	EXPECT(w->is_answered);
}

#define HELLO "220 peer\n<EHLO me.test\n250 peer\n"
#define MAIL "<MAIL FROM:<alice@me.test>\n250 ok\n"
#define RCPT "<RCPT TO:<bob@x>\n250 ok\n"
#define DATA "<DATA\n354 go\n<.\n250 2.0.0 queued as 1\n"
#endif
