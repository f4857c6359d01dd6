/* trace: what happened to a message (trail/). From what was typed to a query; a row for each message, with its events inside, each
 * told in a sentence (trace_event.c). */
#include "admin/trace_private.h"
#include "base/clock.h"
#include "queue/add.h"

enum { MESSAGES_MAX = 100, HOUR_S = 3600, NOTED_WITHIN_MS = 60000 };

/* ---- what is asked? */

static bool is_bracketed(struct str s) { return s.n > 2 && s.p[0] == '<' && s.p[s.n - 1] == '>'; }

static bool has_only(struct str s, const char *of)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || strchr(of, s.p[i]) == NULL)
			return false;
	return s.n > 0;
}

/* "00000abc.1", as in the Received fields of this server. */
static bool is_received_id(struct str s)
{
	struct str session, number;

	return str_cut(s, '.', &session, &number) && session.n >= 8 && has_only(session, "0123456789abcdefABCDEF") && has_only(number, "0123456789");
}

/* An address leads to an account: then the account's mail is found, whichever of its addresses was used. */
static void ask_address(struct admin_call *c, struct str what, struct trail_query *q)
{
	struct directory_address x;
	struct directory_name name;

	q->by = TRAIL_BY_ADDRESS;
	q->text = what;
	if (directory_address_parse(what, &c->arena, &x) && name_find(c->directory, &x, &c->arena, &name) == ERR_OK)
		q->account = name.account;
}

static bool read_what(struct admin_call *c, struct str what, struct trail_query *q)
{
	struct str domain;

	if (queue_name_parse(what, &q->log_id_high, &q->seq)) {
		q->by = TRAIL_BY_NAME;
	} else if (is_bracketed(what)) {
		q->by = TRAIL_BY_MESSAGE_ID;
		q->text = str_sub(what, 1, what.n - 2);
	} else if (is_received_id(what)) {
		q->by = TRAIL_BY_RECEIVED_ID;
		q->text = what;
	} else if (str_chr(what, '@') > 0) {
		ask_address(c, what, q);
	} else if (str_chr(what, '.') > 0 && directory_domain_parse(what, &c->arena, &domain)) {
		q->by = TRAIL_BY_DOMAIN;
		q->text = domain;
	} else {
		return false;
	}
	return true;
}

static enum err read_query(struct admin_call *c, struct trail_query *q)
{
	struct str what = admin_text(c, "what"), since = admin_text(c, "since"), owner = admin_text(c, "owner");
	struct directory_account x;
	uint64_t seconds = what.p == NULL ? HOUR_S : 0;

	*q = (struct trail_query){ .by = TRAIL_BY_TIME, .max = MESSAGES_MAX };
	if (what.p != NULL && !read_what(c, what, q))
		return admin_refuse(c, ERR_INVALID, TEXT_TRACE_NOT_A_NAME, what);
	if (since.p != NULL)
		TRY(admin_age(c, since, &seconds));
	if (seconds > 0)
		q->since_ms = clock_wall_ms() - (int64_t)seconds * 1000;
	if (owner.p == NULL)
		return ERR_OK;
	TRY(admin_account(c, owner, &x));
	q->owner = x.account;
	return ERR_OK;
}

static enum err ask(struct admin_call *c, struct trail_query *q, struct trail_found *out)
{
	enum err e = c->host->trace(c->host->context, q, &c->arena, out);

	/* an unbracketed Message-ID looks like an address */
	if (e == ERR_OK && out->n == 0 && q->by == TRAIL_BY_ADDRESS) {
		q->by = TRAIL_BY_MESSAGE_ID;
		e = c->host->trace(c->host->context, q, &c->arena, out);
	}
	return e == ERR_UNAVAILABLE ? admin_refuse(c, e, TEXT_TRACE_NONE_KEPT, STR("")) : e;
}

/* ---- a message */

/* How a recipient's part of it ended, so far. */
enum outcome { OUTCOME_WAITING, OUTCOME_DONE, OUTCOME_FAILED, OUTCOME_HELD, OUTCOME_REMOVED, OUTCOMES };

struct part {
	struct str   address;
	uint64_t     account;
	enum outcome outcome;
};
struct parts {
	struct part *list;
	size_t       n, cap;
};

static struct part *part_of(struct admin_call *c, struct parts *p, struct str address, uint64_t account)
{
	for (size_t i = 0; i < p->n; i++)
		if (account != 0 ? p->list[i].account == account : str_ieq(p->list[i].address, address))
			return &p->list[i];
	p->list = arena_grow(&c->arena, p->list, p->n, &p->cap, sizeof *p->list);
	p->list[p->n] = (struct part){ .address = address, .account = account };
	return &p->list[p->n++];
}

static void order_all(struct parts *p, enum outcome outcome)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].outcome != OUTCOME_DONE)
			p->list[i].outcome = outcome;
}

static void follow(struct admin_call *c, struct parts *p, const struct trail_event *e)
{
	static const enum outcome outcomes[TRAIL_KINDS] = {
		[TRAIL_DELIVERED] = OUTCOME_DONE, [TRAIL_SENT] = OUTCOME_DONE, [TRAIL_FAILED] = OUTCOME_FAILED,
		[TRAIL_EXPIRED] = OUTCOME_FAILED, [TRAIL_HELD] = OUTCOME_HELD, [TRAIL_REMOVED] = OUTCOME_REMOVED,
	};

	if (e->kind == TRAIL_ATTEMPT)
		return;
	for (size_t i = 0; i < e->n; i++)
		part_of(c, p, e->recipients[i].address, e->recipients[i].account);
	if (e->kind == TRAIL_RECEIVED)
		return;
	if (e->recipient.n > 0 || e->account != 0)
		part_of(c, p, e->recipient, e->account)->outcome = outcomes[e->kind];
	else
		order_all(p, outcomes[e->kind]);
}

static struct str noted_state(struct admin_call *c, const struct trail_message *m)
{
	size_t counts[OUTCOMES] = { 0 };
	struct parts parts = { 0 };

	for (size_t i = 0; i < m->n; i++)
		if (trail_event_is_of(&m->events[i], m))
			follow(c, &parts, &m->events[i]);
	for (size_t i = 0; i < parts.n; i++)
		counts[parts.list[i].outcome]++;
	if (counts[OUTCOME_HELD] > 0)
		return STR("held");
	if (parts.n == 0 || counts[OUTCOME_WAITING] > 0)
		return STR("waiting");
	if (counts[OUTCOME_FAILED] > 0)
		return counts[OUTCOME_DONE] > 0 ? STR("partly failed") : STR("failed");
	return counts[OUTCOME_REMOVED] == parts.n ? STR("removed") : STR("delivered");
}

/* ---- what the queue has of it
 * What became of a message may not have been noted: the last second before a kill. So where it should still wait the queue is asked, but
 * for what is so young that it may be on its way; once it does not answer, it is not asked again. */
struct queue_seen {
	bool     is_asked, is_silent;
	uint64_t log_id, w;            /* what is older has been dealt with, or is a row of queue.db */
};

static bool ask_queue(struct admin_call *c, struct queue_seen *seen, const struct queue_command *ask, struct queue_answer *out)
{
	enum err e = seen->is_silent ? ERR_UNAVAILABLE : c->host->queue(c->host->context, ask, &c->arena, out);

	seen->is_silent |= e != ERR_OK && e != ERR_NOTFOUND;
	return e == ERR_OK;
}

/* p == NULL: nobody knows. */
static struct str queued_state(struct admin_call *c, struct queue_seen *seen, const struct trail_message *m)
{
	struct queue_command show = { .kind = QUEUE_SHOW, .recipient = -1, .name = queue_name((struct queue_id){ m->log_id, m->seq }, &c->arena) };
	const struct queue_command count = { .kind = QUEUE_COUNTERS, .recipient = -1, .name = STR("") };
	struct queue_answer answer;

	if (!seen->is_asked && ask_queue(c, seen, &count, &answer)) {
		seen->log_id = answer.counters.log_id;
		seen->w = answer.counters.w;
	}
	seen->is_asked = true;
	if (ask_queue(c, seen, &show, &answer))
		return answer.messages[0].held > 0 ? STR("held") : STR("waiting");
	if (seen->is_silent || (m->log_id == seen->log_id && m->seq > seen->w))
		return STR_NONE;
	return STR("unclear");
}

static struct str state_of(struct admin_call *c, struct queue_seen *seen, const struct trail_message *m)
{
	const struct trail_event *first = &m->events[0];
	struct str state, queued;

	if (m->log_id == 0)
		return first->kind == TRAIL_REFUSED || (first->kind == TRAIL_LEFT && !str_starts(first->status, STR("2."))) ? STR("refused") : STR("");
	state = noted_state(c, m);
	if (first->at_ms >= clock_wall_ms() - NOTED_WITHIN_MS || (!str_eq(state, STR("waiting")) && !str_eq(state, STR("held"))))
		return state;
	queued = queued_state(c, seen, m);
	return queued.p != NULL ? queued : state;
}

static void put_recipients(json_t *row, const struct trail_event *e, struct arena *a)
{
	struct str list[TRAIL_RECIPIENTS_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		if (n == 0 || !str_ieq(list[n - 1], e->recipients[i].address))  /* a group has many accounts under one address */
			list[n++] = e->recipients[i].address;
	if (e->recipient.n > 0 && n == 0)
		list[n++] = e->recipient;
	if (e->count > e->n && e->n == TRAIL_RECIPIENTS_MAX)
		list[n++] = arena_printf(a, "+%u", e->count - TRAIL_RECIPIENTS_MAX);
	admin_put_list(row, "recipients", list, n);
}

static void put_message(struct admin_call *c, struct queue_seen *seen, const struct trail_message *m)
{
	const struct trail_event *first = &m->events[0];
	struct str state = state_of(c, seen, m);
	json_t *row = admin_row(c), *events = json_array();

	if (m->log_id != 0)
		admin_put_text(row, "message", queue_name((struct queue_id){ m->log_id, m->seq }, &c->arena));
	admin_put_text(row, "state", state);
	if (str_eq(state, STR("unclear")))
		admin_put_text(row, "explanation", str_of(text_get(c->lang, TEXT_TRACE_UNCLEAR)));
	admin_put_text(row, "sender", first->sender.n > 0 ? first->sender : STR("<>"));
	put_recipients(row, first, &c->arena);
	admin_put_number(row, "received", (uint64_t)(first->at_ms / 1000));
	if (first->size > 0)
		admin_put_number(row, "size", first->size);
	if (first->message_id.n > 0)
		admin_put_text(row, "message_id", first->message_id);
	for (size_t i = 0; i < m->n; i++)
		json_array_append_new(events, trace_event(c, m, &m->events[i]));
	json_object_set_new(row, "events", events);
}

enum err admin_trace(struct admin_call *c)
{
	struct queue_seen seen = { 0 };
	struct trail_query q;
	struct trail_found found;

	TRY(read_query(c, &q));
	TRY(ask(c, &q, &found));
	if (found.n == 0 && admin_text(c, "what").p != NULL)
		return admin_refuse(c, ERR_NOTFOUND, TEXT_TRACE_NOTHING, admin_text(c, "what"));
	for (size_t i = 0; i < found.n; i++)
		put_message(c, &seen, &found.messages[i]);
	c->has_more = found.has_more;
	return found.has_more ? admin_said(c, TEXT_TRACE_MORE, admin_number_text(c, MESSAGES_MAX)) : ERR_OK;
}
