/* QUEUE_COMMAND: the encoding of question and answer, the asking, and the queue's side. Long lists go in pages: each
 * answer is filled up to a size that surely fits, says whether there is more, and the next question names the last
 * entry of this one. */
#include "base/clock.h"
#include "base/log.h"
#include "queue/command.h"
#include "queue/delivery.h"
#include "queue/destination_list.h"
#include "queue/parcels.h"
#include "text/text.h"

enum { NAME_MAX_BYTES = 64, ANSWER_FULL = 50000, LIST_PAGE = 50, SHOW_PAGE = 200, REASON_MAX = LATE_REASON_MAX, HURRIED_MAX = 1000 };

/* --------------------------------------------------------------------------------------------------------- encoding */

void queue_command_encode(const struct queue_command *c, struct buf *out)
{
	put_u8(out, (uint8_t)c->kind);
	switch (c->kind) {
	case QUEUE_LIST:
		put_u64(out, c->after.log_id);
		put_u64(out, c->after.seq);
		put_str(out, c->text);
		break;
	case QUEUE_SHOW:
		put_str(out, c->name);
		put_u16(out, c->from);
		break;
	case QUEUE_RETRY:
	case QUEUE_HOLD:
	case QUEUE_RELEASE:
	case QUEUE_REMOVE:
		put_str(out, c->name);
		put_i64(out, c->recipient);
		break;
	case QUEUE_PAUSE:
	case QUEUE_RESUME:
		put_str(out, c->name);
		break;
	case QUEUE_DESTINATIONS:
	case QUEUE_COUNTERS:
	case QUEUE_COMMAND_KINDS:
		break;
	}
}

static int get_recipient(struct scan *s)
{
	int64_t v = get_i64(s);

	if (v < -1 || v >= ENVELOPE_RECIPIENTS_MAX)
		scan_fail(s);
	return (int)v;
}

enum err queue_command_decode(struct str bytes, struct queue_command *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct queue_command){ .kind = (enum queue_command_kind)get_u8(&s), .recipient = -1 };
	switch (out->kind) {
	case QUEUE_COUNTERS:
	case QUEUE_DESTINATIONS:
		break;
	case QUEUE_PAUSE:
	case QUEUE_RESUME:
		out->name = get_str(&s, SEND_DESTINATION_MAX);
		break;
	case QUEUE_LIST:
		out->after.log_id = get_u64(&s);
		out->after.seq = get_u64(&s);
		out->text = get_str(&s, ENVELOPE_ADDRESS_MAX);
		break;
	case QUEUE_SHOW:
		out->name = get_str(&s, NAME_MAX_BYTES);
		out->from = get_u16(&s);
		break;
	case QUEUE_RETRY:
	case QUEUE_HOLD:
	case QUEUE_RELEASE:
	case QUEUE_REMOVE:
		out->name = get_str(&s, NAME_MAX_BYTES);
		out->recipient = get_recipient(&s);
		break;
	default:
		return ERR_INVALID;
	}
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

static void put_counters(struct buf *out, const struct queue_counters *c)
{
	put_u64(out, c->log_id);
	put_u64(out, c->w);
	put_u64(out, c->last_seq);
	put_u32(out, c->fill_percent);
	put_bool(out, c->has_failed);
	put_bool(out, c->is_disk_full);
	put_u64(out, c->failing);
	put_u64(out, c->failing_account);
	put_u64(out, c->backlog);
	put_u64(out, c->late.waiting);
	put_u64(out, c->late.held);
	put_u64(out, c->late.elsewhere);
	put_i64(out, c->late.oldest);
	put_i64(out, c->late.next_due);
}

static void get_counters(struct scan *s, struct queue_counters *c)
{
	c->log_id = get_u64(s);
	c->w = get_u64(s);
	c->last_seq = get_u64(s);
	c->fill_percent = get_u32(s);
	c->has_failed = get_bool(s);
	c->is_disk_full = get_bool(s);
	c->failing = get_u64(s);
	c->failing_account = get_u64(s);
	c->backlog = get_u64(s);
	c->late.waiting = get_u64(s);
	c->late.held = get_u64(s);
	c->late.elsewhere = get_u64(s);
	c->late.oldest = get_i64(s);
	c->late.next_due = get_i64(s);
}

static void put_listed(struct buf *out, const struct queue_listed *m)
{
	put_u64(out, m->id.log_id);
	put_u64(out, m->id.seq);
	put_str(out, m->sender);
	put_u64(out, m->size);
	put_i64(out, m->received);
	put_u32(out, m->waiting);
	put_u32(out, m->held);
	put_i64(out, m->next_due);
	put_str(out, m->address);
	put_str(out, m->status);
	put_str(out, m->reason);
}

static void get_listed(struct scan *s, struct queue_listed *m)
{
	m->id.log_id = get_u64(s);
	m->id.seq = get_u64(s);
	m->sender = get_str(s, ENVELOPE_ADDRESS_MAX);
	m->size = get_u64(s);
	m->received = get_i64(s);
	m->waiting = get_u32(s);
	m->held = get_u32(s);
	m->next_due = get_i64(s);
	m->address = get_str(s, ENVELOPE_ADDRESS_MAX);
	m->status = get_str(s, LATE_STATUS_MAX);
	m->reason = get_str(s, LATE_REASON_MAX);
}

static void put_shown(struct buf *out, const struct queue_shown *r)
{
	put_u16(out, r->index);
	put_str(out, r->address);
	put_u64(out, r->account);
	put_u8(out, (uint8_t)r->state);
	put_u32(out, r->tries);
	put_i64(out, r->due);
	put_str(out, r->status);
	put_str(out, r->reason);
}

static void get_shown(struct scan *s, struct queue_shown *r)
{
	r->index = get_u16(s);
	r->address = get_str(s, ENVELOPE_ADDRESS_MAX);
	r->account = get_u64(s);
	r->state = (enum late_state)get_u8(s);
	r->tries = get_u32(s);
	r->due = get_i64(s);
	r->status = get_str(s, LATE_STATUS_MAX);
	r->reason = get_str(s, LATE_REASON_MAX);
	if (r->state != LATE_WAITING && r->state != LATE_HELD)
		scan_fail(s);
}

static void put_destination(struct buf *out, const struct queue_destination *d)
{
	put_str(out, d->name);
	put_u64(out, d->waiting);
	put_u32(out, d->sending);
	put_u32(out, d->failures);
	put_bool(out, d->is_paused);
	put_i64(out, d->again);
}

static void get_destination(struct scan *s, struct queue_destination *d)
{
	d->name = get_str(s, SEND_DESTINATION_MAX);
	d->waiting = get_u64(s);
	d->sending = get_u32(s);
	d->failures = get_u32(s);
	d->is_paused = get_bool(s);
	d->again = get_i64(s);
}

static void get_list(struct scan *s, struct arena *a, struct queue_answer *out)
{
	out->has_more = get_bool(s);
	out->last.log_id = get_u64(s);
	out->last.seq = get_u64(s);
	out->n = get_count(s, LIST_PAGE);
	out->messages = arena_array(a, out->n + 1, sizeof(*out->messages));
	for (size_t i = 0; i < out->n; i++)
		get_listed(s, &out->messages[i]);
}

static void get_show(struct scan *s, struct arena *a, struct queue_answer *out)
{
	out->messages = ARENA_NEW(a, struct queue_listed);
	get_listed(s, out->messages);
	out->peer = get_str(s, ENVELOPE_PEER_MAX);
	out->has_more = get_bool(s);
	out->n = get_count(s, SHOW_PAGE);
	out->recipients = arena_array(a, out->n + 1, sizeof(*out->recipients));
	for (size_t i = 0; i < out->n; i++)
		get_shown(s, &out->recipients[i]);
}

enum err queue_answer_decode(struct str bytes, struct arena *a, struct queue_answer *out)
{
	struct scan s = scan_of(bytes);

	*out = (struct queue_answer){ .kind = (enum queue_command_kind)get_u8(&s) };
	switch (out->kind) {
	case QUEUE_COUNTERS:
		get_counters(&s, &out->counters);
		break;
	case QUEUE_LIST:
		get_list(&s, a, out);
		break;
	case QUEUE_SHOW:
		get_show(&s, a, out);
		break;
	case QUEUE_RETRY:
	case QUEUE_HOLD:
	case QUEUE_RELEASE:
	case QUEUE_REMOVE:
		out->changed = get_u64(&s);
		break;
	case QUEUE_PAUSE:
	case QUEUE_RESUME:
		break;
	case QUEUE_DESTINATIONS:
		out->n = get_count(&s, QUEUE_DESTINATIONS_MAX);
		out->destinations = arena_array(a, out->n + 1, sizeof *out->destinations);
		for (size_t i = 0; i < out->n; i++)
			get_destination(&s, &out->destinations[i]);
		break;
	default:
		return ERR_INVALID;
	}
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

enum err queue_command_ask(struct channel *queue, const struct queue_command *c, struct arena *a,
                           struct queue_answer *out)
{
	CLEANUP(buf_free) struct buf request = BUF(ENVELOPE_ADDRESS_MAX + 100);
	struct message answer;

	queue_command_encode(c, &request);
	if (request.failed)
		return ERR_INVALID;
	TRY(channel_call(queue, REQUEST_QUEUE_COMMAND, buf_str(&request), NULL, 0, QUEUE_COMMAND_TIMEOUT_MS, a, &answer));
	return queue_answer_decode(answer.body, a, out);
}

/* ---------------------------------------------------------------------------------------------------------- serving */

/* With the first recipient that contains text. */
static enum err list_message(struct late *l, const struct late_message *m, struct str text, struct arena *a, struct queue_listed *out)
{
	struct late_summary sum;
	struct late_row first;

	TRY(late_row_with(l, m->log_id, m->seq, text, a, &first));
	TRY(late_summarise(l, m->log_id, m->seq, &sum));
	if (m->is_damaged) {
		struct str name = queue_name((struct queue_id){ m->log_id, m->seq }, a);
		first.status = STR("5.3.0");
		first.reason = text_format(a, LANG_EN, TEXT_REASON_DAMAGED, &name, 1);
	}
	*out = (struct queue_listed){ .id = { m->log_id, m->seq }, .sender = m->envelope.sender, .size = m->size,
		.received = m->envelope.received, .waiting = sum.waiting, .held = sum.held, .next_due = sum.next_due,
		.address = first.recipient.address, .status = first.status, .reason = first.reason };
	return ERR_OK;
}

/* A page looks at so many messages, whatever it finds: who looks for one recipient among a million holds up nobody's mail for long. */
static enum err serve_list(struct late *l, const struct queue_command *c, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf page = BUF(ANSWER_FULL + 8192);
	struct late_message *messages;
	struct queue_listed listed;
	struct queue_id last = c->after;
	size_t n, seen = 0, sent = 0;

	TRY(late_list(l, last.log_id, last.seq, LIST_PAGE + 1, &a, &messages, &n));
	for (; seen < n && seen < LIST_PAGE && page.n < ANSWER_FULL; seen++) {
		last = (struct queue_id){ messages[seen].log_id, messages[seen].seq };
		enum err e = list_message(l, &messages[seen], c->text, &a, &listed);
		if (e == ERR_NOTFOUND)
			continue;
		TRY(e);
		put_listed(&page, &listed);
		sent++;
	}
	put_bool(answer, seen < n);
	put_u64(answer, last.log_id);
	put_u64(answer, last.seq);
	put_u32(answer, (uint32_t)sent);
	buf_add(answer, buf_str(&page));
	return ERR_OK;
}

static enum err serve_show(struct late *l, uint64_t log_id, uint64_t seq, uint16_t from, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf page = BUF(ANSWER_FULL + 8192);
	struct late_message m;
	struct queue_listed listed;
	struct late_row *rows;
	size_t n, sent = 0;
	enum err e = late_message_find(l, log_id, seq, &a, &m);

	if (e != ERR_CORRUPT)
		TRY(e);
	TRY(list_message(l, &m, STR(""), &a, &listed));
	TRY(late_rows(l, log_id, seq, from, SHOW_PAGE + 1, &a, &rows, &n));
	for (; sent < n && sent < SHOW_PAGE && page.n < ANSWER_FULL; sent++) {
		const struct late_row *r = &rows[sent];
		struct queue_shown shown = { r->key.recipient, r->recipient.address, r->recipient.account, r->state, r->tries,
		                             r->due, r->status, r->reason };
		put_shown(&page, &shown);
	}
	put_listed(answer, &listed);
	put_str(answer, m.envelope.peer);
	put_bool(answer, sent < n);
	put_u32(answer, (uint32_t)sent);
	buf_add(answer, buf_str(&page));
	return ERR_OK;
}

/* Who wants a message to go now does not want to wait for the end of a pause. */
static void hurry(struct late *l, struct parcels *parcels, uint64_t log_id, uint64_t seq)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str *names;
	size_t n;

	if (log_id == 0) {
		parcels_hurry(parcels, STR_NONE);
		return;
	}
	if (late_list_destinations(l, log_id, seq, HURRIED_MAX, &a, &names, &n) != ERR_OK)
		return;  /* logged; it goes when the pause is over */
	for (size_t i = 0; i < n; i++)
		parcels_hurry(parcels, names[i]);
}

static enum err serve_order(struct late *l, struct parcels *parcels, const struct queue_command *c, uint64_t log_id, uint64_t seq,
                            struct buf *answer, bool *has_changed)
{
	static const enum late_order orders[QUEUE_COMMAND_KINDS] = { [QUEUE_RETRY] = LATE_RETRY, [QUEUE_HOLD] = LATE_HOLD,
		[QUEUE_RELEASE] = LATE_RELEASE, [QUEUE_REMOVE] = LATE_REMOVE };
	static const char *const words[QUEUE_COMMAND_KINDS] = { [QUEUE_RETRY] = "retry", [QUEUE_HOLD] = "hold",
		[QUEUE_RELEASE] = "release", [QUEUE_REMOVE] = "remove" };
	uint64_t changed;

	TRY(late_order(l, orders[c->kind], log_id, seq, c->recipient, clock_wall_s(), &changed));
	log_info("queue order=%s name=" STR_FMT " recipients=%llu", words[c->kind], STR_ARG(c->name),
	         (unsigned long long)changed);
	*has_changed = changed > 0;
	if (*has_changed && parcels != NULL && (c->kind == QUEUE_RETRY || c->kind == QUEUE_RELEASE))
		hurry(l, parcels, log_id, seq);
	put_u64(answer, changed);
	return ERR_OK;
}

/* An empty name is "all messages": log id 0. */
static enum err find_named(struct late *l, struct str name, uint64_t *log_id, uint64_t *seq)
{
	uint32_t high;

	*log_id = *seq = 0;
	if (name.n == 0)
		return ERR_OK;
	if (!queue_name_parse(name, &high, seq))
		return ERR_NOTFOUND;
	return late_find_name(l, high, *seq, log_id);
}

static enum err serve_destinations(struct late *l, const struct parcels *parcels, struct buf *answer)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_destination *list;
	size_t n;

	TRY(destination_list(l, parcels_turns(parcels), QUEUE_DESTINATIONS_MAX, &a, &list, &n));
	put_u32(answer, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		put_destination(answer, &list[i]);
	return ERR_OK;
}

static enum err serve_pause(struct parcels *parcels, const struct queue_command *c)
{
	TRY(parcels_pause(parcels, c->name, c->kind == QUEUE_PAUSE));
	log_info("queue order=%s destination=" STR_FMT, c->kind == QUEUE_PAUSE ? "pause" : "resume", STR_ARG(c->name));
	return ERR_OK;
}

static enum err serve(struct late *l, struct parcels *parcels, const struct queue_counters *counters, const struct queue_command *c,
                      struct buf *answer, bool *has_changed)
{
	struct queue_counters filled = *counters;
	uint64_t log_id, seq;

	put_u8(answer, (uint8_t)c->kind);
	switch (c->kind) {
	case QUEUE_COUNTERS:
		TRY(late_count(l, &filled.late));
		put_counters(answer, &filled);
		return ERR_OK;
	case QUEUE_LIST:
		return serve_list(l, c, answer);
	case QUEUE_SHOW:
		if (c->name.n == 0)
			return ERR_NOTFOUND;
		TRY(find_named(l, c->name, &log_id, &seq));
		return serve_show(l, log_id, seq, c->from, answer);
	case QUEUE_PAUSE:
	case QUEUE_RESUME:
		return parcels == NULL ? ERR_UNAVAILABLE : serve_pause(parcels, c);
	case QUEUE_DESTINATIONS:
		return parcels == NULL ? ERR_UNAVAILABLE : serve_destinations(l, parcels, answer);
	default:
		TRY(find_named(l, c->name, &log_id, &seq));
		return serve_order(l, parcels, c, log_id, seq, answer, has_changed);
	}
}

enum err queue_command_serve(struct late *l, struct parcels *parcels, const struct queue_counters *counters, struct str request,
                             struct buf *answer, bool *has_changed)
{
	struct queue_command c;
	enum err e;

	*has_changed = false;
	TRY(queue_command_decode(request, &c));
	e = serve(l, parcels, counters, &c, answer, has_changed);
	if (e == ERR_OK && answer->failed)
		e = ERR_LIMIT;
	if (e != ERR_OK)
		buf_reset(answer);
	return e;
}
