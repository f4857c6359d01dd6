/* auth/verifier_private.h -- what verifier.c, verifier_bearer.c, verifier_certificate.c and verifier_command.c share. */
#ifndef FACTEUR_AUTH_VERIFIER_PRIVATE_H
#define FACTEUR_AUTH_VERIFIER_PRIVATE_H
#include "auth/hasher.h"
#include "auth/missing_key.h"
#include "auth/remember.h"
#include "auth/throttle.h"
#include "auth/verifier.h"
#include "base/map.h"

enum { GRANT_LIFE_S = 7 * 86400, EXCHANGES = 512, EXCHANGES_A_NETWORK = 32 };

/* One login on its way through. */
struct ask {
	struct verifier      *v;
	struct arena          arena;
	verifier_done         done;
	void                 *context;
	enum protocol         protocol;
	uint64_t              session;
	struct str            login;
	struct throttle_who   who;
	struct login_account  account;      /* account 0: there is none of this name */
	int64_t               asked_ms;
	uint64_t              changes;
	uint64_t              password_tag;
	struct str            hash;         /* what is being checked; empty if the account has none */
};

/* A SCRAM exchange between its two requests. */
struct exchange {
	uint64_t    scram_id;      /* 0: free */
	const void *asker;
	uint64_t    network;       /* throttle_network() of its client */
	int64_t     at_ms;
	struct ask *ask;
	struct str  client_first_bare, server_first;  /* in the ask's arena */
};

struct verifier {
	struct verifier_options o;
	struct hasher   *hasher;
	struct throttle *throttle;
	struct remember *remember;
	struct map       epochs;            /* account -> epoch told by SECRET_EPOCH, as a pointer-sized number */
	uint64_t         changes;           /* of passwords: a check that began before one is not remembered */
	struct exchange  exchange[EXCHANGES];
	int64_t          flushed_ms;
	struct missing_keys missing;        /* of issuers of tokens */
};

/* A login begins: who is asking, and who is meant (login may be empty: it is found out later). */
struct ask *verifier_ask_new(struct verifier *v, enum protocol protocol, uint64_t session, struct str peer, struct str login);
void verifier_ask_free(struct ask *q);
/* It is about this account. */
void verifier_ask_about(struct ask *q, const struct login_account *account);
bool verifier_is_throttled(struct ask *q, uint32_t *retry_s);
/* How somebody proved who he is, and what that is good for. */
struct proof {
	const char *how;              /* for the log */
	uint32_t    rights;           /* 0: all that the account may */
	uint32_t    app_password_id;  /* 0: none */
	int64_t     life_s;           /* of the grant */
	bool        ends_session;     /* and of the session that it begins */
	uint32_t    token_mark;       /* of a token: issuer_mark() */
};
/* It was right: may it be used? Fills the reply. */
void verifier_judge_right(struct ask *q, const struct proof *how, struct verify_reply *r);
/* It was wrong: counts. tag: the same wrong secret again counts once. */
void verifier_judge_wrong(struct ask *q, enum verify_outcome outcome, const char *why, uint64_t tag, struct verify_reply *r);
#endif
