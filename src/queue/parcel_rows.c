/* Parcels and queue.db: what leaves the log untried, what is due, and what is parked because its destination has no room. */
#include "base/clock.h"
#include "base/log.h"
#include "queue/destination.h"
#include "queue/parcels_private.h"
#include "text/text.h"
#include <assert.h>

enum { LIST_PAGE = 1000, PULL = 400, KEY_BYTES = 18, LOOK_ANEW_MS = 60000 };

/* LEFT: parked, refused or gone; UNREAD: asked for again */
enum row_fate { ROW_HERE_ALREADY, ROW_TAKEN, ROW_LEFT, ROW_UNREAD };

static const char parking_mark;   /* in rows: on its way back to queue.db */
static const char moving_mark;    /* in rows: on its way there from the log */

/* ------------------------------------------------------------------------------------------------------------- keys */

static struct str key_bytes(const struct late_key *key, char out[KEY_BYTES])
{
	memcpy(out, &key->log_id, 8);
	memcpy(out + 8, &key->seq, 8);
	memcpy(out + 16, &key->recipient, 2);
	return str_make(out, KEY_BYTES);
}

struct late_key item_key(const struct parcel *p, const struct item *i) { return (struct late_key){ p->log_id, p->seq, i->recipient }; }

static void remember_row(struct parcels *r, struct late_key key, const void *what)
{
	char bytes[KEY_BYTES];

	map_set(&r->rows, key_bytes(&key, bytes), (void *)what);
}

void item_forget_row(struct parcel *p, struct item *i)
{
	remember_row(p->parcels, item_key(p, i), NULL);
	i->state = ITEM_SETTLED;
}

/* ------------------------------------------------------------------------------------------------ out of the log */

/* Nothing is parked for good: a destination that waits for its pause to end has a time. */
static int64_t set_aside_until(struct parcels *r, const struct turns_state *s)
{
	return s->again_ms > r->now_ms && !s->is_paused ? clock_wall_s() + (s->again_ms - r->now_ms) / 1000 : LATE_NEVER;
}

bool parcels_rest(struct parcels *r, struct due *d, struct str address, struct str destination)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct late_key key = { d->message->log_id, d->message->seq, d->recipient };
	struct sync_result why = { .status = STR("4.4.1"), .host = STR("") };
	struct turns_state s;

	turns_state(r->turns, destination, &s);
	if (!s.is_paused && s.again_ms <= r->now_ms)
		return false;
	if (r->queue->config.holds_elsewhere)
		why.reason = str_of(text_get(LANG_EN, TEXT_REASON_HELD));
	else if (s.is_paused)
		why.reason = text_fmt(&a, LANG_EN, TEXT_REASON_PAUSED, destination, destination);
	else
		why.reason = text_fmt(&a, LANG_EN, s.why.n > 0 ? TEXT_REASON_RESTS_LAST : TEXT_REASON_RESTS, destination, s.why);
	int64_t due = set_aside_until(r, &s);
	if (!r->queue->config.holds_elsewhere)  /* what is received is noted with that already */
		note_put_aside(r->queue, &key, address, due, &why);
	sync_put_aside(r->queue->sync, d, due, &why);
	if (due == LATE_NEVER) {
		turns_park(r->turns, destination, true);
		d->is_parking = true;
		r->parking++;  /* the destination may go on before the row is there: then it has to look again */
	}
	return true;
}

static void move_waiting(struct parcel *p)
{
	struct parcels *r = p->parcels;
	struct turns_state s;

	parcel_seal(p);
	turns_state(r->turns, turn_destination(&p->turn), &s);
	turns_withdraw(r->turns, &p->turn);
	p->state = PARCEL_MOVING;
	parcel_no_longer_fresh(p);
	for (size_t i = 0; i < p->n; i++) {
		assert(p->items[i].state == ITEM_LOGGED);
		p->items[i].state = ITEM_MOVING;
		sync_put_aside(r->queue->sync, p->items[i].due, set_aside_until(r, &s), NULL);
	}
}

static void move_out(struct parcel *p)
{
	struct parcels *r = p->parcels;

	parcel_no_longer_fresh(p);
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].state != ITEM_LOGGED)
			continue;
		p->items[i].state = ITEM_MOVING;
		remember_row(r, item_key(p, &p->items[i]), &moving_mark);
		sync_put_aside(r->queue->sync, p->items[i].due, clock_wall_s(), NULL);
	}
}

static bool has_moving(const struct parcel *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].state == ITEM_MOVING)
			return true;
	return false;
}

/* Its row is there since before the round has ended, and an order may have made it due: then it is in another parcel already, and stays known
 * until that has its result. */
static void forget_moved(struct parcel *p, struct item *i)
{
	const struct late_key key = item_key(p, i);
	char bytes[KEY_BYTES];

	if (map_get(&p->parcels->rows, key_bytes(&key, bytes)) == &moving_mark)
		remember_row(p->parcels, key, NULL);
	i->state = ITEM_SETTLED;
}

void parcels_settled(struct parcels *r, struct due *d)
{
	struct parcel *p = d->parcel;

	r->parking -= d->is_parking;
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].due != d)
			continue;
		p->items[i].due = NULL;
		p->items[i].state = ITEM_LATE;
		if (p->state == PARCEL_MOVING)
			forget_moved(p, &p->items[i]);
	}
	p->place.length = 0;  /* W may pass the record now */
	p->is_late = true;
	if (p->state != PARCEL_MOVING || has_moving(p))
		return;
	turns_park(r->turns, turn_destination(&p->turn), true);
	parcel_drop(p);
}

void parcels_move_old(struct parcels *r)
{
	struct parcel *p;

	while ((p = r->fresh.first) != NULL && r->now_ms - p->since_ms >= PARCELS_LOG_MS) {
		if (p->state == PARCEL_WAITING)
			move_waiting(p);
		else
			move_out(p);
	}
}

/* -------------------------------------------------------------------------------------------------- from queue.db */

static void postpone(struct parcels *r, const struct late_key *key, int64_t due)
{
	remember_row(r, *key, &parking_mark);
	r->parking++;
	sync_postpone(r->queue->sync, key, due);
}

static void park(struct parcels *r, const struct late_key *key, struct str destination)
{
	postpone(r, key, LATE_NEVER);
	turns_park(r->turns, destination, true);
}

void parcels_give_up(struct parcels *r, const struct late_row *row, const struct envelope *e, const struct sync_result *result)
{
	const struct late_past past = { true, jumps_moved(&r->queue->jumps, envelope_begins(e)), row->tries, row->asked };
	const struct send_result said = { .outcome = result->outcome, .status = result->status, .text = result->reason, .host = result->host };
	char bytes[KEY_BYTES];

	if (map_get(&r->rows, key_bytes(&row->key, bytes)) != NULL)
		return;
	remember_row(r, row->key, r);
	note_sent(r->queue, &row->key, row->recipient.address, &past, &said);
	sync_late(r->queue->sync, &row->key, result);
}

/* Rows that wait for a destination that is paused would take the room of all others. */
static void park_waiting(struct parcels *r, struct str destination)
{
	struct parcel *next;

	for (struct parcel *p = r->rest.first; p != NULL; p = next) {
		next = p->after;
		if (p->state != PARCEL_WAITING || !p->is_late || !str_eq(turn_destination(&p->turn), destination))
			continue;
		for (size_t i = 0; i < p->n; i++) {
			struct late_key key = item_key(p, &p->items[i]);
			if (p->items[i].state == ITEM_LATE)
				park(r, &key, destination);
		}
		parcel_drop(p);
	}
}

void parcel_put_aside(struct parcel *p, int64_t due, const struct sync_result *why)
{
	struct parcels *r = p->parcels;

	parcel_seal(p);
	if (!p->turn.is_waiting)
		turns_add_again(r->turns, &p->turn);
	turns_withdraw(r->turns, &p->turn);
	p->state = PARCEL_MOVING;
	if (p->is_fresh)
		parcel_no_longer_fresh(p);
	for (size_t i = 0; i < p->n; i++) {
		struct item *item = &p->items[i];
		struct late_key key = item_key(p, item);
		if (item->state == ITEM_LOGGED) {
			item->state = ITEM_MOVING;
			sync_put_aside(r->queue->sync, item->due, due, why);
		} else if (item->state == ITEM_LATE) {
			item->state = ITEM_SETTLED;
			postpone(r, &key, due);
		}
	}
	if (!has_moving(p))
		parcel_drop(p);
}

void parcels_finished(struct parcels *r, const struct late_key *key)
{
	char bytes[KEY_BYTES];
	struct str k = key_bytes(key, bytes);

	if (map_get(&r->rows, k) == &parking_mark)
		r->parking--;
	map_set(&r->rows, k, NULL);
}

static void refuse_row(struct parcels *r, const struct late_key *key, struct str address)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct sync_result refused = { .outcome = DELIVERY_REFUSED, .status = STR("5.1.3"),
		.reason = arena_printf(&a, "\"" STR_FMT "\" is no address: there is no domain in it that mail could be sent to.",
		                       STR_ARG(address)) };

	remember_row(r, *key, r);
	sync_late(r->queue->sync, key, &refused);
}

/* As many rows of one destination as are free: one alone gets half of the memory, two get a third each, and who has nothing here yet
 * always finds room, however many tarpits there are. */
static size_t share(const struct parcels *r) { return r->rows.n < PARCELS_ROWS_MAX ? PARCELS_ROWS_MAX - r->rows.n : 0; }

static bool is_crowded(const struct parcels *r, const struct turns_state *s, int8_t priority)
{
	return s->is_paused || s->here >= share(r) || (s->waiting >= PARCELS_PARK_ABOVE && priority <= 0);
}

static enum row_fate take_row(struct parcels *r, const struct late_due *due, bool may_park)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct queued from = { .log_id = due->key.log_id, .seq = due->key.seq, .since_ms = r->now_ms };
	char bytes[KEY_BYTES];
	struct late_message m;
	struct late_row row;
	struct turns_state s;
	struct queue_way way;

	if (map_get(&r->rows, key_bytes(&due->key, bytes)) != NULL)
		return ROW_HERE_ALREADY;
	enum err e = late_find(r->queue->late, &due->key, &a, &row);
	if (e == ERR_OK)
		e = late_message_find(r->queue->late, due->key.log_id, due->key.seq, &a, &m);
	if (e == ERR_CORRUPT) {  /* sync finds that too, and holds it */
		remember_row(r, due->key, r);
		sync_postpone(r->queue->sync, &due->key, LATE_NEVER);
	}
	if (e != ERR_OK)
		return e == ERR_CORRUPT || e == ERR_NOTFOUND ? ROW_LEFT : ROW_UNREAD;
	if (!queue_way_of(r->queue->lookup, row.recipient.address, &a, &way)) {
		refuse_row(r, &due->key, row.recipient.address);
		return ROW_LEFT;
	}
	if (times_is_stopped(r->queue, &m.envelope)) {
		postpone(r, &due->key, times_look_again());
		return ROW_LEFT;
	}
	turns_state(r->turns, way.destination, &s);
	if (may_park && is_crowded(r, &s, m.envelope.wishes.priority)) {
		park(r, &due->key, way.destination);
		return ROW_LEFT;
	}
	remember_row(r, due->key, r);
	struct item *i = parcel_item(parcel_for(r, &from, &m.envelope, way.destination, &a), due->key.recipient, row.recipient.address, ITEM_LATE);
	i->tries = row.tries;
	i->asked = row.asked;
	return ROW_TAKEN;
}

/* The next page of what is due; how many were not here already. */
static size_t take_page(struct parcels *r, bool *is_last)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_due *due;
	size_t n = 0, new = 0;

	*is_last = true;
	if (late_list_due(r->queue->late, true, &r->listed, r->listed_at, LIST_PAGE, &a, &due, &n) != ERR_OK)
		return 0;
	*is_last = n < LIST_PAGE;
	for (size_t i = 0; i < n; i++) {
		enum row_fate fate = share(r) > 0 ? take_row(r, &due[i], true) : ROW_UNREAD;
		*is_last |= fate == ROW_UNREAD;
		if (fate == ROW_UNREAD)
			break;
		new += fate != ROW_HERE_ALREADY;
		r->listed = due[i];
	}
	return new;
}

/* What is in memory is still due as its row says, so a look goes on behind the last one, and from the beginning only once in a while (a
 * clock that was set back, a row that came late) or when the administrator has changed something. */
static void take_due(struct parcels *r)
{
	int64_t now = clock_wall_s();
	bool is_last = false;

	if (share(r) == 0)
		return;
	if (r->now_ms >= r->look_anew_ms || now < r->listed_at) {
		r->look_anew_ms = r->now_ms + LOOK_ANEW_MS;
		r->listed = (struct late_due){ .due = -1 };
	}
	r->listed_at = now;
	for (size_t new = 0; new < LIST_PAGE && !is_last;)
		new += take_page(r, &is_last);
}

/* -------------------------------------------------------------------------------------------------- other routes */

void parcel_refile(struct parcel *p)
{
	struct parcels *r = p->parcels;

	if (!p->turn.is_waiting)
		parcel_again(p);
	parcel_seal(p);
	turns_withdraw(r->turns, &p->turn);
	p->state = PARCEL_MOVING;
	if (p->is_fresh)
		parcel_no_longer_fresh(p);
	for (size_t i = 0; i < p->n; i++) {
		struct item *item = &p->items[i];
		if (item->state == ITEM_LATE) {
			item_forget_row(p, item);
		} else if (item->state == ITEM_MOVING) {
			remember_row(r, item_key(p, item), NULL);
		} else if (item->state == ITEM_LOGGED) {
			item->state = ITEM_MOVING;
			sync_put_aside(r->queue->sync, item->due, clock_wall_s(), NULL);
		}
	}
	parcels_look_anew(r);
	if (!has_moving(p))
		parcel_drop(p);
}

/* What is on its way to queue.db just now may be parked under a name that nobody asks for: the second look finds it. */
void parcels_reroute(struct parcels *r)
{
	struct parcel_list *lists[] = { &r->rest, &r->fresh };
	struct parcel *next;

	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		for (struct parcel *p = lists[i]->first; p != NULL; p = next) {
			next = p->after;
			if (p->state == PARCEL_WAITING)
				parcel_refile(p);
		}
	}
	r->unpark_ms = r->now_ms + LOOK_ANEW_MS;
}

void parcels_look_anew(struct parcels *r) { r->look_anew_ms = 0; }

/* A destination that has room asks for what was parked. Its rows that are here already are listed too: parked is what they are in queue.db,
 * until they have had a try. */
static void pull(struct parcels *r, const struct turns_state *s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	size_t most = PULL + s->here, n, taken = 0;
	bool is_all = r->parking == 0;
	struct late_due *due;

	if (late_list_parked(r->queue->late, s->name, most, &a, &due, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n && taken < PULL; i++) {
		enum row_fate fate = s->here + taken < share(r) ? take_row(r, &due[i], false) : ROW_UNREAD;
		is_all &= fate == ROW_HERE_ALREADY;
		taken += fate == ROW_TAKEN;
		if (fate == ROW_UNREAD)
			break;
	}
	if (is_all && n < most)
		turns_park(r->turns, s->name, false);
}

static void pull_all(struct parcels *r)
{
	struct turns_state s;
	size_t at = 0;

	while (turns_next(r->turns, &at, &s))
		if (s.has_parked && !s.is_paused && s.waiting < PARCELS_PULL_BELOW && s.here < share(r) && r->now_ms >= s.again_ms)
			pull(r, &s);
}

static void unpark(struct parcels *r)
{
	r->unpark_ms = 0;
	if (late_unpark(r->queue->late) != ERR_OK)
		r->unpark_ms = r->now_ms + LOOK_ANEW_MS;
	parcels_look_anew(r);
}

void parcels_list(struct parcels *r)
{
	if (r->unpark_ms != 0 && r->now_ms >= r->unpark_ms)
		unpark(r);
	take_due(r);
	pull_all(r);
}

enum err parcels_pause(struct parcels *r, struct str domain, bool is_paused)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str destination;
	bool is_routed;

	if (!queue_destination_named(r->queue->lookup, domain, &a, &destination, &is_routed))
		return ERR_INVALID;
	if (is_paused && is_routed)
		return ERR_CONFLICT;
	TRY(late_pause(r->queue->late, destination, is_paused));
	turns_pause(r->turns, destination, is_paused);
	if (is_paused)
		park_waiting(r, destination);
	else
		turns_park(r->turns, destination, true);  /* perhaps: asked at the next tick */
	return ERR_OK;
}
