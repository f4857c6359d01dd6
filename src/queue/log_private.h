/* queue/log_private.h -- shared by log.c (writing, reading) and log_open.c (making a ring, finding its end). */
#ifndef FACTEUR_QUEUE_LOG_PRIVATE_H
#define FACTEUR_QUEUE_LOG_PRIVATE_H
#include "base/scan.h"
#include "disk/disk.h"
#include "queue/log.h"
#include <pthread.h>
#include <sys/uio.h>

enum { LOG_VERSION = 1, LOG_SEGMENT_PAYLOAD = 20 };

struct log_segment {
	struct disk_file *file;
	uint64_t generation, first_seq, last_seq;  /* last_seq 0: nothing in it */
	uint64_t header_w;
	bool     has_header;                       /* valid, at this opening */
	bool     is_damaged;                       /* has bytes where the header should be, but they are none */
};

struct log_batch;

struct log_found {
	enum log_kind    kind;
	struct log_place place;
};

struct log {
	struct disk_dir   *dir;
	uint64_t           id, epoch;
	uint32_t           segments, segment_bytes;
	struct log_segment segment[LOG_SEGMENTS_MAX];
	struct log_batch  *batch;         /* the writer's */
	char               tail[DISK_SECTOR];  /* the writer's: what stands in the sector of offset, before it … */
	bool               has_tail;      /* … if it is known */
	pthread_mutex_t    lock;          /* guards what follows; the writer alone changes it */
	uint64_t           generation;    /* of the segment that is written; its index is generation % segments */
	uint32_t           offset;        /* where the next record goes */
	uint64_t           next_seq, w;
	bool               failed;
	struct log_found  *found;         /* what is above W, for the replay */
	size_t             found_n, found_cap;
};

struct log_header {
	uint64_t seq, epoch;
	uint32_t crc, length;
	uint16_t kind, in_batch;          /* in_batch: seq less the first seq of its batch */
};

static inline uint32_t log_padded(uint32_t length) { return (LOG_RECORD_HEADER + length + 7) & ~7U; }
static inline struct log_segment *log_segment_of(struct log *l, uint64_t generation)
{
	return &l->segment[generation % l->segments];
}

/* Reads the header at the front of bytes, which hold the whole record; not its CRC. False: there is none. */
bool log_peek(struct str bytes, struct log_header *h);
/* The CRC is right; *payload views bytes. */
bool log_check(const struct log *l, struct str bytes, const struct log_header *h, struct str *payload);
/* The W of a LOG_W; 0: malformed. */
uint64_t log_w_of(struct str payload);
#endif
