/* A set-associative table, 4 ways: full sets forget the one that was right longest ago. The epoch is part of what is hashed, so a
 * password change or suspension forgets by itself. */
#include "auth/remember.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/wire.h"
#include "crypto/mac.h"

enum { WAYS = 4, SETS = 8192, REMEMBER_MS = 24 * 3600 * 1000 };

struct entry {
	uint64_t account;  /* 0: empty */
	int64_t  at_ms;
	uint8_t  tag[16];
};

struct remember {
	uint8_t      key[32];
	struct entry entry[SETS * WAYS];
};

struct remember *remember_new(void)
{
	struct remember *r = MEM_NEW(struct remember);

	random_bytes(r->key, sizeof r->key);
	return r;
}

void remember_free(struct remember *r)
{
	if (r != NULL)
		mem_wipe(r->key, sizeof r->key);
	mem_free(r);
}

static void tag_of(struct remember *r, uint64_t account, uint32_t epoch, struct str password, uint8_t out[SHA256_SIZE])
{
	CLEANUP(buf_free) struct buf b = BUF(1024);

	put_u64(&b, account);
	put_u32(&b, epoch);
	buf_add(&b, str_sub(password, 0, 1000));
	hmac_sha256(str_make(r->key, sizeof r->key), buf_str(&b), out);
	mem_wipe(b.p, b.n);
}

static struct entry *set_of(struct remember *r, uint64_t account) { return r->entry + account % SETS * WAYS; }

bool remember_knows(struct remember *r, uint64_t account, uint32_t epoch, struct str password, int64_t now_ms)
{
	struct entry *e = set_of(r, account);
	uint8_t tag[SHA256_SIZE];

	tag_of(r, account, epoch, password, tag);
	for (int i = 0; i < WAYS; i++)
		if (e[i].account == account && now_ms - e[i].at_ms < REMEMBER_MS)
			return str_same_secret(str_make(tag, sizeof e->tag), str_make(e[i].tag, sizeof e->tag));
	return false;
}

void remember_add(struct remember *r, uint64_t account, uint32_t epoch, struct str password, int64_t now_ms)
{
	struct entry *set = set_of(r, account), *e = set;
	uint8_t tag[SHA256_SIZE];

	for (int i = 0; i < WAYS; i++) {
		if (set[i].account == account) {
			e = set + i;
			break;
		}
		if (set[i].account == 0 || (e->account != 0 && set[i].at_ms < e->at_ms))
			e = set + i;
	}
	tag_of(r, account, epoch, password, tag);
	e->account = account;
	e->at_ms = now_ms;
	memcpy(e->tag, tag, sizeof e->tag);
}

void remember_drop(struct remember *r, uint64_t account)
{
	struct entry *e = set_of(r, account);

	for (int i = 0; i < WAYS; i++)
		if (e[i].account == account)
			e[i] = (struct entry){ 0 };
}

uint64_t remember_tag(struct remember *r, uint64_t account, struct str password)
{
	uint8_t tag[SHA256_SIZE];
	uint64_t out;

	tag_of(r, account, UINT32_MAX, password, tag);
	memcpy(&out, tag, sizeof out);
	return out;
}
