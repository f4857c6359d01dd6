/* Open addressing with linear probing; a removed slot is a tombstone until the next growth. */
#include "base/map.h"
#include "base/mem.h"

struct map_slot {
	char    *key;
	uint32_t key_size;
	uint32_t hash;
	void    *value;  /* NULL with a key: tombstone */
};

static struct map_slot *find(const struct map *m, struct str key, uint32_t hash)
{
	struct map_slot *grave = NULL;

	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct map_slot *s = &m->slots[i];
		if (s->key == NULL)
			return grave ? grave : s;
		if (s->hash == hash && str_eq(str_make(s->key, s->key_size), key))
			return s;
		if (s->value == NULL && grave == NULL)
			grave = s;
	}
}

void *map_get(const struct map *m, struct str key)
{
	if (m->cap == 0)
		return NULL;
	struct map_slot *s = find(m, key, (uint32_t)str_hash(key, 0));
	return s->key && str_eq(str_make(s->key, s->key_size), key) ? s->value : NULL;
}

static void grow(struct map *m)
{
	struct map old = *m;

	m->cap = old.n * 4 < 16 ? 16 : old.cap;
	while (m->cap < old.n * 3)
		m->cap *= 2;
	m->slots = mem_array(m->cap, sizeof(*m->slots));
	m->used = old.n;
	for (size_t i = 0; i < old.cap; i++) {
		struct map_slot *s = &old.slots[i];
		if (s->value)
			*find(m, str_make(s->key, s->key_size), s->hash) = *s;
		else
			mem_free(s->key);
	}
	mem_free(old.slots);
}

void map_set(struct map *m, struct str key, void *value)
{
	uint32_t hash = (uint32_t)str_hash(key, 0);

	if (value == NULL && m->cap == 0)
		return;
	if (value && (m->used + 1) * 3 > m->cap * 2)
		grow(m);
	struct map_slot *s = find(m, key, hash);
	bool is_same = s->key && str_eq(str_make(s->key, s->key_size), key);
	if (value == NULL) {
		if (is_same && s->value) {
			s->value = NULL;
			m->n--;
		}
		return;
	}
	if (!is_same) {
		if (s->key == NULL)
			m->used++;
		mem_free(s->key);
		s->key = mem_alloc(key.n + 1);
		memcpy(s->key, key.p, key.n);
		s->key_size = (uint32_t)key.n;
		s->hash = hash;
		s->value = NULL;
	}
	if (s->value == NULL)
		m->n++;
	s->value = value;
}

void *map_get_u64(const struct map *m, uint64_t key) { return map_get(m, str_make(&key, sizeof(key))); }
void map_set_u64(struct map *m, uint64_t key, void *value) { map_set(m, str_make(&key, sizeof(key)), value); }

bool map_next(const struct map *m, size_t *at, struct str *key, void **value)
{
	for (; *at < m->cap; (*at)++) {
		struct map_slot *s = &m->slots[*at];
		if (s->value) {
			(*at)++;
			if (key)
				*key = str_make(s->key, s->key_size);
			*value = s->value;
			return true;
		}
	}
	return false;
}

void map_free(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		mem_free(m->slots[i].key);
	mem_free(m->slots);
	*m = (struct map){ 0 };
}
