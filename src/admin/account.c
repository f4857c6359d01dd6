/* account add, list, show, describe, suspend, resume, rename, delete, undelete, purge */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"

enum { NAME_MAX_BYTES = 250 };

enum err admin_in_use(struct admin_call *c, const struct directory_address *x)
{
	struct str text = directory_address_text(&c->arena, x);
	struct directory_account owner;

	if (account_find(c->directory, x, &c->arena, &owner) == ERR_OK && owner.deleted_s != 0)
		return admin_not_there(c, ERR_EXISTS, &owner, TEXT_ADMIN_ADDRESS_RESERVED);
	return admin_refuse(c, ERR_EXISTS, TEXT_ADMIN_ADDRESS_IN_USE, text);
}

enum err admin_quota(struct admin_call *c, const struct directory_account *x, uint64_t *bytes, uint64_t *messages)
{
	struct conf *conf;

	TRY(directory_account_conf(c->directory, x->account, x->address, &conf));
	*bytes = conf_number(conf, SETTING_quota);
	*messages = conf_number(conf, SETTING_quota_messages);
	conf_free(conf);
	return ERR_OK;
}

static enum err name_and_language(struct admin_call *c, struct str *name, bool *french)
{
	struct str lang = admin_text(c, "lang"), given = admin_text(c, "name");
	enum lang found;

	if (lang.p != NULL && !lang_find(lang, &found))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_LANGUAGE, lang);
	if (lang.p != NULL)
		*french = found == LANG_FR;
	if (given.n > NAME_MAX_BYTES || str_has_ctl(given))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NAME_BAD, STR(""));
	if (given.p != NULL)
		*name = given;
	return ERR_OK;
}

static enum err check_quota(struct admin_call *c, struct str text)
{
	struct conf *scratch = conf_new();
	struct conf_problem problem;
	bool fine = text.p == NULL || conf_set(scratch, SETTING_quota, text, &problem);

	if (!fine)
		c->sentence = conf_explain(&c->arena, &problem, c->lang == LANG_FR);
	conf_free(scratch);
	return fine ? ERR_OK : ERR_INVALID;
}

/* Everything the new account needs before anybody can know it. */
static enum err furnish(struct admin_call *c, uint64_t account, const struct password_choice *password)
{
	struct secret_command set = { .op = password->op, .account = account, .secret = password->secret };
	struct secret_command forget = { .op = SECRET_FORGET, .account = account };   /* what keys has of somebody who had the number */
	struct str quota = admin_text(c, "quota");
	struct secret_reply reply;

	enum err made = c->host->make_folder(c->host->context, account);
	if (made == ERR_EXISTS)
		return admin_refuse(c, made, TEXT_ADMIN_FOLDER_TAKEN, admin_number_text(c, account));
	TRY(made);
	TRY(admin_secret(c, &forget, &reply));
	if (password->op)
		TRY(admin_secret(c, &set, &reply));
	return quota.p != NULL
			   ? setting_store(c->directory, SCOPE_ACCOUNT, admin_number_text(c, account), SETTING_quota, quota)
			   : ERR_OK;
}

enum err admin_account_add(struct admin_call *c)
{
	struct directory_address x;
	struct password_choice password;
	struct str name = STR(""), address;
	bool french = c->lang == LANG_FR;
	uint64_t account;
	json_t *result;
	enum err e;

	TRY(admin_local_address(c, admin_text(c, "address"), &x));
	TRY(name_and_language(c, &name, &french));
	TRY(admin_password_choice(c, &password));
	TRY(check_quota(c, admin_text(c, "quota")));
	e = account_reserve(c->directory, &x, name, french, &account);
	if (e == ERR_EXISTS)
		return admin_in_use(c, &x);
	if (e != ERR_OK)
		return e;
	e = furnish(c, account, &password);
	if (e == ERR_OK)
		e = account_ready(c->directory, account);
	if (e != ERR_OK) {
		if (account_forget(c->directory, account) != ERR_OK)
			log_error("an account could not be made and not be taken back account=%llu", (unsigned long long)account);
		return e;
	}
	address = directory_address_text(&c->arena, &x);
	result = admin_result(c);
	admin_put_text(result, "address", address);
	admin_put_number(result, "account", account);
	if (password.generated.n)
		admin_put_text(result, "password", password.generated);
	TRY(admin_publish(c));
	return admin_said(c, password.op ? TEXT_ADMIN_ACCOUNT_ADDED : TEXT_ADMIN_ACCOUNT_ADDED_NO_PASSWORD, address);
}

/* The account and domain of a list; text may be missing: every domain. */
static enum err list_accounts(struct admin_call *c, struct directory_account **list, size_t *n)
{
	struct str domain = STR("");

	c->host->usage(c->host->context, 0);
	if (admin_text(c, "domain").p != NULL)
		TRY(admin_domain(c, admin_text(c, "domain"), &domain));
	return account_list(c->directory, domain, &c->arena, list, n);
}

enum err admin_account_list(struct admin_call *c)
{
	struct directory_account *list;
	size_t n;
	uint64_t quota, messages;

	TRY(list_accounts(c, &list, &n));
	for (size_t i = 0; i < n; i++) {
		if ((list[i].deleted_s != 0) != admin_is_on(c, "deleted"))
			continue;
		TRY(admin_quota(c, &list[i], &quota, &messages));
		json_t *row = admin_row(c);
		admin_put_text(row, "address", list[i].address);
		admin_put_text(row, "name", list[i].name);
		admin_put_text(row, "state", admin_state(c, &list[i]));
		admin_put_number(row, "used", list[i].used_bytes);
		admin_put_number(row, "quota", quota);
		admin_put_number(row, "messages", list[i].messages);
	}
	return ERR_OK;
}

/* Of bytes or messages, whichever is nearer to its limit; nothing without a limit. */
static void put_percent(json_t *row, const struct directory_account *x, uint64_t quota, uint64_t messages)
{
	uint64_t of_bytes = quota ? (uint64_t)((double)x->used_bytes * 100 / (double)quota) : 0;
	uint64_t of_messages = messages ? (uint64_t)((double)x->messages * 100 / (double)messages) : 0;

	if (quota || messages)
		admin_put_number(row, "percent", of_bytes > of_messages ? of_bytes : of_messages);
}

enum err admin_usage_list(struct admin_call *c)
{
	struct directory_account *list;
	size_t n;
	uint64_t quota, messages;

	TRY(list_accounts(c, &list, &n));
	for (size_t i = 0; i < n; i++) {
		if (list[i].deleted_s != 0)
			continue;
		TRY(admin_quota(c, &list[i], &quota, &messages));
		json_t *row = admin_row(c);
		admin_put_text(row, "address", list[i].address);
		admin_put_number(row, "used", list[i].used_bytes);
		admin_put_number(row, "quota", quota);
		put_percent(row, &list[i], quota, messages);
		admin_put_number(row, "messages", list[i].messages);
	}
	return ERR_OK;
}

/* Further addresses of the account, and the aliases and groups that lead to one of its addresses. */
static enum err put_names(struct admin_call *c, const struct directory_account *x, json_t *result)
{
	struct directory_name *names;
	struct map own = { 0 };
	struct str *further, *aliases;
	size_t n, further_count = 0, alias_count = 0;
	enum err e = name_list(c->directory, 0, &c->arena, &names, &n);

	if (e != ERR_OK)
		return e;
	further = arena_array(&c->arena, n, sizeof *further);
	aliases = arena_array(&c->arena, n, sizeof *aliases);
	for (size_t i = 0; i < n; i++) {
		if (names[i].account != x->account)
			continue;
		map_set(&own, names[i].key, names);
		if (names[i].kind == NAME_FURTHER)
			further[further_count++] = names[i].address;
	}
	for (size_t i = 0; i < n; i++) {
		struct directory_address target;
		bool leads_here = false;
		for (size_t t = 0; t < names[i].target_count && !leads_here; t++)
			leads_here = directory_address_parse(names[i].targets[t], &c->arena, &target) &&
			             map_get(&own, directory_address_key(&c->arena, target.local, target.domain));
		if (leads_here)
			aliases[alias_count++] = names[i].address;
	}
	admin_put_list(result, "addresses", further, further_count);
	admin_put_list(result, "aliases", aliases, alias_count);
	map_free(&own);
	return ERR_OK;
}

enum err admin_account_show(struct admin_call *c)
{
	struct directory_account x;
	struct secret_command ask = { .op = SECRET_STATUS };
	struct secret_reply secrets = { 0 };
	uint64_t quota, messages;
	json_t *result;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	c->host->usage(c->host->context, x.account);
	TRY(admin_account(c, admin_text(c, "address"), &x));  /* as it is now */
	TRY(admin_quota(c, &x, &quota, &messages));
	result = admin_result(c);
	admin_put_text(result, "address", x.address);
	admin_put_number(result, "account", x.account);
	admin_put_text(result, "name", x.name);
	admin_put_text(result, "lang", str_of(lang_code(x.french ? LANG_FR : LANG_EN)));
	admin_put_text(result, "state", admin_state(c, &x));
	admin_put_number(result, "created", (uint64_t)x.created_s);
	if (x.deleted_s > ACCOUNT_DOOMED)
		admin_put_number(result, "deleted", (uint64_t)x.deleted_s);
	admin_put_number(result, "used", x.used_bytes);
	admin_put_number(result, "quota", quota);
	admin_put_number(result, "messages", x.messages);
	if (messages)
		admin_put_number(result, "quota_messages", messages);
	TRY(put_names(c, &x, result));
	ask.account = x.account;
	TRY(admin_secret(c, &ask, &secrets));
	admin_put_text(result, "password_kind", secrets.flag ? secrets.text : STR("none"));
	admin_put_number(result, "app_passwords", secrets.id);
	ask.op = SECRET_CERTIFICATE_LIST;
	TRY(admin_secret(c, &ask, &secrets));
	admin_put_number(result, "certificates", secrets.certificate_count);
	return ERR_OK;
}

enum err admin_account_describe(struct admin_call *c)
{
	struct directory_account x;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	if (admin_text(c, "name").p == NULL && admin_text(c, "lang").p == NULL)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOTHING_TO_CHANGE, STR(""));
	TRY(name_and_language(c, &x.name, &x.french));
	TRY(account_describe(c->directory, x.account, x.name, x.french));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_ACCOUNT_CHANGED, x.address);
}

enum err admin_account_suspend(struct admin_call *c)
{
	struct directory_account x;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(account_suspend(c->directory, x.account, true));
	TRY(admin_end_sessions(c, x.account));
	return admin_said(c, TEXT_ADMIN_ACCOUNT_SUSPENDED, x.address);
}

enum err admin_account_resume(struct admin_call *c)
{
	struct directory_account x;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(account_suspend(c->directory, x.account, false));
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_ACCOUNT_RESUMED, x.address);
}

enum err admin_account_rename(struct admin_call *c)
{
	struct directory_account x;
	struct directory_address to;
	bool drop = admin_is_on(c, "drop_old");
	struct str address;
	enum err e;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(admin_local_address(c, admin_text(c, "new_address"), &to));
	e = account_rename(c->directory, x.account, &to, !drop);
	if (e == ERR_EXISTS)
		return admin_in_use(c, &to);
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	address = directory_address_text(&c->arena, &to);
	TRY(admin_said(c, drop ? TEXT_ADMIN_ACCOUNT_RENAMED_DROPPED : TEXT_ADMIN_ACCOUNT_RENAMED, x.address, address));
	return admin_left_by_address(c, x.address);
}

enum err admin_account_delete(struct admin_call *c)
{
	struct directory_account x;

	TRY(admin_living_account(c, admin_text(c, "address"), &x));
	TRY(account_delete(c->directory, x.account));
	TRY(admin_end_sessions(c, x.account));
	TRY(admin_said(c, TEXT_ADMIN_ACCOUNT_DELETED, x.address));
	return admin_left_by_account(c, x.account);
}

enum err admin_account_undelete(struct admin_call *c)
{
	struct share_gains gained = { 0 };
	struct directory_account x;

	TRY(admin_account(c, admin_text(c, "address"), &x));
	if (x.deleted_s == 0)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ACCOUNT_NOT_DELETED, x.address);
	if (x.deleted_s == ACCOUNT_DOOMED)
		return admin_not_there(c, ERR_NOTFOUND, &x, TEXT_ADMIN_ACCOUNT_DOOMED);
	TRY(account_undelete(c->directory, x.account));
	admin_gained(c, share_gains_of_owner(c->directory, x.account, &gained), &gained);
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_ACCOUNT_BACK, x.address);
}

/* First nobody can bring it back any more; what is erased is named until the end: a purge that was cut short is asked
 * for again and goes on. */
static enum err purge_one(struct admin_call *c, const struct directory_account *x)
{
	struct secret_command forget = { .op = SECRET_FORGET, .account = x->account };
	struct secret_reply reply;

	enum err e = account_doom(c->directory, x->account);

	if (e == ERR_CONFLICT)
		return admin_not_there(c, e, x, TEXT_ADMIN_ACCOUNT_DOOMED);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ACCOUNT_NOT_DELETED,
							x->address); /* brought back a moment ago */
	if (e != ERR_OK)
		return e;
	TRY(c->host->end_cell(c->host->context, x->account));
	TRY(c->host->remove_folder(c->host->context, x->account));
	TRY(admin_secret(c, &forget, &reply));
	TRY(setting_forget_all(c->directory, SCOPE_ACCOUNT, admin_number_text(c, x->account)));
	return account_forget(c->directory, x->account);
}

/* What a purge or the making of an account has left that was cut short is purged whatever its age. */
static bool is_purged(const struct admin_call *c, const struct directory_account *x, int64_t older_than_s)
{
	if (x->deleted_s == ACCOUNT_DOOMED)
		return !account_is_being_made(c->directory, x->account);
	return x->deleted_s != 0 && x->deleted_s + older_than_s <= clock_wall_s();
}

/* Which accounts a purge means: the one named, or all that were deleted long enough ago. */
static enum err choose_purged(struct admin_call *c, struct directory_account **list, size_t *n)
{
	struct str one = admin_text(c, "address"), age = admin_text(c, "older_than");
	uint64_t seconds = 0;
	size_t all, kept = 0;

	*n = 0;
	if (age.p != NULL)
		TRY(admin_age(c, age, &seconds));
	if (one.p != NULL) {
		*list = ARENA_NEW(&c->arena, struct directory_account);
		TRY(admin_account(c, one, *list));
		if ((*list)->deleted_s == 0)
			return admin_refuse(c, ERR_CONFLICT, TEXT_ADMIN_ACCOUNT_NOT_DELETED, (*list)->address);
		*n = 1;
		return ERR_OK;
	}
	TRY(account_list(c->directory, STR(""), &c->arena, list, &all));
	for (size_t i = 0; i < all; i++)
		if (is_purged(c, &(*list)[i], (int64_t)seconds))
			(*list)[kept++] = (*list)[i];
	*n = kept;
	return ERR_OK;
}

enum err admin_account_purge(struct admin_call *c)
{
	struct directory_account *list;
	size_t n;

	TRY(choose_purged(c, &list, &n));
	if (n > 0 && !admin_is_on(c, "yes"))
		return admin_refuse(c, ERR_DENIED, TEXT_ADMIN_PURGE_SURE, admin_number_text(c, n));
	for (size_t i = 0; i < n; i++) {
		TRY(purge_one(c, &list[i]));
		json_t *row = admin_row(c);
		admin_put_text(row, "address", list[i].address);
		admin_put_number(row, "account", list[i].account);
		admin_put_number(row, "deleted", list[i].deleted_s == ACCOUNT_DOOMED ? 0 : (uint64_t)list[i].deleted_s);
		if (n > 10)
			admin_progress(c, i + 1, n);
	}
	if (n > 0)
		TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_PURGED, admin_number_text(c, n));
}
