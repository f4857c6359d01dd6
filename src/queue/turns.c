/* Three things in lines. A flow is what one sender has for one destination, in order of arrival. Senders stand in one line, each
 * with a line of its flows that may go on; a flow whose destination has no room stands in a line at the destination instead, and
 * comes back to its sender when there is room. So finding the next one costs a few steps however much waits, a full destination is
 * looked at once for each place that gets free, and no sender waits behind another one's thousands.
 *
 * Places. With `out` of TURNS_OUT_MAX taken, a sender may have at most as many as are still free. One alone gets half of them, two
 * a third each; a sender who has nothing out always finds a place, until some 300 of them send at once. Servers that say nothing keep
 * the half of one sender for minutes. So what he has for destinations that have answered lately stands in a line of its own: the
 * two lines take turns, and when his half is taken that one has a few places more. Which those are is kept in a table of fixed size, where a
 * newer one may push an older one out: it only chooses who goes first.
 *
 * The window of a destination grows by one for each window of successes, as TCP's does, and halves when the other side says that
 * we are too many. Answers that were under way when a pause began say nothing new: they do not make it longer. */
#include "queue/turns.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include <assert.h>

enum { BUSY_PAUSE_MS = 30000, FORGET_AFTER_MS = 60000, ANSWERED_MAX = 4096 };

struct line {                        /* of flows */
	struct flow *first, *last;
	unsigned     urgent;             /* flows in a row that went before others of it */
};

struct destination {
	char        *text, *why_text;
	struct str   name, why;
	uint64_t     hash;               /* of the name; never 0 */
	size_t       flows, waiting, here, out, window, goods;
	struct line  stalled;            /* flows that wait for room here */
	struct flow *all;                /* its flows */
	int64_t      again_ms;
	unsigned     failures;
	bool         is_paused, has_parked;
};

struct sender {
	char          *text;
	struct str     name;
	size_t         flows, out;
	size_t         beyond;           /* of out: taken when his half was */
	struct line    ready, quick;     /* quick: to destinations that have answered lately */
	struct sender *next;
	bool           is_listed, is_signed, was_quick;
};

enum flow_place { FLOW_NOWHERE, FLOW_READY, FLOW_QUICK, FLOW_STALLED };

struct flow {
	struct sender      *sender;
	struct destination *to;
	struct turn        *first, *last;
	size_t              turns;       /* waiting, taken or withdrawn */
	enum flow_place     place;
	struct flow        *before, *after;          /* in the line where it is */
	struct flow        *all_before, *all_after;  /* at the destination */
};

struct turns {
	struct map     destinations, senders, flows;
	struct sender *first, *last;     /* with something ready */
	size_t         n_listed, out;
	bool           is_held;          /* nobody's turn comes */
	int64_t        now_ms;           /* as last told */
	struct { uint64_t hash; int64_t at_ms; } answered[ANSWERED_MAX];  /* hash 0: nobody */
};

/* ------------------------------------------------------------------------------------------------------- who answers */

static bool answers_lately(const struct turns *t, const struct destination *d)
{
	size_t at = d->hash % ANSWERED_MAX;

	return t->answered[at].hash == d->hash && t->now_ms - t->answered[at].at_ms < TURNS_LATELY_MS;
}

static void note_answered(struct turns *t, const struct destination *d, bool answers)
{
	size_t at = d->hash % ANSWERED_MAX;

	if (answers || t->answered[at].hash == d->hash) {
		t->answered[at].hash = answers ? d->hash : 0;
		t->answered[at].at_ms = t->now_ms;
	}
}

/* ---------------------------------------------------------------------------------------------------------- lines */

static void line_add(struct line *l, struct flow *f, enum flow_place place)
{
	f->place = place;
	f->before = l->last;
	f->after = NULL;
	*(l->last != NULL ? &l->last->after : &l->first) = f;
	l->last = f;
}

/* At the front, if it has something urgent and those behind it have not waited for such for long. */
static void line_add_ready(const struct turns *t, struct flow *f)
{
	bool is_quick = answers_lately(t, f->to);
	enum flow_place place = is_quick ? FLOW_QUICK : FLOW_READY;
	struct line *l = is_quick ? &f->sender->quick : &f->sender->ready;

	if (l->first == NULL || f->first->priority <= 0 || l->urgent >= TURNS_OVERTAKEN_MAX) {
		line_add(l, f, place);
		l->urgent = 0;
		return;
	}
	l->urgent++;
	f->place = place;
	f->before = NULL;
	f->after = l->first;
	l->first->before = f;
	l->first = f;
}

static void unline(struct flow *f)
{
	struct line *l = f->place == FLOW_READY ? &f->sender->ready : f->place == FLOW_QUICK ? &f->sender->quick : &f->to->stalled;

	if (f->place == FLOW_NOWHERE)
		return;
	*(f->before != NULL ? &f->before->after : &l->first) = f->after;
	*(f->after != NULL ? &f->after->before : &l->last) = f->before;
	f->place = FLOW_NOWHERE;
}

static bool is_ready(const struct flow *f) { return f->place == FLOW_READY || f->place == FLOW_QUICK; }
static bool has_ready(const struct sender *s) { return s->ready.first != NULL || s->quick.first != NULL; }

static void list_sender(struct turns *t, struct sender *s)
{
	if (s->is_listed)
		return;
	s->is_listed = true;
	s->next = NULL;
	*(t->last != NULL ? &t->last->next : &t->first) = s;
	t->last = s;
	t->n_listed++;
}

static struct sender *next_sender(struct turns *t)
{
	struct sender *s = t->first;

	t->first = s->next;
	if (t->first == NULL)
		t->last = NULL;
	s->is_listed = false;
	t->n_listed--;
	return s;
}

static void make_ready(struct turns *t, struct flow *f)
{
	if (is_ready(f) || f->first == NULL)
		return;
	unline(f);
	line_add_ready(t, f);
	list_sender(t, f->sender);
}

/* ------------------------------------------------------------------------------------------------------- who is known */

static struct str keep(struct str s, char **text)
{
	*text = mem_alloc(s.n + 1);
	memcpy(*text, s.p, s.n);
	return str_make(*text, s.n);
}

/* What he sends signed and what he sends as it is are two senders: one of them may have to wait for the signer. */
static struct str sender_key(struct str sender, bool is_signed, struct arena *a)
{
	return arena_printf(a, "%c" STR_FMT, is_signed ? 's' : 'u', STR_ARG(sender));
}

static struct destination *destination_of(struct turns *t, struct str name)
{
	struct destination *d = map_get(&t->destinations, name);

	if (d != NULL)
		return d;
	d = MEM_NEW(struct destination);
	d->name = keep(name, &d->text);
	d->hash = str_hash(name, 0) | 1;
	d->window = TURNS_WINDOW_START;
	map_set(&t->destinations, name, d);
	return d;
}

static struct sender *sender_of(struct turns *t, struct str name, bool is_signed)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str key = sender_key(name, is_signed, &a);
	struct sender *s = map_get(&t->senders, key);

	if (s != NULL)
		return s;
	s = MEM_NEW(struct sender);
	s->name = keep(key, &s->text);
	s->is_signed = is_signed;
	map_set(&t->senders, s->name, s);
	return s;
}

static struct str flow_key(const struct sender *s, const struct destination *d, char out[2 * sizeof(void *)])
{
	memcpy(out, &s, sizeof s);
	memcpy(out + sizeof s, &d, sizeof d);
	return str_make(out, 2 * sizeof(void *));
}

static struct flow *flow_of(struct turns *t, struct sender *s, struct destination *d)
{
	char key[2 * sizeof(void *)];
	struct flow *f = map_get(&t->flows, flow_key(s, d, key));

	if (f != NULL)
		return f;
	f = MEM_NEW(struct flow);
	f->sender = s;
	f->to = d;
	f->all_after = d->all;
	if (d->all != NULL)
		d->all->all_before = f;
	d->all = f;
	s->flows++;
	d->flows++;
	map_set(&t->flows, flow_key(s, d, key), f);
	return f;
}

static void destination_free(struct turns *t, struct destination *d)
{
	map_set(&t->destinations, d->name, NULL);
	mem_free(d->text);
	mem_free(d->why_text);
	mem_free(d);
}

static bool is_remarkable(const struct destination *d)
{
	return d->flows > 0 || d->failures > 0 || d->again_ms > 0 || d->is_paused || d->has_parked || d->window != TURNS_WINDOW_START;
}

static void unlist_sender(struct turns *t, struct sender *s)
{
	struct sender *before = NULL;

	for (struct sender *x = t->first; x != s; x = x->next)
		before = x;
	*(before != NULL ? &before->next : &t->first) = s->next;
	if (t->last == s)
		t->last = before;
	t->n_listed--;
}

static void sender_free(struct turns *t, struct sender *s)
{
	if (s->is_listed)
		unlist_sender(t, s);
	map_set(&t->senders, s->name, NULL);
	mem_free(s->text);
	mem_free(s);
}

static void flow_free(struct turns *t, struct flow *f)
{
	char key[2 * sizeof(void *)];

	unline(f);
	*(f->all_before != NULL ? &f->all_before->all_after : &f->to->all) = f->all_after;
	if (f->all_after != NULL)
		f->all_after->all_before = f->all_before;
	map_set(&t->flows, flow_key(f->sender, f->to, key), NULL);
	if (--f->sender->flows == 0)
		sender_free(t, f->sender);
	f->to->flows--;
	if (!is_remarkable(f->to))
		destination_free(t, f->to);
	mem_free(f);
}

struct turns *turns_new(void) { return MEM_NEW(struct turns); }

void turns_free(struct turns *t)
{
	size_t at = 0;
	void *v;

	if (t == NULL)
		return;
	assert(t->flows.n == 0);
	while (map_next(&t->destinations, &at, NULL, &v)) {
		mem_free(((struct destination *)v)->text);
		mem_free(((struct destination *)v)->why_text);
		mem_free(v);
	}
	map_free(&t->destinations);
	map_free(&t->senders);
	map_free(&t->flows);
	mem_free(t);
}

/* ----------------------------------------------------------------------------------------------------- coming, going */

static bool has_room(const struct turns *t, const struct destination *d, int64_t now_ms)
{
	return !t->is_held && !d->is_paused && now_ms >= d->again_ms && d->out < (d->failures > 0 ? 1 : d->window);
}

/* As many of the flows that wait for it as there are places. */
static void wake(struct turns *t, struct destination *d, int64_t now_ms)
{
	size_t places = has_room(t, d, now_ms) ? (d->failures > 0 ? 1 : d->window - d->out) : 0;

	for (; places > 0 && d->stalled.first != NULL; places--)
		make_ready(t, d->stalled.first);
}

/* Behind before; NULL: at the front. */
static void put_behind(struct turns *t, struct turn *x, struct turn *before)
{
	struct flow *f = x->flow;
	struct turn *after = before != NULL ? before->after : f->first;

	x->is_waiting = true;
	f->to->waiting += x->weight;
	x->before = before;
	x->after = after;
	*(before != NULL ? &before->after : &f->first) = x;
	*(after != NULL ? &after->before : &f->last) = x;
	if (before == NULL && is_ready(f) && x->priority > 0)
		unline(f);  /* its sender's most urgent perhaps */
	if (f->place == FLOW_NOWHERE)
		make_ready(t, f);
}

/* Behind all that are as urgent, or have been overtaken enough. */
static struct turn *place_of(struct turn *x)
{
	struct turn *before = x->flow->last;

	for (; before != NULL && before->priority < x->priority && before->overtaken < TURNS_OVERTAKEN_MAX; before = before->before)
		before->overtaken++;
	return before;
}

static void pull_out(struct turn *x)
{
	struct flow *f = x->flow;

	*(x->before != NULL ? &x->before->after : &f->first) = x->after;
	*(x->after != NULL ? &x->after->before : &f->last) = x->before;
	x->before = x->after = NULL;
	x->is_waiting = false;
	f->to->waiting -= x->weight;
	if (f->first == NULL)
		unline(f);
}

void turns_add(struct turns *t, struct turn *x, const struct turn_kind *kind)
{
	x->flow = flow_of(t, sender_of(t, kind->sender, kind->is_signed), destination_of(t, kind->destination));
	x->priority = kind->priority;
	x->weight = x->overtaken = 0;
	x->flow->turns++;
	put_behind(t, x, place_of(x));
}

void turns_weigh(struct turn *x, size_t more)
{
	x->weight += more;
	x->flow->to->here += more;
	if (x->is_waiting)
		x->flow->to->waiting += more;
}

/* taken is told from withdrawn by who is in no line: a taken one has before == itself. */
static bool is_taken(const struct turn *x) { return x->before == x; }

/* Its flow may be stalled too: if nobody were woken, the place would stay empty until turns_pass(). */
static void give_up_place(struct turns *t, struct turn *x)
{
	if (!is_taken(x))
		return;
	x->before = NULL;
	x->flow->sender->out--;
	x->flow->sender->beyond -= x->is_beyond;
	x->is_beyond = false;
	x->flow->to->out--;
	t->out--;
	wake(t, x->flow->to, INT64_MAX);  /* a pause is looked at when it is taken */
}

void turns_add_again(struct turns *t, struct turn *x)
{
	give_up_place(t, x);
	put_behind(t, x, NULL);
}

bool turns_is_wanted(const struct turns *t, const struct turn *x) { return x->flow->to->waiting > 0 || t->out >= TURNS_OUT_MAX; }

void turns_withdraw(UNUSED struct turns *t, struct turn *x)
{
	assert(x->is_waiting);
	pull_out(x);
}

void turns_leave(struct turns *t, struct turn *x)
{
	struct flow *f = x->flow;

	if (x->is_waiting)
		pull_out(x);
	give_up_place(t, x);
	f->to->here -= x->weight;
	x->flow = NULL;
	if (--f->turns == 0)
		flow_free(t, f);
}

/* The two lines take turns; beyond his half there is only one. */
static struct flow *next_flow(const struct sender *s, bool is_beyond)
{
	bool quick_goes = is_beyond || s->ready.first == NULL || (s->quick.first != NULL && !s->was_quick);

	return quick_goes ? s->quick.first : s->ready.first;
}

static struct turn *take_of(struct turns *t, struct sender *s, int64_t now_ms, bool is_beyond)
{
	struct flow *f;

	while ((f = next_flow(s, is_beyond)) != NULL) {
		bool is_quick = f->place == FLOW_QUICK;
		unline(f);
		if (!has_room(t, f->to, now_ms)) {
			line_add(&f->to->stalled, f, FLOW_STALLED);
			continue;
		}
		struct turn *x = f->first;
		pull_out(x);
		x->before = x;
		x->is_beyond = is_beyond;
		s->beyond += is_beyond;
		s->was_quick = is_quick;
		s->out++;
		f->to->out++;
		t->out++;
		if (f->first != NULL)
			line_add_ready(t, f);
		return x;
	}
	return NULL;
}

static bool has_place_beyond(const struct turns *t, const struct sender *s)
{
	return s->beyond < TURNS_BEYOND_MAX && t->out < TURNS_OUT_MAX - TURNS_FREE_MIN;
}

struct turn *turns_take(struct turns *t, int64_t now_ms, bool can_sign)
{
	t->now_ms = now_ms;
	for (size_t n = t->n_listed; n > 0 && t->out < TURNS_OUT_MAX; n--) {
		struct sender *s = next_sender(t);
		bool has_half = s->out - s->beyond >= TURNS_OUT_MAX - t->out;
		bool may_go = (can_sign || !s->is_signed) && (!has_half || has_place_beyond(t, s));
		struct turn *x = may_go ? take_of(t, s, now_ms, has_half) : NULL;
		if (has_ready(s))
			list_sender(t, s);
		if (x != NULL)
			return x;
	}
	return NULL;
}

struct turn *turns_drain(UNUSED struct turns *t, struct turn *x)
{
	for (struct flow *f = x->flow->to->all; f != NULL; f = f->all_after) {
		struct turn *first = f->first;
		if (first == NULL)
			continue;
		pull_out(first);
		return first;
	}
	return NULL;
}

struct str turn_destination(const struct turn *x) { return x->flow->to->name; }
size_t turns_out(const struct turns *t) { return t->out; }

/* -------------------------------------------------------------------------------------------------------- feedback */

static int64_t pause_ms(unsigned failures)
{
	int64_t ms = TURNS_PAUSE_FIRST_MS;

	while (--failures > 0 && ms < TURNS_PAUSE_MOST_MS)
		ms *= 2;
	return ms < TURNS_PAUSE_MOST_MS ? ms : TURNS_PAUSE_MOST_MS;
}

void turns_explain(struct turn *x, struct str why)
{
	struct destination *d = x->flow->to;

	mem_free(d->why_text);
	d->why = keep(why, &d->why_text);
}

static void note_good(struct turns *t, struct destination *d, int64_t now_ms)
{
	bool is_news = !answers_lately(t, d);

	note_answered(t, d, true);
	for (struct flow *f = is_news ? d->all : NULL; f != NULL; f = f->all_after) {
		if (f->place != FLOW_READY)
			continue;
		unline(f);
		line_add_ready(t, f);
	}
	d->failures = 0;
	d->again_ms = 0;
	if (++d->goods >= d->window && d->window < TURNS_WINDOW_MAX) {
		d->window++;
		d->goods = 0;
	}
	wake(t, d, now_ms);
}

bool turns_feedback(struct turns *t, struct turn *x, enum send_feedback f, int64_t now_ms)
{
	struct destination *d = x->flow->to;

	t->now_ms = now_ms;
	switch (f) {
	case SEND_GOOD:
		note_good(t, d, now_ms);
		return false;
	case SEND_BUSY:
		if (now_ms < d->again_ms)
			return false;
		if (d->window == 1)
			d->again_ms = now_ms + BUSY_PAUSE_MS;
		d->window = d->window > 1 ? d->window / 2 : 1;
		d->goods = 0;
		return false;
	default:
		if (now_ms < d->again_ms)
			return true;
		note_answered(t, d, false);
		d->failures++;
		d->again_ms = now_ms + pause_ms(d->failures);
		d->window = TURNS_WINDOW_START;
		d->goods = 0;
		return true;
	}
}

void turns_pass(struct turns *t, int64_t now_ms)
{
	size_t at = 0;
	void *v;

	t->now_ms = now_ms;
	while (map_next(&t->destinations, &at, NULL, &v)) {
		struct destination *d = v;
		wake(t, d, now_ms);
		if (d->flows > 0 || d->is_paused || d->has_parked || (d->again_ms > 0 && now_ms < d->again_ms + FORGET_AFTER_MS))
			continue;
		destination_free(t, d);
	}
}

/* ---------------------------------------------------------------------------------------------------- destinations */

static struct turns_state state_of(const struct turns *t, const struct destination *d)
{
	return (struct turns_state){ d->name, d->waiting, d->here, d->out, d->window, d->again_ms, d->failures,
		d->is_paused || t->is_held, d->has_parked, d->why };
}

void turns_state(const struct turns *t, struct str destination, struct turns_state *out)
{
	const struct destination *d = map_get(&t->destinations, destination);

	*out = d != NULL ? state_of(t, d) :
		(struct turns_state){ .name = destination, .window = TURNS_WINDOW_START, .is_paused = t->is_held };
}

bool turns_next(const struct turns *t, size_t *at, struct turns_state *out)
{
	void *v;

	if (!map_next(&t->destinations, at, NULL, &v))
		return false;
	*out = state_of(t, v);
	return true;
}

void turns_pause(struct turns *t, struct str destination, bool is_paused) { destination_of(t, destination)->is_paused = is_paused; }
void turns_hold(struct turns *t, bool is_held) { t->is_held = is_held; }
void turns_park(struct turns *t, struct str destination, bool has_parked) { destination_of(t, destination)->has_parked = has_parked; }

void turns_hurry(struct turns *t, struct str destination)
{
	struct destination *one = destination.p != NULL ? map_get(&t->destinations, destination) : NULL;
	size_t at = 0;
	void *v;

	if (one != NULL)
		one->again_ms = 0;
	if (destination.p != NULL)
		return;
	while (map_next(&t->destinations, &at, NULL, &v))
		((struct destination *)v)->again_ms = 0;
}
