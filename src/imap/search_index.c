/* SEARCH and the index (store/index.h): which keys it can answer, and when it is worth making it before going on.
 *
 * A search never waits for the index as such. It begins with what the index knows; messages that are newer are read, and when that turns out to
 * be many, the index is made for all of them at once, which costs little more than to read them and only once. Who looks for words that only resemble
 * and has written one that nobody has is forgiven a wrong letter; whether nobody has it is known when the index has every message. */
#include "imap/search_private.h"
#include "mime/text.h"

enum { SMALL_MAILBOX = 30, STEP_MS = 50 };

unsigned search_fields(const struct search_key *k)
{
	switch (k->op) {
	case KEY_FROM:
		return INDEX_FROM;
	case KEY_TO:
		return INDEX_TO;
	case KEY_CC:
		return INDEX_CC;
	case KEY_BCC:
		return INDEX_BCC;
	case KEY_SUBJECT:
		return INDEX_SUBJECT;
	case KEY_HEADER:
		return mime_field_is_for_machines(k->name) ? 0 : INDEX_HEADER;
	case KEY_BODY:
		return INDEX_BODY;
	case KEY_TEXT:
		return k->is_like ? INDEX_ANY : INDEX_HEADER | INDEX_BODY;
	default:
		return 0;
	}
}

static bool is_for_index(const struct search_key *k) { return k->written.n > 0 && search_fields(k) != 0; }

static bool is_fuzzy(const struct search_key *k)
{
	for (; k != NULL; k = k->next)
		if ((k->is_like && is_for_index(k)) || is_fuzzy(k->child))
			return true;
	return false;
}

static size_t collect(struct search_key *k, struct search_key **out, size_t n)
{
	for (; k != NULL; k = k->next) {
		if (n < INDEX_NEEDLES_MAX && is_for_index(k))
			out[n++] = k;
		n = collect(k->child, out, n);
	}
	return n;
}

static void forget(struct search_key *k)
{
	for (; k != NULL; k = k->next) {
		k->hits = NULL;
		forget(k->child);
	}
}

void search_forget_index(struct search *q)
{
	forget(q->key);
	arena_free(q->index_arena);
}

/* *is_unfound: a word that may have a wrong letter. */
static void find(struct imap_session *s, struct search *q, bool *is_unfound)
{
	struct search_key *keys[INDEX_NEEDLES_MAX];
	struct index_needle needles[INDEX_NEEDLES_MAX];
	size_t n = collect(q->key, keys, 0);

	*is_unfound = false;
	for (size_t i = 0; i < n; i++)
		needles[i] = (struct index_needle){ .text = keys[i]->written, .fields = search_fields(keys[i]), .is_like = keys[i]->is_like };
	if (n > 0)
		index_find(s->view, needles, n, q->index_arena);
	for (size_t i = 0; i < n; i++) {
		keys[i]->hits = needles[i].hits;
		*is_unfound |= needles[i].is_unfound;
	}
}

/* False: it had every message before. */
static bool complete_index(struct imap_session *s)
{
	struct index_facts before, after;
	struct index_progress p;

	index_facts(s->view, &before);
	while (!session_is_dead(s->s) && index_step_to_end(s->view, STEP_MS)) {
		index_progress(s->view, &p);
		imap_progress(s, p.done, p.done + p.todo);
	}
	index_facts(s->view, &after);
	return after.emails != before.emails;
}

void search_use_index(struct imap_session *s, struct search *q)
{
	bool is_unfound;

	if (selected_count(s->selected) <= SMALL_MAILBOX && !is_fuzzy(q->key))
		return;
	find(s, q, &is_unfound);
	if (!is_unfound || !complete_index(s))
		return;
	search_forget_index(q);
	find(s, q, &is_unfound);
}

enum err search_make_index(struct imap_session *s, struct search *q, uint32_t seq)
{
	struct index_progress p;
	bool goes_on = true;

	q->is_index_made = true;
	index_progress(s->view, &p);
	if (selected_count(s->selected) - seq < p.todo / 8)
		return ERR_OK;  /* most of what it would read is elsewhere */
	while (goes_on) {
		if (session_is_dead(s->s))
			return ERR_UNAVAILABLE;
		goes_on = index_step(s->view, STEP_MS);
		index_progress(s->view, &p);
		imap_progress(s, p.done, p.done + p.todo);
	}
	search_forget_index(q);
	search_use_index(s, q);
	return ERR_OK;
}

bool search_may_match(const struct search *q, const struct message_row *row)
{
	const struct search_key *k = q->key;

	if (k->op != KEY_AND)
		return k->hits == NULL || index_hit(k->hits, row->email) != HIT_NO;
	for (k = k->child; k != NULL; k = k->next)
		if (k->hits != NULL && index_hit(k->hits, row->email) == HIT_NO)
			return false;
	return true;
}
