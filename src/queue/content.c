/* Entries by seq, and in a list by use. Payload and decoded envelope live in the entry; slices point into it. Thousands of small messages
 * fit into the cache, so an entry holds no more than its bytes: the first block of an arena would be larger than most of them. */
#include "queue/content.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "queue/record.h"

struct content_cache {
	struct map      by_seq;
	struct content *oldest, *newest;
	size_t          bytes;
};

struct content_cache *content_cache_new(void) { return MEM_NEW(struct content_cache); }

struct content *content_new(void)
{
	struct content *c = MEM_NEW(struct content);

	c->payload = BUF(LOG_SEGMENT_BYTES_MAX);
	return c;
}

void content_free(struct content *c)
{
	if (c == NULL)
		return;
	mem_free(c->recipients);
	buf_free(&c->payload);
	mem_free(c);
}

static size_t size_of(const struct content *c) { return sizeof *c + c->payload.cap + c->envelope.n * sizeof *c->recipients; }

void content_cache_free(struct content_cache *c)
{
	size_t at = 0;
	void *v;

	if (c == NULL)
		return;
	while (map_next(&c->by_seq, &at, NULL, &v))
		content_free(v);
	map_free(&c->by_seq);
	mem_free(c);
}

static void add_newest(struct content_cache *c, struct content *it)
{
	it->older = c->newest;
	it->newer = NULL;
	*(c->newest != NULL ? &c->newest->newer : &c->oldest) = it;
	c->newest = it;
}

static void unlink_content(struct content_cache *c, struct content *it)
{
	*(it->older != NULL ? &it->older->newer : &c->oldest) = it->newer;
	*(it->newer != NULL ? &it->newer->older : &c->newest) = it->older;
}

void content_keep(struct content_cache *c, struct content *it)
{
	c->bytes += size_of(it);
	add_newest(c, it);
	map_set_u64(&c->by_seq, it->seq, it);
}

static void keep_recipients(struct content *it)
{
	size_t n = it->envelope.n * sizeof *it->recipients;

	it->recipients = mem_resize(it->recipients, n);
	memcpy(it->recipients, it->envelope.recipients, n);
	it->envelope.recipients = it->recipients;
}

enum err content_decode(struct content *it, uint64_t seq)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct record_message m;

	if (!record_message_decode(buf_str(&it->payload), &m) || !envelope_decode(m.envelope, &a, &it->envelope)) {
		log_error("a record of the queue's log cannot be understood seq=%llu", (unsigned long long)seq);
		return ERR_CORRUPT;
	}
	keep_recipients(it);
	it->seq = seq;
	it->body = m.body;
	it->spool = m.spool;
	it->size = m.size;
	it->crc = m.crc;
	return ERR_OK;
}

enum err content_read(struct log *l, struct log_place place, struct content *it)
{
	TRY(log_read(l, place, &it->payload));
	return content_decode(it, place.seq);
}

enum err content_get(struct content_cache *c, struct log *l, struct log_place place, const struct content **out)
{
	struct content *it = map_get_u64(&c->by_seq, place.seq);

	if (it == NULL) {
		it = content_new();
		enum err e = content_read(l, place, it);
		if (e != ERR_OK) {
			content_free(it);
			return e;
		}
		content_keep(c, it);
	}
	unlink_content(c, it);
	add_newest(c, it);
	*out = it;
	return ERR_OK;
}

void content_trim(struct content_cache *c)
{
	while (c->bytes > CONTENT_CACHE_BYTES) {
		struct content *it = c->oldest;
		unlink_content(c, it);
		c->bytes -= size_of(it);
		map_set_u64(&c->by_seq, it->seq, NULL);
		content_free(it);
	}
}
