/* dns/mta_sts.h -- MTA-STS (RFC 8461): the policy that a domain publishes over HTTPS about TLS to its mail hosts, and the TXT record that
 * tells when it has changed. Only the texts; who fetches and keeps them is the role net. */
#ifndef FACTEUR_DNS_MTA_STS_H
#define FACTEUR_DNS_MTA_STS_H
#include "dns/resolver.h"

enum {
	MTA_STS_TEXT_MAX = 64 << 10,        /* bytes of a policy (§3.3 suggests this bound) */
	MTA_STS_PATTERNS_MAX = 100,
	MTA_STS_AGE_MAX = 31557600,         /* seconds, a year (§3.2) */
	MTA_STS_ID_MAX = 32,
};

enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE };
struct mta_sts_policy {
	enum mta_sts_mode mode;
	uint32_t    max_age_s;              /* 0..MTA_STS_AGE_MAX; larger ones are cut */
	struct str *patterns;               /* "mail.example.org", "*.example.net": lower case A-labels */
	size_t      pattern_count;          /* at least one, unless the mode is NONE */
	struct str  text;                   /* as it was published */
};
/* §3.2. The patterns live in the arena. On ERR_INVALID *why says which line is wrong, for people ("line 2: …"). */
enum err mta_sts_policy_parse(struct str text, struct arena *a, struct mta_sts_policy *out, struct str *why) MUST_CHECK;
/* §4.1: may mail go to this host? "*." stands for one label. */
bool mta_sts_policy_allows(const struct mta_sts_policy *p, struct str host);

/* The id in the TXT records of _mta-sts.DOMAIN (§3.1). ERR_NOTFOUND: none is a record of MTA-STS, or there is more than one: the domain
 * has no policy; ERR_INVALID: one that cannot be read; ERR_AGAIN: the question failed. */
enum err mta_sts_record(const struct dns_answer *txt, struct arena *a, struct str *id) MUST_CHECK;

/* ---- ours */
bool mta_sts_mode_parse(struct str word, enum mta_sts_mode *out);   /* "none", "testing", "enforce" */
/* What https://mta-sts.DOMAIN/.well-known/mta-sts.txt says. also: further hosts or patterns, with spaces between. */
struct str mta_sts_policy_text(struct arena *a, enum mta_sts_mode mode, struct str hostname, struct str also);
struct str mta_sts_policy_id(struct arena *a, struct str text);     /* another one for another text */
#endif
