/* auth/token_test.h -- tokens for tests: made and signed as an issuer would. */
#ifndef FACTEUR_AUTH_TOKEN_TEST_H
#define FACTEUR_AUTH_TOKEN_TEST_H
#include "auth/jwt.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/test.h"
#include "crypto/pkey.h"

/* "{…}" in base64url */
UNUSED static struct str url64_bytes(struct arena *a, struct str in)
{
	struct str text = base64_encode(a, in);
	char *out = str_cstr(a, text);
	size_t n = text.n;

	while (n > 0 && out[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
	return str_make(out, n);
}

UNUSED static struct str url64(struct arena *a, const char *json) { return url64_bytes(a, str_of(json)); }

/* An ECDSA signature in DER (two numbers) as RFC 7518 §3.4 wants it: 32 bytes each. */
UNUSED static struct str signature_raw(struct arena *a, struct str der)
{
	char *raw = arena_alloc(a, 64);
	size_t at = 2;

	for (int i = 0; i < 2; i++) {
		size_t n = (unsigned char)der.p[at + 1], skip = n > 32 ? n - 32 : 0;
		memcpy(raw + 32 * i + 32 - (n - skip), der.p + at + 2 + skip, n - skip);
		at += 2 + n;
	}
	return str_make(raw, 64);
}

/* Signed by an EC key. */
UNUSED static struct str token_signed(const struct pkey *key, const char *header, const char *claims, struct arena *a)
{
	struct str signed_part = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(url64(a, header)), STR_ARG(url64(a, claims)));
	CLEANUP(buf_free) struct buf signature = BUF(PKEY_SIGNATURE_MAX);

	EXPECT_OK(pkey_sign(key, &(struct pkey_scheme){ "SHA256", NULL }, signed_part, &signature));
	return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(signed_part), STR_ARG(url64_bytes(a, signature_raw(a, buf_str(&signature)))));
}

/* As the gate asks about it. */
UNUSED static struct bearer_request token_request(struct str token, struct arena *a)
{
	struct jwt x;

	EXPECT(jwt_read(token, a, &x));
	return (struct bearer_request){ .protocol = PROTOCOL_IMAP, .session = 77, .peer = STR("192.0.2.7"), .login = STR(""), .issuer = x.issuer, .kid = x.kid,
	                                .signed_part = x.signed_part, .signature = x.signature };
}
#endif
