/* A token in the address is proof enough for leaving: only the member has it. Without one it is the account that has logged in that leaves;
 * what a stranger says of himself is passed over (mx has refused it).
 *
 * A bounce counts only as a report that says "failed" (mime/delivery_status.h). One that is too large to be in memory is none that a
 * mail server writes. */
#include "queue/orders.h"
#include "base/log.h"
#include "base/mem.h"
#include "mime/delivery_status.h"
#include "queue/queue_private.h"

struct orders {
	struct queue            *queue;
	const struct resolved   *all;
	const struct envelope   *envelope;
	const struct queue_body *body;
	struct str               sender, peer;   /* of the envelope */
	struct list_order_request asked;         /* at last */
	bool                     is_refused;     /* somebody has not left */
	size_t                   next;
	struct arena             arena;
	void                   (*done)(void *context, enum err result);
	void                    *context;
};

static void go_on(struct orders *o);

static void end(struct orders *o, enum err result)
{
	void (*done)(void *context, enum err result) = o->done;
	void *context = o->context;

	arena_free(&o->arena);
	mem_free(o);
	done(context, result);
}

/* Whoever has left by his token already has left; an account that never was a member thinks it is one. */
static bool has_left(const struct orders *o, enum err result) { return result == ERR_OK || (result == ERR_NOTFOUND && o->asked.what.token.n > 0); }

static void on_answer(void *context, enum err result)
{
	struct orders *o = context;

	if (result != ERR_OK && result != ERR_NOTFOUND && result != ERR_DENIED) {
		end(o, ERR_UNAVAILABLE);
		return;
	}
	if (o->asked.what.order == LIST_LEAVE) {
		note_left(o->queue, o->sender, o->peer, &o->asked, result);
		o->is_refused |= !has_left(o, result);
	}
	go_on(o);
}

/* False: there is nothing to do. */
static bool make_request(struct orders *o, const struct list_address *what, struct list_order_request *r)
{
	*r = (struct list_order_request){ .what = *what };
	if (what->order == LIST_LEAVE) {
		r->account = o->envelope->source == ENVELOPE_SUBMISSION ? o->envelope->submitter : 0;
		return what->token.n > 0 || r->account != 0;
	}
	return what->token.n > 0 && o->body->bytes.p != NULL && delivery_has_failed(o->body->bytes, &o->arena, &r->reason);
}

static void go_on(struct orders *o)
{
	while (o->next < o->all->orders_n)
		if (make_request(o, &o->all->orders[o->next++], &o->asked) && o->queue->host.list_order != NULL) {
			o->queue->host.list_order(o->queue->host.context, &o->asked, on_answer, o);
			return;
		}
	end(o, o->is_refused ? ERR_NOTFOUND : ERR_OK);
}

void orders_run(struct queue *q, const struct resolved *all, const struct envelope *e, const struct queue_body *body,
                void (*done)(void *context, enum err result), void *context)
{
	struct orders *o = MEM_NEW(struct orders);

	*o = (struct orders){ .queue = q, .all = all, .envelope = e, .body = body, .done = done, .context = context };
	o->sender = str_copy(&o->arena, e->sender);
	o->peer = str_copy(&o->arena, e->peer);
	go_on(o);
}
