/* Submission before the login (RFC 6409, RFC 4954): EHLO, STARTTLS, AUTH and the commands that do nothing, in the gate. On success
 * the cell says 235 and goes on with the EHLO name it is given. RFC 4954 §4: what was said by EHLO stays true after AUTH.
 *
 * A printer or scanner on the list needs no login: its first MAIL is looked at, not taken; when keys grants it a session, the cell
 * reads that MAIL itself. When keys or the cell refuses, the same line is looked at again, and this time answered.
 *
 * Lines end with CR LF and nothing else (RFC 5321 §2.3.8), so that we and whoever is on the way agree what a command is. */
#include "auth/login.h"
#include "base/clock.h"
#include "ipc/channel.h"
#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"
#include "text/text.h"
#include <stdio.h>

enum { LINE_BYTES_MAX = SASL_LINE_MAX + 64 };  /* RFC 4954 §4: AUTH lines as long as the mechanisms need */

struct submission {
	char   helo[SMTP_HELO_MAX + 8];     /* "EHLO name"; empty: not said yet */
	size_t helo_n;
	enum verify_outcome printer;        /* why this printer's MAIL is not let through; 0: not asked yet */
	bool     has_rest;                  /* more input stands behind the command that runs */
	bool     keeps_line;                /* the command that runs stays in the input */
	uint64_t skip;                      /* bytes of a refused BDAT that are still to come */
};

struct row {
	const char *word;
	enum login_want (*run)(struct login *l, struct str args, struct buf *out);
};

static struct submission *state_of(struct login *l) { return l->state; }
static struct str helo_of(struct login *l) { return str_make(state_of(l)->helo, state_of(l)->helo_n); }

/* ---- saying ---- */

static enum login_want reply(struct buf *out, int code, const char *enhanced, struct str text)
{
	smtp_put_reply(out, &(struct smtp_reply){ code, enhanced, text });
	return LOGIN_INPUT;
}

static enum login_want refuse(struct login *l, struct buf *out, int code, const char *enhanced, struct str text)
{
	reply(out, code, enhanced, text);
	return login_mistake(l, out);
}

static void bye(UNUSED struct login *l, struct str hostname, struct str sentence, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct smtp_reply r = smtp_reply_printf(&a, 421, "4.3.2", STR_FMT ": " STR_FMT, STR_ARG(hostname), STR_ARG(sentence));

	smtp_put_reply(out, &r);
}

static enum login_want end(struct login *l, enum text why, struct buf *out)
{
	bye(l, l->facts.hostname, str_of(text_get(LANG_EN, why)), out);
	return LOGIN_CLOSE;
}

static enum login_want greet(struct login *l, struct buf *out)
{
	buf_printf(out, "220 " STR_FMT " ESMTP facteur is ready\r\n", STR_ARG(l->facts.hostname));
	return LOGIN_INPUT;
}

static enum login_want secured(UNUSED struct login *l, UNUSED struct buf *out) { return LOGIN_INPUT; }

/* ---- commands ---- */

static bool keep_helo(struct login *l, const char *word, struct str args)
{
	struct submission *p = state_of(l);
	struct str name;

	if (!smtp_helo_name(args, &name))
		return false;
	p->helo_n = (size_t)snprintf(p->helo, sizeof p->helo, "%s " STR_FMT, word, STR_ARG(name));
	return true;
}

/* EHLO name                                                                                     RFC 5321 §4.1.1.1 */
static enum login_want ehlo(struct login *l, struct str args, struct buf *out)
{
	CLEANUP(buf_free) struct buf mechanisms = BUF(200);

	if (!keep_helo(l, "EHLO", args))
		return refuse(l, out, 501, "5.5.4", STR("expected: EHLO and the name of the client, without spaces"));
	if (l->facts.may_login)
		login_put_mechanisms(l, &mechanisms, "", " ");
	smtp_put_ehlo(out, &(struct smtp_ehlo){
		.hostname = l->facts.hostname, .peer = l->facts.peer, .message_size_max = l->facts.message_size_max,
		.recipients_max = l->facts.recipients_max, .messages_max = l->facts.messages_max, .offers_starttls = l->facts.can_start_tls,
		.is_tls = l->facts.is_tls, .hold_max = l->facts.hold_max, .now = clock_wall_s(), .mechanisms = buf_str(&mechanisms),
	});
	return LOGIN_INPUT;
}

static enum login_want helo(struct login *l, struct str args, struct buf *out)
{
	if (!keep_helo(l, "HELO", args))
		return refuse(l, out, 501, "5.5.4", STR("expected: HELO and the name of the client, without spaces"));
	buf_printf(out, "250 " STR_FMT "\r\n", STR_ARG(l->facts.hostname));
	return LOGIN_INPUT;
}

/* STARTTLS                                                                                           RFC 3207 §4 */
static enum login_want starttls(struct login *l, struct str args, struct buf *out)
{
	if (args.n > 0)
		return refuse(l, out, 501, "5.5.4", STR("this command has no arguments"));
	if (l->facts.is_tls)
		return refuse(l, out, 503, "5.5.1", STR("TLS is active already"));
	if (state_of(l)->has_rest)  /* somebody on the way could have put it there; as plain text it must not count after TLS */
		return end(l, TEXT_NOTHING_AFTER_STARTTLS, out);
	if (!l->facts.can_start_tls)
		return refuse(l, out, 454, "4.7.0", str_of(text_get(LANG_EN, TEXT_NO_CERTIFICATE)));
	reply(out, 220, "2.0.0", STR("begin TLS now"));
	return LOGIN_STARTTLS;
}

static struct str needs_tls(struct login *l)
{
	return text_fmt(&l->arena, LANG_EN, TEXT_LOGIN_NEEDS_TLS, STR("SSL/TLS on the port for it, 465, or STARTTLS on this one"));
}

/* AUTH mechanism [initial-response]                                                                   RFC 4954 §4 */
static enum login_want auth(struct login *l, struct str args, struct buf *out)
{
	enum sasl_mechanism mechanism;
	struct str name, initial;
	bool has_initial = str_cut(args, ' ', &name, &initial);

	if (!l->facts.may_login)
		return refuse(l, out, 538, "5.7.11", needs_tls(l));
	if (state_of(l)->helo_n == 0)
		return refuse(l, out, 503, "5.5.1", STR("EHLO comes first"));
	if (name.n == 0)
		return refuse(l, out, 501, "5.5.4", STR("expected: AUTH and a mechanism"));
	if (!login_mechanism(l, name, &mechanism))
		return refuse(l, out, 504, "5.5.4", STR("this mechanism is not offered; the answer to EHLO lists them"));
	return login_sasl(l, mechanism, has_initial ? str_trim(initial) : STR_NONE, out);
}

static enum login_want needs_login(struct login *l, struct buf *out)
{
	return refuse(l, out, 530, "5.7.0", l->facts.may_login ? str_of(text_get(LANG_EN, TEXT_LOGIN_FIRST)) : needs_tls(l));
}

/* MAIL before the login: only from a printer's address.                                               RFC 4954 §6 */
static enum login_want mail(struct login *l, UNUSED struct str args, struct buf *out)
{
	struct submission *p = state_of(l);

	if (!l->facts.is_printer)
		return needs_login(l, out);
	if (p->helo_n == 0)
		return refuse(l, out, 503, "5.5.1", STR("EHLO comes first"));
	if (p->printer == 0) {
		p->keeps_line = true;
		return login_printer(l);
	}
	if (p->printer != VERIFY_BUSY)
		return needs_login(l, out);
	p->printer = 0;  /* the next try is asked again */
	return reply(out, 451, "4.3.0", str_of(text_get(LANG_EN, TEXT_SERVER_BUSY)));
}

static enum login_want transaction(struct login *l, UNUSED struct str args, struct buf *out) { return needs_login(l, out); }

/* BDAT n [LAST]: the bytes come without waiting for an answer.                                        RFC 3030 §2 */
static enum login_want bdat(struct login *l, struct str args, struct buf *out)
{
	struct scan s = scan_of(args);
	uint64_t n = scan_u64(&s);

	state_of(l)->skip = s.failed ? 0 : n;
	return needs_login(l, out);
}

static enum login_want noop(UNUSED struct login *l, UNUSED struct str args, struct buf *out) { return reply(out, 250, "2.0.0", STR("done")); }

static enum login_want vrfy(UNUSED struct login *l, UNUSED struct str args, struct buf *out)
{
	return reply(out, 252, "2.5.2", STR("addresses are not confirmed here; send a message, and it is told whether it can be delivered"));
}

static enum login_want help(UNUSED struct login *l, UNUSED struct str args, struct buf *out)
{
	return reply(out, 214, "2.0.0", STR("this is for sending mail: EHLO, STARTTLS, AUTH, then MAIL, RCPT, DATA (RFC 6409)"));
}

static enum login_want quit(UNUSED struct login *l, UNUSED struct str args, struct buf *out)
{
	reply(out, 221, "2.0.0", STR("goodbye"));
	return LOGIN_CLOSE;
}

static const struct row rows[] = {
	{ "EHLO", ehlo }, { "HELO", helo }, { "STARTTLS", starttls }, { "AUTH", auth }, { "MAIL", mail }, { "RCPT", transaction },
	{ "DATA", transaction }, { "BDAT", bdat }, { "NOOP", noop }, { "RSET", noop }, { "VRFY", vrfy }, { "HELP", help }, { "QUIT", quit },
};

/* ---- reading ---- */

static enum login_want run(struct login *l, struct str line, struct buf *out)
{
	struct str word, args;

	login_forget(l);
	if (str_chr(line, '\r') >= 0 || str_chr(line, '\0') >= 0)
		return refuse(l, out, 500, "5.5.2", STR("a line ends with CR LF, and holds neither of them nor NUL"));
	smtp_command(line, &word, &args);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (str_ieq(word, str_of(rows[i].word)))
			return rows[i].run(l, args, out);
	return refuse(l, out, 500, "5.5.1", STR("unknown command; HELP says what there is"));
}

static size_t skip(struct login *l, size_t there)
{
	size_t n = state_of(l)->skip < there ? (size_t)state_of(l)->skip : there;

	state_of(l)->skip -= n;
	return n;
}

/* One line. */
static enum login_want take(struct login *l, struct str line, size_t size, struct buf *out)
{
	if (line.n > LINE_BYTES_MAX)
		return end(l, TEXT_COMMAND_TOO_LONG, out);
	if (l->in_sasl)
		return login_sasl_line(l, line, out);
	if (size != line.n + 2)
		return refuse(l, out, 500, "5.5.2", STR("a line ends with CR LF, not with LF alone"));
	return run(l, line, out);
}

static enum login_want input(struct login *l, struct str in, size_t *used, struct buf *out)
{
	struct submission *p = state_of(l);
	enum login_want want = LOGIN_INPUT;
	struct str line;
	size_t n;

	*used = skip(l, in.n);
	while (want == LOGIN_INPUT && login_line(str_from(in, *used), &line, &n)) {
		p->has_rest = in.n > *used + n || l->has_more;
		p->keeps_line = false;
		want = take(l, line, n, out);
		if (!p->keeps_line)
			*used += n;
		*used += skip(l, in.n - *used);
	}
	if (want == LOGIN_INPUT && in.n - *used > LINE_BYTES_MAX + 1)
		return end(l, TEXT_COMMAND_TOO_LONG, out);
	if (want == LOGIN_OPEN || want == LOGIN_ASK)
		l->command = arena_printf(&l->arena, "%s" STR_FMT, p->keeps_line ? "PRINTER " : "", STR_ARG(helo_of(l)));
	return want;
}

/* ---- outcomes ---- */

static void challenge(UNUSED struct login *l, struct str text, struct buf *out)
{
	buf_printf(out, "334 " STR_FMT "\r\n", STR_ARG(text));
}

/* RFC 4954 §4, §6 */
static enum login_want sasl_broken(UNUSED struct login *l, enum sasl_next how, const char *reason, struct buf *out)
{
	return reply(out, 501, how == SASL_CANCELLED ? "5.7.0" : "5.5.2", str_of(reason));
}

static enum login_want say_outcome(enum verify_outcome outcome, struct str text, struct buf *out)
{
	if (outcome == VERIFY_USE_APP_PASSWORD)
		return reply(out, 534, "5.7.9", text);
	if (outcome == VERIFY_THROTTLED || outcome == VERIFY_BUSY)
		return reply(out, 454, "4.7.0", text);
	return reply(out, 535, "5.7.8", text);
}

static enum login_want failed(struct login *l, enum verify_outcome outcome, struct buf *out)
{
	if (l->request_type == REQUEST_PRINTER) {
		state_of(l)->printer = outcome;  /* mail() answers, when it sees the line again */
		return LOGIN_INPUT;
	}
	return say_outcome(outcome, login_was_last_try(l) ? str_of(text_get(LANG_EN, TEXT_TOO_MANY_FAILURES)) : login_sentence(l, outcome), out);
}

static enum login_want refused(struct login *l, enum err why, struct str sentence, struct buf *out)
{
	enum verify_outcome outcome = why == ERR_DENIED ? VERIFY_WRONG : VERIFY_BUSY;

	if (l->request_type == REQUEST_PRINTER) {
		state_of(l)->printer = outcome;
		return LOGIN_INPUT;
	}
	return say_outcome(outcome, sentence, out);
}

const struct login_protocol submission_login = {
	.protocol = PROTOCOL_SUBMISSION,
	.state_size = sizeof(struct submission),
	.greet = greet,
	.input = input,
	.secured = secured,
	.failed = failed,
	.challenge = challenge,
	.sasl_broken = sasl_broken,
	.refused = refused,
	.bye = bye,
};
