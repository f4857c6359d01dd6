/* ipc/datagram.h -- what a channel's socket carries: one message with its descriptors, sent or received at once or not at all.
 *
 * channel.c decides what may be sent and whose an answer is; here is how it becomes bytes. Nothing here waits, and nothing has a lock. */
#ifndef FACTEUR_IPC_DATAGRAM_H
#define FACTEUR_IPC_DATAGRAM_H
#include "base/err.h"
#include "ipc/channel.h"

enum { DATAGRAM_IS_ANSWER = 1 };   /* of flags */

struct datagram {
	struct datagram *next;
	uint16_t         type, flags;
	uint32_t         call;
	uint32_t         socket; /* of channel.c: which one it came over */
	enum err         status;
	struct pending  *ask;    /* an answer to an ask, already taken out of channel.c's pending; NULL: a request or notice */
	size_t           size;
	int              fds[MESSAGE_FDS_MAX];   /* owned, unless it is only a head for datagram_send() */
	int              fd_count;
	char             body[];
};

/* 0: sent; EAGAIN: no room; else errno. The body is given apart, so that what goes at once is not copied. */
int datagram_send(int fd, const struct datagram *head, struct str body);

/* One that waits to be sent: a copy of all, its descriptors too. NULL: no descriptor is left (ERR_LIMIT). */
struct datagram *datagram_keep(const struct datagram *head, struct str body);

/* Takes one from the descriptor. NULL: none there (*failure 0) or the peer is gone or sent nonsense (*failure set). */
struct datagram *datagram_receive(int fd, int *failure);

/* Also closes its descriptors. NULL: nothing happens. */
void datagram_free(struct datagram *d);
#endif
