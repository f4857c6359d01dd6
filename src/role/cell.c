/* A cell: one account, its sessions, its deliveries.
 *
 * Threads of one pool (net/pool.h) serve three kinds of sources: the channels to master, queue and control, and the sockets of
 * sessions (net/attach.h). Everything durable happens in the store, which has its own lock; here is only the life around it:
 * open, watch the clock, publish what was delivered when somebody looks, and leave when there is nothing to do.
 *
 * After an unclean stop there may be torn deliveries until the queue has sent again what it cannot be sure of (DESIGN.md §4.5). Until
 * then no session is taken (CELL_REPLAYED, held), the cell does not leave, and it does not end as cleanly closed either.
 *
 * Leaving: asked of master with the number of attachments seen; master refuses when one is under way, so none is lost. After
 * the permission nothing new arrives from gates; what queue sent meanwhile is unanswered and will be sent again to the next
 * cell, marked as perhaps delivered. */
#include "role/cell.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/local.h"
#include "directory/info.h"
#include "imap/engine.h"
#include "net/attach.h"
#include "pop3/engine.h"
#include "role/door.h"
#include "role/role.h"
#include "smtpd/submission.h"
#include "store/command.h"
#include "store/rights.h"
#include "store/view.h"
#include "submit/account.h"
#include "submit/sending.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	THREADS_MAX = 14 /* submit/account.h */, TICK_MS = 1000, PUBLISH_EVERY_MS = 50, LEAVE_AFTER_DELIVERY_MS = 1000, LEAVE_AFTER_WORK_MS = 30000,
	STOP_GRACE_MS = 10000, STOP_LOOK_MS = 50,
	REPLAY_TIMEOUT_MS = 24 * 3600 * 1000, HELD_MAX = 1024, START_TIMEOUT_MS = 10000, INFO_TIMEOUT_MS = 5000, OTHERS_TIMEOUT_MS = 5000, LEAVE_TIMEOUT_MS = 5000,
};

struct peer {  /* a channel and the source of its present socket, or of its wake descriptor; kept until the cell ends */
	struct peer    *next;
	struct channel *ch;
	int             fd;
	struct pool    *pool;
	uint64_t        source;
};

struct held {  /* a session that waits for the replay */
	int         fd;
	enum attach kind;
	uint64_t    guest;           /* ATTACH_GUEST: whose */
};

struct cell {
	struct cell_start  start;
	uint8_t            key[GRANT_KEY_SIZE];
	_Atomic uint32_t   epoch;
	_Atomic bool       is_watched;
	struct pool       *pool;
	struct attached   *attached;
	struct channel    *master, *queue, *control;
	struct account     account;
	struct others      others;
	struct deliver_settings delivery;
	pthread_mutex_t    delivering;      /* one batch at a time: deliveries keep their order */
	_Atomic int64_t    last_work_ms;    /* a session was here */
	_Atomic int64_t    last_delivery_ms;
	_Atomic int64_t    last_publish_ms;
	_Atomic bool       must_publish;
	_Atomic bool       is_crowded;      /* others wait for our place */
	_Atomic uint64_t   attaches_seen;
	_Atomic int64_t    stops_ms;        /* STOP was heard then; 0: not yet */
	struct peer       *peers;
	pthread_mutex_t    holding;         /* guards the next four, and peers */
	bool               is_open, is_replayed;
	struct held        held[HELD_MAX];
	size_t             held_count;
	_Atomic int        over_percent;    /* of the quota, as last reported: 0, 90, 100 */
	_Atomic uint64_t   changed, told;   /* newest modseq that is visible; that master was told of */
};

static void tell_changed(struct cell *c)
{
	CLEANUP(buf_free) struct buf b = BUF(32);
	uint64_t modseq = c->changed, told = c->told;

	while (modseq > told)
		if (atomic_compare_exchange_weak(&c->told, &told, modseq)) {
			put_u64(&b, c->start.account);
			put_u64(&b, modseq);
			channel_notify(c->master, NOTICE_CHANGED, buf_str(&b), NULL, 0);
			return;
		}
}

static void tell_newest(struct cell *c)
{
	uint64_t known = c->changed, newest = view_modseq(c->account.view);

	while (newest > known && !atomic_compare_exchange_weak(&c->changed, &known, newest))
		;
	c->told = 0;
	tell_changed(c);
}

/* Only sessions that wait in a gate hear of a change this way, and each notice wakes master and every gate: while none waits it is kept
 * back. Either this thread sees that somebody began to wait, or the one that saw it begin sees the change (watch()). */
static void on_changed(void *context, UNUSED uint64_t account, uint64_t modseq)
{
	struct cell *c = context;
	uint64_t known = c->changed;

	while (modseq > known && !atomic_compare_exchange_weak(&c->changed, &known, modseq))
		;
	if (c->is_watched)
		tell_changed(c);
	if (c->attached != NULL)
		attached_changed(c->attached);
}

static void on_wait(void *context)
{
	struct cell *c = context;

	if (c->account.view != NULL)  /* nobody is served while it is being opened */
		pool_will_wait(c->pool);
}

static void watch(struct cell *c)
{
	c->is_watched = true;
	tell_changed(c);
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
		watch(c);  /* the gate's WATCH is on its way */
	c->last_work_ms = clock_mono_ms();
}

static bool has_viewers(struct cell *c) { return c->is_watched || attached_count(c->attached) > 0; }

static void publish(struct cell *c)
{
	c->must_publish = false;
	c->last_publish_ms = clock_mono_ms();
	if (view_publish(c->account.view) != ERR_OK)
		log_error("what was delivered could not be synced; it stays in the queue's log account=%llu",
		          (unsigned long long)c->start.account);
}

/* "Seen means synced": at most 20 times a second, and only for those who look (DESIGN.md §4.5). */
static void publish_soon(struct cell *c)
{
	int64_t now = clock_mono_ms();

	if (!has_viewers(c))
		return;  /* the sync point of the queue does it */
	if (now >= c->last_publish_ms + PUBLISH_EVERY_MS) {
		publish(c);
		return;
	}
	c->must_publish = true;
	pool_alarm(c->pool, c->last_publish_ms + PUBLISH_EVERY_MS);
}

static void report_usage(struct cell *c, bool always)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	struct quota q;

	view_quota(c->account.view, &q);
	int percent = q.percent >= 100 ? 100 : q.percent >= 90 ? 90 : 0;
	if (percent == c->over_percent && !always)
		return;
	c->over_percent = percent;
	put_u64(&b, c->start.account);
	put_u64(&b, q.used_bytes);
	put_u64(&b, q.messages);
	put_bool(&b, percent == 100);
	channel_notify(c->control, NOTICE_USAGE, buf_str(&b), NULL, 0);
}

static void on_deliver(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);

	pool_will_wait(c->pool);
	pthread_mutex_lock(&c->delivering);
	enum err e = deliver_serve(c->account.view, &c->delivery, m, &answer);
	pthread_mutex_unlock(&c->delivering);
	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
	c->last_delivery_ms = clock_mono_ms();
	if (e == ERR_OK) {
		publish_soon(c);
		report_usage(c, false);
	}
	pool_alarm(c->pool, clock_mono_ms() + TICK_MS);
}

static void on_sync(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;

	pool_will_wait(c->pool);
	channel_reply(ch, m->call, view_publish(c->account.view), STR(""), NULL, 0);
}

static void use_settings(struct cell *c, const struct account_info *info)
{
	pthread_mutex_lock(&c->delivering);
	int64_t limit = conf_number(info->conf, SETTING_imap_message_limit);
	c->account.message_limit = (uint32_t)(limit == 0 || limit > MESSAGE_LIMIT_MIN ? limit : MESSAGE_LIMIT_MIN);
	c->delivery.detail_is_folder = conf_on(info->conf, SETTING_detail_is_folder);
	c->delivery.full_is_refused = !conf_on(info->conf, SETTING_over_quota_temporary);
	pthread_mutex_unlock(&c->delivering);
}

/* Settings changed: the limits are in the command, the rest is asked for. */
static void read_settings_again(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(account_info_free) struct account_info info = { 0 };

	if (account_info_ask(c->control, c->start.account, INFO_TIMEOUT_MS, &a, &info) != ERR_OK)
		return;
	use_settings(c, &info);
	view_set_undelete_days(c->account.view, (uint32_t)conf_number(info.conf, SETTING_undelete_days));
}

/* Other servers have refused some of its mail: is it still the owner who sends? */
static void weigh_refusals(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(account_info_free) struct account_info info = { 0 };

	if (account_info_ask(c->control, c->start.account, INFO_TIMEOUT_MS, &a, &info) == ERR_OK)
		submit_sending_weigh(&c->account, &info);
}

/* Control's table follows the lists of rights, also after a kill between the two, or while control was away. */
static void tell_shares(struct cell *c)
{
	if (!acl_is_untold(c->account.view) || !channel_is_open(c->control))
		return;
	pool_will_wait(c->pool);
	if (acl_tell(c->account.view, c->control, INFO_TIMEOUT_MS) != ERR_OK)
		log_warn("with whom mailboxes are shared could not be noted yet account=%llu; it is tried again",
		         (unsigned long long)c->start.account);
}

static void on_command(void *context, struct channel *ch, struct message *m)
{
	struct cell *c = context;
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	struct store_command command = { 0 };

	pool_will_wait(c->pool);
	publish(c);  /* the administrator looks, too */
	enum err e = store_command_serve(c->account.view, m->body, &answer);
	if (e == ERR_OK && store_command_decode(m->body, &command) == ERR_OK && command.kind == STORE_COMMAND_LIMITS)
		read_settings_again(c);
	else if (e == ERR_OK && command.kind == STORE_COMMAND_REFUSED)
		weigh_refusals(c);
	tell_shares(c);
	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
	c->last_delivery_ms = clock_mono_ms();
}

static const struct channel_handler queue_handlers[] = { { REQUEST_DELIVER, on_deliver }, { REQUEST_CELL_SYNC, on_sync }, { 0 } };
static const struct channel_handler control_handlers[] = { { REQUEST_CELL_COMMAND, on_command }, { 0 } };

/* ---- the replay after an unclean stop */

static bool is_replayed(struct cell *c)
{
	pthread_mutex_lock(&c->holding);
	bool done = c->is_replayed;
	pthread_mutex_unlock(&c->holding);
	return done;
}

static void let_in(struct cell *c, const struct held *h)
{
	if (h->kind == ATTACH_GUEST)
		attached_take_guest(c->attached, h->fd, h->guest);
	else
		attached_take(c->attached, h->fd, h->kind);
}

/* What the replay brought is durable and visible; then those who waited come in. */
static void serve_sessions(struct cell *c)
{
	publish(c);
	pthread_mutex_lock(&c->holding);
	c->is_replayed = true;
	size_t n = c->held_count;
	c->held_count = 0;
	pthread_mutex_unlock(&c->holding);
	for (size_t i = 0; i < n; i++)  /* nobody adds any more */
		let_in(c, &c->held[i]);
}

static void on_replayed(void *context, struct message *answer)
{
	struct cell *c = context;

	/* the queue is gone: its next channel asks again; an answer may also come twice */
	if (answer->status == ERR_OK && !is_replayed(c))
		serve_sessions(c);
}

static void ask_replayed(struct cell *c)
{
	pthread_mutex_lock(&c->holding);
	bool must_ask = c->is_open && !c->is_replayed && channel_is_open(c->queue);
	pthread_mutex_unlock(&c->holding);
	if (must_ask)
		channel_ask(c->queue, REQUEST_CELL_REPLAYED, STR(""), NULL, 0, REPLAY_TIMEOUT_MS, on_replayed, c);
}

/* True: the session waits. */
static bool hold(struct cell *c, const struct held *h)
{
	pthread_mutex_lock(&c->holding);
	bool waits = !c->is_replayed;
	if (waits && c->held_count < HELD_MAX)
		c->held[c->held_count++] = *h;
	else if (waits)
		close(h->fd);
	pthread_mutex_unlock(&c->holding);
	return waits;
}

static void account_is_open(struct cell *c)
{
	pthread_mutex_lock(&c->holding);
	c->is_open = true;
	pthread_mutex_unlock(&c->holding);
	if (view_was_unclean(c->account.view))
		ask_replayed(c);
	else
		serve_sessions(c);  /* those that came while it was being opened */
}

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
		ask_replayed(c);
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
	bool waits = hold(c, &h);
	if (!waits)
		let_in(c, &h);
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
		tell_newest(c);
	if (on) {
		watch(c);
		publish_soon(c);
	} else {
		c->is_watched = false;
	}
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

	return is_replayed(c) && attached_count(c->attached) == 0 && now >= c->last_work_ms + after_work_ms &&
	       now >= c->last_delivery_ms + LEAVE_AFTER_DELIVERY_MS;
}

static void leave(struct cell *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message answer;

	report_usage(c, true);
	put_u64(&b, c->attaches_seen);
	pool_will_wait(c->pool);
	if (channel_call(c->master, REQUEST_LEAVE, buf_str(&b), NULL, 0, LEAVE_TIMEOUT_MS, &a, &answer) == ERR_OK)
		pool_stop(c->pool);
}

/* True: there is more to do. Where nobody looks, deliveries stay unsynced here: the queue asks for it, or syncs the whole file system, or
 * they are synced when the cell leaves, in one go with the note that it left cleanly. */
static bool tick_view(struct cell *c)
{
	if (has_viewers(c))
		publish(c);
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
		publish(c);
	bool has_more = tick_view(c);
	tell_shares(c);
	report_usage(c, false);  /* a session made room, or filled it: mx hears of it while it goes on */
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
	use_settings(c, &info);
	const struct view_config config = {
		.account = c->start.account, .limits = view_limits_of(info.conf),
		.french = info.french, .on_changed = on_changed, .on_wait = on_wait, .context = c,
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
	const struct attach_host host = { &c->account, c, engines, check_grant, on_parked };
	c->attached = attached_new(c->pool, &host);
	c->queue = channel_new(-1, ROLE_CELL, ROLE_QUEUE, queue_handlers, c, NULL);
	c->control = channel_new(-1, ROLE_CELL, ROLE_CONTROL, control_handlers, c, NULL);
	c->master = channel_new(start->master_fd, ROLE_CELL, ROLE_MASTER, master_handlers_of_cell, c, on_master_gone);
	c->account.account = start->account;
	c->account.queue = c->queue;
	c->account.control = c->control;
	c->others = (struct others){ others_find, others_list, others_guest, others_visit, c };
	c->account.others = &c->others;
	if (read_key(c) != ERR_OK || open_account(c) != ERR_OK) {
		cell_free(c);
		return 1;
	}
	watch_socket(c, c->master);
	watch_wake(c, c->master);
	watch_wake(c, c->queue);
	watch_wake(c, c->control);
	channel_notify(c->master, NOTICE_READY, STR(""), NULL, 0);
	account_is_open(c);
	pool_alarm(c->pool, clock_mono_ms() + TICK_MS);
	pool_run(c->pool);
	attached_free(c->attached);
	c->attached = NULL;
	if (!is_replayed(c))
		view_close_unclean(c->account.view);  /* the next cell has to wait as well */
	else if (view_close(c->account.view) == ERR_OK)
		channel_notify(c->queue, NOTICE_CELL_SYNCED, STR(""), NULL, 0);
	channel_flush(c->queue);
	cell_free(c);
	return 0;
}
