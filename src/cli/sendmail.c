/* `facteur sendmail`: standard input becomes one message at DIR/submit.sock, where the server sees which user of this machine calls
 * (peer credentials) and answers 250 only when it is on disk. There is no queue of our own to fail: when the server does not
 * run, the caller hears it at once (75, try again), and cron or the script keeps its text.
 *
 * The whole of standard input is read before the conversation starts: a slow pipe must not meet the server's deadlines, and -t
 * needs the header anyway. Names without a domain ("root", "www-data") are completed with the domain of the caller's own address,
 * which EHLO tells us (XCALLER); a system user nobody made an account for is the postmaster's affair. */
#include "cli/sendmail.h"
#include "base/log.h"
#include "cli/sendmail_private.h"
#include "mime/build.h"
#include "mime/header.h"
#include "queue/add.h"
#include "smtp/client.h"
#include "text/text.h"
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

enum { TIMEOUT_MS = 10 * 60 * 1000,   /* RFC 5321 §4.5.3.2.6; a queue whose disk hangs may take five (QUEUE_ADD_TIMEOUT_MS) */
       INPUT_MAX = QUEUE_BODY_MAX, PIECE = 64 << 10 };

struct sendmail {
	struct sendmail_options options;
	struct sendmail_recipients to;
	const char        *dir;
	enum lang          lang;
	struct arena       arena;
	int                fd;
	struct smtp_client client;
	struct str         caller;      /* our address, as the server knows us */
	struct str         sender;
	bool               smtputf8;
	struct buf         input, text;
};

/* Says it and is the exit code. */
#define fail(m, code, id, ...) complain((m), (code), (id), (const struct str[]){ STR_NONE, __VA_ARGS__ } + 1, \
	sizeof((const struct str[]){ STR_NONE, __VA_ARGS__ }) / sizeof(struct str) - 1)
static int complain(struct sendmail *m, int code, enum text id, const struct str *args, size_t n)
{
	struct str sentence = text_format(&m->arena, m->lang, id, args, n);

	fprintf(stderr, "sendmail: " STR_FMT "\n", STR_ARG(sentence));
	return code;
}

/* Several lines of a reply as one, for a sentence. */
static struct str one_line(struct sendmail *m, struct str text)
{
	struct buf b = BUF(text.n + 1);

	for (size_t i = 0; i < text.n; i++)
		buf_add_char(&b, text.p[i] == '\n' ? ' ' : text.p[i]);
	struct str line = b.n ? str_copy(&m->arena, buf_str(&b)) : STR("");
	buf_free(&b);
	return line;
}

/* What a refusal means to whoever called us. */
static int code_of(const struct smtp_answer *r, int permanent)
{
	if (smtp_answer_class(r) == 4)
		return EX_TEMPFAIL;
	if (str_istarts(r->enhanced, STR("5.7.")))
		return EX_NOPERM;
	return str_istarts(r->enhanced, STR("5.1.1")) ? EX_NOUSER : permanent;
}

static int lost(struct sendmail *m, enum err e)
{
	return fail(m, e == ERR_INVALID ? EX_PROTOCOL : EX_TEMPFAIL, e == ERR_TIMEOUT ? TEXT_SENDMAIL_SILENT : TEXT_SENDMAIL_LOST);
}

/* ------------------------------------------------------------------------------------------------ what comes in */

static int read_input(struct sendmail *m)
{
	size_t at = 0, end;

	for (;;) {
		char *room = buf_reserve(&m->input, PIECE);
		if (room == NULL)
			return fail(m, EX_DATAERR, TEXT_SENDMAIL_TOO_LARGE, arena_printf(&m->arena, "%d", INPUT_MAX >> 20));
		ssize_t n = read(STDIN_FILENO, room, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(m, EX_IOERR, TEXT_SENDMAIL_NO_INPUT, str_of(strerror(errno)));
		if (n == 0)
			return EX_OK;
		buf_grew(&m->input, (size_t)n);
		if (!m->options.dot_is_text && sendmail_dot(buf_str(&m->input), &at, &end)) {
			buf_truncate(&m->input, end);
			return EX_OK;
		}
	}
}

static int find_recipients(struct sendmail *m)
{
	bool is_fine = true;

	for (int i = 0; i < m->options.word_count && is_fine; i++)
		is_fine = sendmail_recipients_add(&m->to, &m->arena, str_of(m->options.words[i]));
	if (is_fine && m->options.reads_recipients) {
		struct str text = buf_str(&m->text);
		is_fine = sendmail_recipients_of_header(&m->to, &m->arena, str_sub(text, 0, header_size(text)));
	}
	if (!is_fine && m->to.bad.n > 0)
		return fail(m, EX_DATAERR, TEXT_SENDMAIL_BAD_RECIPIENT, m->to.bad);
	if (!is_fine)
		return fail(m, EX_DATAERR, TEXT_SENDMAIL_TOO_MANY, arena_printf(&m->arena, "%d", SENDMAIL_RECIPIENTS_MAX));
	return m->to.n > 0 ? EX_OK : fail(m, EX_USAGE, TEXT_SENDMAIL_NO_RECIPIENTS);
}

/* ------------------------------------------------------------------------------------------------ the conversation */

static int dial(struct sendmail *m)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int n = snprintf(to.sun_path, sizeof(to.sun_path), "%s/submit.sock", m->dir);

	m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (n < 0 || (size_t)n >= sizeof(to.sun_path))
		errno = ENAMETOOLONG;
	else if (m->fd >= 0 && connect(m->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return EX_OK;
	return fail(m, EX_TEMPFAIL, TEXT_SENDMAIL_NO_SERVER, str_of(m->dir), str_of(strerror(errno)));
}

/* What follows XCALLER in the answer to EHLO. */
static struct str find_caller(struct str ehlo)
{
	struct str line;

	while (ehlo.n > 0) {
		str_cut(ehlo, '\n', &line, &ehlo);
		if (str_istarts(line, STR("XCALLER ")))
			return str_trim(str_from(line, 8));
	}
	return STR("");
}

static int greet(struct sendmail *m)
{
	struct smtp_answer r;
	enum err e = smtp_client_answer(&m->client, &m->arena, &r);

	if (e == ERR_OK && smtp_answer_class(&r) == 2)
		e = smtp_client_say(&m->client, STR("EHLO localhost"), &m->arena, &r);
	if (e != ERR_OK)
		return lost(m, e);
	if (smtp_answer_class(&r) != 2)
		return fail(m, code_of(&r, EX_UNAVAILABLE), TEXT_SENDMAIL_NOT_WELCOME, one_line(m, r.text));
	m->caller = find_caller(r.text);
	return EX_OK;
}

static bool is_user_of_machine(struct sendmail *m, struct str name) { return getpwnam(str_cstr(&m->arena, name)) != NULL; }

static bool is_myself(struct str name)
{
	struct passwd *me = getpwuid(getuid());

	return me != NULL && str_eq(name, str_of(me->pw_name));
}

/* "bob" -> "bob@" and the domain of the caller. */
static struct str with_domain(struct sendmail *m, struct str name)
{
	ptrdiff_t at = str_rchr(m->caller, '@');

	if (str_chr(name, '@') >= 0 || at < 0)
		return name;
	return arena_printf(&m->arena, STR_FMT STR_FMT, STR_ARG(name), STR_ARG(str_from(m->caller, (size_t)at)));
}

static void choose_sender(struct sendmail *m)
{
	struct str asked = str_of(m->options.sender);

	if (m->options.sender == NULL || is_myself(asked))
		m->sender = m->caller;
	else
		m->sender = asked.n > 0 ? with_domain(m, asked) : STR("");
	m->smtputf8 = !str_is_ascii(m->sender);
	for (size_t i = 0; i < m->to.n; i++)
		m->smtputf8 = m->smtputf8 || !str_is_ascii(m->to.address[i]);
}

static int say_sender(struct sendmail *m)
{
	struct smtp_answer r;
	struct str line = arena_printf(&m->arena, "MAIL FROM:<" STR_FMT "> BODY=8BITMIME%s", STR_ARG(m->sender), m->smtputf8 ? " SMTPUTF8" : "");
	enum err e = smtp_client_say(&m->client, line, &m->arena, &r);

	if (e != ERR_OK)
		return lost(m, e);
	if (smtp_answer_class(&r) == 2)
		return EX_OK;
	return fail(m, code_of(&r, EX_UNAVAILABLE), TEXT_SENDMAIL_SENDER_REFUSED, m->sender, one_line(m, r.text));
}

static enum err say_recipient(struct sendmail *m, struct str address, struct smtp_answer *r)
{
	return smtp_client_say(&m->client, arena_printf(&m->arena, "RCPT TO:<" STR_FMT ">", STR_ARG(address)), &m->arena, r);
}

/* Each one that is refused is named; the others get the message all the same, as they would from any server. *code: of the last refusal. */
static int say_recipients(struct sendmail *m, int *code)
{
	size_t accepted = 0;
	struct smtp_answer r;

	*code = EX_OK;
	for (size_t i = 0; i < m->to.n; i++) {
		struct str typed = m->to.address[i];
		enum err e = say_recipient(m, with_domain(m, typed), &r);
		if (e == ERR_OK && smtp_answer_class(&r) == 5 && str_chr(typed, '@') < 0 && is_user_of_machine(m, typed))
			e = say_recipient(m, STR("Postmaster"), &r);
		if (e != ERR_OK)
			return lost(m, e);
		if (smtp_answer_class(&r) == 2)
			accepted++;
		else
			*code = fail(m, code_of(&r, EX_UNAVAILABLE), TEXT_SENDMAIL_RECIPIENT_REFUSED, typed, one_line(m, r.text));
	}
	return accepted > 0 ? EX_OK : *code;
}

static int say_message(struct sendmail *m)
{
	struct smtp_answer r;
	enum err e = smtp_client_say(&m->client, STR("DATA"), &m->arena, &r);

	if (e == ERR_OK && smtp_answer_class(&r) == 3)
		e = smtp_client_data(&m->client, buf_str(&m->text), &m->arena, &r);
	if (e != ERR_OK)
		return lost(m, e);
	if (smtp_answer_class(&r) != 2)
		return fail(m, code_of(&r, EX_DATAERR), TEXT_SENDMAIL_MESSAGE_REFUSED, one_line(m, r.text));
	if (smtp_client_say(&m->client, STR("QUIT"), &m->arena, &r) != ERR_OK)
		log_debug("no answer to QUIT");  /* the message is on disk */
	return EX_OK;
}

/* -F: the name of a message without From. */
static void put_name(struct sendmail *m)
{
	struct str text = buf_str(&m->text), from;
	struct buf named = BUF(INPUT_MAX + (INPUT_MAX >> 1));

	if (m->options.name == NULL || header_find(str_sub(text, 0, header_size(text)), STR("From"), &from) || m->caller.n == 0)
		return;
	build_field_address(&named, "From", str_of(m->options.name), m->sender.n > 0 ? m->sender : m->caller);
	buf_add(&named, text);
	buf_free(&m->text);
	m->text = named;
}

static int deliver(struct sendmail *m)
{
	int code = read_input(m), refused = EX_OK;

	sendmail_text(buf_str(&m->input), &m->text);
	buf_free(&m->input);
	if (code == EX_OK)
		code = find_recipients(m);
	if (code == EX_OK)
		code = dial(m);
	if (code != EX_OK)
		return code;
	smtp_client_init(&m->client, m->fd, TIMEOUT_MS);
	m->client.trace_fd = m->options.is_verbose ? STDERR_FILENO : -1;
	code = greet(m);
	if (code == EX_OK) {
		choose_sender(m);
		put_name(m);
		code = say_sender(m);
	}
	if (code == EX_OK)
		code = say_recipients(m, &refused);
	if (code == EX_OK)
		code = say_message(m);
	smtp_client_free(&m->client);
	return code != EX_OK ? code : refused;
}

/* -bs: the caller speaks SMTP himself. One direction at a time is moved, whole. */
static bool move(int from, int to)
{
	char room[PIECE];
	ssize_t n = read(from, room, sizeof(room));

	for (ssize_t at = 0, w; at < n; at += w) {
		w = write(to, room + at, (size_t)(n - at));
		if (w <= 0)
			return false;
	}
	return n > 0 || (n < 0 && errno == EINTR);
}

static int relay(struct sendmail *m)
{
	int code = dial(m);
	struct pollfd p[2] = { { m->fd, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

	if (code != EX_OK)
		return code;
	while (poll(p, 2, TIMEOUT_MS) > 0) {
		if (p[0].revents && !move(m->fd, STDOUT_FILENO))
			return EX_OK;
		if (p[1].revents && !move(STDIN_FILENO, m->fd)) {
			shutdown(m->fd, SHUT_WR);
			p[1].fd = -1;
		}
	}
	return EX_TEMPFAIL;
}

static int run(struct sendmail *m)
{
	switch (m->options.mode) {
	case SENDMAIL_SMTP: return relay(m);
	case SENDMAIL_MAILQ: return fail(m, EX_UNAVAILABLE, TEXT_SENDMAIL_MAILQ);
	case SENDMAIL_NEWALIASES: return EX_OK;  /* aliases are in force when `facteur alias` returns */
	default: return deliver(m);
	}
}

int cli_sendmail(int argc, char **argv, const char *dir)
{
	struct sendmail m = { .dir = dir, .lang = lang_of_environment(), .fd = -1, .input = BUF(INPUT_MAX), .text = BUF(INPUT_MAX + (INPUT_MAX >> 2)) };
	char bad[3];
	int code;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		printf("%s\n", text_get(m.lang, TEXT_SENDMAIL_HELP));
		return EX_OK;
	}
	if (sendmail_options(argc, argv, &m.options, bad))
		code = run(&m);
	else
		code = fail(&m, EX_USAGE, TEXT_SENDMAIL_BAD_OPTION, str_of(bad));
	fd_close(&m.fd);
	buf_free(&m.input);
	buf_free(&m.text);
	arena_free(&m.arena);
	return code;
}
