/* dns/resolver.h -- questions to the domain name system (RFC 1034), answered later, each with what DNSSEC (RFC 4035) says about it.
 *
 * Lives in the loop of the role net. Works as a resolver of its own, from the root servers down, or through the name servers that
 * are set; it caches, validates, and asks each thing once however many want to know it. Not thread-safe: one loop, one thread. */
#ifndef FACTEUR_DNS_RESOLVER_H
#define FACTEUR_DNS_RESOLVER_H
#include "base/arena.h"
#include "conf/conf.h"
#include "net/loop.h"

enum {
	DNS_NAME_MAX = 1023,        /* bytes of a name as text: 255 octets on the wire, each at most "\255" (RFC 1035 §5.1) */
	DNS_RECORDS_MAX = 200,      /* more records of one name and type are left out */
	DNS_DEADLINE_MS = 30000,    /* what is not answered by then is DNS_FAILED */
};

enum dns_type {  /* RFC 1035 §3.2.2, 3596, 2782, 6698, 8659 */
	DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33,
	DNS_DS = 43, DNS_TLSA = 52, DNS_CAA = 257,
};

enum dns_outcome {
	DNS_RECORDS = 1,  /* one record at least */
	DNS_NONE,         /* the name exists, but has no record of this type */
	DNS_NO_NAME,      /* the name does not exist (NXDOMAIN), nor can it: too long, an empty label */
	DNS_FAILED,       /* nobody could say just now: SERVFAIL, no server reached, over time; ask again later */
	DNS_FORGED,       /* the answer is not what the owner of the name has signed, or a signature has run out (DNSSEC "bogus"):
	                   * nothing in it may be used; later it may be mended */
};

struct dns_answer {          /* all slices: valid until the callback returns, or in the arena they were copied to */
	enum dns_outcome outcome;
	uint16_t    type;
	bool        is_secure;   /* proved by DNSSEC from the trust anchor on: the records, or that there are none */
	uint32_t    ttl_s;       /* how long it holds; failures: 0 */
	struct str  name;        /* as asked, lower case, without the last dot */
	struct str  canonical;   /* where CNAMEs have led; the same as name where there is none */
	struct str *records;     /* rdata as on the wire (RFC 1035 §3.3), names in it uncompressed: dns/record.h reads them */
	size_t      n;
	struct str  why;         /* FAILED, FORGED: one sentence, for logs and reports; else empty */
};

struct resolver_config {
	struct str servers;       /* "192.0.2.53 2001:db8::53@5353": ask these recursive servers; empty: from the root servers down */
	struct str trust_anchor;  /* path of a file of DS or DNSKEY records; empty: that of the root, of this system or built in;
	                           * "none": believe every answer, call none secure */
};
/* As the settings dns_server and dns_trust_anchor say; views c. */
struct resolver_config resolver_config_of(const struct conf *c);
struct resolver;
struct question;

/* Reads the files it needs: before the sandbox closes; its thread starts with the first question. ERR_INVALID: a server or the
 * trust anchor cannot be read (logged); ERR_IO: logged. */
enum err resolver_new(struct loop *loop, const struct resolver_config *c, struct resolver **out) MUST_CHECK;
void resolver_free(struct resolver *r);   /* open questions are forgotten, nothing is called; NULL is fine */

/* Asks. done runs once, from the loop, never before this returns; not after question_cancel(). The name is in A-labels
 * (dns/name.h), with or without a last dot. The question is valid until it is answered or cancelled. */
typedef void (*dns_answered)(void *context, const struct dns_answer *a);
struct question *resolver_ask(struct resolver *r, struct str name, uint16_t type, dns_answered done, void *context);
/* Room for n bytes, zeroed, that becomes the context of the question and goes with it. */
void *question_context(struct question *q, size_t n);
void question_cancel(struct question *q); /* NULL is fine; the answer still fills the cache */

struct loop *resolver_loop(const struct resolver *r);

struct resolver_counts {
	uint64_t asked, answered, failed, forged;
	size_t   waiting;         /* now */
};
struct resolver_counts resolver_counts(const struct resolver *r);

/* A copy that lives as long as the arena. */
void dns_answer_copy(struct arena *a, const struct dns_answer *from, struct dns_answer *to);
#endif
