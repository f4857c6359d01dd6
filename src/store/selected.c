/* One session's window on a mailbox: the translation between its sequence numbers, uids and the shared array (array.c),
 * and what it has to tell its client (news). All out of memory; the memory lock is held for one batch at a time.
 *
 * What must stay true: indices in `skips` are below `known`; every entry below `known` that is not in skips has a
 * sequence number; skips only contains entries with FLAG_GONE. And, so that a parked session can be rebuilt from a few
 * numbers: it counts exactly the messages below its uidnext that exist or vanished after removed_modseq. Therefore,
 * while removals are held back, a message that came and went meanwhile is counted too, and told away later. */
#include "base/clock.h"
#include "base/log.h"
#include "store/store_private.h"
#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------- numbers to indices */

/* The i-th skip hides the numbers from skips[i] - i on: how many of them lie before this sequence number? */
static size_t index_of_seq(const struct selected *s, uint32_t seq)
{
	size_t low = 0, high = s->n_skips;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (s->skips[mid] - mid <= seq - 1)
			low = mid + 1;
		else
			high = mid;
	}
	return seq - 1 + low;
}

static bool is_skipped(const struct selected *s, size_t index)
{
	size_t at = index_lower(s->skips, s->n_skips, (uint32_t)index);

	return at < s->n_skips && s->skips[at] == index;
}

static uint32_t seq_of_index(const struct selected *s, size_t index)
{
	return (uint32_t)(index - index_lower(s->skips, s->n_skips, (uint32_t)index) + 1);
}

uint32_t selected_count(const struct selected *s) { return s->count; }

/* Others compact the array and move `known` and skips, under the lock; how many messages are counted does not change by
 * it. */
static void count_again(struct selected *s)
{
	s->count = (uint32_t)(s->known - s->n_skips);
}

/* -------------------------------------------------------------------------------------------------- open and close */

static void copy_gone_as_skips(struct selected *s)
{
	s->n_skips = index_lower(s->array->gone, s->array->n_gone, (uint32_t)s->known);
	s->skips_cap = s->n_skips;
	s->skips = mem_array(s->n_skips, sizeof *s->skips);
	if (s->n_skips > 0)
		memcpy(s->skips, s->array->gone, s->n_skips * sizeof *s->skips);
}

static void select_all(struct selected *s)
{
	s->known = s->array->n;
	s->uidnext = s->box->seen.uidnext;
	s->modseq = s->removed_modseq = s->box->seen.highestmodseq;
	s->keywords = atomic_load(&s->v->keywords_mark);
	copy_gone_as_skips(s);
	count_again(s);
}

/* Numbers again what was removed after the client last heard of removals, and nothing else that is gone. What came and went since it was parked is
 * put in as well: while removals wait it is counted, and when the session is parked again nobody could tell it from what it knew. */
static bool select_as_known(struct selected *s, const struct selected_state *known, const struct uid_set *vanished)
{
	struct array *ar = s->array;

	array_insert_gone(ar, vanished, known->modseq + 1);
	s->uidnext = known->uidnext;
	s->known = array_find(ar, s->uidnext);
	for (size_t i = 0; i < ar->n_gone && ar->gone[i] < s->known; i++) {
		const struct entry *e = &ar->e[ar->gone[i]];
		if (e->modseq <= known->modseq && !uid_set_has(vanished, e->uid))
			index_insert(&s->skips, &s->n_skips, &s->skips_cap, ar->gone[i]);
		else
			s->holds_removals = true;
	}
	s->modseq = s->removed_modseq = known->modseq;
	if (known->flags_modseq > known->modseq && known->flags_modseq <= s->box->seen.highestmodseq)
		s->modseq = known->flags_modseq;
	s->keywords = known->keywords;
	count_again(s);
	return s->count == known->count;
}

/* *uidnext: what may have come and gone meanwhile is below it; what is above it is in the array. */
static bool can_resume(struct view *v, const struct box *box, const struct selected_state *known, uint32_t *uidnext)
{
	bool can;

	pthread_mutex_lock(&v->memory_lock);
	can = known->uidvalidity == box->seen.uidvalidity && known->uidnext <= box->seen.uidnext &&
	       known->modseq > 0 && modseq_floor(v, known->modseq) == known->modseq;
	*uidnext = box->seen.uidnext;
	pthread_mutex_unlock(&v->memory_lock);
	return can;
}

/* Deleted in the database, of which memory hears when it is synced. */
static bool is_being_deleted(struct view *v, int64_t mailbox_id)
{
	static const char sql[] = "SELECT 1 FROM mailbox WHERE mailbox_id = ?1";
	bool is_gone;

	pthread_mutex_lock(&v->db_lock);
	{
		CLEANUP(stmt_release) struct stmt *q = db_query(v->db, sql);
		stmt_bind_int64(q, 1, mailbox_id);
		is_gone = !stmt_row(q) && stmt_end(q) == ERR_OK;
	}
	pthread_mutex_unlock(&v->db_lock);
	return is_gone;
}

enum err selected_open(struct view *v, int64_t mailbox_id, const struct selected_state *known, struct selected **out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct uid_set vanished = { 0 };
	struct selected *s;
	struct box *box;
	bool fits = true;

	pthread_mutex_lock(&v->memory_lock);
	box = box_by_id(v, mailbox_id);
	pthread_mutex_unlock(&v->memory_lock);
	if (box == NULL)
		return ERR_NOTFOUND;
	s = MEM_NEW(struct selected);
	*s = (struct selected){ .v = v, .box = box, .is_opening = true };
	for (;;) {  /* an idle array may be dropped between its loading and our taking part in it */
		enum err e = array_load(v, box);
		if (e != ERR_OK) {
			mem_free(s);
			return e;
		}
		pthread_mutex_lock(&v->memory_lock);
		if (box->array != NULL && box->array->is_ready)
			break;
		pthread_mutex_unlock(&v->memory_lock);
	}
	s->array = box->array;
	s->next = box->array->sessions;
	box->array->sessions = s;
	v->n_selected++;
	if (known == NULL) {
		select_all(s);
		s->is_opening = false;
	}
	pthread_mutex_unlock(&v->memory_lock);
	if (known != NULL) {
		enum err e = ERR_CONFLICT;
		uint32_t uidnext;
		if (can_resume(v, box, known, &uidnext))
			e = vanished_since(v, mailbox_id, known->modseq, uidnext, &a, &vanished);
		if (e != ERR_OK) {
			selected_close(s);
			return e;
		}
		pthread_mutex_lock(&v->memory_lock);
		fits = select_as_known(s, known, &vanished);
		s->is_opening = false;
		pthread_mutex_unlock(&v->memory_lock);
	}
	if (!fits) {
		selected_close(s);
		if (is_being_deleted(v, mailbox_id))
			return ERR_NOTFOUND;
		log_warn("parked state does not fit mailbox_id=%lld", (long long)mailbox_id);
		return ERR_CONFLICT;
	}
	*out = s;
	return ERR_OK;
}

void selected_close(struct selected *s)
{
	struct view *v;
	struct selected **link;

	if (s == NULL)
		return;
	v = s->v;
	pthread_mutex_lock(&v->memory_lock);
	for (link = &s->array->sessions; *link != s; link = &(*link)->next)
		;
	*link = s->next;
	v->n_selected--;
	array_compact(s->array);
	if (s->array->sessions == NULL)
		s->array->idle_since_ms = clock_mono_ms();
	pthread_mutex_unlock(&v->memory_lock);
	mem_free(s->skips);
	mem_free(s);
}

struct view *selected_view(struct selected *s) { return s->v; }
int64_t selected_mailbox_id(const struct selected *s) { return s->box->m.mailbox_id; }
uint32_t selected_uidvalidity(const struct selected *s) { return s->box->seen.uidvalidity; }
uint32_t selected_uidnext(const struct selected *s) { return s->uidnext; }
uint64_t selected_modseq(const struct selected *s) { return s->holds_removals ? s->removed_modseq : s->modseq; }

void selected_state(struct selected *s, struct selected_state *out)
{
	*out = (struct selected_state){ .mailbox_id = s->box->m.mailbox_id, .uidvalidity = s->box->seen.uidvalidity,
		.uidnext = s->uidnext, .count = selected_count(s), .modseq = selected_modseq(s), .keywords = s->keywords,
		.flags_modseq = s->holds_removals ? s->modseq : 0 };
}

/* ------------------------------------------------------------------------------------------------------------ rows */

static struct message_row row_at(const struct selected *s, size_t index, uint32_t seq)
{
	const struct entry *e = &s->array->e[index];

	return (struct message_row){ seq, e->uid, e->email, e->modseq, e->flags };
}

/* Walks known messages from seq on, up to last. */
static size_t walk(struct selected *s, uint32_t seq, uint32_t last, uint64_t since, uint32_t *next,
				   struct message_row *out, size_t max)
{
	size_t index = index_of_seq(s, seq), skip = index - (seq - 1), n = 0;

	while (n < max && seq <= last) {
		while (skip < s->n_skips && s->skips[skip] == index) {
			skip++;
			index++;
		}
		if (s->array->e[index].modseq > since)
			out[n++] = row_at(s, index, seq);
		*next = seq++;
		index++;
	}
	return n;
}

size_t selected_rows(struct selected *s, const struct uid_set *seqs, uint64_t since, uint32_t *next,
					 struct message_row *out, size_t max)
{
	static const struct uid_range everything = { 1, UINT32_MAX };
	const struct uid_range *ranges = seqs ? seqs->r : &everything;
	size_t n_ranges = seqs ? seqs->n : 1, n = 0;
	uint32_t count;

	pthread_mutex_lock(&s->v->memory_lock);
	count = selected_count(s);
	for (size_t r = 0; r < n_ranges && n < max; r++) {
		uint32_t first = ranges[r].first, last = ranges[r].last < count ? ranges[r].last : count;
		if (first <= *next)
			first = *next + 1;
		if (first >= 1 && first <= last)
			n += walk(s, first, last, since, next, out + n, max - n);
	}
	pthread_mutex_unlock(&s->v->memory_lock);
	return n;
}

size_t selected_rows_by_uid(struct selected *s, const struct uid_set *uids, uint64_t since, uint32_t *next,
							struct message_row *out, size_t max)
{
	size_t n = 0;

	pthread_mutex_lock(&s->v->memory_lock);
	for (size_t r = 0; r < uids->n && n < max; r++) {
		uint32_t first = uids->r[r].first;
		size_t index;
		if (uids->r[r].last <= *next)
			continue;
		if (first <= *next)
			first = *next + 1;
		for (index = array_find(s->array, first); index < s->known && n < max; index++) {
			const struct entry *e = &s->array->e[index];
			if (e->uid > uids->r[r].last)
				break;
			*next = e->uid;
			if (e->modseq > since && (!(e->flags & FLAG_GONE) || !is_skipped(s, index)))
				out[n++] = row_at(s, index, seq_of_index(s, index));
		}
	}
	pthread_mutex_unlock(&s->v->memory_lock);
	return n;
}

uint32_t selected_first_unseen(struct selected *s)
{
	struct array *ar = s->array;
	uint32_t seq = 0;

	pthread_mutex_lock(&s->v->memory_lock);
	while (ar->seen_upto < s->known && (ar->e[ar->seen_upto].flags & (FLAG_SEEN | FLAG_GONE)))
		ar->seen_upto++;
	if (ar->seen_upto < s->known)
		seq = seq_of_index(s, ar->seen_upto);
	pthread_mutex_unlock(&s->v->memory_lock);
	return seq;
}

uint32_t selected_uid(struct selected *s, uint32_t seq)
{
	uint32_t uid = 0;

	pthread_mutex_lock(&s->v->memory_lock);
	if (seq >= 1 && seq <= selected_count(s))
		uid = s->array->e[index_of_seq(s, seq)].uid;
	pthread_mutex_unlock(&s->v->memory_lock);
	return uid;
}

uint32_t selected_seq(struct selected *s, uint32_t uid)
{
	uint32_t seq = 0;
	size_t index;

	pthread_mutex_lock(&s->v->memory_lock);
	index = array_find(s->array, uid);
	if (index < s->known && s->array->e[index].uid == uid && !is_skipped(s, index))
		seq = seq_of_index(s, index);
	pthread_mutex_unlock(&s->v->memory_lock);
	return seq;
}

void selected_to_uids(struct selected *s, const struct uid_set *seqs, struct arena *a, struct uid_set *uids)
{
	struct message_row rows[256];
	uint32_t next = 0;
	size_t n;

	while ((n = selected_rows(s, seqs, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++)
			uid_set_add(uids, a, rows[i].uid, rows[i].uid);
}

void selected_to_seqs(struct selected *s, const struct uid_set *uids, struct arena *a, struct uid_set *seqs)
{
	struct message_row rows[256];
	uint32_t next = 0;
	size_t n;

	while ((n = selected_rows_by_uid(s, uids, 0, &next, rows, COUNT_OF(rows))) > 0)
		for (size_t i = 0; i < n; i++)
			uid_set_add(seqs, a, rows[i].seq, rows[i].seq);
}

/* ------------------------------------------------------------------------------------------------------------ news */

static void add_removed(struct selected *s, size_t known_before, struct arena *a, struct news *out)
{
	const struct array *ar = s->array;
	size_t n_gone = index_lower(ar->gone, ar->n_gone, (uint32_t)known_before);
	size_t skip = s->n_skips;

	if (n_gone == s->n_skips)
		return;
	out->removed = arena_array(a, n_gone - s->n_skips, sizeof *out->removed);
	for (size_t i = n_gone; i-- > 0;) {  /* from the highest, so that each number is right when it is sent */
		if (skip > 0 && s->skips[skip - 1] == ar->gone[i])
			skip--;
		else
			out->removed[out->n_removed++] = row_at(s, ar->gone[i], (uint32_t)(ar->gone[i] - skip + 1));
	}
	for (size_t i = out->n_removed; i-- > 0;)
		uid_set_add(&out->vanished, a, out->removed[i].uid, out->removed[i].uid);
}

bool selected_was_told(const struct selected *s, uint64_t modseq)
{
	for (size_t i = 0; i < s->n_told; i++)
		if (s->told[i] == modseq)
			return true;
	return false;
}

static void add_changed(struct selected *s, size_t index, struct arena *a, struct news *out, size_t *cap)
{
	const struct entry *e = &s->array->e[index];

	if (e->modseq <= s->modseq || (e->flags & FLAG_GONE) || selected_was_told(s, e->modseq))
		return;
	if (out->n_changed == *cap)
		out->changed = arena_grow(a, out->changed, out->n_changed, cap, sizeof *out->changed);
	out->changed[out->n_changed++] = row_at(s, index, seq_of_index(s, index));
}

static int index_order(const void *left, const void *right)
{
	const uint32_t *l = left, *r = right;

	return *l < *r ? -1 : *l > *r;
}

/* The flags of messages known before this call. Few changes are found in the ring of recent ones. */
static void add_flags(struct selected *s, size_t known_before, struct arena *a, struct news *out)
{
	const struct array *ar = s->array;
	uint32_t indices[RECENT_MAX];
	size_t n = 0, cap = 0;

	if (s->box->flags_modseq <= s->modseq)
		return;
	if (s->modseq < ar->recent_floor) {
		for (size_t i = 0; i < known_before; i++)
			add_changed(s, i, a, out, &cap);
		return;
	}
	for (size_t back = 1; back <= RECENT_MAX; back++) {
		size_t at = (ar->recent_at + RECENT_MAX - back) % RECENT_MAX;
		size_t index;
		if (ar->recent[at].modseq <= s->modseq)
			break;
		index = array_find(ar, ar->recent[at].uid);
		if (index < known_before && ar->e[index].uid == ar->recent[at].uid)
			indices[n++] = (uint32_t)index;
	}
	if (n == 0)
		return;
	qsort(indices, n, sizeof indices[0], index_order);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || indices[i] != indices[i - 1])
			add_changed(s, indices[i], a, out, &cap);
}

bool selected_new_keywords(struct selected *s)
{
	uint32_t before = s->keywords;

	s->keywords = atomic_load(&s->v->keywords_mark);
	return s->keywords != before;
}

void selected_news(struct selected *s, bool removals, struct arena *a, struct news *out)
{
	struct array *ar = s->array;
	uint32_t count_before = s->count;
	size_t known_before;

	*out = (struct news){ .exists = count_before };
	pthread_mutex_lock(&s->v->memory_lock);
	known_before = s->known;
	out->is_deleted = s->box->is_deleted;
	out->has_keywords = selected_new_keywords(s);
	if (out->is_deleted || (s->modseq == s->box->seen.highestmodseq && !(removals && s->holds_removals)))
		goto out;
	if (removals) {
		add_removed(s, known_before, a, out);
		s->holds_removals = false;
		s->known = ar->n;
		mem_free(s->skips);
		copy_gone_as_skips(s);  /* also what came and went without ever being told */
	} else {
		s->known = ar->n;
		s->holds_removals = ar->n_gone > s->n_skips;
	}
	count_again(s);
	out->exists = s->count;
	out->has_new = out->exists > count_before - out->n_removed;
	add_flags(s, known_before, a, out);
	s->uidnext = s->box->seen.uidnext;
	s->modseq = s->box->seen.highestmodseq;
	if (!s->holds_removals)
		s->removed_modseq = s->modseq;
	s->n_told = 0;
	s->mixed = 0;
	array_compact(ar);
out:
	pthread_mutex_unlock(&s->v->memory_lock);
}

void selected_told(struct selected *s, uint64_t modseq, bool as_they_are)
{
	pthread_mutex_lock(&s->v->memory_lock);
	if (modseq != 0 && (as_they_are || s->mixed == 0 || modseq < s->mixed)) {
		if (s->n_told == TOLD_MAX)  /* the oldest will be told twice: harmless */
			memmove(s->told, s->told + 1, --s->n_told * sizeof s->told[0]);
		s->told[s->n_told++] = modseq;
	}
	pthread_mutex_unlock(&s->v->memory_lock);
}

/* Mail that arrived is told out of the counters alone; anything else needs the numbering, so the array. */
static bool news_from_counters(struct view *v, const struct box *box, struct selected_state *state, struct news *out)
{
	if (box->array != NULL || state->modseq < box->flags_modseq || state->modseq < box->vanished_modseq ||
	    state->uidvalidity != box->seen.uidvalidity || modseq_floor(v, state->modseq) != state->modseq)
		return false;
	out->has_keywords = state->keywords != atomic_load(&v->keywords_mark);
	out->exists = box->seen.messages;
	out->has_new = out->exists > state->count;
	state->keywords = atomic_load(&v->keywords_mark);
	state->count = box->seen.messages;
	state->uidnext = box->seen.uidnext;
	state->modseq = box->seen.highestmodseq;
	state->flags_modseq = 0;
	return true;
}

enum err view_news(struct view *v, struct selected_state *state, bool removals, struct arena *a, struct news *out)
{
	struct selected *s;
	struct box *box;
	bool done = false;

	*out = (struct news){ 0 };
	pthread_mutex_lock(&v->memory_lock);
	box = box_by_id(v, state->mailbox_id);
	if (box == NULL)
		done = out->is_deleted = true;
	else
		done = news_from_counters(v, box, state, out);
	pthread_mutex_unlock(&v->memory_lock);
	if (done)
		return ERR_OK;
	TRY(selected_open(v, state->mailbox_id, state, &s));
	selected_news(s, removals, a, out);
	selected_state(s, state);
	selected_close(s);
	return ERR_OK;
}
