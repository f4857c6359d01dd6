/* net/admission.h -- how many connections one address, one network, one account may have, and how many new ones a minute.
 *
 * Counted for an address (IPv4: /32, IPv6: /64), for its network (IPv4: /24, IPv6: /48) and for an account, each protocol for
 * itself, in a table of fixed size: a flood from many addresses costs no memory. The machine's own 127.0.0.1 and ::1 are never
 * limited (local proxies, tests, benchmarks).
 *
 * The gates count together: each writes a table of its own in shared memory, which the others can only read, and a limit
 * holds for the sum. A gate that ends takes its numbers with it; one that was broken into can lie about its own only. */
#ifndef FACTEUR_NET_ADMISSION_H
#define FACTEUR_NET_ADMISSION_H
#include "conf/conf.h"
#include "ipc/role.h"
#include "net/listen.h"

enum { ADMISSION_SEATS = 8 };   /* processes that may count together */

/* How many connections at once and how many new ones a minute (0: no limit). */
struct admission_limits {
	uint32_t total;                               /* of the process */
	uint32_t per_address, per_network, per_account;
	uint32_t per_minute_address, per_minute_network;
};
/* As the settings connections_per_* and sessions_per_account say; total is 0. New connections a minute from a network: five
 * times those from an address. */
struct admission_limits admission_limits_of(const struct conf *c);
enum admission {
	ADMITTED,            /* admission_leave() when it ends */
	ADMISSION_FULL,      /* the process has enough */
	ADMISSION_MANY,      /* too many from this address or network at once */
	ADMISSION_FAST,      /* too many new ones in the last minute */
};
struct admissions;
/* share_fd: NULL, or gets the descriptor that another process gives to admissions_join(); -1 (logged) when there is none,
 * and it counts alone. The caller closes it. */
struct admissions *admissions_new(const struct admission_limits *limits, int *share_fd);
/* Counts with the process at this seat (not one's own), instead of the one that was there before. ERR_INVALID: no such table. */
enum err admissions_join(struct admissions *a, uint32_t seat, int share_fd) MUST_CHECK;
void admissions_set(struct admissions *a, const struct admission_limits *limits);   /* settings changed; counts stay */
void admissions_free(struct admissions *a);

/* now_ms: clock_mono_ms(), which all processes share. */
enum admission admission_enter(struct admissions *a, enum protocol protocol, const struct peer *p, int64_t now_ms);
void admission_leave(struct admissions *a, enum protocol protocol, const struct peer *p);
uint32_t admissions_count(const struct admissions *a);   /* connections of this process now */
/* A session of the account begins: false: it has enough. */
bool admission_account_enter(struct admissions *a, enum protocol protocol, uint64_t account, int64_t now_ms);
void admission_account_leave(struct admissions *a, enum protocol protocol, uint64_t account);
#endif
