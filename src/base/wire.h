/* base/wire.h -- typed values in bytes, little-endian: the encoding of requests between roles, of log records and of parked
 * state. Writing goes to a struct buf (its sticky failure); reading has its own, so one check at the end is enough.
 * A string is u32 length + bytes. Every reader names its own maximum: a peer never decides how much memory we use. */
#ifndef FACTEUR_BASE_WIRE_H
#define FACTEUR_BASE_WIRE_H
#include "base/buf.h"
#include "base/scan.h"

void put_u8(struct buf *b, uint8_t v);
void put_u16(struct buf *b, uint16_t v);
void put_u32(struct buf *b, uint32_t v);
void put_u64(struct buf *b, uint64_t v);
void put_i64(struct buf *b, int64_t v);
void put_bool(struct buf *b, bool v);
void put_str(struct buf *b, struct str s);

uint8_t  get_u8(struct scan *s);
uint16_t get_u16(struct scan *s);
uint32_t get_u32(struct scan *s);
uint64_t get_u64(struct scan *s);
int64_t  get_i64(struct scan *s);
bool     get_bool(struct scan *s);               /* only 0 and 1 are valid */
struct str get_str(struct scan *s, size_t max);  /* a view into the message; longer than max fails */
uint32_t get_count(struct scan *s, uint32_t max);/* a u32 that bounds a loop */
/* True when nothing failed and nothing is left over. */
bool get_end(struct scan *s);
#endif
