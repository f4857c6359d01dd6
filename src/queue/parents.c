/* How long a key counts: as long as its parent may be delivered once more, that is while the parent is above W or late.
 * A parent of another log is never replayed; when it is late no more, its keys go as well.
 *
 * What a restart forgets: a key whose record W has passed while its parent is still late. Then the message may go out
 * twice, at worst once for each restart: a late delivery that has made messages was committed, and is found to be a
 * duplicate before it makes any again. */
#include "queue/parents.h"
#include "base/mem.h"
#include <string.h>

struct child {
	struct envelope_parent parent;
	uint64_t seq;
};

enum { KEY_SIZE = 28 };

static struct str key_bytes(const struct envelope_parent *key, char out[KEY_SIZE])
{
	memcpy(out, &key->log_id, 8);
	memcpy(out + 8, &key->seq, 8);
	memcpy(out + 16, &key->account, 8);
	memcpy(out + 24, &key->ordinal, 4);
	return str_make(out, KEY_SIZE);
}

uint64_t parents_find(const struct parents *p, const struct envelope_parent *key)
{
	char bytes[KEY_SIZE];
	const struct child *c = key->log_id == 0 ? NULL : map_get(&p->keys, key_bytes(key, bytes));

	return c == NULL ? 0 : c->seq;
}

void parents_set(struct parents *p, const struct envelope_parent *key, uint64_t seq)
{
	char bytes[KEY_SIZE];
	struct str k = key_bytes(key, bytes);
	struct child *c;

	if (key->log_id == 0)
		return;
	c = map_get(&p->keys, k);
	if (seq == 0) {
		mem_free(c);
		map_set(&p->keys, k, NULL);
		return;
	}
	if (c == NULL) {
		c = MEM_NEW(struct child);
		c->parent = *key;
		map_set(&p->keys, k, c);
	}
	c->seq = seq;
}

void parents_passed(struct parents *p, uint64_t log_id, uint64_t w, struct late *late)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	size_t at = 0;
	struct str key;
	void *v;

	while (map_next(&p->keys, &at, &key, &v)) {
		struct child *c = v;
		struct late_message found;
		if (c->seq == PARENT_BEING_WRITTEN || (c->parent.log_id == log_id && c->parent.seq > w))
			continue;
		if (late_message_find(late, c->parent.log_id, c->parent.seq, &a, &found) != ERR_NOTFOUND)
			continue;
		mem_free(c);
		map_set(&p->keys, key, NULL);
		arena_reset(&a);
	}
}

void parents_free(struct parents *p)
{
	size_t at = 0;
	void *v;

	while (map_next(&p->keys, &at, NULL, &v))
		mem_free(v);
	map_free(&p->keys);
}
