/* store/uid_set.h -- a set of numbers 1..2^32-1 as sorted, disjoint, non-adjacent ranges: UIDs or sequence numbers.
 * RFC 9051 §9 sequence-set; RFC 4315 uid-set in APPENDUID and COPYUID; RFC 7162 known-uids. Memory: the caller's arena.
 */
#ifndef FACTEUR_STORE_UID_SET_H
#define FACTEUR_STORE_UID_SET_H
#include "base/arena.h"
#include "base/buf.h"

struct uid_range {
	uint32_t first, last;
};

struct uid_set {  /* all zeros is the empty set */
	struct uid_range *r;
	size_t            n, cap;
};

/* A parser must stop here: a client's request never decides how much memory we use. */
enum { UID_SET_MAX = 100000 };

/* Adds first..last, in any order; overlapping and adjacent ranges are merged. Adding in ascending order costs O(1), any
 * other order O(n) a call (a parser of a hostile set of UID_SET_MAX ranges uses uid_set_push and one uid_set_sort). */
void uid_set_add(struct uid_set *set, struct arena *a, uint32_t first, uint32_t last);
void uid_set_push(struct uid_set *set, struct arena *a, uint32_t first, uint32_t last);  /* as it comes, unsorted */
void uid_set_sort(struct uid_set *set);                            /* after pushes: the invariant again */
bool uid_set_has(const struct uid_set *set, uint32_t uid);
/* The same, and up to *last it is so for all behind it. */
bool uid_set_run(const struct uid_set *set, uint32_t uid, uint32_t *last);
uint64_t uid_set_count(const struct uid_set *set);
/* Puts largest in the place of UINT32_MAX ("*"), as RFC 9051 §9 wants: "559:*" is 559:largest or largest:559.
 * largest 0 (an empty mailbox) removes such ranges. Before sorting or after. */
void uid_set_star(struct uid_set *set, uint32_t largest);
/* "1:3,7,9:12"; empty set: "". */
void uid_set_put(struct buf *b, const struct uid_set *set);
const char *uid_set_text(const struct uid_set *set, struct arena *a);
#endif
