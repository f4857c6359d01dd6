/* net/parked_private.h -- the tables behind net/parked.h: parked.c (accounts, who is parked, rendering), visits.c (who waits for changes of other
 * accounts) and gains.c (who waits for other accounts that begin to share). */
#ifndef FACTEUR_NET_PARKED_PRIVATE_H
#define FACTEUR_NET_PARKED_PRIVATE_H
#include "base/map.h"
#include "net/parked.h"

enum { RETRY_FIRST_MS = 1000 };

struct parked_account {
	struct parked    *table;
	uint64_t          account, newest;   /* the modseq of the last CHANGED */
	struct member    *first;
	struct visit     *visits;            /* members of other accounts that wait for changes of this one */
	struct loop_timer wake;              /* those that lack something are attached again */
	uint32_t          asks;              /* of its visits to master, in the seconds that began at asks_ms */
	int64_t           asks_ms;
	size_t            wanting;           /* parked and wants news: watched while there is one, and a little longer */
	bool              is_watched;
	struct loop_timer unwatch;
	struct loop_fd    pair;              /* of the running render, or kept for the next one; fd -1: none */
	bool              is_kept;           /* it has served a render before: its cell may have gone since */
	struct loop_timer keep;
	struct member   **who;               /* NULL: no render runs. By index of its STATE; NULL: answered, or no longer parked */
	uint32_t          who_n, sent, answered;
	uint64_t          asked_at;          /* newest when it started */
	struct loop_timer retry;
	int64_t           retry_ms;
	uint32_t          gains;             /* how often somebody began to share something with it while we had sessions of it */
	struct parked_account *gains_next, **gains_link;   /* sessions of it are to hear of that; link NULL: none */
};

struct visit {
	struct parked_account *at;
	struct member *m;
	struct visit  *next, **link;         /* of the account */
	struct visit  *more;                 /* of the member */
	uint64_t       modseq;               /* what the client knows of it */
	uint64_t       newest;               /* of the account, as far as master has said that this member may know */
	uint64_t       asked_at;             /* newest of the account when master was asked last */
	int64_t        ask_ms;               /* it could not be asked: again then; 0: it could */
	int64_t        look_ms;              /* it could not ask, and tries again then; 0: it could */
	int32_t        pause_ms;             /* before that; twice as long each time */
	bool           asks_once, must_look, is_kept;
	bool           must_ask, is_asked;   /* master; it has not answered yet */
	bool           may_wait;             /* as it answered last: then the account is watched */
};

struct parked {
	struct loop *loop;
	const struct parked_host *host;
	void        *context;
	struct map   accounts;
	size_t       kept, kept_max;         /* accounts whose pair is_kept */
	struct parked_account *gains_first, **gains_end;   /* those whose sessions are to hear of gains, in their turn, … */
	size_t       gains_n;                /* … how many … */
	struct loop_timer gains_turn;        /* … and when it is … */
	int64_t      gains_ms;               /* … not before then */
};

/* ---- parked.c */

struct parked_account *parked_account_of(struct parked *p, uint64_t account);
/* When its last session, and the last one that waits for it, has left. */
void parked_account_left(struct parked_account *a);
/* One more, or one less, wants to hear of its changes. tells: as in parked_host.watch. */
void parked_want(struct parked_account *a, bool tells);
void parked_unwant(struct parked_account *a);

/* ---- visits.c */

/* What m waits for from now on. waits: bool own, and for each other account u64, u64 modseq, u8 enum wait. False: malformed. */
bool visits_begin(struct member *m, struct str waits);
/* Nothing any more, but for those that visits_begin() has named since visits_doubt(). */
void visits_doubt(struct member *m);
void visits_end(struct member *m);
/* The account has changed. */
void visits_changed(struct parked_account *a);
/* To one that is attached and listens: what has changed of that for which it waits. False: its cell takes nothing now. */
bool visits_tell_cell(struct member *m);

/* ---- gains.c */

/* It begins to wait. is_unknown: what its cell was told last counts as not told. */
void gains_begin(struct member *m, bool is_unknown);
/* Has it something to hear of that its cell was not told? */
bool gains_are_new(const struct member *m);
void gains_forget(struct parked_account *a);
#endif
