/* The serving side of ADD and SPOOL.
 *
 * An ADD is copied once, into the payload of its record; that payload is written, and then kept as the freshest entry
 * of the cache from which it is delivered. Bodies that do not fit a record, or a delivery (DELIVERY_INLINE_MAX), go to
 * a spool file first: made here from the memfd, or by the sender; synced in the worker, then the record that names it
 * is written as any other. The answer is sent when the record is durable, if the one who asked is still there.
 *
 * A cell is not believed more than it must be: it has so many questions and files at a time, names only its own account
 * as the parent of what its deliveries made, and who submitted is what the channel says.
 *
 * Groups. What a group sends on is one record more for its members here and one for those elsewhere (copies.c). They are written before the
 * message itself, and only when all are durable it is answered: who is not answered sends again, at worst a second time.
 *
 * The same parent key twice: the second is answered with the first one's name. While the first is still being written
 * the second is told to come again: it can only be the next cell of an account whose last one has just died. */
#include "queue/add.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_private.h"
#include "queue/record.h"
#include "queue/parcels.h"
#include "queue/resolve.h"
#include "queue/copies.h"
#include "queue/orders.h"
#include <assert.h>
#include <stddef.h>

enum { CELL_ADDS_MAX = 64, CELL_SPOOLS_MAX = 16 };

struct adding {
	struct writing      writing;
	struct job          job;         /* the spool file */
	struct queue       *queue;
	uint64_t            asker;       /* number */
	uint32_t            call;
	struct queue_add_in in;          /* while its bytes go to a spool file */
	struct buf          copy;        /* of what in views, when it came inside the request */
	struct buf          resolved;    /* the envelope as it goes into the log */
	struct resolved     all;         /* with what groups send on */
	struct copies      *copies;      /* those, while they are written */
	struct buf          head;        /* of a copy: its header; in.body.bytes is the rest */
	struct arena        arena;       /* for in */
	struct content     *content;     /* the record, once it is complete */
	struct envelope_parent parent;
	uint64_t            spool;
	enum err            spooled;
	add_own_done        own;         /* a message of the queue's own; NULL: an asker's */
	void               *own_context;
};

static struct adding *adding_of(struct writing *w) { return (struct adding *)w; }
static struct adding *adding_of_job(struct job *j)
{
	return (struct adding *)((char *)j - offsetof(struct adding, job));
}

static void adding_free(struct adding *a)
{
	struct asker *asker = map_get_u64(&a->queue->askers, a->asker);

	if (asker != NULL)
		asker->adding--;
	a->queue->adding--;
	queue_add_release(&a->in);
	buf_free(&a->copy);
	buf_free(&a->resolved);
	buf_free(&a->head);
	copies_free(a->copies);
	arena_free(&a->arena);
	content_free(a->content);
	mem_free(a);
}

static void reply(struct adding *a, enum err e, uint64_t seq)
{
	struct asker *asker = map_get_u64(&a->queue->askers, a->asker);
	CLEANUP(buf_free) struct buf b = BUF(64);

	if (asker == NULL)
		return;
	if (e == ERR_OK)
		queue_add_answer((struct queue_id){ log_id(a->queue->log), seq }, &b);
	channel_reply(asker->ch, a->call, e, b.n > 0 ? buf_str(&b) : STR(""), NULL, 0);
}

static void refuse(struct adding *a, enum err e)
{
	parents_set(&a->queue->parents, &a->parent, 0);
	if (a->spool != 0)
		spool_remove(a->queue->spool, a->spool);
	reply(a, e, 0);
	if (a->own != NULL)
		a->own(a->own_context, e, NULL);
	adding_free(a);
}

/* ------------------------------------------------------------------------------------------------- after the sync */

/* A report of ours is in the log: what it told is told (queue/reporter.c). */
static enum err end_report_of(struct queue *q, const struct envelope *e)
{
	if (e->source != ENVELOPE_DELIVERY || e->parent.log_id == 0 || e->parent.account != 0)
		return ERR_OK;
	return late_report_end(q->late, e->parent.log_id, e->parent.seq, e->parent.ordinal);
}

/* The sender who asked for it is told that a group has his message. */
static const struct sync_result was_distributed = { .outcome = DELIVERY_DONE, .status = { "2.1.5", 5 },
	.reason = { "The message was sent on to the members of the group.", 52 }, .host = { "", 0 } };

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
	else if (is_group)
		sync_move(q->sync, d, &was_distributed);
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
		if (e != ERR_OK || (r->account == ENVELOPE_GROUP && !report_is_due(&c->envelope, r->notify, REPORT_DELIVERED)) || settled ||
		    (was_sent && !report_of_done_is_due(&c->envelope, 0, r->notify, sent.peer_tells, sent.has_passed_by)))
			continue;
		take_recipient(q, m, &c->envelope, (uint16_t)i, again, was_sent ? &sent : NULL);
	}
	backlog_close(&q->backlog, m);
	return e;
}

static void written(struct writing *w)
{
	struct adding *a = adding_of(w);
	struct queue *q = a->queue;
	struct content *c = a->content;

	if (w->entry.result != ERR_OK) {
		refuse(a, w->entry.result);
		return;
	}
	c->seq = w->entry.place.seq;
	reply(a, ERR_OK, c->seq);
	note_received(q, c, false);
	note_distributed(q, c, &a->all);
	sync_known(q->sync, c->seq);
	enum err e = add_to_backlog(q, w->entry.place, c, false);
	assert(e == ERR_OK);  /* only a replay asks queue.db */
	if (a->own != NULL)
		a->own(a->own_context, ERR_OK, backlog_due(&q->backlog, q->backlog.last, 0, UINT16_MAX, false));
	content_keep(q->contents, c);
	a->content = NULL;
	adding_free(a);
}

/* ------------------------------------------------------------------------------------------------ before the write */

static size_t bytes_of(const struct adding *a) { return a->head.n + a->in.body.bytes.n; }
static uint32_t crc_of(const struct adding *a)
{
	return crc32c(crc32c(0, a->head.p, a->head.n), a->in.body.bytes.p, a->in.body.bytes.n);
}

/* The payload of the record: head, and the body unless it is in a spool file. */
static void write_record(struct adding *a)
{
	struct queue *q = a->queue;
	struct content *c = a->content = content_new();
	struct record_message m = { .envelope = a->in.envelope_bytes, .body = a->in.body.bytes, .spool = a->spool,
		                        .size = a->spool ? a->in.body.size : bytes_of(a), .crc = a->in.body.crc };

	if (a->spool != 0)
		m.body = STR_NONE;
	else
		m.crc = crc_of(a);
	record_message_encode(&m, &c->payload);
	if (a->spool == 0) {
		buf_add(&c->payload, buf_str(&a->head));
		buf_add(&c->payload, m.body);
	}
	if (c->payload.failed || c->payload.n > log_record_max(q->log)) {
		refuse(a, ERR_LIMIT);
		return;
	}
	queue_add_release(&a->in);
	if (content_decode(c, 0) != ERR_OK) {
		refuse(a, ERR_INVALID);
		return;
	}
	a->writing = (struct writing){ .entry = { .kind = LOG_MESSAGE, .head = buf_str(&c->payload) }, .done = written };
	writer_add(q->writer, &a->writing);
}

static void store_spool(struct job *j)
{
	struct adding *a = adding_of_job(j);
	struct queue *q = a->queue;

	a->spooled = ERR_OK;
	if (a->spool == 0) {
		a->in.body.size = bytes_of(a);
		a->in.body.crc = crc_of(a);
		a->spooled = spool_write(q->spool, buf_str(&a->head), a->in.body.bytes, &a->spool);
	}
	if (a->spooled == ERR_OK)
		a->spooled = spool_sync(q->spool, a->spool);
}

static void spool_stored(struct job *j)
{
	struct adding *a = adding_of_job(j);

	if (a->spooled == ERR_OK)
		write_record(a);
	else
		refuse(a, a->spooled == ERR_LIMIT ? ERR_AGAIN : ERR_IO);
}

/* Does it go into the record, or into a file of its own? */
static bool needs_spool(const struct adding *a)
{
	enum { HEAD_ROOM = 200 };

	return a->in.body.bytes.p == NULL || bytes_of(a) > DELIVERY_INLINE_MAX ||
	       a->in.envelope_bytes.n + bytes_of(a) + HEAD_ROOM > log_record_max(a->queue->log);
}

/* Nothing to write: it was for groups that do not take it from this sender, and he cannot be told. */
static bool is_for_nobody(const struct adding *a) { return a->queue->lookup != NULL && a->all.envelope.n == 0; }

static enum err encode_envelope(struct adding *a, const struct envelope *e)
{
	a->resolved = BUF(ENVELOPE_BYTES_MAX);
	envelope_encode(e, &a->resolved);
	a->in.envelope_bytes = buf_str(&a->resolved);
	return a->resolved.failed ? ERR_LIMIT : ERR_OK;
}

/* The envelope as the log has it: the directory's targets in the place of addresses, and who submitted it as the
 * channel says. */
static enum err resolve(struct queue *q, uint64_t account, struct adding *a)
{
	struct envelope *in = &a->in.envelope;

	if (account != 0) {
		in->submitter = account;
		if (in->source != ENVELOPE_DELIVERY)
			in->source = ENVELOPE_SUBMISSION;
	}
	if (q->lookup == NULL)
		return encode_envelope(a, in);
	TRY(envelope_distribute(q->lookup, in, &a->arena, &a->all));
	if (a->all.n > 0) {
		TRY(copies_new(q, &a->all, &a->in.body, &a->copies));
		TRY(copies_check(a->copies, in));
	}
	return is_for_nobody(a) ? ERR_OK : encode_envelope(a, &a->all.envelope);
}

/* A body that came inside the request lives only as long as its handler. */
static void keep_request(struct adding *a)
{
	struct queue_add_in *in = &a->in;

	if (in->mapped.p != NULL)
		return;
	if (in->body.bytes.p == NULL)
		return;
	a->copy = BUF(in->body.bytes.n);
	buf_add(&a->copy, in->body.bytes);
	in->body.bytes = buf_str(&a->copy);
}

/* Why nothing can be taken now; ERR_OK: it can. */
static enum err may_take(const struct queue *q)
{
	if (q->stops || (q->lookup == NULL && !q->config.is_resolved))
		return ERR_UNAVAILABLE;
	if (q->has_failed || log_has_failed(q->log))
		return ERR_IO;
	return q->is_disk_full ? ERR_AGAIN : ERR_OK;
}

static enum err check_add(struct asker *asker, struct adding *a, const struct message *m)
{
	struct queue *q = asker->queue;

	TRY(may_take(q));
	if (asker->account != 0 && asker->adding > CELL_ADDS_MAX)
		return ERR_AGAIN;
	TRY(queue_add_decode(m, &a->arena, &a->in));
	if (a->in.envelope.parent.log_id != 0 && (asker->account == 0 || a->in.envelope.parent.account != asker->account))
		return ERR_INVALID;  /* account 0: what the queue itself makes */
	if (a->in.body.bytes.p == NULL) {
		if (spool_take(q->spool, asker->number, a->in.body.spool, a->in.body.size) != ERR_OK)
			return ERR_INVALID;
		a->spool = a->in.body.spool;
	}
	return resolve(q, asker->account, a);
}

/* To a spool file, or into the log at once. */
static void store(struct adding *a)
{
	if (!needs_spool(a)) {
		write_record(a);
		return;
	}
	keep_request(a);
	a->job = (struct job){ .run = store_spool, .done = spool_stored };
	worker_add(a->queue->worker, &a->job);
}

static void end_without(struct adding *a)
{
	parents_set(&a->queue->parents, &a->parent, 0);
	if (a->spool != 0)
		spool_remove(a->queue->spool, a->spool);
	reply(a, ERR_OK, 0);
	if (a->own != NULL)
		a->own(a->own_context, ERR_OK, NULL);
	adding_free(a);
}

static void on_orders(void *context, enum err result)
{
	struct adding *a = context;

	if (result != ERR_OK)
		refuse(a, result);
	else if (is_for_nobody(a))
		end_without(a);
	else
		store(a);
}

static void on_copies(void *context, enum err result)
{
	struct adding *a = context;

	if (result == ERR_OK)
		orders_run(a->queue, &a->all, &a->in.envelope, &a->in.body, on_orders, a);
	else
		refuse(a, result);
}

/* What is checked and resolved: first what groups send on (it views the look-up, which may be another one after a wait), then what the
 * server itself is told, then the message. */
static void take(struct adding *a)
{
	a->parent = a->in.envelope.parent;
	parents_set(&a->queue->parents, &a->parent, PARENT_BEING_WRITTEN);
	if (a->all.n == 0 && a->all.orders_n == 0 && !is_for_nobody(a)) {
		store(a);
		return;
	}
	keep_request(a);
	if (a->copies != NULL)
		copies_write(a->copies, on_copies, a);
	else
		on_copies(a, ERR_OK);
}

void add_copy(struct queue *q, const struct envelope *e, struct str head, struct str rest, add_own_done done, void *context)
{
	struct adding *a = MEM_NEW(struct adding);

	*a = (struct adding){ .queue = q, .own = done, .own_context = context, .head = BUF(head.n), .parent = e->parent,
		                  .in = { .envelope = *e, .body = { .bytes = rest } } };
	q->adding++;
	buf_add(&a->head, head);
	enum err result = may_take(q);
	if (result == ERR_OK)
		result = encode_envelope(a, e);
	if (result != ERR_OK) {
		refuse(a, result);
		return;
	}
	parents_set(&q->parents, &a->parent, PARENT_BEING_WRITTEN);
	store(a);
}

void add_on_add(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct asker *asker = context;
	struct queue *q = asker->queue;
	struct adding *a = MEM_NEW(struct adding);

	*a = (struct adding){ .queue = q, .asker = asker->number, .call = m->call };
	q->adding++;
	asker->adding++;
	q->added_ms = q->now_ms;
	enum err e = check_add(asker, a, m);
	if (e != ERR_OK) {
		refuse(a, e);
		return;
	}
	uint64_t earlier = parents_find(&q->parents, &a->in.envelope.parent);
	if (earlier != 0) {
		if (a->spool != 0)
			spool_remove(q->spool, a->spool);
		reply(a, earlier == PARENT_BEING_WRITTEN ? ERR_AGAIN : ERR_OK, earlier);
		adding_free(a);
		return;
	}
	take(a);
}

void add_own(struct queue *q, const struct envelope *e, struct str bytes, add_own_done done, void *context)
{
	struct adding *a = MEM_NEW(struct adding);

	*a = (struct adding){ .queue = q, .own = done, .own_context = context,
		                  .in = { .envelope = *e, .body = { .bytes = bytes } } };
	q->adding++;
	enum err result = may_take(q);
	if (result == ERR_OK)
		result = resolve(q, 0, a);
	if (result != ERR_OK)
		refuse(a, result);
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
		channel_reply(ch, m->call, e == ERR_LIMIT ? ERR_AGAIN : e, STR(""), NULL, 0);
		return;
	}
	queue_spool_answer(number, &b);
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), &fd, 1);
}
