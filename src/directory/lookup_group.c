/* Groups in the look-up memfd: who is a member, who may write, and the addresses that a group has besides its own.
 *
 * Who writes is known by the account that logged in, or else by the envelope's sender, which anybody can invent. So an address of
 * ours counts only when its account has logged in: a stranger who calls himself one of us is refused. Of members elsewhere
 * there is nothing better here. */
#include "directory/lookup_private.h"

bool lookup_group(const struct lookup *l, struct str address, struct lookup_group *out)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x;
	struct lookup_name_row name;

	if (!directory_address_parse(address, &a, &x) || x.is_literal ||
	    !lookup_find(l, directory_address_key(&a, x.local, x.domain), &name) || name.kind != LOOKUP_NAME_GROUP)
		return false;
	struct lookup_group_row g = LOOKUP_ROW(l, groups, struct lookup_group_row, name.group - 1);
	*out = (struct lookup_group){
		.address = lookup_text(l, g.address), .title = lookup_text(l, g.title), .replies_to_group = g.flags & GROUP_REPLIES,
		.may_leave = g.flags & GROUP_MAY_LEAVE, .members = name.target_count, .leavers = g.leavers, .post = g.post, .first_member = name.first_target,
		.first_poster = g.first_poster, .posters = g.poster_count,
	};
	return true;
}

void lookup_group_members(const struct lookup *l, const struct lookup_group *g, struct arena *a, struct lookup_target **out, size_t *n)
{
	lookup_list_targets(l, g->first_member, g->members, a, out);
	*n = g->members;
}

static struct str key_of(struct str address, struct arena *a)
{
	struct directory_address x;

	return directory_address_parse(address, a, &x) ? directory_address_key(a, x.local, x.domain) : STR("");
}

/* The directory wrote the remote one: plain ones (text: the sender in the same spelling) need no parsing, and there may be 10,000. */
static bool is_same(struct str remote, struct str text, struct str key)
{
	CLEANUP(arena_free) struct arena a = { 0 };

	if (str_is_ascii(remote) && str_is_ascii(text))
		return str_ieq(remote, text);
	return str_eq(key_of(remote, &a), key);
}

static bool is_among(const struct lookup *l, uint32_t first, uint32_t n, struct str sender, uint64_t account)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct directory_address x;

	if (account == 0 && !directory_address_parse(sender, &a, &x))
		return false;
	struct str key = account == 0 ? directory_address_key(&a, x.local, x.domain) : STR("");
	struct str text = account == 0 ? directory_address_text(&a, &x) : STR("");
	for (uint32_t i = 0; i < n; i++) {
		struct lookup_target t = lookup_target_at(l, first + i);
		if (account != 0 ? t.account == account : t.account == 0 && is_same(t.remote, text, key))
			return true;
	}
	return false;
}

bool lookup_group_may_post(const struct lookup *l, const struct lookup_group *g, struct str sender, uint64_t account)
{
	switch ((enum group_post)g->post) {
	case GROUP_POST_ANYONE:
		return true;
	case GROUP_POST_MEMBERS:
		return is_among(l, g->first_member, g->members, sender, account);
	default:
		return is_among(l, g->first_poster, g->posters, sender, account);
	}
}

/* Nearly always there is nobody who stays: then this costs nothing, however large the group. */
bool lookup_group_lets_go(const struct lookup *l, const struct lookup_group *g, struct str remote)
{
	return g->may_leave && !is_among(l, g->first_member + g->leavers, g->members - g->leavers, remote, 0);
}

bool lookup_group_is_for_few(const struct lookup_group *g) { return g->post == GROUP_POST_POSTERS; }

struct str lookup_list_address(const struct lookup *l, struct str group, enum list_order order, struct str member, struct arena *a)
{
	return list_address(l->srs_key, group, order, member, a);
}

bool lookup_list_order(const struct lookup *l, struct str address, struct arena *a, struct list_address *out)
{
	struct lookup_group g;

	return list_address_parse(l->srs_key, address, a, out) && lookup_group(l, out->group, &g);
}
