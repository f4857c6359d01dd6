/* smtp/sender.h -- our side of one connection to a server that takes mail (RFC 5321, LMTP of RFC 2033), as a state machine: its bytes
 * in, ours out. No socket, no clock, no TLS: whoever has those drives it (deliver/outbound.h), and tests and fuzzers do it without.
 *
 *   until smtp_sender_state() is what you wait for:
 *     write smtp_sender_output(), say how much was taken with smtp_sender_wrote();
 *     give what was read to smtp_sender_input(), or the end to smtp_sender_closed().
 *
 * One message at a time; any number of them over one connection. What the peer says can end the connection, and can decide about each
 * recipient, but not about memory: replies are bounded, and kept clipped. */
#ifndef FACTEUR_SMTP_SENDER_H
#define FACTEUR_SMTP_SENDER_H
#include "smtp/offers.h"
#include "smtp/param.h"

enum { SMTP_SENDER_REPLY_MAX = 1000 };  /* bytes of a reply that are kept */

enum smtp_sender_state {
	SMTP_SENDER_BUSY,      /* it has something to write, or waits for the peer */
	SMTP_SENDER_STARTTLS,  /* the peer waits for a handshake: make it, then smtp_sender_secured(). With IMPLICIT: at the beginning */
	SMTP_SENDER_READY,     /* a message may be given */
	SMTP_SENDER_FINISHED,  /* every recipient of the message has its result; then smtp_sender_next() */
	SMTP_SENDER_OVER,      /* nothing more goes over this connection; with a message: its results stand too */
};

enum smtp_sender_tls { SMTP_TLS_MAY = 0, SMTP_TLS_MUST, SMTP_TLS_NEVER, SMTP_TLS_IMPLICIT };

struct smtp_sender_config {
	struct str           hostname;        /* what we call ourselves */
	enum smtp_sender_tls tls;
	bool                 is_lmtp;
	bool                 avoids_chunking; /* this server announces BDAT and cannot do it */
	struct str           login, password; /* who we are to it (AUTH, RFC 4954); login empty: nobody in particular */
	bool                 login_in_clear;  /* without TLS too: it is on this machine */
	bool                 is_given;        /* somebody has named this host: it may call itself as we do (a filter on the same machine) */
};

/* How far a connection, or a message on it, has come: what failed, and whether another host may be tried at once. */
enum smtp_stage {
	SMTP_AT_GREETING, SMTP_AT_EHLO, SMTP_AT_STARTTLS, SMTP_AT_LOGIN, SMTP_AT_READY, SMTP_AT_MAIL, SMTP_AT_RCPT, SMTP_AT_DATA, SMTP_AT_CONTENT,
	SMTP_AT_END,      /* all was sent: with a word of our own instead of a reply, nobody knows whether the peer has it */
	SMTP_AT_QUIT,
};
const char *smtp_stage_name(enum smtp_stage stage);   /* "MAIL FROM"; "the end of the message" */

struct smtp_outgoing_recipient {
	struct str address;     /* without <> */
	struct str orcpt;       /* decoded; empty: none */
	uint8_t    notify;      /* SMTP_NOTIFY_*; 0: not given */
};

/* A message as this peer can take it (smtp/fit.h sees to that). Borrowed until its results are taken. */
struct smtp_outgoing {
	struct str     sender;        /* reverse-path without <>; empty: a bounce */
	enum smtp_body body;          /* BODY=, sent if the peer offers it */
	enum smtp_ret  ret;
	struct str     envid;
	bool           smtputf8, requiretls;
	enum smtp_by   by;            /* BY=, sent if the peer offers it */
	bool           by_traces;
	int64_t        by_s;          /* seconds from now */
	int            priority;      /* MT-PRIORITY=, the same */
	uint64_t       size;          /* bytes; CRLF lines, and ends with one */
	/* Puts n of its bytes, from offset on, into room. False: they cannot be read, the connection is given up. */
	bool         (*read)(void *context, uint64_t offset, char *room, size_t n);
	void          *context;
	size_t         n;             /* recipients, at least 1 */
	const struct smtp_outgoing_recipient *recipients;
};

enum smtp_outcome { SMTP_OUTCOME_NONE = 0, SMTP_OUTCOME_DONE, SMTP_OUTCOME_DEFERRED, SMTP_OUTCOME_REFUSED };

struct smtp_result {
	enum smtp_outcome outcome;
	bool       is_own_word;     /* the text is ours: the connection was lost, the peer does not speak SMTP … */
	bool       passed_dsn;      /* DONE, and the peer has promised to send what NOTIFY asks for */
	bool        passed_by;      /* DONE, and the peer has taken over the time of BY */
	enum smtp_stage at;
	int        code;            /* 0 when is_own_word */
	struct str status;          /* "5.1.1"; "5.0.0" when the peer named none */
	struct str text;            /* "550 5.1.1 no such user", lines parted by LF, clipped, printable; in the sender */
};

struct smtp_sender;
struct smtp_sender *smtp_sender_new(const struct smtp_sender_config *c);
void smtp_sender_free(struct smtp_sender *s);   /* NULL is fine */

enum smtp_sender_state smtp_sender_state(const struct smtp_sender *s);
void smtp_sender_input(struct smtp_sender *s, struct str bytes);
/* The connection has ended, or is about to be given up: why, for people ("the connection was closed", "no answer for 5 minutes").
 * is_clean: the peer closed it, and all that it had said was read (an end of file, no reset). */
void smtp_sender_closed(struct smtp_sender *s, struct str why, bool is_clean);
/* What to write now; empty: nothing. Valid until the next call. */
struct str smtp_sender_output(struct smtp_sender *s);
void smtp_sender_wrote(struct smtp_sender *s, size_t n);
void smtp_sender_secured(struct smtp_sender *s);

/* READY: begins with this message. */
void smtp_sender_begin(struct smtp_sender *s, const struct smtp_outgoing *m);
/* One for each recipient, when FINISHED or OVER; valid until smtp_sender_next() or _free(). NULL: there is no message. */
const struct smtp_result *smtp_sender_results(const struct smtp_sender *s);
void smtp_sender_next(struct smtp_sender *s);   /* FINISHED → READY, or OVER when the peer takes no more */
void smtp_sender_quit(struct smtp_sender *s);   /* READY, FINISHED: says goodbye; BUSY, then OVER */

/* READY: asks whether it would take a message at all (MAIL), and sends none; READY again when it has said so. NULL: it has not. */
void smtp_sender_probe(struct smtp_sender *s);
const struct smtp_result *smtp_sender_probed(const struct smtp_sender *s);

/* What the peer said of itself; valid from READY on. */
const struct smtp_offers *smtp_sender_offers(const struct smtp_sender *s);
/* OVER: it has announced CHUNKING, and does not know BDAT. Nothing was delivered; another connection, one that avoids_chunking, may do it. */
bool smtp_sender_lacks_bdat(const struct smtp_sender *s);
bool smtp_sender_is_secure(const struct smtp_sender *s);
unsigned smtp_sender_messages(const struct smtp_sender *s);    /* so many were finished on it */
/* OVER before any message: what the connection failed of. */
const struct smtp_result *smtp_sender_failure(const struct smtp_sender *s);

/* What would become of the message if the connection were closed now. */
enum smtp_holds {
	SMTP_HOLDS_NOTHING,   /* nothing of it has left */
	SMTP_HOLDS_PART,      /* the peer has no end of it, so it will deliver nothing */
	SMTP_HOLDS_ALL,       /* the peer may deliver it, to some recipients at least */
};
enum smtp_holds smtp_sender_holds(const struct smtp_sender *s);

/* How long the peer may be silent now, in seconds (RFC 5321 §4.5.3.2), counted from the last change of the second number: a peer
 * that sends a byte a minute makes no progress. */
int smtp_sender_patience_s(const struct smtp_sender *s);
uint64_t smtp_sender_progress(const struct smtp_sender *s);
/* While a message is on its way to the peer: how many bytes of it the peer has taken. Else 0. */
uint64_t smtp_sender_content_out(const struct smtp_sender *s);
#endif
