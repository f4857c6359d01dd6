/* What happened to mailboxes: a ring of the newest events, in memory only. It begins with the opening of the account; a session that
 * knows less than that (its cell died before it could tell) is answered ERR_CONFLICT, and its client looks at everything once.
 *
 * An event belongs to a transaction and is seen with its other effects (tx.c), so nobody hears of what is not durable, and its modseq
 * says who has heard of it already. */
#include "store/events.h"
#include "store/store_private.h"

/* Which view the calling thread changed last, and with which modseq: a session leaves out what it did itself. */
static _Thread_local struct { const struct view *view; uint64_t modseq; } own;

void events_note_own(const struct view *v, uint64_t modseq)
{
	own.view = v;
	own.modseq = modseq;
}

uint64_t events_own(const struct view *v) { return own.view == v ? own.modseq : 0; }

void tx_event(struct tx *tx, enum event_kind kind, struct str path, struct str more)
{
	struct event_note *note = ARENA_NEW(&tx->arena, struct event_note), **last = &tx->events;

	note->event = (struct event){ tx->modseq, kind, str_copy(&tx->arena, path), str_copy(&tx->arena, more) };
	while (*last != NULL)
		last = &(*last)->next;
	*last = note;
}

static void forget_oldest(struct events *all)
{
	struct event *oldest = &all->list[all->first % EVENTS_MAX];

	all->floor = oldest->modseq;
	all->bytes -= oldest->path.n + oldest->more.n;
	mem_free((char *)(uintptr_t)oldest->path.p);
	*oldest = (struct event){ 0 };
	all->first++;
}

/* path and more in one piece */
static void keep(struct events *all, const struct event *e)
{
	char *room = mem_alloc(e->path.n + e->more.n + 1);

	if (all->list == NULL)
		all->list = mem_array(EVENTS_MAX, sizeof *all->list);
	if (e->path.n > 0)
		memcpy(room, e->path.p, e->path.n);
	if (e->more.n > 0)
		memcpy(room + e->path.n, e->more.p, e->more.n);
	all->list[all->end++ % EVENTS_MAX] = (struct event){ e->modseq, e->kind, str_make(room, e->path.n), str_make(room + e->path.n, e->more.n) };
	all->bytes += e->path.n + e->more.n;
}

void events_see(struct events *all, const struct event_note *notes)
{
	for (; notes != NULL; notes = notes->next) {
		while (all->end - all->first == EVENTS_MAX || (all->end != all->first && all->bytes > EVENTS_BYTES_MAX))
			forget_oldest(all);
		keep(all, &notes->event);
	}
}

void events_free(struct events *all)
{
	while (all->end != all->first)
		forget_oldest(all);
	mem_free(all->list);
}

enum err events_mailboxes(struct view *v, uint64_t since, struct arena *a, struct event **out, size_t *n)
{
	const struct events *all = &v->events;
	enum err e = ERR_OK;

	*out = NULL;
	*n = 0;
	pthread_mutex_lock(&v->memory_lock);
	if (since < all->floor)
		e = ERR_CONFLICT;
	else if (all->end != all->first && all->list[(all->end - 1) % EVENTS_MAX].modseq > since)
		*out = arena_array(a, all->end - all->first, sizeof **out);
	for (size_t i = all->first; *out != NULL && i < all->end; i++) {
		const struct event *from = &all->list[i % EVENTS_MAX];
		if (from->modseq > since)
			(*out)[(*n)++] = (struct event){ from->modseq, from->kind, str_copy(a, from->path), str_copy(a, from->more) };
	}
	pthread_mutex_unlock(&v->memory_lock);
	return e;
}

static bool has_news(const struct box *box, uint64_t since)
{
	return !box->is_deleted && (box->added_modseq > since || box->vanished_modseq > since || box->flags_modseq > since);
}

void events_messages(struct view *v, uint64_t since, struct arena *a, struct mailbox_news **out, size_t *n)
{
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	pthread_mutex_lock(&v->memory_lock);
	for (size_t i = 0; since < v->seen_modseq && i < v->n_boxes; i++) {
		const struct box *box = v->boxes[i];
		if (!has_news(box, since))
			continue;
		if (*n == cap)
			*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		(*out)[*n] = (struct mailbox_news){ box->seen, box->added_modseq > since, box->vanished_modseq > since, box->flags_modseq > since };
		(*out)[(*n)++].m.path = str_copy(a, box->seen.path);
	}
	pthread_mutex_unlock(&v->memory_lock);
}
