/* auth/verifier_private.h -- what verifier.c and verifier_command.c share. */
#ifndef FACTEUR_AUTH_VERIFIER_PRIVATE_H
#define FACTEUR_AUTH_VERIFIER_PRIVATE_H
#include "auth/hasher.h"
#include "auth/remember.h"
#include "auth/throttle.h"
#include "auth/verifier.h"
#include "base/map.h"

enum { EXCHANGES = 512, EXCHANGES_A_NETWORK = 32 };

struct ask;
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
};
#endif
