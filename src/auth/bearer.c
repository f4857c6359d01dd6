/* Tokens, judged (RFC 9068 §4, RFC 8725).
 *
 * The signature comes first: until a key of an issuer has proved right, nothing of what the token says is read here, so this process parses
 * only what somebody whom the administrator trusts has written. Whose it says it is (the gate has looked) chooses the issuer: its keys are tried and
 * no others, so two issuers cannot speak for each other, and a stranger may ask for a few verifications, not for three hundred. Among them the key
 * is looked for by its name (kid); a token without one is tried by all, as is every token by a key without one.
 *
 * Clocks differ: a minute is forgiven. A token that never expires is refused, whoever signed it: it could not be taken back. */
#include "auth/bearer.h"
#include "auth/jwt.h"
#include "crypto/public_key.h"

const char *bearer_fault_name(enum bearer_fault f)
{
	static const char *const names[BEARER_FAULT_COUNT] = {
		[BEARER_FINE] = "none", [BEARER_NO_TOKEN] = "not-a-signed-token",
		[BEARER_UNKNOWN_ISSUER] = "unknown-issuer", [BEARER_UNKNOWN_KEY] = "unknown-key", [BEARER_SIGNATURE] = "signature",
		[BEARER_MALFORMED] = "malformed", [BEARER_ISSUER] = "issuer", [BEARER_AUDIENCE] = "audience", [BEARER_KIND] = "not-an-access-token",
		[BEARER_NEVER_EXPIRES] = "never-expires", [BEARER_EXPIRED] = "expired", [BEARER_NOT_YET] = "not-valid-yet",
		[BEARER_NO_ADDRESS] = "claim-missing", [BEARER_UNVERIFIED] = "address-not-verified",
	};

	return f < BEARER_FAULT_COUNT ? names[f] : "unknown";
}

static const struct issuer *issuer_called(const struct issuer *issuers, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(issuers[i].name, name))
			return &issuers[i];
	return NULL;
}

static bool may_have_signed(const struct issuer_key *k, struct str kid) { return kid.n == 0 || k->kid.n == 0 || str_eq(k->kid, kid); }

static enum bearer_fault find_signer(const struct issuer *i, const struct bearer_request *r, const struct issuer_key **out)
{
	enum bearer_fault f = BEARER_UNKNOWN_KEY;

	for (size_t k = 0; k < i->key_count; k++) {
		if (!may_have_signed(&i->keys[k], r->kid))
			continue;
		if (public_key_verify(i->keys[k].public_der, r->signed_part, r->signature)) {
			*out = &i->keys[k];
			return BEARER_FINE;
		}
		f = BEARER_SIGNATURE;
	}
	return f;
}

static bool is_for(const struct jwt_claims *c, struct str audience)
{
	for (size_t i = 0; i < c->audience_count; i++)
		if (str_eq(c->audiences[i], audience))
			return true;
	return false;
}

enum bearer_fault bearer_judge(const struct issuer *issuers, size_t n, const struct bearer_request *r, int64_t now_s, struct arena *a,
                               struct bearer_token *out)
{
	const struct issuer *i = issuer_called(issuers, n, r->issuer);
	struct jwt_claims claims;
	enum bearer_fault f;

	*out = (struct bearer_token){ .issuer = i };
	if (r->signed_part.n == 0 || r->signature.n == 0)
		return BEARER_NO_TOKEN;
	if (i == NULL)
		return BEARER_UNKNOWN_ISSUER;
	f = find_signer(i, r, &out->key);
	if (f != BEARER_FINE)
		return f;
	if (!jwt_claims(r->signed_part, str_cstr(a, i->claim), a, &claims))
		return BEARER_MALFORMED;
	if (!str_eq(claims.issuer, i->name))  /* the gate has said something else */
		return BEARER_ISSUER;
	if (!is_for(&claims, i->audience))
		return BEARER_AUDIENCE;
	if (!claims.is_for_access)
		return BEARER_KIND;
	if (claims.expires_s == 0)
		return BEARER_NEVER_EXPIRES;
	if (now_s >= claims.expires_s + BEARER_LEEWAY_S)
		return BEARER_EXPIRED;
	if (now_s + BEARER_LEEWAY_S < claims.not_before_s)
		return BEARER_NOT_YET;
	if (claims.is_unverified)
		return BEARER_UNVERIFIED;
	if (claims.who.n == 0 || claims.who.n > LOGIN_NAME_MAX || str_has_ctl(claims.who))
		return BEARER_NO_ADDRESS;
	out->address = claims.who;
	out->expires_s = claims.expires_s;
	return BEARER_FINE;
}
