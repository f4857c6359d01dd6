/* Mail for a domain that has become ours since it was accepted: there is an account for it now, or an alias that leads on, or nobody.
 *
 * A row of queue.db gets its new recipient in place: its name (log id, seq, recipient) stays, so a replay leaves it to the row as before, and
 * the account that gets it knows it by that name. What an alias leads to further gets rows of its own, numbered behind all that an envelope
 * can have. What is still in the log becomes a row first. A group is not asked: what it does with a message it does when the message comes. An
 * alias that leads to one, and to others too, is refused as a whole: its sender could not know who has got it.
 *
 * Who waits for the same message already gets it once: it is left out of what an alias leads to. Who has got it cannot be told any more: the row
 * of a recipient that is done goes, and what was delivered from the log never was one. */
#include "base/clock.h"
#include "queue/parcels_private.h"
#include "queue/resolve.h"
#include "text/text.h"

enum { ROWS_MAX = 1000 };   /* of a message, that are compared */

static bool leads_nowhere(const struct envelope_recipient *asked, const struct envelope *to)
{
	for (size_t i = 0; i < to->n; i++)
		if (to->recipients[i].account == ENVELOPE_GROUP)
			return true;
	return to->n == 1 && to->recipients[0].account == 0 && str_eq(to->recipients[0].address, asked->address);
}

/* Its targets now; n is 0: nobody. */
static enum err targets_of(const struct queue *q, const struct envelope *e, const struct late_row *row, struct arena *a, struct envelope *out)
{
	struct envelope_recipient asked = row->recipient;
	struct envelope in = *e;

	in.n = 1;
	in.recipients = &asked;
	TRY(envelope_resolve(q->lookup, &in, a, out));
	if (leads_nowhere(&asked, out))
		out->n = 0;
	return ERR_OK;
}

static bool waits_for_it(const struct late_row *rows, size_t n, const struct late_key *but, const struct envelope_recipient *to)
{
	for (size_t i = 0; i < n; i++) {
		const struct envelope_recipient *other = &rows[i].recipient;
		if (rows[i].key.recipient != but->recipient && other->account == to->account && (to->account != 0 || str_ieq(other->address, to->address)))
			return true;
	}
	return false;
}

static enum err leave_out_who_waits(struct queue *q, const struct late_key *key, struct arena *a, struct envelope *to)
{
	struct late_row *rows;
	size_t n, left = 0;

	TRY(late_rows(q->late, key->log_id, key->seq, 0, ROWS_MAX, a, &rows, &n));
	for (size_t i = 0; i < to->n; i++)
		if (!waits_for_it(rows, n, key, &to->recipients[i]))
			to->recipients[left++] = to->recipients[i];
	to->n = left;
	return ERR_OK;
}

/* ERR_OK: the row leads on, or all it leads to is others' already. ERR_NOTFOUND: to nobody. Else: not now. */
static enum err lead_on(struct parcel *p, struct item *i)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue *q = p->parcels->queue;
	const struct late_key key = item_key(p, i);
	struct late_message m;
	struct late_row row;
	struct envelope to;

	TRY(late_find(q->late, &key, &a, &row));
	TRY(late_message_find(q->late, p->log_id, p->seq, &a, &m));
	TRY(targets_of(q, &m.envelope, &row, &a, &to));
	if (to.n == 0)
		return ERR_NOTFOUND;
	TRY(leave_out_who_waits(q, &key, &a, &to));
	const struct late_change done = { .key = key, .state = LATE_FINISHED };
	return to.n > 0 ? late_readdress(q->late, &key, to.recipients, to.n, clock_wall_s() + 1) : late_change(q->late, &done, 1);
}

void parcel_resolve(struct parcel *p)
{
	struct parcels *r = p->parcels;
	size_t left = 0, failed = 0;

	if (p->place.length > 0) {
		parcel_put_aside(p, clock_wall_s(), NULL);
		return;
	}
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].state == ITEM_SETTLED)
			continue;
		enum err e = lead_on(p, &p->items[i]);
		left += e != ERR_OK;
		failed += e != ERR_OK && e != ERR_NOTFOUND;
		if (e == ERR_OK)
			item_forget_row(p, &p->items[i]);
	}
	r->queue->late_due = 0;
	parcels_look_anew(r);
	if (failed > 0)
		parcel_all(p, DELIVERY_DEFERRED, STR("4.3.0"), STR("Where this address leads could not be written down; see the server's log."));
	else if (left > 0)
		parcel_all(p, DELIVERY_REFUSED, STR("5.1.1"), str_of(text_get(LANG_EN, TEXT_REASON_NO_ACCOUNT)));
	else
		parcel_drop(p);
}
