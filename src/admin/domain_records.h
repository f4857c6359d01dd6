/* admin/domain_records.h -- what a domain of ours has to publish in the DNS, for `domain dns` (which prints it) and `domain check` (which
 * looks for it). Only what this server honours today: no autoconfiguration before it is served. */
#ifndef FACTEUR_ADMIN_DOMAIN_RECORDS_H
#define FACTEUR_ADMIN_DOMAIN_RECORDS_H
#include "admin/admin_private.h"
#include "dns/resolver.h"

enum domain_record_kind { RECORD_MX, RECORD_ADDRESS, RECORD_SPF, RECORD_HOST_SPF, RECORD_DKIM, RECORD_DMARC, RECORD_SRV, RECORD_TLSA,
	                      RECORD_STS, RECORD_STS_HOST, RECORD_TLSRPT };
struct domain_record {
	enum domain_record_kind kind;
	enum dns_type           type;
	struct str              name;      /* A-labels, without a last dot */
	struct str              value;     /* as in a zone file, a TXT without its quotes; empty: only the administrator knows it */
	const struct dkim_key  *key;       /* DKIM */
};
struct domain_records {
	struct str            domain, hostname;
	struct str            policy;    /* of MTA-STS, as it is served … */
	bool                  has_policy;   /* … and announced */
	struct domain_record *list;
	size_t                n, cap;
};

/* All of them, in the order in which they matter; DKIM keys that are missing are made. waits. Sets the sentence on failure. */
enum err domain_records(struct admin_call *c, struct str domain, struct domain_records *out) MUST_CHECK;
/* That of one key. */
struct domain_record domain_key_record(struct arena *a, struct str domain, const struct dkim_key *k);
const char *domain_record_type(enum dns_type type);   /* "MX" */
/* What keys answers. waits. */
enum err admin_dkim(struct admin_call *c, enum dkim_op op, struct str domain, struct str selector, struct dkim_keys *out) MUST_CHECK;
#endif
