/* A segment of the index: three files that are written once, front to back.
 *
 * search/N.words has every word, sorted, in blocks of some 32 kB: sum, length, where in the other file its lists begin, entries. An entry is
 * LF, the word, and the length of its list in digits that no UTF-8 has (0xf8 + three bits each). So a block can be searched for any string
 * by memmem(), which is how "udge" is found in BUDGET. A hundred thousand messages have some sixteen megabytes of words, most of them numbers and
 * identifiers that occur once; so search/N.filters has 2 kB for each block, a bit for each three bytes that follow each other in a word of it,
 * and what has a letter that identifiers do not have needs to look at a few blocks only.
 * search/N.lists has the lists in the same order, each after 16 bits of its sum.
 *
 * SQLite's FTS5 was tried on paper: its vocabulary counts lists as it goes, so each look for a part of a word would read the whole index; a
 * second vocabulary beside it costs as much as this file. And it takes ten times longer to fill.
 *
 * Everything read here is checked like input: an account can be put back from anywhere. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "store/index_private.h"
#include <stdio.h>

enum { FILTER_BITS = 14, FILTER_SIZE = 1 << (FILTER_BITS - 3), FILTER_HEAD = 8, FILTER_ENTRY = FILTER_HEAD + FILTER_SIZE, FILTERS_AT_ONCE = 64 };
enum { BLOCK_HEAD = 16, BLOCK_FULL = 32768, BLOCK_MAX = BLOCK_FULL + TERM_MAX + 32, SUM = 2, CHUNK = 256 << 10 };
enum { DIGIT = 0xf8, DIGIT_BITS = 3 };
static const uint64_t LIST_MAX = UINT64_C(64) << 20;

struct segment_names segment_names(uint32_t number)
{
	static const char *const kinds[SEGMENT_FILES] = { "words", "lists", "filters" };
	struct segment_names names;

	for (int i = 0; i < SEGMENT_FILES; i++)
		snprintf(names.of[i], sizeof names.of[i], "%06u.%s", number, kinds[i]);
	return names;
}

static uint16_t sum_of(struct str list) { return (uint16_t)crc32c(0, list.p, list.n); }

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

static void filter_add(uint8_t *filter, struct str word)
{
	for (size_t i = 0; i + 3 <= word.n; i++) {
		unsigned bit = filter_bit(word.p + i);
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

	if (w->block.n == 0)
		w->block_lists_at = w->bytes[LISTS];
	buf_add_char(&w->block, '\n');
	buf_add(&w->block, term);
	filter_add(w->filter, term);
	do
		buf_add_char(&w->block, (char)(DIGIT | (n & 7)));
	while ((n >>= DIGIT_BITS) > 0);
	put_u16(&w->lists_out, sum_of(list));
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

static enum err damaged(const struct segment *s, const char *what)
{
	log_error("the search index is damaged; it is made anew segment=%06u what=%s", s->info.number, what);
	return ERR_CORRUPT;
}

/* ------------------------------------------------------------------------------------------------------------- reading */

/* The block that bytes begins with. */
static enum err read_head(const struct segment *s, struct str bytes, struct str *entries, uint64_t *lists_at)
{
	struct scan head = scan_of(str_sub(bytes, 0, BLOCK_HEAD));
	uint32_t sum = get_u32(&head), n = get_u32(&head);

	*lists_at = get_u64(&head);
	if (head.failed || n == 0 || n > BLOCK_MAX || n > bytes.n - BLOCK_HEAD || *lists_at > s->info.bytes[LISTS])
		return damaged(s, "block");
	*entries = str_sub(bytes, BLOCK_HEAD, n);
	return crc32c(0, entries->p, n) != sum ? damaged(s, "sum of words") : ERR_OK;
}

/* LF word digits */
static bool take_entry(struct scan *s, struct str *term, uint64_t *list_n)
{
	const char *from;
	unsigned shift = 0;

	if (!scan_take(s, '\n'))
		return false;
	for (from = s->p; s->p < s->end && (unsigned char)*s->p < DIGIT; s->p++)
		;
	*term = str_make(from, (size_t)(s->p - from));
	*list_n = 0;
	for (; s->p < s->end && (unsigned char)*s->p >= DIGIT && shift <= 30; s->p++, shift += DIGIT_BITS)
		*list_n |= (uint64_t)((unsigned char)*s->p & 7) << shift;
	return shift > 0 && term->n > 0 && term->n <= TERM_MAX && *list_n <= LIST_MAX;
}

struct scanning {
	struct segment            *s;
	const struct segment_scan *how;
	char                      *lists;      /* CHUNK bytes of the other file */
	uint64_t                   lists_at;
	size_t                     lists_n;
	char                      *long_list;
};

/* A list of n bytes at that place: out of what was read last, or read now with what follows it (the next one is often wanted, too). */
static enum err read_list(struct scanning *x, uint64_t at, uint64_t n, struct str *out)
{
	uint64_t whole = n + SUM;
	char *p;

	if (at > x->s->info.bytes[LISTS] || whole > x->s->info.bytes[LISTS] - at)
		return damaged(x->s, "place of a list");
	if (whole > CHUNK) {
		mem_free(x->long_list);
		p = x->long_list = mem_alloc(whole);
		TRY(disk_read_all(x->s->files[LISTS], p, whole, at));
	} else {
		if (at < x->lists_at || at + whole > x->lists_at + x->lists_n) {
			bool is_near = x->lists_n > 0 && at >= x->lists_at && at < x->lists_at + 2 * CHUNK;
			uint64_t left = x->s->info.bytes[LISTS] - at, wish = is_near ? CHUNK : whole > 4096 ? whole : 4096;
			x->lists_n = 0;
			TRY(disk_read_all(x->s->files[LISTS], x->lists, left < wish ? left : wish, at));
			x->lists_at = at;
			x->lists_n = left < wish ? left : wish;
		}
		p = x->lists + (at - x->lists_at);
	}
	*out = str_make(p + SUM, n);
	struct scan sum = scan_of(str_make(p, SUM));
	return get_u16(&sum) == sum_of(*out) ? ERR_OK : damaged(x->s, "sum of a list");
}

static enum err scan_entries(struct scanning *x, struct str entries, uint64_t lists_at)
{
	struct scan s = scan_of(entries);
	struct str term, bytes;
	uint64_t n;

	while (!scan_done(&s)) {
		if (!take_entry(&s, &term, &n))
			return damaged(x->s, "entry");
		if (x->how->wants(x->how->context, term)) {
			TRY(read_list(x, lists_at, n, &bytes));
			struct list_reader list = { .s = scan_of(bytes) };
			x->how->take(x->how->context, &list);
			if (list.s.failed || list.email > x->s->info.last)
				return damaged(x->s, "list");
		}
		lists_at += SUM + n;
	}
	return ERR_OK;
}

static enum err scan_block(struct scanning *x, uint64_t at, size_t n)
{
	struct str entries;
	uint64_t lists_at;

	TRY(disk_read_all(x->s->files[WORDS], x->how->room->block, n, at));
	TRY(read_head(x->s, str_make(x->how->room->block, n), &entries, &lists_at));
	if (entries.n + BLOCK_HEAD != n)
		return damaged(x->s, "length of a block");
	return x->how->looks_at(x->how->context, entries) ? scan_entries(x, entries, lists_at) : ERR_OK;
}

/* The filters of some blocks, the first of which lies at *at; the first one of all is always looked at, for TERM_UNSURE. */
static enum err scan_filters(struct scanning *x, struct str bytes, uint64_t *at)
{
	for (; bytes.n >= FILTER_ENTRY; bytes = str_from(bytes, FILTER_ENTRY)) {
		struct scan head = scan_of(str_sub(bytes, 0, FILTER_HEAD));
		uint32_t sum = get_u32(&head), n = get_u32(&head);
		if (sum != crc32c(0, bytes.p + 4, FILTER_ENTRY - 4) || n < BLOCK_HEAD || n > BLOCK_HEAD + BLOCK_MAX || n > x->s->info.bytes[WORDS] - *at)
			return damaged(x->s, "filter");
		if (*at == 0 || x->how->may_have(x->how->context, (const uint8_t *)bytes.p + FILTER_HEAD))
			TRY(scan_block(x, *at, n));
		*at += n;
	}
	return ERR_OK;
}

static enum err scan_all(struct scanning *x)
{
	uint64_t size = x->s->info.bytes[FILTERS], block_at = 0;

	for (uint64_t at = 0; at < size; at += FILTERS_AT_ONCE * FILTER_ENTRY) {
		size_t n = size - at < FILTERS_AT_ONCE * FILTER_ENTRY ? (size_t)(size - at) : FILTERS_AT_ONCE * FILTER_ENTRY;
		TRY(disk_read_all(x->s->files[FILTERS], x->how->room->filters, n, at));
		TRY(scan_filters(x, str_make(x->how->room->filters, n), &block_at));
	}
	return block_at == x->s->info.bytes[WORDS] ? ERR_OK : damaged(x->s, "number of blocks");
}

enum err segment_scan(struct segment *s, const struct segment_scan *how)
{
	struct scanning x = { .s = s, .how = how };
	enum err e;

	if (how->room->lists == NULL) {
		how->room->filters = mem_resize(NULL, FILTERS_AT_ONCE * FILTER_ENTRY);
		how->room->block = mem_resize(NULL, BLOCK_HEAD + BLOCK_MAX);
		how->room->lists = mem_resize(NULL, CHUNK);
	}
	x.lists = how->room->lists;
	e = scan_all(&x);
	mem_free(x.long_list);
	return e;
}

void segment_room_free(struct segment_room *room)
{
	mem_free(room->filters);
	mem_free(room->block);
	mem_free(room->lists);
}

/* ------------------------------------------------------------------------------------------------------------- cursors */

struct segment_cursor {
	struct scanning x;
	char           *block;
	uint64_t        words_at, lists_at;
	struct scan     entries;
};

enum err segment_cursor_begin(struct segment *s, struct segment_cursor **out)
{
	struct segment_cursor *c = MEM_NEW(struct segment_cursor);

	segment_use(s);
	c->x = (struct scanning){ .s = s, .lists = mem_alloc(CHUNK) };
	c->block = mem_alloc(BLOCK_HEAD + BLOCK_MAX);
	c->entries = scan_of(STR(""));
	*out = c;
	return ERR_OK;
}

void segment_cursor_end(struct segment_cursor **c)
{
	if (*c == NULL)
		return;
	segment_release((*c)->x.s);
	mem_free((*c)->x.lists);
	mem_free((*c)->x.long_list);
	mem_free((*c)->block);
	mem_free(*c);
	*c = NULL;
}

static enum err next_block(struct segment_cursor *c)
{
	uint64_t left = c->x.s->info.bytes[WORDS] - c->words_at;
	size_t n = left < BLOCK_HEAD + BLOCK_MAX ? (size_t)left : BLOCK_HEAD + BLOCK_MAX;
	struct str entries;

	if (n < BLOCK_HEAD)
		return damaged(c->x.s, "end of words");
	TRY(disk_read_all(c->x.s->files[WORDS], c->block, n, c->words_at));
	TRY(read_head(c->x.s, str_make(c->block, n), &entries, &c->lists_at));
	c->words_at += BLOCK_HEAD + entries.n;
	c->entries = scan_of(entries);
	return ERR_OK;
}

enum err segment_cursor_next(struct segment_cursor *c, struct str *term, struct str *list)
{
	uint64_t n;

	*term = STR_NONE;
	if (scan_done(&c->entries)) {
		if (c->words_at == c->x.s->info.bytes[WORDS])
			return ERR_OK;
		TRY(next_block(c));
	}
	if (!take_entry(&c->entries, term, &n))
		return damaged(c->x.s, "entry");
	TRY(read_list(&c->x, c->lists_at, n, list));
	c->lists_at += SUM + n;
	return ERR_OK;
}
