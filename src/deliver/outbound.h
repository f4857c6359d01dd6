/* deliver/outbound.h -- messages to other servers: what the queue asks of the role net with SEND (queue/send.h), and who knows which host,
 * address, TLS and connection that means. In the loop of that role; nothing of it is on disk.
 *
 * A SEND takes a connection that was kept for its destination, or makes one: mail hosts in the order of dns/mx.h, each address once,
 * until one of them takes the message into its hands. It is answered once, and then its connection waits for SENT before it carries
 * anything else. When the queue stops, SENDs that nothing has left of are given back (outbound_end.c). */
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

/* Asks for the password of a route (route_name()): outbound_password() with the same ticket is the answer, at once or later. */
typedef void (*outbound_ask_password)(void *context, struct str route, uint64_t ticket);

struct outbound_settings {
	struct str hostname;          /* what we call ourselves */
	uint16_t   port;              /* of other servers; 25 but in a lab */
	size_t     connections_max;   /* open at a time, all together; more SENDs wait their turn */
	size_t     per_address_max;   /* of them to one address */
	int        connect_ms;        /* how long a connection may take to come about */
	int        keep_ms;           /* how long one that is free is kept for its destination */
	unsigned   messages_max;      /* over one connection */
	int        ending_ms;         /* for what a server has begun to take, once the queue stops */
	int        send_ms;           /* for a SEND in all, before the queue counts it as lost: however slowly a server goes on */
	struct sts *sts;              /* policies of MTA-STS; NULL: nobody asks for them. Borrowed */
	bool       public_only;       /* what DNS says leads to public addresses only (mx_is_private()) */
	const struct peer *own;       /* addresses that we ourselves listen on; borrowed */
	size_t     own_count;
	struct tls_tally *tally;      /* how TLS goes; NULL: nobody counts. Borrowed */
	outbound_ask_password ask_password;   /* NULL: nobody can log in */
	int        password_ms;       /* so long it is asked for again while there is no answer */
	void      *password_context;
};
extern const struct outbound_settings outbound_defaults;   /* hostname empty */

/* All borrowed; they outlive it. */
struct outbound *outbound_new(struct loop *loop, struct resolver *resolver, struct tls_client *tls);
void outbound_free(struct outbound *r);                      /* NULL is fine; what is open stays unanswered */
void outbound_configure(struct outbound *r, const struct outbound_settings *s);

/* The handlers of SEND and SENT. */
void outbound_on_send(struct outbound *r, struct channel *queue, struct message *m);
void outbound_on_sent(struct outbound *r, const struct message *m);
/* The handler of PROBE, a SEND that stops where a message would be sent: it is answered as one, DONE meaning that a server is ready to take
 * mail over the way that it names. */
void outbound_on_probe(struct outbound *r, struct channel *control, struct message *m);
/* Copied. e: why there is none. */
void outbound_password(struct outbound *r, uint64_t ticket, enum err e, struct str password);
/* The queue is gone: nothing it has asked for goes on. Another one may come. */
void outbound_drop_all(struct outbound *r);
/* The handler of SENDS_END (queue/send.h). */
void outbound_on_sends_end(struct outbound *r);
/* Says goodbye on what is free. */
void outbound_stop(struct outbound *r);
size_t outbound_connections(const struct outbound *r);
#endif
