/* imap/model_search_test.h -- SEARCH and SORT of the model (model_test.h): what must be found, in which order, which of it is asked for, and
 * what "$" is afterwards (RFC 5182, RFC 9394). */
#ifndef FACTEUR_IMAP_MODEL_SEARCH_TEST_H
#define FACTEUR_IMAP_MODEL_SEARCH_TEST_H
#include "imap/model_told_test.h"

/* What texts are looked for, and the messages that have them: one of these subjects, or all of these words. */
static const struct needle {
	const char *key, *text;
	uint32_t    subjects, words;
} needles[] = {
	{ "SUBJECT", "apple", 1 | 4, 0 }, { "SUBJECT", "ZEBRA", 2, 0 }, { "SUBJECT", "] ban", 8, 0 }, { "SUBJECT", "lemon", 0, 0 },
	{ "BODY", "Lemon", 0, 1 }, { "BODY", "alnut", 0, 2 }, { "BODY", "cherr", 0, 4 }, { "BODY", "n wal", 0, 1 | 2 }, { "BODY", "s date", 0, 4 | 8 }, { "BODY", "zebra", 0, 0 },
	{ "TEXT", "APPLES", 1 | 4, 0 }, { "TEXT", "walnut", 0, 2 }, { "TEXT", "lemon walnut", 0, 1 | 2 }, { "TEXT", "nowhere", 0, 0 },
};

struct query {
	uint32_t with, without, smaller;
	int      since;
	bool     in_saved;
	const struct needle *needle;
};

enum returned { R_PLAIN, R_ALL, R_SAVE, R_SAVE_ALL, R_SAVE_MIN, R_SAVE_MAX, R_PARTIAL, R_PARTIAL_END, R_SAVE_PARTIAL, R_RETURNS };

static bool matches(const struct client *c, const struct query *q, const struct model_message *m)
{
	const struct needle *t = q->needle;

	if ((m->flags & q->with) != q->with || (m->flags & q->without) || (q->smaller != 0 && m->size >= q->smaller) || m->day < q->since)
		return false;
	if (q->in_saved && !is_saved(c, m->uid))
		return false;
	return t == NULL || (t->subjects >> m->subject & 1) || (t->words != 0 && (m->words & t->words) == t->words);
}

static struct query query_of(const struct client *c, const struct operation *o)
{
	return (struct query){ .with = o->b & 4 ? 1u << (o->b >> 3) % FLAGS : 0, .without = o->b & 1 ? 1u << (o->b >> 6) % FLAGS : 0,
		               .smaller = o->b & 2 ? 20 + (o->b >> 9) % 60 : 0, .since = o->b & 1024 ? (int)(o->b >> 12) % 28 + 1 : 0,
		               .in_saved = (o->a >> 12) % 4 == 0 && !c->is_saved_unknown,
		               .needle = (o->a >> 14) % 3 == 0 ? &needles[(o->a >> 16) % COUNT_OF(needles)] : NULL };
}

static void keys_of(const struct query *q, char *out, size_t room)
{
	size_t n = (size_t)snprintf(out, room, q->in_saved ? "$" : "ALL");

	for (int f = 0; f < FLAGS; f++) {
		bool is_key = f > 4;
		if (q->with & 1u << f)
			n += (size_t)snprintf(out + n, room - n, is_key ? " KEYWORD %s" : " %s", flag_names[f] + !is_key);
		if (q->without & 1u << f)
			n += (size_t)snprintf(out + n, room - n, is_key ? " UNKEYWORD %s" : " UN%s", flag_names[f] + !is_key);
	}
	if (q->smaller)
		n += (size_t)snprintf(out + n, room - n, " SMALLER %u", q->smaller);
	if (q->since)
		n += (size_t)snprintf(out + n, room - n, " SINCE %d-Feb-2024", q->since);
	if (q->needle)
		snprintf(out + n, room - n, " %s \"%s\"", q->needle->key, q->needle->text);
}

static int by_criterion(const struct model_message *a, const struct model_message *b, uint32_t criterion)
{
	switch (criterion) {
	case 0:
		return a->day - b->day;
	case 1:
		return a->size < b->size ? -1 : a->size > b->size;
	default:
		return subject_rank[a->subject] - subject_rank[b->subject];
	}
}

/* UIDs of what is found, of the messages that this client was told of: in their order, or sorted. */
static size_t find_all(struct play *p, const struct client *c, const struct query *q, bool is_sort, uint32_t criterion, bool is_reverse, uint32_t *uids)
{
	struct box *b = box_of(p, c);
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (told_place(c, b->list[i].uid) == 0 || !matches(c, q, &b->list[i]))
			continue;
		size_t at = n;
		for (; is_sort && at > 0; at--) {
			int order = by_criterion(find(b, uids[at - 1]), &b->list[i], criterion);
			if ((is_reverse ? -order : order) <= 0)
				break;
		}
		memmove(&uids[at + 1], &uids[at], (n++ - at) * sizeof *uids);
		uids[at] = b->list[i].uid;
	}
	return n;
}

/* Which of n results are the first to the last of them, counted from 1, from their end if is_from_end: moved to the front. */
static size_t cut_out(uint32_t *numbers, size_t n, uint32_t first, uint32_t last, bool is_from_end)
{
	size_t from = first - 1, to = last < n ? last : n;

	if (first > n)
		return 0;
	memmove(numbers, numbers + (is_from_end ? n - to : from), (to - from) * sizeof *numbers);
	return to - from;
}

static void save_result(struct client *c, const uint32_t *uids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c->saved[i] = uids[i];
	c->n_saved = n;
	c->is_saved_unknown = false;
}

/* SEARCH and SORT, with numbers or UIDs, plain or as ESEARCH. What asks for some of the results says nothing certain while messages are gone that
 * the client does not know of: they count, or do not. */
static void search(struct play *p, struct client *c, const struct operation *o)
{
	static const char *const criteria[] = { "ARRIVAL", "SIZE", "SUBJECT" };
	static const struct { const char *words, *sign; } returns[] = { { "", NULL }, { "ALL COUNT", NULL }, { "SAVE", NULL }, { "SAVE ALL", NULL }, { "SAVE MIN", NULL },
		{ "MAX SAVE", NULL }, { "PARTIAL ", "" }, { "COUNT PARTIAL ", "-" }, { "SAVE PARTIAL ", "" } };
	bool by_uid = (o->a & 1) || c->is_uidonly, is_sort = o->a & 2, is_reverse = o->a & 8;
	enum returned how = o->a & 4 ? 1 + (o->a >> 20) % (R_RETURNS - 1) : R_PLAIN;
	struct query q = query_of(c, o);
	uint32_t criterion = (o->a >> 4) % 3, want[MESSAGES_MAX], first = 1 + (o->a >> 23) % 5, last = first + (o->a >> 26) % 5;
	bool is_certain = knows_all_that_went(p, c), is_some;
	struct answer a;
	char keys[200], options[60] = "", range[30] = "";
	size_t n, got = 0;

	if (is_sort && (how == R_SAVE_MIN || how == R_SAVE_MAX))
		how = R_SAVE_ALL;
	is_some = how >= R_SAVE_MIN;
	keys_of(&q, keys, sizeof keys);
	if (how >= R_PARTIAL)
		snprintf(range, sizeof range, "%s%u:%s%u", returns[how].sign, first, returns[how].sign, last);
	if (how != R_PLAIN)
		snprintf(options, sizeof options, "RETURN (%s%s) ", returns[how].words, range);
	if (is_sort)
		say(p, c, &a, "%sSORT %s(%s%s) UTF-8 %s", by_uid ? "UID " : "", options, is_reverse ? "REVERSE " : "", criteria[criterion], keys);
	else
		say(p, c, &a, "%sSEARCH %s%s", by_uid ? "UID " : "", options, keys);
	want_ok(p, &a);
	if (a.has_list == (how == R_SAVE))
		wrong(p, "%s", how == R_SAVE ? "a result, which nobody asked for" : "no result");
	n = find_all(p, c, &q, is_sort, criterion, is_reverse, want);
	if (how == R_SAVE_MIN || how == R_SAVE_MAX) {
		n = cut_out(want, n, 1, 1, how == R_SAVE_MAX);
		if (n > 0 && is_certain && (by_uid ? want[0] : told_place(c, want[0])) != (how == R_SAVE_MIN ? a.min : a.max))
			wrong(p, "%u should be the first or last", want[0]);
	} else if (how >= R_PARTIAL) {
		n = cut_out(want, n, first, last, how == R_PARTIAL_END);
	}
	if (how >= R_SAVE && how != R_PARTIAL && how != R_PARTIAL_END)
		save_result(c, want, n);
	c->is_saved_unknown |= is_some && !is_certain && how != R_PARTIAL && how != R_PARTIAL_END;
	for (size_t i = 0; !by_uid && i < n; i++)
		want[i] = told_place(c, want[i]);
	for (size_t i = 0; i < a.n; i++)
		if (!is_told_gone(p, c, a.numbers[i], by_uid))
			a.numbers[got++] = a.numbers[i];
	if (how != R_SAVE && how != R_SAVE_MIN && how != R_SAVE_MAX && (is_certain || !is_some) &&
	    (got != n || memcmp(want, a.numbers, n * sizeof *want) != 0))
		wrong(p, "found %zu, should be %zu; the first: %u, should be %u", got, n, got ? a.numbers[0] : 0, n ? want[0] : 0);
	check_told(p, c, by_uid);
}

/* "$" instead of a set, or some of all messages. */
static void fetch_some(struct play *p, struct client *c, const struct operation *o)
{
	bool by_uid = (o->a & 1) || c->is_uidonly, is_from_end = o->a & 4, is_saved = o->a & 2;
	uint32_t want[MESSAGES_MAX], first = 1 + o->b % 5, last = first + (o->b >> 8) % 5;
	const struct query q = { .in_saved = is_saved };
	const char *sign = is_from_end ? "-" : "";
	struct answer a;
	size_t n;

	if (is_saved ? c->is_saved_unknown : !knows_all_that_went(p, c))
		return;
	n = find_all(p, c, &q, false, 0, false, want);
	if (!is_saved)
		n = cut_out(want, n, first, last, is_from_end);
	if (!is_saved)
		say(p, c, &a, "UID FETCH 1:* (RFC822.SIZE) (PARTIAL %s%u:%s%u)", sign, first, sign, last);
	else
		say(p, c, &a, by_uid ? "UID FETCH $ (RFC822.SIZE)" : "FETCH $ (UID RFC822.SIZE)");
	if (a.status == 'B')
		wrong(p, "answered " STR_FMT, STR_ARG(a.text));
	for (size_t i = 0; i < n; i++)
		if (!uid_set_has(&a.sized, want[i]))
			wrong(p, "uid %u is missing", want[i]);
	for (size_t r = 0, k = 0; r < a.sized.n; r++)
		for (uint32_t uid = a.sized.r[r].first; uid <= a.sized.r[r].last; uid++) {
			for (; k < n && want[k] < uid; k++)
				;
			if ((k == n || want[k] != uid) && find(box_of(p, c), uid) != NULL)
				wrong(p, "uid %u was not asked for", uid);
		}
	check_told(p, c, by_uid || !is_saved);
}
#endif
