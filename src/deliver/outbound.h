/* deliver/outbound.h -- messages to other servers: what the queue asks of the role net with SEND (queue/send.h), and who knows which host,
 * address, TLS and connection that means. In the loop of that role; nothing of it is on disk.
 *
 * A SEND takes a connection that was kept for its destination, or makes one: mail hosts in the order of dns/mx.h, each address once,
 * until one of them takes the message into its hands. It is answered once, and then its connection waits for SENT before it carries
 * anything else. */
#ifndef FACTEUR_DELIVER_OUTBOUND_H
#define FACTEUR_DELIVER_OUTBOUND_H
#include "deliver/sts.h"
#include "dns/resolver.h"
#include "ipc/channel.h"
#include "net/loop.h"
#include "net/listen.h"
#include "net/tls_client.h"
#include "queue/send.h"

struct outbound;

enum outbound_tls {
	OUTBOUND_TLS_MAY = 0,         /* where it is offered; where DANE or MTA-STS ask for it, as they do */
	OUTBOUND_TLS_NEVER,
	OUTBOUND_TLS_ENCRYPT,         /* STARTTLS, whatever the certificate (a relay inside a network) */
	OUTBOUND_TLS_VERIFY,          /* STARTTLS, and a certificate for the name of the host */
	OUTBOUND_TLS_IMPLICIT,        /* the same, from the first byte on (RFC 8314 §3.3) */
};

/* How the mail of a SEND goes. Slices live in the arena of the call. */
struct outbound_way {
	struct str name;              /* connections are kept and used again for ways of the same name; at first the destination */
	struct str host;              /* A-labels or an address literal: this host and no other. Empty: the mail hosts of the destination */
	uint16_t   port;              /* at first that of the settings */
	enum outbound_tls tls;
	bool       is_lmtp;           /* RFC 2033 */
	struct peer source_v4, source_v6;   /* the address that connections come from; all zeros: the system chooses */
};
typedef void (*outbound_choose_way)(void *context, struct arena *a, const struct send *s, struct outbound_way *way);

struct outbound_settings {
	struct str hostname;          /* what we call ourselves */
	uint16_t   port;              /* of other servers; 25 but in a lab */
	size_t     connections_max;   /* open at a time, all together; more SENDs wait their turn */
	size_t     per_address_max;   /* of them to one address */
	int        connect_ms;        /* how long a connection may take to come about */
	int        keep_ms;           /* how long one that is free is kept for its destination */
	unsigned   messages_max;      /* over one connection */
	int        send_ms;           /* for a SEND in all, before the queue counts it as lost: however slowly a server goes on */
	struct sts *sts;              /* policies of MTA-STS; NULL: nobody asks for them. Borrowed */
	struct tls_tally *tally;      /* how TLS goes; NULL: nobody counts. Borrowed */
	outbound_choose_way choose_way;   /* asked once for each SEND; NULL: to the mail hosts of its destination */
	void      *way_context;
};
extern const struct outbound_settings outbound_defaults;   /* hostname empty */

/* All borrowed; they outlive it. */
struct outbound *outbound_new(struct loop *loop, struct resolver *resolver, struct tls_client *tls);
void outbound_free(struct outbound *r);                      /* NULL is fine; what is open stays unanswered */
void outbound_configure(struct outbound *r, const struct outbound_settings *s);

/* The handlers of SEND and SENT. */
void outbound_on_send(struct outbound *r, struct channel *queue, struct message *m);
void outbound_on_sent(struct outbound *r, const struct message *m);
/* The queue is gone: nothing it has asked for goes on. */
void outbound_drop_all(struct outbound *r);
/* Says goodbye on what is free. */
void outbound_stop(struct outbound *r);
size_t outbound_connections(const struct outbound *r);
#endif
