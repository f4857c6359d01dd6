/* auth/sasl.h -- the server side of SASL (RFC 4422) for a login phase in the gate: PLAIN (RFC 4616), LOGIN (as mail programs
 * do it), SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677). Lines in, challenges out; who has the passwords is asked by the caller:
 *
 *   sasl_begin(&x, mechanism, binding, &session_arena);
 *   next = sasl_step(&x, line, &challenge);          line: the client's base64 as it came, STR_NONE: no initial response
 *   SASL_CHALLENGE     send challenge ("+ %s" / "334 %s", already base64, may be empty), feed the next line to sasl_step()
 *   SASL_VERIFY        ask VERIFY with x.login and x.password; done whatever the answer
 *   SASL_SCRAM_FIRST   ask SCRAM_FIRST with x.login, x.client_nonce, x.client_first_bare; VERIFY_OK: sasl_scram_challenge()
 *                      gives the challenge to send
 *   SASL_SCRAM_FINAL   ask SCRAM_FINAL with x.scram_id, x.without_proof, x.proof; VERIFY_OK: send sasl_scram_success() as a
 *                      challenge, keep the reply; the next sasl_step() gives SASL_DONE when the client agreed (empty line)
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

enum sasl_mechanism { SASL_PLAIN = 1, SASL_LOGIN, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256_PLUS };
enum sasl_next {
	SASL_CHALLENGE = 1, SASL_VERIFY, SASL_SCRAM_FIRST, SASL_SCRAM_FINAL, SASL_DONE, SASL_CANCELLED, SASL_MALFORMED, SASL_DENIED
};
enum { SASL_LINE_MAX = 4096 };  /* longest base64 line that makes sense */

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

/* Finds a mechanism by name (any case). has_binding: a TLS connection; -PLUS is not found without it. has_scram: the setting. */
bool sasl_find(struct str name, bool has_scram, bool has_binding, enum sasl_mechanism *out);
/* "PLAIN LOGIN" or "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN", each name behind prefix: for IMAP "AUTH=" and " ". */
void sasl_list(struct buf *b, const char *prefix, const char *separator, bool has_scram, bool has_binding);

void sasl_begin(struct sasl *x, enum sasl_mechanism mechanism, const struct sasl_binding *binding, struct arena *a);
enum sasl_next sasl_step(struct sasl *x, struct str line, struct str *challenge);
struct str sasl_scram_challenge(struct sasl *x, const struct scram_first_reply *r);
struct str sasl_scram_success(struct sasl *x, const struct verify_reply *r);
const char *sasl_reason(const struct sasl *x);  /* English, for the protocol reply; "" if nothing failed */
void sasl_end(struct sasl *x);

/* RFC 4616: [authzid] NUL authcid NUL passwd. False: malformed or an authzid that is not the authcid. */
bool sasl_plain_parse(struct str message, struct str *authzid, struct str *login, struct str *password);
#endif
