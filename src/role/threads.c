/* Roles as threads. Master and nursery each wait for "their children": what waitpid is for processes are two lists here, with an
 * eventfd each in the place of SIGCHLD. */
#include "role/threads.h"
#include "base/log.h"
#include "base/mem.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ended { int number, code; struct ended *next; };

struct kind {
	int             fd;
	struct ended   *ended;
	pthread_mutex_t lock;
};
static struct kind role_kind = { -1, NULL, PTHREAD_MUTEX_INITIALIZER }, cell_kind = { -1, NULL, PTHREAD_MUTEX_INITIALIZER };
static const char *data_dir;  /* NULL: processes */
static _Atomic int last_number;

struct thread {
	int               number;
	struct kind      *kind;
	struct role_start role;
	struct cell_start cell;
};

void threads_use(const char *dir)
{
	data_dir = dir;
	role_kind.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cell_kind.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

bool threads_are_used(void) { return data_dir != NULL; }
int threads_role_fd(void) { return role_kind.fd; }
int threads_cell_fd(void) { return cell_kind.fd; }

static void *run(void *context)
{
	struct thread *t = context;
	struct ended *e = MEM_NEW(struct ended);
	uint64_t one = 1;

	e->number = t->number;
	e->code = t->kind == &cell_kind ? role_cell(&t->cell) : role_run(&t->role);
	pthread_mutex_lock(&t->kind->lock);
	e->next = t->kind->ended;
	t->kind->ended = e;
	pthread_mutex_unlock(&t->kind->lock);
	if (write(t->kind->fd, &one, sizeof(one)) < 0)
		log_errno("write", "eventfd");
	mem_free(t);
	return NULL;
}

static int start(struct thread *t)
{
	pthread_attr_t attr;
	pthread_t id;

	t->number = ++last_number;
	int number = t->number;  /* t may be gone when pthread_create returns */
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int failed = pthread_create(&id, &attr, run, t);
	pthread_attr_destroy(&attr);
	if (failed) {
		log_error("no thread could be made error=%d", failed);
		mem_free(t);
		return -1;
	}
	return number;
}

int threads_start_role(enum role role, uint32_t index, int master_fd)
{
	struct thread *t = MEM_NEW(struct thread);

	t->kind = &role_kind;
	t->role = (struct role_start){ .role = role, .index = index, .master_fd = master_fd, .dir = data_dir };
	return start(t);
}

int threads_start_cell(const struct cell_start *cell)
{
	struct thread *t = MEM_NEW(struct thread);

	t->kind = &cell_kind;
	t->cell = *cell;
	return start(t);
}

static int next_ended(struct kind *k, int *code)
{
	uint64_t count;

	if (read(k->fd, &count, sizeof(count)) < 0)
		count = 0;  /* nothing new; the list says the rest */
	pthread_mutex_lock(&k->lock);
	struct ended *e = k->ended;
	if (e)
		k->ended = e->next;
	pthread_mutex_unlock(&k->lock);
	if (e == NULL)
		return 0;
	int number = e->number;
	*code = e->code;
	mem_free(e);
	return number;
}

int threads_ended_role(int *code) { return next_ended(&role_kind, code); }
int threads_ended_cell(int *code) { return next_ended(&cell_kind, code); }
