/* Mail lives for days by the wall clock: it is the only one that goes on while the machine is off. But people and programs set it: a battery
 * is empty and the machine begins in 1970 until somebody asks the network; a virtual machine wakes up with its host's mistake; an
 * administrator slips. Mail must neither come back because the clock was ahead for a moment, nor wait longer than its back-off because it was.
 *
 * Ahead. While we run, the wall clock and the time that has passed (suspended or not) are compared before each use. If the first goes ahead of the
 * second, that is no time that mail has lived, whether the clock is wrong now or was wrong before: dates of before the jump are moved along with
 * it, so that ages stay what they were. Nothing has to be decided, and if the clock is set back the jump is forgotten. What falls due by it is
 * tried early, which harms nobody. Of a date that a sender has set for all to see (FUTURERELEASE) the clock is believed.
 *
 * Back. Times that were set while the clock was ahead would be waited for: late_set_back() makes them what they should be, at the opening too.
 * Mail that came in that time has a date that is still to come; its age is counted by its tries (late_age()).
 *
 * A restart changes none of it: each jump is written into queue.db when it is seen (late_keep_jumps()). One whose end is still to come when the
 * queue opens again was taken back meanwhile, by somebody who set the clock while it did not run.
 *
 * What cannot be told: a jump ahead while the queue does not run looks like time that passed. A machine that was halted as a whole (a
 * snapshot) looks like a jump: its mail lives longer by that. */
#include "queue/jump.h"
#include "base/clock.h"
#include <string.h>

void jumps_begin(struct jumps *j, const struct jump *kept, size_t n)
{
	int64_t now = clock_wall_s();

	*j = (struct jumps){ .start_s = clock_wall_start_s() };
	for (size_t i = 0; i < n && j->n < JUMPS_MAX; i++)
		if (kept[i].by_s >= JUMP_LEAST_S && kept[i].before_s <= now + JUMP_LEAST_S - kept[i].by_s)
			j->ahead[j->n++] = kept[i];
}

static void ahead(struct jumps *j, int64_t by_s)
{
	if (j->n == JUMPS_MAX)
		memmove(&j->ahead[0], &j->ahead[1], --j->n * sizeof j->ahead[0]);
	j->ahead[j->n++] = (struct jump){ clock_wall_s() - by_s, by_s };
}

static void back(struct jumps *j, int64_t by_s)
{
	while (by_s > 0 && j->n > 0) {
		struct jump *last = &j->ahead[j->n - 1];
		int64_t taken = last->by_s < by_s ? last->by_s : by_s;
		last->by_s -= taken;
		by_s -= taken;
		if (last->by_s >= JUMP_LEAST_S)
			return;
		j->n--;
	}
}

int64_t jumps_look(struct jumps *j)
{
	int64_t start_s = clock_wall_start_s(), by_s = start_s - j->start_s;

	j->start_s = start_s;
	if (by_s > -JUMP_LEAST_S && by_s < JUMP_LEAST_S)
		return 0;
	if (by_s > 0)
		ahead(j, by_s);
	else
		back(j, -by_s);
	return by_s;
}

/* A date that was jumped over came at the end of the jump. */
int64_t jumps_moved(const struct jumps *j, int64_t date_s)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct jump *x = &j->ahead[i];
		if (date_s <= x->before_s)
			date_s += x->by_s;
		else if (date_s < x->before_s + x->by_s)
			date_s = x->before_s + x->by_s;
	}
	return date_s;
}

int64_t jumps_moved_with(const struct jumps *j, int64_t received_s, int64_t date_s) { return date_s + jumps_moved(j, received_s) - received_s; }
