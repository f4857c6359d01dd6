/* Tokens: taken apart, read, judged; the keys of their issuers. */
#include "auth/bearer.h"
#include "auth/discovery.h"
#include "auth/jwks.h"
#include "auth/jwt.h"
#include "auth/missing_key.h"
#include "auth/token_test.h"
#include "base/bytes.h"
#include "base/test.h"

TEST(base64url)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "", "" }, { "Zg", "f" }, { "Zm8", "fo" }, { "Zm9v", "foo" }, { "-_-_", "\xfb\xff\xbf" },
		{ "Zg==", NULL }, { "Z", NULL }, { "Zm9vY", NULL }, { "Zh", NULL },  /* stray bits */ { "+/+/", NULL }, { "Zm 8", NULL },
	};
	struct buf b = BUF(100);

	EACH(cases, c) {
		buf_reset(&b);
		EXPECT(base64url_get(&b, str_of(c->in)) == (c->out != NULL));
		if (c->out != NULL)
			EXPECT(str_eq(buf_str(&b), str_of(c->out)));
	}
	buf_free(&b);
}

TEST(header)
{
	static const struct { const char *header, *rest, *kid; } cases[] = {
		{ "{\"alg\":\"RS256\",\"kid\":\"k1\"}", ".e30.AAAA", "k1" },
		{ "{\"typ\":\"at+jwt\",\"alg\":\"ES256\"}", ".e30.AAAA", "" },
		{ "{\"alg\":\"EdDSA\",\"kid\":7}", ".e30.AAAA", "" },
		{ "{\"alg\":\"none\"}", ".e30.", NULL },
		{ "{\"alg\":\"HS256\"}", ".e30.AAAA", NULL },
		{ "{\"alg\":\"RS256\",\"crit\":[\"b64\"]}", ".e30.AAAA", NULL },
		{ "{\"alg\":\"RS256\",\"alg\":\"RS256\"}", ".e30.AAAA", NULL },   /* a name that stands twice */
		{ "[\"RS256\"]", ".e30.AAAA", NULL },
		{ "{\"alg\":\"RS256\"", ".e30.AAAA", NULL },
		{ "{\"alg\":\"RS256\"}", ".e30", NULL },
		{ "{\"alg\":\"RS256\"}", ".e30.", NULL },
		{ "{\"alg\":\"RS256\"}", ".e30.AAAA.AAAA", NULL },               /* encrypted tokens have five parts */
		{ "", "", NULL },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct str token = arena_printf(&a, STR_FMT "%s", STR_ARG(url64(&a, c->header)), c->rest);
		struct jwt out;
		EXPECT(jwt_read(token, &a, &out) == (c->kid != NULL));
		if (c->kid == NULL)
			continue;
		EXPECT(str_eq(out.kid, str_of(c->kid)) && out.signature.n == 3);
		EXPECT(str_ends(out.signed_part, STR(".e30")));
	}
	arena_free(&a);
}

TEST(claims)
{
	static const struct { const char *payload; bool ok; const char *who; size_t audiences; int64_t expires_s; bool is_unverified, is_for_access; } cases[] = {
		{ "{\"iss\":\"https://id.test\",\"aud\":\"mail\",\"exp\":1700000000,\"email\":\"a@b\"}", true, "a@b", 1, 1700000000, false, true },
		{ "{\"aud\":[\"mail\",\"account\"],\"exp\":1.7e9,\"email\":\"a@b\",\"email_verified\":false}", true, "a@b", 2, 1700000000, true, true },
		{ "{\"exp\":1700000000.5,\"email\":5,\"typ\":\"ID\"}", true, "", 0, 1700000000, false, false },
		{ "{\"typ\":\"Bearer\",\"email_verified\":true}", true, "", 0, 0, false, true },
		{ "{\"email\":\"a@b\",\"email_verified\":\"true\"}", true, "a@b", 0, 0, false, true },    /* some write it as a text */
		{ "{\"email\":\"a@b\",\"email_verified\":\"false\"}", true, "a@b", 0, 0, true, true },
		{ "{\"email\":\"a@b\",\"email_verified\":0}", true, "a@b", 0, 0, true, true },
		{ "{\"exp\":\"1700000000\"}", false, NULL, 0, 0, false, false },
		{ "{\"exp\":-5}", false, NULL, 0, 0, false, false },
		{ "{\"exp\":1e300}", false, NULL, 0, 0, false, false },
		{ "{\"nbf\":true}", false, NULL, 0, 0, false, false },
		{ "{\"aud\":[7]}", false, NULL, 0, 0, false, false },
		{ "{\"aud\":{}}", false, NULL, 0, 0, false, false },
		{ "{\"email\":\"a@b\",\"email\":\"c@d\"}", false, NULL, 0, 0, false, false },
		{ "7", false, NULL, 0, 0, false, false },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct jwt_claims out;
		EXPECT(jwt_claims(arena_printf(&a, "e30." STR_FMT, STR_ARG(url64(&a, c->payload))), "email", &a, &out) == c->ok);
		if (!c->ok)
			continue;
		EXPECT(str_eq(out.who, str_of(c->who)));
		EXPECT_INT(out.audience_count, c->audiences);
		EXPECT_INT(out.expires_s, c->expires_s);
		EXPECT(out.is_unverified == c->is_unverified && out.is_for_access == c->is_for_access);
	}
	arena_free(&a);
}

TEST(keys_of_an_issuer)
{
#define RSA_N "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDpre" \
	"cbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjT" \
	"Taumiguj0M1HRoDGCDfGhgoiQmcaZnJDIwh4klkdVeIWgOZ_4E0kNFpFdUyK_vbOOVZ_4BOJvKZ7JzeYI-k-wGvxQ"
#define RSA "{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"}"
#define EC "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define ED "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"   /* RFC 8037 appendix A.2 */
	static const struct { const char *set; enum err want; size_t n; } cases[] = {
		{ "{\"keys\":[" RSA "," EC "," ED "]}", ERR_OK, 3 },
		{ "{\"keys\":[{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AQAB\",\"e\":\"AQAB\"}," EC "],\"more\":1}", ERR_OK, 1 },
		{ "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AA\",\"y\":\"AA\"}]}", ERR_NOTFOUND, 0 },
		{ "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"PS256\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"}]}", ERR_NOTFOUND, 0 },
		{ "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"sXchDaQebHnPiGvyDOAT4saGEUetSyo9\",\"e\":\"AQAB\"}]}", ERR_NOTFOUND, 0 },          /* too short */
		{ "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
		  "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}", ERR_NOTFOUND, 0 },                                              /* not on the curve */
		{ "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}," EC "]}", ERR_DENIED, 0 },
		{ "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"d\":\"AA\"}]}", ERR_DENIED, 0 },
		{ "{\"keys\":[]}", ERR_NOTFOUND, 0 }, { "{\"keys\":[7]}", ERR_INVALID, 0 }, { "{\"keys\":{}}", ERR_INVALID, 0 }, { "[]", ERR_INVALID, 0 },
		{ "", ERR_INVALID, 0 },
	};
	struct arena a = { 0 };
	struct issuer_key keys[ISSUER_KEYS_MAX];
	size_t n;

	EACH(cases, c) {
		EXPECT_ERR(jwks_read(str_of(c->set), &a, keys, &n), c->want);
		if (c->want == ERR_OK)
			EXPECT_INT(n, c->n);
	}
	arena_free(&a);
}

TEST(where_an_issuer_describes_itself)
{
	static const struct { const char *issuer, *openid, *oauth; } cases[] = {
		{ "https://id.test/realms/mail", "/realms/mail/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/mail" },
		{ "https://id.test/mail/", "/mail/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/mail" },
		{ "https://id.test/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" },
		{ "https://id.test", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" },
		{ "https://id.test/mail?realm=1", NULL, NULL }, { "http://id.test/mail", NULL, NULL }, { "accounts.example.test", NULL, NULL },
	};
	static const struct { const char *text; enum err want; const char *said; } documents[] = {
		{ "{\"issuer\":\"https://id.test\",\"jwks_uri\":\"https://keys.test/k\",\"more\":[{}]}", ERR_OK, "https://keys.test/k" },
		{ "{\"issuer\":\"https://id.test/\",\"jwks_uri\":\"https://keys.test/k\"}", ERR_CONFLICT, "https://id.test/" },
		{ "{\"issuer\":\"https://id.test\",\"jwks_uri\":\"https://keys.test/k#1\"}", ERR_NOTFOUND, "https://keys.test/k#1" },
		{ "{\"issuer\":\"https://id.test\",\"issuer\":\"https://id.test\",\"jwks_uri\":\"https://keys.test/k\"}", ERR_INVALID, "" },
		{ "{\"issuer\":\"https://id.test\"}", ERR_NOTFOUND, "" },
		{ "{\"jwks_uri\":\"https://keys.test/k\"}", ERR_INVALID, "" }, { "[]", ERR_INVALID, "" }, { "", ERR_INVALID, "" },
	};
	struct http_url places[DISCOVERY_PLACES];
	struct arena a = { 0 };

	EACH(cases, c) {
		EXPECT_INT(discovery_places(str_of(c->issuer), &a, places), c->openid != NULL);
		if (c->openid == NULL)
			continue;
		EXPECT_STR(places[0].host, "id.test");
		EXPECT_STR(places[0].path, c->openid);
		EXPECT_STR(places[1].path, c->oauth);
	}
	EACH(documents, c) {
		struct str keys, said;
		EXPECT_ERR(discovery_read(str_of(c->text), STR("https://id.test"), &a, &keys, &said), c->want);
		EXPECT_STR(said, c->said);
		EXPECT_STR(keys, c->want == ERR_OK ? c->said : "");
	}
	arena_free(&a);
}

TEST(keys_that_are_missing)
{
	static const struct { int64_t at_s; const char *issuer, *kid; bool asks, comes_back; } cases[] = {
		{ 1, "https://id.test", "k2", true, true },
		{ 2, "https://id.test", "k2", false, true },        /* of the same minute: one question */
		{ 3, "https://id.test", "k3", false, true },
		{ 4, "https://other.test", "k2", true, true },
		{ 12, "https://id.test", "k2", false, false },      /* the answer has come, and it was not in it */
		{ 13, "https://id.test", "k4", false, false },      /* too soon for another question */
		{ 62, "https://id.test", "k2", true, false },       /* it may be there by now; but whoever brings it all the time needs another token */
		{ 63, "https://id.test", "k4", false, true },
		{ 3602, "https://id.test", "k2", true, true },      /* an hour later it is new again */
	};
	struct missing_keys m = { 0 };

	EACH(cases, c) {
		bool asks;
		EXPECT_INT(missing_key(&m, str_of(c->issuer), str_of(c->kid), c->at_s * 1000, &asks), c->comes_back);
		EXPECT_INT(asks, c->asks);
	}
	for (int i = 0; i < 1000; i++) {                     /* names that are made up: one question a minute all the same */
		char kid[20];
		bool asks;
		snprintf(kid, sizeof kid, "x%d", i);
		missing_key(&m, STR("https://id.test"), str_of(kid), (3700 + i / 100) * 1000, &asks);
		EXPECT_INT(asks, i == 0);
	}
}

#define NOW 1700000000
#define FOR_US "\"iss\":\"https://id.test\",\"aud\":\"mail\","

TEST(judge)
{
	static const struct { const char *header, *claims; enum bearer_fault want; } cases[] = {
		{ "{\"alg\":\"ES256\",\"kid\":\"k1\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_FINE },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\",\"email_verified\":true}", BEARER_FINE },
		{ "{\"alg\":\"RS256\",\"kid\":\"k1\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_FINE },   /* the key decides how it verifies */
		{ "{\"alg\":\"ES256\",\"kid\":\"k2\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_UNKNOWN_KEY },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1699999950,\"email\":\"a@b.test\"}", BEARER_FINE },                    /* clocks differ */
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1699999940,\"email\":\"a@b.test\"}", BEARER_EXPIRED },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"email\":\"a@b.test\"}", BEARER_NEVER_EXPIRES },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1700000300,\"nbf\":1700000061,\"email\":\"a@b.test\"}", BEARER_NOT_YET },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1700000300,\"nbf\":1700000060,\"email\":\"a@b.test\"}", BEARER_FINE },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1700000300}", BEARER_NO_ADDRESS },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\",\"email_verified\":false}", BEARER_UNVERIFIED },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\",\"typ\":\"ID\"}", BEARER_KIND },
		{ "{\"alg\":\"ES256\",\"typ\":\"JWT\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_FINE },
		{ "{\"alg\":\"ES256\",\"typ\":\"AT+JWT\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_FINE },
		{ "{\"alg\":\"ES256\",\"typ\":\"application/at+jwt\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_FINE },
		{ "{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_KIND },
		{ "{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_KIND },
		{ "{\"alg\":\"ES256\",\"typ\":7}", "{" FOR_US "\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_KIND },
		{ "{\"alg\":\"ES256\"}", "{\"iss\":\"https://id.test\",\"aud\":[\"shop\",\"account\"],\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_AUDIENCE },
		{ "{\"alg\":\"ES256\"}", "{\"iss\":\"https://id.test\",\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_AUDIENCE },
		{ "{\"alg\":\"ES256\"}", "{\"iss\":\"https://id.test/\",\"aud\":\"mail\",\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_UNKNOWN_ISSUER },
		{ "{\"alg\":\"ES256\"}", "{\"iss\":\"https://other.test\",\"aud\":\"mail\",\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_SIGNATURE },   /* whose key it was not */
		{ "{\"alg\":\"ES256\",\"kid\":\"k1\"}", "{\"iss\":\"https://other.test\",\"aud\":\"mail\",\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_UNKNOWN_KEY },
		{ "{\"alg\":\"ES256\"}", "{\"iss\":[\"https://id.test\"],\"aud\":\"mail\",\"exp\":1700000300,\"email\":\"a@b.test\"}", BEARER_UNKNOWN_ISSUER },
		{ "{\"alg\":\"ES256\"}", "{" FOR_US "\"exp\":\"1700000300\",\"email\":\"a@b.test\"}", BEARER_MALFORMED },
		{ "{\"alg\":\"ES256\"}", "[]", BEARER_UNKNOWN_ISSUER },
	};
	struct arena a = { 0 };
	struct pkey *key, *other;

	EXPECT_OK(pkey_generate(PKEY_EC, &key));
	EXPECT_OK(pkey_generate(PKEY_EC, &other));
	struct issuer_key own[] = { { STR("k1"), pkey_public_der(key, &a) } }, foreign[] = { { STR("k9"), pkey_public_der(other, &a) } };
	const struct issuer issuers[] = {
		{ .name = STR("https://other.test"), .audience = STR("mail"), .claim = STR("email"), .keys = foreign, .key_count = 1 },
		{ .name = STR("https://id.test"), .audience = STR("mail"), .claim = STR("email"), .keys = own, .key_count = 1 },
	};
	EACH(cases, c) {
		struct bearer_request r = token_request(token_signed(key, c->header, c->claims, &a), &a);
		struct bearer_token t;
		enum bearer_fault got = bearer_judge(issuers, COUNT_OF(issuers), &r, NOW, &a, &t);
		EXPECT_STR(str_of(bearer_fault_name(got)), bearer_fault_name(c->want));
		if (got == BEARER_FINE)
			EXPECT(t.issuer == &issuers[1] && t.key == &own[0] && t.expires_s > NOW - 60 && str_eq(t.address, STR("a@b.test")));
	}
	/* a token that names no key is tried by all of its issuer's, however many others have */
	struct issuer_key many[ISSUER_KEYS_MAX];
	for (size_t i = 0; i < COUNT_OF(many); i++)
		many[i] = (struct issuer_key){ arena_printf(&a, "k%zu", i + 20), foreign[0].public_der };
	many[COUNT_OF(many) - 1].public_der = own[0].public_der;
	const struct issuer crowd[] = { { .name = STR("https://crowd.test"), .audience = STR("mail"), .claim = STR("email"), .keys = many, .key_count = COUNT_OF(many) },
	                                { .name = STR("https://id.test"), .audience = STR("mail"), .claim = STR("email"), .keys = many, .key_count = COUNT_OF(many) } };
	struct bearer_request unnamed = token_request(token_signed(key, cases[1].header, cases[1].claims, &a), &a);
	struct bearer_token t;
	EXPECT_INT(bearer_judge(crowd, 2, &unnamed, NOW, &a, &t), BEARER_FINE);
	EXPECT(t.issuer == &crowd[1] && t.key == &many[COUNT_OF(many) - 1]);
	/* whom the gate names is only looked for: the signed words decide */
	unnamed.issuer = STR("https://crowd.test");
	EXPECT_INT(bearer_judge(crowd, 2, &unnamed, NOW, &a, &t), BEARER_ISSUER);
	/* one bit of the signature, and of what it signs */
	struct bearer_request good = token_request(token_signed(key, cases[0].header, cases[0].claims, &a), &a), bad = good;
	char *bytes = str_cstr(&a, good.signature);
	bytes[5] ^= 1;
	bad.signature = str_make(bytes, good.signature.n);
	EXPECT_INT(bearer_judge(issuers, 2, &bad, NOW, &a, &t), BEARER_SIGNATURE);
	bad = good;
	bytes = str_cstr(&a, good.signed_part);
	bytes[good.signed_part.n - 1] ^= 1;
	bad.signed_part = str_make(bytes, good.signed_part.n);
	EXPECT_INT(bearer_judge(issuers, 2, &bad, NOW, &a, &t), BEARER_SIGNATURE);
	EXPECT_INT(bearer_judge(issuers, 2, &(struct bearer_request){ 0 }, NOW, &a, &t), BEARER_NO_TOKEN);
	pkey_free(key);
	pkey_free(other);
	arena_free(&a);
}
