/* smtpd/smtpd.h -- an SMTP server as a machine (RFC 5321): bytes of the client in, replies out, and what only its host
 * can do through a few callbacks. It has no socket, no clock and no thread: mx (role/mx.c, an event loop that never
 * waits) and the submission engine of a cell (smtpd/submission.c, which may block) run the same one.
 *
 * The order of replies is the order of commands (PIPELINING): while a callback has not been answered, no further input
 * is taken. What a message costs: at most SMTPD_MEMORY_MAX bytes in memory, the rest in a spool file of the queue. */
#ifndef FACTEUR_SMTPD_SMTPD_H
#define FACTEUR_SMTPD_SMTPD_H
#include "queue/add.h"
#include "smtp/reply.h"
#include "trail/trail.h"

enum {
	SMTPD_MEMORY_MAX = 256 << 10,  /* bytes of a message in memory; also the largest header */
	SMTPD_TEXT_LINE_MAX = 65536,   /* bytes of a line of a message; RFC 5321 §4.5.3.1.6 promises 998 */
	SMTPD_SWALLOW_MAX = 4,         /* times size_max of a message that is too large are read away; then it is over */
	SMTPD_RECEIVED_MAX = 100,      /* Received fields: more is a loop (RFC 5321 §6.3) */
	SMTPD_IDLE_COMMANDS_MAX = 100, /* NOOP, RSET, VRFY … in a row; then each counts as a mistake */
	SMTPD_RESERVE = 8192,          /* reply bytes of one command, at most; see smtpd_input() */
};

/* The server, shared by all sessions of the process. The host may change it between calls. */
struct smtpd_server {
	struct str hostname;
	uint64_t   size_max;             /* bytes of a message */
	uint64_t   recipients_max;       /* RCPT commands of a message */
	uint64_t   messages_max;         /* over one connection */
	uint64_t   errors_max;
	uint64_t   hold_max;             /* seconds that a message of an own user may wait for its time (RFC 4865); 0: not offered */
	uint64_t   memory_max;           /* for messages and envelopes that are arriving, all sessions together */
	uint64_t   memory_used;          /* kept by the machines */
	uint64_t   disk_reserve;         /* bytes that a message on its way to a spool file leaves free */
};

/* Who is at the other end. Strings are borrowed and outlive the session (until smtpd_secured() for is_tls and
 * tls_text). */
struct smtpd_client {
	enum envelope_source source;     /* ENVELOPE_MX, _SUBMISSION or _LOCAL */
	struct str session;              /* a word for Received and the log: "7c1f0a9b33" */
	struct str peer;                 /* "192.0.2.7", "2001:db8::7"; of a local program: "" */
	struct str who;                  /* in Received instead of the address, when peer is empty: "user 1000" */
	struct str login;                /* of an own user, also of a local program's: his main address; empty: not known */
	bool       is_tls;
	bool       can_start_tls;        /* not TLS yet, and there is a certificate */
	struct str tls_text;             /* "TLSv1.3 TLS_AES_128_GCM_SHA256" */
	struct str helo;                 /* said already (submission: in the login phase); empty: not yet */
	bool       is_esmtp;             /* that was EHLO, not HELO */
};

struct smtpd;

/* A large BINARYMIME message that has to be encoded anew in its spool file. */
struct smtpd_rewrite {
	int      fd;
	uint64_t size;     /* before, and afterwards */
	uint32_t crc;      /* the same */
	enum err result;   /* ERR_UNAVAILABLE: it was not run */
};
/* Some 6 ms a MB; in any thread. */
void smtpd_rewrite_run(struct smtpd_rewrite *w);

/* What the machine asks. A reply with code 0 means "yes"; any other is sent to the client as it is; its text lives in
 * the arena, or longer. spool, rewrite and add may be answered later, or from inside the callback; the others answer at once. */
struct smtpd_host {
	/* May this client send with the reverse-path e->sender (empty: a bounce)? NULL: anyone may. */
	struct smtp_reply (*sender)(void *context, const struct envelope *e, struct arena *a);
	/* Is this a recipient? r is what would be added: address as in RCPT TO ("Postmaster" may stand alone), account 0.
	 * The queue resolves it (queue/envelope.h). */
	struct smtp_reply (*recipient)(void *context, const struct envelope *e, const struct envelope_recipient *r,
								   struct arena *a);
	/* The header is there, whole, with its empty line (as far as there is one) and without our Received field. It may
	 * be refused, or written to out as it is to be stored; NULL, or nothing written: as it is. */
	struct smtp_reply (*header)(void *context, const struct envelope *e, struct str header, struct buf *out,
								struct arena *a);
	/* The message is large: gets a spool file (queue_spool), then smtpd_spooled(). */
	void (*spool)(void *context);
	/* A spool file that was given is not needed: its message did not come to its end, or was refused (queue_spool_drop). */
	void (*drop)(void *context, uint64_t spool);
	/* Runs w, where others do not wait for it, then smtpd_rewritten(). w is the machine's. NULL: it is run at once. */
	void (*rewrite)(void *context, struct smtpd_rewrite *w);
	/* The message is complete: adds it (queue_add), then smtpd_added() or smtpd_refused(). Both are valid during the
	 * call only. */
	void (*add)(void *context, const struct envelope *e, const struct queue_body *body);
	/* A sender, a recipient (then it is named) or the message was refused with this reply; NULL: nobody notes it. */
	void (*refused)(void *context, const struct envelope *e, struct str recipient, const struct smtp_reply *r);
};

/* Why a group does not take a message. claimed: who the sender says he is, of whom nobody has proven it; empty: he has logged in. */
struct smtp_reply smtpd_group_refusal(struct str group, struct str claimed, struct arena *a);
struct smtp_reply smtpd_group_takes_no_bounce(void);

/* All are borrowed until smtpd_free(); the client is copied. */
struct smtpd *smtpd_new(struct smtpd_server *server, const struct smtpd_client *client, const struct smtpd_host *host,
						void *context);
void smtpd_free(struct smtpd *s); /* NULL is fine; must not be called while an answer is due, see smtpd_is_waiting() */

enum smtpd_next {
	SMTPD_INPUT,      /* all was taken: call again when more has come */
	SMTPD_WAIT,       /* an answer is due; then call again with what was not taken (also if that is nothing) */
	SMTPD_FLUSH,      /* out is nearly full: send, then call again with what was not taken */
	SMTPD_STARTTLS,   /* send out, do the handshake, then smtpd_secured() */
	SMTPD_CLOSE,      /* send out, then close */
};
/* "220 …". */
void smtpd_greet(struct smtpd *s, struct buf *out);
/* Takes input: whole commands and pieces of them, in any portions. *used: bytes it has done with. Replies go to out,
 * which must have at least SMTPD_RESERVE bytes of room; the replies to what came together leave together. */
enum smtpd_next smtpd_input(struct smtpd *s, struct str in, size_t *used, struct buf *out);
/* After the handshake: everything the client said before is forgotten (RFC 3207 §4.2). */
void smtpd_secured(struct smtpd *s, struct str tls_text);
/* The connection ends by our decision: "421 4.x.x sentence". Nothing is taken afterwards. */
void smtpd_bye(struct smtpd *s, const char *enhanced, const char *sentence, struct buf *out);

/* The answers to host->spool, host->rewrite and host->add. fd is the machine's. They write nothing: smtpd_input() does. */
void smtpd_spooled(struct smtpd *s, enum err result, uint64_t spool, int fd);
void smtpd_rewritten(struct smtpd *s);
void smtpd_added(struct smtpd *s, enum err result, struct queue_id id);
void smtpd_refused(struct smtpd *s, struct smtp_reply r);   /* instead of smtpd_added(); the text is copied */

/* For host->refused: what is noted in the trail. Views e and r, the rest lives in the arena. */
struct trail_event smtpd_refusal_event(const struct envelope *e, struct str recipient, const struct smtp_reply *r, struct arena *a);

bool smtpd_is_waiting(const struct smtpd *s);    /* for an answer */
bool smtpd_is_in_body(const struct smtpd *s);    /* in DATA or BDAT, also between chunks: the host watches the rate */
bool smtpd_is_idle(const struct smtpd *s);       /* between messages: nothing is lost if the connection ends */
#endif
