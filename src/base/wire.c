/* Typed values in bytes, little-endian; see the header. */
#include "base/wire.h"
#include <endian.h>

void put_u8(struct buf *b, uint8_t v) { buf_add_bytes(b, &v, 1); }
void put_u16(struct buf *b, uint16_t v) { v = htole16(v); buf_add_bytes(b, &v, 2); }
void put_u32(struct buf *b, uint32_t v) { v = htole32(v); buf_add_bytes(b, &v, 4); }
void put_u64(struct buf *b, uint64_t v) { v = htole64(v); buf_add_bytes(b, &v, 8); }
void put_i64(struct buf *b, int64_t v) { put_u64(b, (uint64_t)v); }
void put_bool(struct buf *b, bool v) { put_u8(b, v ? 1 : 0); }

void put_str(struct buf *b, struct str s)
{
	put_u32(b, (uint32_t)s.n);
	buf_add(b, s);
}

static bool take(struct scan *s, void *to, size_t n)
{
	struct str v = scan_bytes(s, n);

	if (v.p == NULL) {
		memset(to, 0, n);
		return false;
	}
	memcpy(to, v.p, n);
	return true;
}

uint8_t get_u8(struct scan *s) { uint8_t v; take(s, &v, 1); return v; }
uint16_t get_u16(struct scan *s) { uint16_t v; take(s, &v, 2); return le16toh(v); }
uint32_t get_u32(struct scan *s) { uint32_t v; take(s, &v, 4); return le32toh(v); }
uint64_t get_u64(struct scan *s) { uint64_t v; take(s, &v, 8); return le64toh(v); }
int64_t get_i64(struct scan *s) { return (int64_t)get_u64(s); }

bool get_bool(struct scan *s)
{
	uint8_t v = get_u8(s);

	if (v > 1)
		scan_fail(s);
	return v == 1;
}

struct str get_str(struct scan *s, size_t max)
{
	uint32_t n = get_u32(s);

	if (n > max)
		scan_fail(s);
	return s->failed ? STR_NONE : scan_bytes(s, n);
}

uint32_t get_count(struct scan *s, uint32_t max)
{
	uint32_t n = get_u32(s);

	if (n > max)
		scan_fail(s);
	return s->failed ? 0 : n;
}

bool get_end(struct scan *s)
{
	if (!scan_done(s))
		scan_fail(s);
	return !s->failed;
}
