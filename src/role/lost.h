/* role/lost.h -- a channel to a peer has ended, and the peer has not: one of the two said what the other does not understand, or did not read
 * for too long. Master is asked for another one, again and again until it has come. A peer that was restarted is connected anew before that.
 * One side of each pair looks: keys and control for all their pairs, mx for queue and net, net for queue. */
#ifndef FACTEUR_ROLE_LOST_H
#define FACTEUR_ROLE_LOST_H
#include "ipc/channel.h"

enum { LOST_AFTER_MS = 2000, LOST_LOOK_MS = 1000 };

struct lost { int64_t since_ms; };   /* zeros: not lost */
/* About once a second while it is lost: true, it is. role, index: the peer's. */
bool lost_look(struct lost *l, const struct channel *ch, enum role role, uint32_t index, struct channel *master, int64_t now_ms);
#endif
