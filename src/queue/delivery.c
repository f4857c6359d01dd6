/* The encoding of DELIVER. One encoding for both ways of travelling: the bytes of the batch are the request's body when
 * they are few, and lie in a sealed memfd when they are many; a leading byte says which. What a receiver must believe
 * is checked here once: counts, lengths, that each descriptor is used by exactly one delivery, that inline bodies have
 * the size they claim. The CRC of a body is checked by whoever writes it to disk, since it passes over the bytes
 * anyway. */
#include "queue/delivery.h"
#include "base/bytes.h"
#include <sys/stat.h>
#include <unistd.h>

enum place { PLACE_HERE = 0, PLACE_MEMFD = 1 };
enum { INLINE_BODY = 0, FD_BODY = 1 };

static bool batch_fits(const struct delivery_batch *batch)
{
	size_t bytes = 0, files = 0;

	if (batch->n > DELIVERY_BATCH_MAX)
		return false;
	for (size_t i = 0; i < batch->n; i++) {
		const struct delivery *d = &batch->deliveries[i];
		if (d->sender.n > DELIVERY_ADDRESS_MAX || d->original_recipient.n > DELIVERY_ADDRESS_MAX ||
		    d->detail.n > DELIVERY_ADDRESS_MAX)
			return false;
		if (d->fd >= 0)
			files++;
		else if (d->body.n > DELIVERY_INLINE_MAX || d->body.n != d->size)
			return false;
		else
			bytes += d->body.n;
	}
	return files <= DELIVERY_FDS_MAX && bytes <= DELIVERY_BATCH_BYTES;
}

static void put_delivery(struct buf *b, const struct delivery *d, uint8_t *files)
{
	put_u64(b, d->log_id);
	put_u64(b, d->seq);
	put_u16(b, d->recipient);
	put_u64(b, d->parent_log_id);
	put_u64(b, d->parent_seq);
	put_u64(b, d->parent_account);
	put_u32(b, d->parent_ordinal);
	put_str(b, d->sender);
	put_str(b, d->original_recipient);
	put_str(b, d->detail);
	put_i64(b, d->received);
	put_bool(b, d->smtputf8);
	put_bool(b, d->may_be_duplicate);
	put_u64(b, d->size);
	put_u32(b, d->crc);
	if (d->fd >= 0) {
		put_u8(b, FD_BODY);
		put_u8(b, (*files)++);
	} else {
		put_u8(b, INLINE_BODY);
		put_str(b, d->body);
	}
}

enum err delivery_batch_encode(const struct delivery_batch *batch, struct buf *request, int fds[MESSAGE_FDS_MAX],
							   int *fd_count, int *memfd)
{
	CLEANUP(buf_free) struct buf b = BUF(DELIVERY_BATCH_BYTES + DELIVERY_BATCH_MAX * (3 * DELIVERY_ADDRESS_MAX + 200));
	uint8_t files = 0;

	*memfd = -1;
	*fd_count = 0;
	if (!batch_fits(batch))
		return ERR_LIMIT;
	put_u64(&b, batch->account);
	put_u64(&b, batch->prune_log_id);
	put_u64(&b, batch->prune_seq);
	put_bool(&b, batch->is_only_log);
	put_u32(&b, (uint32_t)batch->n);
	for (size_t i = 0; i < batch->n; i++)
		put_delivery(&b, &batch->deliveries[i], &files);
	if (b.failed)
		return ERR_LIMIT;
	if (b.n + 1 > MESSAGE_BODY_MAX) {
		TRY(memfd_make("deliver", buf_str(&b), memfd));
		fds[(*fd_count)++] = *memfd;
		put_u8(request, PLACE_MEMFD);
	} else {
		put_u8(request, PLACE_HERE);
		buf_add(request, buf_str(&b));
	}
	for (size_t i = 0; i < batch->n; i++)
		if (batch->deliveries[i].fd >= 0)
			fds[(*fd_count)++] = batch->deliveries[i].fd;
	return request->failed ? ERR_LIMIT : ERR_OK;
}

static void get_delivery(struct scan *s, struct delivery *d, int *files)
{
	d->log_id = get_u64(s);
	d->seq = get_u64(s);
	d->recipient = get_u16(s);
	d->parent_log_id = get_u64(s);
	d->parent_seq = get_u64(s);
	d->parent_account = get_u64(s);
	d->parent_ordinal = get_u32(s);
	d->sender = get_str(s, DELIVERY_ADDRESS_MAX);
	d->original_recipient = get_str(s, DELIVERY_ADDRESS_MAX);
	d->detail = get_str(s, DELIVERY_ADDRESS_MAX);
	d->received = get_i64(s);
	d->smtputf8 = get_bool(s);
	d->may_be_duplicate = get_bool(s);
	d->size = get_u64(s);
	d->crc = get_u32(s);
	d->fd = -1;
	switch (get_u8(s)) {
	case INLINE_BODY:
		d->body = get_str(s, DELIVERY_INLINE_MAX);
		if (d->body.n != d->size)
			scan_fail(s);
		break;
	case FD_BODY:
		d->fd = get_u8(s);
		if (d->fd != (*files)++)  /* they come in order, so each belongs to exactly one */
			scan_fail(s);
		break;
	default:
		scan_fail(s);
	}
}

static bool batch_parse(struct str bytes, struct arena *a, struct delivery_batch *out, int *files)
{
	struct scan s = scan_of(bytes);

	*files = 0;
	out->account = get_u64(&s);
	out->prune_log_id = get_u64(&s);
	out->prune_seq = get_u64(&s);
	out->is_only_log = get_bool(&s);
	out->n = get_count(&s, DELIVERY_BATCH_MAX);
	out->deliveries = arena_array(a, out->n + 1, sizeof(struct delivery));
	for (size_t i = 0; i < out->n; i++)
		get_delivery(&s, &out->deliveries[i], files);
	return get_end(&s) && *files <= DELIVERY_FDS_MAX;
}

bool delivery_batch_parse(struct str bytes, struct arena *a, struct delivery_batch *out)
{
	int files;

	return batch_parse(bytes, a, out, &files);
}

/* A body by descriptor must be a file of the size that was said: what is read later is bounded by it. */
static bool is_file_of_size(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size == size;
}

enum err delivery_batch_decode(struct message *m, struct arena *a, struct delivery_batch_in *out)
{
	struct scan s = scan_of(m->body);
	struct str bytes;
	int files, first = 0;

	*out = (struct delivery_batch_in){ 0 };
	switch (get_u8(&s)) {
	case PLACE_HERE:
		bytes = scan_rest(&s);
		break;
	case PLACE_MEMFD:
		if (m->fd_count < 1 || !scan_done(&s))
			return ERR_INVALID;
		if (memfd_map(m->fds[0], DELIVERY_BATCH_BYTES + DELIVERY_BATCH_MAX * 4096, &out->mapped) != ERR_OK)
			return ERR_INVALID;
		bytes = out->mapped;
		first = 1;
		break;
	default:
		return ERR_INVALID;
	}
	if (s.failed || !batch_parse(bytes, a, &out->batch, &files) || m->fd_count != first + files)
		goto invalid;
	for (size_t i = 0; i < out->batch.n; i++) {
		struct delivery *d = &out->batch.deliveries[i];
		if (d->fd >= 0 && !is_file_of_size(m->fds[first + d->fd], d->size))
			goto invalid;
	}
	for (size_t i = 0; i < out->batch.n; i++) {
		struct delivery *d = &out->batch.deliveries[i];
		if (d->fd >= 0) {
			int *from = &m->fds[first + d->fd];
			d->fd = *from;
			*from = -1;
		}
	}
	return ERR_OK;
invalid:
	if (out->mapped.p != NULL)
		memfd_unmap(out->mapped);
	*out = (struct delivery_batch_in){ 0 };
	return ERR_INVALID;
}

void delivery_batch_release(struct delivery_batch_in *in)
{
	for (size_t i = 0; i < in->batch.n; i++)
		fd_close(&in->batch.deliveries[i].fd);
	if (in->mapped.p != NULL)
		memfd_unmap(in->mapped);
	*in = (struct delivery_batch_in){ 0 };
}

void delivery_results_encode(const struct delivery_result *results, size_t n, struct buf *out)
{
	put_u32(out, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		put_u64(out, results[i].log_id);
		put_u64(out, results[i].seq);
		put_u16(out, results[i].recipient);
		put_u8(out, (uint8_t)results[i].outcome);
		put_bool(out, results[i].is_synced);
		put_str(out, str_sub(results[i].status, 0, 16));
		put_str(out, utf8_clip(results[i].reason, DELIVERY_REASON_MAX));
	}
}

enum err delivery_results_decode(struct str bytes, struct arena *a, struct delivery_result **out, size_t *n)
{
	struct scan s = scan_of(bytes);

	*n = get_count(&s, DELIVERY_BATCH_MAX);
	*out = arena_array(a, *n + 1, sizeof **out);
	for (size_t i = 0; i < *n; i++) {
		struct delivery_result *r = &(*out)[i];
		r->log_id = get_u64(&s);
		r->seq = get_u64(&s);
		r->recipient = get_u16(&s);
		r->outcome = (enum delivery_outcome)get_u8(&s);
		if (r->outcome < DELIVERY_DONE || r->outcome > DELIVERY_REFUSED)
			scan_fail(&s);
		r->is_synced = get_bool(&s);
		r->status = get_str(&s, 16);
		r->reason = get_str(&s, DELIVERY_REASON_MAX);
	}
	return get_end(&s) ? ERR_OK : ERR_INVALID;
}
