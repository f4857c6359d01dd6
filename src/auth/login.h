/* auth/login.h -- the login phase of a protocol in the gate: from the greeting to the grant. Bytes in, bytes out, nothing waits.
 *
 * The gate owns the connection: TLS, buffers, timers, questions to keys, the pair to the cell. A protocol is a row of functions
 * (imap/login.c, pop3/login.c, smtpd/login.c) that reads complete lines out of what has arrived, writes replies and says what it
 * wants next. What all three do the same way stands here (login.c): SASL exchanges, the encoding of questions to keys, outcomes.
 *
 *   login_new() → login_greet() → login_input() … LOGIN_ASK → login_answered() … LOGIN_OPEN → the session goes to a cell, which
 *   says that the login succeeded. If master or the cell refuses, login_refused() tells the client and the phase goes on or ends. */
#ifndef FACTEUR_AUTH_LOGIN_H
#define FACTEUR_AUTH_LOGIN_H
#include "auth/sasl.h"
#include "base/buf.h"
#include "text/text.h"

enum login_want {
	LOGIN_INPUT = 1,   /* call login_input() when more bytes have come */
	LOGIN_STARTTLS,    /* send what is in out, do the handshake, then login_secured() */
	LOGIN_ASK,         /* ask keys request_type with request, then login_answered(); input waits meanwhile */
	LOGIN_OPEN,        /* open a session in the cell of grant.account; what was not used of the input is for the cell */
	LOGIN_CLOSE,       /* send what is in out, then close */
};
enum {
	LOGIN_INPUT_MAX = 16384,   /* the gate buffers at most so much; a command that does not fit is refused by login_input() */
	LOGIN_OUTPUT_MAX = 16384,  /* room for what one command may write. A full input of short commands gets answers of up to a
	                            * megabyte: whoever has less room gives one line more at a time, and sends in between */
	LOGIN_FAILURES_MAX = 3,    /* wrong passwords in one connection */
	LOGIN_MISTAKES_MAX = 20,   /* commands that make no sense, in one connection, unless facts.mistakes_max says otherwise */
};

/* What the gate knows of the connection. Strings are borrowed and outlive the login. */
struct login_facts {
	bool       is_tls;
	bool       can_start_tls;      /* not TLS yet, and there is a certificate */
	bool       may_login;          /* TLS; or from loopback with the setting plain_login_loopback; else no AUTH is offered */
	bool       has_scram;          /* the setting scram */
	bool       has_bearer;         /* there is an issuer whose tokens count */
	bool       has_certificate;    /* the client showed one in the handshake: fingerprint */
	bool       certificate_is_current;
	uint8_t    fingerprint[FINGERPRINT_SIZE];
	bool       is_printer;         /* its address is on the list of printers and scanners (submission on 587 only) */
	uint64_t   session;            /* the gate's number of the session, bound into the grant */
	uint64_t   message_size_max;   /* of the server, for EHLO SIZE */
	uint64_t   recipients_max;     /* for EHLO LIMITS */
	uint64_t   messages_max;       /* of one connection, for EHLO LIMITS; 0: not told */
	uint64_t   hold_max;           /* seconds, for EHLO FUTURERELEASE; 0: not offered */
	uint32_t   mistakes_max;       /* 0: LOGIN_MISTAKES_MAX; SMTP: the setting smtp_errors_max */
	struct str hostname;           /* what this server calls itself */
	struct str peer;               /* "192.0.2.7" */
	struct sasl_binding binding;   /* of the TLS connection; empty without */
};

struct login_protocol;
struct login {
	const struct login_protocol *protocol;
	struct login_facts facts;
	bool         has_more;         /* set before login_input(): more input waits behind what is given */
	/* LOGIN_ASK */
	uint16_t     request_type;     /* REQUEST_VERIFY, _SCRAM_FIRST, _SCRAM_FINAL, _CERTIFICATE_LOGIN, _BEARER, _PRINTER */
	struct buf   request;
	/* after login_answered(): the reply in out is to be sent only after this time (a timer; input waits), 0: now. So the answer to a
	 * wrong name and to a wrong password comes at the same time. */
	uint32_t     delay_ms;
	/* LOGIN_OPEN */
	struct grant grant;
	struct str   login_name;       /* as typed */
	struct str   command;          /* for session_open.command */
	enum lang    lang;             /* of sentences for people; English again after STARTTLS */
	/* private: */
	struct arena arena;
	struct sasl  sasl;
	bool         in_sasl;
	uint32_t     failures;         /* wrong passwords on this connection; the last one closes it */
	uint32_t     mistakes;
	uint32_t     retry_s;          /* of the outcome being told */
	void        *state;            /* the protocol's own: state_size bytes, zeroed at the start and after STARTTLS */
};

/* A row of functions; each writes replies to out and returns what is wanted next. */
struct login_protocol {
	enum protocol protocol;
	size_t state_size;
	enum login_want (*greet)(struct login *l, struct buf *out);
	/* Runs the complete commands at the front of in until it wants something else than LOGIN_INPUT; *used: bytes it has done with.
	 * STARTTLS with more bytes behind it, in in or by has_more, is refused and closed (injection). in.n == LOGIN_INPUT_MAX and no command: too long. */
	enum login_want (*input)(struct login *l, struct str in, size_t *used, struct buf *out);
	enum login_want (*secured)(struct login *l, struct buf *out);
	/* The outcome of a login: VERIFY_OK never comes here. Says it in the protocol's words, with login_sentence(). */
	enum login_want (*failed)(struct login *l, enum verify_outcome outcome, struct buf *out);
	/* A SASL challenge (base64, may be empty): "+ …" or "334 …". */
	void (*challenge)(struct login *l, struct str text, struct buf *out);
	/* SASL_CANCELLED or SASL_MALFORMED, with the reason. */
	enum login_want (*sasl_broken)(struct login *l, enum sasl_next how, const char *reason, struct buf *out);
	/* Master or the cell refused the session: a tagged NO, -ERR, 4xx. */
	enum login_want (*refused)(struct login *l, enum err why, struct str sentence, struct buf *out);
	/* The connection ends for a reason of ours: one line ("* BYE …", "-ERR …", "421 …"). Also before greet(): too many connections.
	 * l may be NULL (then hostname is what the line may name). */
	void (*bye)(struct login *l, struct str hostname, struct str sentence, struct buf *out);
};
extern const struct login_protocol imap_login, pop3_login, submission_login;   /* in their services' login.c */

struct login *login_new(const struct login_protocol *p, const struct login_facts *facts);
void login_free(struct login *l);                 /* wipes passwords; NULL is fine */
enum login_want login_greet(struct login *l, struct buf *out);
enum login_want login_input(struct login *l, struct str in, size_t *used, struct buf *out);
enum login_want login_secured(struct login *l, const struct login_facts *facts, struct buf *out);
/* status and body of the answer of keys; ERR_UNAVAILABLE and ERR_TIMEOUT become VERIFY_BUSY. */
enum login_want login_answered(struct login *l, enum err status, struct str body, struct buf *out);
enum login_want login_refused(struct login *l, enum err why, struct str sentence, struct buf *out);

/* ---- for the protocols */
/* The first line that is complete in in, ended by LF; *used: its bytes with the ending. The CR before the LF is cut off. */
bool login_line(struct str in, struct str *line, size_t *used);
/* Before a command: what the last one left in the arena is wiped. Not during a SASL exchange. */
void login_forget(struct login *l);
/* A command that made no sense was answered: counts it. LOGIN_INPUT, or bye() is said and LOGIN_CLOSE. */
enum login_want login_mistake(struct login *l, struct buf *out);
/* Why a login was not let in, for people: from text/, or what SASL knows better. */
struct str login_sentence(struct login *l, enum verify_outcome outcome);
static inline bool login_was_last_try(const struct login *l) { return l->failures >= LOGIN_FAILURES_MAX; }
/* Asks keys for this name and password (LOGIN, USER/PASS). */
enum login_want login_verify(struct login *l, struct str name, struct str password);
/* What AUTH may name on this connection, as sasl_find() and sasl_list(). */
bool login_mechanism(const struct login *l, struct str name, enum sasl_mechanism *out);
void login_put_mechanisms(const struct login *l, struct buf *b, const char *prefix, const char *separator);
/* Begins a SASL exchange; initial p == NULL: none was sent. While in_sasl is true, each line goes to login_sasl_line(). */
enum login_want login_sasl(struct login *l, enum sasl_mechanism m, struct str initial, struct buf *out);
enum login_want login_sasl_line(struct login *l, struct str line, struct buf *out);
/* Asks for the grant of the printer at the other end (no password): the gate sends its socket along, keys looks the address up. */
enum login_want login_printer(struct login *l);
#endif
