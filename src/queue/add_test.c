/* ADD and SPOOL through a real channel: a small body in the request, a large one in a memfd, a spool file by its
 * number. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "queue/add.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct server {
	struct channel *ch;
	int             fd, left;
	struct buf      body;       /* of the last ADD */
	struct buf      sender;
	uint64_t        spool, size;
	int64_t         until_ms;
	uint32_t        crc;
	enum err        status, decoded;
};

static void on_add(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf answer = BUF(100);
	CLEANUP(queue_add_release) struct queue_add_in in = { 0 };
	struct server *s = context;

	s->left--;
	s->decoded = queue_add_decode(m, &a, &in);
	buf_reset(&s->body);
	buf_reset(&s->sender);
	buf_add(&s->body, in.body.bytes);
	buf_add(&s->sender, in.envelope.sender);
	s->until_ms = in.until_ms;
	s->spool = in.body.spool;
	s->size = in.body.size;
	s->crc = in.body.crc;
	queue_add_answer((struct queue_id){ 77, 5 }, &answer);
	channel_reply(ch, m->call, s->status, buf_str(&answer), NULL, 0);
}

static void on_spool(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf answer = BUF(100);
	struct server *s = context;
	int fd = memfd_create("spool", MFD_CLOEXEC);

	s->left--;
	queue_spool_answer(9, &answer);
	channel_reply(ch, m->call, s->status, s->status == ERR_OK ? buf_str(&answer) : STR_NONE, &fd, s->status == ERR_OK);
	close(fd);
}

static const struct channel_handler handlers[] = { { REQUEST_ADD, on_add }, { REQUEST_SPOOL, on_spool }, { 0 } };
static const struct channel_handler none[] = { { 0 } };

static void *serve(void *context)
{
	struct server *s = context;

	while (s->left > 0) {
		struct pollfd p = { channel_fd(s->ch), POLLIN, 0 };
		poll(&p, 1, 1000);
		if (channel_receive(s->ch) != ERR_OK)
			break;
	}
	return NULL;
}

static struct channel *start(struct server *s)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	*s = (struct server){ .body = BUF(16 << 20), .sender = BUF(1000) };
	s->ch = channel_new(fd[1], ROLE_QUEUE, ROLE_MX, handlers, s, NULL);
	return channel_new(fd[0], ROLE_MX, ROLE_QUEUE, none, NULL, NULL);
}

static void stop(struct server *s, struct channel *mx)
{
	channel_free(mx);
	channel_free(s->ch);
	buf_free(&s->body);
	buf_free(&s->sender);
}

static struct envelope letter(struct envelope_recipient *r, size_t n)
{
	return (struct envelope){ .source = ENVELOPE_MX, .sender = STR("ann@example.org"), .body = ENVELOPE_7BIT, .n = n,
		.recipients = r };
}

TEST(three_ways_for_the_bytes)
{
	CLEANUP(buf_free) struct buf large = BUF(4 << 20);
	struct envelope_recipient bob = { .address = STR("bob@example.test"), .account = 1 };
	struct envelope e = letter(&bob, 1);
	struct queue_id id;
	struct server s;
	struct channel *mx = start(&s);
	pthread_t t;

	for (int i = 0; i < 300000; i++)
		buf_add(&large, STR("0123456\r\n"));
	s.left = 4;
	pthread_create(&t, NULL, serve, &s);
	EXPECT_OK(queue_add(mx, &e, &(struct queue_body){ .bytes = STR("x\r\n") }, &id));
	EXPECT_INT(id.log_id, 77);
	EXPECT_INT(id.seq, 5);
	EXPECT_STR(buf_str(&s.body), "x\r\n");
	EXPECT(s.until_ms > clock_mono_ms() + QUEUE_ADD_TIMEOUT_MS / 2 && s.until_ms < clock_mono_ms() + QUEUE_ADD_TIMEOUT_MS);
	EXPECT_STR(buf_str(&s.sender), "ann@example.org");
	EXPECT_OK(queue_add(mx, &e, &(struct queue_body){ .bytes = buf_str(&large) }, &id));
	EXPECT(str_eq(buf_str(&s.body), buf_str(&large)));
	EXPECT_OK(queue_add(mx, &e, &(struct queue_body){ .spool = 3, .size = 100, .crc = 200 }, &id));
	EXPECT_OK(s.decoded);
	EXPECT(s.spool == 3 && s.size == 100 && s.crc == 200 && s.body.n == 0);
	s.status = ERR_AGAIN;  /* the log is full */
	EXPECT_ERR(queue_add(mx, &e, &(struct queue_body){ .bytes = STR("x") }, &id), ERR_AGAIN);
	pthread_join(t, NULL);
	stop(&s, mx);
}

TEST(many_recipients_travel_in_a_memfd_beside_a_spool_file)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct envelope_recipient *r = arena_array(&a, ENVELOPE_RECIPIENTS_MAX + 1, sizeof(*r));
	struct envelope e = letter(r, ENVELOPE_RECIPIENTS_MAX);
	struct queue_id id;
	struct server s;
	struct channel *mx = start(&s);
	pthread_t t;

	for (size_t i = 0; i <= ENVELOPE_RECIPIENTS_MAX; i++)
		r[i] = (struct envelope_recipient){ .address = STR("someone.with.a.long.name@example.test"), .account = i };
	s.left = 1;
	pthread_create(&t, NULL, serve, &s);
	EXPECT_OK(queue_add(mx, &e, &(struct queue_body){ .spool = 3, .size = 100 }, &id));
	EXPECT_OK(s.decoded);
	EXPECT_INT(s.spool, 3);
	pthread_join(t, NULL);
	e.n++;  /* refused here, nothing is sent */
	EXPECT_ERR(queue_add(mx, &e, &(struct queue_body){ .bytes = STR("x") }, &id), ERR_LIMIT);
	stop(&s, mx);
}

struct answered { enum err e; struct queue_id id; uint64_t spool; int fd, n; };

static void on_added(void *context, enum err e, struct queue_id id)
{
	struct answered *k = context;

	*k = (struct answered){ .e = e, .id = id, .n = k->n + 1 };
}

static void on_spooled(void *context, enum err e, uint64_t spool, int fd)
{
	struct answered *k = context;

	*k = (struct answered){ .e = e, .spool = spool, .fd = fd, .n = k->n + 1 };
}

TEST(asking_without_waiting)
{
	struct envelope_recipient bob = { .address = STR("bob@example.test"), .account = 1 };
	struct envelope e = letter(&bob, 1);
	struct answered k = { .fd = -1 };
	struct server s;
	struct channel *mx = start(&s);

	EXPECT_OK(queue_add_ask(mx, &e, &(struct queue_body){ .bytes = STR("x\r\n") }, on_added, &k));
	EXPECT_INT(k.n, 0);
	channel_receive(s.ch);
	channel_receive(mx);
	EXPECT(k.n == 1 && k.e == ERR_OK && k.id.seq == 5);
	EXPECT_OK(queue_spool_ask(mx, on_spooled, &k));
	channel_receive(s.ch);
	channel_receive(mx);
	EXPECT(k.n == 2 && k.e == ERR_OK && k.spool == 9 && k.fd >= 0);
	EXPECT_INT(write(k.fd, "hello", 5), 5);
	close(k.fd);
	s.status = ERR_AGAIN;
	EXPECT_OK(queue_spool_ask(mx, on_spooled, &k));
	channel_receive(s.ch);
	channel_receive(mx);
	EXPECT(k.n == 3 && k.e == ERR_AGAIN && k.fd == -1);
	EXPECT_OK(queue_add_ask(mx, &e, &(struct queue_body){ .bytes = STR("x\r\n") }, on_added, &k));
	stop(&s, mx);  /* the queue dies: nothing is known */
	EXPECT(k.n == 4 && k.e == ERR_UNAVAILABLE);
}

TEST(a_spool_file_for_a_waiting_caller)
{
	uint64_t spool = 0;
	struct server s;
	struct channel *mx = start(&s);
	pthread_t t;
	int fd = -1;

	s.left = 1;
	pthread_create(&t, NULL, serve, &s);
	EXPECT_OK(queue_spool(mx, &spool, &fd));
	EXPECT_INT(spool, 9);
	EXPECT(fd >= 0);
	close(fd);
	pthread_join(t, NULL);
	stop(&s, mx);
}

TEST(what_is_no_add_is_refused)
{
	static const struct { struct str body; int fds; } cases[] = {
		{ { "", 0 }, 0 },
		{ { "\2", 1 }, 0 },                      /* memfd, but none */
		{ { "\2", 1 }, 1 },                      /* a descriptor that is not sealed */
		{ { "\1", 1 }, 1 },                      /* a descriptor too many */
		{ { "\1\0\0\0\0\1", 6 }, 0 },            /* an empty envelope */
		{ { "\1\xff\xff\xff\xff\1x", 7 }, 0 },   /* longer than what is there */
		{ { "\3\0\0\0\0\1", 6 }, 0 },
	};
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct message m = { .body = c->body, .fd_count = c->fds };
		struct queue_add_in in;
		m.fds[0] = c->fds ? memfd_create("x", MFD_CLOEXEC) : -1;
		EXPECT_ERR(queue_add_decode(&m, &a, &in), ERR_INVALID);
		EXPECT(in.mapped.p == NULL);
		fd_close(&m.fds[0]);
	}
}

TEST(names)
{
	static const struct { const char *name; bool good; } cases[] = {
		{ "3f2a9c01-1234", true }, { "3F2A9C01-1234", true }, { "3f2a9c01-18446744073709551615", true },
		{ "3f2a9c0-1", false }, { "3f2a9c01", false }, { "3f2a9c01-", false }, { "3f2a9c01-1x", false },
		{ "3f2a9cxx-1", false },
		{ "3f2a9c01-18446744073709551616", false }, { "", false },
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	uint32_t high;
	uint64_t seq;

	EXPECT_STR(queue_name((struct queue_id){ UINT64_C(0x3f2a9c01deadbeef), 1234 }, &a), "3f2a9c01-1234");
	EXPECT_STR(queue_name((struct queue_id){ 1, 1 }, &a), "00000000-1");
	EACH(cases, c) EXPECT_INT(queue_name_parse(str_of(c->name), &high, &seq), c->good);
	EXPECT(queue_name_parse(STR("3f2a9c01-1234"), &high, &seq) && high == 0x3f2a9c01 && seq == 1234);
}
