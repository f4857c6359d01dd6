/* Two generations: what is new goes into the young one; when that is full it becomes the old one, and the old one is gone. So who is asked
 * for all the time stays, at the price of one more question, and nobody has to look for what is over.
 *
 * An answer is one piece of memory: the struct, the slices of its records, and behind them all bytes. */
#include "dns/kept.h"
#include "base/map.h"
#include "base/mem.h"

enum { KEY_MAX = DNS_NAME_MAX + 2 };

struct entry {
	int64_t           until_ms;
	struct dns_answer answer;
	struct str        records[];
};

struct kept {
	struct map young, old;   /* type and name -> entry */
};

struct kept *kept_new(void) { return MEM_NEW(struct kept); }

static void drop(struct map *m)
{
	size_t at = 0;
	void *entry;

	while (map_next(m, &at, NULL, &entry))
		mem_free(entry);
	map_free(m);
	*m = (struct map){ 0 };
}

void kept_free(struct kept *k)
{
	if (k == NULL)
		return;
	drop(&k->young);
	drop(&k->old);
	mem_free(k);
}

/* Empty: nobody has such a name. */
static struct str key_of(struct str name, uint16_t type, char out[KEY_MAX])
{
	if (name.n == 0 || name.n > DNS_NAME_MAX)
		return STR("");
	memcpy(out, &type, sizeof type);
	memcpy(out + sizeof type, name.p, name.n);
	return str_make(out, sizeof type + name.n);
}

bool kept_find(const struct kept *k, struct str name, uint16_t type, int64_t now_ms, struct arena *a, struct dns_answer *out)
{
	char bytes[KEY_MAX];
	struct str key = key_of(name, type, bytes);
	const struct entry *e = map_get(&k->young, key);

	if (e == NULL)
		e = map_get(&k->old, key);
	if (e == NULL || now_ms >= e->until_ms)
		return false;
	dns_answer_copy(a, &e->answer, out);
	out->ttl_s = (uint32_t)((e->until_ms - now_ms + 999) / 1000);
	return true;
}

static struct str put(char **at, struct str s)
{
	struct str copy = str_make(*at, s.n);

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static size_t bytes_of(const struct dns_answer *a)
{
	size_t n = sizeof(struct entry) + a->n * sizeof(struct str) + a->name.n + a->canonical.n;

	for (size_t i = 0; i < a->n; i++)
		n += a->records[i].n;
	return n;
}

static struct entry *entry_new(const struct dns_answer *a, size_t bytes)
{
	struct entry *e = mem_alloc(bytes);
	char *at = (char *)&e->records[a->n];

	e->answer = *a;
	e->answer.records = e->records;
	e->answer.name = put(&at, a->name);
	e->answer.canonical = put(&at, a->canonical);
	e->answer.why = STR("");
	for (size_t i = 0; i < a->n; i++)
		e->records[i] = put(&at, a->records[i]);
	return e;
}

void kept_add(struct kept *k, const struct dns_answer *a, int64_t now_ms)
{
	char name[KEY_MAX];
	struct str key = key_of(a->name, a->type, name);
	size_t bytes = bytes_of(a);

	if (a->outcome == DNS_FAILED || a->outcome == DNS_FORGED || a->ttl_s == 0 || key.n == 0 || bytes > KEPT_BYTES_MAX)
		return;
	if (k->young.n >= KEPT_GENERATION && map_get(&k->young, key) == NULL) {
		drop(&k->old);
		k->old = k->young;
		k->young = (struct map){ 0 };
	}
	struct entry *e = entry_new(a, bytes);
	e->until_ms = now_ms + (int64_t)(a->ttl_s < KEPT_MOST_S ? a->ttl_s : KEPT_MOST_S) * 1000;
	mem_free(map_get(&k->young, key));
	map_set(&k->young, key, e);
}
