/* Sets of UIDs and of sequence numbers. Sorted disjoint ranges make "has" a binary search and keep "1:*" at eight
 * bytes. What a client writes may be unsorted: it is pushed as it comes and sorted once, so that a hostile list of
 * 100,000 ranges costs n log n, not n². */
#include "store/uid_set.h"
#include <stdlib.h>

void uid_set_push(struct uid_set *set, struct arena *a, uint32_t first, uint32_t last)
{
	if (first > last) {  /* "9:3" is allowed and means 3:9 (RFC 9051 §9) */
		uint32_t swap = first;
		first = last;
		last = swap;
	}
	if (set->n == set->cap)
		set->r = arena_grow(a, set->r, set->n, &set->cap, sizeof *set->r);
	set->r[set->n++] = (struct uid_range){ first, last };
}

static bool touches(const struct uid_range *lower, uint32_t first)
{
	return first <= lower->last || first - lower->last == 1;
}

static int range_order(const void *left, const void *right)
{
	const struct uid_range *l = left, *r = right;

	return l->first < r->first ? -1 : l->first > r->first;
}

void uid_set_sort(struct uid_set *set)
{
	size_t kept = 0;

	if (set->n < 2)
		return;
	qsort(set->r, set->n, sizeof *set->r, range_order);
	for (size_t i = 1; i < set->n; i++) {
		if (!touches(&set->r[kept], set->r[i].first))
			set->r[++kept] = set->r[i];
		else if (set->r[i].last > set->r[kept].last)
			set->r[kept].last = set->r[i].last;
	}
	set->n = kept + 1;
}

void uid_set_add(struct uid_set *set, struct arena *a, uint32_t first, uint32_t last)
{
	if (first > last) {
		uint32_t swap = first;
		first = last;
		last = swap;
	}
	if (set->n == 0 || first > set->r[set->n - 1].last) {  /* ascending: the usual case */
		if (set->n > 0 && touches(&set->r[set->n - 1], first))
			set->r[set->n - 1].last = last;
		else
			uid_set_push(set, a, first, last);
		return;
	}
	uid_set_push(set, a, first, last);
	uid_set_sort(set);
}

bool uid_set_run(const struct uid_set *set, uint32_t uid, uint32_t *last)
{
	size_t low = 0, high = set->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (uid > set->r[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	bool is_in = low < set->n && uid >= set->r[low].first;
	*last = low == set->n ? UINT32_MAX : is_in ? set->r[low].last : set->r[low].first - 1;
	return is_in;
}

bool uid_set_has(const struct uid_set *set, uint32_t uid)
{
	uint32_t last;

	return uid_set_run(set, uid, &last);
}

uint64_t uid_set_count(const struct uid_set *set)
{
	uint64_t count = 0;

	for (size_t i = 0; i < set->n; i++)
		count += (uint64_t)set->r[i].last - set->r[i].first + 1;
	return count;
}

void uid_set_star(struct uid_set *set, uint32_t largest)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct uid_range r = set->r[i];
		if (r.last == UINT32_MAX) {
			if (largest == 0)
				continue;
			r.last = largest;
			if (r.first > largest) {  /* "559:*" in a mailbox that ends at 17 is 17:559 */
				r.last = r.first == UINT32_MAX ? largest : r.first;
				r.first = largest;
			}
		}
		set->r[kept++] = r;
	}
	set->n = kept;
	uid_set_sort(set);
}

void uid_set_put(struct buf *b, const struct uid_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		if (i > 0)
			buf_add_char(b, ',');
		if (set->r[i].first == set->r[i].last)
			buf_printf(b, "%u", set->r[i].first);
		else
			buf_printf(b, "%u:%u", set->r[i].first, set->r[i].last);
	}
}

const char *uid_set_text(const struct uid_set *set, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(set->n * 22 + 1);

	uid_set_put(&b, set);
	return str_cstr(a, buf_str(&b));
}
