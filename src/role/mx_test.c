/* mx as a whole, with scripted neighbours: master, control and queue are played by the test, clients are sockets. What is said on a
 * connection is tested in smtpd/; here it is who may connect, who is waited for, and what happens when somebody goes away. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/test.h"
#include "directory/directory.h"
#include "directory/lookup.h"
#include "queue/add.h"
#include "role/role.h"
#include "trail/trail.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000 };

struct world {
	pthread_t         thread;
	struct role_start start;
	struct channel   *master, *control, *queue;
	const char       *dir;
	int               port, smtp_fd;
	char              local_path[100];
	bool              is_ready, has_directory;
	bool              queue_is_slow;         /* answers only when the test says so */
	uint32_t          add_call, spool_call;  /* not answered yet */
	int               spool_fd;
	size_t            added, dropped;
	char              forwarded[200];        /* the address that forwarded mail of eve@elsewhere.test leaves with */
	struct arena      arena;
	struct queue_add_in last;                /* strings in the arena */
	char              rest[65536];           /* read from the client, not asked for yet */
	size_t            rest_n;
	struct trail_event noted;                /* in the trail last; strings in the arena */
	size_t            refusals, lost;        /* noted */
};

static void *mx_main(void *context) { return (void *)(intptr_t)role_mx(&((struct world *)context)->start); }

/* ---- neighbours */

static void on_trail(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	struct trail_event e;
	struct scan s = scan_of(str_copy(&w->arena, m->body));

	while (trail_event_decode(&s, &w->arena, &e)) {
		assert_true(trail_may_note(ROLE_MX, 0, &e));
		w->refusals += e.kind == TRAIL_REFUSED;
		w->lost += e.kind == TRAIL_LOST ? e.count : 0;
		if (e.kind == TRAIL_REFUSED)
			w->noted = e;
	}
}

static const struct channel_handler control_side[] = { { NOTICE_TRAIL, on_trail }, { 0 } };

static void on_ready(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct world *)context)->is_ready = true; }

static void answer_add(struct world *w, enum err status)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	queue_add_answer((struct queue_id){ 0x1122334400000000, ++w->added }, &b);
	channel_reply(w->queue, w->add_call, status, buf_str(&b), NULL, 0);
	w->add_call = 0;
}

static void on_add(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	arena_reset(&w->arena);
	m->body = str_copy(&w->arena, m->body);
	EXPECT_OK(queue_add_decode(m, &w->arena, &w->last));
	if (w->last.mapped.p) {
		w->last.body.bytes = str_copy(&w->arena, w->last.body.bytes);
		queue_add_release(&w->last);
	}
	w->add_call = m->call;
	if (!w->queue_is_slow)
		answer_add(w, ERR_OK);
}

static void answer_spool(struct world *w)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	fd_close(&w->spool_fd);
	w->spool_fd = memfd_create("spool", MFD_CLOEXEC);
	queue_spool_answer(9, &b);
	channel_reply(w->queue, w->spool_call, ERR_OK, buf_str(&b), &w->spool_fd, 1);
	w->spool_call = 0;
}

static void on_spool(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct world *w = context;
	w->spool_call = m->call;
	if (!w->queue_is_slow)
		answer_spool(w);
}

static void on_drop(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);
	EXPECT_INT(get_u64(&s), 9);
	((struct world *)context)->dropped++;
}

static void answered(void *context, struct message *m)
{
	EXPECT_OK(m->status);
	*(bool *)context = true;
}

static const struct channel_handler master_side[] = { { NOTICE_READY, on_ready }, { 0 } };
static const struct channel_handler queue_side[] = { { REQUEST_ADD, on_add }, { REQUEST_SPOOL, on_spool }, { NOTICE_SPOOL_DROP, on_drop }, { 0 } };

static void pump(struct world *w)
{
	struct channel *all[] = { w->master, w->control, w->queue };
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		channel_flush(all[i]);
		channel_receive(all[i]);
	}
}

#define UNTIL(cond) do { int64_t until_ms = clock_mono_ms() + PATIENCE_MS; \
	while (!(cond) && clock_mono_ms() < until_ms) { pump(w); usleep(500); } EXPECT(cond); } while (0)

static int connect_role(struct world *w, enum role role)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	put_u8(&b, (uint8_t)role);
	put_u32(&b, 0);
	channel_notify(w->master, NOTICE_CONNECT, buf_str(&b), &pair[1], 1);
	close(pair[1]);
	return pair[0];
}

static void give_listener(struct world *w, enum protocol protocol, int fd)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	put_u8(&b, (uint8_t)protocol);
	put_bool(&b, false);
	put_u16(&b, (uint16_t)w->port);
	channel_notify(w->master, NOTICE_LISTEN, buf_str(&b), &fd, 1);
}

static void bind_smtp(struct world *w)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);
	w->smtp_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->smtp_fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(w->smtp_fd, 100), 0);
	getsockname(w->smtp_fd, (struct sockaddr *)&a, &n);
	w->port = ntohs(a.sin_port);
}

static void bind_local(struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	snprintf(w->local_path, sizeof(w->local_path), "%s/submit.sock", w->dir);
	memcpy(a.sun_path, w->local_path, strlen(w->local_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 100), 0);
	give_listener(w, PROTOCOL_LOCAL, fd);
}

static void add_account(struct directory *d, const char *address, bool is_full)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x;
	uint64_t account;
	bool changed;
	EXPECT(directory_address_parse(str_of(address), &a, &x));
	if (account_add(d, &x, STR(""), false, &account) == ERR_OK && is_full)
		EXPECT_OK(account_usage(d, account, 1, 1, true, &changed));
}

static void send_directory(struct world *w)
{
	CLEANUP(buf_free) struct buf bytes = BUF(1 << 20), b = BUF(16);
	struct disk_dir *dir;
	struct directory *d;
	struct lookup *l;
	int fd;
	EXPECT_OK(disk_dir_open(w->dir, &dir));
	EXPECT_OK(directory_open(dir, &d));
	EXPECT_OK(domain_add(d, STR("example.test")));
	add_account(d, "alice@example.test", false);
	add_account(d, "full@example.test", true);
	EXPECT_OK(domain_add(d, STR("other.test")));
	EXPECT_OK(domain_catch_all(d, STR("other.test"), STR("alice@example.test")));
	EXPECT_OK(setting_store(d, SCOPE_SERVER, STR(""), SETTING_message_size_max, STR("2MB")));
	EXPECT_OK(setting_store(d, SCOPE_SERVER, STR(""), SETTING_local_users, STR("1=nobody@example.test 4321=alice@example.test")));
	EXPECT_OK(lookup_build(d, directory_version(d), &bytes));
	EXPECT_OK(memfd_make("lookup", buf_str(&bytes), &fd));
	EXPECT_OK(lookup_read(buf_str(&bytes), &l));
	snprintf(w->forwarded, sizeof(w->forwarded), STR_FMT, STR_ARG(lookup_forward_sender(l, STR("eve@elsewhere.test"), &w->arena)));
	lookup_close(l);
	put_u64(&b, directory_version(d));
	channel_ask(w->control, REQUEST_DIRECTORY, buf_str(&b), &fd, 1, 5000, answered, &w->has_directory);
	close(fd);
	directory_close(d);
	disk_dir_close(&dir);
}

static struct world *begin_without_directory(void)
{
	static struct world world;
	struct world *w = &world;
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	*w = (struct world){ .dir = test_dir(), .spool_fd = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	w->start = (struct role_start){ .role = ROLE_MX, .master_fd = pair[1], .dir = w->dir };
	w->master = channel_new(pair[0], ROLE_MASTER, ROLE_MX, master_side, w, NULL);
	w->control = channel_new(connect_role(w, ROLE_CONTROL), ROLE_CONTROL, ROLE_MX, control_side, w, NULL);
	w->queue = channel_new(connect_role(w, ROLE_QUEUE), ROLE_QUEUE, ROLE_MX, queue_side, w, NULL);
	bind_smtp(w);
	bind_local(w);
	pthread_create(&w->thread, NULL, mx_main, w);
	UNTIL(w->is_ready);
	return w;
}

static struct world *begin(void)
{
	struct world *w = begin_without_directory();
	send_directory(w);
	UNTIL(w->has_directory);
	give_listener(w, PROTOCOL_SMTP, w->smtp_fd);
	return w;
}

static void end(struct world *w)
{
	void *code;
	channel_notify(w->master, NOTICE_STOP, STR(""), NULL, 0);
	pthread_join(w->thread, &code);
	EXPECT_INT((intptr_t)code, 0);
	channel_free(w->queue);
	channel_free(w->control);
	channel_free(w->master);
	fd_close(&w->smtp_fd);
	fd_close(&w->spool_fd);
	arena_free(&w->arena);
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

static int connect_program(struct world *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(a.sun_path, w->local_path, strlen(w->local_path));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	w->rest_n = 0;
	return fd;
}

#include "role/line_client_test.h"

/* Lines "250-" are skipped. */
#define EXPECT_LINE_WITHIN(fd, start, ms) do { struct str ln; do { ln = line_within(w, fd, ms); } while (str_starts(ln, STR("250-"))); \
	if (!str_starts(ln, STR(start))) { print_error("%s:%d: got '%.*s', want '%s...'\n", __FILE__, __LINE__, STR_ARG(ln), start); fail(); } } while (0)
#define EXPECT_LINE(fd, start) EXPECT_LINE_WITHIN(fd, start, PATIENCE_MS)

#define ENVELOPE "MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\n"

static int greeted(struct world *w)
{
	int fd = connect_client(w);
	EXPECT_LINE(fd, "220 mail.example.test ESMTP");
	says(fd, "EHLO c.test\r\n");
	EXPECT_LINE(fd, "250 ");
	return fd;
}

static int in_data(struct world *w)
{
	int fd = greeted(w);
	says(fd, ENVELOPE "DATA\r\n");
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "250 2.1.5");
	EXPECT_LINE(fd, "354 ");
	return fd;
}

/* ---- tests */

TEST(a_message)
{
	struct world *w = begin();
	int fd = in_data(w);

	says(fd, "Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n");
	EXPECT_LINE(fd, "250 2.0.0 queued as 11223344-1");
	EXPECT_LINE(fd, "221 ");
	EXPECT_LINE(fd, "(end)");
	EXPECT_INT(w->last.envelope.source, ENVELOPE_MX);
	EXPECT_STR(w->last.envelope.recipients[0].address, "alice@example.test");
	EXPECT_STR(w->last.envelope.peer, "c.test [127.0.0.1]");
	EXPECT(str_starts(w->last.body.bytes, STR("Received: from c.test ([127.0.0.1])\r\n\tby mail.example.test with ESMTP\r\n")));
	close(fd);
	end(w);
}

/* RFC 8601 §5: what claims to be this server's own verdict on a message was written by its sender. */
TEST(forged_verdicts)
{
	static const struct { const char *field; bool stays; } cases[] = {
		{ "Authentication-Results: mail.example.test; dkim=pass\r\n", false },
		{ "authentication-results:\r\n\t(a;b (c)) \"MAIL.Example.Test\"\r\n 1; spf=pass\r\n\tx\r\n", false },
		{ "Authentication-Results : mx.other.test; none\r\n", false },            /* below a domain of ours */
		{ "Authentication-Results: mail.example.test\r\n", false },
		{ "Authentication-Results: a.b.c.d.e.f.example.test\r\n", false },
		{ "Authentication-Results: \xc3\xa9.example.test; dkim=pass\r\n", false },
		{ "Authentication-Results: mx.b.test; dkim=pass header.d=example.test\r\n", true },
		{ "Authentication-Results: mail.example.test.b.test; dkim=pass\r\n", true },
		{ "X-Authentication-Results: mail.example.test; dkim=pass\r\n", true },
	};
	struct world *w = begin();

	EACH(cases, c) {
		int fd = in_data(w);
		says(fd, "Subject: x\r\n");
		says(fd, c->field);
		says(fd, "no field\r\nTo: y\r\n\r\nAuthentication-Results: mail.example.test; in the text\r\n.\r\nQUIT\r\n");
		EXPECT_LINE(fd, "250 2.0.0 queued");
		EXPECT((str_find(w->last.body.bytes, str_of(c->field)) >= 0) == c->stays);
		EXPECT(str_find(w->last.body.bytes, STR("\r\nSubject: x\r\n")) > 0 && str_find(w->last.body.bytes, STR("\r\nno field\r\nTo: y\r\n\r\nAuth")) > 0);
		EXPECT(str_ends(w->last.body.bytes, STR("; in the text\r\n")));
		close(fd);
	}
	end(w);
}

static int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* In the one thread of mx: 230 names of 330 levels took 5 seconds, in which nobody else was served. */
TEST(a_header_full_of_verdicts_keeps_nobody_waiting)
{
	CLEANUP(buf_free) struct buf header = BUF(1 << 18);
	struct world *w = begin();
	int fd = in_data(w);

	for (int field = 0; field < 230; field++) {
		buf_add_cstr(&header, "Authentication-Results: ");
		for (int i = 0; i < 330; i++)
			buf_add_cstr(&header, "\xc3\xa9.");
		buf_add_cstr(&header, "test; x\r\n");
	}
	buf_add_cstr(&header, "\r\nx\r\n.\r\n");
	int64_t began_ms = cpu_ms();
	for (size_t at = 0; at < header.n; at += 8192) {
		char piece[8193] = "";
		memcpy(piece, header.p + at, header.n - at < 8192 ? header.n - at : 8192);
		says(fd, piece);
		pump(w);
	}
	EXPECT_LINE(fd, "250 2.0.0 queued");
	EXPECT(cpu_ms() - began_ms < 2000);
	close(fd);
	end(w);
}

/* It goes back to whoever wrote, and is no way for others to reach him from here. */
TEST(the_sender_of_forwarded_mail_takes_bounces_only)
{
	struct world *w = begin();
	int fd = greeted(w);
	char rcpt[300];

	EXPECT(strncmp(w->forwarded, "SRS0=", 5) == 0);
	snprintf(rcpt, sizeof(rcpt), "RCPT TO:<%s>\r\n", w->forwarded);
	says(fd, "MAIL FROM:<spam@b.test>\r\n");
	says(fd, rcpt);
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "550 5.7.1 this address takes bounces");
	says(fd, "RSET\r\nMAIL FROM:<>\r\n");
	says(fd, rcpt);
	EXPECT_LINE(fd, "250 2.0.0");
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "250 2.1.5");
	close(fd);
	end(w);
}

TEST(recipients)
{
	static const struct { const char *to, *want; } cases[] = {
		{ "ALICE+x@Example.TEST", "250 2.1.5" }, { "Postmaster", "250 2.1.5" }, { "abuse@example.test", "250 2.1.5" },
		{ "nobody@example.test", "550 5.1.1" }, { "x@elsewhere.test", "550 5.7.1" }, { "full@example.test", "452 4.2.2" },
		{ "alice@[127.0.0.1]", "550 5.7.1" },
	};
	struct world *w = begin();
	int fd = greeted(w);

	says(fd, "MAIL FROM:<a@b.test>\r\n");
	EXPECT_LINE(fd, "250 2.1.0");
	EACH(cases, c) {
		char command[200];
		snprintf(command, sizeof(command), "RCPT TO:<%s>\r\n", c->to);
		says(fd, command);
		struct str line = line_within(w, fd, PATIENCE_MS);
		if (!str_starts(line, str_of(c->want)))
			print_error("%s: %.*s\n", c->to, STR_ARG(line));
		EXPECT(str_starts(line, str_of(c->want)));
	}
	close(fd);
	end(w);
}

TEST(what_is_refused_is_noted)
{
	struct world *w = begin();
	int fd = greeted(w);

	says(fd, "MAIL FROM:<a@b.test>\r\nRCPT TO:<full@example.test>\r\n");
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "452 4.2.2");
	UNTIL(w->refusals == 1);
	EXPECT_STR(w->noted.peer, "c.test [127.0.0.1]");
	EXPECT_STR(w->noted.sender, "a@b.test");
	EXPECT_STR(w->noted.recipient, "full@example.test");
	EXPECT_STR(w->noted.text, "452 4.2.2 this mailbox is full at the moment: please try again later");
	EXPECT_INT(w->noted.account, 2);  /* its owner may see it */
	says(fd, "RCPT TO:<alice@example.test>\r\nDATA\r\n\r\nbare\nline\r\n.\r\n");
	EXPECT_LINE(fd, "250 2.1.5");
	EXPECT_LINE(fd, "354 ");
	EXPECT_LINE(fd, "550 5.6.0");
	UNTIL(w->refusals == 2);
	EXPECT_INT(w->noted.n, 1);
	EXPECT_STR(w->noted.recipients[0].address, "alice@example.test");
	EXPECT_INT(w->noted.account, 0);
	close(fd);
	end(w);
}

/* Who guesses addresses fills nobody's disk: what is too much is counted. */
TEST(a_flood_of_refusals_is_counted)
{
	enum { TRIES = 2000, EACH_TIME = 50 };
	struct world *w = begin();
	char text[64 * EACH_TIME];

	for (int i = 0; i < TRIES / EACH_TIME; i++) {
		size_t n = 0;
		int fd = greeted(w);
		says(fd, "MAIL FROM:<a@b.test>\r\n");
		for (int k = 0; k < EACH_TIME; k++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "RCPT TO:<full%d@full.test>\r\n", k);
		says(fd, text);
		says(fd, "QUIT\r\n");
		while (!str_eq(line_within(w, fd, PATIENCE_MS), STR("(end)")))
			;
		close(fd);
	}
	UNTIL(w->lost > 0);
	EXPECT(w->refusals >= 500 && w->refusals < TRIES);
	end(w);
}

TEST(the_250_waits_for_the_queue)
{
	struct world *w = begin();
	int fd = in_data(w), other;

	w->queue_is_slow = true;
	says(fd, "\r\nx\r\n.\r\nNOOP\r\n");
	UNTIL(w->add_call != 0);
	EXPECT_LINE_WITHIN(fd, "(quiet)", 100);
	other = greeted(w);  /* nobody else waits */
	close(other);
	w->rest_n = 0;
	answer_add(w, ERR_OK);
	EXPECT_LINE(fd, "250 2.0.0 queued as");
	EXPECT_LINE(fd, "250 2.0.0 fine");
	close(fd);
	end(w);
}

TEST(the_queue_is_lost)
{
	struct world *w = begin();
	int fd = in_data(w);

	w->queue_is_slow = true;
	says(fd, "\r\nx\r\n.\r\n");
	UNTIL(w->add_call != 0);
	channel_replace(w->queue, -1);  /* it died with the message */
	EXPECT_LINE(fd, "451 4.3.0");
	says(fd, ENVELOPE "DATA\r\n\r\nx\r\n.\r\n");
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "250 2.1.5");
	EXPECT_LINE(fd, "354 ");
	EXPECT_LINE(fd, "451 4.3.0");
	channel_replace(w->queue, connect_role(w, ROLE_QUEUE));  /* and is there again */
	w->queue_is_slow = false;
	usleep(50000);
	says(fd, ENVELOPE "DATA\r\n\r\nx\r\n.\r\n");
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "250 2.1.5");
	EXPECT_LINE(fd, "354 ");
	EXPECT_LINE(fd, "250 2.0.0 queued as");
	close(fd);
	end(w);
}

TEST(the_client_leaves_while_the_queue_works)
{
	struct world *w = begin();
	int fd = in_data(w);

	w->queue_is_slow = true;
	says(fd, "\r\nx\r\n.\r\n");
	UNTIL(w->add_call != 0);
	close(fd);
	usleep(20000);
	answer_add(w, ERR_OK);
	fd = greeted(w);
	close(fd);
	end(w);
}

/* The C library's, which this one stands before: so often there is no room for a thread. */
static atomic_int threads_refused;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *context)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");

	return atomic_fetch_sub(&threads_refused, 1) > 0 ? EAGAIN : real(thread, attr, run, context);
}

/* Two large BINARYMIME messages, of which one waits for the other; both sessions go on. */
static void encode_two(int refused)
{
	static char zeros[300000];
	struct world *w = begin();
	int fds[2] = { greeted(w), greeted(w) };
	char line[100];

	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		snprintf(line, sizeof(line), "BDAT %zu\r\n\r\n", sizeof(zeros) + 2);
		says(fds[i], "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<alice@example.test>\r\n");
		says(fds[i], line);
		for (size_t at = 0; at < sizeof(zeros); at += 10000) {
			assert_int_equal(send(fds[i], zeros + at, 10000, MSG_NOSIGNAL), 10000);
			pump(w);
		}
		EXPECT_LINE(fds[i], "250 2.1.0");
		EXPECT_LINE(fds[i], "250 2.1.5");
		EXPECT_LINE(fds[i], "250 2.0.0 chunk received");
	}
	atomic_store(&threads_refused, refused);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		says(fds[i], "BDAT 0 LAST\r\nNOOP\r\n");
	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		EXPECT_LINE(fds[i], "250 2.0.0 queued as");
		EXPECT_LINE(fds[i], "250 2.0.0 fine");
	}
	EXPECT(w->last.body.spool == 9 && w->last.body.size > sizeof(zeros) * 4 / 3);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		close(fds[i]);
	end(w);
}

TEST(large_binarymime)
{
	encode_two(0);
	encode_two(1);
	encode_two(2);
}

/* All but its end. */
static int in_large_message(struct world *w)
{
	int fd = in_data(w);
	char piece[1025];

	memset(piece, 'x', sizeof(piece));
	memcpy(piece + 1022, "\r\n", 3);
	says(fd, "Subject: large\r\n\r\n");
	for (int i = 0; i < 1024; i++) {
		says(fd, piece);
		pump(w);
	}
	return fd;
}

TEST(a_large_message_goes_to_a_spool_file)
{
	struct world *w = begin();
	int fd = in_large_message(w);
	char *room;

	says(fd, ".\r\n");
	EXPECT_LINE(fd, "250 2.0.0 queued as");
	EXPECT(w->last.body.bytes.p == NULL && w->last.body.spool == 9 && w->last.body.size > 1 << 20);
	room = mem_alloc(w->last.body.size);
	EXPECT_INT(pread(w->spool_fd, room, w->last.body.size, 0), w->last.body.size);
	EXPECT_INT(crc32c(0, room, w->last.body.size), w->last.body.crc);
	mem_free(room);
	close(fd);
	end(w);
}

/* Who begins large messages and never ends them has no room on the disk for it. */
TEST(a_large_message_that_does_not_end)
{
	struct world *w = begin();
	int fd = in_large_message(w);

	UNTIL(w->spool_fd >= 0);
	EXPECT_INT(w->dropped, 0);
	close(fd);
	UNTIL(w->dropped == 1);
	EXPECT_INT(w->added, 0);
	end(w);
}

/* Once another client has been answered so often, all that was sent before has been read: mx has one thread, and reads from each in turn, some kilobytes
 * at a time. */
static void until_read(struct world *w, int other)
{
	for (int i = 0; i < 40; i++) {
		says(other, "NOOP\r\n");
		EXPECT_LINE(other, "250 2.0.0");
	}
}

/* A byte now and then holds no connection, and no file, however much came before it. */
TEST(a_fast_beginning_earns_no_slow_end)
{
	enum { LINES = 2000 };
	static const char line[] = "a line of a hundred bytes, of which there are so many that they would pay for ten minutes of silence\r\n";

	for (int in_chunks = 0; in_chunks <= 1; in_chunks++) {
		struct world *w = begin();
		int fd = in_chunks ? greeted(w) : in_data(w), other = greeted(w);
		char begins[200];

		snprintf(begins, sizeof(begins), ENVELOPE "BDAT %zu\r\n", 14 + LINES * strlen(line));
		if (in_chunks)
			says(fd, begins);
		says(fd, "Subject: x\r\n\r\n");
		for (int i = 0; i < LINES; i++)
			says(fd, line);
		if (in_chunks) {
			EXPECT_LINE(fd, "250 2.1.0");
			EXPECT_LINE(fd, "250 2.1.5");
			EXPECT_LINE(fd, "250 2.0.0 chunk received");
		}
		for (int i = 0; i < 2; i++) {
			until_read(w, other);
			clock_mono_advance(299 * 1000);
			says(fd, in_chunks ? "BDAT 1\r\nx" : "x");
			if (in_chunks && i == 0)
				EXPECT_LINE(fd, "250 2.0.0 chunk received");
		}
		if (in_chunks)
			EXPECT_LINE(fd, "250 2.0.0 chunk received");
		EXPECT_LINE(fd, "421 4.4.2");
		close(fd);
		close(other);
		end(w);
	}
}

/* In the queue of the socket: nobody accepts him yet. */
static int connect_early(struct world *w)
{
	give_listener(w, PROTOCOL_SMTP, w->smtp_fd);
	return connect_client(w);
}

TEST(spoke_before_the_greeting)
{
	struct world *w = begin_without_directory();
	int fd = connect_early(w);

	says(fd, "EHLO too.early\r\n");
	usleep(20000);
	send_directory(w);
	EXPECT_LINE(fd, "554 5.5.1 you spoke before the greeting");
	EXPECT_LINE(fd, "(end)");
	close(fd);
	end(w);
}

/* A restart refuses nobody: who comes while it starts is greeted when it has. */
TEST(before_the_directory_is_there)
{
	struct world *w = begin_without_directory();
	int fd = connect_early(w);

	EXPECT_INT(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 50), 0);
	send_directory(w);
	EXPECT_LINE(fd, "220 ");
	close(fd);
	end(w);
}

TEST(clients_that_do_not_read)
{
	struct world *w = begin();
	int fds[50], fd;

	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		fds[i] = connect_client(w);
		says(fds[i], "");
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
		for (int n = 0; n < 2000 && send(fds[i], "HELP\r\nHELP\r\nHELP\r\nHELP\r\n", 24, MSG_NOSIGNAL) > 0; n++)
			;
	}
	fd = in_data(w);
	says(fd, "\r\nx\r\n.\r\n");
	EXPECT_LINE(fd, "250 2.0.0 queued as");
	close(fd);
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		close(fds[i]);
	end(w);
}

TEST(stop)
{
	struct world *w = begin();
	int waiting = in_data(w), inside = in_data(w), idle = greeted(w);

	w->queue_is_slow = true;
	says(inside, "Subject: half\r\n");
	says(waiting, "\r\nx\r\n.\r\n");
	UNTIL(w->add_call != 0);
	channel_notify(w->master, NOTICE_STOP, STR(""), NULL, 0);
	EXPECT_LINE(idle, "421 4.3.2");
	EXPECT_LINE(idle, "(end)");
	EXPECT_LINE(inside, "421 4.3.2");
	EXPECT_LINE_WITHIN(waiting, "(quiet)", 100);
	answer_add(w, ERR_OK);  /* what was asked before is answered */
	EXPECT_LINE(waiting, "250 2.0.0 queued as");
	EXPECT_LINE(waiting, "421 4.3.2");
	end(w);
	close(waiting);
	close(inside);
	close(idle);
}

TEST(programs_of_this_machine)
{
	struct world *w = begin();
	int fd = connect_program(w);

	EXPECT_LINE(fd, "220 ");
	says(fd, "EHLO localhost\r\n");
	EXPECT_LINE(fd, "250 XCALLER postmaster@example.test");
	says(fd, "MAIL FROM:<anybody@example.test>\r\nRCPT TO:<friend@elsewhere.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n");
	EXPECT_LINE(fd, "250 2.1.0");
	EXPECT_LINE(fd, "250 2.1.5");
	EXPECT_LINE(fd, "550 5.1.1");
	EXPECT_LINE(fd, "354 ");
	says(fd, "To: friend@elsewhere.test\r\nBcc: secret@elsewhere.test\r\n\r\nx\r\n.\r\n");
	EXPECT_LINE(fd, "250 2.0.0 queued as");
	EXPECT_INT(w->last.envelope.source, ENVELOPE_LOCAL);
	EXPECT(str_find(w->last.body.bytes, STR("Bcc")) < 0);
	EXPECT(str_find(w->last.body.bytes, STR("\r\nDate: ")) > 0 && str_find(w->last.body.bytes, STR("\r\nMessage-ID: <")) > 0);
	close(fd);
	end(w);
}

/* Connects as another user: the kernel notes who it was. */
static int connect_as(struct world *w, unsigned uid)
{
	int fd;
	assert_int_equal(chmod(w->dir, 0711) | chmod(w->local_path, 0666), 0);
	assert_int_equal(syscall(SYS_setresuid, -1, uid, -1), 0);  /* of this thread only */
	fd = connect_program(w);
	assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
	return fd;
}

TEST(other_users_of_this_machine)
{
	static const struct { const char *says, *want; } dialogue[] = {
		{ "EHLO localhost\r\n", "250 XCALLER alice@example.test" },
		{ "MAIL FROM:<full@example.test>\r\n", "553 5.7.1 user 4321 may send as alice@example.test only" },
		{ "MAIL FROM:<unused@other.test>\r\n", "553 5.7.1" },   /* a catch-all receives; it is nobody's name */
		{ "MAIL FROM:<Alice+cron@example.test>\r\n", "250 2.1.0" },
		{ "RCPT TO:<friend@elsewhere.test>\r\n", "250 2.1.5" },
		{ "DATA\r\n", "354 " },
		{ "From: full@example.test\r\n\r\nx\r\n.\r\n", "553 5.7.1" },
		{ "MAIL FROM:<>\r\n", "250 2.1.0" },
		{ "RCPT TO:<friend@elsewhere.test>\r\n", "250 2.1.5" },
		{ "DATA\r\n", "354 " },
		{ "Subject: no From\r\n\r\nx\r\n.\r\n", "250 2.0.0" },
	};
	struct world *w;
	int fd;

	if (geteuid() != 0)
		return;  /* only root can be somebody else */
	w = begin();
	fd = connect_as(w, 4321);
	EXPECT_LINE(fd, "220 ");
	EACH(dialogue, d) {
		says(fd, d->says);
		struct str ln;
		do
			ln = line_within(w, fd, PATIENCE_MS);
		while (str_starts(ln, STR("250-")));
		if (!str_starts(ln, str_of(d->want)))
			print_error("%s -> %.*s\n", d->says, STR_ARG(ln));
		EXPECT(str_starts(ln, str_of(d->want)));
	}
	EXPECT(str_find(w->last.body.bytes, STR("\r\nFrom: <alice@example.test>\r\n")) > 0);
	close(fd);
	fd = connect_as(w, 1);     /* its account does not exist */
	EXPECT_LINE(fd, "554 5.7.1");
	close(fd);
	fd = connect_as(w, 5);     /* has none */
	EXPECT_LINE(fd, "554 5.7.1 user 5 may not send mail from this machine");
	close(fd);
	end(w);
}
