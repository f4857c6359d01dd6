/* Two sources, one list: queue.db counts what waits, and knows nothing of how a destination behaves; turns know that, and of waiting
 * only what is in memory. A destination is named once. */
#include "queue/destination_list.h"
#include "base/clock.h"
#include "base/map.h"

/* A pause is kept in the clock of the loop. */
static int64_t wall_of(int64_t mono_ms)
{
	int64_t left_ms = mono_ms - clock_mono_ms();

	return mono_ms == 0 || left_ms <= 0 ? 0 : clock_wall_s() + (left_ms + 999) / 1000;
}

static void add_state(struct queue_destination *d, const struct turns_state *s)
{
	int64_t again = wall_of(s->again_ms);

	d->sending = (uint32_t)s->out;
	d->failures = s->failures;
	d->is_paused = s->is_paused;
	if (again > d->again)
		d->again = again;
	if (s->waiting > d->waiting)
		d->waiting = s->waiting;
}

enum err destination_list(struct late *l, const struct turns *t, size_t max, struct arena *a, struct queue_destination **out, size_t *n)
{
	CLEANUP(map_free) struct map named = { 0 };
	struct late_destination *late;
	struct turns_state state;
	size_t late_n, at = 0;

	*n = 0;
	*out = arena_array(a, max + 1, sizeof **out);
	TRY(late_destinations(l, max, a, &late, &late_n));
	for (; *n < late_n; (*n)++) {
		struct queue_destination *d = &(*out)[*n];
		*d = (struct queue_destination){ .name = late[*n].name, .waiting = late[*n].waiting };
		if (late[*n].next_due != LATE_NEVER && late[*n].next_due > clock_wall_s())
			d->again = late[*n].next_due;
		turns_state(t, d->name, &state);
		add_state(d, &state);
		map_set(&named, d->name, d);
	}
	while (*n < max && turns_next(t, &at, &state)) {
		if (map_get(&named, state.name) != NULL)
			continue;
		(*out)[*n] = (struct queue_destination){ .name = str_copy(a, state.name) };
		add_state(&(*out)[(*n)++], &state);
	}
	return ERR_OK;
}
