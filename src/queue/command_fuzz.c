#include "queue/command.h"
#include <assert.h>

/* A question that is accepted is written again to the same bytes; an answer is read without harm. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct buf b = BUF(1000);
	struct queue_command c;
	struct queue_answer answer;

	if (queue_command_decode(str_make(data, size), &c) == ERR_OK) {
		queue_command_encode(&c, &b);
		assert(!b.failed && str_eq(buf_str(&b), str_make(data, size)));
	}
	if (queue_answer_decode(str_make(data, size), &a, &answer) == ERR_OK)
		assert(answer.kind < QUEUE_COMMAND_KINDS);
	buf_free(&b);
	arena_free(&a);
	return 0;
}
