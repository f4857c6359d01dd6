/* auth/sasl.h -- the server side of SASL (RFC 4422) for a login phase in the gate: PLAIN (RFC 4616), LOGIN (as mail programs
 * do it), SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677), OAUTHBEARER (RFC 7628), XOAUTH2 (as Google and Microsoft documented it), EXTERNAL
 * (RFC 4422 appendix A). Lines in, challenges out; who has the passwords is asked by the caller:
 *
 *   sasl_begin(&x, mechanism, binding, &session_arena);
 *   next = sasl_step(&x, line, &challenge);          line: the client's base64 as it came, STR_NONE: no initial response
 *   SASL_CHALLENGE     send challenge ("+ %s" / "334 %s", already base64, may be empty), feed the next line to sasl_step()
 *   SASL_VERIFY        ask VERIFY with x.login and x.password; done whatever the answer
 *   SASL_SCRAM_FIRST   ask SCRAM_FIRST with x.login, x.client_nonce, x.client_first_bare; VERIFY_OK: sasl_scram_challenge()
 *                      gives the challenge to send
 *   SASL_SCRAM_FINAL   ask SCRAM_FINAL with x.scram_id, x.without_proof, x.proof; VERIFY_OK: send sasl_scram_success() as a
 *                      challenge, keep the reply; the next sasl_step() gives SASL_DONE when the client agreed (empty line)
 *   SASL_CERTIFICATE   ask CERTIFICATE_LOGIN with x.login (may be empty); done whatever the answer
 *   SASL_BEARER        ask BEARER with x.login (may be empty) and x.password, the token; VERIFY_WRONG: send sasl_bearer_refused() as a
 *                      challenge; whatever the client answers, the next sasl_step() gives SASL_DENIED. Other answers: done
 *   SASL_DONE          the kept reply counts
 *   SASL_CANCELLED     the client sent "*"                                  BAD / 501 5.7.0 / -ERR
 *   SASL_MALFORMED     base64, syntax, too long: sasl_reason() says what    BAD / 501 5.5.2 / -ERR
 *   SASL_DENIED        acting for somebody else (authzid), wrong channel binding: as VERIFY_WRONG; sasl_reason() says what
 *
 * Fields are borrowed from the arena. Wipe: sasl_end() clears the password. */
#ifndef FACTEUR_AUTH_SASL_H
#define FACTEUR_AUTH_SASL_H
#include "base/arena.h"
#include "auth/verify.h"

enum sasl_mechanism {
	SASL_PLAIN = 1, SASL_LOGIN, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256_PLUS, SASL_OAUTHBEARER, SASL_XOAUTH2, SASL_EXTERNAL, SASL_MECHANISM_COUNT
};
enum sasl_next {
	SASL_CHALLENGE = 1, SASL_VERIFY, SASL_SCRAM_FIRST, SASL_SCRAM_FINAL, SASL_CERTIFICATE, SASL_BEARER, SASL_DONE, SASL_CANCELLED, SASL_MALFORMED, SASL_DENIED
};
enum { SASL_LINE_MAX = 12288 };  /* longest base64 line (RFC 4954 §4): a token of TOKEN_MAX fits */

/* What may be offered on this connection, besides PLAIN and LOGIN. */
struct sasl_offers {
	bool has_scram;         /* the setting */
	bool has_binding;       /* TLS: -PLUS */
	bool has_bearer;        /* there is an issuer whose tokens count */
	bool has_certificate;   /* the client has shown one in the handshake */
};

/* What the TLS connection offers to bind to (RFC 9266 "tls-exporter", RFC 5929 "tls-server-end-point"); data empty: not there. */
struct sasl_binding { struct str tls_exporter, tls_server_end_point; };

struct sasl {
	enum sasl_mechanism mechanism;
	struct str    login, password;
	struct str    client_nonce, client_first_bare, gs2_header;
	struct str    server_first;
	uint64_t      scram_id;
	struct str    without_proof;
	uint8_t       proof[SCRAM_PROOF_SIZE];
	/* its own */
	struct arena *arena;
	struct sasl_binding binding;
	struct str    binding_data;   /* what this client chose to bind to */
	int           step;
	const char   *reason;
};

/* Finds a mechanism by name (any case), if it is offered. */
bool sasl_find(struct str name, const struct sasl_offers *o, enum sasl_mechanism *out);
/* "PLAIN LOGIN" or "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN", each name behind prefix: for IMAP "AUTH=" and " ". */
void sasl_list(struct buf *b, const char *prefix, const char *separator, const struct sasl_offers *o);

void sasl_begin(struct sasl *x, enum sasl_mechanism mechanism, const struct sasl_binding *binding, struct arena *a);
enum sasl_next sasl_step(struct sasl *x, struct str line, struct str *challenge);
struct str sasl_scram_challenge(struct sasl *x, const struct scram_first_reply *r);
struct str sasl_scram_success(struct sasl *x, const struct verify_reply *r);
struct str sasl_bearer_refused(struct sasl *x);
const char *sasl_reason(const struct sasl *x);  /* English, for the protocol reply; "" if nothing failed */
void sasl_end(struct sasl *x);

/* RFC 4616: [authzid] NUL authcid NUL passwd. False: malformed or an authzid that is not the authcid. */
bool sasl_plain_parse(struct str message, struct str *authzid, struct str *login, struct str *password);
#endif
