#include "queue/record.h"
#include "queue/envelope.h"
#include <assert.h>

/* What is accepted is written again to the same bytes; a LOG_DONE of the first release to bytes that say the same. */
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
		struct record_done again;
		record_done_encode(&d, &b);
		assert(data[0] == 1 || str_eq(buf_str(&b), str_make(data, size)));
		bool is_read = record_done_decode(buf_str(&b), &again);
		assert(is_read && again.log_id == d.log_id && again.seq == d.seq && again.n == d.n);
		assert(memcmp(again.recipients, d.recipients, d.n * sizeof *d.recipients) == 0 && memcmp(again.taken, d.taken, d.n) == 0);
	}
	buf_free(&b);
	return 0;
}
