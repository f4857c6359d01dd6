/* HTTP answers in pieces of a size that the input chooses. The same bytes in one piece must come to the same end. */
#include "http/answer.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err read_all(struct http_answer *h, struct str in, size_t step)
{
	enum err e = ERR_AGAIN;

	http_answer_init(h, 4096);
	for (size_t at = 0; at < in.n && e == ERR_AGAIN; at += step)
		e = http_answer_take(h, str_sub(in, at, step));
	return e == ERR_AGAIN ? http_answer_end(h, true) : e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(http_answer_free) struct http_answer pieces, whole;
	struct str in = str_make(data + 1, size - 1);

	http_answer_init(&pieces, 0);
	http_answer_init(&whole, 0);
	if (size < 2)
		return 0;
	enum err e = read_all(&whole, in, in.n);
	if (read_all(&pieces, in, 1u + data[0] % 16) != e || (e == ERR_OK && !str_eq(buf_str(&pieces.body), buf_str(&whole.body))))
		abort();
	if (whole.body.n > 4096 || whole.head.n > HTTP_HEAD_MAX)
		abort();
	return 0;
}
