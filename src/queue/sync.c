/* What a round proves. When it begins, `candidate` is one less than the oldest message with a recipient that has
 * neither been answered "done" nor is in this round's list for queue.db. Every "done" up to candidate was given before
 * the round began, so it had been written to the account's files (DELIVERY_DONE), and the sync that follows makes it
 * durable; every other recipient up to candidate is a row of queue.db when late_add() has returned. Answers that come
 * during the round belong to the next one.
 *
 * A cell that is asked to sync and does not answer proves nothing, so the round falls back to syncfs. A syncfs that
 * fails proves that something may be lost and not what: W stays for ever, and the role takes no more mail (DESIGN.md
 * §4.8). */
#include "queue/sync.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/content.h"
#include <assert.h>
#include <stdlib.h>

enum { ADD_MESSAGES = 64, ADD_BYTES = 8 << 20 };

struct move {
	struct due           *due;
	enum delivery_outcome outcome;     /* 0: elsewhere */
	char                  status[LATE_STATUS_MAX + 1], reason[LATE_REASON_MAX + 1];
};

struct result {  /* of a late delivery */
	struct late_key       key;
	enum delivery_outcome outcome;
	char                  status[LATE_STATUS_MAX + 1], reason[LATE_REASON_MAX + 1];
};

struct work {
	struct move   *moves;
	size_t         n_moves, moves_cap;
	struct result *results;
	size_t         n_results, results_cap;
	struct map     dirty;              /* account -> itself */
	uint64_t       bytes;
};

struct round {
	struct job   job;
	struct sync *sync;
	struct work  work;
	uint64_t     candidate;
	size_t       asked;                /* cells that have not answered yet */
	bool         needs_syncfs;
	int64_t      syncfs_ms;
	enum err     late_result, sync_result;
};

struct sync {
	struct sync_config config;
	struct sync_host   host;
	struct work        work;           /* for the next round */
	struct round      *round;          /* NULL: none is under way */
	uint64_t           known, passed;
	int64_t            idle_ms;        /* when there was nothing to do, or a round began */
	int64_t            syncfs_ms;
	bool               failed, late_fails;
};

struct sync *sync_new(const struct sync_config *c, const struct sync_host *host)
{
	struct sync *s = MEM_NEW(struct sync);

	s->config = *c;
	s->host = *host;
	s->passed = log_w(c->log);
	return s;
}

static void work_free(struct work *w)
{
	mem_free(w->moves);
	mem_free(w->results);
	map_free(&w->dirty);
	*w = (struct work){ 0 };
}

void sync_free(struct sync *s)
{
	if (s == NULL)
		return;
	assert(s->round == NULL);
	for (size_t i = 0; i < s->work.n_moves; i++) {  /* the log still has them */
		s->work.moves[i].due->message->moving--;
		backlog_settle(s->config.backlog, s->work.moves[i].due);
	}
	work_free(&s->work);
	mem_free(s);
}

void sync_set_lifetime(struct sync *s, int64_t lifetime_s) { s->config.lifetime_s = lifetime_s; }
void sync_known(struct sync *s, uint64_t seq) { s->known = seq; }
bool sync_is_running(const struct sync *s) { return s->round != NULL; }
bool sync_has_failed(const struct sync *s) { return s->failed; }

void sync_delivered(struct sync *s, uint64_t account, size_t bytes)
{
	map_set_u64(&s->work.dirty, account, s);
	s->work.bytes += bytes;
}

void sync_closed(struct sync *s, uint64_t account) { map_set_u64(&s->work.dirty, account, NULL); }

static void copy_text(char *to, size_t room, struct str from)
{
	struct str clipped = utf8_valid(from) ? utf8_clip(from, room - 1) : STR("");

	if (clipped.n > 0)
		memcpy(to, clipped.p, clipped.n);
	to[clipped.n] = '\0';
}

static void *grown(void *array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 16;
	return mem_resize(array, *cap * size);
}

void sync_move(struct sync *s, struct due *d, const struct delivery_result *r)
{
	struct work *w = &s->work;
	struct move *m;

	assert(!queued_is_late(d->message));
	w->moves = grown(w->moves, w->n_moves, &w->moves_cap, sizeof *w->moves);
	m = &w->moves[w->n_moves++];
	*m = (struct move){ .due = d, .outcome = r != NULL ? r->outcome : 0 };
	copy_text(m->status, sizeof m->status, r != NULL ? r->status : STR(""));
	copy_text(m->reason, sizeof m->reason, r != NULL ? r->reason : STR(""));
	d->message->moving++;
}

void sync_late(struct sync *s, const struct late_key *key, const struct delivery_result *r)
{
	struct work *w = &s->work;
	struct result *to;

	w->results = grown(w->results, w->n_results, &w->results_cap, sizeof *w->results);
	to = &w->results[w->n_results++];
	*to = (struct result){ .key = *key, .outcome = r->outcome };
	copy_text(to->status, sizeof to->status, r->status);
	copy_text(to->reason, sizeof to->reason, r->reason);
}

/* ------------------------------------------------------------------------------------------ in the worker: queue.db */

/* Waiting until its next try; held when it was refused, or its lifetime is over: nothing bounces yet, so nothing is
 * dropped. */
static void next_try(const struct sync *s, enum delivery_outcome outcome, int64_t received, uint32_t tries,
					 enum late_state *state, int64_t *due)
{
	*state = LATE_WAITING;
	if (outcome == DELIVERY_REFUSED || !late_next_try(clock_wall_s(), received, s->config.lifetime_s, tries, due)) {
		*state = LATE_HELD;
		*due = LATE_NEVER;
	}
}

static void late_recipient_of(const struct sync *s, const struct move *m, const struct content *c,
							  struct late_recipient *out)
{
	*out = (struct late_recipient){ .index = m->due->recipient, .state = LATE_WAITING, .due = LATE_NEVER,
		                            .status = str_of(m->status), .reason = str_of(m->reason) };
	if (m->outcome == 0)
		return;
	out->tries = 1;
	next_try(s, m->outcome, c->envelope.received, 1, &out->state, &out->due);
}

struct adding_late {
	struct late_new new[ADD_MESSAGES];
	struct content *content[ADD_MESSAGES];
	size_t          n, bytes;
	struct arena    arena;
};

static enum err add_now(struct sync *s, struct adding_late *a)
{
	enum err e = a->n > 0 ? late_add(s->config.late, a->new, a->n) : ERR_OK;

	for (size_t i = 0; i < a->n; i++)
		content_free(a->content[i]);
	a->n = a->bytes = 0;
	arena_reset(&a->arena);
	return e;
}

/* The moves of one message. One that cannot be read any more is lost with its record: said loudly, and W goes on. */
static enum err add_message(struct sync *s, struct adding_late *a, const struct move *moves, size_t n)
{
	const struct queued *q = moves[0].due->message;
	struct content *c = content_new();
	struct late_recipient *recipients;
	enum err e = content_read(s->config.log, q->place, c);

	if (e != ERR_OK) {
		content_free(c);
		log_error("MAIL LOST: a message cannot be read and not be kept seq=%llu recipients=%zu",
				  (unsigned long long)q->seq, n);
		return e == ERR_CORRUPT ? ERR_OK : e;
	}
	recipients = arena_array(&a->arena, n, sizeof *recipients);
	for (size_t i = 0; i < n; i++)
		late_recipient_of(s, &moves[i], c, &recipients[i]);
	a->content[a->n] = c;
	a->new[a->n++] = (struct late_new){ .log_id = q->log_id,
										.seq = q->seq,
										.envelope = &c->envelope,
										.body = c->body,
										.spool = c->spool,
										.size = c->size,
										.crc = c->crc,
										.n = n,
										.recipients = recipients };
	a->bytes += c->payload.n;
	return a->n == ADD_MESSAGES || a->bytes > ADD_BYTES ? add_now(s, a) : ERR_OK;
}

static int by_message(const void *left, const void *right)
{
	const struct due *a = ((const struct move *)left)->due, *b = ((const struct move *)right)->due;

	if (a->message->seq != b->message->seq)
		return a->message->seq < b->message->seq ? -1 : 1;
	return (a->recipient > b->recipient) - (a->recipient < b->recipient);
}

static enum err add_moves(struct sync *s, struct work *w)
{
	struct adding_late a = { 0 };
	enum err e = ERR_OK;

	if (w->n_moves > 1)
		qsort(w->moves, w->n_moves, sizeof *w->moves, by_message);
	for (size_t i = 0, end; e == ERR_OK && i < w->n_moves; i = end) {
		for (end = i + 1; end < w->n_moves && w->moves[end].due->message == w->moves[i].due->message;)
			end++;
		e = add_message(s, &a, &w->moves[i], end - i);
	}
	enum err last = add_now(s, &a);
	arena_free(&a.arena);
	return e != ERR_OK ? e : last;
}

static void change_of(struct sync *s, const struct result *r, struct arena *a, struct late_change *out)
{
	struct late_row row = { 0 };
	struct late_message m = { 0 };

	*out = (struct late_change){ .key = r->key, .state = LATE_FINISHED };
	if (r->outcome == DELIVERY_DONE)
		return;
	if (late_find(s->config.late, &r->key, a, &row) != ERR_OK ||
	    late_message_find(s->config.late, r->key.log_id, r->key.seq, a, &m) != ERR_OK)
		return;  /* removed by the administrator meanwhile */
	out->tries = row.tries + 1;
	out->status = str_of(r->status);
	out->reason = str_of(r->reason);
	next_try(s, r->outcome, m.envelope.received, out->tries, &out->state, &out->due);
}

/* The results of late deliveries: those that were delivered only after the accounts were synced. */
static enum err change_results(struct sync *s, const struct work *w, bool is_done)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_change *changes = arena_array(&a, w->n_results + 1, sizeof *changes);
	size_t n = 0;

	for (size_t i = 0; i < w->n_results; i++)
		if ((w->results[i].outcome == DELIVERY_DONE) == is_done)
			change_of(s, &w->results[i], &a, &changes[n++]);
	return n > 0 ? late_change(s->config.late, changes, n) : ERR_OK;
}

static void run_round(struct job *job)
{
	struct round *r = (struct round *)job;
	struct sync *s = r->sync;

	r->late_result = add_moves(s, &r->work);
	if (r->late_result == ERR_OK)
		r->late_result = change_results(s, &r->work, false);
	if (r->needs_syncfs) {
		int64_t start = clock_mono_ms();
		r->sync_result = s->host.sync_accounts(s->host.context);
		r->syncfs_ms = clock_mono_ms() - start;
	}
	if (r->late_result == ERR_OK && r->sync_result == ERR_OK)
		r->late_result = change_results(s, &r->work, true);
	if (r->late_result == ERR_OK)
		r->late_result = late_passed(s->config.late, log_w(s->config.log));
}

/* ------------------------------------------------------------------------------------------------- a round, outside */

static void give_back(struct sync *s, struct work *from)
{
	for (size_t i = 0; i < from->n_moves; i++) {
		s->work.moves = grown(s->work.moves, s->work.n_moves, &s->work.moves_cap, sizeof *s->work.moves);
		s->work.moves[s->work.n_moves++] = from->moves[i];
	}
	for (size_t i = 0; i < from->n_results; i++) {
		s->work.results = grown(s->work.results, s->work.n_results, &s->work.results_cap, sizeof *s->work.results);
		s->work.results[s->work.n_results++] = from->results[i];
	}
}

static void settle_all(struct sync *s, struct work *w)
{
	for (size_t i = 0; i < w->n_moves; i++) {
		w->moves[i].due->message->moving--;
		s->host.settled(s->host.context, w->moves[i].due);
	}
	for (size_t i = 0; i < w->n_results; i++)
		s->host.finished(s->host.context, &w->results[i].key);
}

static void round_done(struct job *job)
{
	struct round *r = (struct round *)job;
	struct sync *s = r->sync;

	s->round = NULL;
	if (r->needs_syncfs)
		s->syncfs_ms = r->syncfs_ms;
	if (r->sync_result != ERR_OK) {
		log_error(
			"ALARM: the accounts cannot be synced to disk. No mail is accepted, what was accepted stays in the log. "
			"Look at the disk, then restart");
		s->failed = true;
		s->host.failed(s->host.context);
	}
	if (r->late_result != ERR_OK) {
		if (!s->late_fails)
			log_error("queue.db cannot be written: what could not be delivered stays in the log error=%s",
					  err_name(r->late_result));
		give_back(s, &r->work);
	} else {
		settle_all(s, &r->work);
	}
	if (r->late_result == ERR_OK && r->sync_result == ERR_OK && r->candidate > s->passed) {
		s->passed = r->candidate;
		s->host.passed(s->host.context, r->candidate);
	}
	s->late_fails = r->late_result != ERR_OK;
	work_free(&r->work);
	mem_free(r);
}

static void cell_synced(void *context, struct message *answer)
{
	struct round *r = context;

	r->needs_syncfs |= answer->status != ERR_OK;
	if (--r->asked == 0)
		worker_add(r->sync->config.worker, &r->job);
}

/* Asks the cells to sync what they have, if there are few and all run. False: nobody was asked. */
static bool ask_cells(struct sync *s, struct round *r)
{
	struct channel *cells[SYNC_CELLS_MANY];
	size_t most = s->syncfs_ms > SYNC_SLOW_MS ? SYNC_CELLS_MANY : SYNC_CELLS_FEW, at = 0, n = 0;
	struct str key;
	void *ignored;

	if (r->work.dirty.n > most)
		return false;
	while (map_next(&r->work.dirty, &at, &key, &ignored)) {
		cells[n] = s->host.channel(s->host.context, map_key_u64(key));
		if (cells[n++] == NULL)
			return false;
	}
	r->asked = n;
	for (size_t i = 0; i < n; i++)
		channel_ask(cells[i], REQUEST_CELL_SYNC, STR(""), NULL, 0, SYNC_CELL_TIMEOUT_MS, cell_synced, r);
	return true;
}

static uint64_t candidate_of(const struct sync *s)
{
	uint64_t lowest = backlog_lowest(s->config.backlog);

	return lowest - 1 < s->known ? lowest - 1 : s->known;
}

static void begin(struct sync *s, int64_t now_ms)
{
	struct round *r = MEM_NEW(struct round);

	*r = (struct round){
		.job = { .run = run_round, .done = round_done }, .sync = s, .work = s->work, .candidate = candidate_of(s)
	};
	s->work = (struct work){ 0 };
	s->round = r;
	s->idle_ms = now_ms;
	if (r->work.dirty.n == 0) {
		worker_add(s->config.worker, &r->job);
	} else if (!ask_cells(s, r)) {
		r->needs_syncfs = true;
		worker_add(s->config.worker, &r->job);
	}
}

void sync_tick(struct sync *s, int64_t now_ms, bool now)
{
	bool has_work = s->work.dirty.n > 0 || s->work.n_moves > 0 || s->work.n_results > 0 || candidate_of(s) > s->passed;

	if (s->round != NULL || s->failed)
		return;
	if (!has_work) {
		s->idle_ms = now_ms;
		return;
	}
	if (now || now_ms - s->idle_ms >= s->config.every_ms || s->work.bytes >= s->config.bytes)
		begin(s, now_ms);
}
