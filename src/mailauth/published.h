/* mailauth/published.h -- what a domain has published about its mail, looked at by its owner: is the TXT record right, and if not, what
 * happened to it on the way from `facteur domain dns` to the name server? Pure; the texts are strangers' (DNS) bytes. */
#ifndef FACTEUR_MAILAUTH_PUBLISHED_H
#define FACTEUR_MAILAUTH_PUBLISHED_H
#include "auth/dkim.h"
#include "net/listen.h"

enum published {
	PUBLISHED_GOOD,
	PUBLISHED_MISSING,
	PUBLISHED_TWICE,        /* more than one: receivers use none of them (RFC 7208 §4.5, RFC 7489 §6.6.3) */
	PUBLISHED_QUOTED,       /* the quotation marks of a zone file were pasted into a form, and are part of the text */
	PUBLISHED_BACKSLASHED,  /* the same with "\;" */
	PUBLISHED_MALFORMED,
	PUBLISHED_CUT,          /* DKIM: the key ends too early */
	PUBLISHED_OTHER_KEY,    /* DKIM: some key, but not this one */
	PUBLISHED_REVOKED,      /* DKIM: p= is empty */
	PUBLISHED_TESTING,      /* DKIM: t=y asks receivers not to mind */
	PUBLISHED_OPEN,         /* SPF: allows everybody */
	PUBLISHED_NOT_US,       /* SPF: does not allow this server */
	PUBLISHED_UNSURE,       /* SPF: may allow it by what would have to be asked (include:, redirect=) */
	PUBLISHED_COUNT
};

/* texts: the TXT records at the name, each with its strings joined. *at: the record that is at fault, or good; empty: none. */
enum published published_dkim(const struct str *texts, size_t n, enum dkim_algorithm algorithm, struct str public_key, struct str *at);
enum published published_dmarc(const struct str *texts, size_t n, struct str *at);

struct published_sender {       /* who sends for the domain */
	struct str         domain, hostname;   /* A-labels, lower case */
	bool               is_mx;              /* the domain's MX record names the host */
	const struct peer *addresses;          /* of the host */
	size_t             address_count;
};
enum published published_spf(const struct str *texts, size_t n, const struct published_sender *s, struct str *at);

/* The texts to publish, in the arena. */
struct str published_dkim_text(struct arena *a, enum dkim_algorithm algorithm, struct str public_key);
#endif
