/* The encoding of an event: u8 kind, u16 length of what follows, u32 which fields are there, then those fields in the order of
 * their bits. Numbers as base/wire.h has them; a string is u16 length and bytes.
 *
 * Events are kept for weeks, and a server may go back to the release before: whoever meets a kind or a field he does not know
 * passes over the event, by its length. What is malformed inside its length is an error, for its writer was broken. */
#include "base/bytes.h"
#include "trail/trail.h"

enum {
	HAS_NAME = 1 << 0, HAS_PARENT = 1 << 1, HAS_ACCOUNT = 1 << 2, HAS_SIZE = 1 << 3, HAS_DUE = 1 << 4, HAS_COUNT = 1 << 5,
	HAS_SOURCE = 1 << 6, HAS_RECIPIENTS = 1 << 7,
	FIRST_TEXT = 8,
};

/* The texts, in the order of their bits: append only. */
static const struct { size_t at, max; } texts[] = {
	{ offsetof(struct trail_event, sender), TRAIL_ADDRESS_MAX },
	{ offsetof(struct trail_event, recipient), TRAIL_ADDRESS_MAX },
	{ offsetof(struct trail_event, message_id), TRAIL_MESSAGE_ID_MAX },
	{ offsetof(struct trail_event, peer), TRAIL_PEER_MAX },
	{ offsetof(struct trail_event, status), TRAIL_WORD_MAX },
	{ offsetof(struct trail_event, text), TRAIL_TEXT_MAX },
	{ offsetof(struct trail_event, tls), TRAIL_WORD_MAX },
	{ offsetof(struct trail_event, where), TRAIL_WORD_MAX },
	{ offsetof(struct trail_event, received_id), TRAIL_WORD_MAX },
};
enum { FIELDS_KNOWN = (1 << (FIRST_TEXT + (int)COUNT_OF(texts))) - 1 };

static struct str *text_of(struct trail_event *e, size_t i) { return (struct str *)((char *)e + texts[i].at); }
static struct str text_in(const struct trail_event *e, size_t i) { return *(const struct str *)((const char *)e + texts[i].at); }

static uint32_t fields_of(const struct trail_event *e)
{
	uint32_t fields = 0;

	fields |= e->log_id != 0 || e->seq != 0 ? HAS_NAME : 0;
	fields |= e->parent_log_id != 0 || e->parent_seq != 0 ? HAS_PARENT : 0;
	fields |= e->account != 0 ? HAS_ACCOUNT : 0;
	fields |= e->size != 0 ? HAS_SIZE : 0;
	fields |= e->due != 0 ? HAS_DUE : 0;
	fields |= e->count != 0 ? HAS_COUNT : 0;
	fields |= e->source != 0 ? HAS_SOURCE : 0;
	fields |= e->n > 0 ? HAS_RECIPIENTS : 0;
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		fields |= text_in(e, i).n > 0 ? 1u << (FIRST_TEXT + i) : 0;
	return fields;
}

static void put_clipped(struct buf *b, struct str s, size_t max)
{
	s = utf8_clip(s, max);
	put_u16(b, (uint16_t)s.n);
	buf_add(b, s);
}

static void put_recipients(struct buf *b, const struct trail_event *e)
{
	size_t n = e->n < TRAIL_RECIPIENTS_MAX ? e->n : TRAIL_RECIPIENTS_MAX;

	put_u8(b, (uint8_t)n);
	for (size_t i = 0; i < n; i++) {
		put_u64(b, e->recipients[i].account);
		put_clipped(b, e->recipients[i].address, TRAIL_ADDRESS_MAX);
	}
}

void trail_event_encode(const struct trail_event *e, struct buf *out)
{
	uint32_t fields = fields_of(e);
	size_t at = out->n;

	put_u8(out, (uint8_t)e->kind);
	put_u16(out, 0);
	put_u32(out, fields);
	put_i64(out, e->at_ms);
	if (fields & HAS_NAME) {
		put_u64(out, e->log_id);
		put_u64(out, e->seq);
	}
	if (fields & HAS_PARENT) {
		put_u64(out, e->parent_log_id);
		put_u64(out, e->parent_seq);
	}
	if (fields & HAS_ACCOUNT)
		put_u64(out, e->account);
	if (fields & HAS_SIZE)
		put_u64(out, e->size);
	if (fields & HAS_DUE)
		put_i64(out, e->due);
	if (fields & HAS_COUNT)
		put_u32(out, e->count);
	if (fields & HAS_SOURCE)
		put_u8(out, e->source);
	if (fields & HAS_RECIPIENTS)
		put_recipients(out, e);
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (fields & 1u << (FIRST_TEXT + i))
			put_clipped(out, text_in(e, i), texts[i].max);
	if (out->failed)
		return;
	size_t length = out->n - at - 3;
	out->p[at + 1] = (char)(length & 0xff);
	out->p[at + 2] = (char)(length >> 8);
}

static struct str get_text(struct scan *s, size_t max)
{
	uint16_t n = get_u16(s);

	if (n > max)
		scan_fail(s);
	return s->failed ? STR_NONE : scan_bytes(s, n);
}

static void get_recipients(struct scan *s, struct arena *a, struct trail_event *out)
{
	size_t n = get_u8(s);

	if (n > TRAIL_RECIPIENTS_MAX)
		scan_fail(s);
	if (s->failed)
		return;
	struct trail_recipient *list = arena_array(a, n, sizeof *list);
	for (size_t i = 0; i < n; i++) {
		list[i].account = get_u64(s);
		list[i].address = get_text(s, TRAIL_ADDRESS_MAX);
	}
	out->recipients = list;
	out->n = s->failed ? 0 : n;
}

static void get_fields(struct scan *s, uint32_t fields, struct arena *a, struct trail_event *out)
{
	out->at_ms = get_i64(s);
	if (fields & HAS_NAME) {
		out->log_id = get_u64(s);
		out->seq = get_u64(s);
	}
	if (fields & HAS_PARENT) {
		out->parent_log_id = get_u64(s);
		out->parent_seq = get_u64(s);
	}
	out->account = fields & HAS_ACCOUNT ? get_u64(s) : 0;
	out->size = fields & HAS_SIZE ? get_u64(s) : 0;
	out->due = fields & HAS_DUE ? get_i64(s) : 0;
	out->count = fields & HAS_COUNT ? get_u32(s) : 0;
	out->source = fields & HAS_SOURCE ? get_u8(s) : 0;
	if (fields & HAS_RECIPIENTS)
		get_recipients(s, a, out);
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		*text_of(out, i) = fields & 1u << (FIRST_TEXT + i) ? get_text(s, texts[i].max) : STR("");
}

bool trail_event_decode(struct scan *s, struct arena *a, struct trail_event *out)
{
	while (!scan_done(s)) {
		uint8_t kind = get_u8(s);
		struct scan in = scan_of(scan_bytes(s, get_u16(s)));
		uint32_t fields = get_u32(&in);
		if (!in.failed && (kind == 0 || kind >= TRAIL_KINDS || (fields & ~(uint32_t)FIELDS_KNOWN) != 0))
			continue;  /* of a later release */
		*out = (struct trail_event){ .kind = (enum trail_kind)kind };
		get_fields(&in, fields, a, out);
		if (get_end(&in))
			return true;
		scan_fail(s);
	}
	return false;
}

bool trail_may_note(enum role who, uint64_t account, const struct trail_event *e)
{
	bool is_nameless = e->log_id == 0 && e->seq == 0;

	switch (who) {
	case ROLE_QUEUE:
		return true;
	case ROLE_MX:
		return is_nameless && (e->kind == TRAIL_REFUSED || e->kind == TRAIL_LOST);
	case ROLE_CELL:
		return is_nameless && e->kind == TRAIL_REFUSED && e->account == account && account != 0;
	default:
		return false;
	}
}
