/* dns/mx_private.h -- from answers to a route: what of dns/mx.h needs no name server, so that it can be tested and fuzzed alone.
 * The steps in this order; a step that sets route->outcome ends it. */
#ifndef FACTEUR_DNS_MX_PRIVATE_H
#define FACTEUR_DNS_MX_PRIVATE_H
#include "dns/mx.h"

enum { MX_HOST_ADDRESSES_MAX = 8 };   /* of each family */

struct mx_plan_host {
	bool        is_own;                 /* it is this server */
	bool        has_failed, is_forged;  /* the question for A or AAAA */
	bool        has_name;               /* it exists */
	struct str  private_address;        /* one that was left out; empty: none */
	struct str  canonical;
	struct peer v4[MX_HOST_ADDRESSES_MAX], v6[MX_HOST_ADDRESSES_MAX];
	size_t      v4_count, v6_count;
	struct str  failure;                /* in words */
};
struct mx_plan {
	struct mx_route     *route;
	struct mx_plan_host *hosts;         /* beside route->hosts */
	struct str           canonical;     /* of the domain */
	mx_judge             judge;
	void                *context;
};

struct mx_route *mx_route_new(struct str domain);
/* What needs no question: "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3), and what is no domain: true, the outcome is set. */
bool mx_plan_at_once(struct mx_plan *p);
/* Instead of the answer to MX: the domain is a host that somebody has named. */
void mx_plan_given(struct mx_plan *p);
/* The answer to MX: sets the hosts, sorted and shuffled, or the outcome. */
void mx_plan_hosts(struct mx_plan *p, const struct dns_answer *mx);
/* An answer to A or AAAA of a host. */
void mx_plan_addresses(struct mx_plan *p, size_t host, const struct dns_answer *a);
/* All addresses are known: leaves out what leads back here. */
void mx_plan_cut(struct mx_plan *p);
/* The name to ask for TLSA (without "_25._tcp"): first = 0, then 1; empty: none (left). */
struct str mx_plan_tlsa_base(const struct mx_plan *p, size_t host, unsigned attempt);
/* Its answer; true: that is settled, no other base domain is to be asked. */
bool mx_plan_tlsa(struct mx_plan *p, size_t host, struct str base, const struct dns_answer *a);
/* Sets the targets and the outcome. */
void mx_plan_targets(struct mx_plan *p);
#endif
