/* Under what an event is found, and the filters that say in which blocks it may be. */
#include "trail/trail_private.h"
#include <stdlib.h>

/* One in 2,000 tokens that are not in it looks as if: a search for 100 messages asks each filter for all of them, and shall not read
 * most blocks for nothing. (At 10 bits and 7 probes it did: 190 ms CPU among 500,000 messages instead of 50.) */
enum { BITS_EACH = 16, PROBES = 11, FILTER_MIN = 8 };
enum token_kind { TOKEN_NAME = 1, TOKEN_MESSAGE_ID, TOKEN_ADDRESS, TOKEN_DOMAIN, TOKEN_ACCOUNT, TOKEN_RECEIVED_ID };

/* Not secret: who makes collisions finds his own mail a little more slowly. */
static const uint64_t token_key = 0x66616374657572ULL;

static uint64_t hash(enum token_kind kind, struct str bytes) { return str_hash_keyed(bytes, token_key, kind); }

static uint64_t hash_lower(enum token_kind kind, struct str s)
{
	char lower[TRAIL_ADDRESS_MAX];

	s = str_sub(s, 0, sizeof lower);
	for (size_t i = 0; i < s.n; i++)
		lower[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + 32) : s.p[i];
	return hash(kind, str_make(lower, s.n));
}

uint64_t token_of_name(uint32_t log_id_high, uint64_t seq)
{
	uint64_t key[2] = { log_id_high, seq };

	return hash(TOKEN_NAME, str_make(key, sizeof key));
}

uint64_t token_of_message_id(struct str message_id) { return hash(TOKEN_MESSAGE_ID, str_sub(message_id, 0, TRAIL_MESSAGE_ID_MAX)); }
uint64_t token_of_received_id(struct str id) { return hash_lower(TOKEN_RECEIVED_ID, id); }
uint64_t token_of_address(struct str address) { return hash_lower(TOKEN_ADDRESS, address); }
uint64_t token_of_domain(struct str domain) { return hash_lower(TOKEN_DOMAIN, domain); }
uint64_t token_of_account(uint64_t account) { return hash(TOKEN_ACCOUNT, str_make(&account, sizeof account)); }

struct str address_domain(struct str address)
{
	ptrdiff_t at = str_rchr(address, '@');

	return at >= 0 ? str_from(address, (size_t)at + 1) : STR("");
}

static size_t add_address(struct str address, uint64_t *out)
{
	struct str domain = address_domain(address);
	size_t n = 0;

	if (address.n > 0)
		out[n++] = token_of_address(address);
	if (domain.n > 0)
		out[n++] = token_of_domain(domain);
	return n;
}

size_t event_tokens(const struct trail_event *e, uint64_t out[TOKENS_MAX])
{
	size_t n = 0;

	if (e->log_id != 0)
		out[n++] = token_of_name((uint32_t)(e->log_id >> 32), e->seq);
	if (e->parent_log_id != 0)
		out[n++] = token_of_name((uint32_t)(e->parent_log_id >> 32), e->parent_seq);
	if (e->message_id.n > 0)
		out[n++] = token_of_message_id(e->message_id);
	if (e->received_id.n > 0)
		out[n++] = token_of_received_id(e->received_id);
	if (e->account != 0)
		out[n++] = token_of_account(e->account);
	n += add_address(e->sender, out + n);
	n += add_address(e->recipient, out + n);
	for (size_t i = 0; i < e->n; i++) {
		n += add_address(e->recipients[i].address, out + n);
		if (e->recipients[i].account != 0)
			out[n++] = token_of_account(e->recipients[i].account);
	}
	return n;
}

static uint64_t probe(uint64_t token, unsigned i, uint64_t bits)
{
	return ((token & UINT32_MAX) + i * ((token >> 32) | 1)) % bits;
}

static int by_value(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* In place; how many are left. */
static size_t unique(uint64_t *tokens, size_t n)
{
	size_t kept = 0;

	if (n > 1)
		qsort(tokens, n, sizeof *tokens, by_value);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || tokens[kept - 1] != tokens[i])
			tokens[kept++] = tokens[i];
	return kept;
}

void filter_make(uint64_t *tokens, size_t n, struct buf *out)
{
	size_t kept = unique(tokens, n), bytes = kept * BITS_EACH / 8 + FILTER_MIN;
	char *p = buf_reserve(out, bytes);

	if (p == NULL)
		return;
	memset(p, 0, bytes);
	buf_grew(out, bytes);
	for (size_t t = 0; t < kept; t++)
		for (unsigned i = 0; i < PROBES; i++) {
			uint64_t bit = probe(tokens[t], i, bytes * 8);
			p[bit / 8] = (char)(p[bit / 8] | 1 << bit % 8);
		}
}

bool filter_may_have(struct str filter, uint64_t token)
{
	if (filter.n == 0)
		return true;
	for (unsigned i = 0; i < PROBES; i++) {
		uint64_t bit = probe(token, i, filter.n * 8);
		if ((filter.p[bit / 8] & 1 << bit % 8) == 0)
			return false;
	}
	return true;
}
