/* queue/turns_scene_test.h -- for turns_test.c: messages that come, are taken, and leave or come again, with what must be true at each step. */
#ifndef FACTEUR_QUEUE_TURNS_SCENE_TEST_H
#define FACTEUR_QUEUE_TURNS_SCENE_TEST_H
#include "base/mem.h"
#include "base/test.h"
#include "queue/turns.h"

enum { BULK = 10000, MANY = 400 };

struct item {
	struct turn turn;              /* first */
	unsigned    number;            /* from 1, in the order they came */
	bool        is_out;
};

struct scene {
	struct turns *turns;
	struct item   items[BULK + MANY];
	size_t        n;
	struct item  *out[TURNS_OUT_MAX + 1];  /* in the order they were taken */
	size_t        n_out;
};

static struct scene *begin(void)
{
	struct scene *s = MEM_NEW(struct scene);

	s->turns = turns_new();
	return s;
}

static struct item *add(struct scene *s, const char *sender, const char *destination)
{
	struct item *i = &s->items[s->n++];

	i->number = (unsigned)s->n;
	turns_add(s->turns, &i->turn, &(struct turn_kind){ .sender = str_of(sender), .destination = str_of(destination) });
	turns_weigh(&i->turn, 1);
	return i;
}

static void add_many(struct scene *s, size_t n, const char *sender, const char *destination)
{
	for (size_t i = 0; i < n; i++)
		(void)add(s, sender, destination);
}

/* Each for a destination of its own. */
static void add_spread(struct scene *s, size_t n, const char *sender)
{
	char destination[80];

	for (size_t i = 0; i < n; i++) {
		snprintf(destination, sizeof destination, "d%zu.for.%s", i, sender);
		(void)add(s, sender, destination);
	}
}

static struct item *take(struct scene *s, int64_t now_ms)
{
	struct item *i = (struct item *)turns_take(s->turns, now_ms, true);

	if (i == NULL)
		return NULL;
	EXPECT(!i->is_out);
	i->is_out = true;
	s->out[s->n_out++] = i;
	EXPECT_INT(turns_out(s->turns), s->n_out);
	EXPECT(s->n_out <= TURNS_OUT_MAX);
	return i;
}

/* How many went. */
static size_t take_all(struct scene *s, int64_t now_ms)
{
	size_t n = 0;

	while (take(s, now_ms) != NULL)
		n++;
	return n;
}

static void no_longer_out(struct scene *s, struct item *i)
{
	size_t at = 0;

	while (s->out[at] != i)
		at++;
	memmove(&s->out[at], &s->out[at + 1], (--s->n_out - at) * sizeof(struct item *));
	i->is_out = false;
}

static void leave(struct scene *s, struct item *i)
{
	if (i->is_out)
		no_longer_out(s, i);
	turns_leave(s->turns, &i->turn);
	EXPECT(i->turn.flow == NULL);
}

static void again(struct scene *s, struct item *i)
{
	if (i->is_out)
		no_longer_out(s, i);
	turns_add_again(s->turns, &i->turn);
}

static size_t known(const struct scene *s)
{
	struct turns_state state;
	size_t at = 0, n = 0;

	while (turns_next(s->turns, &at, &state))
		n++;
	return n;
}

static struct turns_state state_of(const struct scene *s, const char *destination)
{
	struct turns_state found;

	turns_state(s->turns, str_of(destination), &found);
	return found;
}

static void end(struct scene *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].turn.flow != NULL)
			leave(s, &s->items[i]);
	EXPECT_INT(turns_out(s->turns), 0);
	turns_free(s->turns);
	mem_free(s);
}
#endif
