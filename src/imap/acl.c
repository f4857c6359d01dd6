/* SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314), and the rights in LIST RETURN (MYRIGHTS) (RFC 8440).
 *
 * The lists are the store's (store/rights.h); whom an identifier means, control knows (directory/share.h). A line is
 * about a person, not about the text: "bob", "bob@example.org" and another address of his are one line, shown under
 * his main address. The owner stands in no list: he may do everything, always, so nobody can lock him out; GETACL
 * shows him first all the same, because programs look for him there.
 *
 * A guest who has the right "a" runs the same commands. Of a mailbox that he may not see he learns nothing: what is
 * refused is then refused as if it were not there (RFC 4314 §6). */
#include "base/log.h"
#include "imap/imap_private.h"

enum {
	CONTROL_MS = 10000,
	MYRIGHTS_ANY = RIGHT_LOOKUP | RIGHT_READ | RIGHT_INSERT | RIGHT_CREATE | RIGHT_DELETE | RIGHT_ADMIN
};

static bool is_owner(const struct imap_session *s, const struct subject *x)
{
	return x->kind == SUBJECT_ACCOUNT && x->account == s->account->account;
}

/* identifier = astring; "-" before it: a negative line. Empty is nobody (RFC 4314 §3). */
static struct str parse_identifier(struct imap_cmd *c, bool *is_negative)
{
	struct str text = imap_astring(&c->args, &c->arena);

	*is_negative = text.n > 0 && text.p[0] == '-';
	text = str_from(text, *is_negative);
	if (!c->args.failed && (text.n == 0 || str_has_ctl(text))) {
		c->why = "an identifier is an address, the address of a group, or anyone; with - before it, what it is not to have";
		scan_fail(&c->args);
	}
	return text;
}

/* mod-rights = "+" rights / "-" rights / rights; one that is unknown is BAD (RFC 4314 §3.1) */
static unsigned parse_rights(struct imap_cmd *c, enum acl_change *change)
{
	struct str text = imap_astring(&c->args, &c->arena);
	unsigned rights = 0;

	*change = str_starts(text, STR("+")) ? ACL_ADD : str_starts(text, STR("-")) ? ACL_REMOVE : ACL_SET;
	if (!c->args.failed && !rights_parse(str_from(text, *change != ACL_SET), &rights)) {
		c->why = "there are the rights l r s w i p k x t e a, and c d for older programs; small letters, + or - before all of them";
		scan_fail(&c->args);
	}
	return rights;
}

static enum err who_is(struct imap_session *s, struct imap_cmd *c, struct str identifier, struct subject *out)
{
	session_will_wait(s->s);
	return subject_ask(s->account->control, identifier, CONTROL_MS, &c->arena, out);
}

static enum err find(struct imap_session *s, struct imap_cmd *c, struct str path, unsigned needed, struct mailbox *m)
{
	return imap_find(s, path, needed, &c->arena, m);
}

static struct imap_reply refuse(struct imap_cmd *c, enum err e)
{
	return e == ERR_DENIED
			   ? imap_no(c, "NOPERM", "this needs the right \"a\" on the mailbox; its owner can give it to you")
			   : imap_err(c, e);
}

static struct imap_reply refuse_identifier(struct imap_cmd *c, enum err e, struct str identifier)
{
	if (e != ERR_NOTFOUND)
		return imap_err(c, e);
	return imap_no(c, "CANNOT",
				   "nobody here is called \"" STR_FMT
				   "\"; it can be the address of an account of this server, of a group, or anyone",
				   STR_ARG(str_sub(identifier, 0, 100)));
}

static struct imap_reply refuse_owner(struct imap_cmd *c)
{
	return imap_no(c, "CANNOT", "the owner may always do everything with a mailbox; this cannot be changed");
}

/* The change is on disk, and holds. That control hears of it at once is a courtesy to the guest's next LIST: if not
 * now, the cell sees to it. */
static void tell(struct imap_session *s)
{
	session_will_wait(s->s);
	if (acl_tell(s->view, s->account->control, CONTROL_MS) != ERR_OK)
		log_info("control hears later of a list of rights account=%llu", (unsigned long long)s->account->account);
}

/* SETACL mailbox identifier mod-rights                                                            RFC 4314 §3.1 */
struct imap_reply imap_setacl(struct imap_session *s, struct imap_cmd *c)
{
	struct acl_entry line = { 0 };
	struct str path = imap_arg_mailbox(c, s), identifier;
	enum acl_change change;
	struct mailbox m;
	enum err e;

	imap_sp(&c->args);
	identifier = parse_identifier(c, &line.is_negative);
	imap_sp(&c->args);
	line.rights = parse_rights(c, &change);
	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox identifier rights");
	e = find(s, c, path, RIGHT_ADMIN, &m);
	if (e != ERR_OK)
		return refuse(c, e);
	e = who_is(s, c, identifier, &line.who);
	if (e != ERR_OK)
		return refuse_identifier(c, e, identifier);
	if (is_owner(s, &line.who))
		return !line.is_negative && change != ACL_REMOVE && line.rights == RIGHTS_ALL
		           ? imap_ok(c, "so it is, always") : refuse_owner(c);
	if (line.who.kind == SUBJECT_ANYONE && !line.is_negative && change != ACL_REMOVE && (line.rights & RIGHT_ADMIN))
		return imap_no(c, "CANNOT",
					   "the right \"a\" is not given to anyone: everybody could then shut out all the others");
	e = acl_write(s->view, m.mailbox_id, change, &line);
	if (e == ERR_LIMIT)
		return imap_no(
			c, "LIMIT",
			"a mailbox has at most %d lines of rights, an account %d; nothing was changed. A group counts as one",
			ACL_ENTRIES_MAX, ACL_TOTAL_MAX);
	if (e != ERR_OK)
		return imap_err(c, e);
	tell(s);
	return imap_ok(c, "set");
}

/* By the name that GETACL shows, also of somebody who is gone; else whoever is meant by it. */
static enum err remove_line(struct imap_session *s, struct imap_cmd *c, int64_t mailbox_id, struct str identifier,
							bool is_negative)
{
	struct acl_entry line = { .is_negative = is_negative };
	enum err e = acl_remove(s->view, mailbox_id, identifier, is_negative);

	if (e != ERR_NOTFOUND)
		return e;
	TRY(who_is(s, c, identifier, &line.who));
	return is_owner(s, &line.who) ? ERR_DENIED : acl_write(s->view, mailbox_id, ACL_SET, &line);
}

/* DELETEACL mailbox identifier                                                                    RFC 4314 §3.2 */
struct imap_reply imap_deleteacl(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s), identifier;
	bool is_negative;
	struct mailbox m;
	enum err e;

	imap_sp(&c->args);
	identifier = parse_identifier(c, &is_negative);
	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox identifier");
	e = find(s, c, path, RIGHT_ADMIN, &m);
	if (e != ERR_OK)
		return refuse(c, e);
	e = remove_line(s, c, m.mailbox_id, identifier, is_negative);
	if (e == ERR_DENIED)
		return refuse_owner(c);
	if (e != ERR_OK)
		return refuse_identifier(c, e, identifier);
	tell(s);
	return imap_ok(c, "it is in the list no more");
}

/* "* ACL mailbox" */
static void put_head(struct imap_session *s, const char *word, const struct mailbox *m)
{
	buf_printf(&s->out, "* %s ", word);
	imap_put_mailbox(&s->out, imap_name_of(s, m->path, &s->cmd.arena), imap_names_utf8(s->tongue));
}

static void put_line(struct imap_session *s, struct str name, bool is_negative, unsigned rights)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	char letters[RIGHTS_TEXT_MAX];

	buf_add_char(&s->out, ' ');
	imap_put_string(&s->out, is_negative ? arena_printf(&a, "-" STR_FMT, STR_ARG(name)) : name,
					imap_names_utf8(s->tongue));
	buf_printf(&s->out, " %s", rights_text(rights, letters));
	imap_spill(s);
}

/* A group that is gone gives nobody anything, nor does the next one of its address get what was given to it. What was taken from it is taken from that
 * one, too (store/rights.c), so such a line stays. *can_ask: control answers. */
static bool is_gone(struct imap_session *s, struct imap_cmd *c, const struct acl_entry *line, bool *can_ask)
{
	struct subject now;
	enum err e;

	if (line->who.kind != SUBJECT_GROUP || line->is_negative || !*can_ask)
		return false;
	e = who_is(s, c, line->who.name, &now);
	*can_ask = e == ERR_OK || e == ERR_NOTFOUND;
	return e == ERR_NOTFOUND || (e == ERR_OK && !subject_is(&now, &line->who));
}

/* GETACL mailbox                                                                                  RFC 4314 §3.3 */
struct imap_reply imap_getacl(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s);
	struct acl_entry *lines;
	struct guest owner;
	struct mailbox m;
	bool can_ask = true;
	size_t n;
	enum err e;

	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox");
	e = find(s, c, path, RIGHT_ADMIN, &m);
	if (e != ERR_OK)
		return refuse(c, e);
	e = acl_read(s->view, m.mailbox_id, &c->arena, &lines, &n);
	session_will_wait(s->s);
	if (e == ERR_OK)  /* by what is he called? */
		e = guest_ask(s->account->control, s->account->account, CONTROL_MS, &c->arena, &owner);
	if (e != ERR_OK)
		return imap_err(c, e);
	put_head(s, "ACL", &m);
	put_line(s, owner.address, false, RIGHTS_ALL);
	for (size_t i = 0; i < n; i++)
		if (!is_gone(s, c, &lines[i], &can_ask))
			put_line(s, lines[i].who.name, lines[i].is_negative, lines[i].rights);
	buf_add_cstr(&s->out, "\r\n");
	return imap_ok(c, "that is all");
}

/* LISTRIGHTS mailbox identifier: what it always has, and what it can be given               RFC 4314 §3.4, §3.7 */
struct imap_reply imap_listrights(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s), identifier;
	struct subject who;
	bool is_negative;
	struct mailbox m;
	enum err e;

	imap_sp(&c->args);
	identifier = parse_identifier(c, &is_negative);
	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox identifier");
	e = find(s, c, path, RIGHT_ADMIN, &m);
	if (e != ERR_OK)
		return refuse(c, e);
	e = who_is(s, c, identifier, &who);
	if (e != ERR_OK)
		return refuse_identifier(c, e, identifier);
	put_head(s, "LISTRIGHTS", &m);
	buf_add_char(&s->out, ' ');  /* in the client's own words, so that it knows its answer */
	imap_put_string(&s->out, is_negative ? arena_printf(&c->arena, "-" STR_FMT, STR_ARG(identifier)) : identifier,
					imap_names_utf8(s->tongue));
	buf_add_cstr(&s->out, is_owner(s, &who) && !is_negative           ? " lrswipkxtecda\r\n"
	                      : is_owner(s, &who)                         ? " \"\"\r\n"
	                      : who.kind == SUBJECT_ANYONE && !is_negative ? " \"\" l r s w i p k x t e c d\r\n"
	                                                                  : " \"\" l r s w i p k x t e c d a\r\n");
	return imap_ok(c, "that is all");
}

/* also LIST RETURN (MYRIGHTS)                                                                          RFC 8440 §3 */
void imap_put_myrights(struct imap_session *s, const struct mailbox *m)
{
	unsigned rights = imap_rights(s, m->mailbox_id);
	char letters[RIGHTS_TEXT_MAX];

	put_head(s, "MYRIGHTS", m);
	buf_printf(&s->out, " %s\r\n", rights ? rights_text(rights, letters) : "\"\"");
}

/* MYRIGHTS mailbox                                                                                RFC 4314 §3.5 */
struct imap_reply imap_myrights(struct imap_session *s, struct imap_cmd *c)
{
	struct str path = imap_arg_mailbox(c, s);
	struct mailbox m;
	enum err e;

	if (!imap_arg_end(c))
		return imap_bad(c, "mailbox");
	e = view_mailbox_find(s->view, path, &c->arena, &m);
	if (e == ERR_OK && (imap_rights(s, m.mailbox_id) & MYRIGHTS_ANY) == 0)
		e = ERR_NOTFOUND;
	if (e != ERR_OK)
		return imap_err(c, e);
	imap_put_myrights(s, &m);
	return imap_ok(c, "that is all");
}
