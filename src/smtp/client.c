/* A small SMTP client. A reply may come in any pieces and have many lines (RFC 5321 §4.2.1); it is read whole, joined, and shown to
 * people as one text. Where lines differ in their code the last one counts, as for most clients, and no status of another class. */
#include "smtp/client.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA_PIECE = 32 << 10 };

/* "250-" or "250 " or "250" alone; false: not a reply. */
static bool scan_code(struct scan *s, int *code, bool *is_last)
{
	struct str digits = scan_bytes(s, 3);

	if (s->failed || digits.p[0] < '2' || digits.p[0] > '5' || !chr_digit(digits.p[1]) || !chr_digit(digits.p[2]))
		return false;
	*code = (digits.p[0] - '0') * 100 + (digits.p[1] - '0') * 10 + digits.p[2] - '0';
	*is_last = !scan_take(s, '-');
	return !*is_last || scan_take(s, ' ') || scan_done(s);
}

/* status-code = class "." subject "." detail                                                           RFC 3463 §2 */
static struct str scan_enhanced(struct scan *s, int code)
{
	struct scan t = *s;
	const char *from = t.p;
	uint32_t class = scan_u32(&t);

	scan_need(&t, '.');
	scan_u32(&t);
	scan_need(&t, '.');
	scan_u32(&t);
	struct str status = str_make(from, (size_t)(t.p - from));
	if (t.failed || class != (uint32_t)code / 100 || (!scan_done(&t) && !scan_take(&t, ' ')))
		return STR_NONE;
	*s = t;
	return status;
}

/* Replies are shown on terminals: neither what steers one (U+009B begins a command as ESC does) nor what turns the direction of a line. */
static bool is_printable(int32_t c)
{
	return c >= 32 && (c < 127 || c >= 160) && c != 0x2028 && c != 0x2029 && !(c >= 0x202a && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

static void put_text(struct buf *b, struct str text)
{
	struct scan s = scan_of(text);

	while (!scan_done(&s)) {
		int32_t c = utf8_next(&s);
		utf8_put(b, is_printable(c) ? (uint32_t)c : '?');
	}
}

enum err scan_smtp_answer(struct scan *s, struct arena *a, struct smtp_answer *out)
{
	CLEANUP(buf_free) struct buf text = BUF(SMTP_ANSWER_MAX * 3);
	struct scan at = *s;
	bool is_last = false;

	*out = (struct smtp_answer){ .enhanced = STR("") };
	for (int lines = 0; !is_last; lines++) {
		struct str line = scan_until(&at, '\n');
		if (scan_offset(&at) - scan_offset(s) > SMTP_ANSWER_MAX || lines == SMTP_ANSWER_LINES_MAX)
			return ERR_INVALID;
		if (!scan_take(&at, '\n'))
			return ERR_AGAIN;
		if (str_ends(line, STR("\r")))
			line.n--;
		struct scan l = scan_of(line);
		if (!scan_code(&l, &out->code, &is_last))
			return ERR_INVALID;
		struct str enhanced = scan_enhanced(&l, out->code);
		bool is_other = out->enhanced.n > 0 && out->enhanced.p[0] - '0' != out->code / 100;
		if (lines == 0 || is_other)
			out->enhanced = enhanced.n > 0 ? str_copy(a, enhanced) : STR("");
		if (lines > 0)
			buf_add_char(&text, '\n');
		put_text(&text, scan_rest(&l));
	}
	out->text = text.n ? str_copy(a, buf_str(&text)) : STR("");
	*s = at;
	return ERR_OK;
}

void smtp_client_init(struct smtp_client *c, int fd, int timeout_ms)
{
	*c = (struct smtp_client){ .fd = fd, .timeout_ms = timeout_ms, .in = BUF(2 * SMTP_ANSWER_MAX), .trace_fd = -1 };
}

void smtp_client_free(struct smtp_client *c) { buf_free(&c->in); }

static void trace(const struct smtp_client *c, const char *who, struct str text)
{
	CLEANUP(buf_free) struct buf b = BUF(SMTP_ANSWER_MAX * 4);

	if (c->trace_fd < 0)
		return;
	buf_printf(&b, "%s " STR_FMT "\n", who, STR_ARG(text));
	if (write(c->trace_fd, b.p, b.n) < 0)
		log_debug("conversation not shown");
}

static enum err wait_for(const struct smtp_client *c, short events, int64_t until)
{
	struct pollfd p = { c->fd, events, 0 };
	int64_t left = until - clock_mono_ms();

	if (left <= 0)
		return ERR_TIMEOUT;
	int n = poll(&p, 1, (int)left);
	return n > 0 || (n < 0 && errno == EINTR) ? ERR_OK : ERR_TIMEOUT;
}

static enum err fill(struct smtp_client *c)
{
	int64_t until = clock_mono_ms() + c->timeout_ms;

	for (;;) {
		char *room = buf_reserve(&c->in, 4096);
		if (room == NULL)
			return ERR_INVALID;  /* it talks more than an answer may be long */
		ssize_t n = recv(c->fd, room, 4096, MSG_DONTWAIT);
		if (n > 0) {
			buf_grew(&c->in, (size_t)n);
			return ERR_OK;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return ERR_CLOSED;
		TRY(wait_for(c, POLLIN, until));
	}
}

enum err smtp_client_answer(struct smtp_client *c, struct arena *a, struct smtp_answer *out)
{
	for (;;) {
		struct scan s = scan_of(buf_str(&c->in));
		enum err e = scan_smtp_answer(&s, a, out);
		if (e == ERR_OK) {
			trace(c, "S:", arena_printf(a, "%d " STR_FMT "%s" STR_FMT, out->code, STR_ARG(out->enhanced), out->enhanced.n ? " " : "", STR_ARG(out->text)));
			buf_drop_front(&c->in, scan_offset(&s));
		}
		if (e != ERR_AGAIN)
			return e;
		TRY(fill(c));
	}
}

enum err smtp_client_write(struct smtp_client *c, struct str bytes)
{
	int64_t until = clock_mono_ms() + c->timeout_ms;

	while (bytes.n > 0) {
		ssize_t n = send(c->fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			bytes = str_from(bytes, (size_t)n);
			until = clock_mono_ms() + c->timeout_ms;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return ERR_CLOSED;
		TRY(wait_for(c, POLLOUT, until));
	}
	return ERR_OK;
}

enum err smtp_client_say(struct smtp_client *c, struct str line, struct arena *a, struct smtp_answer *out)
{
	if (str_has_ctl(line))
		return ERR_INVALID;
	trace(c, "C:", line);
	TRY(smtp_client_write(c, arena_printf(a, STR_FMT "\r\n", STR_ARG(line))));
	return smtp_client_answer(c, a, out);
}

enum err smtp_client_data(struct smtp_client *c, struct str text, struct arena *a, struct smtp_answer *out)
{
	CLEANUP(buf_free) struct buf b = BUF(DATA_PIECE + (1 << 30));
	bool ends_well = text.n == 0 || str_ends(text, STR("\r\n"));

	while (text.n > 0) {
		ptrdiff_t lf = str_chr(text, '\n');
		size_t n = lf < 0 ? text.n : (size_t)lf + 1;
		if (text.p[0] == '.')
			buf_add_char(&b, '.');
		buf_add(&b, str_sub(text, 0, n));
		text = str_from(text, n);
		if (b.n >= DATA_PIECE) {
			TRY(smtp_client_write(c, buf_str(&b)));
			buf_reset(&b);
		}
	}
	buf_add_cstr(&b, ends_well ? ".\r\n" : "\r\n.\r\n");
	TRY(smtp_client_write(c, buf_str(&b)));
	trace(c, "C:", STR("(the message)"));
	return smtp_client_answer(c, a, out);
}
