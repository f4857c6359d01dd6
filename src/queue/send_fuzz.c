#include "queue/send.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct send s;
	struct send_answer answer;

	if (!send_parse(str_make(data, size), size % 2, &a, &s))
		for (size_t n = 0; n < 3; n++)
			(void)!send_answer_decode(str_make(data, size), n, &a, &answer);
	arena_free(&a);
	return 0;
}
