/* queue/jump.h -- a wall clock that somebody sets while the queue runs: what it did, and how old mail is all the same. */
#ifndef FACTEUR_QUEUE_JUMP_H
#define FACTEUR_QUEUE_JUMP_H
#include <stddef.h>
#include <stdint.h>

enum { JUMPS_MAX = 4, JUMP_LEAST_S = 60 };   /* what is less is no jump: it delays nothing that matters */

struct jump {
	int64_t before_s, by_s;         /* when the clock said before_s, it went ahead by by_s */
};
struct jumps {
	int64_t     start_s;            /* clock_wall_start_s() as it was last seen */
	size_t      n;
	struct jump ahead[JUMPS_MAX];   /* in the order they came, but for what was taken back; the oldest is forgotten first */
};

/* kept: those that were known when the queue ran last (late_read_jumps()). */
void jumps_begin(struct jumps *j, const struct jump *kept, size_t n);
/* Looks at the clock, before each use of what follows. By how much it was set ahead (or back: less than 0) since the last look; 0: it was not. */
int64_t jumps_look(struct jumps *j);
/* A date of before, as the clock would have said it had it always gone as it goes now. */
int64_t jumps_moved(const struct jumps *j, int64_t date_s);
/* A time that was set for a message when it came, as so long from then. */
int64_t jumps_moved_with(const struct jumps *j, int64_t received_s, int64_t date_s);
#endif
