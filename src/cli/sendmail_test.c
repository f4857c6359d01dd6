/* Options and texts as scripts really use them; then the whole command against a server in a thread. */
#include "base/test.h"
#include "cli/sendmail.h"
#include "cli/sendmail_private.h"
#include "smtp/client.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

/* Words cut at blanks; returns how many, with argv[n] NULL. */
static int words(struct arena *a, const char *line, char **argv)
{
	struct str rest = str_of(line), word;
	int n = 0;

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		argv[n++] = str_cstr(a, word);
	}
	argv[n] = NULL;
	return n;
}

TEST(options)
{
	static const struct { const char *line; bool ok; enum sendmail_mode mode; bool t, i; const char *sender, *name, *first; } cases[] = {
		{ "sendmail bob",                            true, SENDMAIL_DELIVER, false, false, NULL, NULL, "bob" },
		{ "sendmail -ti",                            true, SENDMAIL_DELIVER, true, true, NULL, NULL, NULL },
		{ "/usr/sbin/sendmail -FCronDaemon -i -odi -oem -oi -t -f root", true, SENDMAIL_DELIVER, true, true, "root", "CronDaemon", NULL },
		{ "sendmail -t -oi -f a@x -- -bob",          true, SENDMAIL_DELIVER, true, true, "a@x", NULL, "-bob" },
		{ "sendmail bob -f <>",                      true, SENDMAIL_DELIVER, false, false, "", NULL, "bob" },     /* in any place */
		{ "sendmail -ra@x -B 8BITMIME -N never -om bob", true, SENDMAIL_DELIVER, false, false, "a@x", NULL, "bob" },
		{ "sendmail -bm -q bob",                     true, SENDMAIL_DELIVER, false, false, NULL, NULL, "bob" },
		{ "sendmail -bs",                            true, SENDMAIL_SMTP, false, false, NULL, NULL, NULL },
		{ "sendmail -bp",                            true, SENDMAIL_MAILQ, false, false, NULL, NULL, NULL },
		{ "mailq",                                   true, SENDMAIL_MAILQ, false, false, NULL, NULL, NULL },
		{ "/usr/bin/newaliases",                     true, SENDMAIL_NEWALIASES, false, false, NULL, NULL, NULL },
		{ "sendmail -f",                             false },
		{ "sendmail -z bob",                         false },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct sendmail_options o;
		char *argv[20], bad[3];

		EXPECT_INT(sendmail_options(words(&a, c->line, argv), argv, &o, bad), c->ok);
		if (!c->ok)
			continue;
		EXPECT_INT(o.mode, c->mode);
		EXPECT_INT(o.reads_recipients, c->t);
		EXPECT_INT(o.dot_is_text, c->i);
		EXPECT_STR(str_of(o.sender), c->sender);
		EXPECT_STR(str_of(o.name), c->name);
		EXPECT_STR(str_of(o.word_count ? o.words[0] : NULL), c->first);
	}
}

TEST(text)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "Subject: x\n\nhi\n",             "Subject: x\r\n\r\nhi\r\n" },
		{ "Subject: x\r\n\r\nhi\n.\nend",   "Subject: x\r\n\r\nhi\r\n.\r\nend\r\n" },     /* mixed line ends; no last one */
		{ "just text\nmore: text\n",        "\r\njust text\r\nmore: text\r\n" },
		{ "at 12:30 it broke\n",            "\r\nat 12:30 it broke\r\n" },                /* a colon is not yet a field */
		{ "From root Mon Nov 24\nTo: a\n\n", "To: a\r\n\r\n" },
		{ "X: 1\n\n10%\r20%\rdone\n",       "X: 1\r\n\r\n10%\r\n20%\r\ndone\r\n" },
		{ "",                               "" },
		{ "\n\nx\n",                        "\r\n\r\nx\r\n" },
	};

	EACH(cases, c) {
		CLEANUP(buf_free) struct buf out = BUF(1000);

		sendmail_text(str_of(c->in), &out);
		EXPECT_STR(out.n ? buf_str(&out) : STR(""), c->out);
	}
	CLEANUP(buf_free) struct buf long_line = BUF(1 << 20), out = BUF(1 << 20);
	buf_add(&long_line, STR("\n"));
	for (int i = 0; i < SENDMAIL_LINE_MAX * 2 + 5; i++)
		buf_add_char(&long_line, 'x');
	sendmail_text(buf_str(&long_line), &out);
	EXPECT_INT(out.n, 2 + SENDMAIL_LINE_MAX * 2 + 5 + 3 * 2);
	EXPECT_STR(str_from(buf_str(&out), out.n - 7), "xxxxx\r\n");
}

TEST(a_lone_dot)
{
	static const struct { const char *in; int end; } cases[] = {
		{ "a\n.\nb", 2 }, { "a\n.\r\n", 2 }, { ".\n", 0 }, { "a\n..\n", -1 }, { "a\n.", -1 }, { "a.\n", -1 }, { "", -1 },
	};

	EACH(cases, c) {
		for (size_t piece = 1; piece < 5; piece++) {
			size_t at = 0, end = 0, n = strlen(c->in), shown = 0;
			bool found = false;

			while (!found && shown < n) {
				shown = shown + piece < n ? shown + piece : n;
				found = sendmail_dot(str_make(c->in, shown), &at, &end);
			}
			EXPECT_INT(found ? (int)end : -1, c->end);
		}
	}
}

TEST(recipients)
{
	static const struct { const char *in, *out; bool ok; } cases[] = {
		{ "To: a@x, Bob <b@y>\nCc: root\nBcc: c@z\nReply-To: q@q\n\nTo: no@no\n", "a@x b@y root c@z", true },
		{ "To: a@x\nResent-To: b@y\nResent-Bcc: c@z\n\n", "b@y c@z", true },
		{ "To: team: a@x, b@y;\n\n", "a@x b@y", true },
		{ "To: \n\n", "", true },
		{ "To: <a@x..y>\n\n", "", false },
	};

	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		CLEANUP(buf_free) struct buf all = BUF(1000);
		struct sendmail_recipients r = { 0 };

		EXPECT_INT(sendmail_recipients_of_header(&r, &a, str_of(c->in)), c->ok);
		for (size_t i = 0; i < r.n; i++)
			buf_printf(&all, "%s" STR_FMT, i ? " " : "", STR_ARG(r.address[i]));
		if (c->ok)
			EXPECT_STR(all.n ? buf_str(&all) : STR(""), c->out);
	}
}

/* ------------------------------------------------------------------------------------------- against a server */

struct server {
	const char *dir;
	int         fd;
	struct buf  heard;
};

static bool has_line(struct server *s, int fd, size_t *at, struct str *line)
{
	for (;;) {
		struct str rest = str_from(buf_str(&s->heard), *at);
		ptrdiff_t lf = rest.n ? str_chr(rest, '\n') : -1;
		if (lf >= 0) {
			*line = str_sub(rest, 0, (size_t)lf + 1);
			*at += line->n;
			return true;
		}
		ssize_t n = read(fd, buf_reserve(&s->heard, 4096), 4096);
		if (n <= 0)
			return false;
		buf_grew(&s->heard, (size_t)n);
	}
}

static void *serve(void *context)
{
	struct server *s = context;
	int fd = accept(s->fd, NULL, NULL);
	bool in_data = false;
	size_t at = 0;
	struct str line;

	if (fd < 0)  /* nobody called */
		return NULL;
	dprintf(fd, "220 ready\r\n");
	while (has_line(s, fd, &at, &line)) {
		if (in_data && !str_eq(line, STR(".\r\n")))
			continue;
		if (in_data) {
			dprintf(fd, "250 2.0.0 queued\r\n");
			in_data = false;
		} else if (str_starts(line, STR("EHLO"))) {
			dprintf(fd, "250-here\r\n250 XCALLER alice@example.test\r\n");
		} else if (str_starts(line, STR("MAIL FROM:<evil"))) {
			dprintf(fd, "553 5.7.1 not yours\r\n");
		} else if (str_starts(line, STR("RCPT TO:<root@")) || str_starts(line, STR("RCPT TO:<nobody-"))) {
			dprintf(fd, "550 5.1.1 nobody here\r\n");
		} else if (str_starts(line, STR("DATA"))) {
			dprintf(fd, "354 go\r\n");
			in_data = true;
		} else {
			dprintf(fd, "250 2.0.0 ok\r\n");
		}
	}
	close(fd);
	return NULL;
}

/* Runs the command with this input; what the server heard is in heard. */
static int run(struct arena *a, const char *line, const char *input, struct str *heard)
{
	struct server s = { .dir = test_dir(), .heard = BUF(1 << 20) };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int in = memfd_create("input", 0), saved = dup(STDIN_FILENO);
	char *argv[20];
	pthread_t thread;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/submit.sock", s.dir);
	s.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT_INT(bind(s.fd, (struct sockaddr *)&at, sizeof(at)), 0);
	EXPECT_INT(listen(s.fd, 1), 0);
	EXPECT_INT(write(in, input, strlen(input)), strlen(input));
	lseek(in, 0, SEEK_SET);
	dup2(in, STDIN_FILENO);
	pthread_create(&thread, NULL, serve, &s);
	int code = cli_sendmail(words(a, line, argv), argv, s.dir);
	shutdown(s.fd, SHUT_RDWR);  /* wakes a server that nobody called */
	pthread_join(thread, NULL);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(in);
	close(s.fd);
	*heard = s.heard.n ? str_copy(a, buf_str(&s.heard)) : STR("");
	buf_free(&s.heard);
	test_dir_remove(s.dir);
	return code;
}

TEST(conversations)
{
	static const struct { const char *line, *input; int code; const char *heard; } cases[] = {
		{ "sendmail -oi bob@example.test", "Subject: x\n\nline\n.\nend\n", EX_OK,
		  "EHLO localhost\r\nMAIL FROM:<alice@example.test> BODY=8BITMIME\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
		  "Subject: x\r\n\r\nline\r\n..\r\nend\r\n.\r\nQUIT\r\n" },
		{ "sendmail -t", "To: bob\nBcc: carol@elsewhere.test\n\nx\n.\nnot sent\n", EX_OK,  /* a name, a lone dot */
		  "EHLO localhost\r\nMAIL FROM:<alice@example.test> BODY=8BITMIME\r\nRCPT TO:<bob@example.test>\r\n"
		  "RCPT TO:<carol@elsewhere.test>\r\nDATA\r\nTo: bob\r\nBcc: carol@elsewhere.test\r\n\r\nx\r\n.\r\nQUIT\r\n" },
		{ "sendmail root", "x\n", EX_OK,  /* a system user without an account */
		  "EHLO localhost\r\nMAIL FROM:<alice@example.test> BODY=8BITMIME\r\nRCPT TO:<root@example.test>\r\nRCPT TO:<Postmaster>\r\n"
		  "DATA\r\n\r\nx\r\n.\r\nQUIT\r\n" },
		{ "sendmail -f <> -F Dæmon bob", "Subject: x\n\n", EX_OK,
		  "EHLO localhost\r\nMAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
		  "From: =?utf-8?b?RMOmbW9u?= <alice@example.test>\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n" },
		{ "sendmail nobody-at-all bob", "x\n", EX_NOUSER,  /* the other one gets it */
		  "EHLO localhost\r\nMAIL FROM:<alice@example.test> BODY=8BITMIME\r\nRCPT TO:<nobody-at-all@example.test>\r\n"
		  "RCPT TO:<bob@example.test>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n" },
		{ "sendmail jos\xc3\xa9@example.test", "x\n", EX_OK,
		  "EHLO localhost\r\nMAIL FROM:<alice@example.test> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<jos\xc3\xa9@example.test>\r\n"
		  "DATA\r\n\r\nx\r\n.\r\nQUIT\r\n" },
		{ "sendmail -f evil@x bob", "x\n", EX_NOPERM, "EHLO localhost\r\nMAIL FROM:<evil@x> BODY=8BITMIME\r\n" },
		{ "sendmail", "x\n", EX_USAGE, "" },
		{ "sendmail -t", "Subject: x\n\nTo: bob\n", EX_USAGE, "" },
		{ "sendmail -bs", "EHLO me\r\nQUIT\r\n", EX_OK, "EHLO me\r\nQUIT\r\n" },
	};

	setenv("LC_ALL", "C", 1);
	EACH(cases, c) {
		CLEANUP(arena_free) struct arena a = { 0 };
		struct str heard;

		EXPECT_INT(run(&a, c->line, c->input, &heard), c->code);
		EXPECT_STR(heard, c->heard);
	}
}

TEST(no_server)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	char *argv[] = { (char[]){ "sendmail" }, (char[]){ "bob" }, NULL };
	int saved = dup(STDIN_FILENO), in = memfd_create("input", 0);

	dup2(in, STDIN_FILENO);
	EXPECT_INT(cli_sendmail(2, argv, "/nonexistent"), EX_TEMPFAIL);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(in);
}
