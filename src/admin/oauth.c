/* oauth add, list, check, remove: issuers whose tokens log in. Their keys are fetched (oauth_keys.c) or given; what is kept of them can only verify. */
#include "admin/oauth.h"
#include "auth/bearer.h"
#include "auth/jwks.h"
#include "auth/jwt.h"
#include "base/clock.h"

static bool is_name(struct str s) { return s.n > 0 && s.n <= ISSUER_TEXT_MAX && !str_has_ctl(s); }

static enum err fetch_keys(struct admin_call *c, struct issuer *i)
{
	enum err e;

	if (!c->host->is_running)
		return admin_refuse(c, ERR_UNAVAILABLE, TEXT_ADMIN_KEYS_MISSING, i->name);
	e = oauth_fetch(c, i);
	return e == ERR_NOTFOUND ? admin_refuse(c, e, TEXT_ISSUER_NOT_FETCHED, oauth_trouble(c, i)) : e;
}

static enum err read_keys(struct admin_call *c, struct issuer *i, struct str text)
{
	enum err e;

	i->keys = arena_array(&c->arena, ISSUER_KEYS_MAX, sizeof *i->keys);
	e = jwks_read(text, &c->arena, i->keys, &i->key_count);
	if (e == ERR_OK)
		return e;
	return admin_refuse(c, ERR_INVALID, e == ERR_NOTFOUND ? TEXT_ADMIN_KEYS_NONE : e == ERR_DENIED ? TEXT_ADMIN_KEYS_SECRET :
	                    e == ERR_LIMIT ? TEXT_ADMIN_KEYS_MANY : TEXT_ADMIN_KEYS_BAD, i->name);
}

enum err admin_oauth_add(struct admin_call *c)
{
	struct issuer i = { .name = admin_text(c, "issuer"), .audience = admin_text(c, "audience"), .claim = admin_text(c, "claim"),
	                    .domain = admin_text(c, "only"), .changed_s = clock_wall_s() };
	struct str keys = admin_text(c, "keys");
	enum err e;

	if (i.claim.p == NULL)
		i.claim = STR("email");
	if (!is_name(i.name))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ISSUER_BAD, i.name);
	if (!is_name(i.audience) || !is_name(i.claim))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_AUDIENCE_BAD, STR(""));
	if (i.domain.p != NULL)
		TRY(admin_domain(c, i.domain, &i.domain));
	if (keys.p != NULL)
		TRY(read_keys(c, &i, keys));
	else
		TRY(fetch_keys(c, &i));
	e = issuer_set(c->directory, &i);
	if (e == ERR_LIMIT)
		return admin_refuse(c, e, TEXT_ADMIN_ISSUERS_FULL, STR(""));
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	admin_put_number(admin_result(c), "keys", i.key_count);
	return admin_said(c, i.source.is_fetched ? TEXT_ISSUER_ADDED_FETCHED : TEXT_ADMIN_ISSUER_ADDED, i.name, i.audience, i.claim);
}

enum err admin_oauth_list(struct admin_call *c)
{
	struct issuer *list;
	size_t n;

	TRY(issuer_list(c->directory, &c->arena, &list, &n));
	for (size_t i = 0; i < n; i++) {
		json_t *row = admin_row(c);
		admin_put_text(row, "issuer", list[i].name);
		admin_put_text(row, "audience", list[i].audience);
		admin_put_text(row, "claim", list[i].claim);
		admin_put_text(row, "only", list[i].domain);
		admin_put_number(row, "keys", list[i].key_count);
		admin_put_number(row, "since", (uint64_t)list[i].changed_s);
		admin_put_text(row, "keys_from", list[i].source.url);
		if (list[i].source.is_fetched)
			admin_put_number(row, "fetched", (uint64_t)list[i].source.fetched_s);
		admin_put_text(row, "trouble", oauth_trouble(c, &list[i]));
	}
	return ERR_OK;
}

/* What a fault means, and what to do. */
static enum err explain(struct admin_call *c, enum bearer_fault fault, const struct bearer_token *t, const struct bearer_request *r)
{
	static const enum text texts[BEARER_FAULT_COUNT] = {
		[BEARER_NO_TOKEN] = TEXT_ADMIN_TOKEN_NOT_SIGNED, [BEARER_UNKNOWN_ISSUER] = TEXT_TOKEN_UNKNOWN_ISSUER, [BEARER_UNKNOWN_KEY] = TEXT_ADMIN_TOKEN_UNKNOWN_KEY,
		[BEARER_SIGNATURE] = TEXT_ADMIN_TOKEN_SIGNATURE, [BEARER_MALFORMED] = TEXT_ADMIN_TOKEN_MALFORMED, [BEARER_ISSUER] = TEXT_TOKEN_UNKNOWN_ISSUER,
		[BEARER_AUDIENCE] = TEXT_ADMIN_TOKEN_AUDIENCE, [BEARER_KIND] = TEXT_ADMIN_TOKEN_KIND,
		[BEARER_NEVER_EXPIRES] = TEXT_ADMIN_TOKEN_NEVER_EXPIRES, [BEARER_EXPIRED] = TEXT_ADMIN_TOKEN_EXPIRED,
		[BEARER_NOT_YET] = TEXT_ADMIN_TOKEN_NOT_YET, [BEARER_NO_ADDRESS] = TEXT_ADMIN_TOKEN_NO_ADDRESS,
		[BEARER_UNVERIFIED] = TEXT_ADMIN_TOKEN_UNVERIFIED,
	};
	bool is_fetched = t->issuer != NULL && t->issuer->source.is_fetched;
	struct str about = fault == BEARER_AUDIENCE ? t->issuer->audience : fault == BEARER_NO_ADDRESS ? t->issuer->claim :
	                   fault == BEARER_UNKNOWN_ISSUER || fault == BEARER_ISSUER ? r->issuer : r->kid;

	if (is_fetched && (fault == BEARER_UNKNOWN_KEY || fault == BEARER_SIGNATURE))
		return admin_refuse(c, ERR_DENIED, fault == BEARER_UNKNOWN_KEY ? TEXT_TOKEN_NOT_AMONG_FETCHED : TEXT_TOKEN_SIGNATURE_FETCHED, about, oauth_trouble(c, t->issuer));
	return admin_refuse(c, ERR_DENIED, texts[fault], about);
}

/* The part before the "@" is enough where there is one domain (lookup_login()). */
static enum err whole_address(struct admin_call *c, struct str *address)
{
	struct directory_domain *domains;
	size_t n;

	TRY(domain_list(c->directory, &c->arena, &domains, &n));
	if (str_chr(*address, '@') < 0 && n == 1)
		*address = arena_printf(&c->arena, STR_FMT "@" STR_FMT, STR_ARG(*address), STR_ARG(domains[0].name));
	return ERR_OK;
}

/* The account of the address in a token, as keys would find it. */
static enum err find_account(struct admin_call *c, const struct issuer *i, struct str address)
{
	struct directory_address x;
	struct directory_account account;

	TRY(whole_address(c, &address));
	if (!directory_address_parse(address, &c->arena, &x) || account_find(c->directory, &x, &c->arena, &account) != ERR_OK || account.deleted_s != 0)
		return admin_refuse(c, ERR_NOTFOUND, TEXT_ADMIN_TOKEN_NOBODY, address);
	if (i->domain.n > 0 && (!directory_address_parse(account.address, &c->arena, &x) || !str_eq(x.domain, i->domain)))
		return admin_refuse(c, ERR_DENIED, TEXT_ADMIN_TOKEN_DOMAIN, address, i->domain);
	if (account.is_suspended)
		return admin_refuse(c, ERR_DENIED, TEXT_ADMIN_ACCOUNT_SUSPENDED, account.address);
	return admin_said(c, TEXT_ADMIN_TOKEN_FINE, account.address);
}

/* A key that is not known may be new: then the issuer is asked before the token is judged again. */
static enum err judge(struct admin_call *c, const struct bearer_request *r, struct bearer_token *out, enum bearer_fault *fault)
{
	bool changed = false;
	struct issuer *list;
	struct issuer now;
	enum err e;
	size_t n;

	TRY(issuer_list(c->directory, &c->arena, &list, &n));
	*fault = bearer_judge(list, n, r, clock_wall_s(), &c->arena, out);
	if ((*fault != BEARER_UNKNOWN_KEY && *fault != BEARER_SIGNATURE) || !out->issuer->source.is_fetched || !c->host->is_running)
		return ERR_OK;
	e = oauth_refresh(c, out->issuer->name, &now, &changed);
	if (e == ERR_NOTFOUND)  /* removed meanwhile */
		return ERR_OK;
	if (e != ERR_OK)
		return e;
	if (changed)
		TRY(admin_publish(c));
	list[out->issuer - list] = now;
	*fault = bearer_judge(list, n, r, clock_wall_s(), &c->arena, out);
	return ERR_OK;
}

enum err admin_oauth_check(struct admin_call *c)
{
	struct str token = str_trim(admin_text(c, "token"));
	struct bearer_request r = { 0 };
	struct bearer_token t;
	struct jwt_claims claims;
	enum bearer_fault fault;
	struct jwt parts;

	if (token.n == 0)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_TOKEN_MISSING, STR(""));
	if (jwt_read(token, &c->arena, &parts))
		r = (struct bearer_request){ .issuer = parts.issuer, .kid = parts.kid, .signed_part = parts.signed_part, .signature = parts.signature };
	TRY(judge(c, &r, &t, &fault));
	if (bearer_is_signed(fault) && jwt_claims(r.signed_part, str_cstr(&c->arena, t.issuer->claim), &c->arena, &claims)) {
		admin_put_text(admin_result(c), "issuer", claims.issuer);
		admin_put_text(admin_result(c), "address", claims.who);
		admin_put_number(admin_result(c), "expires", (uint64_t)claims.expires_s);
	}
	return fault == BEARER_FINE ? find_account(c, t.issuer, t.address) : explain(c, fault, &t, &r);
}

enum err admin_oauth_remove(struct admin_call *c)
{
	struct str name = admin_text(c, "issuer");
	enum err e = issuer_remove(c->directory, name);

	if (e == ERR_NOTFOUND)
		return admin_refuse(c, e, TEXT_ADMIN_NO_SUCH_ISSUER, name);
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	return admin_said(c, TEXT_ADMIN_ISSUER_REMOVED, name);
}
