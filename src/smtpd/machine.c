/* The machine: bytes in, lines out of them, each line to its command (commands.def), bodies to message.c.
 *
 * It must not matter how the bytes were cut on their way: a command that is not complete waits in `line`, everything
 * else is taken where it stands. Replies are written in the order of the commands into one buffer, which the host sends
 * when all input is used (RFC 2920): while the host owes an answer nothing further is read, so the order needs no
 * thought anywhere else.
 *
 * A mistake is a reply of 5xx; too many end the session. So do browsers: a page can make one send an HTTP request to us
 * whose body are SMTP commands, and the request line is the only chance to notice. */
#include "smtpd/smtpd.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/smtpd_private.h"
#include <assert.h>

static const struct {
	struct str verb;
	void     (*run)(struct smtpd *s, struct str argument);
} commands[] = {
#define COMMAND(verb, handler, arguments, spec) { { verb, sizeof(verb) - 1 }, handler },
#include "smtpd/commands.def"
#undef COMMAND
};

struct smtpd *smtpd_new(struct smtpd_server *server, const struct smtpd_client *client, const struct smtpd_host *host,
						void *context)
{
	struct smtpd *s = MEM_NEW(struct smtpd);

	s->server = server;
	s->client = *client;
	s->host = host;
	s->context = context;
	s->line = BUF(SMTP_LINE_MAX);
	s->helo = BUF(SMTP_HELO_MAX);
	s->body.fd = -1;
	s->is_esmtp = client->is_esmtp;
	buf_add(&s->helo, client->helo);
	return s;
}

void smtpd_free(struct smtpd *s)
{
	if (s == NULL)
		return;
	assert(!s->is_waiting);
	smtpd_body_drop(s);
	buf_free(&s->line);
	buf_free(&s->helo);
	arena_free(&s->arena);
	smtpd_charge(s);
	mem_free(s);
}

bool smtpd_is_waiting(const struct smtpd *s) { return s->is_waiting; }
bool smtpd_is_in_body(const struct smtpd *s) { return s->phase == PHASE_DATA || s->phase == PHASE_CHUNK || s->is_chunked; }
bool smtpd_is_idle(const struct smtpd *s) { return s->phase == PHASE_COMMAND && !s->has_mail && s->line.n == 0; }

/* ---- replies ---- */

void smtpd_reply_with(struct smtpd *s, struct smtp_reply r)
{
	smtp_put_reply(s->out, &r);
	if (r.code < 400)
		return;
	log_info("refused code=%d status=%s from=" STR_FMT " reason=" STR_FMT, r.code, r.enhanced ? r.enhanced : "",
			 STR_ARG(s->envelope.sender), STR_ARG(r.text));
	if (r.code >= 500 && ++s->errors >= s->server->errors_max && s->phase != PHASE_OVER)
		smtpd_over(s, "4.7.0", "too many mistakes on this connection; please look at the replies before you try again");
}

void smtpd_reply(struct smtpd *s, int code, const char *enhanced, const char *sentence)
{
	smtpd_reply_with(s, (struct smtp_reply){ code, enhanced, str_of(sentence) });
}

void smtpd_reply_refusal(struct smtpd *s, struct str recipient, struct smtp_reply r)
{
	if (s->host->refused)
		s->host->refused(s->context, &s->envelope, recipient, &r);
	smtpd_reply_with(s, r);
}

void smtpd_over(struct smtpd *s, const char *enhanced, const char *sentence)
{
	smtpd_reset(s);
	s->phase = PHASE_OVER;
	smtp_put(s->out, 421, enhanced, sentence);
	log_info("session ended code=421 status=%s reason=%s", enhanced, sentence);
}

void smtpd_reset(struct smtpd *s)
{
	smtpd_body_drop(s);
	s->has_mail = s->is_chunked = s->is_broken = false;
	s->envelope = (struct envelope){ 0 };
	s->recipients_cap = 0;
	s->refusal = s->answer = (struct smtp_reply){ 0 };
	arena_free(&s->arena);
	smtpd_charge(s);
}

void smtpd_greet(struct smtpd *s, struct buf *out)
{
	buf_printf(out, "220 " STR_FMT " ESMTP facteur\r\n", STR_ARG(s->server->hostname));
}

void smtpd_bye(struct smtpd *s, const char *enhanced, const char *sentence, struct buf *out)
{
	if (s->phase == PHASE_OVER)
		return;
	s->out = out;
	smtpd_over(s, enhanced, sentence);
}

void smtpd_secured(struct smtpd *s, struct str tls_text)
{
	assert(s->phase == PHASE_STARTTLS);
	smtpd_reset(s);
	buf_reset(&s->helo);
	s->is_esmtp = false;
	s->client.is_tls = true;
	s->client.can_start_tls = false;
	s->client.tls_text = tls_text;
	s->phase = PHASE_COMMAND;
}

/* ---- commands ---- */

static bool is_http(struct str verb)
{
	static const struct str verbs[] = {
		{ "GET", 3 }, { "POST", 4 }, { "PUT", 3 }, { "HEAD", 4 }, { "OPTIONS", 7 }, { "CONNECT", 7 },
	};

	for (size_t i = 0; i < COUNT_OF(verbs); i++)
		if (str_eq(verb, verbs[i]))
			return true;
	return false;
}

static void unknown(struct smtpd *s, struct str verb)
{
	if (is_http(verb))
		smtpd_over(s, "4.7.0", "this is a mail server and not a web server");
	else
		smtpd_reply(s, 500, "5.5.2", "unknown command; HELP says which there are");
}

/* One line without its LF. */
static void run_line(struct smtpd *s, struct str line)
{
	struct str verb, argument;

	if (line.n == 0 || line.p[line.n - 1] != '\r') {
		smtpd_reply(s, 500, "5.5.2", "a line must end with CR LF, not with LF alone");
		return;
	}
	line.n--;
	if (memchr(line.p, '\r', line.n) != NULL || memchr(line.p, '\0', line.n) != NULL) {
		smtpd_reply(s, 500, "5.5.2", "a command must not contain CR or NUL");
		return;
	}
	smtp_command(line, &verb, &argument);
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		if (str_ieq(verb, commands[i].verb)) {
			commands[i].run(s, argument);
			return;
		}
	}
	unknown(s, verb);
}

/* Takes one line, or what there is of it. */
static void take_line(struct smtpd *s, struct str *in)
{
	ptrdiff_t lf = str_chr(*in, '\n');
	struct str piece = str_sub(*in, 0, lf >= 0 ? (size_t)lf : in->n);

	*in = str_from(*in, piece.n + (lf >= 0));
	if (s->line.n + piece.n > SMTP_LINE_MAX - 1) {
		buf_free(&s->line);
		s->phase = lf >= 0 ? PHASE_COMMAND : PHASE_LONG_LINE;
		if (lf >= 0)
			smtpd_reply(s, 500, "5.5.6", "this command is too long");
		return;
	}
	if (lf < 0) {
		buf_add(&s->line, piece);
		return;
	}
	if (s->line.n > 0) {
		buf_add(&s->line, piece);
		piece = buf_str(&s->line);
	}
	s->has_more = in->n > 0;
	run_line(s, piece);
	buf_free(&s->line);
}

static void skip_line(struct smtpd *s, struct str *in)
{
	ptrdiff_t lf = str_chr(*in, '\n');

	*in = lf >= 0 ? str_from(*in, (size_t)lf + 1) : STR("");
	if (lf < 0)
		return;
	s->phase = PHASE_COMMAND;
	smtpd_reply(s, 500, "5.5.6", "this command is too long");
}

/* What there is to do without the host; *next when it returns false. */
static bool step(struct smtpd *s, struct str *in, enum smtpd_next *next)
{
	if (s->is_waiting)
		*next = SMTPD_WAIT;
	else if (s->phase == PHASE_OVER)
		*next = SMTPD_CLOSE;
	else if (s->phase == PHASE_STARTTLS)
		*next = SMTPD_STARTTLS;
	else if (s->out->max - s->out->n < SMTPD_RESERVE)
		*next = SMTPD_FLUSH;
	else if (in->n == 0 && s->phase != PHASE_END && s->phase != PHASE_ADDED &&
			 !(s->phase == PHASE_CHUNK && s->chunk_left == 0))
		*next = SMTPD_INPUT;
	else
		return true;
	return false;
}

enum smtpd_next smtpd_input(struct smtpd *s, struct str in, size_t *used, struct buf *out)
{
	size_t given = in.n;
	enum smtpd_next next;

	s->out = out;
	while (step(s, &in, &next)) {
		switch (s->phase) {
		case PHASE_COMMAND:
			take_line(s, &in);
			break;
		case PHASE_LONG_LINE:
			skip_line(s, &in);
			break;
		case PHASE_DATA:
			smtpd_take_data(s, &in);
			break;
		case PHASE_CHUNK:
			smtpd_take_chunk(s, &in);
			break;
		case PHASE_END:
			smtpd_end_message(s);
			break;
		case PHASE_ADDED:
			smtpd_tell_added(s);
			break;
		case PHASE_STARTTLS:
		case PHASE_OVER:
			break;
		}
	}
	if (next == SMTPD_CLOSE)
		in.n = 0;
	*used = given - in.n;
	return next;
}
