/* auth/hasher.h -- password hashing in worker threads: a bounded queue, fair by account and network (DESIGN.md §2, reconnect
 * storm). One owner thread adds jobs and receives results; the workers see one job at a time and no other state. */
#ifndef FACTEUR_AUTH_HASHER_H
#define FACTEUR_AUTH_HASHER_H
#include "crypto/password.h"

enum hash_work { HASH_CHECK = 1, HASH_MAKE };
enum { HASHER_PENDING_MAX = 1024, HASHER_PER_NETWORK_MAX = 256, HASHER_PER_ACCOUNT_MAX = 64, HASHER_WAIT_MAX_MS = 20000 };

struct hash_job {
	enum hash_work work;
	uint64_t account;                    /* two jobs of one account never run at the same time */
	uint64_t network;                    /* any number that is the same for one network; 0: our own work, never limited */
	char     password[PASSWORD_MAX + 1]; /* wiped after done() */
	size_t   password_size;
	char     hash[PASSWORD_HASH_MAX + 1];/* CHECK: against this; MAKE: the result */
	/* Runs in hasher_receive(), or in hasher_free(). result: of password_check() or password_hash(); ERR_TIMEOUT: waited too long, never looked at. The
	 * hasher frees the job afterwards. */
	void   (*done)(struct hash_job *job, enum err result);
	/* CHECK: asked in the owner's thread just before a worker would take it; true: known to be right by now. May be NULL. */
	bool   (*is_known)(struct hash_job *job);
	void    *context, *detail;
	/* the hasher's own */
	struct hash_job *next;
	uint64_t rank;
	int64_t  asked_ms;
	enum err result;
};

struct hasher;
/* workers 0: for tests, hasher_receive() itself works off what waits. */
struct hasher *hasher_new(int workers);
void hasher_free(struct hasher *h);                  /* what waits ends: done(ERR_TIMEOUT), so that nothing of it is left behind */
struct hash_job *hasher_job(enum hash_work work, struct str password, struct str hash);  /* cut to the limits */
/* Takes the job. ERR_AGAIN: full, or too much from this network or account; the job is freed, done() does not run. */
enum err hasher_add(struct hasher *h, struct hash_job *job) MUST_CHECK;
int  hasher_fd(const struct hasher *h);              /* readable: call hasher_receive() */
void hasher_receive(struct hasher *h);
void hasher_tick(struct hasher *h);                  /* once a second: ends what waited too long */
#endif
