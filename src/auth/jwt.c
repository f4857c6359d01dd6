/* Tokens. JSON is read by jansson, which refuses what is not UTF-8 and, asked to, a name that stands twice (RFC 7519 §4: the reader who takes
 * the first and the reader who takes the last would see two tokens). Its depth and size are bounded by those of a token.
 *
 * The header's "alg" decides nothing: a key verifies in its own one way (crypto/public_key.h), so a token cannot choose HMAC with a public
 * key as its secret, nor "none" (RFC 8725 §3.1). It is looked at so that what we cannot verify is refused where it arrives. */
#include "auth/jwt.h"
#include "base/buf.h"
#include "base/bytes.h"
#include <jansson.h>

enum { HEADER_MAX = 1024 };

void jwt_setup(void) { json_object_seed((size_t)random_u64() | 1); }

static void json_release(json_t **value) { json_decref(*value); }

/* A part of a token as a JSON object; NULL: it is none. */
static json_t *part(struct str base64, size_t max)
{
	CLEANUP(buf_free) struct buf text = BUF(max);
	json_t *value;

	if (!base64url_get(&text, base64) || text.n == 0)
		return NULL;
	value = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	if (value != NULL && !json_is_object(value)) {
		json_decref(value);
		return NULL;
	}
	return value;
}

/* A member that is a string, copied; STR_NONE: there is none, or it is something else. */
static struct str text_of(const json_t *from, const char *name, struct arena *a)
{
	const json_t *value = json_object_get(from, name);

	return json_is_string(value) ? str_copy(a, str_make(json_string_value(value), json_string_length(value))) : STR_NONE;
}

static bool read_header(struct str base64, struct arena *a, struct str *kid)
{
	CLEANUP(json_release) json_t *header = part(base64, HEADER_MAX);
	struct str alg;

	if (header == NULL || json_object_get(header, "crit") != NULL)
		return false;
	alg = text_of(header, "alg", a);
	*kid = text_of(header, "kid", a);
	return kid->n <= TOKEN_KID_MAX && (str_eq(alg, STR("RS256")) || str_eq(alg, STR("ES256")) || str_eq(alg, STR("EdDSA")));
}

/* The claim "iss" of a token that nobody has verified yet. */
static struct str claimed_issuer(struct str payload, struct arena *a)
{
	CLEANUP(json_release) json_t *claims = part(payload, TOKEN_MAX);
	struct str issuer = text_of(claims, "iss", a);

	return issuer.n <= TOKEN_ISSUER_MAX ? issuer : STR_NONE;
}

/* header "." payload "." signature, each in base64url                                            RFC 7515 §7.1 */
bool jwt_read(struct str token, struct arena *a, struct jwt *out)
{
	CLEANUP(buf_free) struct buf signature = BUF(TOKEN_SIGNATURE_MAX);
	struct str header, payload, rest;

	*out = (struct jwt){ 0 };
	if (token.n > TOKEN_MAX || !str_cut(token, '.', &header, &rest) || !str_cut(rest, '.', &payload, &rest))
		return false;
	if (!base64url_get(&signature, rest) || signature.n == 0 || !read_header(header, a, &out->kid))
		return false;
	out->signed_part = str_sub(token, 0, header.n + 1 + payload.n);
	out->signature = str_copy(a, buf_str(&signature));
	out->issuer = claimed_issuer(payload, a);
	return true;
}

/* NumericDate: seconds since 1970, perhaps with a fraction. 0: not there. False: not a time.          RFC 7519 §2 */
static bool time_of(const json_t *from, const char *name, int64_t *out)
{
	const json_t *value = json_object_get(from, name);
	double seconds = json_number_value(value);

	*out = 0;
	if (value == NULL)
		return true;
	if (!json_is_number(value) || !(seconds >= 1 && seconds < 1e12))
		return false;
	*out = (int64_t)seconds;
	return true;
}

static bool add_audience(const json_t *value, struct arena *a, struct jwt_claims *out)
{
	if (!json_is_string(value) || out->audience_count == JWT_AUDIENCES_MAX)
		return false;
	out->audiences[out->audience_count++] = str_copy(a, str_make(json_string_value(value), json_string_length(value)));
	return true;
}

/* aud: a string, or an array of them                                                             RFC 7519 §4.1.3 */
static bool read_audiences(const json_t *claims, struct arena *a, struct jwt_claims *out)
{
	const json_t *aud = json_object_get(claims, "aud"), *one;
	size_t i;

	if (!json_is_array(aud))
		return aud == NULL || add_audience(aud, a, out);
	json_array_foreach(aud, i, one)
		if (!add_audience(one, a, out))
			return false;
	return true;
}

/* What the header says the token is: JWT or at+jwt (RFC 9068 §2.1), or nothing. Issuers sign other things with the same keys (logout+jwt,
 * dpop+jwt), which nobody keeps as secret as an access token.                                       RFC 8725 §3.11, RFC 7515 §4.1.9 */
static bool header_says_access(struct str base64, struct arena *a)
{
	static const char *const kinds[] = { "JWT", "at+jwt", "application/at+jwt", "application/jwt" };
	CLEANUP(json_release) json_t *header = part(base64, HEADER_MAX);
	struct str kind = text_of(header, "typ", a);

	for (size_t i = 0; i < COUNT_OF(kinds); i++)
		if (str_ieq(kind, str_of(kinds[i])))
			return true;
	return header != NULL && json_object_get(header, "typ") == NULL;
}

/* true, or as some issuers write it "true"; whatever else stands there does not vouch for the address. */
static bool is_unverified(const json_t *value)
{
	return value != NULL && !json_is_true(value) && !(json_is_string(value) && strcmp(json_string_value(value), "true") == 0);
}

bool jwt_claims(struct str signed_part, const char *claim, struct arena *a, struct jwt_claims *out)
{
	CLEANUP(json_release) json_t *claims = NULL;
	struct str header, payload, kind;

	*out = (struct jwt_claims){ 0 };
	str_cut(signed_part, '.', &header, &payload);
	claims = part(payload, TOKEN_MAX);
	if (claims == NULL || !read_audiences(claims, a, out) || !time_of(claims, "exp", &out->expires_s) ||
	    !time_of(claims, "nbf", &out->not_before_s))
		return false;
	kind = text_of(claims, "typ", a);
	out->is_for_access = header_says_access(header, a) && (kind.n == 0 || str_ieq(kind, STR("Bearer")) || str_ieq(kind, STR("at+jwt")));
	out->issuer = text_of(claims, "iss", a);
	out->who = text_of(claims, claim, a);
	out->is_unverified = strcmp(claim, "email") == 0 && is_unverified(json_object_get(claims, "email_verified"));
	return true;
}
