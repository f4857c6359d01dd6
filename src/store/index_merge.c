/* Several segments to one, word by word, in steps of a few milliseconds: the old files stay in use until the new one is whole.
 * Ranges follow each other, so the lists of a word are joined by taking them apart and writing them on. What is purged is left out when
 * somebody says what still lives. */
#include "base/clock.h"
#include "base/mem.h"
#include "store/index_private.h"

enum { LOOK_AT_CLOCK = 64 };

struct input {
	struct segment_cursor *cursor;
	struct str             term, list;   /* n == 0: at its end */
};

struct merge {
	struct segment_writer *writer;
	struct segment_info    info;
	struct buf             list;
	uint8_t               *live;
	size_t                 n;
	struct input           inputs[SEGMENTS_MAX];
};

void merge_abandon(struct merge **m)
{
	if (*m == NULL)
		return;
	for (size_t i = 0; i < (*m)->n; i++)
		segment_cursor_end(&(*m)->inputs[i].cursor);
	segment_abandon(&(*m)->writer);
	buf_free(&(*m)->list);
	mem_free((*m)->live);
	mem_free(*m);
	*m = NULL;
}

size_t merge_inputs(const struct merge *m) { return m->n; }

static enum err advance(struct input *in) { return segment_cursor_next(in->cursor, &in->term, &in->list); }

static enum err open_inputs(struct merge *m, struct segment *const *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		TRY(segment_cursor_begin(from[i], &m->inputs[m->n].cursor));
		TRY(advance(&m->inputs[m->n++]));
		m->info.emails += from[i]->info.emails;
		if (from[i]->info.level > m->info.level)
			m->info.level = from[i]->info.level;
	}
	m->info.first = from[0]->info.first;
	m->info.last = from[n - 1]->info.last;
	m->info.level++;
	return ERR_OK;
}

enum err merge_begin(struct disk_dir *dir, struct segment *const *from, size_t n, uint32_t number, uint8_t *live, struct merge **out)
{
	struct merge *m = MEM_NEW(struct merge);
	enum err e;

	m->list = BUF(64 << 20);
	m->live = live;
	e = segment_begin(dir, number, &m->writer);
	if (e == ERR_OK)
		e = open_inputs(m, from, n);
	*out = m;
	if (e != ERR_OK)
		merge_abandon(out);
	return e;
}

static bool is_alive(const struct merge *m, uint32_t email)
{
	uint32_t bit = email - m->info.first;

	return m->live == NULL || (m->live[bit / 8] >> bit % 8 & 1);
}

static enum err join(struct merge *m, struct str list, struct list_writer *w)
{
	struct list_reader r = { .s = scan_of(list) };

	while (list_next(&r)) {
		if (r.email <= w->email || r.email < m->info.first || r.email > m->info.last)
			return ERR_CORRUPT;
		if (is_alive(m, r.email))
			list_put(w, &m->list, r.email, r.fields);
	}
	return r.s.failed || m->list.failed ? ERR_CORRUPT : ERR_OK;
}

/* The least word of all inputs; *is_end: all are at their end. */
static enum err merge_word(struct merge *m, bool *is_end)
{
	struct list_writer w = { 0 };
	struct str term = STR_NONE;
	char room[TERM_MAX];
	enum err e = ERR_OK;

	for (size_t i = 0; i < m->n; i++)
		if (m->inputs[i].term.n > 0 && (term.n == 0 || str_cmp(m->inputs[i].term, term) < 0))
			term = m->inputs[i].term;
	*is_end = term.n == 0;
	if (*is_end)
		return ERR_OK;
	memcpy(room, term.p, term.n);  /* its input goes on */
	term = str_make(room, term.n);
	buf_reset(&m->list);
	for (size_t i = 0; i < m->n && e == ERR_OK; i++) {
		if (!str_eq(m->inputs[i].term, term))
			continue;
		e = join(m, m->inputs[i].list, &w);
		if (e == ERR_OK)
			e = advance(&m->inputs[i]);
	}
	return e != ERR_OK || m->list.n == 0 ? e : segment_put(m->writer, term, buf_str(&m->list));
}

enum err merge_step(struct merge *m, int64_t until_ms, bool *done, struct segment_info *info)
{
	bool is_end;

	*done = false;
	for (unsigned i = 1; i % LOOK_AT_CLOCK != 0 || clock_mono_ms() < until_ms; i++) {
		TRY(merge_word(m, &is_end));
		if (!is_end)
			continue;
		TRY(segment_end(&m->writer, &m->info));
		*info = m->info;
		*done = true;
		return ERR_OK;
	}
	return ERR_OK;
}
