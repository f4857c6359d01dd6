/* Sentences to people. */
#include "admin/wire.h"
#include "base/buf.h"
#include "cli/cli_private.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { COMPLAINT_MAX = 64 << 10, WRITE_MAX = 64 << 10 };

static int output_error;  /* errno of the first write to standard output that failed; 0: none. A reader that has left, as `head` does, is none */

static void note_failure(void)
{
	if (output_error == 0 && errno != EPIPE)
		output_error = errno;
}

static void write_all(int fd, struct str s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1) >= 0)  /* whoever has it, too, made it so */
			continue;
		if (n <= 0) {
			if (fd == STDOUT_FILENO)
				note_failure();
			return;
		}
		s = str_from(s, (size_t)n);
	}
}

void cli_write(struct str s) { write_all(STDOUT_FILENO, s); }

static int add_piece(const char *bytes, size_t n, void *pending)
{
	struct buf *b = pending;

	if (b->n + n > WRITE_MAX) {
		cli_write(buf_str(b));
		buf_reset(b);
	}
	if (n > WRITE_MAX)
		cli_write(str_make(bytes, n));
	else
		buf_add_bytes(b, bytes, n);
	return 0;
}

void cli_write_json(const json_t *v, size_t how)
{
	CLEANUP(buf_free) struct buf pending = BUF(WRITE_MAX);

	json_dump_callback(v, add_piece, &pending, how);
	(void)add_piece("\n", 1, &pending);
	cli_write(buf_str(&pending));
}

static struct str sentence(struct cli *c, enum text id, const struct str *args, size_t n)
{
	struct str shown[9];

	for (size_t i = 0; i < n && i < COUNT_OF(shown); i++)
		shown[i] = text_visible(&c->arena, args[i]);
	return text_format(&c->arena, c->lang, id, shown, n < COUNT_OF(shown) ? n : COUNT_OF(shown));
}

void cli_say(struct cli *c, enum text id, const struct str *args, size_t n)
{
	struct str line = sentence(c, id, args, n);

	/* with --json, standard output holds JSON only */
	write_all(c->json ? STDERR_FILENO : STDOUT_FILENO, arena_printf(&c->arena, STR_FMT "\n", STR_ARG(line)));
}

void cli_warn(struct cli *c, enum text id, const struct str *args, size_t n)
{
	struct str line = sentence(c, id, args, n);

	write_all(STDERR_FILENO, arena_printf(&c->arena, "facteur: " STR_FMT "\n", STR_ARG(line)));
}

int cli_end(struct cli *c, int code)
{
	if (output_error == 0)
		return code;
	warn(c, TEXT_CLI_OUTPUT_FAILED, str_of(strerror(output_error)));
	return code == EXIT_OK ? EXIT_FAILED : code;
}

void cli_complain(struct cli *c, enum text id, const struct str *args, size_t n)
{
	CLEANUP(buf_free) struct buf b = BUF(COMPLAINT_MAX);
	struct str line;

	if (!c->json) {
		cli_warn(c, id, args, n);
		return;
	}
	line = sentence(c, id, args, n);
	CLEANUP(admin_json_free) json_t *out = json_pack("{s:b,s:s#}", "ok", 0, "sentence", line.p, (int)line.n);
	admin_json_write(&b, out);
	buf_add_char(&b, '\n');
	cli_write(buf_str(&b));
}
