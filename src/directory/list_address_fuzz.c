/* Addresses that claim to be of a group: only what was made here is taken, and it names what it was made of. */
#include "directory/list_address.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct str key = STR("0123456789abcdef0123456789abcdef");
	struct str in = str_make(data, size);
	struct list_address x;

	if (list_address_parse(key, in, &a, &x)) {
		struct directory_address group;
		bool is_address = directory_address_parse(x.group, &a, &group);
		assert(is_address && (x.order == LIST_BOUNCE || x.order == LIST_LEAVE));
	}
	struct str made = list_address(key, in, LIST_LEAVE, STR("bob@elsewhere.test"), &a);
	if (list_address_parse(key, made, &a, &x))
		assert(x.order == LIST_LEAVE && list_address_is_of(key, &x, STR("bob@elsewhere.test"), &a));
	return 0;
}
