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
	PUBLISHED_UNSURE,       /* SPF: may allow it by what nobody could say just now, or what is another for each mail */
	PUBLISHED_NOWHERE,      /* SPF: an include: or redirect= leads to a domain without a record: receivers take it for an error (RFC 7208 §5.2) */
	PUBLISHED_TOO_MUCH,     /* SPF: needs more than ten questions: the same (§4.6.4) */
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
/* Who is asked for the records of other domains: the TXT records at a name, at most PUBLISHED_TEXTS_MAX; none is ERR_OK. They live as long as
 * the call of published_spf(). ask NULL: nobody. */
enum { PUBLISHED_TEXTS_MAX = 100 };
struct published_world {
	enum err (*ask)(void *context, struct str name, struct str texts[PUBLISHED_TEXTS_MAX], size_t *n);
	void      *context;
};
/* NOWHERE: *at is the name that was asked. */
enum published published_spf(const struct str *texts, size_t n, const struct published_sender *s, const struct published_world *world,
                             struct str *at);

/* The texts to publish, in the arena. */
struct str published_dkim_text(struct arena *a, enum dkim_algorithm algorithm, struct str public_key);
#endif
