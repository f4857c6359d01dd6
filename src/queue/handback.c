/* A list of its own, with a lock of its own: the loop that is woken by the descriptor finds neither held by the thread that woke it, so
 * nobody is put to sleep a second time. Measured with one sender: half of the futex calls of the role were such collisions. */
#include "queue/handback.h"
#include "base/err.h"
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

void handed_list_init(struct handed_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

void handed_list_add(struct handed_list *l, struct handed *h)
{
	h->next = NULL;
	*l->end = h;
	l->end = &h->next;
}

struct handed *handed_list_take(struct handed_list *l)
{
	struct handed *h = l->first;

	if (h != NULL) {
		l->first = h->next;
		if (l->first == NULL)
			l->end = &l->first;
	}
	return h;
}

/* Puts all of from behind what is in to. */
static void move_all(struct handed_list *to, struct handed_list *from)
{
	if (from->first == NULL)
		return;
	*to->end = from->first;
	to->end = from->end;
	handed_list_init(from);
}

void handback_init(struct handback *b)
{
	pthread_mutex_init(&b->lock, NULL);
	handed_list_init(&b->finished);
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void handback_free(struct handback *b)
{
	fd_close(&b->fd);
	pthread_mutex_destroy(&b->lock);
}

void handback_give(struct handback *b, struct handed_list *l)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&b->lock);
	move_all(&b->finished, l);
	pthread_mutex_unlock(&b->lock);
	(void)!write(b->fd, &one, sizeof one);
}

void handback_take(struct handback *b, struct handed_list *out)
{
	uint64_t ignored;

	(void)!read(b->fd, &ignored, sizeof ignored);
	handed_list_init(out);
	pthread_mutex_lock(&b->lock);
	move_all(out, &b->finished);
	pthread_mutex_unlock(&b->lock);
}
