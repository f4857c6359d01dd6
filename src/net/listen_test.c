/* Addresses, networks, and how many of them are let in. */
#include "base/test.h"
#include "base/mem.h"
#include "net/listen.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

static struct peer peer_of(const char *text)
{
	struct peer p = { { 0 }, 1000, 993 };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(1000) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(1000) };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		peer_from_sockaddr(&p, (struct sockaddr *)(void *)&v4);
	} else {
		EXPECT_INT(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
		peer_from_sockaddr(&p, (struct sockaddr *)(void *)&v6);
	}
	return p;
}

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

TEST(limits_at_once)
{
	struct admission_limits lim = { .total = 6, .per_address = 2, .per_network = 3 };
	struct admissions *a = admissions_new(&lim);
	struct peer one = peer_of("192.0.2.1"), two = peer_of("192.0.2.2"), far = peer_of("198.51.100.1"), self = peer_of("127.0.0.1");

	EXPECT_INT(admission_enter(a, &one, 1000), ADMITTED);
	EXPECT_INT(admission_enter(a, &one, 1000), ADMITTED);
	EXPECT_INT(admission_enter(a, &one, 1000), ADMISSION_MANY);   /* the address */
	EXPECT_INT(admission_enter(a, &two, 1000), ADMITTED);
	EXPECT_INT(admission_enter(a, &two, 1000), ADMISSION_MANY);   /* its network */
	EXPECT_INT(admission_enter(a, &far, 1000), ADMITTED);
	admission_leave(a, &one);
	EXPECT_INT(admission_enter(a, &two, 1000), ADMITTED);
	for (int i = 0; i < 2; i++)
		EXPECT_INT(admission_enter(a, &self, 1000), ADMITTED);
	EXPECT_INT(admission_enter(a, &self, 1000), ADMISSION_FULL);
	EXPECT_INT(admissions_count(a), 6);
	admissions_free(a);
}

TEST(limits_a_minute)
{
	struct admission_limits lim = { .per_minute_address = 3 };
	struct admissions *a = admissions_new(&lim);
	struct peer p = peer_of("2001:db8:0:1::1"), q = peer_of("2001:db8:0:1:ffff::2"), other = peer_of("2001:db8:0:2::1");

	for (int i = 0; i < 3; i++) {
		EXPECT_INT(admission_enter(a, i % 2 ? &q : &p, 1000), ADMITTED);   /* one /64 is one address */
		admission_leave(a, i % 2 ? &q : &p);
	}
	EXPECT_INT(admission_enter(a, &p, 1000), ADMISSION_FAST);
	EXPECT_INT(admission_enter(a, &other, 1000), ADMITTED);
	for (int64_t t = 1000; t < 21000; t += 100)   /* asking often does not stop the refill */
		EXPECT_INT(admission_enter(a, &p, t), ADMISSION_FAST);
	EXPECT_INT(admission_enter(a, &p, 21001), ADMITTED);
	EXPECT_INT(admission_enter(a, &p, 21001), ADMISSION_FAST);
	admissions_free(a);
}

TEST(a_flood_of_addresses_does_not_push_out_who_is_in)
{
	struct admission_limits lim = { .per_address = 1 };
	struct admissions *a = admissions_new(&lim);
	struct peer in = peer_of("192.0.2.1"), p = peer_of("10.0.0.0");

	EXPECT_INT(admission_enter(a, &in, 0), ADMITTED);
	for (uint32_t i = 0; i < 300000; i++) {
		uint32_t v4 = htonl(0x0a000000 + i * 251);
		memcpy(p.address + 12, &v4, 4);
		if (admission_enter(a, &p, (int64_t)i * 10) == ADMITTED)
			admission_leave(a, &p);
	}
	EXPECT_INT(admission_enter(a, &in, 3000000), ADMISSION_MANY);
	EXPECT_INT(admissions_count(a), 1);
	admissions_free(a);
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
	loop_once(l, 1000);
	EXPECT_INT(seen.count, 1);
	EXPECT(peer_is_loopback(&seen.last));
	EXPECT_INT(seen.last.local_port, ntohs(a.sin_port));
	EXPECT(seen.last.port != 0);
	listener_free(ls);
	loop_free(l);
	close(c);
}
