/* auth/verify.h -- VERIFY, SCRAM_FIRST, SCRAM_FINAL, CERTIFICATE_LOGIN, BEARER and PRINTER between gate and keys: "is this the password, and what may it do?"
 *
 * Ask with channel_ask() (an answer may wait for a yescrypt in a queue, up to 20 s: give the ask 30 s and hold no thread).
 * The channel status is ERR_OK whenever keys could judge; ERR_INVALID: the request was malformed. Any other status of the call
 * (UNAVAILABLE, TIMEOUT) is to be told to the client as VERIFY_BUSY. Sentences for people are in text/; codes of protocols:
 *
 *   outcome                 IMAP (RFC 5530)            POP3 (RFC 2449, 3206)   SMTP (RFC 4954)
 *   VERIFY_OK               the cell says OK           the cell says +OK       the cell says 235
 *   VERIFY_WRONG            NO [AUTHENTICATIONFAILED]  -ERR [AUTH]             535 5.7.8
 *   VERIFY_USE_APP_PASSWORD NO [AUTHENTICATIONFAILED]  -ERR [AUTH]             534 5.7.9   (SCRAM with the account's own password)
 *   VERIFY_SUSPENDED        NO [AUTHORIZATIONFAILED]   -ERR [AUTH]             535 5.7.8   (only ever after the right password)
 *   VERIFY_NOT_ALLOWED      NO [AUTHORIZATIONFAILED]   -ERR [AUTH]             535 5.7.8   (right, but not for this protocol)
 *   VERIFY_THROTTLED        NO [LIMIT]                 -ERR [LOGIN-DELAY]      454 4.7.0   (retry_s says when)
 *   VERIFY_BUSY             NO [UNAVAILABLE]           -ERR [SYS/TEMP]         454 4.7.0 */
#ifndef FACTEUR_AUTH_VERIFY_H
#define FACTEUR_AUTH_VERIFY_H
#include "ipc/grant.h"
#include "ipc/role.h"

enum { LOGIN_NAME_MAX = 320, LOGIN_PASSWORD_MAX = 512, PEER_MAX = 64, SCRAM_MESSAGE_MAX = 1024, SCRAM_NONCE_MAX = 256,
       SCRAM_PROOF_SIZE = 32, FINGERPRINT_SIZE = 32, TOKEN_MAX = 8192, TOKEN_ISSUER_MAX = 255, TOKEN_KID_MAX = 256, TOKEN_SIGNATURE_MAX = 1024 };

enum verify_outcome {
	VERIFY_OK = 1, VERIFY_WRONG, VERIFY_USE_APP_PASSWORD, VERIFY_SUSPENDED, VERIFY_NOT_ALLOWED, VERIFY_THROTTLED, VERIFY_BUSY,
	VERIFY_OUTCOME_COUNT
};

/* VERIFY. Strings are borrowed. */
struct verify_request {
	enum protocol protocol;
	uint64_t      session;    /* the gate's number of the session; the grant is bound to it */
	struct str    peer;       /* "192.0.2.7" or "2001:db8::7" */
	struct str    login;      /* as typed, at most LOGIN_NAME_MAX */
	struct str    password;   /* at most LOGIN_PASSWORD_MAX */
};
void put_verify_request(struct buf *b, const struct verify_request *r);
bool get_verify_request(struct scan *s, struct verify_request *r);

/* The answer to VERIFY and to SCRAM_FINAL. */
struct verify_reply {
	enum verify_outcome outcome;
	uint32_t     delay_ms;     /* tell the client about a failure only after this time (a timer, not a thread); 0..10000 */
	uint32_t     retry_s;      /* VERIFY_THROTTLED: seconds until another try is looked at */
	struct grant grant;        /* VERIFY_OK only */
	struct str   login;        /* VERIFY_OK: the account's main address */
	struct str   server_final; /* SCRAM_FINAL with VERIFY_OK: "v=..." to be sent as the last challenge */
};
void put_verify_reply(struct buf *b, const struct verify_reply *r);
bool get_verify_reply(struct scan *s, struct verify_reply *r);

/* SCRAM_FIRST (RFC 5802 §3; auth/sasl.h parses the client's messages in the gate, keys never does). */
struct scram_first_request {
	enum protocol protocol;
	uint64_t      session;
	struct str    peer;
	struct str    login;              /* decoded: "=2C" is "," */
	struct str    client_nonce;
	struct str    client_first_bare;
};
void put_scram_first_request(struct buf *b, const struct scram_first_request *r);
bool get_scram_first_request(struct scan *s, struct scram_first_request *r);

struct scram_first_reply {
	enum verify_outcome outcome;  /* VERIFY_OK: go on (known or unknown name alike); VERIFY_THROTTLED, VERIFY_BUSY */
	uint32_t   retry_s;
	uint64_t   scram_id;          /* for SCRAM_FINAL; good for one try within 60 s, from the same gate and session */
	struct str server_first;      /* "r=...,s=...,i=4096": the challenge */
};
void put_scram_first_reply(struct buf *b, const struct scram_first_reply *r);
bool get_scram_first_reply(struct scan *s, struct scram_first_reply *r);

/* SCRAM_FINAL; answered by a struct verify_reply. */
struct scram_final_request {
	uint64_t   session;
	uint64_t   scram_id;
	struct str without_proof;                 /* client-final-message-without-proof */
	uint8_t    proof[SCRAM_PROOF_SIZE];
};
void put_scram_final_request(struct buf *b, const struct scram_final_request *r);
bool get_scram_final_request(struct scan *s, struct scram_final_request *r);

/* CERTIFICATE_LOGIN (SASL EXTERNAL, RFC 4422 appendix A): the client has shown a certificate in the handshake of this very connection, and
 * signed with its key. Answered by a struct verify_reply; VERIFY_WRONG: it is bound to no account, or not to this one,
 * or out of date: such a one is offered EXTERNAL all the same, so that log and reply can say why it does not log in. */
struct certificate_login_request {
	enum protocol protocol;
	uint64_t      session;
	struct str    peer;
	struct str    login;                          /* the authorization identity; empty: whoever the certificate belongs to */
	bool          is_current;                     /* valid at this time */
	uint8_t       fingerprint[FINGERPRINT_SIZE];  /* SHA-256 of the certificate */
};
void put_certificate_login_request(struct buf *b, const struct certificate_login_request *r);
bool get_certificate_login_request(struct scan *s, struct certificate_login_request *r);

/* BEARER (OAUTHBEARER, XOAUTH2): a signed token (RFC 7519). The gate takes it apart (auth/jwt.h); keys reads what it says only once its
 * signature has proved right. Answered by a struct verify_reply; VERIFY_WRONG for whatever is wrong with it: the log says what; VERIFY_BUSY: its
 * issuer may have a new key, which is being fetched. */
struct bearer_request {
	enum protocol protocol;
	uint64_t      session;
	struct str    peer;
	struct str    login;         /* the user the client named; empty: whoever the token is for */
	struct str    issuer;        /* whose token it says it is: only by their keys it is tried */
	struct str    kid;           /* of the key, as the token's header names it; may be empty */
	struct str    signed_part;   /* header "." payload, as they came; empty: this is no token that could be right */
	struct str    signature;     /* decoded */
};
void put_bearer_request(struct buf *b, const struct bearer_request *r);
bool get_bearer_request(struct scan *s, struct bearer_request *r);

/* PRINTER: the grant for a device that cannot log in; answered by a struct verify_reply. With it comes the socket of its connection, of
 * which keys reads the address itself: a gate that was taken over cannot make one (ipc/sandbox.h), and has none of an address that has not
 * called. VERIFY_WRONG: it is not on the list; VERIFY_SUSPENDED, VERIFY_NOT_ALLOWED: its account is suspended, or may not submit. */
struct printer_request {
	uint64_t   session;
	struct str peer;             /* not sent: as keys found it */
};
void put_printer_request(struct buf *b, const struct printer_request *r);
bool get_printer_request(struct scan *s, struct printer_request *r);
#endif
