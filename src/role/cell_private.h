/* role/cell_private.h -- one cell between its files: cell.c (its life and channels), cell_news.c (who is told what has changed),
 * cell_asked.c (what queue and control ask), cell_replay.c (sessions that wait for the queue after an unclean stop). */
#ifndef FACTEUR_ROLE_CELL_PRIVATE_H
#define FACTEUR_ROLE_CELL_PRIVATE_H
#include "deliver/local.h"
#include "directory/info.h"
#include "ipc/channel.h"
#include "ipc/grant.h"
#include "net/attach.h"
#include "role/cell.h"
#include "submit/account.h"
#include <pthread.h>
#include <stdatomic.h>

enum { HELD_MAX = 1024, TICK_MS = 1000, PUBLISH_EVERY_MS = 50, INFO_TIMEOUT_MS = 5000 };

struct held {  /* a session that waits for the replay */
	int         fd;
	enum attach kind;
	uint64_t    guest;           /* ATTACH_GUEST: whose */
};

struct cell {
	struct cell_start  start;
	uint8_t            key[GRANT_KEY_SIZE];
	_Atomic uint32_t   epoch;
	_Atomic bool       is_watched;
	struct pool       *pool;
	struct attached   *attached;
	struct channel    *master, *queue, *control;
	struct account     account;
	struct others      others;
	struct deliver_settings delivery;
	pthread_mutex_t    delivering;      /* one batch at a time: deliveries keep their order */
	_Atomic int64_t    last_work_ms;    /* a session was here */
	_Atomic int64_t    last_delivery_ms;
	_Atomic int64_t    last_publish_ms;
	_Atomic bool       must_publish;
	_Atomic bool       is_crowded;      /* others wait for our place */
	_Atomic uint64_t   attaches_seen;
	_Atomic int64_t    stops_ms;        /* STOP was heard then; 0: not yet */
	struct peer       *peers;           /* cell.c */
	pthread_mutex_t    holding;         /* guards the next four, and peers */
	bool               is_open, is_replayed;
	struct held        held[HELD_MAX];
	size_t             held_count;
	_Atomic int        over_percent;    /* of the quota, as last reported: 0, 90, 100 */
	_Atomic uint64_t   changed, told;   /* newest modseq that is visible; that master was told of */
};

/* cell_news.c */
bool cell_has_viewers(struct cell *c);                  /* somebody looks: a session here, or one that waits in a gate */
void cell_publish(struct cell *c);                      /* syncs what was delivered and shows it */
void cell_publish_soon(struct cell *c);                 /* if somebody looks */
void cell_watch(struct cell *c);                        /* a session begins to wait in a gate */
void cell_tell_newest(struct cell *c);                  /* again, whatever was told before */
void cell_on_changed(void *c, uint64_t account, uint64_t modseq);   /* of the view */

/* cell_asked.c */
extern const struct channel_handler cell_queue_handlers[], cell_control_handlers[];
void cell_use_settings(struct cell *c, const struct account_info *info);
void cell_report_usage(struct cell *c, bool always);    /* to control: always, or when a threshold was passed */
void cell_tell_shares(struct cell *c);                  /* to control, if that was not done yet */

/* cell_replay.c */
bool cell_is_replayed(struct cell *c);
void cell_ask_replayed(struct cell *c);                 /* of the queue that is there now */
bool cell_take(struct cell *c, const struct held *h);   /* a session; false: it waits for the replay */
void cell_opened(struct cell *c);                       /* the view is there */
#endif
