/* The asking side of QUESTION, and the encoding of answers. Records that would not fit are left out whole, so that whoever reads the
 * first of them reads them right. */
#include "dns/question_private.h"

enum { WHY_MAX = 1000, RDATA_MAX = 50000, ROOM = 59000 };

void put_question(struct buf *b, struct str name, uint16_t type)
{
	put_str(b, name);
	put_u16(b, type);
}

void put_dns_answer(struct buf *b, const struct dns_answer *a)
{
	size_t n = 0, bytes = 0;

	while (n < a->n && n < DNS_RECORDS_MAX && a->records[n].n <= RDATA_MAX && bytes + a->records[n].n + 4 * n < ROOM - 4096)
		bytes += a->records[n++].n;
	put_u8(b, (uint8_t)a->outcome);
	put_u16(b, a->type);
	put_bool(b, a->is_secure);
	put_u32(b, a->ttl_s);
	put_str(b, a->name);
	put_str(b, a->canonical);
	put_str(b, str_sub(a->why, 0, WHY_MAX));
	put_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		put_str(b, a->records[i]);
}

bool get_dns_answer(struct scan *s, struct arena *a, struct dns_answer *out)
{
	uint8_t outcome = get_u8(s);

	if (outcome < DNS_RECORDS || outcome > DNS_FORGED)
		scan_fail(s);
	*out = (struct dns_answer){ .outcome = (enum dns_outcome)outcome, .type = get_u16(s) };
	out->is_secure = get_bool(s);
	out->ttl_s = get_u32(s);
	out->name = str_copy(a, get_str(s, DNS_NAME_MAX));
	out->canonical = str_copy(a, get_str(s, DNS_NAME_MAX));
	out->why = str_copy(a, get_str(s, WHY_MAX));
	out->n = get_count(s, DNS_RECORDS_MAX);
	out->records = arena_array(a, out->n, sizeof *out->records);
	for (size_t i = 0; i < out->n && !s->failed; i++)
		out->records[i] = str_copy(a, get_str(s, RDATA_MAX));
	return get_end(s);
}

enum err question_call(struct channel *net, struct str name, uint16_t type, struct arena *a, struct dns_answer *out)
{
	CLEANUP(buf_free) struct buf b = BUF(DNS_NAME_MAX + 16);
	struct message m;
	struct scan s;

	put_question(&b, name, type);
	if (b.failed)
		return ERR_INVALID;
	TRY(channel_call(net, REQUEST_QUESTION, buf_str(&b), NULL, 0, QUESTION_TIMEOUT_MS, a, &m));
	s = scan_of(m.body);
	return get_dns_answer(&s, a, out) ? ERR_OK : ERR_INVALID;
}
