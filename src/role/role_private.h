/* role/role_private.h -- master's own structs, shared by master.c (roles), master_ports.c and those of the cells (master_cell.h). */
#ifndef FACTEUR_ROLE_ROLE_PRIVATE_H
#define FACTEUR_ROLE_ROLE_PRIVATE_H
#include "base/map.h"
#include "conf/conf.h"
#include "role/role.h"
#include "role/watch.h"
#include <sys/types.h>

enum { GATES_MAX = 8, ROLES_MAX = 16 + GATES_MAX };

struct running {  /* one role process */
	struct master  *master;
	enum role       role;
	uint32_t        index;
	pid_t           pid;          /* 0: not running */
	struct channel *ch;
	int64_t         started_ms, restart_at_ms, mended_ms;   /* mended: given a new channel after LOST */
	int             back_off_ms;
	bool            is_ready;
	int64_t         closed_ms;    /* since when its channel is closed though it runs; 0: it is open */
	int64_t         silent_ms;    /* that master has seen go by since it answered, or since it was asked … */
	bool            is_asked;     /* … whether it lives */
	int             counts_fd;    /* of a gate: what it counts, for the others to read; -1: none */
};

enum turn { TURN_SESSIONS, TURN_OTHERS, TURNS };  /* who waits for the start of a cell (master_turns.c) */
struct turn_queue { struct cell_slot *first, **end; };

struct master {
	struct serve_options options;
	struct conf   *conf;           /* DIR/facteur.conf */
	struct watch  *watch;
	struct running roles[ROLES_MAX];
	size_t         role_count;
	int            gates;
	int            signal_fd;
	bool           stops, sandbox;
	int64_t        patience_ms;    /* with a role that does not answer; 0: for ever */
	struct map     cells;          /* account -> struct cell_slot */
	struct map     watches;        /* account -> bit mask of gates, as pointer */
	struct map     pairs;          /* guest and owner -> until when master believes that the one shares with the other (master_pairs.c) */
	struct pair_question *pair_questions;  /* to control, under way */
	size_t         pair_question_count;
	size_t         cells_running, cells_max;
	size_t         cells_opening;  /* started, and not open yet … */
	struct turn_queue turns[TURNS];  /* … and those that are not started before one of them is */
	unsigned       sessions_in_a_row;
	bool           is_crowded;     /* three quarters of cells_max run: those with nothing to do leave at once */
	size_t         attaches_waiting, attaches_max;  /* descriptors of sessions whose cell is starting */
	struct listener *listeners;
	size_t         listener_count;
	uid_t          uid, cell_uid;  /* 0: no change of user */
	gid_t          gid, cell_gid;
};

struct running *master_role(struct master *m, enum role role, uint32_t index);   /* NULL: no such role */

/* A gate's COUNTS (master.c): kept for those that start later, shown to those that run. */
void gate_on_counts(void *context, struct channel *ch, struct message *msg);

/* A role's LOST (master.c): both get a new channel. */
void role_on_lost(void *context, struct channel *ch, struct message *msg);

/* Ports (master_ports.c). ERR_EXISTS, ERR_INVALID: said in the log what to do. */
enum err ports_bind(struct master *m) MUST_CHECK;
void ports_give(struct running *r);   /* LISTEN for each socket of this role */
void ports_close(struct master *m);

/* Cells (master_cells.c; master_handlers: master_asked.c) */
extern const struct channel_handler master_handlers[];
void cells_tick(struct master *m);
/* A child of a nursery that died was collected here. */
void cells_collected(struct master *m, pid_t pid, int status);
/* The role that was restarted gets its channels to the running cells again. */
void cells_reconnect(struct master *m, enum role role);
/* What was remembered about this owner (0: anybody) may not be true any more (master_pairs.c). */
void pairs_forget(struct master *m, uint64_t owner);
/* The role behind this channel ended: its questions are not answered to its successor, who counts them anew. */
void cells_asker_gone(struct master *m, const struct channel *ch);
void cells_stop(struct master *m);
void cells_notify(struct master *m, uint16_t notice, int fd);   /* an empty notice with a descriptor, to every cell */
size_t cells_left(const struct master *m);
#endif
