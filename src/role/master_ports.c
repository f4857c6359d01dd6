/* Master's ports: what is bound, for whom, and how it reaches the role.
 *
 * Listening sockets stay open here: a restarted gate gets the same ones, and no connection is refused meanwhile. Each gate has a
 * socket of its own for each port (SO_REUSEPORT), so that the kernel shares the connections out.
 * The service manager keeps copies of them (role/notify.h): who connects while the server is started again waits in their queue, as he does
 * while a gate is. What it gives back is known by its address, whatever it was when it was bound: facteur.conf may have changed. One that is
 * in the way of what is wanted now is let go, in the manager too.
 * The two local sockets are bound here as well, since only root may choose who owns them: admin.sock is for root and the server's
 * own user (mode 0600), submit.sock for every program of this machine (mode 0666: who it is say the peer credentials). */
#include "base/log.h"
#include "base/mem.h"
#include "role/notify.h"
#include "role/role_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

struct given {  /* by the service manager; -1: taken, or let go */
	int   *fds;
	size_t n;
};

static const struct port_row { enum protocol protocol; bool implicit_tls; uint16_t port; enum role role; } ports[] = {
	{ PROTOCOL_SMTP, false, 25, ROLE_MX },
	{ PROTOCOL_SUBMISSION, false, 587, ROLE_GATE }, { PROTOCOL_SUBMISSION, true, 465, ROLE_GATE },
	{ PROTOCOL_IMAP, false, 143, ROLE_GATE },       { PROTOCOL_IMAP, true, 993, ROLE_GATE },
	{ PROTOCOL_POP3, false, 110, ROLE_GATE },       { PROTOCOL_POP3, true, 995, ROLE_GATE },
	{ PROTOCOL_HTTP, true, 443, ROLE_GATE },        /* setting https_port */
};

/* 0: none is wanted. */
static uint16_t number_of(struct master *m, const struct port_row *port)
{
	uint64_t number = port->protocol == PROTOCOL_HTTP ? conf_number(m->conf, SETTING_https_port) : port->port;

	return number ? (uint16_t)(number + (uint64_t)m->options.port_offset) : 0;
}

struct listener {  /* one bound socket, for one process */
	int           fd;
	enum role     role;
	uint32_t      index;  /* of the gate */
	enum protocol protocol;
	bool          implicit_tls;
	uint16_t      number;
};

static void keep(struct master *m, const struct listener *l)
{
	m->listeners = mem_resize(m->listeners, (m->listener_count + 1) * sizeof(*m->listeners));
	m->listeners[m->listener_count++] = *l;
}

union address { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; };

static bool read_address(const char *text, uint16_t number, union address *a, socklen_t *n)
{
	*a = (union address){ 0 };
	if (inet_pton(AF_INET, text, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(number);
		*n = sizeof(a->v4);
		return true;
	}
	if (inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(number);
		*n = sizeof(a->v6);
		return true;
	}
	log_error("not an IP address: %s (setting bind in facteur.conf)", text);
	return false;
}

static enum err say_why_not(const char *address, const struct port_row *port, uint16_t number, int why)
{
	if (why == EADDRINUSE && port->protocol == PROTOCOL_HTTP)
		log_error("port %u at %s is in use by another program, a web server perhaps: stop that program, or write `https_port = 0` (or another "
		          "port) into facteur.conf", number, address);
	else if (why == EADDRINUSE)
		log_error("port %u at %s is in use by another program: stop that program, or start with --port-offset N", number, address);
	else if (why == EACCES)
		log_error("port %u at %s may only be bound by root: start as root, or with --port-offset 10000", number, address);
	else if (why == EADDRNOTAVAIL)
		log_error("this machine has no address %s (setting bind in facteur.conf)", address);
	else {
		errno = why;
		return log_errno("bind", address);
	}
	return ERR_EXISTS;
}

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof(value);

	return getsockopt(fd, level, name, &value, &n) == 0 ? value : -1;
}

/* A listening socket as bind_anew() makes them. */
static bool is_bound_to(int fd, const union address *want, bool is_shared)
{
	union address have = { 0 };
	socklen_t n = sizeof(have);

	if (getsockname(fd, &have.any, &n) < 0 || have.any.sa_family != want->any.sa_family || option_of(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 ||
	    option_of(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP || option_of(fd, SOL_SOCKET, SO_REUSEPORT) != is_shared)
		return false;
	if (have.any.sa_family == AF_INET)
		return have.v4.sin_port == want->v4.sin_port && have.v4.sin_addr.s_addr == want->v4.sin_addr.s_addr;
	return have.v6.sin6_port == want->v6.sin6_port && option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1 &&
	       memcmp(&have.v6.sin6_addr, &want->v6.sin6_addr, sizeof(want->v6.sin6_addr)) == 0;
}

static uint16_t number_at(int fd)
{
	union address a = { 0 };
	socklen_t n = sizeof(a);

	if (getsockname(fd, &a.any, &n) < 0)
		return 0;
	return a.any.sa_family == AF_INET ? ntohs(a.v4.sin_port) : a.any.sa_family == AF_INET6 ? ntohs(a.v6.sin6_port) : 0;
}

/* The one that was kept for this address, or -1. */
static int take_given(struct given *given, const union address *want, bool is_shared)
{
	for (size_t i = 0; i < given->n; i++) {
		int fd = given->fds[i];
		if (fd < 0 || !is_bound_to(fd, want, is_shared))
			continue;
		given->fds[i] = -1;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		listen(fd, BACKLOG);  /* it listens already; its queue is as long as it would be now */
		return fd;
	}
	return -1;
}

/* What was given and not taken goes, here and in the manager: that of this port, which is wanted otherwise now; 0: all that is left. Shut down,
 * it is in nobody's way, and lets nobody wait in vain, whenever the manager closes its copy. False: there was nothing. */
static bool let_go(struct given *given, uint16_t number)
{
	bool had = false;

	for (size_t i = 0; i < given->n; i++) {
		if (given->fds[i] >= 0 && (number == 0 || number_at(given->fds[i]) == number)) {
			had = true;
			shutdown(given->fds[i], SHUT_RDWR);
			fd_close(&given->fds[i]);
		}
	}
	if (had)
		notify_forget();  /* all of it: what stays is kept anew when the rest is bound */
	return had;
}

/* -1 with errno. */
static int bind_anew(const union address *a, socklen_t n, bool is_shared)
{
	CLEANUP(fd_close) int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, bound;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (is_shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (a->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a->any, n) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	bound = fd;
	fd = -1;
	return bound;
}

/* is_optional: the address was not asked for by name, and this machine may lack IPv6. */
static enum err bind_one(struct master *m, struct given *given, const char *address, bool is_optional, const struct port_row *port, uint32_t index)
{
	uint16_t number = number_of(m, port);
	union address a;
	socklen_t n;
	bool is_shared = port->role == ROLE_GATE && m->gates > 1;

	if (number == 0)
		return ERR_OK;
	if (!read_address(address, number, &a, &n))
		return ERR_INVALID;
	int fd = take_given(given, &a, is_shared);
	if (fd < 0)
		fd = bind_anew(&a, n, is_shared);
	int why = errno;
	if (fd < 0 && why == EADDRINUSE && let_go(given, number)) {
		fd = bind_anew(&a, n, is_shared);
		why = errno;
	}
	if (fd < 0)
		return is_optional && (why == EADDRNOTAVAIL || why == EAFNOSUPPORT) ? ERR_OK : say_why_not(address, port, number, why);
	keep(m, &(struct listener){ fd, port->role, index, port->protocol, port->implicit_tls, number });
	return ERR_OK;
}

static enum err bind_address(struct master *m, struct given *given, const char *address, bool is_optional)
{
	for (size_t p = 0; p < COUNT_OF(ports); p++)
		for (uint32_t i = 0; i < (ports[p].role == ROLE_GATE ? (uint32_t)m->gates : 1); i++)
			TRY(bind_one(m, given, address, is_optional, &ports[p], i));
	return ERR_OK;
}

/* One of the sockets for programs of this machine. */
static enum err bind_local(struct master *m, const char *name, mode_t mode, enum role role, enum protocol protocol)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", m->options.dir, name);

	if (n < 0 || (size_t)n >= sizeof(a.sun_path)) {
		log_error("the path of the data folder is too long for a socket in it: at most %zu bytes dir=%s",
		          sizeof(a.sun_path) - strlen(name) - 2, m->options.dir);
		return ERR_LIMIT;
	}
	CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return log_errno("socket", name);
	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(a.sun_path, mode) < 0 || listen(fd, BACKLOG) < 0 ||
	    (m->uid && chown(a.sun_path, m->uid, m->gid) < 0))
		return log_errno("bind", a.sun_path);
	keep(m, &(struct listener){ fd, role, 0, protocol, false, 0 });
	fd = -1;
	return ERR_OK;
}

static enum err bind_addresses(struct master *m, struct given *given)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str left = str_trim(conf_text(m->conf, SETTING_bind)), address;

	if (left.n == 0) {
		TRY(bind_address(m, given, "0.0.0.0", false));
		return conf_on(m->conf, SETTING_ipv6) ? bind_address(m, given, "::", true) : ERR_OK;
	}
	while (left.n > 0) {
		str_cut(left, ' ', &address, &left);
		left = str_trim(left);
		TRY(bind_address(m, given, str_cstr(&a, address), false));
	}
	return ERR_OK;
}

/* The next master finds what this one serves. */
static void have_kept(const struct master *m)
{
	int *fds = mem_array(m->listener_count + 1, sizeof(*fds));
	size_t n = 0;

	for (size_t i = 0; i < m->listener_count; i++)
		if (m->listeners[i].number)
			fds[n++] = m->listeners[i].fd;
	notify_keep(fds, n);
	mem_free(fds);
}

enum err ports_bind(struct master *m)
{
	struct given given = { 0 };
	enum err e;

	TRY(bind_local(m, "admin.sock", 0600, ROLE_CONTROL, PROTOCOL_ADMIN));
	TRY(bind_local(m, "submit.sock", 0666, ROLE_MX, PROTOCOL_LOCAL));
	given.n = notify_given(&given.fds);
	e = bind_addresses(m, &given);
	let_go(&given, 0);
	mem_free(given.fds);
	if (e == ERR_OK)
		have_kept(m);
	return e;
}

void ports_give(struct running *r)
{
	for (size_t i = 0; i < r->master->listener_count; i++) {
		const struct listener *l = &r->master->listeners[i];
		CLEANUP(buf_free) struct buf b = BUF(16);
		if (l->role != r->role || l->index != r->index)
			continue;
		put_u8(&b, (uint8_t)l->protocol);
		put_bool(&b, l->implicit_tls);
		put_u16(&b, l->number);
		channel_notify(r->ch, NOTICE_LISTEN, buf_str(&b), &l->fd, 1);
	}
}

void ports_close(struct master *m)
{
	char path[512];

	for (size_t i = 0; i < m->listener_count; i++)
		close(m->listeners[i].fd);
	mem_free(m->listeners);
	snprintf(path, sizeof(path), "%s/admin.sock", m->options.dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/submit.sock", m->options.dir);
	unlink(path);
}
