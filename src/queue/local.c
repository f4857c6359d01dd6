/* What goes to mailboxes of this server: what dispatch asks for (bytes of what is due), what its answers become, and rows of queue.db
 * whose time has come. What goes elsewhere is in parcels.c.
 *
 * A late row that is being tried stands in late_out, and is not listed again before its result is in queue.db. */
#include "base/clock.h"
#include "base/log.h"
#include "queue/parcels.h"
#include "queue/queue_private.h"
#include "text/text.h"

enum {
	LATE_BATCH = 1000, LATE_OUT_MAX = LATE_DUE_MAX,
	LATE_LOOK_S = 60,             /* queue.db is asked at least so often */
};

/* ----------------------------------------------------------------------------------------------- what dispatch asks */

static void on_wake(void *context, uint64_t account)
{
	struct queue *q = context;

	q->host.wake(q->host.context, account);
}

static void on_end(void *context, uint64_t account)
{
	struct queue *q = context;

	q->host.end(q->host.context, account);
}

static void fill_delivery(struct delivery *out, const struct envelope *e, const struct envelope_recipient *r)
{
	out->parent_log_id = e->parent.log_id;
	out->parent_seq = e->parent.seq;
	out->parent_account = e->parent.account;
	out->parent_ordinal = e->parent.ordinal;
	out->sender = e->sender;
	out->original_recipient = r->address;
	out->detail = r->detail;
	out->received = envelope_arrives(e, clock_wall_s());
	out->smtputf8 = e->smtputf8;
}

static enum err load_logged(struct queue *q, const struct due *d, struct delivery *out)
{
	const struct content *c;

	TRY(content_get(q->contents, q->log, d->message->place, &c));
	if (d->recipient >= c->envelope.n)
		return ERR_CORRUPT;
	fill_delivery(out, &c->envelope, &c->envelope.recipients[d->recipient]);
	out->size = c->size;
	out->crc = c->crc;
	out->body = c->body;
	return c->body.p == NULL ? spool_read(q->spool, c->spool, &out->fd) : ERR_OK;
}

static enum err load_late(struct queue *q, const struct due *d, struct arena *a, struct delivery *out)
{
	CLEANUP(buf_free) struct buf bytes = BUF(LATE_SHARED_MAX);
	struct late_key key = { d->message->log_id, d->message->seq, d->recipient };
	struct late_message m;
	struct late_row row;

	TRY(late_find(q->late, &key, a, &row));
	TRY(late_message_find(q->late, key.log_id, key.seq, a, &m));
	TRY(late_body(q->late, key.log_id, key.seq, &bytes, &out->fd));
	fill_delivery(out, &m.envelope, &row.recipient);
	out->size = m.size;
	out->crc = m.crc;
	out->body = out->fd >= 0 ? STR_NONE : str_copy(a, buf_str(&bytes));
	return ERR_OK;
}

static enum err on_load(void *context, const struct due *d, struct arena *a, struct delivery *out)
{
	struct queue *q = context;

	out->log_id = d->message->log_id;
	out->seq = d->message->seq;
	out->recipient = d->recipient;
	return queued_is_late(d->message) ? load_late(q, d, a, out) : load_logged(q, d, out);
}

static void on_loaded_done(void *context) { content_trim(((struct queue *)context)->contents); }

static struct str late_key_bytes(const struct late_key *key, char out[18])
{
	memcpy(out, &key->log_id, 8);
	memcpy(out + 8, &key->seq, 8);
	memcpy(out + 16, &key->recipient, 2);
	return str_make(out, 18);
}

/* One line for each try, under the name that the sender was told: whoever looks for a message finds its whole way. */
static void log_try(const struct late_key *key, uint64_t account, const struct delivery_result *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str name = queue_name((struct queue_id){ key->log_id, key->seq }, &a);

	if (r->outcome == DELIVERY_DONE)
		log_info("delivered queue=" STR_FMT " recipient=%u account=%llu", STR_ARG(name), key->recipient,
				 (unsigned long long)account);
	else
		log_warn("%s queue=" STR_FMT " recipient=%u account=%llu status=" STR_FMT " reason=" STR_FMT,
				 r->outcome == DELIVERY_REFUSED ? "refused by the mailbox" : "not delivered, tried again later",
				 STR_ARG(name), key->recipient, (unsigned long long)account, STR_ARG(r->status), STR_ARG(r->reason));
}

/* An account that has gone since its mail was accepted will not come back while that is tried again. */
static struct delivery_result unless_gone(const struct queue *q, uint64_t account, const struct delivery_result *r)
{
	struct delivery_result gone = *r;
	struct lookup_account found;

	if (r->outcome != DELIVERY_DEFERRED || q->lookup == NULL || lookup_account(q->lookup, account, &found))
		return *r;
	gone.outcome = DELIVERY_REFUSED;
	gone.status = STR("5.1.1");
	gone.reason = str_of(text_get(LANG_EN, TEXT_REASON_CLOSED));
	return gone;
}

/* When a mailbox that does not take it now is asked again, as late_change() will decide; 0: never by itself. */
static int64_t next_try(const struct queue *q, const struct late_key *key, bool is_late)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_past past = { false, clock_wall_s(), 0, 0 };
	struct late_next next;
	struct late_row row;

	if (is_late && late_find(q->late, key, &a, &row) == ERR_OK)
		past = (struct late_past){ false, jumps_moved(&q->jumps, row.added), row.tries, row.asked };
	late_next_of(&past, clock_wall_s(), q->config.lifetime_s, &next);
	return next.is_over ? 0 : next.due;
}

static void on_answered(void *context, struct due *d, const struct delivery_result *answer)
{
	struct queue *q = context;
	uint64_t account = d->target->account;
	struct delivery_result now = unless_gone(q, account, answer), *r = &now;
	bool is_late = queued_is_late(d->message);
	struct late_key key = { d->message->log_id, d->message->seq, d->recipient };
	struct sync_result result = { .outcome = r->outcome, .status = r->status, .reason = r->reason };

	if (r->outcome == DELIVERY_DONE && !r->is_synced)
		sync_dirty(q->sync, account, d->message->place.length);
	if (r->outcome == DELIVERY_DONE && !r->is_synced && d->may_be_duplicate)  /* written perhaps before this process looked at the disk */
		sync_doubt(q->sync, account);
	log_try(&key, account, r);
	note_result(q, &key, account, r, r->outcome == DELIVERY_DEFERRED ? next_try(q, &key, is_late) : 0);
	if (is_late) {
		sync_late_here(q->sync, d, &result);
	} else if (r->outcome == DELIVERY_DONE && !d->tells_success && !r->is_synced) {
		sync_delivered(q->sync, d);
	} else if (r->outcome == DELIVERY_DONE && !d->tells_success) {
		backlog_settle(&q->backlog, d);
	} else {
		sync_move(q->sync, d, &result);
	}
}

static uint64_t on_prune(void *context, uint64_t account, bool *is_only_log)
{
	struct queue *q = context;
	uint64_t oldest;

	*is_only_log = !late_has_other_log(q->late, account, log_id(q->log));
	if (late_oldest_seq(q->late, account, log_id(q->log), &oldest) != ERR_OK)
		return 0;
	return oldest <= q->w ? oldest - 1 : q->w;
}

static bool on_is_unproved(void *context, uint64_t account) { return sync_is_unproved(((struct queue *)context)->sync, account); }

struct dispatch_host local_host(struct queue *q)
{
	return (struct dispatch_host){ q, on_wake, on_end, on_load, on_loaded_done, on_answered, on_prune, on_is_unproved };
}

/* ------------------------------------------------------------------------------------------- rows whose time has come */

/* Rows that fell due go through the backlog like everything else. */
static void send_late(struct queue *q, const struct late_due *rows, size_t n)
{
	char bytes[18];

	for (size_t i = 0; i < n && q->late_out.n < LATE_OUT_MAX; i++) {
		struct str key = late_key_bytes(&rows[i].key, bytes);
		if (map_get(&q->late_out, key) != NULL)
			continue;
		struct queued *m = backlog_late(&q->backlog, rows[i].key.log_id, rows[i].key.seq, q->now_ms);
		backlog_due(&q->backlog, m, rows[i].account, rows[i].key.recipient, true);
		dispatch_poke(q->dispatch, rows[i].account);
		map_set(&q->late_out, key, q);
	}
}

void local_try_late(struct queue *q, uint64_t account)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_due *rows;
	size_t n;

	if (late_list_account(q->late, account, clock_wall_s(), LATE_BATCH, &a, &rows, &n) == ERR_OK)
		send_late(q, rows, n);
}

void local_tick(struct queue *q)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	int64_t now = clock_wall_s();
	struct late_due *rows;
	size_t n;

	if (now < q->late_due || q->late_out.n >= LATE_OUT_MAX)
		return;
	if (late_list_due(q->late, false, NULL, now, q->late_out.n + LATE_BATCH, &a, &rows, &n) == ERR_OK)
		send_late(q, rows, n);
	/* those that are out are still due; the next look is soon while there are any */
	if (late_next_due(q->late, &q->late_due) != ERR_OK || q->late_due > now + LATE_LOOK_S)
		q->late_due = now + LATE_LOOK_S;
}

void local_finished(struct queue *q, const struct late_key *key)
{
	char bytes[18];

	map_set(&q->late_out, late_key_bytes(key, bytes), NULL);
}

void queue_give_up(struct queue *q, const struct late_row *row, const struct envelope *e, const struct sync_result *result)
{
	const struct delivery_result here = { .outcome = result->outcome, .status = result->status, .reason = result->reason };
	char bytes[18];

	if (row->recipient.account == 0) {
		parcels_give_up(q->parcels, row, e, result);
		return;
	}
	if (map_get(&q->late_out, late_key_bytes(&row->key, bytes)) != NULL)
		return;
	map_set(&q->late_out, late_key_bytes(&row->key, bytes), q);
	note_result(q, &row->key, row->recipient.account, &here, 0);
	sync_late(q->sync, &row->key, result);
}
