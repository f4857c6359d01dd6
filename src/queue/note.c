/* What the queue notes of its messages in the trail (trail/trail.h). One thread: the loop's. */
#include "base/clock.h"
#include "base/log.h"
#include "mime/header.h"
#include "queue/command.h"
#include "queue/queue_private.h"
#include "queue/resolve.h"
#include <unistd.h>

enum { HEADER_LOOKED_AT = 16 << 10 };   /* bytes; a Message-ID stands near the top */

/* The first identifier of the field, without < >. */
static struct str message_id(struct str header, struct arena *a)
{
	struct str value, *ids;

	if (!header_find(header, STR("Message-ID"), &value) || header_ids(a, value, &ids, 1) == 0)
		return STR("");
	return ids[0];
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The next word, cut off; a folded line is no other than a blank. */
static struct str next_word(struct str *rest)
{
	size_t n = 0;

	*rest = str_trim(*rest);
	while (n < rest->n && !is_blank(rest->p[n]))
		n++;
	struct str word = str_sub(*rest, 0, n);
	*rest = str_from(*rest, n);
	return word;
}

/* "id 00000abc.1" of the first Received, which is ours (smtpd/received.c). */
static struct str received_id(struct str header)
{
	struct str value, clause, rest, word = STR(""), id = STR("");

	if (!header_find(header, STR("Received"), &value))
		return id;
	str_cut(value, ';', &clause, &rest);
	while (clause.n > 0) {
		bool is_next = str_eq(word, STR("id"));
		word = next_word(&clause);
		if (is_next)
			id = word;
	}
	return id;
}

/* The beginning of the message: of a spooled one it is read, from what was written a moment ago. */
static struct str head_of(const struct queue *q, const struct content *c, char room[HEADER_LOOKED_AT])
{
	CLEANUP(fd_close) int fd = -1;
	ssize_t n;

	if (c->body.p != NULL)
		return str_sub(c->body, 0, HEADER_LOOKED_AT);
	if (spool_read(q->spool, c->spool, &fd) != ERR_OK)
		return STR("");
	n = pread(fd, room, HEADER_LOOKED_AT, 0);
	return str_make(room, n > 0 ? (size_t)n : 0);
}

/* The first ones; what happens to each is noted with its address or account. */
static size_t name_recipients(const struct envelope *e, struct trail_recipient out[TRAIL_RECIPIENTS_MAX])
{
	size_t n = 0;

	for (; n < e->n && n < TRAIL_RECIPIENTS_MAX; n++)
		out[n] = (struct trail_recipient){ e->recipients[n].address, e->recipients[n].account == ENVELOPE_GROUP ? 0 : e->recipients[n].account };
	return n;
}

static bool leads_elsewhere(const struct envelope *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->recipients[i].account == 0)
			return true;
	return false;
}

/* That nobody sees it at once has a reason, and an end. */
static void note_waits(struct queue *q, const struct content *c)
{
	const struct envelope *e = &c->envelope;
	bool is_slowed = e->slowed_until > e->wishes.release;
	int64_t due = is_slowed ? e->slowed_until : e->wishes.release;

	if (q->config.holds_elsewhere && leads_elsewhere(e))
		trail_note(q->config.trail, &(struct trail_event){ .kind = TRAIL_WAITS, .log_id = log_id(q->log), .seq = c->seq, .text = STR("held") });
	else if (due > e->received)
		trail_note(q->config.trail, &(struct trail_event){
			.kind = TRAIL_WAITS, .at_ms = e->received * 1000, .log_id = log_id(q->log), .seq = c->seq, .due = due,
			.text = is_slowed ? STR("slowed") : STR("asked") });
}

void note_received(struct queue *q, const struct content *c, bool again)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct trail_recipient recipients[TRAIL_RECIPIENTS_MAX];
	const struct envelope *e = &c->envelope;
	char room[HEADER_LOOKED_AT];

	if (q->config.trail == NULL)
		return;
	struct str header = head_of(q, c, room);
	trail_note(q->config.trail, &(struct trail_event){
		.kind = TRAIL_RECEIVED, .at_ms = again ? e->received * 1000 : 0, .log_id = log_id(q->log), .seq = c->seq,
		.parent_log_id = e->parent.log_id, .parent_seq = e->parent.seq, .account = e->submitter, .size = c->size,
		.source = (uint8_t)e->source, .sender = e->sender, .peer = e->peer,
		.message_id = message_id(header, &a), .received_id = received_id(header), .count = (uint32_t)e->n, .n = name_recipients(e, recipients),
		.recipients = recipients,
	});
	note_waits(q, c);
}

static uint32_t count_members(const struct resolved *all, size_t recipient)
{
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++)
		n += all->copies[i].recipient == recipient ? all->copies[i].envelope.n : 0;
	return (uint32_t)n;
}

void note_distributed(struct queue *q, const struct content *c, const struct resolved *all)
{
	for (size_t i = 0; all->n > 0 && i < c->envelope.n; i++)
		if (c->envelope.recipients[i].account == ENVELOPE_GROUP)
			trail_note(q->config.trail, &(struct trail_event){ .kind = TRAIL_SENT, .log_id = log_id(q->log), .seq = c->seq,
				.recipient = c->envelope.recipients[i].address, .status = STR("2.1.5"), .count = count_members(all, i) });
	for (size_t i = 0; i < all->drops_n; i++)
		trail_note(q->config.trail, &(struct trail_event){ .kind = TRAIL_FAILED, .log_id = log_id(q->log), .seq = c->seq,
			.recipient = all->drops[i].address, .status = all->drops[i].is_loop ? STR("5.4.6") : STR("5.7.1"),
			.text = all->drops[i].is_loop ? STR("The message has been sent on from this address before: it goes in a circle.") :
			                                STR("Automatic answers are not sent on to the members of a group.") });
}

void note_left(struct queue *q, struct str sender, struct str peer, const struct list_order_request *r, enum err result)
{
	trail_note(q->config.trail, &(struct trail_event){ .kind = TRAIL_LEFT, .account = r->account, .sender = sender, .peer = peer,
		.recipient = r->what.group, .status = result == ERR_OK ? STR("2.0.0") : result == ERR_NOTFOUND ? STR("5.1.1") : STR("5.7.1") });
}

void note_result(struct queue *q, const struct late_key *key, uint64_t account, const struct delivery_result *r, int64_t due)
{
	static const enum trail_kind kinds[] = {
		[DELIVERY_DONE] = TRAIL_DELIVERED, [DELIVERY_DEFERRED] = TRAIL_DEFERRED, [DELIVERY_REFUSED] = TRAIL_FAILED,
	};
	bool is_done = r->outcome == DELIVERY_DONE;

	trail_note(q->config.trail, &(struct trail_event){
		.kind = kinds[r->outcome], .log_id = key->log_id, .seq = key->seq, .account = account,
		.where = is_done ? r->reason : STR(""), .status = is_done ? STR("") : r->status,
		.text = is_done ? STR("") : r->reason, .due = due,
	});
}

/* One line in the log for each try as well, under the name that the sender was told. */
static void log_sent(const struct late_key *key, const struct send_result *r)
{
	static const char *const words[] = {
		[DELIVERY_DONE] = "sent", [DELIVERY_DEFERRED] = "not sent, tried again later", [DELIVERY_REFUSED] = "refused elsewhere",
	};
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str name = queue_name((struct queue_id){ key->log_id, key->seq }, &a);

	log_line(r->outcome == DELIVERY_DONE ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
		"%s queue=" STR_FMT " recipient=%u host=" STR_FMT " tls=" STR_FMT " status=" STR_FMT " reply=" STR_FMT, words[r->outcome],
		STR_ARG(name), key->recipient, STR_ARG(r->host), STR_ARG(r->tls), STR_ARG(r->status), STR_ARG(r->text));
}

void note_sent(struct queue *q, const struct late_key *key, struct str address, const struct late_past *past, const struct send_result *r)
{
	static const enum trail_kind kinds[] = {
		[DELIVERY_DONE] = TRAIL_SENT, [DELIVERY_DEFERRED] = TRAIL_DEFERRED, [DELIVERY_REFUSED] = TRAIL_FAILED,
	};
	enum trail_kind kind = kinds[r->outcome];
	struct late_next next;

	log_sent(key, r);
	late_next_of(past, clock_wall_s(), q->config.lifetime_s, &next);
	if (r->outcome == DELIVERY_DEFERRED && next.is_over)
		kind = TRAIL_EXPIRED;
	trail_note(q->config.trail, &(struct trail_event){
		.kind = kind, .log_id = key->log_id, .seq = key->seq, .recipient = address, .peer = r->host, .status = r->status,
		.text = r->text, .tls = r->tls, .due = kind == TRAIL_DEFERRED ? next.due : 0, .count = next.tries,
	});
}

void note_put_aside(struct queue *q, const struct late_key *key, struct str address, int64_t due, const struct sync_result *why)
{
	trail_note(q->config.trail, &(struct trail_event){
		.kind = TRAIL_DEFERRED, .log_id = key->log_id, .seq = key->seq, .recipient = address, .status = why->status, .text = why->reason,
		.due = due < LATE_NEVER ? due : 0,
	});
}

void note_attempts(struct queue *q, uint64_t log_id, uint64_t seq, const struct send_answer *a)
{
	for (size_t i = 0; i < a->n_attempts; i++)
		trail_note(q->config.trail, &(struct trail_event){
			.kind = TRAIL_ATTEMPT, .log_id = log_id, .seq = seq, .peer = a->attempts[i].host, .text = a->attempts[i].text });
}

void note_order(struct queue *q, struct str request)
{
	static const enum trail_kind kinds[QUEUE_COMMAND_KINDS] = {
		[QUEUE_RETRY] = TRAIL_RETRIED, [QUEUE_HOLD] = TRAIL_HELD, [QUEUE_RELEASE] = TRAIL_RELEASED, [QUEUE_REMOVE] = TRAIL_REMOVED,
	};
	struct queue_command c;
	struct trail_event e = { 0 };
	uint32_t high;

	if (queue_command_decode(request, &c) != ERR_OK || kinds[c.kind] == 0 || !queue_name_parse(c.name, &high, &e.seq))
		return;
	e.kind = kinds[c.kind];
	e.log_id = (uint64_t)high << 32;  /* half of it is in the name, and all that the trail is asked by */
	trail_note(q->config.trail, &e);
}
