/* imap/model_names_test.h -- mailboxes without messages, which the owner makes, renames, shares and takes back: a guest who watches names, and has been
 * woken, has heard of those that he may see, each once. */
#ifndef FACTEUR_IMAP_MODEL_NAMES_TEST_H
#define FACTEUR_IMAP_MODEL_NAMES_TEST_H
#include "imap/model_test.h"

#define FOLDER "\"Other Users/a@x/Folder"

/* A bit for each that the guest may see. */
static unsigned folders_seen(const struct play *p)
{
	unsigned seen = 0;

	for (int i = 0; i < FOLDERS; i++)
		seen |= p->folders[i] == FOLDER_SHARED ? 1u << i : 0;
	return seen;
}

/* The bit of the first one in line; 0: none is. */
static unsigned folder_in(struct str line)
{
	ptrdiff_t at = str_find(line, STR(FOLDER));

	return at < 0 ? 0 : 1u << (line.p[(size_t)at + sizeof FOLDER - 1] - '0');
}

/* * LIST (attributes) "/" name [("OLDNAME" (name))] */
static void hear_folder(struct play *p, struct client *c, struct str line)
{
	ptrdiff_t more = str_find(line, STR(" (\"OLDNAME\" ("));
	unsigned folder = folder_in(line), old = more < 0 ? 0 : folder_in(str_from(line, (size_t)more));
	bool is_gone = str_find(line, STR("\\NonExistent")) >= 0;

	if (!c->is_elsewhere || folder == 0 || (c->folders & old) != old || ((c->folders & folder) != 0) != is_gone)
		wrong(p, "of a name that is as it was: " STR_FMT, STR_ARG(line));
	c->folders &= ~old;
	c->folders = is_gone ? c->folders & ~folder : c->folders | folder;
}

static void check_folders(struct play *p, const struct client *c)
{
	if (c->is_elsewhere && c->folders != folders_seen(p))
		wrong(p, "has heard of the folders %x, may see %x", c->folders, folders_seen(p));
}

static void share_folder(struct play *p, unsigned i, bool is_shared)
{
	const struct acl_entry line = { .who = { .kind = SUBJECT_ACCOUNT, .account = GUEST, .name = STR("b@x") }, .rights = RIGHTS_ALL };
	struct mailbox m;

	EXPECT_OK(view_mailbox_find(p->account.view, arena_printf(&p->arena, "Folder%u", i), &p->arena, &m));
	EXPECT_OK(acl_write(p->account.view, m.mailbox_id, is_shared ? ACL_SET : ACL_REMOVE, &line));
	p->folders[i] = is_shared ? FOLDER_SHARED : FOLDER_OWN;
}
#endif
