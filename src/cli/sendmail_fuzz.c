/* Standard input of `facteur sendmail`: whatever it is, the server gets CRLF lines without NUL, and recipients that fit a command. */
#include "cli/sendmail_private.h"
#include "mime/header.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct buf text = BUF(8 << 20);
	struct str in = str_make(data, size);
	struct sendmail_recipients r = { 0 };
	size_t at = 0, end = 0;

	if (sendmail_dot(in, &at, &end))
		in.n = end;
	sendmail_text(in, &text);
	assert(!text.failed && (text.n == 0 || str_ends(buf_str(&text), STR("\r\n"))));
	for (size_t i = 0; i < text.n; i++) {
		assert(text.p[i] != '\0' && (text.p[i] != '\n' || (i > 0 && text.p[i - 1] == '\r')));
		assert(text.p[i] != '\r' || (i + 1 < text.n && text.p[i + 1] == '\n'));
	}
	if (sendmail_recipients_of_header(&r, &a, str_sub(buf_str(&text), 0, header_size(buf_str(&text)))))
		for (size_t i = 0; i < r.n; i++)
			assert(r.address[i].n > 0 && !str_has_ctl(r.address[i]));
	arena_free(&a);
	buf_free(&text);
	return 0;
}
