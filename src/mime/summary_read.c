/* Reading a record. It comes from disk, so every length is checked against what is there and recursion has a bound; a
 * damaged record reads as nothing, never as something else's bytes. */
#include "mime/summary.h"
#include "mime/header.h"
#include "mime/address.h"
#include "mime/summary_private.h"
#include "base/wire.h"

struct record {
	uint8_t        bits;
	struct mail_date sent;
	struct str     envelope, structure, preview, parts, references;
	bool           has_references;
};

static bool record_open(struct str bytes, struct record *r)
{
	struct scan s = scan_of(bytes);

	uint8_t version = bytes.n > 0 ? get_u8(&s) : 0;
	if (version != 1 && version != SUMMARY_VERSION)
		return false;
	r->bits = get_u8(&s);
	r->sent.zone_minutes = (int16_t)get_u16(&s);
	r->sent.unix_s = get_i64(&s);
	r->envelope = get_str(&s, SUMMARY_MAX);
	r->structure = get_str(&s, SUMMARY_MAX);
	r->preview = get_str(&s, SUMMARY_PREVIEW_MAX * 4);
	r->parts = get_str(&s, SUMMARY_MAX);
	r->has_references = version >= 2;
	r->references = r->has_references ? get_str(&s, SUMMARY_REFERENCES_MAX * sizeof(uint64_t)) : STR_NONE;
	return get_end(&s);
}

bool summary_is_valid(struct str record)
{
	struct record r;

	return record_open(record, &r);
}

struct str summary_envelope(struct str record)
{
	struct record r;

	return record_open(record, &r) ? r.envelope : STR_NONE;
}

struct str summary_bodystructure(struct str record)
{
	struct record r;

	return record_open(record, &r) ? r.structure : STR_NONE;
}

struct str summary_preview(struct str record)
{
	struct record r;

	return record_open(record, &r) ? r.preview : STR("");
}

bool summary_has_attachment(struct str record)
{
	struct record r;

	return record_open(record, &r) && (r.bits & SUMMARY_BIT_ATTACHMENT) != 0;
}

bool summary_sent(struct str record, struct mail_date *out)
{
	struct record r;

	if (!record_open(record, &r) || !(r.bits & SUMMARY_BIT_DATE))
		return false;
	*out = r.sent;
	return true;
}

/* ------------------------------------------------------------------------------------ our own IMAP text, read back */

/* A string, literal, NIL or number, as it stands; empty and failed when it is none of them. */
static struct str take_item(struct scan *s)
{
	const char *from = s->p;
	int c = scan_peek(s);

	if (c == '"') {
		const char *first = s->p + 1, *end = memchr(first, '"', (size_t)(s->end - first));
		if (end != NULL && memchr(first, '\\', (size_t)(end - first)) == NULL) {  /* nearly every one: threading a mailbox reads them all */
			s->p = end + 1;
			return str_make(from, (size_t)(s->p - from));
		}
		for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
			if (*s->p == '\\' && s->p + 1 < s->end)
				s->p++;
		scan_need(s, '"');
	} else if (c == '{') {
		s->p++;
		uint64_t n = scan_number(s, SUMMARY_MAX);
		scan_need_str(s, STR("}\r\n"));
		(void)scan_bytes(s, n);
	} else {
		while (s->p < s->end && *s->p != ' ' && *s->p != '(' && *s->p != ')')
			s->p++;
		if (s->p == from)
			scan_fail(s);
	}
	return s->failed ? STR_NONE : str_make(from, (size_t)(s->p - from));
}

/* Any value, lists included: walked by counting, so no depth is too deep. */
static void skip_value(struct scan *s)
{
	size_t depth = 0;

	do {
		char c = s->p < s->end ? *s->p : '"';
		if (c == ' ' || c == '(' || (c == ')' && depth > 0)) {
			s->p++;
			depth += c == '(';
			depth -= c == ')';
		} else {
			(void)take_item(s);
		}
	} while (depth && !s->failed);
}

/* An nstring as bytes; NIL: p == NULL. */
static struct str take_nstring(struct arena *a, struct scan *s)
{
	struct str item = take_item(s);

	if (item.n == 0 || str_eq(item, STR("NIL")))
		return STR_NONE;
	if (item.p[0] == '{')
		return str_from(item, (size_t)str_chr(item, '\n') + 1);
	if (item.p[0] != '"')
		return STR_NONE;
	item = str_sub(item, 1, item.n - 2);
	if (str_chr(item, '\\') < 0)
		return item;
	char *out = arena_alloc(a, item.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < item.n; i++) {
		if (item.p[i] == '\\' && i + 1 < item.n)
			i++;
		out[n++] = item.p[i];
	}
	return str_make(out, n);
}

/* The cursor at field number n of the envelope: 0 date, 1 subject, 2-7 addresses, 8 in-reply-to, 9 message-id. */
static bool envelope_field(struct str record, int n, struct scan *s)
{
	struct record r;

	if (!record_open(record, &r))
		return false;
	*s = scan_of(r.envelope);
	scan_need(s, '(');
	for (int i = 0; i < n; i++) {
		skip_value(s);
		scan_need(s, ' ');
	}
	return !s->failed;
}

struct str summary_subject(struct arena *a, struct str record)
{
	struct scan s;

	if (!envelope_field(record, 1, &s))
		return STR("");
	return header_decode(a, take_nstring(a, &s));
}

struct str summary_base_subject(struct arena *a, struct str record, bool *is_reply)
{
	struct scan s;

	if (is_reply != NULL)
		*is_reply = false;
	return envelope_field(record, 1, &s) ? header_base_subject(a, take_nstring(a, &s), is_reply) : STR("");
}

/* address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"; false: it is none, or no further one */
static bool take_address(struct arena *a, struct scan *s, struct mail_address *m)
{
	if (!scan_take(s, '('))
		return false;
	*m = (struct mail_address){ .kind = ADDRESS_MAILBOX };
	m->name = take_nstring(a, s);
	scan_need(s, ' ');
	m->route = take_nstring(a, s);
	scan_need(s, ' ');
	m->local = take_nstring(a, s);
	scan_need(s, ' ');
	m->domain = take_nstring(a, s);
	scan_need(s, ')');
	if (m->domain.p == NULL)
		m->kind = m->local.p == NULL ? ADDRESS_GROUP_END : ADDRESS_GROUP_BEGIN;
	return !s->failed;
}

bool summary_first_address(struct arena *a, struct str record, enum summary_field field, struct mail_address *out)
{
	struct scan s;

	return envelope_field(record, 2 + (int)field, &s) && scan_take(&s, '(') && take_address(a, &s, out);
}

struct str summary_addresses(struct arena *a, struct str record, enum summary_field field)
{
	struct buf b = BUF(SUMMARY_MAX * 3);
	struct mail_address m;
	struct scan s;

	if (!envelope_field(record, 2 + (int)field, &s) || !scan_take(&s, '('))
		return STR("");
	while (take_address(a, &s, &m)) {
		if (m.local.p == NULL)
			continue;  /* the end of a group */
		if (m.domain.p == NULL) {
			buf_add(&b, header_decode(a, m.local));
			buf_add(&b, STR(":\n"));
			continue;
		}
		if (m.name.n) {
			buf_add(&b, address_name(a, &m));
			buf_add_char(&b, ' ');
		}
		buf_add_char(&b, '<');
		buf_add(&b, header_decode(a, address_text(a, &m)));
		buf_add(&b, STR(">\n"));
	}
	struct str out = b.n ? str_copy(a, buf_str(&b)) : STR("");
	buf_free(&b);
	return out;
}

static struct str identifier(struct arena *a, struct str record, int field)
{
	struct scan s;
	struct str *ids;

	if (!envelope_field(record, field, &s) || header_ids(a, take_nstring(a, &s), &ids, 1) == 0)
		return STR("");
	return ids[0];
}

struct str summary_in_reply_to(struct arena *a, struct str record) { return identifier(a, record, 8); }
struct str summary_message_id(struct arena *a, struct str record) { return identifier(a, record, 9); }

bool summary_references(struct str record, uint64_t out[SUMMARY_REFERENCES_MAX], size_t *n)
{
	struct record r;

	*n = 0;
	if (!record_open(record, &r) || !r.has_references)
		return false;
	struct scan s = scan_of(r.references);
	while (!scan_done(&s) && !s.failed)
		out[(*n)++] = get_u64(&s);
	return !s.failed;
}

/* ------------------------------------------------------------------------------- the structure as other clients know it */

struct shown {
	bool extensions;   /* what stands at the end of a part, in BODYSTRUCTURE only */
	bool global;       /* the message in a message/global, in IMAP4rev2 only */
};

static void copy_value(struct scan *s, struct buf *out)
{
	const char *from = s->p;

	skip_value(s);
	if (!s->failed)
		buf_add_bytes(out, from, (size_t)(s->p - from));
}

static void copy_next(struct scan *s, struct buf *out, int n)
{
	for (; n > 0; n--) {
		scan_need(s, ' ');
		buf_add_char(out, ' ');
		copy_value(s, out);
	}
}

static void skip_next(struct scan *s, int n)
{
	for (; n > 0; n--) {
		scan_need(s, ' ');
		skip_value(s);
	}
}

static void copy_body(struct scan *s, struct buf *out, struct shown shown, int depth);

/* params id desc enc octets, and what a text or a message has more */
static void copy_part(struct scan *s, struct buf *out, struct shown shown, int depth)
{
	struct str type = take_item(s);
	scan_need(s, ' ');
	struct str subtype = take_item(s);
	bool is_global = str_ieq(subtype, STR("\"global\""));
	bool is_message = str_ieq(type, STR("\"message\"")) && (is_global || str_ieq(subtype, STR("\"rfc822\"")));

	buf_add(out, type);
	buf_add_char(out, ' ');
	buf_add(out, subtype);
	copy_next(s, out, 5);
	if (is_message && is_global && !shown.global) {
		skip_next(s, 3);  /* envelope body lines */
	} else if (is_message) {
		copy_next(s, out, 1);
		scan_need(s, ' ');
		buf_add_char(out, ' ');
		copy_body(s, out, shown, depth + 1);
		copy_next(s, out, 1);
	} else if (str_ieq(type, STR("\"text\""))) {
		copy_next(s, out, 1);
	}
}

static void copy_body(struct scan *s, struct buf *out, struct shown shown, int depth)
{
	scan_need(s, '(');
	if (depth > 2 * MIME_DEPTH_MAX)
		scan_fail(s);
	if (s->failed)
		return;
	buf_add_char(out, '(');
	if (scan_peek(s) == '(') {
		while (scan_peek(s) == '(' && !s->failed)
			copy_body(s, out, shown, depth + 1);
		copy_next(s, out, 1);
	} else {
		copy_part(s, out, shown, depth);
	}
	while (!s->failed && scan_peek(s) == ' ') {
		if (shown.extensions)
			copy_next(s, out, 1);
		else
			skip_next(s, 1);
	}
	scan_need(s, ')');
	buf_add_char(out, ')');
}

static bool copy_structure(struct str structure, struct shown shown, struct buf *out)
{
	struct scan s = scan_of(structure);
	size_t from = out->n;

	copy_body(&s, out, shown, 0);
	if (!s.failed && scan_done(&s))
		return true;
	if (!out->failed)
		buf_truncate(out, from);
	return false;
}

bool summary_body(struct str record, bool is_rev2, struct buf *out)
{
	struct record r;

	return record_open(record, &r) && copy_structure(r.structure, (struct shown){ .global = is_rev2 }, out);
}

bool summary_bodystructure_rev1(struct str record, struct buf *out)
{
	struct record r;

	if (!record_open(record, &r))
		return false;
	if (str_ifind(r.structure, STR("\"global\"")) >= 0)
		return copy_structure(r.structure, (struct shown){ .extensions = true }, out);
	buf_add(out, r.structure);
	return true;
}

/* -------------------------------------------------------------------------------------------------------- sections */

struct entry {
	enum mime_kind     kind;
	enum mime_encoding encoding;
	uint64_t           depth, header_at, header_n, body_at, body_n;
	uint32_t           header_lines, body_lines;
};

static uint64_t get_varint(struct scan *s, uint64_t max)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 63; shift += 7) {
		uint8_t c = get_u8(s);
		v |= (uint64_t)(c & 127) << shift;
		if (!(c & 128)) {
			if (v > max)
				scan_fail(s);
			return s->failed ? 0 : v;
		}
	}
	scan_fail(s);
	return 0;
}

/* The next entry; e holds the one before it. */
static bool next_entry(struct scan *s, struct entry *e)
{
	const uint64_t size_max = (uint64_t)1 << 48;
	uint64_t before = e->header_at;

	if (scan_done(s))
		return false;
	uint8_t what = get_u8(s);
	if (what >> 4 > MIME_MESSAGE || (what & 15) > MIME_ENCODING_UNKNOWN)
		scan_fail(s);
	e->kind = (enum mime_kind)(what >> 4 & 3);
	e->encoding = (enum mime_encoding)(what & 15);
	e->depth = get_varint(s, 2 * MIME_DEPTH_MAX + 2);
	e->header_at = before + get_varint(s, size_max);
	e->header_n = get_varint(s, size_max);
	e->body_at = e->header_at + e->header_n;
	e->body_n = get_varint(s, size_max);
	e->header_lines = (uint32_t)get_varint(s, UINT32_MAX);
	e->body_lines = (uint32_t)get_varint(s, UINT32_MAX);
	return !s->failed && e->header_at <= size_max * 2;
}

/* From the parent in *e to its child number n (1 is the first). */
static bool child_entry(struct scan *s, struct entry *e, uint64_t n)
{
	uint64_t parent = e->depth;

	while (next_entry(s, e)) {
		if (e->depth <= parent)
			return false;
		if (e->depth == parent + 1 && --n == 0)
			return true;
	}
	return false;
}

static void set_header(struct summary_section *out, const struct entry *e)
{
	*out = (struct summary_section){ e->header_at, e->header_n, e->header_lines, MIME_8BIT, e->kind };
}

static void set_body(struct summary_section *out, const struct entry *e, enum mime_encoding encoding)
{
	*out = (struct summary_section){ e->body_at, e->body_n, e->body_lines, encoding, e->kind };
}

bool summary_section(struct str record, struct str section, struct summary_section *out)
{
	struct record r;
	struct entry e = { .header_at = 0 };

	if (!record_open(record, &r))
		return false;
	struct scan parts = scan_of(r.parts), s = scan_of(section);
	if (!next_entry(&parts, &e))
		return false;
	/* a message: its numbers count the children of a multipart body; any other body is part 1 */
	bool at_message = true, is_numbered = false;
	while (chr_digit((char)scan_peek(&s))) {
		uint64_t n = scan_number(&s, MIME_PARTS_MAX);
		if (s.failed || n == 0)
			return false;
		if (!at_message && e.kind == MIME_MESSAGE) {
			if (!child_entry(&parts, &e, 1))  /* the message inside */
				return false;
			at_message = true;
		}
		if (e.kind == MIME_MULTIPART) {
			if (!child_entry(&parts, &e, n))
				return false;
		} else if (!at_message || n != 1) {
			return false;
		}
		at_message = false;
		is_numbered = true;
		if (scan_done(&s)) {
			set_body(out, &e, e.encoding);
			return true;
		}
		if (!scan_take(&s, '.') || scan_done(&s))
			return false;
	}
	struct str word = scan_rest(&s);
	if (word.n == 0) {
		*out = (struct summary_section){ e.header_at, e.header_n + e.body_n, e.header_lines + e.body_lines,
		                                  MIME_8BIT, e.kind };
		return true;
	}
	if (str_ieq(word, STR("MIME"))) {
		set_header(out, &e);
		return is_numbered;
	}
	if (is_numbered && (e.kind != MIME_MESSAGE || !child_entry(&parts, &e, 1)))
		return false;
	if (str_ieq(word, STR("HEADER")))
		set_header(out, &e);
	else if (str_ieq(word, STR("TEXT")))
		set_body(out, &e, MIME_8BIT);
	else
		return false;
	return true;
}
