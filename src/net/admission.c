/* Counting connections, together with the other processes that accept them.
 *
 * Problem: the kernel deals connections out to several gates, so a count of one process says little. One table that all
 * write would need a lock, which a gate that was broken into could keep for ever. Choice: a table for each process, in
 * memory that the others map read-only (F_SEAL_FUTURE_WRITE); a question adds up what all of them say. Numbers may be a
 * moment old: two connections that come at the same instant to two gates may both be let in, one too many, never more than
 * there are gates.
 *
 * A table is set-associative: a key (address, network, account) may live in one of 16 slots of one set, chosen by a hash with a
 * secret, so nobody can aim at a set. A new key takes a free slot, else the one without connections that was least busy; a
 * set where every slot has connections open refuses: with several slots for each allowed connection that is rarer than the
 * total limit itself.
 *
 * New connections are counted by the minute of the common clock: those of this minute, and the share of the last one that
 * lies within sixty seconds. */
#include "net/admission.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAYS = 16, SETS = 8192, MINUTE_MS = 60000, NETWORK_FACTOR = 5, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE };

struct slot {
	uint8_t  key[16];            /* [0]: its kind, so that an address and a network never meet; 0: free */
	uint32_t open;
	uint32_t fresh, before;      /* new ones in `minute`, and in the one before */
	uint32_t minute;             /* since the machine started */
};

struct table {                   /* in shared memory, written by one process: readers check nothing but its size */
	uint64_t    key, seed;           /* of its hash: random, and the same for all who read it */
	struct slot slots[SETS][WAYS];
};

struct admissions {
	struct admission_limits limits;
	uint32_t            count;
	struct table       *own;
	const struct table *others[ADMISSION_SEATS];   /* NULL: nobody there */
};

enum kind { KIND_ADDRESS = 1, KIND_NETWORK, KIND_ACCOUNT };

struct sum { uint64_t open, a_minute; };

/* ---- tables ---- */

static struct table *table_map(int fd, int protection)
{
	void *p = mmap(NULL, sizeof(struct table), protection, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (p != MAP_FAILED)
		return p;
	log_errno("mmap", "table of connections");
	return NULL;
}

/* A table that others can read; *fd -1: there is none, and that is logged. */
static struct table *table_shared(int *fd)
{
	struct table *t = NULL;

	*fd = memfd_create("connections", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd >= 0 && ftruncate(*fd, sizeof(struct table)) == 0)
		t = table_map(*fd, PROT_READ | PROT_WRITE);
	if (t && fcntl(*fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) == 0)
		return t;
	log_errno("memfd", "limits of connections are counted for each process only");
	if (t)
		munmap(t, sizeof(*t));
	fd_close(fd);
	*fd = -1;
	return NULL;
}

struct admissions *admissions_new(const struct admission_limits *limits, int *share_fd)
{
	struct admissions *a = MEM_NEW(struct admissions);

	a->limits = *limits;
	a->own = share_fd ? table_shared(share_fd) : NULL;
	if (a->own == NULL)
		a->own = table_map(-1, PROT_READ | PROT_WRITE);
	assert(a->own);
	a->own->key = random_u64();
	a->own->seed = random_u64();
	return a;
}

enum err admissions_join(struct admissions *a, uint32_t seat, int share_fd)
{
	int seals = fcntl(share_fd, F_GET_SEALS);

	/* neither shorter while it is mapped, nor of another size than ours */
	if (seat >= ADMISSION_SEATS || seals < 0 || (seals & SEALS) != SEALS || lseek(share_fd, 0, SEEK_END) != (off_t)sizeof(struct table))
		return ERR_INVALID;
	const struct table *t = table_map(share_fd, PROT_READ);
	if (t == NULL)
		return ERR_IO;
	if (a->others[seat])
		munmap((void *)(uintptr_t)a->others[seat], sizeof(struct table));
	a->others[seat] = t;
	return ERR_OK;
}

void admissions_set(struct admissions *a, const struct admission_limits *limits) { a->limits = *limits; }
uint32_t admissions_count(const struct admissions *a) { return a->count; }

void admissions_free(struct admissions *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < ADMISSION_SEATS; i++)
		if (a->others[i])
			munmap((void *)(uintptr_t)a->others[i], sizeof(struct table));
	munmap(a->own, sizeof(*a->own));
	mem_free(a);
}

/* ---- keys and slots ---- */

/* 16 bytes are enough: IPv6 counts /64 and /48, IPv4 has 12 constant bytes. */
static void key_of(enum kind kind, enum protocol protocol, const struct peer *p, uint8_t key[16])
{
	bool is_v4 = peer_is_v4(p);

	memset(key, 0, 16);
	key[0] = (uint8_t)(kind | (is_v4 ? 0x10 : 0x20));
	key[1] = (uint8_t)protocol;
	if (is_v4)
		memcpy(key + 2, p->address + 12, kind == KIND_ADDRESS ? 4 : 3);
	else
		memcpy(key + 2, p->address, kind == KIND_ADDRESS ? 8 : 6);
}

static void key_of_account(enum protocol protocol, uint64_t account, uint8_t key[16])
{
	memset(key, 0, 16);
	key[0] = KIND_ACCOUNT;
	key[1] = (uint8_t)protocol;
	memcpy(key + 2, &account, sizeof(account));
}

static size_t set_of(const struct table *t, const uint8_t key[16])
{
	return str_hash_keyed(str_make((const char *)key, 16), t->key, t->seed) % SETS;
}

static const struct slot *slot_find(const struct table *t, const uint8_t key[16])
{
	const struct slot *set = t->slots[set_of(t, key)];

	for (int i = 0; i < WAYS; i++)
		if (memcmp(set[i].key, key, 16) == 0)
			return &set[i];
	return NULL;
}

/* New ones within the last sixty seconds, as near as two numbers tell. */
static uint64_t a_minute(const struct slot *s, int64_t now_ms)
{
	uint32_t minute = (uint32_t)(now_ms / MINUTE_MS), age = minute - s->minute;
	uint64_t left = (uint64_t)(MINUTE_MS - now_ms % MINUTE_MS);

	if (age > 1)
		return 0;
	return age == 1 ? s->fresh * left / MINUTE_MS : s->fresh + s->before * left / MINUTE_MS;
}

/* Of our own table: the key's slot, or a fresh one; NULL: every slot of its set has connections open. */
static struct slot *slot_take(struct admissions *a, const uint8_t key[16], int64_t now_ms)
{
	struct slot *found = (struct slot *)(uintptr_t)slot_find(a->own, key), *set = a->own->slots[set_of(a->own, key)], *least = NULL;
	uint32_t minute = (uint32_t)(now_ms / MINUTE_MS);

	for (int i = 0; i < WAYS && !found; i++)
		if (set[i].open == 0 && (least == NULL || a_minute(&set[i], now_ms) < a_minute(least, now_ms)))
			least = &set[i];
	if (!found && least) {
		*least = (struct slot){ .minute = minute };
		memcpy(least->key, key, 16);
		found = least;
	}
	if (found && found->minute != minute) {
		found->before = minute - found->minute == 1 ? found->fresh : 0;
		found->fresh = 0;
		found->minute = minute;
	}
	return found;
}

/* What all processes have under this key. */
static struct sum sum_of(const struct admissions *a, const uint8_t key[16], int64_t now_ms)
{
	struct sum sum = { 0 };

	for (size_t i = 0; i <= ADMISSION_SEATS; i++) {
		const struct table *t = i < ADMISSION_SEATS ? a->others[i] : a->own;
		const struct slot *s = t ? slot_find(t, key) : NULL;
		if (s == NULL)
			continue;
		sum.open += s->open;
		sum.a_minute += a_minute(s, now_ms);
	}
	return sum;
}

static void leave_key(struct admissions *a, const uint8_t key[16])
{
	struct slot *s = (struct slot *)(uintptr_t)slot_find(a->own, key);

	if (s && s->open)
		s->open--;
}

/* ---- connections ---- */

struct admission_limits admission_limits_of(const struct conf *c)
{
	uint32_t per_minute = (uint32_t)conf_number(c, SETTING_connections_per_minute);

	return (struct admission_limits){
		.per_address = (uint32_t)conf_number(c, SETTING_connections_per_address),
		.per_network = (uint32_t)conf_number(c, SETTING_connections_per_network),
		.per_account = (uint32_t)conf_number(c, SETTING_sessions_per_account),
		.per_minute_address = per_minute, .per_minute_network = NETWORK_FACTOR * per_minute,
	};
}

/* Local proxies and programs connect from here; the rest of 127.0.0.0/8 is nobody's habit. */
static bool is_own_machine(const struct peer *p)
{
	return peer_is_loopback(p) && (!peer_is_v4(p) || memcmp(p->address + 12, "\x7f\0\0\1", 4) == 0);
}

static bool reaches(uint64_t n, uint32_t limit) { return limit && n >= limit; }

static enum admission judge(const struct admissions *a, const struct sum *address, const struct sum *network)
{
	const struct admission_limits *lim = &a->limits;

	if (reaches(address->open, lim->per_address) || reaches(network->open, lim->per_network))
		return ADMISSION_MANY;
	if (reaches(address->a_minute, lim->per_minute_address) || reaches(network->a_minute, lim->per_minute_network))
		return ADMISSION_FAST;
	return ADMITTED;
}

enum admission admission_enter(struct admissions *a, enum protocol protocol, const struct peer *p, int64_t now_ms)
{
	uint8_t address_key[16], network_key[16];

	if (reaches(a->count, a->limits.total))
		return ADMISSION_FULL;
	if (is_own_machine(p)) {
		a->count++;
		return ADMITTED;
	}
	key_of(KIND_ADDRESS, protocol, p, address_key);
	key_of(KIND_NETWORK, protocol, p, network_key);
	const struct sum of_address = sum_of(a, address_key, now_ms), of_network = sum_of(a, network_key, now_ms);
	enum admission verdict = judge(a, &of_address, &of_network);
	if (verdict != ADMITTED)
		return verdict;
	struct slot *address = slot_take(a, address_key, now_ms);
	if (address)
		address->open++;  /* holds the slot while the other is looked for: both may lie in one set */
	struct slot *network = address ? slot_take(a, network_key, now_ms) : NULL;
	if (network == NULL) {
		if (address)
			address->open--;
		return ADMISSION_FULL;
	}
	network->open++;
	address->fresh++;
	network->fresh++;
	a->count++;
	return ADMITTED;
}

void admission_leave(struct admissions *a, enum protocol protocol, const struct peer *p)
{
	uint8_t key[16];

	if (a->count)
		a->count--;
	if (is_own_machine(p))
		return;
	key_of(KIND_ADDRESS, protocol, p, key);
	leave_key(a, key);
	key_of(KIND_NETWORK, protocol, p, key);
	leave_key(a, key);
}

/* ---- accounts ---- */

bool admission_account_enter(struct admissions *a, enum protocol protocol, uint64_t account, int64_t now_ms)
{
	uint8_t key[16];

	key_of_account(protocol, account, key);
	if (reaches(sum_of(a, key, now_ms).open, a->limits.per_account))
		return false;
	struct slot *s = slot_take(a, key, now_ms);
	if (s)
		s->open++;
	return s != NULL;
}

void admission_account_leave(struct admissions *a, enum protocol protocol, uint64_t account)
{
	uint8_t key[16];

	key_of_account(protocol, account, key);
	leave_key(a, key);
}
