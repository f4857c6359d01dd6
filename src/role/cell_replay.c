/* After an unclean stop there may be torn deliveries until the queue has sent again what it cannot be sure of (DESIGN.md §4.5). Until then
 * no session is taken: those that come are held, and let in when the queue says CELL_REPLAYED. */
#include "role/cell_private.h"
#include "store/view.h"
#include <unistd.h>

enum { REPLAY_TIMEOUT_MS = 24 * 3600 * 1000 };

bool cell_is_replayed(struct cell *c)
{
	pthread_mutex_lock(&c->holding);
	bool done = c->is_replayed;
	pthread_mutex_unlock(&c->holding);
	return done;
}

static void let_in(struct cell *c, const struct held *h)
{
	if (h->kind == ATTACH_GUEST)
		attached_take_guest(c->attached, h->fd, h->guest);
	else
		attached_take(c->attached, h->fd, h->kind);
}

/* What the replay brought is durable and visible; then those who waited come in. */
static void serve_sessions(struct cell *c)
{
	cell_publish(c);
	view_replayed(c->account.view);
	pthread_mutex_lock(&c->holding);
	c->is_replayed = true;
	size_t n = c->held_count;
	c->held_count = 0;
	pthread_mutex_unlock(&c->holding);
	for (size_t i = 0; i < n; i++)  /* nobody adds any more */
		let_in(c, &c->held[i]);
}

static void on_replayed(void *context, struct message *answer)
{
	struct cell *c = context;

	/* the queue is gone: its next channel asks again; an answer may also come twice */
	if (answer->status == ERR_OK && !cell_is_replayed(c))
		serve_sessions(c);
}

void cell_ask_replayed(struct cell *c)
{
	pthread_mutex_lock(&c->holding);
	bool must_ask = c->is_open && !c->is_replayed && channel_is_open(c->queue);
	pthread_mutex_unlock(&c->holding);
	if (must_ask)
		channel_ask(c->queue, REQUEST_CELL_REPLAYED, STR(""), NULL, 0, REPLAY_TIMEOUT_MS, on_replayed, c);
}

static bool hold(struct cell *c, const struct held *h)
{
	pthread_mutex_lock(&c->holding);
	bool waits = !c->is_replayed;
	if (waits && c->held_count < HELD_MAX)
		c->held[c->held_count++] = *h;
	else if (waits)
		close(h->fd);
	pthread_mutex_unlock(&c->holding);
	return waits;
}

bool cell_take(struct cell *c, const struct held *h)
{
	if (hold(c, h))
		return false;
	let_in(c, h);
	return true;
}

void cell_opened(struct cell *c)
{
	pthread_mutex_lock(&c->holding);
	c->is_open = true;
	pthread_mutex_unlock(&c->holding);
	if (view_was_unclean(c->account.view)) {
		if (c->is_watched)
			cell_tell_newest(c);  /* the last one may have changed something, and died before it said so */
		cell_ask_replayed(c);
	} else {
		serve_sessions(c);  /* those that came while it was being opened */
	}
}
