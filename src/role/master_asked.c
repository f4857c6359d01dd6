/* What roles ask of master about accounts: a cell for a session, to wake one, to end it, who watches, an account's folder.
 *
 * A gate or a cell that was taken over says what it likes: numbers are bounded, nothing is trusted but which channel it came by. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/master_cell.h"
#include "store/account_folder.h"
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MAX = 1024, WATCHES_MAX = 1 << 20, VISITS_MAX = 2000, VISITS_MS = 10000 };

static void want(struct master *m, uint64_t account)
{
	struct cell_slot *c = cell_of(m, account);

	if (c == NULL)
		log_warn("too many accounts are asked for, one is left asleep account=%llu", (unsigned long long)account);
	else if (c->state == SLOT_EMPTY)
		cell_start(c);
	else if (c->state == SLOT_LEAVING)
		c->is_wanted = true;
}

void cell_attach(struct master *m, uint64_t account, const struct waiting *w)
{
	struct cell_slot *c = cell_of(m, account);

	if (c && c->state == SLOT_RUNNING && cell_send_attach(c, w))
		return;
	if (c == NULL || c->waiting_count == WAITING_MAX || m->attaches_waiting >= m->attaches_max ||
	    (c->state == SLOT_EMPTY && clock_mono_ms() < c->not_before_ms)) {
		attach_refuse(w->fd, c != NULL && c->was_full ? TEXT_CELL_DISK_FULL : TEXT_CELL_NOT_OPENED);
		return;
	}
	if (c->waiting_count == c->waiting_cap) {
		c->waiting_cap = c->waiting_cap ? c->waiting_cap * 2 : 4;
		c->waiting = mem_resize(c->waiting, c->waiting_cap * sizeof(*c->waiting));
	}
	c->waiting[c->waiting_count++] = *w;
	m->attaches_waiting++;
	want(m, account);
}

static void visit_answered(const struct pair_question *q, enum err e)
{
	int pair[2] = { -1, -1 };

	if (e == ERR_OK && q->master->stops)
		e = ERR_UNAVAILABLE;
	else if (e == ERR_OK && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		e = log_errno("socketpair", "guest");
	channel_reply(q->asker, q->call, e, STR(""), pair, e == ERR_OK);
	if (e != ERR_OK)
		return;
	close(pair[0]);
	cell_attach(q->master, q->owner, &(struct waiting){ .fd = pair[1], .kind = ATTACH_GUEST, .guest = q->guest });
}

/* What the owner shares with him the owner's cell decides; here is said who he is, whether there is anything at all, and how often he may ask. */
void cell_on_visit(void *context, struct channel *ch, struct message *msg)
{
	struct cell_slot *c = context;
	struct scan s = scan_of(msg->body);
	uint64_t owner = get_u64(&s);
	int64_t now = clock_mono_ms();
	enum err e = ERR_OK;

	if (now >= c->visits_ms + VISITS_MS) {
		c->visits_ms = now;
		c->visits = 0;
	}
	if (!get_end(&s) || owner == 0 || owner == c->account)
		e = ERR_INVALID;
	else if (++c->visits > VISITS_MAX)
		e = ERR_LIMIT;
	if (e != ERR_OK)
		channel_reply(ch, msg->call, e, STR(""), NULL, 0);
	else
		pair_ask(&(struct pair_question){ .master = c->master, .guest = c->account, .owner = owner, .asker = ch, .call = msg->call,
		                                  .answer = visit_answered });
}

static void may_wait_answered(const struct pair_question *q, enum err e) { channel_reply(q->asker, q->call, e, STR(""), NULL, 0); }

static void on_may_wait(void *context, struct channel *ch, struct message *msg)
{
	struct running *r = context;
	struct scan s = scan_of(msg->body);
	uint64_t guest = get_u64(&s), owner = get_u64(&s);

	if (get_end(&s))
		pair_ask(&(struct pair_question){ .master = r->master, .guest = guest, .owner = owner, .asker = ch, .call = msg->call,
		                                  .answer = may_wait_answered });
	else
		channel_reply(ch, msg->call, ERR_INVALID, STR(""), NULL, 0);
}

static void on_shares_changed(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct scan s = scan_of(msg->body);
	uint64_t owner = get_u64(&s);

	if (get_end(&s))
		pairs_forget(((struct running *)context)->master, owner);
}

static bool has_sessions(const struct master *m, int gate, uint64_t account)
{
	const struct cell_slot *c = map_get_u64(&m->cells, account);
	uintptr_t gates = (uintptr_t)map_get_u64(&m->watches, account) | (c != NULL ? c->gates : 0);

	return (gates >> gate & 1) != 0;
}

/* Only those accounts that a gate has sessions of; where it may be any, it looks itself. */
static void tell_gained(struct master *m, int gate, struct str accounts)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct running *r = master_role(m, ROLE_GATE, (uint32_t)gate);
	struct scan s = scan_of(accounts);

	while (!scan_done(&s)) {
		uint64_t account = get_u64(&s);
		if (account != 0 && has_sessions(m, gate, account))
			put_u64(&b, account);
	}
	if (r != NULL && r->ch != NULL && (b.n > 0 || accounts.n == 0))
		channel_notify(r->ch, NOTICE_GATE_GAINED, buf_str(&b), NULL, 0);
}

static void on_gained(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct master *m = ((struct running *)context)->master;

	for (int i = 0; i < m->gates; i++)
		tell_gained(m, i, msg->body);
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
	const struct waiting w = { .fd = msg->fds[0], .kind = (enum attach)kind };
	msg->fds[0] = -1;
	cell_attach(r->master, account, &w);
	struct cell_slot *c = map_get_u64(&r->master->cells, account);
	if (c != NULL)
		c->gates |= (uintptr_t)1 << r->index;
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
		cell_connect(c, r->role, r->role == ROLE_QUEUE ? NOTICE_CELL_CHANNEL : NOTICE_CONTROL_CELL);
	else
		want(r->master, account);
}

static void on_watch(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct running *r = context;
	struct scan s = scan_of(msg->body);
	uint64_t account = get_u64(&s);
	bool on = get_bool(&s), tells = get_bool(&s);

	if (!get_end(&s))
		return;
	uintptr_t mask = (uintptr_t)map_get_u64(&r->master->watches, account);
	if (mask == 0 && r->master->watches.n >= WATCHES_MAX)
		return;  /* a gate that asks for more makes things up: its word does not decide how much memory we use */
	mask = on ? mask | (uintptr_t)1 << r->index : mask & ~((uintptr_t)1 << r->index);
	map_set_u64(&r->master->watches, account, (void *)mask);
	struct cell_slot *c = map_get_u64(&r->master->cells, account);
	bool has_heard = c != NULL && (c->gates >> r->index & 1) != 0;  /* what was told since that cell began */
	const uint8_t flags[2] = { mask != 0, tells || (on && !has_heard) };
	if (c != NULL && on)
		c->gates |= (uintptr_t)1 << r->index;
	if (c && c->ch)  /* also of one that starts: it was asked for with what was known then */
		channel_notify(c->ch, NOTICE_CELL_WATCHED, str_make(flags, sizeof flags), NULL, 0);
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
		cell_kill(c);
}

void cells_asker_gone(struct master *m, const struct channel *ch)
{
	size_t at = 0;
	void *v;

	pairs_asker_gone(m, ch);
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
		cell_collected(c, status);
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
	{ NOTICE_COUNTS, gate_on_counts },  { NOTICE_LOST, role_on_lost },
	{ REQUEST_MAY_WAIT, on_may_wait }, { NOTICE_SHARES_CHANGED, on_shares_changed }, { NOTICE_GAINED, on_gained }, { 0 },
};
