/* A ring of the last ones, and a table of where they are. */
#include "queue/signatures.h"
#include "base/bytes.h"
#include "base/map.h"
#include "base/mem.h"

enum { KEY_SIZE = 18 };

struct signature {
	char     key[KEY_SIZE];
	uint32_t fields;    /* CRC32C of those it covers */
	char    *text;      /* NULL: unused */
	size_t   n;
};

struct signatures {
	struct map       places;
	struct map       keyless;   /* domain -> s */
	struct signature ring[SIGNATURES_KEPT];
	size_t           next;
};

struct signatures *signatures_new(void) { return MEM_NEW(struct signatures); }

void signatures_free(struct signatures *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < SIGNATURES_KEPT; i++)
		mem_free(s->ring[i].text);
	map_free(&s->places);
	map_free(&s->keyless);
	mem_free(s);
}

static struct str key_of(uint64_t log_id, uint64_t seq, uint16_t part, char out[KEY_SIZE])
{
	memcpy(out, &log_id, 8);
	memcpy(out + 8, &seq, 8);
	memcpy(out + 16, &part, 2);
	return str_make(out, KEY_SIZE);
}

bool signatures_find(const struct signatures *s, uint64_t log_id, uint64_t seq, uint16_t part, struct str fields, struct str *prefix)
{
	char key[KEY_SIZE];
	const struct signature *x = map_get(&s->places, key_of(log_id, seq, part, key));

	if (x == NULL || x->fields != crc32c(0, fields.p, fields.n))
		return false;
	*prefix = str_make(x->text, x->n);
	return true;
}

void signatures_put(struct signatures *s, uint64_t log_id, uint64_t seq, uint16_t part, struct str fields, struct str prefix)
{
	char key[KEY_SIZE];
	struct signature *x = map_get(&s->places, key_of(log_id, seq, part, key));

	if (x == NULL) {
		x = &s->ring[s->next++ % SIGNATURES_KEPT];
		if (x->text != NULL)
			map_set(&s->places, str_make(x->key, KEY_SIZE), NULL);
		memcpy(x->key, key, KEY_SIZE);
		map_set(&s->places, str_make(x->key, KEY_SIZE), x);
	}
	mem_free(x->text);
	x->fields = crc32c(0, fields.p, fields.n);
	x->text = mem_alloc(prefix.n + 1);
	x->n = prefix.n;
	if (prefix.n > 0)
		memcpy(x->text, prefix.p, prefix.n);
}

bool signatures_is_keyless(const struct signatures *s, struct str domain) { return map_get(&s->keyless, domain) != NULL; }

void signatures_keyless(struct signatures *s, struct str domain)
{
	if (s->keyless.n >= SIGNATURES_KEYLESS_MAX)  /* From names whatever domain its author likes */
		signatures_forget_keyless(s);
	map_set(&s->keyless, domain, s);
}

void signatures_forget_keyless(struct signatures *s)
{
	map_free(&s->keyless);
	s->keyless = (struct map){ 0 };
}
