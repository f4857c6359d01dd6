/* IMAP before the login (RFC 9051 §3.1): CAPABILITY, NOOP, LOGOUT, ID, STARTTLS, AUTHENTICATE, LOGIN, in the gate.
 *
 * A command is looked at only when all of it is there, literals too; until then it stays in the gate's input and nothing is kept of
 * it but how far leave was given to send ("+ ..."). A literal that waits for leave gets none when the answer is NO or BAD anyway:
 * so a password in a literal never travels in clear text.
 *
 * A command that does not fit the input is passed over and answered NO. An ID may be as long (30 fields of 30 bytes with values of 1024, RFC 2971 §3.3,
 * each of them perhaps behind a backslash); it tells us nothing that we use, so it is passed over, too, and answered like any other.
 *
 * The tag is kept in the state: the outcome of a login comes later, and the cell says the tagged OK itself ("a1 LOGIN", "a1 LOGIN fr"). */
#include "auth/login.h"
#include "imap/capability.h"
#include "imap/grammar.h"
#include "imap/language.h"
#include "text/text.h"

struct imap_login {
	char   tag[IMAP_TAG_MAX];
	size_t tag_n;
	size_t leave;    /* input up to here was asked for: leave was given for the literal that begins here */
	bool   is_passing_over, is_id;   /* the rest of a command that is too long; of an ID */
	size_t passed_over, literal_left;
};
enum {
	PASS_OVER_MAX = 65536,  /* of one command */
	ANNOUNCED_MAX = 64,     /* where a line is passed over in pieces, so much of its end is kept: a literal may be announced there */
};

struct command {
	struct str  tag;
	struct scan args;      /* after the word and its SP */
	bool        has_rest;  /* more input stands behind the command */
};

struct row {
	const char *word;
	enum login_want (*run)(struct login *l, struct command *c, struct buf *out);
	bool takes_literals;
};

static struct imap_login *state_of(struct login *l) { return l->state; }
static const char *language_for_cell(const struct login *l) { return l->lang == LANG_FR ? " fr" : ""; }
static struct str tag_of(struct login *l) { return str_make(state_of(l)->tag, state_of(l)->tag_n); }

static void keep_tag(struct login *l, struct str tag)
{
	memcpy(state_of(l)->tag, tag.p, tag.n);
	state_of(l)->tag_n = tag.n;
}

/* ---- saying ---- */

static void say(struct login *l, struct buf *out, const char *status, const char *code, struct str text)
{
	struct str tag = tag_of(l);

	buf_printf(out, STR_FMT " %s ", STR_ARG(tag.n > 0 ? tag : STR("*")), status);
	if (code != NULL)
		buf_printf(out, "[%s] ", code);
	buf_printf(out, STR_FMT "\r\n", STR_ARG(text));
}

static enum login_want bad(struct login *l, struct buf *out, const char *text)
{
	say(l, out, "BAD", NULL, str_of(imap_in(l->lang, text)));
	return login_mistake(l, out);
}

static void bye(UNUSED struct login *l, UNUSED struct str hostname, struct str sentence, struct buf *out)
{
	buf_printf(out, "* BYE " STR_FMT "\r\n", STR_ARG(sentence));
}

static enum login_want end(struct login *l, enum text why, struct buf *out)
{
	bye(l, l->facts.hostname, str_of(text_get(l->lang, why)), out);
	return LOGIN_CLOSE;
}

/* "IMAP4rev2 … SASL-IR STARTTLS LOGINDISABLED": what is possible on this connection as it is now. */
static void put_capabilities(struct login *l, struct buf *out)
{
	imap_put_capabilities_before_login(out);
	buf_add_cstr(out, " SASL-IR");
	if (l->facts.can_start_tls)
		buf_add_cstr(out, " STARTTLS");
	if (!l->facts.may_login) {
		buf_add_cstr(out, " LOGINDISABLED");
		return;
	}
	buf_add_char(out, ' ');
	login_put_mechanisms(l, out, "AUTH=", " ");
}

static enum login_want greet(struct login *l, struct buf *out)
{
	buf_add_cstr(out, "* OK [CAPABILITY ");
	put_capabilities(l, out);
	buf_printf(out, "] " STR_FMT " facteur is ready\r\n", STR_ARG(l->facts.hostname));
	return LOGIN_INPUT;
}

static enum login_want secured(UNUSED struct login *l, UNUSED struct buf *out) { return LOGIN_INPUT; }

/* ---- commands ---- */

static bool args_end(const struct command *c) { return !c->args.failed && scan_done(&c->args); }

/* CAPABILITY                                                                                      RFC 9051 §6.1.1 */
static enum login_want capability(struct login *l, struct command *c, struct buf *out)
{
	if (!args_end(c))
		return bad(l, out, "this command has no arguments");
	buf_add_cstr(out, "* CAPABILITY ");
	put_capabilities(l, out);
	buf_add_cstr(out, "\r\n");
	say(l, out, "OK", NULL, str_of(imap_in(l->lang, "that is all before the login")));
	return LOGIN_INPUT;
}

static enum login_want noop(struct login *l, struct command *c, struct buf *out)
{
	if (!args_end(c))
		return bad(l, out, "this command has no arguments");
	say(l, out, "OK", NULL, str_of(imap_in(l->lang, "done")));
	return LOGIN_INPUT;
}

/* LOGOUT                                                                                          RFC 9051 §6.1.3 */
static enum login_want logout(struct login *l, struct command *c, struct buf *out)
{
	if (!args_end(c))
		return bad(l, out, "this command has no arguments");
	buf_add_cstr(out, imap_in(l->lang, "* BYE see you\r\n"));
	say(l, out, "OK", NULL, str_of(imap_in(l->lang, "logged out")));
	return LOGIN_CLOSE;
}

static enum login_want greet_back(struct login *l, struct buf *out)
{
	buf_add_cstr(out, "* ID (\"name\" \"facteur\")\r\n");
	say(l, out, "OK", NULL, str_of(imap_in(l->lang, "pleased to meet you")));
	return LOGIN_INPUT;
}

/* ID (NIL / "(" *(string SP nstring) ")")                                                             RFC 2971 §3 */
static enum login_want id(struct login *l, struct command *c, struct buf *out)
{
	if (!imap_scan_id(&c->args, &l->arena) || !args_end(c))
		return bad(l, out, "expected: NIL, or (field value ...), at most 30 of them");
	return greet_back(l, out);
}

/* LANGUAGE *(SP lang-range-quoted)                                                                RFC 5255 §3.2 */
static enum login_want language(struct login *l, struct command *c, struct buf *out)
{
	const char *status = "OK", *text = "the languages of this server";

	switch (imap_language_choose(&c->args, &l->arena, &l->lang, out)) {
	case IMAP_LANGUAGE_MALFORMED:
		return bad(l, out, "expected: languages, the most wanted first, or none to ask which there are");
	case IMAP_LANGUAGE_UNKNOWN:
		status = "NO";
		text = "none of these languages is spoken here; there are French and English";
		break;
	case IMAP_LANGUAGE_CHOSEN:
		text = l->lang == LANG_FR ? "French from now on" : "English from now on";
		break;
	case IMAP_LANGUAGE_LISTED:
		break;
	}
	say(l, out, status, NULL, str_of(imap_in(l->lang, text)));
	return LOGIN_INPUT;
}

/* STARTTLS                                                                                        RFC 9051 §6.2.1 */
static enum login_want starttls(struct login *l, struct command *c, struct buf *out)
{
	if (!args_end(c))
		return bad(l, out, "this command has no arguments");
	if (l->facts.is_tls)
		return bad(l, out, "TLS is active already");
	if (c->has_rest)  /* somebody on the way could have put it there; as plain text it must not count after TLS */
		return end(l, TEXT_NOTHING_AFTER_STARTTLS, out);
	if (!l->facts.can_start_tls) {
		say(l, out, "NO", "UNAVAILABLE", str_of(text_get(l->lang, TEXT_NO_CERTIFICATE)));
		return LOGIN_INPUT;
	}
	say(l, out, "OK", NULL, str_of(imap_in(l->lang, "begin TLS now")));
	return LOGIN_STARTTLS;
}

/* RFC 9051 §11.1, RFC 5530 §3 */
static enum login_want needs_tls(struct login *l, struct buf *out)
{
	say(l, out, "NO", "PRIVACYREQUIRED",
	    text_fmt(&l->arena, l->lang, TEXT_LOGIN_NEEDS_TLS, str_of(imap_in(l->lang, "SSL/TLS on the port for it, 993, or STARTTLS on this one"))));
	return login_mistake(l, out);
}

/* LOGIN userid password                                                                           RFC 9051 §6.2.3 */
static enum login_want log_in(struct login *l, struct command *c, struct buf *out)
{
	struct str name, password;

	name = imap_astring(&c->args, &l->arena);
	imap_sp(&c->args);
	password = imap_astring(&c->args, &l->arena);
	if (!args_end(c))
		return bad(l, out, "expected: user name SP password; quote what holds other than letters and digits");
	l->command = arena_printf(&l->arena, STR_FMT " LOGIN%s", STR_ARG(tag_of(l)), language_for_cell(l));
	return login_verify(l, name, password);
}

/* AUTHENTICATE mechanism [SP initial-response]                                         RFC 9051 §6.2.2, RFC 4959 */
static enum login_want authenticate(struct login *l, struct command *c, struct buf *out)
{
	struct str name = imap_atom(&c->args), initial = STR_NONE;
	enum sasl_mechanism mechanism;

	if (scan_take(&c->args, ' '))
		initial = scan_bytes(&c->args, scan_left(&c->args));
	if (!args_end(c) || (initial.p != NULL && initial.n == 0))
		return bad(l, out, "expected: mechanism [SP initial response in base64]");
	if (!login_mechanism(l, name, &mechanism)) {
		CLEANUP(buf_free) struct buf text = BUF(500);
		buf_add_cstr(&text, imap_in(l->lang, "this mechanism is not offered; there are: "));
		login_put_mechanisms(l, &text, "", ", ");
		say(l, out, "NO", "CANNOT", buf_str(&text));
		return login_mistake(l, out);
	}
	l->command = arena_printf(&l->arena, STR_FMT " AUTHENTICATE%s", STR_ARG(tag_of(l)), language_for_cell(l));
	return login_sasl(l, mechanism, initial, out);
}

static const struct row rows[] = {
	{ "CAPABILITY", capability, false }, { "NOOP", noop, false }, { "LOGOUT", logout, false }, { "ID", id, true }, { "LANGUAGE", language, true },
	{ "STARTTLS", starttls, false }, { "AUTHENTICATE", authenticate, false }, { "LOGIN", log_in, true },
};

/* Words that are commands, but only after the login: "UID FETCH" is known by its first word. */
static bool is_for_later(struct str word)
{
	static const char *const words[] = {
#define COMMAND(word, handler, allowed, advertises, arguments, spec) word,
#define FEATURE(word, before_login, spec)
#include "imap/commands.def"
#undef COMMAND
#undef FEATURE
	};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		struct str first = str_of(words[i]), rest;

		str_cut(first, ' ', &first, &rest);
		if (str_ieq(word, first))
			return true;
	}
	return false;
}

static const struct row *find(struct str word)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (str_ieq(word, str_of(rows[i].word)))
			return &rows[i];
	return NULL;
}

/* ---- reading ---- */

/* tag SP word [SP arguments] of the line; *row NULL: refused, *want says how it goes on. */
static enum login_want read_head(struct login *l, struct str text, struct command *c, const struct row **row, struct buf *out)
{
	struct scan s = scan_of(text);
	struct str word;

	*row = NULL;
	state_of(l)->tag_n = 0;
	c->tag = imap_tag(&s);
	imap_sp(&s);
	if (s.failed)
		return bad(l, out, "a command is: tag SP command [SP arguments]");
	keep_tag(l, c->tag);
	word = imap_atom(&s);
	if (!scan_done(&s) && !scan_take(&s, ' '))
		scan_fail(&s);
	*row = s.failed ? NULL : find(word);
	c->args = s;
	if (*row == NULL && !s.failed && is_for_later(word))
		return bad(l, out, "this command comes after the login; LOGIN or AUTHENTICATE first");
	if (*row == NULL)
		return bad(l, out, "unknown command; before the login there are CAPABILITY, ID, LANGUAGE, STARTTLS, AUTHENTICATE, LOGIN, NOOP, LOGOUT");
	if (((*row)->run == log_in || (*row)->run == authenticate) && !l->facts.may_login) {
		*row = NULL;
		return needs_tls(l, out);
	}
	return LOGIN_INPUT;
}

enum whole { WHOLE, PARTIAL, REFUSES_LITERAL, TOO_LONG };

/* Finds the end of the command that begins in: *size bytes of it, *text without the last line end. Asks for literals that wait,
 * when the row takes any. A literal that comes without leave is skipped for a refused command too: it is part of it.
 * TOO_LONG: *size is where the line begins that does not fit, or whose literal does not. */
static enum whole find_end(struct login *l, struct str in, bool takes_literals, struct buf *out, struct str *text, size_t *size)
{
	struct imap_literal literal;
	struct str line;
	size_t at = 0, n;

	for (;;) {
		*size = at;
		if (!login_line(str_from(in, at), &line, &n))
			return in.n < LOGIN_INPUT_MAX ? PARTIAL : TOO_LONG;
		*size = at + n;
		*text = str_sub(in, 0, at + line.n);
		if (!imap_literal_announced(line, &literal))
			return WHOLE;
		if (!takes_literals && literal.waits)
			return REFUSES_LITERAL;
		if (*size >= LOGIN_INPUT_MAX || literal.n >= LOGIN_INPUT_MAX - *size) {
			*size = at;
			return TOO_LONG;
		}
		if (literal.waits && state_of(l)->leave < *size) {
			buf_add_cstr(out, "+ send the literal\r\n");
			state_of(l)->leave = *size;
		}
		at = *size + (size_t)literal.n;
		if (at > in.n)
			return PARTIAL;
	}
}

/* More of a command that is too long, up to its end or to a literal that waits for leave, which only an ID gets. */
static enum login_want pass_over(struct login *l, struct str in, size_t *used, struct buf *out)
{
	struct imap_login *st = state_of(l);
	struct imap_literal literal = { 0 };
	bool goes_on = true;
	struct str line;

	*used = 0;
	if (st->literal_left > 0) {
		*used = st->literal_left < in.n ? st->literal_left : in.n;
		st->literal_left -= *used;
	} else if (login_line(in, &line, used)) {
		goes_on = imap_literal_announced(line, &literal) && (st->is_id || !literal.waits);
	} else if (in.n > ANNOUNCED_MAX) {
		*used = in.n - ANNOUNCED_MAX;
	}
	st->passed_over += *used;
	if (st->passed_over > PASS_OVER_MAX || (goes_on && literal.n > PASS_OVER_MAX - st->passed_over))
		return end(l, TEXT_COMMAND_TOO_LONG, out);
	if (goes_on) {
		if (literal.waits)
			buf_add_cstr(out, "+ send the literal\r\n");
		st->literal_left += (size_t)literal.n;
		return LOGIN_INPUT;
	}
	st->is_passing_over = false;
	if (st->is_id)
		return greet_back(l, out);
	say(l, out, "NO", "LIMIT", str_of(imap_in(l->lang, "before the login a command is at most 16384 bytes long")));
	return login_mistake(l, out);
}

static enum login_want begin_passing_over(struct login *l, const struct row *row, struct str in, size_t at, size_t *used, struct buf *out)
{
	struct imap_login *st = state_of(l);

	st->is_passing_over = true;
	st->is_id = row != NULL && row->run == id;
	st->passed_over = at;
	st->literal_left = 0;
	st->leave = 0;
	enum login_want want = pass_over(l, str_from(in, at), used, out);
	*used += at;
	return want;
}

/* The first complete command of in; *used 0: none is there. */
static enum login_want run_command(struct login *l, struct str in, size_t *used, struct buf *out)
{
	struct str line, text;
	struct command c = { 0 };
	const struct row *row;
	CLEANUP(buf_free) struct buf refusal = BUF(2000);
	uint32_t mistakes = l->mistakes;
	enum login_want want;
	size_t n, size;
	bool has_line = login_line(in, &line, &n);

	if (!has_line && in.n < LOGIN_INPUT_MAX)
		return LOGIN_INPUT;
	login_forget(l);
	want = read_head(l, has_line ? line : in, &c, &row, &refusal);
	switch (find_end(l, in, row != NULL && row->takes_literals, out, &text, &size)) {
	case PARTIAL:
		l->mistakes = mistakes;  /* it is looked at again when more has come */
		return LOGIN_INPUT;
	case TOO_LONG:
		l->mistakes = mistakes;
		return begin_passing_over(l, row, in, size, used, out);
	case REFUSES_LITERAL:
		if (row != NULL)
			want = bad(l, &refusal, "no literal can stand here");
		row = NULL;
		break;
	case WHOLE:
		break;
	}
	state_of(l)->leave = 0;
	*used = size;
	if (row == NULL) {
		buf_add(out, buf_str(&refusal));
		return want;
	}
	c.args.end = text.p + text.n;
	c.has_rest = in.n > size || l->has_more;
	return row->run(l, &c, out);
}

static enum login_want input(struct login *l, struct str in, size_t *used, struct buf *out)
{
	enum login_want want = LOGIN_INPUT;
	struct str line;
	size_t n = 0;

	while (want == LOGIN_INPUT) {
		struct str rest = str_from(in, *used);

		n = 0;
		if (state_of(l)->is_passing_over)
			want = pass_over(l, rest, &n, out);
		else if (!l->in_sasl)
			want = run_command(l, rest, &n, out);
		else if (login_line(rest, &line, &n))
			want = login_sasl_line(l, line, out);
		*used += n;
		if (n == 0 && want == LOGIN_INPUT && rest.n >= LOGIN_INPUT_MAX)
			return end(l, TEXT_COMMAND_TOO_LONG, out);
		if (n == 0)
			break;
	}
	return want;
}

/* ---- outcomes ---- */

static void challenge(UNUSED struct login *l, struct str text, struct buf *out)
{
	buf_printf(out, "+ " STR_FMT "\r\n", STR_ARG(text));
}

static enum login_want sasl_broken(struct login *l, UNUSED enum sasl_next how, const char *reason, struct buf *out)
{
	say(l, out, "BAD", NULL, str_of(imap_in(l->lang, reason)));
	return LOGIN_INPUT;
}

/* RFC 5530 §3 */
static const char *code_of(enum verify_outcome outcome)
{
	switch (outcome) {
	case VERIFY_SUSPENDED:
	case VERIFY_NOT_ALLOWED:
		return "AUTHORIZATIONFAILED";
	case VERIFY_THROTTLED:
		return "LIMIT";
	case VERIFY_BUSY:
		return "UNAVAILABLE";
	default:
		return "AUTHENTICATIONFAILED";
	}
}

static enum login_want failed(struct login *l, enum verify_outcome outcome, struct buf *out)
{
	const char *why = outcome == VERIFY_WRONG ? sasl_reason(&l->sasl) : "";

	say(l, out, "NO", code_of(outcome), *why ? str_of(imap_in(l->lang, why)) : login_sentence(l, outcome));
	if (login_was_last_try(l))
		bye(l, l->facts.hostname, str_of(text_get(l->lang, TEXT_TOO_MANY_FAILURES)), out);
	return LOGIN_INPUT;
}

static enum login_want refused(struct login *l, enum err why, struct str sentence, struct buf *out)
{
	say(l, out, "NO", why == ERR_DENIED ? "AUTHORIZATIONFAILED" : why == ERR_LIMIT ? "LIMIT" : "UNAVAILABLE", sentence);
	return LOGIN_INPUT;
}

const struct login_protocol imap_login = {
	.protocol = PROTOCOL_IMAP,
	.state_size = sizeof(struct imap_login),
	.greet = greet,
	.input = input,
	.secured = secured,
	.failed = failed,
	.challenge = challenge,
	.sasl_broken = sasl_broken,
	.refused = refused,
	.bye = bye,
};
