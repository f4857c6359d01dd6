/* HTTP requests in pieces of a size that the input chooses. The same bytes in one piece must come to the same end. */
#include "http/request.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err read_all(struct http_request *r, struct str in, size_t step)
{
	enum err e = ERR_AGAIN;

	http_request_init(r);
	for (size_t at = 0; at < in.n && e == ERR_AGAIN; at += step)
		e = http_request_take(r, str_sub(in, at, step));
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(http_request_free) struct http_request pieces, whole;
	struct str in = str_make(data + 1, size - 1);

	http_request_init(&pieces);
	http_request_init(&whole);
	if (size < 2)
		return 0;
	enum err e = read_all(&whole, in, in.n);
	if (read_all(&pieces, in, 1u + data[0] % 16) != e || pieces.refuse != whole.refuse)
		abort();
	if (e == ERR_OK && (!str_eq(buf_str(&pieces.body), buf_str(&whole.body)) || !str_eq(pieces.host, whole.host) || !str_eq(pieces.path, whole.path)))
		abort();
	if (e == ERR_OK && (whole.host.n == 0 || whole.path.p[0] != '/' || str_has_ctl(whole.path) || str_has_ctl(whole.host)))
		abort();
	return 0;
}
