/* imap/cell_test.h -- a guest whose session is where it is in earnest: in the cell of his own account, which passes his commands on
 * to the owner's (imap/remote.c). That one, of a@x, is here what it is to him: a pool of threads that takes his visits (net/attach.h). */
#ifndef FACTEUR_IMAP_CELL_TEST_H
#define FACTEUR_IMAP_CELL_TEST_H
#include "base/clock.h"
#include "base/test.h"
#include "imap/engine.h"
#include "net/attach.h"
#include "store/view.h"
#include "submit/account.h"
#include <pthread.h>
#include <sys/socket.h>

enum { OWNER = 1, CELL_THREADS = 4 };

struct elsewhere {
	struct account   account;    /* the guest's */
	const char      *dir;
	struct others    others;
	struct account  *owner;
	struct pool     *pool;       /* the threads of the owner's cell */
	struct attached *attached;
	pthread_t        thread;
};

static void alarm_rings(void *context)
{
	struct elsewhere *e = context;
	int64_t next = attached_tick(e->attached, clock_mono_ms());

	if (next != 0)
		pool_alarm(e->pool, next);
}

static enum err no_grant(UNUSED void *context, UNUSED const struct grant *g, UNUSED bool goes_on) { return ERR_DENIED; }
static void ignore_parked(UNUSED void *context, UNUSED bool wants_news) { }
static void ignore_told(UNUSED void *context) { }

static void *run_pool(void *context)
{
	pool_run(((struct elsewhere *)context)->pool);
	return NULL;
}

static void open_cell(struct elsewhere *e)
{
	static const struct engine *const engines[] = { &imap_engine, NULL };
	const struct attach_host host = { e->owner, e, engines, no_grant, ignore_parked, ignore_told };

	e->pool = pool_new(CELL_THREADS, alarm_rings, e);
	e->attached = attached_new(e->pool, &host);
	assert_int_equal(pthread_create(&e->thread, NULL, run_pool, e), 0);
}

static void close_cell(struct elsewhere *e)
{
	pool_stop(e->pool);
	pthread_join(e->thread, NULL);
	attached_free(e->attached);
	pool_free(e->pool);
}

static enum err find_owner(UNUSED void *context, struct str address, UNUSED struct arena *a, struct share_owner *out)
{
	*out = (struct share_owner){ OWNER, address };
	return str_eq(address, STR("a@x")) ? ERR_OK : ERR_NOTFOUND;
}

static enum err list_owner(UNUSED void *context, struct arena *a, struct share_owner **out, size_t *n)
{
	*out = arena_array(a, 1, sizeof **out);
	**out = (struct share_owner){ OWNER, STR("a@x") };
	*n = 1;
	return ERR_OK;
}

static enum err visit_owner(void *context, uint64_t owner, int *fd)
{
	struct elsewhere *e = context;
	int pair[2];

	assert_int_equal(owner, OWNER);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	attached_take_guest(e->attached, pair[1], e->account.account);
	*fd = pair[0];
	return ERR_OK;
}

static void begin_elsewhere(struct elsewhere *e, struct account *owner, uint64_t guest)
{
	e->owner = owner;
	e->dir = test_dir();
	e->others = (struct others){ .find = find_owner, .list = list_owner, .visit = visit_owner, .context = e };
	e->account = (struct account){ .account = guest, .others = &e->others };
	EXPECT_OK(view_open(e->dir, &(struct view_config){ .account = guest }, &e->account.view));
}

static void end_elsewhere(struct elsewhere *e)
{
	EXPECT_OK(view_close(e->account.view));
	test_dir_remove(e->dir);
}
#endif
