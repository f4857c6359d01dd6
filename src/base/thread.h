/* base/thread.h -- a thread without which its process is of no use. */
#ifndef FACTEUR_BASE_THREAD_H
#define FACTEUR_BASE_THREAD_H
#include <pthread.h>

/* Begins run(context). Where that is not possible it is said, with what to do, and the process ends with 1, as it ends where there is no
 * memory (base/mem.h): one that goes on without its thread waits for it for ever. */
void thread_begin(pthread_t *out, void *(*run)(void *context), void *context);
#endif
