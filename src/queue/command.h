/* queue/command.h -- QUEUE_COMMAND: what the administrator asks of the queue, through control: `facteur queue …`.
 * One struct for the question and one for the answer. The queue shows what is late (queue/late.h); what has only just
 * arrived is counted, and is late within seconds if it cannot be delivered. */
#ifndef FACTEUR_QUEUE_COMMAND_H
#define FACTEUR_QUEUE_COMMAND_H
#include "queue/add.h"
#include "queue/late.h"

enum { QUEUE_COMMAND_TIMEOUT_MS = 30000, QUEUE_DESTINATIONS_MAX = 150 };

enum queue_command_kind {
	QUEUE_COUNTERS = 1,
	QUEUE_LIST,        /* messages behind `after` with a recipient that contains `text`, a page */
	QUEUE_SHOW,        /* one message, and its recipients from `from` on, a page */
	QUEUE_RETRY,       /* all recipients of `name`, or one (recipient ≥ 0); an empty name: all messages */
	QUEUE_HOLD,
	QUEUE_RELEASE,
	QUEUE_REMOVE,
	QUEUE_PAUSE,       /* nothing is sent to the domain `name` */
	QUEUE_RESUME,
	QUEUE_DESTINATIONS,
	QUEUE_COMMAND_KINDS
};

struct queue_command {
	enum queue_command_kind kind;
	struct queue_id after;         /* LIST: `last` of the page before; zeros: the beginning */
	struct str text;               /* LIST: empty: all; letters in either case */
	struct str name;               /* SHOW and the orders: queue_name(); PAUSE, RESUME: a domain */
	int        recipient;          /* the orders: index of one recipient, -1: all */
	uint16_t   from;               /* SHOW: first index */
};

struct queue_counters {
	uint64_t log_id, w, last_seq;
	uint32_t fill_percent;         /* of the log; at 100 nothing is accepted */
	bool     has_failed;           /* the log cannot be written: look at the disk, restart */
	bool     is_disk_full;         /* less free than disk_reserve: nothing is accepted until there is room */
	uint64_t failing;              /* accounts whose disk could not write what came for them */
	uint64_t failing_account;      /* one of them; 0: none */
	uint64_t backlog;              /* deliveries from the log that are not answered yet */
	struct late_counts late;
};
struct queue_listed {
	struct queue_id id;
	struct str sender;             /* empty: a bounce */
	uint64_t   size;
	int64_t    received;           /* seconds since 1970 */
	uint32_t   waiting, held;      /* recipients */
	int64_t    next_due;           /* LATE_NEVER: nothing is tried by itself */
	struct str address, status, reason;  /* of the first recipient (that contains `text`) */
};
struct queue_shown {               /* a recipient */
	uint16_t   index;
	struct str address;
	uint64_t   account;            /* 0: elsewhere */
	enum late_state state;
	uint32_t   tries;
	int64_t    due;                /* LATE_NEVER: nothing is tried by itself */
	struct str status, reason;
};
struct queue_destination {
	struct str name;
	uint64_t   waiting;            /* recipients that are queued for longer than a moment */
	uint32_t   sending;            /* connections at work for it */
	uint32_t   failures;           /* in a row: how often nobody could be reached there */
	bool       is_paused;          /* by the administrator */
	int64_t    again;              /* seconds since 1970: the next try; 0: now, or when there is room */
};
struct queue_answer {
	enum queue_command_kind kind;
	struct queue_counters counters;       /* COUNTERS */
	size_t n;                             /* LIST, SHOW: of the page */
	bool   has_more;                      /* ask again behind the last one; a page of LIST may be empty, and there is more */
	struct queue_id last;                 /* LIST: the last message that was looked at */
	struct queue_listed *messages;        /* LIST; SHOW: one */
	struct queue_shown  *recipients;      /* SHOW: n */
	struct str peer;                      /* SHOW: where it came from, for people */
	uint64_t   changed;                   /* the orders: recipients */
	struct queue_destination *destinations;   /* DESTINATIONS: n, those with most waiting first; at most QUEUE_DESTINATIONS_MAX */
};

void queue_command_encode(const struct queue_command *c, struct buf *out);
/* ERR_INVALID: malformed. Slices view bytes. */
enum err queue_command_decode(struct str bytes, struct queue_command *out) MUST_CHECK;
enum err queue_answer_decode(struct str bytes, struct arena *a, struct queue_answer *out) MUST_CHECK;

/* Control's side: asks and waits. ERR_NOTFOUND: nothing late has this name; ERR_INVALID: no domain; else as channel_call(). Slices live in
 * the arena. */
enum err queue_command_ask(struct channel *queue, const struct queue_command *c, struct arena *a,
                           struct queue_answer *out) MUST_CHECK;

/* The queue's side: does it and writes the body of the answer (empty on an error, which is the status of the reply).
 * counters: all but `late` filled by the role. *has_changed: rows have another state or are due at another time: look
 * anew. parcels: for PAUSE, RESUME and DESTINATIONS; NULL (tests of the others): those are ERR_UNAVAILABLE. */
struct parcels;
enum err queue_command_serve(struct late *l, struct parcels *parcels, const struct queue_counters *counters, struct str request,
                             struct buf *answer, bool *has_changed) MUST_CHECK;
#endif
