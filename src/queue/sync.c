/* What a round proves. When it begins, `candidate` is one less than the oldest message with a recipient that has
 * neither been answered "done" nor is in this round's list for queue.db. Every "done" up to candidate was given before
 * the round began, so it had been written to the account's files (DELIVERY_DONE), and the sync that follows makes it
 * durable; every other recipient up to candidate is a row of queue.db when late_add() has returned. Answers that come
 * during the round belong to the next one.
 *
 * Who can prove it? The file system as a whole (syncfs), or the account's own cell: whoever has a file open is told once of
 * each page that the disk could not write. A cell that is asked and does not answer proves nothing, so the round falls back
 * to syncfs. A syncfs that fails says that something is lost and not whose, perhaps nobody's here, and it says so once: pages
 * of what was just being delivered may be among it, and the next syncfs succeeds. So from then on each cell that runs is
 * doubted: only its own word counts, until it has given it once (it has had its files open all the time). The same for a
 * cell that answers for what may have been delivered before: the syncfs that failed may have been another process's.
 *
 * What is not proved stays for the next round, and holds up W. A cell whose sync fails ends by itself, and one that is in
 * doubt in two rounds is ended; then all of this account is delivered again (sync_lost()). So an account that can never be
 * synced costs its own messages three tries, they go to queue.db like those of a full mailbox, and W passes them. */
#include "queue/sync_work.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>

/* What can prove that an account has on disk what was delivered to it: the values of `dirty`. Behind PROOF_CELL no cell can any more. */
enum proof {
	PROOF_NEEDLESS,                    /* it is proved, or nothing was delivered */
	PROOF_ANY,                         /* a sync of its cell, or of all accounts at once */
	PROOF_CELL,                        /* a sync of its cell */
	PROOF_ALL,                         /* a sync of all accounts: its cell has ended */
	PROOF_NONE,                        /* nothing does */
};
enum doubt { DOUBT_FIRST = 1, DOUBT_AGAIN };

struct round {
	struct job   job;
	struct sync *sync;
	struct work  work;
	size_t       not_done;             /* of its moves, which stand in front */
	uint64_t     candidate;
	size_t       asked;                /* cells that have not answered yet */
	void       (*when_asked)(struct round *r);
	bool         needs_syncfs;
	int64_t      syncfs_ms;
	enum err     late_result, sync_result;
};

struct asked {
	struct round *round;
	uint64_t      account;
};

struct sync {
	struct sync_config config;
	struct sync_host   host;
	struct work        work;           /* for the next round */
	struct round      *round;          /* NULL: none is under way */
	struct map         doubts;         /* account -> enum doubt, where syncfs proves nothing */
	struct map         failing;        /* account -> itself: its cell could not sync, and none could since */
	uint64_t           known, passed;
	int64_t            idle_ms;        /* when there was nothing to do, or a round began */
	int64_t            syncfs_ms;
	bool               syncfs_fails, late_fails;
	struct jumps       jumps;          /* the worker's, for the round that is under way */
};

struct sync *sync_new(const struct sync_config *c, const struct sync_host *host)
{
	struct sync *s = MEM_NEW(struct sync);

	s->config = *c;
	s->host = *host;
	s->passed = log_w(c->log);
	return s;
}

static void tried_free(struct tried *t)
{
	buf_free(&t->reason);
	buf_free(&t->host);
}

static void work_free(struct work *w)
{
	for (size_t i = 0; i < w->n_moves; i++)
		tried_free(&w->moves[i].tried);
	for (size_t i = 0; i < w->n_results; i++)
		tried_free(&w->results[i].tried);
	mem_free(w->moves);
	mem_free(w->delivered);
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
	for (size_t i = 0; i < s->work.n_delivered; i++)
		backlog_durable(s->config.backlog, s->work.delivered[i].message);
	work_free(&s->work);
	map_free(&s->doubts);
	map_free(&s->failing);
	mem_free(s);
}

void sync_configure(struct sync *s, int64_t lifetime_s, int64_t delay_notice_s)
{
	s->config.lifetime_s = lifetime_s;
	s->config.delay_notice_s = delay_notice_s;
}

void sync_known(struct sync *s, uint64_t seq) { s->known = seq; }
bool sync_is_running(const struct sync *s) { return s->round != NULL; }

size_t sync_failing(const struct sync *s, uint64_t *account)
{
	struct str key;
	size_t at = 0;
	void *ignored;

	*account = map_next(&s->failing, &at, &key, &ignored) ? map_key_u64(key) : 0;
	return s->failing.n;
}

void sync_forget_failing(struct sync *s, uint64_t account) { map_set_u64(&s->failing, account, NULL); }

static enum proof proof_of(const struct work *w, uint64_t account) { return (enum proof)(uintptr_t)map_get_u64(&w->dirty, account); }
static void set_proof(struct work *w, uint64_t account, enum proof p) { map_set_u64(&w->dirty, account, (void *)(uintptr_t)p); }
static enum doubt doubt_of(const struct sync *s, uint64_t account) { return (enum doubt)(uintptr_t)map_get_u64(&s->doubts, account); }
static void set_doubt(struct sync *s, uint64_t account, enum doubt d) { map_set_u64(&s->doubts, account, (void *)(uintptr_t)d); }

bool sync_is_unproved(const struct sync *s, uint64_t account) { return s->round != NULL && proof_of(&s->round->work, account) > PROOF_CELL; }

/* A copy, since who walks a map changes nothing in it. The caller's to free. */
static uint64_t *dirty_of(const struct work *w, size_t *n)
{
	uint64_t *accounts = mem_array(w->dirty.n + 1, sizeof *accounts);
	struct str key;
	size_t at = 0;
	void *ignored;

	*n = 0;
	while (map_next(&w->dirty, &at, &key, &ignored))
		accounts[(*n)++] = map_key_u64(key);
	return accounts;
}

void sync_dirty(struct sync *s, uint64_t account, size_t bytes)
{
	set_proof(&s->work, account, PROOF_ANY);
	s->work.bytes += bytes;
}

void sync_doubt(struct sync *s, uint64_t account)
{
	if (doubt_of(s, account) == 0)
		set_doubt(s, account, DOUBT_FIRST);
}

/* By its cell, which does not know what one before it had. */
static void is_proved(struct sync *s, struct round *r, uint64_t account)
{
	enum proof p = r != NULL ? proof_of(&r->work, account) : PROOF_NEEDLESS;

	map_set_u64(&s->doubts, account, NULL);
	map_set_u64(&s->failing, account, NULL);
	if (p == PROOF_ANY || p == PROOF_CELL)
		set_proof(&r->work, account, PROOF_NEEDLESS);
}

void sync_closed(struct sync *s, uint64_t account)
{
	set_proof(&s->work, account, PROOF_NEEDLESS);
	is_proved(s, s->round, account);
}

static void keep_text(struct buf *to, size_t max, struct str from)
{
	*to = BUF(max);
	if (utf8_valid(from))
		buf_add(to, utf8_clip(from, max));
}

static void keep_tried(struct tried *to, const struct sync_result *r)
{
	struct str status = str_sub(r->status, 0, LATE_STATUS_MAX);

	*to = (struct tried){ .outcome = r->outcome, .peer_tells = r->peer_tells, .has_passed_by = r->has_passed_by, .at = clock_wall_s() };
	if (status.n > 0)
		memcpy(to->status, status.p, status.n);
	keep_text(&to->reason, LATE_REASON_MAX, r->reason);
	keep_text(&to->host, LATE_HOST_MAX, r->host);
}

static void *grown(void *array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 16;
	return mem_resize(array, *cap * size);
}

static void add_delivered(struct work *w, const struct delivered *d)
{
	w->delivered = grown(w->delivered, w->n_delivered, &w->delivered_cap, sizeof *w->delivered);
	w->delivered[w->n_delivered++] = *d;
}

void sync_delivered(struct sync *s, struct due *d)
{
	add_delivered(&s->work, &(struct delivered){ d->message, d->target->account, d->recipient, d->losses });
	backlog_delivered(s->config.backlog, d);
}

static struct move *add_move(struct sync *s, struct due *d)
{
	struct work *w = &s->work;
	struct move *m;

	assert(!queued_is_late(d->message));
	w->moves = grown(w->moves, w->n_moves, &w->moves_cap, sizeof *w->moves);
	m = &w->moves[w->n_moves++];
	*m = (struct move){ .due = d };
	d->message->moving++;
	return m;
}

void sync_move(struct sync *s, struct due *d, const struct sync_result *r) { keep_tried(&add_move(s, d)->tried, r); }

void sync_put_aside(struct sync *s, struct due *d, int64_t due, const struct sync_result *why)
{
	struct move *m = add_move(s, d);

	m->next = due;
	if (why != NULL)
		keep_tried(&m->tried, why);
	m->tried.outcome = 0;
	m->tried.at = 0;
}

static struct result *add_result(struct sync *s, const struct late_key *key)
{
	struct work *w = &s->work;

	w->results = grown(w->results, w->n_results, &w->results_cap, sizeof *w->results);
	w->results[w->n_results] = (struct result){ .key = *key };
	return &w->results[w->n_results++];
}

void sync_postpone(struct sync *s, const struct late_key *key, int64_t due) { add_result(s, key)->next = due; }

void sync_late(struct sync *s, const struct late_key *key, const struct sync_result *r) { keep_tried(&add_result(s, key)->tried, r); }

void sync_late_here(struct sync *s, struct due *d, const struct sync_result *r)
{
	const struct late_key key = { d->message->log_id, d->message->seq, d->recipient };
	struct result *kept = add_result(s, &key);

	kept->account = d->target->account;
	kept->losses = d->losses;
	keep_tried(&kept->tried, r);
	backlog_settle(s->config.backlog, d);
}

/* --------------------------------------------------------------------------------------------- a cell that is lost */

static uint8_t one_more(uint8_t losses) { return losses < UINT8_MAX ? losses + 1 : losses; }

static void lose_delivered(struct sync *s, uint64_t account)
{
	struct work *w = &s->work;
	size_t n = 0;

	for (size_t i = 0; i < w->n_delivered; i++) {
		const struct delivered d = w->delivered[i];
		if (d.account == account)
			backlog_again(s->config.backlog, d.message, account, d.recipient)->losses = one_more(d.losses);
		else
			w->delivered[n++] = d;
	}
	w->n_delivered = n;
}

/* Those whose sender wants to hear of it. */
static void lose_moves(struct sync *s, uint64_t account)
{
	struct work *w = &s->work;
	size_t n = 0;

	for (size_t i = 0; i < w->n_moves; i++) {
		struct move *m = &w->moves[i];
		if (!is_done(&m->tried) || m->due->target == NULL || m->due->target->account != account) {
			w->moves[n++] = *m;
			continue;
		}
		tried_free(&m->tried);
		m->due->message->moving--;
		m->due->losses = one_more(m->due->losses);
		backlog_give_back(m->due);
	}
	w->n_moves = n;
}

/* Rows of queue.db: they are still as they were before the try. */
static void lose_results(struct sync *s, uint64_t account)
{
	struct work *w = &s->work;
	size_t n = 0;

	for (size_t i = 0; i < w->n_results; i++) {
		struct result *r = &w->results[i];
		if (!is_done(&r->tried) || r->account != account) {
			w->results[n++] = *r;
			continue;
		}
		struct queued *q = backlog_late(s->config.backlog, r->key.log_id, r->key.seq, clock_mono_ms());
		backlog_due(s->config.backlog, q, account, r->key.recipient, true)->losses = one_more(r->losses);
		tried_free(&r->tried);
	}
	w->n_results = n;
}

static void cell_is_gone(struct work *w, uint64_t account)
{
	enum proof p = proof_of(w, account);

	if (p == PROOF_ANY || p == PROOF_CELL)
		set_proof(w, account, p == PROOF_ANY ? PROOF_ALL : PROOF_NONE);
}

static void lose(struct sync *s, uint64_t account)
{
	lose_delivered(s, account);
	lose_moves(s, account);
	lose_results(s, account);
	set_proof(&s->work, account, PROOF_NEEDLESS);   /* nothing of it is left to be proved */
}

void sync_lost(struct sync *s, uint64_t account)
{
	lose(s, account);
	map_set_u64(&s->doubts, account, NULL);
	if (s->round != NULL)
		cell_is_gone(&s->round->work, account);
}

/* --------------------------------------------------------------------------------------------------- in the worker */

static void write_and_sync(struct job *job)
{
	struct round *r = (struct round *)job;
	struct sync *s = r->sync;

	r->late_result = work_write_waiting(&r->work, &s->config, &s->jumps, &r->not_done);
	if (r->needs_syncfs) {
		int64_t start = clock_mono_ms();
		r->sync_result = s->host.sync_accounts(s->host.context);
		r->syncfs_ms = clock_mono_ms() - start;
	}
}

/* What is left of what was delivered is durable. */
static void write_done(struct job *job)
{
	struct round *r = (struct round *)job;
	struct sync *s = r->sync;

	r->late_result = work_write_done(&r->work, &s->config, &s->jumps, r->not_done);
}

/* ------------------------------------------------------------------------------------------------- a round, outside */

static void keep_move(struct work *w, const struct move *m)
{
	w->moves = grown(w->moves, w->n_moves, &w->moves_cap, sizeof *w->moves);
	w->moves[w->n_moves++] = *m;
}

static void keep_result(struct work *w, const struct result *r)
{
	w->results = grown(w->results, w->n_results, &w->results_cap, sizeof *w->results);
	w->results[w->n_results++] = *r;
}

static void give_back(struct sync *s, struct work *from)
{
	for (size_t i = 0; i < from->n_moves; i++)
		keep_move(&s->work, &from->moves[i]);
	for (size_t i = 0; i < from->n_results; i++)
		keep_result(&s->work, &from->results[i]);
	from->n_moves = from->n_results = 0;
}

static void settle_delivered(struct sync *s, const struct work *w)
{
	for (size_t i = 0; i < w->n_delivered; i++)
		backlog_durable(s->config.backlog, w->delivered[i].message);
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

static void end_round(struct sync *s, struct round *r)
{
	s->round = NULL;
	settle_delivered(s, &r->work);
	if (r->late_result != ERR_OK) {
		if (!s->late_fails)
			log_error("queue.db cannot be written: what could not be delivered stays in the log error=%s",
					  err_name(r->late_result));
		give_back(s, &r->work);
	} else {
		settle_all(s, &r->work);
	}
	if (r->late_result == ERR_OK && r->candidate > s->passed) {
		s->passed = r->candidate;
		s->host.passed(s->host.context, r->candidate);
	}
	s->late_fails = r->late_result != ERR_OK;
	work_free(&r->work);
	mem_free(r);
}

static void done_is_written(struct job *job) { end_round(((struct round *)job)->sync, (struct round *)job); }

/* -------------------------------------------------------------------------------------------- what is not proved */

static bool is_unproved(const struct round *r, uint64_t account) { return proof_of(&r->work, account) != PROOF_NEEDLESS; }

static void hold_up(struct round *r, const struct queued *q)
{
	if (q->seq <= r->candidate)
		r->candidate = q->seq - 1;
}

static void carry_delivered(struct sync *s, struct round *r)
{
	struct work *w = &r->work;
	size_t n = 0;

	for (size_t i = 0; i < w->n_delivered; i++) {
		const struct delivered *d = &w->delivered[i];
		if (!is_unproved(r, d->account)) {
			w->delivered[n++] = *d;
			continue;
		}
		hold_up(r, d->message);
		add_delivered(&s->work, d);
	}
	w->n_delivered = n;
}

static void carry_moves(struct sync *s, struct round *r)
{
	struct work *w = &r->work;
	size_t n = r->not_done;

	for (size_t i = n; i < w->n_moves; i++) {
		const struct move *m = &w->moves[i];
		if (m->due->target == NULL || !is_unproved(r, m->due->target->account)) {
			w->moves[n++] = *m;
			continue;
		}
		hold_up(r, m->due->message);
		keep_move(&s->work, m);
	}
	w->n_moves = n;
}

static void carry_results(struct sync *s, struct round *r)
{
	struct work *w = &r->work;
	size_t n = 0;

	for (size_t i = 0; i < w->n_results; i++) {
		if (is_done(&w->results[i].tried) && is_unproved(r, w->results[i].account))
			keep_result(&s->work, &w->results[i]);
		else
			w->results[n++] = w->results[i];
	}
	w->n_results = n;
}

/* It is in the next round, or its cell has ended and it is delivered again. The next cell may run already: it stays doubted, for what it
 * has written meanwhile and not answered yet. */
static void carry_account(struct sync *s, struct round *r, uint64_t account)
{
	if (proof_of(&r->work, account) > PROOF_CELL || s->host.channel(s->host.context, account) == NULL) {
		lose(s, account);
		s->host.again(s->host.context, account);
		return;
	}
	sync_dirty(s, account, 0);
	if (doubt_of(s, account) == DOUBT_AGAIN) {
		log_warn("a cell does not say that its account is on the disk, ending it account=%llu", (unsigned long long)account);
		s->host.end(s->host.context, account);
	}
	set_doubt(s, account, DOUBT_AGAIN);
}

static void carry_unproved(struct sync *s, struct round *r)
{
	if (r->work.dirty.n == 0)
		return;
	carry_delivered(s, r);
	carry_moves(s, r);
	carry_results(s, r);
	size_t n;
	uint64_t *accounts = dirty_of(&r->work, &n);
	for (size_t i = 0; i < n; i++)
		carry_account(s, r, accounts[i]);
	mem_free(accounts);
}

static bool has_done(const struct round *r)
{
	for (size_t i = 0; i < r->work.n_results; i++)
		if (is_done(&r->work.results[i].tried))
			return true;
	return r->work.n_moves > r->not_done;
}

/* All have been asked that could be. */
static void prove(struct round *r)
{
	struct sync *s = r->sync;

	carry_unproved(s, r);
	if (r->late_result != ERR_OK || !has_done(r)) {
		end_round(s, r);
		return;
	}
	r->job.run = write_done;
	r->job.done = done_is_written;
	worker_add(s->config.worker, &r->job);
}

/* --------------------------------------------------------------------------------------------------------- asking */

static void cell_synced(void *context, struct message *answer)
{
	struct asked *asked = context;
	struct round *r = asked->round;

	if (answer->status == ERR_OK) {
		is_proved(r->sync, r, asked->account);
	} else if (answer->status != ERR_IO) {
		r->needs_syncfs |= proof_of(&r->work, asked->account) == PROOF_ANY;
		if (answer->status == ERR_UNAVAILABLE)
			cell_is_gone(&r->work, asked->account);
	} else {
		log_error("the disk has lost something of an account: its mail stays in the queue and is delivered again account=%llu",
		          (unsigned long long)asked->account);
		set_proof(&r->work, asked->account, PROOF_CELL);
		sync_doubt(r->sync, asked->account);
		map_set_u64(&r->sync->failing, asked->account, r->sync);
	}
	mem_free(asked);
	if (--r->asked == 0)
		r->when_asked(r);
}

/* Asks the cells to sync what they have: all that are dirty, or those whose own word alone counts. */
static void ask_cells(struct sync *s, struct round *r, bool all, void (*when_asked)(struct round *r))
{
	size_t n_dirty, n = 0;
	uint64_t *accounts = dirty_of(&r->work, &n_dirty);

	for (size_t i = 0; i < n_dirty; i++) {
		enum proof p = proof_of(&r->work, accounts[i]);
		if ((p == PROOF_CELL || (p == PROOF_ANY && all)) && s->host.channel(s->host.context, accounts[i]) != NULL)
			accounts[n++] = accounts[i];
	}
	r->asked = n;
	r->when_asked = when_asked;
	for (size_t i = 0; i < n; i++) {
		struct asked *asked = MEM_NEW(struct asked);
		*asked = (struct asked){ r, accounts[i] };
		int timeout_ms = proof_of(&r->work, accounts[i]) == PROOF_CELL ? SYNC_DOUBT_TIMEOUT_MS : SYNC_CELL_TIMEOUT_MS;
		(void)channel_ask(s->host.channel(s->host.context, accounts[i]), REQUEST_CELL_SYNC, STR(""), NULL, 0, timeout_ms, cell_synced, asked);
	}
	mem_free(accounts);
	if (n == 0)
		when_asked(r);
}

/* A sync of all accounts has succeeded, or failed. */
static void hear_of_all(struct work *w, bool fails)
{
	size_t n;
	uint64_t *accounts = dirty_of(w, &n);

	for (size_t i = 0; i < n; i++) {
		enum proof p = proof_of(w, accounts[i]);
		if (p == PROOF_ANY || p == PROOF_ALL)
			set_proof(w, accounts[i], !fails ? PROOF_NEEDLESS : p == PROOF_ANY ? PROOF_CELL : PROOF_NONE);
	}
	mem_free(accounts);
}

static void is_written_and_synced(struct job *job)
{
	struct round *r = (struct round *)job;
	struct sync *s = r->sync;
	bool fails = r->sync_result != ERR_OK;

	if (!r->needs_syncfs) {
		prove(r);
		return;
	}
	if (fails && !s->syncfs_fails)
		log_error("the file system of the accounts has lost something, perhaps of nobody here: each account is asked. Look at the disk");
	s->syncfs_fails = fails;
	s->syncfs_ms = r->syncfs_ms;
	hear_of_all(&r->work, fails);
	if (!fails) {
		prove(r);
		return;
	}
	s->host.doubt_cells(s->host.context);
	ask_cells(s, r, true, prove);
}

static void go_to_worker(struct round *r) { worker_add(r->sync->config.worker, &r->job); }

/* Few, and all of them run: then they are asked, and the others are left alone. */
static bool are_few(struct sync *s, const struct work *w)
{
	size_t most = s->syncfs_ms > SYNC_SLOW_MS ? SYNC_CELLS_MANY : SYNC_CELLS_FEW, at = 0;
	struct str key;
	void *ignored;

	if (w->dirty.n > most)
		return false;
	while (map_next(&w->dirty, &at, &key, &ignored))
		if (s->host.channel(s->host.context, map_key_u64(key)) == NULL)
			return false;
	return true;
}

static uint64_t candidate_of(const struct sync *s)
{
	uint64_t lowest = backlog_lowest(s->config.backlog);

	return lowest - 1 < s->known ? lowest - 1 : s->known;
}

/* Those that are doubted need the word of their cell. True: there are others. */
static bool note_doubts(const struct sync *s, struct work *w)
{
	bool has_others = false;
	size_t n;
	uint64_t *accounts = dirty_of(w, &n);

	for (size_t i = 0; i < n; i++) {
		if (doubt_of(s, accounts[i]) != 0)
			set_proof(w, accounts[i], PROOF_CELL);
		else
			has_others = true;
	}
	mem_free(accounts);
	return has_others;
}

static void begin(struct sync *s, int64_t now_ms)
{
	struct round *r = MEM_NEW(struct round);

	*r = (struct round){
		.job = { .run = write_and_sync, .done = is_written_and_synced }, .sync = s, .work = s->work, .candidate = candidate_of(s)
	};
	s->work = (struct work){ 0 };
	s->round = r;
	s->jumps = *s->config.jumps;
	s->idle_ms = now_ms;
	bool has_others = note_doubts(s, &r->work), all = are_few(s, &r->work);
	r->needs_syncfs = has_others && !all;
	ask_cells(s, r, all, go_to_worker);
}

void sync_tick(struct sync *s, int64_t now_ms, bool now)
{
	bool has_work = s->work.dirty.n > 0 || s->work.n_moves > 0 || s->work.n_results > 0 || s->work.n_delivered > 0 || candidate_of(s) > s->passed;

	if (s->round != NULL)
		return;
	if (!has_work) {
		s->idle_ms = now_ms;
		return;
	}
	if (now || now_ms - s->idle_ms >= s->config.every_ms || s->work.bytes >= s->config.bytes)
		begin(s, now_ms);
}
