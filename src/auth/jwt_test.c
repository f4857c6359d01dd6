/* Tokens taken apart: what counts as one, and what one says. Signatures are bearer_test.c's. */
#include "auth/jwt.h"
#include "base/bytes.h"
#include "base/test.h"

/* "{…}" in base64url */
static struct str url64(struct arena *a, const char *json)
{
	struct str text = base64_encode(a, str_of(json));
	char *out = str_cstr(a, text);
	size_t n = text.n;

	while (n > 0 && out[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
	return str_make(out, n);
}

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


