/* base/scan.h -- a cursor over untrusted bytes with a sticky failure: the first failure puts the cursor at the end, every
 * later step finds nothing, and one check of `failed` at the end is enough. */
#ifndef FACTEUR_BASE_SCAN_H
#define FACTEUR_BASE_SCAN_H
#include "base/str.h"

struct scan {
	const char *p, *end, *start;
	bool        failed;
};

static inline struct scan scan_of(struct str s) { return (struct scan){ s.p, s.p + s.n, s.p, false }; }
static inline bool scan_done(const struct scan *s) { return s->p == s->end; }      /* also after a failure */
static inline size_t scan_left(const struct scan *s) { return (size_t)(s->end - s->p); }
static inline struct str scan_rest(const struct scan *s) { return (struct str){ s->p, (size_t)(s->end - s->p) }; }
static inline size_t scan_offset(const struct scan *s) { return (size_t)(s->p - s->start); }

void scan_fail(struct scan *s);
int  scan_peek(const struct scan *s);                          /* next byte 0..255, or -1 at the end */
bool scan_take(struct scan *s, char c);                        /* takes c if it is next; no failure otherwise */
bool scan_take_str(struct scan *s, struct str word);           /* the same for a word */
bool scan_take_istr(struct scan *s, struct str word);          /* ASCII case folded */
void scan_need(struct scan *s, char c);                        /* fails unless c is next */
void scan_need_str(struct scan *s, struct str word);
struct str scan_bytes(struct scan *s, size_t n);               /* exactly n; fails when fewer are left */
struct str scan_while(struct scan *s, bool (*in)(char c));     /* possibly empty */
struct str scan_until(struct scan *s, char c);                 /* up to c (not taken) or the end */
/* Decimal digits without sign; fails on no digit and on overflow of the type or of max. */
uint32_t scan_u32(struct scan *s);
uint64_t scan_u64(struct scan *s);
uint64_t scan_number(struct scan *s, uint64_t max);
void scan_skip(struct scan *s, const char *set);               /* any number of bytes out of set */
/* Whole-string conversions for settings and arguments: true and *out, or false. */
bool str_to_u64(struct str s, uint64_t *out);
#endif
