#include "queue/add.h"
#include <assert.h>

/* The request ADD as a cell could send it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct message m = { .body = str_make(data, size) };
	struct queue_add_in in;

	if (queue_add_decode(&m, &a, &in) == ERR_OK) {
		assert(in.envelope.n > 0 && in.body.size <= QUEUE_BODY_MAX);
		assert(in.body.spool != 0 || in.body.bytes.n == in.body.size);
		queue_add_release(&in);
	}
	arena_free(&a);
	return 0;
}
