/* Anything as a sender comes back as it was; anything as a local part is either nobody's or the bytes it says. */
#include "smtp/srs.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t now = 1795852800;
	struct str in = str_make(data, size), key = STR("0123456789abcdef0123456789abcdef"), back;
	struct arena a = { 0 };
	struct str out = srs_forward(key, in, STR("ours.test"), now, &a);

	if (out.p != in.p) {
		struct str local = str_sub(out, 0, (size_t)str_rchr(out, '@'));
		bool is_back = srs_reverse(key, local, now, &a, &back);
		assert(srs_is(local) && str_chr(local, '@') < 0);
		assert(!is_back || str_starts(in, STR("SRS1")) || str_istarts(in, STR("SRS")) || str_eq(back, in));
	}
	if (srs_reverse(key, in, now, &a, &back))
		assert(back.n <= in.n + 1);
	arena_free(&a);
	return 0;
}
