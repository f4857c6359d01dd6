/* queue/turns.h -- whose turn it is to be sent to another server: by destination, and fairly between senders. Memory only,
 * one thread, no clock of its own.
 *
 *   destination   so many at a time (its window), which grows while all goes well, and shrinks where it does not; after
 *                 nobody could be reached there, one probe after a pause that gets longer; or paused by the administrator
 *   sender        an account, or the address of a stranger. Senders take turns, one message each; one of them gets at
 *                 most half of the places that are left, so that some are always free for the others; and, as long as TURNS_FREE_MIN are
 *                 free, TURNS_BEYOND_MAX more for destinations that have answered in the last TURNS_LATELY_MS: silent ones do not hold
 *                 up what else he sends
 *   priority      orders what one sender has (RFC 6710): nobody is overtaken by it more than TURNS_OVERTAKEN_MAX times, and
 *                 what others send does not wait for it
 *
 * What waits is a struct turn, embedded in what it is about. */
#ifndef FACTEUR_QUEUE_TURNS_H
#define FACTEUR_QUEUE_TURNS_H
#include "base/str.h"
#include "queue/send.h"

enum {
	TURNS_OUT_MAX = 300,            /* in all */
	TURNS_WINDOW_START = 5, TURNS_WINDOW_MAX = 20,   /* of a destination */
	TURNS_PAUSE_FIRST_MS = 60000, TURNS_PAUSE_MOST_MS = 3600000,
	TURNS_OVERTAKEN_MAX = 50,
	TURNS_BEYOND_MAX = 10, TURNS_FREE_MIN = 30, TURNS_LATELY_MS = 24 * 3600 * 1000,
};

struct turns;
struct flow;                        /* what one sender has for one destination */
struct turn {
	struct flow *flow;              /* private, as the rest; NULL: unknown to turns */
	struct turn *before, *after;
	size_t       weight;
	int8_t       priority;
	uint8_t      overtaken;         /* how often */
	bool         is_waiting, is_beyond;
};
struct turn_kind {
	struct str sender, destination;
	int8_t     priority;            /* higher goes first */
	bool       is_signed;           /* it cannot go without a signature of ours */
};

struct turns *turns_new(void);
void turns_free(struct turns *t);   /* all turns have left; NULL is fine */

/* Behind what waits, or (again) at its front. */
void turns_add(struct turns *t, struct turn *x, const struct turn_kind *kind);
void turns_add_again(struct turns *t, struct turn *x);     /* one that was taken or withdrawn */
void turns_weigh(struct turn *x, size_t more);             /* it has so many more recipients; 0 when it is added */
/* The next one that may go; it has a place until turns_leave() or turns_add_again(). NULL: nobody may. can_sign: else only those that
 * need no signature, so that the others hold no places meanwhile. */
struct turn *turns_take(struct turns *t, int64_t now_ms, bool can_sign);
/* One that waits shall not be taken any more; it still keeps its destination alive. */
void turns_withdraw(struct turns *t, struct turn *x);
void turns_leave(struct turns *t, struct turn *x);         /* it is over, wherever it was */
/* Of one that was taken. True: the destination is unreachable from now on: what waits for it should not wait here. */
bool turns_feedback(struct turns *t, struct turn *x, enum send_feedback f, int64_t now_ms);
/* Why it is unreachable, to be seen (turns_state.why) until it is reached again. */
void turns_explain(struct turn *x, struct str why);
/* Withdraws one that waits for the same destination; NULL: there is none (more). */
struct turn *turns_drain(struct turns *t, struct turn *x);
struct str turn_destination(const struct turn *x);
/* Something waits for the place of one that was taken. */
bool turns_is_wanted(const struct turns *t, const struct turn *x);
size_t turns_out(const struct turns *t);
/* About once a second: pauses end, and who needs nothing to be remembered is forgotten. */
void turns_pass(struct turns *t, int64_t now_ms);

/* ---- destinations */
struct turns_state {
	struct str name;
	size_t  waiting, here;          /* recipients: of what waits; of all that is in memory */
	size_t  out, window;
	int64_t again_ms;               /* nothing is sent before; 0: no pause */
	unsigned failures;              /* in a row: how often nobody could be reached */
	bool    is_paused;              /* by the administrator */
	bool    has_parked;             /* rows of queue.db wait for turns_wants() */
	struct str why;                 /* of the failures; it is gone after the next feedback */
};
void turns_state(const struct turns *t, struct str destination, struct turns_state *out);   /* zeros: nothing special */
/* All that are known, in no order. */
bool turns_next(const struct turns *t, size_t *at, struct turns_state *out);
void turns_pause(struct turns *t, struct str destination, bool is_paused);
void turns_hold(struct turns *t, bool is_held);   /* every destination is as if it were paused */
void turns_park(struct turns *t, struct str destination, bool has_parked);
void turns_hurry(struct turns *t, struct str destination);  /* its pause after failures ends now; STR_NONE: all do */
#endif
