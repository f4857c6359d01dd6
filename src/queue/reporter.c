/* The way of a report, and why it is sent exactly once:
 *
 *   1  the outcome is a row of queue.db in the state REPORT (or waits, and is late), before W passes its message     late_add, late_change
 *   2  the rows get the number of the report they are in                                                            late_report_begin
 *   3  the report goes into the log, as a message whose parent is (message, 0, number)                              add_own
 *   4  the rows are finished                                                                                        late_report_end
 *
 * Killed between 1 and 2, or 2 and 3: the rows are there, and the same number is written again. Between 3 and 4: the record is found
 * when the log is replayed, and its rows are ended before anything else happens (add.c). It is found, because W cannot pass it
 * before 4: until then the record holds a recipient that nobody settles (`hold`). Killed within 3: either the record is durable or
 * it is not, and 2 or 4 follows from that.
 *
 * A handful goes together, so that a thousand bounces cost three syncs for each handful and not each. What cannot be written now (a
 * full log) is tried again in a while, as what is due still. The report itself is written here, in the loop: it takes a tenth of a
 * millisecond and needs the directory. */
#include "queue/reporter.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/fate.h"
#include "queue/queue_private.h"
#include <stddef.h>
#include <unistd.h>

enum { TOGETHER = 16, REPORT_BYTES_MAX = 16 << 20, AGAIN_MS = 5000 };

struct one {
	struct reporter   *reporter;
	struct late_report report;
	struct buf         original;     /* of the message it is about: its first bytes */
	struct due        *hold;         /* once it is durable */
	bool               is_settled;   /* it is, or nobody is to be told */
};

struct reporter {
	struct queue *queue;
	struct job    job;
	struct arena  arena;
	struct one    ones[TOGETHER];
	size_t        n, writing;
	enum err      result;
	bool          is_busy, stops;
	bool          must_end;      /* queue.db could not be written: again, before anything else */
	int64_t       again_ms;
};

static struct reporter *reporter_of(struct job *j) { return (struct reporter *)((char *)j - offsetof(struct reporter, job)); }

struct reporter *reporter_new(struct queue *q)
{
	struct reporter *r = MEM_NEW(struct reporter);

	r->queue = q;
	return r;
}

bool reporter_is_busy(const struct reporter *r) { return r->is_busy && !r->must_end; }

void reporter_stop(struct reporter *r)
{
	if (r != NULL)
		r->stops = true;
}

static void forget_all(struct reporter *r)
{
	for (size_t i = 0; i < r->n; i++) {
		buf_free(&r->ones[i].original);
		if (r->ones[i].hold != NULL)
			backlog_settle(&r->queue->backlog, r->ones[i].hold);
		r->ones[i] = (struct one){ 0 };
	}
	r->n = 0;
	r->is_busy = false;
	arena_free(&r->arena);
}

void reporter_free(struct reporter *r)
{
	if (r == NULL)
		return;
	forget_all(r);
	mem_free(r);
}

/* --------------------------------------------------------------------------------------------- 4: the rows are finished */

static void run_end(struct job *j)
{
	struct reporter *r = reporter_of(j);

	r->result = ERR_OK;
	for (size_t i = 0; i < r->n; i++) {
		const struct late_report *x = &r->ones[i].report;
		if (r->ones[i].is_settled && r->result == ERR_OK)
			r->result = late_report_end(r->queue->late, x->message.log_id, x->message.seq, x->number);
	}
}

static void end_done(struct job *j)
{
	struct reporter *r = reporter_of(j);

	r->must_end = r->result != ERR_OK && !r->stops;
	if (r->must_end)
		r->again_ms = r->queue->now_ms + AGAIN_MS;
	else
		forget_all(r);
}

static void end(struct reporter *r)
{
	r->must_end = false;
	if (r->stops) {
		forget_all(r);
		return;
	}
	r->job = (struct job){ .run = run_end, .done = end_done };
	worker_add(r->queue->worker, &r->job);
}

/* -------------------------------------------------------------------------------------------------- 3: into the log */

static void was_written(struct one *o)
{
	struct reporter *r = o->reporter;

	if (--r->writing == 0)
		end(r);
}

static void on_written(void *context, enum err result, struct due *hold)
{
	struct one *o = context;

	o->hold = hold;
	o->is_settled = result == ERR_OK;
	if (result != ERR_OK) {
		o->reporter->again_ms = o->reporter->queue->now_ms + AGAIN_MS;
		log_warn("a report to a sender cannot be queued now, it is tried again error=%s", err_name(result));
	}
	was_written(o);
}

/* Of what is delivered the words are the mailbox that it went to: its owner's business, and the trail's. */
static struct str words_of(const struct late_row *row)
{
	bool is_mailbox = row->recipient.account != 0 && row->recipient.account != ENVELOPE_GROUP;

	return row->notice == REPORT_DELIVERED && is_mailbox ? STR("") : row->reason;
}

static void fill_recipients(const struct late_report *x, struct report_recipient *out)
{
	for (size_t i = 0; i < x->n; i++) {
		const struct late_row *row = &x->rows[i];
		out[i] = (struct report_recipient){ .action = (enum report_action)row->notice, .address = row->recipient.address,
			                                .orcpt = row->recipient.orcpt, .status = row->status, .text = words_of(row),
			                                .host = row->host, .tried = row->tried };
	}
}

static int64_t gives_up(const struct queue *q, const struct envelope *e)
{
	int64_t begins = envelope_begins(e), at = jumps_moved(&q->jumps, begins) + q->config.lifetime_s;
	int64_t by = jumps_moved_with(&q->jumps, begins, e->wishes.deliver_by);

	return e->wishes.by == ENVELOPE_BY_RETURN && by < at ? by : at;
}

/* What the sender gets; false: nobody is told. */
static bool write_report(struct one *o, struct buf *body, enum envelope_body *type, bool *smtputf8)
{
	struct queue *q = o->reporter->queue;
	const struct late_message *m = &o->report.message;
	struct report_recipient *recipients = arena_array(&o->reporter->arena, o->report.n + 1, sizeof *recipients);
	const struct report report = {
		.message = { m->log_id, m->seq }, .envelope = &m->envelope, .size = m->size, .original = buf_str(&o->original),
		.now = clock_wall_s(), .gives_up = gives_up(q, &m->envelope), .n = o->report.n, .recipients = recipients,
	};

	fill_recipients(&o->report, recipients);
	return o->report.n > 0 && q->host.report != NULL && q->host.report(q->host.context, &report, body, type, smtputf8) && !body->failed;
}

static void write_one(struct one *o)
{
	CLEANUP(buf_free) struct buf body = BUF(REPORT_BYTES_MAX);
	const struct late_message *m = &o->report.message;
	struct envelope_recipient to = { .address = m->envelope.sender, .notify = ENVELOPE_NOTIFY_NEVER };
	bool is_guarded = m->envelope.wishes.tls == ENVELOPE_TLS_REQUIRED;  /* RFC 8689 §5: so is what tells of it */
	struct envelope e = { .source = ENVELOPE_DELIVERY, .body = ENVELOPE_7BIT, .received = clock_wall_s(),
		                  .parent = { m->log_id, m->seq, 0, o->report.number }, .n = 1, .recipients = &to,
		                  .wishes = { .tls = is_guarded ? ENVELOPE_TLS_REQUIRED : ENVELOPE_TLS_USUAL,
		                              .priority = m->envelope.wishes.priority } };  /* RFC 6710: a report goes as fast as its message */

	if (!write_report(o, &body, &e.body, &e.smtputf8)) {
		o->is_settled = true;
		was_written(o);
		return;
	}
	log_info("reporting to the sender queue=" STR_FMT " recipients=%zu",
	         STR_ARG(queue_name((struct queue_id){ m->log_id, m->seq }, &o->reporter->arena)), o->report.n);
	add_own(o->reporter->queue, &e, buf_str(&body), on_written, o);
}

/* ------------------------------------------------------------------------------------- 2: numbers, and the originals */

/* The whole of a message that may go back, the header of another. */
static void keep_original(struct one *o, struct str first, uint64_t size)
{
	size_t max = size <= REPORT_ORIGINAL_MAX && o->report.message.envelope.ret == ENVELOPE_RET_FULL ? REPORT_ORIGINAL_MAX : REPORT_HEADER_MAX;

	buf_add(&o->original, str_sub(first, 0, max));
}

/* A body that cannot be read (logged) makes a report without it. */
static void read_original(struct one *o)
{
	CLEANUP(buf_free) struct buf bytes = BUF(LATE_SHARED_MAX);
	CLEANUP(fd_close) int fd = -1;
	const struct late_message *m = &o->report.message;
	char *p;

	o->original = BUF(REPORT_ORIGINAL_MAX);
	if (late_body(o->reporter->queue->late, m->log_id, m->seq, &bytes, &fd) != ERR_OK)
		return;
	if (fd >= 0 && (p = buf_reserve(&bytes, REPORT_HEADER_MAX)) != NULL) {
		ssize_t n = pread(fd, p, REPORT_HEADER_MAX, 0);
		buf_grew(&bytes, n > 0 ? (size_t)n : 0);
	}
	keep_original(o, buf_str(&bytes), m->size);
}

static void run_begin(struct job *j)
{
	struct reporter *r = reporter_of(j);
	struct late_report reports[TOGETHER];

	r->result = late_report_begin(r->queue->late, clock_wall_s(), TOGETHER, &r->arena, reports, &r->n);
	if (r->result != ERR_OK)
		r->n = 0;
	for (size_t i = 0; i < r->n; i++) {
		r->ones[i] = (struct one){ .reporter = r, .report = reports[i] };
		read_original(&r->ones[i]);
	}
}

static void begin_done(struct job *j)
{
	struct reporter *r = reporter_of(j);

	if (r->n == 0 || r->stops) {
		forget_all(r);
		return;
	}
	r->writing = r->n;
	for (size_t i = 0, n = r->n; i < n; i++)
		write_one(&r->ones[i]);
}

void reporter_tick(struct reporter *r)
{
	struct queue *q = r->queue;

	if (r->must_end && q->now_ms >= r->again_ms)
		end(r);
	if (r->is_busy || r->stops || q->now_ms < r->again_ms || (q->lookup == NULL && !q->config.is_resolved) || q->is_disk_full ||
	    !late_report_is_due(q->late, clock_wall_s()))
		return;
	r->is_busy = true;
	r->job = (struct job){ .run = run_begin, .done = begin_done };
	worker_add(q->worker, &r->job);
}
