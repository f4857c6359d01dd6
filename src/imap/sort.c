/* SORT (RFC 5256 §3), with the display names of RFC 5957, RELEVANCY of RFC 6203 and the answers of RFC 5267 §3.
 *
 * What a message is sorted by is its gist (store/gist.h), asked for once, as it is found: never the message. Texts in it are folded as
 * SEARCH compares them (i;unicode-casemap, RFC 5051), so that the comparisons are of bytes. Equal messages stay in the order of the mailbox, also under REVERSE (RFC 5256 §3: the last criterion is the sequence number). */
#include "base/clock.h"
#include "imap/context_private.h"
#include <stdlib.h>

enum { SORT_CRITERIA_MAX = 20 };

enum sort_by { BY_ARRIVAL, BY_CC, BY_DATE, BY_FROM, BY_SIZE, BY_SUBJECT, BY_TO, BY_DISPLAYFROM, BY_DISPLAYTO, BY_RELEVANCY };

struct criterion {
	enum sort_by by;
	bool         is_reverse;
};

union key {
	int64_t    number;
	struct str text;
};

struct item {
	uint32_t   number, uid;      /* as the command counts, and the UID; in the order of the mailbox */
	uint64_t   modseq;
	uint8_t    relevancy;
	uint64_t   start;            /* of the first key, behind what all have in common: compared as the key is, and most comparisons end here */
	union key *keys;             /* one a criterion */
};

struct sorting {
	struct imap_cmd     *c;
	struct search       *q;
	struct criterion     criteria[SORT_CRITERIA_MAX];
	size_t               n_criteria;
	struct item         *items;
	size_t               n_items, items_cap;
};

static bool is_text(enum sort_by by) { return by != BY_ARRIVAL && by != BY_DATE && by != BY_SIZE && by != BY_RELEVANCY; }

static enum gist_text text_of(enum sort_by by)
{
	switch (by) {
	case BY_CC:
		return GIST_CC;
	case BY_FROM:
		return GIST_FROM;
	case BY_TO:
		return GIST_TO;
	case BY_DISPLAYFROM:
		return GIST_DISPLAYFROM;
	case BY_DISPLAYTO:
		return GIST_DISPLAYTO;
	default:
		return GIST_SUBJECT;
	}
}

/* Eight bytes of a text from there on, as a number that is compared like them; a number, moved above zero. */
static uint64_t start_of(const union key *key, bool is_a_text, size_t from)
{
	uint64_t start = 0;

	if (!is_a_text)
		return (uint64_t)key->number ^ UINT64_C(1) << 63;
	for (size_t i = from; i < from + 8; i++)
		start = start << 8 | (i < key->text.n ? (unsigned char)key->text.p[i] : 0);
	return start;
}

/* Subjects of a list, or of a program that reports, begin alike, often with more than eight bytes. */
static void skip_what_all_have(struct sorting *x)
{
	struct str first = x->items[0].keys[0].text;
	size_t shared = first.n, n;

	for (size_t i = 1; i < x->n_items && shared > 0; i++) {
		struct str text = x->items[i].keys[0].text;
		for (n = 0; n < shared && n < text.n && text.p[n] == first.p[n]; n++)
			;
		shared = n;
	}
	for (size_t i = 0; i < x->n_items; i++)
		x->items[i].start = start_of(&x->items[i].keys[0], true, shared);
}

static union key key_of(const struct sorting *x, const struct gist *g, enum sort_by by)
{
	if (is_text(by))
		return (union key){ .text = g->texts[text_of(by)] };
	if (by == BY_RELEVANCY)
		return (union key){ .number = -(int64_t)x->q->relevancy };  /* the highest first */
	return (union key){ .number = by == BY_SIZE ? (int64_t)g->size : by == BY_DATE ? g->sent : g->received };
}

static void add_item(void *context, const struct message_row *row, const struct gist *gist)
{
	struct sorting *x = context;
	struct arena *a = &x->c->arena;
	union key *keys = arena_array(a, x->n_criteria, sizeof *keys);

	for (size_t i = 0; i < x->n_criteria; i++)
		keys[i] = key_of(x, gist, x->criteria[i].by);
	if (x->n_items == x->items_cap)
		x->items = arena_grow(a, x->items, x->n_items, &x->items_cap, sizeof *x->items);
	x->items[x->n_items++] = (struct item){ x->c->is_uid ? row->uid : row->seq, row->uid, row->modseq, (uint8_t)x->q->relevancy,
	                                        start_of(keys, is_text(x->criteria[0].by), 0), keys };
}

static unsigned wanted(const struct sorting *x)
{
	unsigned wants = 0;

	for (size_t i = 0; i < x->n_criteria; i++)
		wants |= is_text(x->criteria[i].by) ? GIST_TEXT(text_of(x->criteria[i].by)) : x->criteria[i].by == BY_DATE ? GIST_SENT : 0;
	return wants;
}

static int compare(const void *left, const void *right, void *context)
{
	const struct item *a = left, *b = right;
	const struct sorting *x = context;

	if (a->start != b->start)
		return (a->start < b->start) != x->criteria[0].is_reverse ? -1 : 1;
	for (size_t i = 0; i < x->n_criteria; i++) {
		const union key *k = &a->keys[i], *l = &b->keys[i];
		int order = is_text(x->criteria[i].by) ? str_cmp(k->text, l->text) : (k->number > l->number) - (k->number < l->number);
		if (order != 0)
			return x->criteria[i].is_reverse ? -order : order;
	}
	return (a->uid > b->uid) - (a->uid < b->uid);
}

/* sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"; sort-criterion = ["REVERSE" SP] sort-key      RFC 5256 §5 */
static void parse_criteria(struct imap_cmd *c, struct sorting *x)
{
	static const struct { const char *word; enum sort_by by; } words[] = {
		{ "ARRIVAL", BY_ARRIVAL }, { "CC", BY_CC }, { "DATE", BY_DATE }, { "FROM", BY_FROM }, { "SIZE", BY_SIZE },
		{ "SUBJECT", BY_SUBJECT }, { "TO", BY_TO }, { "DISPLAYFROM", BY_DISPLAYFROM }, { "DISPLAYTO", BY_DISPLAYTO },
		{ "RELEVANCY", BY_RELEVANCY },
	};

	scan_need(&c->args, '(');
	do {
		bool is_reverse = imap_word(&c->args, "REVERSE");
		size_t i = 0;
		if (is_reverse)
			imap_sp(&c->args);
		while (i < COUNT_OF(words) && !imap_word(&c->args, words[i].word))
			i++;
		if (i == COUNT_OF(words) || x->n_criteria == SORT_CRITERIA_MAX)
			scan_fail(&c->args);
		else
			x->criteria[x->n_criteria++] = (struct criterion){ words[i].by, is_reverse };
		x->q->wants_relevancy |= i < COUNT_OF(words) && words[i].by == BY_RELEVANCY;
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	imap_sp(&c->args);
}

static void collect(struct sorting *x, const struct search *q, struct found *f)
{
	struct arena *a = &x->c->arena;
	uint32_t *order = arena_array(a, x->n_items, sizeof *order), *uids = arena_array(a, x->n_items, sizeof *uids);

	for (size_t i = 0; i < x->n_items; i++) {
		order[i] = x->items[i].number;
		uids[i] = x->items[i].uid;
		if (x->items[i].modseq > f->modseq)
			f->modseq = x->items[i].modseq;
		if (q->returns & (RETURN_SAVE | RETURN_UPDATE))
			uid_set_push(&f->uids, a, uids[i], uids[i]);
	}
	uid_set_sort(&f->uids);
	if (q->returns & RETURN_RELEVANCY) {
		f->relevancy = arena_array(a, x->n_items, 1);
		for (size_t i = 0; i < x->n_items; i++)
			f->relevancy[i] = x->items[i].relevancy;
	}
	f->count = x->n_items;
	f->order = order;
	f->order_uids = uids;
	if (x->n_items == 0)
		return;
	const struct item *first = x->items, *last = x->items + x->n_items - 1;
	f->min = first->number;
	f->min_uid = first->uid;
	f->min_modseq = first->modseq;
	f->max = last->number;
	f->max_uid = last->uid;
	f->max_modseq = last->modseq;
}

/* ---------------------------------------------------------------------------------------- results that are kept up to date */

static void keep_item(struct sorting *to, const struct item *from)
{
	struct arena *a = &to->c->arena;
	struct item *kept = &to->items[to->n_items++];

	*kept = *from;
	kept->keys = arena_array(a, to->n_criteria, sizeof *kept->keys);
	for (size_t i = 0; i < to->n_criteria; i++) {
		kept->keys[i] = from->keys[i];
		if (is_text(to->criteria[i].by))
			kept->keys[i].text = str_copy(a, from->keys[i].text);
	}
	kept->start = start_of(&kept->keys[0], is_text(to->criteria[0].by), 0);  /* what comes later may begin otherwise */
}

struct sorting *sort_keep(const struct sorting *from, struct imap_cmd *c, struct search *q)
{
	struct sorting *kept = ARENA_NEW(&c->arena, struct sorting);

	*kept = *from;
	kept->c = c;
	kept->q = q;
	kept->n_items = 0;
	kept->items_cap = from->n_items + 1;
	kept->items = arena_array(&c->arena, kept->items_cap, sizeof *kept->items);
	for (size_t i = 0; i < from->n_items; i++)
		keep_item(kept, &from->items[i]);
	return kept;
}

static size_t place_of(const struct sorting *kept, const struct item *item)
{
	size_t low = 0, high = kept->n_items;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (compare(&kept->items[mid], item, (void *)(uintptr_t)kept) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

enum err sort_add(struct imap_session *s, struct sorting *kept, sort_placed *placed, void *context)
{
	struct sorting more = *kept;

	more.items = NULL;
	more.n_items = more.items_cap = 0;
	TRY(search_run_gists(s, kept->q, wanted(kept), &kept->c->arena, add_item, &more));
	for (size_t i = 0; i < more.n_items; i++) {
		size_t at = place_of(kept, &more.items[i]);
		if (kept->n_items == kept->items_cap)
			kept->items = arena_grow(&kept->c->arena, kept->items, kept->n_items, &kept->items_cap, sizeof *kept->items);
		memmove(&kept->items[at + 1], &kept->items[at], (kept->n_items - at) * sizeof *kept->items);
		kept->items[at] = more.items[i];
		kept->n_items++;
		placed(context, more.items[i].uid, at + 1);
	}
	return ERR_OK;
}

size_t sort_remove(struct sorting *kept, uint32_t uid)
{
	for (size_t i = 0; i < kept->n_items; i++) {
		if (kept->items[i].uid != uid)
			continue;
		memmove(&kept->items[i], &kept->items[i + 1], (kept->n_items - i - 1) * sizeof *kept->items);
		kept->n_items--;
		return i + 1;
	}
	return 0;
}

/* SORT [RETURN (…)] sort-criteria SP charset SP search-keys                               RFC 5256 §3, RFC 5267 §3 */
struct imap_reply imap_sort(struct imap_session *s, struct imap_cmd *c)
{
	struct search q = { .now = clock_wall_s() };
	struct sorting sorting = { .c = c, .q = &q }, *x = &sorting;
	struct found found = { 0 };
	enum err e;

	search_parse_return(s, c, &q);
	parse_criteria(c, x);
	if (!search_parse_charset(c, &q) || !search_parse_program(s, c, &q) || !search_relevancy_is_allowed(c, &q) ||
	    !search_update_is_allowed(s, c, &q))
		return search_refuse(s, c, &q, "[RETURN (MIN MAX ALL COUNT SAVE PARTIAL RELEVANCY UPDATE)] (criteria) charset search-keys");
	if (search_limit(s, c, &q))
		return imap_limit_refuse(s, c);
	e = search_run_gists(s, &q, wanted(x), &c->arena, add_item, x);
	if (e == ERR_OK) {
		if (x->n_items > 0 && is_text(x->criteria[0].by))
			skip_what_all_have(x);
		if (x->n_items > 0)
			qsort_r(x->items, x->n_items, sizeof *x->items, compare, x);
		collect(x, &q, &found);
		if (q.returns & RETURN_UPDATE)
			context_begin(s, c, &q, &found, x);
	}
	return search_answer(s, c, "SORT", &q, &found, e);
}
