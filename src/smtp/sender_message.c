/* A message over a connection: one transaction (RFC 5321 §3.3), or more where the peer takes fewer recipients at a time.
 *
 * In a pipeline all goes out at once: RSET if something is left over, MAIL, each RCPT, and then
 *   BDAT with the whole message, where it is small: one round trip for all (RFC 3030). If nobody is accepted it was sent in vain;
 *   BDAT after the replies, where it is not small: nothing of it is sent in vain;
 *   DATA, where the peer has no CHUNKING: two round trips. 354 though nobody was accepted: a dot, and nothing else (RFC 2920 §3.1).
 * Without PIPELINING each waits for the reply to the one before.
 *
 * Stays true: a recipient is decided once, and only DONE by a 2xx to the end of a message that was sent whole. A reply to the end that
 * comes before the end is no such thing. */
#include "smtp/sender_private.h"
#include "base/bytes.h"
#include "base/mem.h"
#include <assert.h>

enum { INLINE_MAX = 64 << 10, PIECE = 32 << 10 };

static bool has(const struct smtp_sender *s, unsigned offer) { return (s->offers.has & offer) != 0; }

static void decide(struct smtp_sender *s, size_t i, const struct smtp_result *r)
{
	assert(s->rcpt[i] != RCPT_DECIDED);
	if (s->rcpt[i] == RCPT_ACCEPTED)
		s->accepted--;
	s->rcpt[i] = RCPT_DECIDED;
	s->results[i] = *r;
	s->results[i].status = str_copy(&s->arena, r->status);
	s->results[i].text = str_copy(&s->arena, r->text);
	s->results[i].passed_dsn = r->outcome == SMTP_OUTCOME_DONE && has(s, SMTP_OFFERS_DSN);
	s->results[i].passed_by = r->outcome == SMTP_OUTCOME_DONE && s->m->by != SMTP_BY_NOTHING && has(s, SMTP_OFFERS_DELIVERBY);
}

static void decide_all(struct smtp_sender *s, enum rcpt_state in, const struct smtp_result *r)
{
	for (size_t i = 0; i < s->m->n; i++)
		if (s->rcpt[i] == in)
			decide(s, i, r);
}

void message_end(struct smtp_sender *s, const struct smtp_result *why)
{
	struct smtp_result r = *why;

	if (r.outcome == SMTP_OUTCOME_DONE)  /* it was not about them */
		r.outcome = SMTP_OUTCOME_DEFERRED;
	for (size_t i = 0; i < s->m->n; i++)
		if (s->rcpt[i] != RCPT_DECIDED)
			decide(s, i, &r);
}

enum smtp_stage message_stage(const struct smtp_sender *s)
{
	static const enum smtp_stage stages[] = {
		[STEP_MAIL] = SMTP_AT_MAIL, [STEP_RCPT] = SMTP_AT_RCPT, [STEP_CONTENT] = SMTP_AT_RCPT, [STEP_ASKED] = SMTP_AT_DATA,
		[STEP_SENDING] = SMTP_AT_CONTENT, [STEP_SENT] = SMTP_AT_END,
	};
	return stages[s->step];
}

/* ---- commands ---- */

/* xtext = *( xchar / hexchar )                                                                                  RFC 3461 §4 */
static struct str to_xtext(struct arena *a, struct str in)
{
	CLEANUP(buf_free) struct buf b = BUF(4 * in.n + 1);

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if (c < 33 || c == '+' || c == '=' || c == 127)
			buf_printf(&b, "+%02X", c);
		else
			buf_add_char(&b, (char)c);
	}
	return str_copy(a, buf_str(&b));
}

static const char *body_parameter(const struct smtp_sender *s)
{
	if (s->m->body == SMTP_BODY_BINARYMIME && has(s, SMTP_OFFERS_BINARYMIME))
		return " BODY=BINARYMIME";
	if (!has(s, SMTP_OFFERS_8BITMIME) || s->m->body == SMTP_BODY_NONE)
		return "";
	return s->m->body == SMTP_BODY_7BIT ? " BODY=7BIT" : " BODY=8BITMIME";
}

/* BY=by-time ";" by-mode [by-trace]                                                                            RFC 2852 §4 */
static struct str by_parameter(const struct smtp_sender *s, struct arena *a)
{
	const struct smtp_outgoing *m = s->m;
	int64_t by_s = m->by_s < -SMTP_BY_SECONDS_MAX ? -SMTP_BY_SECONDS_MAX : m->by_s > SMTP_BY_SECONDS_MAX ? SMTP_BY_SECONDS_MAX : m->by_s;

	if (m->by == SMTP_BY_NOTHING || !has(s, SMTP_OFFERS_DELIVERBY))
		return STR("");
	return arena_printf(a, " BY=%lld;%c%s", (long long)by_s, m->by == SMTP_BY_RETURN ? 'R' : 'N', m->by_traces ? "T" : "");
}

static void say_mail(struct smtp_sender *s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct smtp_outgoing *m = s->m;
	bool dsn = has(s, SMTP_OFFERS_DSN);
	const char *ret = !dsn || m->ret == SMTP_RET_NONE ? "" : m->ret == SMTP_RET_FULL ? " RET=FULL" : " RET=HDRS";
	struct str size = has(s, SMTP_OFFERS_SIZE) ? arena_printf(&a, " SIZE=%llu", (unsigned long long)m->size) : STR("");
	struct str envid = dsn && m->envid.n ? arena_printf(&a, " ENVID=" STR_FMT, STR_ARG(to_xtext(&a, m->envid))) : STR("");

	struct str priority = m->priority != 0 && has(s, SMTP_OFFERS_MT_PRIORITY) ? arena_printf(&a, " MT-PRIORITY=%d", m->priority) : STR("");

	sender_say(s, EXPECT_MAIL, 0, "MAIL FROM:<" STR_FMT ">" STR_FMT "%s%s%s%s" STR_FMT STR_FMT STR_FMT, STR_ARG(m->sender), STR_ARG(size), body_parameter(s),
	           m->smtputf8 && has(s, SMTP_OFFERS_SMTPUTF8) ? " SMTPUTF8" : "",
	           m->requiretls && has(s, SMTP_OFFERS_REQUIRETLS) ? " REQUIRETLS" : "", ret, STR_ARG(envid),
	           STR_ARG(by_parameter(s, &a)), STR_ARG(priority));
	s->is_open = true;
}

static struct str notify_parameter(struct arena *a, uint8_t notify)
{
	static const struct { uint8_t bit; const char *word; } words[] = {
		{ SMTP_NOTIFY_NEVER, "NEVER" }, { SMTP_NOTIFY_SUCCESS, "SUCCESS" }, { SMTP_NOTIFY_FAILURE, "FAILURE" }, { SMTP_NOTIFY_DELAY, "DELAY" },
	};
	CLEANUP(buf_free) struct buf b = BUF(100);

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (notify & words[i].bit)
			buf_printf(&b, "%s%s", b.n ? "," : " NOTIFY=", words[i].word);
	return b.n ? str_copy(a, buf_str(&b)) : STR("");
}

static void say_rcpt(struct smtp_sender *s, size_t i)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct smtp_outgoing_recipient *r = &s->m->recipients[i];
	struct str notify = STR(""), orcpt = STR("");

	if (has(s, SMTP_OFFERS_DSN)) {
		notify = notify_parameter(&a, r->notify);
		if (r->orcpt.n && (s->m->smtputf8 || str_is_ascii(r->orcpt)))  /* RFC 6533 §3: UTF-8 only where SMTPUTF8 is */
			orcpt = arena_printf(&a, " ORCPT=" STR_FMT, STR_ARG(to_xtext(&a, r->orcpt)));
	}
	sender_say(s, EXPECT_RCPT, i, "RCPT TO:<" STR_FMT ">" STR_FMT STR_FMT, STR_ARG(r->address), STR_ARG(notify), STR_ARG(orcpt));
	s->rcpt[i] = RCPT_ASKED;
	s->asked++;
}

/* ---- content ---- */

static void await_end(struct smtp_sender *s)
{
	bool is_each = s->config.is_lmtp;  /* RFC 2033 §4.2: a reply for each recipient that was accepted */

	for (size_t i = 0; is_each && i < s->m->n; i++)
		if (s->rcpt[i] == RCPT_ACCEPTED)
			sender_await(s, EXPECT_END, i);
	if (!is_each || s->accepted == 0)
		sender_await(s, EXPECT_END, SIZE_MAX);
}

static void put_stuffed(struct smtp_sender *s, struct str piece)
{
	while (piece.n > 0) {
		const char *lf = memchr(piece.p, '\n', piece.n);
		size_t n = lf ? (size_t)(lf - piece.p) + 1 : piece.n;
		if (s->at_line_start && piece.p[0] == '.')  /* RFC 5321 §4.5.2 */
			buf_add_char(&s->out, '.');
		buf_add(&s->out, str_sub(piece, 0, n));
		s->at_line_start = lf != NULL;
		piece = str_from(piece, n);
	}
}

static void content_ends(struct smtp_sender *s)
{
	s->step = STEP_SENT;
	if (s->uses_bdat)
		return;
	buf_add_cstr(&s->out, s->at_line_start ? ".\r\n" : "\r\n.\r\n");
	await_end(s);
}

void message_fill(struct smtp_sender *s)
{
	char piece[PIECE];
	uint64_t left = s->m->size - s->content_at;
	size_t n = left < PIECE ? (size_t)left : PIECE;

	if (n > 0 && !s->m->read(s->m->context, s->content_at, piece, n)) {
		smtp_sender_closed(s, STR("the message could not be read from the queue"), false);
		return;
	}
	if (s->uses_bdat)
		buf_add_bytes(&s->out, piece, n);
	else
		put_stuffed(s, str_make(piece, n));
	s->content_at += n;
	if (s->content_at == s->m->size)
		content_ends(s);
}

static void begin_content(struct smtp_sender *s)
{
	s->content_at = 0;
	s->at_line_start = true;
	s->step = STEP_SENDING;
	if (s->uses_bdat) {
		buf_printf(&s->out, "BDAT %llu LAST\r\n", (unsigned long long)s->m->size);
		await_end(s);
	}
	if (s->m->size == 0)
		content_ends(s);
}

/* ---- the order of things ---- */

static bool more_recipients(const struct smtp_sender *s)
{
	size_t max = s->offers.rcpt_max ? s->offers.rcpt_max : SIZE_MAX;

	return s->next_rcpt < s->m->n && s->asked < max;
}

/* One more thing to say; false: nothing may be said before something was heard. */
static bool say_next(struct smtp_sender *s)
{
	bool may_hurry = has(s, SMTP_OFFERS_PIPELINING), is_quiet = sender_awaits_nothing(s);

	if (!is_quiet && !may_hurry)
		return false;
	switch (s->step) {
	case STEP_MAIL:
		if (s->is_open) {
			sender_say(s, EXPECT_RSET, 0, "RSET");
			s->is_open = false;
			return true;
		}
		say_mail(s);
		s->step = STEP_RCPT;
		return true;
	case STEP_RCPT:
		while (more_recipients(s) && s->rcpt[s->next_rcpt] != RCPT_WAITS)
			s->next_rcpt++;
		if (more_recipients(s))
			say_rcpt(s, s->next_rcpt++);
		else
			s->step = STEP_CONTENT;
		return true;
	case STEP_CONTENT:
		if (s->uses_bdat && !is_quiet && (s->m->size > INLINE_MAX || s->config.is_lmtp))
			return false;
		if (is_quiet && s->accepted == 0)
			return false;
		if (s->uses_bdat) {
			begin_content(s);
			return true;
		}
		sender_say(s, EXPECT_DATA, 0, "DATA");
		s->step = STEP_ASKED;
		return false;
	case STEP_ASKED:
	case STEP_SENDING:
	case STEP_SENT:
		return false;
	}
	return false;
}

static void begin_transaction(struct smtp_sender *s)
{
	s->next_rcpt = s->asked = s->accepted = 0;
	s->has_failed = false;
	s->uses_bdat = has(s, SMTP_OFFERS_CHUNKING);
	s->step = STEP_MAIL;
	message_go_on(s);
}

static bool is_recipient_left(const struct smtp_sender *s)
{
	for (size_t i = 0; i < s->m->n; i++)
		if (s->rcpt[i] == RCPT_WAITS)
			return true;
	return false;
}

void message_go_on(struct smtp_sender *s)
{
	if (s->has_failed && s->step < STEP_SENDING) {
		if (!sender_awaits_nothing(s))
			return;
	} else {
		while (say_next(s))
			;
		if (!sender_awaits_nothing(s) || s->step == STEP_SENDING)
			return;
	}
	/* everything was answered, and nothing is left to say: what was accepted is decided, or nothing was accepted */
	if (is_recipient_left(s)) {
		begin_transaction(s);
		return;
	}
	s->state = SMTP_SENDER_FINISHED;
	s->messages++;
}

void smtp_sender_begin(struct smtp_sender *s, const struct smtp_outgoing *m)
{
	assert(s->state == SMTP_SENDER_READY && m->n > 0);
	arena_reset(&s->arena);
	s->m = m;
	s->results = arena_array(&s->arena, m->n, sizeof(*s->results));
	s->rcpt = arena_array(&s->arena, m->n, sizeof(*s->rcpt));
	s->state = SMTP_SENDER_BUSY;
	begin_transaction(s);
}

void smtp_sender_next(struct smtp_sender *s)
{
	assert(s->state == SMTP_SENDER_FINISHED || s->state == SMTP_SENDER_OVER);
	s->m = NULL;
	s->results = NULL;
	if (s->state == SMTP_SENDER_OVER)
		return;
	s->state = SMTP_SENDER_READY;
	if (s->offers.mail_max && s->messages >= s->offers.mail_max)
		smtp_sender_quit(s);
}

/* ---- replies ---- */

static void rcpt_answered(struct smtp_sender *s, size_t i, const struct smtp_answer *r)
{
	bool is_full = r->code == 452 || (r->code == 552 && (r->enhanced.n == 0 || str_eq(r->enhanced, STR("5.5.3"))));
	struct smtp_result result;

	if (s->rcpt[i] == RCPT_DECIDED)  /* with MAIL */
		return;
	if (smtp_answer_class(r) == 2) {
		s->rcpt[i] = RCPT_ACCEPTED;
		s->accepted++;
	} else if (is_full && s->accepted > 0) {  /* RFC 5321 §4.5.3.1.10: as many as it took now, the others after these */
		s->rcpt[i] = RCPT_WAITS;
	} else {
		result = sender_result(&s->arena, r, SMTP_AT_RCPT);
		if (result.outcome == SMTP_OUTCOME_DONE)
			result.outcome = SMTP_OUTCOME_DEFERRED;
		decide(s, i, &result);
	}
}

static void data_answered(struct smtp_sender *s, const struct smtp_answer *r)
{
	struct smtp_result result = sender_result(&s->arena, r, SMTP_AT_DATA);

	if (r->code == 354 && s->accepted == 0) {
		s->step = STEP_SENT;
		buf_add_cstr(&s->out, ".\r\n");
		await_end(s);
		return;
	}
	if (r->code == 354) {
		begin_content(s);
		return;
	}
	if (r->code < 400)  /* who waits for the message now, and who does not, is anybody's guess */
		smtp_sender_closed(s, STR("the server answered DATA with something else than 354"), false);
	else
		decide_all(s, RCPT_ACCEPTED, &result);
}

static void end_answered(struct smtp_sender *s, size_t i, const struct smtp_answer *r)
{
	struct smtp_result result = sender_result(&s->arena, r, SMTP_AT_END);

	if (i != SIZE_MAX && s->rcpt[i] == RCPT_ACCEPTED)
		decide(s, i, &result);
	else
		decide_all(s, RCPT_ACCEPTED, &result);
	s->is_open = result.outcome != SMTP_OUTCOME_DONE;
}

/* 2xx to the end although not all of the message was written. */
static bool is_early(const struct smtp_sender *s) { return s->step == STEP_SENDING || s->out_at < s->out.n; }

void message_early_reply(struct smtp_sender *s, const struct smtp_answer *r)
{
	struct smtp_result result = sender_result(&s->arena, r, SMTP_AT_CONTENT);

	if (result.outcome == SMTP_OUTCOME_DONE || result.code < 400)
		result = sender_own(&s->arena, SMTP_OUTCOME_DEFERRED, "4.5.0", SMTP_AT_CONTENT, "the server answered \"" STR_FMT
		                    "\" before it had the whole message", STR_ARG(result.text));
	decide_all(s, RCPT_ACCEPTED, &result);
}

void message_reply(struct smtp_sender *s, struct expected e, const struct smtp_answer *r)
{
	struct smtp_result result;

	switch (e.what) {
	case EXPECT_MAIL:
		if (smtp_answer_class(r) == 2)
			break;
		result = sender_result(&s->arena, r, SMTP_AT_MAIL);
		message_end(s, &result);
		s->has_failed = true;
		break;
	case EXPECT_RCPT:
		rcpt_answered(s, e.recipient, r);
		break;
	case EXPECT_DATA:
		data_answered(s, r);
		break;
	case EXPECT_END:
		if (s->uses_bdat && (r->code == 500 || r->code == 502)) {  /* what was sent after it are commands in the eyes of this server */
			s->lacks_bdat = true;
			smtp_sender_closed(s, STR("the server offers CHUNKING and does not know BDAT"), false);
			return;
		}
		if (is_early(s) && s->accepted > 0) {
			message_early_reply(s, r);
			smtp_sender_closed(s, STR("the connection was given up"), false);
			return;
		}
		end_answered(s, e.recipient, r);
		break;
	default:
		break;
	}
	if (s->state == SMTP_SENDER_BUSY)
		message_go_on(s);
}
