/* TXT records of anybody's, judged: texts with NUL between them. What is printed for a key is good; the record at fault is one of those
 * given. */
#include "mailauth/published.h"
#include <assert.h>

enum { TEXTS_MAX = 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(enum published what, struct str at, struct str all)
{
	assert(what < PUBLISHED_COUNT);
	assert(at.n == 0 || (at.p >= all.p && at.p + at.n <= all.p + all.n));
	assert(what == PUBLISHED_MISSING || at.n > 0);
}

/* Other domains have the same records, in another order; some do not answer. */
struct bytes { struct str all; size_t asked; };

static enum err ask(void *context, struct str name, struct str texts[PUBLISHED_TEXTS_MAX], size_t *n)
{
	struct bytes *b = context;
	struct str rest = b->all;

	*n = 0;
	if (b->asked++ % 7 == 6 || name.n == 0)
		return ERR_UNAVAILABLE;
	for (bool more = rest.n > 0; more && *n < TEXTS_MAX; (*n)++)
		more = str_cut(rest, '\0', &texts[*n], &rest);
	*n = *n > 0 ? 1 + b->asked % *n : 0;
	return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct peer addresses[2] = { { .address = { [10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7 } }, { .address = { 0x20, 0x01 } } };
	struct published_sender sender = { STR("example.org"), STR("mail.example.org"), n % 2 == 0, addresses, COUNT_OF(addresses) };
	struct str all = str_make(data, n), rest = all, texts[TEXTS_MAX], at = STR(""), key = str_make("0123456789012345678901234567890", 32);
	size_t count = 0;

	for (bool more = n > 0; more && count < TEXTS_MAX;)
		more = str_cut(rest, '\0', &texts[count++], &rest);
	for (int a = 0; a < DKIM_ALGORITHM_COUNT; a++) {
		CLEANUP(arena_free) struct arena arena = { 0 };
		struct str printed = published_dkim_text(&arena, (enum dkim_algorithm)a, n > 0 ? all : key), found;

		check(published_dkim(texts, count, (enum dkim_algorithm)a, key, &at), at, all);
		if (n < 1000)
			assert(published_dkim(&printed, 1, (enum dkim_algorithm)a, n > 0 ? all : key, &found) == PUBLISHED_GOOD);
	}
	check(published_dmarc(texts, count, &at), at, all);
	struct bytes given = { all, n };
	check(published_spf(texts, count, &sender, &(struct published_world){ ask, &given }, &at), at, all);
	return 0;
}
