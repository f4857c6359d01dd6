/* oauth add, list, check, remove: issuers whose tokens log in. The keys are read here, once; what is kept of them can only verify. */
#include "admin/admin_private.h"
#include "auth/bearer.h"
#include "auth/jwks.h"
#include "auth/jwt.h"
#include "base/clock.h"

static bool is_name(struct str s) { return s.n > 0 && s.n <= ISSUER_TEXT_MAX && !str_has_ctl(s); }

static enum err read_keys(struct admin_call *c, struct issuer *i)
{
	struct str text = admin_text(c, "keys");
	enum err e;

	if (text.p == NULL)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_KEYS_MISSING, i->name);
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
	enum err e;

	if (i.claim.p == NULL)
		i.claim = STR("email");
	if (!is_name(i.name))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_ISSUER_BAD, i.name);
	if (!is_name(i.audience) || !is_name(i.claim))
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_AUDIENCE_BAD, STR(""));
	if (i.domain.p != NULL)
		TRY(admin_domain(c, i.domain, &i.domain));
	TRY(read_keys(c, &i));
	e = issuer_set(c->directory, &i);
	if (e == ERR_LIMIT)
		return admin_refuse(c, e, TEXT_ADMIN_ISSUERS_FULL, STR(""));
	if (e != ERR_OK)
		return e;
	TRY(admin_publish(c));
	admin_put_number(admin_result(c), "keys", i.key_count);
	return admin_said(c, TEXT_ADMIN_ISSUER_ADDED, i.name, i.audience, i.claim);
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
	}
	return ERR_OK;
}

/* What a fault means, and what to do. */
static enum err explain(struct admin_call *c, enum bearer_fault fault, const struct issuer *i, struct str kid)
{
	static const enum text texts[BEARER_FAULT_COUNT] = {
		[BEARER_NO_TOKEN] = TEXT_ADMIN_TOKEN_NOT_SIGNED, [BEARER_UNKNOWN_KEY] = TEXT_ADMIN_TOKEN_UNKNOWN_KEY,
		[BEARER_SIGNATURE] = TEXT_ADMIN_TOKEN_SIGNATURE, [BEARER_MALFORMED] = TEXT_ADMIN_TOKEN_MALFORMED, [BEARER_ISSUER] = TEXT_ADMIN_TOKEN_ISSUER,
		[BEARER_AUDIENCE] = TEXT_ADMIN_TOKEN_AUDIENCE, [BEARER_KIND] = TEXT_ADMIN_TOKEN_KIND,
		[BEARER_NEVER_EXPIRES] = TEXT_ADMIN_TOKEN_NEVER_EXPIRES, [BEARER_EXPIRED] = TEXT_ADMIN_TOKEN_EXPIRED,
		[BEARER_NOT_YET] = TEXT_ADMIN_TOKEN_NOT_YET, [BEARER_NO_ADDRESS] = TEXT_ADMIN_TOKEN_NO_ADDRESS,
		[BEARER_UNVERIFIED] = TEXT_ADMIN_TOKEN_UNVERIFIED,
	};
	struct str about = fault == BEARER_AUDIENCE ? i->audience : fault == BEARER_NO_ADDRESS ? i->claim : kid;

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

enum err admin_oauth_check(struct admin_call *c)
{
	struct str token = str_trim(admin_text(c, "token")), address = STR("");
	struct bearer_request r = { 0 };
	const struct issuer *i = NULL;
	struct jwt_claims claims;
	struct issuer *list;
	enum bearer_fault fault;
	struct jwt parts;
	size_t n;

	if (token.n == 0)
		return admin_refuse(c, ERR_INVALID, TEXT_ADMIN_TOKEN_MISSING, STR(""));
	TRY(issuer_list(c->directory, &c->arena, &list, &n));
	if (jwt_read(token, &c->arena, &parts))
		r = (struct bearer_request){ .kid = parts.kid, .signed_part = parts.signed_part, .signature = parts.signature };
	fault = bearer_judge(list, n, &r, clock_wall_s(), &c->arena, &i, &address);
	if (i != NULL && jwt_claims(r.signed_part, str_cstr(&c->arena, i->claim), &c->arena, &claims)) {
		admin_put_text(admin_result(c), "issuer", claims.issuer);
		admin_put_text(admin_result(c), "address", claims.who);
		admin_put_number(admin_result(c), "expires", (uint64_t)claims.expires_s);
	}
	return fault == BEARER_FINE ? find_account(c, i, address) : explain(c, fault, i, r.kid);
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
