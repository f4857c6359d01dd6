/* POP3 transcripts over a real account: one line in, what comes out. */
#include "base/test.h"
#include "pop3/engine.h"
#include "store/view.h"
#include "submit/account.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct world {
	const char    *path;
	struct account account;
	struct arena   arena;
	struct session *s;
	void          *state;
	struct buf     out;
};

static const char first[] = "From: a@example.test\r\nSubject: one\r\n\r\nHello\r\n.dot\r\n..two\r\nend\r\n";
static const char second[] = "Subject: two\r\n\r\nno end";

static void add(struct world *w, struct str text)
{
	struct append *ap;
	struct appended *got;
	struct mailbox inbox;
	size_t n;

	EXPECT_OK(view_mailbox_by_role(w->account.view, MAILBOX_INBOX, &w->arena, &inbox));
	EXPECT_OK(append_begin(w->account.view, &ap));
	EXPECT_OK(append_message(ap, &(struct append_new){ inbox.mailbox_id, 1700000000, 0 }, text.n));
	EXPECT_OK(append_write(ap, text));
	EXPECT_OK(append_end(ap));
	EXPECT_OK(append_commit(&ap, &w->arena, &got, &n));
}

static void open_world(struct world *w)
{
	*w = (struct world){ .path = test_dir(), .out = BUF(64 << 20) };
	w->account.account = 1;
	EXPECT_OK(view_open(w->path, &(struct view_config){ .account = 1 }, &w->account.view));
}

static void hang_up(struct world *w)
{
	if (w->state != NULL)
		pop3_engine.close(w->state);
	w->state = NULL;
	session_test_free(w->s);
	w->s = NULL;
}

static void close_world(struct world *w)
{
	if (w->s != NULL)
		hang_up(w);
	view_close(w->account.view);
	buf_free(&w->out);
	arena_free(&w->arena);
	test_dir_remove(w->path);
}

static struct str log_in_as(struct world *w, const char *command)
{
	const struct session_open info = { .protocol = PROTOCOL_POP3, .command = str_of(command) };

	buf_reset(&w->out);
	w->s = session_for_test(&info, STR(""), &w->out);
	w->state = pop3_engine.open(w->s, &w->account);
	session_flush(w->s);
	return buf_str(&w->out);
}

static struct str log_in(struct world *w) { return log_in_as(w, "ASCII PLAIN LOGIN"); }

static struct str say_bytes(struct world *w, struct str bytes, enum session_next want)
{
	buf_reset(&w->out);
	session_test_input(w->s, bytes);
	EXPECT_INT(pop3_engine.input(w->state), want);
	session_flush(w->s);
	return buf_str(&w->out);
}

static struct str say(struct world *w, const char *line)
{
	return say_bytes(w, arena_printf(&w->arena, "%s\r\n", line), SESSION_WAIT);
}

#define EXPECT_STARTS(got, want) do { struct str es_g = (got); if (!str_starts(es_g, str_of(want))) { \
	print_error("%s:%d: '%.*s' does not start with '%s'\n", __FILE__, __LINE__, STR_ARG(es_g), want); fail(); } } while (0)

TEST(empty)
{
	struct world w;

	open_world(&w);
	EXPECT_STR(log_in(&w), "+OK 0 messages (0 octets)\r\n");
	EXPECT_STR(say(&w, "stat"), "+OK 0 0\r\n");
	EXPECT_STR(say(&w, "LIST"), "+OK 0 messages (0 octets)\r\n.\r\n");
	EXPECT_STR(say(&w, "UIDL"), "+OK unique ids follow\r\n.\r\n");
	EXPECT_STR(say(&w, "RETR 1"), "-ERR there are no messages\r\n");
	EXPECT_STR(say_bytes(&w, STR("QUIT\r\n"), SESSION_CLOSE), "+OK 0 removed, goodbye\r\n");
	close_world(&w);
}

TEST(read)
{
	struct world w;
	char stat[100];

	open_world(&w);
	add(&w, str_of(first));
	add(&w, str_of(second));
	log_in(&w);
	snprintf(stat, sizeof stat, "+OK 2 %zu\r\n", strlen(first) + strlen(second));
	EXPECT_STR(say(&w, "STAT"), stat);
	snprintf(stat, sizeof stat, "+OK 2 messages (%zu octets)\r\n1 %zu\r\n2 %zu\r\n.\r\n", strlen(first) + strlen(second), strlen(first),
	         strlen(second));
	EXPECT_STR(say(&w, "LIST"), stat);
	snprintf(stat, sizeof stat, "+OK 2 %zu\r\n", strlen(second));
	EXPECT_STR(say(&w, "list 2"), stat);
	EXPECT_STR(say(&w, "RETR 1"), "+OK 63 octets\r\nFrom: a@example.test\r\nSubject: one\r\n\r\nHello\r\n..dot\r\n...two\r\nend\r\n.\r\n");
	EXPECT_STR(say(&w, "RETR 2"), "+OK 22 octets\r\nSubject: two\r\n\r\nno end\r\n.\r\n");
	EXPECT_STR(say(&w, "TOP 1 0"), "+OK 63 octets\r\nFrom: a@example.test\r\nSubject: one\r\n\r\n.\r\n");
	EXPECT_STR(say(&w, "TOP 1 2"), "+OK 63 octets\r\nFrom: a@example.test\r\nSubject: one\r\n\r\nHello\r\n..dot\r\n.\r\n");
	EXPECT_STR(say(&w, "TOP 2 9"), "+OK 22 octets\r\nSubject: two\r\n\r\nno end\r\n.\r\n");
	EXPECT_STR(say(&w, "TOP 2"), "-ERR expected: TOP message lines\r\n");
	EXPECT_STR(say(&w, "RETR"), "-ERR expected: the number of a message, as LIST shows it\r\n");
	EXPECT_STR(say(&w, "RETR 3"), "-ERR there is no message with this number\r\n");
	EXPECT_STR(say(&w, "RETR 0"), "-ERR there is no message with this number\r\n");
	EXPECT_STR(say(&w, "RETR 1 2"), "-ERR expected: the number of a message, as LIST shows it\r\n");
	EXPECT_STARTS(say(&w, "UIDL 1"), "+OK 1 M");
	EXPECT_STARTS(say(&w, "CAPA"), "+OK this server can\r\nUSER\r\nSASL PLAIN LOGIN\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n");
	EXPECT_STARTS(say(&w, "USER bob"), "-ERR you are logged in already");
	EXPECT_STARTS(say(&w, "XYZZY"), "-ERR unknown command");
	EXPECT_STARTS(say(&w, "NOOP x"), "-ERR this command has no arguments");
	EXPECT_STR(say(&w, "NOOP"), "+OK\r\n");
	EXPECT_STR(say_bytes(&w, STR("NOOP\r\nNO"), SESSION_WAIT), "+OK\r\n");       /* pipelined, cut anywhere */
	EXPECT_STR(say_bytes(&w, STR("OP\r\nSTAT\r\nNOOP\n"), SESSION_WAIT), "+OK\r\n+OK 2 85\r\n+OK\r\n");
	close_world(&w);
}

/* RFC 6856, RFC 6858: what a client that never said UTF8 gets of an internationalised message */
TEST(utf8)
{
	static const char text[] = "From: =?utf-8?q?x?= <\xc3\xa9lise@example.test>, bob@example.test\r\nSubject: \xc3\xa9t\xc3\xa9\r\n"
		"X-Own: \xc3\xa9\r\nContent-Type: text/plain; charset=utf-8; name=\"\xc3\xa9.txt\"\r\nTo: a@example.test\r\n\r\n\xc3\xa9\r\n.\r\n";
	static const char legacy[] = "Subject: \xe9t\xe9\r\n\r\nx\r\n";
	struct world w;
	struct str got;

	open_world(&w);
	add(&w, str_of(text));
	add(&w, str_of(legacy));
	log_in(&w);
	got = say(&w, "RETR 1");
	EXPECT(str_ends(got, STR("\r\nTo: a@example.test\r\n\r\n\xc3\xa9\r\n..\r\n.\r\n")));
	EXPECT(str_find(got, STR("<invalid@internationalized-address.invalid>")) > 0);
	EXPECT(str_find(got, STR("bob@example.test")) > 0);
	EXPECT(str_find(got, STR("Subject: =?")) > 0);
	EXPECT(str_find(got, STR("name*=")) > 0);
	EXPECT(str_find(got, STR("X-Own")) < 0);
	EXPECT(str_is_ascii(str_sub(got, 0, (size_t)str_find(got, STR("\r\n\r\n")))));
	EXPECT(str_ends(say(&w, "TOP 1 1"), STR("\r\n\r\n\xc3\xa9\r\n.\r\n")));
	EXPECT(str_ends(say(&w, "TOP 1 0"), STR("To: a@example.test\r\n\r\n.\r\n")));
	EXPECT_STR(say(&w, "RETR 2"), "+OK 19 octets\r\nSubject: \xe9t\xe9\r\n\r\nx\r\n.\r\n");  /* Latin-1: as it always was */
	hang_up(&w);
	log_in_as(&w, "UTF8 PLAIN");
	EXPECT(str_find(say(&w, "RETR 1"), STR("Subject: \xc3\xa9t\xc3\xa9\r\n")) > 0);
	close_world(&w);
}

static uint64_t flags_of_first(struct world *w)
{
	struct mailbox inbox;
	struct selected *window;
	struct message_row row = { 0 };
	uint32_t next = 0;

	EXPECT_OK(view_mailbox_by_role(w->account.view, MAILBOX_INBOX, &w->arena, &inbox));
	EXPECT_OK(selected_open(w->account.view, inbox.mailbox_id, NULL, &window));
	selected_rows(window, NULL, 0, &next, &row, 1);
	selected_close(window);
	return row.flags;
}

TEST(seen_is_set_by_retr)
{
	struct world w;

	open_world(&w);
	add(&w, str_of(first));
	log_in(&w);
	say(&w, "TOP 1 1");
	EXPECT(!(flags_of_first(&w) & FLAG_SEEN));
	say(&w, "RETR 1");
	EXPECT(flags_of_first(&w) & FLAG_SEEN);
	close_world(&w);
}

TEST(removal_only_at_quit)
{
	struct world w;
	char uid[60];

	open_world(&w);
	add(&w, str_of(first));
	add(&w, str_of(second));
	log_in(&w);
	EXPECT_STR(say(&w, "DELE 1"), "+OK message 1 will be removed at QUIT\r\n");
	EXPECT_STARTS(say(&w, "DELE 1"), "-ERR this message is marked");
	EXPECT_STARTS(say(&w, "RETR 1"), "-ERR this message is marked");
	EXPECT_STR(say(&w, "STAT"), "+OK 1 22\r\n");
	EXPECT_STR(say(&w, "LIST"), "+OK 1 messages (22 octets)\r\n2 22\r\n.\r\n");   /* numbers stay */
	EXPECT_STR(say(&w, "RSET"), "+OK 2 messages (85 octets)\r\n");
	EXPECT_STR(say(&w, "STAT"), "+OK 2 85\r\n");
	say(&w, "DELE 2");
	hang_up(&w);                                                                  /* the line broke: nothing is removed */
	EXPECT_STR(log_in(&w), "+OK 2 messages (85 octets)\r\n");
	snprintf(uid, sizeof uid, "%.*s", STR_ARG(str_from(say(&w, "UIDL 2"), 6)));
	say(&w, "DELE 1");
	EXPECT_STR(say_bytes(&w, STR("QUIT\r\n"), SESSION_CLOSE), "+OK 1 removed, goodbye\r\n");
	hang_up(&w);
	EXPECT_STR(log_in(&w), "+OK 1 messages (22 octets)\r\n");
	EXPECT_STR(str_from(say(&w, "UIDL 1"), 6), uid);                              /* the id stays when numbers move */
	close_world(&w);
}

TEST(one_at_a_time)
{
	struct world w;
	struct session *other;
	struct buf out = BUF(10000);
	static const struct session_open info = { .protocol = PROTOCOL_POP3 };

	open_world(&w);
	log_in(&w);
	other = session_for_test(&info, STR(""), &out);
	EXPECT(pop3_engine.open(other, &w.account) == NULL);
	session_flush(other);
	EXPECT_STARTS(buf_str(&out), "-ERR [IN-USE] ");
	session_test_free(other);
	hang_up(&w);
	EXPECT_STR(log_in(&w), "+OK 0 messages (0 octets)\r\n");
	buf_free(&out);
	close_world(&w);
}

TEST(limits)
{
	struct world w;
	char line[400];

	open_world(&w);
	log_in(&w);
	memset(line, 'x', sizeof line);
	EXPECT_STARTS(say_bytes(&w, str_make(line, sizeof line), SESSION_CLOSE), "-ERR a command is at most 255");
	hang_up(&w);
	log_in(&w);
	for (int i = 0; i < 49; i++)
		say(&w, "XYZZY");
	EXPECT_STARTS(say_bytes(&w, STR("XYZZY\r\n"), SESSION_CLOSE), "-ERR unknown command");
	close_world(&w);
}

/* A large message whose dots and line ends fall on every place of the 32 kB pieces. */
TEST(pieces)
{
	struct world w;
	struct buf text = BUF(1 << 20), want = BUF(2 << 20);

	open_world(&w);
	buf_add_cstr(&text, "Subject: large\r\n\r\n");
	for (int i = 0; text.n < 300000; i++) {
		for (int k = 0; k < i % 7; k++)
			buf_add_char(&text, k % 3 ? 'a' : '.');
		buf_add_cstr(&text, i % 11 ? "\r\n" : "\r\n.\r\n");
	}
	add(&w, buf_str(&text));
	log_in(&w);
	buf_printf(&want, "+OK %zu octets\r\n", text.n);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '.' && i > 0 && text.p[i - 1] == '\n')
			buf_add_char(&want, '.');
		buf_add_char(&want, text.p[i]);
	}
	buf_add_cstr(&want, ".\r\n");
	EXPECT(str_eq(say(&w, "RETR 1"), buf_str(&want)));
	EXPECT(str_eq(say(&w, "TOP 1 999999"), buf_str(&want)));
	for (uint32_t lines = 0; lines < 9000; lines += 611) {
		char command[40];
		size_t n = 0, at;

		snprintf(command, sizeof command, "TOP 1 %u", lines);
		struct str got = say(&w, command);
		for (at = 0; at < got.n; at++)
			n += got.p[at] == '\n';
		EXPECT_INT(n, 1 + 2 + lines + 1);
	}
	buf_free(&text);
	buf_free(&want);
	close_world(&w);
}

/* The last byte of what was stored. */
static void damage(struct world *w, struct str text)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(fd_close) int fd = open(str_cstr(&a, arena_printf(&a, "%s/bodies/000001", w->path)), O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0 && pwrite(fd, "?", 1, 24 + (off_t)text.n - 1) == 1);
}

/* A client that wants all without having it marked asks for more lines than there are. */
TEST(a_damaged_message_is_not_given_out)
{
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);
	struct world w;

	open_world(&w);
	buf_add_cstr(&text, "Subject: long\r\n\r\n");
	while (text.n < 300000)
		buf_add_cstr(&text, "a line of this message\r\n");
	add(&w, buf_str(&text));
	add(&w, STR("Subject: whole\r\n\r\n"));
	damage(&w, buf_str(&text));
	log_in(&w);
	EXPECT_STARTS(say(&w, "RETR 1"), "-ERR [SYS/PERM] this message is damaged");
	EXPECT_STARTS(say(&w, "TOP 1 99999999"), "-ERR [SYS/PERM] this message is damaged");
	EXPECT_STARTS(say(&w, "TOP 1 18446744073709551615"), "-ERR [SYS/PERM] this message is damaged");
	EXPECT_STARTS(say(&w, "TOP 1 3"), "+OK ");   /* the beginning of a long one, without reading all of it */
	EXPECT_STR(say(&w, "RETR 2"), "+OK 18 octets\r\nSubject: whole\r\n\r\n.\r\n");
	close_world(&w);
}

/* The server stops while a message goes out: without the final dot no client takes a part of it for the whole. */
TEST(a_message_cut_by_a_stop_has_no_end)
{
	CLEANUP(buf_free) struct buf text = BUF(1 << 20);
	struct world w;

	open_world(&w);
	buf_add_cstr(&text, "Subject: long\r\n\r\n");
	while (text.n < 200000)
		buf_add_cstr(&text, "a line of this message\r\n");
	add(&w, buf_str(&text));
	log_in(&w);
	session_test_end_after(w.s, 10);
	struct str got = say_bytes(&w, STR("RETR 1\r\n"), SESSION_CLOSE);
	EXPECT_STARTS(got, "+OK ");
	EXPECT(!str_ends(got, STR("\r\n.\r\n")));
	hang_up(&w);
	log_in(&w);
	session_test_end_after(w.s, 10);
	got = say_bytes(&w, STR("TOP 1 0\r\n"), SESSION_CLOSE);
	EXPECT(!str_ends(got, STR("\r\n.\r\n")));
	close_world(&w);
}
