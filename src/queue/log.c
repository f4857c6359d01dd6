/* The durable log. Measured against the alternatives (DESIGN.md §4.2): a preallocated, preoverwritten ring needs no metadata at an append, so
 * fdatasync writes the data and nothing else; records of all waiting callers go out in one write and one sync.
 *
 * A record:  "FLG1" | crc32c | seq u64 | epoch u64 | kind u32 | length u32 | payload | zeros to a multiple of 8
 * The CRC covers all after itself, and begins with the log id: a record of another ring is never valid here.
 *
 * How the end is found. The ring is full of old records with good CRCs, and of leftovers of batches that were never
 * acknowledged. A record continues the log only if its seq is the last one's plus one, AND its epoch is the last one's, or it
 * is LOG_OPEN (or LOG_SEGMENT, the first record of a segment), which begin an epoch.
 *   - An old record at this place has a smaller seq, by a whole turn of the ring.
 *   - A leftover of a torn batch may have just the right seq: batch {7, 8}, 7 lost, 8 on the disk; we open, write another 7 of the
 *     same length, and there stands 8. Its epoch is that of the process that died; ours is new random bits. So it is rejected.
 *   - LOG_OPEN itself is synced before anything follows it, so nothing stands behind a leftover LOG_OPEN.
 * A batch never spans two segments, and a batch is synced before the next is written: a hole can only be in the last batch, so
 * everything acknowledged stands before the first hole. A record that is missing BEFORE a valid later segment is therefore no
 * torn tail but damage: it is logged as an error, and the rest is still used.
 *
 * What was found at opening is written again, byte by byte the same, and synced, before anything is appended: after a failed sync
 * (or a killed process) the page cache can show records that the disk does not have, and a later power cut would make a
 * hole in front of what is acknowledged from now on. Writing the same bytes is harmless whenever the power goes.
 *
 * Room. LOG_MESSAGE enters a new segment only when one more is free behind it, so that LOG_W, which frees segments, always finds
 * room. */
#include "queue/log.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include <assert.h>
#include <pthread.h>
#include <stdio.h>

enum { HEADER = LOG_RECORD_HEADER, VERSION = 1, SEGMENT_PAYLOAD = 20, ID_FILE_BYTES = 28, BATCH_MAX = 1024 };

struct segment {
	struct disk_file *file;
	uint64_t generation, first_seq, last_seq;  /* last_seq 0: nothing in it */
	bool     has_header;
	uint64_t header_w;
};

struct found {  /* a record above W, for the replay */
	struct log_place place;
};

struct log {
	struct disk_dir *dir;
	uint64_t         id, epoch;
	uint32_t         segments, segment_bytes;
	struct segment   segment[LOG_SEGMENTS_MAX];
	pthread_mutex_t  lock;           /* guards what follows; the writer alone changes it */
	uint64_t         generation;     /* of the segment that is written; its index is generation % segments */
	uint32_t         offset;         /* where the next record goes */
	uint64_t         next_seq, w;
	bool             failed;
	struct found    *found;
	size_t           found_n, found_cap;
};

static uint32_t padded(uint32_t length) { return (HEADER + length + 7) & ~7U; }
static struct segment *segment_of(struct log *l, uint64_t generation) { return &l->segment[generation % l->segments]; }

/* ------------------------------------------------------------------------------------------------------- a record */

struct header {
	uint64_t seq, epoch;
	uint32_t crc, kind, length;
};

static uint32_t record_crc(const struct log *l, const char *after_crc, struct str head, struct str body)
{
	uint8_t id[8];
	uint32_t crc;

	for (int i = 0; i < 8; i++)
		id[i] = (uint8_t)(l->id >> (8 * i));
	crc = crc32c(0, id, sizeof(id));
	crc = crc32c(crc, after_crc, HEADER - 8);
	crc = crc32c(crc, head.p, head.n);
	return crc32c(crc, body.p, body.n);
}

static void put_header(const struct log *l, char *out, uint64_t seq, const struct log_entry *e)
{
	CLEANUP(buf_free) struct buf b = BUF(HEADER);

	buf_add(&b, STR("FLG1"));
	put_u32(&b, 0);
	put_u64(&b, seq);
	put_u64(&b, l->epoch);
	put_u32(&b, e->kind);
	put_u32(&b, (uint32_t)(e->head.n + e->body.n));
	assert(b.n == HEADER);
	uint32_t crc = record_crc(l, b.p + 8, e->head, e->body);
	memcpy(out, b.p, HEADER);
	for (int i = 0; i < 4; i++)
		out[4 + i] = (char)(crc >> (8 * i));
}

/* Reads the record at the front of bytes. False: there is none. */
static bool get_record(const struct log *l, struct str bytes, struct header *h, struct str *payload)
{
	struct scan s = scan_of(bytes);

	if (!scan_take_str(&s, STR("FLG1")))
		return false;
	h->crc = get_u32(&s);
	h->seq = get_u64(&s);
	h->epoch = get_u64(&s);
	h->kind = get_u32(&s);
	h->length = get_u32(&s);
	*payload = scan_bytes(&s, h->length);
	return !s.failed && h->kind > 0 && h->kind < LOG_KINDS && h->crc == record_crc(l, bytes.p + 8, *payload, STR_NONE);
}

/* --------------------------------------------------------------------------------------------------- making a ring */

static void segment_name(uint32_t i, char name[16]) { snprintf(name, 16, "%02u", i); }

/* The file "ring": magic, version, log id, sizes, CRC. It is written last, so a ring that has it is whole. */
static void put_ring(const struct log *l, struct buf *b)
{
	buf_add(b, STR("FRNG"));
	put_u32(b, VERSION);
	put_u64(b, l->id);
	put_u32(b, l->segments);
	put_u32(b, l->segment_bytes);
	put_u32(b, crc32c(0, b->p, b->n));
}

static bool sizes_are_good(uint32_t segments, uint32_t bytes)
{
	return segments >= LOG_SEGMENTS_MIN && segments <= LOG_SEGMENTS_MAX && bytes >= LOG_SEGMENT_BYTES_MIN &&
	       bytes <= LOG_SEGMENT_BYTES_MAX && bytes % DISK_SECTOR == 0;
}

static bool get_ring(struct log *l, struct str bytes)
{
	struct scan s = scan_of(bytes);

	if (bytes.n != ID_FILE_BYTES)
		return false;
	scan_need_str(&s, STR("FRNG"));
	uint32_t version = get_u32(&s);
	l->id = get_u64(&s);
	l->segments = get_u32(&s);
	l->segment_bytes = get_u32(&s);
	uint32_t crc = get_u32(&s);
	return get_end(&s) && version == VERSION && crc == crc32c(0, bytes.p, ID_FILE_BYTES - 4) && l->id != 0 &&
	       sizes_are_good(l->segments, l->segment_bytes);
}

static enum err write_zeros(struct disk_file *f, uint32_t bytes)
{
	enum { PIECE = 1 << 20 };
	char *zeros = mem_alloc(PIECE);
	enum err e = disk_truncate(f, 0);

	for (uint32_t at = 0; e == ERR_OK && at < bytes; at += PIECE)
		e = disk_pwrite(f, zeros, bytes - at < PIECE ? bytes - at : PIECE, at);
	mem_free(zeros);
	return e == ERR_OK ? disk_sync(f) : e;
}

static enum err make_ring(struct log *l, const struct log_config *config)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	char name[16];

	assert(sizes_are_good(config->segments, config->segment_bytes));
	l->segments = config->segments;
	l->segment_bytes = config->segment_bytes;
	do
		l->id = random_u64();
	while (l->id == 0);
	for (uint32_t i = 0; i < l->segments; i++) {
		segment_name(i, name);
		TRY(disk_open(l->dir, name, DISK_CREATE, &l->segment[i].file));
		TRY(write_zeros(l->segment[i].file, l->segment_bytes));
	}
	TRY(disk_dir_sync(l->dir));
	put_ring(l, &b);
	TRY(disk_write_file(l->dir, "ring", buf_str(&b)));
	log_info("made the queue's log id=%016llx segments=%u segment_bytes=%u", (unsigned long long)l->id, l->segments, l->segment_bytes);
	return ERR_OK;
}

static enum err open_ring(struct log *l)
{
	char name[16];
	uint64_t size;

	for (uint32_t i = 0; i < l->segments; i++) {
		segment_name(i, name);
		TRY(disk_open(l->dir, name, DISK_WRITE, &l->segment[i].file));
		TRY(disk_size(l->segment[i].file, &size));
		if (size != l->segment_bytes) {
			log_error("a segment of the queue's log has the wrong size name=%s size_bytes=%llu", name, (unsigned long long)size);
			return ERR_CORRUPT;
		}
	}
	return ERR_OK;
}

/* ------------------------------------------------------------------------------------------------ finding the end */

static enum err read_segment_header(struct log *l, uint32_t i, bool *has_bytes)
{
	struct segment *g = &l->segment[i];
	char bytes[HEADER + SEGMENT_PAYLOAD];
	struct header h;
	struct str payload;

	TRY(disk_read_all(g->file, bytes, sizeof(bytes), 0));
	for (size_t k = 0; k < sizeof(bytes); k++)
		*has_bytes |= bytes[k] != 0;
	if (!get_record(l, str_make(bytes, sizeof(bytes)), &h, &payload) || h.kind != LOG_SEGMENT)
		return ERR_OK;
	struct scan s = scan_of(payload);
	g->generation = get_u64(&s);
	g->header_w = get_u64(&s);
	(void)get_u32(&s);  /* version of the records */
	g->first_seq = g->last_seq = h.seq;
	g->has_header = get_end(&s) && g->generation % l->segments == i;
	return ERR_OK;
}

static void remember(struct log *l, struct log_place place)
{
	if (l->found_n == l->found_cap) {
		l->found_cap = l->found_cap ? l->found_cap * 2 : 256;
		l->found = mem_resize(l->found, l->found_cap * sizeof(*l->found));
	}
	l->found[l->found_n++].place = place;
}

struct walk { uint64_t seq, epoch; bool is_first; };

/* Goes through the records of one segment as long as they continue the log; *end is behind the last of them. */
static void walk_segment(struct log *l, uint64_t generation, struct str bytes, struct walk *at, uint32_t *end)
{
	struct segment *g = segment_of(l, generation);
	struct header h;
	struct str payload;

	*end = 0;
	while (bytes.n > *end && get_record(l, str_from(bytes, *end), &h, &payload)) {
		bool begins = h.kind == LOG_OPEN || (h.kind == LOG_SEGMENT && *end == 0);
		if ((h.seq != at->seq + 1 && !(at->is_first && *end == 0)) || (h.epoch != at->epoch && !begins))
			break;
		*at = (struct walk){ h.seq, h.epoch, false };
		g->last_seq = h.seq;
		if (h.kind == LOG_W) {
			struct scan s = scan_of(payload);
			uint64_t w = get_u64(&s);
			if (get_end(&s) && w > l->w)
				l->w = w;
		} else if (h.kind == LOG_MESSAGE) {
			remember(l, (struct log_place){ (uint32_t)(generation % l->segments), *end + HEADER, h.length, h.seq });
		}
		*end += padded(h.length);
	}
}

/* The segment that holds the first record above W, as far as the newest header knows W; older ones need no reading. */
static uint64_t first_generation(struct log *l, uint64_t newest)
{
	uint64_t w = segment_of(l, newest)->header_w, g = newest;

	while (g > 0 && newest - (g - 1) < l->segments && segment_of(l, g)->first_seq > w + 1) {
		struct segment *before = segment_of(l, g - 1);
		if (!before->has_header || before->generation != g - 1)
			break;
		g--;
	}
	if (segment_of(l, g)->first_seq > w + 1 && g > 0)
		log_error("the queue's log is damaged: a segment is missing generation=%llu", (unsigned long long)(g - 1));
	return g;
}

/* Writes again what was found in this segment, and syncs it. */
static enum err settle(struct log *l, uint64_t generation, const char *bytes, uint32_t n)
{
	struct segment *g = segment_of(l, generation);

	TRY(disk_pwrite(g->file, bytes, n, 0));
	return disk_sync(g->file);
}

static enum err walk_segments(struct log *l, uint64_t newest, char *bytes)
{
	uint64_t first = first_generation(l, newest);
	struct walk at = { .is_first = true };
	uint32_t end = 0;

	l->w = segment_of(l, newest)->header_w;
	for (uint64_t g = first; g <= newest; g++) {
		TRY(disk_read_all(segment_of(l, g)->file, bytes, l->segment_bytes, 0));
		walk_segment(l, g, str_make(bytes, l->segment_bytes), &at, &end);
		if (end == 0) {
			log_error("the queue's log is damaged: records are missing after_seq=%llu before_seq=%llu",
			          (unsigned long long)at.seq, (unsigned long long)segment_of(l, g)->first_seq);
			at.is_first = true;
			walk_segment(l, g, str_make(bytes, l->segment_bytes), &at, &end);
		}
		TRY(settle(l, g, bytes, end));
	}
	l->generation = newest;
	l->offset = end;
	l->next_seq = at.seq + 1;
	return ERR_OK;
}

/* Segments that were not walked are all ≤ W: first_generation() saw to it. */
static enum err find_end(struct log *l, bool *is_empty)
{
	uint64_t newest = 0;
	bool has_bytes = false, has_header = false;

	for (uint32_t i = 0; i < l->segments; i++) {
		TRY(read_segment_header(l, i, &has_bytes));
		if (l->segment[i].has_header && (!has_header || l->segment[i].generation > newest))
			newest = l->segment[i].generation;
		has_header |= l->segment[i].has_header;
	}
	*is_empty = !has_header;
	if (!has_header) {
		l->next_seq = 1;
		l->generation = UINT64_MAX;  /* the next one is 0 */
		l->offset = l->segment_bytes;
		return ERR_OK;
	}
	char *bytes = mem_alloc(l->segment_bytes);
	enum err e = walk_segments(l, newest, bytes);
	mem_free(bytes);
	return e;
}

static enum err begin_epoch(struct log *l)
{
	struct log_entry open = { .kind = LOG_OPEN }, *entries[] = { &open };

	l->epoch = random_u64();
	log_write(l, entries, 1);
	return open.result;
}

enum err log_open(struct disk_dir *dir, const struct log_config *config, struct log **out)
{
	CLEANUP(log_close) struct log *l = MEM_NEW(struct log);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str ring;
	bool is_empty;
	enum err e;

	l->dir = dir;
	pthread_mutex_init(&l->lock, NULL);
	e = disk_read_file(dir, "ring", ID_FILE_BYTES, &a, &ring);
	if (e == ERR_NOTFOUND) {
		TRY(make_ring(l, config));
	} else {
		if (e == ERR_LIMIT || (e == ERR_OK && !get_ring(l, ring))) {
			log_error("the file ring of the queue's log is damaged folder=%s", disk_dir_path(dir));
			return ERR_CORRUPT;
		}
		TRY(e);
		TRY(open_ring(l));
	}
	TRY(find_end(l, &is_empty));
	TRY(begin_epoch(l));
	*out = l;
	l = NULL;
	return ERR_OK;
}

void log_close(struct log **out)
{
	struct log *l = *out;

	if (l == NULL)
		return;
	for (uint32_t i = 0; i < LOG_SEGMENTS_MAX; i++)
		disk_close(&l->segment[i].file);
	pthread_mutex_destroy(&l->lock);
	mem_free(l->found);
	mem_free(l);
	*out = NULL;
}

enum err log_replay(struct log *l, log_seen see, void *context)
{
	CLEANUP(buf_free) struct buf payload = BUF(l->segment_bytes);
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < l->found_n; i++) {
		struct log_place place = l->found[i].place;
		if (place.seq <= l->w)
			continue;
		e = log_read(l, place, &payload);
		if (e == ERR_OK)
			e = see(context, place, buf_str(&payload));
	}
	mem_free(l->found);
	l->found = NULL;
	l->found_n = l->found_cap = 0;
	return e;
}

/* --------------------------------------------------------------------------------------------------------- writing */

static bool is_free(struct log *l, uint64_t generation) { return segment_of(l, generation)->last_seq <= l->w; }

/* May a record of this kind enter the segment behind the present one? */
static bool may_enter_next(struct log *l, enum log_kind kind)
{
	return is_free(l, l->generation + 1) && (kind != LOG_MESSAGE || is_free(l, l->generation + 2));
}

struct batch {
	struct iovec  iov[BATCH_MAX * 4];
	char          headers[BATCH_MAX][HEADER];
	int           iov_n;
	size_t        n;
	uint32_t      start, end;        /* offsets in the segment */
	uint64_t      first_seq, next_seq;
	struct log_entry *entries[BATCH_MAX];
};

static void add_piece(struct batch *b, const void *p, size_t n)
{
	if (n > 0)
		b->iov[b->iov_n++] = (struct iovec){ (void *)p, n };
}

static void add_record(struct log *l, struct batch *b, struct log_entry *e)
{
	static const char zeros[8];
	uint32_t length = (uint32_t)(e->head.n + e->body.n);
	char *header = b->headers[b->n];

	put_header(l, header, b->next_seq, e);
	add_piece(b, header, HEADER);
	add_piece(b, e->head.p, e->head.n);
	add_piece(b, e->body.p, e->body.n);
	add_piece(b, zeros, padded(length) - HEADER - length);
	e->place = (struct log_place){ (uint32_t)(l->generation % l->segments), b->end + HEADER, length, b->next_seq };
	b->entries[b->n++] = e;
	b->end += padded(length);
	b->next_seq++;
}

static void fail(struct log *l)
{
	pthread_mutex_lock(&l->lock);
	l->failed = true;
	pthread_mutex_unlock(&l->lock);
	log_error("the queue's log cannot be written: nothing is accepted until it is opened again; look at the disk, then restart");
}

/* One write, one sync. Then, and only then, the records exist. */
static void put_batch(struct log *l, struct batch *b)
{
	struct segment *g = segment_of(l, l->generation);
	enum err e = l->failed ? ERR_IO : ERR_OK;

	if (b->n == 0)
		return;
	if (e == ERR_OK)
		e = disk_pwritev(g->file, b->iov, b->iov_n, b->start);
	if (e == ERR_OK)
		e = disk_sync(g->file);
	if (e != ERR_OK && !l->failed)
		fail(l);
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < b->n; i++) {
		b->entries[i]->result = e == ERR_OK ? ERR_OK : ERR_IO;
		if (e == ERR_OK && b->entries[i]->kind == LOG_W) {
			struct scan s = scan_of(b->entries[i]->head);
			uint64_t w = get_u64(&s);
			if (w > l->w)
				l->w = w;
		}
	}
	if (e == ERR_OK) {
		g->last_seq = b->next_seq - 1;
		l->offset = b->end;
		l->next_seq = b->next_seq;
	}
	pthread_mutex_unlock(&l->lock);
}

static void begin_batch(struct log *l, struct batch *b)
{
	b->iov_n = 0;
	b->n = 0;
	b->start = b->end = l->offset;
	b->first_seq = b->next_seq = l->next_seq;
}

/* Goes on to the next segment: its LOG_SEGMENT is the first record of the batch. */
static void enter_next(struct log *l, struct batch *b, struct log_entry *header, struct buf *payload)
{
	pthread_mutex_lock(&l->lock);
	l->generation++;
	l->offset = 0;
	struct segment *g = segment_of(l, l->generation);
	g->generation = l->generation;
	g->first_seq = g->last_seq = l->next_seq;
	pthread_mutex_unlock(&l->lock);
	begin_batch(l, b);
	buf_reset(payload);
	put_u64(payload, l->generation);
	put_u64(payload, l->w);
	put_u32(payload, VERSION);
	*header = (struct log_entry){ .kind = LOG_SEGMENT, .head = buf_str(payload) };
	add_record(l, b, header);
}

void log_write(struct log *l, struct log_entry **entries, size_t n)
{
	struct batch *b = MEM_NEW(struct batch);
	CLEANUP(buf_free) struct buf payload = BUF(64);
	struct log_entry header;

	begin_batch(l, b);
	for (size_t i = 0; i < n; i++) {
		struct log_entry *e = entries[i];
		size_t length = e->head.n + e->body.n;
		if (l->failed || length > log_record_max(l)) {
			e->result = l->failed ? ERR_IO : ERR_LIMIT;
			continue;
		}
		if (b->n >= BATCH_MAX - 1) {
			put_batch(l, b);
			begin_batch(l, b);
		}
		if (b->end + padded((uint32_t)length) > l->segment_bytes) {
			put_batch(l, b);  /* before the next segment: a batch never spans two */
			begin_batch(l, b);
			if (l->failed || !may_enter_next(l, e->kind)) {
				e->result = l->failed ? ERR_IO : ERR_AGAIN;
				continue;
			}
			enter_next(l, b, &header, &payload);
		}
		add_record(l, b, e);
	}
	put_batch(l, b);
	mem_free(b);
}

enum err log_read(struct log *l, struct log_place place, struct buf *out)
{
	struct header h;
	struct str payload;

	buf_reset(out);
	char *p = buf_reserve(out, HEADER + place.length);
	if (p == NULL)
		return ERR_LIMIT;
	TRY(disk_read_all(l->segment[place.segment].file, p, HEADER + place.length, place.offset - HEADER));
	buf_grew(out, HEADER + place.length);
	if (!get_record(l, buf_str(out), &h, &payload) || h.seq != place.seq) {
		log_error("a record of the queue's log is damaged seq=%llu segment=%u offset=%u", (unsigned long long)place.seq,
		          place.segment, place.offset);
		return ERR_CORRUPT;
	}
	buf_drop_front(out, HEADER);
	return ERR_OK;
}

/* --------------------------------------------------------------------------------------------------------- numbers */

uint64_t log_id(const struct log *l) { return l->id; }
uint32_t log_record_max(const struct log *l) { return l->segment_bytes / 4 - HEADER; }

uint64_t log_w(struct log *l)
{
	pthread_mutex_lock(&l->lock);
	uint64_t w = l->w;
	pthread_mutex_unlock(&l->lock);
	return w;
}

uint64_t log_last_seq(struct log *l)
{
	pthread_mutex_lock(&l->lock);
	uint64_t seq = l->next_seq - 1;
	pthread_mutex_unlock(&l->lock);
	return seq;
}

uint32_t log_fill_percent(struct log *l)
{
	uint32_t used = 0;

	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->segments; i++)
		used += l->segment[i].last_seq > l->w;
	pthread_mutex_unlock(&l->lock);
	return used * 100 / l->segments;
}

bool log_has_failed(struct log *l)
{
	pthread_mutex_lock(&l->lock);
	bool failed = l->failed;
	pthread_mutex_unlock(&l->lock);
	return failed;
}
