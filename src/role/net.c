/* The role net: everything that this server says to strangers of its own accord. It may connect out, and has nothing: no file, no
 * key, no mail but what it is sending at the moment. What it has heard is told to who asked; what it was doing when it dies was
 * not answered, and is asked again.
 *
 * One loop, and nothing in it waits for a stranger; a thread beside it plans how large messages are encoded (deliver/outbound_plan.c). */
#include "auth/route_password.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/outbound.h"
#include "directory/lookup.h"
#include "dns/question.h"
#include "http/fetch_call.h"
#include "net/loop.h"
#include "role/door.h"
#include "role/lost.h"
#include "role/net_private.h"
#include "role/role.h"
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OWN_MAX = 64, LAST_CALL_MS = 3000, MINUTE_MS = 60000, KEYS_MS = 10000 };

struct net {
	const struct role_start *start;
	struct loop      *loop;
	struct channel   *master, *queue, *control, *mx, *keys;
	struct lookup    *lookup;      /* NULL until control has sent one */
	struct resolver  *resolver;
	struct tls_client *tls;
	struct sts       *sts;
	struct net_policy policy;
	struct outbound    *outbound;
	uint16_t          port, https_port;   /* of other servers */
	bool              public_only;
	struct peer       own[OWN_MAX];   /* addresses of this server */
	size_t            own_count;
	struct loop_timer last_call;   /* STOP: then the rest is cut off */
	struct loop_timer minute;
	struct loop_timer look;        /* runs while queue is lost */
	struct lost       queue_lost;
	bool              stops, is_over;
};

/* ---- passwords of smart hosts: keys has them ---- */

struct question {
	struct net *net;
	uint64_t    ticket;
};

static void on_password(void *context, struct message *answer)
{
	struct question *q = context;

	outbound_password(q->net->outbound, q->ticket, answer->status, answer->body);
	if (answer->body.n > 0)
		mem_wipe((char *)(uintptr_t)answer->body.p, answer->body.n);
	mem_free(q);
}

static void ask_password(void *context, struct str route, uint64_t ticket)
{
	CLEANUP(buf_free) struct buf b = BUF(2 * ROUTE_NAME_MAX);
	struct net *n = context;

	if (n->keys == NULL) {
		outbound_password(n->outbound, ticket, ERR_UNAVAILABLE, STR(""));
		return;
	}
	struct question *q = MEM_NEW(struct question);
	*q = (struct question){ n, ticket };
	put_route_password_name(&b, route);
	channel_ask(n->keys, REQUEST_ROUTE_PASSWORD, buf_str(&b), NULL, 0, KEYS_MS, on_password, q);
}

/* ---- peers ---- */

static void apply_settings(struct net *n)
{
	struct outbound_settings s = outbound_defaults;

	s.hostname = lookup_hostname(n->lookup);
	s.port = n->port;
	s.public_only = n->public_only;
	s.own = n->own;
	s.own_count = n->own_count;
	s.sts = n->sts;
	s.tally = n->policy.tally;
	s.ask_password = ask_password;
	s.password_context = n;
	outbound_configure(n->outbound, &s);
}

/* What the queue asks waits until it is known who we are: each message that was given back would look as if we had died with it. */
static void hear_queue(struct net *n)
{
	if (n->queue != NULL && n->lookup != NULL)
		loop_channel(n->loop, n->queue);
}

static void on_directory(void *context, struct channel *ch, struct message *msg)
{
	struct net *n = context;
	bool is_first = n->lookup == NULL;
	enum err e = lookup_replace(&n->lookup, msg);

	if (e == ERR_OK)
		apply_settings(n);
	if (e == ERR_OK && is_first) {
		hear_queue(n);
		net_policy_awaited(&n->policy);
	}
	channel_reply(ch, msg->call, e, STR(""), NULL, 0);
}

static void on_send(void *context, struct channel *ch, struct message *msg) { outbound_on_send(((struct net *)context)->outbound, ch, msg); }

static void on_sent(void *context, UNUSED struct channel *ch, struct message *msg) { outbound_on_sent(((struct net *)context)->outbound, msg); }
static void on_sends_end(void *context, UNUSED struct channel *ch, UNUSED struct message *msg)
{
	outbound_on_sends_end(((struct net *)context)->outbound);
}

static void on_look(void *context)
{
	struct net *n = context;

	if (lost_look(&n->queue_lost, n->queue, ROLE_QUEUE, 0, n->master, loop_now_ms(n->loop)))
		loop_timer_in(n->loop, &n->look, LOST_LOOK_MS);
}

static void on_queue_gone(void *context, UNUSED struct channel *ch)
{
	outbound_drop_all(((struct net *)context)->outbound);
	on_look(context);
}

static const struct channel_handler queue_handlers[] = { { REQUEST_SEND, on_send }, { NOTICE_SENT, on_sent },
                                                       { NOTICE_SENDS_END, on_sends_end }, { 0 } };

static void on_question(void *context, struct channel *ch, struct message *msg)
{
	question_serve(((struct net *)context)->resolver, ch, msg);
}

static void on_fetch(void *context, struct channel *ch, struct message *msg)
{
	struct net *n = context;

	fetch_serve(n->resolver, n->tls, n->https_port, n->public_only && n->https_port == 443, ch, msg);
}

static void on_probe(void *context, struct channel *ch, struct message *msg)
{
	struct net *n = context;

	if (n->lookup == NULL)
		channel_reply(ch, msg->call, ERR_UNAVAILABLE, STR(""), NULL, 0);
	else
		outbound_on_probe(n->outbound, ch, msg);
}

static const struct channel_handler control_handlers[] = {
	{ REQUEST_DIRECTORY, on_directory }, { REQUEST_QUESTION, on_question }, { REQUEST_FETCH, on_fetch }, { REQUEST_PROBE, on_probe },
	{ 0 },
};
static const struct channel_handler keys_handlers[] = { { 0 } };
static const struct channel_handler mx_handlers[] = { { REQUEST_QUESTION, on_question }, { 0 } };

static const struct channel_handler *peer_of(struct net *n, enum role role, struct channel ***peer)
{
	switch (role) {
	case ROLE_QUEUE:
		*peer = &n->queue;
		return queue_handlers;
	case ROLE_CONTROL:
		*peer = &n->control;
		return control_handlers;
	case ROLE_MX:
		*peer = &n->mx;
		return mx_handlers;
	case ROLE_KEYS:
		*peer = &n->keys;
		return keys_handlers;
	default:
		return NULL;
	}
}

static void on_connect(void *context, UNUSED struct channel *ch, struct message *msg)
{
	struct net *n = context;
	const struct channel_handler *handlers;
	struct channel **peer;
	enum role role;
	uint32_t index;

	if (!get_connect(msg, &role, &index))
		return;
	handlers = peer_of(n, role, &peer);
	if (handlers == NULL) {
		log_error("unexpected peer role=%s index=%u", role_name(role), index);
		return;
	}
	if (role == ROLE_QUEUE)  /* another one than before: it knows nothing of what that one has asked */
		outbound_drop_all(n->outbound);
	if (*peer == NULL)
		*peer = channel_new(msg->fds[0], ROLE_NET, role, handlers, n, role == ROLE_QUEUE ? on_queue_gone : NULL);
	else
		channel_replace(*peer, msg->fds[0]);
	msg->fds[0] = -1;
	if (role == ROLE_QUEUE)
		hear_queue(n);
	else
		loop_channel(n->loop, *peer);
	if (role == ROLE_CONTROL)
		net_policy_control(&n->policy, *peer);
}

/* ---- the end ---- */

static void on_minute(void *context)
{
	struct net *n = context;

	mem_trim();  /* a thousand names at once leave the resolver's heaps several times as large as what is kept */
	sts_refresh(n->sts);
	loop_timer_in(n->loop, &n->minute, MINUTE_MS);
}

static void on_last_call(void *context) { ((struct net *)context)->is_over = true; }

static void on_stop(void *context, UNUSED struct channel *ch, UNUSED struct message *msg)
{
	struct net *n = context;

	n->stops = true;
	outbound_stop(n->outbound);
	loop_timer_in(n->loop, &n->last_call, LAST_CALL_MS);
}

static void on_master_gone(void *context, UNUSED struct channel *ch) { ((struct net *)context)->is_over = true; }

static const struct channel_handler master_handlers[] = {
	{ NOTICE_CONNECT, on_connect },
	{ NOTICE_STOP, on_stop },
	{ NOTICE_LOG, role_on_log },
	{ REQUEST_ALIVE, role_on_alive },
	{ 0 },
};

static void free_channel(struct net *n, struct channel *ch)
{
	if (ch == NULL)
		return;
	loop_forget_channel(n->loop, ch);
	channel_free(ch);
}

static void serve(struct net *n)
{
	n->master = channel_new(n->start->master_fd, ROLE_NET, ROLE_MASTER, master_handlers, n, on_master_gone);
	loop_channel(n->loop, n->master);
	channel_notify(n->master, NOTICE_READY, STR(""), NULL, 0);
	while (!n->is_over && !(n->stops && outbound_connections(n->outbound) == 0))
		loop_once(n->loop, -1);
	net_policy_stop(&n->policy);
}

static void add_own(struct net *n, const struct sockaddr *a)
{
	if (a != NULL && (a->sa_family == AF_INET || a->sa_family == AF_INET6) && n->own_count < OWN_MAX)
		peer_from_sockaddr(&n->own[n->own_count++], a);
}

/* Where mail would come back to us: the addresses of bind, else all of this machine. In a lab several servers share one, on other ports. */
static void find_own_addresses(struct net *n, const struct conf *c)
{
	struct str bound = conf_text(c, SETTING_bind), one;
	struct ifaddrs *all = NULL;
	char room[PEER_TEXT_MAX];

	if (n->port != 25 + conf_number(c, SETTING_port_offset) || getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i && bound.n == 0; i = i->ifa_next)
		add_own(n, i->ifa_addr);
	freeifaddrs(all);
	while (bound.n) {
		struct sockaddr_in v4 = { .sin_family = AF_INET };
		struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
		str_cut(bound, ' ', &one, &bound);
		snprintf(room, sizeof(room), STR_FMT, STR_ARG(one));
		if (inet_pton(AF_INET, room, &v4.sin_addr) == 1)
			add_own(n, (const struct sockaddr *)&v4);
		else if (inet_pton(AF_INET6, room, &v6.sin6_addr) == 1)
			add_own(n, (const struct sockaddr *)&v6);
	}
}

/* Opens what is a file, before the door closes. */
static enum err open_all(struct net *n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct conf *c = conf_new();
	struct conf_problem problem;
	enum err e = ERR_INVALID;

	if (conf_read_file(c, arena_printf(&a, "%s/facteur.conf", n->start->dir).p, &problem)) {
		struct resolver_config config = resolver_config_of(c);
		e = resolver_new(n->loop, &config, &n->resolver);
		n->port = (uint16_t)conf_number(c, SETTING_smtp_port_out);
		n->public_only = n->port == 25 && !conf_on(c, SETTING_smtp_to_private);
		find_own_addresses(n, c);
		n->tls = tls_client_new(conf_text(c, SETTING_ca_file).p);
		n->https_port = (uint16_t)conf_number(c, SETTING_https_port_out);
		n->sts = sts_new(n->resolver, n->tls, n->https_port);
		sts_public_only(n->sts, n->public_only && n->https_port == 443);
		net_policy_open(&n->policy, n->loop, n->sts);
		n->outbound = outbound_new(n->loop, n->resolver, n->tls);
	} else {
		log_error("facteur.conf: " STR_FMT, STR_ARG(conf_explain(&a, &problem, false)));
	}
	conf_free(c);
	return e;
}

static bool can_open(const struct conf *c, uid_t uid, gid_t gid)
{
	struct loop *loop = loop_new();
	struct resolver_config config = resolver_config_of(c);
	struct resolver *r = NULL;

	if (uid != 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
		return false;
	bool ok = resolver_new(loop, &config, &r) == ERR_OK;
	resolver_free(r);
	loop_free(loop);
	return ok;
}

bool role_net_can_start(const struct conf *c, uid_t uid, gid_t gid)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(can_open(c, uid, gid) ? 0 : 1);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return true;
	return pid < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int role_net(const struct role_start *start)
{
	struct net n = { .start = start, .loop = loop_new() };
	int code = 1;

	n.last_call = (struct loop_timer){ .due = on_last_call, .context = &n };
	n.look = (struct loop_timer){ .due = on_look, .context = &n };
	n.minute = (struct loop_timer){ .due = on_minute, .context = &n };
	if (open_all(&n) != ERR_OK) {
		loop_free(n.loop);
		return code;
	}
	if (!start->sandbox || door_close(ROLE_NET, start->dir, 0, NULL) == ERR_OK) {
		loop_timer_in(n.loop, &n.minute, MINUTE_MS);
		serve(&n);
		code = 0;
	}
	free_channel(&n, n.queue);
	free_channel(&n, n.control);
	free_channel(&n, n.mx);
	free_channel(&n, n.keys);
	free_channel(&n, n.master);
	loop_timer_stop(n.loop, &n.last_call);
	loop_timer_stop(n.loop, &n.minute);
	loop_timer_stop(n.loop, &n.look);
	outbound_free(n.outbound);
	net_policy_close(&n.policy);
	sts_free(n.sts);
	tls_client_free(n.tls);
	resolver_free(n.resolver);
	lookup_close(n.lookup);
	loop_free(n.loop);
	return code;
}
