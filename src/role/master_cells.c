/* Master's table account -> cell: starting, running, leaving. Never two for one account.
 *
 * A cell is made in three steps, each asked for and none waited for: its key from keys, its process from nursery, its channels
 * to queue and control. What wants the cell meanwhile waits in its slot (attachments) or is remembered (is_wanted).
 * A slot leaves `running` when its channel closes and is free for the next cell only when the exit was collected, by nursery
 * (EXITED) or, if nursery died, by master itself. The lock file of the account is the last guard. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/frame.h"
#include "role/role_private.h"
#include "store/account_folder.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAITING_MAX = 1024, OPENING_MAX = 16, OPENING_PATIENCE_MS = 3000, SLOTS_FACTOR = 4, SLOTS_MORE = 1000, CALL_TIMEOUT_MS = 10000, CRASH_PAUSE_MS = 2000, KEYS_PAUSE_MS = 100,
       ROOM_PAUSE_MS = 200, ROOM_WAIT_MS = 10000, CRASHES_BEFORE_PAUSE = 3,
       EXIT_GRACE_MS = 5000, LEAVE_GRACE_MS = 45000, FORGET_AFTER_MS = 60000, WATCHES_MAX = 1 << 20 };

enum slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_RUNNING, SLOT_LEAVING };

struct waiting { int fd; enum attach kind; };

struct cell_slot {
	struct master  *master;
	uint64_t        account;
	enum slot_state state;
	pid_t           pid;            /* known after SPAWN's answer */
	int             pid_fd;
	struct channel *ch;
	uint64_t        attached;       /* CELL_ATTACH messages sent to this process */
	bool            is_wanted;      /* somebody woke it while it was leaving */
	bool            may_leave;      /* LEAVE was granted: its exit is no crash */
	int             crashes;
	int64_t         not_before_ms;  /* after crashes: the next start; who asks before it is refused */
	int64_t         again_ms;       /* keys was not ready, or there was no room: the next start; who asks before it waits */
	bool            is_opening;     /* counted in cells_opening */
	int64_t         started_ms;
	bool            is_queued;
	struct cell_slot *next_queued;
	int64_t         no_room_ms;     /* since when it waits for room; 0: it does not */
	int64_t         left_ms;        /* since when it is leaving, or empty */
	uint32_t        epoch;          /* told while it had no channel yet */
	struct waiting *waiting;        /* attachments that wait for the start */
	size_t          waiting_count, waiting_cap;
	struct { struct channel *ch; uint32_t call; } ends[4];  /* who asked CELL_END */
	size_t          end_count;
};

static void slot_start(struct cell_slot *c);

/* NULL: too many accounts are asked for. A gate that was broken into names any number of them; an empty slot is forgotten
 * after a minute. */
static struct cell_slot *slot_of(struct master *m, uint64_t account)
{
	struct cell_slot *c = map_get_u64(&m->cells, account);

	if (c == NULL && m->cells.n >= SLOTS_FACTOR * m->cells_max + SLOTS_MORE)
		return NULL;
	if (c == NULL) {
		c = MEM_NEW(struct cell_slot);
		c->master = m;
		c->account = account;
		c->pid_fd = -1;
		map_set_u64(&m->cells, account, c);
	}
	return c;
}

/* Thousands of accounts are wanted at once: when all telephones come back, or a message goes to everybody. So many cells would only take
 * the processors from each other until every one of them is too late. A few are opened at a time, the others wait in the order they were
 * asked for. */
static void queue_up(struct cell_slot *c)
{
	struct master *m = c->master;

	c->is_wanted = true;
	if (c->is_queued)
		return;
	if (m->first_queued == NULL)
		m->queued_end = &m->first_queued;
	c->is_queued = true;
	c->next_queued = NULL;
	*m->queued_end = c;
	m->queued_end = &c->next_queued;
}

static void queue_leave(struct cell_slot *c)
{
	struct cell_slot **link = &c->master->first_queued;

	if (!c->is_queued)
		return;
	while (*link != c)
		link = &(*link)->next_queued;
	*link = c->next_queued;
	if (*link == NULL)
		c->master->queued_end = link;
	c->is_queued = false;
}

/* It is open, or never will be: the next ones. */
static void is_open(struct cell_slot *c)
{
	struct master *m = c->master;

	if (!c->is_opening)
		return;
	c->is_opening = false;
	m->cells_opening--;
	while (m->first_queued && m->cells_opening < OPENING_MAX && !m->stops) {
		struct cell_slot *next = m->first_queued;
		queue_leave(next);
		if (next->state == SLOT_EMPTY)
			slot_start(next);
	}
}

static void slot_free(struct cell_slot *c)
{
	queue_leave(c);
	map_set_u64(&c->master->cells, c->account, NULL);
	fd_close(&c->pid_fd);
	mem_free(c->waiting);
	mem_free(c);
}

static void refuse(int fd, enum err why, struct str sentence)
{
	CLEANUP(buf_free) struct buf b = BUF(1024);

	put_u8(&b, (uint8_t)why);
	put_str(&b, sentence);
	if (frame_send(fd, FRAME_REFUSED, buf_str(&b), 0) != ERR_OK)
		log_debug("refusal not sent");
	close(fd);
}

static void refuse_waiting(struct cell_slot *c, enum err why, struct str sentence)
{
	for (size_t i = 0; i < c->waiting_count; i++)
		refuse(c->waiting[i].fd, why, sentence);
	c->master->attaches_waiting -= c->waiting_count;
	c->waiting_count = 0;
}

/* Takes fd. */
static void send_attach(struct cell_slot *c, int fd, enum attach kind)
{
	uint8_t body = (uint8_t)kind;

	if (channel_notify(c->ch, NOTICE_CELL_ATTACH, str_make(&body, 1), &fd, 1) != ERR_OK) {
		refuse(fd, ERR_UNAVAILABLE, STR("this mailbox has more sessions than it can begin at once; please try again in a minute"));
		return;
	}
	c->attached++;
	close(fd);
}

static void end_answer(struct cell_slot *c)
{
	for (size_t i = 0; i < c->end_count; i++)
		channel_reply(c->ends[i].ch, c->ends[i].call, ERR_OK, STR(""), NULL, 0);
	c->end_count = 0;
}

/* The process is gone and collected: the account is free for the next cell. */
static void slot_collected(struct cell_slot *c, int status)
{
	bool is_clean = c->may_leave && WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (!is_clean && c->end_count == 0 && !c->master->stops) {
		log_warn("cell ended unexpectedly account=%llu pid=%d %s=%d", (unsigned long long)c->account, (int)c->pid,
		         WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		if (++c->crashes >= CRASHES_BEFORE_PAUSE)
			c->not_before_ms = clock_mono_ms() + CRASH_PAUSE_MS;
	}
	if (is_clean)
		c->crashes = 0;
	if (c->ch) {
		watch_forget(c->master->watch, c->ch);
		channel_free(c->ch);
		c->ch = NULL;
	}
	fd_close(&c->pid_fd);
	c->pid = 0;
	c->may_leave = false;
	c->state = SLOT_EMPTY;
	c->left_ms = clock_mono_ms();
	c->master->cells_running--;
	is_open(c);
	end_answer(c);
	if (c->master->stops)
		refuse_waiting(c, ERR_UNAVAILABLE, STR("the server is stopping; please try again in a moment"));
	if ((c->is_wanted || c->waiting_count) && !c->master->stops)
		slot_start(c);
	else if (c->crashes == 0 || c->master->stops)
		slot_free(c);
}

static void kill_cell(struct cell_slot *c)
{
	if (c->pid_fd >= 0)
		syscall(SYS_pidfd_send_signal, c->pid_fd, SIGKILL, NULL, 0);
	else if (c->ch != NULL)  /* serve --single: a thread can only be asked */
		channel_notify(c->ch, NOTICE_STOP, STR(""), NULL, 0);
}

/* The channel closed: the process is ending, or shall. */
static void on_cell_closed(void *context, UNUSED struct channel *ch)
{
	struct cell_slot *c = context;

	if (c->state == SLOT_RUNNING) {
		c->state = SLOT_LEAVING;
		c->left_ms = clock_mono_ms();
	}
}

/* A cell speaks for its own account: with a modseq from the future it would silence the waiting sessions of another one. */
static void on_changed(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct cell_slot *c = context;
	struct scan s = scan_of(msg->body);
	bool is_own = get_u64(&s) == c->account;

	get_u64(&s);
	if (!is_own || !get_end(&s)) {
		log_error("a cell reports a change of another account account=%llu", (unsigned long long)c->account);
		return;
	}
	for (int i = 0; i < c->master->gates; i++) {
		struct running *gate = master_role(c->master, ROLE_GATE, (uint32_t)i);
		if (gate && gate->ch)
			channel_notify(gate->ch, NOTICE_GATE_CHANGED, msg->body, NULL, 0);
	}
}

static void on_leave(void *context, struct channel *ch, struct message *msg)
{
	struct cell_slot *c = context;
	struct scan s = scan_of(msg->body);
	uint64_t seen = get_u64(&s);

	/* An attachment under way would be lost with the process. */
	c->may_leave = get_end(&s) && seen == c->attached && c->state == SLOT_RUNNING;
	if (c->may_leave)
		c->state = SLOT_LEAVING;
	c->left_ms = clock_mono_ms();
	channel_reply(ch, msg->call, c->may_leave ? ERR_OK : ERR_AGAIN, STR(""), NULL, 0);
}

static void on_open(void *context, UNUSED struct channel *ch, UNUSED struct message *msg) { is_open(context); }

static const struct channel_handler cell_handlers[] = {
	{ NOTICE_CHANGED, on_changed }, { REQUEST_LEAVE, on_leave }, { NOTICE_READY, on_open }, { 0 },
};

/* A fresh pair between the cell and a role: one end each. */
static void connect_cell(struct cell_slot *c, enum role role, uint16_t notice)
{
	struct running *r = master_role(c->master, role, 0);
	CLEANUP(buf_free) struct buf to_role = BUF(64), to_cell = BUF(64);
	int pair[2];

	if (r == NULL || r->ch == NULL || !channel_is_open(r->ch))
		return;  /* when it is back: cells_reconnect() */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_errno("socketpair", "cell");
		return;
	}
	put_u64(&to_role, c->account);
	put_u8(&to_cell, (uint8_t)role);
	put_u32(&to_cell, 0);
	channel_notify(c->ch, NOTICE_CONNECT, buf_str(&to_cell), &pair[0], 1);
	channel_notify(r->ch, notice, buf_str(&to_role), &pair[1], 1);
	close(pair[0]);
	close(pair[1]);
}

void cells_reconnect(struct master *m, enum role role)
{
	size_t at = 0;
	void *v;

	if (role != ROLE_QUEUE && role != ROLE_CONTROL)
		return;
	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (c->state == SLOT_RUNNING)
			connect_cell(c, role, role == ROLE_QUEUE ? NOTICE_CELL_CHANNEL : NOTICE_CONTROL_CELL);
	}
}

/* Idle cells stay half a minute for whoever comes back, as long as there is room. */
static void tell_crowded(struct cell_slot *c)
{
	uint8_t flag = c->master->is_crowded;

	if (c->ch)
		channel_notify(c->ch, NOTICE_CROWDED, str_make(&flag, 1), NULL, 0);
}

static void start_failed(struct cell_slot *c, const char *what, enum err e)
{
	log_error("cell not started account=%llu step=%s error=%s", (unsigned long long)c->account, what, err_name(e));
	refuse_waiting(c, ERR_UNAVAILABLE, STR("the mailbox cannot be opened at the moment; please try again in a minute"));
	if (c->ch) {
		watch_forget(c->master->watch, c->ch);
		channel_free(c->ch);
		c->ch = NULL;
	}
	c->state = SLOT_EMPTY;
	c->left_ms = clock_mono_ms();
	c->master->cells_running--;
	c->not_before_ms = clock_mono_ms() + CRASH_PAUSE_MS;
	is_open(c);
	end_answer(c);
}

static void on_spawned(void *context, struct message *answer)
{
	struct cell_slot *c = context;
	struct scan s = scan_of(answer->body);

	pid_t pid = (pid_t)get_u32(&s);
	if (answer->status != ERR_OK || !get_end(&s) || pid <= 0) {
		start_failed(c, "spawn", answer->status != ERR_OK ? answer->status : ERR_INVALID);
		return;
	}
	c->pid = pid;
	if (answer->fd_count == 1) {
		c->pid_fd = answer->fds[0];
		answer->fds[0] = -1;
	}
	if (c->state == SLOT_STARTING)
		c->state = channel_is_open(c->ch) ? SLOT_RUNNING : SLOT_LEAVING;
	c->left_ms = clock_mono_ms();
	connect_cell(c, ROLE_QUEUE, NOTICE_CELL_CHANNEL);
	connect_cell(c, ROLE_CONTROL, NOTICE_CONTROL_CELL);
	if (c->master->is_crowded)
		tell_crowded(c);
	for (size_t i = 0; i < c->waiting_count; i++)
		send_attach(c, c->waiting[i].fd, c->waiting[i].kind);
	c->master->attaches_waiting -= c->waiting_count;
	c->waiting_count = 0;
	if (c->end_count)
		kill_cell(c);
}

/* keys starts itself, or has not heard from control yet: no fault of the account, and over in a moment. What waits goes on waiting, as
 * long as its gate does. */
static void start_later(struct cell_slot *c)
{
	c->state = SLOT_EMPTY;
	c->left_ms = clock_mono_ms();
	c->master->cells_running--;
	c->is_wanted = true;
	c->again_ms = c->left_ms + KEYS_PAUSE_MS;
	is_open(c);
	end_answer(c);
}

static void on_key(void *context, struct message *answer)
{
	struct cell_slot *c = context;
	struct master *m = c->master;
	struct running *nursery = master_role(m, ROLE_NURSERY, 0);
	CLEANUP(buf_free) struct buf body = BUF(64);
	struct scan s = scan_of(answer->body);
	uint32_t epoch = get_u32(&s);
	int pair[2];

	if (answer->status == ERR_UNAVAILABLE && !m->stops) {
		start_later(c);
		return;
	}
	if (answer->status != ERR_OK || answer->fd_count != 1 || m->stops) {  /* cells_stop() has seen no channel of it */
		start_failed(c, "key", answer->status);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		start_failed(c, "socketpair", log_errno("socketpair", "cell"));
		return;
	}
	c->ch = channel_new(pair[0], ROLE_MASTER, ROLE_CELL, cell_handlers, c, on_cell_closed);
	watch_channel(m->watch, c->ch);
	put_u64(&body, c->account);
	put_u32(&body, epoch > c->epoch ? epoch : c->epoch);
	put_bool(&body, map_get_u64(&m->watches, c->account) != NULL);
	const int fds[2] = { pair[1], answer->fds[0] };
	channel_ask(nursery->ch, REQUEST_SPAWN, buf_str(&body), fds, 2, CALL_TIMEOUT_MS, on_spawned, c);
	close(pair[1]);
}

static void look_for_crowd(struct master *m)
{
	size_t at = 0;
	void *v;
	bool is_crowded = m->cells_running >= m->cells_max - m->cells_max / 4 || (m->is_crowded && m->cells_running >= m->cells_max / 2);

	if (is_crowded == m->is_crowded)
		return;
	m->is_crowded = is_crowded;
	log_info("many accounts are in use: idle ones are closed %s running=%zu most=%zu", is_crowded ? "at once" : "later again", m->cells_running,
	         m->cells_max);
	while (map_next(&m->cells, &at, NULL, &v))
		tell_crowded(v);
}

/* There is no room. A cell that has nothing to do leaves within seconds: so long whoever wants this one waits, then he is told. */
static void wait_for_room(struct cell_slot *c)
{
	int64_t now = clock_mono_ms();

	c->is_wanted = true;
	c->no_room_ms = c->no_room_ms ? c->no_room_ms : now;
	c->again_ms = now + ROOM_PAUSE_MS;
	if (now < c->no_room_ms + ROOM_WAIT_MS)
		return;
	log_warn("no room for another cell account=%llu running=%zu limit=\"cells_max, or the limit of open files\"",
	         (unsigned long long)c->account, c->master->cells_running);
	refuse_waiting(c, ERR_UNAVAILABLE, STR("too many mailboxes are in use at the moment; please try again in a minute"));
	c->no_room_ms = 0;
	c->not_before_ms = now + CRASH_PAUSE_MS;
}

static void slot_start(struct cell_slot *c)
{
	struct master *m = c->master;
	struct running *keys = master_role(m, ROLE_KEYS, 0);
	CLEANUP(buf_free) struct buf body = BUF(16);

	if (clock_mono_ms() < c->not_before_ms || clock_mono_ms() < c->again_ms) {
		c->is_wanted = true;  /* cells_tick() tries again */
		return;
	}
	if (m->cells_running >= m->cells_max) {
		wait_for_room(c);
		return;
	}
	if (m->cells_opening >= OPENING_MAX) {
		queue_up(c);
		return;
	}
	queue_leave(c);
	c->is_opening = true;
	c->started_ms = clock_mono_ms();
	m->cells_opening++;
	c->state = SLOT_STARTING;
	c->is_wanted = false;
	c->no_room_ms = 0;
	c->attached = 0;
	m->cells_running++;
	put_u64(&body, c->account);
	channel_ask(keys->ch, REQUEST_CELL_KEY, buf_str(&body), NULL, 0, CALL_TIMEOUT_MS, on_key, c);
}

static void want(struct master *m, uint64_t account)
{
	struct cell_slot *c = slot_of(m, account);

	if (c == NULL)
		log_warn("too many accounts are asked for, one is left asleep account=%llu", (unsigned long long)account);
	else if (c->state == SLOT_EMPTY)
		slot_start(c);
	else if (c->state == SLOT_LEAVING)
		c->is_wanted = true;
}

/* ATTACH from a gate: a descriptor for the account's cell. */
static void on_attach(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct running *r = context;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	uint8_t kind = get_u8(&s);

	if (!get_end(&s) || msg->fd_count != 1 || (kind != ATTACH_SESSION && kind != ATTACH_RENDER))
		return;
	struct cell_slot *c = slot_of(r->master, account);
	int fd = msg->fds[0];
	msg->fds[0] = -1;
	if (c && c->state == SLOT_RUNNING) {
		send_attach(c, fd, (enum attach)kind);
		return;
	}
	if (c == NULL || c->waiting_count == WAITING_MAX || r->master->attaches_waiting >= r->master->attaches_max ||
	    (c->state == SLOT_EMPTY && clock_mono_ms() < c->not_before_ms)) {
		refuse(fd, ERR_UNAVAILABLE, STR("the mailbox cannot be opened at the moment; please try again in a minute"));
		return;
	}
	if (c->waiting_count == c->waiting_cap) {
		c->waiting_cap = c->waiting_cap ? c->waiting_cap * 2 : 4;
		c->waiting = mem_resize(c->waiting, c->waiting_cap * sizeof(*c->waiting));
	}
	c->waiting[c->waiting_count++] = (struct waiting){ fd, (enum attach)kind };
	r->master->attaches_waiting++;
	want(r->master, account);
}

/* From queue or control. A cell that runs all the same: the role has lost its channel to it and gets a new one. */
static void on_wake(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct running *r = context;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	struct cell_slot *c = map_get_u64(&r->master->cells, account);

	if (!get_end(&s) || r->master->stops)
		return;
	if (c != NULL && c->state == SLOT_RUNNING)
		connect_cell(c, r->role, r->role == ROLE_QUEUE ? NOTICE_CELL_CHANNEL : NOTICE_CONTROL_CELL);
	else
		want(r->master, account);
}

static void on_watch(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct running *r = context;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	bool on = get_bool(&s);
	uint8_t flag;

	if (!get_end(&s))
		return;
	uintptr_t mask = (uintptr_t)map_get_u64(&r->master->watches, account);
	if (mask == 0 && r->master->watches.n >= WATCHES_MAX)
		return;  /* a gate that asks for more makes things up: its word does not decide how much memory we use */
	mask = on ? mask | (uintptr_t)1 << r->index : mask & ~((uintptr_t)1 << r->index);
	map_set_u64(&r->master->watches, account, (void *)mask);
	struct cell_slot *c = map_get_u64(&r->master->cells, account);
	flag = mask != 0;
	if (c && c->state == SLOT_RUNNING)
		channel_notify(c->ch, NOTICE_CELL_WATCHED, str_make(&flag, 1), NULL, 0);
}

static void on_epoch(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct master *m = ((struct running *)context)->master;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	uint32_t epoch = get_u32(&s);
	struct cell_slot *c = map_get_u64(&m->cells, account);

	if (!get_end(&s))
		return;
	for (int i = 0; i < m->gates; i++) {
		struct running *gate = master_role(m, ROLE_GATE, (uint32_t)i);
		if (gate && gate->ch)
			channel_notify(gate->ch, NOTICE_GATE_EPOCH, msg->body, NULL, 0);
	}
	if (c && c->ch)
		channel_notify(c->ch, NOTICE_CELL_EPOCH, msg->body, NULL, 0);
	else if (c && epoch > c->epoch)  /* it is starting, and the answer of keys may be older than this */
		c->epoch = epoch;
}

static void on_end(void *context, struct channel *ch, struct message *msg)
{
	struct master *m = ((struct running *)context)->master;
	struct scan s = scan_of(msg->body);
	struct cell_slot *c = map_get_u64(&m->cells, get_u64(&s));

	if (c == NULL || c->state == SLOT_EMPTY) {
		channel_reply(ch, msg->call, ERR_OK, STR(""), NULL, 0);
		return;
	}
	if (c->end_count == COUNT_OF(c->ends)) {
		channel_reply(ch, msg->call, ERR_AGAIN, STR(""), NULL, 0);
		return;
	}
	c->ends[c->end_count].ch = ch;
	c->ends[c->end_count++].call = msg->call;
	if (c->state != SLOT_STARTING)
		kill_cell(c);
}

void cells_asker_gone(struct master *m, const struct channel *ch)
{
	size_t at = 0;
	void *v;

	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		size_t kept = 0;
		for (size_t i = 0; i < c->end_count; i++)
			if (c->ends[i].ch != ch)
				c->ends[kept++] = c->ends[i];
		c->end_count = kept;
	}
}

static void on_account_folder(void *context, struct channel *ch, struct message *msg)
{
	struct master *m = ((struct running *)context)->master;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	enum err e = get_end(&s) ? account_folder_make(m->options.dir, account, m->cell_uid, m->cell_gid) : ERR_INVALID;

	channel_reply(ch, msg->call, e, STR(""), NULL, 0);
}

static void on_account_remove(void *context, struct channel *ch, struct message *msg)
{
	struct master *m = ((struct running *)context)->master;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	struct cell_slot *c = map_get_u64(&m->cells, account);
	bool is_open = c != NULL && c->state != SLOT_EMPTY;
	enum err e = !get_end(&s) ? ERR_INVALID : is_open ? ERR_AGAIN : account_folder_remove(m->options.dir, account);

	channel_reply(ch, msg->call, e, STR(""), NULL, 0);
}

static void on_exited(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct master *m = ((struct running *)context)->master;
	struct scan s = scan_of(msg->body);
	struct cell_slot *c = map_get_u64(&m->cells, get_u64(&s));
	pid_t pid = (pid_t)get_u32(&s);

	int status = (int)get_u32(&s);
	/* SPAWN's answer and EXITED come over the same channel, in order: the pid is known unless it is an older process's. */
	if (get_end(&s) && c && pid > 0 && c->pid == pid)  /* 0: it has no process yet, and questions under way name it */
		slot_collected(c, status);
}

void cells_collected(struct master *m, pid_t pid, int status)
{
	size_t at = 0;
	void *v;

	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (c->pid == pid) {
			slot_collected(c, status);
			return;
		}
	}
}

static void on_ready(void *context, UNUSED struct channel *ch, UNUSED struct message *msg)
{
	struct running *r = context;

	r->is_ready = true;
	log_debug("role is ready name=%s index=%u", role_name(r->role), r->index);
}

const struct channel_handler master_handlers[] = {
	{ NOTICE_READY, on_ready },       { NOTICE_ATTACH, on_attach },         { NOTICE_WATCH, on_watch },
	{ NOTICE_WAKE, on_wake },         { NOTICE_CONTROL_WAKE, on_wake },     { NOTICE_EPOCH, on_epoch },
	{ REQUEST_CELL_END, on_end },     { REQUEST_QUEUE_CELL_END, on_end },   { REQUEST_ACCOUNT_FOLDER, on_account_folder },
	{ NOTICE_EXITED, on_exited },     { REQUEST_ACCOUNT_REMOVE, on_account_remove },
	{ NOTICE_COUNTS, gate_on_counts },  { 0 },
};

/* The process has ended, as its descriptor says, and nobody told us: nursery died between collecting it and saying so. */
static bool has_ended_unseen(const struct cell_slot *c, int64_t now)
{
	struct pollfd p = { c->pid_fd, POLLIN, 0 };

	return c->state == SLOT_LEAVING && c->pid_fd >= 0 && now > c->left_ms + 2 * EXIT_GRACE_MS && poll(&p, 1, 0) == 1;
}

/* One that was let go may have a large WAL to copy on a slow disk, and holds its channel until that is done: less than the minute
 * that a gate waits for the next cell of the account. One that closed its channel has nothing left to do. */
static int64_t leave_grace_ms(const struct cell_slot *c)
{
	return c->ch && channel_is_open(c->ch) ? LEAVE_GRACE_MS : EXIT_GRACE_MS;
}

void cells_tick(struct master *m)
{
	int64_t now = clock_mono_ms();
	size_t at = 0;
	void *v;

	look_for_crowd(m);
	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (now > c->started_ms + OPENING_PATIENCE_MS)
			is_open(c);  /* a large WAL, a slow disk: the others need not wait for it */
		if (has_ended_unseen(c, now)) {
			slot_collected(c, W_EXITCODE(1, 0));  /* perhaps freed */
			continue;
		}
		if (c->state == SLOT_EMPTY && (c->is_wanted || c->waiting_count) && !c->is_queued && now >= c->not_before_ms &&
		    now >= c->again_ms && !m->stops)
			slot_start(c);
		else if (c->state == SLOT_LEAVING && now > c->left_ms + leave_grace_ms(c) && c->pid_fd >= 0)
			kill_cell(c);
		if (c->state == SLOT_RUNNING && c->crashes && now > c->left_ms + FORGET_AFTER_MS)
			c->crashes = 0;
		else if (c->state == SLOT_EMPTY && !c->is_wanted && c->waiting_count == 0 && now > c->left_ms + FORGET_AFTER_MS)
			slot_free(c);
	}
}

void cells_stop(struct master *m)
{
	size_t at = 0;
	void *v;

	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (c->ch)
			channel_notify(c->ch, NOTICE_STOP, STR(""), NULL, 0);
		c->may_leave = true;
	}
}

void cells_notify(struct master *m, uint16_t notice, int fd)
{
	size_t at = 0;
	void *v;

	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (c->ch)
			channel_notify(c->ch, notice, STR(""), &fd, 1);
	}
}

size_t cells_left(const struct master *m) { return m->cells_running; }
