/* Replies of a server that wishes us ill. */
#include "smtp/client.h"
#include "base/bytes.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct scan s = scan_of(str_make(data, size));
	struct smtp_answer got;

	while (!scan_done(&s)) {
		size_t before = scan_offset(&s);
		if (scan_smtp_answer(&s, &a, &got) != ERR_OK)
			break;
		assert(scan_offset(&s) > before && got.code >= 200 && got.code < 600 && utf8_valid(got.text));
	}
	arena_free(&a);
	return 0;
}
