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
 * The same parent key twice: the second is answered with the first one's name. While the first is still being written
 * the second is told to come again: it can only be the next cell of an account whose last one has just died. */
#include "queue/add.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_private.h"
#include "queue/record.h"
#include "queue/parcels.h"
#include "queue/resolve.h"
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

enum err add_to_backlog(struct queue *q, struct log_place place, const struct content *c, bool again)
{
	struct queued *m = backlog_message(&q->backlog, log_id(q->log), place, q->now_ms);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_row row;
	enum err e = again ? end_report_of(q, &c->envelope) : ERR_OK;

	parents_set(&q->parents, &c->envelope.parent, place.seq);
	if (c->spool != 0)
		spool_named(q->spool, c->spool, place.seq);
	for (size_t i = 0; e == ERR_OK && i < c->envelope.n; i++) {
		const struct envelope_recipient *r = &c->envelope.recipients[i];
		struct late_key key = { log_id(q->log), place.seq, (uint16_t)i };
		if (again && replay_was_sent(q, &key))
			continue;
		if (again)  /* moved to queue.db before the restart: the row answers for it */
			e = late_find(q->late, &key, &a, &row);
		arena_reset(&a);
		if (again && e == ERR_OK)
			continue;
		e = e == ERR_NOTFOUND ? ERR_OK : e;
		struct due *d = backlog_due(&q->backlog, m, r->account, (uint16_t)i, again);
		d->tells_success = report_is_due(&c->envelope, r->notify, REPORT_DELIVERED);
		if (r->account == 0)
			parcels_add(q->parcels, d, &c->envelope);
		else
			dispatch_poke(q->dispatch, r->account);
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

/* The payload of the record: head, and the body unless it is in a spool file. */
static void write_record(struct adding *a)
{
	struct queue *q = a->queue;
	struct content *c = a->content = content_new();
	struct record_message m = { .envelope = a->in.envelope_bytes, .body = a->in.body.bytes, .spool = a->spool,
		                        .size = a->spool ? a->in.body.size : a->in.body.bytes.n, .crc = a->in.body.crc };

	if (a->spool != 0)
		m.body = STR_NONE;
	else
		m.crc = crc32c(0, m.body.p, m.body.n);
	record_message_encode(&m, &c->payload);
	if (a->spool == 0)
		buf_add(&c->payload, m.body);
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
		a->in.body.size = a->in.body.bytes.n;
		a->in.body.crc = crc32c(0, a->in.body.bytes.p, a->in.body.bytes.n);
		a->spooled = spool_write(q->spool, a->in.body.bytes, &a->spool);
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
static bool needs_spool(const struct queue *q, const struct queue_add_in *in)
{
	enum { HEAD_ROOM = 200 };

	return in->body.bytes.p == NULL || in->body.bytes.n > DELIVERY_INLINE_MAX ||
	       in->envelope_bytes.n + in->body.bytes.n + HEAD_ROOM > log_record_max(q->log);
}

/* The envelope as the log has it: the directory's targets in the place of addresses, and who submitted it as the
 * channel says. */
static enum err resolve(struct queue *q, uint64_t account, struct adding *a)
{
	struct envelope out = a->in.envelope;

	if (q->lookup != NULL)
		TRY(envelope_resolve(q->lookup, &a->in.envelope, &a->arena, &out));
	if (account != 0) {
		out.submitter = account;
		if (out.source != ENVELOPE_DELIVERY)
			out.source = ENVELOPE_SUBMISSION;
	}
	a->resolved = BUF(ENVELOPE_BYTES_MAX);
	envelope_encode(&out, &a->resolved);
	a->in.envelope_bytes = buf_str(&a->resolved);
	return a->resolved.failed ? ERR_LIMIT : ERR_OK;
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
	TRY(resolve(q, asker->account, a));
	if (a->in.body.bytes.p == NULL) {
		if (spool_take(q->spool, asker->number, a->in.body.spool, a->in.body.size) != ERR_OK)
			return ERR_INVALID;
		a->spool = a->in.body.spool;
	}
	return ERR_OK;
}

/* What is checked and resolved: to a spool file, or into the log at once. */
static void take(struct adding *a)
{
	struct queue *q = a->queue;

	a->parent = a->in.envelope.parent;
	parents_set(&q->parents, &a->parent, PARENT_BEING_WRITTEN);
	if (needs_spool(q, &a->in)) {
		keep_request(a);
		a->job = (struct job){ .run = store_spool, .done = spool_stored };
		worker_add(q->worker, &a->job);
	} else {
		write_record(a);
	}
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
