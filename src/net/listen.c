/* Accepting strangers. A listener takes at most ACCEPT_ROUND of them in one round of the loop: whoever is in goes on between. */
#include "net/listen.h"
#include "base/log.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum { ACCEPT_ROUND = 64, NO_DESCRIPTORS_PAUSE_MS = 100 };

/* ---- addresses ---- */

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool peer_is_v4(const struct peer *p) { return memcmp(p->address, v4_prefix, 12) == 0; }

bool peer_is_loopback(const struct peer *p)
{
	static const uint8_t v6_loopback[16] = { [15] = 1 };

	return peer_is_v4(p) ? p->address[12] == 127 : memcmp(p->address, v6_loopback, 16) == 0;
}

struct str peer_text(const struct peer *p, char room[PEER_TEXT_MAX])
{
	bool is_v4 = peer_is_v4(p);

	if (inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? p->address + 12 : p->address, room, PEER_TEXT_MAX) == NULL)
		snprintf(room, PEER_TEXT_MAX, "::");
	return str_of(room);
}

void peer_from_sockaddr(struct peer *p, const struct sockaddr *a)
{
	memset(p->address, 0, sizeof(p->address));
	p->port = 0;
	if (a->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, a, sizeof(v4));
		memcpy(p->address, v4_prefix, 12);
		memcpy(p->address + 12, &v4.sin_addr, 4);
		p->port = ntohs(v4.sin_port);
	} else if (a->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, a, sizeof(v6));
		memcpy(p->address, &v6.sin6_addr, 16);
		p->port = ntohs(v6.sin6_port);
	}
}

bool peer_parse(struct str in, struct peer *out)
{
	char text[PEER_TEXT_MAX];

	*out = (struct peer){ 0 };
	if (in.n == 0 || in.n >= sizeof text || memchr(in.p, 0, in.n) != NULL)
		return false;
	memcpy(text, in.p, in.n);
	text[in.n] = 0;
	if (inet_pton(AF_INET, text, out->address + 12) == 1) {
		memcpy(out->address, v4_prefix, sizeof v4_prefix);
		return true;
	}
	return inet_pton(AF_INET6, text, out->address) == 1;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

bool peer_of_socket(struct peer *p, int fd)
{
	struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof(a);

	if (getpeername(fd, (struct sockaddr *)&a, &n) < 0 || (a.ss_family != AF_INET && a.ss_family != AF_INET6))
		return false;
	peer_from_sockaddr(p, (const struct sockaddr *)&a);
	return true;
}

bool peer_is_in(const struct peer *p, struct str network)
{
	char text[PEER_TEXT_MAX];
	uint8_t address[16];
	struct str host, bits;
	bool has_bits = str_cut(network, '/', &host, &bits);
	uint64_t n = 0;

	if (host.n >= sizeof(text) || (has_bits && !str_to_u64(bits, &n)))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = 0;
	memcpy(address, v4_prefix, 12);
	if (inet_pton(AF_INET, text, address + 12) == 1)
		n = has_bits ? n + 96 : 128;
	else if (inet_pton(AF_INET6, text, address) == 1)
		n = has_bits ? n : 128;
	else
		return false;
	return n <= 128 && same_bits(p->address, address, (unsigned)n);
}

/* ---- accepting ---- */

struct listener {
	struct loop      *loop;
	struct loop_fd    watch;
	struct loop_timer pause;
	void            (*on_accept)(void *context, int fd, const struct peer *peer);
	void             *context;
	uint16_t          local_port;
};

static void accept_ready(void *context, UNUSED unsigned events)
{
	struct listener *ls = context;
	int on = 1;

	for (int i = 0; i < ACCEPT_ROUND; i++) {
		union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a = { 0 };
		socklen_t n = sizeof(a);
		struct peer peer = { .local_port = ls->local_port };
		int fd = accept4(ls->watch.fd, &a.any, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
			log_errno("accept", "no descriptors or memory left");
			loop_watch(ls->loop, &ls->watch, 0);
			loop_timer_in(ls->loop, &ls->pause, NO_DESCRIPTORS_PAUSE_MS);
			return;
		}
		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR || errno == EPROTO))
			continue;
		if (fd < 0) {
			if (errno != EAGAIN)
				log_errno("accept", "listener");
			return;
		}
		peer_from_sockaddr(&peer, &a.any);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		ls->on_accept(ls->context, fd, &peer);
	}
}

static void accept_again(void *context)
{
	struct listener *ls = context;
	loop_watch(ls->loop, &ls->watch, LOOP_READ);
}

struct listener *listener_new(struct loop *l, int fd, void (*on_accept)(void *context, int fd, const struct peer *peer), void *context)
{
	struct listener *ls = MEM_NEW(struct listener);
	union { struct sockaddr any; struct sockaddr_in6 v6; } a = { 0 };
	socklen_t n = sizeof(a);
	struct peer self = { 0 };

	if (getsockname(fd, &a.any, &n) == 0)
		peer_from_sockaddr(&self, &a.any);
	*ls = (struct listener){
		.loop = l, .watch = { .ready = accept_ready, .context = ls, .fd = fd }, .pause = { .due = accept_again, .context = ls },
		.on_accept = on_accept, .context = context, .local_port = self.port,
	};
	loop_watch(l, &ls->watch, LOOP_READ);
	return ls;
}

void listener_free(struct listener *ls)
{
	if (ls == NULL)
		return;
	loop_unwatch(ls->loop, &ls->watch);
	loop_timer_stop(ls->loop, &ls->pause);
	fd_close(&ls->watch.fd);
	mem_free(ls);
}
