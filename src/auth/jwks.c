/* A set of keys, read once, when the administrator gives it. Servers publish more in it than we need (keys to encrypt for them, certificates):
 * what is not a key we can verify with is passed over, because a new kind of key in the set must not take away the old ones. */
#include "auth/jwks.h"
#include "base/bytes.h"
#include "crypto/public_key.h"
#include <jansson.h>

static void json_release(json_t **value) { json_decref(*value); }

static struct str text_of(const json_t *from, const char *name)
{
	const json_t *value = json_object_get(from, name);

	return json_is_string(value) ? str_make(json_string_value(value), json_string_length(value)) : STR("");
}

static bool is(const json_t *from, const char *name, const char *value) { return str_eq(text_of(from, name), str_of(value)); }

/* A member in base64url, decoded into the arena; empty: it is not there, or malformed. */
static struct str number_of(const json_t *from, const char *name, struct arena *a)
{
	CLEANUP(buf_free) struct buf b = BUF(JWKS_TEXT_MAX);

	return base64url_get(&b, text_of(from, name)) ? str_copy(a, buf_str(&b)) : STR("");
}

/* kty, crv and alg                                                            RFC 7518 §6, RFC 8037 §2 */
static enum err read_key(const json_t *jwk, struct arena *a, struct str *der)
{
	struct str alg = text_of(jwk, "alg");

	if (json_object_get(jwk, "use") != NULL && !is(jwk, "use", "sig"))
		return ERR_NOTFOUND;
	if (is(jwk, "kty", "RSA") && (alg.n == 0 || str_eq(alg, STR("RS256"))))
		return public_key_rsa(number_of(jwk, "n", a), number_of(jwk, "e", a), a, der);
	if (is(jwk, "kty", "EC") && is(jwk, "crv", "P-256") && (alg.n == 0 || str_eq(alg, STR("ES256"))))
		return public_key_p256(number_of(jwk, "x", a), number_of(jwk, "y", a), a, der);
	if (is(jwk, "kty", "OKP") && is(jwk, "crv", "Ed25519"))
		return public_key_ed25519(number_of(jwk, "x", a), a, der);
	return ERR_NOTFOUND;
}

enum err jwks_read(struct str text, struct arena *a, struct issuer_key *keys, size_t *n)
{
	CLEANUP(json_release) json_t *set = text.n > 0 && text.n <= JWKS_TEXT_MAX ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const json_t *list = json_object_get(set, "keys"), *jwk;
	size_t i;

	*n = 0;
	if (!json_is_array(list))
		return ERR_INVALID;
	json_array_foreach(list, i, jwk) {
		struct str kid = text_of(jwk, "kid"), der;
		if (!json_is_object(jwk) || kid.n > ISSUER_KID_MAX)
			return ERR_INVALID;
		if (json_object_get(jwk, "d") != NULL || is(jwk, "kty", "oct"))
			return ERR_DENIED;
		if (read_key(jwk, a, &der) != ERR_OK)
			continue;
		if (*n == ISSUER_KEYS_MAX)
			return ERR_LIMIT;
		keys[(*n)++] = (struct issuer_key){ str_copy(a, kid), der };
	}
	return *n > 0 ? ERR_OK : ERR_NOTFOUND;
}
