/* config list, get, set, unset, explain. Settings live for the server, a domain or an account; the nearest value
 * counts. */
#include "admin/admin_private.h"
#include "dns/mta_sts.h"
#include "dns/name.h"

/* Where a setting is asked for or made. */
struct place {
	enum setting_scope       scope;
	struct str               of;        /* as setting_store() wants it */
	struct str               domain;    /* DOMAIN, ACCOUNT */
	struct directory_account account;   /* ACCOUNT */
};

static enum err explained(struct admin_call *c, const struct conf_problem *p)
{
	c->sentence = conf_explain(&c->arena, p, c->lang == LANG_FR);
	return ERR_INVALID;
}

static enum err find_place(struct admin_call *c, struct place *out)
{
	struct str domain = admin_text(c, "domain"), account = admin_text(c, "account");

	*out = (struct place){ .scope = SCOPE_SERVER, .of = STR("") };
	if (domain.p != NULL && account.p != NULL)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ONE_PLACE, STR(""));
	if (domain.p != NULL) {
		out->scope = SCOPE_DOMAIN;
		TRY(admin_domain(c, domain, &out->domain));
		out->of = out->domain;
	}
	if (account.p != NULL) {
		out->scope = SCOPE_ACCOUNT;
		TRY(admin_living_account(c, account, &out->account));
		out->domain = str_from(out->account.address, (size_t)(str_rchr(out->account.address, '@') + 1));
		out->of = admin_number_text(c, out->account.account);
	}
	return ERR_OK;
}

static enum err find_setting(struct admin_call *c, enum setting *out)
{
	const struct conf_problem unknown = conf_unknown(admin_text(c, "setting"));

	return setting_find(admin_text(c, "setting"), out) ? ERR_OK : explained(c, &unknown);
}

/* The value as it holds at a place, and who made it so. */
struct found { struct str value, from; bool is_set; };

static enum err look_at(struct admin_call *c, enum setting_scope scope, struct str of, enum setting s,
						struct found *out, struct str from)
{
	struct conf *conf = conf_new();
	enum err e = setting_load(c->directory, scope, of, conf);

	if (e == ERR_OK && conf_is_set(conf, s))
		*out = (struct found){ conf_show(&c->arena, conf, s), from, true };
	conf_free(conf);
	return e;
}

static enum err value_at(struct admin_call *c, const struct place *p, enum setting s, struct found *out)
{
	struct conf *fallback = conf_new();
	enum setting_scope scope = setting_row(s)->scope;

	*out = (struct found){ conf_show(&c->arena, fallback, s), STR("default"), false };
	conf_free(fallback);
	if (scope == SCOPE_FILE) {
		if (c->host->file != NULL && conf_is_set(c->host->file, s))
			*out = (struct found){ conf_show(&c->arena, c->host->file, s), STR("facteur.conf"), true };
		return ERR_OK;
	}
	TRY(look_at(c, SCOPE_SERVER, STR(""), s, out, STR("server")));
	if (scope >= SCOPE_DOMAIN && p->scope >= SCOPE_DOMAIN)
		TRY(look_at(c, SCOPE_DOMAIN, p->domain, s, out, p->domain));
	if (scope >= SCOPE_ACCOUNT && p->scope >= SCOPE_ACCOUNT)
		TRY(look_at(c, SCOPE_ACCOUNT, p->of, s, out, p->account.address));
	return ERR_OK;
}

static void put_found(json_t *to, enum setting s, const struct found *f)
{
	admin_put_text(to, "setting", str_of(setting_row(s)->name));
	admin_put_text(to, "value", f->value);
	admin_put_text(to, "from", f->from);
}

enum err admin_config_list(struct admin_call *c)
{
	struct place place;
	struct found f;

	TRY(find_place(c, &place));
	for (int s = 0; s < SETTING_COUNT; s++) {
		TRY(value_at(c, &place, (enum setting)s, &f));
		if (f.is_set || admin_is_on(c, "all"))
			put_found(admin_row(c), (enum setting)s, &f);
	}
	return ERR_OK;
}

enum err admin_config_get(struct admin_call *c)
{
	struct place place;
	struct found f;
	enum setting s;

	TRY(find_setting(c, &s));
	TRY(find_place(c, &place));
	TRY(value_at(c, &place, s, &f));
	put_found(admin_result(c), s, &f);
	return ERR_OK;
}

/* Is an account full under the quota that holds now? mx answers for sleeping accounts from what stands here. */
static enum err judge_fullness(struct admin_call *c, const struct place *place)
{
	struct directory_account *list;
	size_t n;
	bool changed;

	TRY(account_list(c->directory, place->scope >= SCOPE_DOMAIN ? place->domain : STR(""), &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		uint64_t quota, messages;
		if (place->scope == SCOPE_ACCOUNT && list[i].account != place->account.account)
			continue;
		TRY(admin_quota(c, &list[i], &quota, &messages));
		bool is_full = (quota && list[i].used_bytes >= quota) || (messages && list[i].messages >= messages);
		if (is_full != list[i].is_full)
			TRY(account_usage(c->directory, list[i].account, list[i].used_bytes, list[i].messages, is_full, &changed));
	}
	return ERR_OK;
}

/* The directory has it: everybody else hears of it. */
static enum err changed(struct admin_call *c, enum setting s, const struct place *place)
{
	struct share_gains gained = { 0 };

	if (s == SETTING_quota || s == SETTING_quota_messages)
		TRY(judge_fullness(c, place));
	c->host->limits_changed(c->host->context, place->account.account);  /* cells read theirs again */
	if (s == SETTING_anyone_is_server)
		admin_gained(c, share_gains_of_all(c->directory, &gained), &gained);
	return admin_publish(c);
}

/* May this setting be made at this place? */
static enum err check_place(struct admin_call *c, enum setting s, const struct place *place)
{
	const struct conf_problem wrong = { .kind = CONF_WRONG_PLACE, .setting = s };

	return setting_row(s)->scope == SCOPE_FILE || setting_row(s)->scope < place->scope ? explained(c, &wrong) : ERR_OK;
}

/* Names of hosts, or "*." and one. */
static enum err check_hosts(struct admin_call *c, struct str rest)
{
	struct str one, host;

	for (rest = str_trim(rest); rest.n; rest = str_trim(rest)) {
		str_cut(rest, ' ', &one, &rest);
		host = str_starts(one, STR("*.")) ? str_from(one, 2) : one;
		if (!domain_is_host(host))
			return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_DOMAIN, one);
	}
	return ERR_OK;
}

/* An address of the right family, as it is compared; that this machine has it is seen when it is used. */
static enum err check_source(struct admin_call *c, enum setting s, struct str value)
{
	struct str ip;

	if (value.n == 0 || (printer_ip(value, &c->arena, &ip) && (str_chr(ip, ':') >= 0) == (s == SETTING_source_ipv6)))
		return ERR_OK;
	return admin_refuse(c, ERR_INVALID, s == SETTING_source_ipv6 ? TEXT_ADMIN_NOT_AN_IPV6 : TEXT_ADMIN_NOT_AN_IPV4, value);
}

/* local_users: "33=www@example.org 1000=alice@example.org" */
static enum err check_local_users(struct admin_call *c, struct str rest)
{
	struct str word, number, address;
	struct directory_account x;
	uint64_t uid;

	for (rest = str_trim(rest); rest.n; rest = str_trim(rest)) {
		str_cut(rest, ' ', &word, &rest);
		if (!str_cut(word, '=', &number, &address) || !str_to_u64(number, &uid) || uid > UINT32_MAX)
			return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_LOCAL_USER, word);
		TRY(admin_living_account(c, address, &x));
	}
	return ERR_OK;
}

/* A setting that names an account or an address has to name one that exists. */
static enum err check_meaning(struct admin_call *c, enum setting s, struct str value)
{
	struct directory_address x;
	enum mta_sts_mode mode;

	if (s == SETTING_administrator && str_trim(value).n)
		return admin_target(c, str_trim(value), &x);
	if (s == SETTING_hostname && str_trim(value).n && !directory_domain_parse(str_trim(value), &c->arena, &x.domain))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_DOMAIN, value);
	if (s == SETTING_mta_sts && !mta_sts_mode_parse(str_trim(value), &mode))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_NOT_A_STS_MODE, value);
	if (s == SETTING_local_users)
		return check_local_users(c, value);
	if (s == SETTING_source_ipv4 || s == SETTING_source_ipv6)
		return check_source(c, s, str_trim(value));
	return s == SETTING_mta_sts_hosts ? check_hosts(c, value) : ERR_OK;
}

enum err admin_config_set(struct admin_call *c)
{
	struct str value = admin_text(c, "value"), shown;
	struct conf_problem problem;
	struct place place;
	enum setting s;
	struct conf *scratch;
	bool fine;

	TRY(find_setting(c, &s));
	TRY(find_place(c, &place));
	TRY(check_place(c, s, &place));
	scratch = conf_new();
	fine = conf_set(scratch, s, value, &problem);
	shown = conf_show(&c->arena, scratch, s);
	conf_free(scratch);
	if (!fine)
		return explained(c, &problem);
	TRY(check_meaning(c, s, value));
	TRY(setting_store(c->directory, place.scope, place.of, s, str_trim(value)));
	TRY(changed(c, s, &place));
	return admin_said(c, TEXT_ADMIN_SETTING_SET, str_of(setting_row(s)->name), shown);
}

enum err admin_config_unset(struct admin_call *c)
{
	struct place place;
	struct found f;
	enum setting s;

	TRY(find_setting(c, &s));
	TRY(find_place(c, &place));
	TRY(check_place(c, s, &place));
	TRY(setting_forget(c->directory, place.scope, place.of, s));
	TRY(changed(c, s, &place));
	TRY(value_at(c, &place, s, &f));
	return admin_said(c, TEXT_ADMIN_SETTING_UNSET, str_of(setting_row(s)->name), f.value);
}

enum err admin_config_explain(struct admin_call *c)
{
	static const char *const places[] = {
		[SCOPE_FILE] = "facteur.conf",
		[SCOPE_SERVER] = "server",
		[SCOPE_DOMAIN] = "server, domain",
		[SCOPE_ACCOUNT] = "server, domain, account",
	};
	const struct place server = { .scope = SCOPE_SERVER, .of = STR("") };
	const struct setting_row *row;
	struct conf *fallback;
	struct found f;
	enum setting s;
	json_t *result;

	TRY(find_setting(c, &s));
	TRY(value_at(c, &server, s, &f));
	row = setting_row(s);
	result = admin_result(c);
	put_found(result, s, &f);
	fallback = conf_new();
	admin_put_text(result, "default", conf_show(&c->arena, fallback, s));
	conf_free(fallback);
	admin_put_text(result, "meaning", str_of(c->lang == LANG_FR ? row->meaning_fr : row->meaning_en));
	admin_put_text(result, "range", conf_show_range(&c->arena, row));
	admin_put_text(result, "places", str_of(places[row->scope]));
	return ERR_OK;
}
