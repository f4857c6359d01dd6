/* base/map.h -- a hash table from bytes or a 64-bit number to a pointer. Keys are copied. Not thread-safe. */
#ifndef FACTEUR_BASE_MAP_H
#define FACTEUR_BASE_MAP_H
#include "base/str.h"

struct map_slot;
struct map {  /* all zeros is an empty map */
	struct map_slot *slots;
	size_t           cap, n, used;
};

void *map_get(const struct map *m, struct str key);           /* NULL if absent */
void  map_set(struct map *m, struct str key, void *value);    /* value NULL removes */
void *map_get_u64(const struct map *m, uint64_t key);
void  map_set_u64(struct map *m, uint64_t key, void *value);
/* Walks all: start with *at = 0; false at the end. Removing the current entry is allowed, adding is not. */
bool  map_next(const struct map *m, size_t *at, struct str *key, void **value);
static inline uint64_t map_key_u64(struct str key) { uint64_t v; memcpy(&v, key.p, 8); return v; }
void  map_free(struct map *m);
#endif
