/* The queue as a whole: who calls whom.
 *
 *   mx, cells ──ADD──► add.c ──► writer (the log) ──► backlog ──► dispatch ──DELIVER──► cells
 *                                                                    │ results
 *                       queue.db (late) ◄── sync (rounds, worker) ◄──┘      W ──► writer
 *
 * Order matters in three places. A message goes to the backlog only when its record is durable. A late row that is
 * being tried (late_out) is not listed again before its result is in queue.db. What W has passed is let go (spool
 * files, parents, names in accounts) only when the record that says so is durable: `w` here is what the log has, never
 * what was asked for. */
#include "queue/queue.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/command.h"
#include "queue/queue_private.h"
#include "queue/parcels.h"
#include "text/text.h"

enum {
	TICK_MS = 1000, SWEEP_MS = 60000,
	W_ALONE_AFTER_MS = 300000,    /* nothing has come for so long: W is written without company */
	HALF_FULL_PERCENT = 50, DEFER_MAX = 1000, LATE_BATCH = 1000, LATE_OUT_MAX = LATE_DUE_MAX,
	ROUND_SEGMENTS = 2,           /* a small ring is synced after so many segments */
	FAILED_PATIENCE_MS = 3000,    /* of a failed log: those who wait get their answer first */
	STOP_PATIENCE_MS = 5000,      /* for batches that are out … */
	STOP_SENDS_MS = 15000,        /* … and for SENDs: more than SENDS_END_MS, and less than master waits */
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
		sync_delivered(q->sync, account, d->message->place.length);
	log_try(&key, account, r);
	note_result(q, &key, account, r, r->outcome == DELIVERY_DEFERRED ? next_try(q, &key, is_late) : 0);
	if (is_late) {
		sync_late(q->sync, &key, &result);
		backlog_settle(&q->backlog, d);
	} else if (r->outcome == DELIVERY_DONE && !d->tells_success) {
		backlog_settle(&q->backlog, d);
	} else {
		sync_move(q->sync, d, &result);
	}
}

static uint64_t on_prune(void *context, uint64_t account)
{
	struct queue *q = context;
	uint64_t oldest;

	if (late_oldest_seq(q->late, account, log_id(q->log), &oldest) != ERR_OK)
		return 0;
	return oldest <= q->w ? oldest - 1 : q->w;
}

/* ------------------------------------------------------------------------------------------------ what sync reports */

static struct channel *on_channel(void *context, uint64_t account)
{
	return dispatch_channel(((struct queue *)context)->dispatch, account);
}

static void on_settled(void *context, struct due *d)
{
	struct queue *q = context;

	parcels_settled(q->parcels, d);
	backlog_settle(&q->backlog, d);
	q->late_due = 0;  /* the new row's next try may be the first */
}

static void on_finished(void *context, const struct late_key *key)
{
	struct queue *q = context;
	char bytes[18];

	map_set(&q->late_out, late_key_bytes(key, bytes), NULL);
	parcels_finished(q->parcels, key);
	q->late_due = 0;
}

static void on_passed(void *context, uint64_t w)
{
	struct queue *q = context;

	/* a ring that fills up needs its segments now; else the next message takes W along */
	writer_set_w(q->writer, w, q->stops || log_fill_percent(q->log) >= HALF_FULL_PERCENT);
}

static enum err on_sync_accounts(void *context)
{
	struct queue *q = context;

	return q->host.sync_accounts(q->host.context);
}

static void on_failed(void *context) { ((struct queue *)context)->has_failed = true; }

/* ----------------------------------------------------------------------------------------------------- the askers */

static struct asker *asker_new(struct queue *q, uint64_t account)
{
	struct asker *a = MEM_NEW(struct asker);

	*a = (struct asker){ .queue = q, .number = ++q->next_asker, .account = account };
	map_set_u64(&q->askers, a->number, a);
	return a;
}

static void asker_free(struct asker *a)
{
	struct queue *q = a->queue;

	map_set_u64(&q->askers, a->number, NULL);
	spool_owner_gone(q->spool, a->number);
	q->host.forget(q->host.context, a->ch);
	channel_free(a->ch);
	mem_free(a);
}

static void try_late_now(struct queue *q, uint64_t account);

/* The cell starts after an unclean stop. What earlier cells may have half delivered is sent again before it serves
 * anybody; that is all of the backlog that may be duplicate, and what is late for this account. */
static void on_replayed(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct asker *a = context;

	try_late_now(a->queue, a->account);
	dispatch_replayed(a->queue->dispatch, a->account, m->call);
}

static void on_cell_synced(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct asker *a = context;

	sync_closed(a->queue->sync, a->account);
}

static const struct channel_handler mx_handlers[] = { { REQUEST_ADD, add_on_add },
													  { REQUEST_SPOOL, add_on_spool },
													  { 0 } };
static const struct channel_handler cell_handlers[] = {
	{ REQUEST_ADD, add_on_add }, { REQUEST_SPOOL, add_on_spool }, { REQUEST_CELL_REPLAYED, on_replayed },
	{ NOTICE_CELL_SYNCED, on_cell_synced }, { 0 },
};

static void on_mx_closed(void *context, UNUSED struct channel *ch)
{
	struct asker *a = context;

	a->queue->mx = NULL;
	asker_free(a);
}

void queue_mx(struct queue *q, int fd)
{
	if (q->mx != NULL)
		asker_free(q->mx);
	q->mx = asker_new(q, 0);
	q->mx->ch = channel_new(fd, ROLE_QUEUE, ROLE_MX, mx_handlers, q->mx, on_mx_closed);
	q->host.watch(q->host.context, q->mx->ch);
}

/* Who asks is named by its number alone, so that an answer that comes late does not meet somebody else. */
void queue_on_control_add(struct queue *q, struct channel *ch, struct message *m)
{
	if (q->control == NULL)
		q->control = asker_new(q, 0);
	q->control->ch = ch;
	add_on_add(q->control, ch, m);
}

/* The asks of the channel end first (channel_free), so that what was out waits again. */
static void lose_cell(struct asker *a)
{
	struct queue *q = a->queue;
	uint64_t account = a->account;

	map_set_u64(&q->cells, account, NULL);
	asker_free(a);
	dispatch_asleep(q->dispatch, account);
}

static void on_cell_closed(void *context, UNUSED struct channel *ch) { lose_cell(context); }

void queue_cell(struct queue *q, uint64_t account, int fd)
{
	struct asker *a = map_get_u64(&q->cells, account);

	if (a != NULL)
		lose_cell(a);
	a = asker_new(q, account);
	a->ch = channel_new(fd, ROLE_QUEUE, ROLE_CELL, cell_handlers, a, on_cell_closed);
	map_set_u64(&q->cells, account, a);
	q->host.watch(q->host.context, a->ch);
	dispatch_awake(q->dispatch, account, a->ch);
}

void queue_net(struct queue *q, int fd) { parcels_net(q->parcels, fd); }
void queue_keys(struct queue *q, int fd) { parcels_keys(q->parcels, fd); }

void queue_cell_ended(struct queue *q, uint64_t account, enum err result)
{
	dispatch_ended(q->dispatch, account, result);
}

void queue_on_command(struct queue *q, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct queue_counters c = { .log_id = log_id(q->log),
								.w = log_w(q->log),
								.last_seq = log_last_seq(q->log),
								.fill_percent = log_fill_percent(q->log),
								.has_failed = q->has_failed || log_has_failed(q->log),
								.is_disk_full = q->is_disk_full,
								.backlog = q->backlog.dues };
	bool has_changed = false;
	enum err e = queue_command_serve(q->late, q->parcels, &c, m->body, &b, &has_changed);

	channel_reply(ch, m->call, e, e == ERR_OK && b.n > 0 ? buf_str(&b) : STR(""), NULL, 0);
	if (!has_changed)
		return;
	note_order(q, m->body);
	q->late_due = 0;
	parcels_look_anew(q->parcels);
}

/* ----------------------------------------------------------------------------------------------------------- late */

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

static void try_late_now(struct queue *q, uint64_t account)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_due *rows;
	size_t n;

	if (late_list_account(q->late, account, clock_wall_s(), LATE_BATCH, &a, &rows, &n) == ERR_OK)
		send_late(q, rows, n);
}

static void tick_late(struct queue *q)
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

/* ----------------------------------------------------------------------------------------------------------- time */

static void look_at_disk(struct queue *q)
{
	uint64_t free_bytes, total;
	bool was_full = q->is_disk_full;

	if (disk_space(q->config.dir, &free_bytes, &total) != ERR_OK)
		return;
	q->is_disk_full = free_bytes < q->config.disk_reserve;
	if (q->is_disk_full && !was_full)
		log_error("the disk is nearly full: no mail is accepted until there is room free_bytes=%llu needed_bytes=%llu",
		          (unsigned long long)free_bytes, (unsigned long long)q->config.disk_reserve);
	else if (was_full && !q->is_disk_full)
		log_info("the disk has room again: mail is accepted free_bytes=%llu", (unsigned long long)free_bytes);
}

/* The ring fills up: what stands in the older half and waits for its account for long goes to queue.db. */
static void defer_old(struct queue *q)
{
	uint64_t last = log_last_seq(q->log);

	if (log_fill_percent(q->log) < HALF_FULL_PERCENT)
		return;
	size_t n = dispatch_defer_old(q->dispatch, q->w + (last - q->w) / 2, q->now_ms - DISPATCH_TIMEOUT_MS, DEFER_MAX);
	if (n > 0)
		log_warn("the queue's log is half full, what cannot be delivered is put aside recipients=%zu", n);
}

static void look_at_w(struct queue *q)
{
	uint64_t w = log_w(q->log);

	if (w == q->w)
		return;
	q->w = w;
	dispatch_set_w(q->dispatch, w);
	spool_passed(q->spool, w, q->late);
}

static void look_at_clock(struct queue *q)
{
	int64_t by_s = jumps_look(&q->jumps);

	if (by_s > 0)
		log_warn("the clock was set ahead: the age of what waits does not count that seconds=%lld", (long long)by_s);
	else if (by_s < 0)
		log_warn("the clock was set back: what waits is tried no later than usual seconds=%lld", (long long)-by_s);
	q->is_set_back |= by_s < 0;
}

static void take_back_times(struct queue *q)
{
	if (!q->is_set_back || late_set_back(q->late, clock_wall_s()) != ERR_OK)
		return;
	q->is_set_back = false;
	q->late_due = 0;
	parcels_look_anew(q->parcels);
}

static void tick(struct queue *q)
{
	if (log_has_failed(q->log) && q->log_failed_ms == 0)
		q->log_failed_ms = q->now_ms;
	look_at_disk(q);
	dispatch_tick(q->dispatch, q->now_ms);
	take_back_times(q);
	parcels_tick(q->parcels, q->now_ms);
	if (!q->stops) {
		times_tick(q);
		tick_late(q);
		defer_old(q);
		reporter_tick(q->reporter);
	}
	if (q->now_ms - q->added_ms >= W_ALONE_AFTER_MS)
		writer_set_w(q->writer, 0, true);
	if (q->now_ms - q->swept_ms >= SWEEP_MS) {
		q->swept_ms = q->now_ms;
		spool_expire(q->spool, q->now_ms);
		parents_passed(&q->parents, log_id(q->log), q->w, q->late);
	}
}

static bool is_out(const struct queue *q)
{
	int64_t since_ms = q->now_ms - q->stops_ms;

	return (dispatch_out(q->dispatch) > 0 && since_ms < STOP_PATIENCE_MS) || (parcels_out(q->parcels) > 0 && since_ms < STOP_SENDS_MS);
}

/* Nothing new is sent; what is out gets its answer or its end; then one last round, and W. */
static void run_stop(struct queue *q)
{
	if (q->adding > 0 || q->unfinished.attempt != NULL || reporter_is_busy(q->reporter) || is_out(q) || sync_is_running(q->sync))
		return;
	if (!q->has_synced_last) {
		q->has_synced_last = true;
		sync_tick(q->sync, q->now_ms, true);
		return;
	}
	writer_set_w(q->writer, 0, true);
	q->is_stopped = writer_is_idle(q->writer);
}

void queue_run(struct queue *q, int64_t now_ms)
{
	q->now_ms = now_ms;
	look_at_clock(q);
	if (now_ms - q->ticked_ms >= TICK_MS) {
		q->ticked_ms = now_ms;
		tick(q);
	}
	unfinished_run(q);
	writer_go(q->writer);
	if (!q->stops) {
		dispatch_run(q->dispatch, now_ms);
		parcels_run(q->parcels, now_ms);
	}
	parcels_tell_sent(q->parcels);
	sync_tick(q->sync, now_ms, false);
	trail_notes_run(q->config.trail, now_ms);
	look_at_w(q);
	if (q->stops)
		run_stop(q);
}

void queue_receive(struct queue *q)
{
	writer_receive(q->writer);
	worker_receive(q->worker);
	content_trim(q->contents);
}

void queue_fds(const struct queue *q, int fds[2])
{
	fds[0] = writer_fd(q->writer);
	fds[1] = worker_fd(q->worker);
}

void queue_stop(struct queue *q)
{
	if (q->stops)
		return;
	q->stops_ms = q->now_ms;
	q->stops = true;
	parcels_stop(q->parcels);
}

int queue_patience_ms(const struct queue *q) { return writer_patience_ms(q->writer); }

bool queue_is_stopped(const struct queue *q) { return q->is_stopped; }

bool queue_needs_restart(const struct queue *q)
{
	return q->log_failed_ms != 0 && q->now_ms - q->log_failed_ms >= FAILED_PATIENCE_MS;
}

/* ---------------------------------------------------------------------------------------------- opening and closing */

bool queue_exists(struct disk_dir *dir) { return disk_exists(dir, "log/ring"); }

void queue_use_lookup(struct queue *q, const struct lookup *l)
{
	bool changed = false;

	q->lookup = l;
	if (late_use_lookup(q->late, l, &changed) != ERR_OK)
		log_error("queue.db could not be told of the routes; what waits there keeps its way for now");
	if (changed)
		parcels_reroute(q->parcels);
}

void queue_configure(struct queue *q, const struct queue_config *config)
{
	q->config.disk_reserve = config->disk_reserve;
	q->config.lifetime_s = config->lifetime_s;
	q->config.delay_notice_s = config->delay_notice_s;
	q->config.holds_elsewhere = config->holds_elsewhere;
	sync_configure(q->sync, config->lifetime_s, config->delay_notice_s);
	parcels_hold(q->parcels, config->holds_elsewhere);
	look_at_disk(q);
}

static enum err on_seen(void *context, struct log_place place, struct str payload)
{
	struct queue *q = context;
	struct content *c = content_new();
	enum err e;

	buf_add(&c->payload, payload);
	e = content_decode(c, place.seq);
	if (e == ERR_OK)
		note_received(q, c, true);
	if (e == ERR_OK)
		e = add_to_backlog(q, place, c, true);
	content_free(c);
	return e == ERR_CORRUPT ? ERR_OK : e;  /* one that nobody can read (logged) holds up no others */
}

static enum err open_files(struct queue *q)
{
	TRY(disk_dir_open_below(q->config.dir, "log", true, &q->log_dir));
	TRY(disk_dir_sync(q->config.dir));
	TRY(log_open(q->log_dir, &q->config.ring, &q->log));
	TRY(late_open(q->config.dir, log_id(q->log), log_w(q->log), &q->late));
	return spool_open(q->config.dir, &q->spool);
}

static void make_parts(struct queue *q)
{
	uint64_t ring_part = (uint64_t)log_record_max(q->log) * 4 * ROUND_SEGMENTS;
	const struct dispatch_host dispatch_host = { q, on_wake, on_end, on_load, on_loaded_done, on_answered, on_prune };
	const struct sync_host sync_host = {
		q, on_channel, on_settled, on_finished, on_passed, on_sync_accounts, on_failed
	};

	q->contents = content_cache_new();
	backlog_init(&q->backlog);
	q->writer = writer_new(q->log);
	q->worker = worker_new();
	q->dispatch = dispatch_new(&q->backlog, log_id(q->log), &dispatch_host);
	const struct sync_config sync_config = {
		q->log, q->late, &q->backlog, q->worker, ring_part < SYNC_BYTES ? ring_part : SYNC_BYTES, q->config.lifetime_s,
		q->config.delay_notice_s, q->config.sync_every_ms > 0 ? q->config.sync_every_ms : SYNC_EVERY_MS, &q->jumps,
	};
	q->sync = sync_new(&sync_config, &sync_host);
	q->reporter = reporter_new(q);
	q->w = log_w(q->log);
	dispatch_set_w(q->dispatch, q->w);
	q->parcels = parcels_new(q);
}

enum err queue_open(const struct queue_config *config, const struct queue_host *host, struct queue **out)
{
	struct queue *q = MEM_NEW(struct queue);
	enum err e;

	q->config = *config;
	q->host = *host;
	q->lookup = config->lookup;
	q->now_ms = q->added_ms = q->swept_ms = clock_mono_ms();
	jumps_begin(&q->jumps);
	q->is_set_back = true;  /* perhaps, since it ran last */
	e = open_files(q);
	if (e == ERR_OK) {
		make_parts(q);
		e = replay_read_sent(q);
	}
	if (e == ERR_OK)
		e = log_replay(q->log, LOG_MESSAGE, on_seen, q);
	if (e == ERR_OK)
		e = replay_finish_sent(q);
	if (e == ERR_OK)
		e = spool_sweep(q->spool, q->late);
	if (e != ERR_OK) {
		queue_close(q);
		return e;
	}
	sync_known(q->sync, log_last_seq(q->log));
	look_at_disk(q);
	log_info("the queue is open log=%016llx w=%llu last_seq=%llu to_deliver=%zu fill_percent=%u",
			 (unsigned long long)log_id(q->log), (unsigned long long)q->w, (unsigned long long)log_last_seq(q->log),
			 q->backlog.dues, log_fill_percent(q->log));
	*out = q;
	return ERR_OK;
}

void queue_close(struct queue *q)
{
	size_t at = 0;
	void *v;

	if (q == NULL)
		return;
	reporter_stop(q->reporter);
	while (map_next(&q->cells, &at, NULL, &v))
		lose_cell(v);
	if (q->mx != NULL)
		asker_free(q->mx);
	if (q->control != NULL)
		map_set_u64(&q->askers, q->control->number, NULL);
	mem_free(q->control);
	if (q->parcels != NULL)
		parcels_close(q->parcels);
	worker_free(q->worker);   /* what is under way ends: its askers are gone */
	writer_free(q->writer);
	parcels_free(q->parcels);
	reporter_free(q->reporter);
	dispatch_free(q->dispatch);
	unfinished_free(q);
	sync_free(q->sync);
	backlog_free(&q->backlog);
	content_cache_free(q->contents);
	map_free(&q->sent);
	parents_free(&q->parents);
	spool_close(q->spool);
	late_close(&q->late);
	log_close(&q->log);
	disk_dir_close(&q->log_dir);
	map_free(&q->askers);
	map_free(&q->cells);
	map_free(&q->late_out);
	mem_free(q);
}
