/* Which cell may start when.
 *
 * Thousands of accounts are wanted at once: when all telephones come back, or a message goes to everybody. So many cells would only take
 * the processors from each other until every one of them is too late. A few are opened at a time; the others wait in the order they were
 * asked for, those with a session before those that only have mail to take or parked sessions to tell: somebody waits in front of a
 * screen, and a delivery is kept by the queue. Every fourth is of the others all the same, so that no storm of logins stops the mail.
 *
 * Above that stands cells_max. Near it cells that have nothing to do leave at once; at it who wants one waits some seconds, then is told. */
#include "base/clock.h"
#include "base/log.h"
#include "role/master_cell.h"

enum { OPENING_MAX = 16, SESSIONS_IN_A_ROW = 3, ROOM_PAUSE_MS = 200, ROOM_WAIT_MS = 10000 };

static enum turn turn_of(const struct cell_slot *c)
{
	for (size_t i = 0; i < c->waiting_count; i++)
		if (c->waiting[i].kind == ATTACH_SESSION)
			return TURN_SESSIONS;
	return TURN_OTHERS;
}

void turn_forget(struct cell_slot *c)
{
	struct turn_queue *q = &c->master->turns[c->turn];
	struct cell_slot **link = &q->first;

	if (!c->is_queued)
		return;
	while (*link != c)
		link = &(*link)->next_queued;
	*link = c->next_queued;
	if (*link == NULL)
		q->end = link;
	c->is_queued = false;
}

static void queue_up(struct cell_slot *c)
{
	enum turn turn = turn_of(c);
	struct turn_queue *q = &c->master->turns[turn];

	c->is_wanted = true;
	if (c->is_queued && c->turn == turn)
		return;
	turn_forget(c);  /* a delivery waited for it, and now somebody logs in */
	if (q->first == NULL)
		q->end = &q->first;
	c->is_queued = true;
	c->turn = turn;
	c->next_queued = NULL;
	*q->end = c;
	q->end = &c->next_queued;
}

static struct cell_slot *next_in_turn(struct master *m)
{
	struct cell_slot *session = m->turns[TURN_SESSIONS].first, *other = m->turns[TURN_OTHERS].first;

	if (session == NULL || (other != NULL && m->sessions_in_a_row == SESSIONS_IN_A_ROW)) {
		m->sessions_in_a_row = 0;
		return other;
	}
	m->sessions_in_a_row += m->sessions_in_a_row < SESSIONS_IN_A_ROW;
	return session;
}

void turn_is_over(struct cell_slot *c)
{
	struct master *m = c->master;

	if (!c->is_opening)
		return;
	c->is_opening = false;
	m->cells_opening--;
	while (m->cells_opening < OPENING_MAX && !m->stops) {
		struct cell_slot *next = next_in_turn(m);
		if (next == NULL)
			return;
		turn_forget(next);
		if (next->state == SLOT_EMPTY)
			cell_start(next);
	}
}

void turn_tell_crowded(struct cell_slot *c)
{
	uint8_t flag = c->master->is_crowded;

	if (c->ch)
		channel_notify(c->ch, NOTICE_CROWDED, str_make(&flag, 1), NULL, 0);
}

void turns_tick(struct master *m)
{
	size_t at = 0;
	void *v;
	bool is_crowded = m->cells_running >= m->cells_max - m->cells_max / 4 || (m->is_crowded && m->cells_running >= m->cells_max / 2);

	if (is_crowded == m->is_crowded)
		return;
	m->is_crowded = is_crowded;
	log_info("many accounts are in use: idle ones are closed %s running=%zu most=%zu", is_crowded ? "at once" : "later again", m->cells_running,
	         m->cells_max);
	while (map_next(&m->cells, &at, NULL, &v))
		turn_tell_crowded(v);
}

/* There is no room. A cell that has nothing to do leaves within seconds: so long whoever wants this one waits, then he is told. */
static void wait_for_room(struct cell_slot *c)
{
	int64_t now = clock_mono_ms();

	c->is_wanted = true;
	c->no_room_ms = c->no_room_ms ? c->no_room_ms : now;
	c->again_ms = now + ROOM_PAUSE_MS;
	if (now < c->no_room_ms + ROOM_WAIT_MS)
		return;
	log_warn("no room for another cell account=%llu running=%zu limit=\"cells_max, or the limit of open files\"",
	         (unsigned long long)c->account, c->master->cells_running);
	cell_refuse_waiting(c, TEXT_CELL_NO_ROOM);
	c->no_room_ms = 0;
	c->not_before_ms = now + CELL_CRASH_PAUSE_MS;
}

bool turn_has_come(struct cell_slot *c)
{
	struct master *m = c->master;

	if (clock_mono_ms() < c->not_before_ms || clock_mono_ms() < c->again_ms) {
		c->is_wanted = true;  /* cells_tick() tries again */
		return false;
	}
	if (m->cells_running >= m->cells_max) {
		wait_for_room(c);
		return false;
	}
	if (m->cells_opening >= OPENING_MAX) {
		queue_up(c);
		return false;
	}
	turn_forget(c);
	c->is_wanted = false;
	c->no_room_ms = 0;
	c->is_opening = true;
	c->started_ms = clock_mono_ms();
	m->cells_opening++;
	return true;
}
