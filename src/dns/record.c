/* Rdata, read. The resolver library hands it out as it came, with names uncompressed; nothing in it is to be believed. A name of at most
 * 255 octets (RFC 1035 §3.1) becomes at most four times as many characters. A record with bytes left over is malformed: whoever
 * sends such is not understood by others either. */
#include "dns/record.h"
#include "base/buf.h"

enum { WIRE_NAME_MAX = 255, LABEL_MAX = 63 };

static uint16_t be16(struct scan *s)
{
	struct str b = scan_bytes(s, 2);

	return b.n == 2 ? (uint16_t)((unsigned char)b.p[0] << 8 | (unsigned char)b.p[1]) : 0;
}

static uint8_t byte(struct scan *s)
{
	struct str b = scan_bytes(s, 1);

	return b.n == 1 ? (uint8_t)b.p[0] : 0;
}

static bool is_plain(unsigned char c) { return chr_alpha((char)c) || chr_digit((char)c) || c == '-' || c == '_' || c == '*'; }

static void put_label(struct buf *b, struct str label)
{
	for (size_t i = 0; i < label.n; i++) {
		unsigned char c = (unsigned char)label.p[i];
		if (is_plain(c))
			buf_add_char(b, chr_lower((char)c));
		else
			buf_printf(b, "\\%03u", c);
	}
}

bool scan_dns_name(struct scan *s, struct arena *a, struct str *out)
{
	CLEANUP(buf_free) struct buf b = BUF(4 * WIRE_NAME_MAX);
	size_t octets = 1;

	for (uint8_t n = byte(s); n > 0 && !s->failed; n = byte(s)) {
		octets += 1u + n;
		if (n > LABEL_MAX || octets > WIRE_NAME_MAX) {  /* the two high bits: a compression pointer, which has no place here */
			scan_fail(s);
			break;
		}
		if (b.n)
			buf_add_char(&b, '.');
		put_label(&b, scan_bytes(s, n));
	}
	*out = s->failed ? STR_NONE : str_copy(a, buf_str(&b));
	return !s->failed;
}

bool dns_read_address(struct str rdata, struct peer *out)
{
	*out = (struct peer){ 0 };
	if (rdata.n == 4) {
		memset(out->address + 10, 0xff, 2);
		memcpy(out->address + 12, rdata.p, 4);
	} else if (rdata.n == 16) {
		memcpy(out->address, rdata.p, 16);
	}
	return rdata.n == 4 || rdata.n == 16;
}

bool dns_read_mx(struct str rdata, struct arena *a, struct dns_mx *out)
{
	struct scan s = scan_of(rdata);

	out->preference = be16(&s);
	return scan_dns_name(&s, a, &out->host) && scan_done(&s);
}

bool dns_read_name(struct str rdata, struct arena *a, struct str *out)
{
	struct scan s = scan_of(rdata);

	return scan_dns_name(&s, a, out) && scan_done(&s);
}

bool dns_read_text(struct str rdata, struct arena *a, struct str *out)
{
	CLEANUP(buf_free) struct buf b = BUF(DNS_TEXT_MAX);
	struct scan s = scan_of(rdata);

	while (!scan_done(&s))
		buf_add(&b, scan_bytes(&s, byte(&s)));
	if (s.failed || b.failed || rdata.n == 0)
		return false;
	*out = str_copy(a, buf_str(&b));
	return true;
}

bool dns_read_strings(struct str rdata, struct arena *a, struct str **out, size_t *n)
{
	struct scan s = scan_of(rdata);
	size_t cap = 0;

	*out = NULL;
	for (*n = 0; !scan_done(&s); ++*n) {
		*out = arena_grow(a, *out, *n, &cap, sizeof **out);
		(*out)[*n] = str_copy(a, scan_bytes(&s, byte(&s)));
	}
	return !s.failed && *n > 0;
}

struct str dns_reverse_name(const struct peer *p, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(100);
	const uint8_t *x = p->address;

	if (peer_is_v4(p))
		return arena_printf(a, "%u.%u.%u.%u.in-addr.arpa", x[15], x[14], x[13], x[12]);
	for (size_t i = 16; i > 0; i--)
		buf_printf(&b, "%x.%x.", x[i - 1] & 15u, x[i - 1] >> 4);
	buf_add_cstr(&b, "ip6.arpa");
	return str_copy(a, buf_str(&b));
}

bool dns_read_srv(struct str rdata, struct arena *a, struct dns_srv *out)
{
	struct scan s = scan_of(rdata);

	out->priority = be16(&s);
	out->weight = be16(&s);
	out->port = be16(&s);
	return scan_dns_name(&s, a, &out->target) && scan_done(&s);
}

bool dns_read_tlsa(struct str rdata, struct dns_tlsa *out)
{
	struct scan s = scan_of(rdata);

	out->usage = byte(&s);
	out->selector = byte(&s);
	out->matching = byte(&s);
	out->data = scan_rest(&s);
	return !s.failed && out->data.n > 0;
}

bool dns_read_caa(struct str rdata, struct dns_caa *out)
{
	struct scan s = scan_of(rdata);
	uint8_t flags = byte(&s);

	out->is_critical = flags & 0x80;
	out->tag = scan_bytes(&s, byte(&s));
	out->value = scan_rest(&s);
	return !s.failed && out->tag.n > 0;
}
