/* A stand-in for private keys that are in another process: an OpenSSL 3 provider.
 *
 * Problem: TLS signs once in a full handshake, and a gate that was broken into must not have the key. Choice: a provider (ENGINE
 * and *_METHOD are gone in OpenSSL 4) whose keys are a public key, a hash that names the private one, and the channel to the role
 * keys. Signing sends the bytes to be signed (TLS_SIGN, 7-22 µs beside 1-2 ms of handshake) and waits for the answer: keys is
 * one of ours, and answers signatures before anything slow.
 *
 * What must stay true: export() refuses whenever private parts are asked for. OpenSSL first tries to move a key to the provider
 * whose signature it found first (the default one); only when that is refused it takes the signature of the key's own provider.
 * A comparison with a certificate goes the other way: the certificate's key is imported here, as a public key. */
#include "base/log.h"
#include "base/mem.h"
#include "net/tls_private.h"
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

enum { SIGN_TIMEOUT_MS = 3000 };
enum key_type { TYPE_RSA, TYPE_EC, TYPE_ED25519 };

#define PROVIDER_NAME "facteur-keys"
#define PARAM_SPKI    "facteur-spki"      /* SubjectPublicKeyInfo */
#define PARAM_HASH    "facteur-hash"
#define PARAM_CHANNEL "facteur-channel"   /* the bytes of a struct channel *: it never leaves the process */

static const char *const type_names[] = { "RSA", "EC", "ED25519" };

struct remote_key {
	OSSL_LIB_CTX   *lib;
	enum key_type   type;
	EVP_PKEY       *public_key;   /* in the default provider */
	struct channel *keys;         /* NULL: only a public key */
	uint8_t         hash[TLS_KEY_HASH_SIZE];
};

/* ---- keys ---- */

static void *key_new(void *lib, enum key_type type)
{
	struct remote_key *k = MEM_NEW(struct remote_key);

	k->lib = lib;
	k->type = type;
	return k;
}
static void *key_new_rsa(void *lib) { return key_new(lib, TYPE_RSA); }
static void *key_new_ec(void *lib) { return key_new(lib, TYPE_EC); }
static void *key_new_ed25519(void *lib) { return key_new(lib, TYPE_ED25519); }

static void key_free(void *key)
{
	struct remote_key *k = key;

	EVP_PKEY_free(k->public_key);
	mem_free(k);
}

static int key_has(const void *key, int selection)
{
	const struct remote_key *k = key;

	return (!(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) || k->public_key) &&
	       (!(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || k->keys);
}

static int key_match(const void *a, const void *b, UNUSED int selection)
{
	const struct remote_key *x = a, *y = b;

	return x->public_key && y->public_key && EVP_PKEY_eq(x->public_key, y->public_key) == 1;
}

/* A public key in OpenSSL's own parameters: what a comparison brings. */
static int import_public(struct remote_key *k, const OSSL_PARAM params[])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(k->lib, type_names[k->type], "provider=default");
	OSSL_PARAM *copy = OSSL_PARAM_dup(params);
	int ok = ctx && copy && EVP_PKEY_fromdata_init(ctx) == 1 &&
	         EVP_PKEY_fromdata(ctx, &k->public_key, EVP_PKEY_PUBLIC_KEY, copy) == 1;

	OSSL_PARAM_free(copy);
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static int key_import(void *key, UNUSED int selection, const OSSL_PARAM params[])
{
	struct remote_key *k = key;
	const OSSL_PARAM *spki = OSSL_PARAM_locate_const(params, PARAM_SPKI);
	const OSSL_PARAM *hash = OSSL_PARAM_locate_const(params, PARAM_HASH);
	const OSSL_PARAM *channel = OSSL_PARAM_locate_const(params, PARAM_CHANNEL);

	if (spki == NULL)
		return import_public(k, params);
	if (hash == NULL || channel == NULL || hash->data_size != sizeof(k->hash) || channel->data_size != sizeof(struct channel *))
		return 0;
	const unsigned char *der = spki->data;
	k->public_key = d2i_PUBKEY_ex(NULL, &der, (long)spki->data_size, k->lib, "provider=default");
	memcpy(k->hash, hash->data, sizeof(k->hash));
	memcpy(&k->keys, channel->data, sizeof(k->keys));
	return k->public_key != NULL;
}

static const OSSL_PARAM *key_import_types(UNUSED int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(PARAM_SPKI, NULL, 0), OSSL_PARAM_octet_string(PARAM_HASH, NULL, 0),
		OSSL_PARAM_octet_string(PARAM_CHANNEL, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END,
	};
	return types;
}

static int key_export(void *key, int selection, OSSL_CALLBACK *take, void *context)
{
	struct remote_key *k = key;
	OSSL_PARAM *params = NULL;

	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) && k->keys)
		return 0;
	if (k->public_key == NULL || EVP_PKEY_todata(k->public_key, EVP_PKEY_PUBLIC_KEY, &params) != 1)
		return 0;
	int ok = take(params, context);
	OSSL_PARAM_free(params);
	return ok;
}

static const OSSL_PARAM *key_export_types(int selection)
{
	static const OSSL_PARAM none[] = { OSSL_PARAM_END };
	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? none : key_import_types(selection);
}

/* Size, strength, group: those of the public key. */
static int key_get_params(void *key, OSSL_PARAM params[])
{
	struct remote_key *k = key;
	return k->public_key != NULL && EVP_PKEY_get_params(k->public_key, params);
}

static const OSSL_PARAM *key_gettable(UNUSED void *lib)
{
	static const OSSL_PARAM gettable[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0), OSSL_PARAM_END,
	};
	return gettable;
}

static const char *operation_rsa(UNUSED int operation) { return "RSA"; }
static const char *operation_ec(UNUSED int operation) { return "ECDSA"; }
static const char *operation_ed25519(UNUSED int operation) { return "ED25519"; }

#define FN(f) ((void (*)(void))(f))
#define KEY_FUNCTIONS(type) static const OSSL_DISPATCH key_functions_##type[] = { \
	{ OSSL_FUNC_KEYMGMT_NEW, FN(key_new_##type) },           { OSSL_FUNC_KEYMGMT_FREE, FN(key_free) }, \
	{ OSSL_FUNC_KEYMGMT_HAS, FN(key_has) },                  { OSSL_FUNC_KEYMGMT_MATCH, FN(key_match) }, \
	{ OSSL_FUNC_KEYMGMT_IMPORT, FN(key_import) },            { OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(key_import_types) }, \
	{ OSSL_FUNC_KEYMGMT_EXPORT, FN(key_export) },            { OSSL_FUNC_KEYMGMT_EXPORT_TYPES, FN(key_export_types) }, \
	{ OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(key_get_params) },    { OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(key_gettable) }, \
	{ OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(operation_##type) }, { 0, NULL } }
KEY_FUNCTIONS(rsa);
KEY_FUNCTIONS(ec);
KEY_FUNCTIONS(ed25519);

/* ---- signatures ---- */

struct signing {
	struct remote_key *key;       /* borrowed: OpenSSL holds the EVP_PKEY meanwhile */
	char               digest[16];
	bool               is_pss;
	struct buf         message;   /* of digest_sign_update */
};

static void *sign_new(UNUSED void *lib, UNUSED const char *properties)
{
	struct signing *s = MEM_NEW(struct signing);

	s->message = BUF(TLS_SIGN_MESSAGE_MAX);
	return s;
}

static void sign_free(void *context)
{
	struct signing *s = context;

	buf_free(&s->message);
	mem_free(s);
}

static int sign_set_params(void *context, const OSSL_PARAM params[])
{
	struct signing *s = context;
	const OSSL_PARAM *pad = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
	const OSSL_PARAM *salt = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN) : NULL;

	if (pad && pad->data_type == OSSL_PARAM_UTF8_STRING) {
		s->is_pss = strcmp(pad->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
	} else if (pad) {
		int mode = 0;
		if (!OSSL_PARAM_get_int(pad, &mode) || (mode != RSA_PKCS1_PADDING && mode != RSA_PKCS1_PSS_PADDING))
			return 0;
		s->is_pss = mode == RSA_PKCS1_PSS_PADDING;
	}
	/* TLS only ever wants a salt as long as the digest, which is what keys makes */
	if (salt && salt->data_type == OSSL_PARAM_UTF8_STRING)
		return strcmp(salt->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0;
	int length = RSA_PSS_SALTLEN_DIGEST;
	return salt == NULL || (OSSL_PARAM_get_int(salt, &length) && length == RSA_PSS_SALTLEN_DIGEST);
}

static const OSSL_PARAM *sign_settable(UNUSED void *context, UNUSED void *lib)
{
	static const OSSL_PARAM settable[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0), OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_END,
	};
	return settable;
}

static int sign_begin(void *context, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = context;
	struct str name = str_of(digest ? digest : "");

	if (key)
		s->key = key;
	if (name.n >= sizeof(s->digest))
		return 0;
	memcpy(s->digest, name.p ? name.p : "", name.n + 1);
	buf_reset(&s->message);
	return s->key && s->key->keys && sign_set_params(s, params);
}

/* 0: none fits. */
static enum tls_scheme scheme_of(const struct signing *s)
{
	static const struct { enum key_type type; bool is_pss; const char *bits; enum tls_scheme scheme; } table[] = {
		{ TYPE_RSA, false, "256", TLS_RSA_PKCS1_SHA256 },      { TYPE_RSA, false, "384", TLS_RSA_PKCS1_SHA384 },
		{ TYPE_RSA, false, "512", TLS_RSA_PKCS1_SHA512 },      { TYPE_RSA, true, "256", TLS_RSA_PSS_RSAE_SHA256 },
		{ TYPE_RSA, true, "384", TLS_RSA_PSS_RSAE_SHA384 },    { TYPE_RSA, true, "512", TLS_RSA_PSS_RSAE_SHA512 },
		{ TYPE_EC, false, "256", TLS_ECDSA_SECP256R1_SHA256 }, { TYPE_EC, false, "384", TLS_ECDSA_SECP384R1_SHA384 },
		{ TYPE_ED25519, false, "", TLS_ED25519 },
	};
	const char *digest = s->digest;

	if (strncmp(digest, "SHA", 3) == 0)  /* "SHA2-256" and "SHA256" are both in use */
		digest += strncmp(digest, "SHA2-", 5) == 0 ? 5 : 3;
	for (size_t i = 0; i < COUNT_OF(table); i++)
		if (table[i].type == s->key->type && table[i].is_pss == s->is_pss && strcmp(table[i].bits, digest) == 0)
			return table[i].scheme;
	return (enum tls_scheme)0;
}

static int sign_at_once(void *context, unsigned char *out, size_t *out_n, size_t out_room, const unsigned char *message, size_t n)
{
	struct signing *s = context;
	CLEANUP(buf_free) struct buf body = BUF(MESSAGE_BODY_MAX);
	CLEANUP(arena_free) struct arena a = { 0 };
	struct tls_sign ask = { .scheme = scheme_of(s), .message = str_make(message, n) };
	struct message answer;
	struct str signature;

	if (out == NULL) {
		*out_n = (size_t)EVP_PKEY_get_size(s->key->public_key);
		return 1;
	}
	if (ask.scheme == 0 || n > TLS_SIGN_MESSAGE_MAX) {
		log_error("signature not possible key=%s digest=%s", type_names[s->key->type], s->digest);
		return 0;
	}
	memcpy(ask.key_hash, s->key->hash, sizeof(ask.key_hash));
	put_tls_sign(&body, &ask);
	enum err e = channel_call(s->key->keys, REQUEST_TLS_SIGN, buf_str(&body), NULL, 0, SIGN_TIMEOUT_MS, &a, &answer);
	if (e != ERR_OK) {
		log_warn("handshake without signature: keys says %s", err_name(e));
		return 0;
	}
	struct scan scan = scan_of(answer.body);
	if (!get_tls_signature(&scan, &signature) || signature.n > out_room)
		return 0;
	memcpy(out, signature.p, signature.n);
	*out_n = signature.n;
	return 1;
}

static int sign_add(void *context, const unsigned char *bytes, size_t n)
{
	struct signing *s = context;

	buf_add_bytes(&s->message, bytes, n);
	return !s->message.failed;
}

static int sign_end(void *context, unsigned char *out, size_t *out_n, size_t out_room)
{
	struct signing *s = context;
	return sign_at_once(s, out, out_n, out_room, (const unsigned char *)s->message.p, s->message.n);
}

static const OSSL_DISPATCH sign_functions[] = {
	{ OSSL_FUNC_SIGNATURE_NEWCTX, FN(sign_new) },                   { OSSL_FUNC_SIGNATURE_FREECTX, FN(sign_free) },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, FN(sign_begin) },       { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, FN(sign_add) },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, FN(sign_end) },        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN, FN(sign_at_once) },
	{ OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, FN(sign_set_params) },    { OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, FN(sign_settable) },
	{ 0, NULL },
};

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(UNUSED void *lib, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keys[] = {
		{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=" PROVIDER_NAME, key_functions_rsa, NULL },
		{ "EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=" PROVIDER_NAME, key_functions_ec, NULL },
		{ "ED25519:1.3.101.112", "provider=" PROVIDER_NAME, key_functions_ed25519, NULL },
		{ NULL, NULL, NULL, NULL },
	};
	static const OSSL_ALGORITHM signatures[] = {
		{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=" PROVIDER_NAME, sign_functions, NULL },
		{ "ECDSA", "provider=" PROVIDER_NAME, sign_functions, NULL },
		{ "ED25519:1.3.101.112", "provider=" PROVIDER_NAME, sign_functions, NULL },
		{ NULL, NULL, NULL, NULL },
	};

	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH functions[] = { { OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(query) }, { 0, NULL } };

	for (; in->function_id; in++)
		if (in->function_id == OSSL_FUNC_CORE_GET_LIBCTX)
			*context = OSSL_FUNC_core_get_libctx(in)(handle);
	*out = functions;
	return *context != NULL;
}

OSSL_PROVIDER *remote_provider_load(OSSL_LIB_CTX *lib)
{
	OSSL_PROVIDER *p = OSSL_PROVIDER_add_builtin(lib, PROVIDER_NAME, provider_init) ? OSSL_PROVIDER_load(lib, PROVIDER_NAME) : NULL;

	if (p == NULL)
		log_error("the provider of remote keys could not be loaded");
	return p;
}

EVP_PKEY *remote_key_new(OSSL_LIB_CTX *lib, EVP_PKEY *public_key, const uint8_t hash[TLS_KEY_HASH_SIZE], struct channel *keys)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *ctx = NULL;
	unsigned char *der = NULL;
	uint8_t hash_copy[TLS_KEY_HASH_SIZE];
	const char *type = EVP_PKEY_is_a(public_key, "RSA") ? "RSA" : EVP_PKEY_is_a(public_key, "EC") ? "EC" : "ED25519";
	int n = i2d_PUBKEY(public_key, &der);

	if (n > 0)
		ctx = EVP_PKEY_CTX_new_from_name(lib, type, "provider=" PROVIDER_NAME);
	memcpy(hash_copy, hash, sizeof(hash_copy));
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(PARAM_SPKI, der, n > 0 ? (size_t)n : 0),
		OSSL_PARAM_construct_octet_string(PARAM_HASH, hash_copy, sizeof(hash_copy)),
		OSSL_PARAM_construct_octet_string(PARAM_CHANNEL, &keys, sizeof(keys)), OSSL_PARAM_construct_end(),
	};
	if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1) {
		log_error("remote key not usable type=%s", type);
		key = NULL;
	}
	OPENSSL_free(der);
	EVP_PKEY_CTX_free(ctx);
	return key;
}
