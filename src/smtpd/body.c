/* The message as it will be stored, while it arrives.
 *
 * The header is kept in memory until it is whole: then the host may look at it, and our Received field is put before
 * it. From there on bytes are only added: up to SMTPD_MEMORY_MAX in memory, beyond (or when all sessions together hold
 * memory_max) in a spool file of the queue, which is asked for once and written in pieces of 64 kB with its CRC.
 * Writing may wait for the disk, never for a stranger.
 *
 * BINARYMIME is re-encoded when it is complete (mime/rewrite.h). What is still in memory is, at once. A spool file is mapped, since that needs the
 * message in one piece, and written again: 6 ms a MB, which the host spends in a thread that keeps nobody waiting. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "mime/rewrite.h"
#include "smtpd/smtpd_private.h"
#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { WRITE_PIECE = 64 << 10, SPOOL_EARLY = 16 << 10, LOOK_EVERY = 4 << 20 };

void smtpd_charge(struct smtpd *s)
{
	size_t holds = s->body.bytes.n + s->arena.total;

	s->server->memory_used += holds - s->charged;
	s->charged = holds;
}

void smtpd_body_begin(struct smtpd *s)
{
	smtpd_body_drop(s);
	s->body.in_header = true;
	s->body.octets = 0;
	s->body.bytes = BUF(SMTPD_MEMORY_MAX + 2 * SMTPD_PIECE);
}

static void drop_spool(struct smtpd *s, uint64_t spool)
{
	if (spool != 0)
		s->host->drop(s->context, spool);
}

void smtpd_body_drop(struct smtpd *s)
{
	drop_spool(s, s->body.spool);
	buf_free(&s->body.bytes);
	smtpd_charge(s);
	fd_close(&s->body.fd);
	s->body.fd = -1;
	s->body.searched = 0;
	s->body.written = s->body.spool = 0;
	s->body.crc = 0;
}

void smtpd_refuse(struct smtpd *s, struct smtp_reply r)
{
	if (s->refusal.code != 0)
		return;
	s->refusal = r;
	smtpd_body_drop(s);
}

static void refuse_err(struct smtpd *s, enum err e)
{
	if (e == ERR_AGAIN || e == ERR_FULL || e == ERR_LIMIT)
		smtpd_refuse(s, SMTP_REPLY(452, "4.3.1",
								   "this server has no room for the message at the moment: please try again later"));
	else
		smtpd_refuse(s, SMTP_REPLY(451, "4.3.0", "the message cannot be stored at the moment: please try again later"));
}

/* ---- the spool file ---- */

/* What hundreds send at the same time would else have the disk before any of it is complete, and mailboxes could not be written. */
static bool has_room(const struct smtpd *s)
{
	const struct smtpd_body *b = &s->body;
	struct statvfs disk;

	if (b->written / LOOK_EVERY == (b->written + b->bytes.n) / LOOK_EVERY || fstatvfs(b->fd, &disk) < 0)
		return true;
	return (uint64_t)disk.f_bavail * disk.f_frsize >= s->server->disk_reserve;
}

static void write_out(struct smtpd *s)
{
	struct smtpd_body *b = &s->body;

	if (!has_room(s)) {
		refuse_err(s, ERR_FULL);
		return;
	}
	for (size_t at = 0; at < b->bytes.n;) {
		ssize_t n = pwrite(b->fd, b->bytes.p + at, b->bytes.n - at, (off_t)(b->written + at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			refuse_err(s, log_errno("pwrite", "spool file"));
			return;
		}
		at += (size_t)n;
	}
	b->crc = crc32c(b->crc, b->bytes.p, b->bytes.n);
	b->written += b->bytes.n;
	buf_reset(&b->bytes);
	smtpd_charge(s);
}

void smtpd_spooled(struct smtpd *s, enum err result, uint64_t spool, int fd)
{
	s->is_waiting = false;
	if (s->phase == PHASE_OVER || s->refusal.code != 0) {  /* it is not wanted any more */
		fd_close(&fd);
		drop_spool(s, spool);
		return;
	}
	if (result != ERR_OK) {
		refuse_err(s, result);
		return;
	}
	s->body.fd = fd;
	s->body.spool = spool;
	write_out(s);
}

/* So much of one message, when all together have what they may have. */
static bool is_too_much(const struct smtpd *s, size_t n)
{
	return n > SMTPD_MEMORY_MAX || (n > SPOOL_EARLY && s->server->memory_used > s->server->memory_max);
}

static bool wants_spool(const struct smtpd *s)
{
	return s->body.fd < 0 && !s->body.in_header && is_too_much(s, s->body.bytes.n);
}

/* ---- the header ---- */

/* Bytes of the header with its empty line; 0: it is not whole yet. */
static size_t header_size(struct smtpd_body *b)
{
	struct str all = buf_str(&b->bytes);
	size_t from = b->searched > 3 ? b->searched - 3 : 0;
	ptrdiff_t at;

	if (str_starts(all, STR("\r\n")))
		return 2;
	at = str_find(str_from(all, from), STR("\r\n\r\n"));
	b->searched = all.n;
	return at >= 0 ? from + (size_t)at + 4 : 0;
}

static void end_header(struct smtpd *s, size_t n)
{
	CLEANUP(buf_free) struct buf changed = BUF(2 * SMTPD_MEMORY_MAX);
	struct buf all = BUF(3 * SMTPD_MEMORY_MAX + 2 * SMTPD_PIECE);
	struct str header = str_sub(buf_str(&s->body.bytes), 0, n);
	struct smtp_reply r = { 0 };

	s->body.in_header = false;
	if (smtpd_count_received(header) > SMTPD_RECEIVED_MAX)
		r = SMTP_REPLY(554, "5.4.6", "this message has passed more than 100 servers: it goes round in a circle");
	else if (s->host->header)
		r = s->host->header(s->context, &s->envelope, header, &changed, &s->arena);
	if (r.code == 0 && changed.failed)
		r = SMTP_REPLY(554, "5.6.0", "the header of the message is too large");
	if (r.code != 0) {
		smtpd_refuse(s, r);
		return;
	}
	smtpd_take_tls_field(s, header);
	smtpd_put_received(s, &all);
	buf_add(&all, changed.n > 0 ? buf_str(&changed) : header);
	buf_add(&all, str_from(buf_str(&s->body.bytes), n));
	buf_free(&s->body.bytes);
	s->body.bytes = all;
}

/* It cannot go to a file before it is whole. So many strangers who each begin a long one would have all the memory there is. */
static void look_for_end(struct smtpd *s)
{
	size_t n = header_size(&s->body), so_far = n > 0 ? n : s->body.bytes.n;

	smtpd_charge(s);
	if (so_far > SMTPD_MEMORY_MAX)
		smtpd_refuse(s, SMTP_REPLY(554, "5.6.0", "the header of the message is larger than 262144 bytes"));
	else if (is_too_much(s, so_far))
		refuse_err(s, ERR_FULL);
	else if (n > 0)
		end_header(s, n);
}

/* ---- bytes ---- */

void smtpd_body_add(struct smtpd *s, struct str piece)
{
	struct smtpd_body *b = &s->body;

	b->octets += piece.n;
	if (s->refusal.code != 0)
		return;
	if (b->octets > s->server->size_max) {
		smtpd_refuse(s, smtp_reply_printf(&s->arena, 552, "5.3.4",
										  "the message is larger than the %llu bytes this server accepts",
										  (unsigned long long)s->server->size_max));
		return;
	}
	buf_add(&b->bytes, piece);
	assert(!b->bytes.failed);  /* a piece comes only when what was there before is small or written */
	if (b->in_header)
		look_for_end(s);
	if (s->refusal.code != 0)
		return;
	if (b->fd >= 0 && b->bytes.n >= WRITE_PIECE)
		write_out(s);
	smtpd_charge(s);
	if (wants_spool(s)) {
		s->is_waiting = true;
		s->host->spool(s->context);
	}
}

/* ---- BINARYMIME: only CRLF lines and no NUL are stored (RFC 3030 §3 asks to convert, where the next hop has no BINARYMIME) ---- */

/* False: it may stay as it is. out->failed: it did not fit. */
static bool rewritten(struct str message, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	const struct mime_part *root = mime_parse(&a, message);

	if (!mime_needs_rewrite(message, root))
		return false;
	mime_rewrite(message, root, out);
	return true;
}

static void rewrite_in_memory(struct smtpd *s)
{
	struct buf out = BUF(QUEUE_BODY_MAX);
	uint64_t octets = s->body.octets;

	if (!rewritten(buf_str(&s->body.bytes), &out))
		return;
	if (out.failed) {
		buf_free(&out);
		refuse_err(s, ERR_LIMIT);
		return;
	}
	smtpd_body_drop(s);
	s->body.octets = octets;
	s->body.bytes = out;
	smtpd_charge(s);
}

/* In place: nothing of the old message is needed when the new one is whole. */
static enum err write_again(struct smtpd_rewrite *w, struct str message)
{
	for (size_t at = 0; at < message.n;) {
		ssize_t n = pwrite(w->fd, message.p + at, message.n - at, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return log_errno("pwrite", "spool file");
		at += (size_t)n;
	}
	if (ftruncate(w->fd, (off_t)message.n) < 0)
		return log_errno("ftruncate", "spool file");
	w->size = message.n;
	w->crc = crc32c(0, message.p, message.n);
	return ERR_OK;
}

void smtpd_rewrite_run(struct smtpd_rewrite *w)
{
	CLEANUP(buf_free) struct buf out = BUF(QUEUE_BODY_MAX);
	void *p = mmap(NULL, w->size, PROT_READ, MAP_SHARED, w->fd, 0);

	if (p == MAP_FAILED) {
		w->result = log_errno("mmap", "spool file");
		return;
	}
	bool is_changed = rewritten(str_make(p, w->size), &out);
	munmap(p, w->size);
	if (out.failed)
		w->result = ERR_LIMIT;
	else
		w->result = is_changed ? write_again(w, buf_str(&out)) : ERR_OK;
}

static void rewrite_on_disk(struct smtpd *s)
{
	struct smtpd_body *b = &s->body;

	s->rewrite = (struct smtpd_rewrite){ .fd = b->fd, .size = b->written, .crc = b->crc, .result = ERR_UNAVAILABLE };
	b->fd = -1;
	s->is_waiting = true;
	if (s->host->rewrite) {
		s->host->rewrite(s->context, &s->rewrite);
		return;
	}
	smtpd_rewrite_run(&s->rewrite);
	smtpd_rewritten(s);
}

/* ---- the end ---- */

static void hand_over(struct smtpd *s)
{
	struct smtpd_body *b = &s->body;
	struct queue_body body = { 0 };

	s->envelope.received = clock_wall_s();
	if (b->spool != 0)
		body = (struct queue_body){ .spool = b->spool, .size = b->written, .crc = b->crc };
	else
		body.bytes = buf_str(&b->bytes);
	fd_close(&b->fd);  /* queue takes no file that somebody can still write */
	b->added = b->spool;
	b->spool = 0;
	s->is_waiting = true;
	s->host->add(s->context, &s->envelope, &body);
	smtpd_body_drop(s);
}

void smtpd_body_added(struct smtpd *s, bool is_added)
{
	uint64_t spool = s->body.added;

	s->body.added = 0;
	if (!is_added)
		drop_spool(s, spool);
}

void smtpd_rewritten(struct smtpd *s)
{
	s->is_waiting = false;
	fd_close(&s->rewrite.fd);
	if (s->phase != PHASE_ADDED)  /* the session has ended meanwhile */
		return;
	s->body.written = s->rewrite.size;
	s->body.crc = s->rewrite.crc;
	if (s->rewrite.result == ERR_OK)
		hand_over(s);
	else
		refuse_err(s, s->rewrite.result);
	if (s->refusal.code != 0)
		s->answer = s->refusal;
}

void smtpd_body_end(struct smtpd *s)
{
	struct smtpd_body *b = &s->body;

	if (b->in_header)
		end_header(s, b->bytes.n);
	if (s->refusal.code == 0 && b->fd >= 0)
		write_out(s);
	if (s->refusal.code == 0 && s->envelope.body == ENVELOPE_BINARYMIME && b->fd < 0)
		rewrite_in_memory(s);
	if (s->refusal.code != 0)
		return;
	if (s->envelope.body == ENVELOPE_BINARYMIME && b->fd >= 0)
		rewrite_on_disk(s);
	else
		hand_over(s);
}
