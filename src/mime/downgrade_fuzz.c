/* Whatever the message: seven bits, the size that was promised, the same in pieces of any size, and nothing left to do. */
#include "mime/downgrade.h"
#include "base/mem.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str message = str_make(data, size);
	struct mime_downgrade d, again;
	size_t piece = size ? data[0] % 100 + 1u : 1;
	enum downgrade_outcome outcome = mime_downgrade(&a, message, &d);

	assert((outcome == DOWNGRADE_NOT_NEEDED) == str_is_ascii(message));
	if (outcome != DOWNGRADE_DONE)
		return 0;
	struct str whole = str_make(arena_alloc(&a, (size_t)d.size + 1), (size_t)d.size);
	char *pieces = arena_alloc(&a, (size_t)d.size + 1);
	mime_downgrade_read(&d, 0, (char *)(uintptr_t)whole.p, whole.n);
	for (size_t at = 0; at < whole.n; at += piece)
		mime_downgrade_read(&d, at, pieces + at, piece < whole.n - at ? piece : whole.n - at);
	assert(str_eq(whole, str_make(pieces, whole.n)));
	assert(str_is_ascii(whole) && mime_downgrade(&a, whole, &again) == DOWNGRADE_NOT_NEEDED);
	return 0;
}
