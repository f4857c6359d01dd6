/* Channels: calls, asks, notices, descriptors, and what a misbehaving peer gets. */
#include "base/test.h"
#include "ipc/channel.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct side { struct channel *ch; int notices, attached, attached_fds; int closed; enum err last; struct buf got; };

static void on_watch(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct side *)context)->notices++; }
static void on_attach(void *context, UNUSED struct channel *ch, struct message *m)
{
	((struct side *)context)->attached++;
	((struct side *)context)->attached_fds += m->fd_count;
}
static void on_leave(void *context, struct channel *ch, struct message *m)
{
	((struct side *)context)->notices++;
	((struct side *)context)->attached_fds += m->fd_count;
	channel_reply(ch, m->call, ERR_AGAIN, m->body, NULL, 0);
}
static void on_closed(void *context, UNUSED struct channel *ch) { ((struct side *)context)->closed++; }

static const struct channel_handler cell_handlers[] = { { NOTICE_CELL_WATCHED, on_watch }, { NOTICE_CELL_ATTACH, on_attach }, { 0 } };
static const struct channel_handler master_handlers[] = { { REQUEST_LEAVE, on_leave }, { NOTICE_CHANGED, on_watch }, { 0 } };

static void make_pair(struct side *cell, struct side *master)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	*cell = (struct side){ .got = BUF(1000) };
	*master = (struct side){ .got = BUF(1000) };
	cell->ch = channel_new(fd[0], ROLE_CELL, ROLE_MASTER, cell_handlers, cell, on_closed);
	master->ch = channel_new(fd[1], ROLE_MASTER, ROLE_CELL, master_handlers, master, on_closed);
}

struct holds { struct side *side; int n[2], fd; };

static void note_hold(void *context, int fd, bool is_held)
{
	struct holds *h = context;

	h->n[is_held]++;
	h->fd = fd;
}

/* Sends something before the answer, and behind it. */
static void *answer_between(void *side)
{
	struct side *s = side;
	struct pollfd p = { channel_fd(s->ch), POLLIN, 0 };

	poll(&p, 1, 5000);
	channel_notify(s->ch, NOTICE_CELL_WATCHED, STR("\1"), NULL, 0);
	channel_receive(s->ch);
	channel_notify(s->ch, NOTICE_CELL_WATCHED, STR("\1"), NULL, 0);
	return NULL;
}

static void *serve_once(void *side)
{
	struct side *s = side;

	while (s->notices < 1) {
		struct pollfd p = { channel_fd(s->ch), POLLIN, 0 };
		poll(&p, 1, 100);
		if (channel_receive(s->ch) != ERR_OK)
			break;
	}
	return NULL;
}

/* Whoever polls as well is held off while a thread waits, and what is not for that thread is there afterwards. */
TEST(a_waiter_holds_the_others_off)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct side cell, master;
	struct holds holds = { .fd = -1 };
	struct message answer;
	pthread_t t;

	make_pair(&cell, &master);
	channel_on_wait(cell.ch, note_hold, &holds);
	pthread_create(&t, NULL, answer_between, &master);
	assert_int_equal(channel_call(cell.ch, REQUEST_LEAVE, STR("x"), NULL, 0, 5000, &a, &answer), ERR_AGAIN);
	pthread_join(t, NULL);
	assert_true(holds.n[true] > 0 && holds.n[true] == holds.n[false]);
	assert_int_equal(holds.fd, channel_fd(cell.ch));
	while (cell.notices < 2)
		assert_int_equal(channel_receive(cell.ch), ERR_OK);
	channel_free(cell.ch);
	channel_free(master.ch);
}

TEST(call_waits_for_its_answer)
{
	struct side cell, master;
	struct message answer;
	pthread_t t;
	CLEANUP(arena_free) struct arena a = { 0 };

	make_pair(&cell, &master);
	channel_notify(master.ch, NOTICE_CELL_WATCHED, STR("\1"), NULL, 0);  /* arrives first, must not be run by the waiting caller */
	pthread_create(&t, NULL, serve_once, &master);
	int some_fd = dup(2);
	EXPECT_ERR(channel_call(cell.ch, REQUEST_LEAVE, STR("12345678"), &some_fd, 1, 2000, &a, &answer), ERR_AGAIN);
	EXPECT_STR(answer.body, "12345678");
	EXPECT_INT(answer.fd_count, 0);
	EXPECT_INT(cell.notices, 0);
	struct pollfd p = { channel_wake_fd(cell.ch), POLLIN, 0 };
	EXPECT_INT(poll(&p, 1, 0), 1);  /* the loop is told that the inbox has something */
	EXPECT_OK(channel_receive(cell.ch));
	EXPECT_INT(cell.notices, 1);
	close(some_fd);
	pthread_join(t, NULL);
	EXPECT_INT(master.attached_fds, 1);
	channel_free(cell.ch);
	channel_free(master.ch);
}

static void ask_done(void *context, struct message *answer)
{
	struct side *s = context;

	s->last = answer->status;
	buf_add(&s->got, answer->body);
}

static uint32_t noted_call;
static void note_call(UNUSED void *context, UNUSED struct channel *ch, struct message *m) { noted_call = m->call; }

/* Whoever answers late, an asker that has been restarted meanwhile, meets none of the new one's calls. */
TEST(answer_to_an_earlier_life)
{
	static const struct channel_handler handlers[] = { { REQUEST_LEAVE, note_call }, { 0 } };
	struct side cell, master;
	uint32_t calls[2];

	for (int life = 0; life < 2; life++) {
		make_pair(&cell, &master);
		struct channel *answers = channel_new(dup(channel_fd(master.ch)), ROLE_MASTER, ROLE_CELL, handlers, NULL, NULL);
		EXPECT_OK(channel_ask(cell.ch, REQUEST_LEAVE, STR("12345678"), NULL, 0, 2000, ask_done, &cell));
		EXPECT_OK(channel_receive(answers));
		calls[life] = noted_call;
		channel_free(answers);
		channel_free(cell.ch);
		buf_free(&cell.got);
		channel_free(master.ch);
	}
	EXPECT(calls[0] != 0 && calls[0] != calls[1]);
}

struct line { int next_fd; int runs; bool is_current[3]; };

/* The first one is still being handled when the channel gets a new socket. */
static void note_socket(void *context, struct channel *ch, struct message *m)
{
	struct line *l = context;

	if (l->runs == 0)
		channel_replace(ch, l->next_fd);
	if (l->runs < 3)
		l->is_current[l->runs] = channel_is_current(ch, m);
	l->runs++;
}

/* What came over a socket that is gone is handled, and can be told from what comes over the one that is there. */
TEST(what_came_before_a_new_socket_is_known)
{
	static const struct channel_handler handlers[] = { { NOTICE_CELL_WATCHED, note_socket }, { 0 } };
	struct line l = { 0 };
	int pair[2][2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair[i]), 0);
	l.next_fd = pair[1][0];
	struct channel *cell = channel_new(pair[0][0], ROLE_CELL, ROLE_MASTER, handlers, &l, NULL);
	struct channel *master = channel_new(pair[0][1], ROLE_MASTER, ROLE_CELL, master_handlers, NULL, NULL);
	for (int i = 0; i < 2; i++)
		EXPECT_OK(channel_notify(master, NOTICE_CELL_WATCHED, STR("\1"), NULL, 0));
	EXPECT_OK(channel_receive(cell));
	EXPECT_INT(l.runs, 2);
	channel_replace(master, pair[1][1]);
	EXPECT_OK(channel_notify(master, NOTICE_CELL_WATCHED, STR("\1"), NULL, 0));
	EXPECT_OK(channel_receive(cell));
	EXPECT_INT(l.runs, 3);
	EXPECT(!l.is_current[0] && !l.is_current[1] && l.is_current[2]);
	channel_free(cell);
	channel_free(master);
}

TEST(ask_ends_once_whatever_happens)
{
	struct side cell, master;

	make_pair(&cell, &master);
	channel_ask(cell.ch, REQUEST_LEAVE, STR("one"), NULL, 0, 1000, ask_done, &cell);
	channel_receive(master.ch);
	channel_receive(cell.ch);
	EXPECT_ERR(cell.last, ERR_AGAIN);
	EXPECT_STR(buf_str(&cell.got), "one");
	channel_ask(cell.ch, REQUEST_LEAVE, STR("two"), NULL, 0, 0, ask_done, &cell);
	channel_expire(cell.ch, INT64_MAX);
	channel_receive(cell.ch);
	EXPECT_ERR(cell.last, ERR_TIMEOUT);
	channel_ask(cell.ch, REQUEST_LEAVE, STR("three"), NULL, 0, 1000, ask_done, &cell);
	channel_free(master.ch);  /* the peer dies without an answer */
	EXPECT_ERR(channel_receive(cell.ch), ERR_CLOSED);
	EXPECT_ERR(cell.last, ERR_UNAVAILABLE);
	EXPECT_INT(cell.closed, 1);
	channel_ask(cell.ch, REQUEST_LEAVE, STR("four"), NULL, 0, 1000, ask_done, &cell);
	cell.last = ERR_OK;
	channel_receive(cell.ch);
	EXPECT_ERR(cell.last, ERR_UNAVAILABLE);
	channel_free(cell.ch);
	buf_free(&cell.got);
}

enum { CALLS = 200 };

static void *serve_always(void *side)
{
	struct side *s = side;

	for (;;) {
		struct pollfd p = { channel_fd(s->ch), POLLIN, 0 };
		poll(&p, 1, -1);
		if (channel_receive(s->ch) != ERR_OK)
			return NULL;
	}
}

static void *call_often(void *side)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct side *s = side;
	struct message answer;

	for (int i = 0; i < CALLS; i++)
		if (channel_call(s->ch, REQUEST_LEAVE, STR("12345678"), NULL, 0, 20000, &a, &answer) != ERR_AGAIN)
			s->last = ERR_IO;
	channel_notify(s->ch, NOTICE_CHANGED, STR(""), NULL, 0);
	__atomic_store_n(&s->closed, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* A pool's thread polls the same socket as the caller. On one processor it may run first, and must not keep the caller from running. */
TEST(who_receives_beside_a_caller_does_not_spin)
{
	struct side cell, master;
	pthread_t serves, calls;
	cpu_set_t before, one;
	int rounds = 0;

	make_pair(&cell, &master);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &before))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	pthread_create(&serves, NULL, serve_always, &master);
	pthread_create(&calls, NULL, call_often, &cell);
	while (!__atomic_load_n(&cell.closed, __ATOMIC_ACQUIRE)) {
		struct pollfd p = { channel_fd(cell.ch), POLLIN, 0 };
		if (poll(&p, 1, 10) > 0) {
			rounds++;
			EXPECT_OK(channel_receive(cell.ch));
		}
	}
	EXPECT_OK(cell.last);
	EXPECT(rounds <= CALLS * 8);  /* a few for each answer; one that spins makes hundreds */
	pthread_join(calls, NULL);
	channel_free(cell.ch);
	pthread_join(serves, NULL);
	channel_free(master.ch);
	sched_setaffinity(0, sizeof(before), &before);
}

TEST(misbehaviour_closes_the_channel)
{
	static const struct { uint16_t type; size_t size; } cases[] = {
		{ 9999, 1 },                  /* no such message */
		{ NOTICE_STOP, 0 },           /* only master may say so */
		{ NOTICE_CHANGED, 65 },       /* larger than its row allows */
		{ REQUEST_ACCOUNT_INFO, 4 },  /* for another role */
		{ REQUEST_LEAVE, 4 },         /* a request sent as a notice */
	};
	static char bytes[100];
	EACH(cases, c) {
		struct side cell, master;
		make_pair(&cell, &master);
		channel_notify(cell.ch, c->type, str_make(bytes, c->size), NULL, 0);
		EXPECT_ERR(channel_receive(master.ch), ERR_CLOSED);
		EXPECT_INT(master.closed, 1);
		EXPECT_INT(master.notices, 0);
		EXPECT_ERR(channel_receive(cell.ch), ERR_CLOSED);
		channel_free(cell.ch);
		channel_free(master.ch);
	}
}

TEST(unsent_messages_wait_in_order)
{
	struct side cell, master;

	make_pair(&cell, &master);
	for (int i = 0; i < 3000; i++)
		EXPECT_OK(channel_notify(cell.ch, NOTICE_CHANGED, STR("0123456789abcdef"), NULL, 0));
	for (int i = 0; i < 3000 && master.notices < 3000; i++) {
		channel_receive(master.ch);
		channel_receive(cell.ch);
	}
	EXPECT_INT(master.notices, 3000);
	EXPECT(!channel_wants_write(cell.ch));
	channel_free(cell.ch);
	channel_free(master.ch);
}

/* How often this stands on the heap, in what is given back, too. */
static size_t times_on_heap(const char *secret)
{
	FILE *maps = fopen("/proc/self/maps", "re"), *memory = fopen("/proc/self/mem", "re");
	char line[500], piece[4096];
	unsigned long from = 0, to = 0;
	size_t times = 0, n = strlen(secret);

	assert_non_null(maps);
	assert_non_null(memory);
	setvbuf(memory, NULL, _IONBF, 0);
	while (fgets(line, sizeof line, maps) != NULL)
		if (strstr(line, "[heap]") != NULL)
			EXPECT_INT(sscanf(line, "%lx-%lx", &from, &to), 2);  /* NOLINT(cert-err34-c): the kernel wrote it */
	for (; from < to; from += sizeof piece - n) {
		ssize_t got = pread(fileno(memory), piece, sizeof piece, (off_t)from);
		for (ssize_t i = 0; i + (ssize_t)n <= got; i++)
			times += memcmp(piece + i, secret, n) == 0;
	}
	fclose(maps);
	fclose(memory);
	return times;
}

TEST(nothing_of_a_message_stays_in_memory)
{
	struct side cell, master;
	char secret[] = "tfdsfu!qbttxpse";  /* of the next letters: so this text itself is not what is looked for */

	for (char *c = secret; *c; c++)
		(*c)--;
	make_pair(&cell, &master);
	channel_ask(cell.ch, REQUEST_LEAVE, str_of(secret), NULL, 0, 5000, ask_done, &cell);
	EXPECT_OK(channel_receive(master.ch));
	EXPECT_INT(times_on_heap(secret), 0);
	EXPECT_OK(channel_receive(cell.ch));
	buf_free(&cell.got);
	EXPECT_INT(times_on_heap(secret), 0);
	channel_free(cell.ch);
	channel_free(master.ch);
}

/* A storm is nobody's fault: what finds no room for its descriptor is refused, and the channel goes on. */
TEST(descriptors_that_wait_are_limited)
{
	struct side cell, master;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), sent = 0;
	uint8_t kind = 1;

	make_pair(&cell, &master);
	while (channel_notify(master.ch, NOTICE_CELL_ATTACH, str_make(&kind, 1), &null, 1) == ERR_OK)
		sent++;
	EXPECT(sent >= 1024);
	EXPECT_ERR(channel_notify(master.ch, NOTICE_CELL_ATTACH, str_make(&kind, 1), &null, 1), ERR_LIMIT);
	EXPECT_OK(channel_notify(master.ch, NOTICE_CELL_WATCHED, str_make(&kind, 1), NULL, 0));
	EXPECT(channel_is_open(master.ch));
	while (cell.attached < sent) {
		EXPECT_OK(channel_receive(cell.ch));
		channel_flush(master.ch);
	}
	EXPECT_OK(channel_notify(master.ch, NOTICE_CELL_ATTACH, str_make(&kind, 1), &null, 1));
	EXPECT_OK(channel_receive(cell.ch));
	EXPECT_INT(cell.attached, sent + 1);
	close(null);
	channel_free(cell.ch);
	channel_free(master.ch);
}

/* The receiver has no descriptor left: the message comes without, the innocent sender keeps its channel. */
TEST(a_message_whose_descriptor_finds_no_room)
{
	struct side cell, master;
	struct rlimit old, low;
	uint8_t kind = 1;

	make_pair(&cell, &master);
	EXPECT_OK(channel_notify(master.ch, NOTICE_CELL_ATTACH, str_make(&kind, 1), (int[]){ channel_wake_fd(master.ch) }, 1));
	getrlimit(RLIMIT_NOFILE, &old);
	low = (struct rlimit){ 0, old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	EXPECT_OK(channel_receive(cell.ch));
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT_INT(cell.attached, 1);
	EXPECT_INT(cell.attached_fds, 0);
	EXPECT(channel_is_open(cell.ch));
	channel_free(cell.ch);
	channel_free(master.ch);
}

/* A datagram as no role of ours sends it. */
static void send_raw(int fd, uint16_t flags, uint32_t call, size_t n, int with)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { { 0 } };

	put_u16(&b, 0);
	put_u16(&b, flags);
	put_u32(&b, call);
	put_u32(&b, ERR_OK);
	struct iovec part = { b.p, n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room) };
	if (with < 0)
		m.msg_controllen = 0;
	control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.align), &with, sizeof(with));
	EXPECT(sendmsg(fd, &m, 0) == (ssize_t)n);
}

/* The number of the next call over this channel, whose messages come out at fd. */
static uint32_t next_call(struct side *side, int fd)
{
	char head[12];
	struct scan s = scan_of(str_make(head, sizeof(head)));

	EXPECT_OK(channel_ask(side->ch, REQUEST_LEAVE, STR(""), NULL, 0, 60000, ask_done, side));
	EXPECT_INT(recv(fd, head, sizeof(head), 0), (int)sizeof(head));
	(void)get_u32(&s);
	return get_u32(&s) + 1;
}

/* Descriptors open in this process. */
static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* What a cell that was taken over could do to queue or control: fill their table of descriptors. */
TEST(descriptors_nobody_asked_for_are_closed)
{
	static const struct { uint16_t flags; uint32_t after; size_t n; } cases[] = {  /* after the next call */
		{ 1, 0, 12 },    /* an answer with one */
		{ 0, 0, 0 },     /* nothing at all, with one */
		{ 0, 0, 5 },     /* half a header, with one */
		{ 1, 99, 12 },   /* an answer to no call: its caller may have given up */
	};

	EACH(cases, t) {
		struct side cell, master;
		int pair[2], before;
		CLEANUP(arena_free) struct arena a = { 0 };
		struct message answer;

		make_pair(&cell, &master);
		EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		channel_replace(cell.ch, fcntl(pair[0], F_DUPFD_CLOEXEC, 3));
		uint32_t call = next_call(&cell, pair[1]);
		before = open_count();
		send_raw(pair[1], t->flags, t->flags ? call + t->after : 0, t->n, 0);
		EXPECT(channel_call(cell.ch, REQUEST_LEAVE, STR(""), NULL, 0, 200, &a, &answer) != ERR_OK);
		EXPECT_INT(answer.fd_count, 0);
		channel_receive(cell.ch);
		EXPECT(open_count() <= before);
		channel_free(cell.ch);
		channel_free(master.ch);
		close(pair[0]);
		close(pair[1]);
	}
}

TEST(an_answer_that_comes_twice_counts_once)
{
	struct side cell, master;
	int pair[2];
	CLEANUP(arena_free) struct arena a = { 0 };
	struct message answer;

	make_pair(&cell, &master);
	EXPECT_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	channel_replace(cell.ch, pair[0]);
	uint32_t call = next_call(&cell, pair[1]);
	int before = open_count();
	for (int i = 0; i < 3; i++)
		send_raw(pair[1], 1, call, 12, 0);
	EXPECT_OK(channel_call(cell.ch, REQUEST_SPOOL, STR(""), NULL, 0, 1000, &a, &answer));
	EXPECT_INT(answer.fd_count, 1);
	close(answer.fds[0]);
	EXPECT_INT(open_count(), before);
	channel_free(cell.ch);
	channel_free(master.ch);
	close(pair[1]);
}

/* Who asks takes ERR_LIMIT for too much of something that stays too much, and refuses the message for ever. */
TEST(no_descriptor_is_no_limit_of_a_message)
{
	struct rlimit was, none;
	int fd = -1;

	EXPECT(getrlimit(RLIMIT_NOFILE, &was) == 0);
	none = was;
	none.rlim_cur = 3;
	EXPECT(setrlimit(RLIMIT_NOFILE, &none) == 0);
	EXPECT_ERR(memfd_make("test", STR("hello"), &fd), ERR_IO);
	EXPECT(setrlimit(RLIMIT_NOFILE, &was) == 0);
}

TEST(memfd_needs_seals)
{
	struct str got;
	int fd;

	EXPECT_OK(memfd_make("test", STR("hello"), &fd));
	EXPECT_ERR(memfd_map(fd, 4, &got), ERR_INVALID);
	EXPECT_OK(memfd_map(fd, 5, &got));
	EXPECT(str_eq(got, STR("hello")));
	memfd_unmap(got);
	close(fd);
	FILE *f = tmpfile();
	EXPECT_ERR(memfd_map(fileno(f), 100, &got), ERR_INVALID);
	fclose(f);
}
