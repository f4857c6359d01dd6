/* URLs of CATENATE as a client may write them. What is understood keeps what the header promises. */
#include "base/bytes.h"
#include "imap/url.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct imap_url url;

	if (!imap_url_parse(str_make(data, n), &a, &url))
		return 0;
	assert(url.uid != 0 && url.section.p != NULL && (url.mailbox.p != NULL || url.is_relative));
	assert(utf8_valid(url.mailbox) && utf8_valid(url.section) && !str_has_ctl(url.mailbox) && !str_has_ctl(url.section));
	assert(!url.is_partial || url.count > 0);
	return 0;
}
