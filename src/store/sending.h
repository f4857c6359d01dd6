/* store/sending.h -- what an account has sent lately: how much, to how many it never wrote to before, how much of it was refused, and from
 * which networks. submit/watch.h tells a stolen password from a busy day by it.
 *
 * Kept in account.db for 60 days, in steps of ten minutes, because a cell ends soon after its last session. Survives a killed cell at
 * once, a power cut about as flags do. Any thread. */
#ifndef FACTEUR_STORE_SENDING_H
#define FACTEUR_STORE_SENDING_H
#include "store/view.h"

enum {
	SENDING_NETWORK_MAX = 64,
	SENDING_BUSY = 50,           /* recipients in an hour, below which nobody's habits are looked up */
	SENDING_KNOWN_MAX = 20000,   /* recipients remembered: those written to last */
};

/* A recipient, as it is remembered. Upper and lower case are the same. */
uint64_t sending_recipient(struct str address);

struct sending {
	struct str      network;     /* "192.0.0.0/16", at most SENDING_NETWORK_MAX */
	const uint64_t *recipients;  /* elsewhere, sending_recipient() */
	size_t          n;
};
/* What a message takes: its recipients of the account's day (view.h, ALLOWANCE_RECIPIENTS), those elsewhere of its pace, too. */
struct sending_cost {
	size_t         recipients;         /* all of them */
	uint64_t       per_day, per_hour;  /* 1 to 10,000,000; the first per_hour go at once, what is more waits, so that it goes evenly */
	struct sending elsewhere;          /* n may be 0 */
};
/* A message is on its way into the queue: taken and remembered in one transaction, or nothing of it.
 *   ERR_OK     *wait_s: seconds that it waits, for its pace, before it leaves; 0 as a rule
 *   ERR_QUOTA  so much of the day is free only after *wait_s (more than a day: never)
 *   ERR_LIMIT  it would have to wait for more than a day: *wait_s */
enum err view_sending_spend(struct view *v, const struct sending_cost *c, int64_t now_s, uint64_t *wait_s) MUST_CHECK;
/* It was not taken after all; who was a stranger is none any more. is_remembered: but it was sent, as far as habits go. */
enum err view_sending_return(struct view *v, const struct sending_cost *c, bool is_remembered, int64_t now_s) MUST_CHECK;
/* So many recipients were refused for good by other servers. */
enum err view_sending_refused(struct view *v, uint64_t n, int64_t now_s) MUST_CHECK;
/* One was refused here, at RCPT: nobody has the address. The same one counts once a day (*counts): a machine that reports to a colleague who
 * has left tries all day, and is no thief. */
enum err view_sending_unknown(struct view *v, uint64_t recipient, int64_t now_s, bool *counts) MUST_CHECK;

enum sending_window { SENDING_HOUR, SENDING_DAY, SENDING_WINDOWS };
struct sending_counts {
	uint64_t recipients;         /* elsewhere */
	uint64_t strangers;          /* … of them never written to before */
	uint64_t refused;
	uint64_t networks;           /* different ones */
	uint64_t from_new_networks;  /* of the HOUR, recipients, from networks that nothing came from until a day ago; 0 when not busy */
	uint64_t held_to;            /* not from here: recipients an hour to which it is slowed down just now (submit/sending.c); 0: it is not */
};
struct sending_facts {
	struct sending_counts in[SENDING_WINDOWS];
	uint64_t usual_hour;         /* recipients in the busiest hour of the 60 days before the last one; 0 when not busy */
	uint64_t days;               /* of those, on which something was sent */
};
enum err view_sending_facts(struct view *v, int64_t now_s, struct sending_facts *out) MUST_CHECK;
/* What looked bad until now does not count any more: the administrator has looked at it. Habits stay. */
enum err view_sending_forgive(struct view *v, int64_t now_s) MUST_CHECK;
#endif
