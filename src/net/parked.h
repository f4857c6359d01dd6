/* net/parked.h -- the sessions that a gate has of each account: which of them wait (a record instead of a cell,
 * DESIGN.md §2), and how these hear of a change: one RENDER attachment for an account, one STATE and one RENDERED
 * for each (ipc/frame.h).
 *
 * A session that looks into other accounts waits for their changes (visits), and is attached again when there are some: its own cell asks
 * the other ones what they are. For which account it waits its cell says, which may have been broken into: so master is asked whether it may, and of an
 * account that shares nothing with it it learns nothing. A session that cannot be parked waits so, too: its cell is told.
 *
 * Intrusive: a connection embeds a struct member; a parked one costs that and its record. The host writes to clients
 * and talks to master. Callbacks may make their own member leave, no other one. */
#ifndef FACTEUR_NET_PARKED_H
#define FACTEUR_NET_PARKED_H
#include "ipc/frame.h"
#include "net/loop.h"

struct parked_account;
struct visit;

struct member {   /* all zeros: of no account */
	struct parked_account *of;
	struct member *next, **link;
	struct grant   grant;
	uint64_t       modseq;      /* what the client knows */
	struct str     record;      /* parked: the state of its engine; owned */
	struct visit  *visits;      /* it waits for changes of other accounts */
	bool           waits_own;   /* … and of its own */
	bool           waits_gains; /* … and that somebody shares something with its account who did not before */
	uint32_t       gains_seen;  /* of its account's, as its cell was told last */
	uint32_t       place;       /* in the running render, from 1 */
	uint8_t        protocol;    /* enum protocol */
	bool           is_parked, wants_news;
	bool           listens;     /* attached, and its cell is told once when what it waits for has changed */
	bool           is_busy;     /* the client has not read the last news: no more before it has; see parked_again() */
};

struct parked_host {
	/* WATCH to master. tells: what changed just before may have been missed. */
	void (*watch)(void *context, uint64_t account, bool on, bool tells);
	/* MAY_WAIT to master: may sessions of guest hear that owner's account has changed? Answered by parked_may_wait(), not before it returns. */
	void (*may_wait)(void *context, uint64_t guest, uint64_t owner);
	int  (*attach)(void *context, uint64_t account);           /* ATTACH{RENDER} to master: our end of the pair; -1: logged */
	/* A parked session: KEEP: tell the client bytes (m already has the new record); ATTACH: attach it again;
	 * BYE: tell and close. */
	void (*news)(void *context, struct member *m, enum rendered how, struct str bytes);
	/* An attached one that listens: FRAME_CHANGED to its cell. False: not now. */
	bool (*changed)(void *context, struct member *m, struct str accounts);   /* as member_changed() */
	void (*revoked)(void *context, struct member *m);          /* its grant is older than the account's epoch: ends now */
};

struct parked;
/* pairs_max: of those that told news, so many are kept for the next ones, each a descriptor. */
struct parked *parked_new(struct loop *l, const struct parked_host *host, void *context, size_t pairs_max);
void parked_free(struct parked *p);          /* all members have left */

/* A session of this account begins (grant and protocol are set), ends. */
void member_enter(struct parked *p, struct member *m);
void member_leave(struct parked *p, struct member *m);      /* harmless when it never entered */
/* Parks with what FRAME_PARK says (copied). False: the frame is malformed, or there is no record. */
bool member_park(struct parked *p, struct member *m, struct str frame);
/* It cannot be parked, and waits for others as FRAME_WAITS says. False: the frame is malformed. */
bool member_waits(struct member *m, struct str frame);
/* It is attached again: no news from here on. The record stays until member_forget() or the next member_park(). */
void member_wake(struct parked *p, struct member *m);
void member_forget(struct member *m);
/* Before it is attached: which of the accounts that it waits for with WAIT_ASKS_ONCE have changed, u64 each. Those are not asked for again before they
 * change again, whatever the cell says it knows then, unless it says that it could not ask; and one that it did not wait for before counts as
 * changed once, as nobody can tell. */
void member_changed(struct member *m, struct buf *out);   /* 0: somebody shares something with it who did not before */
/* A busy one is no longer busy. */
void parked_again(struct parked *p, struct member *m);

/* ERR_OK: they may; ERR_NOTFOUND: nothing is shared with them; others: that could not be found out. */
void parked_may_wait(struct parked *p, uint64_t guest, uint64_t owner, enum err e);
void parked_changed(struct parked *p, uint64_t account, uint64_t modseq);   /* GATE_CHANGED */
void parked_epoch(struct parked *p, uint64_t account, uint32_t epoch);      /* GATE_EPOCH */
/* GATE_GAINED: somebody shares something with this account who did not before. 0: perhaps with any. Sessions that wait for that are attached, or told,
 * GAINS_AT_ONCE accounts at once and as many each second. */
enum { GAINS_AT_ONCE = 50 };
void parked_gained(struct parked *p, uint64_t account);
size_t parked_accounts(const struct parked *p);
#endif
