/* role/control_private.h -- shared by control.c (the role: peers, cells, the look-up memfd) and control_admin.c (the
 * admin socket).
 *
 * One lock guards everything here, the directory first of all. The loop takes it in each handler; a command holds it
 * while it runs and lets go where it waits (admin/admin.h), so that a cell's question never waits for a hash or for
 * another cell. */
#ifndef FACTEUR_ROLE_CONTROL_PRIVATE_H
#define FACTEUR_ROLE_CONTROL_PRIVATE_H
#include "admin/admin.h"
#include "base/map.h"
#include "directory/lookup.h"
#include "directory/share.h"
#include "role/lost.h"
#include "role/role.h"
#include "role/watch.h"
#include "tlsrpt/book.h"
#include "trail/store.h"
#include <pthread.h>

enum { CONTROL_PEERS_MAX = 32, CONTROL_CONNECTIONS_MAX = 32, CONTROL_WAITING_MAX = 200 };

struct control;

struct control_peer {             /* keys, a gate, mx or queue; never removed */
	struct control *control;
	struct channel *ch;
	enum role       role;
	uint32_t        index;
	struct lost     lost;
	bool            is_connected; /* as far as the loop has noticed */
	uint64_t        confirmed;    /* newest version of the directory it has said to use; 0 since it was connected */
	uint64_t        answered;     /* newest one it has answered for: it may have refused it */
};

struct control_cell {             /* the channel to one running cell */
	struct control *control;
	struct channel *ch;
	uint64_t        account;
	int             users;        /* the map, and commands that ask it: the last one frees */
	uint64_t          used_bytes, messages;  /* its newest USAGE … */
	bool              is_full, has_usage;    /* … and whether its fullness is still to be noted */
	bool              has_told, is_asked;    /* it has said one; it is to say one now, and has not yet */
	int64_t           note_ms;               /* when the next one may be */
	struct share_gains *gains;               /* who has still to hear that it shares something with them; NULL: nobody … */
	int64_t           gains_ms;              /* … then */
};

struct control_trail {
	struct trail_store *store;    /* NULL: none is kept */
	struct trail_limits limits;
	pthread_t           thread;   /* writes */
	pthread_mutex_t     lock;     /* the two below */
	pthread_cond_t      news;
	bool                stops;
};

struct control {
	const struct role_start *start;
	struct watch     *watch;      /* the loop's alone */
	struct channel   *master;
	int64_t           started_s;
	int               admin_fd;   /* listens; -1: not yet */
	bool              stops;
	struct control_trail trail;   /* guards itself */

	pthread_mutex_t   lock;       /* guards all below */
	pthread_cond_t    news;       /* a peer confirmed or was lost, a cell came, a connection ended */
	struct control_peer peers[CONTROL_PEERS_MAX];
	size_t            peer_count;
	struct map        cells;      /* account -> struct control_cell */
	struct disk_dir  *dir;
	struct directory *directory;
	struct conf      *file;
	struct lookup    *lookup;     /* as published */
	int               lookup_fd;
	uint64_t          built;      /* its version */
	struct map        refused;    /* account -> recipients elsewhere that its cell has still to hear of */
	struct map        uses;       /* account -> struct account_use: figures that are still to be written … */
	int64_t           uses_ms;    /* … then, at the latest */
	size_t            uses_asked; /* cells that are to say theirs now */
	int64_t           purge_ms;   /* when deleted accounts are looked at next */
	int64_t           keys_ms;    /* … and DKIM keys that wait … */
	int64_t           reports_ms; /* … and days to be reported … */
	int64_t           tokens_ms;  /* … and issuers of tokens, for their keys */
	struct book      *book;       /* NULL: none is kept */
	int               connections;
	int               connection_fds[CONTROL_CONNECTIONS_MAX];  /* -1: free */
	int               waiting_fds[CONTROL_WAITING_MAX];         /* accepted, and begun when another one ends; the first is next */
	size_t            waiting;
};

/* Lock held. */
void control_lock(struct control *c);
void control_unlock(struct control *c);
/* Waits for news with the lock open; false: the time is over. */
bool control_wait(struct control *c, int64_t until_ms);
/* Builds the look-up memfd and sends it to all peers. */
enum err control_send_directory(struct control *c) MUST_CHECK;
/* Every peer that runs has answered for this version or a newer one; and uses it. */
bool control_is_answered(const struct control *c, uint64_t version);
bool control_is_confirmed(const struct control *c, uint64_t version);
struct control_peer *control_find_peer(struct control *c, enum role role, uint32_t index);
void control_cell_release(struct control_cell *cell);

/* What cells report (control_usage.c). Lock held. */
void control_usage_take(struct control_cell *cell, struct str report);   /* USAGE */
void control_usage_gone(struct control_cell *cell);
void control_usage_tick(struct control *c, int64_t now_ms);
void control_usage_write(struct control *c);   /* what waits, now */
/* The cell of this account (0: all that run) says how full it is, and that is written. Waits, with the lock open, a second at most for those that do not
 * answer. */
void control_usage_ask(struct control *c, uint64_t account);

/* Who may see something of this cell's account from now on (control_gains.c). Lock held. */
void control_gains_take(struct control_cell *cell, const struct share_gains *gained);
void control_gains_gone(struct control_cell *cell);
void control_gains_tick(struct control *c, int64_t now_ms);
void control_gains_tell(struct control *c, const struct share_gains *gained);   /* at once */

/* SENDING of a cell (control_sending.c). Lock held. */
enum err control_sending_take(struct control_cell *cell, struct str notice, struct buf *answer) MUST_CHECK;

/* REFUSED of the queue; and a cell has come, which may want to hear of it. */
void control_refused_take(struct control *c, struct str notice);
void control_refused_tell(struct control_cell *cell);

/* The trail (control_trail.c). Between start and stop only: no lock needed. */
void control_trail_start(struct control *c);
void control_trail_stop(struct control *c);
void control_trail_write(struct control *c);   /* what waits, now */
/* The settings may have changed. Lock held. */
void control_trail_limit(struct control *c);
/* NOTICE_TRAIL; account: of a cell, else 0. */
void control_trail_take(struct control *c, enum role who, uint64_t account, struct str events);

/* TLS to other servers (control_tls.c). start, stop: no lock needed; tick: lock held. */
void control_tls_start(struct control *c);
void control_tls_stop(struct control *c);
void control_tls_tick(struct control *c, int64_t now_ms);
void control_on_sessions(void *context, struct channel *ch, struct message *m);      /* TLS_SESSIONS */
void control_on_sts_kept(void *context, struct channel *ch, struct message *m);      /* STS_KEPT */
void control_on_sts_policies(void *context, struct channel *ch, struct message *m);  /* STS_POLICIES */

/* Issuers of tokens (control_tokens.c). tick: lock held. */
void control_tokens_tick(struct control *c, int64_t now_ms);
void control_on_unknown_key(void *context, struct channel *ch, struct message *m);   /* UNKNOWN_KEY */

/* PAGE (control_page.c) */
/* control_list.c: LIST_ORDER, and the page at which a member leaves. */
struct page_request;
struct page_answer;
void control_on_list_order(void *context, struct channel *ch, struct message *m);
void control_leave_page(struct control *c, const struct page_request *r, struct arena *a, struct page_answer *out);
void control_on_page(void *context, struct channel *ch, struct message *m);

/* The admin socket: LISTEN gave it. */
void control_listen(struct control *c, int fd);
/* Lock held. Erases accounts that were deleted long enough ago, as a command does, in a thread of its own. */
void control_purge(struct control *c);
/* Lock held. A command of control's own, in a thread of its own; none where too many run. */
void control_run(struct control *c, struct str request);
/* Lock held. Lets DKIM keys sign whose records can be seen by now; in a thread of its own. */
void control_check_keys(struct control *c);
/* Ends all connections: no command begins any more. True when none is left. */
bool control_hang_up(struct control *c);

/* control_route.c: of struct admin_host. */
enum err control_route_password(void *context, const struct route_password_command *command, bool *was_there);
enum err control_probe(void *context, struct str address, struct arena *a, struct queue_way *way, struct send_answer *out);
#endif
