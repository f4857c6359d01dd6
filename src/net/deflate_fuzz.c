/* Compressed bytes of a client, parked in between: whatever it sends, we go on or say that it is not deflate. The
 * first byte of the input says into which pieces the rest is cut. */
#include "net/deflate.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct deflate *d = deflate_new();
	struct str rest = str_make(data, n);
	size_t step = n ? 1 + data[0] % 64 : 1, got, total = 0;
	char room[500];
	enum err e = ERR_AGAIN;

	rest = str_from(rest, n > 0);
	while (rest.n && e == ERR_AGAIN && total < 1 << 20) {
		deflate_feed(d, str_sub(rest, 0, step));
		rest = str_from(rest, step);
		while ((e = deflate_get(d, room, sizeof(room), &got)) == ERR_OK)
			total += got;
		deflate_park(d);
	}
	deflate_free(d);
	return 0;
}
