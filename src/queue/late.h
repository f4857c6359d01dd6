/* queue/late.h -- queue.db: recipients that outlive the log (DESIGN.md §4.4, §4.6): those on other servers, and local
 * ones that could not be delivered at once (cell hung, account full, refused). Kept and tried again, never dropped
 * silently.
 *
 * A row is one recipient: (log id, seq, index in the envelope of the log record). Its life:
 *   late_add()     durable when it returns: only then W may pass seq. Doing it twice adds nothing the second time, so
 *                  that a crash before W passed is harmless: the replay finds the row and leaves the recipient to it.
 *   late_change()  tried: next time, reason, count; held; finished.
 *   report         what became of it is final, and the sender has to be told: report.h. Then it is finished.
 *   finished       delivered (and synced there!), or removed by the administrator. While W is below seq the row stays,
 *                  or a replay would deliver again. It goes when late_passed() says so, at once if W is past it
 *                  already, and for a row of an older log always.
 *
 * The body is kept once for all recipients of a message: at the end of a file late/NNNNNN, synced before the rows
 * commit; over LATE_SHARED_MAX in a file of its own; or it stays in the spool file it came in, which belongs to late
 * from then on as well. With the last row of a message its body goes, after the commit.
 *
 * Spool files: the role removes spool file N when W has passed its record and late_names_spool() says no; late removes
 * it with the last row that names it. At start the role removes what neither a record above W nor late names.
 *
 * Everything is durable (synchronous=FULL) when a call returns ERR_OK. Any thread may call; one call runs at a time.
 * ERR_IO after a failed sync: nothing is believed until the process has started again. ERR_FULL: the disk is. */
#ifndef FACTEUR_QUEUE_LATE_H
#define FACTEUR_QUEUE_LATE_H
#include "directory/lookup.h"
#include "disk/disk.h"
#include "queue/jump.h"
#include "queue/report.h"

enum {
	LATE_SHARED_MAX = 1 << 20,      /* bytes; larger bodies have a file of their own: DELIVERY_INLINE_MAX */
#ifdef FACTEUR_FAULT
	LATE_FILE_SEAL = 256 << 10,     /* so that tests see many */
#else
	LATE_FILE_SEAL = 16 << 20,      /* bytes; then a new shared file is begun */
#endif
	LATE_DUE_MAX = 10000,           /* rows in memory at most (DESIGN.md §4.6) */
	LATE_DUE_AHEAD = 300,           /* seconds: what falls due in this time */
	LATE_REASON_MAX = 1000,         /* bytes; DELIVERY_REASON_MAX and SEND_TEXT_MAX are not more */
	LATE_STATUS_MAX = 16, LATE_HOST_MAX = 300,
};
#define LATE_NEVER INT64_MAX        /* due: by itself never. Of one that waits and is elsewhere: parked, until its destination has room */

struct late;

enum late_state {
	LATE_WAITING = 1,   /* tried when due */
	LATE_HELD,          /* by the administrator, or its lifetime is over: stays until released or removed */
	LATE_FINISHED,      /* only remembered until W has passed it; no list or count has it */
	LATE_REPORT,        /* its outcome is final; kept until the sender has been told (late_report.c); no list or count has it */
};

struct late_key {
	uint64_t log_id, seq;
	uint16_t recipient;
};

/* dir: DIR/queue, must outlive it. log_id, w: of the log as it was opened; rows of another log id are never replayed.
 * What is found is made durable before this returns. Removes bodies that no row names. */
enum err late_open(struct disk_dir *dir, uint64_t log_id, uint64_t w, struct late **out) MUST_CHECK;
void late_close(struct late **l);   /* for CLEANUP too; NULL is fine */
/* A sync of queue.db has failed: nothing is written any more until it is opened again, by another process. Beside any other call. */
bool late_has_failed(struct late *l);

/* ---- moving from the log */
struct late_recipient {
	uint16_t   index;               /* in envelope->recipients */
	enum late_state state;
	int64_t    due;                 /* seconds since 1970, or LATE_NEVER; of a REPORT: when it may be written */
	uint32_t   tries;
	struct str status, reason;      /* "4.2.2" and a sentence, or the words of host; clipped to the limits */
	struct str host;                /* who said so; empty: this server */
	enum report_action notice;      /* what the sender has to be told; REPORT_NOTHING: nothing */
	int64_t    tried;               /* seconds since 1970; 0: never */
};
struct late_new {
	uint64_t   log_id, seq;
	const struct envelope *envelope;
	struct str body;                /* p == NULL: in the spool file */
	uint64_t   spool;               /* 0: body */
	uint64_t   size;
	uint32_t   crc;
	size_t     n;
	const struct late_recipient *recipients;
};
/* Adds them all in one transaction, with one sync of the bodies. What is there already stays as it is. */
enum err late_add(struct late *l, const struct late_new *messages, size_t n) MUST_CHECK;
/* W is durable in the log now: finished rows up to it are forgotten, with their bodies. */
enum err late_passed(struct late *l, uint64_t w) MUST_CHECK;

/* ---- trying */
struct late_due {
	struct late_key key;
	uint64_t account;               /* 0: elsewhere */
	int64_t  due;
};
/* Waiting rows, of accounts here or those elsewhere, with due ≤ until, the earliest first, at most max; only those behind *after, if it is
 * not NULL (zeros: the beginning). */
enum err late_list_due(struct late *l, bool elsewhere, const struct late_due *after, int64_t until, size_t max, struct arena *a, struct late_due **out,
                       size_t *n) MUST_CHECK;
/* Waiting rows of one account, whenever they are due, but not before their release: its cell begins after an unclean stop. In the order of
 * (log id, seq). */
enum err late_list_account(struct late *l, uint64_t account, int64_t now, size_t max, struct arena *a, struct late_due **out,
                       size_t *n) MUST_CHECK;
/* Parked rows of one destination, at most max. */
enum err late_list_parked(struct late *l, struct str destination, size_t max, struct arena *a, struct late_due **out,
                          size_t *n) MUST_CHECK;
/* When the first waiting row falls due; LATE_NEVER: none. */
enum err late_next_due(struct late *l, int64_t *due) MUST_CHECK;

struct late_row {
	struct late_key key;
	struct envelope_recipient recipient;   /* with its account */
	enum late_state state;
	int64_t    due, added;
	uint32_t   tries;
	struct str status, reason, host;       /* of the last try; empty: none yet */
	uint8_t    notice;                     /* enum report_action, or LATE_TOLD */
	int64_t    tried;                      /* last; 0: never */
	int64_t    asked;                      /* the administrator asked for a try now: when it would have been due; 0: he did not */
};
struct late_message {
	uint64_t   log_id, seq;
	struct envelope envelope;              /* n == 0: its recipients are rows */
	bool       is_damaged;                 /* it cannot be read: sender "?", and of the rest only when it was received */
	uint64_t   size;
	uint32_t   crc;
	uint64_t   spool;                      /* 0: not in a spool file */
};
/* ERR_NOTFOUND: no such row; finished ones are found. */
enum err late_find(struct late *l, const struct late_key *key, struct arena *a, struct late_row *out) MUST_CHECK;
/* ERR_NOTFOUND: there is none. ERR_CORRUPT: its envelope cannot be read (logged), *out says what is known (is_damaged). */
enum err late_message_find(struct late *l, uint64_t log_id, uint64_t seq, struct arena *a,
                           struct late_message *out) MUST_CHECK;
/* The body: up to LATE_SHARED_MAX in bytes (emptied first; *fd is -1), else *fd is the caller's to close: read only, of
 * a file with exactly these bytes. ERR_NOTFOUND: no such message. ERR_CORRUPT: not what was written (logged). */
enum err late_body(struct late *l, uint64_t log_id, uint64_t seq, struct buf *bytes, int *fd) MUST_CHECK;

struct late_change {
	struct late_key key;
	enum late_state state;                 /* FINISHED: the fields below do not matter */
	int64_t    due;
	uint32_t   tries;
	struct str status, reason, host;
	enum report_action notice;             /* NOTHING: what was to be told before stays so */
	int64_t    tried, asked;               /* as in the row */
};
/* The results of tries, in one transaction. A row that is gone, finished, or final (REPORT) meanwhile stays so; one that is
 * held meanwhile is not waiting again by that. */
enum err late_change(struct late *l, const struct late_change *changes, size_t n) MUST_CHECK;

/* When to try a mailbox of ours next, after `tries` tries (at least 1): 15 s, then twice as long each time, at most an hour (a
 * try costs a cell for a second). False: its lifetime since `received` is over: hold it, and log that. */
bool late_next_try(int64_t now, int64_t received, int64_t lifetime_s, uint32_t tries, int64_t *due);

/* The same for one elsewhere: 5 minutes, then twice as long each time, at most 4 hours (RFC 5321 §4.5.4.1: at least 30 minutes, but
 * a first try that soon is what gets past greylisting). */
bool late_next_try_elsewhere(int64_t now, int64_t received, int64_t lifetime_s, uint32_t tries, int64_t *due);

/* Parked rows that were added by then, the oldest first, at most max; not those for a destination that the administrator has paused. */
enum err late_list_parked_long(struct late *l, int64_t added, size_t max, struct arena *a, struct late_due **out, size_t *n) MUST_CHECK;
/* Waiting rows whose deadline (DELIVERBY) has passed, at most max. */
enum err late_list_overdue(struct late *l, int64_t now, size_t max, struct arena *a, struct late_due **out, size_t *n) MUST_CHECK;
/* Their deadline is no more looked at; tells: the sender hears that it takes long. In one transaction. */
struct late_overdue { struct late_key key; bool tells; };
enum err late_pass_deadline(struct late *l, const struct late_overdue *rows, size_t n) MUST_CHECK;

/* What comes after a try that failed for now. One that the administrator asked for is no more than a question: it does not count, and
 * the next is when it would have been without it. */
struct late_past { bool is_elsewhere; int64_t received; uint32_t tries; int64_t asked; };   /* received: jumps_moved(); tries: before this one */
struct late_next { uint32_t tries; int64_t due; bool is_over; };
void late_next_of(const struct late_past *p, int64_t now, int64_t lifetime_s, struct late_next *out);
/* How long it has been under way. If that begins only in the future (the clock was ahead): as long as its tries took at least. */
int64_t late_age(const struct late_past *p, int64_t now);
/* The clock was set back, perhaps before the queue was opened: nothing waits longer than its back-off from now, reports are due, and what is
 * parked has been there since now at least. What its sender wants to leave later (FUTURERELEASE) keeps its date. */
enum err late_set_back(struct late *l, int64_t now) MUST_CHECK;
/* What the clock did, for after a restart: instead of what was kept before. */
enum err late_keep_jumps(struct late *l, const struct jumps *j) MUST_CHECK;
enum err late_read_jumps(struct late *l, struct jump out[static JUMPS_MAX], size_t *n) MUST_CHECK;

/* A row gets other recipients: it becomes the first of them, the others get rows of their own, all untried and due then. ERR_LIMIT: the
 * message has too many. */
enum err late_readdress(struct late *l, const struct late_key *key, const struct envelope_recipient *to, size_t n, int64_t due) MUST_CHECK;

/* ---- telling the sender (report.c)
 * A report is made of all rows of a message that have something to tell, up to REPORT_RECIPIENTS_MAX. It has a number, unique for its
 * message, that is durable before the report is written, so that after a crash the same number means the same rows. */
enum { LATE_TOLD = 100 };                      /* late_row.notice: the sender knows that it takes long */

struct late_report {
	struct late_message message;
	uint32_t         number;               /* the ordinal of the report as a child of its message */
	struct late_row *rows;
	size_t           n;
};
/* Takes the next reports that are due by now, at most max; those that were begun and not ended come again as they were. */
enum err late_report_begin(struct late *l, int64_t now, size_t max, struct arena *a, struct late_report *out, size_t *n) MUST_CHECK;
/* It is durable in the log, or nobody is to be told: its rows are finished, or go on waiting without this news. A report that is not
 * known, or ended already, changes nothing. */
enum err late_report_end(struct late *l, uint64_t log_id, uint64_t seq, uint32_t number) MUST_CHECK;
/* Is anything due by now? A cheap question. True also when it is not known (a failure). */
bool late_report_is_due(struct late *l, int64_t now);

/* The smallest seq of this log with a row of this account that is not finished; UINT64_MAX: none. The cell may forget
 * names below it (queue/delivery.h: prune_seq). */
enum err late_oldest_seq(struct late *l, uint64_t account, uint64_t log_id, uint64_t *seq) MUST_CHECK;
/* Has this account a row that is not finished, of another log than this one? True also when it is not known (a failure). */
bool late_has_other_log(struct late *l, uint64_t account, uint64_t log_id);
bool late_names_spool(struct late *l, uint64_t spool);   /* also true when it is not known (a failure) */

/* ---- for the administrator */
struct late_counts {
	uint64_t waiting, held, elsewhere;     /* recipients; elsewhere: of waiting, those on other servers */
	int64_t  oldest;                       /* received, seconds since 1970; 0: none */
	int64_t  next_due;                     /* LATE_NEVER: none */
};
enum err late_count(struct late *l, struct late_counts *out) MUST_CHECK;

/* Messages behind (log_id, seq) in the order of (seq, log_id), at most max, damaged ones, too (is_damaged); begin with 0, 0. */
enum err late_list(struct late *l, uint64_t log_id, uint64_t seq, size_t max, struct arena *a,
                   struct late_message **out, size_t *n) MUST_CHECK;
/* Rows of one message from an index on, at most max, without the finished ones. */
enum err late_rows(struct late *l, uint64_t log_id, uint64_t seq, uint16_t from, size_t max, struct arena *a,
                   struct late_row **out, size_t *n) MUST_CHECK;
/* The first row, not a finished one, whose address contains text (ASCII letters in either case; empty: any). ERR_NOTFOUND: none. */
enum err late_row_with(struct late *l, uint64_t log_id, uint64_t seq, struct str text, struct arena *a, struct late_row *out) MUST_CHECK;
struct late_summary { uint32_t waiting, held; int64_t next_due; };  /* of a message; LATE_NEVER: nothing is due */
enum err late_summarise(struct late *l, uint64_t log_id, uint64_t seq, struct late_summary *out) MUST_CHECK;
/* By the name people see (queue_name_parse). ERR_NOTFOUND. */
enum err late_find_name(struct late *l, uint32_t log_id_high, uint64_t seq, uint64_t *log_id) MUST_CHECK;

enum late_order {
	LATE_RETRY = 1,     /* waiting rows are due now, but those that wait for their release, or for a destination that is paused */
	LATE_HOLD,          /* waiting rows are held */
	LATE_RELEASE,       /* held rows are waiting again, due now; of a message that is named also what waits for its release */
	LATE_REMOVE,        /* finished, without a trace for the sender: the administrator decided */
};
/* Does it to all recipients of a message, or (recipient ≥ 0) to one; log_id 0: of all messages (not REMOVE:
 * ERR_INVALID). *changed: how many. */
enum err late_order(struct late *l, enum late_order order, uint64_t log_id, uint64_t seq, int recipient, int64_t now,
                    uint64_t *changed) MUST_CHECK;

/* ---- destinations */
/* From now on the routes of this look-up (which is shared: lookup_share()) say where rows lead. *changed: they are others than the rows were
 * written by; those that lead elsewhere say so now, and are due. */
enum err late_use_lookup(struct late *l, const struct lookup *lookup, bool *changed) MUST_CHECK;
/* What is parked is due. */
enum err late_unpark(struct late *l) MUST_CHECK;
/* Where a message still waits to go, each once, at most max. */
enum err late_list_destinations(struct late *l, uint64_t log_id, uint64_t seq, size_t max, struct arena *a, struct str **out, size_t *n) MUST_CHECK;
struct late_destination {
	struct str name;
	uint64_t   waiting;                    /* recipients */
	int64_t    next_due;                   /* LATE_NEVER: all are parked */
};
/* Those with most waiting recipients first, at most max. */
enum err late_destinations(struct late *l, size_t max, struct arena *a, struct late_destination **out, size_t *n) MUST_CHECK;
/* Paused by the administrator: durable when it returns. */
enum err late_pause(struct late *l, struct str destination, bool is_paused) MUST_CHECK;
enum err late_list_paused(struct late *l, struct arena *a, struct str **out, size_t *n) MUST_CHECK;
#endif
