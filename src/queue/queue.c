/* The queue as a whole: who calls whom.
 *
 *   mx, cells ──ADD──► add.c ──► writer (the log) ──► backlog ──► dispatch ──DELIVER──► cells
 *                                                                    │ results
 *                       queue.db (late) ◄── sync (rounds, worker) ◄──┘      W ──► writer
 *
 * Here: opening, time, closing. local.c has what goes to mailboxes of this server, parcels.c what goes elsewhere, askers.c the channels.
 *
 * Order matters in three places. A message goes to the backlog only when its record is durable. A late row that is
 * being tried (late_out of local.c) is not listed again before its result is in queue.db. What W has passed is let go (spool
 * files, parents, names in accounts) only when the record that says so is durable: `w` here is what the log has, never
 * what was asked for. */
#include "queue/queue.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_private.h"
#include "queue/parcels.h"

static const int64_t UNKNOWN_LIFETIME_S = INT64_C(1) << 40;   /* for ever */

enum {
	TICK_MS = 1000, SWEEP_MS = 60000,
	W_ALONE_AFTER_MS = 300000,    /* nothing has come for so long: W is written without company */
	HALF_FULL_PERCENT = 50, DEFER_MAX = 1000,
	ROUND_SEGMENTS = 2,           /* a small ring is synced after so many segments */
	FAILED_PATIENCE_MS = 3000,    /* of a log or queue.db that failed: those who wait get their answer first */
	STOP_PATIENCE_MS = 5000,      /* for batches that are out … */
	STOP_SENDS_MS = 15000,        /* … and for SENDs: more than SENDS_END_MS, and less than master waits */
};

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

	local_finished(q, key);
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

static void on_doubt_cells(void *context)
{
	struct queue *q = context;
	struct str key;
	size_t at = 0;
	void *ignored;

	while (map_next(&q->cells, &at, &key, &ignored))
		sync_doubt(q->sync, map_key_u64(key));
}

static void on_again(void *context, uint64_t account) { dispatch_poke(((struct queue *)context)->dispatch, account); }

static void on_end(void *context, uint64_t account)
{
	struct queue *q = context;

	q->host.end(q->host.context, account);
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

/* If it fails (logged), the next tick does it. */
static void keep_jumps(struct queue *q)
{
	if (q->has_jumped && late_keep_jumps(q->late, &q->jumps) == ERR_OK)
		q->has_jumped = false;
}

static void look_at_clock(struct queue *q)
{
	int64_t by_s = jumps_look(&q->jumps);

	if (by_s > 0)
		log_warn("the clock was set ahead: the age of what waits does not count that seconds=%lld", (long long)by_s);
	else if (by_s < 0)
		log_warn("the clock was set back: what waits is tried no later than usual seconds=%lld", (long long)-by_s);
	q->is_set_back |= by_s < 0;
	if (by_s == 0)
		return;
	q->has_jumped = true;
	keep_jumps(q);
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
	if ((log_has_failed(q->log) || late_has_failed(q->late)) && q->failed_ms == 0)
		q->failed_ms = q->now_ms;
	look_at_disk(q);
	dispatch_tick(q->dispatch, q->now_ms);
	keep_jumps(q);
	take_back_times(q);
	parcels_tick(q->parcels, q->now_ms);
	if (!q->stops) {
		times_tick(q);
		local_tick(q);
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
	return q->failed_ms != 0 && q->now_ms - q->failed_ms >= FAILED_PATIENCE_MS;
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
	struct jump kept[JUMPS_MAX];
	size_t n;

	TRY(disk_dir_open_below(q->config.dir, "log", true, &q->log_dir));
	TRY(disk_dir_sync(q->config.dir));
	TRY(log_open(q->log_dir, &q->config.ring, &q->log));
	TRY(late_open(q->config.dir, log_id(q->log), log_w(q->log), &q->late));
	TRY(late_read_jumps(q->late, kept, &n));
	jumps_begin(&q->jumps, kept, n);
	return spool_open(q->config.dir, &q->spool);
}

static void make_parts(struct queue *q)
{
	uint64_t ring_part = (uint64_t)log_record_max(q->log) * 4 * ROUND_SEGMENTS;
	const struct dispatch_host dispatch_host = local_host(q);
	const struct sync_host sync_host = {
		q, on_channel, on_settled, on_finished, on_passed, on_sync_accounts, on_doubt_cells, on_again, on_end
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
	if (q->config.lifetime_s == 0)
		q->config.lifetime_s = UNKNOWN_LIFETIME_S;
	q->host = *host;
	q->lookup = config->lookup;
	q->now_ms = q->added_ms = q->swept_ms = clock_mono_ms();
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
	if (q == NULL)
		return;
	reporter_stop(q->reporter);
	askers_close(q);
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
