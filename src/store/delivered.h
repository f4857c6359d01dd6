/* store/delivered.h -- for deliver/: messages that have a name in the queue's log, so that a replay delivers none
 * twice. */
#ifndef FACTEUR_STORE_DELIVERED_H
#define FACTEUR_STORE_DELIVERED_H
#include "store/view.h"

struct delivery_key {
	uint64_t log_id, seq;     /* log_id is never 0 */
	uint16_t recipient;
};

/* Before the first append_message(): deliveries, not a client's APPEND. A delivery that begins while the account is below its quota goes
 * in whole, though the account may be over it then: it has an owner who was promised it, and only an account that is full is
 * known to be full at port 25, where the next sender is told. */
void append_for_delivery(struct append *ap);
/* The message that append_end() just finished is this delivery; noted in the same transaction. */
void append_delivered(struct append *ap, const struct delivery_key *key);
/* Every delivery of this log up to seq is answered for good, and of all other logs if is_only_log: their names are forgotten in the same
 * transaction. */
void append_forget_delivered(struct append *ap, uint64_t log_id, uint64_t seq, bool is_only_log);
/* Like append_commit(), but durable and visible only after the next sync (view_publish()), unless a session is there:
 * then it is synced at once. */
enum err append_commit_later(struct append **ap, struct arena *a, struct appended **out, size_t *n) MUST_CHECK;

/* Was it delivered? *email: as which email. ERR_NOTFOUND: no. */
enum err delivered_find(struct view *v, const struct delivery_key *key, uint32_t *email) MUST_CHECK;
/* After an unclean stop: are the bytes of this email whole? ERR_CORRUPT: no (torn). ERR_NOTFOUND: expunged and
 * forgotten. */
enum err delivered_check(struct view *v, uint32_t email) MUST_CHECK;
/* Writes a torn body again, from the same bytes (in pieces). ERR_CORRUPT: they are not as many as they were. Synced. */
enum err delivered_repair(struct view *v, uint32_t email, const struct str *pieces, size_t n) MUST_CHECK;
#endif
