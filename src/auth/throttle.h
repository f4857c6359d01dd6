/* auth/throttle.h -- how often somebody may guess. Failures are counted for the account, the address, the network (/24, /48)
 * and the pair (account, address), each in a bucket that leaks; memory is fixed. Not thread-safe.
 *
 * Full buckets refuse (throttle_check), fuller ones delay (throttle_failure). What a refusal can do to the owner:
 * - a device with an old password repeats the same wrong one for days, and another one beside it another: the same wrong password from the
 *   same address counts once, while it is among the last four;
 * - a stranger guesses at the account from everywhere: the account's bucket never refuses an address from whose network the
 *   owner has logged in before;
 * - a success forgives what this pair did, and only that: an attacker with an account of his own washes nothing off. */
#ifndef FACTEUR_AUTH_THROTTLE_H
#define FACTEUR_AUTH_THROTTLE_H
#include "base/err.h"
#include "base/str.h"

struct throttle;
struct throttle *throttle_new(void);   /* 2 MB, touched as it fills */
void throttle_free(struct throttle *t);

struct throttle_who {
	uint64_t   account;   /* a number for the account, or any stable number for a name that does not exist */
	struct str peer;      /* "192.0.2.7"; what is no address counts as one address of its own */
};

/* 0: judge the try. Else seconds until the next one is looked at: refuse without looking, and without counting. */
uint32_t throttle_check(struct throttle *t, const struct throttle_who *who, int64_t now_ms);
/* Counts a wrong password. password_tag: a keyed hash of it. Returns how long to wait before saying so, 0..10000 ms. */
uint32_t throttle_failure(struct throttle *t, const struct throttle_who *who, uint64_t password_tag, int64_t now_ms);
/* A number that is the same for one network; never 0. */
uint64_t throttle_network(struct str peer);
void throttle_success(struct throttle *t, const struct throttle_who *who, int64_t now_ms);
#endif
