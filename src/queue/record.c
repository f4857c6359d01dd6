/* LOG_DONE: u8 version, u64 log id, u64 seq, u32 count, of each u16 recipient, u8 taken (version 1: not there; nobody is told then).
 * LOG_MESSAGE: u8 version, u8 place of the body, u64 size, u32 CRC32C of the body, u64 spool, the envelope as a string;
 * then, when it is inline, the body to the end of the payload: it is written from where the sender put it, without a
 * copy.
 *
 * The log has a CRC of its own over everything. The body's goes on to the account, which keeps it with the message. */
#include "queue/record.h"
#include "queue/envelope.h"
#include <assert.h>
#include <stdio.h>

enum { RECORD_VERSION = 1, DONE_VERSION = 2, BODY_INLINE = 1, BODY_SPOOL = 2 };

void record_message_encode(const struct record_message *m, struct buf *head)
{
	put_u8(head, RECORD_VERSION);
	put_u8(head, m->spool ? BODY_SPOOL : BODY_INLINE);
	put_u64(head, m->size);
	put_u32(head, m->crc);
	put_u64(head, m->spool);
	put_str(head, m->envelope);
}

bool record_message_decode(struct str payload, struct record_message *out)
{
	struct scan s = scan_of(payload);
	uint8_t version = get_u8(&s), place = get_u8(&s);

	*out = (struct record_message){ 0 };
	out->size = get_u64(&s);
	out->crc = get_u32(&s);
	out->spool = get_u64(&s);
	out->envelope = get_str(&s, ENVELOPE_BYTES_MAX);
	if (s.failed || version != RECORD_VERSION)
		return false;
	if (place == BODY_SPOOL)
		return out->spool != 0 && get_end(&s);
	out->body = scan_bytes(&s, scan_left(&s));
	return place == BODY_INLINE && out->spool == 0 && out->body.n == out->size;
}

size_t record_parent_seq_at(struct str payload)
{
	struct record_message m;

	bool is_good = record_message_decode(payload, &m);
	assert(is_good);
	return (size_t)(m.envelope.p - payload.p) + envelope_parent_seq_at(m.envelope);
}

void record_done_encode(const struct record_done *d, struct buf *out)
{
	put_u8(out, DONE_VERSION);
	put_u64(out, d->log_id);
	put_u64(out, d->seq);
	put_u32(out, (uint32_t)d->n);
	for (size_t i = 0; i < d->n; i++) {
		put_u16(out, d->recipients[i]);
		put_u8(out, d->taken[i]);
	}
}

bool record_done_decode(struct str payload, struct record_done *out)
{
	struct scan s = scan_of(payload);
	uint8_t version = get_u8(&s);

	*out = (struct record_done){ .log_id = get_u64(&s) };
	out->seq = get_u64(&s);
	out->n = get_count(&s, RECORD_DONE_MAX);
	for (size_t i = 0; i < out->n && !s.failed; i++) {
		out->recipients[i] = get_u16(&s);
		out->taken[i] = version == DONE_VERSION ? get_u8(&s) : RECORD_PEER_TELLS | RECORD_PASSED_BY;
	}
	return get_end(&s) && (version == DONE_VERSION || version == 1) && out->n > 0;
}

void spool_name(uint64_t spool, char name[SPOOL_NAME_MAX])
{
	snprintf(name, SPOOL_NAME_MAX, "spool/%020llu", (unsigned long long)spool);
}

bool spool_name_parse(struct str name, uint64_t *spool)
{
	return name.n == 20 && str_to_u64(name, spool) && *spool != 0;
}
