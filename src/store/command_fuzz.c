#include "store/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct store_command c;
	struct store_answer answer;

	if (store_command_decode(str_make(data, size), &c) != ERR_OK)
		(void)!store_answer_decode(str_make(data, size), &a, &answer);
	arena_free(&a);
	return 0;
}
