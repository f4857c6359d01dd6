/* Private keys and their signatures, on EVP_PKEY.
 *
 * What is accepted is what TLS 1.2+ and browsers accept: RSA from 2048 bits, the NIST curves P-256/384/521, Ed25519. A signature
 * is made over the message, not over a digest that somebody else computed: so a caller cannot have us sign a digest whose
 * meaning we do not see, and Ed25519 (which has no digest) needs no second way. Encrypted keys are refused: there is nobody who
 * could type the passphrase at a restart. */
#include "crypto/pkey.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

struct pkey {
	EVP_PKEY      *evp;
	enum pkey_kind kind;
};

static void bio_release(BIO **b) { BIO_free(*b); }
static void x509_release(X509 **x) { X509_free(*x); }

static int no_passphrase(UNUSED char *room, UNUSED int size, UNUSED int is_writing, UNUSED void *context)
{
	return -1;
}

static bool kind_of(EVP_PKEY *evp, enum pkey_kind *kind)
{
	switch (EVP_PKEY_get_base_id(evp)) {
	case EVP_PKEY_RSA:
		*kind = PKEY_RSA;
		return EVP_PKEY_get_bits(evp) >= 2048 && EVP_PKEY_get_bits(evp) <= 16384;
	case EVP_PKEY_EC: {
		char group[64] = "";

		*kind = PKEY_EC;
		return EVP_PKEY_get_group_name(evp, group, sizeof group, NULL) == 1 &&
		       (!strcmp(group, "prime256v1") || !strcmp(group, "secp384r1") || !strcmp(group, "secp521r1"));
	}
	case EVP_PKEY_ED25519:
		*kind = PKEY_ED25519;
		return true;
	}
	return false;
}

enum err pkey_from_pem(struct str pem, struct pkey **out)
{
	struct pkey k;

	if (pem.n == 0 || pem.n > PKEY_PEM_MAX)
		return pem.n ? ERR_INVALID : ERR_NOTFOUND;
	if (str_find(pem, STR("PRIVATE KEY-----")) < 0)
		return ERR_NOTFOUND;
	CLEANUP(bio_release) BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
	assert(in != NULL);
	k.evp = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL);
	ERR_clear_error();
	if (k.evp == NULL)
		return ERR_INVALID;
	if (!kind_of(k.evp, &k.kind)) {
		EVP_PKEY_free(k.evp);
		return ERR_INVALID;
	}
	*out = MEM_NEW(struct pkey);
	**out = k;
	return ERR_OK;
}

enum err pkey_generate(enum pkey_kind kind, struct pkey **out)
{
	EVP_PKEY *evp = kind == PKEY_RSA ? EVP_RSA_gen(2048) : kind == PKEY_EC ? EVP_EC_gen("P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	if (evp == NULL) {
		ERR_clear_error();
		log_error("key generation failed kind=%d", (int)kind);
		return ERR_IO;
	}
	*out = MEM_NEW(struct pkey);
	(*out)->evp = evp;
	(*out)->kind = kind;
	return ERR_OK;
}

void pkey_free(struct pkey *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->evp);
	mem_free(k);
}

enum pkey_kind pkey_kind(const struct pkey *k) { return k->kind; }

static struct str bio_text(BIO *b, struct arena *a)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	return str_copy(a, str_make(p, n > 0 ? (size_t)n : 0));
}

struct str pkey_pem(const struct pkey *k, struct arena *a)
{
	CLEANUP(bio_release) BIO *out = BIO_new(BIO_s_secmem());
	int ok = PEM_write_bio_PKCS8PrivateKey(out, k->evp, NULL, NULL, 0, NULL, NULL);

	assert(ok == 1);
	return bio_text(out, a);
}

struct str pkey_public_der(const struct pkey *k, struct arena *a)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(k->evp, &der);
	struct str out;

	assert(n > 0);
	out = str_copy(a, str_make(der, (size_t)n));
	OPENSSL_free(der);
	return out;
}

static bool sign_with(EVP_MD_CTX *c, const struct pkey *k, const struct pkey_scheme *how, struct str message, uint8_t *room,
                      size_t *n)
{
	EVP_PKEY_CTX *pc = NULL;

	if (EVP_DigestSignInit_ex(c, &pc, k->kind == PKEY_ED25519 ? NULL : how->digest_name, NULL, NULL, k->evp, NULL) != 1)
		return false;
	if (k->kind == PKEY_RSA) {
		bool is_pss = how->padding != NULL && !strcmp(how->padding, "pss");

		if (EVP_PKEY_CTX_set_rsa_padding(pc, is_pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1)
			return false;
		if (is_pss && EVP_PKEY_CTX_set_rsa_pss_saltlen(pc, RSA_PSS_SALTLEN_DIGEST) != 1)
			return false;
	}
	return EVP_DigestSign(c, room, n, (const uint8_t *)message.p, message.n) == 1;
}

enum err pkey_sign(const struct pkey *k, const struct pkey_scheme *how, struct str message, struct buf *signature)
{
	uint8_t room[2048];  /* RSA 16384 */
	size_t n = sizeof room;
	EVP_MD_CTX *c;
	bool ok;

	if ((k->kind == PKEY_ED25519) != (how->digest_name == NULL))
		return ERR_INVALID;
	c = EVP_MD_CTX_new();
	assert(c != NULL);
	ok = sign_with(c, k, how, message, room, &n);
	EVP_MD_CTX_free(c);
	ERR_clear_error();
	if (!ok)
		return ERR_INVALID;
	buf_add_bytes(signature, room, n);
	return signature->failed ? ERR_LIMIT : ERR_OK;
}

/* Unix time of an ASN.1 time; 0 when OpenSSL cannot read it. */
static int64_t asn1_seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The DNS names of the subject alternative name (RFC 6125 §6.4: the common name counts only where there is none). */
static enum err read_names(X509 *x, struct arena *a, struct certificate *out)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	enum err e = ERR_OK;

	for (int i = 0; all != NULL && i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
		struct str name;

		if (g->type != GEN_DNS)
			continue;
		name = str_make(ASN1_STRING_get0_data(g->d.dNSName), (size_t)ASN1_STRING_length(g->d.dNSName));
		if (name.n == 0 || name.n > 253 || str_has_ctl(name) || !str_is_ascii(name))
			continue;
		if (out->name_count == CERTIFICATE_NAMES_MAX) {
			e = ERR_LIMIT;
			break;
		}
		out->names[out->name_count++] = str_lower(a, name);
	}
	GENERAL_NAMES_free(all);
	return e;
}

enum err certificate_read(struct str pem, struct arena *a, struct certificate *out)
{
	*out = (struct certificate){ 0 };
	if (pem.n == 0 || pem.n > 4 * PKEY_PEM_MAX)
		return pem.n ? ERR_LIMIT : ERR_NOTFOUND;
	CLEANUP(bio_release) BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
	assert(in != NULL);
	for (;;) {
		CLEANUP(x509_release) X509 *x = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
		unsigned char *der = NULL;
		int n;

		if (x == NULL) {
			unsigned long why = ERR_peek_last_error();
			bool at_end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;

			ERR_clear_error();
			if (!at_end)
				return ERR_INVALID;
			return out->der_count > 0 ? ERR_OK : ERR_NOTFOUND;
		}
		if (out->der_count > 0 && X509_self_signed(x, 0) == 1)
			continue;
		if (out->der_count == CERTIFICATE_CHAIN_MAX)
			return ERR_LIMIT;
		if (out->der_count == 0) {
			out->not_before_s = asn1_seconds(X509_get0_notBefore(x));
			out->not_after_s = asn1_seconds(X509_get0_notAfter(x));
			TRY(read_names(x, a, out));
		}
		n = i2d_X509(x, &der);
		if (n <= 0)
			return ERR_INVALID;
		out->der[out->der_count++] = str_copy(a, str_make(der, (size_t)n));
		OPENSSL_free(der);
	}
}

struct str certificate_public_der(const struct certificate *c, struct arena *a)
{
	const unsigned char *p = c->der_count ? (const unsigned char *)c->der[0].p : NULL;
	CLEANUP(x509_release) X509 *x = p ? d2i_X509(NULL, &p, (long)c->der[0].n) : NULL;
	unsigned char *der = NULL;
	int n = x ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : 0;
	struct str out = n > 0 ? str_copy(a, str_make(der, (size_t)n)) : STR_NONE;

	OPENSSL_free(der);
	return out;
}
