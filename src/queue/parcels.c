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
#include "queue/parcels_private.h"
#include "text/text.h"
#include <assert.h>

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

void parcel_no_longer_fresh(struct parcel *p)
{
	list_remove(p);
	p->is_fresh = false;
	list_add(p);
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

void parcel_seal(struct parcel *p)
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

struct parcel *parcel_for(struct parcels *r, const struct queued *from, const struct envelope *e, struct str destination, struct arena *a)
{
	bool is_late = queued_is_late(from);
	struct str key = open_key(from->log_id, from->seq, is_late, destination, a);
	struct parcel *p = map_get(&r->open, key);

	if (p != NULL)
		return p;
	p = MEM_NEW(struct parcel);
	*p = (struct parcel){ .parcels = r, .log_id = from->log_id, .seq = from->seq, .place = from->place, .since_ms = from->since_ms,
		.submitter = e->source == ENVELOPE_SUBMISSION && e->list.n == 0 ? e->submitter : 0, .begins = envelope_begins(e),
		.deadline = e->wishes.by == ENVELOPE_BY_RETURN ? e->wishes.deliver_by : 0,
		.watches_time = e->wishes.by_traces || e->wishes.by == ENVELOPE_BY_NOTIFY, .is_late = is_late, .is_fresh = !is_late, .is_open = true,
		.is_single = e->list.n > 0 };
	turns_add(r->turns, &p->turn, &(struct turn_kind){ sender_key(e, a), destination, e->wishes.priority, parcels_sign_it(e) });
	list_add(p);
	r->deadlines += p->deadline != 0;
	map_set(&r->open, key, p);
	return p;
}

struct item *parcel_item(struct parcel *p, uint16_t recipient, struct str address, enum item_state state)
{
	char *text = mem_alloc(address.n + 1);


	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 1;
		p->items = mem_resize(p->items, p->cap * sizeof *p->items);
	}
	memcpy(text, address.p, address.n);
	p->items[p->n] = (struct item){ .recipient = recipient, .state = state, .address_text = text, .address = str_make(text, address.n) };
	turns_weigh(&p->turn, 1);
	if (p->is_single || p->n + 1 == SEND_RECIPIENTS_MAX)
		parcel_seal(p);
	return &p->items[p->n++];
}

void parcel_drop(struct parcel *p)
{
	parcel_seal(p);
	p->parcels->deadlines -= p->deadline != 0;
	for (size_t i = 0; i < p->n; i++)
		mem_free(p->items[i].address_text);
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
	struct str address = e->recipients[d->recipient].address;
	struct queue_way way;

	if (!queue_way_of(r->queue->lookup, address, &a, &way)) {
		const struct sync_result refused = { .outcome = DELIVERY_REFUSED, .status = STR("5.1.3"),
			.reason = text_fmt(&a, LANG_EN, TEXT_REASON_NO_DOMAIN_IN_IT, address) };
		sync_move(r->queue->sync, d, &refused);
		return;
	}
	if (parcels_rest(r, d, address, way.destination))
		return;
	struct parcel *p = parcel_for(r, d->message, e, way.destination, &a);
	parcel_item(p, d->recipient, address, ITEM_LOGGED)->due = d;
	d->parcel = p;
}

/* ------------------------------------------------------------------------------------------------------------- life */

/* Until one is found: what is dropped may be any of them. */
static struct parcel *overdue(const struct parcels *r, const struct parcel_list *l)
{
	int64_t now = clock_wall_s();

	for (struct parcel *p = l->first; p != NULL; p = p->after)
		if (p->state == PARCEL_WAITING && p->deadline != 0 && jumps_moved_with(&r->queue->jumps, p->begins, p->deadline) <= now)
			return p;
	return NULL;
}

void parcels_expire(struct parcels *r)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct parcel *p;

	while (r->deadlines > 0 && ((p = overdue(r, &r->fresh)) != NULL || (p = overdue(r, &r->rest)) != NULL))
		parcel_refuse(p, STR("5.4.7"), times_over(p->deadline, STR(""), &a));
}

bool parcels_may_send(const struct parcels *r)
{
	const struct queue *q = r->queue;

	return r->net != NULL && channel_is_open(r->net) && !q->stops && !log_has_failed(q->log) &&
	       (q->lookup != NULL || q->config.is_resolved);
}

void parcels_run(struct parcels *r, int64_t now_ms)
{
	struct turn *x;

	r->now_ms = now_ms;
	parcels_unsign(r);
	while (parcels_may_send(r) && r->bytes_out < PARCELS_BYTES_OUT && (x = turns_take(r->turns, now_ms, parcels_can_sign(r))) != NULL) {
		parcel_seal((struct parcel *)x);
		parcel_go((struct parcel *)x);
	}
	parcels_sign(r);
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
		parcels_record_again(r);
	if (r->queue->stops)
		return;
	parcels_move_old(r);
	if (!parcels_may_send(r))
		return;
	parcels_list(r);
}

size_t parcels_out(const struct parcels *r) { return turns_out(r->turns); }
const struct turns *parcels_turns(const struct parcels *r) { return r->turns; }
void parcels_hurry(struct parcels *r, struct str destination) { turns_hurry(r->turns, destination); }

void parcels_hold(struct parcels *r, bool is_held) { turns_hold(r->turns, is_held); }

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
	r->sent = BUF(SENT_MAX * sizeof(uint64_t));
	r->signatures = signatures_new();
	r->to_sign_end = &r->to_sign;
	read_paused(r);
	parcels_hold(r, q->config.holds_elsewhere);
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

static void on_dkim_keys(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	signatures_forget_keyless(((struct parcels *)context)->signatures);
}

static const struct channel_handler net_handlers[] = { { 0 } };
static const struct channel_handler keys_handlers[] = { { NOTICE_DKIM_KEYS, on_dkim_keys }, { 0 } };

static void open_channel(struct parcels *r, struct channel **ch, int fd, enum role peer, const struct channel_handler *handlers)
{
	close_channel(r, ch);
	*ch = channel_new(fd, ROLE_QUEUE, peer, handlers, r, NULL);
	r->queue->host.watch(r->queue->host.context, *ch);
}

void parcels_net(struct parcels *r, int fd)
{
	open_channel(r, &r->net, fd, ROLE_NET, net_handlers);
	buf_reset(&r->sent);  /* who is new knows no such numbers */
}

void parcels_keys(struct parcels *r, int fd)
{
	signatures_forget_keyless(r->signatures);
	open_channel(r, &r->keys, fd, ROLE_KEYS, keys_handlers);
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
			item_unparcel(&p->items[i]);
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
	buf_free(&r->sent);
	map_free(&r->open);
	map_free(&r->rows);
	mem_free(r);
}
