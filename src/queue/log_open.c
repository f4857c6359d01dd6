/* Opening the log: making the ring, and finding its end.
 *
 * The ring is full of old records with good CRCs, and of leftovers of batches that were never acknowledged. A record
 * continues the log only if its seq is the last one's plus one, AND its epoch is the last one's, or it is LOG_OPEN (or
 * LOG_SEGMENT, the first record of a segment), which begin an epoch.
 *   - An old record at this place has a smaller seq, by a whole turn of the ring.
 *   - A leftover of a torn batch may have just the right seq: batch {7, 8}, 7 lost, 8 on the disk; we open, write
 *     another 7 of the same length, and there stands 8. Its epoch is that of the process that died; ours is new random
 *     bits. So it is rejected.
 *   - LOG_OPEN itself is synced before anything follows it, so nothing of its own epoch stands behind a leftover
 *     LOG_OPEN.
 *
 * A hole is a torn tail or damage, and which it is can be told. Everything before the first record of a batch was
 * durable when the batch was written. So if behind the hole stands a record whose batch began behind the hole,
 * something that was acknowledged is missing: an error is logged, and what is intact is used from there on. If there is
 * none it was the last batch, and nobody was told that it is accepted. A leftover never looks like the former: its
 * batch began at the latest right behind what was found at the opening after it, and the log has not become shorter
 * since.
 *
 * What was found at opening is written again, byte by byte the same, and synced, before anything is appended: after a
 * failed sync (or a killed process) the page cache can show records that the disk does not have, and a later power cut
 * would make a hole in front of what is acknowledged from now on. Writing the same bytes is harmless whenever the power
 * goes.
 *
 * The header of a segment that is intact bounds what stands before it: no record of an older segment has its seq or a
 * larger one. So damage, or hostile bytes that cost more searching than we are ready to do, end with their segment.
 *
 * A seq must not be given twice under one log id: accounts and queue.db would take the new message for the old one.
 * When the newest segment may be lost (there are bytes where its header should be, but nothing can be read) the numbers
 * go on far above. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "queue/log_private.h"
#include <assert.h>
#include <stdio.h>

enum { HEADER = LOG_RECORD_HEADER, RING_FILE_BYTES = 28, HEADER_RECORD = HEADER + LOG_SEGMENT_PAYLOAD };
static const uint64_t SEQ_JUMP = UINT64_C(1) << 32;

/* --------------------------------------------------------------------------------------------------- making a ring */

static void segment_name(uint32_t i, char name[16]) { snprintf(name, 16, "%02u", i); }

/* The file "ring": magic, version, log id, sizes, CRC. It is written last, so a ring that has it is whole. */
static void put_ring(const struct log *l, struct buf *b)
{
	buf_add(b, STR("FRNG"));
	put_u32(b, LOG_VERSION);
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

	if (bytes.n != RING_FILE_BYTES)
		return false;
	scan_need_str(&s, STR("FRNG"));
	uint32_t version = get_u32(&s);
	l->id = get_u64(&s);
	l->segments = get_u32(&s);
	l->segment_bytes = get_u32(&s);
	uint32_t crc = get_u32(&s);
	return get_end(&s) && version == LOG_VERSION && crc == crc32c(0, bytes.p, RING_FILE_BYTES - 4) && l->id != 0 &&
	       sizes_are_good(l->segments, l->segment_bytes);
}

/* A file with records, but no ring: something was removed that should not have been. Their mail is not overwritten. */
static enum err refuse_used(struct disk_file *f)
{
	char magic[4];
	size_t got;

	TRY(disk_pread(f, magic, sizeof(magic), 0, &got));
	if (got < sizeof(magic) || !str_eq(str_make(magic, 4), STR("FLG1")))
		return ERR_OK;
	log_error("the file ring of the queue's log is missing, but there are records in file=%s: bring it back from a backup, or"
	          " move the folder away to begin with an empty log", disk_name(f));
	return ERR_CORRUPT;
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

static uint32_t clip(uint32_t v, uint32_t min, uint32_t max) { return v < min ? min : v > max ? max : v; }

static enum err make_ring(struct log *l, const struct log_config *config)
{
	CLEANUP(buf_free) struct buf b = BUF(64);
	char name[16];

	l->segments = clip(config->segments, LOG_SEGMENTS_MIN, LOG_SEGMENTS_MAX);
	l->segment_bytes = clip(config->segment_bytes, LOG_SEGMENT_BYTES_MIN, LOG_SEGMENT_BYTES_MAX) / DISK_SECTOR * DISK_SECTOR;
	do
		l->id = random_u64();
	while (l->id == 0);
	for (uint32_t i = 0; i < l->segments; i++) {
		segment_name(i, name);
		TRY(disk_open(l->dir, name, DISK_CREATE, &l->segment[i].file));
		disk_direct(l->dir, l->segment[i].file);
		TRY(refuse_used(l->segment[i].file));
	}
	for (uint32_t i = 0; i < l->segments; i++)
		TRY(write_zeros(l->segment[i].file, l->segment_bytes));
	TRY(disk_dir_sync(l->dir));
	put_ring(l, &b);
	TRY(disk_write_file(l->dir, "ring", buf_str(&b)));
	log_info("made the queue's log id=%016llx segments=%u segment_bytes=%u", (unsigned long long)l->id, l->segments,
	         l->segment_bytes);
	return ERR_OK;
}

static enum err open_ring(struct log *l)
{
	char name[16];
	uint64_t size;

	for (uint32_t i = 0; i < l->segments; i++) {
		segment_name(i, name);
		TRY(disk_open(l->dir, name, DISK_WRITE, &l->segment[i].file));
		disk_direct(l->dir, l->segment[i].file);
		TRY(disk_size(l->segment[i].file, &size));
		if (size != l->segment_bytes) {
			log_error("a segment of the queue's log has the wrong size name=%s size_bytes=%llu", name, (unsigned long long)size);
			return ERR_CORRUPT;
		}
	}
	return ERR_OK;
}

/* ------------------------------------------------------------------------------------------------ segment headers */

static bool get_segment_header(struct log *l, uint32_t i, struct str bytes)
{
	struct log_segment *g = &l->segment[i];
	struct log_header h;
	struct str payload;

	if (!log_peek(bytes, &h) || h.kind != LOG_SEGMENT || h.in_batch != 0 || !log_check(l, bytes, &h, &payload))
		return false;
	struct scan s = scan_of(payload);
	g->generation = get_u64(&s);
	g->header_w = get_u64(&s);
	(void)get_u32(&s);  /* version of the records */
	g->first_seq = g->last_seq = h.seq;
	return get_end(&s) && g->generation < UINT64_C(1) << 62 && g->generation % l->segments == i && g->header_w < h.seq;
}

/* The header is smaller than a sector, so it is there as a whole, or what was there before is. */
static enum err read_segment_header(struct log *l, uint32_t i)
{
	static const char zeros[HEADER_RECORD];
	struct log_segment *g = &l->segment[i];
	char bytes[HEADER_RECORD];

	TRY(disk_read_all(g->file, bytes, sizeof(bytes), 0));
	g->has_header = get_segment_header(l, i, str_make(bytes, sizeof(bytes)));
	g->is_damaged = !g->has_header && memcmp(bytes, zeros, sizeof(zeros)) != 0;
	if (!g->has_header)
		g->generation = g->header_w = g->first_seq = g->last_seq = 0;
	return ERR_OK;
}

static bool has(struct log *l, uint64_t generation)
{
	return log_segment_of(l, generation)->has_header && log_segment_of(l, generation)->generation == generation;
}

/* The numbers grow from segment to segment. A header that says otherwise is worth nothing: the newer one decides. */
static void drop_contradictions(struct log *l, uint64_t newest)
{
	uint64_t limit = UINT64_MAX;

	for (uint64_t back = 0; back < l->segments && back <= newest; back++) {
		struct log_segment *g = log_segment_of(l, newest - back);
		if (!has(l, newest - back))
			continue;
		if (g->first_seq < limit) {
			limit = g->first_seq;
		} else {
			g->has_header = false;
			g->is_damaged = true;
		}
	}
}

/* The oldest segment that can hold a record above W, as far as the newest header knows W; older ones need no reading. A
 * segment is used again only when W has passed it, so the one that W stands in is there, or it is damaged. */
static uint64_t first_generation(struct log *l, uint64_t newest)
{
	uint64_t w = log_segment_of(l, newest)->header_w, g = newest;

	while (g > 0 && newest - g < l->segments - 1 && !(has(l, g) && log_segment_of(l, g)->first_seq <= w + 1))
		g--;
	return g;
}

/* ---------------------------------------------------------------------------------------------- through the records */

struct walk {
	uint64_t seq, epoch;    /* of the last record that belongs to the log */
	uint64_t limit;         /* where the next segment that has a header begins: no record before it has this seq */
	bool     is_any_epoch;  /* the beginning: none is known yet */
	bool     is_damaged;    /* a header is missing: what comes now stands behind damage in any case */
	uint64_t budget;        /* bytes of this segment whose CRC is still looked at behind holes: hostile ones cost no more */
};

static bool begins_epoch(const struct log_header *h, uint32_t offset)
{
	return h->kind == LOG_OPEN || (h->kind == LOG_SEGMENT && offset == 0);
}

static bool is_next(const struct walk *at, const struct log_header *h, uint32_t offset)
{
	return h->seq == at->seq + 1 && h->seq < at->limit &&
	       (h->epoch == at->epoch || at->is_any_epoch || begins_epoch(h, offset));
}

/* Could it belong to the log, if something is missing before it? */
static bool may_follow(const struct walk *at, const struct log_header *h, uint32_t offset)
{
	return h->seq > at->seq && h->seq < at->limit &&
	       (h->epoch == at->epoch || at->is_any_epoch || begins_epoch(h, offset));
}

/* When it was written, what we have not found was durable. */
static bool proves_damage(const struct walk *at, const struct log_header *h)
{
	return at->is_damaged || h->seq - h->in_batch > at->seq + 1;
}

static void remember(struct log *l, enum log_kind kind, struct log_place place)
{
	if (l->found_n == l->found_cap) {
		l->found_cap = l->found_cap ? l->found_cap * 2 : 256;
		l->found = mem_resize(l->found, l->found_cap * sizeof(*l->found));
	}
	l->found[l->found_n++] = (struct log_found){ kind, place };
}

static void take(struct log *l, uint64_t generation, struct walk *at, const struct log_header *h, struct str payload,
                 uint32_t offset)
{
	uint64_t w = h->kind == LOG_W ? log_w_of(payload) : 0;

	at->seq = h->seq;
	at->epoch = h->epoch;
	at->is_any_epoch = at->is_damaged = false;
	log_segment_of(l, generation)->last_seq = h->seq;
	if (w > l->w && w < h->seq)
		l->w = w;
	if (h->kind == LOG_MESSAGE || h->kind == LOG_DONE)
		remember(l, (enum log_kind)h->kind, (struct log_place){ (uint32_t)(generation % l->segments), offset + HEADER, h->length, h->seq });
}

static void tell_damage(const struct log *l, const struct walk *at, const struct log_header *h)
{
	log_error("the queue's log is damaged: records are missing after_seq=%llu before_seq=%llu folder=%s; the rest is used",
	          (unsigned long long)at->seq, (unsigned long long)h->seq, disk_dir_path(l->dir));
}

/* Looks behind a hole for a record that proves it to be damage; *offset is then of the first intact one, which may be
 * in the same batch as what is missing. */
static bool find_behind_damage(struct log *l, struct str bytes, struct walk *at, uint32_t *offset)
{
	struct log_header h, first = { 0 };
	uint32_t first_offset = 0;

	for (uint32_t o = *offset; o + HEADER <= bytes.n; o += 8) {
		struct str rest = str_from(bytes, o), payload;
		if (!log_peek(rest, &h) || !may_follow(at, &h, o))
			continue;
		if (at->budget < h.length)
			return false;
		at->budget -= h.length;
		if (!log_check(l, rest, &h, &payload))
			continue;
		if (first.seq == 0) {
			first = h;
			first_offset = o;
		}
		if (!proves_damage(at, &h))
			continue;
		if (first.epoch != h.epoch) {  /* then first may be a leftover */
			first = h;
			first_offset = o;
		}
		tell_damage(l, at, &first);
		*offset = first_offset;
		return true;
	}
	return false;
}

/* A header was found good before, and bounded what stands before it, so it belongs to the log whatever is missing there:
 * no search decides about it, and nothing is ever written over the header of the newest segment. */
static uint32_t take_segment_header(struct log *l, uint64_t generation, struct str bytes, struct walk *at)
{
	struct log_header h;
	struct str payload;
	bool found = log_peek(bytes, &h) && log_check(l, bytes, &h, &payload);

	assert(found && h.seq > at->seq);
	if (h.seq != at->seq + 1)
		tell_damage(l, at, &h);
	take(l, generation, at, &h, payload, 0);
	return log_padded(h.length);
}

/* Goes through the records of one segment as long as they continue the log; returns the offset behind the last of them. */
static uint32_t walk_segment(struct log *l, uint64_t generation, struct str bytes, struct walk *at)
{
	uint32_t end = has(l, generation) ? take_segment_header(l, generation, bytes, at) : 0, offset = end;
	struct log_header h;
	struct str payload;

	for (;;) {
		struct str rest = str_from(bytes, offset);
		bool found = log_peek(rest, &h) && is_next(at, &h, offset) && log_check(l, rest, &h, &payload);
		if (!found) {
			if (!find_behind_damage(l, bytes, at, &offset))
				return end;
			rest = str_from(bytes, offset);
			found = log_peek(rest, &h) && log_check(l, rest, &h, &payload);
			assert(found);
		}
		take(l, generation, at, &h, payload, offset);
		offset += log_padded(h.length);
		end = offset;
	}
}

/* Writes again what was found in this segment, and syncs it. */
static enum err settle(struct log *l, uint64_t generation, const char *bytes, uint32_t n)
{
	struct log_segment *g = log_segment_of(l, generation);

	if (n > 0)
		TRY(disk_pwrite(g->file, bytes, n, 0));
	return disk_sync(g->file);
}

static uint64_t limit_of(struct log *l, uint64_t generation, uint64_t newest)
{
	for (uint64_t g = generation + 1; g <= newest; g++)
		if (has(l, g))
			return log_segment_of(l, g)->first_seq;
	return UINT64_MAX;
}

static enum err visit(struct log *l, uint64_t generation, uint64_t newest, char *bytes, struct walk *at, uint32_t *end)
{
	at->is_damaged |= !has(l, generation);
	at->budget = 4 * (uint64_t)l->segment_bytes;
	at->limit = limit_of(l, generation, newest);
	TRY(disk_read_all(log_segment_of(l, generation)->file, bytes, l->segment_bytes, 0));
	*end = walk_segment(l, generation, str_make(bytes, l->segment_bytes), at);
	return settle(l, generation, bytes, *end);
}

static enum err walk_segments(struct log *l, uint64_t newest, char *bytes)
{
	drop_contradictions(l, newest);
	uint64_t first = first_generation(l, newest);
	struct walk at = { .is_any_epoch = true };
	uint32_t end = 0;

	l->w = log_segment_of(l, newest)->header_w;
	at.seq = has(l, first) ? log_segment_of(l, first)->first_seq - 1 : l->w;
	for (uint64_t g = first; g <= newest; g++) {
		if (!has(l, g))
			log_error("the queue's log is damaged: the header of a segment is missing generation=%llu folder=%s",
			          (unsigned long long)g, disk_dir_path(l->dir));
		if (has(l, g) || log_segment_of(l, g)->is_damaged)
			TRY(visit(l, g, newest, bytes, &at, &end));
	}
	l->generation = newest;
	l->offset = end;
	if (log_segment_of(l, newest + 1)->is_damaged) {  /* it may have been the newest */
		log_error("the queue's log is damaged: the header of a segment is missing generation=%llu folder=%s",
		          (unsigned long long)newest + 1, disk_dir_path(l->dir));
		TRY(visit(l, newest + 1, newest, bytes, &at, &end));
		if (end > 0) {
			l->generation = newest + 1;
			l->offset = end;
		} else {
			at.seq += SEQ_JUMP;
		}
	}
	l->next_seq = at.seq + 1;
	return ERR_OK;
}

/* Segments that were not visited are all ≤ W: first_generation() saw to it. */
static enum err find_end(struct log *l)
{
	uint64_t newest = 0;
	bool has_header = false, is_damaged = false;

	for (uint32_t i = 0; i < l->segments; i++) {
		TRY(read_segment_header(l, i));
		if (l->segment[i].has_header && (!has_header || l->segment[i].generation > newest))
			newest = l->segment[i].generation;
		has_header |= l->segment[i].has_header;
		is_damaged |= l->segment[i].is_damaged;
	}
	if (!has_header && is_damaged) {
		log_error("the queue's log is damaged: no segment has a valid header folder=%s; bring the folder back from a backup, or"
		          " move it away to begin with an empty log", disk_dir_path(l->dir));
		return ERR_CORRUPT;
	}
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

/* ---------------------------------------------------------------------------------------------------------- opening */

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
	enum err e;

	l->dir = dir;
	pthread_mutex_init(&l->lock, NULL);
	e = disk_read_file(dir, "ring", RING_FILE_BYTES, &a, &ring);
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
	TRY(find_end(l));
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
	mem_free(l->batch);
	mem_free(l->found);
	mem_free(l);
	*out = NULL;
}

enum err log_replay(struct log *l, enum log_kind kind, log_seen see, void *context)
{
	CLEANUP(buf_free) struct buf payload = BUF(l->segment_bytes);
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < l->found_n; i++) {
		const struct log_found *f = &l->found[i];
		if (f->kind != kind || f->place.seq <= l->w)
			continue;
		e = log_read(l, f->place, &payload);
		if (e == ERR_OK)
			e = see(context, f->place, buf_str(&payload));
	}
	if (kind == LOG_MESSAGE) {
		mem_free(l->found);
		l->found = NULL;
		l->found_n = l->found_cap = 0;
	}
	return e;
}
