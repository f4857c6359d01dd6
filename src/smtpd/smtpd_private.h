/* smtpd/smtpd_private.h -- one SMTP session, shared by machine.c (lines, dispatch), commands.c, message.c (DATA, BDAT),
 * body.c. */
#ifndef FACTEUR_SMTPD_SMTPD_PRIVATE_H
#define FACTEUR_SMTPD_SMTPD_PRIVATE_H
#include "smtp/command.h"
#include "smtp/param.h"
#include "smtpd/lines.h"
#include "smtpd/smtpd.h"

enum { SMTPD_PIECE = 64 << 10 };  /* bytes of a message that are taken at once */

enum smtpd_phase {
	PHASE_COMMAND,
	PHASE_LONG_LINE,   /* a command that is too long: up to its end */
	PHASE_DATA,        /* up to CR LF "." CR LF */
	PHASE_CHUNK,       /* chunk_left bytes of BDAT */
	PHASE_END,         /* all of the message has come (a spool file may still be awaited) */
	PHASE_ADDED,       /* the message is in the host's hands; then its answer is told */
	PHASE_STARTTLS,
	PHASE_OVER,
};

/* The message as it will be stored, while it arrives. */
struct smtpd_body {
	bool       in_header;   /* bytes is the header as far as it has come */
	struct buf bytes;       /* all of it; with a spool file: what is not written yet */
	size_t     searched;    /* of bytes, for the end of the header */
	int        fd;          /* of the spool file; -1: none */
	uint64_t   spool, written;
	uint64_t   added;       /* the spool file that the host was asked to add; 0: none, or it is added */
	uint32_t   crc;
	uint64_t   octets;      /* of the client's message, as SIZE counts */
};

struct smtpd {
	struct smtpd_server     *server;
	struct smtpd_client      client;
	const struct smtpd_host *host;
	void                    *context;
	struct buf              *out;          /* during smtpd_input() */
	enum smtpd_phase         phase;
	bool                     is_waiting;   /* for smtpd_spooled, smtpd_rewritten, smtpd_added */
	bool                     has_more;     /* input stands behind the command that runs */
	struct buf               line;         /* a command of which the end has not come */
	struct buf               helo;         /* what the client calls itself; empty: it has not said */
	bool                     is_esmtp;
	uint64_t                 errors, idle_commands, messages;
	/* The transaction; all of it lives in the arena. */
	struct arena             arena;
	size_t                   charged;      /* for it and the body, in server->memory_used */
	bool                     has_mail, is_chunked, is_broken;  /* broken: a chunk was refused */
	struct envelope          envelope;
	size_t                   recipients_cap;
	struct lines             lines;
	struct smtpd_body        body;
	struct smtpd_rewrite     rewrite;      /* has the body's file while it is under way */
	uint64_t                 chunk_left;
	bool                     chunk_is_last;
	struct smtp_reply        refusal;      /* the message will be refused with it; code 0: not so far */
	struct smtp_reply        answer;       /* what the host said of the complete message */
};

#define COMMAND(verb, handler, arguments, spec) void handler(struct smtpd *s, struct str argument);
#include "smtpd/commands.def"
#undef COMMAND

/* machine.c */
void smtpd_reply(struct smtpd *s, int code, const char *enhanced, const char *sentence);
void smtpd_reply_with(struct smtpd *s, struct smtp_reply r);   /* the one place that writes; counts mistakes */
void smtpd_over(struct smtpd *s, const char *enhanced, const char *sentence);   /* 421, then the connection closes */
void smtpd_reset(struct smtpd *s);                             /* ends the transaction, if there is one */

/* The same for a message, or for one recipient of it, that is refused: whoever looks for it shall find it. */
void smtpd_reply_refusal(struct smtpd *s, struct str recipient, struct smtp_reply r);

/* message.c */
void smtpd_take_data(struct smtpd *s, struct str *in);
void smtpd_take_chunk(struct smtpd *s, struct str *in);
void smtpd_end_message(struct smtpd *s);
void smtpd_tell_added(struct smtpd *s);

/* body.c */
void smtpd_charge(struct smtpd *s);                            /* keeps server->memory_used */
void smtpd_body_begin(struct smtpd *s);
void smtpd_body_add(struct smtpd *s, struct str piece);        /* may set refusal, or wait for a spool file */
void smtpd_body_end(struct smtpd *s);                          /* the last byte has come: refusal, or host->add() */
void smtpd_body_drop(struct smtpd *s);                         /* frees what it holds */
void smtpd_body_added(struct smtpd *s, bool is_added);         /* the host's answer: the file is needed no more, if it is not */
void smtpd_refuse(struct smtpd *s, struct smtp_reply r);       /* the first reason counts; the body is dropped */

/* wishes.c */
uint64_t smtpd_hold_max(const struct smtpd *s);                /* seconds a message of this client may wait for its time; 0: not at all */
/* Into the envelope; code 0, or why not. A priority that is not granted is another one there than in p. */
struct smtp_reply smtpd_take_wishes(struct smtpd *s, const struct smtp_mail_params *p);
/* "TLS-Required: No" of the header (RFC 8689 §3, §4.1), unless MAIL said REQUIRETLS. */
void smtpd_take_tls_field(struct smtpd *s, struct str header);

/* received.c */
/* Received field (RFC 5321 §4.4) with its CRLF. */
void smtpd_put_received(const struct smtpd *s, struct buf *out);
size_t smtpd_count_received(struct str header);
#endif
