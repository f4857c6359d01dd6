/* account password; app-password add, list, remove */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "ipc/role.h"

enum err admin_account_password(struct admin_call *c)
{
	struct directory_account x;
	struct password_choice password;
	struct secret_reply reply;
	struct secret_command set;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_password_choice(c, &password));
	if (!password.op)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_PASSWORD_ONE_WAY, STR(""));
	set = (struct secret_command){ .op = password.op, .account = x.account, .secret = password.secret };
	TRY(admin_secret(c, &set, &reply));
	if (password.generated.n)
		admin_put_text(admin_result(c), "password", password.generated);
	TRY(admin_end_sessions(c, x.account));
	return admin_said(c, password.op == SECRET_REMOVE ? TEXT_ADMIN_PASSWORD_REMOVED : TEXT_ADMIN_PASSWORD_SET,
					  x.address);
}

static const enum protocol offered[] = { PROTOCOL_IMAP, PROTOCOL_POP3, PROTOCOL_SUBMISSION };

enum err admin_protocols(struct admin_call *c, struct str text, uint32_t *rights)
{
	struct str rest = text, word;
	bool found = true;

	*rights = 0;
	while (rest.n && found) {
		str_cut(rest, ',', &word, &rest);
		found = false;
		for (size_t i = 0; i < COUNT_OF(offered); i++) {
			if (str_ieq(str_trim(word), str_of(protocol_name(offered[i])))) {
				*rights |= 1u << offered[i];
				found = true;
			}
		}
	}
	if (text.p != NULL && *rights == 0)  /* an empty list is a slip, and must not come to mean all */
		found = false;
	return found ? ERR_OK : admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_PROTOCOLS, text);
}

struct str admin_protocols_text(struct admin_call *c, uint32_t rights)
{
	struct str text = STR("");

	if (rights == 0)
		return STR("all");
	for (size_t i = 0; i < COUNT_OF(offered); i++)
		if (rights & 1u << offered[i])
			text = arena_printf(&c->arena, STR_FMT "%s%s", STR_ARG(text), text.n ? "," : "", protocol_name(offered[i]));
	return text;
}

enum err admin_app_password_add(struct admin_call *c)
{
	struct directory_account x;
	struct secret_command add = { .op = SECRET_APP_ADD, .name = admin_text(c, "label") };
	struct secret_reply reply;
	json_t *result;
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_protocols(c, admin_text(c, "for"), &add.rights));
	if (add.name.n == 0 || add.name.n > APP_PASSWORD_NAME_MAX || str_has_ctl(add.name))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_LABEL_BAD, STR(""));
	add.account = x.account;
	e = admin_secret(c, &add, &reply);
	if (e == ERR_LIMIT)
		return admin_refuse(c, e, TEXT_ADMIN_APP_PASSWORDS_FULL, x.address);
	if (e != ERR_OK)
		return e;
	result = admin_result(c);
	admin_put_number(result, "app_password_id", reply.id);
	admin_put_text(result, "password", reply.text);
	c->generated = reply.text;
	return admin_said(c, TEXT_ADMIN_APP_PASSWORD_ADDED, x.address, add.name);
}

enum err admin_app_password_list(struct admin_call *c)
{
	struct directory_account x;
	struct secret_command ask = { .op = SECRET_APP_LIST };
	struct secret_reply reply;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	ask.account = x.account;
	TRY(admin_secret(c, &ask, &reply));
	for (size_t i = 0; i < reply.app_count; i++) {
		const struct app_password *p = &reply.apps[i];
		json_t *row = admin_row(c);
		admin_put_number(row, "app_password_id", p->app_password_id);
		admin_put_text(row, "label", p->name);
		admin_put_text(row, "protocols", admin_protocols_text(c, p->rights));
		admin_put_number(row, "created", (uint64_t)p->created_s);
		admin_put_number(row, "last_used", (uint64_t)p->last_used_s);
	}
	return ERR_OK;
}

enum err admin_remove_secret(struct admin_call *c, enum secret_op op, enum text none, enum text done)
{
	struct str number = admin_text(c, "number");
	struct secret_command remove = { .op = op };
	struct directory_account x;
	struct secret_reply reply;
	uint64_t n = 0;
	enum err e = ERR_NOTFOUND;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	remove.account = x.account;
	if (str_to_u64(number, &n) && n > 0 && n <= UINT32_MAX) {
		remove.id = (uint32_t)n;
		e = admin_secret(c, &remove, &reply);
	}
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, none, x.address, number);
	if (e != ERR_OK)
		return e;
	TRY(admin_end_sessions(c, x.account));
	return admin_said(c, done, x.address);
}

enum err admin_app_password_remove(struct admin_call *c)
{
	return admin_remove_secret(c, SECRET_APP_REMOVE, TEXT_ADMIN_NO_SUCH_APP_PASSWORD, TEXT_ADMIN_APP_PASSWORD_REMOVED);
}
