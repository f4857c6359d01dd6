/* The login phase: what IMAP, POP3 and submission do the same way. A protocol reads its lines and finds its words; the exchange with
 * keys, the steps of SASL, the count of wrong passwords and of mistakes are here.
 *
 * What must stay true:
 * - The outcome alone decides what is said, never the name: keys gives a wrong name and a wrong password the same one, and the
 *   delay that comes with it.
 * - Before TLS, unless facts.may_login says so, no protocol reads a password: it refuses before the literal, at the first word.
 * - A password lives in three places: the gate's input (consumed at once), the arena, the request. The last two are wiped as soon
 *   as keys has answered.
 * - What the client said before STARTTLS is forgotten: state and arena begin anew (RFC 3207 §4.2, RFC 9051 §6.2.1). */
#include "auth/login.h"
#include "auth/jwt.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "ipc/channel.h"
#include "text/text.h"

enum { REQUEST_ROOM = TOKEN_MAX + 4096 };

struct login *login_new(const struct login_protocol *p, const struct login_facts *facts)
{
	struct login *l = MEM_NEW(struct login);

	l->protocol = p;
	l->facts = *facts;
	l->request = BUF(REQUEST_ROOM);
	l->state = mem_alloc(p->state_size);
	return l;
}

static void wipe_request(struct login *l)
{
	if (l->request.n > 0)
		mem_wipe(l->request.p, l->request.n);
	buf_reset(&l->request);
}

static void end_sasl(struct login *l)
{
	if (l->in_sasl)
		sasl_end(&l->sasl);
	l->in_sasl = false;
}

void login_free(struct login *l)
{
	if (l == NULL)
		return;
	end_sasl(l);
	wipe_request(l);
	buf_free(&l->request);
	login_forget(l);
	arena_free(&l->arena);
	mem_free(l->state);
	mem_free(l);
}

void login_forget(struct login *l)
{
	arena_wipe(&l->arena);
	l->sasl = (struct sasl){ .reason = "" };
	l->login_name = l->command = STR_NONE;
}

bool login_line(struct str in, struct str *line, size_t *used)
{
	ptrdiff_t end = in.n > 0 ? str_chr(in, '\n') : -1;

	if (end < 0)
		return false;
	*used = (size_t)end + 1;
	*line = str_sub(in, 0, (size_t)end);
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
	return true;
}

/* ---- mistakes, failures ---- */

static enum login_want close_with(struct login *l, enum text why, struct buf *out)
{
	l->protocol->bye(l, l->facts.hostname, str_of(text_get(l->lang, why)), out);
	return LOGIN_CLOSE;
}

enum login_want login_mistake(struct login *l, struct buf *out)
{
	uint32_t most = l->facts.mistakes_max > 0 ? l->facts.mistakes_max : LOGIN_MISTAKES_MAX;

	return ++l->mistakes >= most ? close_with(l, TEXT_TOO_MANY_MISTAKES, out) : LOGIN_INPUT;
}

struct str login_sentence(struct login *l, enum verify_outcome outcome)
{
	switch (outcome) {
	case VERIFY_USE_APP_PASSWORD:
		return str_of(text_get(l->lang, TEXT_LOGIN_USE_APP_PASSWORD));
	case VERIFY_SUSPENDED:
		return str_of(text_get(l->lang, TEXT_LOGIN_SUSPENDED));
	case VERIFY_NOT_ALLOWED:
		return str_of(text_get(l->lang, TEXT_LOGIN_NOT_ALLOWED));
	case VERIFY_THROTTLED:
		return text_fmt(&l->arena, l->lang, TEXT_LOGIN_THROTTLED, arena_printf(&l->arena, "%u", l->retry_s));
	case VERIFY_WRONG:
		if (l->request_type == REQUEST_BEARER)
			return str_of(text_get(l->lang, TEXT_LOGIN_TOKEN_WRONG));
		if (l->request_type == REQUEST_CERTIFICATE_LOGIN)
			return str_of(text_get(l->lang, TEXT_LOGIN_CERTIFICATE_WRONG));
		return *sasl_reason(&l->sasl) ? str_of(sasl_reason(&l->sasl)) : str_of(text_get(l->lang, TEXT_LOGIN_WRONG));
	default:
		return str_of(text_get(l->lang, TEXT_LOGIN_BUSY));
	}
}

static enum login_want fail(struct login *l, enum verify_outcome outcome, struct buf *out)
{
	enum login_want next;

	if ((outcome == VERIFY_WRONG || outcome == VERIFY_USE_APP_PASSWORD) && l->request_type != REQUEST_PRINTER)
		l->failures++;
	end_sasl(l);
	next = l->protocol->failed(l, outcome, out);
	return login_was_last_try(l) ? LOGIN_CLOSE : next;
}

/* ---- the phase as the gate sees it ---- */

enum login_want login_greet(struct login *l, struct buf *out) { return l->protocol->greet(l, out); }

enum login_want login_input(struct login *l, struct str in, size_t *used, struct buf *out)
{
	*used = 0;
	l->delay_ms = 0;
	return l->protocol->input(l, in, used, out);
}

enum login_want login_secured(struct login *l, const struct login_facts *facts, struct buf *out)
{
	l->facts = *facts;
	login_forget(l);
	memset(l->state, 0, l->protocol->state_size);
	l->lang = LANG_EN;  /* somebody on the way could have chosen it */
	return l->protocol->secured(l, out);
}

enum login_want login_refused(struct login *l, enum err why, struct str sentence, struct buf *out)
{
	return l->protocol->refused(l, why, sentence.n > 0 ? sentence : str_of(text_get(l->lang, TEXT_SERVER_BUSY)), out);
}

/* ---- questions to keys ---- */

static enum login_want ask(struct login *l, uint16_t request_type)
{
	l->request_type = request_type;
	return LOGIN_ASK;
}

/* What cannot be asked as it is (too long, not UTF-8) is asked as something that cannot be right, so that it counts, waits and is
 * answered like any other wrong password. */
enum login_want login_verify(struct login *l, struct str name, struct str password)
{
	struct verify_request r = { .protocol = l->protocol->protocol, .session = l->facts.session, .peer = l->facts.peer };
	bool is_possible = name.n > 0 && name.n <= LOGIN_NAME_MAX && utf8_valid(name) && !str_has_ctl(name) &&
	                   password.n > 0 && password.n <= LOGIN_PASSWORD_MAX;

	r.login = is_possible ? str_copy(&l->arena, name) : STR("?");
	r.password = is_possible ? password : STR("?");
	l->login_name = r.login;
	buf_reset(&l->request);
	put_verify_request(&l->request, &r);
	return ask(l, REQUEST_VERIFY);
}

enum login_want login_printer(struct login *l)
{
	const struct printer_request r = { .session = l->facts.session };

	buf_reset(&l->request);
	put_printer_request(&l->request, &r);
	return ask(l, REQUEST_PRINTER);
}

static enum login_want ask_scram_first(struct login *l)
{
	const struct scram_first_request r = { l->protocol->protocol, l->facts.session, l->facts.peer, l->sasl.login, l->sasl.client_nonce,
	                                       l->sasl.client_first_bare };

	buf_reset(&l->request);
	put_scram_first_request(&l->request, &r);
	return ask(l, REQUEST_SCRAM_FIRST);
}

static enum login_want ask_scram_final(struct login *l)
{
	struct scram_final_request r = { l->facts.session, l->sasl.scram_id, l->sasl.without_proof, { 0 } };

	memcpy(r.proof, l->sasl.proof, sizeof r.proof);
	buf_reset(&l->request);
	put_scram_final_request(&l->request, &r);
	return ask(l, REQUEST_SCRAM_FINAL);
}

static enum login_want ask_certificate(struct login *l)
{
	struct certificate_login_request r = { l->protocol->protocol, l->facts.session, l->facts.peer, l->sasl.login,
	                                         l->facts.certificate_is_current, { 0 } };

	memcpy(r.fingerprint, l->facts.fingerprint, sizeof r.fingerprint);
	l->login_name = l->sasl.login;
	buf_reset(&l->request);
	put_certificate_login_request(&l->request, &r);
	return ask(l, REQUEST_CERTIFICATE_LOGIN);
}

/* What is no token is asked all the same, as one that cannot be right: it counts like a wrong password. */
static enum login_want ask_bearer(struct login *l)
{
	struct bearer_request r = { .protocol = l->protocol->protocol, .session = l->facts.session, .peer = l->facts.peer,
	                            .login = l->sasl.login };
	struct jwt token;

	if (jwt_read(l->sasl.password, &l->arena, &token)) {
		r.issuer = token.issuer;
		r.kid = token.kid;
		r.signed_part = token.signed_part;
		r.signature = token.signature;
	}
	l->login_name = l->sasl.login;
	buf_reset(&l->request);
	put_bearer_request(&l->request, &r);
	return ask(l, REQUEST_BEARER);
}

/* ---- SASL ---- */

static struct sasl_offers offers(const struct login *l)
{
	return (struct sasl_offers){ .has_scram = l->facts.has_scram, .has_binding = l->facts.is_tls, .has_bearer = l->facts.has_bearer,
	                             .has_certificate = l->facts.has_certificate };
}

bool login_mechanism(const struct login *l, struct str name, enum sasl_mechanism *out)
{
	const struct sasl_offers o = offers(l);

	return sasl_find(name, &o, out);
}

void login_put_mechanisms(const struct login *l, struct buf *b, const char *prefix, const char *separator)
{
	const struct sasl_offers o = offers(l);

	sasl_list(b, prefix, separator, &o);
}

enum login_want login_sasl(struct login *l, enum sasl_mechanism m, struct str initial, struct buf *out)
{
	sasl_begin(&l->sasl, m, &l->facts.binding, &l->arena);
	l->in_sasl = true;
	l->request_type = 0;  /* nothing asked for it yet */
	return login_sasl_line(l, initial, out);
}

enum login_want login_sasl_line(struct login *l, struct str line, struct buf *out)
{
	struct str challenge;
	enum sasl_next next = sasl_step(&l->sasl, line, &challenge);
	enum login_want want;

	switch (next) {
	case SASL_CHALLENGE:
		l->protocol->challenge(l, challenge, out);
		return LOGIN_INPUT;
	case SASL_VERIFY:
		want = login_verify(l, l->sasl.login, l->sasl.password);
		end_sasl(l);
		return want;
	case SASL_CERTIFICATE:
		want = ask_certificate(l);
		end_sasl(l);
		return want;
	case SASL_BEARER:
		return ask_bearer(l);
	case SASL_SCRAM_FIRST:
		return ask_scram_first(l);
	case SASL_SCRAM_FINAL:
		return ask_scram_final(l);
	case SASL_DONE:
		end_sasl(l);
		return LOGIN_OPEN;
	case SASL_DENIED:
		return fail(l, VERIFY_WRONG, out);
	case SASL_CANCELLED:
	case SASL_MALFORMED:
		break;
	}
	end_sasl(l);
	want = l->protocol->sasl_broken(l, next, sasl_reason(&l->sasl), out);
	return want == LOGIN_INPUT ? login_mistake(l, out) : want;
}

/* ---- answers of keys ---- */

static enum login_want scram_first_answered(struct login *l, struct scan *s, struct buf *out)
{
	struct scram_first_reply r;

	if (!get_scram_first_reply(s, &r))
		return fail(l, VERIFY_BUSY, out);
	l->retry_s = r.retry_s;
	if (r.outcome != VERIFY_OK)
		return fail(l, r.outcome, out);
	l->protocol->challenge(l, sasl_scram_challenge(&l->sasl, &r), out);
	return LOGIN_INPUT;
}

/* A token that was right needs no more words; one that was wrong is refused in a challenge first (RFC 7628 §3.2.3). */
static enum login_want bearer_answered(struct login *l, const struct verify_reply *r, struct buf *out)
{
	if (r->outcome == VERIFY_WRONG) {
		l->protocol->challenge(l, sasl_bearer_refused(&l->sasl), out);
		return LOGIN_INPUT;
	}
	if (r->outcome == VERIFY_OK)
		end_sasl(l);
	return r->outcome == VERIFY_OK ? LOGIN_OPEN : fail(l, r->outcome, out);
}

/* After a proof that was right the client still looks at ours, and says so with an empty line (SASL_DONE). */
static enum login_want verify_answered(struct login *l, struct scan *s, struct buf *out)
{
	struct verify_reply r;

	if (!get_verify_reply(s, &r))
		return fail(l, VERIFY_BUSY, out);
	l->delay_ms = r.delay_ms;
	l->retry_s = r.retry_s;
	if (r.outcome == VERIFY_OK) {
		l->grant = r.grant;
		l->login_name = str_copy(&l->arena, l->request_type == REQUEST_SCRAM_FINAL ? l->sasl.login : l->login_name.n > 0 ? l->login_name : r.login);
	}
	if (l->request_type == REQUEST_BEARER)
		return bearer_answered(l, &r, out);
	if (r.outcome != VERIFY_OK)
		return fail(l, r.outcome, out);
	if (!l->in_sasl)
		return LOGIN_OPEN;
	l->protocol->challenge(l, sasl_scram_success(&l->sasl, &r), out);
	return LOGIN_INPUT;
}

enum login_want login_answered(struct login *l, enum err status, struct str body, struct buf *out)
{
	struct scan s = scan_of(body);

	l->delay_ms = 0;
	wipe_request(l);
	if (status != ERR_OK)
		return fail(l, VERIFY_BUSY, out);
	return l->request_type == REQUEST_SCRAM_FIRST ? scram_first_answered(l, &s, out) : verify_answered(l, &s, out);
}
