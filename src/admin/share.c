/* account shares, share, unshare: the lists of rights of an account's mailboxes (store/rights.h), for people. What
 * mail programs do with SETACL is here three words for the usual, and the letters of RFC 4314 for the rest. The
 * lists are the cell's; who somebody is, the directory knows. */
#include "admin/admin_private.h"

/* "read" leaves out s: whether a message is read is one thing for all who share a mailbox, and looking into it shall
 * not change it. */
static const struct { const char *word, *french; unsigned rights; } words[] = {
	{ "look", "voir", RIGHT_LOOKUP },
	{ "read", "lire", RIGHT_LOOKUP | RIGHT_READ },
	{ "write", "écrire", RIGHTS_ALL & ~(unsigned)(RIGHT_POST | RIGHT_ADMIN) },
	{ "all", "tout", RIGHTS_ALL },
};

static const char *word_for(const struct store_command_share *line)
{
	if (line->is_negative)
		return "not";
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (words[i].rights == line->rights)
			return words[i].word;
	return "some";
}

/* Without the c and d that only old mail programs need. */
static struct str letters(struct admin_call *c, unsigned rights)
{
	char text[RIGHTS_TEXT_MAX];
	size_t n = 0;

	for (const char *p = rights_text(rights, text); *p; p++)
		if (*p != 'c' && *p != 'd')
			text[n++] = *p;
	return str_copy(&c->arena, str_make(text, n));
}

/* And the other way round: whose mailboxes it sees. Which ones, says the same command for the other account. */
static enum err put_sharers(struct admin_call *c, const struct directory_account *x)
{
	struct share_owner *owners;
	struct str *names;
	size_t n;

	TRY(shared_list(c->directory, x->account, &c->arena, &owners, &n));
	names = arena_array(&c->arena, n + 1, sizeof *names);
	for (size_t i = 0; i < n; i++)
		names[i] = owners[i].address;
	admin_put_list(admin_result(c), "sharers", names, n);
	if (c->rows == NULL)  /* for programs: the same form, whatever there is */
		json_object_set_new(admin_result(c), "rows", json_array());
	return ERR_OK;
}

enum err admin_account_shares(struct admin_call *c)
{
	struct store_command ask = { .kind = STORE_COMMAND_SHARES };
	struct directory_account x;
	struct store_answer answer = { 0 };

	TRY(admin_account(c, admin_text(c, "address"), &x));
	do {
		TRY(admin_ask_cell(c, &x, &ask, &answer));
		for (size_t i = 0; i < answer.n; i++) {
			json_t *row = admin_row(c);
			admin_put_text(row, "mailbox", answer.shares[i].path);
			admin_put_text(row, "shared_with", answer.shares[i].name);
			admin_put_text(row, "may", str_of(word_for(&answer.shares[i])));
			admin_put_text(row, "rights", letters(c, answer.shares[i].rights));
		}
		if (answer.next_line != 0 && answer.next_line <= ask.first_line)
			return ERR_INVALID;
		ask.first_line = answer.next_line;
	} while (ask.first_line != 0);
	return put_sharers(c, &x);
}

/* Most letters of most words are letters of rights, too: "lire" would be to look, insert, read and expunge, "rea" to read, expunge and share. So
 * they are taken from "lr" on, as no word begins, unless something is taken away. */
static bool are_letters(struct str text, bool is_negative)
{
	return is_negative || str_eq(text, STR("l")) || str_starts(text, STR("lr"));
}

static enum err read_rights(struct admin_call *c, struct str text, bool is_negative, unsigned *rights)
{
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (str_ieq(text, str_of(words[i].word)) || str_ieq(text, str_of(words[i].french))) {
			*rights = words[i].rights;
			return ERR_OK;
		}
	if (!are_letters(text, is_negative) || !rights_parse(text, rights) || *rights == 0)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_SHARE_RIGHTS_BAD, text);
	return ERR_OK;
}

/* ERR_NOTFOUND: nobody is called so; without a sentence. */
static enum err read_line(struct admin_call *c, const struct directory_account *x, struct acl_entry *line)
{
	struct str who = admin_text(c, "who");

	*line = (struct acl_entry){ .is_negative = admin_is_on(c, "deny") };
	if (who.n == 0 || who.n > SUBJECT_NAME_MAX || str_has_ctl(who))
		return ERR_NOTFOUND;
	TRY(subject_find(c->directory, x->account, who, &c->arena, &line->who));
	if (line->who.kind == SUBJECT_ACCOUNT && line->who.account == x->account)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_SHARE_OWNER, x->address);
	return ERR_OK;
}

static enum err ask_share(struct admin_call *c, const struct directory_account *x, struct store_command *ask,
						  struct store_answer *answer)
{
	enum err e;

	ask->kind = STORE_COMMAND_SHARE;
	ask->path = admin_text(c, "mailbox");
	ask->is_tree = admin_is_on(c, "inside");
	e = ask->path.n > MAILBOX_PATH_MAX ? ERR_NOTFOUND : admin_ask_cell(c, x, ask, answer);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_MAILBOX, x->address, ask->path);
	return e == ERR_LIMIT ? admin_refuse(c, e, TEXT_ADMIN_SHARE_FULL, x->address) : e;
}

enum err admin_account_share(struct admin_call *c)
{
	struct store_command ask = { 0 };
	struct directory_account x;
	struct store_answer answer = { 0 };
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	e = read_line(c, &x, &ask.line);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_SHARE_NOBODY, admin_text(c, "who"));
	if (e != ERR_OK)
		return e;
	TRY(read_rights(c, admin_text(c, "rights"), ask.line.is_negative, &ask.line.rights));
	if (ask.line.who.kind == SUBJECT_ANYONE && !ask.line.is_negative && (ask.line.rights & RIGHT_ADMIN))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_SHARE_ANYONE_ADMIN, STR(""));
	TRY(ask_share(c, &x, &ask, &answer));
	return admin_said(c, ask.line.is_negative ? TEXT_ADMIN_SHARE_DENIED : TEXT_ADMIN_SHARED, x.address,
					  ask.line.who.name, letters(c, ask.line.rights), ask.path,
					  admin_number_text(c, answer.mailboxes_shared));
}

/* Also of somebody whom the directory does not know any more: by the name that `account shares` shows. */
enum err admin_account_unshare(struct admin_call *c)
{
	struct store_command ask = { 0 };
	struct directory_account x;
	struct store_answer answer = { 0 };
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	e = read_line(c, &x, &ask.line);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	if (e == ERR_NOTFOUND)
		ask.line.who = (struct subject){ .group = STR(""), .name = admin_text(c, "who") };
	if (ask.line.who.name.n == 0 || ask.line.who.name.n > SUBJECT_NAME_MAX)
		return admin_refuse(c, ERR_NOTFOUND, TEXT_ADMIN_SHARE_NOBODY, ask.line.who.name);
	TRY(ask_share(c, &x, &ask, &answer));
	if (answer.mailboxes_shared == 0)
		return admin_refuse(c, ERR_NOTFOUND, TEXT_ADMIN_NOT_SHARED, x.address, ask.line.who.name, ask.path);
	return admin_said(c, TEXT_ADMIN_UNSHARED, x.address, ask.line.who.name, ask.path,
					  admin_number_text(c, answer.mailboxes_shared));
}
