/* dns/kept.h -- answers of the resolver, kept for as long as they hold (five minutes at most) beside the loop that asks.
 *
 * The library has a cache of its own, but behind a thread and two pipes: for a message to yet another domain at the same mail hosts that
 * was two thirds of what net did. Failures are not kept. At most 2 * KEPT_GENERATION answers, none over KEPT_BYTES_MAX. */
#ifndef FACTEUR_DNS_KEPT_H
#define FACTEUR_DNS_KEPT_H
#include "dns/resolver.h"

enum { KEPT_GENERATION = 2000, KEPT_BYTES_MAX = 4000, KEPT_MOST_S = 300 };

struct kept;
struct kept *kept_new(void);
void kept_free(struct kept *k);   /* NULL is fine */
/* An answer that holds at now_ms, copied to the arena, with what is left of its time; false: there is none. name: as in dns_answer. */
bool kept_find(const struct kept *k, struct str name, uint16_t type, int64_t now_ms, struct arena *a, struct dns_answer *out) MUST_CHECK;
void kept_add(struct kept *k, const struct dns_answer *a, int64_t now_ms);
#endif
