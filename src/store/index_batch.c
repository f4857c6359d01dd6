/* The words of some hundred messages in memory, until they are written as a segment.
 *
 * A table of words, each with its list in the form in which it will lie in the file. The last email of a list is kept apart, as a word comes in
 * several fields of it. A word whose plain form is another one (été, ete) leads to a second entry with that, so that who looks for words
 * that resemble finds both by looking through one alphabet. */
#include "base/bytes.h"
#include "base/mem.h"
#include "mime/header.h"
#include "mime/summary.h"
#include "mime/text.h"
#include "store/index_private.h"
#include "text/fold.h"
#include "text/words.h"
#include <stdlib.h>

enum { TABLE_FIRST = 8192, LIST_FIRST = 16, TEXT_MAX = 2 << 20 /* bytes of a message that are indexed */ };

struct term {
	uint64_t           hash;
	struct str         text;
	struct term       *plain;      /* NULL: this is it */
	struct list_writer written;
	uint32_t           email;      /* the last one, not written yet */
	uint8_t            fields;     /* of it */
	uint32_t           n, cap;     /* of list */
	char              *list;
};

struct batch {
	struct arena  arena, scratch;
	struct term **table;           /* a power of two */
	size_t        n, cap;
	uint32_t      emails;
	uint32_t      email;           /* being added */
	size_t        text_left;
};

struct batch *batch_new(void)
{
	struct batch *b = MEM_NEW(struct batch);

	b->cap = TABLE_FIRST;
	b->table = mem_array(b->cap, sizeof *b->table);
	return b;
}

void batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	arena_free(&b->arena);
	arena_free(&b->scratch);
	mem_free(b->table);
	mem_free(b);
}

uint32_t batch_emails(const struct batch *b) { return b->emails; }
size_t batch_bytes(const struct batch *b) { return b->arena.total + b->cap * sizeof *b->table; }

/* --------------------------------------------------------------------------------------------------------------- table */

static uint64_t hash_of(struct str s)
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
	return h ^ h >> 29;
}

static void grow(struct batch *b)
{
	struct term **bigger = mem_array(b->cap * 2, sizeof *bigger);

	for (size_t i = 0; i < b->cap; i++) {
		if (b->table[i] == NULL)
			continue;
		size_t at = b->table[i]->hash & (b->cap * 2 - 1);
		while (bigger[at] != NULL)
			at = (at + 1) & (b->cap * 2 - 1);
		bigger[at] = b->table[i];
	}
	mem_free(b->table);
	b->table = bigger;
	b->cap *= 2;
}

static struct term *find(struct batch *b, struct str text, bool *is_new)
{
	uint64_t hash = hash_of(text);
	size_t at = hash & (b->cap - 1);

	*is_new = false;
	for (; b->table[at] != NULL; at = (at + 1) & (b->cap - 1))
		if (b->table[at]->hash == hash && str_eq(b->table[at]->text, text))
			return b->table[at];
	*is_new = true;
	struct term *t = ARENA_NEW(&b->arena, struct term);
	t->hash = hash;
	t->text = str_copy(&b->arena, text);
	b->table[at] = t;
	if (++b->n * 3 > b->cap * 2)
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
	return t;
}

/* -------------------------------------------------------------------------------------------------------------- lists */

static void write_last(struct batch *b, struct term *t)
{
	char room[16];
	struct buf out = { room, 0, sizeof room, sizeof room, false };

	if (t->email == 0)
		return;
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
	write_last(b, t);
	t->email = b->email;
	t->fields = (uint8_t)fields;
}

static void add_term(struct batch *b, struct str text, unsigned fields)
{
	bool is_new;
	struct term *t = find(b, text, &is_new);

	if (is_new && !str_is_ascii(text))
		t->plain = find_plain(b, text);
	touch(b, t, fields);
	if (t->plain != NULL)
		touch(b, t->plain, fields);
}

static void mark_unsure(struct batch *b) { add_term(b, str_make((const char[]){ TERM_UNSURE }, 1), INDEX_ANY); }

static void add_text(struct batch *b, enum index_field field, struct str text)
{
	struct words w;
	struct str word;

	if (text.n > b->text_left) {
		mark_unsure(b);
		text = utf8_clip(text, b->text_left);
	}
	b->text_left -= text.n;
	w = words_of(fold_casemap(&b->scratch, text));
	while (words_next(&w, &word))
		add_term(b, word, field);
}

/* ------------------------------------------------------------------------------------------------------------ messages */

static void add_record(struct batch *b, struct str record)
{
	static const struct { enum index_field field; enum summary_field summary; } addresses[] = {
		{ INDEX_FROM, SUMMARY_FROM }, { INDEX_TO, SUMMARY_TO }, { INDEX_CC, SUMMARY_CC }, { INDEX_BCC, SUMMARY_BCC } };

	for (size_t i = 0; i < COUNT_OF(addresses); i++)
		add_text(b, addresses[i].field, summary_addresses(&b->scratch, record, addresses[i].summary));
	add_text(b, INDEX_SUBJECT, summary_subject(&b->scratch, record));
}

static void add_parts(struct batch *b, struct str message)
{
	const struct mime_part *root = mime_parse(&b->scratch, message);

	for (const struct mime_part *p = root; p != NULL && b->text_left > 0; p = mime_next(p))
		add_text(b, INDEX_HEADER, mime_part_header_text(&b->scratch, message, p));
	for (const struct mime_part *p = mime_text_first(root); p != NULL && b->text_left > 0; p = mime_text_next(p))
		add_text(b, INDEX_BODY, mime_text(&b->scratch, message, p, MIME_TEXT_MAX));
	if (b->text_left == 0)
		mark_unsure(b);
}

static void begin_email(struct batch *b, uint32_t email)
{
	b->email = email;
	b->emails++;
	b->text_left = TEXT_MAX;
}

void batch_add_message(struct batch *b, uint32_t email, struct str record, struct str message)
{
	begin_email(b, email);
	add_record(b, record);
	add_parts(b, message);
	arena_reset(&b->scratch);
}

void batch_add_unread(struct batch *b, uint32_t email)
{
	begin_email(b, email);
	mark_unsure(b);
}

static int term_order(const void *left, const void *right)
{
	return str_cmp((*(struct term *const *)left)->text, (*(struct term *const *)right)->text);
}

enum err batch_write(struct batch *b, struct segment_writer *w)
{
	struct term **sorted = arena_array(&b->arena, b->n, sizeof *sorted);
	size_t n = 0;

	for (size_t i = 0; i < b->cap; i++)
		if (b->table[i] != NULL)
			sorted[n++] = b->table[i];
	if (n > 0)
		qsort(sorted, n, sizeof *sorted, term_order);
	for (size_t i = 0; i < n; i++) {
		write_last(b, sorted[i]);
		TRY(segment_put(w, sorted[i]->text, str_make(sorted[i]->list, sorted[i]->n)));
	}
	return ERR_OK;
}
