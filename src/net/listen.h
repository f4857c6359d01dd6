/* net/listen.h -- accepting strangers, and their addresses. How many may come: net/admission.h. */
#ifndef FACTEUR_NET_LISTEN_H
#define FACTEUR_NET_LISTEN_H
#include "base/buf.h"
#include "net/loop.h"
#include <sys/socket.h>

enum { PEER_TEXT_MAX = 46 };

struct peer {
	uint8_t  address[16];   /* IPv6; IPv4 as ::ffff:a.b.c.d */
	uint16_t port;          /* the client's */
	uint16_t local_port;    /* ours */
};

/* "192.0.2.7" or "2001:db8::7", NUL-terminated too. */
struct str peer_text(const struct peer *p, char room[PEER_TEXT_MAX]);
/* The other way; port 0. False: no IP address. */
bool peer_parse(struct str in, struct peer *out);
bool peer_is_v4(const struct peer *p);
bool peer_is_loopback(const struct peer *p);
void peer_from_sockaddr(struct peer *p, const struct sockaddr *a);   /* sets address and port */
/* Who is at the other end; address and port. False: it is no connected socket of the internet (any more). */
bool peer_of_socket(struct peer *p, int fd);
/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/32": true when the peer is in it; false also when the text is no network. */
bool peer_is_in(const struct peer *p, struct str network);

/* A listening socket in the loop. on_accept owns fd: non-blocking, close-on-exec, TCP_NODELAY. Accepts at most 64 a round, so that
 * a storm does not starve who is in already; waits 100 ms when the process has no descriptor left. Takes fd. */
struct listener;
struct listener *listener_new(struct loop *l, int fd, void (*on_accept)(void *context, int fd, const struct peer *peer), void *context);
void listener_free(struct listener *ls);   /* closes our copy of the socket; master keeps its own */
#endif
