/* An event of the trail, as an object: what programs read in fields (those that are there), what people read in sentences of the
 * asker's language. The explanation of what another server said comes from trail/refusals.def. */
#include "admin/trace_private.h"
#include "base/buf.h"
#include "queue/add.h"
#include "queue/envelope.h"
#include "text/reason.h"
#include "trail/refusals.h"

static const char *const words[TRAIL_KINDS] = {
	[TRAIL_RECEIVED] = "received", [TRAIL_REFUSED] = "refused", [TRAIL_DELIVERED] = "delivered", [TRAIL_SENT] = "sent",
	[TRAIL_ATTEMPT] = "attempt", [TRAIL_DEFERRED] = "deferred", [TRAIL_FAILED] = "failed", [TRAIL_EXPIRED] = "expired",
	[TRAIL_HELD] = "held", [TRAIL_RELEASED] = "released", [TRAIL_RETRIED] = "retried", [TRAIL_REMOVED] = "removed",
	[TRAIL_LOST] = "lost", [TRAIL_WAITS] = "waits", [TRAIL_LEFT] = "left",
};

/* ---- who */

static struct str address_of(struct admin_call *c, uint64_t account)
{
	struct directory_account x;

	if (account_get(c->directory, account, &c->arena, &x) == ERR_OK)
		return x.address;
	return arena_printf(&c->arena, "#%llu", (unsigned long long)account);
}

/* As the sender wrote it; empty: the event is about all of them. */
static struct str recipient_of(struct admin_call *c, const struct trail_message *m, const struct trail_event *e)
{
	for (size_t i = 0; e->recipient.n == 0 && e->account != 0 && i < m->events[0].n; i++)
		if (m->events[0].recipients[i].account == e->account)
			return m->events[0].recipients[i].address;
	return e->recipient.n == 0 && e->account != 0 ? address_of(c, e->account) : e->recipient;
}

/* "bob@example.org", or "team@example.org (bob@example.org)" where the sender wrote to a group or an alias. */
static struct str recipient_text(struct admin_call *c, const struct trail_event *e, struct str to)
{
	struct str main;

	if (to.n == 0)
		return str_of(text_get(c->lang, TEXT_TRACE_EVERYBODY));
	main = e->account != 0 ? address_of(c, e->account) : to;
	if (str_ieq(to, main))
		return main;
	return arena_printf(&c->arena, STR_FMT " (" STR_FMT ")", STR_ARG(to), STR_ARG(main));
}

static struct str all_recipients(const struct trail_event *e, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(TRAIL_EVENT_MAX);

	for (size_t i = 0; i < e->n; i++) {
		buf_add_cstr(&b, i ? ", " : "");
		buf_add(&b, e->recipients[i].address);
	}
	return str_copy(a, buf_str(&b));
}

/* ---- sentences */

/* A reply of several lines as one. */
static struct str one_line(struct str text, struct arena *a)
{
	char *copy = str_cstr(a, text);

	for (char *p = copy; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	return str_of(copy);
}

static struct str received(struct admin_call *c, const struct trail_message *m, const struct trail_event *e)
{
	struct arena *a = &c->arena;

	if (!trail_event_is_of(e, m))
		return text_fmt(a, c->lang, e->sender.n == 0 ? TEXT_TRACE_BOUNCED : TEXT_TRACE_DERIVED, all_recipients(e, a),
		                queue_name((struct queue_id){ e->log_id, e->seq }, a));
	if (e->parent_log_id != 0)
		return text_fmt(a, c->lang, TEXT_TRACE_MADE, queue_name((struct queue_id){ e->parent_log_id, e->parent_seq }, a));
	switch ((enum envelope_source)e->source) {
	case ENVELOPE_SUBMISSION:
		return text_fmt(a, c->lang, TEXT_TRACE_SUBMITTED, address_of(c, e->account), e->peer);
	case ENVELOPE_LOCAL:
		return text_fmt(a, c->lang, TEXT_TRACE_LOCAL, str_starts(e->peer, STR("user ")) ? text_fmt(a, c->lang, TEXT_TRACE_USER, str_from(e->peer, 5)) : e->peer);
	case ENVELOPE_DELIVERY:
		return str_of(text_get(c->lang, TEXT_TRACE_MADE_HERE));
	case ENVELOPE_MX:
		break;
	}
	return text_fmt(a, c->lang, TEXT_TRACE_RECEIVED, e->peer);
}

static struct str refused(struct admin_call *c, const struct trail_event *e, struct str text)
{
	struct str to = e->recipient.n > 0 ? e->recipient : all_recipients(e, &c->arena);

	return text_fmt(&c->arena, c->lang, to.n > 0 ? TEXT_TRACE_REFUSED : TEXT_TRACE_REFUSED_ALL, e->peer, text, to);
}

static struct str sent(struct admin_call *c, const struct trail_event *e, struct str text, struct str to)
{
	if (e->peer.n == 0)  /* a group has */
		return text_fmt(&c->arena, c->lang, TEXT_TRACE_DISTRIBUTED, to, admin_number_text(c, e->count));
	struct str how = e->tls.n > 0 ? text_fmt(&c->arena, c->lang, TEXT_TRACE_ENCRYPTED, text_reason(&c->arena, c->lang, e->tls))
	                              : str_of(text_get(c->lang, TEXT_TRACE_CLEAR));
	struct str what = text_fmt(&c->arena, c->lang, TEXT_TRACE_SENT, e->peer, text, to);

	return arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(what), STR_ARG(how));
}

static enum text waits_text(const struct trail_event *e)
{
	if (str_eq(e->text, STR("held")))
		return TEXT_TRACE_SENDING_OFF;
	return str_eq(e->text, STR("slowed")) ? TEXT_TRACE_SLOWED : TEXT_TRACE_ASKED_LATER;
}

static struct str left(struct admin_call *c, const struct trail_event *e)
{
	enum text id = str_eq(e->status, STR("2.0.0")) ? TEXT_TRACE_LEFT : str_eq(e->status, STR("5.1.1")) ? TEXT_TRACE_LEFT_NOBODY : TEXT_TRACE_LEFT_NOT;

	return text_fmt(&c->arena, c->lang, id, e->recipient, e->account != 0 ? address_of(c, e->account) : e->sender);
}

static struct str sentence(struct admin_call *c, const struct trail_message *m, const struct trail_event *e, struct str to)
{
	struct str text = text_reason(&c->arena, c->lang, one_line(e->text, &c->arena));
	bool is_far = e->peer.n > 0;
	enum text id;

	switch (e->kind) {
	case TRAIL_RECEIVED:
		return received(c, m, e);
	case TRAIL_REFUSED:
		return refused(c, e, text);
	case TRAIL_DELIVERED:
		return text_fmt(&c->arena, c->lang, e->where.n > 0 ? TEXT_TRACE_DELIVERED_IN : TEXT_TRACE_DELIVERED, to, e->where);
	case TRAIL_SENT:
		return sent(c, e, text, to);
	case TRAIL_ATTEMPT:
		id = TEXT_TRACE_ATTEMPT;
		break;
	case TRAIL_DEFERRED:
		id = is_far ? TEXT_TRACE_DEFERRED_BY : TEXT_TRACE_DEFERRED;
		break;
	case TRAIL_FAILED:
		id = is_far ? TEXT_TRACE_FAILED_BY : TEXT_TRACE_FAILED;
		break;
	case TRAIL_EXPIRED:
		id = TEXT_TRACE_EXPIRED;
		break;
	case TRAIL_HELD:
		id = TEXT_TRACE_HELD;
		break;
	case TRAIL_RELEASED:
		id = TEXT_TRACE_RELEASED;
		break;
	case TRAIL_RETRIED:
		id = TEXT_TRACE_RETRIED;
		break;
	case TRAIL_REMOVED:
		id = TEXT_TRACE_REMOVED;
		break;
	case TRAIL_LEFT:
		return left(c, e);
	case TRAIL_WAITS:
		return str_of(text_get(c->lang, waits_text(e)));
	case TRAIL_LOST:
		return text_fmt(&c->arena, c->lang, TEXT_TRACE_LOST, admin_number_text(c, e->count));
	default:
		return STR("");
	}
	return text_fmt(&c->arena, c->lang, id, e->peer, text, to);
}

/* ---- why, and what to do */

/* The same recipient's server has taken it before. */
static bool is_second(const struct trail_message *m, const struct trail_event *e)
{
	for (size_t i = 0; &m->events[i] < e; i++)
		if (m->events[i].kind == TRAIL_SENT && trail_event_is_of(&m->events[i], m) && str_ieq(m->events[i].recipient, e->recipient))
			return true;
	return false;
}

static void explain(struct admin_call *c, const struct trail_message *m, const struct trail_event *e, struct str to, json_t *out)
{
	struct refusal_facts facts = { .recipient = to, .host = e->peer, .reply = e->text };
	const struct refusal *r;

	if (e->kind == TRAIL_REFUSED) {
		bool is_for_now = e->status.n > 0 && e->status.p[0] == '4';
		admin_put_text(out, "explanation", str_of(text_get(c->lang, TEXT_TRACE_REFUSED_WHY)));
		admin_put_text(out, "next_step", str_of(text_get(c->lang, is_for_now ? TEXT_TRACE_REFUSED_LATER : TEXT_TRACE_REFUSED_NEXT)));
		return;
	}
	if (e->kind == TRAIL_SENT && is_second(m, e))
		admin_put_text(out, "explanation", str_of(text_get(c->lang, TEXT_TRACE_TWICE)));
	if (e->kind != TRAIL_DEFERRED && e->kind != TRAIL_FAILED && e->kind != TRAIL_EXPIRED && e->kind != TRAIL_ATTEMPT)
		return;
	r = refusal_find(e->status, e->text);
	if (r == NULL)
		return;
	admin_put_text(out, "refusal", str_of(r->name));
	admin_put_text(out, "explanation", refusal_why(r, c->lang, &facts, &c->arena));
	admin_put_text(out, "next_step", refusal_next(r, c->lang, &facts, &c->arena));
}

static void put_given(json_t *to, const char *key, struct str value)
{
	if (value.n > 0)
		admin_put_text(to, key, value);
}

json_t *trace_event(struct admin_call *c, const struct trail_message *m, const struct trail_event *e)
{
	struct str to = recipient_of(c, m, e);
	json_t *out = json_object();

	admin_put_number(out, "at", (uint64_t)(e->at_ms / 1000));
	admin_put_text(out, "event", str_of(words[e->kind]));
	admin_put_text(out, "sentence", sentence(c, m, e, recipient_text(c, e, to)));
	if (!trail_event_is_of(e, m))
		admin_put_text(out, "message", queue_name((struct queue_id){ e->log_id, e->seq }, &c->arena));
	if (e->kind != TRAIL_RECEIVED)
		put_given(out, "recipient", to);
	if (e->account != 0)
		admin_put_text(out, "account", address_of(c, e->account));
	put_given(out, "peer", e->peer);
	put_given(out, "status", e->status);
	put_given(out, "reply", e->text);
	put_given(out, "tls", e->tls);
	put_given(out, "mailbox", e->where);
	if (e->due > 0)
		admin_put_number(out, "next_try", (uint64_t)e->due);
	if (e->count > 0 && (e->kind == TRAIL_DEFERRED || e->kind == TRAIL_EXPIRED))
		admin_put_number(out, "tries", e->count);
	explain(c, m, e, to, out);
	return out;
}
