/* The states of an account's post:
 *
 *            WAKE                CELL_CHANNEL             no answer                collected
 *   ASLEEP ────────► WAKING ──────────────► AWAKE ───────────────► ENDING ──────────────────► ASLEEP
 *     ▲                 │ 10 s: deferred       │ channel lost
 *     └─────────────────┴──────────────────────┘
 *
 * Two lines of posts: `ready` (awake, something waits, nothing is out) and `sleepers` (asleep, something waits). A post
 * is in at most one of them, at the end when it comes, so accounts take turns batch by batch.
 *
 * Loss and poison. A cell may end for reasons of its own (it left, it was killed): its batch is sent again. When a
 * message makes cells crash, 63 innocent ones are in the batch with it: after a loss the account gets one delivery at a
 * time until one was answered, so that only the guilty one reaches three losses. */
#include "queue/dispatch.h"
#include "base/log.h"
#include "base/mem.h"
#include "text/text.h"
#include <assert.h>

enum post_state { POST_ASLEEP, POST_WAKING, POST_AWAKE, POST_ENDING };
enum { OVERDUE_MS = 2000, END_AGAIN_MS = 30000, HANGS_MAX = 2 };

struct batch {
	struct post *post;
	size_t       n, bytes;
	bool         is_counted;      /* in bytes_out */
	struct due  *dues[DELIVERY_BATCH_MAX];
};

struct post {
	struct dispatch *dispatch;
	struct target   *target;
	enum post_state  state;
	struct channel  *ch;
	struct batch    *batch;           /* out, or waiting for its cell to be ended; NULL: none */
	int64_t          since_ms;        /* of WAKING, of the batch, of ENDING */
	int              hangs;           /* in a row */
	bool             is_careful;      /* the last batch was lost */
	bool             is_listed;
	struct post     *next;
	uint64_t         asked_w, prune_seq;
	bool             is_only_log;
	uint32_t         replayed_call;   /* 0: nobody asks */
};

struct post_line {
	struct post *first, **end;
};

struct dispatch {
	struct backlog      *backlog;
	uint64_t             log_id, w;
	struct dispatch_host host;
	struct post_line     ready, sleepers;
	size_t               waking, out, bytes_out, asking;
	int64_t              now_ms;
};

static void line_add(struct post_line *l, struct post *p)
{
	p->is_listed = true;
	p->next = NULL;
	*l->end = p;
	l->end = &p->next;
}

static struct post *line_take(struct post_line *l)
{
	struct post *p = l->first;

	if (p != NULL) {
		l->first = p->next;
		if (l->first == NULL)
			l->end = &l->first;
		p->is_listed = false;
	}
	return p;
}

static void line_remove(struct post_line *l, struct post *p)
{
	for (struct post **at = &l->first; *at != NULL; at = &(*at)->next) {
		if (*at != p)
			continue;
		*at = p->next;
		if (*at == NULL)
			l->end = at;
		p->is_listed = false;
		return;
	}
}

static struct post *find_post(const struct dispatch *d, uint64_t account)
{
	struct target *t = backlog_find(d->backlog, account);

	return t == NULL ? NULL : t->owner;
}

static struct post *post_of(struct dispatch *d, uint64_t account)
{
	struct target *t = backlog_target(d->backlog, account);
	struct post *p = t->owner;

	if (p == NULL) {
		p = t->owner = MEM_NEW(struct post);
		p->dispatch = d;
		p->target = t;
	}
	return p;
}

/* Stands where it belongs now. */
static void place(struct post *p)
{
	struct dispatch *d = p->dispatch;

	if (p->is_listed || p->target->waiting.n == 0 || p->batch != NULL)
		return;
	if (p->state == POST_AWAKE)
		line_add(&d->ready, p);
	else if (p->state == POST_ASLEEP)
		line_add(&d->sleepers, p);
}

static void unlist(struct post *p)
{
	if (!p->is_listed)
		return;
	line_remove(&p->dispatch->ready, p);
	if (p->is_listed)
		line_remove(&p->dispatch->sleepers, p);
}

static void set_state(struct post *p, enum post_state to)
{
	p->dispatch->waking += (to == POST_WAKING) - (p->state == POST_WAKING);
	p->state = to;
	p->since_ms = p->dispatch->now_ms;
	unlist(p);
	place(p);
}

/* An account that sleeps and gets nothing needs no memory. */
static void forget_idle(struct post *p)
{
	struct target *t = p->target;

	if (p->state != POST_ASLEEP || p->batch != NULL || t->dues > 0)
		return;
	unlist(p);
	t->owner = NULL;
	backlog_drop_target(p->dispatch->backlog, t);
	mem_free(p);
}

struct dispatch *dispatch_new(struct backlog *b, uint64_t log_id, const struct dispatch_host *host)
{
	struct dispatch *d = MEM_NEW(struct dispatch);

	d->backlog = b;
	d->log_id = log_id;
	d->host = *host;
	d->ready.end = &d->ready.first;
	d->sleepers.end = &d->sleepers.first;
	return d;
}

/* ------------------------------------------------------------------------------------------------------- results */

static void batch_free(struct batch *b)
{
	struct post *p = b->post;
	struct dispatch *d = p->dispatch;

	if (b->is_counted)
		d->bytes_out -= b->bytes;
	d->out--;
	p->batch = NULL;
	mem_free(b);
}

static void answer_all_deferred(struct dispatch *d, struct due **dues, size_t n, const char *reason)
{
	for (size_t i = 0; i < n; i++) {
		struct delivery_result r = { dues[i]->message->log_id,
									 dues[i]->message->seq,
									 dues[i]->recipient,
									 DELIVERY_DEFERRED,
									 false,
									 STR("4.3.0"),
									 str_of(reason) };
		d->host.answered(d->host.context, dues[i], &r);
	}
}

static void defer_batch(struct post *p, const char *reason)
{
	struct batch *b = p->batch;
	struct due *dues[DELIVERY_BATCH_MAX];
	size_t n = b->n;

	memcpy(dues, b->dues, n * sizeof *dues);
	batch_free(b);
	answer_all_deferred(p->dispatch, dues, n, reason);
}

static void defer_waiting(struct post *p, const char *reason)
{
	struct due *d;

	while ((d = backlog_take(p->target)) != NULL)
		answer_all_deferred(p->dispatch, &d, 1, reason);
	unlist(p);
}

static void lose_batch(struct post *p)
{
	struct batch *b = p->batch;
	struct due *dues[DELIVERY_BATCH_MAX];
	size_t n = b->n;

	memcpy(dues, b->dues, n * sizeof *dues);
	batch_free(b);
	p->is_careful = true;
	while (n-- > 0) {
		if (dues[n]->losses < UINT8_MAX)
			dues[n]->losses++;
		if (dues[n]->losses >= DISPATCH_LOSSES_MAX)
			answer_all_deferred(p->dispatch, &dues[n], 1, text_get(LANG_EN, TEXT_REASON_CELL_ENDED));
		else
			backlog_give_back(dues[n]);
	}
}

static bool results_match(const struct batch *b, const struct delivery_result *r, size_t n)
{
	if (n != b->n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (r[i].log_id != b->dues[i]->message->log_id || r[i].seq != b->dues[i]->message->seq ||
		    r[i].recipient != b->dues[i]->recipient)
			return false;
	return true;
}

static void take_results(struct post *p, struct message *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct delivery_result *results;
	struct due *dues[DELIVERY_BATCH_MAX];
	struct batch *b = p->batch;
	size_t n;

	if (answer->status != ERR_OK || delivery_results_decode(answer->body, &a, &results, &n) != ERR_OK ||
		!results_match(b, results, n)) {
		log_error("a cell did not understand a delivery, or its answer cannot be understood account=%llu status=%s",
		          (unsigned long long)p->target->account, err_name(answer->status));
		defer_batch(p, text_get(LANG_EN, TEXT_REASON_CELL_NONSENSE));
		return;
	}
	memcpy(dues, b->dues, n * sizeof *dues);
	batch_free(b);
	p->hangs = 0;
	p->is_careful = false;
	for (size_t i = 0; i < n; i++)
		p->dispatch->host.answered(p->dispatch->host.context, dues[i], &results[i]);
}

static void on_answer(void *context, struct message *answer)
{
	struct post *p = context;

	switch (answer->status) {
	case ERR_UNAVAILABLE:  /* the cell is gone */
		lose_batch(p);
		break;
	case ERR_TIMEOUT:
		log_warn("no answer to a delivery, ending the cell account=%llu", (unsigned long long)p->target->account);
		set_state(p, POST_ENDING);
		p->dispatch->host.end(p->dispatch->host.context, p->target->account);
		return;
	default:
		take_results(p, answer);
	}
	place(p);
}

/* ------------------------------------------------------------------------------------------------------- sending */

/* Loads what waits into the batch, as far as it fits. */
static void fill(struct post *p, struct batch *b, struct delivery *out, struct arena *a)
{
	struct dispatch *d = p->dispatch;
	size_t most = p->is_careful ? 1 : DELIVERY_BATCH_MAX, files = 0;

	while (b->n < most && p->target->waiting.first != NULL) {
		struct due *due = p->target->waiting.first;
		struct delivery *to = &out[b->n];
		*to = (struct delivery){ .fd = -1 };
		if (due->losses >= DISPATCH_LOSSES_MAX) {  /* the last ones after they had taken it */
			due = backlog_take(p->target);
			answer_all_deferred(d, &due, 1, text_get(LANG_EN, TEXT_REASON_CELL_ENDED));
			continue;
		}
		if (d->host.load(d->host.context, due, a, to) != ERR_OK) {
			due = backlog_take(p->target);
			answer_all_deferred(d, &due, 1, text_get(LANG_EN, TEXT_REASON_UNREADABLE));
			continue;
		}
		if ((b->n > 0 && b->bytes + to->body.n > DISPATCH_BATCH_BYTES) || (to->fd >= 0 && files == DELIVERY_FDS_MAX)) {
			fd_close(&to->fd);
			return;
		}
		to->may_be_duplicate = due->may_be_duplicate;
		if (queued_is_late(due->message))  /* it may be this account's only since that was asked: late_readdress() */
			p->asked_w = UINT64_MAX;
		files += to->fd >= 0;
		b->bytes += to->body.n;
		b->dues[b->n++] = backlog_take(p->target);
	}
}

static void ask_prune(struct post *p)
{
	struct dispatch *d = p->dispatch;

	if (p->asked_w == d->w)
		return;
	p->asked_w = d->w;
	p->prune_seq = d->host.prune(d->host.context, p->target->account, &p->is_only_log);
}

static enum err send_deliveries(struct post *p, struct batch *b, struct delivery *deliveries)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int memfd = -1;
	struct dispatch *d = p->dispatch;
	int fds[MESSAGE_FDS_MAX], fd_count;

	ask_prune(p);
	struct delivery_batch out = { p->target->account, d->log_id, p->prune_seq, p->is_only_log, b->n, deliveries };
	TRY(delivery_batch_encode(&out, &request, fds, &fd_count, &memfd));
	return channel_ask(p->ch, REQUEST_DELIVER, buf_str(&request), fds, fd_count, DISPATCH_TIMEOUT_MS, on_answer, p);
}

static void send_batch(struct post *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct delivery deliveries[DELIVERY_BATCH_MAX];
	struct dispatch *d = p->dispatch;
	struct batch *b = MEM_NEW(struct batch);
	enum err e = ERR_OK;

	b->post = p;
	b->is_counted = true;
	p->batch = b;
	p->since_ms = d->now_ms;
	d->out++;
	fill(p, b, deliveries, &a);
	d->bytes_out += b->bytes;
	if (b->n > 0)
		e = send_deliveries(p, b, deliveries);
	for (size_t i = 0; i < b->n; i++)
		fd_close(&deliveries[i].fd);
	d->host.loaded_done(d->host.context);
	if (e == ERR_OK && b->n > 0)
		return;
	if (e != ERR_OK)  /* no memory or descriptors at the moment: dispatch_tick() tries again */
		log_error("a batch could not be sent account=%llu error=%s", (unsigned long long)p->target->account,
				  err_name(e));
	for (size_t i = b->n; i > 0; i--)
		backlog_give_back(b->dues[i - 1]);
	batch_free(b);
}

static void answer_replayed(struct post *p)
{
	struct dispatch *d = p->dispatch;

	if (p->replayed_call == 0 || p->target->duplicates > 0 || d->host.is_unproved(d->host.context, p->target->account))
		return;
	if (p->ch != NULL)
		channel_reply(p->ch, p->replayed_call, ERR_OK, STR(""), NULL, 0);
	p->replayed_call = 0;
	d->asking--;
}

static void answer_all_replayed(struct dispatch *d)
{
	size_t at = 0;
	void *v;

	while (d->asking > 0 && map_next(&d->backlog->targets, &at, NULL, &v))
		if (((struct target *)v)->owner != NULL)
			answer_replayed(((struct target *)v)->owner);
}

void dispatch_run(struct dispatch *d, int64_t now_ms)
{
	d->now_ms = now_ms;
	while (d->ready.first != NULL && d->bytes_out < DISPATCH_BYTES_OUT)
		send_batch(line_take(&d->ready));
	while (d->sleepers.first != NULL && d->waking < DISPATCH_WAKING_MAX) {
		struct post *p = line_take(&d->sleepers);
		set_state(p, POST_WAKING);
		d->host.wake(d->host.context, p->target->account);
	}
	if (d->asking > 0)
		answer_all_replayed(d);
}

/* ----------------------------------------------------------------------------------------------------------- cells */

void dispatch_poke(struct dispatch *d, uint64_t account) { place(post_of(d, account)); }

static void forget_replayed(struct post *p)
{
	p->dispatch->asking -= p->replayed_call != 0;
	p->replayed_call = 0;
}

void dispatch_awake(struct dispatch *d, uint64_t account, struct channel *ch)
{
	struct post *p = post_of(d, account);

	assert(p->batch == NULL || p->state == POST_ENDING);
	forget_replayed(p);
	p->ch = ch;
	if (p->state != POST_ENDING)
		set_state(p, POST_AWAKE);
}

void dispatch_asleep(struct dispatch *d, uint64_t account)
{
	struct post *p = find_post(d, account);

	if (p == NULL || p->ch == NULL)
		return;
	forget_replayed(p);
	p->ch = NULL;
	if (p->state == POST_ENDING)
		return;
	set_state(p, POST_ASLEEP);
	forget_idle(p);
}

void dispatch_ended(struct dispatch *d, uint64_t account, enum err result)
{
	struct post *p = find_post(d, account);

	if (p == NULL || p->state != POST_ENDING || result != ERR_OK)
		return;  /* dispatch_tick() asks again */
	p->hangs++;
	if (p->batch != NULL)
		defer_batch(p, text_get(LANG_EN, TEXT_REASON_CELL_SILENT));
	if (p->hangs >= HANGS_MAX)
		defer_waiting(p, text_get(LANG_EN, TEXT_REASON_CELL_SILENT_OFTEN));
	set_state(p, p->ch != NULL ? POST_AWAKE : POST_ASLEEP);
	forget_idle(p);
}

struct channel *dispatch_channel(const struct dispatch *d, uint64_t account)
{
	struct post *p = find_post(d, account);

	return p != NULL && p->state == POST_AWAKE ? p->ch : NULL;
}

void dispatch_replayed(struct dispatch *d, uint64_t account, uint32_t call)
{
	struct post *p = post_of(d, account);

	forget_replayed(p);
	p->replayed_call = call;
	d->asking++;
	answer_replayed(p);
}

void dispatch_set_w(struct dispatch *d, uint64_t w) { d->w = w; }
size_t dispatch_out(const struct dispatch *d) { return d->out; }

/* ------------------------------------------------------------------------------------------------------------ time */

static void tick_batch(struct post *p, int64_t now_ms)
{
	if (p->batch->is_counted && now_ms - p->since_ms >= OVERDUE_MS) {
		p->dispatch->bytes_out -= p->batch->bytes;  /* one that hangs does not use up the room of the others */
		p->batch->is_counted = false;
	}
}

static void tick_post(struct post *p, int64_t now_ms)
{
	struct dispatch *d = p->dispatch;

	if (p->batch != NULL)
		tick_batch(p, now_ms);
	if (p->ch != NULL)
		channel_expire(p->ch, now_ms);
	if (p->state == POST_WAKING && now_ms - p->since_ms >= DISPATCH_TIMEOUT_MS) {
		log_warn("no cell came for a delivery account=%llu", (unsigned long long)p->target->account);
		defer_waiting(p, text_get(LANG_EN, TEXT_REASON_CELL_CLOSED));
		set_state(p, POST_ASLEEP);
	} else if (p->state == POST_ENDING && now_ms - p->since_ms >= END_AGAIN_MS) {
		p->since_ms = now_ms;
		d->host.end(d->host.context, p->target->account);
	}
	place(p);
	forget_idle(p);
}

void dispatch_tick(struct dispatch *d, int64_t now_ms)
{
	size_t at = 0;
	void *v;

	d->now_ms = now_ms;
	while (map_next(&d->backlog->targets, &at, NULL, &v))
		if (((struct target *)v)->owner != NULL)
			tick_post(((struct target *)v)->owner, now_ms);
}

size_t dispatch_defer_old(struct dispatch *d, uint64_t upto, int64_t since_ms, size_t max)
{
	size_t at = 0, n = 0;
	void *v;

	while (n < max && map_next(&d->backlog->targets, &at, NULL, &v)) {
		struct target *t = v;
		/* a line is in the order of arrival, but for what was given back, which is older still */
		while (n < max && t->waiting.first != NULL && t->waiting.first->message->seq <= upto &&
		       !queued_is_late(t->waiting.first->message) && t->waiting.first->message->since_ms < since_ms) {
			struct due *due = backlog_take(t);
			answer_all_deferred(d, &due, 1, text_get(LANG_EN, TEXT_REASON_CELL_CROWD));
			n++;
		}
		if (t->owner != NULL && t->waiting.n == 0 && ((struct post *)t->owner)->is_listed)
			unlist(t->owner);
	}
	return n;
}

void dispatch_free(struct dispatch *d)
{
	size_t at = 0;
	void *v;

	if (d == NULL)
		return;
	while (map_next(&d->backlog->targets, &at, NULL, &v)) {
		struct target *t = v;
		struct post *p = t->owner;
		if (p == NULL)
			continue;
		for (size_t i = p->batch != NULL ? p->batch->n : 0; i > 0; i--)
			backlog_give_back(p->batch->dues[i - 1]);
		if (p->batch != NULL)
			batch_free(p->batch);
		mem_free(p);
		t->owner = NULL;
	}
	mem_free(d);
}
