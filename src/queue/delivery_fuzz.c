#include "queue/delivery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct delivery_batch batch;
	struct delivery_result *results;
	size_t n;

	if (!delivery_batch_parse(str_make(data, size), &a, &batch))
		(void)!delivery_results_decode(str_make(data, size), &a, &results, &n);
	arena_free(&a);
	return 0;
}
