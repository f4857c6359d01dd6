/* auth/missing_key.h -- tokens that name keys which are not known here: when their issuer is to be asked for its keys, and what those are told who bring
 * such a token. Pure; times are clock_mono_ms(). */
#ifndef FACTEUR_AUTH_MISSING_KEY_H
#define FACTEUR_AUTH_MISSING_KEY_H
#include "directory/issuer.h"

enum { MISSING_ASK_EVERY_MS = 60 * 1000, MISSING_ASK_TAKES_MS = 10 * 1000, MISSING_KNOWN_MS = 3600 * 1000, MISSING_KEYS_MAX = 64 };

struct missing_seen {
	uint64_t hash;
	int64_t  at_ms;      /* 0: nobody's place */
};
struct missing_keys {        /* all zeros: none yet */
	struct missing_seen issuers[ISSUERS_MAX], keys[MISSING_KEYS_MAX];
};
/* A token names a key (kid may be empty) that this issuer has not here. *asks: it is to be asked. True: it is being asked, and whoever brought the token
 * shall come back; false: that is known to be no key of it, or nobody asks now. */
bool missing_key(struct missing_keys *m, struct str issuer, struct str kid, int64_t now_ms, bool *asks);
#endif
