/* queue/content.h -- the bytes of queued messages: read from the log when they are to be sent, the freshest kept for a
 * while.
 *
 * The cache holds CONTENT_CACHE_BYTES: a message to a group of 10,000 is decoded once, and what has just arrived is not
 * read at all. Nothing depends on it: whatever is not there is read again. One thread. */
#ifndef FACTEUR_QUEUE_CONTENT_H
#define FACTEUR_QUEUE_CONTENT_H
#include "queue/envelope.h"
#include "queue/log.h"

enum { CONTENT_CACHE_BYTES = 8 << 20 };

struct content {  /* one message, decoded */
	uint64_t        seq;
	struct envelope envelope;
	struct str      body;         /* p == NULL: in the spool file */
	uint64_t        spool, size;
	uint32_t        crc;
	/* private */
	struct envelope_recipient *recipients;
	struct buf      payload;
	struct content *older, *newer;
};

struct content_cache;

struct content_cache *content_cache_new(void);
void content_cache_free(struct content_cache *c);

/* Empty, to be filled by the caller; for content_keep() or content_free(). */
struct content *content_new(void);
void content_free(struct content *c);                                  /* NULL is fine */
/* Without the cache, in any thread: fills it from the log, or from payload (record_message_encode() and body) that the
 * caller put there. ERR_CORRUPT, ERR_IO: logged. */
enum err content_read(struct log *l, struct log_place place, struct content *it) MUST_CHECK;
enum err content_decode(struct content *it, uint64_t seq) MUST_CHECK;
/* Takes it into the cache under its seq. It lives until the next content_trim(). */
void content_keep(struct content_cache *c, struct content *it);
/* The message at this place: from the cache, or read. Lives until the next content_trim(). ERR_CORRUPT, ERR_IO
 * (logged). */
enum err content_get(struct content_cache *c, struct log *l, struct log_place place,
					 const struct content **out) MUST_CHECK;
/* Brings the cache back to its size: the least recently used go. */
void content_trim(struct content_cache *c);
#endif
