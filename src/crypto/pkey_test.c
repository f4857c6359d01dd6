/* Keys: read, signed with, matched to certificates; the authority's work is checked by OpenSSL itself. */
#include "base/test.h"
#include "base/clock.h"
#include "crypto/ca.h"
#include "crypto/pkey.h"
#include "crypto/public_key.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

static bool verifies(const struct pkey *k, const struct pkey_scheme *how, struct str message, struct str signature)
{
	struct arena a = { 0 };
	struct str der = pkey_public_der(k, &a);
	const unsigned char *p = (const unsigned char *)der.p;
	EVP_PKEY *public = d2i_PUBKEY(NULL, &p, (long)der.n);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pc = NULL;
	bool ok = EVP_DigestVerifyInit_ex(c, &pc, how->digest_name, NULL, NULL, public, NULL) == 1;

	if (pkey_kind(k) == PKEY_RSA && how->padding != NULL && !strcmp(how->padding, "pss"))
		ok = ok && EVP_PKEY_CTX_set_rsa_padding(pc, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pc, RSA_PSS_SALTLEN_DIGEST) == 1;
	ok = ok && EVP_DigestVerify(c, (const uint8_t *)signature.p, signature.n, (const uint8_t *)message.p, message.n) == 1;
	EVP_MD_CTX_free(c);
	EVP_PKEY_free(public);
	arena_free(&a);
	return ok;
}

TEST(sign)
{
	static const struct { enum pkey_kind kind; struct pkey_scheme how; enum err want; } cases[] = {
		{ PKEY_RSA,     { "SHA256", "pkcs1" }, ERR_OK },
		{ PKEY_RSA,     { "SHA384", "pss" },   ERR_OK },
		{ PKEY_RSA,     { NULL, "pss" },       ERR_INVALID },
		{ PKEY_RSA,     { "NONE-SUCH", NULL }, ERR_INVALID },
		{ PKEY_EC,      { "SHA256", NULL },    ERR_OK },
		{ PKEY_EC,      { NULL, NULL },        ERR_INVALID },
		{ PKEY_ED25519, { NULL, NULL },        ERR_OK },
		{ PKEY_ED25519, { "SHA256", NULL },    ERR_INVALID },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct pkey *k, *again;
		struct buf signature = BUF(PKEY_SIGNATURE_MAX);

		EXPECT_OK(pkey_generate(c->kind, &k));
		EXPECT_ERR(pkey_sign(k, &c->how, STR("a message"), &signature), c->want);
		if (c->want == ERR_OK) {
			EXPECT(verifies(k, &c->how, STR("a message"), buf_str(&signature)));
			EXPECT(!verifies(k, &c->how, STR("a massage"), buf_str(&signature)));
		}
		EXPECT_OK(pkey_from_pem(pkey_pem(k, &a), &again));
		EXPECT_INT(pkey_kind(again), c->kind);
		EXPECT(str_eq(pkey_public_der(k, &a), pkey_public_der(again, &a)));
		pkey_free(k);
		pkey_free(again);
		buf_free(&signature);
	}
	arena_free(&a);
}

/* A public key out of its numbers is the one that the private key has, and verifies what it signed. */
TEST(public_keys)
{
	static const struct { enum pkey_kind kind; size_t x, x_n, y, y_n; } cases[] = {   /* where the numbers stand in the DER */
		{ PKEY_RSA, 33, 256, 291, 3 }, { PKEY_EC, 27, 32, 59, 32 }, { PKEY_ED25519, 12, 32, 44, 0 },
	};
	struct arena a = { 0 };

	EACH(cases, c) {
		struct buf signature = BUF(PKEY_SIGNATURE_MAX);
		const struct pkey_scheme how = { c->kind == PKEY_ED25519 ? NULL : "SHA256", "pkcs1" };
		struct pkey *k;
		EXPECT_OK(pkey_generate(c->kind, &k));
		struct str want = pkey_public_der(k, &a), x = str_sub(want, c->x, c->x_n), y = str_sub(want, c->y, c->y_n), der = STR("");
		EXPECT_OK(c->kind == PKEY_RSA ? public_key_rsa(x, y, &a, &der) : c->kind == PKEY_EC ? public_key_p256(x, y, &a, &der) :
		          public_key_ed25519(x, &a, &der));
		EXPECT(str_eq(der, want));
		if (c->kind == PKEY_RSA) {  /* a zero in front changes nothing */
			char *longer = arena_alloc(&a, x.n + 1);
			memcpy(longer + 1, x.p, x.n);
			EXPECT(public_key_rsa(str_make(longer, x.n + 1), y, &a, &der) == ERR_OK && str_eq(der, want));
		}
		EXPECT_OK(pkey_sign(k, &how, STR("a message"), &signature));
		if (c->kind != PKEY_EC) {  /* its signatures have another form in tokens: auth/bearer_test.c */
			EXPECT(public_key_verify(der, STR("a message"), buf_str(&signature)));
			EXPECT(!public_key_verify(der, STR("a massage"), buf_str(&signature)));
		}
		EXPECT(!public_key_verify(der, STR("a message"), STR("")));
		EXPECT(!public_key_verify(str_sub(der, 0, der.n - 1), STR("a message"), buf_str(&signature)));
		EXPECT_ERR(public_key_p256(y, x, &a, &der), ERR_INVALID);   /* no point of the curve, or the wrong length */
		EXPECT_ERR(public_key_ed25519(str_sub(x, 0, 31), &a, &der), ERR_INVALID);
		EXPECT_ERR(public_key_rsa(str_sub(x, 0, 128), STR("\1\0\1"), &a, &der), ERR_INVALID);
		buf_free(&signature);
		pkey_free(k);
	}
	arena_free(&a);
}

TEST(bad_keys)
{
	static const struct { const char *pem; enum err want; } cases[] = {
		{ "", ERR_NOTFOUND }, { "hello", ERR_NOTFOUND },
		{ "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ERR_INVALID },
		{ "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBHDBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI\n-----END ENCRYPTED PRIVATE KEY-----\n",
		  ERR_INVALID },
		/* secp256k1: a good key on a curve TLS does not use */
		{ "-----BEGIN PRIVATE KEY-----\n"
		  "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgvojP+kOEoq6SJ8kLdUyM\n"
		  "zW0k8jvKnlrlAusReWVgnlShRANCAAT06RbjbIJUkvwhRKZk8FptsyWgO1Kfafr+\n"
		  "uE9JScWIBlc8ToXH6n6vkV8N4q+5225nnrOq0sXiH6muwkWost+4\n"
		  "-----END PRIVATE KEY-----\n", ERR_INVALID },
	};

	EACH(cases, c) {
		struct pkey *k = NULL;

		EXPECT_ERR(pkey_from_pem(str_of(c->pem), &k), c->want);
		EXPECT(k == NULL);
	}
}

/* What `openssl ecparam -genkey` writes: parameters first, then the older form of the key. */
TEST(older_form)
{
	struct pkey *k = NULL;

	EXPECT_OK(pkey_from_pem(str_of("-----BEGIN EC PARAMETERS-----\n"
		"BggqhkjOPQMBBw==\n"
		"-----END EC PARAMETERS-----\n"
		"-----BEGIN EC PRIVATE KEY-----\n"
		"MHcCAQEEIAss2NtxDeIJj9NcH4CRNA2V7Xr8RLK5fxF3lfIyEUKBoAoGCCqGSM49\n"
		"AwEHoUQDQgAEn0Y8sYsBBzxqIJXaX6ekadZ4XX5wmVJ3W4VPhQ472zyymim6X8yJ\n"
		"7aIKjmS2i7bhqS0R77yxGT7zXbJq+ajCBA==\n"
		"-----END EC PRIVATE KEY-----\n"), &k));
	EXPECT_INT(pkey_kind(k), PKEY_EC);
	pkey_free(k);
}

TEST(authority)
{
	static const struct str names[] = { { "Mail.example.test", 17 }, { "example.test", 12 }, { "127.0.0.1", 9 }, { "::1", 3 } };
	static const struct str bad[] = { { "a,DNS:evil.test", 15 } };
	struct arena a = { 0 };
	struct ca_pair ca, server;
	struct certificate c;
	struct pkey *k, *ca_key;
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	const unsigned char *p;
	X509 *leaf, *root;

	EXPECT_OK(ca_make(STR("facteur demo CA"), 3650, &a, &ca));
	EXPECT_OK(ca_issue(&ca, names, COUNT_OF(names), 800, &a, &server));
	EXPECT_ERR(ca_issue(&ca, bad, 1, 800, &a, &server), ERR_INVALID);
	EXPECT_ERR(ca_issue(&ca, names, 0, 800, &a, &server), ERR_INVALID);
	EXPECT_OK(certificate_read(server.certificate_pem, &a, &c));
	EXPECT_INT(c.der_count, 1);  /* the authority's own is in the file, but not sent */
	EXPECT_INT(c.name_count, 2);  /* the addresses are in the certificate, but are not DNS names */
	EXPECT_STR(c.names[0], "mail.example.test");
	EXPECT(c.not_before_s < clock_wall_s() && c.not_after_s > clock_wall_s() + 799 * 86400);
	/* key and certificate in one file, as many tools write it */
	EXPECT_OK(pkey_from_pem(arena_printf(&a, STR_FMT STR_FMT, STR_ARG(server.certificate_pem), STR_ARG(server.key_pem)), &k));
	EXPECT_OK(pkey_from_pem(ca.key_pem, &ca_key));
	EXPECT(str_eq(certificate_public_der(&c, &a), pkey_public_der(k, &a)));
	EXPECT(!str_eq(certificate_public_der(&c, &a), pkey_public_der(ca_key, &a)));

	p = (const unsigned char *)c.der[0].p;
	leaf = d2i_X509(NULL, &p, (long)c.der[0].n);
	EXPECT_OK(certificate_read(ca.certificate_pem, &a, &c));
	p = (const unsigned char *)c.der[0].p;
	root = d2i_X509(NULL, &p, (long)c.der[0].n);
	X509_STORE_add_cert(store, root);
	X509_STORE_CTX_init(check, store, leaf, NULL);
	X509_STORE_CTX_set_purpose(check, X509_PURPOSE_SSL_SERVER);
	EXPECT_INT(X509_verify_cert(check), 1);
	EXPECT_INT(X509_check_host(leaf, "mail.example.test", 0, 0, NULL), 1);
	EXPECT_INT(X509_check_ip_asc(leaf, "127.0.0.1", 0), 1);

	EXPECT_ERR(certificate_read(STR("nothing"), &a, &c), ERR_NOTFOUND);
	EXPECT_ERR(certificate_read(STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), &a, &c), ERR_INVALID);
	X509_STORE_CTX_free(check);
	X509_STORE_free(store);
	X509_free(leaf);
	X509_free(root);
	pkey_free(k);
	pkey_free(ca_key);
	arena_free(&a);
}
