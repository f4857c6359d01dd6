/* A message as a server without 8BITMIME can take it: how it is encoded is planned once for all hosts that are tried (mime/downgrade.h).
 *
 * The plan reads the whole message, 20 ms for a megabyte: in the loop, a message of 64 MB would keep every other one waiting for a second and
 * more. So what comes in a file, which is what is larger than a megabyte, is planned by a thread; its connection waits meanwhile, and
 * job_ready() comes again. The plan owns all that the thread touches: a job that ends before leaves it behind. */
#include "deliver/outbound_private.h"
#include "base/log.h"
#include "queue/worker.h"
#include <sys/mman.h>

struct outbound_plan {
	struct job            job;      /* first */
	struct outbound_job  *owner;    /* NULL: it is gone, and nobody waits */
	bool                  is_done;
	struct arena          arena;
	struct str            message;  /* in memory of the owner, or mapped here */
	bool                  is_mapped;
	struct mime_downgrade ascii;
	enum downgrade_outcome outcome;
};

static void plan_free(struct outbound_plan *p)
{
	if (p->is_mapped)
		munmap((void *)(uintptr_t)p->message.p, p->message.n);
	arena_free(&p->arena);
	mem_free(p);
}

static void run(struct job *job)
{
	struct outbound_plan *p = (struct outbound_plan *)job;

	p->outcome = mime_downgrade(&p->arena, p->message, &p->ascii);
}

/* The connection that waits may be another one than at the beginning, or still be sought. */
static void done(struct job *job)
{
	struct outbound_plan *p = (struct outbound_plan *)job;
	struct outbound_job *j = p->owner;

	p->is_done = true;
	if (j == NULL)
		plan_free(p);
	else if (j->connection && j->connection->state == CONNECTION_TALKING && smtp_sender_state(j->connection->sender) == SMTP_SENDER_READY)
		job_ready(j);
}

static void on_planned(void *context, UNUSED unsigned events) { worker_receive(((struct outbound *)context)->worker); }

static void give_to_worker(struct outbound *r, struct outbound_plan *p)
{
	p->job = (struct job){ .run = run, .done = done };
	if (r->worker == NULL) {
		r->worker = worker_new();
		r->planned = (struct loop_fd){ .ready = on_planned, .context = r, .fd = worker_fd(r->worker) };
		loop_watch(r->loop, &r->planned, LOOP_READ);
	}
	worker_add(r->worker, &p->job);
}

/* False: it cannot be read (logged). */
static bool map_file(const struct send *s, struct outbound_plan *p)
{
	/* the size of its file (queue/send.h), which nobody changes */
	void *m = mmap(NULL, (size_t)s->size, PROT_READ, MAP_PRIVATE, s->fd, 0);

	if (m == MAP_FAILED) {
		(void)log_errno("mmap", "message to send");
		return false;
	}
	p->message = str_make(m, (size_t)s->size);
	p->is_mapped = true;
	return true;
}

enum err plan_ascii(struct outbound_job *j)
{
	const struct send *s = &j->in.send;

	if (j->plan)
		return j->plan->is_done ? ERR_OK : ERR_AGAIN;
	struct outbound_plan *p = MEM_NEW(struct outbound_plan);
	p->owner = j;
	p->message = str_make(s->body.p, (size_t)s->size);
	if (s->body.p == NULL && s->size > 0 && !map_file(s, p)) {
		plan_free(p);
		return ERR_IO;
	}
	j->plan = p;
	if (p->is_mapped) {
		give_to_worker(j->outbound, p);
		return ERR_AGAIN;
	}
	run(&p->job);
	p->is_done = true;
	return ERR_OK;
}

enum downgrade_outcome plan_outcome(const struct outbound_job *j) { return j->plan->outcome; }
uint64_t plan_size(const struct outbound_job *j) { return j->plan->ascii.size; }
void plan_read(struct outbound_job *j, uint64_t offset, char *room, size_t n) { mime_downgrade_read(&j->plan->ascii, offset, room, n); }

void plan_release(struct outbound_job *j)
{
	if (j->plan && j->plan->is_done)
		plan_free(j->plan);
	else if (j->plan)
		j->plan->owner = NULL;
	j->plan = NULL;
}

void plan_end(struct outbound *r)
{
	if (r->worker == NULL)
		return;
	loop_unwatch(r->loop, &r->planned);
	worker_free(r->worker);
	r->worker = NULL;
}
