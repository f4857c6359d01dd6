/* net/attach.h -- the cell's side of sessions: takes the socketpairs that master hands over, runs the engines in the pool, parks
 * what waits, renders what is parked elsewhere (docs/architecture.md, "A session"). */
#ifndef FACTEUR_NET_ATTACH_H
#define FACTEUR_NET_ATTACH_H
#include "net/pool.h"
#include "net/session.h"

struct attached;

struct attach_host {
	void  *cell;                                   /* given to the engines */
	void  *context;                                /* given to check and parked */
	const struct engine *const *engines;           /* ends with NULL */
	/* ERR_OK: the grant is good; ERR_DENIED: the session is refused. goes_on: the session has begun before and comes back from a
	 * gate (a record, or to be rendered): its grant may have expired meanwhile, unless it ends the session, too (ipc/grant.h); all else must be right. */
	enum err (*check)(void *context, const struct grant *g, bool goes_on);
	void  (*parked)(void *context, bool wants_news);  /* a session of this account waits in a gate now */
	void  (*told)(void *context);                     /* such sessions were told news */
};

struct attached *attached_new(struct pool *p, const struct attach_host *host);
void attached_take(struct attached *at, int fd, enum attach kind);   /* owns fd */
/* A session of another account's cell: no grant is asked for, because master says who it is. Its OPEN has a record (its cell makes one for a new
 * session, too), and only an engine that can resume takes it. Owns fd. */
void attached_take_guest(struct attached *at, int fd, uint64_t guest);
/* Parks what has waited 2 s; returns when it wants to be called again (mono ms), 0: no need. */
int64_t attached_tick(struct attached *at, int64_t now_ms);
/* The account has changed: sessions that want to hear of it look soon. Quick, from any thread. */
void attached_changed(struct attached *at);
/* Sessions, and attachments that render; not those that wait for the next time, which keep no cell awake. */
size_t attached_count(struct attached *at);
/* Ends the sessions whose grant is older than epoch (0xffffffff: all). */
void attached_end(struct attached *at, uint32_t epoch);
void attached_free(struct attached *at);           /* after the pool has stopped: closes what is left */
#endif
