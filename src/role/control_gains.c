/* Whose sessions hear that somebody shares something with them who did not before: master tells the gates that have any, and those attach the ones that
 * watch names (net/gains.c).
 *
 * Each of those costs a cell that starts and asks, so an account that shares and takes back again and again, or a cell that was broken into, is told about
 * at once the first time, and then once in GAINS_EVERY_MS with all that came together. */
#include "base/clock.h"
#include "base/mem.h"
#include "role/control_private.h"

enum { GAINS_EVERY_MS = 10000 };

void control_gains_tell(struct control *c, const struct share_gains *gained)
{
	CLEANUP(buf_free) struct buf b = BUF(8 * SHARE_GAINS_MAX);

	put_share_gains(&b, gained);
	if (gained->n > 0 || gained->is_many)
		channel_notify(c->master, NOTICE_GAINED, buf_str(&b), NULL, 0);
}

static void tell(struct control_cell *cell)
{
	control_gains_tell(cell->control, cell->gains);
	mem_free(cell->gains);
	cell->gains = NULL;
}

void control_gains_take(struct control_cell *cell, const struct share_gains *gained)
{
	int64_t now_ms = clock_mono_ms();

	if (gained->n == 0 && !gained->is_many)
		return;
	if (cell->gains == NULL)
		cell->gains = MEM_NEW(struct share_gains);
	for (size_t i = 0; i < gained->n; i++)
		share_gains_add(cell->gains, gained->accounts[i]);
	cell->gains->is_many |= gained->is_many;
	if (now_ms < cell->gains_ms)
		return;
	cell->gains_ms = now_ms + GAINS_EVERY_MS;
	tell(cell);
}

void control_gains_gone(struct control_cell *cell)
{
	if (cell->gains != NULL)
		tell(cell);
}

void control_gains_tick(struct control *c, int64_t now_ms)
{
	size_t at = 0;
	void *v;

	while (map_next(&c->cells, &at, NULL, &v)) {
		struct control_cell *cell = v;
		if (cell->gains == NULL || now_ms < cell->gains_ms)
			continue;
		cell->gains_ms = now_ms + GAINS_EVERY_MS;
		tell(cell);
	}
}
