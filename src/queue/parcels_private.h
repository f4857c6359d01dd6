/* queue/parcels_private.h -- parcels, shared by parcels.c (they come and go), parcel_send.c (reading, signing, sending), parcel_results.c
 * (what net said) and parcel_rows.c (to and from queue.db). */
#ifndef FACTEUR_QUEUE_PARCELS_PRIVATE_H
#define FACTEUR_QUEUE_PARCELS_PRIVATE_H
#include "queue/queue_private.h"
#include "queue/parcels.h"
#include "queue/send.h"
#include "queue/destination.h"
#include "queue/signatures.h"

enum item_state {
	ITEM_LOGGED,     /* due is ours */
	ITEM_MOVING,     /* due is sync's: on its way to queue.db */
	ITEM_LATE,       /* a row */
	ITEM_SETTLED,    /* nothing more to do for it here */
};
struct item {
	struct due     *due;
	char           *address_text;
	struct str      address;
	uint32_t        tries;         /* before this one */
	int64_t         asked;         /* queue/late.h */
	uint16_t        recipient;
	enum item_state state;
	bool            is_done;       /* DONE, and the record of it is under way */
	struct sync_result done;       /* then; in the parcel's arena */
};

enum parcel_state {
	PARCEL_WAITING,  /* for its turn */
	PARCEL_SIGNING,
	PARCEL_OUT,      /* at net */
	PARCEL_DONE,     /* answered; the record is being written */
	PARCEL_MOVING,   /* to queue.db, untried */
};
struct parcel {
	struct turn       turn;        /* first */
	struct writing    writing;
	struct parcels    *parcels;
	struct buf        record;
	struct arena      arena;       /* while it is out */
	uint64_t          log_id, seq, number;
	struct log_place  place;       /* in the log; length 0: in queue.db */
	uint64_t          submitter;   /* the account that submitted it; 0: none did */
	int64_t           since_ms, begins;   /* begins: envelope_begins() */
	int64_t           deadline;           /* DELIVERBY, and it comes back then; 0: none */
	bool              watches_time;       /* DELIVERBY: its sender may have to hear where it went */
	size_t            bytes;       /* at net, in memory */
	struct parcel    *before, *after;     /* fresh ones, or the rest */
	struct parcel    *next_to_sign;
	enum parcel_state state;
	bool              is_fresh, is_open, is_late;
	bool              is_single;          /* a group's: one recipient, who has his own header */
	bool              has_no_record;      /* DONE, and the log had no room for it: written again */
	uint8_t           losses;
	size_t            n, cap;
	struct item      *items;
};

struct parcel_list {
	struct parcel *first, *last;
};

struct parcels {
	struct queue      *queue;
	struct turns      *turns;
	struct signatures *signatures;
	struct channel    *net, *keys;        /* NULL: never there yet */
	struct parcel_list fresh, rest;       /* fresh: from the log, in the order they came */
	struct parcel     *to_sign, **to_sign_end;
	size_t             to_sign_n, signing;
	int64_t            sign_again_ms, now_ms;
	struct map         open;              /* (message, destination) -> a parcel that waits and takes more */
	struct map         rows;              /* key of a row that is in memory -> parcels, or &parking_mark */
	size_t             parking;           /* rows on their way to wait without a time: of those in memory, or from the log */
	struct late_due    listed;            /* the last row that was listed as due: what comes before it has been looked at */
	int64_t            listed_at, look_anew_ms;
	int64_t            unpark_ms;         /* what was parked by routes of before is listed then; 0: nothing was */
	uint64_t           number;
	struct buf         sent;              /* numbers that net is to hear of: with what it gets next, so that it is woken once */
	size_t             bytes_out, deadlines;   /* parcels with a deadline */
};

/* parcel_send.c: reads it, and settles all of it like this. */
void parcel_refuse(struct parcel *p, struct str status, struct str text);
/* p has a place; what becomes of it comes to the functions below, or it waits again. */
void parcel_go(struct parcel *p);
void parcels_sign(struct parcels *r);       /* goes on signing */
bool parcels_can_sign(const struct parcels *r);
/* What waits for its signature while nobody signs waits for its turn instead, and holds no place. */
void parcels_unsign(struct parcels *r);
bool parcels_sign_it(const struct envelope *e);   /* is it ours to be signed? */

/* parcels.c */
bool parcels_may_send(const struct parcels *r);   /* there is a net, and what comes of it can be written down */
/* The parcel of this message for this destination: one that still waits, or a new one. */
struct parcel *parcel_for(struct parcels *r, const struct queued *from, const struct envelope *e, struct str destination, struct arena *a);
struct item *parcel_item(struct parcel *p, uint16_t recipient, struct str address, enum item_state state);   /* one more recipient */
void parcel_seal(struct parcel *p);       /* no more recipients are put into it */
void parcel_no_longer_fresh(struct parcel *p);
void parcel_drop(struct parcel *p);       /* nothing of it is left to do */

/* parcel_ours.c: its destination is a domain of ours by now. */
void parcel_resolve(struct parcel *p);

/* parcel_results.c */
void parcel_answered(struct parcel *p, const struct send_answer *a);
void parcel_all(struct parcel *p, enum delivery_outcome outcome, struct str status, struct str text);  /* the same for all */
void parcel_again(struct parcel *p);      /* it waits again, at the front */
void parcel_lost(struct parcel *p);       /* net died with it */
void item_unparcel(struct item *i);       /* its due is somebody else's from now on */
void parcels_record_again(struct parcels *r);   /* LOG_DONEs that found no room */

/* parcel_rows.c */
/* It leads elsewhere than where it waits: it is filed anew, by way of queue.db. */
void parcel_refile(struct parcel *p);
struct late_key item_key(const struct parcel *p, const struct item *i);
void item_forget_row(struct parcel *p, struct item *i);
void parcels_move_old(struct parcels *r);       /* out of the log */
void parcels_list(struct parcels *r);           /* rows that are due, or wanted */
/* Nothing is sent there for a while: it goes to queue.db at once, and says why. False: it does not rest. */
bool parcels_rest(struct parcels *r, struct due *d, struct str address, struct str destination);
void parcel_put_aside(struct parcel *p, int64_t due, const struct sync_result *why);   /* to queue.db until then, wherever it is */
#endif
