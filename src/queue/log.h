/* queue/log.h -- the durable log: a ring of preallocated segments, appended in batches, one sync a batch (DESIGN.md
 * §4.2).
 *
 * What log_write() gave ERR_OK survives a power cut. What it did not is there as a prefix, or not at all. Records have
 * consecutive numbers (seq); (log id, seq) names a record for ever. W is the seq up to which nobody needs the records
 * any more: a record of kind LOG_W makes it durable, and the segments whose last record is ≤ W are used again.
 *
 * One thread writes; any thread may read records and ask the numbers. */
#ifndef FACTEUR_QUEUE_LOG_H
#define FACTEUR_QUEUE_LOG_H
#include "base/buf.h"
#include "disk/disk.h"

enum { LOG_SEGMENTS_MIN = 4, LOG_SEGMENTS_MAX = 64, LOG_SEGMENT_BYTES_MIN = 1 << 16, LOG_SEGMENT_BYTES_MAX = 1 << 28,
       LOG_RECORD_HEADER = 32, LOG_TOGETHER_MAX = 256 };

enum log_kind {
	LOG_SEGMENT = 1,  /* first record of each segment; the log's own */
	LOG_OPEN,         /* first record of each opening; the log's own */
	LOG_W,            /* u64 W */
	LOG_MESSAGE,      /* queue/record.h */
	LOG_DONE,         /* queue/record.h: recipients that other servers have taken */
	LOG_KINDS
};

struct log;

struct log_config {      /* of a new ring; one that exists keeps its own sizes */
	uint32_t segments, segment_bytes;
};

struct log_place {       /* where a payload is; valid until W passes its seq */
	uint32_t segment, offset, length;
	uint64_t seq;
};

struct log_entry {
	enum log_kind    kind;
	struct str       head, body;  /* the payload is head + body; both must stay until it is written */
	size_t           together;    /* of the first of several that are written all, or (no room, too large) none: how many; at most LOG_TOGETHER_MAX */
	const struct log_entry *names;  /* one before it in the same call, whose seq its payload has ... */
	size_t           names_at;    /* ... there in head: 8 bytes, filled in as put_u64() would; NULL: none */
	struct log_place place;       /* out; place.seq is its number */
	enum err         result;      /* out */
};

/* Opens the ring in dir, or makes one (log id: 64 random bits; all segments written with zeros and synced). Finds the
 * end, makes durable again what it found, and begins anew after it. dir must outlive the log. ERR_CORRUPT: the files
 * are not a ring (logged). Damage inside is logged as an error, and what is intact is used. */
enum err log_open(struct disk_dir *dir, const struct log_config *config, struct log **out) MUST_CHECK;
void log_close(struct log **l);     /* for CLEANUP too; NULL is fine */

/* Calls see() for each record of this kind (LOG_MESSAGE or LOG_DONE) above W that was found by log_open(), in order; ends
 * when it returns something else than ERR_OK. payload lives during the call. Each kind once, LOG_MESSAGE
 * last, before the first log_write(). */
typedef enum err (*log_seen)(void *context, struct log_place place, struct str payload);
enum err log_replay(struct log *l, enum log_kind kind, log_seen see, void *context) MUST_CHECK;

/* Appends the entries in their order, syncs, and sets place and result of each (of those that go together the same, but for ERR_IO: what was
 * written before it is there as a prefix):
 *   ERR_OK     durable
 *   ERR_AGAIN  no room until W advances. (LOG_W always finds room: one segment is kept for it.)
 *   ERR_LIMIT  larger than log_record_max()
 *   ERR_IO     a write or sync failed, now or earlier: whether it is there is not known, and nothing is written any more
 *              until the log is opened again (DESIGN.md §4.8). */
void log_write(struct log *l, struct log_entry **entries, size_t n);

/* Reads a payload into out (emptied first). ERR_CORRUPT: not what was written (logged). */
enum err log_read(struct log *l, struct log_place place, struct buf *out) MUST_CHECK;

uint64_t log_id(const struct log *l);
uint32_t log_record_max(const struct log *l);      /* bytes of payload: a quarter of a segment */
uint64_t log_w(struct log *l);                     /* the durable one */
uint64_t log_last_seq(struct log *l);              /* of the last durable record; 0: none yet */
uint32_t log_fill_percent(struct log *l);          /* segments in use, of all */
bool     log_has_failed(struct log *l);
#endif
