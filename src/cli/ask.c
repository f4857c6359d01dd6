/* Questions go to standard error, so that standard output holds only results. A password is read with echo off, and
 * the terminal gets its echo back also when the process is interrupted meanwhile: signals are held until then. */
#include "cli/ask.h"
#include "base/mem.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { ASK_TRIES = 3, CTRL_C = 3 };

bool ask_is_possible(void) { return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1; }

/* Byte by byte: what follows on standard input belongs to the next question. last: another byte that ends it, and is part of it. */
static bool read_line(struct arena *a, char last, struct str *out)
{
	char line[ASK_LINE_MAX + 1];
	size_t n = 0;

	for (;;) {
		char byte;
		ssize_t got = read(STDIN_FILENO, &byte, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 && n == 0)
			return false;
		if (got <= 0 || byte == '\n')
			break;
		if (n == sizeof(line))
			return false;
		line[n++] = byte;
		if (byte == last)
			break;
	}
	if (n > 0 && line[n - 1] == '\r')
		n--;
	*out = str_copy(a, str_make(line, n));
	mem_wipe(line, sizeof(line));
	return n <= ASK_LINE_MAX;
}

bool ask_line(struct cli *c, enum text question, struct str fallback, struct str *out)
{
	if (fallback.n)
		fprintf(stderr, "%s [" STR_FMT "] ", text_get(c->lang, question), STR_ARG(fallback));
	else
		fprintf(stderr, "%s ", text_get(c->lang, question));
	fflush(stderr);
	if (!read_line(&c->arena, '\n', out))
		return false;
	*out = str_trim(*out);
	if (out->n == 0)
		*out = fallback;
	return true;
}

static bool ask_hidden(struct cli *c, enum text question, struct str *out)
{
	struct termios before, quiet;
	sigset_t hold, old;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return read_line(&c->arena, '\n', out);
	sigemptyset(&hold);
	sigaddset(&hold, SIGTSTP);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_lflag |= ICANON | ECHONL;
	quiet.c_cc[VEOL] = CTRL_C;  /* who wants to leave does not have to type Enter, too */
	sigprocmask(SIG_BLOCK, &hold, &old);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	fprintf(stderr, "%s ", text_get(c->lang, question));
	fflush(stderr);
	bool is_read = read_line(&c->arena, CTRL_C, out);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* Ctrl-C and Ctrl-D arrive as bytes while ISIG is off */
	if (is_read && !str_has_ctl(*out))
		return true;
	fputs("\n", stderr);
	return false;
}

bool ask_password(struct cli *c, bool may_be_random, struct str *out)
{
	struct str again;

	for (int i = 0; i < ASK_TRIES; i++) {
		if (!ask_hidden(c, may_be_random ? TEXT_CLI_ASK_PASSWORD : TEXT_CLI_ASK_OTHER_PASSWORD, out))
			return false;
		if (out->n == 0 && may_be_random)
			return true;
		if (!ask_hidden(c, TEXT_CLI_ASK_PASSWORD_AGAIN, &again))
			return false;
		if (str_eq(*out, again))
			return true;
		warn(c, TEXT_CLI_PASSWORDS_DIFFER);
	}
	return false;
}

bool ask_secret_line(struct cli *c, struct str *out)
{
	if (read_line(&c->arena, '\n', out))
		return true;
	complain(c, TEXT_CLI_NO_SECRET_LINE);
	return false;
}
