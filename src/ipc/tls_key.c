/* The encodings of CERTIFICATES and TLS_SIGN; see the header. Numbers first, so that a reader can refuse before it allocates. */
#include "ipc/tls_key.h"

void put_tls_certificates(struct buf *b, const struct tls_certificates *c)
{
	put_u8(b, (uint8_t)c->ticket_key_count);
	for (size_t i = 0; i < c->ticket_key_count; i++)
		buf_add_bytes(b, c->ticket_keys[i], TLS_TICKET_KEY_SIZE);
	put_u32(b, (uint32_t)c->count);
	for (size_t i = 0; i < c->count; i++) {
		const struct tls_certificate *one = &c->list[i];
		buf_add_bytes(b, one->key_hash, TLS_KEY_HASH_SIZE);
		put_u32(b, (uint32_t)one->name_count);
		for (size_t n = 0; n < one->name_count; n++)
			put_str(b, one->names[n]);
		put_u32(b, (uint32_t)one->chain_count);
		for (size_t n = 0; n < one->chain_count; n++)
			put_str(b, one->chain[n]);
	}
}

static void get_hash(struct scan *s, uint8_t hash[TLS_KEY_HASH_SIZE])
{
	struct str bytes = scan_bytes(s, TLS_KEY_HASH_SIZE);

	if (!s->failed)
		memcpy(hash, bytes.p, TLS_KEY_HASH_SIZE);
}

static struct str *get_strings(struct scan *s, struct arena *a, uint32_t count_max, size_t size_max, size_t *count)
{
	*count = get_count(s, count_max);
	if (*count * 4 > scan_left(s))  /* each has at least its length: no array larger than the message */
		scan_fail(s);
	if (s->failed)
		return NULL;
	struct str *list = arena_array(a, *count, sizeof(*list));
	for (size_t i = 0; i < *count && !s->failed; i++)
		list[i] = get_str(s, size_max);
	return list;
}

bool get_tls_certificates(struct scan *s, struct arena *a, struct tls_certificates *c)
{
	*c = (struct tls_certificates){ 0 };
	c->ticket_key_count = get_u8(s);
	if (c->ticket_key_count > TLS_TICKET_KEYS_MAX)
		scan_fail(s);
	for (size_t i = 0; i < c->ticket_key_count && !s->failed; i++) {
		struct str key = scan_bytes(s, TLS_TICKET_KEY_SIZE);
		if (!s->failed)
			memcpy(c->ticket_keys[i], key.p, TLS_TICKET_KEY_SIZE);
	}
	c->count = get_count(s, TLS_CERTIFICATES_MAX);
	if (c->count * TLS_KEY_HASH_SIZE > scan_left(s))
		scan_fail(s);
	if (!s->failed)
		c->list = arena_array(a, c->count, sizeof(*c->list));
	for (size_t i = 0; i < c->count && !s->failed; i++) {
		get_hash(s, c->list[i].key_hash);
		c->list[i].names = get_strings(s, a, TLS_NAMES_MAX, 255, &c->list[i].name_count);
		c->list[i].chain = get_strings(s, a, TLS_CHAIN_MAX, TLS_DER_MAX, &c->list[i].chain_count);
		if (!s->failed && c->list[i].chain_count == 0)
			scan_fail(s);
	}
	return get_end(s);
}

static bool scheme_is_known(uint16_t scheme)
{
	static const enum tls_scheme known[] = {
		TLS_RSA_PKCS1_SHA256, TLS_RSA_PKCS1_SHA384, TLS_RSA_PKCS1_SHA512, TLS_ECDSA_SECP256R1_SHA256, TLS_ECDSA_SECP384R1_SHA384,
		TLS_RSA_PSS_RSAE_SHA256, TLS_RSA_PSS_RSAE_SHA384, TLS_RSA_PSS_RSAE_SHA512, TLS_ED25519,
	};
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (known[i] == (enum tls_scheme)scheme)
			return true;
	return false;
}

void put_tls_sign(struct buf *b, const struct tls_sign *r)
{
	buf_add_bytes(b, r->key_hash, TLS_KEY_HASH_SIZE);
	put_u16(b, (uint16_t)r->scheme);
	put_str(b, r->message);
}

bool get_tls_sign(struct scan *s, struct tls_sign *r)
{
	*r = (struct tls_sign){ 0 };
	get_hash(s, r->key_hash);
	uint16_t scheme = get_u16(s);
	r->scheme = (enum tls_scheme)scheme;
	r->message = get_str(s, TLS_SIGN_MESSAGE_MAX);
	return get_end(s) && scheme_is_known(scheme);
}

void put_tls_signature(struct buf *b, struct str signature) { put_str(b, signature); }

bool get_tls_signature(struct scan *s, struct str *signature)
{
	*signature = get_str(s, TLS_SIGNATURE_MAX);
	return get_end(s) && signature->n > 0;
}
