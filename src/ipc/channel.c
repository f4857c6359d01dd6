/* Channels: typed datagrams between two roles and the bookkeeping of answers.
 *
 * Problem: some roles are event loops (gate, mx), others have threads that simply want to ask and wait (cell, queue), and both
 * ends of one channel may ask. Choice: one lock a channel; whoever needs an answer becomes the reader while it waits, and
 * passes on what is not for it: answers go straight to their waiter, everything else to the inbox, which channel_receive()
 * empties. So a handler never runs inside somebody's wait.
 *
 * Invariants: `pending` holds each call that was sent and not yet answered; a call leaves it exactly once (answer, timeout, or
 * loss of the channel). Descriptors in the inbox belong to the inbox. The lock is never held while a handler runs. */
#include "ipc/channel.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "ipc/datagram.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNSENT_MAX = 4 << 20, UNSENT_FDS_MAX = 1024, INBOX_MAX = 4096, INBOX_ROUND = 256, SHORT_ROUNDS = 7 };

struct row {
	uint16_t  number;
	bool      is_request;
	enum role sender, receiver;  /* ROLE_COUNT: any */
	size_t    largest;
	const char *name;
};

static const struct row rows[] = {
#define REQUEST(name, number, sender, receiver, largest) { number, true, sender, receiver, largest, #name },
#define NOTICE(name, number, sender, receiver, largest) { number, false, sender, receiver, largest, #name },
#include "ipc/requests.def"
#undef REQUEST
#undef NOTICE
};

struct pending {  /* one call without an answer */
	uint32_t        call;
	uint16_t        type;
	int64_t         deadline_ms;
	channel_done    done;         /* an ask; else a thread waits */
	void           *context;
	struct message  answer;       /* for a waiting thread; body in answer_bytes */
	struct buf      answer_bytes;
	bool            is_answered;
};

struct channel {
	pthread_mutex_t lock;
	pthread_cond_t  answered;     /* an answer came, or the reader's place is free */
	int             fd, wake_fd;
	enum role       self, peer;
	const struct channel_handler *handlers;
	void           *context;
	void          (*on_closed)(void *context, struct channel *ch);
	void          (*hold)(void *context, int fd, bool is_held);   /* NULL: nobody else polls */
	void           *hold_context;
	uint32_t        next_call;
	uint32_t        socket;       /* counts those that were put in */
	bool            has_reader;   /* a thread is inside recv or poll of this channel */
	bool            told_closed;
	bool            is_woken;     /* wake_fd is readable */
	struct map      pending;
	struct datagram *inbox, **inbox_end;
	size_t          inbox_count;
	unsigned        short_rounds; /* so many more take one message only */
	struct datagram *unsent, **unsent_end;
	size_t          unsent_bytes, unsent_fds;
};

void channel_on_wait(struct channel *ch, void (*hold)(void *context, int fd, bool is_held), void *context)
{
	pthread_mutex_lock(&ch->lock);
	ch->hold = hold;
	ch->hold_context = context;
	pthread_mutex_unlock(&ch->lock);
}

static const struct row *row_of(uint16_t type)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (rows[i].number == type)
			return &rows[i];
	return NULL;
}

struct channel *channel_new(int fd, enum role self, enum role peer, const struct channel_handler *handlers, void *context,
                            void (*on_closed)(void *context, struct channel *ch))
{
	struct channel *ch = MEM_NEW(struct channel);
	pthread_condattr_t attr;

	pthread_mutex_init(&ch->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ch->answered, &attr);
	pthread_condattr_destroy(&attr);
	ch->fd = fd;
	ch->next_call = (uint32_t)random_u64();  /* an answer to somebody who had this role before must not fit a call of ours */
	ch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ch->self = self;
	ch->peer = peer;
	ch->handlers = handlers;
	ch->context = context;
	ch->on_closed = on_closed;
	ch->inbox_end = &ch->inbox;
	ch->unsent_end = &ch->unsent;
	return ch;
}

/* Lock held. Somebody shall call channel_receive(). */
static void wake(struct channel *ch)
{
	uint64_t one = 1;

	if (ch->is_woken)
		return;
	ch->is_woken = true;
	ssize_t ignored = write(ch->wake_fd, &one, sizeof(one));
	(void)ignored;
}

/* Lock held. */
static void inbox_add(struct channel *ch, struct datagram *it)
{
	it->next = NULL;
	it->socket = ch->socket;
	*ch->inbox_end = it;
	ch->inbox_end = &it->next;
	ch->inbox_count++;
}

/* Lock held. Takes a pending ask out of the table and lets channel_receive() run its callback with this status. */
static void ask_ends(struct channel *ch, struct pending *p, enum err status)
{
	struct datagram *it = mem_alloc(sizeof(*it));

	map_set_u64(&ch->pending, p->call, NULL);
	it->type = p->type;
	it->flags = DATAGRAM_IS_ANSWER;
	it->status = status;
	it->ask = p;
	inbox_add(ch, it);
	wake(ch);
}

/* Lock held. The peer is gone or misbehaved: every pending call ends, nothing more is sent. */
static void lose(struct channel *ch)
{
	size_t at = 0;
	void *v;

	if (ch->fd < 0)
		return;
	shutdown(ch->fd, SHUT_RDWR);
	if (!ch->has_reader)
		fd_close(&ch->fd);
	else
		ch->fd = -1 - ch->fd;  /* the reader closes it when it comes back */
	while (ch->unsent) {
		struct datagram *it = ch->unsent;
		ch->unsent = it->next;
		datagram_free(it);
	}
	ch->unsent_end = &ch->unsent;
	ch->unsent_bytes = ch->unsent_fds = 0;
	while (map_next(&ch->pending, &at, NULL, &v)) {
		struct pending *p = v;
		if (p->done) {
			ask_ends(ch, p, ERR_UNAVAILABLE);
		} else {
			p->answer.status = ERR_UNAVAILABLE;
			p->is_answered = true;
		}
	}
	pthread_cond_broadcast(&ch->answered);
	wake(ch);
}

void channel_replace(struct channel *ch, int fd)
{
	pthread_mutex_lock(&ch->lock);
	lose(ch);
	while (ch->has_reader)
		pthread_cond_wait(&ch->answered, &ch->lock);
	ch->fd = fd;
	ch->socket++;
	ch->told_closed = false;
	pthread_mutex_unlock(&ch->lock);
}

bool channel_is_current(const struct channel *ch, const struct message *m)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&ch->lock;

	pthread_mutex_lock(lock);
	bool is_current = m->socket == ch->socket;
	pthread_mutex_unlock(lock);
	return is_current;
}

/* Asked by loops while a waiting thread may be losing the channel. */
int channel_fd(const struct channel *ch)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&ch->lock;

	pthread_mutex_lock(lock);
	int fd = ch->fd;
	pthread_mutex_unlock(lock);
	return fd;
}

bool channel_wants_write(const struct channel *ch)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&ch->lock;

	pthread_mutex_lock(lock);
	bool wants = ch->unsent != NULL;
	pthread_mutex_unlock(lock);
	return wants;
}

bool channel_is_open(const struct channel *ch) { return channel_fd(ch) >= 0; }
int channel_wake_fd(const struct channel *ch) { return ch->wake_fd; }

static void flush_locked(struct channel *ch)
{
	while (ch->unsent && ch->fd >= 0) {
		struct datagram *it = ch->unsent;
		int failure = datagram_send(ch->fd, it, str_make(it->body, it->size));
		if (failure == EAGAIN)
			return;
		if (failure) {
			lose(ch);
			return;
		}
		ch->unsent = it->next;
		if (ch->unsent == NULL)
			ch->unsent_end = &ch->unsent;
		ch->unsent_bytes -= it->size + sizeof(*it);
		ch->unsent_fds -= (size_t)it->fd_count;
		datagram_free(it);
	}
}

void channel_flush(struct channel *ch)
{
	pthread_mutex_lock(&ch->lock);
	flush_locked(ch);
	pthread_mutex_unlock(&ch->lock);
}

/* Lock held. Sends, or keeps for later when there is no room. A peer that leaves 4 MB unread is lost; when too many
 * descriptors wait, only this message is refused: they are scarce in a storm, which is nobody's fault. */
static enum err post(struct channel *ch, uint16_t type, uint16_t flags, uint32_t call, enum err status, struct str body,
                     const int *fds, int fd_count)
{
	struct datagram head = { .type = type, .flags = flags, .call = call, .status = status, .fd_count = fd_count };

	if (ch->fd < 0)
		return ERR_UNAVAILABLE;
	if (body.n > MESSAGE_BODY_MAX || fd_count > MESSAGE_FDS_MAX)
		return ERR_INVALID;
	for (int i = 0; i < fd_count; i++)
		head.fds[i] = fds[i];
	flush_locked(ch);
	if (ch->fd < 0)
		return ERR_UNAVAILABLE;
	int failure = ch->unsent ? EAGAIN : datagram_send(ch->fd, &head, body);
	if (failure == 0)
		return ERR_OK;
	if (failure != EAGAIN) {
		lose(ch);
		return ERR_UNAVAILABLE;
	}
	if (ch->unsent_bytes + body.n > UNSENT_MAX) {
		log_error("channel to %s is full, closing it unsent_bytes=%zu", role_name(ch->peer), ch->unsent_bytes);
		lose(ch);
		return ERR_UNAVAILABLE;
	}
	if (fd_count && ch->unsent_fds + (size_t)fd_count > UNSENT_FDS_MAX)
		return ERR_LIMIT;
	struct datagram *it = datagram_keep(&head, body);
	if (it == NULL)
		return ERR_LIMIT;
	*ch->unsent_end = it;
	ch->unsent_end = &it->next;
	ch->unsent_bytes += it->size + sizeof(*it);
	ch->unsent_fds += (size_t)fd_count;
	wake(ch);  /* the loop looks again and polls for writing */
	return ERR_OK;
}

enum err channel_notify(struct channel *ch, uint16_t type, struct str body, const int *fds, int fd_count)
{
	pthread_mutex_lock(&ch->lock);
	enum err e = post(ch, type, 0, 0, ERR_OK, body, fds, fd_count);
	pthread_mutex_unlock(&ch->lock);
	return e;
}

void channel_reply(struct channel *ch, uint32_t call, enum err status, struct str body, const int *fds, int fd_count)
{
	pthread_mutex_lock(&ch->lock);
	post(ch, 0, DATAGRAM_IS_ANSWER, call, status, body, fds, fd_count);
	pthread_mutex_unlock(&ch->lock);
}

/* Why this datagram may not come from this peer; NULL if it may. */
static const char *refusal(const struct channel *ch, const struct datagram *it)
{
	if (it->flags & DATAGRAM_IS_ANSWER)
		return NULL;
	const struct row *r = row_of(it->type);
	if (r == NULL)
		return "unknown message";
	if ((r->sender != ROLE_COUNT && r->sender != ch->peer) || (r->receiver != ROLE_COUNT && r->receiver != ch->self))
		return "message from the wrong role";
	if (it->size > r->largest)
		return "message too large";
	if (r->is_request != (it->call != 0))
		return "request without a number";
	for (const struct channel_handler *h = ch->handlers; h && h->type; h++)
		if (h->type == it->type)
			return ch->inbox_count < INBOX_MAX ? NULL : "too many messages wait";
	return "message at the wrong place";
}

/* Whose answer brings a descriptor. Any other caller does not look for one, and it would stay open. */
static bool answer_carries(uint16_t request)
{
	return request == REQUEST_SPOOL || request == REQUEST_CELL_KEY || request == REQUEST_SPAWN || request == REQUEST_VISIT;
}

/* Lock held. An answer finds its call; a request or notice goes to the inbox. */
static void sort(struct channel *ch, struct datagram *it)
{
	const char *why = refusal(ch, it);

	if (why) {
		const struct row *r = row_of(it->type);
		log_error("channel closed peer=%s type=%s(%u) size_bytes=%zu why=%s", role_name(ch->peer), r ? r->name : "?", it->type,
		          it->size, why);
		datagram_free(it);
		lose(ch);
		return;
	}
	if (!(it->flags & DATAGRAM_IS_ANSWER)) {
		inbox_add(ch, it);
		return;
	}
	struct pending *p = map_get_u64(&ch->pending, it->call);
	if (p != NULL && it->fd_count > 0 && !answer_carries(p->type)) {
		log_error("channel closed peer=%s why=an answer with descriptors that nobody asked for", role_name(ch->peer));
		datagram_free(it);
		lose(ch);
	} else if (p == NULL || p->is_answered) {  /* its caller gave up before, or is told already */
		datagram_free(it);
	} else if (p->done) {
		map_set_u64(&ch->pending, p->call, NULL);
		it->ask = p;
		inbox_add(ch, it);
	} else {
		p->answer.status = it->status;
		p->answer.fd_count = it->fd_count;
		memcpy(p->answer.fds, it->fds, sizeof(it->fds));
		buf_add_bytes(&p->answer_bytes, it->body, it->size);
		p->is_answered = true;
		it->fd_count = 0;
		datagram_free(it);
		pthread_cond_broadcast(&ch->answered);
	}
}

/* Lock held at entry and exit. Reads what is there, as the only reader, until the inbox has so many, or an answer is there. */
static size_t read_all(struct channel *ch, size_t inbox_most, const bool *is_answered)
{
	size_t n = 0;

	while (ch->fd >= 0 && !ch->has_reader && ch->inbox_count < inbox_most && !*is_answered) {
		int fd = ch->fd, failure;

		ch->has_reader = true;
		pthread_mutex_unlock(&ch->lock);
		struct datagram *it = datagram_receive(fd, &failure);
		pthread_mutex_lock(&ch->lock);
		ch->has_reader = false;
		if (ch->fd < 0) {  /* lost meanwhile: lose() left the closing to us */
			int old = -1 - ch->fd;
			ch->fd = -1;
			if (old >= 0 && old == fd)
				close(old);
			datagram_free(it);
			pthread_cond_broadcast(&ch->answered);
			return n;
		}
		n += it != NULL;
		if (it)
			sort(ch, it);
		else if (failure)
			lose(ch);
		pthread_cond_broadcast(&ch->answered);
		if (it == NULL)
			break;
	}
	return n;
}

/* Lock held. Most messages come alone, and a look for a second one costs as much as the first. So after a round that found one, the
 * next few take one only: what else is there makes the socket readable again. */
static void read_round(struct channel *ch)
{
	static const bool goes_on = false;

	if (ch->short_rounds > 0) {
		ch->short_rounds--;
		read_all(ch, ch->inbox_count + 1, &goes_on);
	} else if (read_all(ch, INBOX_ROUND, &goes_on) <= 1) {
		ch->short_rounds = SHORT_ROUNDS;
	}
}

static void run_item(struct channel *ch, struct datagram *it)
{
	struct message m = { it->type, it->call, it->status, str_make(it->body, it->size), { 0 }, it->fd_count, it->socket };

	memcpy(m.fds, it->fds, sizeof(m.fds));
	it->fd_count = 0;
	if (it->ask) {
		it->ask->done(it->ask->context, &m);
		buf_free(&it->ask->answer_bytes);
		mem_free(it->ask);
	} else {
		for (const struct channel_handler *h = ch->handlers; h->type; h++) {
			if (h->type == m.type) {
				h->run(ch->context, ch, &m);
				break;
			}
		}
	}
	for (int i = 0; i < m.fd_count; i++)
		fd_close(&m.fds[i]);
	datagram_free(it);
}

/* Lock held. A thread that waits for its answer polls the socket too, so the same bytes wake us both; it reads them as soon as it runs.
 * Whoever returned meanwhile would be called again at once, and again: on a busy machine for a whole time slice, which is just what the
 * other one needs (measured: 6 ms CPU for a submitted message, of which 0.5 was work). */
static void let_reader_read(struct channel *ch)
{
	struct pollfd poll_fd = { ch->fd, POLLIN, 0 };

	if (!ch->has_reader || ch->inbox != NULL || ch->fd < 0 || poll(&poll_fd, 1, 0) <= 0)
		return;
	int64_t until = clock_mono_ms() + 1000;
	struct timespec t = { until / 1000, until % 1000 * 1000000 };
	pthread_cond_timedwait(&ch->answered, &ch->lock, &t);
}

enum err channel_receive(struct channel *ch)
{
	uint64_t ignored;

	pthread_mutex_lock(&ch->lock);
	if (ch->is_woken) {
		ssize_t n = read(ch->wake_fd, &ignored, sizeof(ignored));
		(void)n;
		ch->is_woken = false;
	}
	flush_locked(ch);
	let_reader_read(ch);
	read_round(ch);  /* what is left in the socket makes it readable again */
	while (ch->inbox) {
		struct datagram *it = ch->inbox;
		ch->inbox = it->next;
		if (ch->inbox == NULL)
			ch->inbox_end = &ch->inbox;
		ch->inbox_count--;
		if (ch->inbox != NULL)
			wake(ch);  /* this handler may take long: another thread may go on */
		pthread_mutex_unlock(&ch->lock);
		run_item(ch, it);
		pthread_mutex_lock(&ch->lock);
	}
	bool is_closed = ch->fd < 0;
	bool tell = is_closed && !ch->told_closed && ch->on_closed;
	if (is_closed)
		ch->told_closed = true;
	pthread_mutex_unlock(&ch->lock);
	if (tell)
		ch->on_closed(ch->context, ch);  /* may free the channel: nothing of it is touched after this */
	return is_closed ? ERR_CLOSED : ERR_OK;
}

/* Lock held. Registers a call and sends it. */
static enum err begin_call(struct channel *ch, struct pending *p, uint16_t type, struct str body, const int *fds, int fd_count,
                           int timeout_ms)
{
	do
		p->call = ++ch->next_call;
	while (p->call == 0 || map_get_u64(&ch->pending, p->call));
	p->type = type;
	p->deadline_ms = clock_mono_ms() + timeout_ms;
	p->answer_bytes = BUF(MESSAGE_BODY_MAX);
	map_set_u64(&ch->pending, p->call, p);
	enum err e = post(ch, type, 0, p->call, ERR_OK, body, fds, fd_count);
	if (map_get_u64(&ch->pending, p->call) != p)
		return ERR_OK;  /* lost while sending: an ask's end is already in the inbox */
	if (e != ERR_OK)
		map_set_u64(&ch->pending, p->call, NULL);
	return e;
}

/* Lock held. Waits a little: as the reader of the channel if nobody is, else for the one who is. */
static void wait_for_answer(struct channel *ch, struct pending *p)
{
	int64_t left = p->deadline_ms - clock_mono_ms();

	if (left <= 0)
		return;
	if (ch->has_reader || ch->fd < 0) {
		int64_t until = (p->deadline_ms < clock_mono_ms() + 1000 ? p->deadline_ms : clock_mono_ms() + 1000);
		struct timespec t = { until / 1000, until % 1000 * 1000000 };
		pthread_cond_timedwait(&ch->answered, &ch->lock, &t);
		return;
	}
	struct pollfd poll_fd = { ch->fd, (short)(POLLIN | (ch->unsent ? POLLOUT : 0)), 0 };
	ch->has_reader = true;
	void (*hold)(void *context, int fd, bool is_held) = ch->hold;
	void *context = ch->hold_context;
	pthread_mutex_unlock(&ch->lock);
	if (hold != NULL)
		hold(context, poll_fd.fd, true);
	poll(&poll_fd, 1, left > 1000 ? 1000 : (int)left);
	pthread_mutex_lock(&ch->lock);
	ch->has_reader = false;
	if (ch->fd < -1) {
		close(-1 - ch->fd);
		ch->fd = -1;
	}
	pthread_cond_broadcast(&ch->answered);
	flush_locked(ch);
	read_all(ch, SIZE_MAX, &p->is_answered);
	if (hold != NULL && ch->fd == poll_fd.fd)  /* else it has closed, and its number may be somebody else's */
		hold(context, poll_fd.fd, false);
	if (ch->inbox != NULL)
		wake(ch);  /* not for us: whoever runs handlers takes it */
}

enum err channel_call(struct channel *ch, uint16_t type, struct str body, const int *fds, int fd_count, int timeout_ms,
                      struct arena *arena, struct message *answer)
{
	struct pending p = { 0 };

	*answer = (struct message){ .type = type };
	pthread_mutex_lock(&ch->lock);
	enum err e = begin_call(ch, &p, type, body, fds, fd_count, timeout_ms);
	if (e == ERR_OK) {
		while (!p.is_answered && clock_mono_ms() < p.deadline_ms)
			wait_for_answer(ch, &p);
		map_set_u64(&ch->pending, p.call, NULL);
		e = p.is_answered ? p.answer.status : ERR_TIMEOUT;
		answer->status = e;
		answer->fd_count = p.answer.fd_count;
		memcpy(answer->fds, p.answer.fds, sizeof(answer->fds));
		answer->body = str_copy(arena, p.answer_bytes.n ? buf_str(&p.answer_bytes) : STR(""));
	}
	pthread_mutex_unlock(&ch->lock);
	mem_wipe(p.answer_bytes.p, p.answer_bytes.n);
	buf_free(&p.answer_bytes);
	return e;
}

enum err channel_ask(struct channel *ch, uint16_t type, struct str body, const int *fds, int fd_count, int timeout_ms,
                     channel_done done, void *context)
{
	struct pending *p = MEM_NEW(struct pending);

	p->done = done;
	p->context = context;
	pthread_mutex_lock(&ch->lock);
	enum err e = begin_call(ch, p, type, body, fds, fd_count, timeout_ms);
	if (e != ERR_OK) {  /* the callback runs all the same, in channel_receive(): one way to end for every ask */
		ask_ends(ch, p, e);
	}
	pthread_mutex_unlock(&ch->lock);
	return ERR_OK;
}

void channel_expire(struct channel *ch, int64_t now_ms)
{
	size_t at = 0;
	void *v;

	pthread_mutex_lock(&ch->lock);
	while (map_next(&ch->pending, &at, NULL, &v)) {
		struct pending *p = v;
		if (p->done && now_ms >= p->deadline_ms)
			ask_ends(ch, p, ERR_TIMEOUT);
	}
	pthread_mutex_unlock(&ch->lock);
}

void channel_free(struct channel *ch)
{
	if (ch == NULL)
		return;
	ch->on_closed = NULL;
	ch->handlers = NULL;
	pthread_mutex_lock(&ch->lock);
	lose(ch);
	pthread_mutex_unlock(&ch->lock);
	while (ch->inbox) {
		struct datagram *it = ch->inbox;
		ch->inbox = it->next;
		if (it->ask)
			run_item(ch, it);
		else
			datagram_free(it);
	}
	map_free(&ch->pending);
	fd_close(&ch->wake_fd);
	pthread_cond_destroy(&ch->answered);
	pthread_mutex_destroy(&ch->lock);
	mem_free(ch);
}
