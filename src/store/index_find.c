/* What the index says about strings.
 *
 * A needle becomes patterns (parts of words, words that something should resemble), each once however many needles have it: a client that
 * looks in From, Subject and text asks for the same word three times. Then all words of all segments are gone through, a block at a time: only
 * a block that has the bytes of a pattern is taken apart. A pattern keeps a byte for each email: the fields that have it, or how relevant it is.
 *
 * Who looks for words that resemble gets plurals, accents and beginnings at the first look; when nothing has a word at all, a second one
 * takes words with one letter wrong. */
#include "store/index_private.h"
#include "text/fold.h"
#include "text/words.h"

enum { PATTERNS_MAX = 64, WORDS_MAX = NEEDLE_PARTS_MAX, RELEVANCY_MAX = 100 };
static const size_t MARKS_MAX = (size_t)64 << 20;   /* bytes of one search */

struct pattern {
	struct needle_part part;     /* of the text; is_like: the word that is wanted */
	struct str         bytes;    /* are in every entry that matches: LF, word */
	struct str         outline;  /* the same for segment_filter_has() */
	bool               is_like, is_mistyped;   /* is_mistyped: nothing was found otherwise */
	unsigned           fields;   /* is_like */
	uint8_t           *marks;    /* by email: fields, or relevancy */
	bool               has_any;
	unsigned           like;     /* of the word at hand; 0: it does not match */
	const char        *next;     /* where its bytes come next in the block at hand; NULL: not looked for yet */
};

struct index_hits {
	size_t          n;           /* 0: nothing is known */
	struct pattern *patterns[NEEDLE_PARTS_MAX];
	unsigned        fields;
	bool            is_exact, is_like;
	uint32_t        upto;
	const uint8_t  *unsure;      /* by email; NULL: none */
};

struct finding {
	struct arena  *arena;
	struct pattern patterns[PATTERNS_MAX];
	size_t         n, max;
	uint32_t       upto;
	uint8_t       *unsure;
	const char    *block_end;
	bool           is_unsure;    /* the word at hand is TERM_UNSURE */
	bool           is_second;    /* the look for mistyped words */
};

/* ------------------------------------------------------------------------------------------------------------- patterns */

static bool is_same(const struct pattern *p, const struct needle_part *part, bool is_like, unsigned fields)
{
	return p->is_like == is_like && str_eq(p->part.text, part->text) && (is_like ? p->fields == fields : p->part.match == part->match);
}

/* Words lie sorted in the blocks, so few blocks have one with this beginning. */
static void set_bytes(struct arena *a, struct pattern *p)
{
	bool begins = p->part.match == WORD_BEGINS || p->part.match == WORD_WHOLE, ends = p->part.match == WORD_ENDS || p->part.match == WORD_WHOLE;

	p->outline = arena_printf(a, "%s" STR_FMT "%s", begins ? "\n" : "", STR_ARG(p->part.text), ends ? "\n" : "");
	p->bytes = ends ? str_sub(p->outline, 0, p->outline.n - 1) : p->outline;
}

/* NULL: there is no room for more. */
static struct pattern *pattern_for(struct finding *f, const struct needle_part *part, bool is_like, unsigned fields)
{
	for (size_t i = 0; i < f->n; i++)
		if (is_same(&f->patterns[i], part, is_like, fields))
			return &f->patterns[i];
	if (f->n == f->max)
		return NULL;
	struct pattern *p = &f->patterns[f->n++];
	*p = (struct pattern){ .part = *part, .is_like = is_like, .fields = fields };
	if (is_like)
		p->bytes = p->outline = word_stem(part->text);
	else
		set_bytes(f->arena, p);
	p->marks = arena_alloc(f->arena, (size_t)f->upto + 1);
	return p;
}

static size_t words_like(struct arena *a, struct str text, struct needle_part out[WORDS_MAX])
{
	struct str plain = word_plain(a, fold_casemap(a, text)), word;
	struct words w = words_of(plain);
	size_t n = 0;

	while (n < WORDS_MAX && words_next(&w, &word))
		out[n++] = (struct needle_part){ .text = word };
	return n;
}

static struct index_hits *hits_of(struct finding *f, const struct index_needle *needle)
{
	struct index_hits *h = ARENA_NEW(f->arena, struct index_hits);
	struct needle_part parts[NEEDLE_PARTS_MAX];
	size_t n;

	h->fields = needle->fields;
	h->is_like = needle->is_like;
	h->upto = f->upto;
	if (f->upto == 0)
		return h;
	if (needle->is_like)
		n = words_like(f->arena, needle->text, parts);
	else
		n = words_of_needle(fold_casemap(f->arena, needle->text), parts, &h->is_exact);
	for (size_t i = 0; i < n; i++) {
		h->patterns[i] = pattern_for(f, &parts[i], needle->is_like, needle->fields);
		if (h->patterns[i] == NULL)
			return h;
	}
	h->n = n;
	return h;
}

/* ------------------------------------------------------------------------------------------------------------ looking */

typedef uint8_t lane __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t lane64 __attribute__((vector_size(16)));
enum { LANE = sizeof(lane), LANES = 4 * LANE };

static lane hits_at(const char *p, size_t middle, size_t last, const lane byte[3])
{
	return (lane)((*(const lane *)p == byte[0]) & (*(const lane *)(p + middle) == byte[1]) & (*(const lane *)(p + last) == byte[2]));
}

/* Are these bytes somewhere in there? First, middle and last byte of 64 places at once: several times as fast as memmem() where, as nearly
 * always, they are not. */
static bool has_bytes(struct str in, struct str bytes)
{
	const char *p = in.p, *end = in.p + in.n;
	size_t middle = bytes.n / 2, last = bytes.n - 1;

	if (bytes.n < 2)
		return str_find(in, bytes) >= 0;
	const lane byte[3] = { (lane){ 0 } + (uint8_t)bytes.p[0], (lane){ 0 } + (uint8_t)bytes.p[middle], (lane){ 0 } + (uint8_t)bytes.p[last] };
	for (; (size_t)(end - p) >= last + LANES; p += LANES) {
		lane64 any = (lane64)(hits_at(p, middle, last, byte) | hits_at(p + LANE, middle, last, byte) | hits_at(p + 2 * LANE, middle, last, byte) |
		                      hits_at(p + 3 * LANE, middle, last, byte));
		if ((any[0] | any[1]) != 0 && str_find(str_make(p, LANES + last), bytes) >= 0)
			return true;
	}
	return str_find(str_make(p, (size_t)(end - p)), bytes) >= 0;
}

static bool may_have(void *context, const uint8_t *filter)
{
	struct finding *f = context;

	for (size_t i = 0; i < f->n; i++)
		if (f->is_second ? f->patterns[i].is_mistyped : segment_filter_has(filter, f->patterns[i].outline))
			return true;
	return false;
}

static bool looks_at(void *context, struct str entries)
{
	struct finding *f = context;

	f->block_end = entries.p + entries.n;
	for (size_t i = 0; i < f->n; i++)
		f->patterns[i].next = NULL;
	if (entries.n > 1 && entries.p[1] == TERM_UNSURE)
		return true;
	for (size_t i = 0; i < f->n; i++)
		if (f->is_second ? f->patterns[i].is_mistyped : has_bytes(entries, f->patterns[i].bytes))
			return true;
	return false;
}

/* The bytes are looked for from word to word, not in each. An LF stands before the word. */
static bool comes_here(const struct finding *f, struct pattern *p, struct str term)
{
	struct str rest = str_make(term.p - 1, (size_t)(f->block_end - term.p) + 1);

	if (p->next == NULL || p->next < rest.p) {
		ptrdiff_t at = str_find(rest, p->bytes);
		p->next = at < 0 ? f->block_end : rest.p + at;
	}
	return p->next < term.p + term.n;
}

static unsigned like(const struct finding *f, struct pattern *p, struct str term)
{
	bool is_plain = term.p[0] == TERM_PLAIN;

	if (!f->is_second && !comes_here(f, p, term))
		return 0;
	if (!p->is_like)
		return !is_plain && !f->is_second && word_matches(term, &p->part);
	if (is_plain)
		term = str_from(term, 1);
	if (f->is_second)
		return p->is_mistyped ? word_mistyped(term, p->part.text) : 0;
	return word_like(term, p->part.text, p->bytes);
}

static bool wants(void *context, struct str term)
{
	struct finding *f = context;
	bool is_wanted;

	f->is_unsure = term.p[0] == TERM_UNSURE;
	is_wanted = f->is_unsure;
	for (size_t i = 0; i < f->n; i++) {
		f->patterns[i].like = f->is_unsure ? 0 : like(f, &f->patterns[i], term);
		is_wanted |= f->patterns[i].like > 0;
	}
	return is_wanted;
}

/* By where it stands; of a hundred. */
static unsigned weight(unsigned fields)
{
	return fields & INDEX_SUBJECT ? 100 : fields & INDEX_FROM ? 95 : fields & (INDEX_TO | INDEX_CC | INDEX_BCC) ? 80 :
	       fields & INDEX_BODY ? 70 : 50;
}

static void mark(struct pattern *p, uint32_t email, unsigned fields)
{
	if (!p->is_like) {
		p->marks[email] |= (uint8_t)fields;
		p->has_any = true;
		return;
	}
	fields &= p->fields;
	unsigned relevancy = fields ? p->like * weight(fields) / RELEVANCY_MAX : 0;
	if (relevancy > p->marks[email])
		p->marks[email] = (uint8_t)relevancy;
	p->has_any |= relevancy > 0;
}

static void take_unsure(struct finding *f, struct list_reader *list)
{
	if (f->unsure == NULL)
		f->unsure = arena_alloc(f->arena, (size_t)f->upto + 1);
	while (list_next(list) && list->email <= f->upto)
		f->unsure[list->email] = 1;
}

static void take(void *context, struct list_reader *list)
{
	struct finding *f = context;
	struct pattern *wanted[PATTERNS_MAX];
	size_t n = 0;

	if (f->is_unsure) {
		take_unsure(f, list);
		return;
	}
	for (size_t i = 0; i < f->n; i++)
		if (f->patterns[i].like > 0)
			wanted[n++] = &f->patterns[i];
	while (list_next(list) && list->email <= f->upto)
		for (size_t i = 0; i < n; i++)
			mark(wanted[i], list->email, list->fields);
}

static bool has_mistyped(struct finding *f)
{
	bool has = false;

	for (size_t i = 0; i < f->n; i++) {
		struct pattern *p = &f->patterns[i];
		p->is_mistyped = p->is_like && !p->has_any && word_mistyped(p->part.text, p->part.text) > 0;
		has |= p->is_mistyped;
	}
	return has;
}

static enum err look(struct finding *f, const struct segments *segments)
{
	CLEANUP(segment_room_free) struct segment_room room = { 0 };
	const struct segment_scan how = { may_have, looks_at, wants, take, f, &room };

	for (size_t i = 0; i < segments->n && f->n > 0; i++)
		TRY(segment_scan(segments->s[i], &how));
	f->is_second = has_mistyped(f);
	for (size_t i = 0; i < segments->n && f->is_second; i++)
		TRY(segment_scan(segments->s[i], &how));
	return ERR_OK;
}

static bool has_unfound(const struct index_hits *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->patterns[i]->is_mistyped)
			return true;
	return h->upto == 0 && h->is_like;
}

void index_find(struct view *v, struct index_needle *needles, size_t n, struct arena *a)
{
	struct finding *f = ARENA_NEW(a, struct finding);
	struct segments segments;
	enum err e;

	index_segments(v, &segments);
	f->arena = a;
	f->upto = segments.n > 0 ? segments.s[segments.n - 1]->info.last : 0;
	f->max = MARKS_MAX / ((size_t)f->upto + 1) < PATTERNS_MAX ? MARKS_MAX / ((size_t)f->upto + 1) : PATTERNS_MAX;
	for (size_t i = 0; i < n; i++)
		needles[i].hits = hits_of(f, &needles[i]);
	e = look(f, &segments);
	index_segments_release(&segments);
	for (size_t i = 0; i < n; i++) {
		needles[i].hits->unsure = f->unsure;
		needles[i].is_unfound = has_unfound(needles[i].hits);
		if (e != ERR_OK)
			needles[i].hits->n = 0;
	}
	if (e != ERR_OK)
		index_failed(v, e);
}

/* -------------------------------------------------------------------------------------------------------------- answers */

unsigned index_relevancy(const struct index_hits *h, uint32_t email)
{
	unsigned sum = 0;

	if (!h->is_like || h->n == 0 || email > h->upto)
		return 0;
	for (size_t i = 0; i < h->n; i++) {
		if (h->patterns[i]->marks[email] == 0)
			return 0;
		sum += h->patterns[i]->marks[email];
	}
	return (unsigned)(sum / h->n);
}

static enum index_hit hit_exactly(const struct index_hits *h, uint32_t email)
{
	unsigned fields = h->fields;

	for (size_t i = 0; i < h->n; i++)
		fields &= h->patterns[i]->marks[email];
	return fields == 0 ? HIT_NO : h->is_exact ? HIT_YES : HIT_MAYBE;
}

enum index_hit index_hit(const struct index_hits *h, uint32_t email)
{
	enum index_hit hit;

	if (h->n == 0 || email == 0 || email > h->upto)
		return HIT_MAYBE;
	hit = !h->is_like ? hit_exactly(h, email) : index_relevancy(h, email) > 0 ? HIT_YES : HIT_NO;
	return hit == HIT_NO && h->unsure != NULL && h->unsure[email] ? HIT_MAYBE : hit;
}

void index_like_begin(struct index_liking *l, struct arena *a, struct str needle)
{
	struct needle_part wanted[WORDS_MAX];

	_Static_assert(COUNT_OF(l->words) == WORDS_MAX, "as many as a needle may have");
	*l = (struct index_liking){ .n = words_like(a, needle, wanted) };
	for (size_t i = 0; i < l->n; i++) {
		l->words[i] = wanted[i].text;  /* NOLINT(clang-analyzer-core.uninitialized.Assign): words_like() has set so many */
		l->stems[i] = word_stem(wanted[i].text);  /* NOLINT(clang-analyzer-core.CallAndMessage) */
	}
}

void index_like_text(struct index_liking *l, struct arena *a, struct str text, enum index_field field)
{
	struct words w = words_of(word_plain(a, fold_casemap(a, text)));
	struct str word;

	while (words_next(&w, &word)) {
		for (size_t i = 0; i < l->n; i++) {
			unsigned like = word_like(word, l->words[i], l->stems[i]) * weight(field) / RELEVANCY_MAX;
			if (like > l->best[i])
				l->best[i] = like;
		}
	}
}

unsigned index_like_end(const struct index_liking *l)
{
	unsigned sum = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->best[i] == 0)
			return 0;
		sum += l->best[i];
	}
	return l->n == 0 ? 0 : (unsigned)(sum / l->n);
}
