/* directory/issuer.h -- the issuers whose tokens are believed (OAuth 2: Keycloak, Entra, Authentik …): who they are, for whom their tokens must
 * be, which claim names the account, and the public keys they sign with. Nothing in it is secret. */
#ifndef FACTEUR_DIRECTORY_ISSUER_H
#define FACTEUR_DIRECTORY_ISSUER_H
#include "base/arena.h"
#include "base/wire.h"

enum { ISSUERS_MAX = 16, ISSUER_KEYS_MAX = 20, ISSUER_TEXT_MAX = 255, ISSUER_KID_MAX = 256, ISSUER_KEY_MAX = 700,
       ISSUER_URL_MAX = 2000, ISSUER_WHY_MAX = 1000 };

struct issuer_key {
	struct str kid;          /* its name in the header of a token; empty: it has none */
	struct str public_der;   /* crypto/public_key.h */
};
/* What went wrong when keys were fetched. Kept: append only. */
enum issuer_fault {
	ISSUER_FINE, ISSUER_NO_ANSWER, ISSUER_STATUS, ISSUER_NO_DOCUMENT, ISSUER_OTHER, ISSUER_NO_KEYS_URL, ISSUER_KEYS_BAD, ISSUER_KEYS_NONE, ISSUER_KEYS_SECRET,
	ISSUER_KEYS_MANY, ISSUER_FAULT_COUNT
};
struct issuer_source {
	bool       is_fetched;   /* from where the issuer publishes them; else they are given by hand, and all below is empty */
	struct str url;          /* where they were last: its jwks_uri */
	int64_t    fetched_s;    /* when the issuer last gave its keys, changed or not */
	int64_t    tried_s;      /* when it was last asked */
	enum issuer_fault fault; /* what came of that */
	struct str asked, why;   /* what was asked, and what there is to say about it: a reason, a status, another issuer */
};
struct issuer {
	struct str name;         /* the claim "iss", exactly: "https://id.example.org/realms/mail" */
	struct str audience;     /* one that a token must be for (the claim "aud") */
	struct str claim;        /* the claim that holds the address: "email" */
	struct str domain;       /* only for accounts of this domain (as directory_domain_parse() gives it); empty: of every one */
	struct issuer_key *keys;
	size_t     key_count;
	int64_t    changed_s;    /* since when it has these keys */
	struct issuer_source source;
};

/* Are its keys to be fetched (again)? An hour after the last look, ten minutes after one that went wrong; five minutes if a token names a key that is not
 * among them: so often at most, whatever tokens strangers make up. */
bool issuer_is_due(const struct issuer *i, bool is_key_missing, int64_t now_s);

/* What lets a token in: the issuer, what is asked of its tokens, and one of its keys. Not 0; the same in every process. */
uint32_t issuer_mark(const struct issuer *i, const struct issuer_key *k);

/* All but the source. */
void put_issuer(struct buf *b, const struct issuer *i);
/* Views the message; the keys are in the arena. Fails the scan on what is no issuer. */
struct issuer get_issuer(struct scan *s, struct arena *a);

/* ---- the table, in directory.db */
struct directory;
enum err issuer_set(struct directory *d, const struct issuer *i) MUST_CHECK;       /* replaces; ERR_LIMIT: ISSUERS_MAX */
/* Only its source, which is not published. ERR_NOTFOUND. */
enum err issuer_note(struct directory *d, struct str name, const struct issuer_source *source) MUST_CHECK;
enum err issuer_get(struct directory *d, struct str name, struct arena *a, struct issuer *out) MUST_CHECK;   /* ERR_NOTFOUND */
enum err issuer_remove(struct directory *d, struct str name) MUST_CHECK;           /* ERR_NOTFOUND */
enum err issuer_list(struct directory *d, struct arena *a, struct issuer **out, size_t *n) MUST_CHECK;
#endif
