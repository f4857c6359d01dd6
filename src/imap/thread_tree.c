/* The algorithms of THREAD (RFC 5256 §3; REFS: draft-ietf-morg-inthread): which message answers which.
 *
 * The RFC describes trees that are changed in place. Here a tree is one number for each node, its parent, until the very end: linking,
 * dropping dummies and joining threads each change parents only, and lists of children are made once, by sorting all nodes by parent and
 * date. So nothing recurses, whatever a mailbox holds, and a million messages are a few arrays.
 *
 * A loop of parents can arise only when the child has children already; then its would-be ancestors are walked, within one budget for
 * the whole command (STEPS_MAX): who writes References to make that dear gets a flatter thread. */
#include "imap/thread_private.h"
#include <stdlib.h>

enum { STEPS_MAX = 20000000 };

struct work {
	struct arena *a;
	const struct thread_message *messages;
	size_t   n;                  /* messages */
	size_t   n_nodes, cap;
	int32_t *parent;             /* of each node */
	/* identifiers: open addressing, a power of two of places */
	uint64_t *ids;               /* of each place; 0: free */
	int32_t  *nodes;             /* the node of each place */
	size_t    places;
	uint32_t *n_children;        /* while linking */
	long      steps;
};

/* ---------------------------------------------------------------------------------------------- step 1: who refers to whom */

static int32_t new_node(struct work *w)
{
	w->parent[w->n_nodes] = THREAD_NONE;
	return (int32_t)w->n_nodes++;
}

/* The node of an identifier: the message that has it, or else a dummy. */
static int32_t node_of(struct work *w, uint64_t id)
{
	size_t at = (size_t)id & (w->places - 1);

	while (w->ids[at] != 0 && w->ids[at] != id)
		at = (at + 1) & (w->places - 1);
	if (w->ids[at] == 0) {
		w->ids[at] = id;
		w->nodes[at] = new_node(w);
	}
	return w->nodes[at];
}

/* Messages first, so that a node below n is one; a second message with the same identifier counts as one without. */
static void name_messages(struct work *w)
{
	for (size_t i = 0; i < w->n; i++) {
		uint64_t id = w->messages[i].id;
		size_t at = (size_t)id & (w->places - 1);
		while (w->ids[at] != 0 && w->ids[at] != id)
			at = (at + 1) & (w->places - 1);
		if (id != 0 && w->ids[at] == 0) {
			w->ids[at] = id;
			w->nodes[at] = (int32_t)i;
		}
	}
}

static bool makes_loop(struct work *w, int32_t parent, int32_t child)
{
	if (parent == child)
		return true;
	if (w->n_children[child] == 0)
		return false;
	for (int32_t up = parent; up != THREAD_NONE; up = w->parent[up])
		if (up == child || ++w->steps > STEPS_MAX)
			return true;
	return false;
}

static void link_nodes(struct work *w, int32_t parent, int32_t child)
{
	if (makes_loop(w, parent, child))
		return;
	if (w->parent[child] != THREAD_NONE)
		w->n_children[w->parent[child]]--;
	w->parent[child] = parent;
	w->n_children[parent]++;
}

static void unlink_node(struct work *w, int32_t child)
{
	if (w->parent[child] != THREAD_NONE)
		w->n_children[w->parent[child]]--;
	w->parent[child] = THREAD_NONE;
}

static void link_all(struct work *w)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct thread_message *m = &w->messages[i];
		int32_t before = THREAD_NONE;
		for (size_t k = 0; k < m->n_references; k++) {
			if (m->references[k] == 0)
				continue;
			int32_t node = node_of(w, m->references[k]);
			if (before != THREAD_NONE && w->parent[node] == THREAD_NONE)
				link_nodes(w, before, node);
			before = node;
		}
		if (before == THREAD_NONE || before == (int32_t)i) {
			unlink_node(w, (int32_t)i);
		} else if (w->parent[i] != before) {
			unlink_node(w, (int32_t)i);  /* somebody's References had a gap there */
			link_nodes(w, before, (int32_t)i);
		}
	}
}

/* ----------------------------------------------------------------------------------------- steps 2, 3: dummies that say nothing */

/* The nearest message above, or the highest dummy; every dummy on the way remembers it. */
static int32_t above(struct work *w, int32_t node)
{
	int32_t n = (int32_t)w->n, up = w->parent[node], end, next;

	if (up < n)
		return up;
	for (end = up; w->parent[end] >= n;)
		end = w->parent[end];
	end = w->parent[end] == THREAD_NONE ? end : w->parent[end];
	for (; up >= n && up != end && w->parent[up] != end; up = next) {
		next = w->parent[up];
		w->parent[up] = end;
	}
	return end;
}

/* A dummy stays where it holds together two messages or more that have nothing else above them. */
static void drop_dummies(struct work *w)
{
	uint32_t *held = arena_array(w->a, w->n_nodes, sizeof *held);
	int32_t *up = arena_array(w->a, w->n, sizeof *up);

	memset(held, 0, w->n_nodes * sizeof *held);
	for (size_t i = 0; i < w->n; i++) {
		up[i] = above(w, (int32_t)i);
		if (up[i] != THREAD_NONE)
			held[up[i]]++;
	}
	for (size_t i = 0; i < w->n; i++)
		w->parent[i] = up[i] >= (int32_t)w->n && held[up[i]] < 2 ? THREAD_NONE : up[i];
	for (size_t i = w->n; i < w->n_nodes; i++)
		w->parent[i] = THREAD_NONE;
}

/* ---------------------------------------------------------------------------------------------------------------- orders */

struct order {
	int32_t node, parent;
	int64_t date;
	int32_t tie;             /* the message it goes by */
};

static int compare_order(const void *left, const void *right)
{
	const struct order *a = left, *b = right;

	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	if (a->date != b->date)
		return a->date < b->date ? -1 : 1;
	return (a->tie > b->tie) - (a->tie < b->tie);
}

static bool is_earlier(const struct work *w, int32_t a, int32_t b)
{
	int64_t sent_a = w->messages[a].sent, sent_b = w->messages[b].sent;

	return sent_a != sent_b ? sent_a < sent_b : a < b;
}

/* The message each node goes by: itself, or the earliest child of a dummy; THREAD_NONE: a dummy without any. */
static int32_t *faces(struct work *w)
{
	int32_t *face = arena_array(w->a, w->n_nodes, sizeof *face);

	for (size_t i = 0; i < w->n_nodes; i++)
		face[i] = i < w->n ? (int32_t)i : THREAD_NONE;
	for (size_t i = 0; i < w->n; i++) {
		int32_t up = w->parent[i];
		if (up >= (int32_t)w->n && (face[up] == THREAD_NONE || is_earlier(w, (int32_t)i, face[up])))
			face[up] = (int32_t)i;
	}
	return face;
}

/* The highest node above each message, found with the path shortened behind. */
static int32_t top_of(int32_t *top, int32_t node)
{
	int32_t end = node, next;

	while (top[end] != THREAD_NONE)
		end = top[end];
	for (; top[node] != THREAD_NONE && top[node] != end; node = next) {
		next = top[node];
		top[node] = end;
	}
	return end;
}

/* REFS: a thread is as new as its newest message. */
static int64_t *newest(struct work *w)
{
	int64_t *date = arena_array(w->a, w->n_nodes, sizeof *date);
	int32_t *top = arena_array(w->a, w->n_nodes, sizeof *top);

	memcpy(top, w->parent, w->n_nodes * sizeof *top);
	for (size_t i = 0; i < w->n_nodes; i++)
		date[i] = INT64_MIN;
	for (size_t i = 0; i < w->n; i++) {
		int32_t end = top_of(top, (int32_t)i);
		if (w->messages[i].received > date[end])
			date[end] = w->messages[i].received;
	}
	return date;
}

static void make_lists(struct work *w, enum thread_how how, struct thread_tree *out)
{
	int32_t *face = faces(w);
	int64_t *date = how == THREAD_REFS ? newest(w) : NULL;
	struct order *all = arena_array(w->a, w->n_nodes, sizeof *all);
	size_t n = 0;

	for (size_t i = 0; i < w->n_nodes; i++)
		if (face[i] != THREAD_NONE)
			all[n++] = (struct order){ (int32_t)i, w->parent[i],
			                           date && w->parent[i] == THREAD_NONE ? date[i] : w->messages[face[i]].sent, face[i] };
	if (n > 0)
		qsort(all, n, sizeof *all, compare_order);
	*out = (struct thread_tree){ .nodes = arena_array(w->a, w->n_nodes, sizeof *out->nodes), .n = w->n_nodes, .first = THREAD_NONE };
	for (size_t i = 0; i < w->n_nodes; i++)
		out->nodes[i] = (struct thread_node){ w->parent[i], THREAD_NONE, THREAD_NONE };
	for (size_t i = n; i-- > 0;) {
		int32_t *head = all[i].parent == THREAD_NONE ? &out->first : &out->nodes[all[i].parent].child;
		out->nodes[all[i].node].next = *head;
		*head = all[i].node;
	}
}

/* ----------------------------------------------------------------------------------------- steps 4, 5: threads of one subject */

struct subjects {
	struct work *w;
	int32_t  *places;      /* tops by subject; THREAD_NONE: free */
	size_t    n_places;
	int32_t  *face;
	int32_t  *joined;      /* a dummy whose children went to another; THREAD_NONE */
};

static struct str subject_of(const struct subjects *s, int32_t top)
{
	return s->face[top] == THREAD_NONE ? STR_NONE : s->w->messages[s->face[top]].subject;
}

static int32_t *place_of(struct subjects *s, struct str subject)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	size_t at;

	for (size_t i = 0; i < subject.n; i++)
		h = (h ^ (unsigned char)subject.p[i]) * UINT64_C(0x100000001b3);
	for (at = (size_t)(h ^ h >> 32) & (s->n_places - 1); s->places[at] != THREAD_NONE; at = (at + 1) & (s->n_places - 1))
		if (str_eq(subject_of(s, s->places[at]), subject))
			break;
	return &s->places[at];
}

static bool is_dummy(const struct subjects *s, int32_t node) { return node >= (int32_t)s->w->n; }

static bool is_reply(const struct subjects *s, int32_t top)
{
	return !is_dummy(s, top) && s->w->messages[top].is_reply;
}

/* One of two threads with the same subject goes under the other, or both under a new dummy              RFC 5256 §3, (5)(C) */
static void join(struct subjects *s, int32_t *place, int32_t top)
{
	struct work *w = s->w;
	int32_t kept = *place, dummy;

	if (is_dummy(s, kept) && is_dummy(s, top)) {
		s->joined[top] = kept;
	} else if (is_dummy(s, kept) || (is_reply(s, top) && !is_reply(s, kept))) {
		w->parent[top] = kept;
	} else {
		dummy = new_node(w);
		s->face[dummy] = s->face[kept];
		s->joined[dummy] = THREAD_NONE;
		w->parent[kept] = w->parent[top] = dummy;
		*place = dummy;
	}
}

static void gather_subjects(struct work *w)
{
	struct subjects s = { .w = w, .n_places = 16, .face = faces(w) };
	size_t n_tops = 0, room = w->n_nodes + w->n + 1;
	struct order *tops = arena_array(w->a, w->n_nodes, sizeof *tops);

	s.face = memcpy(arena_array(w->a, room, sizeof *s.face), s.face, w->n_nodes * sizeof *s.face);
	s.joined = arena_array(w->a, room, sizeof *s.joined);
	memset(s.joined, 0xff, room * sizeof *s.joined);
	while (s.n_places < 2 * w->n_nodes)
		s.n_places *= 2;
	s.places = arena_array(w->a, s.n_places, sizeof *s.places);
	memset(s.places, 0xff, s.n_places * sizeof *s.places);
	for (size_t i = 0; i < w->n_nodes; i++)
		if (w->parent[i] == THREAD_NONE && s.face[i] != THREAD_NONE)
			tops[n_tops++] = (struct order){ (int32_t)i, 0, w->messages[s.face[i]].sent, s.face[i] };
	if (n_tops > 0)
		qsort(tops, n_tops, sizeof *tops, compare_order);
	for (size_t i = 0; i < n_tops; i++) {
		int32_t top = tops[i].node, *place;
		if (subject_of(&s, top).n == 0)
			continue;
		place = place_of(&s, subject_of(&s, top));
		if (*place == THREAD_NONE || (is_dummy(&s, top) && !is_dummy(&s, *place)) || (is_reply(&s, *place) && !is_reply(&s, top)))
			*place = top;
	}
	for (size_t i = 0; i < n_tops; i++) {
		int32_t top = tops[i].node, *place;
		if (subject_of(&s, top).n == 0)
			continue;
		place = place_of(&s, subject_of(&s, top));
		if (*place != top && w->parent[top] == THREAD_NONE)
			join(&s, place, top);
	}
	for (size_t i = 0; i < w->n; i++)
		if (w->parent[i] != THREAD_NONE && s.joined[w->parent[i]] != THREAD_NONE)
			w->parent[i] = s.joined[w->parent[i]];
}

/* ------------------------------------------------------------------------------------------------------- ORDEREDSUBJECT */

static int compare_subject(const void *left, const void *right, void *context)
{
	const struct work *w = context;
	int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
	int order = str_cmp(w->messages[a].subject, w->messages[b].subject);

	if (order != 0)
		return order;
	return is_earlier(w, a, b) ? -1 : a != b;
}

/* The earliest message of a subject, and all others as its children. */
static void by_subject(struct work *w)
{
	int32_t *sorted = arena_array(w->a, w->n, sizeof *sorted), first = THREAD_NONE;

	for (size_t i = 0; i < w->n; i++)
		sorted[i] = (int32_t)i;
	if (w->n > 0)
		qsort_r(sorted, w->n, sizeof *sorted, compare_subject, w);
	for (size_t i = 0; i < w->n; i++) {
		if (first != THREAD_NONE && str_eq(w->messages[first].subject, w->messages[sorted[i]].subject))
			w->parent[sorted[i]] = first;
		else
			first = sorted[i];
	}
}

void thread_build(struct arena *a, enum thread_how how, const struct thread_message *messages, size_t n, struct thread_tree *out)
{
	struct work w = { .a = a, .messages = messages, .n = n, .n_nodes = n, .places = 16 };

	w.cap = 2 * n + 1;  /* and a dummy for each subject */
	for (size_t i = 0; i < n && how != THREAD_ORDEREDSUBJECT; i++)
		w.cap += messages[i].n_references;
	w.parent = arena_array(a, w.cap, sizeof *w.parent);
	memset(w.parent, 0xff, w.cap * sizeof *w.parent);
	if (how == THREAD_ORDEREDSUBJECT) {
		by_subject(&w);
	} else {
		while (w.places < 2 * w.cap)
			w.places *= 2;
		w.ids = arena_array(a, w.places, sizeof *w.ids);
		w.nodes = arena_array(a, w.places, sizeof *w.nodes);
		w.n_children = arena_array(a, w.cap, sizeof *w.n_children);
		memset(w.ids, 0, w.places * sizeof *w.ids);
		memset(w.n_children, 0, w.cap * sizeof *w.n_children);
		name_messages(&w);
		link_all(&w);
		drop_dummies(&w);
		if (how == THREAD_REFERENCES)
			gather_subjects(&w);
	}
	make_lists(&w, how, out);
}

/* ---------------------------------------------------------------------------------------------------------------- writing */

static void put_number(struct buf *b, uint32_t number)
{
	buf_printf(b, "%u", number);
}

/* thread-list = "(" (thread-members / thread-nested) ")"; waiting holds the next sibling of each open level. */
static void put_thread(struct buf *b, const struct thread_tree *t, const struct thread_message *messages, size_t n, int32_t top, int32_t *waiting)
{
	size_t depth = 0;
	int32_t node = top;

	buf_add_char(b, '(');
	for (;;) {
		int32_t child = t->nodes[node].child;
		bool is_message = node < (int32_t)n;
		if (is_message)
			put_number(b, messages[node].number);
		if (child == THREAD_NONE) {
			buf_add_char(b, ')');
			for (; depth > 0 && waiting[depth - 1] == THREAD_NONE; depth--)
				buf_add_char(b, ')');
			if (depth == 0)
				return;
			node = waiting[depth - 1];
			waiting[depth - 1] = t->nodes[node].next;
			buf_add_char(b, '(');
			continue;
		}
		if (is_message)
			buf_add_char(b, ' ');
		if (t->nodes[child].next != THREAD_NONE) {
			waiting[depth++] = t->nodes[child].next;
			buf_add_char(b, '(');
		}
		node = child;
	}
}

void thread_put(struct buf *b, struct arena *a, const struct thread_tree *t, const struct thread_message *messages, size_t n,
                void (*spill)(void *context), void *context)
{
	int32_t *waiting = arena_array(a, t->n + 1, sizeof *waiting);

	for (int32_t top = t->first; top != THREAD_NONE; top = t->nodes[top].next) {
		put_thread(b, t, messages, n, top, waiting);
		if (spill != NULL)
			spill(context);
	}
}
