/* See the header. A channel has two descriptors: its socket, which changes when a peer is restarted, and its wake descriptor,
 * which stays: the second leads us to look at the first again. Entries are found by number, since a handler may remove others. */
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
	int             armed_fd;
	bool            armed_write;
	int             fd;
	void          (*ready)(void *context);
	void           *context;
};

struct watch {
	int        epoll_fd;
	uint64_t   next_number;
	struct map entries;     /* number -> entry */
	struct map channels;    /* channel pointer -> entry */
};

struct watch *watch_new(void)
{
	struct watch *w = MEM_NEW(struct watch);

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
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
	fd_close(&w->epoll_fd);
	mem_free(w);
}

static void control(struct watch *w, int op, int fd, uint64_t number, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data = { .u64 = number } };

	if (epoll_ctl(w->epoll_fd, op, fd, &ev) < 0 && errno != ENOENT && errno != EBADF)
		log_errno("epoll_ctl", "watch");
}

/* Follows the channel's present socket and whether it waits for room. is_new: the socket may be another one. */
static void follow(struct watch *w, struct entry *e, bool is_new)
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
	if (fd != e->armed_fd || epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0)
		if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EEXIST)
			control(w, EPOLL_CTL_MOD, fd, e->number, events);
	e->armed_fd = fd;
	e->armed_write = wants_write;
}

static struct entry *entry_new(struct watch *w)
{
	struct entry *e = MEM_NEW(struct entry);

	e->number = ++w->next_number;
	e->armed_fd = -1;
	e->fd = -1;
	map_set_u64(&w->entries, e->number, e);
	return e;
}

void watch_channel(struct watch *w, struct channel *ch)
{
	struct entry *e = map_get_u64(&w->channels, (uint64_t)(uintptr_t)ch);

	if (e == NULL) {
		e = entry_new(w);
		e->ch = ch;
		map_set_u64(&w->channels, (uint64_t)(uintptr_t)ch, e);
		control(w, EPOLL_CTL_ADD, channel_wake_fd(ch), e->number, EPOLLIN);
	}
	follow(w, e, true);
}

void watch_forget(struct watch *w, struct channel *ch)
{
	struct entry *e = map_get_u64(&w->channels, (uint64_t)(uintptr_t)ch);

	if (e == NULL)
		return;
	control(w, EPOLL_CTL_DEL, channel_wake_fd(ch), e->number, 0);
	if (channel_fd(ch) >= 0)
		control(w, EPOLL_CTL_DEL, channel_fd(ch), e->number, 0);
	map_set_u64(&w->channels, (uint64_t)(uintptr_t)ch, NULL);
	map_set_u64(&w->entries, e->number, NULL);
	mem_free(e);
}

void watch_fd(struct watch *w, int fd, void (*ready)(void *context), void *context)
{
	struct entry *e = entry_new(w);

	e->fd = fd;
	e->ready = ready;
	e->context = context;
	control(w, EPOLL_CTL_ADD, fd, e->number, EPOLLIN);
}

void watch_run(struct watch *w, int timeout_ms)
{
	struct epoll_event events[64];
	int n = epoll_wait(w->epoll_fd, events, COUNT_OF(events), timeout_ms);

	for (int i = 0; i < n; i++) {
		uint64_t number = events[i].data.u64;
		struct entry *e = map_get_u64(&w->entries, number);
		if (e == NULL)
			continue;
		if (e->ch == NULL) {
			e->ready(e->context);
			continue;
		}
		if (channel_receive(e->ch) == ERR_CLOSED)
			continue;  /* its on_closed may have freed it */
		e = map_get_u64(&w->entries, number);
		if (e)
			follow(w, e, false);
	}
}
