/* Two views of the same dues: by account, since cells are served one account at a time, and by message, since W asks
 * for the oldest message that is not done. The list of messages is in the order of seq because the log hands them over
 * in that order. */
#include "queue/backlog.h"
#include "base/mem.h"
#include <assert.h>

void due_list_init(struct due_list *l)
{
	l->first = NULL;
	l->end = &l->first;
	l->n = 0;
}

void due_list_add(struct due_list *l, struct due *d)
{
	d->next = NULL;
	*l->end = d;
	l->end = &d->next;
	l->n++;
}

static void add_front(struct due_list *l, struct due *d)
{
	d->next = l->first;
	if (l->first == NULL)
		l->end = &d->next;
	l->first = d;
	l->n++;
}

struct due *due_list_take(struct due_list *l)
{
	struct due *d = l->first;

	if (d == NULL)
		return NULL;
	l->first = d->next;
	if (l->first == NULL)
		l->end = &l->first;
	l->n--;
	d->next = NULL;
	return d;
}

void backlog_init(struct backlog *b) { *b = (struct backlog){ 0 }; }

void backlog_free(struct backlog *b)
{
	size_t at = 0;
	void *v;

	while (map_next(&b->targets, &at, NULL, &v)) {
		struct target *t = v;
		struct due *d;
		while ((d = due_list_take(&t->waiting)) != NULL)
			backlog_settle(b, d);
		mem_free(t);
	}
	map_free(&b->targets);
}

/* ------------------------------------------------------------------------------------------------------- messages */

struct queued *backlog_message(struct backlog *b, uint64_t log_id, struct log_place place, int64_t now_ms)
{
	struct queued *q = MEM_NEW(struct queued);

	assert(place.length > 0 && (b->last == NULL || b->last->seq < place.seq));
	*q = (struct queued){ .log_id = log_id, .seq = place.seq, .place = place, .since_ms = now_ms, .before = b->last };
	if (b->last != NULL)
		b->last->after = q;
	else
		b->first = q;
	b->last = q;
	return q;
}

struct queued *backlog_late(UNUSED struct backlog *b, uint64_t log_id, uint64_t seq, int64_t now_ms)
{
	struct queued *q = MEM_NEW(struct queued);

	*q = (struct queued){ .log_id = log_id, .seq = seq, .since_ms = now_ms };
	return q;
}

static void drop_message(struct backlog *b, struct queued *q)
{
	if (!queued_is_late(q)) {
		*(q->before != NULL ? &q->before->after : &b->first) = q->after;
		*(q->after != NULL ? &q->after->before : &b->last) = q->before;
	}
	mem_free(q);
}

bool backlog_close(struct backlog *b, struct queued *q)
{
	if (q->left > 0)
		return false;
	drop_message(b, q);
	return true;
}

uint64_t backlog_lowest(const struct backlog *b)
{
	for (const struct queued *q = b->first; q != NULL; q = q->after)
		if (q->left > q->moving)
			return q->seq;
	return UINT64_MAX;
}

/* ------------------------------------------------------------------------------------------------------- accounts */

struct target *backlog_find(const struct backlog *b, uint64_t account) { return map_get_u64(&b->targets, account); }

struct target *backlog_target(struct backlog *b, uint64_t account)
{
	struct target *t = backlog_find(b, account);

	if (t == NULL) {
		t = MEM_NEW(struct target);
		t->account = account;
		due_list_init(&t->waiting);
		map_set_u64(&b->targets, account, t);
	}
	return t;
}

void backlog_drop_target(struct backlog *b, struct target *t)
{
	assert(t->dues == 0);
	map_set_u64(&b->targets, t->account, NULL);
	mem_free(t);
}

/* ----------------------------------------------------------------------------------------------------------- dues */

struct due *backlog_due(struct backlog *b, struct queued *q, uint64_t account, uint16_t recipient,
						bool may_be_duplicate)
{
	struct due *d = MEM_NEW(struct due);

	*d = (struct due){ .message = q, .recipient = recipient, .may_be_duplicate = may_be_duplicate };
	q->left++;
	b->dues++;
	if (account != 0) {
		d->target = backlog_target(b, account);
		d->target->dues++;
		d->target->duplicates += may_be_duplicate;
		due_list_add(&d->target->waiting, d);
	}
	return d;
}

struct due *backlog_take(struct target *t) { return due_list_take(&t->waiting); }

void backlog_give_back(struct due *d)
{
	d->target->duplicates += !d->may_be_duplicate;
	d->may_be_duplicate = true;
	add_front(&d->target->waiting, d);
}

static void free_due(struct backlog *b, struct due *d)
{
	assert(b->dues > 0);
	if (d->target != NULL) {
		d->target->dues--;
		d->target->duplicates -= d->may_be_duplicate;
	}
	b->dues--;
	mem_free(d);
}

static void one_less(struct backlog *b, struct queued *q)
{
	assert(q->left > 0);
	if (--q->left == 0)
		drop_message(b, q);
}

void backlog_settle(struct backlog *b, struct due *d)
{
	struct queued *q = d->message;

	free_due(b, d);
	one_less(b, q);
}

void backlog_delivered(struct backlog *b, struct due *d)
{
	d->message->moving++;
	free_due(b, d);
}

void backlog_durable(struct backlog *b, struct queued *q)
{
	q->moving--;
	one_less(b, q);
}

struct due *backlog_again(struct backlog *b, struct queued *q, uint64_t account, uint16_t recipient)
{
	q->moving--;
	q->left--;
	return backlog_due(b, q, account, recipient, true);
}
