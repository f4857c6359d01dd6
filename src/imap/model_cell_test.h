/* imap/model_cell_test.h -- a guest of the model whose session is where it is in earnest: in the cell of his own account, which passes his commands on
 * to the owner's (imap/remote.c). That one is here what it is to him: a pool of threads that takes his visits (net/attach.h). */
#ifndef FACTEUR_IMAP_MODEL_CELL_TEST_H
#define FACTEUR_IMAP_MODEL_CELL_TEST_H
#include "base/clock.h"
#include "imap/model_told_test.h"
#include <sys/socket.h>

enum { OWNER = 1, CELL_THREADS = 4 };

static void alarm_rings(void *context)
{
	struct play *p = context;
	int64_t next = attached_tick(p->attached, clock_mono_ms());

	if (next != 0)
		pool_alarm(p->pool, next);
}

static enum err no_grant(UNUSED void *context, UNUSED const struct grant *g, UNUSED bool goes_on) { return ERR_DENIED; }
static void ignore_parked(UNUSED void *context, UNUSED bool wants_news) { }
static void ignore_told(UNUSED void *context) { }

static void *run_pool(void *context)
{
	pool_run(((struct play *)context)->pool);
	return NULL;
}

static void open_cell(struct play *p)
{
	static const struct engine *const engines[] = { &imap_engine, NULL };
	const struct attach_host host = { &p->account, p, engines, no_grant, ignore_parked, ignore_told };

	if (!p->has_elsewhere)
		return;
	p->pool = pool_new(CELL_THREADS, alarm_rings, p);
	p->attached = attached_new(p->pool, &host);
	assert_int_equal(pthread_create(&p->thread, NULL, run_pool, p), 0);
}

static void close_cell(struct play *p)
{
	if (!p->has_elsewhere)
		return;
	pool_stop(p->pool);
	pthread_join(p->thread, NULL);
	attached_free(p->attached);
	pool_free(p->pool);
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
	struct play *p = context;
	int pair[2];

	EXPECT_INT(owner, OWNER);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	attached_take_guest(p->attached, pair[1], GUEST);
	*fd = pair[0];
	return ERR_OK;
}

static void begin_elsewhere(struct play *p)
{
	if (!p->has_elsewhere)
		return;
	p->elsewhere_dir = test_dir();
	p->others = (struct others){ .find = find_owner, .list = list_owner, .visit = visit_owner, .context = p };
	p->elsewhere = (struct account){ .account = GUEST, .others = &p->others };
	EXPECT_OK(view_open(p->elsewhere_dir, &(struct view_config){ .account = GUEST }, &p->elsewhere.view));
}

static void end_elsewhere(struct play *p)
{
	if (!p->has_elsewhere)
		return;
	EXPECT_OK(view_close(p->elsewhere.view));
	test_dir_remove(p->elsewhere_dir);
}
#endif
