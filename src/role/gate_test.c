/* The gate as a whole, with scripted neighbours: master, keys, control and cells are played by the test, clients are
 * sockets. Without TLS (its own tests are in net/); the setting plain_login_loopback lets clients log in. */
#include "auth/verify.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "directory/directory.h"
#include "directory/lookup.h"
#include "ipc/frame.h"
#include "ipc/sessions.h"
#include "ipc/tls_key.h"
#include "role/role.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCOUNT = 7, PATIENCE_MS = 30000 };

struct world {
	pthread_t         thread;
	struct role_start start;
	struct channel   *master, *keys, *control;
	const char       *dir;
	int               port;
	bool              is_ready, has_directory, keys_are_slow;
	int               attached, rendering;    /* the newest pairs from ATTACH; -1: none */
	uint32_t          grant_epoch;
	int64_t           grant_life_s;           /* of a session's login; 0: for ever */
	uint32_t          grant_token;            /* its mark; 0: of a password */
	struct issuer     issuer;                 /* of tokens, in the directory; without a name: none */
	uint32_t          slow_call;
	char              watch[200];             /* "+-+" */
	struct buf        verify_reply;
	char              rest[65536];            /* read from the client, not asked for yet */
	size_t            rest_n;
};

static void *gate_main(void *context) { return (void *)(intptr_t)role_gate(&((struct world *)context)->start); }

/* ---- neighbours */

static void on_ready(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct world *)context)->is_ready = true; }

static void on_attach(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);
	EXPECT_INT(get_u64(&s), ACCOUNT);
	int *where = get_u8(&s) == ATTACH_SESSION ? &w->attached : &w->rendering;
	fd_close(where);
	*where = m->fds[0];
	m->fds[0] = -1;
}

static void on_counts(UNUSED void *context, UNUSED struct channel *ch, UNUSED struct message *m) { }

static void on_watch(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct scan s = scan_of(m->body);
	EXPECT_INT(get_u64(&s), ACCOUNT);
	strcat(w->watch, get_bool(&s) ? "+" : "-");
}

static void on_verify(void *context, struct channel *ch, struct message *m)
{
	struct world *w = context;
	CLEANUP(buf_free) struct buf b = BUF(4096);
	struct scan s = scan_of(m->body);
	struct verify_request r;
	EXPECT(get_verify_request(&s, &r));
	bool is_right = str_eq(r.login, STR("alice")) && str_eq(r.password, STR("secret"));
	struct verify_reply out = { .outcome = is_right ? VERIFY_OK : VERIFY_WRONG, .delay_ms = is_right ? 0 : 300, .login = STR("alice@example.test") };
	if (is_right)
		out.grant = (struct grant){ .account = ACCOUNT, .rights = ~0u, .epoch = w->grant_epoch, .session = r.session, .ends_session = w->grant_life_s > 0,
		                            .token_mark = w->grant_token, .expires_s = w->grant_life_s > 0 ? clock_wall_s() + w->grant_life_s : INT64_MAX };
	put_verify_reply(&b, &out);
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), NULL, 0);
}

static void answered(void *context, struct message *m)
{
	EXPECT_OK(m->status);
	*(bool *)context = true;
}

static const struct channel_handler master_side[] = {
	{ NOTICE_READY, on_ready }, { NOTICE_ATTACH, on_attach }, { NOTICE_WATCH, on_watch },
	{ NOTICE_COUNTS, on_counts }, { 0 },
};
static const struct channel_handler keys_side[] = { { REQUEST_VERIFY, on_verify }, { 0 } };

static void pump(struct world *w)
{
	struct channel *all[] = { w->master, w->keys, w->control };
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		channel_flush(all[i]);
		channel_receive(all[i]);
	}
}

#define UNTIL(cond) do { int64_t until_ms = clock_mono_ms() + PATIENCE_MS; \
	while (!(cond) && clock_mono_ms() < until_ms) { pump(w); usleep(500); } EXPECT(cond); } while (0)

static struct channel *connect_role(struct world *w, enum role role, const struct channel_handler *handlers)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	put_u8(&b, (uint8_t)role);
	put_u32(&b, 0);
	channel_notify(w->master, NOTICE_CONNECT, buf_str(&b), &pair[1], 1);
	close(pair[1]);
	return channel_new(pair[0], role, ROLE_GATE, handlers, w, NULL);
}

static void listen_at(struct world *w, enum protocol protocol)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 100), 0);
	getsockname(fd, (struct sockaddr *)&a, &n);
	w->port = ntohs(a.sin_port);
	put_u8(&b, (uint8_t)protocol);
	put_bool(&b, false);
	put_u16(&b, (uint16_t)w->port);
	channel_notify(w->master, NOTICE_LISTEN, buf_str(&b), &fd, 1);
	close(fd);
}

static void send_directory(struct world *w, const char *timeout)
{
	CLEANUP(buf_free) struct buf bytes = BUF(1 << 20), b = BUF(16);
	struct disk_dir *dir;
	struct directory *d;
	int fd;
	EXPECT_OK(disk_dir_open(w->dir, &dir));
	EXPECT_OK(directory_open(dir, &d));
	if (!domain_exists(d, STR("example.test")))
		EXPECT_OK(domain_add(d, STR("example.test")));
	EXPECT_OK(setting_store(d, SCOPE_SERVER, STR(""), SETTING_plain_login_loopback, STR("on")));
	EXPECT_OK(setting_store(d, SCOPE_SERVER, STR(""), SETTING_login_timeout, str_of(timeout)));
	if (w->issuer.name.n > 0)
		EXPECT_OK(issuer_set(d, &w->issuer));
	EXPECT_OK(lookup_build(d, directory_version(d), &bytes));
	EXPECT_OK(memfd_make("lookup", buf_str(&bytes), &fd));
	put_u64(&b, directory_version(d));
	w->has_directory = false;
	channel_ask(w->control, REQUEST_DIRECTORY, buf_str(&b), &fd, 1, 5000, answered, &w->has_directory);
	close(fd);
	directory_close(d);
	disk_dir_close(&dir);
}

static struct world *begin(enum protocol protocol, const char *login_timeout)
{
	static struct world world;
	struct world *w = &world;
	CLEANUP(buf_free) struct buf none = BUF(1000);
	bool used = false;
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	*w = (struct world){ .attached = -1, .rendering = -1, .grant_epoch = 3, .dir = test_dir() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	w->start = (struct role_start){ .role = ROLE_GATE, .master_fd = pair[1], .dir = w->dir };
	w->master = channel_new(pair[0], ROLE_MASTER, ROLE_GATE, master_side, w, NULL);
	listen_at(w, protocol);
	w->keys = connect_role(w, ROLE_KEYS, keys_side);
	w->control = connect_role(w, ROLE_CONTROL, NULL);
	pthread_create(&w->thread, NULL, gate_main, w);
	send_directory(w, login_timeout);
	const struct tls_certificates nothing = { 0 };
	put_tls_certificates(&none, &nothing);
	channel_ask(w->keys, REQUEST_CERTIFICATES, buf_str(&none), NULL, 0, 5000, answered, &used);
	UNTIL(w->is_ready && w->has_directory && used);
	return w;
}

static void end(struct world *w)
{
	void *code;
	channel_notify(w->master, NOTICE_STOP, STR(""), NULL, 0);
	pthread_join(w->thread, &code);
	EXPECT_INT((intptr_t)code, 0);
	channel_free(w->keys);
	channel_free(w->control);
	channel_free(w->master);
	fd_close(&w->attached);
	fd_close(&w->rendering);
	test_dir_remove(w->dir);
}

/* ---- clients */

static int connect_client(struct world *w)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	w->rest_n = 0;
	return fd;
}

#include "role/line_client_test.h"
static struct str line_of(struct world *w, int fd) { return line_within(w, fd, PATIENCE_MS); }
#define EXPECT_LINE(fd, start) do { struct str ln = line_of(w, fd); if (!str_starts(ln, STR(start))) { \
	print_error("%s:%d: got '%.*s', want '%s...'\n", __FILE__, __LINE__, STR_ARG(ln), start); fail(); } } while (0)

/* ---- cells */

static struct session_open opened;   /* of the newest session; strings in opened_room */
static char opened_room[FRAME_MAX];

/* The next frame that the gate has sent on a pair, waiting. */
static enum frame cell_gets(struct world *w, int fd, char *room, struct str *bytes)
{
	enum frame type = (enum frame)0;
	enum err e;
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	while ((e = frame_receive(fd, room, &type, bytes)) == ERR_AGAIN && clock_mono_ms() < until) {
		pump(w);
		usleep(500);
	}
	return e == ERR_OK ? type : (enum frame)0;
}

static void cell_opens(struct world *w)
{
	struct str bytes;
	UNTIL(w->attached >= 0);
	EXPECT_INT(cell_gets(w, w->attached, opened_room, &bytes), FRAME_OPEN);
	struct scan s = scan_of(bytes);
	EXPECT(get_session_open(&s, &opened));
}

static void cell_says(struct world *w, enum frame type, struct str text) { EXPECT_OK(frame_send(w->attached, type, text, 0)); }

static void expect_data(struct world *w, const char *text)
{
	char room[FRAME_MAX];
	struct str bytes;
	EXPECT_INT(cell_gets(w, w->attached, room, &bytes), FRAME_DATA);
	EXPECT_STR(bytes, text);
}

static void cell_parks(struct world *w, uint64_t bytes_in, uint64_t modseq, const char *record)
{
	CLEANUP(buf_free) struct buf b = BUF(200);
	put_u64(&b, bytes_in);
	put_u64(&b, modseq);
	put_bool(&b, true);
	put_str(&b, str_of(record));
	put_str(&b, STR(""));
	cell_says(w, FRAME_PARK, buf_str(&b));
	char room[FRAME_MAX];
	struct str bytes;
	EXPECT_INT(cell_gets(w, w->attached, room, &bytes), 0);   /* agreed: the pair is closed */
	fd_close(&w->attached);
	w->attached = -1;
}

static void cell_refuses(struct world *w, enum err why, enum text sentence)
{
	frame_refuse(w->attached, why, sentence);
	fd_close(&w->attached);
	w->attached = -1;
}

static int log_in(struct world *w)
{
	int fd = connect_client(w);
	EXPECT_LINE(fd, "* OK [CAPABILITY");
	says(fd, "a1 LOGIN alice secret\r\n");
	cell_opens(w);
	cell_says(w, FRAME_DATA, STR("a1 OK logged in\r\n"));
	EXPECT_LINE(fd, "a1 OK logged in");
	return fd;
}

static void changed(struct world *w, uint64_t modseq)
{
	CLEANUP(buf_free) struct buf b = BUF(20);
	put_u64(&b, ACCOUNT);
	put_u64(&b, modseq);
	channel_notify(w->master, NOTICE_GATE_CHANGED, buf_str(&b), NULL, 0);
}

static void rendered(struct world *w, uint32_t index, enum rendered how, uint64_t modseq, const char *record, const char *text)
{
	CLEANUP(buf_free) struct buf b = BUF(500);
	put_u32(&b, index);
	put_u8(&b, (uint8_t)how);
	put_u64(&b, modseq);
	put_str(&b, str_of(record));
	put_str(&b, str_of(text));
	EXPECT_OK(frame_send(w->rendering, FRAME_RENDERED, buf_str(&b), 0));
}

/* ---- tests */

TEST(login_with_everything_in_one_packet)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = connect_client(w);

	says(fd, "a1 CAPABILITY\r\na2 LOGIN {5+}\r\nalice secret\r\na3 SELECT INBOX\r\na4 ");
	EXPECT_LINE(fd, "* OK [CAPABILITY");
	EXPECT_LINE(fd, "* CAPABILITY");
	EXPECT_LINE(fd, "a1 OK");
	cell_opens(w);
	EXPECT_INT(opened.protocol, PROTOCOL_IMAP);
	EXPECT_STR(opened.login_name, "alice");
	EXPECT_STR(opened.peer, "127.0.0.1");
	EXPECT_STR(opened.command, "a2 LOGIN");
	EXPECT_STR(opened.record, "");
	EXPECT_INT(opened.local_port, w->port);
	EXPECT_INT(opened.grant.account, ACCOUNT);
	expect_data(w, "a3 SELECT INBOX\r\na4 ");
	says(fd, "NOOP\r\n");
	cell_says(w, FRAME_DATA, STR("a2 OK in\r\n"));
	expect_data(w, "NOOP\r\n");
	EXPECT_LINE(fd, "a2 OK in");
	cell_says(w, FRAME_DATA, STR("* BYE\r\n"));
	cell_says(w, FRAME_LOGOUT, STR(""));
	EXPECT_LINE(fd, "* BYE");
	EXPECT_LINE(fd, "(end)");
	close(fd);
	end(w);
}

TEST(a_wrong_password_waits_and_the_third_closes)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = connect_client(w);

	EXPECT_LINE(fd, "* OK");
	for (int i = 0; i < 3; i++) {
		int64_t since = clock_mono_ms();
		says(fd, "b LOGIN alice wrong\r\n");
		EXPECT_LINE(fd, "b NO [AUTHENTICATIONFAILED]");
		EXPECT(clock_mono_ms() - since >= 290);
	}
	EXPECT_LINE(fd, "* BYE");
	EXPECT_LINE(fd, "(end)");
	close(fd);
	end(w);
}

TEST(refused_then_tried_again)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = connect_client(w);

	EXPECT_LINE(fd, "* OK");
	says(fd, "c1 LOGIN alice secret\r\nc2 NOOP\r\n");
	cell_opens(w);
	cell_refuses(w, ERR_UNAVAILABLE, TEXT_CELL_NO_ROOM);
	EXPECT_LINE(fd, "c1 NO [UNAVAILABLE] too many mailboxes are in use");
	EXPECT_LINE(fd, "c2 OK");      /* what came behind the login was not lost */
	says(fd, "c3 LOGIN alice secret\r\n");
	cell_opens(w);
	fd_close(&w->attached);        /* the cell died before it said anything */
	w->attached = -1;
	EXPECT_LINE(fd, "c3 NO [UNAVAILABLE]");
	says(fd, "f LANGUAGE fr\r\n");
	EXPECT_LINE(fd, "* LANGUAGE (fr)");
	EXPECT_LINE(fd, "f OK");
	says(fd, "f LOGIN alice secret\r\n");
	cell_opens(w);
	cell_refuses(w, ERR_UNAVAILABLE, TEXT_CELL_DISK_FULL);
	EXPECT_LINE(fd, "f NO [UNAVAILABLE] le disque du serveur est plein");
	says(fd, "f LOGIN alice secret\r\n");
	cell_opens(w);
	cell_says(w, FRAME_REFUSED, STR("\014no"));   /* a cell that was taken over */
	fd_close(&w->attached);
	w->attached = -1;
	EXPECT_LINE(fd, "f NO [UNAVAILABLE] votre boîte a dû être fermée");
	says(fd, "c4 LOGIN alice secret\r\n");
	cell_opens(w);
	cell_says(w, FRAME_DATA, STR("c4 OK in\r\n"));
	EXPECT_LINE(fd, "c4 OK in");
	close(fd);
	end(w);
}

TEST(a_cell_that_dies_is_not_the_end_of_words)
{
	static const struct { enum protocol protocol; const char *login[3], *bye; } cases[] = {
		{ PROTOCOL_IMAP, { "a LOGIN alice secret\r\n" }, "* BYE" },
		{ PROTOCOL_POP3, { "USER alice\r\n", "PASS secret\r\n" }, "-ERR" },
		{ PROTOCOL_SUBMISSION, { "EHLO me\r\n", "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n" }, "421" },
	};
	EACH(cases, c) {
		struct world *w = begin(c->protocol, "60s");
		int fd = connect_client(w);
		line_of(w, fd);
		for (int i = 0; i < 3 && c->login[i]; i++) {
			says(fd, c->login[i]);
			for (int k = 0; i == 0 && k < 20 && c->login[1]; k++)
				if (!str_starts(line_of(w, fd), STR("250-")))
					break;
		}
		cell_opens(w);
		EXPECT_INT(opened.protocol, c->protocol);
		cell_says(w, FRAME_DATA, STR("in\r\n"));
		EXPECT_LINE(fd, "in");
		fd_close(&w->attached);
		w->attached = -1;
		EXPECT(str_starts(line_of(w, fd), str_of(c->bye)));
		EXPECT_LINE(fd, "(end)");
		close(fd);
		/* in the middle of a line a goodbye would be mistaken for data */
		if (c->protocol == PROTOCOL_IMAP) {
			fd = log_in(w);
			cell_says(w, FRAME_DATA, STR("* 1 FETCH (BODY[] {100}\r\nSubject"));
			EXPECT_LINE(fd, "* 1 FETCH");
			fd_close(&w->attached);
			w->attached = -1;
			EXPECT_LINE(fd, "(end)");
			EXPECT_INT(w->rest_n, 7);
			close(fd);
		}
		end(w);
	}
}

TEST(parked_told_and_woken)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = log_in(w);
	char room[FRAME_MAX];
	struct str bytes;

	says(fd, "a2 IDLE\r\n");
	expect_data(w, "a2 IDLE\r\n");
	cell_says(w, FRAME_DATA, STR("+ idling\r\n"));
	EXPECT_LINE(fd, "+ idling");
	cell_parks(w, 9, 20, "state one");
	UNTIL(strcmp(w->watch, "+") == 0);
	changed(w, 21);
	UNTIL(w->rendering >= 0);
	EXPECT_INT(cell_gets(w, w->rendering, room, &bytes), FRAME_STATE);
	struct scan s = scan_of(bytes);
	uint32_t index = get_u32(&s);
	struct grant g;
	get_grant(&s, &g);
	EXPECT_INT(g.account, ACCOUNT);
	EXPECT_INT(get_u8(&s), PROTOCOL_IMAP);
	EXPECT_STR(get_str(&s, 100), "state one");
	rendered(w, index, RENDERED_KEEP, 21, "state two", "* 5 EXISTS\r\n");
	EXPECT_LINE(fd, "* 5 EXISTS");
	says(fd, "DONE\r\n");
	cell_opens(w);
	EXPECT_STR(opened.record, "state two");
	EXPECT_STR(opened.login_name, "alice");
	expect_data(w, "DONE\r\n");
	cell_says(w, FRAME_DATA, STR("a2 OK\r\n"));
	EXPECT_LINE(fd, "a2 OK");
	changed(w, 30);                    /* while it is attached its cell tells it; but … */
	usleep(20000);
	cell_parks(w, 6, 29, "state three");   /* … this record was written before */
	fd_close(&w->rendering);
	w->rendering = -1;
	UNTIL(w->rendering >= 0);
	EXPECT_INT(cell_gets(w, w->rendering, room, &bytes), FRAME_STATE);
	rendered(w, 0, RENDERED_ATTACH, 0, "", "");
	cell_opens(w);                     /* without a byte of the client */
	EXPECT_STR(opened.record, "state three");
	close(fd);
	fd_close(&w->attached);
	w->attached = -1;
	UNTIL(strcmp(w->watch, "+-") == 0);
	end(w);
}

/* The index of the next STATE of the running render; -1: none is asked for within ms. */
static int asked_within(struct world *w, int ms)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	int64_t until = clock_mono_ms() + ms;
	while (clock_mono_ms() < until) {
		pump(w);
		if (w->rendering >= 0 && frame_receive(w->rendering, room, &type, &bytes) == ERR_OK) {
			struct scan s = scan_of(bytes);
			EXPECT_INT(type, FRAME_STATE);
			return (int)get_u32(&s);
		}
		usleep(200);
	}
	return -1;
}

/* Whoever does not read is asked for no more; when it reads again it gets all of it, in order, once. */
TEST(news_for_one_who_does_not_read)
{
	enum { MOST = 2000, LINE = 10000 };
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = log_in(w), small = 65536, last = 0;
	static char news[LINE + 1];

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	cell_parks(w, 0, 1, "r");
	for (int i = 1; i < MOST; i++) {
		changed(w, 1 + (uint64_t)i);
		int index = asked_within(w, 300);
		if (index < 0)
			break;
		memset(news, '.', LINE);
		snprintf(news, 20, "* %d EXISTS", i);
		memcpy(news + LINE - 2, "\r\n", 2);
		CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
		put_u32(&b, (uint32_t)index);
		put_u8(&b, RENDERED_KEEP);
		put_u64(&b, 1 + (uint64_t)i);
		put_str(&b, STR("r"));
		put_str(&b, str_make(news, LINE));
		EXPECT_OK(frame_send(w->rendering, FRAME_RENDERED, buf_str(&b), 0));
		last = i;
	}
	EXPECT(last > 1 && last < MOST - 1);
	clock_mono_advance(60000);   /* that is not too long yet */
	for (int i = 1; i <= last; i++) {
		char want[20];
		snprintf(want, sizeof(want), "* %d EXISTS", i);
		EXPECT(strncmp(line_of(w, fd).p, want, strlen(want)) == 0);
	}
	int index = asked_within(w, PATIENCE_MS);   /* what changed meanwhile */
	EXPECT(index >= 0);
	rendered(w, (uint32_t)index, RENDERED_KEEP, 2 + (uint64_t)last, "r", "* 0 EXISTS\r\n");
	EXPECT_LINE(fd, "* 0 EXISTS");
	says(fd, "DONE\r\n");
	cell_opens(w);
	expect_data(w, "DONE\r\n");
	close(fd);
	end(w);
}

TEST(an_old_grant_ends_everywhere)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	CLEANUP(buf_free) struct buf b = BUF(20);
	int parked = log_in(w);

	cell_parks(w, 0, 1, "r");
	w->attached = -1;
	int live = log_in(w);
	w->grant_epoch = 4;
	fd_close(&w->attached);   /* keeps the live one's pair: only the number is reused below */
	w->attached = -1;
	EXPECT_LINE(live, "* BYE");
	close(live);
	live = log_in(w);
	int newer_pair = w->attached;
	put_u64(&b, ACCOUNT);
	put_u32(&b, 4);
	channel_notify(w->master, NOTICE_GATE_EPOCH, buf_str(&b), NULL, 0);
	w->rest_n = 0;
	EXPECT_LINE(parked, "* BYE your login was ended");
	EXPECT_LINE(parked, "(end)");
	cell_says(w, FRAME_DATA, STR("* 1 EXISTS\r\n"));   /* the one with a newer grant stays */
	EXPECT_LINE(live, "* 1 EXISTS");
	EXPECT_INT(newer_pair, w->attached);
	buf_reset(&b);
	put_u64(&b, ACCOUNT);
	put_u32(&b, 5);
	channel_notify(w->master, NOTICE_GATE_EPOCH, buf_str(&b), NULL, 0);
	EXPECT_LINE(live, "* BYE your login was ended");
	EXPECT_LINE(live, "(end)");
	close(parked);
	close(live);
	end(w);
}

/* Of a token, for one: the session that it began ends, whether it waits or is busy. */
TEST(a_login_for_some_time_ends_with_it)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");

	for (int parks = 0; parks < 2; parks++) {
		w->grant_life_s = 1000;
		int fd = log_in(w);
		if (parks)
			cell_parks(w, 0, 1, "r");
		clock_mono_advance(980 * 1000);
		EXPECT(str_eq(line_within(w, fd, 300), STR("(quiet)")));
		clock_mono_advance(21 * 1000);
		EXPECT_LINE(fd, "* BYE your login was ended");
		EXPECT_LINE(fd, "(end)");
		close(fd);
		fd_close(&w->attached);
		w->attached = -1;
	}
	end(w);
}

TEST(a_token_that_is_not_believed_any_more_ends_its_sessions)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	struct issuer_key keys[] = { { STR("k1"), STR("DER") }, { STR("k2"), STR("other DER") } };

	w->issuer = (struct issuer){ .name = STR("https://id.test"), .audience = STR("mail"), .claim = STR("email"), .domain = STR(""), .keys = keys, .key_count = 2 };
	send_directory(w, "60s");
	UNTIL(w->has_directory);
	w->grant_token = issuer_mark(&w->issuer, &keys[0]);
	int parked = log_in(w), live, other;
	cell_parks(w, 0, 1, "r");
	w->attached = -1;
	live = log_in(w);
	w->attached = -1;
	w->grant_token = issuer_mark(&w->issuer, &keys[1]);
	other = log_in(w);
	w->issuer.keys = &keys[1];   /* the first key is gone */
	w->issuer.key_count = 1;
	send_directory(w, "60s");
	UNTIL(w->has_directory);
	w->rest_n = 0;
	EXPECT_LINE(parked, "* BYE your login was ended");
	EXPECT_LINE(parked, "(end)");
	EXPECT_LINE(live, "* BYE your login was ended");
	EXPECT_LINE(live, "(end)");
	cell_says(w, FRAME_DATA, STR("* 1 EXISTS\r\n"));
	EXPECT_LINE(other, "* 1 EXISTS");
	/* keys may know another directory for a moment: such a session is looked at once more */
	w->attached = -1;
	w->grant_token = issuer_mark(&w->issuer, &keys[0]);
	live = log_in(w);
	EXPECT(str_eq(line_within(w, live, 100), STR("(quiet)")));
	clock_mono_advance(11 * 1000);
	EXPECT_LINE(live, "* BYE your login was ended");
	close(parked);
	close(live);
	close(other);
	end(w);
}

/* An hour for IMAP, parked or not, ten minutes for POP3 (which ends without a word, RFC 1939 §3), five for
 * submission. */
TEST(silence_ends)
{
	static const struct { enum protocol protocol; const char *login[2]; int seconds; bool parks; const char *last; } cases[] = {
		{ PROTOCOL_IMAP, { "a LOGIN alice secret\r\n" }, 3600, true, "* BYE nothing was heard" },
		{ PROTOCOL_IMAP, { "a LOGIN alice secret\r\n" }, 3600, false, "* BYE nothing was heard" },
		{ PROTOCOL_POP3, { "USER alice\r\n", "PASS secret\r\n" }, 600, false, "(end)" },
		{ PROTOCOL_SUBMISSION, { "EHLO me\r\n", "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n" }, 300, false, "421" },
	};
	EACH(cases, c) {
		struct world *w = begin(c->protocol, "60s");
		int fd = connect_client(w);
		for (int i = 0; i < 2 && c->login[i]; i++)
			says(fd, c->login[i]);
		cell_opens(w);
		cell_says(w, FRAME_DATA, STR("in\r\n"));
		while (!str_eq(line_of(w, fd), STR("in")))
			continue;
		if (c->parks)
			cell_parks(w, 0, 1, "r");
		clock_mono_advance((c->seconds - 10) * 1000);
		EXPECT(str_eq(line_within(w, fd, 300), STR("(quiet)")));
		says(fd, "x");   /* starts it anew */
		if (c->parks)
			cell_opens(w);
		expect_data(w, "x");
		if (c->parks)
			cell_parks(w, 1, 1, "r");
		clock_mono_advance((c->seconds - 10) * 1000);
		EXPECT(str_eq(line_within(w, fd, 300), STR("(quiet)")));
		clock_mono_advance(11 * 1000);
		EXPECT(str_starts(line_of(w, fd), str_of(c->last)));
		EXPECT_LINE(fd, "(end)");
		close(fd);
		end(w);
	}
}

static void gives_back(struct world *w, uint64_t bytes_in, const char *rest)
{
	CLEANUP(buf_free) struct buf b = BUF(100);

	put_u64(&b, bytes_in);
	put_str(&b, str_of(rest));
	cell_says(w, FRAME_UNAUTH, buf_str(&b));
}

/* UNAUTHENTICATE: a whole minute for the next login, and no more. */
TEST(who_gives_up_a_login_has_time_for_the_next_one)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = log_in(w);

	clock_mono_advance(25 * 1000);
	says(fd, "b0 UNAUTHENTICATE\r\nb1 NOOP\r\n");
	expect_data(w, "b0 UNAUTHENTICATE\r\nb1 NOOP\r\n");
	cell_says(w, FRAME_DATA, STR("b0 OK good bye\r\n"));
	EXPECT_LINE(fd, "b0 OK good bye");
	gives_back(w, 1, "");                    /* of a cell that has not had all of it: no */
	EXPECT(str_eq(line_within(w, fd, 300), STR("(quiet)")));
	gives_back(w, 28, "b1 NOOP\r\n");       /* what came after it is for the login phase */
	EXPECT_LINE(fd, "b1 OK");
	EXPECT(str_eq(line_within(w, fd, 300), STR("(quiet)")));
	fd_close(&w->attached);
	w->attached = -1;
	clock_mono_advance(50 * 1000);
	for (int i = 0; i < 2; i++) {
		says(fd, "b NOOP\r\n");
		EXPECT_LINE(fd, "b OK");
		EXPECT(str_eq(line_within(w, fd, 300), STR("(quiet)")));
	}
	clock_mono_advance(11 * 1000);
	EXPECT_LINE(fd, "* BYE no login");
	close(fd);
	end(w);
}

/* Who reads nothing of an answer for two minutes is not there. */
TEST(deafness_ends)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int fd = log_in(w), small = 4096;
	static char page[FRAME_DATA_MAX];
	bool is_full = false;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	while (!is_full) {
		is_full = true;
		for (int i = 0; i < 300 && is_full; i++) {
			is_full = frame_send(w->attached, FRAME_DATA, str_make(page, sizeof(page)), 0) == ERR_AGAIN;
			usleep(is_full ? 1000 : 0);
		}
	}
	clock_mono_advance(100 * 1000);
	sleep(1);
	usleep(200 * 1000);
	EXPECT_ERR(frame_send(w->attached, FRAME_DATA, STR("x"), 0), ERR_AGAIN);   /* still there */
	clock_mono_advance(60 * 1000);
	int64_t until = clock_mono_ms() + 3000;
	enum err e;
	while ((e = frame_send(w->attached, FRAME_DATA, STR("x"), 0)) == ERR_AGAIN && clock_mono_ms() < until)
		usleep(1000);
	EXPECT_ERR(e, ERR_CLOSED);
	close(fd);
	end(w);
}

static void sessions_came(void *context, struct message *m)
{
	struct buf *b = context;
	EXPECT_OK(m->status);
	buf_add(b, m->body);
}

TEST(the_list_of_sessions)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf answer = BUF(60000);
	int in = log_in(w), waiting = connect_client(w);
	static const uint8_t from_start[4];
	struct session_info *list = NULL;
	size_t n = 0, cap = 0;
	uint32_t next;

	EXPECT_LINE(waiting, "* OK");
	cell_parks(w, 0, 1, "r");
	channel_ask(w->control, REQUEST_GATE_SESSIONS, str_make(from_start, 4), NULL, 0, 5000, sessions_came, &answer);
	UNTIL(answer.n > 0);
	struct scan s = scan_of(buf_str(&answer));
	EXPECT(get_sessions(&s, &a, &list, &n, &cap, &next));
	EXPECT_INT(next, 0);
	EXPECT_INT(n, 2);
	EXPECT_INT(list[0].account, ACCOUNT);
	EXPECT(list[0].is_parked && !list[0].is_tls);
	EXPECT_STR(list[0].peer, "127.0.0.1");
	EXPECT_STR(list[0].login, "alice");
	EXPECT_STR(list[0].tls, "");
	EXPECT_INT(list[0].bytes_in, 23);   /* a1 LOGIN alice secret */
	EXPECT(list[0].bytes_out > 17);
	EXPECT_STR(list[1].login, "");
	EXPECT_INT(list[1].account, 0);
	EXPECT(list[0].session != list[1].session);
	close(in);
	close(waiting);
	end(w);
}

/* Pipelined commands whose answers nobody reads cost one answer, not all of them; half a line costs nothing; both
 * end in time. */
TEST(silence_and_deafness_end)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int deaf = connect_client(w), silent = connect_client(w);
	char many[12000] = "";

	send_directory(w, "60s");
	for (int i = 0; i < 800; i++)
		strcat(many, "a CAPABILITY\r\n");
	for (int i = 0; i < 400; i++)
		if (send(deaf, many, strlen(many), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
	says(silent, "a LOGIN al");
	int other = log_in(w);   /* beside them */
	close(other);
	EXPECT_LINE(silent, "* OK");
	clock_mono_advance(40000);
	EXPECT(str_eq(line_within(w, silent, 300), STR("(quiet)")));
	clock_mono_advance(20000);
	EXPECT(str_starts(line_within(w, silent, PATIENCE_MS), STR("* BYE no login")));
	close(deaf);
	close(silent);
	end(w);
}

TEST(stop_says_goodbye)
{
	struct world *w = begin(PROTOCOL_IMAP, "60s");
	int parked = log_in(w);
	cell_parks(w, 0, 1, "r");
	int live = log_in(w), fresh = connect_client(w);
	EXPECT_LINE(fresh, "* OK");
	int64_t since = clock_mono_ms();
	end(w);
	EXPECT(clock_mono_ms() - since < 2500);
	int all[] = { parked, live, fresh };
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		char room[500] = "";
		EXPECT(recv(all[i], room, sizeof(room) - 1, 0) > 0);
		EXPECT(strstr(room, "* BYE the server is being restarted") != NULL);
		EXPECT_INT(recv(all[i], room, sizeof(room), 0), 0);
		close(all[i]);
	}
}
