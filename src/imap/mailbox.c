/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. The store knows the rules for names; here are the words for what went wrong. */
#include "imap/notify_private.h"
#include "imap/remote.h"

bool imap_role_of(struct str attribute, enum mailbox_role *role)
{
	for (int r = MAILBOX_DRAFTS; r < MAILBOX_ROLES; r++) {
		if (!str_ieq(attribute, str_of(mailbox_role_attribute((enum mailbox_role)r))))
			continue;
		*role = (enum mailbox_role)r;
		return true;
	}
	return false;
}

/* "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"; PLAIN when it is not there or empty. False: malformed, or a use we do not have. */
static bool parse_use(struct imap_cmd *c, enum mailbox_role *role, bool *is_known)
{
	*role = MAILBOX_PLAIN;
	*is_known = true;
	if (!scan_take(&c->args, ' '))
		return true;
	scan_need(&c->args, '(');
	if (!imap_word(&c->args, "USE"))
		scan_fail(&c->args);
	imap_sp(&c->args);
	scan_need(&c->args, '(');
	if (scan_peek(&c->args) == '\\')
		*is_known = imap_role_of(imap_flag(&c->args), role);
	while (scan_take(&c->args, ' ')) {  /* several of them at once are none that we have */
		*is_known = false;
		imap_flag(&c->args);
	}
	scan_need(&c->args, ')');
	scan_need(&c->args, ')');
	return !c->args.failed;
}

static struct imap_reply too_many(struct imap_cmd *c)
{
	return imap_no(c, "OVERQUOTA", "the account has as many mailboxes as it may have (GETQUOTAROOT says how many); DELETE one that is not needed");
}

/* A mailbox was called otherwise than it is stored, and who speaks IMAP4rev2 knows how to hear of that: RFC 9051 §6.3.9.7. */
static void tell_stored(struct imap_session *s, const struct mailbox *m, struct str given, bool is_gone)
{
	struct str old = imap_old_name(m->path, given);

	if (s->tongue.is_rev2 && old.n > 0)
		imap_put_list(s, m, old, is_gone);
}

/* … by one of these two names: the old one as it was given stands beside the new one as it is stored (§6.3.6). */
static void tell_renamed(struct imap_session *s, const struct mailbox *before, struct str from, const struct mailbox *now, struct str to)
{
	if (s->tongue.is_rev2 && (imap_old_name(before->path, from).n > 0 || imap_old_name(now->path, to).n > 0))
		imap_put_list(s, now, from, false);
}

/* CREATE mailbox [SP "(" "USE" SP "(" [use-attr] ")" ")"]                    RFC 9051 §6.3.4, RFC 6154 §3, RFC 8474 §4.1 */
struct imap_reply imap_create(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s);
	enum mailbox_role role;
	bool is_known;
	struct mailbox m;
	enum err e;

	if (!parse_use(c, &role, &is_known) || !imap_arg_end(c))
		return imap_bad(c, "mailbox [(USE (\\Attribute))]");
	if (s->guest != NULL && (!is_known || role != MAILBOX_PLAIN))
		return imap_no(c, "USEATTR", "what a mailbox of another account is for, only its owner says");
	if (!is_known)
		return imap_no(c, "USEATTR", "a mailbox can be for \\Drafts, \\Sent, \\Junk, \\Trash or \\Archive");
	e = imap_may_create(s, path, &c->arena);
	if (e == ERR_OK)
		e = view_mailbox_create(s->view, path, role, &c->arena, &m);
	if (e == ERR_QUOTA)
		return too_many(c);
	if (e == ERR_CONFLICT)
		return imap_no(c, "USEATTR", "another mailbox has this use; there can be only one");
	if (e != ERR_OK)
		return imap_err(c, e);
	tell_stored(s, &m, path, false);
	return imap_ok(c, "[MAILBOXID (%s)] created", m.mailboxid);
}

/* DELETE mailbox                                                                                  RFC 9051 §6.3.5 */
struct imap_reply imap_delete(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s);
	struct mailbox m;
	enum err e;

	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox");
	e = imap_find(s, path, RIGHT_DELETE, &c->arena, &m);
	if (e == ERR_OK)
		e = view_mailbox_delete(s->view, path);
	if (e == ERR_CONFLICT)
		return imap_no(c, "HASCHILDREN", "it has mailboxes inside; delete or rename those first");
	if (e == ERR_DENIED && (s->guest == NULL || imap_may(s, m.mailbox_id, RIGHT_DELETE) == ERR_OK))
		return imap_no(c, "CANNOT", "the INBOX stays: new mail needs a place");
	if (e != ERR_OK)
		return imap_err(c, e);
	if (s->selected != NULL && s->mailbox_id == m.mailbox_id) {  /* our own: no BYE for what we asked for */
		imap_unselect_mailbox(s);
		buf_add_cstr(&s->out, imap_in(s->tongue.lang, "* OK [CLOSED] it was selected\r\n"));
	}
	tell_stored(s, &m, path, true);
	return imap_ok(c, "deleted");
}

/* The INBOX stays, and what is in it is moved (RFC 9051 §6.3.6): so it takes what MOVE would, to read it included, which he may in the new one. */
static unsigned rights_to_rename(const struct mailbox *m)
{
	return m->role == MAILBOX_INBOX ? RIGHT_READ | RIGHT_DELETE | RIGHT_DELETED | RIGHT_EXPUNGE : RIGHT_DELETE;
}

/* RENAME mailbox mailbox                                                                          RFC 9051 §6.3.6 */
struct imap_reply imap_rename(struct imap_session *s, struct imap_cmd *c)
{
	struct str from = imap_arg_mailbox(c, s), to;
	struct mailbox m, now;
	enum err e;

	imap_sp(&c->args);
	to = imap_arg_mailbox(c, s);
	if (!imap_arg_end(c))
		return imap_bad(c, "old-mailbox new-mailbox");
	e = view_mailbox_find(s->view, from, &c->arena, &m);
	if (e == ERR_OK)
		e = imap_may(s, m.mailbox_id, rights_to_rename(&m));
	if (e == ERR_OK)
		e = imap_may_create(s, to, &c->arena);
	if (e == ERR_OK)
		e = view_mailbox_rename(s->view, from, to);
	if (e == ERR_QUOTA)
		return too_many(c);
	if (e != ERR_OK)
		return imap_err(c, e);
	if (view_mailbox_find(s->view, to, &c->arena, &now) == ERR_OK)
		tell_renamed(s, &m, from, &now, to);
	return imap_ok(c, "renamed");
}

/* One that is written as it was given may be older than the mailbox of that name. */
static enum err find_subscription(struct imap_session *s, struct imap_cmd *c, struct str *path)
{
	struct str *names;
	size_t n, i = 0;

	TRY(view_subscriptions(s->view, &c->arena, &names, &n));
	while (i < n && !str_eq(names[i], *path))
		i++;
	if (i == n)
		*path = imap_stored_name(s, *path, &c->arena);
	return ERR_OK;
}

static struct imap_reply subscribe(struct imap_session *s, struct imap_cmd *c, bool is_on)
{
	struct str path = imap_arg_mailbox(c, s), address;
	enum err e = ERR_OK;

	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox");
	if (is_on)
		path = imap_stored_name(s, path, &c->arena);
	else
		e = find_subscription(s, c, &path);
	if (e == ERR_OK)
		e = view_subscribe(s->view, path, is_on);
	if (e != ERR_OK)
		return imap_err(c, e);
	if (is_on && imap_is_other(path, &address) && !notify_others_begin(s, s->notify, false))
		return (struct imap_reply){ .status = IMAP_CUT };
	return is_on ? imap_ok(c, "subscribed") : imap_ok(c, "unsubscribed");
}

/* SUBSCRIBE mailbox                                                                               RFC 9051 §6.3.7 */
struct imap_reply imap_subscribe(struct imap_session *s, struct imap_cmd *c) { return subscribe(s, c, true); }
/* UNSUBSCRIBE mailbox                                                                             RFC 9051 §6.3.8 */
struct imap_reply imap_unsubscribe(struct imap_session *s, struct imap_cmd *c) { return subscribe(s, c, false); }
