/* The header fix-ups of submission. The header is collected before anything of it goes on, because From decides whether the message
 * may be sent at all, and only a whole header says what is missing. It is bounded, so a session costs at most 1 MB here; the
 * body passes by.
 *
 * Which line is a field is decided once, here, and written so that every reader decides the same: mime/header.h and others pass
 * over a line without a colon and go on looking for fields behind it, so such a line would hide a second From from a check that
 * ended there. We end the header before it and say so with an empty line. */
#include "submit/fixup.h"
#include "mime/address.h"
#include "mime/build.h"
#include "mime/header.h"

enum { TAKE_PIECE = 16384 };

void fixup_begin(struct fixup *f)
{
	*f = (struct fixup){ .taken = BUF(FIXUP_HEADER_MAX + TAKE_PIECE) };
}

void fixup_free(struct fixup *f) { buf_free(&f->taken); }

/* field-name = 1*ftext, printable ASCII but colon (RFC 5322 §3.6.8); space before the colon is obsolete syntax (§4.5). */
static bool is_field(struct str line)
{
	ptrdiff_t colon = str_chr(line, ':');
	size_t n = colon > 0 ? (size_t)colon : 0;

	while (n > 0 && (line.p[n - 1] == ' ' || line.p[n - 1] == '\t'))
		n--;
	for (size_t i = 0; i < n; i++)
		if (line.p[i] <= ' ' || line.p[i] > '~')
			return false;
	return n > 0;
}

static bool is_empty(struct str line) { return str_eq(line, STR("\n")) || str_eq(line, STR("\r\n")); }

/* The next line, which may be the last one without an end. True: the header is whole before it. */
static bool ends_header(struct fixup *f, struct str line)
{
	bool is_first = f->header_n == 0;

	if (is_empty(line)) {
		f->body_at = f->at + line.n;
		return true;
	}
	if ((line.p[0] == ' ' || line.p[0] == '\t') && !is_first) {  /* belongs to the field before it */
		f->at = f->header_n = f->at + line.n;
		return false;
	}
	if (!is_field(line)) {
		f->body_at = f->at;
		return true;
	}
	f->at = f->header_n = f->at + line.n;
	return false;
}

/* "From root Mon Nov 24 …": what separates messages in an mbox is no field; ">From " is its quoted form. "From : root" is one, written as
 * RFC 5322 §4.5 still allows. */
static bool is_mbox_line(const struct fixup *f, struct str line)
{
	size_t n = str_starts(line, STR("From ")) ? 5 : str_starts(line, STR(">From ")) ? 6 : 0;

	return f->at == 0 && f->header_n == 0 && n > 0 && !str_starts(str_trim(str_from(line, n)), STR(":"));
}

/* Looks at the lines that are complete (or, at_end, at all). */
static void look(struct fixup *f, bool at_end)
{
	while (!f->is_whole && f->at < f->taken.n) {
		struct str rest = str_from(buf_str(&f->taken), f->at), line = rest;
		ptrdiff_t lf = str_chr(rest, '\n');
		if (lf < 0 && !at_end)
			return;
		if (lf >= 0)
			line.n = (size_t)lf + 1;
		if (is_mbox_line(f, line))
			buf_drop_front(&f->taken, line.n);
		else
			f->is_whole = ends_header(f, line);
	}
}

enum err fixup_take(struct fixup *f, struct str *in)
{
	while (!f->is_whole && in->n > 0) {
		struct str piece = str_sub(*in, 0, TAKE_PIECE);
		if (f->taken.n > FIXUP_HEADER_MAX)
			return ERR_LIMIT;
		buf_add(&f->taken, piece);
		*in = str_from(*in, piece.n);
		look(f, false);
	}
	return f->header_n > FIXUP_HEADER_MAX ? ERR_LIMIT : ERR_OK;
}

void fixup_end(struct fixup *f)
{
	look(f, true);
	if (!f->is_whole)
		f->body_at = f->taken.n;
	f->is_whole = true;
}

/* Something but blanks: an empty Date is a missing one, and is taken out so that there are not two. */
static bool has_value(const struct header_field *field) { return str_trim(field->value).n > 0; }

static struct str header_of(const struct fixup *f) { return str_sub(buf_str(&f->taken), 0, f->header_n); }

enum err fixup_authors(const struct fixup *f, struct arena *a, struct authors *out)
{
	struct scan s = scan_of(header_of(f));
	struct header_field field;
	struct mail_address *list;

	*out = (struct authors){ .addresses = arena_array(a, FIXUP_AUTHORS_MAX, sizeof(struct str)) };
	while (header_next(&s, &field)) {
		if (!str_ieq(field.name, STR("From")) || !has_value(&field))
			continue;
		size_t before = out->n, n = address_list_parse(a, field.value, &list);
		out->has_from = true;
		if (n >= MAIL_ADDRESSES_MAX - 1)  /* what stands behind was not read; another reader may show it */
			return ERR_LIMIT;
		for (size_t i = 0; i < n; i++) {
			if (list[i].kind != ADDRESS_MAILBOX)
				continue;
			if (!address_is_valid(&list[i]))
				return ERR_INVALID;
			if (out->n == FIXUP_AUTHORS_MAX)
				return ERR_LIMIT;
			out->addresses[out->n++] = address_text(a, &list[i]);
		}
		if (out->n == before)
			return ERR_INVALID;
	}
	return ERR_OK;
}

static bool is_removed(struct str name)
{
	return str_ieq(name, STR("Bcc")) || str_ieq(name, STR("Resent-Bcc")) || str_ieq(name, STR("Return-Path"));
}

void fixup_write(const struct fixup *f, const struct fixup_facts *facts, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct scan s = scan_of(header_of(f));
	struct header_field field;
	struct { const char *name; bool is_there; } supplied[] = { { "Date", false }, { "Message-ID", false }, { "From", false } };

	buf_add(out, facts->received);
	while (header_next(&s, &field)) {
		bool keep = !is_removed(field.name);
		for (size_t i = 0; i < COUNT_OF(supplied); i++) {
			if (str_ieq(field.name, str_of(supplied[i].name))) {
				keep = has_value(&field);
				supplied[i].is_there = supplied[i].is_there || keep;
			}
		}
		if (keep)
			buf_add(out, field.line);
		if (keep && !str_ends(field.line, STR("\n")))  /* the message ended in its header */
			buf_add(out, STR("\r\n"));
	}
	if (!supplied[2].is_there)
		build_field_address(out, "From", facts->from_name, facts->from);
	if (!supplied[0].is_there)
		build_field_date(out, "Date", facts->now_s);
	if (!supplied[1].is_there)
		build_field_raw(out, "Message-ID", build_message_id(&a, facts->domain));
	buf_add(out, STR("\r\n"));
	buf_add(out, str_from(buf_str(&f->taken), f->body_at));
}

void fixup_header(struct str header, const struct fixup_facts *facts, struct buf *out)
{
	CLEANUP(fixup_free) struct fixup f;
	struct str rest = header;

	fixup_begin(&f);
	if (fixup_take(&f, &rest) != ERR_OK) {
		out->failed = true;
		return;
	}
	fixup_end(&f);
	fixup_write(&f, facts, out);
	buf_add(out, rest);
}
