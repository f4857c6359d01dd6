/* Our side of AUTH (RFC 4954): a smart host wants to know who we are. PLAIN (RFC 4616) where the server offers it, else LOGIN, which is
 * nowhere specified and old servers have.
 *
 * A password goes over TLS, or to this machine: whoever makes the sender says which it is (login_in_clear), and has seen to it that the
 * certificate was right. It is wiped from memory as soon as the server has had it.
 *
 * A refused login is no refusal of a message: it is our own setting that is wrong, and mail can wait until somebody has mended it. So
 * every failure here is for later, in our words, with the server's in them. */
#include "smtp/sender_private.h"
#include "base/bytes.h"
#include "base/mem.h"

enum { INITIAL_MAX = 480 };  /* "AUTH PLAIN " and the end of the line make it 512 (RFC 5321 §4.5.3.1.4) */

static void wipe(struct smtp_sender *s)
{
	if (s->config.password.n > 0)
		mem_wipe((char *)(uintptr_t)s->config.password.p, s->config.password.n);  /* in s->own: ours */
	s->config.password = STR("");
	if (s->out.p && s->out_at == s->out.n)
		mem_wipe(s->out.p, s->out.cap);
}

static void say_secret(struct smtp_sender *s, const char *before, struct str secret)
{
	struct arena a = { 0 };

	sender_say(s, EXPECT_LOGIN, 0, "%s" STR_FMT, before, STR_ARG(base64_encode(&a, secret)));
	arena_wipe(&a);
	arena_free(&a);
}

/* message = [authzid] NUL authcid NUL passwd                                                               RFC 4616 §2 */
static void say_plain(struct smtp_sender *s, bool is_initial)
{
	struct arena a = { 0 };
	size_t n = s->config.login.n + s->config.password.n + 2;
	char *p = arena_alloc(&a, n);

	memcpy(p + 1, s->config.login.p, s->config.login.n);
	memcpy(p + 2 + s->config.login.n, s->config.password.p, s->config.password.n);
	say_secret(s, is_initial ? "AUTH PLAIN " : "", str_make(p, n));
	arena_wipe(&a);
	arena_free(&a);
}

static bool is_short(const struct smtp_sender *s) { return (s->config.login.n + s->config.password.n + 4) / 3 * 4 <= INITIAL_MAX; }

static void fail(struct smtp_sender *s, struct smtp_result why)
{
	wipe(s);
	sender_give_up(s, why);
}

void sender_login_begin(struct smtp_sender *s)
{
	if (!s->is_secure && !s->config.login_in_clear) {
		fail(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.7.10", SMTP_AT_LOGIN,
		                   "the server offers no TLS, and a password is not sent in clear text"));
		return;
	}
	s->login = s->offers.has & SMTP_OFFERS_AUTH_PLAIN ? LOGIN_PLAIN : LOGIN_NAME;
	if (s->login == LOGIN_PLAIN && is_short(s)) {
		s->login = LOGIN_SECRET_SAID;
		say_plain(s, true);
	} else if (s->login == LOGIN_PLAIN) {
		sender_say(s, EXPECT_LOGIN, 0, "AUTH PLAIN");
	} else if (s->offers.has & SMTP_OFFERS_AUTH_LOGIN) {
		sender_say(s, EXPECT_LOGIN, 0, "AUTH LOGIN");
	} else {
		fail(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, "4.7.4", SMTP_AT_LOGIN,
		                   "the server offers no way to log in that is known here (AUTH PLAIN or LOGIN)"));
	}
}

/* 334: the server waits for the next piece. */
static bool say_more(struct smtp_sender *s)
{
	switch (s->login) {
	case LOGIN_PLAIN:
		s->login = LOGIN_SECRET_SAID;
		say_plain(s, false);
		return true;
	case LOGIN_NAME:
		s->login = LOGIN_PASSWORD;
		say_secret(s, "", s->config.login);
		return true;
	case LOGIN_PASSWORD:
		s->login = LOGIN_SECRET_SAID;
		say_secret(s, "", s->config.password);
		return true;
	case LOGIN_SECRET_SAID:
		break;
	}
	return false;
}

void sender_login_answered(struct smtp_sender *s, const struct smtp_answer *r)
{
	if (smtp_answer_class(r) == 3 && say_more(s))
		return;
	if (smtp_answer_class(r) == 2) {
		wipe(s);
		s->state = SMTP_SENDER_READY;
		return;
	}
	struct smtp_result said = sender_result(&s->own, r, SMTP_AT_LOGIN);
	fail(s, sender_own(&s->own, SMTP_OUTCOME_DEFERRED, smtp_answer_class(r) == 5 ? "4.7.8" : "4.7.0", SMTP_AT_LOGIN,
	                   "the server refuses the login of \"" STR_FMT "\": " STR_FMT, STR_ARG(s->config.login), STR_ARG(said.text)));
}
