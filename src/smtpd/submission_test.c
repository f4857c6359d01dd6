/* Submission after the login, with a real directory behind control, a real account, and a queue that remembers what it was given. */
#include "smtpd/submission.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "directory/directory.h"
#include "directory/info.h"
#include "mime/header.h"
#include "queue/add.h"
#include "store/sending.h"
#include "submit/account.h"
#include "submit/sending.h"
#include "trail/trail.h"
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
	const char       *path;
	struct disk_dir  *dir;
	struct directory *d;
	struct buf        lookup_bytes;
	struct lookup    *l;
	struct channel   *control, *queue;       /* the other roles' ends */
	pthread_t         thread;
	_Atomic bool      is_over;
	struct account    account;
	struct arena      arena;
	struct session   *s;
	void             *state;
	struct buf        out;
	/* what the queue was given last */
	enum err          queue_says;
	int               added, spool_fd, dropped;
	struct buf        body, to;
	uint64_t          submitter;
	bool              is_authenticated;
	struct buf        sender;
	int64_t           slowed_s;              /* from now */
	struct buf        noted;                 /* in the trail, a line each */
	struct buf        letters;               /* whom the server wrote to, a line each; and the last one */
	struct buf        letter;
};

static void on_info(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	struct world *w = context;
	enum err e = account_info_serve(w->d, m->body, &answer);

	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
}

static void on_resolve(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf answer = BUF(1000);
	struct world *w = context;
	enum err e = resolve_serve(w->l, w->account.account, m->body, &answer);

	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
}

static void on_add(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf answer = BUF(100);
	CLEANUP(queue_add_release) struct queue_add_in in = { 0 };
	struct world *w = context;

	assert_int_equal(queue_add_decode(m, &a, &in), ERR_OK);
	if (in.envelope.source == ENVELOPE_DELIVERY) {  /* the server's own: not held with what the account has sent */
		buf_printf(&w->letters, STR_FMT "\n", STR_ARG(in.envelope.recipients[0].address));
		buf_reset(&w->letter);
		buf_add(&w->letter, in.body.bytes);
		queue_add_answer((struct queue_id){ UINT64_C(0x3f2a9c0100000000), 6 }, &answer);
		channel_reply(ch, m->call, ERR_OK, buf_str(&answer), NULL, 0);
		return;
	}
	buf_reset(&w->body);
	buf_reset(&w->to);
	buf_reset(&w->sender);
	buf_add(&w->body, in.body.bytes);
	if (in.body.spool) {
		ssize_t n = pread(w->spool_fd, buf_reserve(&w->body, in.body.size), in.body.size, 0);
		buf_grew(&w->body, (size_t)n);
		assert_int_equal(crc32c(0, w->body.p, w->body.n), in.body.crc);
	}
	for (size_t i = 0; i < in.envelope.n; i++) {
		assert_int_equal(in.envelope.recipients[i].account, 0);
		buf_printf(&w->to, "%s" STR_FMT, i ? " " : "", STR_ARG(in.envelope.recipients[i].address));
	}
	buf_add(&w->sender, in.envelope.sender);
	w->submitter = in.envelope.submitter;
	w->slowed_s = in.envelope.slowed_until == 0 ? 0 : in.envelope.slowed_until - clock_wall_s();
	w->is_authenticated = in.envelope.is_authenticated;
	w->added += w->queue_says == ERR_OK;
	queue_add_answer((struct queue_id){ UINT64_C(0x3f2a9c0100000000), 5 }, &answer);
	channel_reply(ch, m->call, w->queue_says, buf_str(&answer), NULL, 0);
}

static void on_spool(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf answer = BUF(100);
	struct world *w = context;

	fd_close(&w->spool_fd);
	w->spool_fd = memfd_create("spool", MFD_CLOEXEC);
	queue_spool_answer(9, &answer);
	channel_reply(ch, m->call, ERR_OK, buf_str(&answer), &w->spool_fd, 1);
}

static void on_drop(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { ((struct world *)context)->dropped++; }

static void on_trail(void *context, UNUSED struct channel *ch, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(m->body);
	struct world *w = context;
	struct trail_event e;

	while (trail_event_decode(&s, &a, &e)) {
		assert_true(trail_may_note(ROLE_CELL, 1, &e));
		buf_printf(&w->noted, STR_FMT " to " STR_FMT " (%u): " STR_FMT "\n", STR_ARG(e.sender),
		           STR_ARG(e.n > 0 ? e.recipients[0].address : e.recipient), e.count, STR_ARG(str_sub(e.text, 0, 9)));
	}
}

static void on_sending(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf answer = BUF(16);
	struct scan s = scan_of(m->body);
	struct world *w = context;
	struct directory_account x;
	struct sending_notice n;

	assert_true(get_sending_notice(&s, &n));
	assert_int_equal(account_get(w->d, n.account, &a, &x), ERR_OK);
	if (n.kind == SENDING_STOP)
		assert_int_equal(account_stop_sending(w->d, n.account, 1700000000, n.why), ERR_OK);
	put_bool(&answer, x.stopped_s == 0);
	put_bool(&answer, true);
	channel_reply(ch, m->call, ERR_OK, buf_str(&answer), NULL, 0);
}

static const struct channel_handler control_handlers[] = {
	{ REQUEST_SENDING, on_sending },
	{ REQUEST_ACCOUNT_INFO, on_info }, { REQUEST_RESOLVE, on_resolve }, { NOTICE_TRAIL, on_trail }, { 0 },
};
static const struct channel_handler queue_handlers[] = { { REQUEST_ADD, on_add }, { REQUEST_SPOOL, on_spool }, { NOTICE_SPOOL_DROP, on_drop }, { 0 } };
static const struct channel_handler none[] = { { 0 } };

static void *serve(void *context)
{
	struct world *w = context;

	while (!w->is_over) {
		struct pollfd p[] = { { channel_fd(w->control), POLLIN, 0 }, { channel_fd(w->queue), POLLIN, 0 } };
		poll(p, 2, 20);
		if (channel_receive(w->control) != ERR_OK)  /* the test took it away */
			p[0].fd = -1;
		if (channel_receive(w->queue) != ERR_OK)
			p[1].fd = -1;
	}
	return NULL;
}

static struct channel *connect_roles(struct world *w, enum role peer, const struct channel_handler *handlers, struct channel **other)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	*other = channel_new(fd[1], peer, ROLE_CELL, handlers, w, NULL);
	return channel_new(fd[0], ROLE_CELL, peer, none, NULL, NULL);
}

static uint64_t add_account(struct world *w, const char *text)
{
	struct directory_address x;
	uint64_t account = 0;

	assert_true(directory_address_parse(str_of(text), &w->arena, &x));
	assert_int_equal(account_add(w->d, &x, STR("Alice Martin"), false, &account), ERR_OK);
	return account;
}

static void set(struct world *w, enum setting s, const char *value)
{
	assert_int_equal(setting_store(w->d, SCOPE_ACCOUNT, STR("1"), s, str_of(value)), ERR_OK);
}

static void begin(struct world *w)
{
	struct directory_address alias, target;
	bool changed;

	*w = (struct world){ .path = test_dir(), .out = BUF(4 << 20), .body = BUF(64 << 20), .to = BUF(64 << 10), .sender = BUF(1000), .noted = BUF(64 << 10), .letters = BUF(1000), .letter = BUF(64 << 10),
	                     .lookup_bytes = BUF(LOOKUP_BYTES_MAX), .spool_fd = -1 };
	assert_int_equal(disk_dir_open(w->path, &w->dir), ERR_OK);
	assert_int_equal(directory_open(w->dir, &w->d), ERR_OK);
	assert_int_equal(domain_add(w->d, STR("example.test")), ERR_OK);
	w->account.account = add_account(w, "alice@example.test");
	add_account(w, "bob@example.test");
	assert_int_equal(account_usage(w->d, add_account(w, "full@example.test"), 1, 1, true, &changed), ERR_OK);
	assert_true(directory_address_parse(STR("info@example.test"), &w->arena, &alias));
	assert_true(directory_address_parse(STR("alice@example.test"), &w->arena, &target));
	assert_int_equal(name_add(w->d, &alias, NAME_ALIAS, &target, 1), ERR_OK);
	assert_int_equal(lookup_build(w->d, directory_version(w->d), &w->lookup_bytes), ERR_OK);
	assert_int_equal(lookup_read(buf_str(&w->lookup_bytes), &w->l), ERR_OK);
	w->account.control = connect_roles(w, ROLE_CONTROL, control_handlers, &w->control);
	w->account.queue = connect_roles(w, ROLE_QUEUE, queue_handlers, &w->queue);
	char *folder = str_cstr(&w->arena, arena_printf(&w->arena, "%s/1", w->path));
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(view_open(folder, &(struct view_config){ .account = 1 }, &w->account.view), ERR_OK);
	pthread_create(&w->thread, NULL, serve, w);
}

static void hang_up(struct world *w)
{
	if (w->state)
		submission_engine.close(w->state);
	if (w->s)
		session_test_free(w->s);
	w->state = NULL;
	w->s = NULL;
}

static void end(struct world *w)
{
	hang_up(w);
	w->is_over = true;
	pthread_join(w->thread, NULL);
	channel_free(w->account.control);
	channel_free(w->account.queue);
	channel_free(w->control);
	channel_free(w->queue);
	view_close(w->account.view);
	lookup_close(w->l);
	directory_close(w->d);
	disk_dir_close(&w->dir);
	fd_close(&w->spool_fd);
	buf_free(&w->out);
	buf_free(&w->body);
	buf_free(&w->to);
	buf_free(&w->sender);
	buf_free(&w->noted);
	buf_free(&w->letters);
	buf_free(&w->letter);
	buf_free(&w->lookup_bytes);
	arena_free(&w->arena);
	test_dir_remove(w->path);
}

static struct str log_in(struct world *w, const char *command)
{
	const struct session_open info = { .protocol = PROTOCOL_SUBMISSION, .command = str_of(command), .peer = STR("192.0.2.7"),
	                                   .is_tls = true, .tls_text = STR("TLSv1.3 TLS_AES_128_GCM_SHA256"), .grant = { .account = 1, .session = 0xabc } };

	buf_reset(&w->out);
	w->s = session_for_test(&info, STR(""), &w->out);
	w->state = submission_engine.open(w->s, &w->account);
	return w->out.n ? buf_str(&w->out) : STR("");
}

static struct str say_bytes(struct world *w, struct str bytes)
{
	buf_reset(&w->out);
	session_test_input(w->s, bytes);
	submission_engine.input(w->state);
	return w->out.n ? buf_str(&w->out) : STR("");
}

static struct str say(struct world *w, const char *line) { return say_bytes(w, arena_printf(&w->arena, "%s\r\n", line)); }

#define EXPECT_STARTS(got, want) do { struct str es_g = (got); if (!str_starts(es_g, str_of(want))) { \
	print_error("%s:%d: '%.*s' does not start with '%s'\n", __FILE__, __LINE__, STR_ARG(es_g), want); fail(); } } while (0)
#define EXPECT_HAS(got, want) do { struct str es_g = (got); if (str_find(es_g, str_of(want)) < 0) { \
	print_error("%s:%d: '%.*s' does not have '%s'\n", __FILE__, __LINE__, STR_ARG(es_g), want); fail(); } } while (0)

TEST(a_message_goes_through)
{
	struct world w;

	begin(&w);
	EXPECT_STR(log_in(&w, "EHLO laptop.lan"), "235 2.7.0 you are logged in as alice@example.test\r\n");
	EXPECT_STARTS(say(&w, "MAIL FROM:<Alice+work@example.test> BODY=8BITMIME"), "250 2.1.0");  /* RFC 4954: the EHLO of before counts */
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "250 2.1.5");
	EXPECT_STARTS(say(&w, "RCPT TO:<friend@elsewhere.test>"), "250 2.1.5");
	EXPECT_STARTS(say(&w, "RCPT TO:<Postmaster>"), "250 2.1.5");
	EXPECT_STARTS(say(&w, "DATA"), "354 ");
	EXPECT_STARTS(say(&w, "To: bob@example.test\r\nBcc: friend@elsewhere.test\r\n\r\nhello\r\n..dot\r\n."), "250 2.0.0 queued as 3f2a9c01-5");
	EXPECT_STR(buf_str(&w.to), "bob@example.test friend@elsewhere.test Postmaster");
	EXPECT_STR(buf_str(&w.sender), "Alice+work@example.test");
	EXPECT_INT(w.submitter, 1);
	EXPECT(w.is_authenticated);
	struct str body = buf_str(&w.body);
	EXPECT_STARTS(body, "Received: from laptop.lan ([192.0.2.7])\r\n\tby mail.example.test with ESMTPSA (TLSv1.3 TLS_AES_128_GCM_SHA256)\r\n\tid 00000abc.1;");
	EXPECT_HAS(body, "\r\nFrom: Alice Martin <Alice+work@example.test>\r\nDate: ");
	EXPECT_HAS(body, "@mail.example.test>\r\n\r\nhello\r\n.dot\r\n");
	EXPECT(str_ifind(body, STR("\r\nBcc:")) < 0);
	EXPECT_STARTS(say(&w, "EHLO again"), "250-mail.example.test greets 192.0.2.7\r\n");
	EXPECT_STARTS(say(&w, "AUTH PLAIN xxx"), "503 ");
	EXPECT_STARTS(say(&w, "QUIT"), "221 ");
	end(&w);
}

TEST(what_was_refused_is_noted)
{
	struct world w;

	begin(&w);
	log_in(&w, "EHLO x");
	say(&w, "MAIL FROM:<bob@example.test>");
	say(&w, "MAIL FROM:<alice@example.test>");
	say(&w, "RCPT TO:<nobody@example.test>");
	say(&w, "RCPT TO:<bob@example.test>");
	say(&w, "RCPT TO:<friend@elsewhere.test>");
	w.queue_says = ERR_AGAIN;
	say(&w, "DATA");
	EXPECT_STARTS(say(&w, "hello\r\n."), "452 4.3.1");
	w.is_over = true;
	pthread_join(w.thread, NULL);
	EXPECT_OK(channel_receive(w.control));
	EXPECT_STR(buf_str(&w.noted), "bob@example.test to  (0): 553 5.7.1\n"
	                              "alice@example.test to nobody@example.test (0): 550 5.1.1\n"
	                              "alice@example.test to bob@example.test (2): 452 4.3.1\n");
	pthread_create(&w.thread, NULL, serve, &w);
	end(&w);
}

TEST(pipelined_and_chunked)
{
	struct world w;

	begin(&w);
	log_in(&w, "EHLO x");
	EXPECT_STARTS(say(&w, "MAIL FROM:<alice@example.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<bob@example.test>\r\nBDAT 18 LAST\r\nSubject: x\r\n\r\nhi\r\nNOOP"),
	              "250 2.1.0 sender accepted\r\n550 5.1.1 nobody here has the address <nobody@example.test>");
	EXPECT_HAS(buf_str(&w.out), "\r\n250 2.1.5 recipient accepted\r\n250 2.0.0 queued as 3f2a9c01-5\r\n");
	EXPECT(str_ends(buf_str(&w.body), STR("\r\n\r\nhi\r\n")));
	end(&w);
}

TEST(only_own_names)
{
	struct world w;

	begin(&w);
	log_in(&w, "EHLO x");
	EXPECT_STR(say(&w, "MAIL FROM:<bob@example.test>"),
	           "553 5.7.1 this account must not send as <bob@example.test> (MAIL FROM); it may send as alice@example.test, info@example.test\r\n");
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "503 ");
	EXPECT_STARTS(say(&w, "MAIL FROM:<info@example.test>"), "250 ");
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "250 ");
	EXPECT_STARTS(say(&w, "DATA"), "354 ");
	EXPECT_STARTS(say(&w, "From: Bob <bob@example.test>\r\n\r\nx\r\n."), "553 5.7.1 this account must not send as <bob@example.test> (From)");
	EXPECT_INT(w.added, 0);
	EXPECT_STARTS(say(&w, "MAIL FROM:<>"), "250 ");  /* a receipt */
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "250 ");
	EXPECT_STARTS(say(&w, "DATA"), "354 ");
	EXPECT_STARTS(say(&w, "From: Alice <alice@example.test>\r\n\r\nread\r\n."), "250 ");
	EXPECT_INT(w.added, 1);
	end(&w);
}

TEST(recipients)
{
	static const struct { const char *to, *reply; } cases[] = {
		{ "bob@example.test", "250 2.1.5" },
		{ "BOB+x@Example.TEST", "250 2.1.5" },
		{ "nobody@example.test", "550 5.1.1 " },
		{ "full@example.test", "452 4.2.2 the mailbox of <full@example.test> is full" },
		{ "friend@elsewhere.test", "250 2.1.5" },
		{ "friend@", "501 5.1.3" },
	};
	struct world w;

	begin(&w);
	log_in(&w, "EHLO x");
	say(&w, "MAIL FROM:<alice@example.test>");
	EACH(cases, c)
		EXPECT_STARTS(say_bytes(&w, arena_printf(&w.arena, "RCPT TO:<%s>\r\n", c->to)), c->reply);
	end(&w);
}

static struct str send_to_two(struct world *w)
{
	say(w, "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<friend@elsewhere.test>\r\nDATA");
	return say(w, "Subject: x\r\n\r\nx\r\n.");
}

TEST(so_many_a_day)
{
	struct world w;
	uint64_t left;

	begin(&w);
	set(&w, SETTING_submit_recipients_per_day, "5");
	set(&w, SETTING_submit_recipients_max, "100");
	log_in(&w, "EHLO x");
	EXPECT_STARTS(send_to_two(&w), "250 2.0.0");
	hang_up(&w);
	log_in(&w, "EHLO x");  /* another session of the same account */
	w.queue_says = ERR_AGAIN;
	EXPECT_STARTS(send_to_two(&w), "452 4.3.1");
	EXPECT_OK(view_allowance_left(w.account.view, ALLOWANCE_RECIPIENTS, 5, &left));
	EXPECT_INT(left, 3);  /* what was not taken does not count */
	w.queue_says = ERR_OK;
	EXPECT_STARTS(send_to_two(&w), "250 2.0.0");
	say(&w, "MAIL FROM:<alice@example.test>");
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "250 ");
	EXPECT_STARTS(say(&w, "RCPT TO:<carol@elsewhere.test>"), "450 4.7.1 this account may write to 5 recipients in a day, and has done so");
	EXPECT_INT(w.added, 2);
	end(&w);
}

/* A message to n people elsewhere that nobody has written to yet. */
static struct str send_to_strangers(struct world *w, size_t n)
{
	static unsigned next = 0;
	CLEANUP(buf_free) struct buf b = BUF(64 << 10);

	buf_printf(&b, "MAIL FROM:<alice@example.test>\r\n");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "RCPT TO:<stranger%u@elsewhere.test>\r\n", next++);
	buf_printf(&b, "DATA\r\n");
	say_bytes(w, buf_str(&b));
	return say(w, "Subject: x\r\n\r\nx\r\n.");
}

TEST(a_stolen_account_is_stopped)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_account x;
	struct world w;

	begin(&w);
	log_in(&w, "EHLO x");
	EXPECT_STARTS(send_to_strangers(&w, 99), "250 2.0.0");
	EXPECT_INT(w.letters.n, 0);
	EXPECT_STARTS(send_to_strangers(&w, 30), "250 2.0.0");        /* unusual, and said once a day */
	EXPECT_STARTS(send_to_strangers(&w, 30), "250 2.0.0");
	EXPECT_STR(buf_str(&w.letters), "postmaster@example.test\n");
	EXPECT_HAS(buf_str(&w.letter), "Auto-Submitted: auto-generated");
	EXPECT_HAS(buf_str(&w.letter), "129 personnes");              /* the administrator reads French */
	EXPECT_INT(w.added, 3);
	EXPECT_OK(view_sending_refused(w.account.view, 40, clock_wall_s()));
	EXPECT_STARTS(send_to_strangers(&w, 1), "550 5.7.1 this account may not send at the moment");
	EXPECT_STR(buf_str(&w.letters), "postmaster@example.test\nalice@example.test\npostmaster@example.test\n");
	EXPECT_HAS(buf_str(&w.letter), "alice@example.test n'envoie plus");
	EXPECT_STARTS(say(&w, "MAIL FROM:<alice@example.test>"), "550 5.7.1 this account may not send at the moment");
	EXPECT_INT(w.added, 3);
	EXPECT_OK(account_get(w.d, 1, &a, &x));
	EXPECT(x.stopped_s != 0);
	EXPECT_STARTS(x.stopped_why, "signs: STRANGERS=160/160/0");
	hang_up(&w);
	EXPECT_OK(account_stop_sending(w.d, 1, 0, STR("")));           /* as `account sending --allow` */
	EXPECT_OK(view_sending_forgive(w.account.view, clock_wall_s()));
	log_in(&w, "EHLO x");
	EXPECT_STARTS(send_to_strangers(&w, 10), "250 2.0.0");
	end(&w);
}

TEST(what_others_refuse_stops_it_too)
{
	struct world w;
	struct account_info info;

	begin(&w);
	log_in(&w, "EHLO x");
	EXPECT_STARTS(send_to_strangers(&w, 120), "250 2.0.0");
	EXPECT_OK(account_info_ask(w.account.control, 1, 5000, &w.arena, &info));
	EXPECT_OK(view_sending_refused(w.account.view, 23, clock_wall_s()));
	submit_sending_weigh(&w.account, &info);
	EXPECT_STR(buf_str(&w.letters), "postmaster@example.test\n");          /* not yet a fifth of it */
	EXPECT_OK(view_sending_refused(w.account.view, 1, clock_wall_s()));
	submit_sending_weigh(&w.account, &info);
	submit_sending_weigh(&w.account, &info);                               /* and not twice */
	EXPECT_STR(buf_str(&w.letters), "postmaster@example.test\nalice@example.test\npostmaster@example.test\n");
	account_info_free(&info);
	end(&w);
}

TEST(a_sudden_bulk_is_slowed)
{
	struct world w;

	begin(&w);
	set(&w, SETTING_submit_recipients_per_hour, "60");
	log_in(&w, "EHLO x");
	EXPECT_STARTS(send_to_strangers(&w, 50), "250 2.0.0");
	EXPECT_STARTS(send_to_strangers(&w, 30), "250 2.0.0");
	EXPECT_INT(w.slowed_s, 0);
	EXPECT_INT(w.letters.n, 0);
	EXPECT_STARTS(send_to_strangers(&w, 5), "250 2.0.0");       /* 20 too many are before it, one a minute */
	EXPECT(w.slowed_s >= 1195 && w.slowed_s <= 1200);
	EXPECT_STARTS(send_to_strangers(&w, 5), "250 2.0.0");
	EXPECT(w.slowed_s >= 1495 && w.slowed_s <= 1500);
	EXPECT_STR(buf_str(&w.letters), "postmaster@example.test\n");
	EXPECT_HAS(buf_str(&w.letter), "plus de 60 personnes ailleurs en une heure");
	say(&w, "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA");
	EXPECT_STARTS(say(&w, "Subject: x\r\n\r\nx\r\n."), "250 2.0.0");   /* colleagues do not wait */
	EXPECT_INT(w.slowed_s, 0);
	w.queue_says = ERR_AGAIN;
	EXPECT_STARTS(send_to_strangers(&w, 50), "452 4.3.1");
	w.queue_says = ERR_OK;
	EXPECT_STARTS(send_to_strangers(&w, 1), "250 2.0.0");       /* what was not taken slows nobody */
	EXPECT(w.slowed_s >= 1795 && w.slowed_s <= 1800);
	end(&w);
}

TEST(who_is_not_watched)
{
	struct world w;

	begin(&w);
	set(&w, SETTING_submit_watch, "off");
	log_in(&w, "EHLO x");
	EXPECT_OK(view_sending_refused(w.account.view, 400, clock_wall_s()));
	EXPECT_STARTS(send_to_strangers(&w, 300), "250 2.0.0");
	EXPECT_STARTS(send_to_two(&w), "250 2.0.0");
	EXPECT_INT(w.letters.n, 0);
	end(&w);
}

TEST(colleagues_are_no_strangers)
{
	struct world w;
	struct sending_facts f;

	begin(&w);
	log_in(&w, "EHLO x");
	for (int i = 0; i < 3; i++)
		EXPECT_STARTS(send_to_two(&w), "250 2.0.0");
	say(&w, "MAIL FROM:<alice@example.test>");
	for (int i = 0; i < 3; i++)
		EXPECT_STARTS(say(&w, "RCPT TO:<nobody@example.test>"), "550 5.1.1");   /* the same counts once a day */
	say(&w, "RCPT TO:<friend@elsewhere.test>");
	w.queue_says = ERR_AGAIN;
	say(&w, "DATA");
	EXPECT_STARTS(say(&w, "hello\r\n."), "452 4.3.1");
	EXPECT_OK(view_sending_facts(w.account.view, clock_wall_s(), &f));
	EXPECT_INT(f.in[SENDING_HOUR].recipients, 3);
	EXPECT_INT(f.in[SENDING_HOUR].strangers, 1);
	EXPECT_INT(f.in[SENDING_HOUR].refused, 1);
	EXPECT_INT(f.in[SENDING_HOUR].networks, 1);
	end(&w);
}

TEST(large_messages_are_spooled)
{
	struct world w;
	struct str line = STR("0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
	size_t sent = 0;

	begin(&w);
	set(&w, SETTING_message_size_max, "3MB");
	log_in(&w, "EHLO x");
	EXPECT_STARTS(say(&w, "MAIL FROM:<alice@example.test> SIZE=4000000"), "552 5.3.4");
	say(&w, "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: x\r\n");
	while (sent < 2000000) {
		EXPECT_STR(say_bytes(&w, line), "");
		sent += line.n;
	}
	EXPECT_STARTS(say(&w, "."), "250 2.0.0");
	EXPECT(w.spool_fd >= 0);
	EXPECT(str_find(buf_str(&w.body), STR("Message-ID: <")) > 0);
	EXPECT(str_ends(buf_str(&w.body), line) && w.body.n > sent);
	end(&w);
}

TEST(printers)
{
	struct world w;

	begin(&w);
	EXPECT_STR(log_in(&w, "PRINTER HELO scanner"), "");  /* its MAIL is what comes first */
	EXPECT_STARTS(say(&w, "MAIL FROM:<alice@example.test>"), "250 ");
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "250 ");
	EXPECT_STARTS(say(&w, "DATA"), "354 ");
	EXPECT_STARTS(say(&w, "Subject: scan\r\n\r\nx\r\n."), "250 ");
	EXPECT_HAS(buf_str(&w.body), " with SMTP (TLSv1.3");
	EXPECT_HAS(buf_str(&w.body), "\r\nFrom: Alice Martin <alice@example.test>\r\n");
	end(&w);
}

TEST(other_roles_away)
{
	struct world w;

	begin(&w);
	log_in(&w, "EHLO x");
	say(&w, "MAIL FROM:<alice@example.test>");
	say(&w, "RCPT TO:<bob@example.test>");
	channel_replace(w.account.control, -1);
	channel_replace(w.account.queue, -1);
	EXPECT_STARTS(say(&w, "RCPT TO:<bob@example.test>"), "451 4.3.0");
	EXPECT_STARTS(say(&w, "DATA"), "354 ");
	EXPECT_STARTS(say(&w, "Subject: x\r\n\r\nx\r\n."), "451 4.3.0");
	buf_reset(&w.out);
	submission_engine.bye(w.state);
	EXPECT_STARTS(buf_str(&w.out), "421 4.3.2 ");
	hang_up(&w);
	EXPECT_STARTS(log_in(&w, "EHLO x"), "454 4.7.0");
	EXPECT(w.state == NULL);
	hang_up(&w);
	EXPECT_STARTS(log_in(&w, "PRINTER EHLO x"), "421 4.3.0");
	hang_up(&w);
	end(&w);
}
