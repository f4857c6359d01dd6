/* The role control: owns directory.db, answers what cells ask about accounts, and publishes the look-up memfd that
 * keys, gate, mx and queue read. The administrator's commands come in by control_admin.c.
 *
 * One loop does what never waits: cells' questions, reports of usage, new channels. Commands wait (for a hash in keys,
 * for a cell that has to start), so each connection of the admin socket has a thread; they share one lock with the
 * loop, which they hold while they work and open while they wait. Commands are few: what this costs is not measurable,
 * and they read straight down.
 *
 * Publishing: a change is on disk first, then the whole directory is made as one memfd and given to every peer; a
 * command is acknowledged when all peers that run have said that they use it. Commands that change something meanwhile
 * wait for the build under way and share the next one. A peer that starts gets the newest one with its channel. */
#include "admin/wire.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/info.h"
#include "directory/share.h"
#include "role/door.h"
#include "role/control_private.h"
#include <stdio.h>
#include <unistd.h>

enum { TICK_MS = 1000, DIRECTORY_TIMEOUT_MS = 20000,
       STOP_WAIT_MS = 3000, PURGE_FIRST_MS = 3000, PURGE_EVERY_MS = 3600 * 1000, KEYS_FIRST_MS = 60 * 1000,
       KEYS_EVERY_MS = 3600 * 1000, TOKENS_FIRST_MS = 5000 };

void control_lock(struct control *c) { pthread_mutex_lock(&c->lock); }
void control_unlock(struct control *c) { pthread_mutex_unlock(&c->lock); }

static void unlock_of(struct control **c) { control_unlock(*c); }
/* Until the end of the block. */
#define WITH_LOCK(c) CLEANUP(unlock_of) struct control *locked_control = (c); control_lock(locked_control)

bool control_wait(struct control *c, int64_t until_ms)
{
	struct timespec until = { until_ms / 1000, until_ms % 1000 * 1000000 };

	return pthread_cond_timedwait(&c->news, &c->lock, &until) == 0 || clock_mono_ms() < until_ms;
}

/* ---- publishing ---- */

struct told {  /* a version on its way to a peer */
	struct control_peer *peer;
	uint64_t             version;
};

static void on_used(void *context, struct message *answer)
{
	struct told *t = context;
	struct control_peer *p = t->peer;
	WITH_LOCK(p->control);

	if (t->version > p->answered && answer->status != ERR_UNAVAILABLE)
		p->answered = t->version;
	if (answer->status == ERR_OK && t->version > p->confirmed)
		p->confirmed = t->version;
	else if (answer->status != ERR_OK && answer->status != ERR_UNAVAILABLE)
		log_error("the directory is not in use by=%s index=%u version=%llu error=%s", role_name(p->role), p->index,
		          (unsigned long long)t->version, err_name(answer->status));
	mem_free(t);
	pthread_cond_broadcast(&p->control->news);
}

static void send_to(struct control_peer *p)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct told *t = MEM_NEW(struct told);

	*t = (struct told){ p, p->control->built };
	put_u64(&b, t->version);
	channel_ask(p->ch, REQUEST_DIRECTORY, buf_str(&b), &p->control->lookup_fd, 1, DIRECTORY_TIMEOUT_MS, on_used, t);
}

static enum err build(struct control *c)
{
	CLEANUP(buf_free) struct buf bytes = BUF(LOOKUP_BYTES_MAX);
	CLEANUP(fd_close) int fd = -1;
	uint64_t version = directory_version(c->directory);
	struct lookup *fresh;

	TRY(lookup_update(c->directory, c->lookup, version, &bytes));
	TRY(memfd_make("directory", buf_str(&bytes), &fd));
	TRY(lookup_open(fd, &fresh));
	lookup_close(c->lookup);
	fd_close(&c->lookup_fd);
	c->lookup = fresh;
	c->lookup_fd = fd;
	c->built = version;
	fd = -1;
	control_trail_limit(c);
	return ERR_OK;
}

/* What master remembers of who shares with whom (master_pairs.c). owner 0: groups or accounts have changed. */
static void tell_shares_changed(struct control *c, uint64_t owner)
{
	CLEANUP(buf_free) struct buf b = BUF(8);

	put_u64(&b, owner);
	channel_notify(c->master, NOTICE_SHARES_CHANGED, buf_str(&b), NULL, 0);
}

enum err control_send_directory(struct control *c)
{
	tell_shares_changed(c, 0);
	TRY(build(c));
	for (size_t i = 0; i < c->peer_count; i++)
		if (c->peers[i].is_connected)
			send_to(&c->peers[i]);
	return ERR_OK;
}

bool control_is_answered(const struct control *c, uint64_t version)
{
	for (size_t i = 0; i < c->peer_count; i++)
		if (c->peers[i].is_connected && c->peers[i].answered < version)
			return false;
	return true;
}

bool control_is_confirmed(const struct control *c, uint64_t version)
{
	for (size_t i = 0; i < c->peer_count; i++)
		if (c->peers[i].is_connected && c->peers[i].confirmed < version)
			return false;
	return true;
}

/* ---- what cells ask ---- */

static void on_account_info(void *context, struct channel *ch, struct message *m)
{
	struct control_cell *cell = context;
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	struct scan s = scan_of(m->body);
	WITH_LOCK(cell->control);
	/* a cell hears of its own account only */
	enum err e =
		get_u64(&s) == cell->account ? account_info_serve(cell->control->directory, m->body, &answer) : ERR_DENIED;

	channel_reply(ch, m->call, e, e == ERR_OK ? buf_str(&answer) : STR(""), NULL, 0);
}

static void on_resolve(void *context, struct channel *ch, struct message *m)
{
	struct control_cell *cell = context;
	CLEANUP(buf_free) struct buf answer = BUF(64);
	WITH_LOCK(cell->control);
	enum err e = resolve_serve(cell->control->lookup, cell->account, m->body, &answer);

	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
}

/* Who somebody is, and who shares with whom (directory/share.h): about the cell's own account only. */
static void on_share(void *context, struct channel *ch, struct message *m)
{
	struct control_cell *cell = context;
	struct share_gains gained = { 0 };
	struct directory *d = cell->control->directory;
	CLEANUP(buf_free) struct buf answer = BUF(MESSAGE_BODY_MAX);
	WITH_LOCK(cell->control);
	enum err e = m->type == REQUEST_SUBJECT ? subject_serve(d, cell->account, m->body, &answer)
	             : m->type == REQUEST_GUEST ? guest_serve(d, cell->account, m->body, &answer)
	             : m->type == REQUEST_SHARES ? shares_serve(d, cell->account, m->body, &gained)
	                                         : shared_serve(d, cell->account, m->body, &answer);

	if (e == ERR_OK && m->type == REQUEST_SHARES) {
		tell_shares_changed(cell->control, cell->account);
		control_gains_take(cell, &gained);
	}
	channel_reply(ch, m->call, e, e == ERR_OK ? buf_str(&answer) : STR(""), NULL, 0);
}

static void on_sending(void *context, struct channel *ch, struct message *m)
{
	struct control_cell *cell = context;
	CLEANUP(buf_free) struct buf answer = BUF(16);
	WITH_LOCK(cell->control);
	enum err e = control_sending_take(cell, m->body, &answer);

	channel_reply(ch, m->call, e, buf_str(&answer), NULL, 0);
}

static void on_usage(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control_cell *cell = context;
	WITH_LOCK(cell->control);

	control_usage_take(cell, m->body);
}

static void on_cell_trail(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control_cell *cell = context;

	control_trail_take(cell->control, ROLE_CELL, cell->account, m->body);
}

static const struct channel_handler cell_handlers[] = {
	{ REQUEST_ACCOUNT_INFO, on_account_info }, { REQUEST_RESOLVE, on_resolve }, { NOTICE_USAGE, on_usage },
	{ REQUEST_SENDING, on_sending }, { NOTICE_TRAIL, on_cell_trail },
	{ REQUEST_SUBJECT, on_share }, { REQUEST_GUEST, on_share }, { REQUEST_SHARES, on_share }, { REQUEST_SHARED, on_share }, { 0 },
};

void control_cell_release(struct control_cell *cell)
{
	if (--cell->users > 0)
		return;
	channel_free(cell->ch);
	mem_free(cell);
}

/* Lock held, in the loop: nobody finds it any more. */
static void forget_cell(struct control_cell *cell)
{
	struct control *c = cell->control;

	control_usage_gone(cell);
	control_gains_gone(cell);
	if (map_get_u64(&c->cells, cell->account) == cell)
		map_set_u64(&c->cells, cell->account, NULL);
	watch_forget(c->watch, cell->ch);
	control_cell_release(cell);
	pthread_cond_broadcast(&c->news);
}

static void on_cell_closed(void *context, UNUSED struct channel *ch)
{
	struct control_cell *cell = context;
	WITH_LOCK(cell->control);

	if (map_get_u64(&cell->control->cells, cell->account) == cell)
		forget_cell(cell);
}

static void on_control_cell(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control *c = context;
	struct scan s = scan_of(m->body);
	uint64_t account = get_u64(&s);
	struct control_cell *cell, *old;
	WITH_LOCK(c);

	if (!get_end(&s) || m->fd_count != 1)
		return;
	old = map_get_u64(&c->cells, account);
	if (old != NULL)
		forget_cell(old);
	cell = MEM_NEW(struct control_cell);
	*cell = (struct control_cell){ .control = c, .account = account, .users = 1 };
	cell->ch = channel_new(m->fds[0], ROLE_CONTROL, ROLE_CELL, cell_handlers, cell, on_cell_closed);
	m->fds[0] = -1;
	map_set_u64(&c->cells, account, cell);
	watch_channel(c->watch, cell->ch);
	control_refused_tell(cell);
	pthread_cond_broadcast(&c->news);
}

/* ---- peers ---- */

struct control_peer *control_find_peer(struct control *c, enum role role, uint32_t index)
{
	for (size_t i = 0; i < c->peer_count; i++)
		if (c->peers[i].role == role && c->peers[i].index == index)
			return &c->peers[i];
	return NULL;
}

static void on_peer_trail(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control_peer *p = context;

	control_trail_take(p->control, p->role, 0, m->body);
}

static void on_peer_refused(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control_peer *p = context;
	WITH_LOCK(p->control);

	control_refused_take(p->control, m->body);
}

static const struct channel_handler peer_handlers[] = {
	{ NOTICE_TRAIL, on_peer_trail },           { NOTICE_REFUSED, on_peer_refused },           { REQUEST_PAGE, control_on_page },
	{ NOTICE_TLS_SESSIONS, control_on_sessions }, { NOTICE_STS_KEPT, control_on_sts_kept },
	{ REQUEST_STS_POLICIES, control_on_sts_policies }, { REQUEST_LIST_ORDER, control_on_list_order },
	{ NOTICE_UNKNOWN_KEY, control_on_unknown_key }, { 0 },
};

static void on_peer_closed(void *context, UNUSED struct channel *ch)
{
	struct control_peer *p = context;
	WITH_LOCK(p->control);

	p->is_connected = false;
	pthread_cond_broadcast(&p->control->news);
}

static void on_connect(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct control *c = context;
	struct control_peer *p;
	enum role role;
	uint32_t index;
	WITH_LOCK(c);

	if (!get_connect(m, &role, &index))
		return;
	p = control_find_peer(c, role, index);
	if (p == NULL && c->peer_count == CONTROL_PEERS_MAX) {
		log_error("unexpected peer role=%s index=%u", role_name(role), index);
		return;
	}
	if (p == NULL) {
		p = &c->peers[c->peer_count++];
		*p = (struct control_peer){ .control = c, .role = role, .index = index };
		p->ch = channel_new(m->fds[0], ROLE_CONTROL, role, peer_handlers, p, on_peer_closed);
	} else {
		channel_replace(p->ch, m->fds[0]);
		p->confirmed = p->answered = 0;
	}
	m->fds[0] = -1;
	p->is_connected = true;
	watch_channel(c->watch, p->ch);
	send_to(p);
}

static void on_listen(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct listen_on l;

	if (!get_listen(m, &l) || l.protocol != PROTOCOL_ADMIN)
		return;
	control_listen(context, m->fds[0]);
	m->fds[0] = -1;
}

static void on_shares_with(void *context, struct channel *ch, struct message *m)
{
	struct control *c = context;
	WITH_LOCK(c);

	channel_reply(ch, m->call, shares_with_serve(c->directory, m->body), STR(""), NULL, 0);
}

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	((struct control *)context)->stops = true;
}
static void on_master_gone(void *context, UNUSED struct channel *ch) { ((struct control *)context)->stops = true; }

static const struct channel_handler master_handlers_of_control[] = {
	{ NOTICE_CONNECT, on_connect }, { NOTICE_LISTEN, on_listen }, { NOTICE_CONTROL_CELL, on_control_cell },
	{ NOTICE_STOP, on_stop },		{ NOTICE_LOG, role_on_log }, { REQUEST_ALIVE, role_on_alive },  { REQUEST_SHARES_WITH, on_shares_with }, { 0 },
};

/* ---- the role's life ---- */

static void tick(struct control *c)
{
	int64_t now = clock_mono_ms();
	size_t at = 0;
	void *v;
	WITH_LOCK(c);

	channel_expire(c->master, now);
	for (size_t i = 0; i < c->peer_count; i++)
		channel_expire(c->peers[i].ch, now);
	for (size_t i = 0; i < c->peer_count; i++)
		(void)lost_look(&c->peers[i].lost, c->peers[i].ch, c->peers[i].role, c->peers[i].index, c->master, now);
	while (map_next(&c->cells, &at, NULL, &v))
		channel_expire(((struct control_cell *)v)->ch, now);
	control_usage_tick(c, now);
	control_gains_tick(c, now);
	if (now >= c->purge_ms) {
		c->purge_ms = now + PURGE_EVERY_MS;
		control_purge(c);
	}
	if (now >= c->keys_ms) {
		c->keys_ms = now + KEYS_EVERY_MS;
		control_check_keys(c);
	}
	control_tls_tick(c, now);
	control_tokens_tick(c, now);
}

static enum err open_files(struct control *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf_problem problem;
	const char *folder = str_cstr(&a, arena_printf(&a, "%s/control", c->start->dir));

	if (!conf_read_file(c->file, str_cstr(&a, arena_printf(&a, "%s/facteur.conf", c->start->dir)), &problem))
		log_warn("facteur.conf is not shown to commands: it cannot be read");
	TRY(disk_dir_open(folder, &c->dir));
	TRY(directory_open(c->dir, &c->directory));
	if (c->start->sandbox)
		TRY(door_close(ROLE_CONTROL, c->start->dir, 0, NULL));
	control_tls_start(c);
	control_trail_start(c);  /* its thread is behind the door, too */
	return build(c);
}

static void serve(struct control *c)
{
	int64_t until;

	c->master =
		channel_new(c->start->master_fd, ROLE_CONTROL, ROLE_MASTER, master_handlers_of_control, c, on_master_gone);
	watch_channel(c->watch, c->master);
	channel_notify(c->master, NOTICE_READY, STR(""), NULL, 0);
	while (!c->stops) {
		watch_run(c->watch, TICK_MS);
		tick(c);
	}
	until = clock_mono_ms() + STOP_WAIT_MS;
	while (!control_hang_up(c) && clock_mono_ms() < until)
		watch_run(c->watch, 50);
}

static void close_all(struct control *c)
{
	size_t at = 0;
	void *v;

	while (map_next(&c->cells, &at, NULL, &v)) {
		watch_forget(c->watch, ((struct control_cell *)v)->ch);
		control_cell_release(v);
	}
	map_free(&c->cells);
	map_free(&c->refused);
	for (size_t i = 0; i < c->peer_count; i++) {
		watch_forget(c->watch, c->peers[i].ch);
		channel_free(c->peers[i].ch);
	}
	if (c->master != NULL) {
		watch_forget(c->watch, c->master);
		channel_free(c->master);
	}
	control_trail_stop(c);
	control_tls_stop(c);
	lookup_close(c->lookup);
	fd_close(&c->lookup_fd);
	fd_close(&c->admin_fd);
	directory_close(c->directory);
	disk_dir_close(&c->dir);
	conf_free(c->file);
	watch_free(c->watch);
	pthread_cond_destroy(&c->news);
	pthread_mutex_destroy(&c->lock);
	mem_free(c);
}

int role_control(const struct role_start *start)
{
	struct control *c = MEM_NEW(struct control);
	pthread_condattr_t attr;
	int code = 1;

	*c = (struct control){ .start = start,
						   .purge_ms = clock_mono_ms() + PURGE_FIRST_MS,
						   .keys_ms = clock_mono_ms() + KEYS_FIRST_MS,
						   .tokens_ms = clock_mono_ms() + TOKENS_FIRST_MS,
						   .watch = watch_new(),
						   .started_s = clock_wall_s(),
						   .file = conf_new(),
						   .lookup_fd = -1,
						   .admin_fd = -1 };
	for (size_t i = 0; i < COUNT_OF(c->connection_fds); i++)
		c->connection_fds[i] = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->news, &attr);
	pthread_condattr_destroy(&attr);
	admin_json_setup();
	random_u64();
	if (open_files(c) == ERR_OK) {
		serve(c);
		control_lock(c);
		control_usage_write(c);
		control_unlock(c);
		code = 0;
	}
	/* a command still waits for somebody: the process ends around it, what it did is on disk */
	if (c->connections > 0) {
		log_warn("a command is cut short by the stop");
		control_trail_write(c);
		return code;
	}
	close_all(c);
	return code;
}
