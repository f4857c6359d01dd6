/* The event loop of gate and mx.
 *
 * One level-triggered epoll set; timers in a binary heap of pointers whose places are kept in the timers themselves, so that
 * moving or stopping one costs log n. A round: events, then due timers, then deferred tasks. Handlers may free whatever they
 * like: unwatching takes a descriptor's remaining events out of the batch.
 *
 * Channels close their own descriptor when they are lost, at any moment. A closed descriptor has left the epoll set by itself and
 * its number may already belong to somebody else, so a stale one is only forgotten here, never deleted from the set. */
#include "net/loop.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 256, EXPIRE_MS = 1000, CHANNELS_MAX = 64 };

struct watched_channel {
	struct channel *ch;
	struct loop_fd  data, wake;
};

struct loop {
	int                 epoll_fd;
	int64_t             now_ms, expire_at_ms;
	bool                stops;
	struct epoll_event  batch[BATCH];
	int                 batch_at, batch_n;
	struct loop_timer **heap;       /* heap[1] is due first */
	size_t              heap_n, heap_cap;
	struct loop_task   *tasks, **tasks_end;
	struct watched_channel *channels[CHANNELS_MAX];
	size_t              channel_count;
};

struct loop *loop_new(void)
{
	struct loop *l = MEM_NEW(struct loop);

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		log_errno("epoll_create", "loop");
	l->now_ms = clock_mono_ms();
	l->tasks_end = &l->tasks;
	return l;
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	while (l->channel_count)
		loop_forget_channel(l, l->channels[0]->ch);
	for (size_t i = 1; i <= l->heap_n; i++)
		l->heap[i]->place = 0;
	mem_free(l->heap);
	fd_close(&l->epoll_fd);
	mem_free(l);
}

void loop_stop(struct loop *l) { l->stops = true; }
int64_t loop_now_ms(const struct loop *l) { return l->now_ms; }

/* ---- descriptors ---- */

void loop_watch(struct loop *l, struct loop_fd *w, unsigned events)
{
	struct epoll_event ev = { .data = { .ptr = w } };

	if (w->is_watched && w->events == events)
		return;
	ev.events = (events & LOOP_READ ? EPOLLIN | EPOLLRDHUP : 0u) | (events & LOOP_WRITE ? EPOLLOUT : 0u);
	int op = w->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(l->epoll_fd, op, w->fd, &ev) < 0) {
		log_errno("epoll_ctl", op == EPOLL_CTL_ADD ? "add" : "change");
		return;
	}
	w->is_watched = true;
	w->events = events;
}

/* Takes what was already fetched for w out of the batch. */
static void drop_events(struct loop *l, const struct loop_fd *w)
{
	for (int i = l->batch_at; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

void loop_unwatch(struct loop *l, struct loop_fd *w)
{
	struct epoll_event ignored = { 0 };

	if (!w->is_watched)
		return;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, &ignored) < 0)
		log_errno("epoll_ctl", "remove");
	w->is_watched = false;
	w->events = 0;
	drop_events(l, w);
}

/* The descriptor was closed by its owner: it is no longer in the set. */
static void forget_closed(struct loop *l, struct loop_fd *w)
{
	w->is_watched = false;
	w->events = 0;
	drop_events(l, w);
}

/* ---- timers ---- */

static void heap_put(struct loop *l, size_t place, struct loop_timer *t)
{
	l->heap[place] = t;
	t->place = place;
}

static void heap_up(struct loop *l, size_t place)
{
	struct loop_timer *t = l->heap[place];

	while (place > 1 && l->heap[place / 2]->at_ms > t->at_ms) {
		heap_put(l, place, l->heap[place / 2]);
		place /= 2;
	}
	heap_put(l, place, t);
}

static void heap_down(struct loop *l, size_t place)
{
	struct loop_timer *t = l->heap[place];

	for (size_t child; (child = place * 2) <= l->heap_n; place = child) {
		if (child < l->heap_n && l->heap[child + 1]->at_ms < l->heap[child]->at_ms)
			child++;
		if (l->heap[child]->at_ms >= t->at_ms)
			break;
		heap_put(l, place, l->heap[child]);
	}
	heap_put(l, place, t);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
	size_t place = t->place;

	if (place == 0)
		return;
	assert(place <= l->heap_n && l->heap[place] == t);
	struct loop_timer *last = l->heap[l->heap_n--];
	t->place = 0;
	if (last == t)
		return;
	heap_put(l, place, last);
	heap_up(l, place);
	heap_down(l, last->place);
}

void loop_timer_at(struct loop *l, struct loop_timer *t, int64_t at_ms)
{
	if (t->place && t->at_ms == at_ms)
		return;
	loop_timer_stop(l, t);
	if (l->heap_n + 1 >= l->heap_cap) {
		l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
		l->heap = mem_resize(l->heap, l->heap_cap * sizeof(struct loop_timer *));
	}
	t->at_ms = at_ms;
	heap_put(l, ++l->heap_n, t);
	heap_up(l, l->heap_n);
}

void loop_timer_in(struct loop *l, struct loop_timer *t, int64_t delay_ms) { loop_timer_at(l, t, clock_mono_ms() + delay_ms); }

static void run_timers(struct loop *l)
{
	while (l->heap_n && l->heap[1]->at_ms <= l->now_ms) {
		struct loop_timer *t = l->heap[1];
		loop_timer_stop(l, t);
		t->due(t->context);  /* t may be gone now */
	}
}

/* ---- deferred tasks ---- */

void loop_defer(struct loop *l, struct loop_task *t)
{
	if (t->link)
		return;
	t->next = NULL;
	t->link = l->tasks_end;
	*l->tasks_end = t;
	l->tasks_end = &t->next;
}

void loop_defer_cancel(struct loop *l, struct loop_task *t)
{
	if (t->link == NULL)
		return;
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	else
		l->tasks_end = t->link;
	t->link = NULL;
	t->next = NULL;
}

/* Only those that waited at the start: a task that defers itself again must not keep the loop from its descriptors. */
static void run_tasks(struct loop *l)
{
	struct loop_task last = { 0 };

	if (l->tasks == NULL)
		return;
	loop_defer(l, &last);
	for (struct loop_task *t; (t = l->tasks) != &last;) {
		loop_defer_cancel(l, t);
		t->run(t->context);
	}
	loop_defer_cancel(l, &last);
}

/* ---- channels ---- */

static void channel_ready(void *context, unsigned events)
{
	struct watched_channel *wc = context;

	if (events & LOOP_WRITE)
		channel_flush(wc->ch);
	/* what closes is told by its on_closed; the set learns of it in sync_channel() */
	if (channel_receive(wc->ch) == ERR_CLOSED)
		log_debug("channel is closed");
}

/* Before each wait: the descriptor and the events as they are now. */
static void sync_channel(struct loop *l, struct watched_channel *wc)
{
	int fd = channel_fd(wc->ch);

	if (wc->data.is_watched && wc->data.fd != fd)
		forget_closed(l, &wc->data);
	wc->data.fd = fd;
	if (fd >= 0)
		loop_watch(l, &wc->data, LOOP_READ | (channel_wants_write(wc->ch) ? LOOP_WRITE : 0u));
}

static struct watched_channel *find_channel(struct loop *l, const struct channel *ch, size_t *at)
{
	for (*at = 0; *at < l->channel_count; ++*at)
		if (l->channels[*at]->ch == ch)
			return l->channels[*at];
	return NULL;
}

void loop_channel(struct loop *l, struct channel *ch)
{
	size_t at;
	struct watched_channel *wc = find_channel(l, ch, &at);

	if (wc) {  /* replaced, perhaps by a descriptor of the same number: the old one left the set when it was closed */
		forget_closed(l, &wc->data);
		sync_channel(l, wc);
		return;
	}
	assert(l->channel_count < CHANNELS_MAX);
	wc = MEM_NEW(struct watched_channel);
	wc->ch = ch;
	wc->data = (struct loop_fd){ .ready = channel_ready, .context = wc, .fd = -1 };
	wc->wake = (struct loop_fd){ .ready = channel_ready, .context = wc, .fd = channel_wake_fd(ch) };
	l->channels[l->channel_count++] = wc;
	loop_watch(l, &wc->wake, LOOP_READ);
	sync_channel(l, wc);
}

void loop_forget_channel(struct loop *l, struct channel *ch)
{
	size_t at;
	struct watched_channel *wc = find_channel(l, ch, &at);

	if (wc == NULL)
		return;
	if (wc->data.fd == channel_fd(ch))
		loop_unwatch(l, &wc->data);
	else
		forget_closed(l, &wc->data);
	loop_unwatch(l, &wc->wake);
	l->channels[at] = l->channels[--l->channel_count];
	mem_free(wc);
}

static void run_channels(struct loop *l)
{
	if (l->now_ms >= l->expire_at_ms) {
		l->expire_at_ms = l->now_ms + EXPIRE_MS;
		for (size_t i = 0; i < l->channel_count; i++)
			channel_expire(l->channels[i]->ch, l->now_ms);
	}
	for (size_t i = 0; i < l->channel_count; i++)
		sync_channel(l, l->channels[i]);
}

/* ---- rounds ---- */

static int wait_ms(const struct loop *l, int max_wait_ms)
{
	int64_t wait = max_wait_ms < 0 ? INT32_MAX : max_wait_ms, now = clock_mono_ms();

	if (l->tasks)
		return 0;
	if (l->channel_count && l->expire_at_ms - now < wait)
		wait = l->expire_at_ms - now;
	if (l->heap_n && l->heap[1]->at_ms - now < wait)
		wait = l->heap[1]->at_ms - now;
	return wait < 0 ? 0 : (int)wait;
}

static unsigned events_of(const struct epoll_event *ev)
{
	return (ev->events & (EPOLLIN | EPOLLRDHUP) ? LOOP_READ : 0u) | (ev->events & EPOLLOUT ? LOOP_WRITE : 0u) |
	       (ev->events & (EPOLLERR | EPOLLHUP) ? LOOP_GONE : 0u);
}

void loop_once(struct loop *l, int max_wait_ms)
{
	run_channels(l);
	int n = epoll_wait(l->epoll_fd, l->batch, BATCH, wait_ms(l, max_wait_ms));

	l->now_ms = clock_mono_ms();
	if (n < 0 && errno != EINTR)
		log_errno("epoll_wait", "loop");
	l->batch_n = n > 0 ? n : 0;
	for (l->batch_at = 0; l->batch_at < l->batch_n;) {
		struct epoll_event ev = l->batch[l->batch_at++];
		struct loop_fd *w = ev.data.ptr;
		if (w)
			w->ready(w->context, events_of(&ev));
	}
	l->batch_n = 0;
	run_timers(l);
	run_tasks(l);
}

void loop_run(struct loop *l)
{
	l->stops = false;
	while (!l->stops)
		loop_once(l, -1);
}
