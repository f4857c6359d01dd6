/* imap/model_search_test.h -- SEARCH and SORT of the model (model_test.h): what must be found, and in which order. */
#ifndef FACTEUR_IMAP_MODEL_SEARCH_TEST_H
#define FACTEUR_IMAP_MODEL_SEARCH_TEST_H
#include "imap/model_told_test.h"

static bool is_told_gone(struct play *p, const struct client *c, uint32_t number, bool by_uid)
{
	uint32_t uid = by_uid ? number : number >= 1 && number <= c->n ? c->list[number - 1].uid : 0;

	return uid == 0 || find(&p->boxes[c->box], uid) == NULL;
}

struct query { uint32_t with, without, smaller; int since; };

static bool matches(const struct query *q, const struct model_message *m)
{
	return (m->flags & q->with) == q->with && !(m->flags & q->without) && (q->smaller == 0 || m->size < q->smaller) && m->day >= q->since;
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

/* SEARCH and SORT, with numbers or UIDs, plain or as ESEARCH. */
static void search(struct play *p, struct client *c, const struct operation *o)
{
	static const char *const criteria[] = { "ARRIVAL", "SIZE", "SUBJECT" };
	bool by_uid = (o->a & 1) || c->is_uidonly, is_sort = o->a & 2, is_extended = o->a & 4, is_reverse = o->a & 8;
	struct query q = { .with = o->b & 4 ? 1u << (o->b >> 3) % FLAGS : 0, .without = o->b & 1 ? 1u << (o->b >> 6) % FLAGS : 0,
		               .smaller = o->b & 2 ? 20 + (o->b >> 9) % 60 : 0, .since = o->b & 1024 ? (int)(o->b >> 12) % 28 + 1 : 0 };
	uint32_t criterion = (o->a >> 4) % 3, want[MESSAGES_MAX];
	struct box *b = box_of(p, c);
	struct answer a;
	char keys[200] = "ALL";
	size_t n = 0, got = 0, len = 3;

	for (int f = 0; f < FLAGS; f++) {
		bool is_key = f > 4;
		if (q.with & 1u << f)
			len += (size_t)snprintf(keys + len, sizeof keys - len, is_key ? " KEYWORD %s" : " %s", flag_names[f] + !is_key);
		if (q.without & 1u << f)
			len += (size_t)snprintf(keys + len, sizeof keys - len, is_key ? " UNKEYWORD %s" : " UN%s", flag_names[f] + !is_key);
	}
	if (q.smaller)
		len += (size_t)snprintf(keys + len, sizeof keys - len, " SMALLER %u", q.smaller);
	if (q.since)
		len += (size_t)snprintf(keys + len, sizeof keys - len, " SINCE %d-Feb-2024", q.since);
	if (is_sort)
		say(p, c, &a, "%sSORT %s(%s%s) UTF-8 %s", by_uid ? "UID " : "", is_extended ? "RETURN (ALL COUNT) " : "", is_reverse ? "REVERSE " : "",
		    criteria[criterion], keys);
	else
		say(p, c, &a, "%sSEARCH %s%s", by_uid ? "UID " : "", is_extended ? "RETURN (ALL MIN) " : "", keys);
	want_ok(p, &a);
	if (!a.has_list)
		wrong(p, "no result");
	for (size_t i = 0; i < b->n; i++) {
		bool is_told = false;
		uint32_t number = b->list[i].uid;
		for (size_t k = 0; k < c->n; k++) {
			if (c->list[k].uid == b->list[i].uid) {
				is_told = true;
				number = by_uid ? number : (uint32_t)k + 1;
				break;
			}
		}
		if (!is_told || !matches(&q, &b->list[i]))
			continue;
		size_t at = n;
		for (; is_sort && at > 0; at--) {  /* insertion: want[] holds uids while it is sorted */
			int order = by_criterion(find(b, want[at - 1]), &b->list[i], criterion);
			if ((is_reverse ? -order : order) <= 0)
				break;
		}
		memmove(&want[at + 1], &want[at], (n - at) * sizeof *want);
		want[at] = is_sort ? b->list[i].uid : number;
		n++;
	}
	for (size_t i = 0; is_sort && !by_uid && i < n; i++)
		for (size_t k = 0; k < c->n; k++)
			if (c->list[k].uid == want[i]) {
				want[i] = (uint32_t)k + 1;
				break;
			}
	for (size_t i = 0; i < a.n; i++)
		if (!is_told_gone(p, c, a.numbers[i], by_uid))
			a.numbers[got++] = a.numbers[i];
	if (got != n || memcmp(want, a.numbers, n * sizeof *want) != 0)
		wrong(p, "found %zu, should be %zu; the first: %u, should be %u", got, n, got ? a.numbers[0] : 0, n ? want[0] : 0);
	check_told(p, c, by_uid);
}
#endif
