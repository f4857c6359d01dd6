/* Reading a segment: all words of it past a question (segment_scan), or one after the other (cursors, for merging).
 *
 * A scan reads the filters first and takes apart only blocks that may have something; what is read of the lists serves the next word, too. A list
 * and a block are as long as their heads say, which an account that was put back from anywhere may have wrong: everything is checked like
 * input, and whatever does not fit is damage. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "store/index_private.h"

static const uint64_t LIST_MAX = UINT64_C(64) << 20;

static enum err damaged(const struct segment *s, const char *what)
{
	log_error("the search index is damaged; it is made anew segment=%06u what=%s", s->info.number, what);
	return ERR_CORRUPT;
}

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
	return get_u16(&sum) == segment_list_sum(*out) ? ERR_OK : damaged(x->s, "sum of a list");
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
