/* What a replay needs to know before it looks at messages: who has got his copy already. LOG_DONE stands behind its message, often far
 * behind, so these records are read first. Most name recipients of messages above W, which are not sent again. Some name rows of
 * queue.db, sent to in the last seconds before the end: those are finished here. Where the sender wants to hear of it, and what should have
 * said so did not come to the disk, it is said now; the words of the other server are lost with the process. */
#include "base/clock.h"
#include "queue/fate.h"
#include "queue/queue_private.h"
#include "queue/record.h"

enum { KEY_BYTES = 18, CHANGES = 1000, TAKEN = 4 };

static const char taken[TAKEN];   /* what q->sent points to: RECORD_* as an index */

static struct str key_bytes(const struct late_key *key, char out[KEY_BYTES])
{
	memcpy(out, &key->log_id, 8);
	memcpy(out + 8, &key->seq, 8);
	memcpy(out + 16, &key->recipient, 2);
	return str_make(out, KEY_BYTES);
}

static struct late_key key_of(struct str bytes)
{
	struct late_key key;

	memcpy(&key.log_id, bytes.p, 8);
	memcpy(&key.seq, bytes.p + 8, 8);
	memcpy(&key.recipient, bytes.p + 16, 2);
	return key;
}

/* What becomes of a row that waits still. One that is further, finished or about to be told of, knows: false. */
static enum err change_of(struct queue *q, const struct late_key *key, const struct sync_result *r, struct arena *a, bool *waits,
                          struct late_change *out)
{
	struct late_row row;
	struct late_message m;
	enum err e = late_find(q->late, key, a, &row);

	*waits = e == ERR_OK && (row.state == LATE_WAITING || row.state == LATE_HELD);
	if (!*waits)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	*out = (struct late_change){ .key = *key, .state = LATE_FINISHED };
	e = late_message_find(q->late, key->log_id, key->seq, a, &m);
	if (e == ERR_OK && report_of_done_is_due(&m.envelope, 0, row.recipient.notify, r->peer_tells, r->has_passed_by))
		*out = (struct late_change){ .key = *key, .state = LATE_REPORT, .due = clock_wall_s() + FATE_GATHER_S, .notice = REPORT_RELAYED,
			                         .tries = row.tries + 1, .tried = clock_wall_s(), .status = r->status, .reason = r->reason, .host = r->host };
	return e == ERR_CORRUPT || e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err on_done(void *context, UNUSED struct log_place place, struct str payload)
{
	struct queue *q = context;
	struct record_done d;
	char bytes[KEY_BYTES];

	if (!record_done_decode(payload, &d))
		return ERR_OK;
	for (size_t i = 0; i < d.n; i++) {
		struct late_key key = { d.log_id, d.seq, d.recipients[i] };
		map_set(&q->sent, key_bytes(&key, bytes), (void *)&taken[d.taken[i] & (TAKEN - 1)]);
	}
	return ERR_OK;
}

enum err replay_read_sent(struct queue *q) { return log_replay(q->log, LOG_DONE, on_done, q); }

static struct sync_result result_of(const char *mark)
{
	int what = (int)(mark - taken);

	return (struct sync_result){ .outcome = DELIVERY_DONE, .status = STR("2.0.0"), .reason = STR("The other server has taken it."), .host = STR(""),
		                         .peer_tells = what & RECORD_PEER_TELLS, .has_passed_by = what & RECORD_PASSED_BY };
}

bool replay_was_sent(const struct queue *q, const struct late_key *key, struct sync_result *out)
{
	char bytes[KEY_BYTES];
	const char *mark = map_get(&q->sent, key_bytes(key, bytes));

	if (mark != NULL)
		*out = result_of(mark);
	return mark != NULL;
}

enum err replay_finish_sent(struct queue *q)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_change changes[CHANGES];
	enum err e = ERR_OK;
	size_t at = 0, n = 0;
	struct str bytes;
	void *mark;

	while (e == ERR_OK && map_next(&q->sent, &at, &bytes, &mark)) {
		const struct late_key key = key_of(bytes);
		const struct sync_result result = result_of(mark);
		bool waits;
		e = change_of(q, &key, &result, &a, &waits, &changes[n]);
		arena_reset(&a);
		n += waits;
		if (e != ERR_OK || n < CHANGES)
			continue;
		e = late_change(q->late, changes, n);
		n = 0;
	}
	if (e == ERR_OK && n > 0)
		e = late_change(q->late, changes, n);
	map_free(&q->sent);
	return e;
}
