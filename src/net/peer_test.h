/* net/peer_test.h -- for tests only: a peer by its address as text, IPv4 or IPv6, port 1000. */
#ifndef FACTEUR_NET_PEER_TEST_H
#define FACTEUR_NET_PEER_TEST_H
#include "base/test.h"
#include "net/listen.h"
#include <arpa/inet.h>
#include <netinet/in.h>

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
#endif
