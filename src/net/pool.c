/* Threads that wait on one epoll set.
 *
 * EPOLLONESHOT gives a ready descriptor to one thread. pool_kick() re-arms a waiting source from outside, so the same event can
 * reach two threads: the state below, changed under the lock, lets only the first run it. Sources are found by number, not by
 * pointer, because a late event may name one that has just ended. */
#include "net/pool.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { STACK_SIZE = 256 * 1024, SOURCE_ALARM = 1, SOURCE_STOP = 2, SOURCE_FIRST = 16 };

struct source {
	uint64_t   number;
	int        fd;
	pool_ready ready;
	void      *context;
	bool       is_running, is_kicked, is_held;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t  ended;
	struct map      sources;
	uint64_t        next_number;
	int             epoll_fd, alarm_fd, stop_fd;
	int64_t         alarm_at;   /* 0: none */
	int             threads, threads_max, idle;
	bool            is_stopping;
	void          (*on_alarm)(void *context);
	void           *context;
};

static void arm(struct pool *p, int op, int fd, uint64_t number, uint32_t events)
{
	struct epoll_event ev = { .events = events | EPOLLONESHOT, .data = { .u64 = number } };

	if (epoll_ctl(p->epoll_fd, op, fd, &ev) < 0 && errno != ENOENT && errno != EBADF)
		log_errno("epoll_ctl", "pool");
}

struct pool *pool_new(int threads_max, void (*on_alarm)(void *context), void *context)
{
	struct pool *p = MEM_NEW(struct pool);

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->ended, NULL);
	p->next_number = SOURCE_FIRST;
	p->threads_max = threads_max;
	p->on_alarm = on_alarm;
	p->context = context;
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	arm(p, EPOLL_CTL_ADD, p->alarm_fd, SOURCE_ALARM, EPOLLIN);
	struct epoll_event ev = { .events = EPOLLIN, .data = { .u64 = SOURCE_STOP } };  /* wakes every thread */
	epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->stop_fd, &ev);
	return p;
}

void pool_free(struct pool *p)
{
	size_t at = 0;
	void *v;

	while (map_next(&p->sources, &at, NULL, &v))
		mem_free(v);
	map_free(&p->sources);
	fd_close(&p->epoll_fd);
	fd_close(&p->alarm_fd);
	fd_close(&p->stop_fd);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->ended);
	mem_free(p);
}

uint64_t pool_add(struct pool *p, int fd, pool_ready ready, void *context)
{
	struct source *s = MEM_NEW(struct source);

	pthread_mutex_lock(&p->lock);
	uint64_t number = p->next_number++;
	*s = (struct source){ .number = number, .fd = fd, .ready = ready, .context = context };
	map_set_u64(&p->sources, number, s);
	arm(p, EPOLL_CTL_ADD, fd, number, EPOLLIN);
	pthread_mutex_unlock(&p->lock);
	return number;
}

void pool_kick(struct pool *p, uint64_t number)
{
	pthread_mutex_lock(&p->lock);
	struct source *s = map_get_u64(&p->sources, number);
	if (s) {
		s->is_kicked = true;
		if (!s->is_running)
			arm(p, EPOLL_CTL_MOD, s->fd, number, EPOLLIN | EPOLLOUT);
	}
	pthread_mutex_unlock(&p->lock);
}

/* Nothing is armed while it runs, and it is armed again by whoever runs it. With nobody at the set there is nobody to be woken. */
void pool_hold(struct pool *p, uint64_t number, bool is_held)
{
	pthread_mutex_lock(&p->lock);
	struct source *s = map_get_u64(&p->sources, number);
	if (s != NULL && s->is_held != is_held && !s->is_running && (!is_held || p->idle > 0)) {
		s->is_held = is_held;
		arm(p, EPOLL_CTL_MOD, s->fd, number, is_held ? 0 : EPOLLIN);
	}
	pthread_mutex_unlock(&p->lock);
}

void pool_alarm(struct pool *p, int64_t at)
{
	pthread_mutex_lock(&p->lock);
	if (p->alarm_at == 0 || at < p->alarm_at) {
		struct itimerspec t = { .it_value = { at / 1000, at % 1000 * 1000000 + 1 } };
		p->alarm_at = at;
		timerfd_settime(p->alarm_fd, TFD_TIMER_ABSTIME, &t, NULL);
	}
	pthread_mutex_unlock(&p->lock);
}

static void run_alarm(struct pool *p)
{
	uint64_t ignored;
	ssize_t n = read(p->alarm_fd, &ignored, sizeof(ignored));

	(void)n;
	pthread_mutex_lock(&p->lock);
	bool is_due = p->alarm_at && clock_mono_ms() >= p->alarm_at;
	if (is_due)
		p->alarm_at = 0;
	pthread_mutex_unlock(&p->lock);
	if (is_due)
		p->on_alarm(p->context);
	arm(p, EPOLL_CTL_MOD, p->alarm_fd, SOURCE_ALARM, EPOLLIN);
}

static void run_source(struct pool *p, uint64_t number)
{
	pthread_mutex_lock(&p->lock);
	struct source *s = map_get_u64(&p->sources, number);
	if (s == NULL || s->is_running) {
		pthread_mutex_unlock(&p->lock);
		return;
	}
	s->is_running = true;
	s->is_kicked = false;
	pthread_mutex_unlock(&p->lock);

	enum pool_next next = s->ready(s->context);

	pthread_mutex_lock(&p->lock);
	s->is_running = s->is_held = false;
	if (next == POOL_ARM) {
		arm(p, EPOLL_CTL_MOD, s->fd, number, s->is_kicked ? EPOLLIN | EPOLLOUT : EPOLLIN);
	} else {
		map_set_u64(&p->sources, number, NULL);
		mem_free(s);
	}
	pthread_mutex_unlock(&p->lock);
}

static void work(struct pool *p)
{
	for (;;) {
		struct epoll_event ev;
		pthread_mutex_lock(&p->lock);
		bool stop = p->is_stopping;
		p->idle++;
		pthread_mutex_unlock(&p->lock);
		if (stop)
			return;
		int n = epoll_wait(p->epoll_fd, &ev, 1, -1);
		pthread_mutex_lock(&p->lock);
		p->idle--;
		pthread_mutex_unlock(&p->lock);
		if (n <= 0 || ev.data.u64 == SOURCE_STOP)
			continue;
		if (ev.data.u64 == SOURCE_ALARM)
			run_alarm(p);
		else
			run_source(p, ev.data.u64);
	}
}

static void *thread_main(void *pool)
{
	struct pool *p = pool;

	work(p);
	pthread_mutex_lock(&p->lock);
	p->threads--;
	pthread_cond_broadcast(&p->ended);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_threads_max(const struct pool *p) { return p->threads_max; }

void pool_will_wait(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	bool more = p->idle == 0 && p->threads < p->threads_max && !p->is_stopping;
	if (more)
		p->threads++;
	pthread_mutex_unlock(&p->lock);
	if (!more)
		return;
	pthread_attr_t attr;
	pthread_t t;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, thread_main, p) != 0) {
		pthread_mutex_lock(&p->lock);
		p->threads--;
		pthread_mutex_unlock(&p->lock);
	}
	pthread_attr_destroy(&attr);
}

void pool_run(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->threads++;
	pthread_mutex_unlock(&p->lock);
	work(p);
	pthread_mutex_lock(&p->lock);
	p->threads--;
	while (p->threads > 0)
		pthread_cond_wait(&p->ended, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

void pool_stop(struct pool *p)
{
	uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	pthread_mutex_unlock(&p->lock);
	ssize_t n = write(p->stop_fd, &one, sizeof(one));
	(void)n;
}
