/* Any header: what comes out is ASCII, ends with an empty line, and has none before. */
#include "base/bytes.h"
#include "mime/header.h"
#include "pop3/downgrade.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str all = str_make(data, n), header = str_sub(all, 0, header_size(all));
	struct buf out = BUF(64 << 20);

	if (n > 0 && downgrade_is_needed(header)) {
		downgrade_header(header, &out);
		assert(out.failed || (str_is_ascii(buf_str(&out)) && str_ends(buf_str(&out), STR("\r\n"))));
	}
	buf_free(&out);
	return 0;
}
