/* Sessions of a cell, with a toy engine that echoes lines: open, park and its agreement, resume, render, refusal, end. */
#include "base/clock.h"
#include "base/test.h"
#include "net/attach.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct echo { struct session *s; int lines; bool wants_news, stays; };
static char pages[100000];
static _Atomic int newest;   /* what has changed: an echo that wants to hear says it once */

static void *echo_open(struct session *s, UNUSED void *cell)
{
	struct echo *e = ARENA_NEW(session_arena(s), struct echo);
	e->s = s;
	session_printf(s, "hello %.*s\r\n", STR_ARG(session_info(s)->login_name));
	return e;
}

static void *echo_resume(struct session *s, UNUSED void *cell, struct str record)
{
	struct echo *e = ARENA_NEW(session_arena(s), struct echo);
	uint64_t lines = 0;
	e->s = s;
	str_to_u64(record, &lines);
	e->lines = (int)lines;
	return e;
}

static enum session_next echo_input(void *state)
{
	struct echo *e = state;
	struct str line;
	static _Atomic int told;
	int now = newest;
	struct str changed = session_take_changed(e->s, session_arena(e->s));
	if (changed.n > 0)
		session_printf(e->s, "changed %.*s\r\n", STR_ARG(changed));
	if (e->wants_news && told != now) {
		told = now;
		session_printf(e->s, "news %d\r\n", now);
	}
	while (session_line(e->s, 1000, &line) == ERR_OK) {
		if (str_eq(line, STR("quit")))
			return SESSION_CLOSE;
		if (str_eq(line, STR("give up")))
			return SESSION_UNAUTH;
		for (int i = 0; i < 1000 && str_eq(line, STR("flood")); i++)
			session_printf(e->s, "%09999d\r\n", i);
		if (str_eq(line, STR("pages")))
			session_write(e->s, str_make(pages, sizeof pages));
		session_printf(e->s, "%d %.*s\r\n", ++e->lines, STR_ARG(line));
		e->stays |= str_eq(line, STR("stay"));
		if (str_eq(line, STR("idle")) || e->stays)
			return SESSION_PARK;
		e->wants_news |= str_eq(line, STR("watch"));
	}
	return e->stays ? SESSION_PARK : e->wants_news ? SESSION_WAIT_NEWS : SESSION_WAIT;
}

static bool echo_park(void *state, struct buf *record, uint64_t *modseq)
{
	struct echo *e = state;

	if (e->stays) {
		session_waits_for(e->s, 8, (uint64_t)e->lines, WAIT_ASKS_ONCE);
		return false;
	}
	*modseq = 7;
	buf_printf(record, "%d", e->lines);
	return true;
}

static void echo_close(UNUSED void *state) { }
static void echo_bye(void *state) { session_printf(((struct echo *)state)->s, "bye\r\n"); }

static enum rendered echo_render(UNUSED void *cell, struct str record, struct buf *bytes, struct buf *new_record, uint64_t *modseq)
{
	buf_printf(bytes, "news after %.*s\r\n", STR_ARG(record));
	buf_add_cstr(new_record, "99");
	*modseq = 8;
	return RENDERED_KEEP;
}

static const struct engine echo = { PROTOCOL_IMAP, echo_open, echo_resume, echo_input, echo_park, echo_close, echo_render, echo_bye };
static const struct engine *const engines[] = { &echo, NULL };

static enum err check(UNUSED void *context, const struct grant *g, UNUSED bool goes_on) { return g->epoch >= 5 ? ERR_OK : ERR_DENIED; }
static void parked(void *context, UNUSED bool wants_news) { ++*(_Atomic int *)context; }
static void told(UNUSED void *context) { }

struct fixture {
	struct pool     *pool;
	struct attached *attached;
	_Atomic int      parks;
	pthread_t        thread;
};

static void alarm_rings(void *context)
{
	struct fixture *f = context;
	int64_t next = attached_tick(f->attached, clock_mono_ms());
	if (next)
		pool_alarm(f->pool, next);
}

static void *run(void *context) { pool_run(((struct fixture *)context)->pool); return NULL; }

static void begin(struct fixture *f)
{
	const struct attach_host host = { NULL, &f->parks, engines, check, parked, told };
	f->parks = 0;
	f->pool = pool_new(4, alarm_rings, f);
	f->attached = attached_new(f->pool, &host);
	pthread_create(&f->thread, NULL, run, f);
}

static void end(struct fixture *f)
{
	pool_stop(f->pool);
	pthread_join(f->thread, NULL);
	attached_free(f->attached);
	pool_free(f->pool);
}

static int attach_with(struct fixture *f, const struct grant *grant, const char *record, enum attach kind)
{
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	if (kind == ATTACH_SESSION) {
		struct session_open o = { .grant = *grant, .protocol = PROTOCOL_IMAP, .login_name = STR("alice"), .record = str_of(record) };
		put_session_open(&b, &o);
		EXPECT_OK(frame_send(pair[0], FRAME_OPEN, buf_str(&b), 0));
	}
	attached_take(f->attached, pair[1], kind);
	return pair[0];
}

static int attach(struct fixture *f, uint32_t epoch, const char *record, enum attach kind)
{
	return attach_with(f, &(struct grant){ .account = 1, .rights = 1u << PROTOCOL_IMAP, .epoch = epoch }, record, kind);
}

/* The next frame, within 30 s; ERR_CLOSED at the end. */
static enum err next_frame(int fd, char *room, enum frame *type, struct str *bytes)
{
	struct pollfd p = { fd, POLLIN, 0 };
	poll(&p, 1, 30000);
	return frame_receive(fd, room, type, bytes);
}

static void expect_data(int fd, const char *want)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_DATA);
	EXPECT_STR(bytes, want);
}

static void expect_park(int fd, uint64_t want_bytes, bool want_news, const char *want_record)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_PARK);
	struct scan s = scan_of(bytes);
	EXPECT_INT(get_u64(&s), want_bytes);
	EXPECT_INT(get_u64(&s), 7);
	EXPECT(get_bool(&s) == want_news);
	EXPECT_STR(get_str(&s, 100), want_record);
	EXPECT_STR(get_str(&s, 100), "");
	EXPECT(get_end(&s));
}

TEST(park_is_agreed)
{
	struct fixture f;
	begin(&f);
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("one\r\nidle\r\n"), 0));
	expect_data(fd, "1 one\r\n2 idle\r\n");
	expect_park(fd, 11, true, "2");
	/* a byte was under way when it offered: the session goes on, nothing is lost */
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("three\r\n"), 0));
	expect_data(fd, "3 three\r\n");
	int64_t since = clock_mono_ms();
	expect_park(fd, 18, false, "3");  /* by itself, after 2 s of silence */
	EXPECT(clock_mono_ms() - since >= 1500);
	close(fd);  /* agreed */
	fd = attach(&f, 5, "3", ATTACH_SESSION);
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("four\r\nquit\r\n"), 0));
	expect_data(fd, "4 four\r\n");
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_LOGOUT);
	EXPECT_ERR(next_frame(fd, room, &type, &bytes), ERR_CLOSED);
	close(fd);
	EXPECT_INT(f.parks, 2);
	for (int i = 0; i < 500 && attached_count(f.attached); i++)  /* a busy machine: the parked one may not have ended yet */
		usleep(10000);
	EXPECT_INT(attached_count(f.attached), 0);
	end(&f);
}

static void expect_given_back(int fd, uint64_t want_bytes, const char *want_rest)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_UNAUTH);
	struct scan s = scan_of(bytes);
	EXPECT_INT(get_u64(&s), want_bytes);
	EXPECT_STR(get_str(&s, FRAME_MAX), want_rest);
	EXPECT(get_end(&s));
}

/* What the client sends after it gave up its login is not for this account. */
TEST(who_gives_up_gets_the_rest_back)
{
	struct fixture f;
	begin(&f);
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("one\r\ngive up\r\ntwo\r\nth"), 0));
	expect_data(fd, "1 one\r\n");
	expect_given_back(fd, 21, "two\r\nth");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("ree\r\n"), 0));  /* was under way */
	expect_given_back(fd, 26, "two\r\nthree\r\n");
	close(fd);  /* agreed */
	fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	static char much[FRAME_DATA_MAX];
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("give up\r\n"), 0));
	expect_given_back(fd, 9, "");
	EXPECT_OK(frame_send(fd, FRAME_DATA, str_make(much, sizeof(much)), 0));  /* more than a login phase takes */
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_LOGOUT);
	close(fd);
	for (int i = 0; i < 500 && attached_count(f.attached); i++)
		usleep(10000);
	EXPECT_INT(attached_count(f.attached), 0);
	end(&f);
}

TEST(who_wants_to_hear_of_changes_hears_without_a_word)
{
	struct fixture f;
	begin(&f);
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("watch\r\n"), 0));
	expect_data(fd, "1 watch\r\n");
	for (int i = 1; i <= 3; i++) {
		char want[20];
		newest = i;
		attached_changed(f.attached);
		snprintf(want, sizeof want, "news %d\r\n", i);
		expect_data(fd, want);
	}
	expect_park(fd, 7, true, "1");  /* after 2 s of silence; from here on the gate asks for it */
	newest = 4;
	attached_changed(f.attached);
	int deaf = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(deaf, "hello alice\r\n");
	attached_changed(f.attached);
	EXPECT_OK(frame_send(deaf, FRAME_DATA, STR("x\r\n"), 0));
	expect_data(deaf, "1 x\r\n");
	close(fd);
	close(deaf);
	end(&f);
}

static void expect_waits(int fd, uint64_t modseq)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;

	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_WAITS);
	struct scan s = scan_of(bytes);
	EXPECT(!get_bool(&s));
	EXPECT_INT(get_u64(&s), 8);
	EXPECT_INT(get_u64(&s), modseq);
	EXPECT_INT(get_u8(&s), WAIT_ASKS_ONCE);
	EXPECT(get_end(&s));
}

/* One that cannot be parked says for whom it waits, and hears of them, also in the middle of a line of its client. */
TEST(who_stays_hears_of_others)
{
	struct fixture f;

	begin(&f);
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("stay\r\n"), 0));
	expect_data(fd, "1 stay\r\n");
	expect_waits(fd, 1);
	EXPECT_OK(frame_send(fd, FRAME_CHANGED, STR("12345678"), 0));
	expect_data(fd, "changed 12345678\r\n");
	expect_waits(fd, 1);
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("he"), 0));
	EXPECT_OK(frame_send(fd, FRAME_CHANGED, STR("abcdefgh"), 0));
	expect_data(fd, "changed abcdefgh\r\n");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("re\r\n"), 0));
	expect_data(fd, "2 here\r\n");
	expect_waits(fd, 2);
	close(fd);
	end(&f);
}

/* From another account's cell: without a grant, with a record, and parked when it asks for it. */
TEST(a_guest_comes_without_a_grant)
{
	struct session_open o = { .protocol = PROTOCOL_IMAP, .login_name = STR("bob"), .record = STR("5") };
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	struct fixture f;
	int pair[2];

	begin(&f);
	put_session_open(&b, &o);
	for (int has_record = 1; has_record >= 0; has_record--) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
		EXPECT_OK(frame_send(pair[0], FRAME_OPEN, buf_str(&b), 0));
		attached_take_guest(f.attached, pair[1], 4711);
		if (has_record) {
			EXPECT_OK(frame_send(pair[0], FRAME_DATA, STR("one\r\n"), 0));
			expect_data(pair[0], "6 one\r\n");
			EXPECT_OK(frame_send(pair[0], FRAME_PARK, STR(""), 0));
			expect_park(pair[0], 5, false, "6");
		} else {
			char room[FRAME_MAX];
			enum frame type;
			struct str bytes;
			EXPECT_OK(next_frame(pair[0], room, &type, &bytes));
			EXPECT_INT(type, FRAME_LOGOUT);
		}
		close(pair[0]);
		o.record = STR_NONE;
		buf_reset(&b);
		put_session_open(&b, &o);
	}
	end(&f);
}

/* A large answer comes in few frames, of which the last byte stays for what follows; another account's cell has room for small ones only. */
TEST(large_frames_for_the_gate)
{
	static char room[FRAME_LARGE_MAX];
	struct fixture f;
	int guest[2];
	enum frame type;
	struct str bytes;
	size_t total = 0;

	begin(&f);
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("pages\r\n"), 0));
	static const size_t want[] = { FRAME_LARGE_DATA_MAX, sizeof pages - FRAME_LARGE_DATA_MAX - 1, 1 + sizeof "1 pages\r\n" - 1 };
	EACH(want, n) {
		struct pollfd p = { fd, POLLIN, 0 };
		poll(&p, 1, 5000);
		EXPECT_OK(frame_receive_large(fd, room, &type, &bytes));
		EXPECT_INT(type, FRAME_DATA);
		EXPECT_INT(bytes.n, *n);
	}
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, guest), 0);
	attached_take_guest(f.attached, guest[1], 4711);
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	struct session_open o = { .protocol = PROTOCOL_IMAP, .login_name = STR("bob"), .record = STR("0") };
	put_session_open(&b, &o);
	EXPECT_OK(frame_send(guest[0], FRAME_OPEN, buf_str(&b), 0));
	EXPECT_OK(frame_send(guest[0], FRAME_DATA, STR("pages\r\n"), 0));
	while (total < sizeof pages + sizeof "1 pages\r\n" - 1) {
		EXPECT_OK(next_frame(guest[0], room, &type, &bytes));
		EXPECT_INT(type, FRAME_DATA);
		total += bytes.n;
	}
	close(guest[0]);
	end(&f);
}

/* The pair of a host with small buffers for sockets: net.core.wmem_default. */
TEST(large_frames_do_not_fit)
{
	struct fixture f;
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	size_t total = 0;
	const int small = 10000;   /* the kernel doubles it */

	begin(&f);
	struct session_open o = { .grant = { .account = 1, .rights = 1u << PROTOCOL_IMAP, .epoch = 5 }, .protocol = PROTOCOL_IMAP };
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	put_session_open(&b, &o);
	EXPECT_OK(frame_send(pair[0], FRAME_OPEN, buf_str(&b), 0));
	EXPECT_OK(frame_send(pair[0], FRAME_DATA, STR("pages\r\n"), 0));
	attached_take(f.attached, pair[1], ATTACH_SESSION);
	while (total < sizeof "hello \r\n" - 1 + sizeof pages + sizeof "1 pages\r\n" - 1 && next_frame(pair[0], room, &type, &bytes) == ERR_OK) {
		EXPECT_INT(type, FRAME_DATA);
		total += bytes.n;
	}
	EXPECT_INT(total, sizeof "hello \r\n" - 1 + sizeof pages + sizeof "1 pages\r\n" - 1);
	close(pair[0]);
	end(&f);
}

static void *read_one(void *fd)
{
	static char room[FRAME_LARGE_MAX];
	enum frame type;
	struct str bytes;

	usleep(100000);   /* the other one waits by then */
	EXPECT_OK(frame_receive_large(*(int *)fd, room, &type, &bytes));
	return NULL;
}

/* Who reads slowly, but reads, is waited for: there is room for a frame long before the kernel says so. */
TEST(one_frame_read_is_room_for_one)
{
	pthread_t reader;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	while (frame_send(pair[0], FRAME_DATA, str_make(pages, FRAME_LARGE_DATA_MAX), 0) == ERR_OK)
		;
	EXPECT_ERR(frame_send(pair[0], FRAME_DATA, str_make(pages, FRAME_LARGE_DATA_MAX), 1), ERR_TIMEOUT);
	pthread_create(&reader, NULL, read_one, &pair[1]);
	EXPECT_OK(frame_send(pair[0], FRAME_DATA, str_make(pages, FRAME_LARGE_DATA_MAX), 20000));
	pthread_join(reader, NULL);
	close(pair[0]);
	close(pair[1]);
}

/* He is in the middle of something longer than half a minute: his session here goes without a word, and can go on from what it offered. */
TEST(a_guest_who_takes_his_time)
{
	struct session_open o = { .protocol = PROTOCOL_IMAP, .login_name = STR("bob"), .record = STR("5") };
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	struct fixture f;
	int pair[2];

	begin(&f);
	put_session_open(&b, &o);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	EXPECT_OK(frame_send(pair[0], FRAME_OPEN, buf_str(&b), 0));
	attached_take_guest(f.attached, pair[1], 4711);
	EXPECT_OK(frame_send(pair[0], FRAME_DATA, STR("idle\r\n"), 0));
	expect_data(pair[0], "6 idle\r\n");
	expect_park(pair[0], 6, true, "6");
	while (frame_receive(pair[0], room, &type, &bytes) == ERR_AGAIN) {
		attached_tick(f.attached, clock_mono_ms() + 31000);
		usleep(10000);
	}
	EXPECT_INT(type, FRAME_LOGOUT);
	close(pair[0]);
	end(&f);
}

/* Their cells let them write and read nothing: a thread is left for the owner. */
TEST(guests_who_do_not_read)
{
	struct session_open o = { .protocol = PROTOCOL_IMAP, .login_name = STR("bob"), .record = STR("5") };
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	struct fixture f;
	int pairs[6][2];

	begin(&f);
	put_session_open(&b, &o);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pairs[i]), 0);
		EXPECT_OK(frame_send(pairs[i][0], FRAME_OPEN, buf_str(&b), 0));
		attached_take_guest(f.attached, pairs[i][1], 4711);
		EXPECT_OK(frame_send(pairs[i][0], FRAME_DATA, STR("flood\r\n"), 0));
	}
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	close(fd);
	for (int i = 0; i < 6; i++)
		close(pairs[i][0]);
	end(&f);
}

/* More of them than the account has threads: who logs in waits some seconds, not the minute after which one of them is given up by itself. */
TEST(clients_who_do_not_read)
{
	struct fixture f;
	int fds[6];

	begin(&f);
	for (int i = 0; i < 6; i++) {
		fds[i] = attach(&f, 5, NULL, ATTACH_SESSION);
		expect_data(fds[i], "hello alice\r\n");
	}
	for (int i = 0; i < 6; i++)
		EXPECT_OK(frame_send(fds[i], FRAME_DATA, STR("flood\r\n"), 0));
	usleep(300 * 1000);  /* four of them have all the threads */
	int64_t begin_ms = clock_mono_ms();
	int fd = attach(&f, 5, NULL, ATTACH_SESSION);
	struct pollfd p = { fd, POLLIN, 0 };
	EXPECT_INT(poll(&p, 1, 30000), 1);
	expect_data(fd, "hello alice\r\n");
	EXPECT(clock_mono_ms() < begin_ms + 30000);
	for (int i = 0; i < 100 && attached_count(f.attached) > 3; i++)
		usleep(100 * 1000);
	sleep(4);
	EXPECT_INT(attached_count(f.attached), 3);  /* two of them wait on, as long as they like: there is room */
	close(fd);
	for (int i = 0; i < 6; i++)
		close(fds[i]);
	end(&f);
}

/* However often one of them comes, there is room for the next one. */
TEST(guests_leave_room)
{
	struct session_open o = { .protocol = PROTOCOL_IMAP, .login_name = STR("bob"), .record = STR("5") };
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);
	struct fixture f;
	int pairs[120][2];

	begin(&f);
	put_session_open(&b, &o);
	for (int i = 0; i < 120; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pairs[i]), 0);
		EXPECT_OK(frame_send(pairs[i][0], FRAME_OPEN, buf_str(&b), 0));
		attached_take_guest(f.attached, pairs[i][1], i < 119 ? 4711 : 4712);
	}
	EXPECT_INT(attached_count(f.attached), 51);
	EXPECT_OK(frame_send(pairs[119][0], FRAME_DATA, STR("one\r\n"), 0));
	expect_data(pairs[119][0], "6 one\r\n");
	for (int i = 0; i < 120; i++)
		close(pairs[i][0]);
	end(&f);
}

TEST(old_grant_is_refused_and_epoch_ends)
{
	struct fixture f;
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	begin(&f);
	int fd = attach(&f, 4, NULL, ATTACH_SESSION);
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_REFUSED);
	close(fd);
	fd = attach(&f, 5, NULL, ATTACH_SESSION);
	expect_data(fd, "hello alice\r\n");
	attached_end(f.attached, 5);  /* same epoch: stays */
	EXPECT_OK(frame_send(fd, FRAME_DATA, STR("x\r\n"), 0));
	expect_data(fd, "1 x\r\n");
	attached_end(f.attached, 6);
	expect_data(fd, "bye\r\n");
	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_LOGOUT);
	close(fd);
	end(&f);
}

TEST(a_grant_for_something_else_opens_nothing)
{
	static const struct { uint32_t rights; const char *record; } cases[] = {
		{ 0, NULL }, { 1u << PROTOCOL_SUBMISSION, NULL }, { 1u << PROTOCOL_SUBMISSION, "3" }, { ~(1u << PROTOCOL_IMAP), "3" },
	};
	struct fixture f;
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;
	begin(&f);
	EACH(cases, c) {
		const struct grant g = { .account = 1, .rights = c->rights, .epoch = 5 };
		int fd = attach_with(&f, &g, c->record, ATTACH_SESSION);
		EXPECT_OK(next_frame(fd, room, &type, &bytes));
		EXPECT_INT(type, FRAME_REFUSED);
		close(fd);
	}
	end(&f);
}

static void send_state(int fd, uint32_t index, enum protocol may, uint32_t epoch)
{
	CLEANUP(buf_free) struct buf b = BUF(FRAME_DATA_MAX);

	put_u32(&b, index);
	put_grant(&b, &(struct grant){ .rights = 1u << may, .epoch = epoch });
	put_u8(&b, PROTOCOL_IMAP);
	put_str(&b, STR("17"));
	EXPECT_OK(frame_send(fd, FRAME_STATE, buf_str(&b), 0));
}

static void expect_rendered(int fd, uint32_t index, bool is_bye)
{
	char room[FRAME_MAX];
	enum frame type;
	struct str bytes;

	EXPECT_OK(next_frame(fd, room, &type, &bytes));
	EXPECT_INT(type, FRAME_RENDERED);
	struct scan s = scan_of(bytes);
	EXPECT_INT(get_u32(&s), index);
	EXPECT_INT(get_u8(&s), is_bye ? RENDERED_BYE : RENDERED_KEEP);
	EXPECT_INT(get_u64(&s), is_bye ? 0 : 8);
	EXPECT_STR(get_str(&s, 100), is_bye ? "" : "99");
	EXPECT_STR(get_str(&s, 100), is_bye ? "" : "news after 17\r\n");
	EXPECT(get_end(&s));
}

static void expect_count(struct fixture *f, size_t want)
{
	for (int i = 0; i < 500 && attached_count(f->attached) != want; i++)
		usleep(10000);
	EXPECT_INT(attached_count(f->attached), want);
}

TEST(render_answers_each_state)
{
	struct fixture f;
	begin(&f);
	int fd = attach(&f, 0, NULL, ATTACH_RENDER);
	EXPECT_INT(attached_count(f.attached), 1);
	send_state(fd, 0, PROTOCOL_IMAP, 5);
	send_state(fd, 1, PROTOCOL_IMAP, 4);        /* too old */
	send_state(fd, 2, PROTOCOL_IMAP, 5);
	send_state(fd, 3, PROTOCOL_SUBMISSION, 5);  /* for sending only */
	for (uint32_t i = 0; i < 4; i++)
		expect_rendered(fd, i, i % 2);
	expect_count(&f, 0);                        /* the gate may keep it for the next time: no cell stays awake for that */
	send_state(fd, 0, PROTOCOL_IMAP, 5);
	expect_rendered(fd, 0, false);
	close(fd);
	expect_count(&f, 0);
	end(&f);
}

TEST(many_sessions_on_few_threads)
{
	enum { MANY = 200 };
	struct fixture f;
	int fds[MANY];
	begin(&f);
	for (int i = 0; i < MANY; i++)
		fds[i] = attach(&f, 5, "0", ATTACH_SESSION);
	for (int round = 1; round <= 5; round++)
		for (int i = 0; i < MANY; i++)
			EXPECT_OK(frame_send(fds[i], FRAME_DATA, STR("ping\r\n"), 1000));
	for (int i = 0; i < MANY; i++) {
		char all[200] = "", room[FRAME_MAX];
		enum frame type;
		struct str bytes;
		while (strstr(all, "5 ping") == NULL) {
			EXPECT_OK(next_frame(fds[i], room, &type, &bytes));
			strncat(all, bytes.p, bytes.n);
		}
		close(fds[i]);
	}
	end(&f);
}
