/* store/digest.h -- what the store reads out of a message when it comes in, once: its summary and what threads it. */
#ifndef FACTEUR_STORE_DIGEST_H
#define FACTEUR_STORE_DIGEST_H
#include "base/arena.h"
#include "base/err.h"

enum { DIGEST_REFERENCES = 8 };

struct digest {
	struct str record;                          /* mime/summary.h; in the arena */
	uint64_t
		references[DIGEST_REFERENCES]; /* hash(id, base subject): ids it names, nearest first; its own is the last */
	size_t     n_references;
};

/* Never fails: any bytes are a message of some kind. */
void digest_message(struct str message, struct arena *a, struct digest *out);
#endif
