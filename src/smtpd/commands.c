/* The commands but DATA and BDAT (message.c). Guards first, each with its reply; the reply says what would have been
 * right. */
#include "base/clock.h"
#include "smtp/ehlo.h"
#include "smtp/param.h"
#include "smtp/path.h"
#include "smtpd/smtpd_private.h"

/* Commands that do nothing for a message are free, but not for ever. */
static void idle(struct smtpd *s)
{
	if (++s->idle_commands > SMTPD_IDLE_COMMANDS_MAX)
		s->errors++;
	if (s->errors >= s->server->errors_max && s->phase != PHASE_OVER)
		smtpd_over(s, "4.7.0", "too many commands without a message");
}

static bool hello(struct smtpd *s, struct str argument, bool is_esmtp)
{
	struct str name;

	if (!smtp_helo_name(argument, &name)) {
		smtpd_reply(s, 501, "5.5.4",
					is_esmtp ? "expected: EHLO and the name of your host" : "expected: HELO and the name of your host");
		return false;
	}
	smtpd_reset(s);  /* RFC 5321 §4.1.4: as if RSET had come */
	buf_reset(&s->helo);
	buf_add(&s->helo, name);
	s->is_esmtp = is_esmtp;
	return true;
}

/* EHLO SP ( Domain / address-literal )                                                             RFC 5321 §4.1.1.1 */
void smtpd_ehlo(struct smtpd *s, struct str argument)
{
	struct smtp_ehlo e = {
		.hostname = s->server->hostname,
		.peer = s->client.peer,
		.message_size_max = s->server->size_max,
		.recipients_max = s->server->recipients_max,
		.messages_max = s->server->messages_max,
		.offers_starttls = s->client.can_start_tls,
		.is_tls = s->client.is_tls,
		.hold_max = smtpd_hold_max(s),
		.now = clock_wall_s(),
		.caller = s->client.source == ENVELOPE_LOCAL ? s->client.login : STR(""),
	};

	if (!hello(s, argument, true))
		return;
	smtp_put_ehlo(s->out, &e);
	idle(s);
}

/* HELO SP Domain */
void smtpd_helo(struct smtpd *s, struct str argument)
{
	if (!hello(s, argument, false))
		return;
	buf_printf(s->out, "250 " STR_FMT "\r\n", STR_ARG(s->server->hostname));
	idle(s);
}

/* ---- MAIL and RCPT ---- */

/* Tells what is wrong with a parameter; true when nothing is. */
static bool params_fine(struct smtpd *s, enum smtp_param_error e, struct str bad)
{
	struct str shown = str_sub(bad, 0, 40);
	struct smtp_reply r;

	if (e == SMTP_PARAM_OK)
		return true;
	if (e == SMTP_PARAM_UNKNOWN)
		r = smtp_reply_printf(&s->arena, 555, "5.5.4", "this server does not know the parameter " STR_FMT,
							  STR_ARG(shown));
	else if (e == SMTP_PARAM_TWICE)
		r = smtp_reply_printf(&s->arena, 501, "5.5.4", "the parameter " STR_FMT " is there twice", STR_ARG(shown));
	else
		r = smtp_reply_printf(
			&s->arena, 501, "5.5.4",
			"the parameters cannot be read: the value of " STR_FMT " is wrong, or something behind it", STR_ARG(shown));
	smtpd_reply_with(s, r);
	return false;
}

static bool path_fits(const struct smtp_path *p, bool smtputf8) { return smtputf8 || !p->is_utf8; }

static bool may_begin(struct smtpd *s)
{
	if (s->helo.n == 0)
		smtpd_reply(s, 503, "5.5.1", "say EHLO first");
	else if (s->has_mail)
		smtpd_reply(s, 503, "5.5.1", "a message is begun already; RSET forgets it");
	else if (s->messages >= s->server->messages_max)
		smtpd_over(s, "4.5.3", "this connection has carried enough messages: please open a new one");
	else
		return true;
	return false;
}

/* "mail.example.org [192.0.2.7]"; of who has no other name than its address (phones, scripts), that, once. */
static struct str peer_text(struct smtpd *s)
{
	struct str name = buf_str(&s->helo), peer = s->client.peer, address;

	if (peer.n == 0)
		return str_copy(&s->arena, s->client.who);
	address = arena_printf(&s->arena, "[" STR_FMT "]", STR_ARG(peer));
	if (str_ieq(name, address) || str_ieq(name, arena_printf(&s->arena, "[IPv6:" STR_FMT "]", STR_ARG(peer))))
		return address;
	return arena_printf(&s->arena, STR_FMT " " STR_FMT, STR_ARG(name), STR_ARG(address));
}

static void take_mail(struct smtpd *s, const struct smtp_path *path, const struct smtp_mail_params *p)
{
	static const enum envelope_body bodies[] = {
		[SMTP_BODY_NONE] = ENVELOPE_7BIT, [SMTP_BODY_7BIT] = ENVELOPE_7BIT,
		[SMTP_BODY_8BITMIME] = ENVELOPE_8BITMIME, [SMTP_BODY_BINARYMIME] = ENVELOPE_BINARYMIME,
	};
	static const enum envelope_ret rets[] = {
		[SMTP_RET_NONE] = ENVELOPE_RET_NONE, [SMTP_RET_FULL] = ENVELOPE_RET_FULL, [SMTP_RET_HDRS] = ENVELOPE_RET_HDRS,
	};
	struct envelope *e = &s->envelope;

	s->has_mail = true;
	e->source = s->client.source;
	e->sender = str_copy(&s->arena, path->address);
	e->body = bodies[p->body];
	e->ret = rets[p->ret];
	e->envid = p->envid;
	e->smtputf8 = p->smtputf8;
	e->peer = peer_text(s);
}

/* "MAIL FROM:" Reverse-path [SP Mail-parameters]                                                   RFC 5321 §4.1.1.2 */
void smtpd_mail(struct smtpd *s, struct str argument)
{
	struct scan in = scan_of(argument);
	struct smtp_path path;
	struct smtp_mail_params p;
	struct smtp_reply r = { 0 };
	struct str bad;

	if (!may_begin(s))
		return;
	if (!scan_take_istr(&in, STR("FROM:")))
		scan_fail(&in);
	scan_skip(&in, " ");  /* not in the grammar, and harmless */
	if (!scan_reverse_path(&in, &path)) {
		smtpd_reply(s, 501, "5.1.7", "expected: MAIL FROM:<address>");
		return;
	}
	if (!params_fine(s, scan_mail_params(&in, &s->arena, &p, &bad), bad)) {
		smtpd_reset(s);
		return;
	}
	take_mail(s, &path, &p);
	if (!path_fits(&path, p.smtputf8))
		r = SMTP_REPLY(550, "5.6.7", "an address with such characters needs the parameter SMTPUTF8");
	else if (p.has_size && p.size > s->server->size_max)
		r = smtp_reply_printf(&s->arena, 552, "5.3.4", "the message is larger than the %llu bytes this server accepts",
							  (unsigned long long)s->server->size_max);
	else
		r = smtpd_take_wishes(s, &p);
	if (r.code == 0 && s->host->sender)
		r = s->host->sender(s->context, &s->envelope, &s->arena);
	if (r.code != 0) {
		smtpd_reply_refusal(s, STR(""), r);
		if (s->phase != PHASE_OVER)
			smtpd_reset(s);
		return;
	}
	s->idle_commands = 0;
	s->messages++;
	if (s->envelope.wishes.priority != p.priority)  /* the text begins with what it is now: RFC 6710 §4.1, RFC 3463 X.3.6 */
		smtpd_reply_with(s, smtp_reply_printf(&s->arena, 250, "2.3.6", "%d is its priority here; sender accepted", s->envelope.wishes.priority));
	else
		smtpd_reply(s, 250, "2.1.0", "sender accepted");
}

static bool may_add_recipient(struct smtpd *s)
{
	uint64_t most =
		s->server->recipients_max < ENVELOPE_RECIPIENTS_MAX ? s->server->recipients_max : ENVELOPE_RECIPIENTS_MAX;

	if (!s->has_mail)
		smtpd_reply(s, 503, "5.5.1", "say MAIL first");
	else if (s->is_chunked)
		smtpd_reply(s, 503, "5.5.1", "the message has begun: no more recipients");
	else if (s->envelope.n >= most)
		smtpd_reply(s, 452, "4.5.3", "enough recipients for one message: please send it again to the others");
	else if (s->envelope.n > 0 && s->server->memory_used > s->server->memory_max)
		smtpd_reply(s, 452, "4.3.1",
					"too many messages are arriving at the moment: please send this one to the others again");
	else
		return true;
	return false;
}

static void add_recipient(struct smtpd *s, const struct envelope_recipient *r)
{
	struct envelope *e = &s->envelope;

	e->recipients = arena_grow(&s->arena, e->recipients, e->n, &s->recipients_cap, sizeof(*r));
	e->recipients[e->n] = *r;
	e->recipients[e->n].address = str_copy(&s->arena, r->address);
	e->recipients[e->n].orcpt = str_copy(&s->arena, r->orcpt);
	e->n++;
	smtpd_charge(s);
}

/* "RCPT TO:" ( "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]                                RFC 5321 §4.1.1.3 */
void smtpd_rcpt(struct smtpd *s, struct str argument)
{
	CLEANUP(arena_free) struct arena a = { 0 };  /* of a recipient that is refused nothing stays */
	struct scan in = scan_of(argument);
	struct envelope_recipient added = { 0 };
	struct smtp_path path;
	struct smtp_rcpt_params p;
	struct smtp_reply r;
	struct str bad;

	if (!may_add_recipient(s))
		return;
	if (!scan_take_istr(&in, STR("TO:")))
		scan_fail(&in);
	scan_skip(&in, " ");
	if (!scan_forward_path(&in, &path)) {
		smtpd_reply(s, 501, "5.1.3", "expected: RCPT TO:<address>");
		return;
	}
	if (!params_fine(s, scan_rcpt_params(&in, &a, &p, &bad), bad))
		return;
	added.address = path.address;
	added.orcpt = p.orcpt;
	added.notify = p.notify;  /* the bits are the same: asserted below */
	if (!path_fits(&path, s->envelope.smtputf8))
		r = SMTP_REPLY(553, "5.6.7", "an address with such characters needs SMTPUTF8 with MAIL");
	else
		r = s->host->recipient(s->context, &s->envelope, &added, &a);
	if (r.code != 0) {
		smtpd_reply_refusal(s, path.address, r);
		return;
	}
	add_recipient(s, &added);
	smtpd_reply(s, 250, "2.1.5", "recipient accepted");
}
_Static_assert((int)SMTP_NOTIFY_NEVER == ENVELOPE_NOTIFY_NEVER && (int)SMTP_NOTIFY_SUCCESS == ENVELOPE_NOTIFY_SUCCESS &&
				   (int)SMTP_NOTIFY_FAILURE == ENVELOPE_NOTIFY_FAILURE &&
				   (int)SMTP_NOTIFY_DELAY == ENVELOPE_NOTIFY_DELAY,
			   "the same bits");

/* ---- the small ones ---- */

static bool no_argument(struct smtpd *s, struct str argument)
{
	if (argument.n == 0)
		return true;
	smtpd_reply(s, 501, "5.5.4", "this command has no arguments");
	return false;
}

/* RSET                                                                                             RFC 5321 §4.1.1.5 */
void smtpd_rset(struct smtpd *s, struct str argument)
{
	if (!no_argument(s, argument))
		return;
	smtpd_reset(s);
	smtpd_reply(s, 250, "2.0.0", "forgotten");
	idle(s);
}

/* VRFY, EXPN: who has an account here is nobody's business; §3.5.3 allows an answer that says neither yes nor no. */
void smtpd_vrfy(struct smtpd *s, struct str argument)
{
	if (argument.n == 0)
		smtpd_reply(s, 501, "5.5.4", "expected: an address");
	else
		smtpd_reply(s, 252, "2.5.0",
					"this server does not tell; send the message, and RCPT answers for each recipient");
	idle(s);
}

/* HELP                                                                                             RFC 5321 §4.1.1.8 */
void smtpd_help(struct smtpd *s, UNUSED struct str argument)
{
	smtpd_reply(s, 214, "2.0.0", "these commands are known:"
#define COMMAND(verb, handler, arguments, spec) " " verb
#include "smtpd/commands.def"
#undef COMMAND
	            );
	idle(s);
}

/* NOOP [SP String]                                                                                 RFC 5321 §4.1.1.9 */
void smtpd_noop(struct smtpd *s, UNUSED struct str argument)
{
	smtpd_reply(s, 250, "2.0.0", "fine");
	idle(s);
}

/* QUIT                                                                                            RFC 5321 §4.1.1.10 */
void smtpd_quit(struct smtpd *s, struct str argument)
{
	if (!no_argument(s, argument))
		return;
	smtpd_reset(s);
	smtpd_reply(s, 221, "2.0.0", "goodbye");
	s->phase = PHASE_OVER;
}

/* STARTTLS                                                                                               RFC 3207 §4
 * What stands behind it was sent in clear text and may be anybody's: it would be read as if it came through TLS. */
void smtpd_starttls(struct smtpd *s, struct str argument)
{
	if (!no_argument(s, argument))
		return;
	if (s->client.is_tls) {
		smtpd_reply(s, 503, "5.5.1", "this connection is encrypted already");
	} else if (!s->client.can_start_tls) {
		smtpd_reply(s, 454, "4.7.0", "TLS is not available at the moment");
	} else if (s->has_more) {
		smtpd_reply(s, 554, "5.5.1", "nothing may be sent behind STARTTLS before its answer; goodbye");
		s->phase = PHASE_OVER;
	} else {
		smtpd_reply(s, 220, "2.0.0", "go ahead with TLS");
		s->phase = PHASE_STARTTLS;
	}
}

/* AUTH: no login here. An own user who ends up on port 25 learns where to go. */
void smtpd_auth(struct smtpd *s, UNUSED struct str argument)
{
	if (s->client.source == ENVELOPE_SUBMISSION)
		smtpd_reply(s, 503, "5.5.1", "you are logged in already");
	else
		smtpd_reply(s, 502, "5.5.1", "no login on this port: mail programs send through port 465 or 587");
}
