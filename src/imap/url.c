/* RFC 5092 §11. Mailbox names are UTF-8 in percent encoding, whatever a session has enabled; words come in any case. A ";" belongs to the
 * grammar and is encoded in a name, so the name ends at the first one. */
#include "imap/url.h"
#include "base/bytes.h"

/* Percent encoding undone (RFC 3986 §2.1). Fails on what is no UTF-8 or has control characters. */
static struct str decoded(struct scan *s, struct arena *a, struct str text)
{
	CLEANUP(buf_free) struct buf out = BUF(IMAP_URL_MAX);
	struct scan in = scan_of(text);

	while (!scan_done(&in)) {
		struct str plain = scan_until(&in, '%');
		buf_add(&out, plain);
		if (scan_take(&in, '%') && !hex_get(&out, scan_bytes(&in, 2)))
			scan_fail(s);
	}
	if (in.failed || out.failed || !utf8_valid(buf_str(&out)) || str_has_ctl(buf_str(&out)))
		scan_fail(s);
	return s->failed ? STR_NONE : str_copy(a, buf_str(&out));
}

static bool is_name_char(char c) { return c != ';' && c != '?' && c != '#'; }
static bool is_section_char(char c) { return c != '/' && is_name_char(c); }

static uint32_t nz_number(struct scan *s)
{
	uint32_t n = scan_u32(s);

	if (n == 0)
		scan_fail(s);
	return n;
}

/* partial-range = number ["." nz-number] */
static void partial(struct scan *s, struct imap_url *url)
{
	url->is_partial = true;
	url->offset = scan_u64(s);
	url->count = scan_take(s, '.') ? scan_u64(s) : UINT64_MAX;
	if (url->count == 0)
		scan_fail(s);
}

/* imessagepart = [enc-mailbox [uidvalidity] "/"] iuid ["/" isection] ["/" ipartial] */
bool imap_url_parse(struct str text, struct arena *a, struct imap_url *out)
{
	struct scan s = scan_of(text);
	struct str name;

	*out = (struct imap_url){ .section = STR("") };
	if (text.n > IMAP_URL_MAX)
		return false;
	out->is_relative = !scan_take(&s, '/');
	name = scan_while(&s, is_name_char);
	if (str_starts(name, STR("/")) || str_find(name, STR("://")) >= 0)
		return false;  /* "//server/…", "imap://…": no server but this one, and that without saying so */
	if (scan_take_istr(&s, STR(";UIDVALIDITY="))) {
		out->uidvalidity = nz_number(&s);
		scan_need(&s, '/');
	} else if (name.n > 0 && str_ends(name, STR("/"))) {
		name.n--;
	} else if (name.n > 0 || !out->is_relative) {
		return false;
	}
	if (name.n > 0)
		out->mailbox = decoded(&s, a, name);
	else if (!out->is_relative || out->uidvalidity != 0)
		return false;
	if (!scan_take_istr(&s, STR(";UID=")))
		return false;
	out->uid = nz_number(&s);
	if (scan_take_istr(&s, STR("/;SECTION="))) {
		out->section = decoded(&s, a, scan_while(&s, is_section_char));
		if (out->section.n == 0)
			return false;
	}
	if (scan_take_istr(&s, STR("/;PARTIAL=")))
		partial(&s, out);
	return !s.failed && scan_done(&s);
}
