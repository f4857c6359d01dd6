/* alias add, list, remove; and what they have in common with groups (group.c): both are names with targets. */
#include "admin/admin_private.h"

bool admin_is_in_domain(const struct directory_name *name, struct str domain)
{
	return domain.n == 0 || str_eq(str_from(name->key, (size_t)(str_rchr(name->key, '@') + 1)), domain);
}

enum err admin_named(struct admin_call *c, struct str text, enum name_kind kind, struct directory_address *x, struct directory_name *out)
{
	enum err e;

	TRY(admin_address(c, text, x));
	e = name_find(c->directory, x, &c->arena, out);
	if (e == ERR_OK && out->kind == kind)
		return ERR_OK;
	if (e == ERR_OK)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ADDRESS_OTHER_KIND, text);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, kind == NAME_ALIAS ? TEXT_ADMIN_NO_SUCH_ALIAS : TEXT_ADMIN_NO_SUCH_GROUP, text);
	return e;
}

enum err admin_targets(struct admin_call *c, const char *key, struct directory_address **out, size_t *n)
{
	*n = admin_count(c, key);
	*out = arena_array(&c->arena, *n, sizeof **out);
	for (size_t i = 0; i < *n; i++)
		TRY(admin_target(c, admin_text_at(c, key, i), &(*out)[i]));
	return ERR_OK;
}

enum err admin_add_targets(struct admin_call *c, const struct directory_address *x, const struct directory_address *list, size_t n)
{
	enum err e = name_targets_add(c->directory, x, list, n);

	return e == ERR_LIMIT ? admin_refuse(c, e, TEXT_ADMIN_TOO_MANY_TARGETS, directory_address_text(&c->arena, x)) : e;
}

enum err admin_remove_targets(struct admin_call *c, const struct directory_address *x, const char *key)
{
	size_t n = admin_count(c, key), failed;
	struct directory_address *list = arena_array(&c->arena, n, sizeof *list);

	for (size_t i = 0; i < n; i++)
		TRY(admin_address(c, admin_text_at(c, key, i), &list[i]));
	enum err e = name_targets_remove(c->directory, x, list, n, &failed);
	return e == ERR_NOTFOUND ? admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_TARGET, directory_address_text(&c->arena, x), admin_text_at(c, key, failed)) : e;
}

static struct str joined(struct admin_call *c, const struct str *list, size_t n)
{
	enum { SHOWN = 5 };
	struct str text = STR("");

	for (size_t i = 0; i < n && i < SHOWN; i++)
		text = arena_printf(&c->arena, STR_FMT "%s" STR_FMT, STR_ARG(text), i ? ", " : "", STR_ARG(list[i]));
	return n > SHOWN ? arena_printf(&c->arena, STR_FMT " … (%zu)", STR_ARG(text), n) : text;
}

enum { LEADERS_MAX = 1000 };

static enum err said_leaders(struct admin_call *c, struct str key, uint64_t account)
{
	struct str *leaders;
	size_t n;

	TRY(name_leaders(c->directory, key, account, LEADERS_MAX, &c->arena, &leaders, &n));
	return n == 0 ? ERR_OK : admin_said(c, TEXT_ADMIN_STILL_NAMED, c->sentence, joined(c, leaders, n));
}

enum err admin_left_by_address(struct admin_call *c, struct str address)
{
	struct directory_address x;
	struct directory_name still;

	if (!directory_address_parse(address, &c->arena, &x) || name_find(c->directory, &x, &c->arena, &still) == ERR_OK)
		return ERR_OK;
	return said_leaders(c, directory_address_key(&c->arena, x.local, x.domain), 0);
}

enum err admin_left_by_account(struct admin_call *c, uint64_t account) { return said_leaders(c, STR(""), account); }

enum err admin_list_domain(struct admin_call *c, struct str *domain)
{
	*domain = STR("");
	return admin_text(c, "domain").p != NULL ? admin_domain(c, admin_text(c, "domain"), domain) : ERR_OK;
}

/* ---- aliases ---- */

enum err admin_alias_add(struct admin_call *c)
{
	struct directory_address x, *list;
	struct directory_name name;
	size_t n;
	enum err e;

	TRY(admin_local_address(c, admin_text(c, "alias"), &x));
	TRY(admin_targets(c, "target", &list, &n));
	e = name_add(c->directory, &x, NAME_ALIAS, list, n);
	if (e == ERR_EXISTS && name_find(c->directory, &x, &c->arena, &name) == ERR_OK && name.kind == NAME_ALIAS)
		e = admin_add_targets(c, &x, list, n);
	else if (e == ERR_EXISTS)
		return admin_in_use(c, &x);
	if (e != ERR_OK)
		return e;
	admin_joined(c, &x);
	TRY(admin_publish(c));
	TRY(name_find(c->directory, &x, &c->arena, &name));
	return admin_said(c, TEXT_ADMIN_ALIAS_SET, name.address, joined(c, name.targets, name.target_count));
}

enum err admin_alias_list(struct admin_call *c)
{
	struct directory_name *names;
	struct str domain;
	size_t n;

	TRY(admin_list_domain(c, &domain));
	TRY(name_list(c->directory, NAME_ALIAS, &c->arena, &names, &n));
	for (size_t i = 0; i < n; i++) {
		if (!admin_is_in_domain(&names[i], domain))
			continue;
		json_t *row = admin_row(c);
		admin_put_text(row, "alias", names[i].address);
		admin_put_list(row, "targets", names[i].targets, names[i].target_count);
		admin_put_strays(c, row, names[i].targets, names[i].target_count);
	}
	return ERR_OK;
}

enum err admin_alias_remove(struct admin_call *c)
{
	struct directory_address x;
	struct directory_name name;

	TRY(admin_named(c, admin_text(c, "alias"), NAME_ALIAS, &x, &name));
	if (admin_count(c, "target") == 0) {
		TRY(name_remove(c->directory, &x));
		TRY(admin_publish(c));
		TRY(admin_said(c, TEXT_ADMIN_ALIAS_REMOVED, name.address));
		return admin_left_by_address(c, name.address);
	}
	if (admin_count(c, "target") >= name.target_count)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_LAST_TARGET, name.address);
	TRY(admin_remove_targets(c, &x, "target"));
	TRY(admin_publish(c));
	TRY(name_find(c->directory, &x, &c->arena, &name));
	return admin_said(c, TEXT_ADMIN_ALIAS_SET, name.address, joined(c, name.targets, name.target_count));
}
