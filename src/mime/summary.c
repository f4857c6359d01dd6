/* Making the record of a message.
 *
 * Layout (base/wire.h): u8 version, u8 bits, i16 zone, i64 sent, then strings: ENVELOPE, BODYSTRUCTURE, preview,
 * parts, references (8 bytes for each identifier; not in version 1). BODY is BODYSTRUCTURE without its extension data and is cut out of it on demand, because nearly nobody asks
 * for it; searchable addresses and subject are read back from ENVELOPE: a record is kept for each message of an
 * account, so its bytes count. A part is, in tree order: u8 kind and encoding, then numbers in groups of 7 bits:
 * depth, header_at (as the distance from that of the part before), header_n, body_n, header_lines, body_lines. The
 * body begins where the header ends. */
#include "mime/summary.h"
#include "mime/address.h"
#include "mime/header.h"
#include "mime/mime_private.h"
#include "mime/summary_private.h"
#include "mime/text.h"
#include "base/wire.h"
#include <assert.h>

/* ---------------------------------------------------------------------------------------------------- IMAP strings */

/* What a quoted string does with a byte; a table, since each message has some 500 of them. */
enum { AS_IT_IS, ESCAPED, NOT_QUOTED };
static const unsigned char quoting[256] = {
	['\0'] = NOT_QUOTED, ['\r'] = NOT_QUOTED, ['\n'] = NOT_QUOTED, ['"'] = ESCAPED, ['\\'] = ESCAPED, [128 ... 255] = NOT_QUOTED,
};

static void put_char(struct buf *b, char c)
{
	if (b->n < b->cap && !b->failed)  /* nearly always */
		b->p[b->n++] = c;
	else
		buf_add_char(b, c);
}

static void put_literal(struct buf *b, struct str s)
{
	buf_printf(b, "{%zu}\r\n", s.n);
	char *to = buf_reserve(b, s.n);
	for (size_t i = 0; to && i < s.n; i++)
		to[i] = s.p[i] == '\0' ? ' ' : s.p[i];
	if (to)
		buf_grew(b, s.n);
}

/* quoted when it may be (RFC 9051 §9 "quoted": no CR, LF, 8-bit here), literal otherwise; NUL, which is neither,
 * becomes a blank. */
static void put_string(struct buf *b, struct str s)
{
	char *to = s.n <= 8192 ? buf_reserve(b, s.n * 2 + 2) : NULL, *from = to;

	if (s.n > 8192) {
		put_literal(b, s);
		return;
	}
	if (to == NULL)
		return;
	*to++ = '"';
	for (size_t i = 0; i < s.n; i++) {
		unsigned how = quoting[(unsigned char)s.p[i]];
		if (how == NOT_QUOTED) {
			put_literal(b, s);
			return;
		}
		if (how == ESCAPED)
			*to++ = '\\';
		*to++ = s.p[i];
	}
	*to++ = '"';
	buf_grew(b, (size_t)(to - from));
}

static void put_nstring(struct buf *b, struct str s)
{
	if (s.p == NULL)
		buf_add(b, STR("NIL"));
	else
		put_string(b, s);
}

static void put_number(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_add_bytes(b, digits + n, sizeof(digits) - n);
}

/* -------------------------------------------------------------------------------------------------------- ENVELOPE */

/* address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"; a group is host NIL, its end all NIL (RFC
 * 9051 §7.5.2). An address without domain has the host "", since NIL would make it a group. */
static void put_address(struct buf *b, const struct mail_address *m)
{
	switch (m->kind) {
	case ADDRESS_GROUP_BEGIN:
		buf_add(b, STR("(NIL NIL "));
		put_string(b, m->name.p ? m->name : STR(""));
		buf_add(b, STR(" NIL)"));
		break;
	case ADDRESS_GROUP_END:
		buf_add(b, STR("(NIL NIL NIL NIL)"));
		break;
	case ADDRESS_MAILBOX:
		put_char(b, '(');
		put_nstring(b, m->name.n ? m->name : STR_NONE);
		put_char(b, ' ');
		put_nstring(b, m->route);
		put_char(b, ' ');
		put_string(b, m->local);
		put_char(b, ' ');
		put_string(b, m->domain);
		put_char(b, ')');
		break;
	}
}

static void put_addresses(struct arena *a, struct buf *b, struct str value)
{
	struct mail_address *list;
	size_t n = value.n && !b->failed ? address_list_parse(a, value, &list) : 0;

	if (n == 0) {
		buf_add(b, STR("NIL"));
		return;
	}
	put_char(b, '(');
	for (size_t i = 0; i < n; i++)
		put_address(b, &list[i]);
	put_char(b, ')');
}

/* Adds the addresses that stand at from already a second time: Sender and Reply-To default to From. */
static void put_again(struct buf *b, size_t from, size_t to)
{
	char *p = buf_reserve(b, to - from);

	if (p) {
		memcpy(p, b->p + from, to - from);
		buf_grew(b, to - from);
	}
}

static void put_envelope(struct arena *a, struct buf *b, const struct mime_envelope *e)
{
	put_char(b, '(');
	put_nstring(b, e->date);
	put_char(b, ' ');
	put_nstring(b, e->subject);
	put_char(b, ' ');
	size_t from = b->n;
	put_addresses(a, b, e->from);
	size_t to = b->n;
	const struct str senders[2] = { e->sender, e->reply_to };
	for (int i = 0; i < 2; i++) {
		put_char(b, ' ');
		size_t at = b->n;
		if (senders[i].n)
			put_addresses(a, b, senders[i]);
		if (!senders[i].n || (b->n - at == 3 && !b->failed)) {  /* absent, or NIL since nothing was in it */
			if (!b->failed)
				buf_truncate(b, at);
			put_again(b, from, to);
		}
	}
	const struct str lists[3] = { e->to, e->cc, e->bcc };
	for (int i = 0; i < 3; i++) {
		put_char(b, ' ');
		put_addresses(a, b, lists[i]);
	}
	put_char(b, ' ');
	put_nstring(b, e->in_reply_to);
	put_char(b, ' ');
	put_nstring(b, e->message_id);
	put_char(b, ')');
}

/* --------------------------------------------------------------------------------------------------- BODYSTRUCTURE */

static void put_params(struct buf *b, const struct mime_param *p)
{
	if (p == NULL) {
		buf_add(b, STR("NIL"));
		return;
	}
	put_char(b, '(');
	for (const char *space = ""; p; p = p->next, space = " ") {
		buf_add_cstr(b, space);
		if (p->is_extended) {
			size_t at = b->n;
			put_string(b, p->name);
			if (!b->failed && b->n > at && b->p[b->n - 1] == '"') {  /* "name*" */
				buf_truncate(b, b->n - 1);
				buf_add(b, STR("*\""));
			}
		} else {
			put_string(b, p->name);
		}
		put_char(b, ' ');
		put_string(b, p->value);
	}
	put_char(b, ')');
}

/* SP body-fld-dsp SP body-fld-lang SP body-fld-loc ")" */
static void put_extension_end(struct buf *b, const struct mime_part *p)
{
	put_char(b, ' ');
	if (p->disposition.p) {
		put_char(b, '(');
		put_string(b, p->disposition);
		put_char(b, ' ');
		put_params(b, p->disposition_params);
		put_char(b, ')');
	} else {
		buf_add(b, STR("NIL"));
	}
	put_char(b, ' ');
	if (p->languages_n == 0)
		buf_add(b, STR("NIL"));
	for (uint32_t i = 0; i < p->languages_n; i++) {
		put_char(b, i == 0 ? '(' : ' ');
		put_string(b, p->languages[i]);
	}
	buf_add_cstr(b, p->languages_n ? ") " : " ");
	put_nstring(b, p->location);
	put_char(b, ')');
}

static void put_structure(struct arena *a, struct buf *b, const struct mime_part *p)
{
	if (b->failed)
		return;
	put_char(b, '(');
	if (p->kind == MIME_MULTIPART) {
		for (const struct mime_part *c = p->children; c; c = c->next)
			put_structure(a, b, c);
		put_char(b, ' ');
		put_string(b, p->subtype);
		put_char(b, ' ');
		put_params(b, p->params);
		put_extension_end(b, p);
		return;
	}
	put_string(b, p->type);
	put_char(b, ' ');
	put_string(b, p->subtype);
	put_char(b, ' ');
	if (p->kind == MIME_TEXT && p->params == NULL)
		buf_add(b, STR("(\"charset\" \"us-ascii\")"));
	else
		put_params(b, p->params);
	put_char(b, ' ');
	put_nstring(b, p->content_id);
	put_char(b, ' ');
	put_nstring(b, p->description);
	put_char(b, ' ');
	put_string(b, p->encoding_name);
	put_char(b, ' ');
	put_number(b, p->body_n);
	if (p->kind == MIME_MESSAGE) {
		put_char(b, ' ');
		put_envelope(a, b, p->children->envelope);
		put_char(b, ' ');
		put_structure(a, b, p->children);
	}
	if (p->kind != MIME_LEAF) {
		put_char(b, ' ');
		put_number(b, p->body_lines);
	}
	put_char(b, ' ');
	put_nstring(b, p->md5);
	put_extension_end(b, p);
}

/* ------------------------------------------------------------------------------------------------------ part table */

static void put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 128; v >>= 7)
		put_char(b, (char)(v | 128));
	put_char(b, (char)v);
}

static void put_parts(struct buf *b, const struct mime_part *root)
{
	size_t at = 0;
	uint32_t depth = 0;

	for (const struct mime_part *p = root; p;) {
		put_char(b, (char)((int)p->kind << 4 | (int)p->encoding));
		put_varint(b, depth);
		put_varint(b, p->header_at - at);
		put_varint(b, p->header_n);
		put_varint(b, p->body_n);
		put_varint(b, p->header_lines);
		put_varint(b, p->body_lines);
		assert(p->body_at == p->header_at + p->header_n);
		at = p->header_at;
		const struct mime_part *next = mime_next(p);
		if (p->children) {
			depth++;
		} else {
			for (const struct mime_part *q = p; q && !q->next; q = q->parent, depth--)
				if (q->parent == NULL)
					break;
		}
		p = next;
	}
}

/* An attachment as people mean it: said so, or no text and not shown inside an HTML part, and no signature. */
static bool is_attachment(const struct mime_part *p)
{
	if (p->parent == NULL && p->kind == MIME_TEXT)
		return str_ieq(p->disposition, STR("attachment"));
	if (p->kind == MIME_MULTIPART || (p->parent && p->parent->kind == MIME_MESSAGE && p->kind != MIME_LEAF))
		return false;
	if (str_ieq(p->disposition, STR("attachment")))
		return !mime_is(p, "application", "pkcs7-signature") && !mime_is(p, "application", "x-pkcs7-signature");
	if (p->kind == MIME_TEXT)
		return false;
	if (p->kind == MIME_MESSAGE)
		return true;
	if (mime_is(p, "application", "pgp-signature") || mime_is(p, "application", "pkcs7-signature") ||
	    mime_is(p, "application", "x-pkcs7-signature") || mime_is(p, "application", "pgp-encrypted") ||
	    mime_is(p, "message", NULL))
		return false;
	return !(p->content_id.p && p->parent && mime_is(p->parent, "multipart", "related"));
}

uint64_t summary_id_number(struct str id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);  /* FNV-1a, mixed once more: its low bits serve as places in a table */

	for (size_t i = 0; i < id.n; i++)
		h = (h ^ (unsigned char)id.p[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

size_t summary_references_of(struct arena *a, struct str references, struct str in_reply_to, uint64_t out[SUMMARY_REFERENCES_MAX])
{
	struct str *ids;
	size_t n = header_ids(a, references, &ids, HEADER_IDS_MAX), count = 0;

	if (n == 0)
		n = header_ids(a, in_reply_to, &ids, HEADER_IDS_MAX) > 0;
	for (size_t i = 0; i < n; i++)
		if (i == 0 || n - i < SUMMARY_REFERENCES_MAX)
			out[count++] = summary_id_number(ids[i]);
	return count;
}

static void put_references(struct arena *a, struct buf *b, const struct mime_envelope *e)
{
	uint64_t ids[SUMMARY_REFERENCES_MAX];
	size_t n = summary_references_of(a, e->references, e->in_reply_to, ids);

	for (size_t i = 0; i < n; i++)
		put_u64(b, ids[i]);
}

static struct str build(struct arena *a, struct str message, const struct mime_part *root)
{
	struct arena scratch = { 0 };
	struct buf b = BUF(SUMMARY_MAX), part = BUF(SUMMARY_MAX);
	struct mail_date sent = { 0 };
	bool has_date = root->envelope->date.n && date_parse(root->envelope->date, &sent);
	bool has_attachment = false;

	for (const struct mime_part *p = root; p && !has_attachment; p = mime_next(p))
		has_attachment = is_attachment(p);
	put_u8(&b, SUMMARY_VERSION);
	put_u8(&b, (uint8_t)((has_date ? SUMMARY_BIT_DATE : 0) | (has_attachment ? SUMMARY_BIT_ATTACHMENT : 0)));
	put_u16(&b, (uint16_t)(int16_t)sent.zone_minutes);
	put_i64(&b, sent.unix_s);
	put_envelope(&scratch, &part, root->envelope);
	put_str(&b, buf_str(&part));
	buf_truncate(&part, 0);
	put_structure(&scratch, &part, root);
	put_str(&b, buf_str(&part));
	put_str(&b, mime_preview(&scratch, message, root, SUMMARY_PREVIEW_MAX));
	buf_truncate(&part, 0);
	put_parts(&part, root);
	put_str(&b, buf_str(&part));
	buf_truncate(&part, 0);
	put_references(&scratch, &part, root->envelope);
	put_str(&b, buf_str(&part));
	struct str out = b.failed || part.failed ? STR_NONE : str_copy(a, buf_str(&b));
	buf_free(&b);
	buf_free(&part);
	arena_free(&scratch);
	return out;
}

struct str summary_build(struct arena *a, struct str message, const struct mime_part *root)
{
	struct arena own = { 0 };

	if (!root)
		root = mime_parse(&own, message);
	struct str out = build(a, message, root);
	if (out.p == NULL) {  /* more than SUMMARY_MAX: no envelope, one opaque part; the offsets stay true */
		struct mime_envelope none = { 0 };
		struct mime_part opaque = { .kind = MIME_LEAF, .type = STR("application"), .subtype = STR("octet-stream"),
		                            .encoding_name = STR("7bit"), .envelope = &none };
		opaque.header_at = root->header_at;
		opaque.header_n = root->header_n;
		opaque.header_lines = root->header_lines;
		opaque.body_at = root->body_at;
		opaque.body_n = root->body_n;
		opaque.body_lines = root->body_lines;
		out = build(a, message, &opaque);
	}
	arena_free(&own);
	return out;
}
