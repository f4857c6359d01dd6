/* mailauth/dkim_sign.h -- signing what leaves (DKIM: RFC 6376, 8301, 8463): the bytes of a message in, the fields to put before it out.
 *
 * Two halves, because the private keys are in the role keys and messages are not. The queue's half reads the message once, in pieces of
 * any size, and makes the body of DKIM_SIGN: whose signature, the hash of the body, the header as it will be signed (48 kB at most,
 * whatever the message). keys answers with the finished fields, one for each algorithm that has a key: only keys knows which selectors
 * sign at this moment, and a selector is part of what is signed.
 *
 *   s = dkim_sign_begin(sender);             once a message, when it is first taken for a remote try; the answer is kept with it
 *   dkim_sign_add(s, piece); ...
 *   dkim_sign_end(s, &request);              ERR_OK: ask REQUEST_DKIM_SIGN; anything else: it leaves without a signature
 *
 * The answer's status:
 *   ERR_OK           its body is the prefix: "DKIM-Signature: ..." CRLF, perhaps twice; at most DKIM_PREFIX_MAX bytes
 *   ERR_NOTFOUND     neither the author's domain nor the sender's has a key here: no prefix
 *   ERR_LIMIT        too many wait for a signature: ask a little later
 *   anything else    as of any role that is not there: ask again later (ERR_INVALID is a bug of ours, logged: no prefix)
 * keys signs one after the other, 1 ms each (RSA): have some 8 of them under way, not thousands.
 *
 * Only for what is ours: messages that our users submitted, and those that we made (bounces, notices). What came from outside and is
 * only passed on (an alias that leads elsewhere) must not be signed: its From says what a stranger wanted it to say.
 *
 * The signature covers the bytes as they are given here. Whoever changes the body afterwards (a peer without 8BITMIME) sends it
 * without the prefix: a signature that does not verify helps nobody. Lines end with CRLF, as everywhere in the queue. */
#ifndef FACTEUR_MAILAUTH_DKIM_SIGN_H
#define FACTEUR_MAILAUTH_DKIM_SIGN_H
#include "auth/dkim.h"
#include "crypto/digest.h"

enum {
	DKIM_SIGNED_MAX = 48000,      /* bytes of header that are signed; a field that would pass it is left out (never From) */
	DKIM_FIELDS_MAX = 100,        /* names in h= */
	DKIM_REQUEST_MAX = DKIM_SIGNED_MAX + 8192,
	DKIM_PREFIX_MAX = 8000,
};

/* ---- the queue's half. Pure: no key, no file. One thread at a time. */
struct dkim_sign;
/* sender: the reverse-path, without <>; may be empty. Its domain signs where the one of From has no key here. */
struct dkim_sign *dkim_sign_begin(struct str sender);
void dkim_sign_add(struct dkim_sign *s, struct str piece);
/* The body of DKIM_SIGN; request has room for DKIM_REQUEST_MAX. ERR_INVALID: it has no From with an address, or two of them (RFC 5322
 * §3.6), or nothing but a header that never ends; ERR_LIMIT: a header over 1 MB, or a From over DKIM_SIGNED_MAX. */
enum err dkim_sign_end(struct dkim_sign *s, struct buf *request) MUST_CHECK;
void dkim_sign_free(struct dkim_sign **s);   /* for CLEANUP; NULL is fine */
/* All at once, for a message in memory. */
enum err dkim_sign_request(struct str sender, struct str message, struct buf *request) MUST_CHECK;

/* Whose keys would sign it, by its header alone: for who knows that neither has one here. False: dkim_sign_end() would not take it either.
 * In the arena. */
struct dkim_domains { struct str author, sender; };   /* A-labels, lower case; sender may be empty */
bool dkim_sign_domains(struct str sender, struct str message, struct arena *a, struct dkim_domains *out) MUST_CHECK;

/* ---- keys' half. */
struct dkim_request {
	struct str author, sender;           /* domains: A-labels, lower case; sender may be empty */
	uint8_t    body_hash[SHA256_SIZE];   /* of the body, canonicalised relaxed (RFC 6376 §3.4.4) */
	struct str names;                    /* for h=: "from:subject:date" */
	struct str header;                   /* those fields, canonicalised relaxed (§3.4.2), each with its CRLF */
};
bool get_dkim_request(struct scan *s, struct dkim_request *r);

/* Signs data with this algorithm: the bytes for b=. */
typedef enum err (*dkim_signer)(void *context, enum dkim_algorithm algorithm, struct str data, struct buf *signature);
/* Adds one whole field, folded, with CRLF at its end. ERR_LIMIT: no room; what sign returns. */
enum err dkim_field(const struct dkim_request *r, enum dkim_algorithm algorithm, struct str domain, struct str selector, int64_t now_s,
                    dkim_signer sign, void *context, struct buf *out) MUST_CHECK;
#endif
