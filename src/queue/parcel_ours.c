/* Mail for a domain that has become ours since it was accepted: there is an account for it now, or an alias that leads on, or nobody.
 *
 * A row of queue.db gets its new recipient in place: its name (log id, seq, recipient) stays, so a replay leaves it to the row as before, and
 * the account that gets it knows it by that name. What an alias leads to further gets rows of its own, numbered behind all that an envelope
 * can have. What is still in the log becomes a row first. A group is not asked: what it does with a message it does when the message comes. */
#include "base/clock.h"
#include "queue/parcels_private.h"
#include "queue/resolve.h"

/* Its targets now; n is 0: nobody. */
static enum err targets_of(const struct queue *q, const struct envelope *e, const struct late_row *row, struct arena *a, struct envelope *out)
{
	struct envelope_recipient asked = row->recipient;
	struct envelope in = *e;

	in.n = 1;
	in.recipients = &asked;
	TRY(envelope_resolve(q->lookup, &in, a, out));
	if (out->n == 1 && (out->recipients[0].account == ENVELOPE_GROUP ||
	                    (out->recipients[0].account == 0 && str_eq(out->recipients[0].address, asked.address))))
		out->n = 0;
	return ERR_OK;
}

/* True: the row leads on, and is nothing of p any more. */
static bool leads_on(struct parcel *p, struct item *i)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue *q = p->parcels->queue;
	const struct late_key key = item_key(p, i);
	struct late_message m;
	struct late_row row;
	struct envelope to;

	if (late_find(q->late, &key, &a, &row) != ERR_OK || late_message_find(q->late, p->log_id, p->seq, &a, &m) != ERR_OK ||
	    targets_of(q, &m.envelope, &row, &a, &to) != ERR_OK || to.n == 0 ||
	    late_readdress(q->late, &key, to.recipients, to.n, clock_wall_s() + 1) != ERR_OK)
		return false;
	item_forget_row(p, i);
	return true;
}

void parcel_resolve(struct parcel *p)
{
	struct parcels *r = p->parcels;
	size_t left = 0;

	if (p->place.length > 0) {
		parcel_put_aside(p, clock_wall_s(), NULL);
		return;
	}
	for (size_t i = 0; i < p->n; i++)
		left += p->items[i].state != ITEM_SETTLED && !leads_on(p, &p->items[i]);
	r->queue->late_due = 0;
	parcels_look_anew(r);
	if (left > 0)
		parcel_all(p, DELIVERY_REFUSED, STR("5.1.1"), STR("There is no account here for this address (any more)."));
	else
		parcel_drop(p);
}
