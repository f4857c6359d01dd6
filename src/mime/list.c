/* The header is written anew, field by field, in its order: what the list does not concern is copied byte by byte, so that a signature of
 * the author survives wherever From does. Our fields come last, behind those that name where the message has been.
 *
 * Who is the author? With DMARC a server may refuse mail "from" a domain that did not send it, and a list that changes nothing else is
 * refused all the same once somebody's signature breaks on the way. So for members elsewhere the list speaks in its own name and says whom
 * for; the author stays in Reply-To (unless the list wants the replies) and in X-Original-From. His signature names a From that
 * is gone: it is taken out, since a broken one helps nobody. */
#include "mime/list.h"
#include "base/bytes.h"
#include "mime/address.h"
#include "mime/build.h"
#include "mime/date.h"
#include "mime/header.h"

enum { TEXT_MAX = 200 };

static struct str local_of(struct str address) { return str_sub(address, 0, (size_t)str_rchr(address, '@')); }

static struct str title_of(const struct list_post *p) { return p->title.n > 0 ? p->title : local_of(p->address); }

/* list-id: the address with a dot for its "@" (RFC 2919 §3). */
static struct str id_of(struct str address, struct arena *a)
{
	return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(local_of(address)), STR_ARG(str_from(address, local_of(address).n + 1)));
}

/* ------------------------------------------------------------------------------------------------- what is left out */

static bool is_one_of(struct str name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_ieq(name, str_of(names[i])))
			return true;
	return false;
}

/* Fields that this list answers for now, and wishes to hear from the reader, which were not meant for so many. */
static bool is_left_out(const struct list_post *p, struct str name)
{
	static const char *const always[] = { "Return-Path", "Precedence", "Disposition-Notification-To", "Return-Receipt-To", "X-Confirm-Reading-To",
	                                      "X-Original-From" };
	static const char *const with_author[] = { "Sender", "DKIM-Signature", "DomainKey-Signature" };

	if (str_istarts(name, STR("List-")) || is_one_of(name, always, COUNT_OF(always)))
		return true;
	if (p->replies_to_list && str_ieq(name, STR("Reply-To")))
		return true;
	return p->renames_author && is_one_of(name, with_author, COUNT_OF(with_author));
}

/* -------------------------------------------------------------------------------------------------------- the author */

/* "Alice via Team": the name, or what stands before the "@". */
static struct str author_via(const struct list_post *p, struct str from, struct arena *a)
{
	struct mail_address *list;
	size_t n = address_list_parse(a, from, &list);
	struct str name = STR("");

	for (size_t i = 0; i < n && name.n == 0; i++) {
		if (list[i].kind != ADDRESS_MAILBOX)
			continue;
		name = address_name(a, &list[i]);
		if (name.n == 0)
			name = list[i].local;
	}
	return arena_printf(a, STR_FMT "%svia " STR_FMT, STR_ARG(str_sub(name, 0, TEXT_MAX)), name.n > 0 ? " " : "", STR_ARG(title_of(p)));
}

/* The same value under another name. */
static void put_renamed(struct buf *out, const char *name, struct str value)
{
	buf_printf(out, "%s:", name);
	buf_add(out, value);
	buf_add(out, STR("\r\n"));
}

/* --------------------------------------------------------------------------------------------------------- our fields */

/* An address in a URI (RFC 6068 §2): what is not plain is written in percent. */
static void put_mailto(struct buf *out, struct str address)
{
	buf_add(out, STR("<mailto:"));
	for (size_t i = 0; i < address.n; i++) {
		char c = address.p[i];
		if (chr_alpha(c) || chr_digit(c) || (c != '\0' && strchr("-._~@=+", c) != NULL))
			buf_add_char(out, c);
		else
			buf_printf(out, "%%%02X", (unsigned char)c);
	}
}

/* Whose name is in From answers for these, too (RFC 5322 §3.6); and answers to a message are sorted by its id. */
static void put_what_is_missing(const struct list_post *p, struct str header, struct buf *out)
{
	char text[DATE_TEXT_MAX];
	struct str value;

	if (p->message_id.n > 0 && !header_find(header, STR("Message-ID"), &value))
		buf_printf(out, "Message-ID: <" STR_FMT ">\r\n", STR_ARG(p->message_id));
	if (p->date != 0 && !header_find(header, STR("Date"), &value))
		build_field_raw(out, "Date", str_make(text, date_format(p->date, 0, text)));
}

static void put_list_fields(const struct list_post *p, struct arena *a, struct buf *out)
{
	if (p->replies_to_list)
		build_field_address(out, "Reply-To", p->title, p->address);
	build_field_raw(out, "Precedence", STR("list"));
	build_field_address(out, "List-Id", title_of(p), id_of(p->address, a));
	if (p->is_for_few) {
		build_field_raw(out, "List-Post", STR("NO"));
	} else {
		buf_add(out, STR("List-Post: "));
		put_mailto(out, p->address);
		buf_add(out, STR(">\r\n"));
	}
	if (p->leave.n > 0)
		list_leave_fields(p->leave, STR(""), out);
}

void list_leave_fields(struct str address, struct str url, struct buf *out)
{
	buf_add(out, STR("List-Unsubscribe: "));
	if (url.n > 0)
		buf_printf(out, "<" STR_FMT ">,\r\n ", STR_ARG(url));
	put_mailto(out, address);
	buf_add(out, STR("?subject=unsubscribe>\r\n"));
	if (url.n > 0)
		build_field_raw(out, "List-Unsubscribe-Post", STR("List-Unsubscribe=One-Click"));
}

/* ------------------------------------------------------------------------------------------------------------- all */

static struct str without_empty_line(struct str header)
{
	size_t empty = str_ends(header, STR("\r\n")) ? 2 : str_ends(header, STR("\n")) ? 1 : 0;
	struct str rest = str_sub(header, 0, header.n - empty);

	return empty > 0 && (rest.n == 0 || str_ends(rest, STR("\n"))) ? rest : header;
}

void list_header(const struct list_post *p, struct str header, struct buf *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str from, reply_to;
	struct header_field f;

	header = without_empty_line(header);
	struct scan s = scan_of(header);
	bool has_from = header_find(header, STR("From"), &from), has_reply_to = header_find(header, STR("Reply-To"), &reply_to);
	const char *copied = header.p;
	while (header_next(&s, &f)) {
		bool is_author = p->renames_author && str_ieq(f.name, STR("From"));
		if (!is_author && !is_left_out(p, f.name))
			continue;
		buf_add(out, str_make(copied, (size_t)(f.line.p - copied)));
		copied = f.line.p + f.line.n;
		if (is_author && f.value.p == from.p)
			build_field_address(out, "From", author_via(p, from, &a), p->address);
	}
	buf_add(out, str_make(copied, (size_t)(header.p + header.n - copied)));
	if (!out->failed && out->n > 0 && out->p[out->n - 1] != '\n')
		buf_add(out, STR("\r\n"));
	if (p->renames_author && has_from) {
		put_renamed(out, "X-Original-From", from);
		if (!p->replies_to_list && !has_reply_to)
			put_renamed(out, "Reply-To", from);
	}
	put_what_is_missing(p, header, out);
	put_list_fields(p, &a, out);
	buf_add(out, STR("\r\n"));
}

/* ---------------------------------------------------------------------------------------------------------- obstacles */

/* "Team <team.example.org>" */
static bool has_id(struct str value, struct str id)
{
	ptrdiff_t from = str_rchr(value, '<'), to = str_rchr(value, '>');

	return from >= 0 && to > from && str_ieq(str_sub(value, (size_t)from + 1, (size_t)(to - from - 1)), id);
}

static bool is_answer(struct str name, struct str value)
{
	if (str_ieq(name, STR("Auto-Submitted")))
		return str_istarts(value, STR("auto-replied"));
	if (str_ieq(name, STR("Precedence")))
		return str_ieq(value, STR("auto_reply"));
	return str_ieq(name, STR("X-Autoreply")) || str_ieq(name, STR("X-Autorespond"));
}

enum list_obstacle list_obstacle(struct str header, struct str address)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str id = id_of(address, &a);
	struct scan s = scan_of(header);
	struct header_field f;

	while (header_next(&s, &f)) {
		struct str value = header_unfold(&a, f.value);
		if (str_ieq(f.name, STR("List-Id")) && has_id(value, id))
			return LIST_HAS_SEEN_IT;
		if (is_answer(f.name, value))
			return LIST_IS_AUTOMATIC;
	}
	return LIST_MAY_PASS;
}
