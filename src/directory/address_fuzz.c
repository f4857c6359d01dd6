/* What parses has a key, prints, and what was printed parses into the same key. */
#include "base/bytes.h"
#include "directory/address.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x, y;

	if (!directory_address_parse(str_make(data, size), &a, &x))
		return 0;
	struct str text = directory_address_text(&a, &x), key = directory_address_key(&a, x.local, x.domain);
	if (text.n <= ADDRESS_TEXT_MAX && (!directory_address_parse(text, &a, &y) || !str_eq(key, directory_address_key(&a, y.local, y.domain))))
		abort();
	return 0;
}
