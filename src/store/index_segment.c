/* A segment of the index: three files that are written once, front to back.
 *
 * search/N.words has every word, sorted, in blocks of some 32 kB: sum, length, where in the other file its lists begin, entries. An entry is
 * LF, the word, and the length of its list in digits that no UTF-8 has (0xf8 + three bits each). So a block can be searched for any string
 * by memmem(), which is how "udge" is found in BUDGET. A hundred thousand messages have some sixteen megabytes of words, most of them numbers and
 * identifiers that occur once; so search/N.filters has 2 kB for each block, a bit for each three bytes that follow each other in a word of it
 * (its beginning and its end count as a byte), and what has a letter that identifiers do not have needs to look at a few blocks only.
 * search/N.lists has the lists in the same order, each after 16 bits of its sum.
 *
 * SQLite's FTS5 was tried on paper: its vocabulary counts lists as it goes, so each look for a part of a word would read the whole index; a
 * second vocabulary beside it costs as much as this file. And it takes ten times longer to fill.
 *
 * Everything read here is checked like input: an account can be put back from anywhere. */
#include "base/bytes.h"
#include "base/mem.h"
#include "base/wire.h"
#include "store/index_private.h"
#include <assert.h>
#include <stdio.h>

struct segment_names segment_names(uint32_t number)
{
	static const char *const kinds[SEGMENT_FILES] = { "words", "lists", "filters" };
	struct segment_names names;

	for (int i = 0; i < SEGMENT_FILES; i++)
		snprintf(names.of[i], sizeof names.of[i], "%06u.%s", number, kinds[i]);
	return names;
}

/* -------------------------------------------------------------------------------------------------------------- lists */

static void put_varint(struct buf *b, uint64_t v)
{
	while (v >= 0x80) {
		buf_add_char(b, (char)(v | 0x80));
		v >>= 7;
	}
	buf_add_char(b, (char)v);
}

static uint64_t get_varint(struct scan *s)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 35 && s->p < s->end; shift += 7) {
		unsigned char c = (unsigned char)*s->p++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	scan_fail(s);
	return 0;
}

void list_put(struct list_writer *w, struct buf *b, uint32_t email, uint8_t fields)
{
	put_varint(b, (uint64_t)(email - w->email) << 1 | (fields != w->fields));
	if (fields != w->fields)
		buf_add_char(b, (char)fields);
	*w = (struct list_writer){ email, fields };
}

bool list_next(struct list_reader *r)
{
	if (scan_done(&r->s))
		return false;
	uint64_t v = get_varint(&r->s), email = r->email + (v >> 1);
	if ((v & 1) && scan_done(&r->s))
		scan_fail(&r->s);
	if (r->s.failed || (v >> 1) == 0 || email > UINT32_MAX) {
		scan_fail(&r->s);
		return false;
	}
	r->email = (uint32_t)email;
	if (v & 1)
		r->fields = (uint8_t)*r->s.p++;
	return true;
}

/* ------------------------------------------------------------------------------------------------------------- writing */

static unsigned filter_bit(const char *p)
{
	uint32_t three = (uint32_t)(unsigned char)p[0] | (uint32_t)(unsigned char)p[1] << 8 | (uint32_t)(unsigned char)p[2] << 16;

	return three * UINT32_C(0x9e3779b1) >> (32 - FILTER_BITS);
}

/* A word with an LF on both sides, so that its beginning and its end can be asked for; a plain form without what marks it. */
static void filter_add(uint8_t *filter, struct str word)
{
	char whole[TERM_MAX + 2];
	size_t n = 0;

	word = word.p[0] == TERM_PLAIN ? str_from(word, 1) : word;
	whole[n++] = '\n';
	memcpy(whole + n, word.p, word.n);
	n += word.n;
	whole[n++] = '\n';
	for (size_t i = 0; i + 3 <= n; i++) {
		unsigned bit = filter_bit(whole + i);
		filter[bit / 8] |= (uint8_t)(1 << bit % 8);
	}
}

bool segment_filter_has(const uint8_t *filter, struct str bytes)
{
	for (size_t i = 0; i + 3 <= bytes.n; i++) {
		unsigned bit = filter_bit(bytes.p + i);
		if (!(filter[bit / 8] >> bit % 8 & 1))
			return false;
	}
	return true;
}

struct segment_writer {
	struct disk_dir  *dir;
	uint32_t          number;
	struct disk_file *files[SEGMENT_FILES];
	uint64_t          bytes[SEGMENT_FILES];   /* written or to be written */
	struct buf        block, lists_out, filters_out;
	uint64_t          block_lists_at;
	uint8_t           filter[FILTER_SIZE];    /* of the block */
};

static void writer_close(struct segment_writer *w)
{
	for (int i = 0; i < SEGMENT_FILES; i++)
		disk_close(&w->files[i]);
	buf_free(&w->block);
	buf_free(&w->lists_out);
	buf_free(&w->filters_out);
	mem_free(w);
}

void segment_abandon(struct segment_writer **w)
{
	if (*w == NULL)
		return;
	struct segment_names names = segment_names((*w)->number);
	for (int i = 0; i < SEGMENT_FILES; i++)
		(void)!disk_remove((*w)->dir, names.of[i]);  /* what stays is removed at the next opening */
	writer_close(*w);
	*w = NULL;
}

enum err segment_begin(struct disk_dir *dir, uint32_t number, struct segment_writer **out)
{
	struct segment_writer *w = MEM_NEW(struct segment_writer);
	struct segment_names names = segment_names(number);
	enum err e = ERR_OK;

	w->dir = dir;
	w->number = number;
	w->block = BUF(BLOCK_HEAD + BLOCK_MAX);
	w->lists_out = BUF(SIZE_MAX / 2);
	w->filters_out = BUF(SIZE_MAX / 2);
	for (int i = 0; i < SEGMENT_FILES && e == ERR_OK; i++)
		e = disk_open(dir, names.of[i], DISK_NEW, &w->files[i]);
	*out = w;
	if (e != ERR_OK)
		segment_abandon(out);
	return e;
}

/* What waits for the end of that file. */
static enum err flush(struct segment_writer *w, enum segment_file file, struct buf *out)
{
	if (out->n > 0)
		TRY(disk_pwrite(w->files[file], out->p, out->n, w->bytes[file] - out->n));
	buf_reset(out);
	return ERR_OK;
}

static enum err put_filter(struct segment_writer *w, size_t block_bytes)
{
	CLEANUP(buf_free) struct buf entry = BUF(FILTER_ENTRY);

	put_u32(&entry, (uint32_t)block_bytes);
	buf_add_bytes(&entry, w->filter, FILTER_SIZE);
	put_u32(&w->filters_out, crc32c(0, entry.p, entry.n));
	buf_add(&w->filters_out, buf_str(&entry));
	w->bytes[FILTERS] += FILTER_ENTRY;
	memset(w->filter, 0, FILTER_SIZE);
	return w->filters_out.n >= CHUNK ? flush(w, FILTERS, &w->filters_out) : ERR_OK;
}

static enum err flush_block(struct segment_writer *w)
{
	CLEANUP(buf_free) struct buf head = BUF(BLOCK_HEAD);
	struct iovec pieces[2];

	if (w->block.n == 0)
		return ERR_OK;
	put_u32(&head, crc32c(0, w->block.p, w->block.n));
	put_u32(&head, (uint32_t)w->block.n);
	put_u64(&head, w->block_lists_at);
	pieces[0] = (struct iovec){ head.p, head.n };
	pieces[1] = (struct iovec){ w->block.p, w->block.n };
	TRY(disk_pwritev(w->files[WORDS], pieces, 2, w->bytes[WORDS]));
	w->bytes[WORDS] += head.n + w->block.n;
	TRY(put_filter(w, head.n + w->block.n));
	buf_reset(&w->block);
	return ERR_OK;
}

enum err segment_put(struct segment_writer *w, struct str term, struct str list)
{
	uint64_t n = list.n;

	assert(term.n > 0 && term.n <= TERM_MAX);
	if (w->block.n == 0)
		w->block_lists_at = w->bytes[LISTS];
	buf_add_char(&w->block, '\n');
	buf_add(&w->block, term);
	filter_add(w->filter, term);
	do
		buf_add_char(&w->block, (char)(DIGIT | (n & 7)));
	while ((n >>= DIGIT_BITS) > 0);
	put_u16(&w->lists_out, segment_list_sum(list));
	buf_add(&w->lists_out, list);
	w->bytes[LISTS] += SUM + list.n;
	if (w->block.n >= BLOCK_FULL)
		TRY(flush_block(w));
	return w->lists_out.n >= CHUNK ? flush(w, LISTS, &w->lists_out) : ERR_OK;
}

enum err segment_end(struct segment_writer **out, struct segment_info *info)
{
	struct segment_writer *w = *out;
	enum err e = flush_block(w);

	if (e == ERR_OK)
		e = flush(w, LISTS, &w->lists_out);
	if (e == ERR_OK)
		e = flush(w, FILTERS, &w->filters_out);
	for (int i = 0; i < SEGMENT_FILES && e == ERR_OK; i++)
		e = disk_sync(w->files[i]);
	if (e != ERR_OK) {
		segment_abandon(out);
		return e;
	}
	info->number = w->number;
	memcpy(info->bytes, w->bytes, sizeof info->bytes);
	writer_close(w);
	*out = NULL;
	return ERR_OK;
}

/* -------------------------------------------------------------------------------------------------------- open segments */

static enum err open_whole(struct disk_dir *dir, const char *name, uint64_t size, struct disk_file **out)
{
	uint64_t is;

	TRY(disk_open(dir, name, DISK_READ, out));
	TRY(disk_size(*out, &is));
	return is == size ? ERR_OK : ERR_CORRUPT;
}

enum err segment_open(struct disk_dir *dir, const struct segment_info *info, struct segment **out)
{
	struct segment *s = MEM_NEW(struct segment);
	struct segment_names names = segment_names(info->number);
	enum err e = ERR_OK;

	s->info = *info;
	atomic_store(&s->users, 1);
	for (int i = 0; i < SEGMENT_FILES && e == ERR_OK; i++)
		e = open_whole(dir, names.of[i], info->bytes[i], &s->files[i]);
	if (e != ERR_OK) {
		segment_release(s);
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	}
	*out = s;
	return ERR_OK;
}

void segment_use(struct segment *s) { atomic_fetch_add(&s->users, 1); }

void segment_release(struct segment *s)
{
	if (atomic_fetch_sub(&s->users, 1) > 1)
		return;
	for (int i = 0; i < SEGMENT_FILES; i++)
		disk_close(&s->files[i]);
	mem_free(s);
}
