/* auth/dkim_store.h -- the table of DKIM keys in keys.db. One thread, that of the secrets; changes are on disk when a call returns. */
#ifndef FACTEUR_AUTH_DKIM_STORE_H
#define FACTEUR_AUTH_DKIM_STORE_H
#include "auth/dkim.h"
#include "auth/secrets.h"

/* A key that signs. key_id never means another key, also after this one is gone. */
struct dkim_secret {
	uint64_t            key_id;
	enum dkim_algorithm algorithm;
	struct str          selector, pem;
};
/* Those of the domain that sign, at most one for each algorithm. */
enum err dkim_store_signing(struct secrets *s, struct str domain, struct arena *a, struct dkim_secret out[DKIM_ALGORITHM_COUNT],
                            size_t *n) MUST_CHECK;

/* A new pair of keys. */
struct dkim_pair { enum dkim_algorithm algorithm; struct str public_key, pem; };
/* Which algorithms have no key in this state (DKIM_SIGNS, DKIM_WAITS); *n: how many. */
enum err dkim_store_missing(struct secrets *s, struct str domain, enum dkim_state state, bool missing[DKIM_ALGORITHM_COUNT],
                            size_t *n) MUST_CHECK;
/* Adds them in this state, each under a new selector; one whose algorithm has such a key by now is left out. */
enum err dkim_store_add(struct secrets *s, struct str domain, enum dkim_state state, const struct dkim_pair *pairs, size_t n) MUST_CHECK;
/* The key that waits signs from now on; the one before it retires, and its private half is erased. ERR_NOTFOUND: no such key waits. */
enum err dkim_store_activate(struct secrets *s, struct str domain, struct str selector) MUST_CHECK;
/* All of a domain, without what retired more than DKIM_RETIRED_DAYS ago; domain empty: those that wait, of all domains. */
enum err dkim_store_list(struct secrets *s, struct str domain, struct arena *a, struct dkim_keys *out) MUST_CHECK;
enum err dkim_store_forget(struct secrets *s, struct str domain) MUST_CHECK;
#endif
