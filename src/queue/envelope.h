/* queue/envelope.h -- who sends a message to whom, and what was asked for it: SMTP's envelope (RFC 5321 §2.3.1) with the DSN
 * parameters (RFC 3461), what else its sender wants of it, and what the directory said. It is written once into the log record, beside the body.
 *
 * Who resolves: the role queue, once, in add.c, for everybody who adds. mx and submission look a recipient up only to answer RCPT,
 * and hand over its address as the client wrote it, with account 0 and detail empty. queue_add_serve() asks the look-up memfd
 * and puts the targets in its place, each target once a message: an account here (address stays as in RCPT TO, detail is the
 * sub-address), or account 0 and the address elsewhere that an alias names; orcpt and notify go with each. An address of ours
 * that has gone since RCPT stays, with account 0, and fails with 5.1.1. A group stands
 * as one recipient, and what it sends on is one more record for its members here and one for those elsewhere (`list`); so a cell need
 * not (and may not) know accounts of others. */
#ifndef FACTEUR_QUEUE_ENVELOPE_H
#define FACTEUR_QUEUE_ENVELOPE_H
#include "base/arena.h"
#include "base/wire.h"

enum {
	ENVELOPE_RECIPIENTS_MAX = 20000,
	ENVELOPE_ADDRESS_MAX = 1000,    /* bytes; RFC 5321 asks for 254, UTF-8 and quoting for more */
	ENVELOPE_ORCPT_MAX = 1000,      /* RFC 3461 §4.2: 500, with xtext decoded */
	ENVELOPE_ENVID_MAX = 200,       /* RFC 3461 §4.4: 100 */
	ENVELOPE_PEER_MAX = 500,
	ENVELOPE_BYTES_MAX = 8 << 20,   /* encoded */
};

enum envelope_source {
	ENVELOPE_MX = 1,       /* port 25, a stranger */
	ENVELOPE_SUBMISSION,   /* one of our users: 587, 465 */
	ENVELOPE_LOCAL,        /* a program of this machine: facteur sendmail, the welcome message */
	ENVELOPE_DELIVERY,     /* made by a delivery: redirect, vacation, bounce; parent says which */
};
enum envelope_body { ENVELOPE_7BIT = 1, ENVELOPE_8BITMIME, ENVELOPE_BINARYMIME };  /* BODY=; BINARYMIME: re-encoded already */
enum envelope_ret { ENVELOPE_RET_NONE = 0, ENVELOPE_RET_FULL, ENVELOPE_RET_HDRS }; /* RFC 3461 §4.3 */
/* RFC 3461 §4.1; 0: not given */
enum { ENVELOPE_NOTIFY_NEVER = 1, ENVELOPE_NOTIFY_SUCCESS = 2, ENVELOPE_NOTIFY_FAILURE = 4, ENVELOPE_NOTIFY_DELAY = 8 };

/* What a sender may want beyond delivery; zeros: nothing. Times are seconds since 1970. */
enum { ENVELOPE_PRIORITY_MIN = -9, ENVELOPE_PRIORITY_MAX = 9 };
enum envelope_by { ENVELOPE_BY_NOTHING = 0, ENVELOPE_BY_NOTIFY, ENVELOPE_BY_RETURN };  /* what happens at deliver_by: RFC 2852 §4 */
enum envelope_tls {
	ENVELOPE_TLS_USUAL = 0,
	ENVELOPE_TLS_REQUIRED,    /* MAIL … REQUIRETLS: every server on the way proves itself, or the message comes back (RFC 8689 §2) */
	ENVELOPE_TLS_OPTIONAL,    /* "TLS-Required: No": what the recipient's domain asks for (DANE, MTA-STS) is not insisted on (§5) */
};
struct envelope_wishes {
	int64_t           release;     /* nobody gets it before (FUTURERELEASE, RFC 4865); 0: at once */
	int64_t           deliver_by;  /* DELIVERBY (RFC 2852); 0: none, and by is NOTHING */
	enum envelope_by  by;
	bool              by_traces;   /* tell when another server has taken it */
	int8_t            priority;    /* MT-PRIORITY (RFC 6710): -9 to 9, higher goes first */
	enum envelope_tls tls;
};

/* A group in the message that was written to it: done when that is durable, since what its members get are messages of their own. */
#define ENVELOPE_GROUP ((uint64_t)1 << 62)

struct envelope_recipient {
	struct str address;       /* as in RCPT TO, without <>; "postmaster" may stand without a domain (RFC 5321 §4.5.1) */
	struct str orcpt;         /* "rfc822;bob@example.org", xtext decoded; empty: not given */
	struct str detail;        /* the "x" of bob+x@; empty: none */
	uint64_t   account;       /* 0: not resolved yet; in the log: not here, to be sent on; ENVELOPE_GROUP: its members get copies */
	uint8_t    notify;        /* ENVELOPE_NOTIFY_* */
};

/* A message made by a delivery: from which one, and the how-many-eth it made. The same key is queued once. log_id 0: no parent. */
struct envelope_parent {
	uint64_t log_id, seq, account;
	uint32_t ordinal;
};

struct envelope {
	enum envelope_source source;
	struct str           sender;      /* reverse-path without <>; empty: a bounce */
	enum envelope_body   body;
	enum envelope_ret    ret;
	struct str           envid;       /* xtext decoded; empty: not given */
	bool                 smtputf8;    /* RFC 6531 */
	bool                 is_authenticated; /* SPF or DKIM aligned: a bounce may go back to the sender */
	int64_t              received;    /* seconds since 1970 */
	struct str           peer;        /* for people: "mail.example.org [192.0.2.1]" */
	uint64_t             submitter;   /* account that submitted it; 0: none. From a cell, queue sets it: the channel's account */
	struct envelope_parent parent;
	struct envelope_wishes wishes;
	int64_t              slowed_until;/* recipients elsewhere get it not before: the account sends more than it usually does; 0: at once */
	struct str           list;        /* address of the group whose copy this is; empty: none */
	size_t               n;           /* recipients, at least 1 */
	struct envelope_recipient *recipients;
};

/* out gets the bytes; fails (sticky) when a limit is passed. */
void envelope_encode(const struct envelope *e, struct buf *out);
/* Slices view bytes, the array of recipients lives in a. False: malformed, or over a limit. */
bool envelope_decode(struct str bytes, struct arena *a, struct envelope *out) MUST_CHECK;
/* Where the seq of its parent stands in what was encoded. */
size_t envelope_parent_seq_at(struct str bytes);
/* The same without the recipients (late.h keeps those apart); n is 0. */
void envelope_head_encode(const struct envelope *e, struct buf *out);
bool envelope_head_decode(struct str bytes, struct envelope *out) MUST_CHECK;

/* For others that carry them (send.h). Whatever is malformed fails the scan. */
void put_wishes(struct buf *out, const struct envelope_wishes *w);
void get_wishes(struct scan *s, struct envelope_wishes *out);
/* From when on it is under way: lifetime and "it takes long" count from here. */
static inline int64_t envelope_begins(const struct envelope *e)
{
	return e->wishes.release > e->received ? e->wishes.release : e->received;
}
/* When it came, for who gets it now: mail of "send later" is new on the day it arrives, not on the day it was written. */
static inline int64_t envelope_arrives(const struct envelope *e, int64_t now)
{
	int64_t begins = envelope_begins(e);

	return begins <= now ? begins : now > e->received ? now : e->received;  /* released before its time */
}
/* When a recipient may get it: not before. 0: at once. */
static inline int64_t envelope_leaves(const struct envelope *e, bool elsewhere)
{
	return elsewhere && e->slowed_until > e->wishes.release ? e->slowed_until : e->wishes.release;
}
#endif
