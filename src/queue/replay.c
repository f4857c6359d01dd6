/* What a replay needs to know before it looks at messages: who has got his copy already. LOG_DONE stands behind its message, often far
 * behind, so these records are read first. Most name recipients of messages above W, which are then left alone. Some name rows of
 * queue.db, sent to in the last seconds before the end: those are finished here. */
#include "queue/queue_private.h"
#include "queue/record.h"

enum { KEY_BYTES = 18, CHANGES = 1000 };

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

/* A row that waits still. One that is further, finished or about to be told of, knows. */
static enum err is_waiting(struct queue *q, const struct late_key *key, struct arena *a, bool *waits)
{
	struct late_row row;
	enum err e = late_find(q->late, key, a, &row);

	*waits = e == ERR_OK && (row.state == LATE_WAITING || row.state == LATE_HELD);
	arena_reset(a);
	return e == ERR_NOTFOUND ? ERR_OK : e;
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
		map_set(&q->sent, key_bytes(&key, bytes), q);
	}
	return ERR_OK;
}

enum err replay_read_sent(struct queue *q) { return log_replay(q->log, LOG_DONE, on_done, q); }

bool replay_was_sent(const struct queue *q, const struct late_key *key)
{
	char bytes[KEY_BYTES];

	return map_get(&q->sent, key_bytes(key, bytes)) != NULL;
}

enum err replay_finish_sent(struct queue *q)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_change changes[CHANGES];
	enum err e = ERR_OK;
	size_t at = 0, n = 0;
	struct str bytes;
	void *ignored;

	while (e == ERR_OK && map_next(&q->sent, &at, &bytes, &ignored)) {
		struct late_key key = key_of(bytes);
		bool waits;
		e = is_waiting(q, &key, &a, &waits);
		if (waits)
			changes[n++] = (struct late_change){ .key = key, .state = LATE_FINISHED };
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
