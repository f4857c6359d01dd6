/* Text in any charset, named before the first line's end: what comes out is UTF-8, also folded, and no longer than was promised. */
#include "base/bytes.h"
#include "text/charset.h"
#include "text/fold.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const names[] = { "iso-2022-jp", "utf-7", "gb18030", "big5", "utf-16", "windows-1252", "euc-kr", "hz-gb-2312", "utf-8", "imap-mailbox-name" };
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str name, text;

	if (n == 0)
		return 0;
	if (data[0] < COUNT_OF(names)) {
		name = str_of(names[data[0]]);
		text = str_make(data + 1, n - 1);
	} else {
		str_cut(str_make(data, n), '\n', &name, &text);
	}
	(void)charset_is_known(name);
	struct str out = charset_to_utf8(&a, name, text, text.n);
	assert(utf8_valid(out) && out.n <= 4 * text.n);
	assert(utf8_valid(charset_guess(&a, text)));
	struct str folded = fold_casemap(&a, text), loose = fold_accents(&a, text);
	assert(utf8_valid(folded) && utf8_valid(loose) && folded.n <= 11 * text.n);
	assert(fold_contains(&a, text, folded));
	return 0;
}
