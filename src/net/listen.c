/* Accepting strangers, and counting them.
 *
 * The table is set-associative: a key (address or network) may live in one of 16 slots of one set, chosen by a keyed hash, so
 * nobody can aim at a set. A slot without open connections and with a full bucket says nothing and may be taken over. A set that
 * is full of live slots refuses: with four slots for each allowed connection that is rarer than the total limit itself.
 * The rate is a token bucket: `per minute` tokens, refilled evenly. */
#include "net/listen.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum { WAYS = 16, SETS = 4096, ACCEPT_ROUND = 64, NO_DESCRIPTORS_PAUSE_MS = 100, MINUTE_MS = 60000, NETWORK_FACTOR = 5 };

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

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
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

/* ---- counting ---- */

struct slot {
	uint8_t  key[16];       /* [0]: its kind, so that an address and a network never meet; all zeros: free */
	uint32_t open;
	uint32_t tokens_milli;  /* thousandths of a connection */
	int64_t  filled_ms;
};

struct admissions {
	struct admission_limits limits;
	uint32_t    count;
	uint64_t    seed;
	struct slot slots[SETS][WAYS];
};

enum kind { KIND_ADDRESS = 1, KIND_NETWORK };

struct admissions *admissions_new(const struct admission_limits *limits)
{
	struct admissions *a = MEM_NEW(struct admissions);

	a->limits = *limits;
	a->seed = random_u64();
	return a;
}

void admissions_set(struct admissions *a, const struct admission_limits *limits) { a->limits = *limits; }
void admissions_free(struct admissions *a) { mem_free(a); }
uint32_t admissions_count(const struct admissions *a) { return a->count; }

/* 15 bytes are enough: IPv6 counts /64 and /48, IPv4 has 12 constant bytes. */
static void key_of(const struct peer *p, enum kind kind, uint8_t key[16])
{
	bool is_v4 = peer_is_v4(p);

	memset(key, 0, 16);
	key[0] = (uint8_t)(kind | (is_v4 ? 0x10 : 0x20));
	if (is_v4)
		memcpy(key + 1, p->address + 12, kind == KIND_ADDRESS ? 4 : 3);
	else
		memcpy(key + 1, p->address, kind == KIND_ADDRESS ? 8 : 6);
}

static void refill(struct slot *s, uint32_t per_minute, int64_t now_ms)
{
	uint64_t full = (uint64_t)per_minute * 1000, passed = (uint64_t)(now_ms - s->filled_ms);
	uint64_t tokens = s->tokens_milli + (passed >= MINUTE_MS ? full : full * passed / MINUTE_MS);

	if (passed == 0)
		return;
	if (tokens == s->tokens_milli && full)  /* too early for a thousandth: keep the time */
		return;
	s->tokens_milli = (uint32_t)(tokens > full ? full : tokens);
	s->filled_ms = now_ms;
}

static struct slot *slot_find(struct admissions *a, const uint8_t key[16])
{
	struct slot *set = a->slots[str_hash(str_make(key, 16), a->seed) % SETS];

	for (int i = 0; i < WAYS; i++)
		if (memcmp(set[i].key, key, 16) == 0)
			return &set[i];
	return NULL;
}

/* The key's slot, or a fresh one; NULL: the set is full of live ones. */
static struct slot *slot_take(struct admissions *a, const uint8_t key[16], uint32_t per_minute, int64_t now_ms)
{
	struct slot *found = slot_find(a, key), *set = a->slots[str_hash(str_make(key, 16), a->seed) % SETS];

	if (found) {
		refill(found, per_minute, now_ms);
		return found;
	}
	for (int i = 0; i < WAYS; i++) {
		if (set[i].open || (set[i].key[0] && now_ms - set[i].filled_ms < MINUTE_MS))
			continue;
		memcpy(set[i].key, key, 16);
		set[i].tokens_milli = per_minute > UINT32_MAX / 1000 ? UINT32_MAX : per_minute * 1000;
		set[i].filled_ms = now_ms;
		return &set[i];
	}
	return NULL;
}

struct admission_limits admission_limits_of(const struct conf *c)
{
	uint32_t per_minute = (uint32_t)conf_number(c, SETTING_connections_per_minute);

	return (struct admission_limits){
		.per_address = (uint32_t)conf_number(c, SETTING_connections_per_address),
		.per_network = (uint32_t)conf_number(c, SETTING_connections_per_network),
		.per_minute_address = per_minute, .per_minute_network = NETWORK_FACTOR * per_minute,
	};
}

enum admission admission_enter(struct admissions *a, const struct peer *p, int64_t now_ms)
{
	uint8_t address_key[16], network_key[16];
	const struct admission_limits *lim = &a->limits;

	if (lim->total && a->count >= lim->total)
		return ADMISSION_FULL;
	a->count++;
	if (peer_is_loopback(p))
		return ADMITTED;
	key_of(p, KIND_ADDRESS, address_key);
	key_of(p, KIND_NETWORK, network_key);
	struct slot *address = slot_take(a, address_key, lim->per_minute_address, now_ms);
	if (address)
		address->open++;  /* holds the slot while the other is looked for: both may lie in one set */
	struct slot *network = address ? slot_take(a, network_key, lim->per_minute_network, now_ms) : NULL;
	enum admission verdict = ADMITTED;
	if (network == NULL)
		verdict = ADMISSION_FULL;
	else if ((lim->per_address && address->open > lim->per_address) || (lim->per_network && network->open >= lim->per_network))
		verdict = ADMISSION_MANY;
	else if ((lim->per_minute_address && address->tokens_milli < 1000) || (lim->per_minute_network && network->tokens_milli < 1000))
		verdict = ADMISSION_FAST;
	if (verdict != ADMITTED) {
		if (address)
			address->open--;
		a->count--;
		return verdict;
	}
	network->open++;
	address->tokens_milli -= lim->per_minute_address ? 1000 : 0;
	network->tokens_milli -= lim->per_minute_network ? 1000 : 0;
	return ADMITTED;
}

void admission_leave(struct admissions *a, const struct peer *p)
{
	if (a->count)
		a->count--;
	if (peer_is_loopback(p))
		return;
	for (enum kind kind = KIND_ADDRESS; kind <= KIND_NETWORK; kind++) {
		uint8_t key[16];
		key_of(p, kind, key);
		struct slot *s = slot_find(a, key);
		if (s && s->open)
			s->open--;
	}
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
