/* base/bytes.h -- the small encodings and sums everybody needs: UTF-8, base64, hex, CRC32C, random bytes. */
#ifndef FACTEUR_BASE_BYTES_H
#define FACTEUR_BASE_BYTES_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/scan.h"

/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(struct str s);
/* The code point at the cursor, which moves past it; -1 at the end; 0xFFFD (one byte taken) where it is malformed. */
int32_t utf8_next(struct scan *s);
void utf8_put(struct buf *b, uint32_t code_point);
/* The longest prefix of at most max bytes that does not cut a character. */
struct str utf8_clip(struct str s, size_t max);

/* Base64 (RFC 4648 §4). Encoding never breaks lines. Decoding is strict: padding needed, nothing else in it; false otherwise. */
void base64_put(struct buf *b, struct str in);
bool base64_get(struct buf *b, struct str in);
struct str base64_encode(struct arena *a, struct str in);
/* The alphabet of RFC 4648 §5, without padding (RFC 7515 §2): tokens. As strict. */
bool base64url_get(struct buf *b, struct str in);
void hex_put(struct buf *b, struct str in);          /* lower case */
bool hex_get(struct buf *b, struct str in);

uint32_t crc32c(uint32_t crc, const void *p, size_t n);  /* start with 0; Castagnoli; SSE4.2 where there is */
void random_bytes(void *p, size_t n);                    /* from the kernel; never fails (ends the process if it does) */
uint64_t random_u64(void);
/* n random characters out of [a-z0-9] without look-alikes (no 0 o 1 l i): 4.95 bits each. */
struct str random_word(struct arena *a, size_t n);
#endif
