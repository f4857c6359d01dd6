/* directory/lookup.h -- the look-up memfd: domains, address -> accounts, account flags, server settings as one sealed,
 * versioned block of bytes. control builds it, keys, gate, mx and queue map it; a look-up is a memory read (≤ 1 µs for ASCII
 * addresses), survives a restart of control, and never waits.
 *
 * The bytes are checked whole when they are opened (every offset, count and string), so that reading needs no further checks.
 * A lookup that is open never changes: after DIRECTORY open the new one, swap, close the old one. Any number of threads. */
#ifndef FACTEUR_DIRECTORY_LOOKUP_H
#define FACTEUR_DIRECTORY_LOOKUP_H
#include "base/arena.h"
#include "conf/conf.h"
#include "directory/issuer.h"
#include "directory/list_address.h"
#include "directory/route.h"
#include "dns/mta_sts.h"

enum { LOOKUP_BYTES_MAX = 1 << 30, LOOKUP_TARGETS_MAX = 20000 };

struct lookup;
/* Maps what came with DIRECTORY. The descriptor stays the caller's. ERR_INVALID: not sealed, or malformed (logged). */
enum err lookup_open(int fd, struct lookup **out) MUST_CHECK;
/* From bytes in memory that outlive it (tests, fuzzing, control itself). */
enum err lookup_read(struct str bytes, struct lookup **out) MUST_CHECK;
void lookup_close(struct lookup *l);               /* NULL is fine */
/* The same look-up once more, for somebody with a life of his own (another thread): both close it. Not of one that was read from bytes that
 * go before. */
struct lookup *lookup_share(const struct lookup *l);

/* For the handler of DIRECTORY: opens the memfd of the message and replaces *l (which may be NULL). The caller answers the
 * request with the result. */
struct message;
enum err lookup_replace(struct lookup **l, struct message *m) MUST_CHECK;

uint64_t lookup_version(const struct lookup *l);
const struct conf *lookup_conf(const struct lookup *l);      /* the server's settings; lives as long as the lookup */
struct str lookup_hostname(const struct lookup *l);          /* what the server calls itself; never empty */
bool lookup_scram(const struct lookup *l);                   /* the setting scram */
/* The issuers whose tokens are believed: their number, at most ISSUERS_MAX; of their source only is_fetched. Slices live as long as the lookup. */
size_t lookup_issuers(const struct lookup *l, struct arena *a, struct issuer **out);
bool lookup_has_issuers(const struct lookup *l);
uint64_t lookup_issuers_mark(const struct lookup *l);   /* another one: they, their keys or what is asked of their tokens have changed */
/* Is this domain (any spelling, U- or A-labels) one of ours? */
bool lookup_domain(const struct lookup *l, struct str domain);

/* What senders to this domain are told about TLS (the setting mta_sts): *out. False: not one of ours. */
bool lookup_domain_sts(const struct lookup *l, struct str domain, enum mta_sts_mode *out);

struct lookup_account {
	uint64_t   account;
	uint32_t   epoch;
	uint32_t   rights;         /* bit mask of 1u << enum protocol */
	bool       is_suspended;   /* may not log in; its mail is still kept for it */
	bool       is_full;        /* over its quota */
	bool       full_is_temporary;  /* the setting over_quota_temporary of this account */
	bool       french;
	bool       is_stopped;     /* may not send: nothing of it leaves, what it has queued waits */
	uint64_t   message_size_max;
	struct str address;        /* its main address; lives as long as the lookup */
};
/* By number; false: none (or deleted). */
bool lookup_account(const struct lookup *l, uint64_t account, struct lookup_account *out);
/* The addresses of this machine that mail of an account leaves from (settings source_ipv4, source_ipv6); of account 0: of the server's own mail, and
 * of what it passes on. Empty: whichever the system takes. They live as long as the lookup. */
void lookup_source(const struct lookup *l, uint64_t account, struct str *ipv4, struct str *ipv6);
/* By login name: its main address, any further address of its own, or the part before "@" where the server has one domain. No
 * plus-addresses, no catch-all, no groups. */
bool lookup_login(const struct lookup *l, struct str login, struct lookup_account *out);
/* The account of a printer or scanner that may submit without login from this IP address (text as in struct session_open). */
bool lookup_printer(const struct lookup *l, struct str ip, struct lookup_account *out);

enum lookup_kind {
	LOOKUP_INVALID,    /* not an address: 553 5.1.3 */
	LOOKUP_FOREIGN,    /* not a domain of ours: mx answers 550 5.7.1 */
	LOOKUP_UNKNOWN,    /* our domain, nobody there: 550 5.1.1 */
	LOOKUP_FOUND,      /* one target or more; of a domain of ours with a route also what nobody here has: the address itself, elsewhere */
};
struct lookup_target {
	uint64_t   account;        /* 0: elsewhere */
	struct str remote;         /* the address elsewhere, when account is 0; lives as long as the lookup, or in the arena */
	bool       is_suspended, is_full, full_is_temporary;
	bool       is_group;       /* remote is the address of a group of ours: lookup_group() says who that is */
	enum list_order order;     /* remote is an address of a group that is for the server itself: a bounce, a member who leaves */
};
struct lookup_result {
	enum lookup_kind      kind;
	struct lookup_target *targets;   /* in the arena; aliases are expanded, groups stand as one target; each once */
	size_t                n;
	struct str            detail;    /* "shop" of bob+shop@, unquoted; in the arena or the address; empty if none */
	bool                  is_catch_all;  /* nobody has this name: it goes where the domain's unknown names go */
	bool                  is_for_bounces;  /* lookup_forward_sender() has made it */
};
/* Who gets mail for local@domain (no angle brackets; the local part may be quoted). */
enum lookup_kind lookup_resolve(const struct lookup *l, struct str address, struct arena *a, struct lookup_result *out);
/* "postmaster" without a domain (RFC 5321 §4.5.1) is resolved too. */

/* ---- groups: mailing lists */
struct lookup_group {
	struct str address, title;         /* as written; title may be empty */
	bool       replies_to_group, may_leave;
	uint32_t   members, leavers;       /* how many; of them, those whom the group lets go that they are in: it may be one within this one */
	uint32_t   post, first_member, first_poster, posters;   /* private */
};
/* By its own address, in any spelling; false: no group. Slices live as long as the lookup. */
bool lookup_group(const struct lookup *l, struct str address, struct lookup_group *out);
/* Its members, groups in groups expanded, each once: accounts, and addresses elsewhere. The leavers are the first of them. */
void lookup_group_members(const struct lookup *l, const struct lookup_group *g, struct arena *a, struct lookup_target **out, size_t *n);
/* May who writes as this address, or is this account (0: nobody has logged in), send to the group? An address of ours is believed of the
 * account only. */
bool lookup_group_may_post(const struct lookup *l, const struct lookup_group *g, struct str sender, uint64_t account);
/* Does the group offer this member, an address elsewhere, to leave? (An order to leave asks again: directory/list_order.h.) */
bool lookup_group_lets_go(const struct lookup *l, const struct lookup_group *g, struct str remote);
/* Not everybody who gets its mail may write to it. */
bool lookup_group_is_for_few(const struct lookup_group *g);
/* Its address for bounces or for leaving (directory/list_address.h), of a member or (empty) of the group as such. */
struct str lookup_list_address(const struct lookup *l, struct str group, enum list_order order, struct str member, struct arena *a);
/* Is the address one of those, of a group that is there? */
bool lookup_list_order(const struct lookup *l, struct str address, struct arena *a, struct list_address *out);

/* forward_mark() of this server. */
struct str lookup_forward_mark(const struct lookup *l, struct str alias, struct arena *a);
/* The envelope sender for mail that leaves: sender itself, or, when its domain is not ours (an alias sends a stranger's mail on), an
 * address of our first domain that leads back to it (smtp/srs.h) and that lookup_resolve() knows. Empty stays empty. */
struct str lookup_forward_sender(const struct lookup *l, struct str sender, struct arena *a);

/* The route of mail for a domain (A-labels, lower case) or an address literal with its brackets (directory/route.h). False: none, it goes
 * to its own mail hosts. Slices live as long as the lookup. */
bool lookup_route(const struct lookup *l, struct str domain, struct route *out);
/* The same for the same routes, another one when they change; 0 without any. */
uint64_t lookup_routes_mark(const struct lookup *l);

/* ---- building (control) */
struct directory;
/* The whole directory as bytes in *out (at most LOOKUP_BYTES_MAX). ERR_LIMIT, ERR_IO. */
enum err lookup_build(struct directory *d, uint64_t version, struct buf *out) MUST_CHECK;
/* The same, from the one that is published, at a fraction of the cost, where only single accounts have changed since (made, suspended,
 * full …); else it is built. old: NULL, or built from this directory since it was opened. */
enum err lookup_update(struct directory *d, const struct lookup *old, uint64_t version, struct buf *out) MUST_CHECK;
#endif
