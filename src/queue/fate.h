/* queue/fate.h -- what becomes of a recipient after a try: done, tried again, told to the sender, or kept for the administrator. Pure. */
#ifndef FACTEUR_QUEUE_FATE_H
#define FACTEUR_QUEUE_FATE_H
#include "queue/delivery.h"
#include "queue/late.h"

enum { FATE_GATHER_S = 2 };   /* a report waits so long for recipients of the same message that fail at the same time */

struct fate_facts {
	const struct envelope *envelope;       /* the head is enough */
	uint64_t account;                      /* 0: elsewhere */
	uint8_t  notify;
	enum delivery_outcome outcome;
	bool     is_over;                      /* DEFERRED, and its lifetime has passed */
	bool     has_told;                     /* that it takes long */
	bool     peer_tells;                   /* DONE elsewhere, by a server that took over what NOTIFY asks (RFC 3461 §5.2.2) */
	bool     has_passed_by;                /* DONE elsewhere, by a server that watches the time of DELIVERBY */
	int64_t  now, due;                     /* due: the next try */
	int64_t  age_s;                        /* how long it has been under way */
	int64_t  delay_notice_s;               /* DEFERRED for so long: the sender is told; 0: never by itself */
};
struct fate {
	enum late_state    state;              /* WAITING, HELD, FINISHED, REPORT */
	int64_t            due;
	enum report_action notice;
};

/* A failure that nobody can be told of ends here when it is elsewhere; for a mailbox of ours the message is held until somebody looks.
 * Who asked for silence (NOTIFY) gets it. */
void fate_of(const struct fate_facts *f, struct fate *out);
#endif
