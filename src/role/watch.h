/* role/watch.h -- the smallest event loop: channels and descriptors in one epoll set, for roles that have nothing else to wait
 * for (master, nursery). Single-threaded. */
#ifndef FACTEUR_ROLE_WATCH_H
#define FACTEUR_ROLE_WATCH_H
#include "ipc/channel.h"

struct watch;
struct watch *watch_new(void);
void watch_free(struct watch *w);
/* Receives from the channel whenever something is there; again after channel_replace(). */
void watch_channel(struct watch *w, struct channel *ch);
void watch_forget(struct watch *w, struct channel *ch);  /* before channel_free() */
/* Calls ready when fd can be read. */
void watch_fd(struct watch *w, int fd, void (*ready)(void *context), void *context);
/* Waits at most timeout_ms and runs what is ready. */
void watch_run(struct watch *w, int timeout_ms);
#endif
