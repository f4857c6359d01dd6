/* queue/handback.h -- the way back from a thread to the loop that owns everything else: what is finished waits in a list, and a
 * descriptor says so. For writer.c and worker.c. */
#ifndef FACTEUR_QUEUE_HANDBACK_H
#define FACTEUR_QUEUE_HANDBACK_H
#include <pthread.h>

struct handed {  /* the first member of what is handed to a thread and back */
	struct handed *next;
};

struct handed_list {  /* in the order of coming; handed_list_init() before use */
	struct handed *first, **end;
};
void handed_list_init(struct handed_list *l);
void handed_list_add(struct handed_list *l, struct handed *h);
struct handed *handed_list_take(struct handed_list *l);   /* the first; NULL: empty */

struct handback {
	pthread_mutex_t    lock;
	struct handed_list finished;
	int                fd;         /* readable: call handback_take() */
};
void handback_init(struct handback *b);
void handback_free(struct handback *b);
/* In the thread: all of l (empty afterwards) is finished. The descriptor becomes readable, also for an empty list. */
void handback_give(struct handback *b, struct handed_list *l);
/* In the loop: everything that came since, for handed_list_take(). */
void handback_take(struct handback *b, struct handed_list *out);
#endif
