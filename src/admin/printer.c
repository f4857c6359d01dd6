/* printer add, list, remove: IP addresses that submit without login, each as one account. */
#include "admin/admin_private.h"

enum err admin_printer_add(struct admin_call *c)
{
	struct directory_account x;
	struct str ip;

	if (!printer_ip(admin_text(c, "ip"), &c->arena, &ip))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_AN_IP, admin_text(c, "ip"));
	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(printer_add(c->directory, ip, x.account));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_PRINTER_ADDED, ip, x.address);
}

enum err admin_printer_list(struct admin_call *c)
{
	struct directory_printer *list;
	size_t n;

	TRY(printer_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		struct directory_account x;
		if (account_get(c->directory, list[i].account, &c->arena, &x) != ERR_OK)
			continue;
		json_t *row = admin_row(c);
		admin_put_text(row, "ip", list[i].ip);
		admin_put_text(row, "address", x.address);
	}
	return ERR_OK;
}

enum err admin_printer_remove(struct admin_call *c)
{
	struct str ip;
	enum err e;

	if (!printer_ip(admin_text(c, "ip"), &c->arena, &ip))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_AN_IP, admin_text(c, "ip"));
	e = printer_remove(c->directory, ip);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_PRINTER, ip);
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_PRINTER_REMOVED, ip);
}
