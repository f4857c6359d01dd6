/* STATUS and its items, which LIST ... RETURN (STATUS ...) and the quota share. Counters come from memory. */
#include "imap/imap_private.h"

enum item { ST_MESSAGES, ST_UIDNEXT, ST_UIDVALIDITY, ST_UNSEEN, ST_DELETED, ST_SIZE, ST_RECENT, ST_HIGHESTMODSEQ, ST_MAILBOXID,
            ST_APPENDLIMIT, ST_DELETED_STORAGE, ST_COUNT };

static const char *const names[ST_COUNT] = { "MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "RECENT",
                                             "HIGHESTMODSEQ", "MAILBOXID", "APPENDLIMIT", "DELETED-STORAGE" };

/* "(" status-att *(SP status-att) ")" */
bool imap_parse_status_items(struct imap_cmd *c, struct imap_status_items *items)
{
	items->bits = 0;
	scan_need(&c->args, '(');
	do {
		int i = 0;
		while (i < ST_COUNT && !imap_word(&c->args, names[i]))
			i++;
		if (i == ST_COUNT)
			scan_fail(&c->args);
		else
			items->bits |= 1u << i;
	} while (scan_take(&c->args, ' '));
	scan_need(&c->args, ')');
	return !c->args.failed;
}

struct str imap_status_items_text(struct imap_status_items items, struct arena *a)
{
	struct str text = STR("(");

	for (int i = 0; i < ST_COUNT; i++)
		if (items.bits & 1u << i)
			text = arena_printf(a, STR_FMT "%s%s", STR_ARG(text), text.n > 1 ? " " : "", names[i]);
	return arena_printf(a, STR_FMT ")", STR_ARG(text));
}

/* Bytes that EXPUNGE would free (RFC 9208 §4.1.4): rarely asked, so it is counted when it is. */
static enum err deleted_storage(struct imap_session *s, const struct mailbox *m, uint64_t *out)
{
	struct message_row rows[IMAP_BATCH];
	struct summary summaries[IMAP_BATCH];
	uint32_t emails[IMAP_BATCH], next = 0;
	struct selected *window;
	enum err e = ERR_OK;
	size_t n;

	*out = 0;
	if (m->deleted == 0)
		return ERR_OK;
	TRY(selected_open(s->view, m->mailbox_id, NULL, &window));
	while (e == ERR_OK && (n = selected_rows(window, NULL, 0, &next, rows, COUNT_OF(rows))) > 0) {
		CLEANUP(arena_free) struct arena a = { 0 };
		size_t n_emails = 0;
		for (size_t i = 0; i < n; i++)
			if (rows[i].flags & FLAG_DELETED)
				emails[n_emails++] = rows[i].email;
		e = view_summaries(s->view, emails, n_emails, false, &a, summaries);
		for (size_t i = 0; i < n_emails && e == ERR_OK; i++)
			*out += summaries[i].email ? summaries[i].size : 0;
	}
	selected_close(window);
	return e;
}

enum err imap_put_status(struct imap_session *s, const struct mailbox *m, struct imap_status_items items, struct arena *a)
{
	uint64_t values[ST_COUNT] = { m->messages, m->uidnext, m->uidvalidity, m->unseen, m->deleted, m->size, 0, m->highestmodseq };
	bool is_first = true;

	values[ST_APPENDLIMIT] = view_message_size_max(s->view);
	if (items.bits & 1u << ST_DELETED_STORAGE)
		TRY(deleted_storage(s, m, &values[ST_DELETED_STORAGE]));
	if (items.bits & 1u << ST_HIGHESTMODSEQ)
		imap_enable_condstore(s);
	buf_add_cstr(&s->out, "* STATUS ");
	imap_put_mailbox(&s->out, imap_name_of(s, m->path, a), imap_names_utf8(s->tongue));
	buf_add_cstr(&s->out, " (");
	for (int i = 0; i < ST_COUNT; i++) {
		if (!(items.bits & 1u << i))
			continue;
		if (!is_first)
			buf_add_char(&s->out, ' ');
		is_first = false;
		buf_add_cstr(&s->out, names[i]);
		if (i == ST_MAILBOXID)
			buf_printf(&s->out, " (%s)", m->mailboxid);
		else
			buf_printf(&s->out, " %llu", (unsigned long long)values[i]);
	}
	buf_add_cstr(&s->out, ")\r\n");
	imap_spill(s);
	return ERR_OK;
}

/* STATUS mailbox "(" status-att *(SP status-att) ")"                                             RFC 9051 §6.3.11 */
struct imap_reply imap_status(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s);
	struct imap_status_items items;
	struct mailbox m;
	enum err e;

	imap_sp(&c->args);
	if (!imap_parse_status_items(c, &items) || !imap_arg_end(c))
		return imap_bad(c, "mailbox (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ MAILBOXID APPENDLIMIT DELETED-STORAGE)");
	e = view_publish(s->view);
	if (e == ERR_OK)
		e = imap_find(s, path, RIGHT_READ, &c->arena, &m);
	if (e == ERR_OK)
		e = imap_put_status(s, &m, items, &c->arena);
	return e == ERR_OK ? imap_ok(c, "counted") : imap_err(c, e);
}

/* ------------------------------------------------------------------------------------------------- quota, RFC 9208 */

/* One root "" for the whole account; resources without a limit are not named (RFC 9208 §4.2.1). STORAGE is in units of 1024 bytes (§5.1). */
static void put_quota(struct imap_session *s)
{
	struct quota q;

	view_quota(s->view, &q);
	buf_add_cstr(&s->out, "* QUOTA \"\" (");
	if (q.limit_bytes > 0)
		buf_printf(&s->out, "STORAGE %llu %llu ", (unsigned long long)(q.used_bytes + 1023) / 1024, (unsigned long long)q.limit_bytes / 1024);
	if (q.messages_max > 0)
		buf_printf(&s->out, "MESSAGE %llu %llu ", (unsigned long long)q.messages, (unsigned long long)q.messages_max);
	buf_printf(&s->out, "MAILBOX %llu %llu)\r\n", (unsigned long long)q.mailboxes, (unsigned long long)q.mailboxes_max);
}

/* GETQUOTA quota-root                                                                             RFC 9208 §4.1.1 */
struct imap_reply imap_getquota(struct imap_session *s, struct imap_cmd *c)
{
	struct str root = imap_astring(&c->args, &c->arena);

	if (!imap_arg_end(c))
		return imap_bad(c, "quota-root");
	if (root.n > 0)
		return imap_no(c, "NONEXISTENT", "there is one quota root here, called \"\"");
	put_quota(s);
	return imap_ok(c, "that is all");
}

/* GETQUOTAROOT mailbox                                                                            RFC 9208 §4.1.2 */
struct imap_reply imap_getquotaroot(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s);
	struct mailbox m;
	enum err e;

	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox");
	e = s->guest != NULL ? imap_find(s, path, RIGHT_READ, &c->arena, &m) : ERR_OK;
	if (e != ERR_OK)
		return imap_err(c, e);
	buf_add_cstr(&s->out, "* QUOTAROOT ");
	imap_put_mailbox(&s->out, imap_name_of(s, path, &c->arena), imap_names_utf8(s->tongue));
	if (s->guest != NULL) {  /* how full the owner's account is, is the owner's affair */
		buf_add_cstr(&s->out, "\r\n");
		return imap_ok(c, "that is all");
	}
	buf_add_cstr(&s->out, " \"\"\r\n");
	put_quota(s);
	return imap_ok(c, "that is all");
}

/* setquota-list = "(" [setquota-resource *(SP setquota-resource)] ")", each resource-name SP resource-limit        RFC 9208 §7 */
static void skip_limits(struct imap_cmd *c)
{
	scan_need(&c->args, '(');
	for (bool is_first = true; !c->args.failed && scan_peek(&c->args) != ')'; is_first = false) {
		if (!is_first)
			imap_sp(&c->args);
		imap_atom(&c->args);
		imap_sp(&c->args);
		imap_number64(&c->args);
	}
	scan_need(&c->args, ')');
}

/* SETQUOTA: limits are the administrator's, who has no login here. Not for anybody, so QUOTASET is not announced.        RFC 9208 §4.1.3 */
struct imap_reply imap_setquota(UNUSED struct imap_session *s, struct imap_cmd *c)
{
	imap_astring(&c->args, &c->arena);
	imap_sp(&c->args);
	skip_limits(c);
	if (!imap_arg_end(c))
		return imap_bad(c, "quota-root (resource limit ...)");
	return imap_no(c, "NOPERM", "limits are set by the administrator: facteur config set quota, quota_messages or quota_mailboxes, with --account");
}
