/* Large BINARYMIME messages are encoded anew in a thread, one at a time: 6 ms a MB, for which nobody else on port 25 shall wait, and memory for one
 * of them. They are rare, so there is no thread until one comes, and none afterwards.
 * The thread touches its job's work and the descriptor that says it is done; all else belongs to the loop. */
#include "base/log.h"
#include "base/mem.h"
#include "role/mx_private.h"
#include <assert.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job {
	struct job           *next;
	struct smtpd_rewrite *work;
	void                (*done)(void *context);
	void                 *context;
	int                   event_fd;
};

struct mx_rewriter {
	struct loop   *loop;
	struct loop_fd watch;
	struct job    *first, **end;
	pthread_t      thread;
	bool           is_running;     /* the first is under way, or done and on_done() has not been told */
	bool           has_thread;
};

static void *run(void *context)
{
	struct job *j = context;
	uint64_t one = 1;

	smtpd_rewrite_run(j->work);
	if (write(j->event_fd, &one, sizeof(one)) < 0)
		log_errno("write", "eventfd");
	return NULL;
}

static void start_next(struct mx_rewriter *r)
{
	if (r->is_running || r->first == NULL)
		return;
	r->is_running = true;
	r->has_thread = pthread_create(&r->thread, NULL, run, r->first) == 0;
	if (!r->has_thread)
		run(r->first);  /* no room for a thread: others wait, this once */
}

static void tell_first(struct mx_rewriter *r)
{
	struct job *j = r->first;

	r->first = j->next;
	if (r->first == NULL)
		r->end = &r->first;
	j->done(j->context);
	mem_free(j);
}

static void on_done(void *context, UNUSED unsigned events)
{
	struct mx_rewriter *r = context;
	uint64_t count;

	if (read(r->watch.fd, &count, sizeof(count)) < 0)
		return;
	if (r->has_thread)
		pthread_join(r->thread, NULL);
	r->is_running = r->has_thread = false;
	tell_first(r);
	start_next(r);
}

void mx_rewrite(struct mx *m, struct smtpd_rewrite *work, void (*done)(void *context), void *context)
{
	struct job *j = MEM_NEW(struct job);

	if (m->rewriter == NULL) {
		struct mx_rewriter *r = m->rewriter = MEM_NEW(struct mx_rewriter);
		*r = (struct mx_rewriter){ .loop = m->loop, .watch = { .ready = on_done, .context = r, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) } };
		assert(r->watch.fd >= 0);
		r->end = &r->first;
		loop_watch(m->loop, &r->watch, LOOP_READ);
	}
	*j = (struct job){ .work = work, .done = done, .context = context, .event_fd = m->rewriter->watch.fd };
	*m->rewriter->end = j;
	m->rewriter->end = &j->next;
	start_next(m->rewriter);
}

void mx_rewrite_end(struct mx *m)
{
	struct mx_rewriter *r = m->rewriter;

	if (r == NULL)
		return;
	if (r->has_thread)
		pthread_join(r->thread, NULL);
	while (r->first)
		tell_first(r);
	loop_unwatch(r->loop, &r->watch);
	fd_close(&r->watch.fd);
	mem_free(r);
	m->rewriter = NULL;
}
