/* store/index_private.h -- the parts of the index: words in memory (batch), words in files (segment), several files to one (merge).
 *
 * A segment has the emails of a range of numbers and never changes; ranges follow each other without a gap, so a list of one segment goes on
 * in the next. Numbers are not given out again, so what is purged stays in lists and is never asked for. */
#ifndef FACTEUR_STORE_INDEX_PRIVATE_H
#define FACTEUR_STORE_INDEX_PRIVATE_H
#include "base/buf.h"
#include "base/bytes.h"
#include "base/scan.h"
#include "disk/disk.h"
#include "store/index.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
	TERM_MAX = 128,              /* bytes of an entry */
	TERM_PLAIN = '\x01',         /* begins an entry for the plain form of words (word_plain()) where that is another one */
	TERM_UNSURE = '\x02',        /* the entry of emails that were not read to their end: all but HIT_YES is HIT_MAYBE */
	SEGMENTS_MAX = 64,
	MERGE_FAN = 6,               /* so many of one level become one of the next */
};

/* ------------------------------------------------------------------------------------------------------------ lists
 * Emails in ascending order, each with the fields that have the word: varint(distance * 2 + "other fields than before") [fields]. */
struct list_writer {
	uint32_t email;              /* the last one */
	uint8_t  fields;
};
void list_put(struct list_writer *w, struct buf *b, uint32_t email, uint8_t fields);
struct list_reader {
	struct scan s;
	uint32_t    email;
	uint8_t     fields;
};
/* False: the end, or damage (s.failed). */
bool list_next(struct list_reader *r);

/* ---------------------------------------------------------------------------------------------------------- segments
 * Their format: index_segment.c, which writes them; index_scan.c reads them. */

enum { FILTER_BITS = 14, FILTER_SIZE = 1 << (FILTER_BITS - 3), FILTER_HEAD = 8, FILTER_ENTRY = FILTER_HEAD + FILTER_SIZE, FILTERS_AT_ONCE = 64 };
enum { BLOCK_HEAD = 16, BLOCK_FULL = 32768, BLOCK_MAX = BLOCK_FULL + TERM_MAX + 32, SUM = 2, CHUNK = 256 << 10 };
enum { DIGIT = 0xf8, DIGIT_BITS = 3 };
static inline uint16_t segment_list_sum(struct str list) { return (uint16_t)crc32c(0, list.p, list.n); }

enum segment_file { WORDS, LISTS, FILTERS, SEGMENT_FILES };
struct segment_info {
	uint32_t number;             /* of its files: search/000012.words, .lists, .filters */
	uint32_t level;
	uint32_t first, last;        /* the range of emails */
	uint32_t emails;             /* in it when it was made */
	uint64_t bytes[3];           /* of its files, by enum segment_file */
};

struct segment {
	struct segment_info info;
	struct disk_file   *files[SEGMENT_FILES];
	atomic_int          users;
};
enum err segment_open(struct disk_dir *dir, const struct segment_info *info, struct segment **out) MUST_CHECK;
void segment_use(struct segment *s);
void segment_release(struct segment *s);      /* closes with the last user */
struct segment_names { char of[SEGMENT_FILES][32]; };
struct segment_names segment_names(uint32_t number);

/* Entries come in ascending order. */
struct segment_writer;
enum err segment_begin(struct disk_dir *dir, uint32_t number, struct segment_writer **out) MUST_CHECK;
enum err segment_put(struct segment_writer *w, struct str term, struct str list) MUST_CHECK;
/* Synced; sizes are set in info. Frees the writer, also on an error (then nothing is left). */
enum err segment_end(struct segment_writer **w, struct segment_info *info) MUST_CHECK;
void segment_abandon(struct segment_writer **w);

/* One entry after the other. */
struct segment_cursor;
enum err segment_cursor_begin(struct segment *s, struct segment_cursor **out) MUST_CHECK;
/* term.n == 0: the end. Views until the next call. */
enum err segment_cursor_next(struct segment_cursor *c, struct str *term, struct str *list) MUST_CHECK;
void segment_cursor_end(struct segment_cursor **c);

/* Buffers for several scans, made at the first one. */
struct segment_room {
	char *filters, *block, *lists;
};
void segment_room_free(struct segment_room *room);

/* Goes over all words. may_have: could a block with this filter have what is looked for? looks_at: is this block worth being taken apart?
 * wants: each entry of it. */
struct segment_scan {
	bool (*may_have)(void *context, const uint8_t *filter);
	bool (*looks_at)(void *context, struct str entries);
	bool (*wants)(void *context, struct str term);
	void (*take)(void *context, struct list_reader *list);   /* of the term before */
	void  *context;
	struct segment_room *room;
};
enum err segment_scan(struct segment *s, const struct segment_scan *how) MUST_CHECK;
/* False: no word of its block has these bytes. An LF is the beginning or the end of a word. */
bool segment_filter_has(const uint8_t *filter, struct str bytes);

/* ------------------------------------------------------------------------------------------------------------- batches */

struct batch;
struct batch *batch_new(void);
void batch_free(struct batch *b);
/* Emails come in ascending order; what follows is of this one. */
void batch_begin_email(struct batch *b, uint32_t email);
void batch_add_word(struct batch *b, struct str word, unsigned fields);
void batch_mark_unsure(struct batch *b);                      /* it was not read to its end */
uint32_t batch_emails(const struct batch *b);
size_t batch_bytes(const struct batch *b);                    /* of memory */
/* Until about that time; *done: all of it is written. Nothing can be added once it has begun. */
enum err batch_write(struct batch *b, struct segment_writer *w, int64_t until_ms, bool *done) MUST_CHECK;

/* ------------------------------------------------------------------------------------------------------------ messages */

struct message_words;
struct message_words *message_words_new(void);                /* for one message after the other */
void message_words_free(struct message_words *m);
/* Its words are to go into that batch. bytes: n of them, from mem_alloc(), taken over. */
void message_words_begin(struct message_words *m, struct batch *b, uint32_t email, struct str record, char *bytes, size_t n);
/* Until about that time. */
void message_words_step(struct message_words *m, int64_t until_ms);
bool message_words_is_done(const struct message_words *m);    /* also before the first */

/* --------------------------------------------------------------------------------------------------------------- merge */

struct merge;
/* live: bits of emails that still exist, from info.first of the first one on; NULL: all. It is freed with the merge. */
enum err merge_begin(struct disk_dir *dir, struct segment *const *from, size_t n, uint32_t number, uint8_t *live, struct merge **out) MUST_CHECK;
/* Until that time; *done: it is complete, info is set. */
enum err merge_step(struct merge *m, int64_t until_ms, bool *done, struct segment_info *info) MUST_CHECK;
size_t merge_inputs(const struct merge *m);
void merge_abandon(struct merge **m);                         /* also frees one that is done */

/* --------------------------------------------------------------------------------------------------------- the index */

/* Segments as they are now, each in use for the caller. */
struct segments {
	size_t          n;
	struct segment *s[SEGMENTS_MAX];
};
void index_segments(struct view *v, struct segments *out);
void index_segments_release(struct segments *s);
/* Something of it cannot be read: logged by who met it. */
void index_failed(struct view *v, enum err e);

struct index {
	struct disk_dir *dir;
	pthread_mutex_t  lock;      /* segments, next_number */
	struct segments  segments;
	uint32_t         next_number;
	uint64_t         mark;      /* of the list of segments on the disk: index_files.c */
	atomic_bool      is_off;    /* its disk failed */
	pthread_mutex_t  work;      /* the rest; one step at a time */
	struct batch    *batch;     /* NULL: empty */
	uint32_t         batch_last;
	struct message_words *reading;    /* the message at hand; NULL: there was none yet */
	struct segment_writer *writer;    /* the batch is being written; NULL: it is not */
	struct merge    *merge;
	size_t           merge_from;
	bool             merge_forgets;   /* what was purged is left out */
	atomic_uint      read_upto, written_upto;
	int64_t          paused_until_ms;   /* the disk is nearly full; 0: it is not */
	bool             is_stale;  /* much of it was purged; what lives is looked up: */
	uint8_t         *live;      /* bits, from email 1 on; NULL: not begun */
	uint32_t         live_upto, live_count;
};
struct index *index_of(struct view *v);      /* opened when need be */

/* index_files.c; what changes something under work */
enum err index_load(struct view *v, struct index *x) MUST_CHECK;
uint32_t index_last(const struct index *x);  /* email of all segments; 0: none */
uint64_t index_unread(struct view *v, const struct index *x);   /* emails, as index_progress() counts them */
void index_note_written(struct index *x);    /* the segments are others now */
enum err index_write_manifest(struct index *x) MUST_CHECK;
enum err index_remove_leavings(struct index *x) MUST_CHECK;
void index_close_segments(struct index *x);
/* The account as it is now becomes durable, and what it was before disowns the list of segments that is written next. Before
 * index_take_in() of what knows more emails than the index did, or has left some out. */
enum err index_mark(struct view *v, struct index *x) MUST_CHECK;
/* Replaces n segments from at on by one, or adds it; the old files go. */
enum err index_take_in(struct index *x, size_t at, size_t n, const struct segment_info *info) MUST_CHECK;
#endif
