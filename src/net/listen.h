/* net/listen.h -- accepting strangers: the peer's address, and how many of them one address or one network may be.
 *
 * Limits are counted for an address (IPv4: /32, IPv6: /64) and for its network (IPv4: /24, IPv6: /48), in a table of fixed
 * size: a flood from many addresses costs no memory. Loopback is never limited (local proxies, tests, benchmarks). */
#ifndef FACTEUR_NET_LISTEN_H
#define FACTEUR_NET_LISTEN_H
#include "base/buf.h"
#include "conf/conf.h"
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
bool peer_is_v4(const struct peer *p);
bool peer_is_loopback(const struct peer *p);
void peer_from_sockaddr(struct peer *p, const struct sockaddr *a);   /* sets address and port */
/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/32": true when the peer is in it; false also when the text is no network. */
bool peer_is_in(const struct peer *p, struct str network);

/* How many connections at once and how many new ones a minute (0: no limit). */
struct admission_limits {
	uint32_t total;                               /* of the process */
	uint32_t per_address, per_network;
	uint32_t per_minute_address, per_minute_network;
};
/* As the settings connections_per_* say; total is 0. New connections a minute from a network: five times those from an address. */
struct admission_limits admission_limits_of(const struct conf *c);
enum admission {
	ADMITTED,            /* admission_leave() when it ends */
	ADMISSION_FULL,      /* the process has enough */
	ADMISSION_MANY,      /* too many from this address or network at once */
	ADMISSION_FAST,      /* too many new ones in the last minute */
};
struct admissions;
struct admissions *admissions_new(const struct admission_limits *limits);
void admissions_set(struct admissions *a, const struct admission_limits *limits);   /* settings changed; counts stay */
void admissions_free(struct admissions *a);
enum admission admission_enter(struct admissions *a, const struct peer *p, int64_t now_ms);
void admission_leave(struct admissions *a, const struct peer *p);
uint32_t admissions_count(const struct admissions *a);   /* connections now */

/* A listening socket in the loop. on_accept owns fd: non-blocking, close-on-exec, TCP_NODELAY. Accepts at most 64 a round, so that
 * a storm does not starve who is in already; waits 100 ms when the process has no descriptor left. Takes fd. */
struct listener;
struct listener *listener_new(struct loop *l, int fd, void (*on_accept)(void *context, int fd, const struct peer *peer), void *context);
void listener_free(struct listener *ls);   /* closes our copy of the socket; master keeps its own */
#endif
