/* auth/dkim.h -- the keys that sign our mail (RFC 6376): their algorithms, one row each, and DKIM_COMMAND, what control asks of the role
 * keys about them.
 *
 * A domain has a key for each algorithm, and each key a selector of its own, because a DNS record holds one key. The first keys of a
 * domain sign at once (a signature whose record is not there yet counts as none). Rotation: DKIM_ROTATE makes the next ones, which wait;
 * DKIM_ACTIVATE lets one sign when its record was seen in the DNS; the one before retires: its private half is erased, its record
 * stays in `domain dns` for as long as mail signed with it may be on its way.
 *
 *   DKIM_MAKE      domain            -> keys of the domain; makes those that are missing, changes nothing else
 *   DKIM_LIST      domain            -> keys of the domain
 *   DKIM_ROTATE    domain            -> keys of the domain; ERR_EXISTS: some wait already, they are to be published first
 *   DKIM_ACTIVATE  domain, selector  -> keys of the domain; ERR_NOTFOUND: none that waits has it
 *   DKIM_FORGET    domain            -> (none)   erases all of them
 *   DKIM_WAITING                     -> keys that wait, of any domain, the first DKIM_KEYS_MAX */
#ifndef FACTEUR_AUTH_DKIM_H
#define FACTEUR_AUTH_DKIM_H
#include "base/arena.h"
#include "base/wire.h"
#include "crypto/pkey.h"

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519, DKIM_ALGORITHM_COUNT };
struct dkim_algorithm_row {
	const char    *name;         /* in a=: "rsa-sha256" */
	const char    *key_type;     /* in k= of the record: "rsa" */
	const char    *suffix;       /* of the selectors we make */
	enum pkey_kind kind;
};
const struct dkim_algorithm_row *dkim_algorithm(enum dkim_algorithm a);
/* p= of the record, before base64: RFC 6376 §3.6.1 takes SubjectPublicKeyInfo for RSA, RFC 8463 §4 the bare 32 bytes for Ed25519. */
struct str dkim_public_bytes(enum dkim_algorithm a, struct str public_der);

enum {
	DKIM_SELECTOR_MAX = 63, DKIM_DOMAIN_MAX = 253, DKIM_KEYS_MAX = 50, DKIM_PUBLIC_MAX = 800,
	DKIM_RETIRED_DAYS = 14,  /* a queue tries for 5 days, and mail waits elsewhere, too */
};
enum dkim_state { DKIM_WAITS = 1, DKIM_SIGNS, DKIM_RETIRED };
struct dkim_key {
	enum dkim_algorithm algorithm;
	enum dkim_state     state;
	struct str          domain, selector;
	struct str          public_key;   /* as dkim_public_bytes() gives it */
	int64_t             since_s;      /* in this state */
};

enum dkim_op { DKIM_MAKE = 1, DKIM_LIST, DKIM_ROTATE, DKIM_ACTIVATE, DKIM_FORGET, DKIM_WAITING, DKIM_OP_COUNT };
struct dkim_command {
	enum dkim_op op;
	struct str   domain;              /* A-labels, lower case */
	struct str   selector;
};
void put_dkim_command(struct buf *b, const struct dkim_command *c);
bool get_dkim_command(struct scan *s, struct dkim_command *c);

struct dkim_keys {
	struct dkim_key *list;            /* by algorithm, newest first */
	size_t           count;
};
void put_dkim_keys(struct buf *b, const struct dkim_keys *k);
/* The array lives in the arena, strings are views into the message. False: malformed. */
bool get_dkim_keys(struct scan *s, struct arena *a, struct dkim_keys *k);
#endif
