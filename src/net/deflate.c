/* Compression that can be put away.
 *
 * A compressor's memory (128 kB here) and a decompressor's (40 kB) are too much for a connection that waits. Both
 * can be thrown away at a block boundary that is also a byte boundary, which is where every flush ends, and made
 * again later:
 *   - Ours: deflate_put() always ends with a sync flush, so a new raw stream simply goes on where the old one stopped.
 *     It may refer to nothing the old one said, except to what is given as its dictionary: the last 2 kB keep the gain
 *     for the short answers of a session that wakes up.
 *   - Theirs: the client goes on with its own compressor and may refer to the last 32 kB it has sent. All of it is
 *     kept; a client that waits has mostly sent a few commands. Where it stopped inside a block the decompressor stays
 *     as it is. */
#include "net/deflate.h"
#include "base/mem.h"
#include <assert.h>
#include <zlib.h>

enum { WINDOW_BITS = 14, MEMORY_LEVEL = 7, LEVEL = 3, OUR_DICTIONARY = 2048, THEIR_DICTIONARY = 32768, PIECE = 16384 };

struct deflate {
	z_stream  *out, *in;         /* NULL: parked */
	char      *out_dictionary, *in_dictionary;
	unsigned   out_dictionary_n, in_dictionary_n;
	struct buf fed;              /* compressed input that waits: fed.p + fed_at … */
	size_t     fed_at;
	bool       may_have_more;    /* the last output filled its room */
};

static void *take_memory(UNUSED void *context, unsigned count, unsigned size) { return mem_array(count, size); }
static void give_memory(UNUSED void *context, void *p) { mem_free(p); }

struct deflate *deflate_new(void)
{
	struct deflate *d = MEM_NEW(struct deflate);

	d->fed = BUF(PIECE * 2);
	return d;
}

static z_stream *new_stream(void)
{
	z_stream *z = MEM_NEW(z_stream);

	z->zalloc = take_memory;
	z->zfree = give_memory;
	return z;
}

static void end_out(struct deflate *d)
{
	if (d->out)
		deflateEnd(d->out);
	mem_free(d->out);
	d->out = NULL;
}

static void end_in(struct deflate *d)
{
	if (d->in)
		inflateEnd(d->in);
	mem_free(d->in);
	d->in = NULL;
}

void deflate_free(struct deflate *d)
{
	if (d == NULL)
		return;
	end_out(d);
	end_in(d);
	mem_free(d->out_dictionary);
	mem_free(d->in_dictionary);
	buf_free(&d->fed);
	mem_free(d);
}

/* ---- ours */

static void begin_out(struct deflate *d)
{
	d->out = new_stream();
	int r = deflateInit2(d->out, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
	assert(r == Z_OK);
	if (d->out_dictionary_n)
		r = deflateSetDictionary(d->out, (const Bytef *)d->out_dictionary, d->out_dictionary_n);
	assert(r == Z_OK);
	mem_free(d->out_dictionary);
	d->out_dictionary = NULL;
	d->out_dictionary_n = 0;
}

/* zlib's own bound is for one stream that is finished; ours ends with an empty stored block instead. */
size_t deflate_bound(size_t n) { return n + n / 8 + 64; }

void deflate_put(struct deflate *d, struct str bytes, struct buf *out)
{
	size_t room = deflate_bound(bytes.n);

	if (bytes.n == 0)
		return;
	if (d->out == NULL)
		begin_out(d);
	d->out->next_in = (z_const Bytef *)(uintptr_t)bytes.p;
	d->out->avail_in = (uInt)bytes.n;
	do {
		char *p = buf_reserve(out, room);
		assert(p != NULL);
		d->out->next_out = (Bytef *)p;
		d->out->avail_out = (uInt)room;
		int r = deflate(d->out, Z_SYNC_FLUSH);
		assert(r == Z_OK || r == Z_BUF_ERROR);
		buf_grew(out, room - d->out->avail_out);
	} while (d->out->avail_out == 0);
}

/* ---- theirs */

static void begin_in(struct deflate *d)
{
	d->in = new_stream();
	int r = inflateInit2(d->in, -MAX_WBITS);
	assert(r == Z_OK);
	if (d->in_dictionary_n)
		r = inflateSetDictionary(d->in, (const Bytef *)d->in_dictionary, d->in_dictionary_n);
	assert(r == Z_OK);
	mem_free(d->in_dictionary);
	d->in_dictionary = NULL;
	d->in_dictionary_n = 0;
}

bool deflate_has_input(const struct deflate *d) { return d->fed_at < d->fed.n || d->may_have_more; }

void deflate_feed(struct deflate *d, struct str bytes)
{
	assert(!deflate_has_input(d) && bytes.n <= PIECE * 2);
	d->fed_at = 0;
	buf_reset(&d->fed);
	buf_add(&d->fed, bytes);
}

enum err deflate_get(struct deflate *d, char *room, size_t n, size_t *got)
{
	*got = 0;
	if (!deflate_has_input(d))
		return ERR_AGAIN;
	if (d->in == NULL)
		begin_in(d);
	d->in->next_in = (z_const Bytef *)(d->fed.p + d->fed_at);
	d->in->avail_in = (uInt)(d->fed.n - d->fed_at);
	d->in->next_out = (Bytef *)room;
	d->in->avail_out = (uInt)n;
	int r = inflate(d->in, Z_SYNC_FLUSH);
	d->fed_at = d->fed.n - d->in->avail_in;
	*got = n - d->in->avail_out;
	d->may_have_more = d->in->avail_out == 0;
	if (d->fed_at == d->fed.n) {
		buf_free(&d->fed);
		d->fed_at = 0;
	}
	if (*got)
		return ERR_OK;
	return r == Z_OK || r == Z_BUF_ERROR ? ERR_AGAIN : r == Z_STREAM_END ? ERR_CLOSED : ERR_INVALID;
}

/* ---- parking */

static void park_out(struct deflate *d)
{
	char window[1 << WINDOW_BITS];
	uInt n = 0;

	if (d->out == NULL || deflateGetDictionary(d->out, (Bytef *)window, &n) != Z_OK)
		return;
	d->out_dictionary_n = n < OUR_DICTIONARY ? n : OUR_DICTIONARY;
	d->out_dictionary = mem_alloc(d->out_dictionary_n);
	memcpy(d->out_dictionary, window + n - d->out_dictionary_n, d->out_dictionary_n);
	end_out(d);
}

/* Between two blocks and on a byte boundary: zlib says so in data_type (inflate() in zlib.h). */
static bool is_between_blocks(const z_stream *z)
{
	return (z->data_type & 128) && !(z->data_type & 64) && (z->data_type & 7) == 0;
}

static void park_in(struct deflate *d)
{
	uInt n = 0;

	if (d->in == NULL || deflate_has_input(d) || !is_between_blocks(d->in) ||
	    inflateGetDictionary(d->in, NULL, &n) != Z_OK || n > THEIR_DICTIONARY)
		return;
	d->in_dictionary_n = n;
	d->in_dictionary = mem_alloc(n);
	inflateGetDictionary(d->in, (Bytef *)d->in_dictionary, &n);
	end_in(d);
}

void deflate_park(struct deflate *d)
{
	park_out(d);
	park_in(d);
}
