/* Addresses, networks, and accepting. */
#include "base/test.h"
#include "net/listen.h"
#include "net/peer_test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

TEST(texts)
{
	static const char *const cases[] = { "192.0.2.7", "2001:db8::7", "::1", "255.255.255.255" };
	char room[PEER_TEXT_MAX];

	EACH(cases, c) {
		struct peer p = peer_of(*c);
		EXPECT_STR(peer_text(&p, room), *c);
	}
	struct peer mapped = peer_of("::ffff:192.0.2.9");  /* as a dual-stack socket says it */
	EXPECT(peer_is_v4(&mapped));
	EXPECT_STR(peer_text(&mapped, room), "192.0.2.9");
}

TEST(networks)
{
	static const struct { const char *peer, *network; bool is_in; } cases[] = {
		{ "192.0.2.7", "192.0.2.7", true },     { "192.0.2.7", "192.0.2.8", false },
		{ "192.0.2.7", "192.0.2.0/24", true },  { "192.0.3.7", "192.0.2.0/23", true },
		{ "192.0.4.7", "192.0.2.0/23", false }, { "192.0.2.7", "0.0.0.0/0", true },
		{ "192.0.2.7", "192.0.2.0/33", false }, { "192.0.2.7", "192.0.2.0/", false },
		{ "2001:db8::7", "2001:db8::/32", true }, { "2001:db9::7", "2001:db8::/32", false },
		{ "2001:db8::7", "0.0.0.0/0", false },  { "192.0.2.7", "nonsense", false }, { "192.0.2.7", "", false },
	};
	EACH(cases, c) {
		struct peer p = peer_of(c->peer);
		if (peer_is_in(&p, str_of(c->network)) != c->is_in)
			print_error("%s in %s\n", c->peer, c->network);
		EXPECT(peer_is_in(&p, str_of(c->network)) == c->is_in);
	}
}

struct accepted { int count; struct peer last; };
static void on_accept(void *context, int fd, const struct peer *peer)
{
	struct accepted *a = context;
	a->count++;
	a->last = *peer;
	close(fd);
}

TEST(accepts)
{
	struct loop *l = loop_new();
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);
	struct accepted seen = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	EXPECT_INT(bind(fd, (struct sockaddr *)(void *)&a, n) | listen(fd, 10), 0);
	EXPECT_INT(getsockname(fd, (struct sockaddr *)(void *)&a, &n), 0);
	struct listener *ls = listener_new(l, fd, on_accept, &seen);
	int c = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT_INT(connect(c, (struct sockaddr *)(void *)&a, n), 0);
	struct peer other, none;
	int pair[2];
	EXPECT(peer_of_socket(&other, c) && peer_is_loopback(&other) && other.port == ntohs(a.sin_port));
	EXPECT(!peer_of_socket(&none, fd));                 /* listens, and is connected with nobody */
	EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	EXPECT(!peer_of_socket(&none, pair[0]));            /* of no network */
	EXPECT(!peer_of_socket(&none, -1));
	close(pair[0]);
	close(pair[1]);
	loop_once(l, 1000);
	EXPECT_INT(seen.count, 1);
	EXPECT(peer_is_loopback(&seen.last));
	EXPECT_INT(seen.last.local_port, ntohs(a.sin_port));
	EXPECT(seen.last.port != 0);
	listener_free(ls);
	loop_free(l);
	close(c);
}
