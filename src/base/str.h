/* base/str.h -- a slice: bytes that somebody else owns. Not NUL-terminated; may contain NUL. Passed by value. */
#ifndef FACTEUR_BASE_STR_H
#define FACTEUR_BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t      n;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_NONE ((struct str){ NULL, 0 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *cstr) { return (struct str){ cstr, cstr ? strlen(cstr) : 0 }; }
static inline struct str str_make(const void *p, size_t n) { return (struct str){ (const char *)p, n }; }

bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b);                  /* ASCII case folded */
int  str_cmp(struct str a, struct str b);                  /* bytewise, shorter first */
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_iends(struct str s, struct str suffix);
ptrdiff_t str_find(struct str s, struct str needle);       /* offset, or -1 */
ptrdiff_t str_ifind(struct str s, struct str needle);      /* ASCII case folded */
ptrdiff_t str_chr(struct str s, char c);                   /* offset of the first, or -1 */
ptrdiff_t str_rchr(struct str s, char c);                  /* offset of the last, or -1 */
struct str str_sub(struct str s, size_t from, size_t n);   /* clipped to s */
struct str str_from(struct str s, size_t from);
struct str str_trim(struct str s);                         /* SP, TAB, CR, LF at both ends */
/* Cuts s at the first c: *head is before it, *tail after it. Without c: false, *head = s, *tail empty. */
bool str_cut(struct str s, char c, struct str *head, struct str *tail);
bool str_is_ascii(struct str s);
bool str_has_ctl(struct str s);                            /* 0-31 or 127 */
uint64_t str_hash(struct str s, uint64_t seed);            /* keyed by the process's random seed as well: not stable on disk */
uint64_t str_hash_keyed(struct str s, uint64_t key, uint64_t seed);   /* the same in every process: for tables that are shared */
bool str_same_secret(struct str a, struct str b);          /* equal, in time that depends on the lengths only */

static inline char chr_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static inline char chr_upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
static inline bool chr_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool chr_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
#endif
