/* RFC 6858, the simple way: text becomes encoded words, an address that cannot be written in ASCII becomes one in .invalid with the
 * true one in its display name, parameters are encoded by RFC 2231, other fields with such bytes are left out. Nothing is stored:
 * the next client that says UTF8 gets the message as it is. */
#include "pop3/downgrade.h"
#include "base/bytes.h"
#include "mime/address.h"
#include "mime/build.h"
#include "mime/header.h"

enum treatment { LEAVE_OUT, AS_TEXT, AS_ADDRESSES, AS_PARAMETERS };

static const struct { const char *name; enum treatment how; } fields[] = {
	{ "Subject", AS_TEXT }, { "Comments", AS_TEXT }, { "Content-Description", AS_TEXT }, { "Organization", AS_TEXT },
	{ "From", AS_ADDRESSES }, { "Sender", AS_ADDRESSES }, { "Reply-To", AS_ADDRESSES }, { "To", AS_ADDRESSES },
	{ "Cc", AS_ADDRESSES }, { "Bcc", AS_ADDRESSES }, { "Resent-From", AS_ADDRESSES }, { "Resent-Sender", AS_ADDRESSES },
	{ "Resent-To", AS_ADDRESSES }, { "Resent-Cc", AS_ADDRESSES },
	{ "Content-Type", AS_PARAMETERS }, { "Content-Disposition", AS_PARAMETERS },
};

bool downgrade_is_needed(struct str header)
{
	return !str_is_ascii(header) && utf8_valid(header);
}

/* RFC 6858 §2.1: "display (address) <invalid@internationalized-address.invalid>", with the words encoded */
static void put_address(struct buf *b, struct arena *a, const struct mail_address *m)
{
	CLEANUP(buf_free) struct buf field = BUF(1 << 16);
	struct str address = address_text(a, m), name = address_name(a, m), line;

	if (str_is_ascii(address))
		build_field_address(&field, "X", name, address);
	else
		build_field_address(&field, "X", name.n ? arena_printf(a, STR_FMT " (" STR_FMT ")", STR_ARG(name), STR_ARG(address)) : address,
		                    STR("invalid@internationalized-address.invalid"));
	line = buf_str(&field);
	buf_add(b, str_trim(str_from(line, 2)));  /* without "X:" */
}

static void put_addresses(struct buf *b, struct arena *a, const struct header_field *f)
{
	struct mail_address *list;
	size_t n = address_list_parse(a, f->value, &list);
	bool is_first = true;

	buf_printf(b, STR_FMT ": ", STR_ARG(f->name));
	for (size_t i = 0; i < n; i++) {
		if (list[i].kind != ADDRESS_MAILBOX)  /* the members of a group stand for themselves */
			continue;
		buf_add_cstr(b, is_first ? "" : ",\r\n ");
		put_address(b, a, list + i);
		is_first = false;
	}
	buf_add_cstr(b, is_first ? "undisclosed-recipients:;\r\n" : "\r\n");
}

/* type/subtype *(";" name "=" value): parameters that are ASCII stay as they are */
static void put_parameters(struct buf *b, struct arena *a, const struct header_field *f)
{
	struct str value = header_unfold(a, f->value), part, name, text;

	str_cut(value, ';', &part, &value);
	buf_printf(b, STR_FMT ": " STR_FMT, STR_ARG(f->name), STR_ARG(str_is_ascii(part) ? str_trim(part) : STR("application/octet-stream")));
	while (value.n > 0) {
		str_cut(value, ';', &part, &value);
		part = str_trim(part);
		if (str_is_ascii(part)) {
			if (part.n > 0)
				buf_printf(b, ";\r\n " STR_FMT, STR_ARG(part));
			continue;
		}
		if (!str_cut(part, '=', &name, &text) || !str_is_ascii(name))
			continue;
		text = str_trim(text);
		if (text.n > 1 && text.p[0] == '"' && text.p[text.n - 1] == '"')
			text = str_sub(text, 1, text.n - 2);
		build_param(b, str_cstr(a, str_trim(name)), text);
	}
	buf_add_cstr(b, "\r\n");
}

static enum treatment treatment_of(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(fields); i++)
		if (str_ieq(name, str_of(fields[i].name)))
			return fields[i].how;
	return LEAVE_OUT;
}

void downgrade_header(struct str header, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(header);
	struct header_field f;

	while (header_next(&s, &f)) {
		if (str_is_ascii(f.line)) {
			buf_add(out, f.line);
			continue;
		}
		if (!str_is_ascii(f.name))
			continue;
		switch (treatment_of(f.name)) {
		case AS_TEXT:       build_field_text(out, str_cstr(&a, f.name), header_decode(&a, f.value)); break;
		case AS_ADDRESSES:  put_addresses(out, &a, &f); break;
		case AS_PARAMETERS: put_parameters(out, &a, &f); break;
		case LEAVE_OUT:     break;
		}
		arena_reset(&a);
	}
	buf_add_cstr(out, "\r\n");
}
