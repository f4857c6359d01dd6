/* Master's ports: what is bound, for whom, and how it reaches the role.
 *
 * Listening sockets stay open here: a restarted gate gets the same ones, and no connection is refused meanwhile. Each gate has a
 * socket of its own for each port (SO_REUSEPORT), so that the kernel shares the connections out.
 * The two local sockets are bound here as well, since only root may choose who owns them: admin.sock is for root and the server's
 * own user (mode 0600), submit.sock for every program of this machine (mode 0666: who it is say the peer credentials). */
#include "base/log.h"
#include "base/mem.h"
#include "role/role_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

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

/* is_optional: the address was not asked for by name, and this machine may lack IPv6. */
static enum err bind_one(struct master *m, const char *address, bool is_optional, const struct port_row *port, uint32_t index)
{
	uint16_t number = number_of(m, port);
	union address a;
	socklen_t n;
	int on = 1;

	if (number == 0)
		return ERR_OK;
	if (!read_address(address, number, &a, &n))
		return ERR_INVALID;
	CLEANUP(fd_close) int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return is_optional && errno == EAFNOSUPPORT ? ERR_OK : log_errno("socket", address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (port->role == ROLE_GATE && m->gates > 1)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (a.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a.any, n) < 0 || listen(fd, BACKLOG) < 0)
		return is_optional && errno == EADDRNOTAVAIL ? ERR_OK : say_why_not(address, port, number, errno);
	keep(m, &(struct listener){ fd, port->role, index, port->protocol, port->implicit_tls, number });
	fd = -1;
	return ERR_OK;
}

static enum err bind_address(struct master *m, const char *address, bool is_optional)
{
	for (size_t p = 0; p < COUNT_OF(ports); p++)
		for (uint32_t i = 0; i < (ports[p].role == ROLE_GATE ? (uint32_t)m->gates : 1); i++)
			TRY(bind_one(m, address, is_optional, &ports[p], i));
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

enum err ports_bind(struct master *m, const struct conf *c)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str left = str_trim(conf_text(c, SETTING_bind)), address;

	TRY(bind_local(m, "admin.sock", 0600, ROLE_CONTROL, PROTOCOL_ADMIN));
	TRY(bind_local(m, "submit.sock", 0666, ROLE_MX, PROTOCOL_LOCAL));
	if (left.n == 0) {
		TRY(bind_address(m, "0.0.0.0", false));
		return conf_on(c, SETTING_ipv6) ? bind_address(m, "::", true) : ERR_OK;
	}
	while (left.n > 0) {
		str_cut(left, ' ', &address, &left);
		left = str_trim(left);
		TRY(bind_address(m, str_cstr(&a, address), false));
	}
	return ERR_OK;
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
