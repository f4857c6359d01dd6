/* role/master_cell.h -- the cell of one account as master sees it. Its life: master_cells.c. When it may start: master_turns.c. What roles
 * ask about it: master_asked.c. */
#ifndef FACTEUR_ROLE_MASTER_CELL_H
#define FACTEUR_ROLE_MASTER_CELL_H
#include "ipc/frame.h"
#include "role/role_private.h"

/* When its start failed or it keeps crashing, who asks for it is refused so long. */
enum { CELL_CRASH_PAUSE_MS = 2000 };

enum slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_RUNNING, SLOT_LEAVING };

struct waiting { int fd; enum attach kind; uint64_t guest; /* account; 0: of a gate */ };

struct cell_slot {
	struct master  *master;
	uint64_t        account;
	enum slot_state state;
	pid_t           pid;            /* known after SPAWN's answer */
	pid_t           nursery;        /* that was asked for it: the process group of its cells */
	int             pid_fd;
	struct channel *ch;
	uint64_t        attached;       /* CELL_ATTACH messages sent to this process */
	uintptr_t       gates;          /* a bit for each whose sessions may be there, parked or about to be: they hear of changes, as those do that watch */
	bool            is_wanted;      /* somebody woke it while it was leaving */
	bool            may_leave;      /* LEAVE was granted: its exit is no crash */
	int             crashes;
	bool            was_full;       /* the last one ended because the disk is full */
	int64_t         not_before_ms;  /* after crashes: the next start; who asks before it is refused */
	int64_t         again_ms;       /* keys was not ready, or there was no room: the next start; who asks before it waits */
	bool            is_opening;     /* counted in cells_opening */
	int64_t         started_ms;
	bool            is_queued;      /* in the queue of this turn */
	enum turn       turn;
	struct cell_slot *next_queued;
	int64_t         no_room_ms;     /* since when it waits for room; 0: it does not */
	int64_t         left_ms;        /* since when it is leaving, or empty */
	uint32_t        epoch;          /* told while it had no channel yet */
	struct waiting *waiting;        /* attachments that wait for the start */
	size_t          waiting_count, waiting_cap;
	struct { struct channel *ch; uint32_t call; } ends[4];  /* who asked CELL_END */
	size_t          end_count;
	int64_t         visits_ms;      /* the ten seconds that visits are counted in began then */
	unsigned        visits;
};

/* NULL: too many accounts are asked for. */
struct cell_slot *cell_of(struct master *m, uint64_t account);
/* Starts it when its turn has come; else it will be. Its state is SLOT_EMPTY. */
void cell_start(struct cell_slot *c);
void cell_kill(struct cell_slot *c);
/* Takes w->fd. False: the cell has died unseen; fd stays the caller's, and waits for the next one. */
bool cell_send_attach(struct cell_slot *c, const struct waiting *w);
/* Sends it to the account's cell, or keeps it until there is one, or refuses it. Takes w->fd. */
void cell_attach(struct master *m, uint64_t account, const struct waiting *w);
/* VISIT: the cell c asks for a session in another account's cell. */
void cell_on_visit(void *c, struct channel *ch, struct message *msg);

/* Does owner share anything with guest (master_pairs.c)? */
struct pair_question {
	struct master  *master;
	uint64_t        guest, owner;
	struct channel *asker;          /* NULL: it is gone, nobody is answered */
	uint32_t        call;           /* of it */
	void          (*answer)(const struct pair_question *q, enum err e);   /* ERR_OK: yes; ERR_NOTFOUND: no; others: it could not be found out */
	struct pair_question *next, **link;
};
/* Answered once, at once or later; q is copied. */
void pair_ask(const struct pair_question *q);
void pairs_asker_gone(struct master *m, const struct channel *ch);

/* A fresh pair between the cell and a role: one end each. */
void cell_connect(struct cell_slot *c, enum role role, uint16_t notice);
/* The process is gone and collected: the account is free for the next cell. Perhaps c is, too. */
void cell_collected(struct cell_slot *c, int status);
/* Takes fd. */
void attach_refuse(int fd, enum text sentence);
void cell_refuse_waiting(struct cell_slot *c, enum text sentence);

/* False: later; who wants it waits, or was refused. True: now, and it counts as opening until turn_is_over(). */
bool turn_has_come(struct cell_slot *c);
/* It is open, or never will be: the next ones start. */
void turn_is_over(struct cell_slot *c);
void turn_forget(struct cell_slot *c);
/* Idle cells stay half a minute for whoever comes back, as long as there is room. */
void turn_tell_crowded(struct cell_slot *c);
void turns_tick(struct master *m);
#endif
