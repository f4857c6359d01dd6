/* Signature algorithms, and the encodings between control and keys. To add an algorithm: a value, a row, and how pkey signs it
 * (mailauth/dkim_worker.c); its keys are made at the next DKIM_MAKE, beside the others. */
#include "auth/dkim.h"
#include <assert.h>

enum { ED25519_PUBLIC_SIZE = 32 };

static const struct dkim_algorithm_row rows[DKIM_ALGORITHM_COUNT] = {
	[DKIM_RSA]     = { "rsa-sha256",     "rsa",     "r", PKEY_RSA },      /* RFC 8301 §3: 2048 bits; every verifier knows it */
	[DKIM_ED25519] = { "ed25519-sha256", "ed25519", "e", PKEY_ED25519 },  /* RFC 8463 */
};

const struct dkim_algorithm_row *dkim_algorithm(enum dkim_algorithm a)
{
	assert(a < DKIM_ALGORITHM_COUNT);
	return &rows[a];
}

struct str dkim_public_bytes(enum dkim_algorithm a, struct str public_der)
{
	if (a != DKIM_ED25519)
		return public_der;
	assert(public_der.n > ED25519_PUBLIC_SIZE);
	return str_from(public_der, public_der.n - ED25519_PUBLIC_SIZE);  /* RFC 8410 §4: the key itself stands at the end */
}

void put_dkim_command(struct buf *b, const struct dkim_command *c)
{
	put_u8(b, (uint8_t)c->op);
	put_str(b, c->domain);
	put_str(b, c->selector);
}

static bool is_complete(const struct dkim_command *c)
{
	if (c->op <= 0 || c->op >= DKIM_OP_COUNT)
		return false;
	return (c->domain.n > 0) == (c->op != DKIM_WAITING) && (c->selector.n > 0) == (c->op == DKIM_ACTIVATE);
}

bool get_dkim_command(struct scan *s, struct dkim_command *c)
{
	*c = (struct dkim_command){ 0 };
	c->op = (enum dkim_op)get_u8(s);
	c->domain = get_str(s, DKIM_DOMAIN_MAX);
	c->selector = get_str(s, DKIM_SELECTOR_MAX);
	return get_end(s) && is_complete(c);
}

void put_dkim_keys(struct buf *b, const struct dkim_keys *k)
{
	put_u32(b, (uint32_t)k->count);
	for (size_t i = 0; i < k->count; i++) {
		put_u8(b, (uint8_t)k->list[i].algorithm);
		put_u8(b, (uint8_t)k->list[i].state);
		put_str(b, k->list[i].domain);
		put_str(b, k->list[i].selector);
		put_str(b, k->list[i].public_key);
		put_i64(b, k->list[i].since_s);
	}
}

bool get_dkim_keys(struct scan *s, struct arena *a, struct dkim_keys *k)
{
	*k = (struct dkim_keys){ .count = get_count(s, DKIM_KEYS_MAX) };
	k->list = arena_array(a, k->count, sizeof *k->list);
	for (size_t i = 0; i < k->count; i++) {
		struct dkim_key *x = &k->list[i];

		x->algorithm = (enum dkim_algorithm)get_u8(s);
		x->state = (enum dkim_state)get_u8(s);
		x->domain = get_str(s, DKIM_DOMAIN_MAX);
		x->selector = get_str(s, DKIM_SELECTOR_MAX);
		x->public_key = get_str(s, DKIM_PUBLIC_MAX);
		x->since_s = get_i64(s);
		if (x->algorithm >= DKIM_ALGORITHM_COUNT || x->state < DKIM_WAITS || x->state > DKIM_RETIRED)
			scan_fail(s);
	}
	return get_end(s);
}
