/* A cell: one account, its sessions, its deliveries.
 *
 * Threads of one pool (net/pool.h) serve three kinds of sources: the channels to master, queue and control, and the sockets of
 * sessions (net/attach.h). Everything durable happens in the store, which has its own lock; here is only the life around it:
 * open, watch the clock, publish what was delivered when somebody looks, and leave when there is nothing to do.
 *
 * After an unclean stop the cell does not leave before the queue has sent again what it cannot be sure of (cell_replay.c), and it does not end as
 * cleanly closed either.
 *
 * Leaving: asked of master with the number of attachments seen; master refuses when one is under way, so none is lost. After
 * the permission nothing new arrives from gates, but for questions on a pair that one kept (net/parked.c): it asks the next cell. What queue sent meanwhile
 * is unanswered and will be sent again to the next cell, marked as perhaps delivered. */
#include "role/cell_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/engine.h"
#include "pop3/engine.h"
#include "role/door.h"
#include "role/role.h"
#include "role/threads.h"
#include "smtpd/submission.h"
#include "store/view.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	THREADS_MAX = 14 /* submit/account.h */, LEAVE_AFTER_DELIVERY_MS = 1000, LEAVE_AFTER_WORK_MS = 30000, STOP_GRACE_MS = 10000, STOP_LOOK_MS = 50,
	START_TIMEOUT_MS = 10000, OTHERS_TIMEOUT_MS = 5000, LEAVE_TIMEOUT_MS = 5000,
};

struct peer {  /* a channel and the source of its present socket, or of its wake descriptor; kept until the cell ends */
	struct peer    *next;
	struct channel *ch;
	int             fd;
	struct pool    *pool;
	uint64_t        source;
};

static void on_wait(void *context)
{
	struct cell *c = context;

	if (c->account.view != NULL)  /* nobody is served while it is being opened */
		pool_will_wait(c->pool);
}

/* Expiry bounds how long a grant can begin sessions, and not how long they last unless the grant says so: a telephone may idle for weeks. */
static enum err check_grant(void *context, const struct grant *g, bool goes_on)
{
	struct cell *c = context;

	return grant_check(g, c->key, c->start.account, c->epoch, clock_wall_s(), goes_on);
}

static void on_parked(void *context, bool wants_news)
{
	struct cell *c = context;

	if (wants_news)
		cell_watch(c);  /* the gate's WATCH is on its way */
	c->last_work_ms = clock_mono_ms();
}

static void on_told(void *context) { ((struct cell *)context)->last_work_ms = clock_mono_ms(); }

/* ---- channels */

static enum pool_next peer_socket_ready(void *context)
{
	struct peer *p = context;

	channel_receive(p->ch);
	if (channel_fd(p->ch) == p->fd)
		return POOL_ARM;
	return POOL_GONE;  /* lost or replaced: the new socket has its own source */
}

static enum pool_next peer_wake_ready(void *context)
{
	channel_receive(((struct peer *)context)->ch);
	return POOL_ARM;
}

static struct peer *peer_new(struct cell *c, struct channel *ch, int fd)
{
	struct peer *p = MEM_NEW(struct peer);

	pthread_mutex_lock(&c->holding);
	*p = (struct peer){ .next = c->peers, .ch = ch, .fd = fd, .pool = c->pool };
	c->peers = p;
	pthread_mutex_unlock(&c->holding);
	return p;
}

static void on_hold(void *context, int fd, bool is_held)
{
	struct peer *p = context;

	if (fd == p->fd)  /* a new socket has its own peer in a moment */
		pool_hold(p->pool, p->source, is_held);
}

static void watch_socket(struct cell *c, struct channel *ch)
{
	struct peer *p = peer_new(c, ch, channel_fd(ch));

	p->source = pool_add(c->pool, p->fd, peer_socket_ready, p);
	channel_on_wait(ch, on_hold, p);
}

static void watch_wake(struct cell *c, struct channel *ch)
{
	pool_add(c->pool, channel_wake_fd(ch), peer_wake_ready, peer_new(c, ch, -1));
}

static void on_connect(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct cell *c = context;
	enum role peer;
	uint32_t index;

	if (!get_connect(m, &peer, &index))
		return;
	struct channel *to = peer == ROLE_QUEUE ? c->queue : peer == ROLE_CONTROL ? c->control : NULL;
	if (to == NULL)
		return;
	channel_replace(to, m->fds[0]);
	m->fds[0] = -1;
	watch_socket(c, to);
	if (to == c->queue)
		cell_ask_replayed(c);
}

static void on_attach(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct cell *c = context;
	struct scan s = scan_of(m->body);
	struct held h = { .kind = (enum attach)get_u8(&s) };

	if (h.kind == ATTACH_GUEST)
		h.guest = get_u64(&s);
	if (!get_end(&s))
		return;
	c->attaches_seen++;
	if (c->stops_ms || m->fd_count != 1)  /* or no descriptor was left for it: the gate sees its pair close, and says so */
		return;
	c->last_work_ms = clock_mono_ms();
	h.fd = m->fds[0];
	m->fds[0] = -1;
	bool waits = !cell_take(c, &h);
	bool has_unseen = !waits && view_has_unseen(c->account.view);  /* what was delivered while nobody looked is shown now */
	pool_alarm(c->pool, clock_mono_ms() + (has_unseen ? 0 : TICK_MS));
}

static void on_watched(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct cell *c = context;
	struct scan s = scan_of(m->body);
	bool on = get_bool(&s), tells = get_bool(&s);

	if (!get_end(&s))
		return;
	if (tells && c->account.view != NULL)  /* what was told before that gate had the session, it has not kept */
		cell_tell_newest(c);
	if (on)
		cell_watch(c);
	else
		c->is_watched = false;
	if (on && c->account.view != NULL)  /* while it is being opened nothing has been delivered */
		cell_publish_soon(c);
}

static void on_crowded(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct cell *c = context;
	struct scan s = scan_of(m->body);

	c->is_crowded = get_bool(&s) && get_end(&s);
}

static void on_epoch(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct cell *c = context;
	struct scan s = scan_of(m->body);
	uint64_t account = get_u64(&s);
	uint32_t epoch = get_u32(&s);

	if (!get_end(&s) || account != c->start.account)
		return;
	uint32_t known = c->epoch;
	while (epoch > known && !atomic_compare_exchange_weak(&c->epoch, &known, epoch))
		;  /* two threads may have two of these: the higher one stays */
	attached_end(c->attached, epoch);
}

/* The server stops. Each session ends when the command that it runs is done, with a line of goodbye; master closes the gates, and
 * so the sessions that wait for their clients, if that takes long. */
static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct cell *c = context;

	c->stops_ms = clock_mono_ms();
	attached_end(c->attached, UINT32_MAX);
	if (attached_count(c->attached) == 0)
		pool_stop(c->pool);
	else
		pool_alarm(c->pool, clock_mono_ms() + STOP_LOOK_MS);
}

static void on_master_gone(void *context, UNUSED struct channel *ch) { pool_stop(((struct cell *)context)->pool); }

static const struct channel_handler master_handlers_of_cell[] = {
	{ NOTICE_CONNECT, on_connect }, { NOTICE_CELL_ATTACH, on_attach }, { NOTICE_CELL_WATCHED, on_watched },
	{ NOTICE_CELL_EPOCH, on_epoch }, { NOTICE_CROWDED, on_crowded }, { NOTICE_STOP, on_stop }, { NOTICE_LOG, role_on_log }, { 0 },
};

/* Nothing to do for long enough: may the cell go? */
static bool may_leave(struct cell *c, int64_t now)
{
	int64_t after_work_ms = c->is_crowded ? LEAVE_AFTER_DELIVERY_MS : LEAVE_AFTER_WORK_MS;

	return cell_is_replayed(c) && attached_count(c->attached) == 0 && now >= c->last_work_ms + after_work_ms &&
	       now >= c->last_delivery_ms + LEAVE_AFTER_DELIVERY_MS;
}

/* True: master sends nobody else. */
static bool master_lets_go(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message answer;

	put_u64(&b, c->attaches_seen);
	return channel_call(c->master, REQUEST_LEAVE, buf_str(&b), NULL, 0, LEAVE_TIMEOUT_MS, &a, &answer) == ERR_OK;
}

/* What the queue sends while master decides is, as a rule, for the next cell: no thread is begun for it. */
static void leave(struct cell *c)
{
	cell_report_usage(c, true);
	if (master_lets_go(c))
		pool_stop(c->pool);
}

/* True: there is more to do. Where nobody looks, deliveries stay unsynced here: the queue asks for it, or syncs the whole file system, or
 * they are synced when the cell leaves, in one go with the note that it left cleanly. */
static bool tick_view(struct cell *c)
{
	if (cell_has_viewers(c))
		cell_publish(c);
	return view_tick(c->account.view);
}

static void on_alarm(void *context)
{
	struct cell *c = context;
	int64_t now = clock_mono_ms();
	int64_t next = attached_tick(c->attached, now);

	if (view_has_failed(c->account.view)) {
		log_error("the account's disk failed: this cell ends, the next one reads what is there account=%llu",
		          (unsigned long long)c->start.account);
		attached_end(c->attached, UINT32_MAX);
		pool_stop(c->pool);
		return;
	}
	if (c->stops_ms) {
		if (attached_count(c->attached) == 0 || now >= c->stops_ms + STOP_GRACE_MS)
			pool_stop(c->pool);
		pool_alarm(c->pool, now + STOP_LOOK_MS);
		return;
	}
	if (c->must_publish && now >= c->last_publish_ms + PUBLISH_EVERY_MS)
		cell_publish(c);
	bool has_more = tick_view(c);
	cell_tell_shares(c);
	cell_report_usage(c, false);  /* a session made room, or filled it: mx hears of it while it goes on */
	if (!has_more && may_leave(c, now)) {
		leave(c);
		next = now + TICK_MS;
	} else if (next == 0 || next > now + TICK_MS) {
		next = now + TICK_MS;
	}
	int64_t leaves = c->last_delivery_ms + LEAVE_AFTER_DELIVERY_MS;
	pool_alarm(c->pool, leaves > now && leaves < next ? leaves : next);
}

/* The key of this account, which neither master nor nursery has read. */
static enum err read_key(struct cell *c)
{
	size_t at = 0;

	while (at < sizeof(c->key)) {
		struct pollfd p = { c->start.key_fd, POLLIN, 0 };
		if (poll(&p, 1, START_TIMEOUT_MS) != 1)
			return ERR_TIMEOUT;
		ssize_t n = read(c->start.key_fd, c->key + at, sizeof(c->key) - at);
		if (n <= 0)
			return log_errno("read", "key");
		at += (size_t)n;
	}
	close(c->start.key_fd);
	return ERR_OK;
}

/* Waits until master has connected us with control, and asks it about the account. */
static enum err read_account_info(struct cell *c, struct arena *a, struct account_info *info)
{
	int64_t until = clock_mono_ms() + START_TIMEOUT_MS;

	while (!channel_is_open(c->control)) {
		struct pollfd p = { channel_fd(c->master), POLLIN, 0 };
		if (clock_mono_ms() > until || !channel_is_open(c->master))
			return ERR_TIMEOUT;
		poll(&p, 1, 100);
		channel_receive(c->master);
	}
	return account_info_ask(c->control, c->start.account, INFO_TIMEOUT_MS, a, info);
}

/* ---- other accounts */

static enum err others_find(void *context, struct str address, struct arena *a, struct share_owner *out)
{
	return shared_find(((struct cell *)context)->control, address, OTHERS_TIMEOUT_MS, a, out);
}

static enum err others_list(void *context, struct arena *a, struct share_owner **out, size_t *n)
{
	return shared_ask(((struct cell *)context)->control, OTHERS_TIMEOUT_MS, a, out, n);
}

static enum err others_guest(void *context, uint64_t guest, struct arena *a, struct guest *out)
{
	return guest_ask(((struct cell *)context)->control, guest, OTHERS_TIMEOUT_MS, a, out);
}

static enum err others_visit(void *context, uint64_t owner, int *fd)
{
	struct cell *c = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message answer;

	put_u64(&b, owner);
	TRY(channel_call(c->master, REQUEST_VISIT, buf_str(&b), NULL, 0, OTHERS_TIMEOUT_MS, &a, &answer));
	if (answer.fd_count != 1)
		return ERR_UNAVAILABLE;
	*fd = answer.fds[0];
	return ERR_OK;
}

static const struct engine *const engines[] = { &imap_engine, &pop3_engine, &submission_engine, NULL };

static enum err open_account(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(account_info_free) struct account_info info = { 0 };
	char folder[512];

	snprintf(folder, sizeof(folder), "%s/accounts/%llu", c->start.dir, (unsigned long long)c->start.account);
	if (c->start.sandbox)
		TRY(door_close(ROLE_CELL, c->start.dir, c->start.account, c->start.filter));
	TRY(read_account_info(c, &a, &info));
	cell_use_settings(c, &info);
	const struct view_config config = {
		.account = c->start.account, .limits = view_limits_of(info.conf),
		.french = info.french, .put_back_s = (int64_t)conf_number(info.conf, SETTING_put_back), .on_changed = cell_on_changed, .on_wait = on_wait, .context = c,
	};
	TRY(view_open(folder, &config, &c->account.view));
	view_set_undelete_days(c->account.view, (uint32_t)conf_number(info.conf, SETTING_undelete_days));
	return ERR_OK;
}

void cell_preload(UNUSED const char *dir)
{
	struct grant g = { 0 };
	static const uint8_t key[GRANT_KEY_SIZE];

	mem_one_heap();
	tzset();
	random_u64();
	grant_sign(&g, key);  /* loads libcrypto's configuration and algorithms */
	if (!threads_are_used())
		view_preload();
}

/* There is no account. Who waits, or still comes, hears why. */
static void refuse_all(struct cell *c, enum text sentence)
{
	int64_t until = clock_mono_ms() + START_TIMEOUT_MS;

	do {
		channel_receive(c->master);
		for (size_t i = 0; i < c->held_count; i++) {
			frame_refuse(c->held[i].fd, ERR_UNAVAILABLE, sentence);
			close(c->held[i].fd);
		}
		c->held_count = 0;
	} while (!master_lets_go(c) && channel_is_open(c->master) && clock_mono_ms() < until);
}

/* serve --single: the process goes on */
static void cell_free(struct cell *c)
{
	if (c->attached != NULL)
		attached_free(c->attached);
	for (size_t i = 0; i < c->held_count; i++)
		close(c->held[i].fd);
	channel_free(c->queue);
	channel_free(c->control);
	channel_free(c->master);
	pool_free(c->pool);
	while (c->peers) {
		struct peer *p = c->peers;
		c->peers = p->next;
		mem_free(p);
	}
	pthread_mutex_destroy(&c->delivering);
	pthread_mutex_destroy(&c->holding);
	mem_wipe(c->key, sizeof(c->key));
	mem_free(c);
}

int role_cell(const struct cell_start *start)
{
	struct cell *c = MEM_NEW(struct cell);
	enum err e;

	c->start = *start;
	c->epoch = start->epoch;
	c->is_watched = start->is_watched;
	c->over_percent = -1;
	c->last_delivery_ms = clock_mono_ms();
	pthread_mutex_init(&c->delivering, NULL);
	pthread_mutex_init(&c->holding, NULL);
	log_context("account=%llu", (unsigned long long)start->account);
	signal(SIGPIPE, SIG_IGN);
	c->pool = pool_new(THREADS_MAX, on_alarm, c);
	const struct attach_host host = { &c->account, c, engines, check_grant, on_parked, on_told };
	c->attached = attached_new(c->pool, &host);
	c->queue = channel_new(-1, ROLE_CELL, ROLE_QUEUE, cell_queue_handlers, c, NULL);
	c->control = channel_new(-1, ROLE_CELL, ROLE_CONTROL, cell_control_handlers, c, NULL);
	c->master = channel_new(start->master_fd, ROLE_CELL, ROLE_MASTER, master_handlers_of_cell, c, on_master_gone);
	c->account.account = start->account;
	c->account.queue = c->queue;
	c->account.control = c->control;
	c->others = (struct others){ others_find, others_list, others_guest, others_visit, c };
	c->account.others = &c->others;
	e = read_key(c);
	if (e == ERR_OK)
		e = open_account(c);
	if (e != ERR_OK) {
		refuse_all(c, e == ERR_FULL ? TEXT_CELL_DISK_FULL : TEXT_CELL_NOT_OPENED);
		cell_free(c);
		return e == ERR_FULL ? CELL_DISK_FULL : CELL_FAILED;
	}
	watch_socket(c, c->master);
	watch_wake(c, c->master);
	watch_wake(c, c->queue);
	watch_wake(c, c->control);
	channel_notify(c->master, NOTICE_READY, STR(""), NULL, 0);
	cell_opened(c);
	pool_alarm(c->pool, clock_mono_ms() + TICK_MS);
	pool_run(c->pool);
	attached_free(c->attached);
	c->attached = NULL;
	if (!cell_is_replayed(c))
		view_close_unclean(c->account.view);  /* the next cell has to wait as well */
	else if (view_close(c->account.view) == ERR_OK)
		channel_notify(c->queue, NOTICE_CELL_SYNCED, STR(""), NULL, 0);
	channel_flush(c->queue);
	cell_free(c);
	return 0;
}
