/* address add, list, remove: further addresses of accounts; and the list of every address there is. */
#include "admin/admin_private.h"

enum err admin_address_add(struct admin_call *c)
{
	struct directory_account x;
	struct directory_address to;
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_local_address(c, admin_text(c, "new_address"), &to));
	e = name_add_further(c->directory, &to, x.account);
	if (e == ERR_EXISTS)
		return admin_in_use(c, &to);
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_ADDRESS_ADDED, x.address, directory_address_text(&c->arena, &to));
}

static void put_targets(struct admin_call *c, json_t *row, const struct directory_name *name)
{
	admin_put_list(row, "leads_to", name->targets, name->target_count);
	admin_put_strays(c, row, name->targets, name->target_count);
}

enum err admin_address_list(struct admin_call *c)
{
	static const char *const kinds[] = {
		[NAME_MAIN] = "account", [NAME_FURTHER] = "further", [NAME_ALIAS] = "alias", [NAME_GROUP] = "group"
	};
	struct str domain = STR("");
	struct directory_name *names;
	size_t n;

	if (admin_text(c, "domain").p != NULL)
		TRY(admin_domain(c, admin_text(c, "domain"), &domain));
	TRY(name_list(c->directory, 0, &c->arena, &names, &n));
	for (size_t i = 0; i < n; i++) {
		struct directory_account owner;
		if (!admin_is_in_domain(&names[i], domain))
			continue;
		json_t *row = admin_row(c);
		admin_put_text(row, "address", names[i].address);
		admin_put_text(row, "kind", str_of(kinds[names[i].kind]));
		if (names[i].kind >= NAME_ALIAS)
			put_targets(c, row, &names[i]);
		else if (account_get(c->directory, names[i].account, &c->arena, &owner) == ERR_OK)
			admin_put_list(row, "leads_to", &owner.address, names[i].kind == NAME_FURTHER ? 1 : 0);
	}
	return ERR_OK;
}

enum err admin_address_remove(struct admin_call *c)
{
	struct str text = admin_text(c, "address");
	struct directory_address x;
	struct directory_name name;
	enum err e;

	TRY(admin_address(c, text, &x));
	e = name_find(c->directory, &x, &c->arena, &name);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_ADDRESS, text);
	if (e != ERR_OK)
		return e;
	if (name.kind == NAME_MAIN)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ADDRESS_IS_MAIN, text);
	if (name.kind != NAME_FURTHER)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ADDRESS_OTHER_KIND, text);
	TRY(name_remove(c->directory, &x));
	TRY(admin_publish(c));
	TRY(admin_said(c, TEXT_ADMIN_ADDRESS_REMOVED, text));
	return admin_left_by_address(c, name.address);
}
