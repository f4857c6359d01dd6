/* From what a person typed to what it means, with the sentence that says why not; and the steps that several commands
 * share. */
#include "admin/admin_private.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "crypto/password.h"

enum err admin_address(struct admin_call *c, struct str text, struct directory_address *out)
{
	if (directory_address_parse(text, &c->arena, out) && !out->is_literal)
		return ERR_OK;
	return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_AN_ADDRESS, text);
}

enum err admin_local_address(struct admin_call *c, struct str text, struct directory_address *out)
{
	if (str_starts(text, STR("@")) || str_starts(text, STR("*@")))  /* "*" is a name like any other, and never what is meant */
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ADDRESS_OF_ALL, str_from(text, (size_t)str_rchr(text, '@') + 1));
	TRY(admin_address(c, text, out));
	if (domain_exists(c->directory, out->domain))
		return ERR_OK;
	return admin_refuse(c, ERR_NOTFOUND, TEXT_ADMIN_FOREIGN_DOMAIN, out->domain);
}

/* Between a name and its detail ("bob+lists@"), as the server's settings have it; 0: addresses have none. Read once a command. */
static char separator(struct admin_call *c)
{
	struct conf *conf;

	if (!c->has_separator && directory_conf(c->directory, &conf) == ERR_OK) {
		struct str text = conf_text(conf, SETTING_address_separator);
		c->separator = text.n > 0 ? text.p[0] : '\0';
		c->has_separator = true;
		conf_free(conf);
	}
	return c->separator;
}

/* Whose it is; 0: an alias or a group. A detail is fine where the plain address exists. */
static bool find_owner(struct admin_call *c, const struct directory_address *x, uint64_t *account)
{
	struct directory_address plain = *x;

	if (name_account(c->directory, x, account) == ERR_OK)
		return true;
	ptrdiff_t cut = separator(c) != '\0' ? str_chr(x->local, separator(c)) : -1;
	plain.local = cut > 0 ? str_sub(x->local, 0, (size_t)cut) : x->local;
	return cut > 0 && name_account(c->directory, &plain, account) == ERR_OK;
}

static bool is_role(const struct directory_address *x) { return str_ieq(x->local, STR("postmaster")) || str_ieq(x->local, STR("abuse")); }

/* Does what nobody here has in this domain go to another server? */
static bool is_routed(struct admin_call *c, struct str domain)
{
	struct directory_route *list;
	size_t n;

	if (route_list(c->directory, &c->arena, &list, &n) != ERR_OK)
		return false;
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i].pattern, domain))
			return list[i].route.host.n > 0;
	return false;
}

/* An address of ours that nobody has any more, or only a deleted account. */
static bool is_stray(struct admin_call *c, struct str text)
{
	struct directory_address x;
	struct directory_account owner;
	uint64_t account;

	if (!directory_address_parse(text, &c->arena, &x) || !domain_exists(c->directory, x.domain))
		return false;
	if (find_owner(c, &x, &account))
		return account != 0 && account_get(c->directory, account, &c->arena, &owner) == ERR_OK && owner.deleted_s != 0;
	return !is_role(&x) && !is_routed(c, x.domain);
}

void admin_put_strays(struct admin_call *c, json_t *to, const struct str *targets, size_t n)
{
	struct str *strays = arena_array(&c->arena, n, sizeof *strays);
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (is_stray(c, targets[i]))
			strays[count++] = targets[i];
	if (count > 0)
		admin_put_list(to, "strays", strays, count);
}

enum err admin_target(struct admin_call *c, struct str text, struct directory_address *out)
{
	uint64_t account;

	TRY(admin_address(c, text, out));
	if (domain_exists(c->directory, out->domain) && !find_owner(c, out, &account) && !is_role(out))
		return admin_refuse(c, ERR_NOTFOUND, TEXT_ADMIN_TARGET_LOCAL_UNKNOWN, text);
	return ERR_OK;
}

enum err admin_domain(struct admin_call *c, struct str text, struct str *out)
{
	if (!directory_domain_parse(text, &c->arena, out))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_DOMAIN, text);
	if (!domain_exists(c->directory, *out))
		return admin_refuse(c, ERR_NOTFOUND, TEXT_ADMIN_FOREIGN_DOMAIN, *out);
	return ERR_OK;
}

enum err admin_account(struct admin_call *c, struct str text, struct directory_account *out)
{
	struct directory_address x;
	struct directory_name name;
	enum err e;

	TRY(admin_address(c, text, &x));
	e = account_find(c->directory, &x, &c->arena, out);
	if (e == ERR_NOTFOUND && name_find(c->directory, &x, &c->arena, &name) == ERR_OK)
		return admin_refuse(c, e, TEXT_ADMIN_NOT_AN_ACCOUNT, text);
	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_ACCOUNT, text);
	return e;
}

enum err admin_living_account(struct admin_call *c, struct str text, struct directory_account *out)
{
	TRY(admin_account(c, text, out));
	return out->deleted_s == 0 ? ERR_OK : admin_not_there(c, ERR_NOTFOUND, out, TEXT_ADMIN_ACCOUNT_IS_DELETED);
}

enum err admin_not_there(struct admin_call *c, enum err e, const struct directory_account *x, enum text deleted)
{
	if (account_is_being_made(c->directory, x->account))
		return admin_refuse(c, e, TEXT_ADMIN_ACCOUNT_BEING_MADE, x->address);
	return admin_refuse(c, e, x->deleted_s == ACCOUNT_DOOMED ? TEXT_ADMIN_ACCOUNT_DOOMED : deleted, x->address);
}

enum err admin_age(struct admin_call *c, struct str text, uint64_t *seconds)
{
	if (conf_parse_duration(text, seconds) && *seconds <= 100ULL * 365 * 86400)
		return ERR_OK;
	return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_AN_AGE, text);
}

struct str admin_state(const struct admin_call *c, const struct directory_account *x)
{
	if (account_is_being_made(c->directory, x->account))
		return STR("being made");
	if (x->deleted_s != 0)
		return x->deleted_s == ACCOUNT_DOOMED ? STR("being erased") : STR("deleted");
	if (x->is_suspended)
		return STR("suspended");
	return x->is_full ? STR("full") : STR("active");
}

enum err admin_publish(struct admin_call *c)
{
	enum err e = c->host->publish(c->host->context);

	return e == ERR_TIMEOUT ? admin_refuse(c, e, TEXT_ADMIN_NOT_PUBLISHED, STR("")) : e;
}

void admin_gained(struct admin_call *c, enum err e, const struct share_gains *gained)
{
	if (e == ERR_OK)
		c->host->gained(c->host->context, gained);
}

void admin_joined(struct admin_call *c, const struct directory_address *name)
{
	struct share_gains gained = { 0 };

	admin_gained(c, share_gains_of_name(c->directory, name, &gained), &gained);
}

enum err admin_secret(struct admin_call *c, const struct secret_command *command, struct secret_reply *out)
{
	return c->host->secret(c->host->context, command, &c->arena, out);
}

/* Order (docs/architecture.md, "Ending"): the directory on disk, then everybody who gives or checks grants, then the
 * sessions. */
enum err admin_end_sessions(struct admin_call *c, uint64_t account)
{
	struct secret_command tell = { .op = SECRET_EPOCH, .account = account };
	struct secret_reply reply;

	enum err e = account_raise_epoch(c->directory, account, &tell.id);
	if (e != ERR_OK)
		return admin_refuse(c, e, TEXT_ADMIN_SESSIONS_STAY, STR(""));
	/* a role that hangs keeps nobody logged in */
	enum err published = admin_publish(c), told = admin_secret(c, &tell, &reply), ended = c->host->end_sessions(c->host->context, account, tell.id);
	return published != ERR_OK ? published : told != ERR_OK ? told : ended;
}

/* 16 letters of 31: 79 bits, in groups that can be read out over the telephone. */
static struct str make_password(struct arena *a)
{
	struct str word = random_word(a, 16);
	struct str shown = arena_printf(a, "%.4s-%.4s-%.4s-%.4s", word.p, word.p + 4, word.p + 8, word.p + 12);

	mem_wipe((void *)(uintptr_t)word.p, word.n);
	return shown;
}

enum err admin_password_choice(struct admin_call *c, struct password_choice *out)
{
	struct str password = admin_text(c, "password"), hash = admin_text(c, "hash");
	bool generate = admin_is_on(c, "generate"), remove = admin_is_on(c, "remove");

	*out = (struct password_choice){ 0 };
	if ((password.p != NULL) + (hash.p != NULL) + generate + remove > 1)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_PASSWORD_ONE_WAY, STR(""));
	if (password.p != NULL && (password.n == 0 || password.n > PASSWORD_MAX))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_PASSWORD_BAD, STR(""));
	if (hash.p != NULL && (hash.n > PASSWORD_HASH_MAX || !password_hash_is_known(hash)))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_HASH_UNKNOWN, STR(""));
	if (remove) {
		out->op = SECRET_REMOVE;
		out->secret = STR("");
	} else if (hash.p != NULL) {
		out->op = SECRET_SET_HASH;
		out->secret = hash;
	} else if (generate) {
		out->op = SECRET_SET_PASSWORD;
		out->secret = out->generated = c->generated = make_password(&c->arena);
	} else if (password.p != NULL) {
		out->op = SECRET_SET_PASSWORD;
		out->secret = password;
	}
	return ERR_OK;
}
