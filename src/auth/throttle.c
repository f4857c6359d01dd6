/* Guessing, limited. Four kinds of bucket, each in its own table so that a flood of invented names (pairs) cannot push out what is
 * known of networks. A table is 4-way sets: a new key takes the place of the emptiest of its four, so hammering keys stay and
 * one-time failures make room; memory never grows.
 *
 * A bucket leaks one failure each leak_s. At `refuse` failures nothing more is looked at until one has leaked: from then on the
 * guesser gets one try a leak_s, for ever. Between `free` and `refuse` the answer is delayed, 250 ms doubling to 10 s: the
 * delay is the gate's timer and costs nobody a thread. */
#include "auth/throttle.h"
#include "base/mem.h"
#include <arpa/inet.h>

enum kind { KIND_PAIR, KIND_ACCOUNT, KIND_ADDRESS, KIND_NETWORK, KIND_COUNT };
enum { WAYS = 4, SETS = 2048, KNOWN_DAYS = 30, ONE = 1000, TAGS = 4 };

static const struct { uint32_t free, refuse, leak_s; } rules[KIND_COUNT] = {
	[KIND_PAIR]    = { 3,  10,  60 },
	[KIND_ACCOUNT] = { 20, 100, 30 },
	[KIND_ADDRESS] = { 10, 40,  30 },
	[KIND_NETWORK] = { 50, 200, 5 },
};

struct bucket {
	uint64_t key;      /* 0: empty */
	int64_t  at_ms;    /* when level was right */
	uint32_t level;    /* failures * ONE */
	uint32_t tags[TAGS];  /* pair: the last wrong passwords */
};

struct throttle {
	struct bucket bucket[KIND_COUNT][SETS * WAYS];
	struct bucket known[SETS * WAYS];   /* (account, network) of successes; level unused */
};

struct throttle *throttle_new(void) { return MEM_NEW(struct throttle); }
void throttle_free(struct throttle *t) { mem_free(t); }

static uint32_t level_now(const struct bucket *b, uint32_t leak_s, int64_t now_ms)
{
	int64_t leaked = now_ms > b->at_ms ? (now_ms - b->at_ms) / leak_s : 0;  /* ms / s: thousandths of a failure */

	return leaked >= b->level ? 0 : b->level - (uint32_t)leaked;
}

/* Finds the bucket of a key, or makes it in the place of the emptiest (oldest among equals) of its set. */
static struct bucket *find(struct bucket *table, uint64_t key, uint32_t leak_s, int64_t now_ms, bool make)
{
	struct bucket *set = table + (key % SETS) * WAYS, *worst = set;

	for (int i = 0; i < WAYS; i++)
		if (set[i].key == key)
			return set + i;
	if (!make)
		return NULL;
	for (int i = 1; i < WAYS; i++) {
		uint32_t mine = level_now(set + i, leak_s, now_ms), its = level_now(worst, leak_s, now_ms);

		if (mine < its || (mine == its && set[i].at_ms < worst->at_ms))
			worst = set + i;
	}
	*worst = (struct bucket){ .key = key, .at_ms = now_ms };
	return worst;
}

/* What a client is counted under. Text that is no address (it came from our own gate, so it is a bug) is one "address". */
struct place { struct str address, network; bool is_loopback; uint8_t bytes[16]; };

static struct place place_of(struct str peer)
{
	struct place p = { 0 };
	char text[64] = "";
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	memcpy(text, peer.p ? peer.p : "", peer.n < sizeof text ? peer.n : sizeof text - 1);
	if (inet_pton(AF_INET6, text, p.bytes) == 1) {
		if (memcmp(p.bytes, mapped, sizeof mapped) == 0) {  /* ::ffff:192.0.2.7 is 192.0.2.7 */
			memmove(p.bytes, p.bytes + 12, 4);
			p.address = str_make(NULL, 4);
		} else {
			/* a household has a /64: the address is counted as that, since each device invents new ones */
			p.address = str_make(NULL, 8);
			p.is_loopback = !memcmp(p.bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
		}
	} else if (inet_pton(AF_INET, text, p.bytes) == 1) {
		p.address = str_make(NULL, 4);
	}
	p.is_loopback = p.is_loopback || (p.address.n == 4 && p.bytes[0] == 127);
	p.network.n = p.address.n == 4 ? 3 : p.address.n == 8 ? 6 : 0;
	return p;
}

static uint64_t key_of(enum kind kind, uint64_t account, const struct place *p)
{
	bool has_account = kind == KIND_PAIR || kind == KIND_ACCOUNT;
	size_t n = kind == KIND_ACCOUNT ? 0 : kind == KIND_NETWORK ? p->network.n : p->address.n;
	uint64_t key = str_hash(str_make(p->bytes, n), (has_account ? account * KIND_COUNT : 0) + (uint64_t)kind + (n << 56));

	return key ? key : 1;
}

static uint64_t known_key(uint64_t account, const struct place *p)
{
	return str_hash(str_make(p->bytes, p->network.n), ~account) | 1;
}

/* Local proxies and scripts share 127.0.0.1: there only the account and the pair count. */
static bool counts(enum kind kind, const struct place *p)
{
	return !p->is_loopback || kind == KIND_PAIR || kind == KIND_ACCOUNT;
}

uint64_t throttle_network(struct str peer)
{
	struct place p = place_of(peer);

	return key_of(KIND_NETWORK, 0, &p);
}

static bool is_known(struct throttle *t, uint64_t account, const struct place *p, int64_t now_ms)
{
	const struct bucket *b = find(t->known, known_key(account, p), 1, now_ms, false);

	return b != NULL && now_ms - b->at_ms < (int64_t)KNOWN_DAYS * 86400 * 1000;
}

uint32_t throttle_check(struct throttle *t, const struct throttle_who *who, int64_t now_ms)
{
	struct place p = place_of(who->peer);
	uint32_t retry_s = 0;

	for (int k = 0; k < KIND_COUNT; k++) {
		struct bucket *b = find(t->bucket[k], key_of((enum kind)k, who->account, &p), rules[k].leak_s, now_ms, false);
		uint32_t level = b ? level_now(b, rules[k].leak_s, now_ms) : 0;

		if (!counts((enum kind)k, &p) || level <= (rules[k].refuse - 1) * ONE)
			continue;
		if (k == KIND_ACCOUNT && is_known(t, who->account, &p, now_ms))
			continue;
		uint32_t wait_s = (uint32_t)(((uint64_t)(level - (rules[k].refuse - 1) * ONE) * rules[k].leak_s + ONE - 1) / ONE);
		if (wait_s > retry_s)
			retry_s = wait_s;
	}
	return retry_s;
}

static uint32_t delay_of(enum kind kind, uint32_t level)
{
	uint32_t failures = level / ONE, beyond;

	if (failures < rules[kind].free)
		return 0;
	beyond = failures - rules[kind].free;
	return beyond >= 6 ? 10000 : 250u << beyond;
}

static bool was_wrong_before(const struct bucket *b, uint32_t tag)
{
	for (int i = 0; i < TAGS; i++)
		if (b->tags[i] == tag)
			return true;
	return false;
}

uint32_t throttle_failure(struct throttle *t, const struct throttle_who *who, uint64_t password_tag, int64_t now_ms)
{
	struct place p = place_of(who->peer);
	uint32_t tag = (uint32_t)(password_tag ^ password_tag >> 32), delay_ms = 0;

	for (int k = 0; k < KIND_COUNT; k++) {
		struct bucket *b;

		if (!counts((enum kind)k, &p))
			continue;
		b = find(t->bucket[k], key_of((enum kind)k, who->account, &p), rules[k].leak_s, now_ms, true);
		if (k == KIND_PAIR && b->level > 0 && was_wrong_before(b, tag))
			return delay_of(KIND_PAIR, level_now(b, rules[k].leak_s, now_ms));  /* the same mistake again */
		b->level = level_now(b, rules[k].leak_s, now_ms);
		if (b->level < rules[k].refuse * ONE)
			b->level += ONE;
		b->at_ms = now_ms;
		memmove(b->tags + 1, b->tags, sizeof b->tags - sizeof b->tags[0]);
		b->tags[0] = tag;
		if (delay_of((enum kind)k, b->level) > delay_ms)
			delay_ms = delay_of((enum kind)k, b->level);
	}
	return delay_ms;
}

void throttle_success(struct throttle *t, const struct throttle_who *who, int64_t now_ms)
{
	struct place p = place_of(who->peer);
	struct bucket *pair = find(t->bucket[KIND_PAIR], key_of(KIND_PAIR, who->account, &p), rules[KIND_PAIR].leak_s, now_ms, false);
	uint32_t own = pair ? level_now(pair, rules[KIND_PAIR].leak_s, now_ms) : 0;

	find(t->known, known_key(who->account, &p), 1, now_ms, true)->at_ms = now_ms;
	for (int k = 0; k < KIND_COUNT && own > 0; k++) {
		struct bucket *b = find(t->bucket[k], key_of((enum kind)k, who->account, &p), rules[k].leak_s, now_ms, false);

		if (b == NULL || !counts((enum kind)k, &p))
			continue;
		b->level = level_now(b, rules[k].leak_s, now_ms);
		b->level = b->level > own ? b->level - own : 0;
		b->at_ms = now_ms;
	}
	if (pair != NULL)
		memset(pair->tags, 0, sizeof pair->tags);
}
