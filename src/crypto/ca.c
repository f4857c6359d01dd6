/* The demo's certificate authority. P-256 keys, SHA-256, random 127-bit serial numbers (RFC 5280 §4.1.2.2), valid from an hour
 * ago (clocks of phones differ). The authority carries pathlen 0 and keyCertSign, the server certificate serverAuth, and both the
 * key identifiers, because Apple's and Android's checks insist on them. */
#include "crypto/ca.h"
#include "base/bytes.h"
#include "base/log.h"
#include "crypto/pkey.h"
#include <arpa/inet.h>
#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { CA_NAMES_MAX = 50, CA_DAYS_MAX = 36500 };

static void bio_release(BIO **b) { BIO_free(*b); }
static void x509_release(X509 **x) { X509_free(*x); }
static void evp_release(EVP_PKEY **k) { EVP_PKEY_free(*k); }

static struct str bio_text(BIO *b, struct arena *a)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	return str_copy(a, str_make(p, n > 0 ? (size_t)n : 0));
}

static struct str x509_pem(X509 *x, struct arena *a)
{
	CLEANUP(bio_release) BIO *out = BIO_new(BIO_s_mem());
	int ok = PEM_write_bio_X509(out, x);

	assert(ok == 1);
	return bio_text(out, a);
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX c;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx(&c, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
	ok = e != NULL && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

/* Version, serial, dates, subject, key: what both kinds have in common. */
static bool fill_common(X509 *x, struct str name, int days, EVP_PKEY *key)
{
	uint8_t serial[16];
	X509_NAME *subject = X509_get_subject_name(x);
	BIGNUM *bn;
	bool ok;

	random_bytes(serial, sizeof serial);
	serial[0] &= 0x7f;
	serial[0] |= 0x40;
	bn = BN_bin2bn(serial, sizeof serial, NULL);
	ok = bn != NULL && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) != NULL;
	BN_free(bn);
	return ok && X509_set_version(x, X509_VERSION_3) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
	       X509_time_adj_ex(X509_getm_notAfter(x), days, 0, NULL) != NULL &&
	       X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)name.p, (int)name.n, -1, 0) == 1 &&
	       X509_set_pubkey(x, key) == 1;
}

static EVP_PKEY *key_of_pem(struct str pem)
{
	CLEANUP(bio_release) BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);

	return in ? PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)(uintptr_t)"") : NULL;
}

/* Makes a fresh key and gives it in both forms. */
static enum err new_key(struct arena *a, struct str *pem, EVP_PKEY **key)
{
	struct pkey *k;

	TRY(pkey_generate(PKEY_EC, &k));
	*pem = pkey_pem(k, a);
	pkey_free(k);
	*key = key_of_pem(*pem);
	assert(*key != NULL);
	return ERR_OK;
}

static enum err failed(const char *what)
{
	ERR_clear_error();
	log_error("making a certificate failed step=%s", what);
	return ERR_IO;
}

enum err ca_make(struct str name, int days, struct arena *a, struct ca_pair *out)
{
	CLEANUP(evp_release) EVP_PKEY *key = NULL;
	CLEANUP(x509_release) X509 *x = X509_new();

	if (name.n == 0 || name.n > 64 || days < 1 || days > CA_DAYS_MAX)
		return ERR_INVALID;
	TRY(new_key(a, &out->key_pem, &key));
	if (x == NULL || !fill_common(x, name, days, key) || X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
	    !add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_extension(x, x, NID_subject_key_identifier, "hash") || X509_sign(x, key, EVP_sha256()) <= 0)
		return failed("authority");
	out->certificate_pem = x509_pem(x, a);
	return ERR_OK;
}

/* "DNS:mail.example.test,IP:192.0.2.1". Names go into OpenSSL's little configuration language: only letters, digits, and . - : *
 * are let through, so that a name cannot become a second entry. */
static bool alternative_names(struct buf *b, const struct str *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char text[254];
		uint8_t address[16];
		bool is_ip;

		if (names[i].n == 0 || names[i].n >= sizeof text)
			return false;
		for (size_t j = 0; j < names[i].n; j++) {
			char c = names[i].p[j];

			if (!chr_alpha(c) && !chr_digit(c) && c != '.' && c != '-' && c != ':' && c != '*')
				return false;
		}
		memcpy(text, names[i].p, names[i].n);
		text[names[i].n] = 0;
		is_ip = inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
		if (!is_ip && strchr(text, ':') != NULL)
			return false;
		buf_printf(b, "%s%s:%s", i ? "," : "", is_ip ? "IP" : "DNS", text);
	}
	return !b->failed;
}

enum err ca_issue(const struct ca_pair *ca, const struct str *names, size_t count, int days, struct arena *a, struct ca_pair *out)
{
	CLEANUP(buf_free) struct buf san = BUF(CA_NAMES_MAX * 260);
	CLEANUP(bio_release) BIO *in = BIO_new_mem_buf(ca->certificate_pem.p, (int)ca->certificate_pem.n);
	CLEANUP(x509_release) X509 *issuer = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
	CLEANUP(evp_release) EVP_PKEY *issuer_key = key_of_pem(ca->key_pem);
	CLEANUP(evp_release) EVP_PKEY *key = NULL;
	CLEANUP(x509_release) X509 *x = X509_new();

	ERR_clear_error();
	if (issuer == NULL || issuer_key == NULL || count == 0 || count > CA_NAMES_MAX || days < 1 || days > CA_DAYS_MAX ||
	    !alternative_names(&san, names, count))
		return ERR_INVALID;
	buf_add_char(&san, 0);
	TRY(new_key(a, &out->key_pem, &key));
	if (x == NULL || !fill_common(x, str_sub(names[0], 0, 64), days, key) ||
	    X509_set_issuer_name(x, X509_get_subject_name(issuer)) != 1 ||
	    !add_extension(x, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
	    !add_extension(x, issuer, NID_key_usage, "critical,digitalSignature") ||
	    !add_extension(x, issuer, NID_ext_key_usage, "serverAuth") ||
	    !add_extension(x, issuer, NID_subject_alt_name, san.p) ||
	    !add_extension(x, issuer, NID_subject_key_identifier, "hash") ||
	    !add_extension(x, issuer, NID_authority_key_identifier, "keyid") || X509_sign(x, issuer_key, EVP_sha256()) <= 0)
		return failed("server");
	out->certificate_pem = arena_printf(a, STR_FMT STR_FMT, STR_ARG(x509_pem(x, a)), STR_ARG(ca->certificate_pem));
	return ERR_OK;
}
