/* Encodings of certificates and signing requests: there and back, and what must be refused. */
#include "base/test.h"
#include "ipc/tls_key.h"

TEST(certificates_round_trip)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(100000);
	struct str names[] = { STR("mail.example.org"), STR("*.example.org") }, chain[] = { STR("leaf"), STR("issuer") };
	struct tls_certificate one[] = { { { 1, 2, 3 }, names, 2, chain, 2 }, { { 9 }, NULL, 0, chain, 1 } };
	struct tls_certificates in = { one, 2, { { 7 }, { 8 } }, 2 }, out;

	put_tls_certificates(&b, &in);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(get_tls_certificates(&s, &a, &out));
	EXPECT_INT(out.count, 2);
	EXPECT_INT(out.ticket_key_count, 2);
	EXPECT_INT(out.ticket_keys[1][0], 8);
	EXPECT_STR(out.list[0].names[1], "*.example.org");
	EXPECT_STR(out.list[1].chain[0], "leaf");
	for (size_t n = 0; n < b.n; n++) {  /* every cut is seen */
		s = scan_of(str_sub(buf_str(&b), 0, n));
		EXPECT(!get_tls_certificates(&s, &a, &out));
	}
}

TEST(certificates_without_chain_are_refused)
{
	CLEANUP(arena_free) struct arena a = { 0 };
	CLEANUP(buf_free) struct buf b = BUF(1000);
	struct tls_certificate one[] = { { { 1 }, NULL, 0, NULL, 0 } };
	struct tls_certificates in = { one, 1, { { 0 } }, 0 }, out;

	put_tls_certificates(&b, &in);
	struct scan s = scan_of(buf_str(&b));
	EXPECT(!get_tls_certificates(&s, &a, &out));
}

TEST(sign)
{
	static const struct { unsigned scheme; bool is_good; } cases[] = {
		{ TLS_ECDSA_SECP256R1_SHA256, true }, { TLS_ED25519, true },
		{ 0x0201, false },  /* rsa_pkcs1_sha1 */
		{ 0, false },
	};
	EACH(cases, c) {
		CLEANUP(buf_free) struct buf b = BUF(1000);
		struct tls_sign in = { { 5 }, (enum tls_scheme)c->scheme, STR("to be signed") }, out;

		put_tls_sign(&b, &in);
		struct scan s = scan_of(buf_str(&b));
		EXPECT(get_tls_sign(&s, &out) == c->is_good);
		EXPECT_STR(out.message, "to be signed");
	}
}
