/* base/mem.h -- the only place where malloc appears. Out of memory ends the process: limits, not NULL checks, protect us. */
#ifndef FACTEUR_BASE_MEM_H
#define FACTEUR_BASE_MEM_H
#include <stddef.h>

void *mem_alloc(size_t n) __attribute__((malloc));       /* zeroed; n may be 0 */
void *mem_array(size_t count, size_t size);              /* zeroed; an overflowing product ends the process */
void *mem_resize(void *p, size_t n);                     /* new bytes are not zeroed */
char *mem_strdup(const char *s);
void  mem_free(void *p);                                 /* NULL is fine */
void  mem_wipe(void *p, size_t n);                       /* never optimised away; for secrets */
/* Once, at the start: all threads of this process share one heap. For processes of which there are many: each heap of its own keeps
 * what its thread once needed, and grows by a page and a call of the kernel at a time. */
void  mem_one_heap(void);
/* What the heap does not use goes back to the kernel; some milliseconds. */
void  mem_trim(void);
#define MEM_NEW(type) ((type *)mem_alloc(sizeof(type)))
#endif
