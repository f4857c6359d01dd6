#include "queue/record.h"
#include "queue/envelope.h"
#include <assert.h>

/* What is accepted is written again to the same bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = BUF(ENVELOPE_BYTES_MAX + 64);
	struct record_message m;
	struct record_done d;

	if (record_message_decode(str_make(data, size), &m)) {
		record_message_encode(&m, &b);
		buf_add(&b, m.body);
		assert(!b.failed && str_eq(buf_str(&b), str_make(data, size)));
	}
	buf_reset(&b);
	if (record_done_decode(str_make(data, size), &d)) {
		record_done_encode(&d, &b);
		assert(str_eq(buf_str(&b), str_make(data, size)));
	}
	buf_free(&b);
	return 0;
}
