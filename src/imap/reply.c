/* Tagged replies: made by the handler, sent by the dispatcher, so that none is forgotten or sent twice. */
#include "imap/imap_private.h"

static struct imap_reply reply(struct imap_cmd *c, enum imap_status status, const char *code, const char *fmt, va_list ap)
{
	struct str text = arena_vprintf(&c->arena, imap_in(c->lang, fmt), ap);

	if (code != NULL)
		text = arena_printf(&c->arena, "[%s] " STR_FMT, code, STR_ARG(text));
	return (struct imap_reply){ .status = status, .text = text };
}

struct imap_reply imap_ok(struct imap_cmd *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct imap_reply r = reply(c, IMAP_OK, NULL, fmt, ap);
	va_end(ap);
	return r;
}

struct imap_reply imap_no(struct imap_cmd *c, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct imap_reply r = reply(c, IMAP_NO, code, fmt, ap);
	va_end(ap);
	return r;
}

struct imap_reply imap_bad(struct imap_cmd *c, const char *usage)
{
	struct str text;

	if (c->why != NULL)
		text = str_of(imap_in(c->lang, c->why));
	else if (*usage) {
		usage = imap_in(c->lang, usage);
		text = arena_printf(&c->arena, imap_in(c->lang, "expected: %.*s"), (int)strlen(usage), usage);
	} else
		text = str_of(imap_in(c->lang, "this command has no arguments"));

	bool is_mistake = !str_starts(text, STR("[")) || str_starts(text, STR("[CLIENTBUG]")) || str_starts(text, STR("[UIDREQUIRED]"));

	return (struct imap_reply){ .status = c->why == NULL || is_mistake ? IMAP_BAD : IMAP_NO, .text = text };
}

struct imap_reply imap_err(struct imap_cmd *c, enum err e)
{
	switch (e) {
	case ERR_NOTFOUND:
		return imap_no(c, "NONEXISTENT", "there is no such mailbox; LIST \"\" * names all of them");
	case ERR_EXISTS:
		return imap_no(c, "ALREADYEXISTS", "a mailbox of this name exists already");
	case ERR_DENIED:
		return imap_no(c, "NOPERM", "this cannot be done with this mailbox, or its owner does not allow you to");
	case ERR_QUOTA:
		return imap_no(c, "OVERQUOTA", "the account it would go to is full (GETQUOTAROOT says of what, to its owner); nothing was stored. Remove messages nobody needs any more, or ask for more room");
	case ERR_LIMIT:
		return imap_no(c, "LIMIT", "this is more than the server takes; nothing was changed");
	case ERR_FULL:
		return imap_no(c, "UNAVAILABLE", "the server's disk is full; nothing was changed, try again once the administrator has made room");
	case ERR_CONFLICT:
		return imap_no(c, "INUSE", "something else changed it at the same moment; please try again");
	case ERR_INVALID:
		return imap_no(c, "CANNOT", "this name cannot be used: it may have 20 levels, cut by \"/\", none of them empty, and 1,000 bytes, no control characters; so may all that is inside it");
	case ERR_CORRUPT:
		return imap_no(c, "CORRUPTION", "stored data is damaged; the administrator finds details in the log");
	case ERR_AGAIN:
	case ERR_TIMEOUT:
	case ERR_UNAVAILABLE:
		return imap_no(c, "UNAVAILABLE", "the server cannot do this at the moment; please try again later");
	default:
		return imap_no(c, "UNAVAILABLE", "the server has a problem with its disk; nothing was changed, the administrator finds details in the log");
	}
}

void imap_flush(struct imap_session *s)
{
	session_write(s->s, buf_str(&s->out));
	buf_reset(&s->out);
	s->flushes++;
}

void imap_spill(struct imap_session *s)
{
	if (s->out.n >= IMAP_OUT_PIECE || s->out.failed)
		imap_flush(s);
}
