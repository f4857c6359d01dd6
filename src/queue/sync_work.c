/* What a round writes into queue.db: recipients that come from the log, and what became of those that are there. Those that are delivered only after the
 * accounts were synced, since a row answers for its recipient. In the worker's thread. */
#include "queue/sync_work.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/content.h"
#include "queue/fate.h"
#include <stdlib.h>

enum { ADD_MESSAGES = 64, ADD_BYTES = 8 << 20, CHANGE_ROWS = 2000 };

struct writing {
	const struct sync_config *config;
	struct jumps             *jumps;
};

/* What becomes of it now. row: as it is in queue.db; NULL: it comes from the log. How many tries it has had: *tries. */
static void fate_now(struct writing *x, const struct tried *t, const struct envelope *e, const struct envelope_recipient *to,
                     const struct late_row *row, struct fate *out, uint32_t *tries)
{
	struct late_past past = { to->account == 0, 0, row != NULL ? row->tries : 0, row != NULL ? row->asked : 0 };
	struct late_next next;
	struct fate_facts f = { .envelope = e, .account = to->account, .notify = to->notify, .outcome = t->outcome,
		                    .has_told = row != NULL && row->notice != REPORT_NOTHING, .peer_tells = t->peer_tells, .has_passed_by = t->has_passed_by,
		                    .now = clock_wall_s(), .delay_notice_s = x->config->delay_notice_s };

	(void)jumps_look(x->jumps);   /* what is over is over by this clock */
	past.received = jumps_moved(x->jumps, envelope_begins(e));
	late_next_of(&past, f.now, x->config->lifetime_s, &next);
	f.age_s = late_age(&past, f.now);
	f.is_over = next.is_over;
	f.due = next.due;
	*tries = next.tries;
	fate_of(&f, out);
}

/* parcels look for what is due behind the last row they have seen: what comes now is not before that. */
static int64_t later_than_now(int64_t due)
{
	int64_t soon = clock_wall_s() + 1;

	return due > soon ? due : soon;
}

static void late_recipient_of(struct writing *x, const struct move *m, const struct content *c, struct late_recipient *out)
{
	struct fate fate = { LATE_WAITING, later_than_now(m->next), REPORT_NOTHING };
	uint32_t tries = 0;

	if (m->tried.outcome != 0)
		fate_now(x, &m->tried, &c->envelope, &c->envelope.recipients[m->due->recipient], NULL, &fate, &tries);
	*out = (struct late_recipient){ .index = m->due->recipient, .state = fate.state, .due = fate.due, .notice = fate.notice,
		                            .tries = tries, .tried = m->tried.at, .status = str_of(m->tried.status),
		                            .reason = buf_str(&m->tried.reason), .host = buf_str(&m->tried.host) };
}

struct adding_late {
	struct late_new new[ADD_MESSAGES];
	struct content *content[ADD_MESSAGES];
	size_t          n, bytes;
	struct arena    arena;
};

static enum err add_now(struct writing *x, struct adding_late *a)
{
	enum err e = a->n > 0 ? late_add(x->config->late, a->new, a->n) : ERR_OK;

	for (size_t i = 0; i < a->n; i++)
		content_free(a->content[i]);
	a->n = a->bytes = 0;
	arena_reset(&a->arena);
	return e;
}

/* The moves of one message. One that cannot be read any more is lost with its record: said loudly, and W goes on. */
static enum err add_message(struct writing *x, struct adding_late *a, const struct move *moves, size_t n)
{
	const struct queued *q = moves[0].due->message;
	struct content *c = content_new();
	struct late_recipient *recipients;
	enum err e = content_read(x->config->log, q->place, c);

	if (e != ERR_OK) {
		content_free(c);
		log_error("MAIL LOST: a message cannot be read and not be kept seq=%llu recipients=%zu",
				  (unsigned long long)q->seq, n);
		return e == ERR_CORRUPT ? ERR_OK : e;
	}
	recipients = arena_array(&a->arena, n, sizeof *recipients);
	for (size_t i = 0; i < n; i++)
		late_recipient_of(x, &moves[i], c, &recipients[i]);
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
	return a->n == ADD_MESSAGES || a->bytes > ADD_BYTES ? add_now(x, a) : ERR_OK;
}

/* Those that are done stand behind, and each message's together. */
static int by_message(const void *left, const void *right)
{
	const struct move *l = left, *r = right;
	const struct due *a = l->due, *b = r->due;

	if (is_done(&l->tried) != is_done(&r->tried))
		return is_done(&l->tried) ? 1 : -1;
	if (a->message->seq != b->message->seq)
		return a->message->seq < b->message->seq ? -1 : 1;
	return (a->recipient > b->recipient) - (a->recipient < b->recipient);
}

static enum err add_moves(struct writing *x, const struct move *moves, size_t n)
{
	struct adding_late a = { 0 };
	enum err e = ERR_OK;

	for (size_t i = 0, end; e == ERR_OK && i < n; i = end) {
		for (end = i + 1; end < n && moves[end].due->message == moves[i].due->message;)
			end++;
		e = add_message(x, &a, &moves[i], end - i);
	}
	enum err last = add_now(x, &a);
	arena_free(&a.arena);
	return e != ERR_OK ? e : last;
}

/* Sorts, and says how many are not done: only those may be rows before the accounts are synced, since a row answers for its recipient. */
static size_t sort_moves(struct work *w)
{
	size_t n = 0;

	if (w->n_moves > 1)
		qsort(w->moves, w->n_moves, sizeof *w->moves, by_message);
	while (n < w->n_moves && !is_done(&w->moves[n].tried))
		n++;
	return n;
}

/* Nothing of it but state and due. */
static struct late_change moved(const struct late_row *row, enum late_state state, int64_t due)
{
	return (struct late_change){ .key = row->key, .state = state, .due = due, .tries = row->tries, .status = row->status,
		                         .reason = row->reason, .host = row->host, .tried = row->tried, .asked = row->asked };
}

/* Only of what is not there it is known that nothing is left to do. A damaged one (logged) is held until somebody looks. */
static enum err change_of(struct writing *x, const struct result *r, struct arena *a, struct late_change *out)
{
	struct late_row row = { 0 };
	struct late_message m = { 0 };
	struct fate fate;
	uint32_t tries;

	*out = (struct late_change){ .key = r->key, .state = LATE_FINISHED };
	enum err e = late_find(x->config->late, &r->key, a, &row);
	if (e == ERR_OK)
		e = late_message_find(x->config->late, r->key.log_id, r->key.seq, a, &m);
	if (e == ERR_NOTFOUND || (e == ERR_CORRUPT && is_done(&r->tried)))
		return ERR_OK;  /* removed by the administrator meanwhile; or delivered, whatever it says */
	if (e == ERR_CORRUPT) {
		*out = moved(&row, LATE_HELD, LATE_NEVER);
		return ERR_OK;
	}
	TRY(e);
	if (r->tried.outcome == 0) {
		*out = moved(&row, row.state, r->next);
		return ERR_OK;
	}
	fate_now(x, &r->tried, &m.envelope, &row.recipient, &row, &fate, &tries);
	*out = (struct late_change){ .key = r->key, .state = fate.state, .due = fate.due, .notice = fate.notice, .tries = tries, .tried = r->tried.at,
		                         .status = str_of(r->tried.status), .reason = buf_str(&r->tried.reason),
		                         .host = buf_str(&r->tried.host) };
	return ERR_OK;
}

/* The results of late deliveries: those that were delivered only after the accounts were synced. Not all in one transaction: ten thousand
 * rows with their envelopes are ten megabytes that the heap would keep. */
static enum err change_results(struct writing *x, const struct work *w, bool done)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	for (size_t i = 0; i < w->n_results; arena_reset(&a)) {
		struct late_change *changes = arena_array(&a, CHANGE_ROWS, sizeof *changes);
		size_t n = 0;
		for (; i < w->n_results && n < CHANGE_ROWS; i++)
			if (is_done(&w->results[i].tried) == done)
				TRY(change_of(x, &w->results[i], &a, &changes[n++]));
		if (n > 0)
			TRY(late_change(x->config->late, changes, n));
	}
	return ERR_OK;
}

enum err work_write_waiting(struct work *w, const struct sync_config *c, struct jumps *jumps, size_t *not_done)
{
	struct writing x = { c, jumps };

	*not_done = sort_moves(w);
	TRY(add_moves(&x, w->moves, *not_done));
	TRY(change_results(&x, w, false));
	return late_passed(c->late, log_w(c->log));
}

enum err work_write_done(const struct work *w, const struct sync_config *c, struct jumps *jumps, size_t not_done)
{
	struct writing x = { c, jumps };

	TRY(change_results(&x, w, true));
	return add_moves(&x, w->moves + not_done, w->n_moves - not_done);
}
