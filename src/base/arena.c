/* An arena is a list of blocks, newest first; allocation moves a pointer. A reset keeps the newest block if it is small. Most arenas live
 * for one small request, so the first block has a size that malloc keeps at hand for each thread (1,032 bytes and less in glibc). */
#include "base/arena.h"
#include "base/mem.h"
#include <assert.h>
#include <stdio.h>

enum { FIRST_SIZE = 1008, BLOCK_SIZE = 4096 - 32, KEEP_MAX = 65536 };

struct arena_block {
	struct arena_block *next;
	size_t              size;
	_Alignas(16) char   data[];
};

void *arena_alloc(struct arena *a, size_t n)
{
	size_t room = (n + 15) & ~(size_t)15;

	assert(room >= n);
	if ((size_t)(a->end - a->next) < room || a->next == NULL) {
		size_t least = a->first == NULL ? FIRST_SIZE : BLOCK_SIZE, size = room > least ? room : least;
		struct arena_block *b = mem_resize(NULL, sizeof(*b) + size);  /* zeroed piece by piece, as it is handed out */
		b->size = size;
		b->next = a->first;
		a->first = b;
		a->next = b->data;
		a->end = b->data + size;
	}
	void *p = a->next;
	a->next += room;
	a->total += n;
	memset(p, 0, n);
	return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t n;

	assert(!__builtin_mul_overflow(count, size, &n));
	return arena_alloc(a, n);
}

void *arena_grow(struct arena *a, void *array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return array;
	size_t more = *cap ? *cap * 2 : 8;
	void *bigger = arena_array(a, more, size);
	if (n)
		memcpy(bigger, array, n * size);
	*cap = more;
	return bigger;
}

struct str str_copy(struct arena *a, struct str s)
{
	if (s.p == NULL)
		return s;
	char *p = arena_alloc(a, s.n + 1);
	if (s.n)
		memcpy(p, s.p, s.n);
	return (struct str){ p, s.n };
}

char *str_cstr(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	if (s.n)
		memcpy(p, s.p, s.n);
	return p;
}

struct str str_lower(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = chr_lower(s.p[i]);
	return (struct str){ p, s.n };
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	assert(n >= 0);
	char *p = arena_alloc(a, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return (struct str){ p, (size_t)n };
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct str s = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}

static void free_from(struct arena_block *b)
{
	while (b) {
		struct arena_block *next = b->next;
		mem_free(b);
		b = next;
	}
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = a->first;

	if (keep && keep->size > KEEP_MAX) {
		arena_free(a);
		return;
	}
	if (keep) {
		free_from(keep->next);
		keep->next = NULL;
		a->next = keep->data;
		a->end = keep->data + keep->size;
	}
	a->total = 0;
}

void arena_wipe(struct arena *a)
{
	for (struct arena_block *b = a->first; b; b = b->next)
		mem_wipe(b->data, b->size);
	arena_reset(a);
}

void arena_free(struct arena *a)
{
	free_from(a->first);
	*a = (struct arena){ 0 };
}
