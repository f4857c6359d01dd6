/* queue/sync_work.h -- what a round of sync.c is to settle, and how it is written into queue.db (sync_work.c). Internal to sync*.c. */
#ifndef FACTEUR_QUEUE_SYNC_WORK_H
#define FACTEUR_QUEUE_SYNC_WORK_H
#include "queue/sync.h"

struct tried {  /* a struct sync_result, kept */
	enum delivery_outcome outcome;     /* 0: not tried, elsewhere */
	bool                  peer_tells, has_passed_by;
	int64_t               at;          /* seconds since 1970 */
	char                  status[LATE_STATUS_MAX + 1];
	struct buf            reason, host;
};

struct move {
	struct due  *due;
	struct tried tried;
	int64_t      next;                 /* when not tried: when it shall be */
};

struct result {  /* of a late delivery */
	struct late_key key;
	uint64_t        account;           /* that was asked; 0: nobody here */
	uint8_t         losses;
	struct tried    tried;
	int64_t         next;              /* when not tried: when it shall be */
};

struct delivered {
	struct queued *message;
	uint64_t       account;
	uint16_t       recipient;
	uint8_t        losses;
};

struct work {
	struct move   *moves;
	size_t         n_moves, moves_cap;
	struct delivered *delivered;
	size_t         n_delivered, delivered_cap;
	struct result *results;
	size_t         n_results, results_cap;
	struct map     dirty;              /* account -> enum proof */
	uint64_t       bytes;
};

static inline bool is_done(const struct tried *t) { return t->outcome == DELIVERY_DONE; }

/* Both are the worker's. First what still waits: moves and results that are not done, and how far the log is. Sorts the moves: so many in front are
 * not done. Errors of late.h. */
enum err work_write_waiting(struct work *w, const struct sync_config *c, struct jumps *jumps, size_t *not_done) MUST_CHECK;
/* What is left of what was delivered, since it is durable. */
enum err work_write_done(const struct work *w, const struct sync_config *c, struct jumps *jumps, size_t not_done) MUST_CHECK;
#endif
