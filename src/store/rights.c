/* Rights as letters, and what a guest may do. Where the lists stand: acl.c.
 *
 * RFC 2086 had "c" (make mailboxes) and "d" (delete messages, and perhaps mailboxes); RFC 4314 §2.1.1 leaves to the
 * server which of its finer rights they stand for. Here c is k, and d is x, t and e: whoever gets "d" from an old
 * client may do all that deletes. */
#include "store/rights.h"
#include "store/store_private.h"

static const struct { char letter; unsigned bits; } letters[] = {
	{ 'l', RIGHT_LOOKUP }, { 'r', RIGHT_READ }, { 's', RIGHT_SEEN }, { 'w', RIGHT_WRITE }, { 'i', RIGHT_INSERT }, { 'p', RIGHT_POST },
	{ 'k', RIGHT_CREATE }, { 'x', RIGHT_DELETE }, { 't', RIGHT_DELETED }, { 'e', RIGHT_EXPUNGE },
	{ 'c', RIGHT_CREATE }, { 'd', RIGHT_DELETE | RIGHT_DELETED | RIGHT_EXPUNGE }, { 'a', RIGHT_ADMIN },
};

bool rights_parse(struct str text, unsigned *out)
{
	*out = 0;
	for (size_t i = 0; i < text.n; i++) {
		size_t k = 0;
		while (k < COUNT_OF(letters) && letters[k].letter != text.p[i])
			k++;
		if (k == COUNT_OF(letters))
			return false;
		*out |= letters[k].bits;
	}
	return true;
}

const char *rights_text(unsigned rights, char out[RIGHTS_TEXT_MAX])
{
	size_t n = 0;

	for (size_t k = 0; k < COUNT_OF(letters); k++)
		if (rights & letters[k].bits)
			out[n++] = letters[k].letter;
	out[n] = '\0';
	return out;
}

/* ---- what a guest may do ---- */

/* Without the number that it has when there have been others of its address (directory/share.h). */
static struct str group_address(struct str group)
{
	size_t domain = (size_t)(str_rchr(group, '@') + 1);
	ptrdiff_t end = str_chr(str_from(group, domain), '#');

	return end < 0 ? group : str_sub(group, 0, domain + (size_t)end);
}

/* What was given to a group that is gone is not given to the next one of its address; what was taken from it is taken from that one, too: its owner sees
 * the same name in his list, and nobody is to read more than before because a group was made anew. */
static bool is_group(struct str group, struct str other, bool is_negative)
{
	return is_negative ? str_eq(group_address(group), group_address(other)) : str_eq(group, other);
}

static bool is_about(const struct subject *who, bool is_negative, const struct guest *guest)
{
	switch (who->kind) {
	case SUBJECT_ANYONE:
		return guest->is_anyone;
	case SUBJECT_ACCOUNT:
		return who->account == guest->account;
	case SUBJECT_GROUP:
		for (size_t i = 0; i < guest->n_groups; i++)
			if (is_group(who->group, guest->groups[i], is_negative))
				return true;
		return false;
	case SUBJECT_KINDS:
		break;
	}
	return false;
}

/* Memory lock, lists read. */
static unsigned given_to(const struct acl_lists *all, int64_t mailbox_id, const struct guest *guest)
{
	unsigned given = 0, taken = 0;

	for (size_t i = acl_first(all, mailbox_id); i < all->n && all->lines[i].mailbox_id == mailbox_id; i++) {
		const struct acl_line *line = &all->lines[i];
		if (!is_about(&all->subjects[line->subject], line->is_negative, guest))
			continue;
		if (line->is_negative)
			taken |= line->rights;
		else
			given |= line->rights;
	}
	return given & ~taken;
}

enum err rights_of(struct view *v, int64_t mailbox_id, const struct guest *guest, unsigned *rights)
{
	struct acl_lists *all;

	*rights = RIGHTS_ALL;
	if (guest == NULL)
		return ERR_OK;
	TRY(acl_lock(v, &all));
	*rights = given_to(all, mailbox_id, guest);  /* a mailbox that goes takes its lines along */
	pthread_mutex_unlock(&v->memory_lock);
	return ERR_OK;
}

enum err rights_check(struct view *v, int64_t mailbox_id, const struct guest *guest, unsigned needed)
{
	unsigned rights;

	TRY(rights_of(v, mailbox_id, guest, &rights));
	if ((rights & needed) == needed)
		return ERR_OK;
	return rights & RIGHT_LOOKUP ? ERR_DENIED : ERR_NOTFOUND;
}
