/* Bounces of strangers: whatever they are, what is kept of them is one short line. */
#include "mime/delivery_status.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str reason;

	delivery_has_failed(str_make(data, size), &a, &reason);
	assert(!str_has_ctl(reason) && reason.n <= 500);
	return 0;
}
