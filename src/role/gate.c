/* The role gate: talks to the world and has no mail (DESIGN.md §1). TLS, the login phase, and a pump between each
 * client and its account's cell; what waits is parked here. One thread, one loop: no step of it waits for a
 * stranger, and the only role it waits for is keys, for the signature of a handshake.
 *
 * The doors open when control has sent the directory and keys the certificates, and READY is said then: whoever can
 * connect is served. Behind the sandbox nothing is opened and nobody is connected to; all descriptors come from
 * master. */
#include "auth/jwt.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/door.h"
#include "role/gate_private.h"
#include <sys/resource.h>
#include <unistd.h>

enum { STOP_GRACE_MS = 2000, DESCRIPTORS_KEPT = 128, PAIRS_MAX = 512 };

/* ---- doors */

static void set_limits(struct gate *g)
{
	const struct admission_limits limits = admission_limits_of(lookup_conf(g->lookup));

	admissions_set(g->admissions, &limits);
}

static void open_door(struct door *d)
{
	d->listener = listener_new(d->gate->loop, d->fd, client_accept, d);
	d->fd = -1;
}

static void open_doors(struct gate *g)
{
	if (g->is_open || g->lookup == NULL || !g->has_certificates)
		return;
	g->is_open = true;
	for (size_t i = 0; i < g->door_count; i++)
		open_door(&g->doors[i]);
	channel_notify(g->master, NOTICE_READY, STR(""), NULL, 0);
}

static void close_doors(struct gate *g)
{
	for (size_t i = 0; i < g->door_count; i++) {
		listener_free(g->doors[i].listener);
		fd_close(&g->doors[i].fd);
	}
	g->door_count = 0;
}

/* Web pages only over TLS: there is nothing to say in clear text. */
static bool is_for_gates(const struct listen_on *on)
{
	return (on->protocol >= PROTOCOL_SUBMISSION && on->protocol <= PROTOCOL_POP3) || (on->protocol == PROTOCOL_HTTP && on->implicit_tls);
}

static void on_listen(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct gate *g = context;
	struct listen_on on;

	if (!get_listen(m, &on) || !is_for_gates(&on) || g->door_count == DOORS_MAX) {
		log_error("unexpected LISTEN from master protocol=%d", (int)on.protocol);
		return;
	}
	struct door *d = &g->doors[g->door_count++];
	*d = (struct door){ .gate = g, .on = on, .fd = m->fds[0] };
	m->fds[0] = -1;
	if (g->is_open)
		open_door(d);
}

/* ---- what other roles send */

static void on_directory(void *context, struct channel *ch, struct message *m)
{
	struct gate *g = context;
	enum err e = lookup_replace(&g->lookup, m);

	if (e == ERR_OK) {
		set_limits(g);
		tls_server_ask_certificates(g->tls, conf_on(lookup_conf(g->lookup), SETTING_client_certificates));
		gate_tokens_directory(g);
	}
	channel_reply(ch, m->call, e, STR(""), NULL, 0);
	open_doors(g);
}

static enum err use_certificates(struct gate *g, struct str body)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct tls_certificates c;
	struct scan s = scan_of(body);

	if (!get_tls_certificates(&s, &a, &c))
		return ERR_INVALID;
	enum err e = tls_server_load(g->tls, &c, g->keys);
	return e == ERR_NOTFOUND ? ERR_OK : e;  /* none yet: keys has said so, and clients without TLS are told */
}

static void on_certificates(void *context, struct channel *ch, struct message *m)
{
	struct gate *g = context;
	struct str mapped = STR_NONE;
	enum err e = m->fd_count == 1 ? memfd_map(m->fds[0], TLS_CERTIFICATES_BYTES_MAX, &mapped) : ERR_OK;

	if (e == ERR_OK)
		e = use_certificates(g, m->fd_count == 1 ? mapped : m->body);
	if (mapped.p)
		memfd_unmap(mapped);
	channel_reply(ch, m->call, e, STR(""), NULL, 0);
	g->has_certificates = true;
	open_doors(g);
}

static void on_sessions(void *context, struct channel *ch, struct message *m)
{
	CLEANUP(buf_free) struct buf b = BUF(MESSAGE_BODY_MAX);
	struct scan s = scan_of(m->body);
	uint32_t from = get_u32(&s);

	if (!get_end(&s)) {
		channel_reply(ch, m->call, ERR_INVALID, STR(""), NULL, 0);
		return;
	}
	gate_list_sessions(context, from, &b);
	channel_reply(ch, m->call, ERR_OK, buf_str(&b), NULL, 0);
}

static void on_changed(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);
	uint64_t account = get_u64(&s), modseq = get_u64(&s);

	if (get_end(&s))
		parked_changed(((struct gate *)context)->parked, account, modseq);
}

static void on_epoch(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct scan s = scan_of(m->body);
	uint64_t account = get_u64(&s);
	uint32_t epoch = get_u32(&s);

	if (get_end(&s))
		parked_epoch(((struct gate *)context)->parked, account, epoch);
}

static void on_counts(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct gate *g = context;
	struct scan s = scan_of(m->body);
	uint32_t index = get_u32(&s);

	if (!get_end(&s) || m->fd_count != 1 || admissions_join(g->admissions, index, m->fds[0]) != ERR_OK)
		log_error("what another gate counts cannot be read index=%u", index);
}

static void on_connect(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct gate *g = context;
	enum role peer;
	uint32_t index;

	if (!get_connect(m, &peer, &index))
		return;
	struct channel *to = peer == ROLE_KEYS ? g->keys : peer == ROLE_CONTROL ? g->control : NULL;
	if (to == NULL) {
		log_error("unexpected peer role=%s", role_name(peer));
		return;
	}
	channel_replace(to, m->fds[0]);
	m->fds[0] = -1;
	loop_channel(g->loop, to);
}

static void stop(struct gate *g)
{
	g->stops = true;
	loop_stop(g->loop);
}

/* Those with a session in a cell hear from it, when their command is done. */
static void on_drain(void *context, UNUSED struct channel *ch, UNUSED struct message *m)
{
	struct gate *g = context;

	g->drains = true;
	close_doors(g);
	for (uint32_t i = 0; i < g->slot_n; i++)
		if (g->slots[i] && g->slots[i]->phase != PHASE_OPENING && g->slots[i]->phase != PHASE_ATTACHED)
			client_bye(g->slots[i], TEXT_GATE_STOPPING);
}

static void on_gained(void *context, UNUSED struct channel *ch, struct message *m)
{
	struct gate *g = context;
	struct scan s = scan_of(m->body);

	if (m->body.n == 0)
		parked_gained(g->parked, 0);
	while (!scan_done(&s)) {
		uint64_t account = get_u64(&s);
		if (account != 0)
			parked_gained(g->parked, account);
	}
}

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *m) { stop(context); }
static void on_master_gone(void *context, UNUSED struct channel *ch) { stop(context); }

static const struct channel_handler master_handlers[] = {
	{ NOTICE_CONNECT, on_connect },   { NOTICE_LISTEN, on_listen },   { NOTICE_GATE_CHANGED, on_changed },
	{ NOTICE_GATE_EPOCH, on_epoch },  { NOTICE_STOP, on_stop },       { NOTICE_LOG, role_on_log }, { REQUEST_ALIVE, role_on_alive },
	{ NOTICE_GATE_COUNTS, on_counts }, { NOTICE_GATE_GAINED, on_gained },
	{ NOTICE_DRAIN, on_drain },           { 0 },
};
static const struct channel_handler keys_handlers[] = { { REQUEST_CERTIFICATES, on_certificates }, { 0 } };
static const struct channel_handler control_handlers[] = {
	{ REQUEST_DIRECTORY, on_directory }, { REQUEST_GATE_SESSIONS, on_sessions }, { 0 },
};

/* ---- life */

/* Every client is told; who reads it in time sees it whole. */
static void say_goodbye(struct gate *g)
{
	int64_t until = clock_mono_ms() + STOP_GRACE_MS;

	close_doors(g);
	for (uint32_t i = 0; i < g->slot_n; i++)
		if (g->slots[i])
			client_bye(g->slots[i], TEXT_GATE_STOPPING);
	while (g->count && clock_mono_ms() < until)
		loop_once(g->loop, 50);
	for (uint32_t i = 0; i < g->slot_n; i++)
		if (g->slots[i])
			client_end(g->slots[i]);
}

static void gate_free(struct gate *g)
{
	struct channel *channels[] = { g->master, g->keys, g->control };

	close_doors(g);
	for (size_t i = 0; i < COUNT_OF(channels); i++) {
		if (channels[i] == NULL)
			continue;
		loop_forget_channel(g->loop, channels[i]);
		channel_free(channels[i]);
	}
	parked_free(g->parked);
	tls_server_free(g->tls);
	admissions_free(g->admissions);
	lookup_close(g->lookup);
	mem_free(g->slots);
	loop_free(g->loop);
	mem_free(g);
}

int role_gate(const struct role_start *start)
{
	struct gate *g = MEM_NEW(struct gate);
	static const struct admission_limits none = { 0 };
	struct rlimit files = { 1024, 1024 };
	CLEANUP(fd_close) int counts = -1;
	int code = 1;

	getrlimit(RLIMIT_NOFILE, &files);
	g->start = start;
	/* each connection has itself and perhaps its pair; those that told news are kept for the next ones */
	rlim_t pairs = files.rlim_cur / 8 < PAIRS_MAX ? files.rlim_cur / 8 : PAIRS_MAX;
	rlim_t for_clients = files.rlim_cur > 2 * DESCRIPTORS_KEPT ? files.rlim_cur - DESCRIPTORS_KEPT - pairs : DESCRIPTORS_KEPT;
	g->count_max = for_clients > 1u << 20 ? 1u << 19 : (uint32_t)for_clients / 2;
	g->next_session = (uint64_t)clock_wall_s() << 20 | (start->index & 7);
	g->loop = loop_new();
	g->parked = parked_new(g->loop, &gate_parked_host, g, pairs);
	g->tls = tls_server_new();  /* reads OpenSSL's configuration: not behind the door */
	jwt_setup();                /* takes its random number: nor is this */
	g->admissions = admissions_new(&none, &counts);  /* sets the size of a file: nor is this */
	if (!start->sandbox || door_close(ROLE_GATE, start->dir, 0, NULL) == ERR_OK) {
		g->keys = channel_new(-1, ROLE_GATE, ROLE_KEYS, keys_handlers, g, NULL);
		g->control = channel_new(-1, ROLE_GATE, ROLE_CONTROL, control_handlers, g, NULL);
		g->master = channel_new(start->master_fd, ROLE_GATE, ROLE_MASTER, master_handlers, g, on_master_gone);
		if (counts >= 0)
			channel_notify(g->master, NOTICE_COUNTS, STR(""), &counts, 1);
		loop_channel(g->loop, g->keys);
		loop_channel(g->loop, g->control);
		loop_channel(g->loop, g->master);
		if (!g->stops)
			loop_run(g->loop);
		say_goodbye(g);
		code = 0;
	}
	gate_free(g);
	return code;
}
