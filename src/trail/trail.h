/* trail/trail.h -- what happened to each message: events, noted by the roles that know (queue, mx, cells) and kept by control
 * (trail/store.h), so that `facteur trace` can tell where a mail is.
 *
 * A note costs its sender a copy of some 200 bytes: notes go to control in batches, without an answer (NOTICE_TRAIL), about once
 * a second. Nobody waits for them, nothing is synced for them, and no decision may depend on one: a process that is killed takes
 * the notes of its last second along, and a message that is delivered again after a crash is noted again. Whoever reads the trail
 * shows what is there twice once.
 *
 * Texts are noted as they are, a reply of another server word for word; trail_note() clips them. No text of a message. */
#ifndef FACTEUR_TRAIL_TRAIL_H
#define FACTEUR_TRAIL_TRAIL_H
#include "base/arena.h"
#include "base/wire.h"
#include "ipc/channel.h"

enum trail_kind {              /* kept on disk: append only */
	TRAIL_RECEIVED = 1,    /* accepted, and durable in the queue. queue: source, sender, recipients, count, peer, message_id, received_id,
	                          size, account (who submitted it), parent */
	TRAIL_REFUSED,         /* in the session, so its sender knows. mx, cell: peer, sender, recipients or none, status, text;
	                          account: the mailbox concerned (full), or the user who may not do that */
	TRAIL_DELIVERED,       /* it is in a mailbox. queue: recipient, account, where ("INBOX") */
	TRAIL_SENT,            /* another server has taken it. queue: recipient, peer, tls, status, text (its reply) */
	TRAIL_ATTEMPT,         /* one host was tried on the way, without success. queue: recipient or none, peer, text */
	TRAIL_DEFERRED,        /* not now. queue: recipient, account, peer, tls, status, text, due, count (tries so far) */
	TRAIL_FAILED,          /* never: the sender gets a bounce, which is a message with this one as its parent. queue: as DEFERRED */
	TRAIL_EXPIRED,         /* tried for the whole queue_lifetime. queue: as DEFERRED, with what was the reason at last */
	TRAIL_HELD,            /* by the administrator. queue: recipient, or none: all of them; so are the next three */
	TRAIL_RELEASED,
	TRAIL_RETRIED,
	TRAIL_REMOVED,
	TRAIL_LOST,            /* count notes were not kept: control was away, or a stranger asked for too many */
	TRAIL_WAITS,           /* it leaves, or is delivered, not before due. queue: recipient, or none: all elsewhere; due; text: "slowed" (its account
	                          sends more than it may in an hour), "asked" (its sender wants it later), "held" (setting send_elsewhere is off; due 0) */
	TRAIL_LEFT,            /* by mail somebody leaves a group. queue: sender, peer, account (who has logged in), recipient (the group), status: "2.0.0": he
	                          is out of it; "5.1.1": he was no member; "5.7.1": members do not leave it by themselves */
	TRAIL_KINDS
};

enum {
	TRAIL_RECIPIENTS_MAX = 20,       /* named in one event; count says how many there are */
	TRAIL_ADDRESS_MAX = 320,         /* bytes; longer is clipped */
	TRAIL_MESSAGE_ID_MAX = 250,
	TRAIL_PEER_MAX = 300,
	TRAIL_TEXT_MAX = 1000,           /* a reply of another server, all its lines */
	TRAIL_WORD_MAX = 200,            /* status, tls, where */
	TRAIL_EVENT_MAX = 16384,         /* encoded */
};

struct trail_recipient {
	struct str address;              /* as in RCPT TO; or elsewhere, where an alias leads */
	uint64_t   account;              /* 0: elsewhere */
};

/* Only what its kind names is set, all else is zero. */
struct trail_event {
	enum trail_kind kind;
	int64_t    at_ms;                /* since 1970; trail_note(): 0 is now */
	uint64_t   log_id, seq;          /* the message, as queue_name() shows it; 0: it had no name yet */
	uint64_t   parent_log_id, parent_seq;  /* RECEIVED: of a bounce, a redirect, a vacation reply; 0: none */
	uint64_t   account;
	uint64_t   size;
	int64_t    due;                  /* seconds since 1970: next try; 0: no try by itself */
	uint32_t   count;
	uint8_t    source;               /* enum envelope_source */
	struct str sender;               /* empty: "<>" */
	struct str recipient;
	struct str message_id;           /* without <> */
	struct str peer;                 /* "mx1.example.net [192.0.2.7]" */
	struct str status;               /* "4.7.0" */
	struct str text;                 /* "421 4.7.0 try again later", lines parted by LF; or a sentence of ours */
	struct str tls;                  /* "TLSv1.3, certificate proven by DANE"; empty: in clear text */
	struct str where;                /* the mailbox */
	struct str received_id;          /* RECEIVED: the id in the Received field that this server has put in front */
	size_t     n;                    /* ≤ TRAIL_RECIPIENTS_MAX */
	const struct trail_recipient *recipients;
};

/* Appends one event; what is too long is clipped, so it fits TRAIL_EVENT_MAX. */
void trail_event_encode(const struct trail_event *e, struct buf *out);
/* The next one. False: the end, or (s->failed) malformed or over a limit. Slices view the bytes, recipients live in a. */
bool trail_event_decode(struct scan *s, struct arena *a, struct trail_event *out);
/* May this role say that? mx may not say that something was delivered, a cell speaks for its own account only. */
bool trail_may_note(enum role who, uint64_t account, const struct trail_event *e);

/* ---- noting */
struct trail_notes;

/* control may be closed at the moment, and is borrowed: notes wait for it, up to 1 MB. */
struct trail_notes *trail_notes_new(struct channel *control);
/* Sends what waits. NULL is fine. */
void trail_notes_free(struct trail_notes *t);
/* Copies e. t NULL: nobody keeps a trail, as in most tests. One thread. */
void trail_note(struct trail_notes *t, const struct trail_event *e);
/* Sends what has waited for a second: call it from the loop, at least about once a second. False: nothing waits. */
bool trail_notes_run(struct trail_notes *t, int64_t now_ms);
/* Sends all that waits, for loops that keep the time themselves. */
void trail_notes_send(struct trail_notes *t);
/* One event at once, from any thread: for who has something to say once in a while. */
void trail_tell(struct channel *control, const struct trail_event *e);
#endif
