/* The words of some hundred messages in memory, until they are written as a segment.
 *
 * A table of words, each with its list in the form in which it will lie in the file. The last email of a list is kept apart, as a word comes in
 * several fields of it; most words are in one email only, and have no list before they are written. A word whose plain form is another one
 * (été, ete) leads to a second entry with that, so that who looks for words that resemble finds both by looking through one alphabet.
 *
 * Writing goes in steps of a few milliseconds: words were noted in the order in which they came; runs of some thousand of them are sorted, then the
 * first words of all runs are taken one after the other. (Sorting all at once took 25 ms, writing 80.) */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/index_private.h"
#include "text/words.h"
#include <stdlib.h>

enum { TABLE_FIRST = 8192, TERMS_FIRST = 4096, LIST_FIRST = 16, RUN = 8192, LOOK_AT_CLOCK = 64 };

struct term {
	struct term       *plain;      /* NULL: this is it */
	char              *list;
	struct list_writer written;
	uint32_t           n, cap;     /* of list */
	uint32_t           email;      /* the last one, not written yet */
	uint8_t            fields;     /* of it */
	uint8_t            text_n;
	char               text[];
};

struct slot {
	uint32_t hash, term;           /* its place in terms, counted from 1; 0: free */
};

struct run {
	size_t   at, end;              /* in terms */
	uint64_t begins;               /* the first eight bytes of the word there, in their order: few words need to be looked at */
};

struct batch {
	struct arena  arena, scratch;
	struct slot  *table;           /* a power of two */
	size_t        cap;
	struct term **terms;           /* as they came; from sorted on */
	size_t        n, terms_cap;
	uint32_t      emails;
	uint32_t      email;           /* being added */
	size_t        sorted;          /* batch_write(): up to here runs are sorted */
	struct run   *runs;            /* a heap by their first words; NULL: not begun */
	size_t        n_runs;
};

struct batch *batch_new(void)
{
	struct batch *b = MEM_NEW(struct batch);

	b->cap = TABLE_FIRST;
	b->table = mem_array(b->cap, sizeof *b->table);
	b->terms_cap = TERMS_FIRST;
	b->terms = mem_array(b->terms_cap, sizeof *b->terms);
	return b;
}

void batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	arena_free(&b->arena);
	arena_free(&b->scratch);
	mem_free(b->table);
	mem_free(b->terms);
	mem_free(b->runs);
	mem_free(b);
}

uint32_t batch_emails(const struct batch *b) { return b->emails; }
size_t batch_bytes(const struct batch *b) { return b->arena.total + b->cap * sizeof *b->table + b->terms_cap * sizeof *b->terms; }

/* --------------------------------------------------------------------------------------------------------------- table */

static uint32_t hash_of(struct str s)
{
	uint64_t h = s.n * UINT64_C(0x9e3779b97f4a7c15), piece;

	for (; s.n >= 8; s = str_from(s, 8)) {
		memcpy(&piece, s.p, 8);
		h = (h ^ piece) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	piece = 0;
	memcpy(&piece, s.p, s.n);
	h = (h ^ piece) * UINT64_C(0xc4ceb9fe1a85ec53);
	return (uint32_t)(h ^ h >> 29);
}

static struct str text_of(const struct term *t) { return str_make(t->text, t->text_n); }

static void grow(struct batch *b)
{
	size_t cap = b->cap * 2;
	struct slot *bigger = mem_array(cap, sizeof *bigger);

	for (size_t i = 0; i < b->cap; i++) {
		if (b->table[i].term == 0)
			continue;
		size_t at = b->table[i].hash & (cap - 1);
		while (bigger[at].term != 0)
			at = (at + 1) & (cap - 1);
		bigger[at] = b->table[i];
	}
	mem_free(b->table);
	b->table = bigger;
	b->cap = cap;
}

static struct term *note(struct batch *b, struct str text)
{
	struct term *t = arena_alloc(&b->arena, sizeof *t + text.n);

	t->text_n = (uint8_t)text.n;
	memcpy(t->text, text.p, text.n);
	if (b->n == b->terms_cap) {
		b->terms_cap *= 2;
		b->terms = mem_resize(b->terms, b->terms_cap * sizeof *b->terms);
	}
	b->terms[b->n++] = t;
	return t;
}

static struct term *find(struct batch *b, struct str text, bool *is_new)
{
	uint32_t hash = hash_of(text);
	size_t at = hash & (b->cap - 1);

	*is_new = false;
	for (; b->table[at].term != 0; at = (at + 1) & (b->cap - 1))
		if (b->table[at].hash == hash && str_eq(text_of(b->terms[b->table[at].term - 1]), text))
			return b->terms[b->table[at].term - 1];
	*is_new = true;
	struct term *t = note(b, text);
	b->table[at] = (struct slot){ hash, (uint32_t)b->n };
	if (b->n * 3 > b->cap * 2)
		grow(b);
	return t;
}

static struct term *find_plain(struct batch *b, struct str word)
{
	struct buf entry = BUF(TERM_MAX);
	struct str plain = word_plain(&b->scratch, word);
	struct term *t = NULL;
	bool is_new;

	if (!str_eq(plain, word) && plain.n > 0) {
		buf_add_char(&entry, TERM_PLAIN);
		buf_add(&entry, plain);
		if (!entry.failed)
			t = find(b, buf_str(&entry), &is_new);
	}
	buf_free(&entry);
	arena_reset(&b->scratch);
	return t;
}

/* -------------------------------------------------------------------------------------------------------------- lists */

enum { ENTRY_MAX = 16 };

static void write_last(struct batch *b, struct term *t)
{
	char room[ENTRY_MAX];
	struct buf out = { room, 0, sizeof room, sizeof room, false };

	list_put(&t->written, &out, t->email, t->fields);
	if (t->n + out.n > t->cap) {
		uint32_t cap = t->cap ? t->cap * 2 : LIST_FIRST;
		char *list = arena_alloc(&b->arena, cap);
		if (t->n > 0)
			memcpy(list, t->list, t->n);
		t->list = list;
		t->cap = cap;
	}
	memcpy(t->list + t->n, out.p, out.n);
	t->n += (uint32_t)out.n;
}

static void touch(struct batch *b, struct term *t, unsigned fields)
{
	if (t->email == b->email) {
		t->fields |= (uint8_t)fields;
		return;
	}
	if (t->email != 0)
		write_last(b, t);
	t->email = b->email;
	t->fields = (uint8_t)fields;
}

void batch_begin_email(struct batch *b, uint32_t email)
{
	b->email = email;
	b->emails++;
}

void batch_add_word(struct batch *b, struct str word, unsigned fields)
{
	bool is_new;
	struct term *t = find(b, word, &is_new);

	if (is_new && !str_is_ascii(word))
		t->plain = find_plain(b, word);
	touch(b, t, fields);
	if (t->plain != NULL)
		touch(b, t->plain, fields);
}

void batch_mark_unsure(struct batch *b) { batch_add_word(b, str_make((const char[]){ TERM_UNSURE }, 1), INDEX_ANY); }

/* ------------------------------------------------------------------------------------------------------------- writing */

static int term_order(const void *left, const void *right)
{
	return str_cmp(text_of(*(struct term *const *)left), text_of(*(struct term *const *)right));
}

static size_t run_end(const struct batch *b, size_t at) { return b->n - at < RUN ? b->n : at + RUN; }

static struct run run_from(const struct batch *b, size_t at, size_t end)
{
	struct str text = text_of(b->terms[at]);
	struct run r = { .at = at, .end = end };

	for (size_t i = 0; i < 8; i++)
		r.begins = r.begins << 8 | (i < text.n ? (unsigned char)text.p[i] : 0);
	return r;
}

static bool is_before(const struct batch *b, size_t i, size_t j)
{
	if (b->runs[i].begins != b->runs[j].begins)
		return b->runs[i].begins < b->runs[j].begins;
	return str_cmp(text_of(b->terms[b->runs[i].at]), text_of(b->terms[b->runs[j].at])) < 0;
}

static void sink(struct batch *b, size_t i)
{
	for (size_t least = i;; i = least) {
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < b->n_runs; child++)
			if (is_before(b, child, least))
				least = child;
		if (least == i)
			return;
		struct run r = b->runs[i];
		b->runs[i] = b->runs[least];
		b->runs[least] = r;
	}
}

static void begin_runs(struct batch *b)
{
	b->runs = mem_array(b->n / RUN + 1, sizeof *b->runs);
	for (size_t at = 0; at < b->n; at = run_end(b, at))
		b->runs[b->n_runs++] = run_from(b, at, run_end(b, at));
	for (size_t i = b->n_runs / 2; i-- > 0;)
		sink(b, i);
}

/* The least word that is left. */
static struct term *take_term(struct batch *b)
{
	struct run *first = &b->runs[0];
	struct term *t = b->terms[first->at];

	*first = first->at + 1 < first->end ? run_from(b, first->at + 1, first->end) : b->runs[--b->n_runs];
	sink(b, 0);
	return t;
}

static enum err put_term(struct batch *b, struct segment_writer *w, struct term *t)
{
	char room[ENTRY_MAX];
	struct buf only = { room, 0, sizeof room, sizeof room, false };

	if (t->n > 0) {
		write_last(b, t);
		return segment_put(w, text_of(t), str_make(t->list, t->n));
	}
	list_put(&t->written, &only, t->email, t->fields);
	return segment_put(w, text_of(t), buf_str(&only));
}

enum err batch_write(struct batch *b, struct segment_writer *w, int64_t until_ms, bool *done)
{
	*done = false;
	while (b->sorted < b->n) {
		size_t end = run_end(b, b->sorted);
		qsort(b->terms + b->sorted, end - b->sorted, sizeof *b->terms, term_order);
		b->sorted = end;
		if (clock_mono_ms() >= until_ms)
			return ERR_OK;
	}
	if (b->runs == NULL)
		begin_runs(b);  /* also of no words */
	for (unsigned i = 1; b->n_runs > 0; i++) {
		TRY(put_term(b, w, take_term(b)));
		if (i % LOOK_AT_CLOCK == 0 && clock_mono_ms() >= until_ms)
			return ERR_OK;
	}
	*done = true;
	return ERR_OK;
}
