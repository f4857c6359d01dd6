/* control's half that serves the admin socket: one thread a connection, at most 32, others wait; and the host that lets commands
 * reach the other roles (admin/admin.h).
 *
 * Whoever connects is root or the user of the server, says the kernel; nobody else gets an answer. Every function of
 * the host is called with the lock held and opens it while it waits; a channel that could go away meanwhile (a cell's)
 * is held by a count. */
#include "admin/wire.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "dns/question.h"
#include "queue/add.h"
#include "role/control_private.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IDLE_MS = 60000, SEND_MS = 30000, PUBLISH_MS = 10000, SECRET_MS = 60000, MASTER_MS = 30000, CELL_START_MS = 20000,
	CELL_COMMAND_MS = 120000, SESSIONS_MS = 5000, CELL_TRIES = 3, STACK_SIZE = 1 << 20,
};

/* ---- the host ---- */

static enum err host_publish(void *context)
{
	struct control *c = context;
	uint64_t wanted = directory_version(c->directory);
	int64_t until = clock_mono_ms() + PUBLISH_MS;

	while (c->built < wanted && !control_is_answered(c, c->built))  /* one build for all who wait meanwhile */
		if (!control_wait(c, until))
			break;
	if (c->built < wanted)
		TRY(control_send_directory(c));
	while (!control_is_answered(c, wanted))
		if (!control_wait(c, until))
			return ERR_TIMEOUT;
	return control_is_confirmed(c, wanted) ? ERR_OK : ERR_TIMEOUT;
}

/* Asks with the lock open. */
static enum err call(struct control *c, struct channel *ch, uint16_t request, struct str body, int timeout_ms,
					 struct arena *a, struct message *answer)
{
	enum err e;

	control_unlock(c);
	e = channel_call(ch, request, body, NULL, 0, timeout_ms, a, answer);
	control_lock(c);
	return e;
}

static enum err call_peer(struct control *c, enum role role, uint32_t index, uint16_t request, struct str body,
						  int timeout_ms, struct arena *a, struct message *answer)
{
	struct control_peer *p = control_find_peer(c, role, index);

	return p != NULL ? call(c, p->ch, request, body, timeout_ms, a, answer) : ERR_UNAVAILABLE;
}

static enum err host_secret(void *context, const struct secret_command *command, struct arena *a,
							struct secret_reply *out)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct message answer;
	struct scan s;
	enum err e;

	*out = (struct secret_reply){ 0 };
	put_secret_command(&b, command);
	if (b.failed)
		return ERR_INVALID;
	e = call_peer(context, ROLE_KEYS, 0, REQUEST_SECRET_COMMAND, buf_str(&b), SECRET_MS, a, &answer);
	mem_wipe(b.p, b.n);
	if (e != ERR_OK)
		return e;
	s = scan_of(answer.body);
	return get_secret_reply(&s, a, out) ? ERR_OK : ERR_INVALID;
}

static enum err host_dkim(void *context, const struct dkim_command *command, struct arena *a, struct dkim_keys *out)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct message answer;
	struct scan s;

	*out = (struct dkim_keys){ 0 };
	put_dkim_command(&b, command);
	if (b.failed)
		return ERR_INVALID;
	TRY(call_peer(context, ROLE_KEYS, 0, REQUEST_DKIM_COMMAND, buf_str(&b), SECRET_MS, a, &answer));
	s = scan_of(answer.body);
	return get_dkim_keys(&s, a, out) ? ERR_OK : ERR_INVALID;
}

/* To a role that is asked without the lock: control_lock() afterwards. NULL: it is not there, and nothing has changed. */
static struct channel *unlocked_channel(struct control *c, enum role role)
{
	struct control_peer *peer = control_find_peer(c, role, 0);
	struct channel *ch = peer ? peer->ch : NULL;

	if (ch != NULL)
		control_unlock(c);
	return ch;
}

static enum err host_question(void *context, struct str name, enum dns_type type, struct arena *a, struct dns_answer *out)
{
	struct control *c = context;
	struct channel *net = unlocked_channel(c, ROLE_NET);
	enum err e;

	if (net == NULL)
		return ERR_UNAVAILABLE;
	e = question_call(net, name, type, a, out);
	control_lock(c);
	return e;
}

static enum err host_fetch(void *context, const struct http_place *p, struct arena *a, struct fetch_said *out)
{
	struct control *c = context;
	struct channel *net = unlocked_channel(c, ROLE_NET);
	enum err e;

	if (net == NULL)
		return ERR_UNAVAILABLE;
	e = fetch_call(net, p, a, out);
	control_lock(c);
	return e;
}

static enum err host_mail(void *context, const struct envelope *e, struct str message)
{
	struct control *c = context;
	struct channel *queue = unlocked_channel(c, ROLE_QUEUE);
	const struct queue_body body = { .bytes = message };
	struct queue_id id;
	enum err result;

	if (queue == NULL)
		return ERR_UNAVAILABLE;
	result = queue_add(queue, e, &body, &id);
	control_lock(c);
	return result;
}

static enum err host_end_sessions(void *context, uint64_t account, uint32_t epoch)
{
	struct control *c = context;
	CLEANUP(buf_free) struct buf b = BUF(16);

	put_u64(&b, account);
	put_u32(&b, epoch);
	return channel_notify(c->master, NOTICE_EPOCH, buf_str(&b), NULL, 0);
}

static enum err ask_master(struct control *c, uint16_t request, uint64_t account)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(16);
	struct message answer;

	put_u64(&b, account);
	return call(c, c->master, request, buf_str(&b), MASTER_MS, &a, &answer);
}

static enum err host_make_folder(void *context, uint64_t account)
{
	return ask_master(context, REQUEST_ACCOUNT_FOLDER, account);
}
static enum err host_remove_folder(void *context, uint64_t account)
{
	return ask_master(context, REQUEST_ACCOUNT_REMOVE, account);
}
static enum err host_end_cell(void *context, uint64_t account)
{
	return ask_master(context, REQUEST_CELL_END, account);
}

/* The running cell of the account, woken if there is none; hold it with users++. NULL: it does not come. */
static struct control_cell *wake_cell(struct control *c, uint64_t account)
{
	CLEANUP(buf_free) struct buf b = BUF(16);
	int64_t until = clock_mono_ms() + CELL_START_MS;
	struct control_cell *cell = map_get_u64(&c->cells, account);

	if (cell != NULL)
		return cell;
	put_u64(&b, account);
	channel_notify(c->master, NOTICE_CONTROL_WAKE, buf_str(&b), NULL, 0);
	while ((cell = map_get_u64(&c->cells, account)) == NULL)
		if (!control_wait(c, until))
			return NULL;
	return cell;
}

/* A cell that is just leaving answers nothing: the next one is asked. Every command may be done twice. */
static enum err host_cell(void *context, uint64_t account, const struct store_command *command, struct arena *a,
						  struct store_answer *out)
{
	struct control *c = context;
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct message answer;
	enum err e = ERR_UNAVAILABLE;

	store_command_encode(command, &b);
	for (int i = 0; i < CELL_TRIES && e == ERR_UNAVAILABLE; i++) {
		struct control_cell *cell = wake_cell(c, account);
		if (cell == NULL)
			return ERR_UNAVAILABLE;
		cell->users++;
		e = call(c, cell->ch, REQUEST_CELL_COMMAND, buf_str(&b), CELL_COMMAND_MS, a, &answer);
		while (e == ERR_UNAVAILABLE && map_get_u64(&c->cells, account) == cell) /* until the loop has noticed its end */
			if (!control_wait(c, clock_mono_ms() + 1000))
				break;
		control_cell_release(cell);
	}
	return e == ERR_OK ? store_answer_decode(answer.body, a, out) : e;
}

static void host_usage(void *context, uint64_t account) { control_usage_ask(context, account); }

static void host_gained(void *context, const struct share_gains *gained) { control_gains_tell(context, gained); }

static void limits_known(UNUSED void *context, UNUSED struct message *answer) { }

static void tell_limits(struct control *c, struct control_cell *cell)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct store_command limits = { .kind = STORE_COMMAND_LIMITS };
	struct directory_account x;
	struct conf *conf;

	if (account_get(c->directory, cell->account, &a, &x) != ERR_OK ||
		directory_account_conf(c->directory, x.account, x.address, &conf) != ERR_OK)
		return;
	limits.limits = view_limits_of(conf);
	conf_free(conf);
	store_command_encode(&limits, &b);
	channel_ask(cell->ch, REQUEST_CELL_COMMAND, buf_str(&b), NULL, 0, CELL_COMMAND_MS, limits_known, NULL);
}

static void host_limits_changed(void *context, uint64_t account)
{
	struct control *c = context;
	size_t at = 0;
	void *v;

	while (map_next(&c->cells, &at, NULL, &v)) {
		struct control_cell *cell = v;
		if (account == 0 || cell->account == account)
			tell_limits(c, cell);
	}
}

static enum err host_queue(void *context, const struct queue_command *command, struct arena *a,
						   struct queue_answer *out)
{
	struct control *c = context;
	struct channel *queue = unlocked_channel(c, ROLE_QUEUE);
	enum err e;

	if (queue == NULL)
		return ERR_UNAVAILABLE;
	e = queue_command_ask(queue, command, a, out);
	control_lock(c);
	return e;
}

static enum err host_trace(void *context, const struct trail_query *q, struct arena *a, struct trail_found *out)
{
	struct control *c = context;
	enum err e;

	if (c->trail.store == NULL)
		return ERR_UNAVAILABLE;
	control_unlock(c);
	e = trail_store_find(c->trail.store, q, a, out);
	control_lock(c);
	return e;
}

static enum err host_certificates(void *context, struct arena *a, struct certificate_info **out, size_t *n)
{
	uint32_t from = 0, next;
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	do {
		CLEANUP(buf_free) struct buf b = BUF(16);
		struct message answer;
		put_u32(&b, from);
		TRY(call_peer(context, ROLE_KEYS, 0, REQUEST_CERTIFICATE_LIST, buf_str(&b), SESSIONS_MS, a, &answer));
		struct scan s = scan_of(answer.body);
		if (!get_certificates(&s, a, out, n, &cap, &next) || (next != 0 && next <= from))
			return ERR_INVALID;
		from = next;
	} while (from != 0);
	return ERR_OK;
}

static enum err sessions_of(struct control *c, struct control_peer *gate, struct arena *a, struct session_info **out,
							size_t *n, size_t *cap)
{
	enum { PAGES_MAX = 1000000 / SESSIONS_PAGE_MAX };  /* a gate that was taken over does not decide how much memory we use */
	uint32_t from = 0, next;

	for (int page = 0; page == 0 || from != 0; page++) {
		CLEANUP(buf_free) struct buf b = BUF(16);
		struct message answer;
		put_u32(&b, from);
		TRY(call(c, gate->ch, REQUEST_GATE_SESSIONS, buf_str(&b), SESSIONS_MS, a, &answer));
		struct scan s = scan_of(answer.body);
		if (!get_sessions(&s, a, out, n, cap, &next) || (next != 0 && next <= from) || page == PAGES_MAX)
			return ERR_INVALID;
		from = next;
	}
	return ERR_OK;
}

static enum err host_sessions(void *context, struct arena *a, struct session_info **out, size_t *n)
{
	struct control *c = context;
	size_t cap = 0;

	*out = NULL;
	*n = 0;
	for (size_t i = 0; i < c->peer_count; i++) {
		if (c->peers[i].role != ROLE_GATE || !c->peers[i].is_connected)
			continue;
		enum err e = sessions_of(c, &c->peers[i], a, out, n, &cap);
		if (e != ERR_OK && e != ERR_UNAVAILABLE)  /* a gate that just ended has no sessions */
			return e;
	}
	return ERR_OK;
}

/* ---- connections ---- */

struct connection {
	struct control *control;
	int             fd;           /* -1: nobody asks, this is control's own command */
	size_t          slot;
	bool            is_gone;      /* the asker: the command goes on, and waits for him no more */
	char           *own;          /* control's own request */
};

static bool send_reply(void *context, struct str message)
{
	struct connection *x = context;

	if (x->is_gone)
		return false;
	control_unlock(x->control);
	x->is_gone = admin_send(x->fd, message, SEND_MS) != ERR_OK;
	control_lock(x->control);
	return !x->is_gone;
}

static void run_request(struct connection *x, struct str request)
{
	struct control *c = x->control;
	const struct admin_host host = {
		.context = c,
		.directory = c->directory,
		.dir = c->start->dir,
		.is_running = true,
		.started_s = c->started_s,
		.file = c->file,
		.secret = host_secret,
		.publish = host_publish,
		.end_sessions = host_end_sessions,
		.make_folder = host_make_folder,
		.remove_folder = host_remove_folder,
		.cell = host_cell,
		.limits_changed = host_limits_changed,
		.gained = host_gained,
		.usage = host_usage,
		.end_cell = host_end_cell,
		.queue = host_queue,
		.certificates = host_certificates,
		.dkim = host_dkim,
		.question = host_question,
		.route_password = control_route_password,
		.probe = control_probe,
		.fetch = host_fetch,
		.mail = host_mail,
		.book = c->book,
		.trace = host_trace,
		.sessions = host_sessions,
	};

	control_lock(c);
	if (!c->stops) {
		control_usage_write(c);  /* what it shows is as new as can be */
		admin_run(&host, request, send_reply, x);
	}
	control_unlock(c);
}

static void start_connection(struct control *c, int fd, struct str own);

/* Lock held. Whoever has waited longest. */
static void start_waiting(struct control *c)
{
	if (c->waiting == 0 || c->stops || c->connections == CONTROL_CONNECTIONS_MAX)
		return;
	int fd = c->waiting_fds[0];
	memmove(c->waiting_fds, c->waiting_fds + 1, --c->waiting * sizeof *c->waiting_fds);
	start_connection(c, fd, STR(""));
}

static void *connection_main(void *context)
{
	struct connection *x = context;
	struct control *c = x->control;
	CLEANUP(buf_free) struct buf request = BUF(ADMIN_REQUEST_MAX);

	if (x->own)
		run_request(x, str_of(x->own));
	while (!x->is_gone && admin_receive(x->fd, &request, IDLE_MS) == ERR_OK) {
		run_request(x, buf_str(&request));
		mem_wipe(request.p, request.n);
	}
	control_lock(c);
	if (x->fd >= 0)
		c->connection_fds[x->slot] = -1;
	fd_close(&x->fd);
	c->connections--;
	start_waiting(c);
	pthread_cond_broadcast(&c->news);
	control_unlock(c);
	mem_free(x->own);
	mem_free(x);
	return NULL;
}

/* Lock held. Takes fd, or runs a request of control's own, which it copies. */
static void start_connection(struct control *c, int fd, struct str own)
{
	struct connection *x = MEM_NEW(struct connection);
	pthread_attr_t attr;
	pthread_t thread;

	*x = (struct connection){ .control = c, .fd = fd, .is_gone = fd < 0 };
	while (fd >= 0 && c->connection_fds[x->slot] >= 0)
		x->slot++;
	if (own.n) {
		x->own = mem_alloc(own.n + 1);
		memcpy(x->own, own.p, own.n);
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	int failure = pthread_create(&thread, &attr, connection_main, x);
	pthread_attr_destroy(&attr);
	if (failure) {
		errno = failure;
		log_errno("pthread_create", "admin");
		fd_close(&fd);
		mem_free(x->own);
		mem_free(x);
		return;
	}
	if (fd >= 0)
		c->connection_fds[x->slot] = fd;
	c->connections++;
}

/* Is there a deleted account that old, or what is left of one? So that the log says something when something is done. */
static bool has_old_account(struct control *c, uint64_t days)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_account *list;
	size_t n;

	if (account_list(c->directory, STR(""), &a, &list, &n) != ERR_OK)
		return false;
	for (size_t i = 0; i < n; i++)
		if (list[i].deleted_s != 0 && list[i].deleted_s + (int64_t)days * 86400 <= clock_wall_s() && !account_is_being_made(c->directory, list[i].account))
			return true;
	return false;
}

void control_purge(struct control *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	uint64_t days = c->lookup ? conf_number(lookup_conf(c->lookup), SETTING_deleted_account_days) : 0;

	if (days == 0 || c->stops || c->connections == CONTROL_CONNECTIONS_MAX || !has_old_account(c, days))
		return;
	log_info("erasing the accounts that were deleted long enough ago deleted_account_days=%llu", (unsigned long long)days);
	start_connection(c, -1, arena_printf(&a, "{\"command\":\"account purge\",\"args\":{\"older_than\":\"%llud\",\"yes\":true},\"lang\":\"en\"}",
	                                     (unsigned long long)days));
}

void control_run(struct control *c, struct str request)
{
	if (!c->stops && c->connections < CONTROL_CONNECTIONS_MAX)
		start_connection(c, -1, request);
}

void control_check_keys(struct control *c)
{
	control_run(c, STR("{\"command\":\"domain check\",\"args\":{\"waiting\":true},\"lang\":\"en\"}"));
}

static bool may_command(int fd)
{
	struct ucred who;
	socklen_t n = sizeof who;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == 0 || who.uid == getuid());
}

static void on_connection(void *context)
{
	struct control *c = context;
	int fd = accept4(c->admin_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	control_lock(c);
	bool is_full = c->connections == CONTROL_CONNECTIONS_MAX;
	if (!may_command(fd) || c->stops || (is_full && c->waiting == CONTROL_WAITING_MAX))
		close(fd);
	else if (is_full)
		c->waiting_fds[c->waiting++] = fd;
	else
		start_connection(c, fd, STR(""));
	control_unlock(c);
}

void control_listen(struct control *c, int fd)
{
	if (c->admin_fd >= 0) {
		log_error("a second admin socket: ignored");
		close(fd);
		return;
	}
	c->admin_fd = fd;
	watch_fd(c->watch, fd, on_connection, c);
}

bool control_hang_up(struct control *c)
{
	bool none;

	control_lock(c);
	for (size_t i = 0; i < COUNT_OF(c->connection_fds); i++)
		if (c->connection_fds[i] >= 0)
			shutdown(c->connection_fds[i], SHUT_RD);  /* the reply of the command under way still goes out */
	while (c->waiting > 0)
		close(c->waiting_fds[--c->waiting]);
	none = c->connections == 0;
	control_unlock(c);
	return none;
}
