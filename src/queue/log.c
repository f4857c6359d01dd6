/* The durable log: writing and reading. Measured against the alternatives (DESIGN.md §4.2): a preallocated,
 * preoverwritten ring needs no metadata at an append, so fdatasync writes the data and nothing else; records of all
 * waiting callers go out in one write and one sync.
 *
 * A record: "FLG1" | crc32c u32 | seq u64 | epoch u64 | kind u16 | in_batch u16 | length u32 | payload | zeros to a
 * multiple of 8 The CRC covers all after itself, and begins with the log id: a record of another ring is never valid
 * here, and bytes of a message, whose sender does not know the log id and the epoch, never look like one.
 *
 * A batch never spans two segments, and a batch is synced before the next is written. So when a batch was written,
 * everything before its first record was durable; in_batch says which record that is. log_open.c builds on it.
 *
 * Room. LOG_W frees segments, so it must always find room, or a full ring would stay full. One segment behind the
 * present one is kept free for it: LOG_MESSAGE enters a segment only when one more is free behind it, and goes into the
 * present one only while the next is free (it is not, when LOG_W had to enter the last one).
 *
 * Together. Messages that belong together find room together: the way through the segments is gone before anything is written. They stand
 * one behind the other, and each may have the number of an earlier one in its payload, which gets it as it is numbered.
 *
 * After a failed write or sync nothing more is written: what is on the disk is not known, and a sync that succeeds
 * later proves nothing (DESIGN.md §4.8). Opening again reads what is there and makes it durable. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "queue/log_private.h"
#include <assert.h>
#include <endian.h>

enum { HEADER = LOG_RECORD_HEADER, BATCH_MAX = 500, STAGED_MAX = 512, IMAGE_MAX = 512 << 10 };

/* ------------------------------------------------------------------------------------------------------- a record */

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

static void put_header(const struct log *l, char *out, uint64_t seq, size_t in_batch, const struct log_entry *e)
{
	CLEANUP(buf_free) struct buf b = BUF(HEADER);

	buf_add(&b, STR("FLG1"));
	put_u32(&b, 0);
	put_u64(&b, seq);
	put_u64(&b, l->epoch);
	put_u16(&b, (uint16_t)e->kind);
	put_u16(&b, (uint16_t)in_batch);
	put_u32(&b, (uint32_t)(e->head.n + e->body.n));
	assert(b.n == HEADER);
	uint32_t crc = record_crc(l, b.p + 8, e->head, e->body);
	memcpy(out, b.p, HEADER);
	for (int i = 0; i < 4; i++)
		out[4 + i] = (char)(crc >> (8 * i));
}

/* Kinds we do not know are passed over: the next release may have more. */
bool log_peek(struct str bytes, struct log_header *h)
{
	struct scan s;

	if (bytes.n < HEADER || memcmp(bytes.p, "FLG1", 4) != 0)
		return false;
	s = scan_of(str_from(bytes, 4));
	h->crc = get_u32(&s);
	h->seq = get_u64(&s);
	h->epoch = get_u64(&s);
	h->kind = get_u16(&s);
	h->in_batch = get_u16(&s);
	h->length = get_u32(&s);
	return !s.failed && h->kind > 0 && h->length <= scan_left(&s) && h->seq > h->in_batch && h->seq < UINT64_C(1) << 62;
}

bool log_check(const struct log *l, struct str bytes, const struct log_header *h, struct str *payload)
{
	*payload = str_sub(bytes, HEADER, h->length);
	return h->crc == record_crc(l, bytes.p + 8, *payload, STR_NONE);
}

uint64_t log_w_of(struct str payload)
{
	struct scan s = scan_of(payload);
	uint64_t w = get_u64(&s);

	return get_end(&s) ? w : 0;
}

/* --------------------------------------------------------------------------------------------------------- writing */

struct log_batch {
	struct iovec      iov[BATCH_MAX * 2 + 1];
	int               iov_n;
	char              staged[BATCH_MAX * (HEADER + STAGED_MAX + 16)];  /* headers, short pieces and padding, side by side */
	size_t            staged_n;
	size_t            n;
	uint32_t          start, end;        /* offsets in the segment */
	uint64_t          next_seq;
	struct log_entry *entries[BATCH_MAX];
	struct log_entry  segment_header;
	char              segment_payload[LOG_SEGMENT_PAYLOAD];
	char              image[IMAGE_MAX + DISK_ALIGNED];  /* room for one that begins aligned */
};

static bool is_free(struct log *l, uint64_t generation) { return log_segment_of(l, generation)->last_seq <= l->w; }

/* May it go into the present segment? In the last one that is free only LOG_W and LOG_OPEN may, and its second half is
 * for those LOG_W that free another one. */
static bool may_stay(struct log *l, const struct log_entry *e)
{
	if (is_free(l, l->generation + 1))
		return true;
	if (e->kind == LOG_W)
		return l->batch->end < l->segment_bytes / 2 || log_w_of(e->head) >= log_segment_of(l, l->generation + 1)->last_seq;
	return e->kind == LOG_OPEN;
}

static bool may_enter_next(struct log *l, const struct log_entry *e)
{
	return is_free(l, l->generation + 1) && (e->kind != LOG_MESSAGE || is_free(l, l->generation + 2));
}

/* Pieces that lie side by side in memory become one. */
static void add_iov(struct log_batch *b, const void *p, size_t n)
{
	struct iovec *last = b->iov_n > 0 ? &b->iov[b->iov_n - 1] : NULL;

	if (n == 0)
		return;
	if (last && (const char *)last->iov_base + last->iov_len == (const char *)p)
		last->iov_len += n;
	else
		b->iov[b->iov_n++] = (struct iovec){ (void *)(uintptr_t)p, n };
}

static void stage(struct log_batch *b, const void *p, size_t n)
{
	char *to = b->staged + b->staged_n;

	if (n == 0)
		return;
	assert(b->staged_n + n <= sizeof(b->staged));
	memcpy(to, p, n);
	b->staged_n += n;
	add_iov(b, to, n);
}

/* The number of the other one is known only now. */
static void name(const struct log_entry *e)
{
	uint64_t seq = htole64(e->names->place.seq);

	assert(e->names_at + sizeof seq <= e->head.n);
	memcpy((char *)(uintptr_t)e->head.p + e->names_at, &seq, sizeof seq);
}

/* What is short is copied beside the header, so that few pieces remain; a long body is written from where it is. */
static void add_record(struct log *l, struct log_batch *b, struct log_entry *e)
{
	static const char zeros[8];
	uint32_t length = (uint32_t)(e->head.n + e->body.n);
	char header[HEADER];

	if (e->names != NULL)
		name(e);
	put_header(l, header, b->next_seq, b->n, e);
	stage(b, header, HEADER);
	if (e->head.n <= STAGED_MAX)
		stage(b, e->head.p, e->head.n);
	else
		add_iov(b, e->head.p, e->head.n);
	add_iov(b, e->body.p, e->body.n);
	stage(b, zeros, log_padded(length) - HEADER - length);
	e->place = (struct log_place){ (uint32_t)(l->generation % l->segments), b->end + HEADER, length, b->next_seq };
	b->entries[b->n++] = e;
	b->end += log_padded(length);
	b->next_seq++;
}

static void fail(struct log *l)
{
	pthread_mutex_lock(&l->lock);
	l->failed = true;
	pthread_mutex_unlock(&l->lock);
	log_error("the queue's log cannot be written: no mail is accepted until the server has started again; look at the disk"
	          " first folder=%s", disk_dir_path(l->dir));
}

static void begin_batch(struct log *l)
{
	struct log_batch *b = l->batch;

	b->iov_n = 0;
	b->staged_n = 0;
	b->n = 0;
	b->start = b->end = l->offset;
	b->next_seq = l->next_seq;
}

static uint32_t sector_of(uint32_t offset) { return offset / DISK_SECTOR * DISK_SECTOR; }

static char *image_of(struct log_batch *b) { return b->image + (DISK_ALIGNED - (uintptr_t)b->image % DISK_ALIGNED); }

/* The batch as it will stand on the disk: before it what its first sector has, behind it zeros. */
static enum err make_image(struct log *l, struct disk_file *f, char *image, size_t n)
{
	struct log_batch *b = l->batch;
	uint32_t from = sector_of(b->start);
	size_t at = b->start - from;

	if (at > 0 && !l->has_tail)
		TRY(disk_read_all(f, l->tail, at, from));
	memcpy(image, l->tail, at);
	for (int i = 0; i < b->iov_n; at += b->iov[i++].iov_len)
		memcpy(image + at, b->iov[i].iov_base, b->iov[i].iov_len);
	memset(image + at, 0, n - at);
	return ERR_OK;
}

/* In whole sectors past the page cache, unless it is so large that to copy it once more costs what that saves. Who reads a record that is no longer in
 * content.c reads it from the disk, with those behind it. */
static enum err write_batch(struct log *l, struct disk_file *f)
{
	struct log_batch *b = l->batch;
	uint32_t from = sector_of(b->start), to = sector_of(b->end + DISK_SECTOR - 1), last = sector_of(b->end);
	char *image = image_of(b);

	if (to - from > IMAGE_MAX) {
		l->has_tail = false;
		return disk_pwritev(f, b->iov, b->iov_n, b->start);
	}
	TRY(make_image(l, f, image, to - from));
	TRY(disk_pwrite_direct(f, image, to - from, from));
	memcpy(l->tail, image + (last - from), b->end - last);
	l->has_tail = true;
	return ERR_OK;
}

/* One write, one sync. Then, and only then, the records exist. */
static void put_batch(struct log *l)
{
	struct log_batch *b = l->batch;
	struct log_segment *g = log_segment_of(l, l->generation);
	enum err e = l->failed ? ERR_IO : ERR_OK;

	if (b->n == 0)
		return;
	if (e == ERR_OK)
		e = write_batch(l, g->file);
	if (e == ERR_OK)
		e = disk_sync(g->file);
	if (e != ERR_OK && !l->failed)
		fail(l);
	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < b->n; i++) {
		struct log_entry *entry = b->entries[i];
		entry->result = e == ERR_OK ? ERR_OK : ERR_IO;
		if (e == ERR_OK && entry->kind == LOG_W && log_w_of(entry->head) > l->w)
			l->w = log_w_of(entry->head);
	}
	if (e == ERR_OK) {
		g->last_seq = b->next_seq - 1;
		l->offset = b->end;
		l->next_seq = b->next_seq;
	}
	pthread_mutex_unlock(&l->lock);
	begin_batch(l);
}

/* Goes on to the next segment: its LOG_SEGMENT is the first record of the batch. */
static void enter_next(struct log *l)
{
	struct log_batch *b = l->batch;
	struct buf payload = { b->segment_payload, 0, LOG_SEGMENT_PAYLOAD, LOG_SEGMENT_PAYLOAD, false };

	pthread_mutex_lock(&l->lock);
	l->generation++;
	l->offset = 0;
	struct log_segment *g = log_segment_of(l, l->generation);
	g->generation = l->generation;
	g->first_seq = g->last_seq = l->next_seq;
	pthread_mutex_unlock(&l->lock);
	begin_batch(l);
	put_u64(&payload, l->generation);
	put_u64(&payload, l->w);
	put_u32(&payload, LOG_VERSION);
	b->segment_header = (struct log_entry){ .kind = LOG_SEGMENT, .head = buf_str(&payload) };
	add_record(l, b, &b->segment_header);
}

/* Makes room for a record in the batch; ERR_OK: it fits. */
static enum err find_room(struct log *l, const struct log_entry *e)
{
	struct log_batch *b = l->batch;
	size_t length = e->head.n + e->body.n;

	if (length > log_record_max(l))
		return ERR_LIMIT;
	if (b->n == BATCH_MAX)
		put_batch(l);
	if (b->end + log_padded((uint32_t)length) > l->segment_bytes) {
		put_batch(l);
		if (l->failed)
			return ERR_IO;
		if (!may_enter_next(l, e))
			return ERR_AGAIN;
		enter_next(l);
	}
	return l->failed ? ERR_IO : may_stay(l, e) ? ERR_OK : ERR_AGAIN;
}

/* Is there room for all of these messages? Goes the way that find_room() will go. */
static enum err look_for_room(struct log *l, struct log_entry *const *entries, size_t n)
{
	uint64_t generation = l->generation;
	uint32_t end = l->batch->end;

	for (size_t i = 0; i < n; i++) {
		size_t length = entries[i]->head.n + entries[i]->body.n;
		if (length > log_record_max(l))
			return ERR_LIMIT;
		if (end + log_padded((uint32_t)length) > l->segment_bytes) {
			generation++;
			if (generation + 1 - l->generation >= l->segments || !is_free(l, generation))
				return ERR_AGAIN;
			end = log_padded(LOG_SEGMENT_PAYLOAD);
		}
		if (!is_free(l, generation + 1))
			return ERR_AGAIN;
		end += log_padded((uint32_t)length);
	}
	return ERR_OK;
}

/* Those that go together are passed over together: how many. */
static size_t refuse_together(struct log *l, struct log_entry **entries, size_t n)
{
	size_t together = entries[0]->together;

	if (together <= 1)
		return 0;
	assert(together <= n && together <= LOG_TOGETHER_MAX && entries[0]->kind == LOG_MESSAGE);
	enum err e = look_for_room(l, entries, together);
	for (size_t i = 0; i < together; i++)
		entries[i]->result = e;
	return e == ERR_OK ? 0 : together;
}

void log_write(struct log *l, struct log_entry **entries, size_t n)
{
	size_t passed;

	if (l->batch == NULL)
		l->batch = MEM_NEW(struct log_batch);
	begin_batch(l);
	for (size_t i = 0; i < n; i += passed > 0 ? passed : 1) {
		assert(entries[i]->kind != LOG_W || log_w_of(entries[i]->head) < l->next_seq);
		passed = refuse_together(l, entries + i, n - i);
		if (passed > 0)
			continue;
		entries[i]->result = find_room(l, entries[i]);
		if (entries[i]->result == ERR_OK)
			add_record(l, l->batch, entries[i]);
	}
	put_batch(l);
}

/* --------------------------------------------------------------------------------------------------------- reading */

enum err log_read(struct log *l, struct log_place place, struct buf *out)
{
	struct log_header h;
	struct str payload;

	buf_reset(out);
	char *p = buf_reserve(out, HEADER + place.length);
	if (p == NULL)
		return ERR_LIMIT;
	TRY(disk_read_all(l->segment[place.segment].file, p, HEADER + place.length, place.offset - HEADER));
	buf_grew(out, HEADER + place.length);
	if (!log_peek(buf_str(out), &h) || h.seq != place.seq || h.length != place.length ||
	    !log_check(l, buf_str(out), &h, &payload)) {
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
