#include "trail/trail.h"
#include <assert.h>

/* What is accepted is written again to bytes that say the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scan s = scan_of(str_make(data, size));
	struct arena a = { 0 };
	struct buf b = BUF(TRAIL_EVENT_MAX), again = BUF(TRAIL_EVENT_MAX);
	struct trail_event e, other;

	while (trail_event_decode(&s, &a, &e)) {
		buf_reset(&b);
		buf_reset(&again);
		trail_event_encode(&e, &b);
		assert(!b.failed);
		struct scan written = scan_of(buf_str(&b));
		assert(trail_event_decode(&written, &a, &other) && scan_done(&written));
		trail_event_encode(&other, &again);
		assert(str_eq(buf_str(&b), buf_str(&again)));
		arena_reset(&a);
	}
	buf_free(&b);
	buf_free(&again);
	arena_free(&a);
	return 0;
}
