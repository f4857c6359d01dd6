/* role/net_private.h -- the role net's own: net.c (peers, settings) and net_policy.c (what control keeps for it, and is told). */
#ifndef FACTEUR_ROLE_NET_PRIVATE_H
#define FACTEUR_ROLE_NET_PRIVATE_H
#include "deliver/sts.h"
#include "ipc/channel.h"
#include "net/loop.h"

struct net_policy {
	struct loop      *loop;
	struct sts       *sts;
	struct channel   *control;       /* NULL: not connected yet */
	struct tls_tally *tally;
	struct loop_timer tick, patience;
	uint64_t          from;          /* of the page that is asked for */
	bool              is_asking, is_restored;
};
void net_policy_open(struct net_policy *p, struct loop *loop, struct sts *sts);
void net_policy_control(struct net_policy *p, struct channel *control);   /* it is connected, or another one */
void net_policy_awaited(struct net_policy *p);                            /* mail may leave from now on, and waits for them: not for ever */
void net_policy_stop(struct net_policy *p);                               /* tells what is counted */
void net_policy_close(struct net_policy *p);                              /* after the channels, before sts */
#endif
