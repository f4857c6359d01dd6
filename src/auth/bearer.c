/* Tokens, judged (RFC 9068 §4, RFC 8725).
 *
 * The signature comes first: until a key of an issuer has proved right, nothing of what the token says is read here, so this process parses
 * only what somebody whom the administrator trusts has written. The key is looked for by its name (kid); a token without one, or a key
 * without one, is tried, but no more than a few: a stranger may ask for a verification, not for three hundred. Then the token must say that it is of the issuer whose key it was: two issuers may not speak for each other.
 *
 * Clocks differ: a minute is forgiven. A token that never expires is refused, whoever signed it: it could not be taken back. */
#include "auth/bearer.h"
#include "auth/jwt.h"
#include "crypto/public_key.h"

enum { LEEWAY_S = 60, TRIES_MAX = 8 };

const char *bearer_fault_name(enum bearer_fault f)
{
	static const char *const names[BEARER_FAULT_COUNT] = {
		[BEARER_FINE] = "none", [BEARER_NO_TOKEN] = "not-a-signed-token", [BEARER_UNKNOWN_KEY] = "unknown-key", [BEARER_SIGNATURE] = "signature",
		[BEARER_MALFORMED] = "malformed", [BEARER_ISSUER] = "issuer", [BEARER_AUDIENCE] = "audience", [BEARER_KIND] = "not-an-access-token",
		[BEARER_NEVER_EXPIRES] = "never-expires", [BEARER_EXPIRED] = "expired", [BEARER_NOT_YET] = "not-valid-yet",
		[BEARER_NO_ADDRESS] = "claim-missing", [BEARER_UNVERIFIED] = "address-not-verified",
	};

	return f < BEARER_FAULT_COUNT ? names[f] : "unknown";
}

/* The keys that the token names are tried first: those without a name, of other issuers, may be more than are tried. */
static bool is_tried(const struct issuer_key *k, struct str kid, bool by_name)
{
	bool is_named = kid.n > 0 && str_eq(k->kid, kid);

	return by_name ? is_named : !is_named && (k->kid.n == 0 || kid.n == 0);
}

static bool try_keys(const struct issuer *issuers, size_t n, const struct bearer_request *r, bool by_name, int *tries, const struct issuer **out)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < issuers[i].key_count; k++) {
			if (!is_tried(&issuers[i].keys[k], r->kid, by_name) || *tries == TRIES_MAX)
				continue;
			++*tries;
			if (public_key_verify(issuers[i].keys[k].public_der, r->signed_part, r->signature)) {
				*out = &issuers[i];
				return true;
			}
		}
	}
	return false;
}

static enum bearer_fault find_signer(const struct issuer *issuers, size_t n, const struct bearer_request *r, const struct issuer **out)
{
	int tries = 0;

	if (try_keys(issuers, n, r, true, &tries, out) || try_keys(issuers, n, r, false, &tries, out))
		return BEARER_FINE;
	return tries > 0 ? BEARER_SIGNATURE : BEARER_UNKNOWN_KEY;
}

/* The issuer called so that has the key, too: two realms of one server may share it. */
static const struct issuer *issuer_called(const struct issuer *issuers, size_t n, struct str name, const struct bearer_request *r)
{
	for (size_t i = 0; i < n; i++) {
		const struct issuer *found;
		if (str_eq(issuers[i].name, name) && find_signer(&issuers[i], 1, r, &found) == BEARER_FINE)
			return found;
	}
	return NULL;
}

static bool is_for(const struct jwt_claims *c, struct str audience)
{
	for (size_t i = 0; i < c->audience_count; i++)
		if (str_eq(c->audiences[i], audience))
			return true;
	return false;
}

enum bearer_fault bearer_judge(const struct issuer *issuers, size_t n, const struct bearer_request *r, int64_t now_s, struct arena *a,
                               const struct issuer **issuer, struct str *address)
{
	struct jwt_claims claims;
	enum bearer_fault f;

	if (r->signed_part.n == 0 || r->signature.n == 0)
		return BEARER_NO_TOKEN;
	f = find_signer(issuers, n, r, issuer);
	if (f != BEARER_FINE)
		return f;
	if (!jwt_claims(r->signed_part, str_cstr(a, (*issuer)->claim), a, &claims))
		return BEARER_MALFORMED;
	if (!str_eq(claims.issuer, (*issuer)->name)) {
		*issuer = issuer_called(issuers, n, claims.issuer, r);
		if (*issuer == NULL)
			return BEARER_ISSUER;
		if (!jwt_claims(r->signed_part, str_cstr(a, (*issuer)->claim), a, &claims))
			return BEARER_MALFORMED;
	}
	if (!is_for(&claims, (*issuer)->audience))
		return BEARER_AUDIENCE;
	if (!claims.is_for_access)
		return BEARER_KIND;
	if (claims.expires_s == 0)
		return BEARER_NEVER_EXPIRES;
	if (now_s >= claims.expires_s + LEEWAY_S)
		return BEARER_EXPIRED;
	if (now_s + LEEWAY_S < claims.not_before_s)
		return BEARER_NOT_YET;
	if (claims.is_unverified)
		return BEARER_UNVERIFIED;
	if (claims.who.n == 0 || claims.who.n > LOGIN_NAME_MAX || str_has_ctl(claims.who))
		return BEARER_NO_ADDRESS;
	*address = claims.who;
	return BEARER_FINE;
}
