/* queue/send.h -- SEND: one message for recipients of one destination, from queue to net; its answer; and SENT.
 *
 *   queue ──SEND──► net      once for each destination of a message, at most SEND_RECIPIENTS_MAX recipients
 *   queue ◄─answer─ net      a result for each recipient, in their order, with the words of the other server
 *   queue ──SENT──► net      once for each answer: what it said is durable where it must be (at once, if nothing was DONE)
 *   queue ──SENDS_END─► net  it stops: net answers ERR_AGAIN at once where nothing of the message has left yet, and everything within
 *                            SENDS_END_MS: ERR_AGAIN (as if it had not been asked for) where the message was not sent to its end
 *
 * Net sends a SEND over one connection. That connection carries nothing else before its SENT has come: so however queue or net is
 * killed, an open connection repeats one message at most, the one whose "250" came and whose record did not reach the disk.
 * Net may take its time (RFC 5321 §4.5.3.2: 10 minutes for the reply after the data); it always answers, while it lives, before
 * SEND_TIMEOUT_MS. When the channel is lost the outcome is not known: queue sends again, and net drops every connection whose
 * message it has not answered yet.
 *
 * Who decides what: queue how many SENDs are out for a destination, and when one is tried again. Net which host, which address, which
 * TLS, which connection. A destination is a domain in A-labels and lower case, an address literal with its brackets, or the name of a
 * route (directory/route.h), which stands for all that goes that way. */
#ifndef FACTEUR_QUEUE_SEND_H
#define FACTEUR_QUEUE_SEND_H
#include "base/arena.h"
#include "base/err.h"
#include "base/wire.h"
#include "directory/route.h"
#include "ipc/channel.h"
#include "queue/delivery.h"
#include "queue/envelope.h"

enum {
	SEND_RECIPIENTS_MAX = 100,
	SEND_ATTEMPTS_MAX   = 10,
	SEND_DESTINATION_MAX = ROUTE_NAME_MAX + 270,   /* bytes */
	SEND_SOURCE_MAX = 45,
	SEND_PREFIX_MAX = 12000,          /* DKIM_PREFIX_MAX */
	SEND_INLINE_MAX = DELIVERY_INLINE_MAX,  /* bytes of a body inside the request (over some 58 kB: in its memfd) */
	SEND_STATUS_MAX = 16,
	SEND_TEXT_MAX   = 1000,           /* a reply of another server, all its lines */
	SEND_HOST_MAX   = 300,
	SEND_TLS_MAX    = 200,
	SEND_ANSWER_TEXTS_MAX = 40000,    /* all texts of an answer together; from there on they are cut short */
	SEND_TIMEOUT_MS = 2 * 3600 * 1000,
	SENDS_END_MS = 12000,
};

struct send_recipient {
	struct str address;               /* for RCPT TO, without <> */
	struct str orcpt;                 /* "rfc822;bob@example.org", xtext decoded; empty: not given */
	uint8_t    notify;                /* ENVELOPE_NOTIFY_*; 0: not given */
};

struct send {
	uint64_t   number;                /* names this SEND, for SENT; queue never gives one twice while it lives */
	uint64_t   log_id, seq;           /* the message, for log lines: queue_name() */
	struct str destination;
	struct route route;               /* without a host: to the mail hosts of the destination */
	struct str source_ipv4, source_ipv6;  /* addresses of this machine to send from; empty: whichever the system takes */
	struct str sender;                /* for MAIL FROM, without <>; empty: "<>" */
	enum envelope_body body_type;     /* 7BIT: every line is ASCII; 8BITMIME: it may not be (BINARYMIME never comes: stored mail has
	                                     CRLF lines and no NUL) */
	enum envelope_ret  ret;
	struct str envid;                 /* xtext decoded; empty: not given */
	bool       smtputf8;              /* only to a server that has SMTPUTF8, unless everything turns out to be ASCII */
	struct envelope_wishes wishes;    /* all but release, which has passed */
	struct str prefix;                /* fields to put before the message: signatures. Left out where the body has to be changed */
	uint64_t   size;                  /* bytes of the body */
	struct str body;                  /* size bytes; p == NULL: in fd */
	int        fd;                    /* -1: body. A file with exactly these bytes, read only; pread it */
	size_t     n;                     /* at least 1 */
	struct send_recipient *recipients;
};

static inline bool send_requires_tls(const struct send *s) { return s->wishes.tls == ENVELOPE_TLS_REQUIRED; }

/* Encodes the body of SEND and its descriptors. A memfd made for it is fds[0] and *memfd: the caller closes it after sending (-1:
 * none); s->fd stays the caller's. ERR_LIMIT: over one of the limits above. ERR_INVALID: an address has control characters. ERR_IO: no
 * memfd. */
enum err send_encode(const struct send *s, struct buf *request, int fds[MESSAGE_FDS_MAX], int *fd_count, int *memfd) MUST_CHECK;
/* Net's side. Everything lives until send_release(): a memfd stays mapped, a short request is copied, and the descriptor moves from m
 * into send.fd. ERR_INVALID: malformed; nothing was taken. */
struct send_in {
	struct send  send;
	struct str   mapped;              /* private, as what follows */
	struct buf   copy;
	struct arena arena;
};
enum err send_take(struct message *m, struct send_in *out) MUST_CHECK;
void send_release(struct send_in *in);   /* for CLEANUP too */
/* The pure part, for tests and fuzzing; has_fd: a descriptor came with it. */
bool send_parse(struct str bytes, bool has_fd, struct arena *a, struct send *out);

/* ------------------------------------------------------------------------------------------------------ the answer */

struct send_result {                  /* of a recipient */
	enum delivery_outcome outcome;    /* DONE: the other server has taken it. DEFERRED: 4xx, no connection, trouble with DNS or TLS.
	                                     REFUSED: 5xx, or it can never be (null MX, no such domain, no SMTPUTF8 there) */
	struct str status;                /* "4.4.1" (RFC 3463); always one: made from the reply's code where it has none */
	struct str text;                  /* the reply word for word, lines parted by LF, printable UTF-8; or a sentence of ours */
	struct str host;                  /* "mx1.example.net [192.0.2.7]" said it; empty: net says so itself */
	struct str tls;                   /* "TLSv1.3, certificate proven by DANE"; empty: in clear text, or no connection */
	bool       has_passed_dsn;        /* DONE: it offers DSN and got NOTIFY: reports of success are its affair (RFC 3461 §5.2.2) */
	bool       has_passed_by;         /* DONE: it has DELIVERBY and got the time: the rest of it is its affair (RFC 2852 §4) */
	bool       is_unsure;             /* DEFERRED: the connection broke after the final dot: it may have taken it all the same */
};
struct send_attempt {                 /* a host that was tried on the way, without success */
	struct str host;                  /* as above */
	struct str text;                  /* why not: its reply, or a sentence */
};
enum send_feedback {                  /* of the destination as such, whatever became of this message */
	SEND_GOOD = 1,                    /* it was reached, and spoke sense */
	SEND_BUSY,                        /* it wants fewer of us: 421, 4xx to the connection or to MAIL */
	SEND_UNREACHABLE,                 /* no host could be reached, or none would talk: the next message would fare the same */
};
struct send_answer {
	enum send_feedback feedback;
	size_t n;
	struct send_result *results;      /* in the order of the recipients */
	size_t n_attempts;                /* ≤ SEND_ATTEMPTS_MAX */
	struct send_attempt *attempts;
};
/* Clips what is too long. At most MESSAGE_BODY_MAX bytes. */
void send_answer_encode(const struct send_answer *a, struct buf *out);
/* ERR_INVALID: malformed, or not n results. */
enum err send_answer_decode(struct str bytes, size_t n, struct arena *a, struct send_answer *out) MUST_CHECK;

/* SENT: u64 numbers, SENT_MAX at most, one behind the other. */
enum { SENT_MAX = 100 };
void put_sent(struct buf *out, uint64_t number);
bool get_sent(struct scan *s, uint64_t *number);   /* the next one; false: there is no more, or it is malformed */
#endif
