/* Parcels and their life.
 *
 *            turns_take          net answers, some DONE           LOG_DONE durable
 *   WAITING ───────────► (SIGNING) OUT ─────────────────► DONE ─────────────────────► gone; SENT goes to net
 *      │ ▲                   │ net is lost
 *      │ └───────────────────┘
 *      └────────► MOVING ──────► gone, a row of queue.db     after PARCELS_LOG_MS
 *
 * Once. That a recipient was DONE is written to the log, and only when that is durable net hears SENT, without which it sends nothing
 * more over that connection. Until then a kill, of whatever, makes the message go out again: at most one for each open connection.
 * From the LOG_DONE on it does not: a recipient from the log is settled, and a replay finds the record behind its message; a row of
 * queue.db is finished by sync's next round, and W passes the record only after that round, because the result is with sync before
 * sync hears of the record's seq. Results that are not DONE need no such care: trying again is no harm.
 *
 * W. A peer may take its time; the log may not. After PARCELS_LOG_MS what waits becomes parked rows, and what is out becomes rows that
 * are due, and that are known here (`rows`) so that nobody sends them meanwhile; the answer then goes the way of a row. A row is in
 * memory, in `rows`, from when it is listed until sync has written what became of it.
 *
 * The log full. A LOG_DONE that finds no room is tried again each second; W does not need it, since its recipients move to queue.db
 * after PARCELS_LOG_MS like all others.
 *
 * A failed disk. When the accounts or the log cannot be synced nothing more is sent: what came of it could not be written down. */
#include "queue/destination.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/record.h"
#include "queue/parcels_private.h"
#include <assert.h>
#include <stddef.h>

enum { LIST_MORE = 1000, PULL = 400, KEY_BYTES = 18 };

static const char parking_mark;   /* in rows: on its way back to queue.db */

/* ------------------------------------------------------------------------------------------------------------ lists */

static struct parcel_list *list_of(struct parcel *p) { return p->is_fresh ? &p->parcels->fresh : &p->parcels->rest; }

static void list_add(struct parcel *p)
{
	struct parcel_list *l = list_of(p);

	p->before = l->last;
	p->after = NULL;
	*(l->last != NULL ? &l->last->after : &l->first) = p;
	l->last = p;
}

static void list_remove(struct parcel *p)
{
	struct parcel_list *l = list_of(p);

	*(p->before != NULL ? &p->before->after : &l->first) = p->after;
	*(p->after != NULL ? &p->after->before : &l->last) = p->before;
}

static void no_longer_fresh(struct parcel *p)
{
	list_remove(p);
	p->is_fresh = false;
	list_add(p);
}

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

/* What parcels of one message for one destination have in common. */
static struct str open_key(uint64_t log_id, uint64_t seq, bool is_late, struct str destination, struct arena *a)
{
	char *key = arena_alloc(a, 17 + destination.n);

	memcpy(key, &log_id, 8);
	memcpy(key + 8, &seq, 8);
	key[16] = is_late;
	memcpy(key + 17, destination.p, destination.n);
	return str_make(key, 17 + destination.n);
}

/* No more recipients are put into it. */
static void seal(struct parcel *p)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	if (p->is_open)
		map_set(&p->parcels->open, open_key(p->log_id, p->seq, p->is_late, turn_destination(&p->turn), &a), NULL);
	p->is_open = false;
}

/* ---------------------------------------------------------------------------------------------------- come and go */

static struct str sender_key(const struct envelope *e, struct arena *a)
{
	return e->submitter != 0 ? arena_printf(a, "#%llu", (unsigned long long)e->submitter) : str_lower(a, e->sender);
}

/* The parcel of this message for this destination: one that still waits, or a new one. */
static struct parcel *parcel_for(struct parcels *r, const struct queued *from, const struct envelope *e, struct str destination,
                                 struct arena *a)
{
	bool is_late = queued_is_late(from);
	struct str key = open_key(from->log_id, from->seq, is_late, destination, a);
	struct parcel *p = map_get(&r->open, key);

	if (p != NULL)
		return p;
	p = MEM_NEW(struct parcel);
	*p = (struct parcel){ .parcels = r, .log_id = from->log_id, .seq = from->seq, .place = from->place, .since_ms = from->since_ms,
		.received = e->received, .is_late = is_late, .is_fresh = !is_late, .is_open = true };
	turns_add(r->turns, &p->turn, sender_key(e, a), destination);
	list_add(p);
	map_set(&r->open, key, p);
	return p;
}

static struct item *item_add(struct parcel *p, uint16_t recipient, enum item_state state)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 1;
		p->items = mem_resize(p->items, p->cap * sizeof *p->items);
	}
	p->items[p->n] = (struct item){ .recipient = recipient, .state = state };
	if (p->n + 1 == SEND_RECIPIENTS_MAX)
		seal(p);
	return &p->items[p->n++];
}

void parcel_drop(struct parcel *p)
{
	seal(p);
	turns_leave(p->parcels->turns, &p->turn);
	list_remove(p);
	buf_free(&p->record);
	arena_free(&p->arena);
	mem_free(p->items);
	mem_free(p);
}

void parcels_add(struct parcels *r, struct due *d, const struct envelope *e)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str address = e->recipients[d->recipient].address, destination;

	if (!address_destination(address, &a, &destination)) {
		const struct sync_result refused = { .outcome = DELIVERY_REFUSED, .status = STR("5.1.3"),
			.reason = arena_printf(&a, "\"" STR_FMT "\" is no address: there is no domain in it that mail could be sent to.",
			                       STR_ARG(address)) };
		sync_move(r->queue->sync, d, &refused);
		return;
	}
	struct parcel *p = parcel_for(r, d->message, e, destination, &a);
	item_add(p, d->recipient, ITEM_LOGGED)->due = d;
	d->parcel = p;
}

/* ---------------------------------------------------------------------------------------------------------- results */

static void unparcel(struct item *i)
{
	if (i->due != NULL)
		i->due->parcel = NULL;
	i->due = NULL;
}

/* It was not DONE: to queue.db with what was said. */
static void put_off(struct parcel *p, struct item *i, const struct sync_result *result)
{
	struct sync *sync = p->parcels->queue->sync;
	struct late_key key = item_key(p, i);
	struct due *due = i->due;
	bool is_logged = i->state == ITEM_LOGGED;

	unparcel(i);
	i->state = ITEM_SETTLED;
	if (is_logged)
		sync_move(sync, due, result);
	else
		sync_late(sync, &key, result);
}

/* The row that a sender's wish to hear of it needs is made, or changed, like any other: W waits for it. */
static void settle_done(struct parcel *p, struct item *i)
{
	struct queue *q = p->parcels->queue;
	struct late_key key = item_key(p, i);
	struct due *due = i->due;
	bool is_logged = i->state == ITEM_LOGGED;

	unparcel(i);
	i->state = ITEM_SETTLED;
	if (!is_logged)
		sync_late(q->sync, &key, &i->done);
	else if (due->tells_success && !i->done.peer_tells)
		sync_move(q->sync, due, &i->done);
	else
		backlog_settle(&q->backlog, due);
}

static void send_sent(struct parcel *p)
{
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_sent(&b, p->number);
	if (p->parcels->net != NULL)  /* one that has come since knows no such number */
		channel_notify(p->parcels->net, NOTICE_SENT, buf_str(&b), NULL, 0);
}

/* That it was DONE is durable. Settled first: sync may let W pass the record as soon as it knows its seq. */
static void recorded(struct writing *w)
{
	struct parcel *p = (struct parcel *)((char *)w - offsetof(struct parcel, writing));

	if (w->entry.result != ERR_OK) {  /* no room: parcels_tick() tries again. The log failed: so does the role, and a replay follows */
		p->has_no_record = w->entry.result == ERR_AGAIN;
		return;
	}
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].is_done && p->items[i].state != ITEM_SETTLED)
			settle_done(p, &p->items[i]);
	sync_known(p->parcels->queue->sync, w->entry.place.seq);
	send_sent(p);
	parcel_drop(p);
}

static void write_record(struct parcel *p)
{
	p->has_no_record = false;
	p->writing = (struct writing){ .entry = { .kind = LOG_DONE, .head = buf_str(&p->record) }, .done = recorded };
	writer_add(p->parcels->queue->writer, &p->writing);
}

static void record(struct parcel *p)
{
	struct record_done done = { .log_id = p->log_id, .seq = p->seq };

	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].is_done)
			done.recipients[done.n++] = p->items[i].recipient;
	p->record = BUF(64 + 2 * RECORD_DONE_MAX);
	record_done_encode(&done, &p->record);
	p->state = PARCEL_DONE;
	write_record(p);
}

static void no_longer_out(struct parcel *p)
{
	p->parcels->bytes_out -= p->bytes;
	p->bytes = 0;
}

/* Nobody was reached: what waits for the same destination would fare the same. Each gets that as its result, and its own next time. */
static void put_off_others(struct parcel *p, const struct send_result *why)
{
	const struct sync_result result = { .outcome = DELIVERY_DEFERRED, .status = why->status, .reason = why->text, .host = why->host };
	struct parcels *r = p->parcels;
	struct turn *x;

	while ((x = turns_drain(r->turns, &p->turn)) != NULL) {
		struct parcel *other = (struct parcel *)x;
		for (size_t i = 0; i < other->n; i++)
			if (other->items[i].state != ITEM_SETTLED)
				put_off(other, &other->items[i], &result);
		parcel_drop(other);
	}
}

/* Where no server has answered (nobody was reached, the connection was lost) the words are ours, and are not put into its mouth: they
 * name the host themselves. */
static struct send_result in_whose_words(struct parcel *p, struct send_result s)
{
	bool is_reply = s.text.n >= 3 && chr_digit(s.text.p[0]) && chr_digit(s.text.p[1]) && chr_digit(s.text.p[2]);

	if (is_reply || s.host.n == 0)
		return s;
	s.text = arena_printf(&p->arena, STR_FMT ": " STR_FMT, STR_ARG(s.host), STR_ARG(s.text));
	s.host = STR("");
	return s;
}

static void take_result(struct parcel *p, struct item *i, const struct send_result *s)
{
	struct sync_result result = { .outcome = s->outcome, .status = s->status, .reason = s->text, .host = s->host,
		                          .peer_tells = s->has_passed_dsn };
	struct late_key key = item_key(p, i);

	note_sent(p->parcels->queue, &key, i->address, p->received, i->tries + 1, s);
	if (s->outcome != DELIVERY_DONE) {
		put_off(p, i, &result);
		return;
	}
	result.status = str_copy(&p->arena, s->status);
	result.reason = str_copy(&p->arena, s->text);
	result.host = str_copy(&p->arena, s->host);
	i->done = result;
	i->is_done = true;
}

void parcel_answered(struct parcel *p, const struct send_answer *a)
{
	struct parcels *r = p->parcels;
	struct send_result said = { 0 };
	size_t at = 0, done = 0;

	no_longer_out(p);
	note_attempts(r->queue, p->log_id, p->seq, a);
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].state == ITEM_SETTLED)
			continue;
		said = in_whose_words(p, a->results[at++]);
		take_result(p, &p->items[i], &said);
		done += said.outcome == DELIVERY_DONE;
	}
	if (turns_feedback(r->turns, &p->turn, a->feedback, r->now_ms) && at > 0)
		put_off_others(p, &said);
	if (done > 0) {
		record(p);
		return;
	}
	send_sent(p);
	parcel_drop(p);
}

void parcel_all(struct parcel *p, enum delivery_outcome outcome, struct str status, struct str text)
{
	const struct send_result s = { .outcome = outcome, .status = status, .text = text };

	no_longer_out(p);
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].state != ITEM_SETTLED)
			take_result(p, &p->items[i], &s);
	parcel_drop(p);
}

void parcel_again(struct parcel *p)
{
	no_longer_out(p);
	arena_reset(&p->arena);
	p->state = PARCEL_WAITING;
	turns_add_again(p->parcels->turns, &p->turn);
}

void parcel_lost(struct parcel *p)
{
	if (++p->losses < PARCELS_LOSSES_MAX)
		parcel_again(p);
	else
		parcel_all(p, DELIVERY_DEFERRED, STR("4.3.0"),
		           STR("This server's sending process ended several times during this message; see the server's log."));
}

/* ------------------------------------------------------------------------------------------------ out of the log */

/* Nothing is parked for good: a destination that waits for its pause to end has a time. */
static int64_t set_aside_until(struct parcels *r, const struct turns_state *s)
{
	return s->again_ms > r->now_ms && !s->is_paused ? clock_wall_s() + (s->again_ms - r->now_ms) / 1000 : LATE_NEVER;
}

static void move_waiting(struct parcel *p)
{
	struct parcels *r = p->parcels;
	struct turns_state s;

	seal(p);
	turns_state(r->turns, turn_destination(&p->turn), &s);
	turns_withdraw(r->turns, &p->turn);
	p->state = PARCEL_MOVING;
	no_longer_fresh(p);
	for (size_t i = 0; i < p->n; i++) {
		assert(p->items[i].state == ITEM_LOGGED);
		p->items[i].state = ITEM_MOVING;
		sync_put_aside(r->queue->sync, p->items[i].due, set_aside_until(r, &s));
	}
}

static void move_out(struct parcel *p)
{
	struct parcels *r = p->parcels;

	no_longer_fresh(p);
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].state != ITEM_LOGGED)
			continue;
		p->items[i].state = ITEM_MOVING;
		remember_row(r, item_key(p, &p->items[i]), r);
		sync_put_aside(r->queue->sync, p->items[i].due, clock_wall_s());
	}
}

static bool has_moving(const struct parcel *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i].state == ITEM_MOVING)
			return true;
	return false;
}

void parcels_settled(struct parcels *r, struct due *d)
{
	struct parcel *p = d->parcel;

	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].due != d)
			continue;
		p->items[i].due = NULL;
		p->items[i].state = p->state == PARCEL_MOVING ? ITEM_SETTLED : ITEM_LATE;
	}
	p->place.length = 0;  /* W may pass the record now */
	p->is_late = true;
	if (p->state != PARCEL_MOVING || has_moving(p))
		return;
	turns_park(r->turns, turn_destination(&p->turn), true);
	parcel_drop(p);
}

static void move_old(struct parcels *r)
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

static void park(struct parcels *r, const struct late_key *key, struct str destination)
{
	remember_row(r, *key, &parking_mark);
	r->parking++;
	sync_park(r->queue->sync, key);
	turns_park(r->turns, destination, true);
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

/* False: it is here already, or gone. */
static bool take_row(struct parcels *r, const struct late_due *due, bool may_park)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct queued from = { .log_id = due->key.log_id, .seq = due->key.seq, .since_ms = r->now_ms };
	char bytes[KEY_BYTES];
	struct late_message m;
	struct late_row row;
	struct turns_state s;
	struct str destination;

	if (map_get(&r->rows, key_bytes(&due->key, bytes)) != NULL || late_find(r->queue->late, &due->key, &a, &row) != ERR_OK)
		return false;
	enum err e = late_message_find(r->queue->late, due->key.log_id, due->key.seq, &a, &m);
	if (e == ERR_CORRUPT) {  /* sync finds that too, and holds it */
		remember_row(r, due->key, r);
		sync_park(r->queue->sync, &due->key);
	}
	if (e != ERR_OK)
		return false;
	if (!address_destination(row.recipient.address, &a, &destination)) {
		refuse_row(r, &due->key, row.recipient.address);
		return false;
	}
	turns_state(r->turns, destination, &s);
	if (may_park && (s.is_paused || s.waiting >= PARCELS_PARK_ABOVE)) {
		park(r, &due->key, destination);
		return false;
	}
	remember_row(r, due->key, r);
	struct item *i = item_add(parcel_for(r, &from, &m.envelope, destination, &a), due->key.recipient, ITEM_LATE);
	i->tries = row.tries;
	return true;
}

static void take_due(struct parcels *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct late_due *due;
	size_t n;

	/* those that are here are still due; so many more are asked for */
	if (late_list_due(r->queue->late, true, clock_wall_s(), r->rows.n + LIST_MORE, &a, &due, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n && r->rows.n < PARCELS_ROWS_MAX; i++)
		(void)take_row(r, &due[i], true);
}

/* A destination that has room asks for what was parked. */
static void pull(struct parcels *r, const struct turns_state *s)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	size_t here = (s->waiting + s->out) * SEND_RECIPIENTS_MAX, n, taken = 0;
	struct late_due *due;

	if (late_list_parked(r->queue->late, s->name, PULL + here, &a, &due, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n && taken < PULL && r->rows.n < PARCELS_ROWS_MAX; i++)
		taken += take_row(r, &due[i], false);
	if (n == 0 && r->parking == 0)
		turns_park(r->turns, s->name, false);
}

static void pull_all(struct parcels *r)
{
	struct turns_state s;
	size_t at = 0;

	while (turns_next(r->turns, &at, &s))
		if (s.has_parked && !s.is_paused && s.waiting < PARCELS_PULL_BELOW && r->now_ms >= s.again_ms)
			pull(r, &s);
}

/* ------------------------------------------------------------------------------------------------------------- life */

bool parcels_may_send(const struct parcels *r)
{
	const struct queue *q = r->queue;

	return r->net != NULL && channel_is_open(r->net) && !q->stops && !q->has_failed && !log_has_failed(q->log) &&
	       (q->lookup != NULL || q->config.is_resolved);
}

void parcels_run(struct parcels *r, int64_t now_ms)
{
	struct turn *x;

	r->now_ms = now_ms;
	while (parcels_may_send(r) && r->bytes_out < PARCELS_BYTES_OUT && (x = turns_take(r->turns, now_ms)) != NULL) {
		seal((struct parcel *)x);
		parcel_go((struct parcel *)x);
	}
	parcels_sign(r);
}

/* LOG_DONEs that found no room. Not asked of entry.result: that is the writer's until recorded(). */
static void record_again(struct parcels *r)
{
	struct parcel_list *lists[] = { &r->fresh, &r->rest };

	for (size_t i = 0; i < COUNT_OF(lists); i++)
		for (struct parcel *p = lists[i]->first; p != NULL; p = p->after)
			if (p->has_no_record)
				write_record(p);
}

void parcels_tick(struct parcels *r, int64_t now_ms)
{
	r->now_ms = now_ms;
	turns_pass(r->turns, now_ms);
	if (r->net != NULL)
		channel_expire(r->net, now_ms);
	if (r->keys != NULL)
		channel_expire(r->keys, now_ms);
	if (!log_has_failed(r->queue->log))
		record_again(r);
	if (r->queue->stops)
		return;
	move_old(r);
	if (!parcels_may_send(r))
		return;
	take_due(r);
	pull_all(r);
}

size_t parcels_out(const struct parcels *r) { return turns_out(r->turns); }
const struct turns *parcels_turns(const struct parcels *r) { return r->turns; }
void parcels_hurry(struct parcels *r) { turns_hurry(r->turns); }

enum err parcels_pause(struct parcels *r, struct str domain, bool is_paused)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str destination;

	if (!address_destination(arena_printf(&a, "x@" STR_FMT, STR_ARG(domain)), &a, &destination))
		return ERR_INVALID;
	TRY(late_pause(r->queue->late, destination, is_paused));
	turns_pause(r->turns, destination, is_paused);
	if (is_paused)
		park_waiting(r, destination);
	else
		turns_park(r->turns, destination, true);  /* perhaps: asked at the next tick */
	return ERR_OK;
}

static void read_paused(struct parcels *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str *names;
	size_t n;

	if (late_list_paused(r->queue->late, &a, &names, &n) != ERR_OK)
		return;
	for (size_t i = 0; i < n; i++)
		turns_pause(r->turns, names[i], true);
}

struct parcels *parcels_new(struct queue *q)
{
	struct parcels *r = MEM_NEW(struct parcels);

	r->queue = q;
	r->turns = turns_new();
	r->signatures = signatures_new();
	r->to_sign_end = &r->to_sign;
	read_paused(r);
	return r;
}

static void close_channel(struct parcels *r, struct channel **ch)
{
	if (*ch == NULL)
		return;
	r->queue->host.forget(r->queue->host.context, *ch);
	channel_free(*ch);  /* what was asked comes back as unavailable */
	*ch = NULL;
}

static const struct channel_handler no_handlers[] = { { 0 } };

static void open_channel(struct parcels *r, struct channel **ch, int fd, enum role peer)
{
	close_channel(r, ch);
	*ch = channel_new(fd, ROLE_QUEUE, peer, no_handlers, r, NULL);
	r->queue->host.watch(r->queue->host.context, *ch);
}

void parcels_net(struct parcels *r, int fd) { open_channel(r, &r->net, fd, ROLE_NET); }

void parcels_keys(struct parcels *r, int fd)
{
	open_channel(r, &r->keys, fd, ROLE_KEYS);
	r->sign_again_ms = 0;
}

void parcels_close(struct parcels *r)
{
	close_channel(r, &r->net);
	close_channel(r, &r->keys);
}

static void forget_all(struct parcels *r, struct parcel_list *l)
{
	struct parcel *p;

	while ((p = l->first) != NULL) {
		for (size_t i = 0; i < p->n; i++) {
			struct due *due = p->items[i].due;
			bool is_ours = p->items[i].state == ITEM_LOGGED;
			unparcel(&p->items[i]);
			if (is_ours)
				backlog_settle(&r->queue->backlog, due);
		}
		parcel_drop(p);
	}
}

void parcels_free(struct parcels *r)
{
	if (r == NULL)
		return;
	assert(r->net == NULL && r->keys == NULL);
	forget_all(r, &r->fresh);
	forget_all(r, &r->rest);
	turns_free(r->turns);
	signatures_free(r->signatures);
	map_free(&r->open);
	map_free(&r->rows);
	mem_free(r);
}
