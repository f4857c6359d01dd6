/* directory/issuer.h -- the issuers whose tokens are believed (OAuth 2: Keycloak, Entra, Authentik …): who they are, for whom their tokens must
 * be, which claim names the account, and the public keys they sign with. Nothing in it is secret. */
#ifndef FACTEUR_DIRECTORY_ISSUER_H
#define FACTEUR_DIRECTORY_ISSUER_H
#include "base/arena.h"
#include "base/wire.h"

enum { ISSUERS_MAX = 16, ISSUER_KEYS_MAX = 20, ISSUER_TEXT_MAX = 255, ISSUER_KID_MAX = 256, ISSUER_KEY_MAX = 700 };

struct issuer_key {
	struct str kid;          /* its name in the header of a token; empty: it has none */
	struct str public_der;   /* crypto/public_key.h */
};
struct issuer {
	struct str name;         /* the claim "iss", exactly: "https://id.example.org/realms/mail" */
	struct str audience;     /* one that a token must be for (the claim "aud") */
	struct str claim;        /* the claim that holds the address: "email" */
	struct str domain;       /* only for accounts of this domain (as directory_domain_parse() gives it); empty: of every one */
	struct issuer_key *keys;
	size_t     key_count;
	int64_t    changed_s;    /* when its keys were given */
};

void put_issuer(struct buf *b, const struct issuer *i);
/* Views the message; the keys are in the arena. Fails the scan on what is no issuer. */
struct issuer get_issuer(struct scan *s, struct arena *a);

/* ---- the table, in directory.db */
struct directory;
enum err issuer_set(struct directory *d, const struct issuer *i) MUST_CHECK;       /* replaces; ERR_LIMIT: ISSUERS_MAX */
enum err issuer_remove(struct directory *d, struct str name) MUST_CHECK;           /* ERR_NOTFOUND */
enum err issuer_list(struct directory *d, struct arena *a, struct issuer **out, size_t *n) MUST_CHECK;
#endif
