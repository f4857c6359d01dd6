/* Address lists: what was read can be written and read again. */
#include "mime/address.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct mail_address *list, *again;
	size_t n = address_list_parse(&a, str_make(data, size), &list);
	int open = 0;

	assert(n <= MAIL_ADDRESSES_MAX);
	for (size_t i = 0; i < n; i++) {
		open += list[i].kind == ADDRESS_GROUP_BEGIN ? 1 : list[i].kind == ADDRESS_GROUP_END ? -1 : 0;
		assert(open == 0 || open == 1);
		(void)address_name(&a, &list[i]);
		struct str text = address_text(&a, &list[i]);
		if (!address_is_valid(&list[i]))
			continue;
		size_t m = address_list_parse(&a, text, &again);
		assert(m == 1 && str_eq(again[0].local, list[i].local) && str_eq(again[0].domain, list[i].domain));
	}
	assert(open == 0);
	arena_free(&a);
	return 0;
}
