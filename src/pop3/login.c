/* POP3 before the login (RFC 1939 §4, RFC 2449, RFC 2595 §4, RFC 5034, RFC 6856): CAPA, STLS, USER and PASS, AUTH, UTF8, QUIT, in the
 * gate. No APOP: it needs passwords that the server can read, and the greeting has no timestamp that would offer it.
 *
 * USER is answered +OK whatever the name, or names could be guessed one by one. PASS takes the rest of its line as it is: a password
 * may hold spaces (RFC 1939 §7). */
#include "auth/login.h"
#include "pop3/capa.h"
#include "text/text.h"

enum { POP3_LOGIN_LINE_MAX = SASL_LINE_MAX + 64 };  /* RFC 5034 §4: as long as the mechanisms need */

struct pop3_login {
	char   user[LOGIN_NAME_MAX + 1];  /* the last byte: it was longer, and so is nobody's */
	size_t user_n;                    /* 0: none was sent */
	bool   has_utf8;
	bool   has_rest;                  /* more input stands behind the command that runs */
};

struct row {
	const char *word;
	enum login_want (*run)(struct login *l, struct str args, struct buf *out);
};

static struct pop3_login *state_of(struct login *l) { return l->state; }

static enum login_want ok(struct buf *out, const char *text)
{
	buf_printf(out, "+OK %s\r\n", text);
	return LOGIN_INPUT;
}

static enum login_want err(struct login *l, struct buf *out, const char *text)
{
	buf_printf(out, "-ERR %s\r\n", text);
	return login_mistake(l, out);
}

static void bye(UNUSED struct login *l, UNUSED struct str hostname, struct str sentence, struct buf *out)
{
	buf_printf(out, "-ERR [SYS/TEMP] " STR_FMT "\r\n", STR_ARG(sentence));
}

static enum login_want end(enum text why, struct buf *out)
{
	buf_printf(out, "-ERR %s\r\n", text_get(LANG_EN, why));
	return LOGIN_CLOSE;
}

static enum login_want greet(struct login *l, struct buf *out)
{
	buf_printf(out, "+OK " STR_FMT " facteur is ready\r\n", STR_ARG(l->facts.hostname));
	return LOGIN_INPUT;
}

static enum login_want secured(UNUSED struct login *l, UNUSED struct buf *out) { return LOGIN_INPUT; }

/* ---- commands ---- */

/* CAPA                                                                                             RFC 2449 §5 */
static enum login_want capa(struct login *l, struct str args, struct buf *out)
{
	CLEANUP(buf_free) struct buf sasl = BUF(200);

	if (args.n > 0)
		return err(l, out, "this command has no arguments");
	login_put_mechanisms(l, &sasl, "", " ");
	pop3_put_capa(out, &(struct pop3_capa){ .offers_stls = l->facts.can_start_tls, .offers_login = l->facts.may_login,
	                                        .sasl = buf_str(&sasl) });
	return LOGIN_INPUT;
}

/* STLS                                                                                               RFC 2595 §4 */
static enum login_want stls(struct login *l, struct str args, struct buf *out)
{
	if (args.n > 0)
		return err(l, out, "this command has no arguments");
	if (l->facts.is_tls)
		return err(l, out, "TLS is active already");
	if (state_of(l)->has_rest)  /* somebody on the way could have put it there; as plain text it must not count after TLS */
		return end(TEXT_NOTHING_AFTER_STARTTLS, out);
	if (!l->facts.can_start_tls)
		return err(l, out, text_get(LANG_EN, TEXT_NO_CERTIFICATE));
	ok(out, "begin TLS now");
	return LOGIN_STARTTLS;
}

/* RFC 3206 §4: [AUTH] would blame the password */
static enum login_want needs_tls(struct login *l, struct buf *out)
{
	struct str text = text_fmt(&l->arena, LANG_EN, TEXT_LOGIN_NEEDS_TLS, STR("SSL/TLS on the port for it, 995, or STLS on this one"));

	buf_printf(out, "-ERR [SYS/PERM] " STR_FMT "\r\n", STR_ARG(text));
	return login_mistake(l, out);
}

/* USER name                                                                                          RFC 1939 §7 */
static enum login_want user(struct login *l, struct str args, struct buf *out)
{
	struct pop3_login *p = state_of(l);
	struct str name = str_sub(str_trim(args), 0, sizeof p->user);

	if (!l->facts.may_login)
		return needs_tls(l, out);
	if (name.n == 0)
		return err(l, out, "expected: USER name");
	memcpy(p->user, name.p, name.n);
	p->user_n = name.n;
	return ok(out, "now the password: PASS");
}

/* PASS password                                                                                      RFC 1939 §7 */
static enum login_want pass(struct login *l, struct str args, struct buf *out)
{
	struct pop3_login *p = state_of(l);
	struct str name = str_make(p->user, p->user_n);

	if (!l->facts.may_login)
		return needs_tls(l, out);
	if (name.n == 0)
		return err(l, out, "the user name comes first: USER");
	p->user_n = 0;  /* RFC 1939 §7: after a failure it begins with USER again */
	return login_verify(l, name, args);
}

static enum login_want list_mechanisms(struct login *l, struct buf *out)
{
	ok(out, "mechanisms follow");
	login_put_mechanisms(l, out, "", "\r\n");
	buf_add_cstr(out, "\r\n.\r\n");
	return LOGIN_INPUT;
}

/* AUTH [mechanism [initial-response]]                                                                 RFC 5034 §4 */
static enum login_want auth(struct login *l, struct str args, struct buf *out)
{
	enum sasl_mechanism mechanism;
	struct str name, initial;
	bool has_initial = str_cut(args, ' ', &name, &initial);

	if (!l->facts.may_login)
		return needs_tls(l, out);
	if (args.n == 0)
		return list_mechanisms(l, out);
	if (!login_mechanism(l, name, &mechanism))
		return err(l, out, "this mechanism is not offered; AUTH alone lists them");
	return login_sasl(l, mechanism, has_initial && str_trim(initial).n > 0 ? str_trim(initial) : STR_NONE, out);
}

/* UTF8                                                                                               RFC 6856 §2.1 */
static enum login_want utf8(struct login *l, struct str args, struct buf *out)
{
	if (args.n > 0)
		return err(l, out, "this command has no arguments");
	state_of(l)->has_utf8 = true;
	return ok(out, "messages come as they are, in UTF-8");
}

static enum login_want quit(UNUSED struct login *l, UNUSED struct str args, struct buf *out)
{
	ok(out, "goodbye");
	return LOGIN_CLOSE;
}

static enum login_want apop(struct login *l, UNUSED struct str args, struct buf *out)
{
	return err(l, out, "APOP is not offered; use USER and PASS, or AUTH, over TLS");
}

static const struct row rows[] = {
	{ "CAPA", capa }, { "STLS", stls }, { "USER", user }, { "PASS", pass }, { "AUTH", auth }, { "UTF8", utf8 }, { "QUIT", quit },
	{ "APOP", apop },
};

static bool is_for_later(struct str word)
{
	static const char *const words[] = {
#define COMMAND(word, handler, args, meaning, spec) word,
#define CAPABILITY(line, spec)
#include "pop3/commands.def"
#undef COMMAND
#undef CAPABILITY
	};

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (str_ieq(word, str_of(words[i])))
			return true;
	return false;
}

/* ---- reading ---- */

static enum login_want run(struct login *l, struct str line, struct buf *out)
{
	struct str word, args;

	login_forget(l);
	str_cut(line, ' ', &word, &args);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (str_ieq(word, str_of(rows[i].word)))
			return rows[i].run(l, args, out);
	if (is_for_later(word))
		return err(l, out, "this command comes after the login; USER and PASS first");
	return err(l, out, "unknown command; CAPA says what there is");
}

/* "UTF8" or "ASCII", then what AUTH offered: CAPA says the same after the login (RFC 2449 §5). */
static struct str for_cell(struct login *l)
{
	CLEANUP(buf_free) struct buf b = BUF(200);

	buf_add_cstr(&b, state_of(l)->has_utf8 ? "UTF8 " : "ASCII ");
	login_put_mechanisms(l, &b, "", " ");
	return str_copy(&l->arena, buf_str(&b));
}

static enum login_want input(struct login *l, struct str in, size_t *used, struct buf *out)
{
	enum login_want want = LOGIN_INPUT;
	struct str line;
	size_t n;

	while (want == LOGIN_INPUT && login_line(str_from(in, *used), &line, &n)) {
		*used += n;
		if (line.n > POP3_LOGIN_LINE_MAX)
			return end(TEXT_COMMAND_TOO_LONG, out);
		state_of(l)->has_rest = in.n > *used || l->has_more;
		want = l->in_sasl ? login_sasl_line(l, line, out) : run(l, line, out);
	}
	if (want == LOGIN_INPUT && in.n - *used > POP3_LOGIN_LINE_MAX + 1)
		return end(TEXT_COMMAND_TOO_LONG, out);
	if (want == LOGIN_OPEN || want == LOGIN_ASK)
		l->command = for_cell(l);
	return want;
}

/* ---- outcomes ---- */

static void challenge(UNUSED struct login *l, struct str text, struct buf *out)
{
	buf_printf(out, "+ " STR_FMT "\r\n", STR_ARG(text));
}

static enum login_want sasl_broken(UNUSED struct login *l, UNUSED enum sasl_next how, const char *reason, struct buf *out)
{
	buf_printf(out, "-ERR %s\r\n", reason);
	return LOGIN_INPUT;
}

/* RFC 2449 §8.1, RFC 3206 §3, §4 */
static const char *code_of(enum verify_outcome outcome)
{
	return outcome == VERIFY_THROTTLED ? "LOGIN-DELAY" : outcome == VERIFY_BUSY ? "SYS/TEMP" : "AUTH";
}

static enum login_want failed(struct login *l, enum verify_outcome outcome, struct buf *out)
{
	struct str text = login_was_last_try(l) ? str_of(text_get(LANG_EN, TEXT_TOO_MANY_FAILURES)) : login_sentence(l, outcome);

	buf_printf(out, "-ERR [%s] " STR_FMT "\r\n", code_of(outcome), STR_ARG(text));
	return LOGIN_INPUT;
}

static enum login_want refused(UNUSED struct login *l, enum err why, struct str sentence, struct buf *out)
{
	buf_printf(out, "-ERR [%s] " STR_FMT "\r\n", why == ERR_DENIED ? "AUTH" : "SYS/TEMP", STR_ARG(sentence));
	return LOGIN_INPUT;
}

const struct login_protocol pop3_login = {
	.protocol = PROTOCOL_POP3,
	.state_size = sizeof(struct pop3_login),
	.greet = greet,
	.input = input,
	.secured = secured,
	.failed = failed,
	.challenge = challenge,
	.sasl_broken = sasl_broken,
	.refused = refused,
	.bye = bye,
};
