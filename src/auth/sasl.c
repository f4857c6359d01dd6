/* SASL as a login phase sees it: lines in, challenges out, no waiting inside. One function a mechanism and step; what the client
 * said is checked here completely (base64, UTF-8, NUL, grammar of RFC 5802 §7, channel binding), so that the role keys, which
 * holds the secrets, parses nothing a stranger wrote.
 *
 * SCRAM is split: keys makes the server's nonce and the salt (SCRAM_FIRST) and checks the proof (SCRAM_FINAL) over the messages
 * as they were sent; the nonce and the binding are compared here. A gate gone bad could skip these two comparisons, but that
 * only weakens its own clients, which it serves in clear anyway; it cannot replay a login, because the signed message holds
 * the nonce of keys.
 *
 * What we do with "y" (the client could bind but believes we cannot) follows from what was announced: over TLS -PLUS is offered
 * whenever SCRAM is, so a "y" there means somebody removed it on the way: refused (RFC 5802 §6). */
#include "auth/sasl_private.h"
#include "base/bytes.h"
#include "base/mem.h"

enum { STEP_REFUSED = 9 };  /* the token was wrong, and the client was told so */

static const struct { enum sasl_mechanism mechanism; const char *name; struct sasl_offers needs; } mechanisms[] = {
	/* strongest first, of those that take a password: some clients take the first they know. Who has a token or a certificate was told
	 * to use it, and looks for its name */
	{ SASL_SCRAM_SHA_256_PLUS, "SCRAM-SHA-256-PLUS", { .has_scram = true, .has_binding = true } },
	{ SASL_SCRAM_SHA_256,      "SCRAM-SHA-256",      { .has_scram = true } },
	{ SASL_PLAIN,              "PLAIN",              { 0 } },
	{ SASL_LOGIN,              "LOGIN",              { 0 } },
	{ SASL_OAUTHBEARER,        "OAUTHBEARER",        { .has_bearer = true } },
	{ SASL_XOAUTH2,            "XOAUTH2",            { .has_bearer = true } },
	{ SASL_EXTERNAL,           "EXTERNAL",           { .has_certificate = true } },
};

static bool is_offered(size_t i, const struct sasl_offers *o)
{
	const struct sasl_offers *needs = &mechanisms[i].needs;

	return (!needs->has_scram || o->has_scram) && (!needs->has_binding || o->has_binding) && (!needs->has_bearer || o->has_bearer) &&
	       (!needs->has_certificate || o->has_certificate);
}

bool sasl_find(struct str name, const struct sasl_offers *o, enum sasl_mechanism *out)
{
	for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
		if (is_offered(i, o) && str_ieq(name, str_of(mechanisms[i].name))) {
			*out = mechanisms[i].mechanism;
			return true;
		}
	}
	return false;
}

void sasl_list(struct buf *b, const char *prefix, const char *separator, const struct sasl_offers *o)
{
	bool is_first = true;

	for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
		if (!is_offered(i, o))
			continue;
		buf_printf(b, "%s%s%s", is_first ? "" : separator, prefix, mechanisms[i].name);
		is_first = false;
	}
}

void sasl_begin(struct sasl *x, enum sasl_mechanism mechanism, const struct sasl_binding *binding, struct arena *a)
{
	*x = (struct sasl){ .mechanism = mechanism, .arena = a, .reason = "" };
	if (binding != NULL)
		x->binding = *binding;
}

void sasl_end(struct sasl *x)
{
	if (x->password.n > 0)
		mem_wipe((void *)(uintptr_t)x->password.p, x->password.n);  /* an own copy in the arena: sasl_step() made it */
	x->password = STR_NONE;
	x->step = -1;
}

const char *sasl_reason(const struct sasl *x) { return x->reason; }

static enum sasl_next malformed(struct sasl *x, const char *reason)
{
	x->reason = reason;
	return SASL_MALFORMED;
}

static enum sasl_next denied(struct sasl *x, const char *reason)
{
	x->reason = reason;
	return SASL_DENIED;
}

/* RFC 4616 §2: message = [authzid] UTF8NUL authcid UTF8NUL passwd */
bool sasl_plain_parse(struct str message, struct str *authzid, struct str *login, struct str *password)
{
	struct str rest, none;

	if (!str_cut(message, 0, authzid, &rest) || !str_cut(rest, 0, login, password) || str_cut(*password, 0, &none, &none))
		return false;
	return login->n > 0 && password->n > 0 && login->n <= LOGIN_NAME_MAX && password->n <= LOGIN_PASSWORD_MAX &&
	       authzid->n <= LOGIN_NAME_MAX && utf8_valid(message) && !str_has_ctl(*login);
}

static enum sasl_next step_plain(struct sasl *x, struct str message)
{
	struct str authzid;

	if (!sasl_plain_parse(message, &authzid, &x->login, &x->password)) {
		x->login = x->password = STR_NONE;
		return malformed(x, "expected: [authorization identity] NUL user name NUL password, in UTF-8");
	}
	if (authzid.n > 0 && !str_ieq(authzid, x->login))
		return denied(x, "acting for another account is not allowed here; leave the authorization identity empty");
	return SASL_VERIFY;
}

/* LOGIN was never standardised (draft-murchison-sasl-login); the prompts are those every client knows. */
static enum sasl_next step_login(struct sasl *x, struct str message, struct str *challenge)
{
	if (message.n == 0 || !utf8_valid(message) || memchr(message.p, 0, message.n) != NULL)
		return malformed(x, "expected: a user name, then a password, in UTF-8");
	if (x->step == 1) {
		if (message.n > LOGIN_NAME_MAX || str_has_ctl(message))
			return malformed(x, "the user name is too long or holds control characters");
		x->login = message;
		*challenge = STR("UGFzc3dvcmQ6");  /* "Password:" */
		x->step = 2;
		return SASL_CHALLENGE;
	}
	if (message.n > LOGIN_PASSWORD_MAX)
		return malformed(x, "the password is too long");
	x->password = message;
	return SASL_VERIFY;
}

/* ---- SCRAM, RFC 5802 §7 ---- */

/* value-safe-char, without "=" and ",": UTF-8 but NUL, "=" and "," */
static bool is_value_safe(char c) { return c != 0 && c != '=' && c != ','; }
static bool is_value(char c) { return c != 0 && c != ','; }
/* printable = %x21-2B / %x2D-7E, of which a nonce is made */
static bool is_printable(char c) { return c >= 0x21 && c <= 0x7e && c != ','; }

/* saslname = 1*(value-safe-char / "=2C" / "=3D") */
struct str sasl_scan_name(struct scan *s, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(LOGIN_NAME_MAX);

	while (!scan_done(s) && scan_peek(s) != ',') {
		buf_add(&b, scan_while(s, is_value_safe));
		if (scan_take_str(s, STR("=2C")))
			buf_add_char(&b, ',');
		else if (scan_take_str(s, STR("=3D")))
			buf_add_char(&b, '=');
		else if (!scan_done(s) && scan_peek(s) != ',')
			scan_fail(s);
	}
	if (b.failed || b.n == 0 || !utf8_valid(buf_str(&b)) || str_has_ctl(buf_str(&b)))
		scan_fail(s);
	return s->failed ? STR_NONE : str_copy(a, buf_str(&b));
}

/* extensions = attr-val *("," attr-val); optional ones are ignored */
static void scan_extensions(struct scan *s)
{
	while (!s->failed && !scan_done(s)) {
		scan_need(s, ',');
		if (!chr_alpha((char)scan_peek(s)) || scan_peek(s) == 'm')
			scan_fail(s);
		scan_bytes(s, 1);
		scan_need(s, '=');
		scan_while(s, is_value);
	}
}

/* gs2-cbind-flag = ("p=" cb-name) / "n" / "y". Decides what the client binds to. */
static enum sasl_next scan_binding(struct sasl *x, struct scan *s)
{
	bool is_plus = x->mechanism == SASL_SCRAM_SHA_256_PLUS;
	bool has_binding = x->binding.tls_exporter.n > 0 || x->binding.tls_server_end_point.n > 0;
	struct str name;

	if (scan_take_str(s, STR("p="))) {
		name = scan_until(s, ',');
		if (!is_plus)
			return malformed(x, "channel binding needs SCRAM-SHA-256-PLUS");
		if (str_eq(name, STR("tls-exporter")))
			x->binding_data = x->binding.tls_exporter;
		else if (str_eq(name, STR("tls-server-end-point")))
			x->binding_data = x->binding.tls_server_end_point;
		return x->binding_data.n > 0 ? SASL_CHALLENGE
		                             : denied(x, "this channel binding is not possible here; use tls-exporter");
	}
	if (is_plus)
		return malformed(x, "SCRAM-SHA-256-PLUS needs channel binding: p=tls-exporter");
	if (scan_take(s, 'y'))
		return has_binding ? denied(x, "this server offers SCRAM-SHA-256-PLUS: somebody on the way has hidden it") : SASL_CHALLENGE;
	scan_need(s, 'n');
	return SASL_CHALLENGE;
}

/* client-first-message = gs2-header client-first-message-bare
 * gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","
 * client-first-message-bare = [reserved-mext ","] "n=" saslname "," "r=" c-nonce ["," extensions] */
static enum sasl_next step_scram_first(struct sasl *x, struct str message)
{
	struct scan s = scan_of(message);
	struct str authzid = STR_NONE;
	enum sasl_next next = scan_binding(x, &s);
	size_t bare;

	if (next != SASL_CHALLENGE)
		return next;
	scan_need(&s, ',');
	if (scan_take_str(&s, STR("a=")))
		authzid = sasl_scan_name(&s, x->arena);
	scan_need(&s, ',');
	bare = scan_offset(&s);
	scan_need_str(&s, STR("n="));
	x->login = sasl_scan_name(&s, x->arena);
	scan_need_str(&s, STR(",r="));
	x->client_nonce = scan_while(&s, is_printable);
	scan_extensions(&s);
	if (s.failed || x->client_nonce.n == 0 || x->client_nonce.n > SCRAM_NONCE_MAX || message.n > SCRAM_MESSAGE_MAX) {
		x->login = x->client_nonce = STR_NONE;
		return malformed(x, "expected: n,,n=user,r=nonce");
	}
	if (authzid.n > 0 && !str_ieq(authzid, x->login))
		return denied(x, "acting for another account is not allowed here; leave the authorization identity empty");
	x->gs2_header = str_sub(message, 0, bare);
	x->client_first_bare = str_from(message, bare);
	x->step = 2;
	return SASL_SCRAM_FIRST;
}

struct str sasl_scram_challenge(struct sasl *x, const struct scram_first_reply *r)
{
	x->scram_id = r->scram_id;
	x->server_first = str_copy(x->arena, r->server_first);
	x->step = 3;
	return base64_encode(x->arena, x->server_first);
}

/* cbind-input = gs2-header [ cbind-data ], exactly ours */
static bool binding_matches(struct sasl *x, struct str input)
{
	return str_starts(input, x->gs2_header) && str_same_secret(str_from(input, x->gs2_header.n), x->binding_data);
}

/* client-final-message = "c=" base64 "," "r=" nonce ["," extensions] "," "p=" base64 */
static enum sasl_next step_scram_final(struct sasl *x, struct str message)
{
	CLEANUP(buf_free) struct buf input = BUF(SCRAM_MESSAGE_MAX), proof = BUF(SCRAM_PROOF_SIZE);
	ptrdiff_t at = -1;
	struct str nonce, want;
	struct scan s;

	for (size_t i = 0; i + 3 <= message.n; i++)  /* the last ",p=": values hold no "," */
		if (memcmp(message.p + i, ",p=", 3) == 0)
			at = (ptrdiff_t)i;
	if (at < 0 || message.n > SCRAM_MESSAGE_MAX)
		return malformed(x, "expected: c=...,r=...,p=...");
	x->without_proof = str_sub(message, 0, (size_t)at);
	s = scan_of(x->without_proof);
	scan_need_str(&s, STR("c="));
	if (!base64_get(&input, scan_while(&s, is_value)))
		scan_fail(&s);
	scan_need_str(&s, STR(",r="));
	nonce = scan_while(&s, is_printable);
	scan_extensions(&s);
	if (s.failed || !base64_get(&proof, str_from(message, (size_t)at + 3)) || proof.n != SCRAM_PROOF_SIZE)
		return malformed(x, "expected: c=...,r=...,p=...");

	/* r= of server-first, which is "r=" nonce "," ... */
	want = str_from(x->server_first, 2);
	str_cut(want, ',', &want, &(struct str){ 0 });
	if (!str_same_secret(nonce, want))
		return denied(x, "the nonce is not the one of this exchange");
	if (!binding_matches(x, buf_str(&input)))
		return denied(x, "the channel binding does not match: this TLS connection is not the one the client sees");
	memcpy(x->proof, proof.p, SCRAM_PROOF_SIZE);
	x->step = 4;
	return SASL_SCRAM_FINAL;
}

struct str sasl_scram_success(struct sasl *x, const struct verify_reply *r)
{
	return base64_encode(x->arena, r->server_final);
}

/* ---- tokens and certificates ---- */

static enum sasl_next step_bearer(struct sasl *x, struct str message)
{
	const char *wrong = sasl_bearer_parse(x->mechanism == SASL_XOAUTH2, message, x->arena, &x->login, &x->password);

	if (wrong == NULL)
		return SASL_BEARER;
	x->login = x->password = STR_NONE;
	return malformed(x, wrong);
}

/* RFC 7628 §3.2.2, §3.2.3: the refusal is a challenge, and the client says that it has seen it. XOAUTH2 does the same with other words. */
struct str sasl_bearer_refused(struct sasl *x)
{
	x->step = STEP_REFUSED;
	return base64_encode(x->arena, x->mechanism == SASL_XOAUTH2 ? STR("{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"\"}") :
	                                                              STR("{\"status\":\"invalid_token\"}"));
}

/* RFC 4422 appendix A: the authorization identity, or nothing */
static enum sasl_next step_external(struct sasl *x, struct str message)
{
	if (message.n > LOGIN_NAME_MAX || !utf8_valid(message) || str_has_ctl(message))
		return malformed(x, "expected: the user name, or nothing, in UTF-8");
	x->login = message.n > 0 ? message : STR("");
	return SASL_CERTIFICATE;
}

/* The client's line, decoded into the arena. "=" is an empty initial response (RFC 4954 §4, RFC 4959 §3). */
static bool decode(struct sasl *x, struct str line, struct str *message)
{
	CLEANUP(buf_free) struct buf b = BUF(SASL_LINE_MAX);

	if (line.n > SASL_LINE_MAX || (!(x->step == 0 && str_eq(line, STR("="))) && !base64_get(&b, line)))
		return false;
	*message = str_copy(x->arena, buf_str(&b));
	if (b.n > 0)
		mem_wipe(b.p, b.n);
	return true;
}

enum sasl_next sasl_step(struct sasl *x, struct str line, struct str *challenge)
{
	struct str message;

	*challenge = STR("");
	if (x->step == STEP_REFUSED)
		return denied(x, "");
	if (str_eq(line, STR("*"))) {
		x->reason = "cancelled";
		return SASL_CANCELLED;
	}
	if (x->step == 0 && line.p == NULL) {  /* no initial response: ask for it */
		x->step = 1;
		if (x->mechanism == SASL_LOGIN)
			*challenge = STR("VXNlcm5hbWU6");  /* "Username:" */
		return SASL_CHALLENGE;
	}
	if (!decode(x, line, &message))
		return malformed(x, "not valid base64, or too long");
	if (x->step == 0)
		x->step = 1;
	switch (x->mechanism) {
	case SASL_PLAIN:
		return step_plain(x, message);
	case SASL_LOGIN:
		return step_login(x, message, challenge);
	case SASL_SCRAM_SHA_256:
	case SASL_SCRAM_SHA_256_PLUS:
		if (x->step == 1)
			return step_scram_first(x, message);
		if (x->step == 3)
			return step_scram_final(x, message);
		if (x->step == 4 && message.n == 0)
			return SASL_DONE;
		return malformed(x, "unexpected message");
	case SASL_OAUTHBEARER:
	case SASL_XOAUTH2:
		return step_bearer(x, message);
	case SASL_EXTERNAL:
		return step_external(x, message);
	case SASL_MECHANISM_COUNT:
		break;
	}
	return malformed(x, "unknown mechanism");
}
