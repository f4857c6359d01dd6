/* group add, list, show, set, remove, member add, member remove: names with targets (alias.c) that are mailing lists. */
#include "admin/admin_private.h"

static enum err said_members(struct admin_call *c, const struct directory_address *x)
{
	struct directory_name name;

	TRY(admin_publish(c));
	TRY(name_find(c->directory, x, &c->arena, &name));
	return admin_said(c, TEXT_ADMIN_GROUP_ADDED, name.address, admin_number_text(c, name.target_count));
}

enum err admin_group_add(struct admin_call *c)
{
	struct directory_address x, *list;
	size_t n;
	enum err e;

	TRY(admin_local_address(c, admin_text(c, "group"), &x));
	if (x.local.n > GROUP_LOCAL_MAX)  /* its address for bounces is longer (directory/list_address.h) */
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_GROUP_LONG, admin_number_text(c, GROUP_LOCAL_MAX));
	TRY(admin_targets(c, "member", &list, &n));
	e = name_add(c->directory, &x, NAME_GROUP, list, n);
	if (e == ERR_EXISTS)
		return admin_in_use(c, &x);
	return e == ERR_OK ? said_members(c, &x) : e;
}

enum err admin_group_list(struct admin_call *c)
{
	struct directory_name *names;
	struct str domain;
	size_t n;

	TRY(admin_list_domain(c, &domain));
	TRY(name_list(c->directory, NAME_GROUP, &c->arena, &names, &n));
	for (size_t i = 0; i < n; i++) {
		if (!admin_is_in_domain(&names[i], domain))
			continue;
		json_t *row = admin_row(c);
		admin_put_text(row, "group", names[i].address);
		admin_put_number(row, "member_count", names[i].target_count);
	}
	return ERR_OK;
}

/* Who may write, in words: "anyone", "members", or who they are. */
static void put_post(struct admin_call *c, const struct directory_group *g)
{
	const struct str anyone[] = { STR("anyone") }, members[] = { STR("members") };
	bool is_named = g->post == GROUP_POST_POSTERS;

	admin_put_list(admin_result(c), "post", is_named ? g->posters : g->post == GROUP_POST_MEMBERS ? members : anyone, is_named ? g->poster_count : 1);
}

/* "bob@elsewhere.example: 4 days, 550 5.1.1 no such person": members whose mail came back. */
static enum err put_bounces(struct admin_call *c, struct str key)
{
	struct directory_bounce *list;
	struct str *lines;
	size_t n;

	TRY(group_bounces(c->directory, key, &c->arena, &list, &n));
	lines = arena_array(&c->arena, n, sizeof *lines);
	for (size_t i = 0; i < n; i++)
		lines[i] = text_fmt(&c->arena, c->lang, TEXT_ADMIN_GROUP_BOUNCE, list[i].address, admin_number_text(c, list[i].days), list[i].reason);
	if (n > 0)
		admin_put_list(admin_result(c), "bounces", lines, n);
	return ERR_OK;
}

enum err admin_group_show(struct admin_call *c)
{
	struct directory_address x;
	struct directory_name name;
	struct directory_group g;

	TRY(admin_named(c, admin_text(c, "group"), NAME_GROUP, &x, &name));
	TRY(group_get(c->directory, name.key, &c->arena, &g));
	admin_put_text(admin_result(c), "group", name.address);
	admin_put_text(admin_result(c), "title", g.title);
	put_post(c, &g);
	admin_put_text(admin_result(c), "replies", g.replies_to_group ? STR("group") : STR("author"));
	admin_put_switch(admin_result(c), "leave", g.may_leave);
	admin_put_list(admin_result(c), "members", name.targets, name.target_count);
	admin_put_strays(c, admin_result(c), name.targets, name.target_count);
	return put_bounces(c, name.key);
}

/* ---- group set ---- */

static enum err take_posters(struct admin_call *c, struct str text, struct directory_group *g)
{
	struct str one;

	g->post = GROUP_POST_POSTERS;
	g->posters = arena_array(&c->arena, GROUP_POSTERS_MAX, sizeof(struct str));
	for (g->poster_count = 0; text.n > 0;) {
		struct directory_address x;
		str_cut(text, ',', &one, &text);
		if (g->poster_count == GROUP_POSTERS_MAX)
			return admin_refuse(c, ERR_LIMIT, TEXT_ADMIN_GROUP_POSTERS_MANY, admin_number_text(c, GROUP_POSTERS_MAX));
		TRY(admin_target(c, str_trim(one), &x));
		g->posters[g->poster_count++] = directory_address_text(&c->arena, &x);
	}
	return ERR_OK;
}

static enum err take_post(struct admin_call *c, struct str who, struct directory_group *g)
{
	if (who.p == NULL)
		return ERR_OK;
	if (str_ieq(who, STR("anyone")) || str_ieq(who, STR("members"))) {
		g->post = str_ieq(who, STR("members")) ? GROUP_POST_MEMBERS : GROUP_POST_ANYONE;
		g->poster_count = 0;
		return ERR_OK;
	}
	if (str_chr(who, '@') < 0)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_GROUP_POST, who);
	return take_posters(c, who, g);
}

/* yes or no, by which of two words it is; not given: as it was. */
static enum err take_word(struct admin_call *c, const char *key, const char *yes, const char *no, enum text wrong, bool *value)
{
	struct str word = admin_text(c, key);

	if (word.p == NULL)
		return ERR_OK;
	if (!str_ieq(word, str_of(yes)) && !str_ieq(word, str_of(no)))
		return admin_refuse(c, ERR_INVALID, wrong, word);
	*value = str_ieq(word, str_of(yes));
	return ERR_OK;
}

static enum err take_title(struct admin_call *c, struct directory_group *g)
{
	struct str title = admin_text(c, "title");

	if (title.p == NULL)
		return ERR_OK;
	if (title.n > GROUP_TITLE_MAX || str_has_ctl(title))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_GROUP_TITLE, STR(""));
	g->title = title;
	return ERR_OK;
}

static bool has_change(struct admin_call *c)
{
	static const char *const keys[] = { "title", "post", "replies", "leave" };

	for (size_t i = 0; i < COUNT_OF(keys); i++)
		if (admin_text(c, keys[i]).p != NULL)
			return true;
	return false;
}

enum err admin_group_set(struct admin_call *c)
{
	struct directory_address x;
	struct directory_name name;
	struct directory_group g;

	TRY(admin_named(c, admin_text(c, "group"), NAME_GROUP, &x, &name));
	if (!has_change(c))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_GROUP_NOTHING, STR(""));
	TRY(group_get(c->directory, name.key, &c->arena, &g));
	TRY(take_title(c, &g));
	TRY(take_post(c, admin_text(c, "post"), &g));
	TRY(take_word(c, "replies", "group", "author", TEXT_ADMIN_GROUP_REPLIES, &g.replies_to_group));
	TRY(take_word(c, "leave", "on", "off", TEXT_ADMIN_GROUP_LEAVE, &g.may_leave));
	TRY(group_set(c->directory, name.key, &g));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_GROUP_SET, name.address);
}

enum err admin_group_remove(struct admin_call *c)
{
	struct directory_address x;
	struct directory_name name;

	TRY(admin_named(c, admin_text(c, "group"), NAME_GROUP, &x, &name));
	TRY(name_remove(c->directory, &x));
	TRY(admin_publish(c));
	TRY(admin_said(c, TEXT_ADMIN_GROUP_REMOVED, name.address));
	return admin_left_by_address(c, name.address);
}

enum err admin_group_member_add(struct admin_call *c)
{
	struct directory_address x, *list;
	struct directory_name name;
	size_t n;

	TRY(admin_named(c, admin_text(c, "group"), NAME_GROUP, &x, &name));
	TRY(admin_targets(c, "member", &list, &n));
	TRY(admin_add_targets(c, &x, list, n));
	admin_joined(c, &x);
	return said_members(c, &x);
}

enum err admin_group_member_remove(struct admin_call *c)
{
	struct directory_address x;
	struct directory_name name;

	TRY(admin_named(c, admin_text(c, "group"), NAME_GROUP, &x, &name));
	TRY(admin_remove_targets(c, &x, "member"));
	return said_members(c, &x);
}
