/* deliver/sts.h -- which policy of MTA-STS (RFC 8461) a domain has at the moment: asked of its name servers and its web server, kept in
 * memory for as long as the policy says. In the loop of the role net, which has no disk: somebody else keeps them over its restarts. */
#ifndef FACTEUR_DELIVER_STS_H
#define FACTEUR_DELIVER_STS_H
#include "dns/mta_sts.h"
#include "net/tls_client.h"
#include "tlsrpt/tls_session.h"

enum {
	STS_KEPT_MAX = 10000,        /* domains remembered; those that were used longest ago go */
	STS_FETCHES_MAX = 100,       /* at a time; more wait their turn */
	STS_DEADLINE_MS = 60000,     /* for one fetch (§3.3) … */
	STS_HURRIED_MS = 10000,      /* … and for those that begin while half of them are under way */
	STS_FAILED_S = 300,          /* a policy that could not be fetched is asked for again after so long (§3.3) */
};

struct sts;
/* All borrowed; they outlive it. port: 443 but in a lab. */
struct sts *sts_new(struct resolver *resolver, struct tls_client *tls, uint16_t port);
/* Policies are fetched from public addresses only; not so unless this is called. */
void sts_public_only(struct sts *s, bool yes);
void sts_free(struct sts *s);      /* searches are forgotten, nothing is called; NULL is fine */

/* policy: NULL: none (or one of the mode none), or none that could be had; else valid until the callback returns. why: when a policy is
 * announced but none could be had, or nobody could say whether there is one: one sentence for the log and the trail; else empty. trouble:
 * the first of these, for reports; else GOOD. */
typedef void (*sts_done)(void *context, const struct mta_sts_policy *policy, struct str why, enum tls_result trouble);
/* domain: A-labels. done runs once, from the loop, never before this returns; not after sts_cancel(). */
struct sts_search *sts_find(struct sts *s, struct str domain, sts_done done, void *context);
void sts_cancel(struct sts_search *x);   /* NULL is fine */
/* About once a minute: looks again at policies whose time it is, also of domains that nobody asks for (§3.3), until 90 days after they were
 * asked for last (after a restart: after that). */
void sts_refresh(struct sts *s);
bool sts_is_looking(const struct sts *s);   /* a question or a fetch is under way, or waits for its turn */

/* Over a restart: kept is told each policy that was fetched, and what it was told comes back between begin and end. Until then nobody is
 * answered: who drops packets during a restart must not turn a policy off either. */
void sts_on_kept(struct sts *s, void (*kept)(void *context, const struct sts_record *r), void *context);
void sts_restore_begin(struct sts *s);
void sts_restore(struct sts *s, const struct sts_record *r);   /* one that cannot be read is passed over */
void sts_restore_end(struct sts *s);                           /* also when nothing came */
#endif
