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
 *     as it is.
 *
 * A client may stop compressing (UNAUTHENTICATE, RFC 8437 §4.1), and what it sends behind that goes through the decompressor before anybody
 * has understood it: nonsense comes out, or an error. So the input since the last place where it could have stopped is kept: each flush ends with an
 * empty stored block, four bytes 00 00 ff ff, and input is taken in steps that end there. */
#include "net/deflate.h"
#include "base/mem.h"
#include <assert.h>
#include <zlib.h>

enum { WINDOW_BITS = 14, MEMORY_LEVEL = 7, LEVEL = 3, OUR_DICTIONARY = 2048, THEIR_DICTIONARY = 32768, PIECE = 16384, FED_MAX = PIECE * 2 };

struct deflate {
	z_stream  *out, *in;         /* NULL: parked */
	char      *out_dictionary, *in_dictionary;
	unsigned   out_dictionary_n, in_dictionary_n;
	struct buf fed;              /* their input: what is kept, and from fed_at on what waits */
	size_t     fed_at;
	bool       may_have_more;    /* the last output filled its room */
	bool       has_mark;         /* at fed.p + mark_at the client could have stopped … */
	size_t     mark_at;
	uint64_t   given, mark;      /* … when it had said so much of all that was given */
};

static void *take_memory(UNUSED void *context, unsigned count, unsigned size) { return mem_array(count, size); }
static void give_memory(UNUSED void *context, void *p) { mem_free(p); }

struct deflate *deflate_new(void)
{
	struct deflate *d = MEM_NEW(struct deflate);

	d->fed = BUF(FED_MAX);
	d->has_mark = true;
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

static void forget(struct deflate *d)
{
	buf_free(&d->fed);
	d->fed_at = d->mark_at = 0;
	d->has_mark = false;
}

void deflate_feed(struct deflate *d, struct str bytes)
{
	assert(!deflate_has_input(d) && bytes.n <= FED_MAX);
	buf_drop_front(&d->fed, d->mark_at);
	d->fed_at -= d->mark_at;
	d->mark_at = 0;
	if (d->fed.n + bytes.n > FED_MAX)
		forget(d);
	buf_add(&d->fed, bytes);
}

/* Between two blocks and on a byte boundary: zlib says so in data_type (inflate() in zlib.h). */
static bool is_between_blocks(const z_stream *z)
{
	return (z->data_type & 128) && !(z->data_type & 64) && (z->data_type & 7) == 0;
}

/* Up to where input is taken in one step: perhaps a flush ends there. */
static size_t step_end(const struct deflate *d)
{
	size_t from = d->fed_at > 3 ? d->fed_at - 3 : 0;
	ptrdiff_t at = str_find(str_from(buf_str(&d->fed), from), STR("\0\0\xff\xff"));

	return at < 0 ? d->fed.n : from + (size_t)at + 4;
}

static void set_mark(struct deflate *d)
{
	if (d->fed_at == d->fed.n) {
		buf_free(&d->fed);
		d->fed_at = 0;
	}
	d->has_mark = true;
	d->mark_at = d->fed_at;
	d->mark = d->given;
}

static int inflate_step(struct deflate *d, char *room, size_t n, size_t *got)
{
	size_t end = step_end(d);

	d->in->next_in = (z_const Bytef *)(d->fed.p + d->fed_at);
	d->in->avail_in = (uInt)(end - d->fed_at);
	d->in->next_out = (Bytef *)room;
	d->in->avail_out = (uInt)n;
	int r = inflate(d->in, Z_SYNC_FLUSH);
	d->fed_at = end - d->in->avail_in;
	*got = n - d->in->avail_out;
	d->given += *got;
	d->may_have_more = d->in->avail_out == 0;
	if (r == Z_STREAM_END || (r == Z_OK && d->fed_at == end && is_between_blocks(d->in)))
		set_mark(d);
	return r;
}

enum err deflate_get(struct deflate *d, char *room, size_t n, size_t *got)
{
	int r = Z_OK;

	*got = 0;
	if (d->in == NULL && deflate_has_input(d))
		begin_in(d);
	while (*got == 0 && r == Z_OK && deflate_has_input(d))
		r = inflate_step(d, room, n, got);
	if (*got)
		return ERR_OK;
	return r == Z_OK || r == Z_BUF_ERROR ? ERR_AGAIN : r == Z_STREAM_END ? ERR_CLOSED : ERR_INVALID;
}

bool deflate_stopped(const struct deflate *d, size_t n, struct str *raw)
{
	if (d->has_mark && d->given - d->mark == n) {
		*raw = str_from(buf_str(&d->fed), d->mark_at);
		return true;
	}
	*raw = STR_NONE;  /* a client that waits for the answer need not have flushed all that its compressor had to say */
	return n == 0 && !deflate_has_input(d);
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
	if (d->fed.n > 0 && !deflate_has_input(d))
		forget(d);
}
