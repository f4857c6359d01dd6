/* Master's table account -> cell: starting, running, leaving. Never two for one account.
 *
 * A cell is made in three steps, each asked for and none waited for: its key from keys, its process from nursery, its channels
 * to queue and control. What wants the cell meanwhile waits in its slot (attachments) or is remembered (is_wanted).
 * A slot leaves `running` when its channel closes and is free for the next cell only when the exit was collected, by nursery
 * (EXITED) or, if nursery died, by master itself. The lock file of the account is the last guard. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/cell.h"
#include "role/master_cell.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPENING_PATIENCE_MS = 3000, SLOTS_FACTOR = 4, SLOTS_MORE = 1000, CALL_TIMEOUT_MS = 10000, KEYS_PAUSE_MS = 100, CRASHES_BEFORE_PAUSE = 3,
       EXIT_GRACE_MS = 5000, LEAVE_GRACE_MS = 45000, FORGET_AFTER_MS = 60000 };

/* NULL: too many accounts are asked for. A gate that was broken into names any number of them; an empty slot is forgotten
 * after a minute. */
struct cell_slot *cell_of(struct master *m, uint64_t account)
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

static void slot_free(struct cell_slot *c)
{
	turn_forget(c);
	map_set_u64(&c->master->cells, c->account, NULL);
	fd_close(&c->pid_fd);
	mem_free(c->waiting);
	mem_free(c);
}

void attach_refuse(int fd, enum text sentence)
{
	frame_refuse(fd, ERR_UNAVAILABLE, sentence);
	close(fd);
}

void cell_refuse_waiting(struct cell_slot *c, enum text sentence)
{
	for (size_t i = 0; i < c->waiting_count; i++)
		attach_refuse(c->waiting[i].fd, sentence);
	c->master->attaches_waiting -= c->waiting_count;
	c->waiting_count = 0;
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

bool cell_send_attach(struct cell_slot *c, const struct waiting *w)
{
	CLEANUP(buf_free) struct buf body = BUF(16);
	int fd = w->fd;

	put_u8(&body, (uint8_t)w->kind);
	if (w->kind == ATTACH_GUEST)
		put_u64(&body, w->guest);
	enum err e = channel_notify(c->ch, NOTICE_CELL_ATTACH, buf_str(&body), &fd, 1);

	if (e == ERR_UNAVAILABLE) {  /* it has just died, and nobody has seen it yet */
		on_cell_closed(c, c->ch);
		return false;
	}
	if (e != ERR_OK) {
		attach_refuse(fd, TEXT_CELL_MANY_SESSIONS);
		return true;
	}
	c->attached++;
	close(fd);
	return true;
}

static void free_channel(struct cell_slot *c)
{
	if (c->ch == NULL)
		return;
	pairs_asker_gone(c->master, c->ch);
	watch_forget(c->master->watch, c->ch);
	channel_free(c->ch);
	c->ch = NULL;
}

static void end_answer(struct cell_slot *c)
{
	for (size_t i = 0; i < c->end_count; i++)
		channel_reply(c->ends[i].ch, c->ends[i].call, ERR_OK, STR(""), NULL, 0);
	c->end_count = 0;
}

void cell_collected(struct cell_slot *c, int status)
{
	bool is_clean = c->may_leave && WIFEXITED(status) && WEXITSTATUS(status) == 0;

	c->was_full = WIFEXITED(status) && WEXITSTATUS(status) == CELL_DISK_FULL;
	if (!is_clean && c->end_count == 0 && !c->master->stops) {
		log_warn("cell ended unexpectedly account=%llu pid=%d %s=%d", (unsigned long long)c->account, (int)c->pid,
		         WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		if (++c->crashes >= CRASHES_BEFORE_PAUSE)
			c->not_before_ms = clock_mono_ms() + CELL_CRASH_PAUSE_MS;
		else if (map_get_u64(&c->master->watches, c->account) != NULL)
			c->is_wanted = true;  /* it may have died between a change and its notice: the next one tells who waits to look */
	}
	if (is_clean)
		c->crashes = 0;
	free_channel(c);
	fd_close(&c->pid_fd);
	c->pid = 0;
	c->may_leave = false;
	c->state = SLOT_EMPTY;
	c->left_ms = clock_mono_ms();
	c->master->cells_running--;
	turn_is_over(c);
	end_answer(c);
	if (c->master->stops)
		cell_refuse_waiting(c, TEXT_GATE_STOPPING);
	if ((c->is_wanted || c->waiting_count) && !c->master->stops)
		cell_start(c);
	else if (c->crashes == 0 || c->master->stops)
		slot_free(c);
}

/* 0: it is none of a process; -1: of one that is gone. */
static pid_t pid_of(int pid_fd)
{
	char path[64], room[512];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pid_fd);
	CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, room, sizeof(room)) : -1;
	struct str text = str_make(room, n > 0 ? (size_t)n : 0);
	ptrdiff_t at = str_find(text, STR("\nPid:\t"));
	if (at < 0)
		return 0;
	struct scan s = scan_of(str_from(text, (size_t)at + 6));
	if (scan_take(&s, '-'))
		return -1;
	uint64_t pid = scan_number(&s, INT32_MAX);
	return s.failed ? 0 : (pid_t)pid;
}

/* Which process it is says nursery, which may have been taken over, and master is root: only a cell is ended. Cells are of the process group of
 * their nursery (become_role()), into which it can bring nobody else. */
static bool is_cell(const struct cell_slot *c)
{
	pid_t pid = pid_of(c->pid_fd);

	if (pid == c->pid && getpgid(pid) == c->nursery)
		return true;
	if (pid != -1)
		log_error("nursery has named a process that is no cell account=%llu pid=%d", (unsigned long long)c->account, (int)c->pid);
	return false;
}

void cell_kill(struct cell_slot *c)
{
	if (c->pid_fd >= 0 && is_cell(c))
		syscall(SYS_pidfd_send_signal, c->pid_fd, SIGKILL, NULL, 0);
	else if (c->pid_fd < 0 && c->ch != NULL)  /* serve --single: a thread can only be asked */
		channel_notify(c->ch, NOTICE_STOP, STR(""), NULL, 0);
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
	uintptr_t concerned = c->gates | (uintptr_t)map_get_u64(&c->master->watches, c->account);
	for (int i = 0; i < c->master->gates; i++) {
		struct running *gate = concerned & (uintptr_t)1 << i ? master_role(c->master, ROLE_GATE, (uint32_t)i) : NULL;
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

static void on_open(void *context, UNUSED struct channel *ch, UNUSED struct message *msg) { turn_is_over(context); }

static const struct channel_handler cell_handlers[] = {
	{ NOTICE_CHANGED, on_changed }, { REQUEST_LEAVE, on_leave }, { NOTICE_READY, on_open }, { REQUEST_VISIT, cell_on_visit }, { 0 },
};

void cell_connect(struct cell_slot *c, enum role role, uint16_t notice)
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
			cell_connect(c, role, role == ROLE_QUEUE ? NOTICE_CELL_CHANNEL : NOTICE_CONTROL_CELL);
	}
}

static void start_failed(struct cell_slot *c, const char *what, enum err e)
{
	log_error("cell not started account=%llu step=%s error=%s", (unsigned long long)c->account, what, err_name(e));
	cell_refuse_waiting(c, TEXT_CELL_NOT_OPENED);
	free_channel(c);
	c->state = SLOT_EMPTY;
	c->was_full = false;
	c->left_ms = clock_mono_ms();
	c->master->cells_running--;
	c->not_before_ms = clock_mono_ms() + CELL_CRASH_PAUSE_MS;
	turn_is_over(c);
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
	cell_connect(c, ROLE_QUEUE, NOTICE_CELL_CHANNEL);
	cell_connect(c, ROLE_CONTROL, NOTICE_CONTROL_CELL);
	if (c->master->is_crowded)
		turn_tell_crowded(c);
	for (size_t i = 0; i < c->waiting_count; i++)
		if (!cell_send_attach(c, &c->waiting[i]))
			attach_refuse(c->waiting[i].fd, TEXT_CELL_NOT_OPENED);
	c->master->attaches_waiting -= c->waiting_count;
	c->waiting_count = 0;
	if (c->end_count)
		cell_kill(c);
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
	turn_is_over(c);
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
	c->nursery = nursery->pid;
	const int fds[2] = { pair[1], answer->fds[0] };
	channel_ask(nursery->ch, REQUEST_SPAWN, buf_str(&body), fds, 2, CALL_TIMEOUT_MS, on_spawned, c);
	close(pair[1]);
}

void cell_start(struct cell_slot *c)
{
	struct master *m = c->master;
	CLEANUP(buf_free) struct buf body = BUF(16);

	if (!turn_has_come(c))
		return;
	c->state = SLOT_STARTING;
	c->attached = 0;
	m->cells_running++;
	put_u64(&body, c->account);
	channel_ask(master_role(m, ROLE_KEYS, 0)->ch, REQUEST_CELL_KEY, buf_str(&body), NULL, 0, CALL_TIMEOUT_MS, on_key, c);
}

void cells_collected(struct master *m, pid_t pid, int status)
{
	size_t at = 0;
	void *v;

	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (c->pid == pid) {
			cell_collected(c, status);
			return;
		}
	}
}

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

	turns_tick(m);
	while (map_next(&m->cells, &at, NULL, &v)) {
		struct cell_slot *c = v;
		if (now > c->started_ms + OPENING_PATIENCE_MS)
			turn_is_over(c);  /* a large WAL, a slow disk: the others need not wait for it */
		if (has_ended_unseen(c, now)) {
			cell_collected(c, W_EXITCODE(1, 0));  /* perhaps freed */
			continue;
		}
		if (c->state == SLOT_EMPTY && (c->is_wanted || c->waiting_count) && !c->is_queued && now >= c->not_before_ms &&
		    now >= c->again_ms && !m->stops)
			cell_start(c);
		else if (c->state == SLOT_LEAVING && now > c->left_ms + leave_grace_ms(c) && c->pid_fd >= 0)
			cell_kill(c);
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
