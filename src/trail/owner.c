/* What the owner of an account may see. A sender sees what became of his message, recipient by recipient, as a bounce would tell
 * him; whether it went to the INBOX of a colleague or to his Junk is the colleague's. A recipient sees his own part: neither who
 * else got it (they may be Bcc) nor what became of their copies. */
#include "trail/store.h"

static bool has_sent(const struct trail_message *m, uint64_t owner)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->events[i].kind == TRAIL_RECEIVED && trail_event_is_of(&m->events[i], m))
			return m->events[i].account == owner;
	return m->log_id == 0 && m->events[0].account == owner;
}

/* And who is in a group he wrote to: what was made of his message, but for what was told to himself. */
static void hide_mailboxes(struct trail_message *m, uint64_t owner)
{
	for (size_t i = 0; i < m->n; i++) {
		struct trail_event *e = &m->events[i];
		if (e->account != owner)
			e->where = STR("");
		if (e->kind == TRAIL_RECEIVED && !trail_event_is_of(e, m) && e->sender.n > 0)
			e->n = e->count = 0;
	}
}

/* Of the recipients only his own. False: he is not among them. */
static bool cut_recipients(struct trail_event *e, uint64_t owner, struct arena *a)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->recipients[i].account == owner) {
			struct trail_recipient *own = ARENA_NEW(a, struct trail_recipient);
			*own = e->recipients[i];
			e->recipients = own;
			e->n = e->count = 1;
			return true;
		}
	e->recipients = NULL;
	e->n = 0;
	e->count = 0;
	return false;
}

bool trail_owner_view(struct trail_message *m, uint64_t owner, struct arena *a)
{
	size_t n = 0;
	bool is_his = false;

	if (owner == 0)
		return true;
	if (has_sent(m, owner)) {
		hide_mailboxes(m, owner);
		return true;
	}
	for (size_t i = 0; i < m->n; i++) {
		struct trail_event *e = &m->events[i];
		bool is_start = e->kind == TRAIL_RECEIVED && trail_event_is_of(e, m);
		if (is_start && cut_recipients(e, owner, a))
			is_his = true;
		else if (e->account == owner && !is_start && trail_event_is_of(e, m))
			is_his = true;
		else if (!is_start)
			continue;
		m->events[n++] = *e;
	}
	m->n = n;
	return is_his && n > 0;
}
