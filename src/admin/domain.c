/* domain add, list, remove, catch-all */
#include "admin/domain_records.h"

enum err admin_domain_add(struct admin_call *c)
{
	struct str text = admin_text(c, "domain"), domain;
	enum err e;

	if (!directory_domain_parse(text, &c->arena, &domain))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_DOMAIN, text);
	e = domain_add(c->directory, domain);
	if (e == ERR_EXISTS)
		return admin_refuse(c, e, TEXT_ADMIN_DOMAIN_EXISTS, domain);
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_DOMAIN_ADDED, domain);
}

enum err admin_domain_list(struct admin_call *c)
{
	struct directory_domain *list;
	size_t n;

	TRY(domain_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		json_t *row = admin_row(c);
		admin_put_text(row, "domain", list[i].name);
		admin_put_number(row, "accounts", list[i].accounts);
		admin_put_text(row, "catch_all", list[i].catch_all);
		admin_put_strays(c, row, &list[i].catch_all, list[i].catch_all.n > 0);
	}
	return ERR_OK;
}

enum err admin_domain_remove(struct admin_call *c)
{
	struct dkim_keys keys;
	struct str domain;
	enum err e;

	TRY(admin_domain(c, admin_text(c, "domain"), &domain));
	e = domain_remove(c->directory, domain);
	if (e == ERR_CONFLICT)
		return admin_refuse(c, e, TEXT_ADMIN_DOMAIN_IN_USE, domain);
	if (e != ERR_OK)
		return e;
	enum err published = admin_publish(c), forgotten = admin_dkim(c, DKIM_FORGET, domain, STR(""), &keys);
	TRY(published);
	TRY(forgotten);
	return admin_said(c, TEXT_ADMIN_DOMAIN_REMOVED, domain);
}

enum err admin_domain_catch_all(struct admin_call *c)
{
	struct str domain, text = admin_text(c, "target");
	bool remove = admin_is_on(c, "remove");
	struct directory_address target;

	TRY(admin_domain(c, admin_text(c, "domain"), &domain));
	if (remove == (text.p != NULL))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_CATCH_ALL_WHICH, STR(""));
	if (remove) {
		TRY(domain_catch_all(c->directory, domain, STR("")));
		TRY(admin_publish(c));
		return admin_said(c, TEXT_ADMIN_CATCH_ALL_REMOVED, domain);
	}
	TRY(admin_target(c, text, &target));
	text = directory_address_text(&c->arena, &target);
	TRY(domain_catch_all(c->directory, domain, text));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_CATCH_ALL_SET, domain, text);
}
