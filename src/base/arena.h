/* base/arena.h -- memory with one lifetime: command, session or process. Freed all at once. Not thread-safe. */
#ifndef FACTEUR_BASE_ARENA_H
#define FACTEUR_BASE_ARENA_H
#include "base/err.h"
#include "base/str.h"
#include <stdarg.h>

struct arena_block;
struct arena {  /* all zeros is an empty arena, ready for use */
	struct arena_block *first;
	char               *next, *end;
	size_t              total;  /* bytes handed out since the last reset, for limits and statistics */
};

void *arena_alloc(struct arena *a, size_t n);                       /* zeroed, aligned to 16 */
void *arena_array(struct arena *a, size_t count, size_t size);
/* Grows an array kept in the arena: doubles *cap when n == *cap and copies; the old one stays until reset. */
void *arena_grow(struct arena *a, void *array, size_t n, size_t *cap, size_t size);
struct str str_copy(struct arena *a, struct str s);                 /* the copy is also NUL-terminated */
char *str_cstr(struct arena *a, struct str s);                      /* NUL-terminated copy; an embedded NUL cuts it */
struct str str_lower(struct arena *a, struct str s);                /* ASCII only */
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap);
void arena_reset(struct arena *a);                                  /* keeps one block for the next round */
void arena_wipe(struct arena *a);                                   /* as arena_reset, for what held a password */
void arena_free(struct arena *a);                                   /* for CLEANUP too */
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#endif
