/* A segment of the index: two files that are written once, front to back.
 *
 * search/N.words has every word, sorted, in blocks of some 32 kB: sum, length, where in the other file its lists begin, entries. An entry is
 * LF, the word, and the length of its list in digits that no UTF-8 has (0xf8 + three bits each). So a block can be searched for any string
 * by memmem(), which is how "udge" is found in BUDGET: a hundred thousand messages have some ten megabytes of words, and going through them
 * takes a few milliseconds, less than any structure would that answers for the middle of words, and costs no bytes.
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

enum { BLOCK_HEAD = 16, BLOCK_FULL = 32768, BLOCK_MAX = BLOCK_FULL + TERM_MAX + 32, SUM = 2, CHUNK = 256 << 10, CURSOR_CHUNK = 64 << 10 };
enum { DIGIT = 0xf8, DIGIT_BITS = 3 };
static const uint64_t LIST_MAX = UINT64_C(64) << 20;

void segment_names(uint32_t number, char words[32], char lists[32])
{
	snprintf(words, 32, "%06u.words", number);
	snprintf(lists, 32, "%06u.lists", number);
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

struct segment_writer {
	struct disk_dir  *dir;
	uint32_t          number;
	struct disk_file *words, *lists;
	struct buf        block, lists_out;
	uint64_t          words_bytes, lists_bytes;   /* written or to be written */
	uint64_t          block_lists_at;
};

static void writer_close(struct segment_writer *w)
{
	disk_close(&w->words);
	disk_close(&w->lists);
	buf_free(&w->block);
	buf_free(&w->lists_out);
	mem_free(w);
}

void segment_abandon(struct segment_writer **w)
{
	char words[32], lists[32];

	if (*w == NULL)
		return;
	segment_names((*w)->number, words, lists);
	(void)!disk_remove((*w)->dir, words);  /* what stays is removed at the next opening */
	(void)!disk_remove((*w)->dir, lists);
	writer_close(*w);
	*w = NULL;
}

enum err segment_begin(struct disk_dir *dir, uint32_t number, struct segment_writer **out)
{
	struct segment_writer *w = MEM_NEW(struct segment_writer);
	char words[32], lists[32];
	enum err e;

	segment_names(number, words, lists);
	w->dir = dir;
	w->number = number;
	w->block = BUF(BLOCK_HEAD + BLOCK_MAX);
	w->lists_out = BUF(SIZE_MAX / 2);
	e = disk_open(dir, words, DISK_NEW, &w->words);
	if (e == ERR_OK)
		e = disk_open(dir, lists, DISK_NEW, &w->lists);
	*out = w;
	if (e != ERR_OK)
		segment_abandon(out);
	return e;
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
	TRY(disk_pwritev(w->words, pieces, 2, w->words_bytes));
	w->words_bytes += head.n + w->block.n;
	buf_reset(&w->block);
	return ERR_OK;
}

static enum err flush_lists(struct segment_writer *w)
{
	TRY(disk_pwrite(w->lists, w->lists_out.p, w->lists_out.n, w->lists_bytes - w->lists_out.n));
	buf_reset(&w->lists_out);
	return ERR_OK;
}

enum err segment_put(struct segment_writer *w, struct str term, struct str list)
{
	uint64_t n = list.n;

	if (w->block.n == 0)
		w->block_lists_at = w->lists_bytes;
	buf_add_char(&w->block, '\n');
	buf_add(&w->block, term);
	do
		buf_add_char(&w->block, (char)(DIGIT | (n & 7)));
	while ((n >>= DIGIT_BITS) > 0);
	put_u16(&w->lists_out, sum_of(list));
	buf_add(&w->lists_out, list);
	w->lists_bytes += SUM + list.n;
	if (w->block.n >= BLOCK_FULL)
		TRY(flush_block(w));
	return w->lists_out.n >= CHUNK ? flush_lists(w) : ERR_OK;
}

enum err segment_end(struct segment_writer **out, struct segment_info *info)
{
	struct segment_writer *w = *out;
	enum err e = flush_block(w);

	if (e == ERR_OK && w->lists_out.n > 0)
		e = flush_lists(w);
	if (e == ERR_OK)
		e = disk_sync(w->words);
	if (e == ERR_OK)
		e = disk_sync(w->lists);
	if (e != ERR_OK) {
		segment_abandon(out);
		return e;
	}
	info->number = w->number;
	info->words_bytes = w->words_bytes;
	info->lists_bytes = w->lists_bytes;
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
	char words[32], lists[32];
	enum err e;

	segment_names(info->number, words, lists);
	s->info = *info;
	atomic_store(&s->users, 1);
	e = open_whole(dir, words, info->words_bytes, &s->words);
	if (e == ERR_OK)
		e = open_whole(dir, lists, info->lists_bytes, &s->lists);
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
	disk_close(&s->words);
	disk_close(&s->lists);
	mem_free(s);
}

static enum err damaged(const struct segment *s, const char *what)
{
	log_error("the search index is damaged; it is made anew segment=%06u what=%s", s->info.number, what);
	return ERR_CORRUPT;
}

/* ------------------------------------------------------------------------------------------------------------- reading */

/* A block at p; *entries, *lists_at. The sum is looked at when must_check. */
static enum err read_head(const struct segment *s, struct str bytes, bool must_check, struct str *entries, uint64_t *lists_at)
{
	struct scan head = scan_of(str_sub(bytes, 0, BLOCK_HEAD));
	uint32_t sum = get_u32(&head), n = get_u32(&head);

	*lists_at = get_u64(&head);
	if (head.failed || n == 0 || n > BLOCK_MAX || n > bytes.n - BLOCK_HEAD || *lists_at > s->info.lists_bytes)
		return damaged(s, "block");
	*entries = str_sub(bytes, BLOCK_HEAD, n);
	return must_check && crc32c(0, entries->p, n) != sum ? damaged(s, "sum of words") : ERR_OK;
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

	if (at > x->s->info.lists_bytes || whole > x->s->info.lists_bytes - at)
		return damaged(x->s, "place of a list");
	if (whole > CHUNK) {
		mem_free(x->long_list);
		p = x->long_list = mem_alloc(whole);
		TRY(disk_read_all(x->s->lists, p, whole, at));
	} else {
		if (at < x->lists_at || at + whole > x->lists_at + x->lists_n) {
			bool is_near = x->lists_n > 0 && at >= x->lists_at && at < x->lists_at + 2 * CHUNK;
			uint64_t left = x->s->info.lists_bytes - at, wish = is_near ? CHUNK : whole > 4096 ? whole : 4096;
			x->lists_n = 0;
			TRY(disk_read_all(x->s->lists, x->lists, left < wish ? left : wish, at));
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

static enum err scan_all(struct scanning *x, char *chunk)
{
	bool must_check = !atomic_load(&x->s->is_checked);
	uint64_t at = 0, size = x->s->info.words_bytes;

	while (at < size) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK, used = 0;
		TRY(disk_read_all(x->s->words, chunk, n, at));
		while (used < n) {
			struct str left = str_make(chunk + used, n - used), entries;
			uint64_t lists_at;
			if (left.n < BLOCK_HEAD + BLOCK_MAX && at + n < size)
				break;  /* perhaps not all of a block; read again from here */
			if (left.n < BLOCK_HEAD)
				return damaged(x->s, "end of words");
			TRY(read_head(x->s, left, must_check, &entries, &lists_at));
			if (x->how->looks_at(x->how->context, entries))
				TRY(scan_entries(x, entries, lists_at));
			used += BLOCK_HEAD + entries.n;
		}
		at += used;
	}
	atomic_store(&x->s->is_checked, true);
	return ERR_OK;
}

enum err segment_scan(struct segment *s, const struct segment_scan *how)
{
	struct scanning x = { .s = s, .how = how };
	enum err e;

	if (how->room->words == NULL) {
		how->room->words = mem_resize(NULL, CHUNK);
		how->room->lists = mem_resize(NULL, CHUNK);
	}
	x.lists = how->room->lists;
	e = scan_all(&x, how->room->words);
	mem_free(x.long_list);
	return e;
}

void segment_room_free(struct segment_room *room)
{
	mem_free(room->words);
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
	uint64_t left = c->x.s->info.words_bytes - c->words_at;
	size_t n = left < BLOCK_HEAD + BLOCK_MAX ? (size_t)left : BLOCK_HEAD + BLOCK_MAX;
	struct str entries;

	if (n < BLOCK_HEAD)
		return damaged(c->x.s, "end of words");
	TRY(disk_read_all(c->x.s->words, c->block, n, c->words_at));
	TRY(read_head(c->x.s, str_make(c->block, n), true, &entries, &c->lists_at));
	c->words_at += BLOCK_HEAD + entries.n;
	c->entries = scan_of(entries);
	return ERR_OK;
}

enum err segment_cursor_next(struct segment_cursor *c, struct str *term, struct str *list)
{
	uint64_t n;

	*term = STR_NONE;
	if (scan_done(&c->entries)) {
		if (c->words_at == c->x.s->info.words_bytes)
			return ERR_OK;
		TRY(next_block(c));
	}
	if (!take_entry(&c->entries, term, &n))
		return damaged(c->x.s, "entry");
	TRY(read_list(&c->x, c->lists_at, n, list));
	c->lists_at += SUM + n;
	return ERR_OK;
}
