/* queue/report.h -- what a sender is to be told about his message: recipients that failed, wait, or were reached (RFC 3461).
 * The queue collects the facts and sees to it that each is told exactly once; how it is said is deliver/bounce.h, asked through
 * queue_host.report.
 *
 * Who is told, and what: report_is_due(). The way of a report, and why it is sent once, stands in report.c. */
#ifndef FACTEUR_QUEUE_REPORT_H
#define FACTEUR_QUEUE_REPORT_H
#include "queue/add.h"
#include "queue/envelope.h"

enum {
	REPORT_RECIPIENTS_MAX = 100,       /* in one report; more of them make more reports */
	REPORT_ORIGINAL_MAX = 256 << 10,   /* bytes of the message that may go back with RET=FULL; a longer one: its header */
	REPORT_HEADER_MAX = 64 << 10,      /* bytes of its header */
};

enum report_action {     /* kept in queue.db: append only */
	REPORT_NOTHING = 0,
	REPORT_DELAYED,      /* not yet: it will be tried again */
	REPORT_FAILED,       /* never: somebody said so for good */
	REPORT_EXPIRED,      /* never: it was tried for the whole lifetime */
	REPORT_DELIVERED,    /* it is in the mailbox; told only when NOTIFY=SUCCESS asked for it */
	REPORT_RELAYED,      /* a server that sends no such reports has taken it; the same */
	REPORT_ACTIONS
};

struct report_recipient {
	enum report_action action;
	struct str address;    /* the final recipient: where it was to go at last */
	struct str orcpt;      /* "rfc822;bob@example.org"; empty: not given */
	struct str status;     /* "5.1.1" (RFC 3463); empty: not known */
	struct str text;       /* host empty: a sentence of ours; else that host's reply word for word, lines parted by LF */
	struct str host;       /* "mx1.example.net [192.0.2.7]": who said it; empty: this server */
	int64_t    tried;      /* seconds since 1970: the last try; 0: not known */
};

struct report {
	struct queue_id        message;    /* which this is about */
	const struct envelope *envelope;   /* of it; n == 0 */
	uint64_t   size;                   /* bytes of the message */
	struct str original;               /* its first bytes: the header, or all of it: size bytes */
	int64_t    now;                    /* seconds since 1970 */
	int64_t    gives_up;               /* REPORT_DELAYED: when it will have failed */
	size_t     n;
	const struct report_recipient *recipients;
};

/* Shall the sender hear of this? Never for "<>", never back to an address that nobody proved (a stranger's envelope may name
 * anyone: back-scatter), else as NOTIFY says; not given: failures and delays (RFC 3461 §4.1). notify: of the recipient. */
bool report_is_due(const struct envelope *e, uint8_t notify, enum report_action action);
/* The same for who has got it: in a mailbox (account), or by another server. peer_tells, has_passed_by: queue/fate.h. */
bool report_of_done_is_due(const struct envelope *e, uint64_t account, uint8_t notify, bool peer_tells, bool has_passed_by);
#endif
