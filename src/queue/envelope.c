/* The encoding of an envelope: a version byte, then base/wire.h values. Everything a stranger chose has its own limit, checked
 * both ways: what cannot be decoded is never encoded. A version we do not know is refused; an older one is read on. */
#include "queue/envelope.h"

enum { ENVELOPE_FIRST = 1, ENVELOPE_VERSION = 2 };  /* the first one ended with parent */

void put_wishes(struct buf *out, const struct envelope_wishes *w)
{
	put_i64(out, w->release);
	put_i64(out, w->deliver_by);
	put_u8(out, (uint8_t)w->by);
	put_bool(out, w->by_traces);
	put_u8(out, (uint8_t)(w->priority - ENVELOPE_PRIORITY_MIN));
	put_u8(out, (uint8_t)w->tls);
}

void get_wishes(struct scan *s, struct envelope_wishes *out)
{
	*out = (struct envelope_wishes){ .release = get_i64(s), .deliver_by = 0 };
	out->deliver_by = get_i64(s);
	out->by = (enum envelope_by)get_u8(s);
	out->by_traces = get_bool(s);
	out->priority = (int8_t)(get_u8(s) + ENVELOPE_PRIORITY_MIN);
	out->tls = (enum envelope_tls)get_u8(s);
	if (out->release < 0 || out->deliver_by < 0 || out->by > ENVELOPE_BY_RETURN || (out->deliver_by == 0) != (out->by == ENVELOPE_BY_NOTHING) ||
	    out->priority < ENVELOPE_PRIORITY_MIN || out->priority > ENVELOPE_PRIORITY_MAX || out->tls > ENVELOPE_TLS_OPTIONAL)
		scan_fail(s);
}

static bool head_fits(const struct envelope *e)
{
	return e->sender.n <= ENVELOPE_ADDRESS_MAX && e->envid.n <= ENVELOPE_ENVID_MAX && e->peer.n <= ENVELOPE_PEER_MAX &&
	       e->list.n <= ENVELOPE_ADDRESS_MAX;
}

static bool recipients_fit(const struct envelope *e)
{
	if (e->n == 0 || e->n > ENVELOPE_RECIPIENTS_MAX)
		return false;
	for (size_t i = 0; i < e->n; i++) {
		const struct envelope_recipient *r = &e->recipients[i];
		if (r->address.n == 0 || r->address.n > ENVELOPE_ADDRESS_MAX || r->orcpt.n > ENVELOPE_ORCPT_MAX ||
		    r->detail.n > ENVELOPE_ADDRESS_MAX)
			return false;
	}
	return true;
}

void envelope_head_encode(const struct envelope *e, struct buf *out)
{
	if (!head_fits(e)) {
		out->failed = true;
		return;
	}
	put_u8(out, ENVELOPE_VERSION);
	put_u8(out, (uint8_t)e->source);
	put_str(out, e->sender);
	put_u8(out, (uint8_t)e->body);
	put_u8(out, (uint8_t)e->ret);
	put_str(out, e->envid);
	put_bool(out, e->smtputf8);
	put_bool(out, e->is_authenticated);
	put_i64(out, e->received);
	put_str(out, e->peer);
	put_u64(out, e->submitter);
	put_u64(out, e->parent.log_id);
	put_u64(out, e->parent.seq);
	put_u64(out, e->parent.account);
	put_u32(out, e->parent.ordinal);
	put_wishes(out, &e->wishes);
	put_i64(out, e->slowed_until);
	put_str(out, e->list);
}

void envelope_encode(const struct envelope *e, struct buf *out)
{
	if (!recipients_fit(e)) {
		out->failed = true;
		return;
	}
	envelope_head_encode(e, out);
	put_u32(out, (uint32_t)e->n);
	for (size_t i = 0; i < e->n; i++) {
		const struct envelope_recipient *r = &e->recipients[i];
		put_str(out, r->address);
		put_str(out, r->orcpt);
		put_str(out, r->detail);
		put_u64(out, r->account);
		put_u8(out, r->notify);
	}
}

/* What stands before the parent. */
static void get_first_part(struct scan *s, uint8_t *version, struct envelope *out)
{
	*version = get_u8(s);
	out->source = (enum envelope_source)get_u8(s);
	out->sender = get_str(s, ENVELOPE_ADDRESS_MAX);
	out->body = (enum envelope_body)get_u8(s);
	out->ret = (enum envelope_ret)get_u8(s);
	out->envid = get_str(s, ENVELOPE_ENVID_MAX);
	out->smtputf8 = get_bool(s);
	out->is_authenticated = get_bool(s);
	out->received = get_i64(s);
	out->peer = get_str(s, ENVELOPE_PEER_MAX);
	out->submitter = get_u64(s);
}

size_t envelope_parent_seq_at(struct str bytes)
{
	struct scan s = scan_of(bytes);
	struct envelope e;
	uint8_t version;

	get_first_part(&s, &version, &e);
	(void)get_u64(&s);
	return bytes.n - scan_left(&s);
}

static void get_head(struct scan *s, struct envelope *out)
{
	uint8_t version;

	*out = (struct envelope){ 0 };
	get_first_part(s, &version, out);
	if (version != ENVELOPE_VERSION && version != ENVELOPE_FIRST)
		scan_fail(s);
	out->parent.log_id = get_u64(s);
	out->parent.seq = get_u64(s);
	out->parent.account = get_u64(s);
	out->parent.ordinal = get_u32(s);
	if (version != ENVELOPE_FIRST) {
		get_wishes(s, &out->wishes);
		out->slowed_until = get_i64(s);
		out->list = get_str(s, ENVELOPE_ADDRESS_MAX);
	}
	if (out->source < ENVELOPE_MX || out->source > ENVELOPE_DELIVERY || out->body < ENVELOPE_7BIT ||
	    out->body > ENVELOPE_BINARYMIME || out->ret > ENVELOPE_RET_HDRS)
		scan_fail(s);
}

bool envelope_head_decode(struct str bytes, struct envelope *out)
{
	struct scan s = scan_of(bytes);

	get_head(&s, out);
	return get_end(&s);
}

static void get_recipient(struct scan *s, struct envelope_recipient *r)
{
	r->address = get_str(s, ENVELOPE_ADDRESS_MAX);
	r->orcpt = get_str(s, ENVELOPE_ORCPT_MAX);
	r->detail = get_str(s, ENVELOPE_ADDRESS_MAX);
	r->account = get_u64(s);
	r->notify = get_u8(s);
	if (r->address.n == 0 || r->notify > 15)
		scan_fail(s);
}

bool envelope_decode(struct str bytes, struct arena *a, struct envelope *out)
{
	struct scan s = scan_of(bytes);
	enum { RECIPIENT_LEAST = 3 * 4 + 1 + 8 + 1 };

	get_head(&s, out);
	uint32_t n = get_count(&s, ENVELOPE_RECIPIENTS_MAX);
	if (s.failed || bytes.n > ENVELOPE_BYTES_MAX || n == 0 || (size_t)n * RECIPIENT_LEAST > scan_left(&s))
		return false;  /* the count is believed only when so many can be there */
	out->n = n;
	out->recipients = arena_array(a, n, sizeof(*out->recipients));
	for (uint32_t i = 0; i < n; i++)
		get_recipient(&s, &out->recipients[i]);
	return get_end(&s);
}
