/* malloc with one answer to "no memory": the end of the process. Whatever was answered with 250 or OK is on disk. */
#include "base/mem.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *checked(void *p)
{
	if (p == NULL) {
		static const char text[] = "facteur: out of memory\n";
		ssize_t ignored = write(2, text, sizeof(text) - 1);
		(void)ignored;
		abort();
	}
	return p;
}

void *mem_alloc(size_t n) { return checked(calloc(1, n ? n : 1)); }
void *mem_array(size_t count, size_t size) { return checked(calloc(count ? count : 1, size ? size : 1)); }
void *mem_resize(void *p, size_t n) { return checked(realloc(p, n ? n : 1)); }
char *mem_strdup(const char *s) { return checked(strdup(s)); }
void mem_free(void *p) { free(p); }

void mem_one_heap(void) { mallopt(M_ARENA_MAX, 1); }
void mem_trim(void) { malloc_trim(0); }

void mem_wipe(void *p, size_t n)
{
	if (n > 0)  /* an empty buffer has no address */
		explicit_bzero(p, n);
}
