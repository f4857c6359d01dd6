/* tlsrpt/tls_session.h -- how TLS to another server went, as net tells it to control for the daily reports (RFC 8460 §4): under which policy,
 * with which result, how often. Also the policies of MTA-STS that control keeps for net over its restarts. */
#ifndef FACTEUR_TLSRPT_TLS_SESSION_H
#define FACTEUR_TLSRPT_TLS_SESSION_H
#include "base/arena.h"
#include "base/wire.h"

enum {
	TLS_SESSION_TEXT_MAX = 4000,   /* bytes of a policy, as far as reports show it */
	TLS_SESSION_INFO_MAX = 200,
	TLS_SESSION_NAME_MAX = 255,
	STS_RECORD_TEXT_MAX = 50000,   /* a larger policy is not kept over a restart */
};

enum tls_policy { TLS_POLICY_NONE = 1, TLS_POLICY_STS, TLS_POLICY_TLSA, TLS_POLICY_COUNT };   /* on disk: append only */
const char *tls_policy_name(enum tls_policy p);    /* "no-policy-found", "sts", "tlsa" */

enum tls_result {   /* RFC 8460 §4.3; on disk: append only */
	TLS_RESULT_GOOD, TLS_RESULT_NO_STARTTLS, TLS_RESULT_HOST_MISMATCH, TLS_RESULT_EXPIRED, TLS_RESULT_NOT_TRUSTED, TLS_RESULT_FAILURE,
	TLS_RESULT_TLSA_INVALID, TLS_RESULT_DNSSEC_INVALID, TLS_RESULT_DANE_REQUIRED, TLS_RESULT_STS_FETCH, TLS_RESULT_STS_INVALID, TLS_RESULT_STS_WEBPKI,
	TLS_RESULT_COUNT
};
const char *tls_result_name(enum tls_result r);    /* "starttls-not-supported"; GOOD: "" */

struct tls_session {
	struct str      domain;         /* of the recipients, A-labels */
	enum tls_policy policy;
	struct str      text;           /* of the policy: lines, as fetched (STS) or "3 1 1 0a1b…" (TLSA); empty: NONE, or none that could be had */
	enum tls_result result;
	struct str      mx;             /* the host, its address, ours; GOOD: all empty */
	struct str      receiving_ip, sending_ip;
	struct str      info;           /* what happened, for people */
	uint32_t        count;
};
/* TLS_SESSIONS: any number of them, one behind the other. All but count, too: what is alike is counted together. */
void put_tls_session(struct buf *b, const struct tls_session *s);
bool get_tls_session(struct scan *s, struct tls_session *out);      /* views; false at the end, or malformed: s->failed */

struct sts_record {
	struct str domain, id, text;
	int64_t    expires_s;           /* since 1970 */
};
/* STS_KEPT: one. */
void put_sts_record(struct buf *b, const struct sts_record *r);
bool get_sts_record(struct scan *s, struct sts_record *out);        /* views; as above */

/* What net counts until it tells: what is alike once, with its number. At most TLS_TALLY_MAX kinds; what is more is left out. */
enum { TLS_TALLY_MAX = 5000 };
struct tls_tally;
/* news: NULL, or called when the first one comes after nothing was there. */
struct tls_tally *tls_tally_new(void (*news)(void *context), void *context);
void tls_tally_free(struct tls_tally *t);     /* NULL is fine */
void tls_tally_add(struct tls_tally *t, const struct tls_session *s);   /* count is added; NULL is fine */
/* Moves as much as fits into out; false: nothing is there. */
bool tls_tally_take(struct tls_tally *t, struct buf *out);
#endif
