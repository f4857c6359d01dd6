/* Any bytes as a token; as what a token says, behind a signature that is taken to be right; as the keys of an issuer; as its document about itself, and
 * as its name. */
#include "auth/discovery.h"
#include "auth/jwks.h"
#include "auth/jwt.h"
#include "base/bytes.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	struct str in = str_make(data, n);
	struct issuer_key keys[ISSUER_KEYS_MAX];
	struct jwt_claims claims;
	size_t count;
	struct jwt token;

	if (n > 2 * TOKEN_MAX)
		return 0;
	if (jwt_read(in, &a, &token))
		assert(token.signed_part.n < in.n && token.signature.n > 0 && token.signature.n <= TOKEN_SIGNATURE_MAX && token.kid.n <= TOKEN_KID_MAX &&
		       token.issuer.n <= TOKEN_ISSUER_MAX);
	if (jwt_claims(in, "email", &a, &claims))
		assert(claims.audience_count <= JWT_AUDIENCES_MAX && claims.expires_s >= 0 && claims.not_before_s >= 0 && utf8_valid(claims.who));
	if (jwks_read(in, &a, keys, &count) == ERR_OK)
		assert(count > 0 && count <= ISSUER_KEYS_MAX && keys[0].public_der.n <= ISSUER_KEY_MAX);
	struct str url, said;
	struct http_url places[DISCOVERY_PLACES], parts;
	if (discovery_read(in, STR("https://id.test/mail"), &a, &url, &said) == ERR_OK)
		assert(http_url_read(url, &a, &parts));
	if (discovery_places(in, &a, places))
		assert(str_eq(places[0].host, places[1].host) && places[1].path.p[0] == '/' && !str_has_ctl(places[0].path));
	return 0;
}
