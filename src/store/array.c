/* The messages of one mailbox in memory: 24 bytes each, sorted by uid, shared by all sessions that have it selected.
 *
 * Problem: each session has its own sequence numbers, because an EXPUNGE is told at different times to each (RFC 9051
 * §7.5.1). Copies for each session would cost 24 bytes a message and session, and flags would have to be kept equal.
 * Choice: one array. A removed message stays in it, marked FLAG_GONE, as long as one session still counts it. What a
 * session no longer counts is a short sorted list of indices (`skips`), so a sequence number becomes an index by one
 * binary search, and without removals it is the index. When every session was told, array_compact() closes the gaps and
 * renumbers the skips. New messages come at the end only (uids ascend), so `known` of a session never moves by itself.
 *
 * Everything here happens under the memory lock. */
#include "base/clock.h"
#include "store/chunk.h"
#include "store/store_private.h"

size_t array_find(const struct array *ar, uint32_t uid)
{
	size_t low = 0, high = ar->n;

	if (ar->n == 0 || uid > ar->e[ar->n - 1].uid)
		return ar->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (ar->e[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

size_t index_lower(const uint32_t *sorted, size_t n, uint32_t value)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (sorted[mid] < value)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void index_insert(uint32_t **sorted, size_t *n, size_t *cap, uint32_t value)
{
	size_t at = index_lower(*sorted, *n, value);

	if (at < *n && (*sorted)[at] == value)
		return;
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 16;
		*sorted = mem_resize(*sorted, *cap * sizeof **sorted);
	}
	memmove(*sorted + at + 1, *sorted + at, (*n - at) * sizeof **sorted);
	(*sorted)[at] = value;
	(*n)++;
}

enum {
	RESERVE_MAX = 1 << 20,  /* entries ahead of their rows: 24 MB */
#ifdef FACTEUR_FAULT
	CHUNKS_STEP = 2,        /* random and crash tests read in several steps */
#else
	CHUNKS_STEP = 64,       /* read under one lock: 9,000 messages in 0.3 ms */
#endif
};

static void array_reserve(struct array *ar, size_t n)
{
	if (n <= ar->cap)
		return;
	ar->cap = n < 64 ? 64 : n + n / 4;
	ar->e = mem_resize(ar->e, ar->cap * sizeof *ar->e);
}

static void array_push(struct array *ar, uint32_t uid, uint32_t email, uint64_t modseq, uint64_t flags)
{
	array_reserve(ar, ar->n + 1);
	ar->e[ar->n++] = (struct entry){ uid, email, modseq, flags };
}

void array_add(struct array *ar, uint32_t uid, uint32_t email, uint64_t modseq, uint64_t flags)
{
	if (ar->is_complete && (ar->n == 0 || uid > ar->e[ar->n - 1].uid))
		array_push(ar, uid, email, modseq, flags);
}

/* What changes together mostly stands side by side. */
static size_t find_next(struct array *ar, uint32_t uid)
{
	size_t next = ar->changed + 1;

	ar->changed = next < ar->n && ar->e[next].uid == uid ? next : array_find(ar, uid);
	return ar->changed;
}

/* Another device's change is hidden by this one from a session that has not heard of it. */
static void note_mixed(struct array *ar, uint64_t before, uint64_t modseq)
{
	for (struct selected *s = ar->sessions; s != NULL; s = s->next)
		if (before > s->modseq && s->mixed == 0 && !selected_was_told(s, before))
			s->mixed = modseq;
}

void array_flags(struct array *ar, uint32_t uid, uint64_t modseq, uint64_t flags)
{
	size_t i = find_next(ar, uid);

	if (i == ar->n || ar->e[i].uid != uid || (ar->e[i].flags & FLAG_GONE))
		return;
	note_mixed(ar, ar->e[i].modseq, modseq);
	ar->e[i].modseq = modseq;
	ar->e[i].flags = flags;
	if (!(flags & FLAG_SEEN) && i < ar->seen_upto)
		ar->seen_upto = i;
	if (ar->recent[ar->recent_at].modseq > ar->recent_floor)
		ar->recent_floor = ar->recent[ar->recent_at].modseq;  /* overwritten now */
	ar->recent[ar->recent_at].modseq = modseq;
	ar->recent[ar->recent_at].uid = uid;
	ar->recent_at = (ar->recent_at + 1) % RECENT_MAX;
}

void array_gone(struct array *ar, uint32_t uid, uint64_t modseq)
{
	size_t i = find_next(ar, uid);

	if (i == ar->n || ar->e[i].uid != uid || (ar->e[i].flags & FLAG_GONE))
		return;
	ar->e[i].modseq = modseq;
	ar->e[i].flags |= FLAG_GONE;
	index_insert(&ar->gone, &ar->n_gone, &ar->gone_cap, (uint32_t)i);
}

/* Indices become uids while the array changes its shape, and indices again after it. */
static void sessions_to_uids(struct array *ar)
{
	for (struct selected *s = ar->sessions; s; s = s->next)
		for (size_t i = 0; i < s->n_skips; i++)
			s->skips[i] = ar->e[s->skips[i]].uid;
}

static void sessions_to_indices(struct array *ar)
{
	for (struct selected *s = ar->sessions; s; s = s->next) {
		size_t kept = 0;
		for (size_t i = 0; i < s->n_skips; i++) {
			size_t at = array_find(ar, s->skips[i]);
			if (at < ar->n && ar->e[at].uid == s->skips[i])
				s->skips[kept++] = (uint32_t)at;
		}
		s->n_skips = kept;
		s->known = array_find(ar, s->uidnext);
	}
}

static void collect_gone(struct array *ar)
{
	ar->n_gone = 0;
	for (size_t i = 0; i < ar->n; i++)
		if (ar->e[i].flags & FLAG_GONE)
			index_insert(&ar->gone, &ar->n_gone, &ar->gone_cap, (uint32_t)i);
}

void array_insert_gone(struct array *ar, const struct uid_set *uids, uint64_t modseq)
{
	uint64_t more = uid_set_count(uids);
	struct entry *merged;
	size_t n = 0, at = 0;

	if (more == 0)
		return;
	merged = mem_array(ar->n + more, sizeof *merged);
	sessions_to_uids(ar);
	for (size_t r = 0; r < uids->n; r++) {
		for (uint64_t uid = uids->r[r].first; uid <= uids->r[r].last; uid++) {
			while (at < ar->n && ar->e[at].uid < uid)
				merged[n++] = ar->e[at++];
			if (at < ar->n && ar->e[at].uid == uid)
				continue;  /* another session still counts it */
			merged[n++] = (struct entry){ (uint32_t)uid, 0, modseq, FLAG_GONE };
			for (struct selected *s = ar->sessions; s; s = s->next)
				if (uid < s->uidnext)
					index_insert(&s->skips, &s->n_skips, &s->skips_cap, (uint32_t)uid);
		}
	}
	while (at < ar->n)
		merged[n++] = ar->e[at++];
	mem_free(ar->e);
	ar->e = merged;
	ar->cap = ar->n + more;
	ar->n = n;
	ar->seen_upto = 0;
	collect_gone(ar);
	sessions_to_indices(ar);
}

void array_compact(struct array *ar)
{
	size_t kept;

	if (ar->n_gone == 0 || !ar->is_ready)
		return;
	for (struct selected *s = ar->sessions; s; s = s->next)
		if (s->is_opening || s->n_skips != ar->n_gone)
			return;  /* it still counts one of them, or may have to */
	for (struct selected *s = ar->sessions; s; s = s->next)
		s->n_skips = 0;
	kept = ar->gone[0];
	for (size_t i = kept; i < ar->n; i++)
		if (!(ar->e[i].flags & FLAG_GONE))
			ar->e[kept++] = ar->e[i];
	ar->n = kept;
	ar->seen_upto -= index_lower(ar->gone, ar->n_gone, (uint32_t)ar->seen_upto);
	ar->n_gone = 0;
	sessions_to_indices(ar);
}

void array_free(struct array *ar)
{
	if (ar == NULL)
		return;
	mem_free(ar->e);
	mem_free(ar->gone);
	mem_free(ar);
}

struct reading {
	struct view  *v;
	struct array *ar;
	uint32_t      key;    /* of the chunk that was read last: another message may be in it when the next step comes */
	uint32_t      from;
};

static void array_push_chunk(void *context, const struct chunk *c)
{
	struct reading *r = context;
	size_t at = chunk_find(c, r->from), n = chunk_count(c) - at;

	pthread_mutex_lock(&r->v->memory_lock);
	array_reserve(r->ar, r->ar->n + n);
	chunk_entries(c, at, r->ar->e + r->ar->n);
	r->ar->n += n;
	pthread_mutex_unlock(&r->v->memory_lock);
	r->key = chunk_key(c);
	if (n > 0)  /* else all of it stands in earlier ones, too: damage, which must not begin them again */
		r->from = chunk_last_uid(c) + 1;
}

/* Reads the rows in steps, so that nobody waits long for the database. Additions published meanwhile are not applied:
 * their rows are committed, so a later step finds them. From the last step on (is_complete, set under the db lock) they
 * are, and what a step had read already is ignored. Flags and removals apply at any time to what was read. */
static enum err array_build(struct view *v, struct box *box, struct array *ar)
{
	struct reading r = { .v = v, .ar = ar };
	enum err e = ERR_OK;

	while (e == ERR_OK && !ar->is_complete) {
		bool more;
		pthread_mutex_lock(&v->db_lock);
		e = chunk_each(v, box->m.mailbox_id, r.key, CHUNKS_STEP, array_push_chunk, &r, &more);
		pthread_mutex_lock(&v->memory_lock);
		ar->is_complete = e == ERR_OK && !more;
		pthread_mutex_unlock(&v->memory_lock);
		pthread_mutex_unlock(&v->db_lock);
	}
	return e;
}

enum err array_load(struct view *v, struct box *box)
{
	struct array *ar;
	bool is_large;
	enum err e;

	pthread_mutex_lock(&v->memory_lock);
	while (box->array != NULL && !box->array->is_ready)
		pthread_cond_wait(&v->array_ready, &v->memory_lock);
	if (box->array != NULL) {
		pthread_mutex_unlock(&v->memory_lock);
		return ERR_OK;
	}
	ar = box->array = MEM_NEW(struct array);
	array_reserve(ar, box->seen.messages < RESERVE_MAX ? box->seen.messages : RESERVE_MAX);  /* a damaged counter costs no memory */
	is_large = box->seen.messages > ROWS_STEP;
	pthread_mutex_unlock(&v->memory_lock);
	if (is_large)
		will_wait(v);
	e = array_build(v, box, ar);
	if (e == ERR_OK)
		e = view_sync(v, v->committed);  /* what the steps read is visible to nobody before it is durable */
	pthread_mutex_lock(&v->memory_lock);
	if (e == ERR_OK) {
		ar->is_ready = true;
		ar->idle_since_ms = clock_mono_ms();
		ar->recent_floor = box->seen.highestmodseq;
	} else {
		array_free(ar);
		box->array = NULL;
	}
	pthread_cond_broadcast(&v->array_ready);
	pthread_mutex_unlock(&v->memory_lock);
	return e;
}
