/* The role mx: port 25, and the socket for programs of this machine. One thread, one loop, and nothing in it waits for
 * a stranger; what it waits for is the disk (a spool file) and, in a handshake, a signature of keys.
 *
 * It knows the directory by its memfd, adds messages to the queue, and holds nothing: what was not acknowledged when it
 * dies was not accepted. Connections are mx_session.c, what is said on them is smtpd/. */
#include "base/clock.h"
#include "base/log.h"
#include "role/door.h"
#include "role/mx_private.h"
#include <sys/resource.h>

enum {
	LAST_CALL_MS = 5000,
	OWN_DESCRIPTORS = 100,
	CONNECTIONS_MAX = 1000000,
	NOTE_AFTER_MS = 1000,
	REFUSALS_AT_ONCE = 500,     /* refusals noted … */
	REFUSAL_EVERY_MS = 500,     /* … and how fast more may come */
};

/* ---- settings and the directory ---- */

static void apply_settings(struct mx *m)
{
	const struct conf *c = lookup_conf(m->lookup);
	struct rlimit files = { .rlim_cur = 1024 };
	struct admission_limits limits = admission_limits_of(c);

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur > CONNECTIONS_MAX)
		files.rlim_cur = CONNECTIONS_MAX;
	limits.total = files.rlim_cur > 2 * OWN_DESCRIPTORS ? (uint32_t)files.rlim_cur - OWN_DESCRIPTORS : OWN_DESCRIPTORS;
	admissions_set(m->admissions, &limits);
	m->timeout_ms = (int64_t)conf_number(c, SETTING_smtp_timeout) * 1000;
	m->server.hostname = lookup_hostname(m->lookup);
	m->server.size_max = conf_number(c, SETTING_message_size_max);
	m->server.recipients_max = conf_number(c, SETTING_smtp_recipients_max);
	m->server.messages_max = conf_number(c, SETTING_smtp_messages_per_connection);
	m->server.errors_max = conf_number(c, SETTING_smtp_errors_max);
	m->server.hold_max = conf_number(c, SETTING_submit_hold_max);
	m->server.memory_max = conf_number(c, SETTING_smtp_memory_max);
	m->server.disk_reserve = conf_number(c, SETTING_disk_reserve);
}

/* ---- doors ---- */

static void open_door(struct mx *m, struct mx_door *d)
{
	d->listener = listener_new(m->loop, d->fd, d->protocol == PROTOCOL_SMTP ? mx_accept_smtp : mx_accept_local, m);
	d->fd = -1;
}

/* Who comes before we know whom we serve waits in the socket's queue, and is greeted in a moment. (keys is there before us; where there is none,
 * there is no TLS.) */
static void open_doors(struct mx *m)
{
	if (m->is_open || m->stops || m->lookup == NULL || (m->keys != NULL && !m->has_certificates))
		return;
	m->is_open = true;
	for (size_t i = 0; i < m->door_count; i++)
		open_door(m, &m->doors[i]);
}

static void close_doors(struct mx *m)
{
	for (size_t i = 0; i < m->door_count; i++) {
		listener_free(m->doors[i].listener);
		fd_close(&m->doors[i].fd);
	}
	m->door_count = 0;
}

/* ---- what other roles send ---- */

static void on_directory(void *context, struct channel *ch, struct message *msg)
{
	struct mx *m = context;
	enum err e = lookup_replace(&m->lookup, msg);

	if (e == ERR_OK)
		apply_settings(m);
	channel_reply(ch, msg->call, e, STR(""), NULL, 0);
	open_doors(m);
}

/* ---- TLS ---- */

static void on_certificates(void *context, struct channel *ch, struct message *msg)
{
	struct mx *m = context;
	CLEANUP(arena_free) struct arena a = { 0 };
	struct tls_certificates list;
	struct str body = msg->body, mapped = STR_NONE;
	struct scan s;
	enum err e = ERR_OK;

	if (body.n == 0 && msg->fd_count == 1 &&
		(e = memfd_map(msg->fds[0], TLS_CERTIFICATES_BYTES_MAX, &mapped)) == ERR_OK)
		body = mapped;
	s = scan_of(body);
	if (e == ERR_OK)
		e = get_tls_certificates(&s, &a, &list) && get_end(&s) ? tls_server_load(m->tls, &list, ch) : ERR_INVALID;
	if (mapped.p)
		memfd_unmap(mapped);
	channel_reply(ch, msg->call, e == ERR_NOTFOUND ? ERR_OK : e, STR(""), NULL, 0);
	m->has_certificates = true;
	open_doors(m);
}

/* ---- peers ---- */

static const struct channel_handler keys_handlers[] = { { REQUEST_CERTIFICATES, on_certificates }, { 0 } };
static const struct channel_handler control_handlers[] = { { REQUEST_DIRECTORY, on_directory }, { 0 } };
static const struct channel_handler no_handlers[] = { { 0 } };

static struct channel **peer_of(struct mx *m, enum role role)
{
	switch (role) {
	case ROLE_KEYS:
		return &m->keys;
	case ROLE_QUEUE:
		return &m->queue;
	case ROLE_CONTROL:
		return &m->control;
	case ROLE_NET:
		return &m->net;
	default:
		return NULL;
	}
}

static void on_look(void *context)
{
	struct mx *m = context;
	int64_t now = loop_now_ms(m->loop);
	bool queue = lost_look(&m->queue_lost, m->queue, ROLE_QUEUE, 0, m->master, now);
	bool net = lost_look(&m->net_lost, m->net, ROLE_NET, 0, m->master, now);

	if (queue || net)
		loop_timer_in(m->loop, &m->look, LOST_LOOK_MS);
}

static void on_peer_closed(void *context, UNUSED struct channel *ch) { on_look(context); }

static void on_connect(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct mx *m = context;
	const struct channel_handler *handlers = no_handlers;
	struct channel **peer;
	enum role role;
	uint32_t index;

	if (!get_connect(msg, &role, &index))
		return;
	peer = peer_of(m, role);
	if (peer == NULL) {
		log_error("unexpected peer role=%s index=%u", role_name(role), index);
		return;
	}
	if (role == ROLE_KEYS)
		handlers = keys_handlers;
	if (role == ROLE_CONTROL)
		handlers = control_handlers;
	if (*peer == NULL)
		*peer = channel_new(msg->fds[0], ROLE_MX, role, handlers, m, on_peer_closed);
	else
		channel_replace(*peer, msg->fds[0]);
	msg->fds[0] = -1;
	loop_channel(m->loop, *peer);
}

static void on_listen(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct mx *m = context;
	struct listen_on on;

	if (!get_listen(msg, &on) || (on.protocol != PROTOCOL_SMTP && on.protocol != PROTOCOL_LOCAL) ||
		m->door_count == MX_LISTENERS_MAX) {
		log_error("unexpected socket to listen on");
		return;
	}
	m->doors[m->door_count++] = (struct mx_door){ .fd = msg->fds[0], .protocol = on.protocol };
	msg->fds[0] = -1;
	if (m->is_open)
		open_door(m, &m->doors[m->door_count - 1]);
}

/* ---- the trail ---- */

static void on_notes_due(void *context)
{
	struct mx *m = context;

	m->trail_waits = false;
	if (m->refusals_lost > 0)
		trail_note(m->trail, &(struct trail_event){ .kind = TRAIL_LOST, .count = m->refusals_lost });
	m->refusals_lost = 0;
	trail_notes_send(m->trail);
}

static bool may_note(struct mx *m)
{
	int64_t now = loop_now_ms(m->loop), more = (now - m->refusals_ms) / REFUSAL_EVERY_MS;

	if (m->refusals_ms == 0 || more >= REFUSALS_AT_ONCE - (int64_t)m->refusals_left) {
		m->refusals_left = REFUSALS_AT_ONCE;
		m->refusals_ms = now;
	} else {
		m->refusals_left += (uint32_t)more;
		m->refusals_ms += more * REFUSAL_EVERY_MS;
	}
	if (m->refusals_left > 0)
		m->refusals_left--;
	else
		m->refusals_lost++;
	return m->refusals_lost == 0;
}

void mx_note_refusal(struct mx *m, const struct trail_event *e)
{
	if (may_note(m))
		trail_note(m->trail, e);
	if (m->trail_waits)
		return;
	m->trail_waits = true;
	loop_timer_in(m->loop, &m->trail_timer, NOTE_AFTER_MS);
}

/* ---- the end ---- */

static void on_last_call(void *context) { ((struct mx *)context)->is_over = true; }

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *msg)
{
	struct mx *m = context;

	if (m->stops)
		return;
	m->stops = true;
	close_doors(m);
	mx_sessions_stop(m);
	loop_timer_in(m->loop, &m->last_call, LAST_CALL_MS);
}

static void on_master_gone(void *context, UNUSED struct channel *ch) { ((struct mx *)context)->is_over = true; }

static const struct channel_handler master_handlers[] = {
	{ NOTICE_CONNECT, on_connect },
	{ NOTICE_LISTEN, on_listen },
	{ NOTICE_STOP, on_stop },
	{ NOTICE_LOG, role_on_log },
	{ REQUEST_ALIVE, role_on_alive },
	{ 0 },
};

static void free_channel(struct mx *m, struct channel *ch)
{
	if (ch == NULL)
		return;
	loop_forget_channel(m->loop, ch);
	channel_free(ch);
}

static void serve(struct mx *m)
{
	m->master = channel_new(m->start->master_fd, ROLE_MX, ROLE_MASTER, master_handlers, m, on_master_gone);
	m->queue = channel_new(-1, ROLE_MX, ROLE_QUEUE, no_handlers, m, on_peer_closed);
	m->control = channel_new(-1, ROLE_MX, ROLE_CONTROL, control_handlers, m, NULL);
	m->trail = trail_notes_new(m->control);
	loop_channel(m->loop, m->master);
	loop_channel(m->loop, m->queue);
	loop_channel(m->loop, m->control);
	channel_notify(m->master, NOTICE_READY, STR(""), NULL, 0);
	while (!m->is_over && !(m->stops && m->sessions == NULL))
		loop_once(m->loop, -1);
}

int role_mx(const struct role_start *start)
{
	static const struct admission_limits none = { 0 };
	struct mx m = { .start = start, .loop = loop_new(), .tls = tls_server_new(), .admissions = admissions_new(&none, NULL) };
	int code = 1;

	m.trail_timer = (struct loop_timer){ .due = on_notes_due, .context = &m };
	m.look = (struct loop_timer){ .due = on_look, .context = &m };
	m.last_call = (struct loop_timer){ .due = on_last_call, .context = &m };
	if (!start->sandbox || door_close(ROLE_MX, start->dir, 0, NULL) == ERR_OK) {
		serve(&m);
		code = 0;
	}
	close_doors(&m);
	mx_sessions_end(&m);
	mx_rewrite_end(&m);
	trail_notes_free(m.trail);
	loop_timer_stop(m.loop, &m.trail_timer);
	loop_timer_stop(m.loop, &m.look);
	free_channel(&m, m.queue);  /* what it owed is answered now, and the last sessions are freed */
	free_channel(&m, m.net);
	free_channel(&m, m.control);
	free_channel(&m, m.keys);
	free_channel(&m, m.master);
	loop_timer_stop(m.loop, &m.last_call);
	tls_server_free(m.tls);
	admissions_free(m.admissions);
	lookup_close(m.lookup);
	loop_free(m.loop);
	return code;
}
