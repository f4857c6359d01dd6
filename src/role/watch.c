/* See the header. A channel has two descriptors: its socket, which changes when a peer is restarted, and its wake descriptor,
 * which stays: the second leads us to look at the first again. Entries are found by number, since a handler may remove others.
 *
 * Those that stand apart are in a set of their own, and that set is in the first one. Held, it stays there and asks for nothing: one call
 * for as long as it is held, none for each message. It is looked at before the next wait, when what woke us is done, and a look that
 * found something ends the round: the caller may have to act on it. */
#include "role/watch.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

struct entry {
	uint64_t        number;
	struct channel *ch;
	int             epoll_fd;     /* the set that it is in */
	int             armed_fd;
	bool            armed_write;
	int             fd;
	void          (*ready)(void *context);
	void           *context;
};

struct watch {
	int        epoll_fd, apart_fd;  /* apart_fd is in the other as APART; -1: nobody stands apart */
	bool       is_held, has_looked;
	uint64_t   next_number;
	struct map entries;     /* number -> entry */
	struct map channels;    /* channel pointer -> entry */
};

enum { APART = 0 /* no entry has this number */, EVENTS_MAX = 64 };

struct watch *watch_new(void)
{
	struct watch *w = MEM_NEW(struct watch);

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->apart_fd = -1;
	return w;
}

void watch_free(struct watch *w)
{
	size_t at = 0;
	void *v;

	while (map_next(&w->entries, &at, NULL, &v))
		mem_free(v);
	map_free(&w->entries);
	map_free(&w->channels);
	fd_close(&w->apart_fd);
	fd_close(&w->epoll_fd);
	mem_free(w);
}

static void control(int epoll_fd, int op, int fd, uint64_t number, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data = { .u64 = number } };

	if (epoll_ctl(epoll_fd, op, fd, &ev) < 0 && errno != ENOENT && errno != EBADF)
		log_errno("epoll_ctl", "watch");
}

/* Follows the channel's present socket and whether it waits for room. is_new: the socket may be another one. */
static void follow(struct entry *e, bool is_new)
{
	int fd = channel_fd(e->ch);
	bool wants_write = channel_wants_write(e->ch);
	uint32_t events = EPOLLIN | (wants_write ? (uint32_t)EPOLLOUT : 0);

	if (fd < 0) {
		e->armed_fd = -1;  /* a closed descriptor has left the set by itself */
		return;
	}
	if (!is_new && fd == e->armed_fd && wants_write == e->armed_write)
		return;
	/* the same number may be a new socket: ADD fails harmlessly with EEXIST where it is the old one */
	struct epoll_event ev = { .events = events, .data = { .u64 = e->number } };
	if (fd != e->armed_fd || epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0)
		if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EEXIST)
			control(e->epoll_fd, EPOLL_CTL_MOD, fd, e->number, events);
	e->armed_fd = fd;
	e->armed_write = wants_write;
}

static struct entry *entry_new(struct watch *w, int epoll_fd)
{
	struct entry *e = MEM_NEW(struct entry);

	e->number = ++w->next_number;
	e->epoll_fd = epoll_fd;
	e->armed_fd = -1;
	e->fd = -1;
	map_set_u64(&w->entries, e->number, e);
	return e;
}

static void watch_in(struct watch *w, struct channel *ch, int epoll_fd)
{
	struct entry *e = map_get_u64(&w->channels, (uint64_t)(uintptr_t)ch);

	if (e == NULL) {
		e = entry_new(w, epoll_fd);
		e->ch = ch;
		map_set_u64(&w->channels, (uint64_t)(uintptr_t)ch, e);
		control(epoll_fd, EPOLL_CTL_ADD, channel_wake_fd(ch), e->number, EPOLLIN);
	}
	follow(e, true);
}

void watch_channel(struct watch *w, struct channel *ch) { watch_in(w, ch, w->epoll_fd); }

void watch_channel_apart(struct watch *w, struct channel *ch)
{
	if (w->apart_fd < 0) {
		w->apart_fd = epoll_create1(EPOLL_CLOEXEC);
		control(w->epoll_fd, EPOLL_CTL_ADD, w->apart_fd, APART, w->is_held ? 0 : EPOLLIN);
	}
	watch_in(w, ch, w->apart_fd);
}

void watch_hold_apart(struct watch *w, bool is_held)
{
	if (is_held == w->is_held)
		return;
	w->is_held = is_held;
	w->has_looked = false;
	if (w->apart_fd >= 0)
		control(w->epoll_fd, EPOLL_CTL_MOD, w->apart_fd, APART, is_held ? 0 : EPOLLIN);
}

void watch_forget(struct watch *w, struct channel *ch)
{
	struct entry *e = map_get_u64(&w->channels, (uint64_t)(uintptr_t)ch);

	if (e == NULL)
		return;
	control(e->epoll_fd, EPOLL_CTL_DEL, channel_wake_fd(ch), e->number, 0);
	if (channel_fd(ch) >= 0)
		control(e->epoll_fd, EPOLL_CTL_DEL, channel_fd(ch), e->number, 0);
	map_set_u64(&w->channels, (uint64_t)(uintptr_t)ch, NULL);
	map_set_u64(&w->entries, e->number, NULL);
	mem_free(e);
}

void watch_fd(struct watch *w, int fd, void (*ready)(void *context), void *context)
{
	struct entry *e = entry_new(w, w->epoll_fd);

	e->fd = fd;
	e->ready = ready;
	e->context = context;
	control(w->epoll_fd, EPOLL_CTL_ADD, fd, e->number, EPOLLIN);
}

static void run_entry(struct watch *w, uint64_t number)
{
	struct entry *e = map_get_u64(&w->entries, number);

	if (e == NULL)
		return;
	if (e->ch == NULL) {
		e->ready(e->context);
		return;
	}
	if (channel_receive(e->ch) == ERR_CLOSED)
		return;  /* its on_closed may have freed it */
	e = map_get_u64(&w->entries, number);
	if (e)
		follow(e, false);
}

/* How many had something. */
static int run_apart(struct watch *w)
{
	struct epoll_event events[EVENTS_MAX];
	int n = w->apart_fd >= 0 ? epoll_wait(w->apart_fd, events, EVENTS_MAX, 0) : 0;

	for (int i = 0; i < n; i++)
		run_entry(w, events[i].data.u64);
	return n;
}

void watch_run(struct watch *w, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];

	if (w->is_held && !w->has_looked) {
		w->has_looked = true;
		if (run_apart(w) > 0)
			return;
	}
	w->has_looked = false;
	int n = epoll_wait(w->epoll_fd, events, EVENTS_MAX, timeout_ms);
	for (int i = 0; i < n; i++) {
		if (events[i].data.u64 == APART)
			(void)run_apart(w);
		else
			run_entry(w, events[i].data.u64);
	}
}
