/* The serving side of ADD, SPOOL and SPOOL_DROP.
 *
 * What is asked for is checked and resolved at once; then its record is made and written (adding.c), with what groups send on (copies.c), all
 * or nothing. The answer is sent when it is durable, if the one who asked is still there.
 *
 * A cell is not believed more than it must be: it has so many questions and files at a time, names only its own account
 * as the parent of what its deliveries made, and who submitted is what the channel says.
 *
 * What the message tells the server itself (orders.c) is done before it is written: if control cannot be asked now, the sender is told so, and
 * an order that comes twice does no more than one.
 *
 * The same parent key twice: the second is answered with the first one's name. While the first is still being written
 * the second is told to come again: it can only be the next cell of an account whose last one has just died. */
#include "queue/add.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/copies.h"
#include "queue/forward.h"
#include "queue/orders.h"
#include "queue/parcels.h"
#include "queue/queue_private.h"
#include "queue/resolve.h"
#include <assert.h>

enum { CELL_ADDS_MAX = 64, CELL_SPOOLS_MAX = 16 };

struct asked {                       /* one message on its way in */
	struct adding       adding;      /* first: the message itself */
	uint64_t            asker;       /* number; 0: the queue itself */
	uint32_t            call;
	struct queue_add_in in;
	struct buf          copy;        /* of what in views, when it came inside the request */
	struct resolved     all;         /* with what groups send on */
	struct copies      *copies;      /* that; NULL: nothing */
	size_t              waits;       /* for what must be done before it is written */
	enum err            failed;      /* of that */
	struct arena        arena;       /* for in and all */
	struct envelope_parent parent;
	add_own_done        own;         /* a message of the queue's own; NULL: an asker's */
	void               *own_context;
};

static struct asked *asked_of(struct adding *a) { return (struct asked *)a; }

static struct asked *asked_new(struct queue *q)
{
	struct asked *a = MEM_NEW(struct asked);

	a->adding.queue = q;
	q->adding++;
	return a;
}

static void asked_free(struct asked *a)
{
	struct queue *q = a->adding.queue;
	struct asker *asker = map_get_u64(&q->askers, a->asker);

	if (asker != NULL)
		asker->adding--;
	q->adding--;
	adding_drop(&a->adding);
	queue_add_release(&a->in);
	buf_free(&a->copy);
	copies_free(a->copies);
	arena_free(&a->arena);
	mem_free(a);
}

static void reply(struct asked *a, enum err e, uint64_t seq)
{
	struct queue *q = a->adding.queue;
	struct asker *asker = map_get_u64(&q->askers, a->asker);
	CLEANUP(buf_free) struct buf b = BUF(64);

	if (asker == NULL)
		return;
	if (e == ERR_OK)
		queue_add_answer((struct queue_id){ log_id(q->log), seq }, &b);
	channel_reply(asker->ch, a->call, e, b.n > 0 ? buf_str(&b) : STR(""), NULL, 0);
}

/* Without a record: it cannot be kept now, or (ERR_OK) there is nothing of it to be kept. */
static void end_without(struct asked *a, enum err e)
{
	parents_set(&a->adding.queue->parents, &a->parent, 0);
	reply(a, e, 0);
	if (a->own != NULL)
		a->own(a->own_context, e, NULL);
	asked_free(a);
}

/* ------------------------------------------------------------------------------------------------- after the sync */

/* A report of ours is in the log: what it told is told (queue/reporter.c). */
static enum err end_report_of(struct queue *q, const struct envelope *e)
{
	if (e->source != ENVELOPE_DELIVERY || e->parent.log_id == 0 || e->parent.account != 0)
		return ERR_OK;
	return late_report_end(q->late, e->parent.log_id, e->parent.seq, e->parent.ordinal);
}

/* It waits for its time in queue.db, wherever it goes. */
static void put_aside(struct queue *q, struct due *d, const struct envelope_recipient *to, int64_t at, const struct sync_result *why)
{
	const struct late_key key = { d->message->log_id, d->message->seq, d->recipient };

	if (why->status.n > 0)
		note_put_aside(q, &key, to->address, at, why);
	sync_put_aside(q->sync, d, at, why);
}

/* To where it belongs. sent: it has been sent to already, and only its sender may not know yet; NULL: it has not. */
static void take_recipient(struct queue *q, struct queued *m, const struct envelope *e, uint16_t i, bool again, const struct sync_result *sent)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct envelope_recipient *r = &e->recipients[i];
	bool is_group = r->account == ENVELOPE_GROUP;
	struct sync_result why;
	int64_t at = is_group || sent != NULL ? 0 : times_wait(q, e, r->account == 0, &a, &why);
	struct due *d = backlog_due(&q->backlog, m, is_group || at > 0 ? 0 : r->account, i, again);

	d->tells_success = report_of_done_is_due(e, r->account, r->notify, false, false);
	if (sent != NULL)
		sync_move(q->sync, d, sent);
	else if (is_group && again)
		unfinished_add(&q->unfinished, &m->place, d);
	else if (is_group)
		copies_settle(q, d);
	else if (at > 0)
		put_aside(q, d, r, at, &why);
	else if (r->account == 0)
		parcels_add(q->parcels, d, e);
	else
		dispatch_poke(q->dispatch, r->account);
}

/* Nothing is left to do for it: a replay finds that it has been sent to, or that it has moved to queue.db: then the row answers for it. */
static enum err is_settled(struct queue *q, const struct late_key *key, bool *settled)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_row row;
	enum err e = late_find(q->late, key, &a, &row);

	*settled = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err add_to_backlog(struct queue *q, struct log_place place, const struct content *c, bool again)
{
	struct queued *m = backlog_message(&q->backlog, log_id(q->log), place, q->now_ms);
	enum err e = again ? end_report_of(q, &c->envelope) : ERR_OK;

	if (c->envelope.parent.account != ENVELOPE_GROUP)
		parents_set(&q->parents, &c->envelope.parent, place.seq);
	if (c->spool != 0)
		spool_named(q->spool, c->spool, place.seq);
	for (size_t i = 0; e == ERR_OK && i < c->envelope.n; i++) {
		const struct envelope_recipient *r = &c->envelope.recipients[i];
		const struct late_key key = { log_id(q->log), place.seq, (uint16_t)i };
		struct sync_result sent;
		bool settled = false, was_sent = again && replay_was_sent(q, &key, &sent);
		if (again)
			e = is_settled(q, &key, &settled);
		if (e != ERR_OK || (r->account == ENVELOPE_GROUP && !again && !report_is_due(&c->envelope, r->notify, REPORT_DELIVERED)) || settled ||
		    (was_sent && !report_of_done_is_due(&c->envelope, 0, r->notify, sent.peer_tells, sent.has_passed_by)))
			continue;
		take_recipient(q, m, &c->envelope, (uint16_t)i, again, was_sent ? &sent : NULL);
	}
	if (again)
		unfinished_has_copy(q, &c->envelope.parent, &place);
	backlog_close(&q->backlog, m);
	return e;
}

static void written(struct adding *adding)
{
	struct asked *a = asked_of(adding);
	struct queue *q = adding->queue;
	struct copies *copies = a->copies;
	enum err e = adding->writing.entry.result;

	a->copies = NULL;  /* they live until they are in the backlog as well */
	if (e == ERR_OK && copies != NULL)
		e = copies_result(copies);
	if (e != ERR_OK) {
		end_without(a, e);
		return;
	}
	reply(a, ERR_OK, adding->writing.entry.place.seq);
	note_distributed(q, adding_enter(adding), &a->all);
	if (a->own != NULL)
		a->own(a->own_context, ERR_OK, backlog_due(&q->backlog, q->backlog.last, 0, UINT16_MAX, false));
	asked_free(a);
}

/* ------------------------------------------------------------------------------------------------ before the write */

/* Nothing to write: it was for groups that do not take it from this sender, and he cannot be told. */
static bool is_for_nobody(const struct asked *a) { return a->adding.queue->lookup != NULL && a->all.envelope.n == 0; }

/* The envelope as the log has it: the directory's targets in the place of addresses, and who submitted it as the
 * channel says. */
static enum err resolve(struct queue *q, uint64_t account, struct asked *a)
{
	struct envelope *in = &a->in.envelope;

	if (account != 0) {
		in->submitter = account;
		if (in->source != ENVELOPE_DELIVERY)
			in->source = ENVELOPE_SUBMISSION;
	}
	if (q->lookup == NULL)
		return adding_envelope(&a->adding, in);
	TRY(envelope_distribute(q->lookup, in, &a->arena, &a->all));
	TRY(forward_check(q, &a->in.body, &a->all, &a->arena));
	if (a->all.n > 0) {
		TRY(copies_new(q, &a->all, &a->in.body, &a->copies));
		TRY(copies_check(a->copies, in, &a->arena));
	}
	return is_for_nobody(a) ? ERR_OK : adding_envelope(&a->adding, &a->all.envelope);
}

/* A body that came inside the request lives only as long as its handler; so does what else views the request. */
static void keep_request(struct asked *a)
{
	struct queue_add_in *in = &a->in;

	if (in->mapped.p != NULL || in->body.bytes.p == NULL || a->copy.n > 0)
		return;
	a->copy = BUF(in->body.bytes.n);
	buf_add(&a->copy, in->body.bytes);
	in->body.bytes = buf_str(&a->copy);
}

/* What is left from before the end of the process comes first. */
static enum err may_take(const struct queue *q)
{
	TRY(adding_is_possible(q));
	return unfinished_comes_first(&q->unfinished) ? ERR_AGAIN : ERR_OK;
}

static enum err check_add(struct asker *asker, struct asked *a, const struct message *m)
{
	struct queue *q = asker->queue;

	TRY(may_take(q));
	if (asker->account != 0 && asker->adding > CELL_ADDS_MAX)
		return ERR_AGAIN;
	TRY(queue_add_decode(m, &a->arena, &a->in));
	a->adding.until_ms = a->in.until_ms;
	if (a->in.envelope.parent.log_id != 0 && (asker->account == 0 || a->in.envelope.parent.account != asker->account))
		return ERR_INVALID;  /* account 0: what the queue itself makes */
	if (a->in.body.bytes.p == NULL) {
		if (spool_take(q->spool, asker->number, a->in.body.spool, a->in.body.size) != ERR_OK)
			return ERR_INVALID;
		a->adding.spool = a->in.body.spool;
	}
	return resolve(q, asker->account, a);
}

static void ready(struct adding *adding, enum err result)
{
	struct asked *a = asked_of(adding);

	queue_add_release(&a->in);
	if (result != ERR_OK) {
		end_without(a, result);
	} else if (a->copies != NULL && copies_count(a->copies) > 0) {
		copies_write(a->copies, adding, NULL, NULL);
	} else {
		copies_free(a->copies);
		a->copies = NULL;
		adding_write(&adding, 1, false);
	}
}

static void keep(struct adding *adding)
{
	keep_request(asked_of(adding));
	adding->body = asked_of(adding)->in.body;
}

static void store(struct asked *a)
{
	struct adding *adding = &a->adding;

	adding->body = a->in.body;
	adding->ready = ready;
	adding->written = written;
	adding->keep = keep;
	adding_begin(adding);
}

static void one_done(void *context, enum err result)
{
	struct asked *a = context;

	if (result != ERR_OK && (a->failed == ERR_OK || a->failed == ERR_NOTFOUND))
		a->failed = result;
	if (--a->waits > 0)
		return;
	bool is_told = a->failed == ERR_NOTFOUND && a->in.envelope.source != ENVELOPE_DELIVERY;  /* that he has not left; a mailbox need not know */
	if (is_for_nobody(a))
		end_without(a, a->failed == ERR_NOTFOUND && !is_told ? ERR_OK : a->failed);
	else if (a->failed != ERR_OK && a->failed != ERR_NOTFOUND)
		end_without(a, a->failed);
	else
		store(a);
}

/* What is checked and resolved. What groups send on is made at once: it views the look-up, which may be another one after a wait. */
static void take(struct asked *a)
{
	a->parent = a->in.envelope.parent;
	parents_set(&a->adding.queue->parents, &a->parent, PARENT_BEING_WRITTEN);
	a->waits = 1;
	if (a->copies != NULL || a->all.orders_n > 0)
		keep_request(a);
	if (a->copies != NULL) {
		a->waits++;
		copies_make(a->copies, 0, one_done, a);
	}
	if (a->all.orders_n > 0) {
		a->waits++;
		orders_run(a->adding.queue, &a->all, &a->in.envelope, &a->in.body, one_done, a);
	}
	one_done(a, ERR_OK);
}

void add_on_add(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct asker *asker = context;
	struct queue *q = asker->queue;
	struct asked *a = asked_new(q);

	a->asker = asker->number;
	a->call = m->call;
	asker->adding++;
	q->added_ms = q->now_ms;
	enum err e = check_add(asker, a, m);
	if (e != ERR_OK) {
		end_without(a, e);
		return;
	}
	uint64_t earlier = parents_find(&q->parents, &a->in.envelope.parent);
	if (earlier != 0) {
		reply(a, earlier == PARENT_BEING_WRITTEN ? ERR_AGAIN : ERR_OK, earlier);
		asked_free(a);
		return;
	}
	take(a);
}

void add_own(struct queue *q, const struct envelope *e, struct str bytes, add_own_done done, void *context)
{
	struct asked *a = asked_new(q);

	a->own = done;
	a->own_context = context;
	a->in = (struct queue_add_in){ .envelope = *e, .body = { .bytes = bytes } };
	enum err result = may_take(q);
	if (result == ERR_OK)
		result = resolve(q, 0, a);
	if (result != ERR_OK)
		end_without(a, result);
	else
		take(a);
}

static void on_letter(void *context, enum err result, struct due *hold)
{
	struct queue *q = context;

	if (hold != NULL)
		backlog_settle(&q->backlog, hold);
	if (result != ERR_OK)
		log_warn("a letter to the postmaster could not be queued error=%s", err_name(result));
}

void queue_letter(struct queue *q, struct str to, struct str message)
{
	struct envelope_recipient r = { .address = to, .notify = ENVELOPE_NOTIFY_NEVER };
	const struct envelope e = { .source = ENVELOPE_LOCAL, .body = ENVELOPE_8BITMIME, .received = clock_wall_s(), .peer = STR("facteur"),
		                        .n = 1, .recipients = &r };

	add_own(q, &e, message, on_letter, q);
}

void add_on_spool(void *context, struct channel *ch, struct message *m)
{
	struct asker *asker = context;
	struct queue *q = asker->queue;
	CLEANUP(buf_free) struct buf b = BUF(16);
	CLEANUP(fd_close) int fd = -1;
	uint64_t number = 0;
	enum err e = may_take(q);

	if (e == ERR_OK)
		e = spool_new(q->spool, asker->number, asker->account != 0 ? CELL_SPOOLS_MAX : SPOOL_OPEN_MAX, q->now_ms,
					  &number, &fd);
	if (e != ERR_OK) {
		channel_reply(ch, m->call, e == ERR_FULL || e == ERR_LIMIT ? ERR_AGAIN : e, STR(""), NULL, 0);
		return;
	}
	queue_spool_answer(number, &b);
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), &fd, 1);
}

void add_on_spool_drop(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct asker *asker = context;
	struct scan s = scan_of(m->body);
	uint64_t number = get_u64(&s);

	if (get_end(&s))
		spool_drop(asker->queue->spool, asker->number, number);
}
