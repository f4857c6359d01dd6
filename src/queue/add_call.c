/* ADD and SPOOL: the callers' side, and the decoding that the role queue begins with. Both ends of the encoding stand
 * here, so that they change together.
 *
 * The content of ADD is the same wherever it travels. A memfd costs some system calls and a mapping (about 20 µs), a
 * body in the request a copy: what fits the request goes in it. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "queue/add.h"
#include "queue/record.h"
#include <unistd.h>

enum { CONTENT_HERE = 1, CONTENT_MEMFD = 2, BODY_BYTES = 1, BODY_SPOOL = 2, ROOM_FOR_BODY_FIELD = 32,
       SPOOL_TIMEOUT_MS = 10000 };
static const size_t CONTENT_MAX = (size_t)ENVELOPE_BYTES_MAX + (size_t)QUEUE_BODY_MAX + ROOM_FOR_BODY_FIELD;

/* ------------------------------------------------------------------------------------------------------------ names */

struct str queue_name(struct queue_id id, struct arena *a)
{
	return arena_printf(a, "%08x-%llu", (unsigned)(id.log_id >> 32), (unsigned long long)id.seq);
}

bool queue_name_parse(struct str name, uint32_t *log_id_high, uint64_t *seq)
{
	CLEANUP(buf_free) struct buf bytes = BUF(4);
	struct str high, number;

	if (!str_cut(name, '-', &high, &number) || high.n != 8 || !hex_get(&bytes, high) || !str_to_u64(number, seq))
		return false;
	*log_id_high = 0;
	for (size_t i = 0; i < 4; i++)
		*log_id_high = *log_id_high << 8 | (uint8_t)bytes.p[i];
	return true;
}

/* --------------------------------------------------------------------------------------------------------- encoding */

static void put_content(const struct envelope *e, const struct queue_body *body, struct buf *out)
{
	CLEANUP(buf_free) struct buf envelope = BUF(ENVELOPE_BYTES_MAX);

	envelope_encode(e, &envelope);
	out->failed |= envelope.failed;
	put_str(out, buf_str(&envelope));
	if (body->spool != 0) {
		put_u8(out, BODY_SPOOL);
		put_u64(out, body->spool);
		put_u64(out, body->size);
		put_u32(out, body->crc);
	} else {
		put_u8(out, BODY_BYTES);
		buf_add(out, body->bytes);
	}
}

/* request gets the body of ADD; *memfd is -1 when nothing travels beside it. */
static enum err encode(const struct envelope *e, const struct queue_body *body, struct buf *request, int *memfd)
{
	CLEANUP(buf_free) struct buf content = BUF(CONTENT_MAX);

	*memfd = -1;
	if (body->bytes.n > QUEUE_BODY_MAX || (body->spool != 0 && body->size > QUEUE_BODY_MAX))
		return ERR_LIMIT;
	put_content(e, body, &content);
	if (content.failed)
		return ERR_LIMIT;
	put_u64(request, (uint64_t)(clock_mono_ms() + QUEUE_ADD_TIMEOUT_MS - QUEUE_ANSWER_MS));
	if (request->n + content.n + 1 > MESSAGE_BODY_MAX) {
		TRY(memfd_make("add", buf_str(&content), memfd));
		put_u8(request, CONTENT_MEMFD);
	} else {
		put_u8(request, CONTENT_HERE);
		buf_add(request, buf_str(&content));
	}
	return ERR_OK;
}

void queue_add_answer(struct queue_id id, struct buf *out)
{
	put_u64(out, id.log_id);
	put_u64(out, id.seq);
}

void queue_spool_answer(uint64_t spool, struct buf *out) { put_u64(out, spool); }

/* --------------------------------------------------------------------------------------------------------- decoding */

static bool get_content(struct scan *s, struct arena *a, struct queue_add_in *out)
{
	struct str envelope = get_str(s, ENVELOPE_BYTES_MAX);

	switch (get_u8(s)) {
	case BODY_BYTES:
		out->body.bytes = scan_bytes(s, scan_left(s));
		out->body.size = out->body.bytes.n;
		break;
	case BODY_SPOOL:
		out->body.spool = get_u64(s);
		out->body.size = get_u64(s);
		out->body.crc = get_u32(s);
		if (out->body.spool == 0)
			scan_fail(s);
		break;
	default:
		scan_fail(s);
	}
	return get_end(s) && out->body.size <= QUEUE_BODY_MAX && envelope_decode(envelope, a, &out->envelope);
}

enum err queue_add_decode(const struct message *m, struct arena *a, struct queue_add_in *out)
{
	struct scan s = scan_of(m->body);
	int64_t until_ms = (int64_t)get_u64(&s);
	uint8_t where = get_u8(&s);

	*out = (struct queue_add_in){ .until_ms = until_ms };
	if (where == CONTENT_MEMFD) {
		if (m->fd_count != 1 || !get_end(&s) || memfd_map(m->fds[0], CONTENT_MAX, &out->mapped) != ERR_OK)
			return ERR_INVALID;
		s = scan_of(out->mapped);
	} else if (where != CONTENT_HERE || m->fd_count != 0) {
		return ERR_INVALID;
	}
	if (get_content(&s, a, out))
		return ERR_OK;
	queue_add_release(out);
	return ERR_INVALID;
}

void queue_add_release(struct queue_add_in *in)
{
	memfd_unmap(in->mapped);
	*in = (struct queue_add_in){ 0 };
}

static enum err get_id(const struct message *answer, struct queue_id *id)
{
	struct scan s = scan_of(answer->body);

	id->log_id = get_u64(&s);
	id->seq = get_u64(&s);
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}

/* ERR_OK: *spool and *fd, which is taken from the answer. */
static enum err get_spool(struct message *answer, uint64_t *spool, int *fd)
{
	struct scan s = scan_of(answer->body);

	*spool = get_u64(&s);
	if (!get_end(&s) || *spool == 0 || answer->fd_count != 1)
		return ERR_INVALID;
	*fd = answer->fds[0];
	answer->fds[0] = -1;
	return ERR_OK;
}

/* ----------------------------------------------------------------------------------------------------------- asking */

enum err queue_add(struct channel *queue, const struct envelope *e, const struct queue_body *body, struct queue_id *id)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int memfd = -1;
	struct message answer;

	TRY(encode(e, body, &request, &memfd));
	TRY(channel_call(queue, REQUEST_ADD, buf_str(&request), &memfd, memfd >= 0, QUEUE_ADD_TIMEOUT_MS, &a, &answer));
	return get_id(&answer, id);
}

struct asked {
	queue_added   added;
	queue_spooled spooled;
	void         *context;
};

static struct asked *asked_new(queue_added added, queue_spooled spooled, void *context)
{
	struct asked *k = MEM_NEW(struct asked);

	*k = (struct asked){ added, spooled, context };
	return k;
}

static void add_answered(void *context, struct message *answer)
{
	struct asked k = *(struct asked *)context;
	struct queue_id id = { 0 };
	enum err e = answer->status;

	mem_free(context);
	if (e == ERR_OK)
		e = get_id(answer, &id);
	k.added(k.context, e, id);
}

enum err queue_add_ask(struct channel *queue, const struct envelope *e, const struct queue_body *body, queue_added done,
                       void *context)
{
	CLEANUP(buf_free) struct buf request = BUF(MESSAGE_BODY_MAX);
	CLEANUP(fd_close) int memfd = -1;

	TRY(encode(e, body, &request, &memfd));
	struct asked *k = asked_new(done, NULL, context);
	enum err sent = channel_ask(queue, REQUEST_ADD, buf_str(&request), &memfd, memfd >= 0, QUEUE_ADD_TIMEOUT_MS,
	                            add_answered, k);
	if (sent != ERR_OK)
		mem_free(k);
	return sent;
}

enum err queue_spool(struct channel *queue, uint64_t *spool, int *fd)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct message answer;

	TRY(channel_call(queue, REQUEST_SPOOL, STR_NONE, NULL, 0, SPOOL_TIMEOUT_MS, &a, &answer));
	enum err e = get_spool(&answer, spool, fd);
	for (int i = 0; i < answer.fd_count; i++)
		fd_close(&answer.fds[i]);
	return e;
}

void queue_spool_drop(struct channel *queue, uint64_t spool)
{
	CLEANUP(buf_free) struct buf b = BUF(8);

	put_u64(&b, spool);
	(void)!channel_notify(queue, NOTICE_SPOOL_DROP, buf_str(&b), NULL, 0);  /* a queue that is gone takes its files along */
}

static void spool_answered(void *context, struct message *answer)
{
	struct asked k = *(struct asked *)context;
	uint64_t spool = 0;
	int fd = -1;
	enum err e = answer->status;

	mem_free(context);
	if (e == ERR_OK)
		e = get_spool(answer, &spool, &fd);
	k.spooled(k.context, e, spool, fd);
}

enum err queue_spool_ask(struct channel *queue, queue_spooled done, void *context)
{
	struct asked *k = asked_new(NULL, done, context);
	enum err sent = channel_ask(queue, REQUEST_SPOOL, STR_NONE, NULL, 0, SPOOL_TIMEOUT_MS, spool_answered, k);

	if (sent != ERR_OK)
		mem_free(k);
	return sent;
}
