/* Who waits for other accounts that begin to share something with his own.
 *
 * For whom such a session waits nobody can say beforehand: visits.c is about accounts that are known. So control says whom a new list of rights is
 * about, and the sessions of those that watch names are attached, or told: their cells ask control who shares with them now, and learn from here only that it is
 * time to ask.
 *
 * Where it is about many (a list for a whole domain), all of them want their cells at once: they get them in turn, some accounts each second, so that whoever
 * logs in meanwhile does not stand behind them. What comes while a session is attached is seen by its count when it parks. */
#include "net/parked_private.h"

enum { GAINS_EVERY_MS = 1000 };

bool gains_are_new(const struct member *m) { return m->waits_gains && m->gains_seen != m->of->gains; }

static bool is_to_hear(const struct member *m) { return (m->is_parked || m->listens) && gains_are_new(m); }

void gains_forget(struct parked_account *a)
{
	struct parked *p = a->table;

	if (a->gains_link == NULL)
		return;
	if (a->gains_next != NULL)
		a->gains_next->gains_link = a->gains_link;
	else
		p->gains_end = a->gains_link;
	*a->gains_link = a->gains_next;
	a->gains_link = NULL;
	if (--p->gains_n == 0)
		loop_timer_stop(p->loop, &p->gains_turn);
}

static void turn(void *context);

static void turn_soon(struct parked *p)
{
	int64_t now_ms = loop_now_ms(p->loop);

	if (p->gains_turn.place)
		return;
	p->gains_turn = (struct loop_timer){ .due = turn, .context = p };
	loop_timer_at(p->loop, &p->gains_turn, now_ms > p->gains_ms ? now_ms : p->gains_ms);
}

static void queue(struct parked_account *a)
{
	struct parked *p = a->table;

	if (a->gains_link != NULL)
		return;
	a->gains_next = NULL;
	a->gains_link = p->gains_end;
	*p->gains_end = a;
	p->gains_end = &a->gains_next;
	p->gains_n++;
	turn_soon(p);
}

/* Perhaps a goes with the last of them. */
static void tell(struct parked_account *a)
{
	struct parked *p = a->table;
	struct member *next;

	for (struct member *m = a->first; m != NULL; m = next) {
		next = m->next;
		if (!is_to_hear(m))
			continue;
		if (m->is_parked)
			p->host->news(p->context, m, RENDERED_ATTACH, STR(""));
		else if (!visits_tell_cell(m))
			queue(a);
	}
}

static void turn(void *context)
{
	struct parked *p = context;
	size_t n = p->gains_n < GAINS_AT_ONCE ? p->gains_n : GAINS_AT_ONCE;  /* who is put back meanwhile is behind them */

	p->gains_ms = loop_now_ms(p->loop) + GAINS_EVERY_MS;
	for (; n > 0; n--) {
		struct parked_account *a = p->gains_first;
		gains_forget(a);
		tell(a);
	}
	if (p->gains_n > 0)
		turn_soon(p);
}

void gains_begin(struct member *m, bool is_unknown)
{
	m->waits_gains = true;
	if (is_unknown)
		m->gains_seen = m->of->gains - 1;
	if (gains_are_new(m))
		queue(m->of);
}

static void gained(struct parked_account *a)
{
	bool hears = false;

	a->gains++;
	for (const struct member *m = a->first; m != NULL; m = m->next)
		hears |= is_to_hear(m);
	if (hears)
		queue(a);
}

void parked_gained(struct parked *p, uint64_t account)
{
	struct parked_account *a = account != 0 ? map_get_u64(&p->accounts, account) : NULL;
	size_t at = 0;
	void *v;

	if (a != NULL)
		gained(a);
	while (account == 0 && map_next(&p->accounts, &at, NULL, &v))
		gained(v);
}
