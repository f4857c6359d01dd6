/* The published vectors: a wrong digest would still "work" everywhere, only with nobody else. */
#include "base/test.h"
#include "base/bytes.h"
#include "crypto/mac.h"
#include <string.h>

static struct str hex(struct arena *a, const void *p, size_t n)
{
	struct buf b = BUF(4096);
	struct str s;

	hex_put(&b, str_make(p, n));
	s = str_copy(a, buf_str(&b));
	buf_free(&b);
	return s;
}

static struct str unhex(struct arena *a, const char *text)
{
	struct buf b = BUF(4096);
	struct str s;

	EXPECT(hex_get(&b, str_of(text)));
	s = str_copy(a, buf_str(&b));
	buf_free(&b);
	return s;
}

TEST(digests)
{
	static const struct { enum digest d; const char *in, *out; } cases[] = {
		{ DIGEST_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },  /* FIPS 180-4 */
		{ DIGEST_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ DIGEST_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ DIGEST_MD5, "abc", "900150983cd24fb0d6963f7d28e17f72" },
		{ DIGEST_SHA512, "abc", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		                        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		uint8_t out[DIGEST_SIZE_MAX];
		struct digest_state *s = digest_begin(c->d);

		digest_once(c->d, str_of(c->in), out);
		EXPECT_STR(hex(&a, out, digest_size(c->d)), c->out);
		for (const char *p = c->in; *p; p++)
			digest_add(s, str_make(p, 1));
		digest_end(s, out);
		EXPECT_STR(hex(&a, out, digest_size(c->d)), c->out);
	}
	digest_end(digest_begin(DIGEST_SHA256), NULL);
	arena_free(&a);
}

/* RFC 4231 */
TEST(hmac)
{
	struct { struct str key, in; const char *out; } cases[] = {
		{ STR("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"), STR("Hi There"),
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ STR("Jefe"), STR("what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ STR_NONE, STR("Test Using Larger Than Block-Size Key - Hash Key First"),
		  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },  /* key: 131 bytes, set below */
	};
	struct arena a = { 0 };
	char long_key[131];

	memset(long_key, 0xaa, sizeof long_key);
	cases[2].key = str_make(long_key, sizeof long_key);
	EACH(cases, c) {
		uint8_t out[32];

		hmac_sha256(c->key, c->in, out);
		EXPECT_STR(hex(&a, out, 32), c->out);
	}
	arena_free(&a);
}

/* RFC 5869 A.1 - A.3 */
TEST(hkdf)
{
	static const struct { const char *ikm, *salt, *info, *okm; } cases[] = {
		{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
		  "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
		{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
		  "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		uint8_t out[42];

		hkdf_sha256(unhex(&a, c->ikm), unhex(&a, c->salt), unhex(&a, c->info), out, sizeof out);
		EXPECT_STR(hex(&a, out, sizeof out), c->okm);
	}
	arena_free(&a);
}

/* RFC 6070 and RFC 7914 §11 */
TEST(pbkdf2)
{
	static const struct { enum digest d; const char *password, *salt; uint32_t rounds; const char *out; } cases[] = {
		{ DIGEST_SHA1, "password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1" },
		{ DIGEST_SHA256, "passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		uint8_t out[32];
		size_t n = strlen(c->out) / 2;

		pbkdf2(c->d, str_of(c->password), str_of(c->salt), c->rounds, out, n);
		EXPECT_STR(hex(&a, out, n), c->out);
	}
	arena_free(&a);
}
