/* Who waits for changes of other accounts.
 *
 * Visits stay while their member is attached, so that a change between two parkings is not missed; what it waits for is compared when it parks. One that
 * cannot be parked listens instead: its cell is told of the change, once, and says anew what it waits for when it has looked.
 *
 * For what a session waits its cell says, and a cell may have been broken into. So each time when there would be something to be told, master is asked
 * first whether the account shares anything with the session's (role/master_pairs.c), and what is new counts from its answer on. Who has
 * lost all that he could see is attached once more, so that his cell can tell him.
 *
 * When an account changes, all who wait for it want to know at once, more than its cell lets in: who could not ask tries again, a second later and
 * then less and less often. */
#include "net/parked_private.h"
#include "base/mem.h"

enum { LOOK_AGAIN_MAX_MS = 300000, ASKS_MAX = 2000, ASKS_MS = 10000 };

static bool has_changed(const struct visit *v) { return v->must_look || v->modseq < v->newest; }

static bool wants_to_look(const struct visit *v, int64_t now_ms) { return has_changed(v) || (v->look_ms != 0 && now_ms >= v->look_ms); }

static bool is_waiting(const struct member *m) { return m->is_parked || m->listens; }

/* It begins to wait, or there would be something to tell, if it may be told. waits: now, or in a moment. */
static bool wants_to_ask(const struct visit *v, bool waits, int64_t now_ms)
{
	bool is_new = waits && v->modseq < v->at->newest && v->asked_at < v->at->newest;

	return !v->is_asked && (v->must_ask || is_new) && now_ms >= v->ask_ms;
}

static void wake_due(void *context);

static void wake_at(struct parked_account *a, int64_t at_ms)
{
	if (a->wake.place && a->wake.at_ms <= at_ms)
		return;
	a->wake.due = wake_due;
	a->wake.context = a;
	loop_timer_at(a->table->loop, &a->wake, at_ms);
}

/* Not at once: who parks just now is not asleep yet. */
static void wake_soon(struct parked_account *a) { wake_at(a, loop_now_ms(a->table->loop)); }

/* A cell that has its session park again and again does not decide how much master has to do. False: later. */
static bool may_ask(struct parked_account *guest, int64_t now_ms)
{
	if (now_ms >= guest->asks_ms + ASKS_MS) {
		guest->asks_ms = now_ms;
		guest->asks = 0;
	}
	return guest->asks++ < ASKS_MAX;
}

static void ask_later(struct visit *v)
{
	v->must_ask = true;
	v->ask_ms = loop_now_ms(v->at->table->loop) + RETRY_FIRST_MS;
	wake_at(v->at, v->ask_ms);
}

/* For another session of the same account: the answer is for all of them. */
static bool is_under_way(const struct visit *v)
{
	for (const struct member *m = v->m->of->first; m != NULL; m = m->next)
		for (const struct visit *other = m->visits; other != NULL; other = other->more)
			if (other->at == v->at && other->is_asked)
				return true;
	return false;
}

static void ask(struct visit *v)
{
	const struct parked *p = v->at->table;
	bool is_asked = is_under_way(v);

	if (!is_asked && !may_ask(v->m->of, loop_now_ms(p->loop))) {
		ask_later(v);
		return;
	}
	v->is_asked = true;
	v->must_ask = false;
	v->ask_ms = 0;
	if (!is_asked)
		p->host->may_wait(p->context, v->m->of->account, v->at->account);
}

/* Of what it waits for with WAIT_ASKS_ONCE: has it changed? */
static bool is_to_be_told(const struct visit *v) { return v->asks_once && wants_to_look(v, loop_now_ms(v->at->table->loop)); }

bool visits_tell_cell(struct member *m)
{
	CLEANUP(buf_free) struct buf changed = BUF(PARK_CHANGED_MAX);
	struct parked *p = m->of->table;

	for (const struct visit *v = m->visits; v != NULL; v = v->more)
		if (is_to_be_told(v))
			put_u64(&changed, v->at->account);
	if (gains_are_new(m))
		put_u64(&changed, 0);
	if (!p->host->changed(p->context, m, buf_str(&changed)))
		return false;
	buf_reset(&changed);
	member_changed(m, &changed);
	m->listens = false;
	return true;
}

static void wake_due(void *context)
{
	struct parked_account *a = context;
	const struct parked_host *host = a->table->host;
	void *host_context = a->table->context;
	int64_t now_ms = loop_now_ms(a->table->loop);
	struct visit *next;

	for (struct visit *v = a->visits; v != NULL; v = v->next) {
		if (v->look_ms > now_ms)
			wake_at(a, v->look_ms);
		if (v->ask_ms > now_ms)
			wake_at(a, v->ask_ms);
		else if (wants_to_ask(v, is_waiting(v->m), now_ms))
			ask(v);
	}
	for (struct visit *v = a->visits; v != NULL; v = next) {  /* a goes with the last of them */
		next = v->next;
		if (!is_waiting(v->m) || !wants_to_look(v, now_ms))
			continue;
		if (v->m->is_parked)
			host->news(host_context, v->m, RENDERED_ATTACH, STR(""));
		else if (!visits_tell_cell(v->m))  /* it takes nothing now */
			wake_at(a, now_ms + RETRY_FIRST_MS);
	}
}

static void take_answer(struct visit *v, enum err e)
{
	struct parked_account *a = v->at;

	v->is_asked = false;
	if (e != ERR_OK && e != ERR_NOTFOUND) {
		ask_later(v);
		return;
	}
	v->asked_at = a->newest;
	v->must_look |= v->may_wait && e != ERR_OK;
	if (e == ERR_OK)
		v->newest = a->newest;
	if (v->may_wait != (e == ERR_OK)) {
		v->may_wait = e == ERR_OK;
		if (v->may_wait)
			parked_want(a, true);
		else
			parked_unwant(a);
	}
	if (has_changed(v))
		wake_soon(a);
}

void parked_may_wait(struct parked *p, uint64_t guest, uint64_t owner, enum err e)
{
	struct parked_account *of = map_get_u64(&p->accounts, guest);

	for (struct member *m = of ? of->first : NULL; m != NULL; m = m->next)
		for (struct visit *v = m->visits; v != NULL; v = v->more)
			if (v->at->account == owner && v->is_asked)
				take_answer(v, e);
}

static struct visit *visit_new(struct member *m, uint64_t account, bool asks_once)
{
	struct visit *v = MEM_NEW(struct visit);
	struct parked_account *a = parked_account_of(m->of->table, account);

	*v = (struct visit){ .at = a, .m = m, .next = a->visits, .link = &a->visits, .more = m->visits, .modseq = UINT64_MAX, .must_look = asks_once };
	if (v->next)
		v->next->link = &v->next;
	a->visits = v;
	m->visits = v;
	return v;
}

static void visit_end(struct visit *v)
{
	struct parked_account *a = v->at;

	if (v->next)
		v->next->link = v->link;
	*v->link = v->next;
	if (v->may_wait)
		parked_unwant(a);
	mem_free(v);
	parked_account_left(a);
}

void visits_doubt(struct member *m)
{
	for (struct visit *v = m->visits; v != NULL; v = v->more)
		v->is_kept = false;
}

void visits_end(struct member *m)
{
	struct visit **link = &m->visits, *v;

	while ((v = *link) != NULL) {
		if (v->is_kept) {
			link = &v->more;
			continue;
		}
		*link = v->more;
		visit_end(v);
	}
}

/* When it tries again, if it still has to. One that has not been told since to ask had no chance to. */
static void look_again(struct visit *v, bool could_not_ask)
{
	if (could_not_ask) {
		v->pause_ms = v->pause_ms == 0 ? RETRY_FIRST_MS : v->pause_ms < LOOK_AGAIN_MAX_MS / 2 ? v->pause_ms * 2 : LOOK_AGAIN_MAX_MS;
		v->look_ms = loop_now_ms(v->at->table->loop) + v->pause_ms;
	} else if (v->look_ms == 0) {
		v->pause_ms = 0;
	}
	if (v->look_ms != 0)
		wake_at(v->at, v->look_ms);
}

static void visit_again(struct member *m, uint64_t account, uint64_t modseq, enum wait how)
{
	bool asks_once = how != WAIT_KNOWS;
	struct visit *v = m->visits;

	while (v != NULL && v->at->account != account)
		v = v->more;
	if (v == NULL)
		v = visit_new(m, account, asks_once);
	else if (asks_once && v->asks_once && modseq < v->modseq && !v->is_kept)
		modseq = v->modseq;  /* it was told of what is new: not again, whatever it has heard there */
	if (how == WAIT_COULD_NOT_ASK && modseq < v->newest)
		modseq = v->newest;  /* not for that, but when its pause is over */
	v->modseq = v->is_kept && v->modseq < modseq ? v->modseq : modseq;
	v->asks_once = asks_once;
	v->is_kept = true;
	v->must_ask |= !v->may_wait;
	look_again(v, how == WAIT_COULD_NOT_ASK);
	if (has_changed(v) || wants_to_ask(v, true, loop_now_ms(v->at->table->loop)))
		wake_soon(v->at);
}

bool visits_begin(struct member *m, struct str waits)
{
	struct scan s = scan_of(waits);
	uint8_t also = get_u8(&s);
	bool is_own = also & WAIT_OWN;

	if (also > (WAIT_OWN | WAIT_GAINS | WAIT_GAINS_UNKNOWN))
		return false;
	while (!scan_done(&s)) {
		uint64_t account = get_u64(&s), modseq = get_u64(&s);
		uint8_t how = get_u8(&s);
		if (s.failed || how > WAIT_COULD_NOT_ASK)
			return false;
		if (account == m->of->account || account == 0)
			is_own = true;
		else
			visit_again(m, account, modseq, (enum wait)how);
	}
	m->waits_own = is_own;
	if (!s.failed && (also & ~WAIT_OWN) != 0)
		gains_begin(m, also & WAIT_GAINS_UNKNOWN);
	return !s.failed;
}

void member_changed(struct member *m, struct buf *out)
{
	if (gains_are_new(m))
		put_u64(out, 0);
	m->gains_seen = m->of->gains;
	for (struct visit *v = m->visits; v != NULL; v = v->more) {
		bool is_told = is_to_be_told(v);
		if (is_told || !v->asks_once)
			v->must_look = false;
		if (!is_told)
			continue;
		put_u64(out, v->at->account);
		v->look_ms = 0;
		v->modseq = v->modseq > v->newest ? v->modseq : v->newest;
	}
}

void visits_changed(struct parked_account *a)
{
	if (a->visits != NULL)
		wake_soon(a);
}
