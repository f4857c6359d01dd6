/* store/gist_private.h -- gists between gist.c (made, kept in memory) and gist_table.c (kept on disk). */
#ifndef FACTEUR_STORE_GIST_PRIVATE_H
#define FACTEUR_STORE_GIST_PRIVATE_H
#include "store/gist.h"
#include "store/store_private.h"

enum { GIST_BLOCK = 256, GISTS_BATCH = 1000 };

struct kept {
	int64_t  sent, received;
	uint64_t size, id;
	uint32_t email;
	uint16_t ends[GIST_TEXTS];   /* of the texts, counted from the first */
	uint8_t  has;                /* GIST_SENT | GIST_TEXT(…) */
	uint8_t  n_references;
	bool     knows_references, is_reply;
	uint64_t references[];       /* and behind them the texts */
};

enum { BLOCK_WAS_READ = 1, BLOCK_IS_NEW = 2 };   /* the table was asked for it; something of it is not in the table */

struct gists {
	struct arena  arena;
	struct kept **table;         /* by email, open addressing, a power of two; at most half full */
	size_t        n, cap, most;  /* most: bytes of the arena */
	int64_t       used_ms, full_ms;   /* full_ms 0: it is not */
	uint8_t      *blocks;        /* by email / GIST_BLOCK */
	size_t        n_blocks, n_new;
};

/* gist.c, all under the gists lock. */
void gists_begin(struct view *v);   /* makes an empty one if there is none */
void gist_keep(struct gists *all, const struct gist *g, unsigned has);
const struct kept *gist_kept(const struct gists *all, uint32_t email);   /* NULL: it is not */

/* gist_table.c */
/* Reads what the table may have of these emails, once; false: nothing more is kept than before. Takes the locks. */
bool gists_read(struct view *v, const uint32_t *emails, const uint32_t *which, size_t n);
void gists_note_new(struct view *v, uint32_t email);                     /* the gists lock is held */
#endif
