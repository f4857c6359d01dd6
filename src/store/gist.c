/* Gists: what messages are sorted and threaded by.
 *
 * A client that shows a mailbox by subject or as conversations asks for it again after each new message. To read ten thousand records for
 * that (600 bytes each, the subject decoded, cut and folded anew) costs three times what sorting does. A column beside the record would be
 * read without it, but costs each delivery a page of the log, also where nobody ever sorts. So gists are made when somebody asks, and kept
 * in the cell, and some of them on disk (gist_table.c): an email never changes, so nothing has to be kept in step, and what is lost was only
 * quick.
 *
 * Bounded: 32 MB for an account (view.c); what does not fit is made each time. All go when nobody asked for GISTS_IDLE_MS, and when they
 * have been full for so long (what is asked for by then may be another mailbox). A gist is never changed or freed alone; one that lacks
 * a text is made again, and takes the place of the first. */
#include "store/gist_private.h"
#include "base/clock.h"
#include "mime/summary.h"
#include "text/fold.h"
#include <assert.h>

enum { GIST_MAX = 4096 /* bytes of one that is kept */, GISTS_IDLE_MS = 60000, TABLE_FIRST = 1024 };

static_assert(GIST_TEXTS + 2 <= 8, "kept.has is a byte");

/* ------------------------------------------------------------------------------------------------------------- making */

static struct str display(struct arena *a, struct str record, enum summary_field field)
{
	struct mail_address m;

	if (!summary_first_address(a, record, field, &m))
		return STR("");
	return m.name.n > 0 ? address_name(a, &m) : address_text(a, &m);
}

static struct str mailbox(struct arena *a, struct str record, enum summary_field field)
{
	struct mail_address m;

	return summary_first_address(a, record, field, &m) ? m.local : STR("");
}

static struct str text_of(struct arena *a, struct str record, enum gist_text text, bool *is_reply)
{
	switch (text) {
	case GIST_FROM:
		return mailbox(a, record, SUMMARY_FROM);
	case GIST_TO:
		return mailbox(a, record, SUMMARY_TO);
	case GIST_CC:
		return mailbox(a, record, SUMMARY_CC);
	case GIST_DISPLAYFROM:
		return display(a, record, SUMMARY_FROM);
	case GIST_DISPLAYTO:
		return display(a, record, SUMMARY_TO);
	default:
		return summary_base_subject(a, record, is_reply);
	}
}

static void read_references(struct str record, struct arena *a, struct arena *scratch, struct gist *out)
{
	uint64_t references[SUMMARY_REFERENCES_MAX] = { 0 };
	struct str id = summary_message_id(scratch, record);
	size_t n = 0;

	out->id = id.n > 0 ? summary_id_number(id) : 0;
	out->knows_references = summary_references(record, references, &n);
	out->n_references = out->knows_references ? (uint8_t)n : 0;
	out->references = memcpy(arena_array(a, out->n_references, sizeof *references), references, out->n_references * sizeof *references);
}

static void read_record(struct str record, unsigned wants, struct arena *a, struct arena *scratch, struct gist *out)
{
	struct mail_date sent;

	if (summary_sent(record, &sent))
		out->sent = sent.unix_s;
	if (wants & GIST_REFERENCES)
		read_references(record, a, scratch, out);
	for (int i = 0; i < GIST_TEXTS; i++)
		if (wants & GIST_TEXT(i))
			out->texts[i] = str_copy(a, fold_casemap(scratch, text_of(scratch, record, (enum gist_text)i, &out->is_reply)));
}

/* ------------------------------------------------------------------------------------------------------------ keeping */

void gists_begin(struct view *v)
{
	if (v->gists != NULL)
		return;
	v->gists = MEM_NEW(struct gists);
	v->gists->most = v->gists_most;
}

static struct kept **place_of(const struct gists *all, uint32_t email)
{
	size_t at = (size_t)(email * UINT64_C(0x9e3779b97f4a7c15) >> 32);  /* whichever emails a mailbox has, they are spread */

	while (all->table[at & (all->cap - 1)] != NULL && all->table[at & (all->cap - 1)]->email != email)
		at++;
	return &all->table[at & (all->cap - 1)];
}

const struct kept *gist_kept(const struct gists *all, uint32_t email) { return all->n > 0 ? *place_of(all, email) : NULL; }

static void grow(struct gists *all)
{
	struct kept **was = all->table;
	size_t n = all->cap;

	all->cap = n > 0 ? 2 * n : TABLE_FIRST;
	all->table = mem_array(all->cap, sizeof *all->table);
	for (size_t i = 0; i < n; i++)
		if (was[i] != NULL)
			*place_of(all, was[i]->email) = was[i];
	mem_free(was);
}

void gist_keep(struct gists *all, const struct gist *g, unsigned has)
{
	size_t references = g->n_references * sizeof *g->references, size = sizeof(struct kept) + references, end = 0;

	for (int i = 0; i < GIST_TEXTS; i++)
		size += g->texts[i].n;
	if (all->arena.total + size > all->most && all->full_ms == 0)
		all->full_ms = all->used_ms;
	if (size > GIST_MAX || all->full_ms != 0)
		return;
	if (2 * (all->n + 1) > all->cap)
		grow(all);
	struct kept *k = arena_alloc(&all->arena, size), **place = place_of(all, g->email);
	*k = (struct kept){ .sent = g->sent, .received = g->received, .size = g->size, .id = g->id, .email = g->email, .has = (uint8_t)has,
	                    .n_references = g->n_references, .knows_references = g->knows_references, .is_reply = g->is_reply };
	if (references > 0)
		memcpy(k->references, g->references, references);
	for (int i = 0; i < GIST_TEXTS; i++) {
		if (g->texts[i].n > 0)
			memcpy((char *)k->references + references + end, g->texts[i].p, g->texts[i].n);
		end += g->texts[i].n;
		k->ends[i] = (uint16_t)end;
	}
	all->n += *place == NULL;
	*place = k;
}

static void copy_kept(const struct kept *k, struct arena *a, struct gist *out)
{
	size_t references = k->n_references * sizeof *k->references;
	char *bytes = memcpy(arena_alloc(a, references + k->ends[GIST_TEXTS - 1]), k->references, references + k->ends[GIST_TEXTS - 1]);

	*out = (struct gist){ .email = k->email, .size = k->size, .received = k->received, .sent = k->sent, .id = k->id,
	                      .references = (const uint64_t *)(const void *)bytes, .n_references = k->n_references,
	                      .knows_references = k->knows_references, .is_reply = k->is_reply };
	for (int i = 0, from = 0; i < GIST_TEXTS; from = k->ends[i++])
		out->texts[i] = str_make(bytes + references + from, (size_t)(k->ends[i] - from));
}

/* What is kept; the others are listed in missing, which has room for n. *wants: and what those had that lacked something. */
static size_t look_up(struct view *v, const uint32_t *emails, size_t n, unsigned *wants, struct arena *a, struct gist *out, uint32_t *missing)
{
	unsigned asked = *wants;
	size_t n_missing = 0;

	pthread_mutex_lock(&v->gists_lock);
	for (size_t i = 0; i < n; i++) {
		const struct kept *k = v->gists != NULL ? gist_kept(v->gists, emails[i]) : NULL;
		if (k != NULL && (k->has & asked) == asked) {
			copy_kept(k, a, &out[i]);
			continue;
		}
		missing[n_missing++] = (uint32_t)i;
		*wants |= k != NULL ? k->has : 0;
	}
	if (v->gists != NULL)
		v->gists->used_ms = clock_mono_ms();
	pthread_mutex_unlock(&v->gists_lock);
	return n_missing;
}

static void keep_all(struct view *v, const struct gist *gists, const uint32_t *which, size_t n, unsigned has)
{
	pthread_mutex_lock(&v->gists_lock);
	gists_begin(v);
	v->gists->used_ms = clock_mono_ms();
	for (size_t i = 0; i < n; i++)
		if (gists[which[i]].email != 0) {
			gist_keep(v->gists, &gists[which[i]], has);
			gists_note_new(v, gists[which[i]].email);
		}
	pthread_mutex_unlock(&v->gists_lock);
}

/* Reads and makes those that are not kept. wants 0: numbers, for which no record is read. */
static enum err make_missing(struct view *v, const uint32_t *emails, const uint32_t *missing, size_t n, unsigned wants, struct arena *a,
                             struct gist *out)
{
	CLEANUP(arena_free) struct arena records = { 0 }, scratch = { 0 };
	uint32_t *asked = arena_array(&records, n, sizeof *asked);
	struct summary *sums = arena_array(&records, n, sizeof *sums);

	for (size_t i = 0; i < n; i++)
		asked[i] = emails[missing[i]];
	TRY(view_summaries(v, asked, n, wants != 0, &records, sums));
	for (size_t i = 0; i < n; i++) {
		struct gist *g = &out[missing[i]];
		*g = (struct gist){ .email = sums[i].email, .size = sums[i].size, .received = sums[i].received, .sent = sums[i].received };
		if (g->email != 0 && wants != 0)
			read_record(sums[i].record, wants, a, &scratch, g);
		arena_reset(&scratch);
	}
	return ERR_OK;
}

enum err view_gists(struct view *v, const uint32_t *emails, size_t n, unsigned wants, struct arena *a, struct gist *out)
{
	uint32_t missing[GISTS_BATCH];
	size_t n_missing;

	assert(n <= GISTS_BATCH);
	wants |= wants != 0 ? GIST_SENT : 0;
	n_missing = look_up(v, emails, n, &wants, a, out, missing);
	if (n_missing > 0 && gists_read(v, emails, missing, n_missing))
		n_missing = look_up(v, emails, n, &wants, a, out, missing);
	if (n_missing == 0)
		return ERR_OK;
	TRY(make_missing(v, emails, missing, n_missing, wants, a, out));
	keep_all(v, out, missing, n_missing, wants);
	return ERR_OK;
}

size_t view_gists_kept(struct view *v)
{
	size_t n;

	pthread_mutex_lock(&v->gists_lock);
	n = v->gists != NULL ? v->gists->n : 0;
	pthread_mutex_unlock(&v->gists_lock);
	return n;
}

/* ---------------------------------------------------------------------------------------------------------- forgetting */

void gists_drop(struct view *v)
{
	if (v->gists == NULL)
		return;
	arena_free(&v->gists->arena);
	mem_free(v->gists->table);
	mem_free(v->gists->blocks);
	mem_free(v->gists);
	v->gists = NULL;
}

void gists_tick(struct view *v, int64_t now_ms)
{
	pthread_mutex_lock(&v->gists_lock);
	const struct gists *all = v->gists;
	if (all != NULL && (now_ms - all->used_ms > GISTS_IDLE_MS || (all->full_ms != 0 && now_ms - all->full_ms > GISTS_IDLE_MS)))
		gists_drop(v);
	pthread_mutex_unlock(&v->gists_lock);
}
