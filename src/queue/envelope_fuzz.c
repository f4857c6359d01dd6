#include "queue/envelope.h"
#include <assert.h>

/* What is accepted is written again to the same bytes, unless an older release wrote them; and what is written is accepted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct buf b = BUF(ENVELOPE_BYTES_MAX);
	struct envelope e;

	if (envelope_decode(str_make(data, size), &a, &e)) {
		envelope_encode(&e, &b);
		assert(!b.failed && (b.p[0] != (char)data[0] || str_eq(buf_str(&b), str_make(data, size))));
		assert(envelope_decode(buf_str(&b), &a, &e));
	}
	buf_free(&b);
	arena_free(&a);
	return 0;
}
