/* queue/sending_test.h -- for tests of mail to other servers: a world with a net, in a hurry. */
#ifndef FACTEUR_QUEUE_SENDING_TEST_H
#define FACTEUR_QUEUE_SENDING_TEST_H
#include "queue/parcels.h"
#include "queue/queue_private.h"
#include "queue/world_test.h"

UNUSED static struct world *begin(void)
{
	struct world *w = world_new(4, 1 << 20);

	clock_wall_offset(0);  /* of a test that has failed */
	clock_wall_jump(0);
	world_kill(w);
	w->sync_every_ms = 20;
	w->hurry_ms = 5;
	world_open(w);
	world_start_net(w);
	return w;
}

UNUSED static struct late_counts late(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_command c = { .kind = QUEUE_COUNTERS };
	struct queue_answer answer;

	EXPECT_OK(world_command(w, &c, &a, &answer));
	return answer.counters.late;
}

UNUSED static uint64_t backlog(struct world *w)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct queue_command c = { .kind = QUEUE_COUNTERS };
	struct queue_answer answer;

	EXPECT_OK(world_command(w, &c, &a, &answer));
	return answer.counters.backlog;
}

UNUSED static size_t got_in_all(const struct world *w, uint32_t messages)
{
	size_t n = 0;

	for (uint32_t i = 0; i < messages; i++)
		for (size_t r = 0; r < WORLD_RECIPIENTS; r++)
			n += w->net.got[i][r];
	return n;
}

/* The server of the one SEND that is open takes it. */
UNUSED static void net_answer_held(struct fake_net *n)
{
	struct send_recipient to = { .address = STR("x0@d0.example") };

	net_answer(n, n->open[0].call, &(struct send){ .n = 1, .recipients = &to });
}

UNUSED static size_t open_connections(const struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < WORLD_CONNECTIONS; i++)
		n += w->net.open[i].number != 0;
	return n;
}

UNUSED static struct turns_state turns_at(struct world *w, const char *destination)
{
	struct turns_state s;

	turns_state(parcels_turns(w->queue->parcels), str_of(destination), &s);
	return s;
}

UNUSED static struct late_row row_of(struct world *w, struct arena *a)
{
	struct late_due *due;
	struct late_row row;
	size_t n;

	EXPECT_OK(late_list_due(w->queue->late, true, NULL, LATE_NEVER, 10, a, &due, &n));
	EXPECT_INT(n, 1);
	EXPECT_OK(late_find(w->queue->late, &due[0].key, a, &row));
	return row;
}
#endif
