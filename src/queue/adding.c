/* The bytes are copied once, into the payload of the record; that is written, and then kept as the freshest entry of the cache from which
 * it is delivered. Bodies that do not fit a record, or a delivery (DELIVERY_INLINE_MAX), are in a spool file: the sender's, or made here;
 * synced, before the record that names it is written. */
#include "queue/adding.h"
#include "base/bytes.h"
#include "base/wire.h"
#include "queue/queue_private.h"
#include "queue/record.h"
#include <assert.h>
#include <stddef.h>

enum { HEAD_ROOM = 200 };   /* bytes of a record besides envelope and body */

static struct adding *adding_of(struct job *j) { return (struct adding *)((char *)j - offsetof(struct adding, job)); }

enum err adding_is_possible(const struct queue *q)
{
	if (q->stops || (q->lookup == NULL && !q->config.is_resolved))
		return ERR_UNAVAILABLE;
	if (log_has_failed(q->log) || q->failed_ms != 0)
		return ERR_IO;
	return q->is_disk_full ? ERR_AGAIN : ERR_OK;
}

static size_t bytes_of(const struct adding *a) { return a->head.n + a->body.bytes.n; }
static uint32_t crc_of(const struct adding *a) { return crc32c(crc32c(0, a->head.p, a->head.n), a->body.bytes.p, a->body.bytes.n); }

/* ----------------------------------------------------------------------------------------------------- making a record */

static enum err make_record(struct adding *a)
{
	struct content *c = a->content = content_new();
	struct record_message m = { .envelope = buf_str(&a->encoded), .body = a->spool != 0 ? STR_NONE : a->body.bytes, .spool = a->spool,
		                        .size = a->spool != 0 ? a->body.size : bytes_of(a), .crc = a->spool != 0 ? a->body.crc : crc_of(a) };

	record_message_encode(&m, &c->payload);
	if (a->spool == 0) {
		buf_add(&c->payload, a->head);
		buf_add(&c->payload, m.body);
	}
	buf_free(&a->encoded);
	if (c->payload.failed || c->payload.n > log_record_max(a->queue->log))
		return ERR_LIMIT;
	return content_decode(c, 0) == ERR_OK ? ERR_OK : ERR_INVALID;
}

static void store_spool(struct job *j)
{
	struct adding *a = adding_of(j);
	struct spool *spool = a->queue->spool;

	a->result = ERR_OK;
	if (a->spool == 0) {
		a->body.size = bytes_of(a);
		a->body.crc = crc_of(a);
		a->result = spool_write(spool, a->head, a->body.bytes, &a->spool);
	}
	if (a->result == ERR_OK)
		a->result = spool_sync(spool, a->spool);
}

static void spool_stored(struct job *j)
{
	struct adding *a = adding_of(j);

	if (a->result == ERR_OK)
		a->ready(a, make_record(a));
	else
		a->ready(a, a->result == ERR_FULL || a->result == ERR_LIMIT ? ERR_AGAIN : ERR_IO);
}

/* Does it go into the record, or into a file of its own? */
static bool needs_spool(const struct adding *a)
{
	return a->is_apart || a->body.bytes.p == NULL || bytes_of(a) > DELIVERY_INLINE_MAX ||
	       a->encoded.n + bytes_of(a) + HEAD_ROOM > log_record_max(a->queue->log);
}

enum err adding_envelope(struct adding *a, const struct envelope *e)
{
	a->encoded = BUF(ENVELOPE_BYTES_MAX);
	envelope_encode(e, &a->encoded);
	return a->encoded.failed ? ERR_LIMIT : ERR_OK;
}

void adding_begin(struct adding *a)
{
	if (!needs_spool(a)) {
		a->ready(a, make_record(a));
		return;
	}
	if (a->keep != NULL)
		a->keep(a);
	a->job = (struct job){ .run = store_spool, .done = spool_stored };
	worker_add(a->queue->worker, &a->job);
}

/* ------------------------------------------------------------------------------------------------------------ writing */

static void was_written(struct writing *w)
{
	struct adding *a = (struct adding *)w;

	if (w->entry.result == ERR_OK || w->entry.result == ERR_IO)  /* the record that names the file is there, or may be */
		a->spool = 0;
	a->written(a);
}

void adding_write(struct adding *const *list, size_t n, bool names)
{
	struct writing *records[LOG_TOGETHER_MAX];

	assert(n > 0 && n <= LOG_TOGETHER_MAX);
	for (size_t i = 0; i < n; i++) {
		struct adding *a = list[i];
		a->writing = (struct writing){ .entry = { .kind = LOG_MESSAGE, .head = buf_str(&a->content->payload) }, .until_ms = a->until_ms, .done = was_written };
		if (names && i > 0) {
			a->writing.entry.names = &list[0]->writing.entry;
			a->writing.entry.names_at = record_parent_seq_at(buf_str(&a->content->payload));
		}
		records[i] = &a->writing;
	}
	writer_add_together(list[0]->queue->writer, records, n);
}

/* As the log has filled it in. */
static uint64_t number_at(struct str bytes)
{
	struct scan s = scan_of(bytes);

	return get_u64(&s);
}

const struct content *adding_enter(struct adding *a)
{
	struct queue *q = a->queue;
	struct content *c = a->content;
	const struct log_entry *e = &a->writing.entry;

	c->seq = e->place.seq;
	if (e->names_at > 0)
		c->envelope.parent.seq = number_at(str_from(e->head, e->names_at));
	note_received(q, c, false);
	sync_known(q->sync, c->seq);
	enum err result = add_to_backlog(q, e->place, c, false);
	assert(result == ERR_OK);  /* only a replay asks queue.db */
	content_keep(q->contents, c);
	a->content = NULL;
	return c;
}

void adding_drop(struct adding *a)
{
	if (a->spool != 0)
		spool_remove(a->queue->spool, a->spool);
	a->spool = 0;
	buf_free(&a->encoded);
	content_free(a->content);
	a->content = NULL;
}
