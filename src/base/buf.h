/* base/buf.h -- owned bytes that grow up to a maximum given at creation.
 * The failure is sticky: once something did not fit, nothing more is added and `failed` stays true, so one check at the end
 * is enough. */
#ifndef FACTEUR_BASE_BUF_H
#define FACTEUR_BASE_BUF_H
#include "base/err.h"
#include "base/str.h"
#include <stdarg.h>

struct buf {
	char  *p;
	size_t n, cap, max;
	bool   failed;
};

#define BUF(max_bytes) ((struct buf){ NULL, 0, 0, (max_bytes), false })
static inline struct str buf_str(const struct buf *b) { return (struct str){ b->p, b->n }; }

void buf_add(struct buf *b, struct str s);
void buf_add_bytes(struct buf *b, const void *p, size_t n);
void buf_add_char(struct buf *b, char c);
void buf_add_cstr(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* n writable bytes at the end, to be claimed with buf_grew(); NULL (and failed) when they would pass max. */
char *buf_reserve(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);
void buf_drop_front(struct buf *b, size_t n);   /* removes the first n bytes */
void buf_truncate(struct buf *b, size_t n);     /* keeps the first n bytes */
void buf_reset(struct buf *b);                  /* empty, not failed, memory kept */
void buf_free(struct buf *b);                   /* for CLEANUP too; max stays */
#endif
