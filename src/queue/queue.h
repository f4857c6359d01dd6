/* queue/queue.h -- the queue as a whole: the log, queue.db, spool files, the backlog, the cells. role/queue.c gives it
 * channels and a loop; tests give it fake cells. Read README.md for the protocol and the argument why nothing is lost
 * or doubled.
 *
 * One thread calls. Two more work inside: the writer of the log, and the worker for syncs and queue.db; when their
 * descriptors are readable, queue_receive() runs what follows. */
#ifndef FACTEUR_QUEUE_QUEUE_H
#define FACTEUR_QUEUE_QUEUE_H
#include "directory/list_order.h"
#include "directory/lookup.h"
#include "disk/disk.h"
#include "ipc/channel.h"
#include "queue/log.h"
#include "queue/report.h"
#include "trail/trail.h"

struct queue;

struct queue_host {
	void  *context;
	void (*watch)(void *context, struct channel *ch);     /* receive from it whenever something is there */
	void (*forget)(void *context, struct channel *ch);    /* it is about to be freed */
	void (*wake)(void *context, uint64_t account);        /* WAKE: its cell shall run; queue_cell() follows */
	void (*end)(void *context, uint64_t account);         /* QUEUE_CELL_END; queue_cell_ended() follows */
	/* Makes durable what all accounts have written: syncfs of their file system. Runs in the worker's thread. */
	enum err (*sync_accounts)(void *context);
	/* Writes a report for the sender of a message (deliver/bounce.h): *body is empty and gets it, *type and *smtputf8 what its envelope
	 * must say. False: nobody is told. NULL: nobody ever is (tests). */
	bool (*report)(void *context, const struct report *r, struct buf *body, enum envelope_body *type, bool *smtputf8);
	/* Another server has refused, for good, a recipient of what this account submitted. NULL: nobody wants to know (tests). */
	void (*refused)(void *context, uint64_t account);
	/* A member of a group leaves, or his mail came back: asks control (LIST_ORDER). done runs once, perhaps before this returns: ERR_OK or
	 * ERR_NOTFOUND, ERR_DENIED: that is settled, and on disk; else: not now. NULL: nobody is asked (tests). */
	void (*list_order)(void *context, const struct list_order_request *r, void (*done)(void *context, enum err result), void *done_context);
};

struct queue_config {
	struct disk_dir  *dir;            /* DIR/queue; log/, spool/, late/ and queue.db are made in it */
	struct log_config ring;           /* of a new log; one that exists keeps its sizes */
	uint64_t          disk_reserve;   /* bytes; with less free nothing is accepted */
	int64_t           lifetime_s;     /* how long an undeliverable message is tried; 0: not known before queue_configure(), as long as that */
	int64_t           delay_notice_s; /* after which its sender is told that it takes long; 0: never by itself */
	bool              holds_elsewhere; /* nothing leaves for other servers; it waits */
	int               sync_every_ms;  /* 0: SYNC_EVERY_MS */
	struct trail_notes *trail;        /* NULL: nothing is noted */
	const struct lookup *lookup;      /* as by queue_use_lookup(), which follows: what the log has is filed by it; may be NULL */
	uint16_t          https_port;     /* at which members of groups may leave; 0: no page is served */
	bool is_resolved; /* tests: recipients come with their accounts; else nothing is taken before queue_use_lookup() */
};

/* Is there a log already? Then its sizes are known. */
bool queue_exists(struct disk_dir *dir);
/* Opens or makes everything, and takes what the log holds above W into the backlog. All errors are logged. */
enum err queue_open(const struct queue_config *config, const struct queue_host *host, struct queue **out) MUST_CHECK;
/* Ends without further ado, as a crash would but for what is under way in the two threads; see queue_stop(). NULL is
 * fine. */
void queue_close(struct queue *q);
/* Who gets a message is asked of it from now on; borrowed, replaced by the next call. Until the first one (tests)
 * recipients are taken as they come. */
void queue_use_lookup(struct queue *q, const struct lookup *l);
/* Of the config what may change: disk_reserve, lifetime_s, delay_notice_s, holds_elsewhere. */
void queue_configure(struct queue *q, const struct queue_config *config);

/* A letter of the server itself: queued if it can be (else logged). */
void queue_letter(struct queue *q, struct str to, struct str message);

/* Readable: call queue_receive(). */
void queue_fds(const struct queue *q, int fds[2]);
void queue_receive(struct queue *q);
/* After each round of events, and at least every second: sends, wakes, looks at the clock. */
void queue_run(struct queue *q, int64_t now_ms);

/* A channel to mx; replaces an older one. Takes fd. */
void queue_mx(struct queue *q, int fd);
/* Channels to net and to keys; each replaces an older one. They take fd. */
void queue_net(struct queue *q, int fd);
void queue_keys(struct queue *q, int fd);
/* A channel to the account's new cell; replaces an older one. Takes fd. */
void queue_cell(struct queue *q, uint64_t account, int fd);
void queue_cell_ended(struct queue *q, uint64_t account, enum err result);
/* The request ADD of control, whose channel stays the caller's. */
void queue_on_control_add(struct queue *q, struct channel *ch, struct message *m);
/* The request QUEUE_COMMAND. */
void queue_on_command(struct queue *q, struct channel *ch, struct message *m);

/* Takes nothing more, finishes what is under way, and makes W durable, so that a clean restart replays nothing. */
void queue_stop(struct queue *q);
int queue_patience_ms(const struct queue *q);   /* queue_run() is to be called again within so long, INT_MAX: no sooner than usual */
bool queue_is_stopped(const struct queue *q);
/* The log or queue.db cannot be written: opening them again (in a new process) tries whether they can be now. */
bool queue_needs_restart(const struct queue *q);
#endif
