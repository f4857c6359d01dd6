/* dns/mx.h -- where mail for a domain goes (RFC 5321 §5.1): hosts and addresses in the order in which they are tried, or the
 * reason why there is none, as an SMTP reply would say it.
 *
 * The domain's MX records, sorted by preference, in random order within one; without any, the domain itself ("implicit MX"). Each
 * host has its addresses, IPv6 and IPv4 by turns, and what DANE (RFC 7672) asks of a connection to it. If one of the hosts is this
 * server, only those with a smaller preference are left (§5.1). An address literal ("[192.0.2.1]") goes where it says. */
#ifndef FACTEUR_DNS_MX_H
#define FACTEUR_DNS_MX_H
#include "dns/record.h"
#include "dns/resolver.h"
#include "net/listen.h"

enum {
	MX_HOSTS_MAX = 20,      /* of a domain, the best by preference */
	MX_TARGETS_MAX = 40,    /* addresses in all; at most 8 of one host */
	MX_NAMES_MAX = 4,
	MX_TLSA_MAX = 16,       /* of a host */
};

enum mx_dane {
	MX_DANE_NONE,           /* not published, or not signed: TLS as the other policies want it */
	MX_DANE_VERIFY,         /* TLS is needed, with a certificate that fits one of tlsa */
	MX_DANE_ENCRYPT,        /* TLS is needed with any certificate: records are there, but none we can use (RFC 7672 §2.2) */
	MX_DANE_UNKNOWN,        /* the question for TLSA failed: this host must not be used now (RFC 7672 §2.1.2) and has no targets */
};

struct mx_host {
	struct str name;               /* as in the MX record: lower case, A-labels, no last dot; for SNI see names[0] */
	unsigned   preference;         /* 0-65535, smaller is tried first */
	bool       is_secure;          /* its MX record and its addresses are proved by DNSSEC */
	enum mx_dane dane;
	struct dns_tlsa *tlsa;         /* VERIFY: usage DANE-TA(2) or DANE-EE(3) only */
	size_t     tlsa_count;
	/* VERIFY: names[0] is the TLSA base domain and the SNI (RFC 7672 §3.2.3, §8.1); with DANE-TA the certificate has to have one of
	 * all of them. */
	struct str names[MX_NAMES_MAX];
	size_t     name_count;
	struct str why;                /* why none of targets is this host's; empty where one is */
};
struct mx_target {                 /* one connection to try */
	size_t      host;              /* index */
	struct peer address;           /* port 0 */
};

enum mx_outcome {
	MX_FOUND = 1,    /* one target at least */
	MX_REFUSED,      /* never: no such domain, it takes no mail, its mail hosts do not exist, it leads back here */
	MX_DEFERRED,     /* try later: the name servers of the domain could not say, or said what is forged */
};
struct mx_route {
	struct arena  arena;           /* of all below */
	struct str    domain;          /* as given, lower case */
	enum mx_outcome outcome;
	bool          is_secure;       /* the MX records, or that there are none, are proved by DNSSEC */
	bool          is_implicit;     /* no MX records: the domain's own addresses; also for an address literal, and by mx_find_host() */
	bool          is_given;        /* by mx_find_host() */
	bool          is_partial;      /* a host without targets has them perhaps: its name servers could not say just now */
	uint32_t      ttl_s;           /* how long it may be kept */
	struct mx_host   *hosts;
	size_t            host_count;
	struct mx_target *targets;     /* in the order to try */
	size_t            target_count;
	/* Unless FOUND, as a server would answer: 550 5.1.2 there is no domain …; 556 5.1.10 null MX (RFC 7505); 550 5.4.4 no mail server
	 * has an address; 550 5.4.6 leads back here; 550 5.1.3 not a domain; 451 4.4.3 name servers fail; 451 4.7.5 DNSSEC, DANE;
	 * 451 4.4.4 the host that was named has no address. */
	int           code;
	const char   *status;
	struct str    why;             /* one English sentence: what, why, what to do */
};
void mx_route_free(struct mx_route *route);   /* for whoever was given it; NULL is fine */

/* What is this host (address NULL), or this address of it? */
enum mx_kind {
	MX_USUAL = 0,
	MX_OWN,                 /* our own server */
	MX_PRIVATE,             /* an address that mail must not be sent to because some stranger's records say so */
};
typedef enum mx_kind (*mx_judge)(void *context, struct str host, const struct peer *address);
/* Addresses of private networks (RFC 1918, 6598, 4193), of links and of this machine, and what is nobody's (RFC 6890). */
bool mx_is_private(const struct peer *address);
/* What has been found: the receiver owns it. */
typedef void (*mx_done)(void *context, struct mx_route *route);

struct mx_search;
/* Looks all up at once. domain: A-labels, or an address literal with its brackets. port: of the TLSA records ("_25._tcp"). done runs
 * once, from the loop, never before this returns; not after mx_cancel(). judge may be NULL; it is called with done's context. */
struct mx_search *mx_find(struct resolver *r, struct str domain, uint16_t port, mx_judge judge, mx_done done, void *context);
/* The same for one host that somebody has named (a smart host): no MX records are asked for, and whatever is wrong with it may be
 * mended: it is never REFUSED. Who named it has vouched for it, so DANE counts where its addresses are signed. */
struct mx_search *mx_find_host(struct resolver *r, struct str host, uint16_t port, mx_done done, void *context);
/* At once after one of these: DANE is not asked about, every host is NONE. For a message that goes whatever TLS can do (RFC 8689 §4.2.2). */
void mx_without_dane(struct mx_search *s);
void mx_cancel(struct mx_search *s);          /* NULL is fine */
#endif
