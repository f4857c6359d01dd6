/* A connection, from the greeting to QUIT: sender_message.c has what happens to a message on it.
 *
 * Everything is one queue of replies that are due: a command puts its reply at the end, a reply belongs to the command in front.
 * So it makes no difference whether commands go one by one or in a pipeline (RFC 2920), and a peer that answers more often than it was
 * asked is found out instead of shifting every later answer by one.
 *
 * 421 ends the connection wherever it comes (RFC 5321 §3.8). What cannot be read as a reply ends it too. */
#include "smtp/sender_private.h"
#include "base/bytes.h"
#include "base/mem.h"
#include <stdarg.h>

enum { OUT_MAX = 4 << 20 };

/* RFC 5321 §4.5.3.2, in seconds; how long to wait for the answer to … */
static const struct { int patience_s; enum smtp_stage stage; } expectations[] = {
	[EXPECT_GREETING] = { 300, SMTP_AT_GREETING }, [EXPECT_EHLO] = { 300, SMTP_AT_EHLO },  [EXPECT_HELO] = { 300, SMTP_AT_EHLO },
	[EXPECT_STARTTLS] = { 120, SMTP_AT_STARTTLS }, [EXPECT_RSET] = { 120, SMTP_AT_READY }, [EXPECT_MAIL] = { 300, SMTP_AT_MAIL },
	[EXPECT_RCPT] = { 300, SMTP_AT_RCPT },         [EXPECT_DATA] = { 120, SMTP_AT_DATA },  [EXPECT_END] = { 600, SMTP_AT_END },
	[EXPECT_QUIT] = { 10, SMTP_AT_QUIT },          [EXPECT_LOGIN] = { 120, SMTP_AT_LOGIN },
	[EXPECT_PROBE] = { 300, SMTP_AT_MAIL },
};
enum { CONTENT_PATIENCE_S = 180 };

const char *smtp_stage_name(enum smtp_stage stage)
{
	static const char *const names[] = {
		[SMTP_AT_GREETING] = "the greeting", [SMTP_AT_EHLO] = "EHLO", [SMTP_AT_STARTTLS] = "STARTTLS", [SMTP_AT_READY] = "RSET",
		[SMTP_AT_MAIL] = "MAIL FROM", [SMTP_AT_RCPT] = "RCPT TO", [SMTP_AT_DATA] = "DATA", [SMTP_AT_CONTENT] = "the message",
		[SMTP_AT_END] = "the end of the message", [SMTP_AT_QUIT] = "QUIT", [SMTP_AT_LOGIN] = "AUTH",
	};
	return names[stage];
}

/* ---- commands and replies ---- */

bool sender_awaits_nothing(const struct smtp_sender *s) { return s->first == s->end; }

void sender_await(struct smtp_sender *s, enum expect what, size_t recipient)
{
	if (s->first == s->end)
		s->first = s->end = 0;
	if (s->end == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 16;
		s->awaited = mem_resize(s->awaited, s->cap * sizeof(*s->awaited));
	}
	s->awaited[s->end++] = (struct expected){ what, recipient };
}

void sender_say(struct smtp_sender *s, enum expect what, size_t recipient, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
	buf_add_cstr(&s->out, "\r\n");
	sender_await(s, what, recipient);
}

struct smtp_result sender_result(struct arena *a, const struct smtp_answer *r, enum smtp_stage at)
{
	static const char *const unnamed[] = { "2.0.0", "4.0.0", "5.0.0" };
	int class = smtp_answer_class(r);
	struct str text = arena_printf(a, "%d%s" STR_FMT "%s" STR_FMT, r->code, r->enhanced.n ? " " : "", STR_ARG(r->enhanced),
	                               r->text.n ? " " : "", STR_ARG(utf8_clip(r->text, SMTP_SENDER_REPLY_MAX)));

	return (struct smtp_result){
		.outcome = class == 2 ? SMTP_OUTCOME_DONE : class == 5 ? SMTP_OUTCOME_REFUSED : SMTP_OUTCOME_DEFERRED,
		.at = at, .code = r->code, .text = text,
		.status = r->enhanced.n ? str_copy(a, r->enhanced) : str_of(unnamed[class == 2 ? 0 : class == 5 ? 2 : 1]),
	};
}

struct smtp_result sender_own(struct arena *a, enum smtp_outcome outcome, const char *status, enum smtp_stage at, const char *fmt, ...)
{
	struct smtp_result r = { .outcome = outcome, .is_own_word = true, .at = at, .status = str_of(status) };
	va_list ap;

	va_start(ap, fmt);
	r.text = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return r;
}

void sender_give_up(struct smtp_sender *s, struct smtp_result why)
{
	if (s->state == SMTP_SENDER_OVER)
		return;
	s->state = SMTP_SENDER_OVER;
	s->failure = why;
	if (s->m)
		message_end(s, &why);
	buf_free(&s->out);
	buf_free(&s->in);
	s->out_at = 0;
}

static void give_up_reply(struct smtp_sender *s, const struct smtp_answer *r, enum smtp_stage at)
{
	struct smtp_result why = sender_result(&s->own, r, at);

	if (why.outcome == SMTP_OUTCOME_DONE && sender_awaits_nothing(s))
		why = sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.5.0", at, "the server answered before it was asked: \"" STR_FMT "\"", STR_ARG(why.text));
	else if (why.outcome == SMTP_OUTCOME_DONE)  /* a 2xx or 3xx where it makes no sense */
		why = sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.5.0", at, "the server answered %s with \"" STR_FMT "\", which makes no sense there",
		                 smtp_stage_name(at), STR_ARG(why.text));
	sender_give_up(s, why);
}

static enum smtp_stage stage_now(const struct smtp_sender *s)
{
	if (!sender_awaits_nothing(s))
		return expectations[s->awaited[s->first].what].stage;
	return s->m ? message_stage(s) : SMTP_AT_READY;
}

/* ---- the beginning ---- */

static void say_hello(struct smtp_sender *s, enum expect what)
{
	const char *verb = what == EXPECT_HELO ? "HELO" : s->config.is_lmtp ? "LHLO" : "EHLO";

	sender_say(s, what, 0, "%s " STR_FMT, verb, STR_ARG(s->config.hostname));
}

static void ready(struct smtp_sender *s)
{
	if (s->config.login.n > 0)
		sender_login_begin(s);
	else
		s->state = SMTP_SENDER_READY;
}

static void no_tls(struct smtp_sender *s, const char *what)
{
	sender_give_up(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.7.4", SMTP_AT_STARTTLS, "the server %s, and without TLS nothing may be sent to it",
	                      what));
}

/* Is it ourselves who answer (RFC 5321 §6.3)? A message would go round until it has too many Received fields. */
static bool is_own_name(const struct smtp_sender *s, struct str text)
{
	struct scan words = scan_of(text);

	return !s->config.is_lmtp && !s->config.is_given && str_ieq(str_trim(scan_until(&words, ' ')), s->config.hostname);
}

static void hello_answered(struct smtp_sender *s, const struct smtp_answer *r, enum expect what)
{
	struct str line, rest;

	if (what == EXPECT_EHLO && smtp_answer_class(r) == 5 && !s->config.is_lmtp) {  /* RFC 5321 §3.2: a server of 1982 */
		say_hello(s, EXPECT_HELO);
		return;
	}
	if (smtp_answer_class(r) != 2) {
		give_up_reply(s, r, SMTP_AT_EHLO);
		return;
	}
	str_cut(r->text, '\n', &line, &rest);
	if (is_own_name(s, line)) {
		sender_give_up(s, sender_own(&s->own, SMTP_OUTCOME_REFUSED, "5.4.6", SMTP_AT_EHLO,
		                      "the mail server of this domain is this very server, which does not have the domain: add it here, or correct "
		                      "its MX records"));
		return;
	}
	smtp_offers_read(what == EXPECT_EHLO ? r->text : STR(""), &s->offers);
	if (s->config.avoids_chunking)
		s->offers.has &= ~(unsigned)(SMTP_OFFERS_CHUNKING | SMTP_OFFERS_BINARYMIME);
	if (s->is_secure || s->config.tls == SMTP_TLS_NEVER)
		ready(s);
	else if (s->offers.has & SMTP_OFFERS_STARTTLS)
		sender_say(s, EXPECT_STARTTLS, 0, "STARTTLS");
	else if (s->config.tls == SMTP_TLS_MUST)
		no_tls(s, "does not offer STARTTLS");
	else
		ready(s);
}

static void starttls_answered(struct smtp_sender *s, const struct smtp_answer *r)
{
	if (smtp_answer_class(r) == 2 && s->in.n > 0) {  /* said before TLS, to be heard after it: RFC 3207 §4.2, CVE-2011-0411 */
		sender_give_up(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.7.0", SMTP_AT_STARTTLS,
		                      "something was said between STARTTLS and TLS: somebody on the way may be tampering with it"));
		return;
	}
	if (smtp_answer_class(r) == 2)
		s->state = SMTP_SENDER_STARTTLS;
	else if (s->config.tls == SMTP_TLS_MUST)
		give_up_reply(s, r, SMTP_AT_STARTTLS);
	else
		ready(s);
}

void smtp_sender_secured(struct smtp_sender *s)
{
	s->is_secure = true;
	s->state = SMTP_SENDER_BUSY;
	s->offers = (struct smtp_offers){ 0 };  /* RFC 3207 §4.2: what was said in the clear does not count */
	s->progress++;
	if (sender_awaits_nothing(s))  /* else the greeting: TLS came before it */
		say_hello(s, EXPECT_EHLO);
}

/* ---- what comes in ---- */

static void take_reply(struct smtp_sender *s, const struct smtp_answer *r)
{
	s->progress++;
	if (sender_awaits_nothing(s)) {
		if (s->m && s->state == SMTP_SENDER_BUSY && r->code != 421) {
			struct smtp_result why = sender_result(&s->own, r, message_stage(s));
			message_early_reply(s, r);
			sender_give_up(s, why);
		} else {
			give_up_reply(s, r, stage_now(s));
		}
		return;
	}
	struct expected e = s->awaited[s->first++];
	enum smtp_stage stage = expectations[e.what].stage;
	if (r->code == 421 || e.what == EXPECT_QUIT) {
		s->first--;  /* message_end() asks what was going on */
		give_up_reply(s, r, stage);
		return;
	}
	switch (e.what) {
	case EXPECT_GREETING:
		if (smtp_answer_class(r) != 2)
			give_up_reply(s, r, stage);
		else
			say_hello(s, EXPECT_EHLO);
		return;
	case EXPECT_EHLO:
	case EXPECT_HELO:
		hello_answered(s, r, e.what);
		return;
	case EXPECT_STARTTLS:
		starttls_answered(s, r);
		return;
	case EXPECT_LOGIN:
		sender_login_answered(s, r);
		return;
	case EXPECT_PROBE:
		s->probed = sender_result(&s->own, r, SMTP_AT_MAIL);
		s->is_open = true;
		s->state = SMTP_SENDER_READY;
		return;
	default:
		message_reply(s, e, r);
	}
}

void smtp_sender_input(struct smtp_sender *s, struct str bytes)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct smtp_answer r;

	if (s->state == SMTP_SENDER_OVER)
		return;
	buf_add(&s->in, bytes);
	if (s->in.failed) {
		sender_give_up(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.5.0", stage_now(s), "the server talks without end"));
		return;
	}
	if (bytes.n == 0 || memchr(bytes.p, '\n', bytes.n) == NULL)
		return;  /* no reply ends in these */
	while (s->state != SMTP_SENDER_OVER && s->in.n > 0) {
		struct scan at = scan_of(buf_str(&s->in));
		enum err e = scan_smtp_answer(&at, &a, &r);
		if (e == ERR_AGAIN)
			return;
		if (e != ERR_OK) {
			sender_give_up(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.5.0", stage_now(s), "what answers there does not speak SMTP"));
			return;
		}
		buf_drop_front(&s->in, scan_offset(&at));
		take_reply(s, &r);
		arena_reset(&a);
	}
}

/* All of it was written, in a pipeline perhaps before the first reply, and the word about it is still to come. */
static bool is_written(const struct smtp_sender *s)
{
	bool is_due = false;

	for (size_t i = s->first; i < s->end; i++)
		is_due |= s->awaited[i].what == EXPECT_END;
	return s->m && is_due && s->accepted + s->asked > 0 && s->step == STEP_SENT && s->out_at == s->out.n;
}

/* May the peer have the message though it did not say so? One that closes cleanly without a word to this message has closed before it saw
 * it: as happens to a connection that was kept. */
static bool may_have_arrived(const struct smtp_sender *s, enum smtp_stage at, bool is_clean)
{
	return is_written(s) && !(is_clean && (at == SMTP_AT_READY || at == SMTP_AT_MAIL));
}

enum smtp_holds smtp_sender_holds(const struct smtp_sender *s)
{
	for (size_t i = 0; s->m && i < s->m->n; i++)
		if (s->rcpt[i] == RCPT_DECIDED && s->results[i].outcome == SMTP_OUTCOME_DONE)
			return SMTP_HOLDS_ALL;
	if (is_written(s))
		return SMTP_HOLDS_ALL;
	return s->m && s->step >= STEP_SENDING && s->content_at > 0 ? SMTP_HOLDS_PART : SMTP_HOLDS_NOTHING;
}

void smtp_sender_closed(struct smtp_sender *s, struct str why, bool is_clean)
{
	enum smtp_stage at = stage_now(s), of = at;

	if (may_have_arrived(s, at, is_clean))
		of = SMTP_AT_END;
	else if (at == SMTP_AT_END)
		of = SMTP_AT_CONTENT;
	sender_give_up(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.4.2", of, STR_FMT " (%s%s)%s", STR_ARG(why),
	                      s->state == SMTP_SENDER_STARTTLS ? "in the TLS handshake" : "waiting for the answer to ",
	                      s->state == SMTP_SENDER_STARTTLS ? "" : smtp_stage_name(at), of == SMTP_AT_END ? ": the whole message had been sent, and it may have arrived" : ""));
}

/* ---- what goes out ---- */

struct str smtp_sender_output(struct smtp_sender *s)
{
	if (s->out_at == s->out.n) {
		buf_reset(&s->out);
		s->out_at = 0;
	}
	if (s->m && s->step == STEP_SENDING && s->out.n == 0 && s->state == SMTP_SENDER_BUSY)
		message_fill(s);
	if (s->out.n == s->out_at || s->state == SMTP_SENDER_OVER)
		return STR("");
	return str_from(buf_str(&s->out), s->out_at);
}

void smtp_sender_wrote(struct smtp_sender *s, size_t n)
{
	s->out_at += n;
	if (n == 0)
		return;
	s->progress++;
	if (s->m && s->state == SMTP_SENDER_BUSY && s->step == STEP_SENT && s->out_at == s->out.n && sender_awaits_nothing(s))
		message_go_on(s);  /* the end was answered before it was written, and refused */
}

/* ---- the life of a sender ---- */

struct smtp_sender *smtp_sender_new(const struct smtp_sender_config *c)
{
	struct smtp_sender *s = MEM_NEW(struct smtp_sender);

	s->config = *c;
	s->config.hostname = str_copy(&s->own, c->hostname);
	s->config.login = c->login.n > 0 ? str_copy(&s->own, c->login) : STR("");
	s->config.password = c->password.n > 0 ? str_copy(&s->own, c->password) : STR("");
	s->in = BUF(2 * SMTP_ANSWER_MAX);
	s->out = BUF(OUT_MAX);
	if (c->tls == SMTP_TLS_IMPLICIT)
		s->state = SMTP_SENDER_STARTTLS;
	sender_await(s, EXPECT_GREETING, 0);
	return s;
}

void smtp_sender_free(struct smtp_sender *s)
{
	if (s == NULL)
		return;
	buf_free(&s->in);
	buf_free(&s->out);
	mem_free(s->awaited);
	arena_free(&s->arena);
	arena_wipe(&s->own);  /* a password that was not said */
	arena_free(&s->own);
	mem_free(s);
}

enum smtp_sender_state smtp_sender_state(const struct smtp_sender *s) { return s->state; }
const struct smtp_result *smtp_sender_results(const struct smtp_sender *s) { return s->results; }
const struct smtp_offers *smtp_sender_offers(const struct smtp_sender *s) { return &s->offers; }
bool smtp_sender_is_secure(const struct smtp_sender *s) { return s->is_secure; }
unsigned smtp_sender_messages(const struct smtp_sender *s) { return s->messages; }
const struct smtp_result *smtp_sender_failure(const struct smtp_sender *s) { return &s->failure; }
uint64_t smtp_sender_progress(const struct smtp_sender *s) { return s->progress; }
bool smtp_sender_lacks_bdat(const struct smtp_sender *s) { return s->lacks_bdat; }

uint64_t smtp_sender_content_out(const struct smtp_sender *s)
{
	uint64_t waits = s->out.n - s->out_at;

	if (s->m == NULL || s->state != SMTP_SENDER_BUSY || s->step != STEP_SENDING)
		return 0;
	return s->content_at > waits ? s->content_at - waits : 0;
}

int smtp_sender_patience_s(const struct smtp_sender *s)
{
	if (s->out_at < s->out.n || sender_awaits_nothing(s))
		return CONTENT_PATIENCE_S;
	return expectations[s->awaited[s->first].what].patience_s;
}

void smtp_sender_probe(struct smtp_sender *s)
{
	s->state = SMTP_SENDER_BUSY;
	sender_say(s, EXPECT_PROBE, 0, "MAIL FROM:<>");
}

const struct smtp_result *smtp_sender_probed(const struct smtp_sender *s) { return s->probed.code != 0 ? &s->probed : NULL; }

void smtp_sender_quit(struct smtp_sender *s)
{
	s->m = NULL;
	s->state = SMTP_SENDER_BUSY;
	sender_say(s, EXPECT_QUIT, 0, "QUIT");
}
