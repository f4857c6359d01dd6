/* One after the other. What is missing is what the groups' members are now, less those whom a copy that is there names, or the message
 * itself: whoever has left meanwhile gets none, who has joined may get one, and nobody gets two.
 *
 * What cannot be read (damage, logged) is given up: nobody else should wait for it. What finds no room now is tried again. */
#include "queue/unfinished.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/copies.h"
#include "queue/queue_private.h"

enum { AGAIN_MS = 5000 };

struct unfinished_message {
	struct log_place           place;
	struct due                *groups;      /* by next */
	struct log_place          *copies;      /* those that are there */
	size_t                     n, cap;
	struct unfinished_message *next;
};

struct unfinished_attempt {
	struct queue     *queue;
	struct arena      arena;
	struct content   *message, **there;
	struct envelope  *envelopes;            /* of those that are there */
	struct resolved   all;
	struct queue_body body;
	struct copies    *copies;
};

/* --------------------------------------------------------------------------------------------------------- the replay */

void unfinished_add(struct unfinished *u, const struct log_place *place, struct due *d)
{
	struct unfinished_message *m = u->last;

	if (m == NULL || m->place.seq != place->seq) {
		m = MEM_NEW(struct unfinished_message);
		m->place = *place;
		*(u->last != NULL ? &u->last->next : &u->first) = m;
		u->last = m;
	}
	d->next = m->groups;
	m->groups = d;
}

static void forget(struct unfinished *u, struct unfinished_message *m)
{
	struct unfinished_message *before = NULL;

	for (struct unfinished_message *x = u->first; x != m; x = x->next)
		before = x;
	*(before != NULL ? &before->next : &u->first) = m->next;
	if (u->last == m)
		u->last = before;
	mem_free(m->copies);
	mem_free(m);
}

static void finish(struct queue *q, struct unfinished_message *m)
{
	while (m->groups != NULL) {
		struct due *d = m->groups;
		m->groups = d->next;
		d->next = NULL;
		copies_settle(q, d);
	}
	forget(&q->unfinished, m);
}

static void keep_place(struct unfinished_message *m, const struct log_place *place)
{
	if (m->n == m->cap) {
		m->cap = m->cap > 0 ? 2 * m->cap : 4;
		m->copies = mem_resize(m->copies, m->cap * sizeof *m->copies);
	}
	m->copies[m->n++] = *place;
}

void unfinished_has_copy(struct queue *q, const struct envelope_parent *parent, const struct log_place *place)
{
	struct unfinished_message *m = q->unfinished.first;

	if (parent->account != ENVELOPE_GROUP || parent->log_id != log_id(q->log))
		return;
	while (m != NULL && m->place.seq != parent->seq)
		m = m->next;
	if (m == NULL)
		return;
	if (parent->ordinal & COPIES_LAST)
		finish(q, m);
	else
		keep_place(m, place);
}

/* ---------------------------------------------------------------------------------------------------------- making up */

static void attempt_free(struct unfinished_attempt *t)
{
	const struct unfinished_message *m = t->queue->unfinished.first;

	content_free(t->message);
	for (size_t i = 0; t->there != NULL && i < m->n; i++)
		content_free(t->there[i]);
	arena_free(&t->arena);
	mem_free(t);
}

static void end(struct unfinished_attempt *t, enum err result)
{
	struct queue *q = t->queue;
	struct unfinished *u = &q->unfinished;
	struct unfinished_message *m = u->first;
	bool is_final = result != ERR_AGAIN && result != ERR_IO && result != ERR_UNAVAILABLE;

	if (result != ERR_OK)
		log_error("%s: what a group sends on of a message could not be written seq=%llu error=%s", is_final ? "MAIL LOST" : "tried again",
		          (unsigned long long)m->place.seq, err_name(result));
	attempt_free(t);
	u->attempt = NULL;
	u->has_failed = !is_final;
	u->again_ms = q->now_ms + (is_final ? 0 : AGAIN_MS);
	if (is_final)
		finish(q, m);
}

static void on_written(void *context, enum err result) { end(context, result); }

static void on_made(void *context, enum err result)
{
	struct unfinished_attempt *t = context;
	bool has_some = result == ERR_OK && copies_count(t->copies) > 0;

	if (has_some) {
		log_info("making up what a group sends on of a message seq=%llu copies=%zu", (unsigned long long)t->queue->unfinished.first->place.seq,
		         copies_count(t->copies));
		copies_write(t->copies, NULL, on_written, t);
		return;
	}
	copies_free(t->copies);
	end(t, result);
}

static enum err read_all(struct unfinished_attempt *t, const struct unfinished_message *m)
{
	struct log *log = t->queue->log;

	t->message = content_new();
	TRY(content_read(log, m->place, t->message));
	t->there = arena_array(&t->arena, m->n, sizeof(struct content *));
	t->envelopes = arena_array(&t->arena, m->n, sizeof *t->envelopes);
	for (size_t i = 0; i < m->n; i++) {
		t->there[i] = content_new();
		TRY(content_read(log, m->copies[i], t->there[i]));
		t->envelopes[i] = t->there[i]->envelope;
	}
	return ERR_OK;
}

static enum err look(struct unfinished_attempt *t, const struct unfinished_message *m)
{
	struct queue *q = t->queue;
	const struct content *c;

	TRY(read_all(t, m));
	c = t->message;
	TRY(envelope_distribute_rest(q->lookup, &c->envelope, t->envelopes, m->n, &t->arena, &t->all));
	t->body = (struct queue_body){ .bytes = c->body, .spool = c->spool, .size = c->size, .crc = c->crc };
	TRY(copies_new(q, &t->all, &t->body, &t->copies));
	(void)!copies_check(t->copies, &c->envelope, &t->arena);  /* its sender is gone */
	return ERR_OK;
}

void unfinished_run(struct queue *q)
{
	struct unfinished *u = &q->unfinished;

	if (u->first == NULL || u->attempt != NULL || q->lookup == NULL || q->stops || q->now_ms < u->again_ms)
		return;
	u->attempt = MEM_NEW(struct unfinished_attempt);
	u->attempt->queue = q;
	enum err e = look(u->attempt, u->first);
	if (e == ERR_OK)
		copies_make(u->attempt->copies, u->first->place.seq, on_made, u->attempt);
	else
		end(u->attempt, e);
}

bool unfinished_comes_first(const struct unfinished *u) { return u->first != NULL && !u->has_failed; }

void unfinished_free(struct queue *q)
{
	struct unfinished *u = &q->unfinished;

	while (u->first != NULL) {
		struct unfinished_message *m = u->first;
		while (m->groups != NULL) {
			struct due *d = m->groups;
			m->groups = d->next;
			backlog_settle(&q->backlog, d);
		}
		forget(u, m);
	}
}
