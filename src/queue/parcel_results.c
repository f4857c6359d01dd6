/* What net said of a parcel, and what is written down of it. The order in it (the record, its sync, SENT) is the argument of parcels.c. */
#include "base/bytes.h"
#include "base/clock.h"
#include "queue/parcels_private.h"
#include "queue/record.h"
#include "text/text.h"
#include <stddef.h>

void item_unparcel(struct item *i)
{
	if (i->due != NULL)
		i->due->parcel = NULL;
	i->due = NULL;
}

/* It was not DONE: to queue.db with what was said. */
static void put_off(struct parcel *p, struct item *i, const struct sync_result *result)
{
	struct sync *sync = p->parcels->queue->sync;
	struct late_key key = item_key(p, i);
	struct due *due = i->due;
	bool is_logged = i->state == ITEM_LOGGED;

	item_unparcel(i);
	i->state = ITEM_SETTLED;
	if (is_logged)
		sync_move(sync, due, result);
	else
		sync_late(sync, &key, result);
}

/* The row that a sender's wish to hear of it needs is made, or changed, like any other: W waits for it. */
static void settle_done(struct parcel *p, struct item *i)
{
	struct queue *q = p->parcels->queue;
	struct late_key key = item_key(p, i);
	struct due *due = i->due;
	bool is_logged = i->state == ITEM_LOGGED;

	item_unparcel(i);
	i->state = ITEM_SETTLED;
	if (!is_logged)
		sync_late(q->sync, &key, &i->done);
	else if (due->tells_success && (!i->done.peer_tells || p->watches_time))
		sync_move(q->sync, due, &i->done);
	else
		backlog_settle(&q->backlog, due);
}

static void send_sent(struct parcel *p)
{
	struct parcels *r = p->parcels;

	if (r->sent.n == SENT_MAX * sizeof(uint64_t))
		parcels_tell_sent(r);
	put_sent(&r->sent, p->number);
}

void parcels_tell_sent(struct parcels *r)
{
	if (r->sent.n > 0 && r->net != NULL)
		channel_notify(r->net, NOTICE_SENT, buf_str(&r->sent), NULL, 0);
	buf_reset(&r->sent);
}

/* That it was DONE is durable. Settled first: sync may let W pass the record as soon as it knows its seq. */
static void recorded(struct writing *w)
{
	struct parcel *p = (struct parcel *)((char *)w - offsetof(struct parcel, writing));

	if (w->entry.result != ERR_OK) {  /* no room: parcels_tick() tries again. The log failed: so does the role, and a replay follows */
		p->has_no_record = w->entry.result == ERR_AGAIN;
		return;
	}
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].is_done && p->items[i].state != ITEM_SETTLED)
			settle_done(p, &p->items[i]);
	sync_known(p->parcels->queue->sync, w->entry.place.seq);
	send_sent(p);
	parcel_drop(p);
}

/* A lone sender's next message is a moment away: both share a sync. */
static void write_record(struct parcel *p)
{
	struct writer *w = p->parcels->queue->writer;

	p->has_no_record = false;
	p->writing = (struct writing){ .entry = { .kind = LOG_DONE, .head = buf_str(&p->record) }, .done = recorded };
	(turns_is_wanted(p->parcels->turns, &p->turn) ? writer_add : writer_add_later)(w, &p->writing);
}

static void record(struct parcel *p)
{
	struct record_done done = { .log_id = p->log_id, .seq = p->seq };

	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].is_done) {
			done.taken[done.n] = (p->items[i].done.peer_tells ? RECORD_PEER_TELLS : 0) | (p->items[i].done.has_passed_by ? RECORD_PASSED_BY : 0);
			done.recipients[done.n++] = p->items[i].recipient;
		}
	p->record = BUF(64 + 3 * RECORD_DONE_MAX);
	record_done_encode(&done, &p->record);
	p->state = PARCEL_DONE;
	write_record(p);
}

static void no_longer_out(struct parcel *p)
{
	p->parcels->bytes_out -= p->bytes;
	p->bytes = 0;
}

/* It has had no try of its own, and hears of another's. */
static void put_off_unsent(struct parcel *p, struct item *i, const struct sync_result *result)
{
	struct queue *q = p->parcels->queue;
	const struct late_past past = { true, jumps_moved(&q->jumps, p->begins), i->tries, i->asked };
	const struct late_key key = item_key(p, i);
	struct late_next next;

	late_next_of(&past, clock_wall_s(), q->config.lifetime_s, &next);
	note_put_aside(q, &key, i->address, next.due, result);
	put_off(p, i, result);
}

/* Nobody was reached: what waits for the same destination would fare the same. Each gets that as its result, and its own next time. */
static void put_off_others(struct parcel *p, const struct send_result *why)
{
	const struct sync_result result = { .outcome = DELIVERY_DEFERRED, .status = why->status, .reason = why->text, .host = why->host };
	struct parcels *r = p->parcels;
	struct turn *x;

	turns_explain(&p->turn, why->text);
	while ((x = turns_drain(r->turns, &p->turn)) != NULL) {
		struct parcel *other = (struct parcel *)x;
		for (size_t i = 0; i < other->n; i++)
			if (other->items[i].state != ITEM_SETTLED)
				put_off_unsent(other, &other->items[i], &result);
		parcel_drop(other);
	}
}

/* As a server answers, or as one would of a domain that does not exist. */
static bool is_reply(struct str text)
{
	return text.n >= 3 && chr_digit(text.p[0]) && chr_digit(text.p[1]) && chr_digit(text.p[2]);
}

/* Where no server has answered (nobody was reached, the connection was lost) the words are ours, and are not put into its mouth: they
 * name the host themselves. */
static struct send_result in_whose_words(struct parcel *p, struct send_result s)
{
	if (is_reply(s.text) || s.host.n == 0)
		return s;
	s.text = arena_printf(&p->arena, STR_FMT ": " STR_FMT, STR_ARG(s.host), STR_ARG(s.text));
	s.host = STR("");
	return s;
}

/* For the watch over accounts. What we refuse ourselves (too late, too large, not to be sent there) is no sign of a thief. */
static void tell_refused(const struct parcel *p, struct str text)
{
	const struct queue_host *host = &p->parcels->queue->host;

	if (p->submitter != 0 && host->refused != NULL && is_reply(text))
		host->refused(host->context, p->submitter);
}

static void take_result(struct parcel *p, struct item *i, const struct send_result *s)
{
	struct sync_result result = { .outcome = s->outcome, .status = s->status, .reason = s->text, .host = s->host,
		                          .peer_tells = s->has_passed_dsn, .has_passed_by = s->has_passed_by };
	const struct late_past past = { true, jumps_moved(&p->parcels->queue->jumps, p->begins), i->tries, i->asked };
	struct late_key key = item_key(p, i);

	note_sent(p->parcels->queue, &key, i->address, &past, s);
	if (s->outcome == DELIVERY_REFUSED)
		tell_refused(p, s->text);
	if (s->outcome != DELIVERY_DONE) {
		put_off(p, i, &result);
		return;
	}
	result.status = str_copy(&p->arena, s->status);
	result.reason = str_copy(&p->arena, s->text);
	result.host = str_copy(&p->arena, s->host);
	i->done = result;
	i->is_done = true;
}

void parcel_answered(struct parcel *p, const struct send_answer *a)
{
	struct parcels *r = p->parcels;
	struct send_result said = { 0 };
	size_t at = 0, done = 0;

	no_longer_out(p);
	note_attempts(r->queue, p->log_id, p->seq, a);
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].state == ITEM_SETTLED)
			continue;
		said = in_whose_words(p, a->results[at++]);
		take_result(p, &p->items[i], &said);
		done += said.outcome == DELIVERY_DONE;
	}
	if (turns_feedback(r->turns, &p->turn, a->feedback, r->now_ms) && at > 0)
		put_off_others(p, &said);
	if (done > 0) {
		record(p);
		return;
	}
	send_sent(p);
	parcel_drop(p);
}

void parcel_all(struct parcel *p, enum delivery_outcome outcome, struct str status, struct str text)
{
	const struct send_result s = { .outcome = outcome, .status = status, .text = text };

	no_longer_out(p);
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].state != ITEM_SETTLED)
			take_result(p, &p->items[i], &s);
	parcel_drop(p);
}

void parcel_again(struct parcel *p)
{
	no_longer_out(p);
	arena_reset(&p->arena);
	p->state = PARCEL_WAITING;
	turns_add_again(p->parcels->turns, &p->turn);
}

void parcel_lost(struct parcel *p)
{
	if (++p->losses < PARCELS_LOSSES_MAX)
		parcel_again(p);
	else
		parcel_all(p, DELIVERY_DEFERRED, STR("4.3.0"),
		           str_of(text_get(LANG_EN, TEXT_REASON_NET_ENDED)));
}

/* LOG_DONEs that found no room. Not asked of entry.result: that is the writer's until recorded(). */
void parcels_record_again(struct parcels *r)
{
	struct parcel_list *lists[] = { &r->fresh, &r->rest };

	for (size_t i = 0; i < COUNT_OF(lists); i++)
		for (struct parcel *p = lists[i]->first; p != NULL; p = p->after)
			if (p->has_no_record)
				write_record(p);
}
