/* trail/trail_private.h -- how an event is found again (token.c), shared by store.c (writes blocks) and find.c (reads them). */
#ifndef FACTEUR_TRAIL_TRAIL_PRIVATE_H
#define FACTEUR_TRAIL_TRAIL_PRIVATE_H
#include "db/db.h"
#include "trail/store.h"
#include <pthread.h>

/* What may be looked for, as a number. Kept on disk, as filters: the functions never change. */
uint64_t token_of_name(uint32_t log_id_high, uint64_t seq);
uint64_t token_of_message_id(struct str message_id);
uint64_t token_of_received_id(struct str id);
uint64_t token_of_address(struct str address);
uint64_t token_of_domain(struct str domain);
uint64_t token_of_account(uint64_t account);

enum { TOKENS_MAX = 4 * TRAIL_RECIPIENTS_MAX, FILTER_BYTES_MAX = 1 << 20 };
/* All tokens under which an event can be found. */
size_t event_tokens(const struct trail_event *e, uint64_t out[TOKENS_MAX]);

/* A Bloom filter of the tokens, each once. Sorts them. */
void filter_make(uint64_t *tokens, size_t n, struct buf *out);
bool filter_may_have(struct str filter, uint64_t token);

/* The domain of an address, empty if it has none. */
struct str address_domain(struct str address);

/* Two piles: what happened to messages, and what was refused at the door. A stranger can have much of the second noted, and shall
 * not push out the first by it. */
enum pile_kind { PILE_MESSAGES, PILE_REFUSALS, PILES };

struct block {                   /* a block in memory */
	struct block *next;
	struct buf    events;
	int64_t       first_ms, last_ms;   /* when its first and its last event were taken */
};

struct pile {
	struct block *open;              /* being filled */
	size_t        kept;              /* bytes of it that are rows of tail */
	struct block *full, **full_end;  /* to be written, the oldest first */
	size_t        full_bytes;
	uint64_t      file_bytes;        /* of its blocks in the file */
};

struct trail_store {
	struct disk_dir    *dir;
	pthread_mutex_t     file;      /* held first: the connection, and what is in the file */
	struct db          *db;
	int64_t             pruned_ms;
	pthread_mutex_t     memory;    /* held for moments: the piles, the limits */
	struct pile         piles[PILES];
	struct trail_limits limits;
	int64_t             waits_since_ms;   /* -1: nothing waits */
	uint32_t            lost;
};
#endif
