/* net between queue, control, mx, keys and master, and another server that says anything: it listens where every SEND goes. Name servers
 * there are none. */
#include "role/role_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { PEERS = 4, ANSWER_MS = 5 };

static int listener = -1, peers[PEERS] = { -1, -1, -1, -1 };

static const char *const words[] = { "[127.0.0.1]", "[127.0.0.2]", "[IPv6:::1]", "example.org", "[127.0.0.1", "a..b", NULL };

static const char *const replies[] = {
	"220 x\r\n", "250 ok\r\n", "250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
	"250-x\r\n250-SIZE 10\r\n250-LIMITS RCPTMAX=1 MAILMAX=2\r\n250 REQUIRETLS\r\n", "250-x\r\n250 STARTTLS\r\n", "250-x\r\n250 AUTH PLAIN LOGIN\r\n",
	"354 go\r\n", "421 bye\r\n", "451 later\r\n", "452 4.5.3 too many\r\n", "500 what?\r\n", "502 what?\r\n", "535 5.7.8 no\r\n", "550 5.1.1 no\r\n", "554 5.7.1 no\r\n",
	"334 VXNlcm5hbWU6\r\n", "235 2.7.0 ok\r\n", "220 x\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued\r\n", "250 2.1.5 ok\r\n250 2.1.5 ok\r\n",
};

static void prepare(const char *dir)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof here;
	FILE *conf;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert(bind(listener, (struct sockaddr *)&here, n) == 0 && listen(listener, 100) == 0);
	assert(getsockname(listener, (struct sockaddr *)&here, &n) == 0);
	conf = fopen(arena_printf(&a, "%s/facteur.conf", dir).p, "w");
	assert(conf != NULL);
	fprintf(conf, "bind = 127.0.0.9\ndns_server = 127.0.0.1@9\ndns_trust_anchor = none\nca_file = /dev/null\nsmtp_port_out = %d\n", ntohs(here.sin_port));
	assert(fclose(conf) == 0);
}

static void hang_up(int *peer)
{
	const struct linger at_once = { 1, 0 };

	if (*peer >= 0)
		setsockopt(*peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);  /* no port waits for late segments */
	fd_close(peer);
	*peer = -1;
}

static void reset(UNUSED const char *dir)
{
	int fd;

	for (size_t i = 0; i < PEERS; i++)
		hang_up(&peers[i]);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		hang_up(&fd);
}

static void await(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	(void)!poll(&p, 1, ANSWER_MS);
}

/* The server's turn: takes who has come, and says something to one of them, or hangs up. */
static void say(struct fuzz_world *w, UNUSED struct buf *b)
{
	CLEANUP(buf_free) struct buf room = BUF(FUZZ_BODY_MAX);
	uint8_t what = get_u8(&w->in);
	int *peer = &peers[get_u8(&w->in) % PEERS];

	if (peers[0] < 0)
		await(listener);
	for (size_t i = 0; i < PEERS; i++)
		if (peers[i] < 0)
			peers[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	fuzz_drain(peers, PEERS);
	struct str said = what < 0xf0 ? str_of(replies[what % COUNT_OF(replies)]) : fuzz_string(&w->in, &room);
	if (what == 0xff)
		hang_up(peer);
	else if (send(*peer, said.p, said.n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		await(*peer);
}

#define NO_ROUTE "=0=0=0=0" "=0=0" "=0" "=0" "=0=0=0=0"
#define ROUTE "{w}2b%4s"
#define REST "ss" "s%3%2sb" "88%2b%9%2" "s"
#define SEND_TO(destination, route) "=0" "888" destination route REST

static const struct fuzz_row rows[] = {
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vD" },
	/* a body of two bytes, in it */
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_SEND, SEND_TO("{w}", NO_ROUTE) "=2=0=0=0=0=0=0=0" "=1=0=0=0ss1" "=0" "=2=0=0=0=x=y" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_SEND, SEND_TO("{w}", ROUTE) "=2=0=0=0=0=0=0=0" "(ss1)" "=0" "=2=0=0=0=x=y" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_SEND, SEND_TO("{w}", NO_ROUTE) "8(ss1)=0s" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_SEND, SEND_TO("{w}", NO_ROUTE) "=0=0=0=0=0=0=0=0" "=1=0=0=0ss1" "=1F" },
	{ FUZZ_SEND, ROLE_QUEUE, REQUEST_SEND, "r" },
	{ FUZZ_SEND, ROLE_QUEUE, NOTICE_SENT, "88" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_PROBE, SEND_TO("{w}", ROUTE) "=2=0=0=0=0=0=0=0" "=1=0=0=0ss1" "=0" "=2=0=0=0=x=y" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUESTION, "{w}2" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_QUESTION, "r" },
	{ FUZZ_SEND, ROLE_MX, REQUEST_QUESTION, "s2" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_FETCH, "r" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_ROUTE_PASSWORD, "s" },
	{ FUZZ_ANSWER, ROLE_KEYS, REQUEST_ROUTE_PASSWORD, "r" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_STS_POLICIES, "8(s)" },
	{ FUZZ_ANSWER, ROLE_CONTROL, REQUEST_STS_POLICIES, "r" },
	{ FUZZ_SAY, ROLE_NET, 0, "X" },
	{ FUZZ_SAY, ROLE_NET, 0, "X" },
	{ FUZZ_SAY, ROLE_NET, 0, "X" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_DIRECTORY, "vM" },
	{ FUZZ_SEND, ROLE_MASTER, NOTICE_CONNECT, "14P" },
	{ FUZZ_DIE, ROLE_QUEUE, 0, NULL },
	{ FUZZ_DIE, ROLE_CONTROL, 0, NULL },
	{ FUZZ_DIE, ROLE_KEYS, 0, NULL },
	{ FUZZ_SEND, ROLE_QUEUE, NOTICE_SENDS_END, "" },
	{ FUZZ_SEND, ROLE_CONTROL, REQUEST_PROBE, "r" },
};

static const struct fuzz_role net = { .role = ROLE_NET, .rows = rows, .row_count = COUNT_OF(rows), .words = words, .prepare = prepare,
                                      .reset = reset, .hook = say, .before = "A" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return role_fuzz(&net, data, n); }
