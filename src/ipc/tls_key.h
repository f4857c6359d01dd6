/* ipc/tls_key.h -- certificates without their keys: what keys tells gate and mx (CERTIFICATES), and how these have something
 * signed by a private key they never see (TLS_SIGN). net/tls.c and net/provider.c are one side, role/keys.c the other.
 *
 * CERTIFICATES is sent by keys when it is connected to a gate or mx and at each change, always the whole list. Up to
 * MESSAGE_BODY_MAX bytes are the body; more travel as a sealed memfd with an empty body. The answer is empty.
 * TLS_SIGN {bytes[32] key_hash, u16 scheme, str message} -> {str signature}; ERR_NOTFOUND: no such key; ERR_INVALID: the scheme
 * does not fit the key. */
#ifndef FACTEUR_IPC_TLS_KEY_H
#define FACTEUR_IPC_TLS_KEY_H
#include "base/arena.h"
#include "base/wire.h"

enum {
	TLS_KEY_HASH_SIZE = 32,       /* SHA-256 of the key's SubjectPublicKeyInfo in DER */
	TLS_TICKET_KEY_SIZE = 80,     /* 16 bytes name, 32 bytes HMAC-SHA-256 key, 32 bytes AES-256 key */
	TLS_TICKET_KEYS_MAX = 3,
	TLS_CHAIN_MAX = 10,           /* certificates in a chain */
	TLS_NAMES_MAX = 200,          /* names of one certificate */
	TLS_CERTIFICATES_MAX = 10000,
	TLS_DER_MAX = 32768,
	TLS_SIGN_MESSAGE_MAX = 4096,
	TLS_SIGNATURE_MAX = 1024,     /* RSA-8192 */
	TLS_CERTIFICATES_BYTES_MAX = 64 << 20,
};

struct tls_certificate {
	uint8_t     key_hash[TLS_KEY_HASH_SIZE];
	struct str *names;            /* lower case A-labels, "mail.example.org" or "*.example.org"; dNSNames of the leaf */
	size_t      name_count;
	struct str *chain;            /* DER, leaf first, without the root */
	size_t      chain_count;
	int64_t     not_after_s;      /* in keys only: it does not travel */
};

struct tls_certificates {
	struct tls_certificate *list; /* the first is for clients that name no host or an unknown one */
	size_t     count;
	/* Session ticket keys shared by all gates and mx: the first makes new tickets, the others still open old ones. 0: each process
	 * makes its own. keys makes a new one every 12 hours, in memory only. */
	uint8_t    ticket_keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE];
	size_t     ticket_key_count;
};
void put_tls_certificates(struct buf *b, const struct tls_certificates *c);
/* Arrays in the arena, strings are views into the message. False: malformed. */
bool get_tls_certificates(struct scan *s, struct arena *a, struct tls_certificates *c);

/* SignatureScheme of RFC 8446 §4.2.3; the only ones that keys signs with. TLS 1.2 uses the same pairs. */
enum tls_scheme {
	TLS_RSA_PKCS1_SHA256 = 0x0401, TLS_RSA_PKCS1_SHA384 = 0x0501, TLS_RSA_PKCS1_SHA512 = 0x0601,
	TLS_ECDSA_SECP256R1_SHA256 = 0x0403, TLS_ECDSA_SECP384R1_SHA384 = 0x0503,
	TLS_RSA_PSS_RSAE_SHA256 = 0x0804, TLS_RSA_PSS_RSAE_SHA384 = 0x0805, TLS_RSA_PSS_RSAE_SHA512 = 0x0806,  /* salt as long as the digest */
	TLS_ED25519 = 0x0807,
};

struct tls_sign {
	uint8_t         key_hash[TLS_KEY_HASH_SIZE];
	enum tls_scheme scheme;
	struct str      message;      /* what is to be signed, not its digest; at most TLS_SIGN_MESSAGE_MAX */
};
void put_tls_sign(struct buf *b, const struct tls_sign *r);
bool get_tls_sign(struct scan *s, struct tls_sign *r);   /* false: malformed or an unknown scheme */
void put_tls_signature(struct buf *b, struct str signature);
bool get_tls_signature(struct scan *s, struct str *signature);
#endif
