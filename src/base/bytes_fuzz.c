/* The small encodings: what decodes is encoded again to the same, and nothing reads past its end. */
#include "base/bytes.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(buf_free) struct buf out = BUF(n + 1), again = BUF(4 * n + 8), text = BUF(4 * n + 8);
	struct str in = str_make(data, n);
	struct scan s = scan_of(in);
	bool has_bad = false;
	uint64_t v;

	if (base64_get(&out, in)) {
		base64_put(&again, buf_str(&out));
		assert(str_eq(buf_str(&again), in));
	}
	buf_reset(&out);
	buf_reset(&again);
	if (hex_get(&out, in)) {
		hex_put(&again, buf_str(&out));
		assert(str_ieq(buf_str(&again), in));
	}
	for (int32_t c; (c = utf8_next(&s)) >= 0;) {
		has_bad = has_bad || c == 0xfffd;
		utf8_put(&text, (uint32_t)c);
	}
	assert(utf8_valid(buf_str(&text)) && (has_bad || str_eq(buf_str(&text), in)) && (utf8_valid(in) || has_bad));
	if (utf8_valid(in))
		assert(utf8_valid(utf8_clip(in, n / 2)) && utf8_clip(in, n / 2).n + 3 >= n / 2);
	if (str_to_u64(in, &v)) {
		s = scan_of(in);
		assert(scan_u64(&s) == v && !s.failed);
	}
	return 0;
}
