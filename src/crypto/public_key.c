/* Public keys as tokens name them: numbers in, SubjectPublicKeyInfo out, which is what OpenSSL reads and what is kept.
 *
 * The DER is written by hand, because it is three constants and a handful of lengths; OpenSSL reads it back at once, so that a point that is
 * not on the curve, or a modulus that is too short, is refused when the administrator gives the key and not when somebody logs in. ES256
 * signatures are two numbers behind each other (RFC 7518 §3.4); OpenSSL wants them as a sequence. */
#include "crypto/public_key.h"
#include "base/buf.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

enum { TAG_INTEGER = 0x02, TAG_BIT_STRING = 0x03, TAG_SEQUENCE = 0x30, RSA_BITS_MIN = 2048, RSA_BYTES_MAX = 512, P256_SIZE = 32, ED25519_SIZE = 32 };

static void put_tlv(struct buf *b, unsigned char tag, struct str content)
{
	buf_add_char(b, (char)tag);
	if (content.n >= 256)
		buf_add_bytes(b, "\x82", 1);
	else if (content.n >= 128)
		buf_add_bytes(b, "\x81", 1);
	if (content.n >= 256)
		buf_add_char(b, (char)(content.n >> 8));
	buf_add_char(b, (char)(content.n & 0xff));
	buf_add(b, content);
}

/* An unsigned number: without zeros in front, but for one that keeps it from being negative. */
static void put_number(struct buf *b, struct str number)
{
	CLEANUP(buf_free) struct buf content = BUF(RSA_BYTES_MAX + 1);

	while (number.n > 1 && number.p[0] == 0)
		number = str_from(number, 1);
	if (number.n > 0 && (number.p[0] & 0x80))
		buf_add_char(&content, 0);
	buf_add(&content, number);
	put_tlv(b, TAG_INTEGER, buf_str(&content));
}

static EVP_PKEY *read_key(struct str der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)der.n);

	ERR_clear_error();
	return key;
}

/* RFC 3279 §2.3.1: algorithm rsaEncryption, then the key as a bit string. */
enum err public_key_rsa(struct str n, struct str e, struct arena *a, struct str *der)
{
	static const char algorithm[] = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
	CLEANUP(buf_free) struct buf numbers = BUF(PUBLIC_KEY_DER_MAX), key = BUF(PUBLIC_KEY_DER_MAX), all = BUF(PUBLIC_KEY_DER_MAX),
	                             out = BUF(PUBLIC_KEY_DER_MAX);
	EVP_PKEY *read;
	int bits;

	if (n.n == 0 || n.n > RSA_BYTES_MAX || e.n == 0 || e.n > 8)
		return ERR_INVALID;
	put_number(&numbers, n);
	put_number(&numbers, e);
	buf_add_char(&key, 0);
	put_tlv(&key, TAG_SEQUENCE, buf_str(&numbers));
	buf_add_bytes(&all, algorithm, sizeof algorithm - 1);
	put_tlv(&all, TAG_BIT_STRING, buf_str(&key));
	put_tlv(&out, TAG_SEQUENCE, buf_str(&all));
	*der = str_copy(a, buf_str(&out));
	read = read_key(*der);
	bits = read ? EVP_PKEY_get_bits(read) : 0;
	EVP_PKEY_free(read);
	return bits >= RSA_BITS_MIN ? ERR_OK : ERR_INVALID;
}

static enum err fixed_key(struct str head, struct str x, struct str y, struct arena *a, struct str *der)
{
	CLEANUP(buf_free) struct buf out = BUF(PUBLIC_KEY_DER_MAX);
	EVP_PKEY *read;

	buf_add(&out, head);
	buf_add(&out, x);
	buf_add(&out, y);
	*der = str_copy(a, buf_str(&out));
	read = read_key(*der);
	EVP_PKEY_free(read);
	return read ? ERR_OK : ERR_INVALID;
}

/* RFC 5480 §2: id-ecPublicKey, prime256v1, the uncompressed point. */
enum err public_key_p256(struct str x, struct str y, struct arena *a, struct str *der)
{
	static const char head[] = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";

	if (x.n != P256_SIZE || y.n != P256_SIZE)
		return ERR_INVALID;
	return fixed_key(str_make(head, sizeof head - 1), x, y, a, der);
}

/* RFC 8410 §4 */
enum err public_key_ed25519(struct str x, struct arena *a, struct str *der)
{
	static const char head[] = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

	if (x.n != ED25519_SIZE)
		return ERR_INVALID;
	return fixed_key(str_make(head, sizeof head - 1), x, STR(""), a, der);
}

static bool verify(EVP_PKEY *key, const char *digest, struct str message, struct str signature)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok = c != NULL && EVP_DigestVerifyInit_ex(c, NULL, digest, NULL, NULL, key, NULL) == 1 &&
	          EVP_DigestVerify(c, (const unsigned char *)signature.p, signature.n, (const unsigned char *)message.p, message.n) == 1;

	EVP_MD_CTX_free(c);
	ERR_clear_error();
	return ok;
}

/* RFC 7518 §3.4: r and s, 32 bytes each. */
static bool verify_es256(EVP_PKEY *key, struct str message, struct str signature)
{
	CLEANUP(buf_free) struct buf numbers = BUF(200), der = BUF(200);

	if (signature.n != 2 * P256_SIZE)
		return false;
	put_number(&numbers, str_sub(signature, 0, P256_SIZE));
	put_number(&numbers, str_from(signature, P256_SIZE));
	put_tlv(&der, TAG_SEQUENCE, buf_str(&numbers));
	return verify(key, "SHA256", message, buf_str(&der));
}

bool public_key_verify(struct str der, struct str message, struct str signature)
{
	EVP_PKEY *key = read_key(der);
	bool ok = false;

	if (key == NULL)
		return false;
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		ok = verify(key, "SHA256", message, signature);  /* PKCS #1 v1.5 is what it does unless told otherwise */
		break;
	case EVP_PKEY_EC:
		ok = verify_es256(key, message, signature);
		break;
	case EVP_PKEY_ED25519:
		ok = verify(key, NULL, message, signature);
		break;
	}
	EVP_PKEY_free(key);
	return ok;
}
